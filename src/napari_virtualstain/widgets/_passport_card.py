"""Will this model work on my picture? The passport of a picture as a card: green, amber or red."""

from __future__ import annotations

from html import escape
from typing import Any, Literal

from napari.utils.theme import get_theme
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.compute.run import Run
from napari_virtualstain.jobs.passport import Passport, PassportCheck, PassportSettings, Status
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Jobs
from napari_virtualstain.widgets._parts import Foldout, Wrapped

__all__ = ["PassportCard"]

_SIGNS: dict[Status, str] = {"green": "✓", "amber": "!", "red": "✗"}
"""Beside the colour, which not everybody tells apart."""
_COLOURS: dict[str, dict[Status, str]] = {
    "dark": {"green": "#57b366", "amber": "#e3b617", "red": "#f0675f"},
    "light": {"green": "#2a7d37", "amber": "#8f6200", "red": "#b3261e"},
}
"""Of signs, by the ground that they stand on: those of napari's theme are for areas."""
_UNCHECKED = "Is the picture like those that the model was trained on? Nothing is stained."
_CAVEAT = "This is about the picture, not the stain: judge a model on wells with a true one."
_KEPT = 50
"""Passports that are remembered."""

State = Literal["empty", "unchecked", "busy", "checked", "failed"]


class PassportCard(QWidget):
    """Asks the compute process for the passport of a picture, and shows it.

    What was measured is remembered: choosing a picture and a model again shows their card.

    Parameters
    ----------
    viewer
        Whose theme it follows.
    jobs
        Where passports are asked for.
    """

    asked = Signal()
    """The button was clicked: the page is to call `check`."""

    def __init__(self, viewer: Any, jobs: Jobs) -> None:
        super().__init__()
        self._viewer, self._jobs = viewer, jobs
        self._about = ""
        self._known: dict[str, Passport | str] = {}
        self._runs: dict[str, Run] = {}
        self.verdict = Wrapped()
        self.button = QPushButton("Check my picture")
        self.checks = Wrapped()
        self.fine = Wrapped()
        self.fold = Foldout("", self.fine)
        self.caveat = Wrapped(f"<small>{_CAVEAT}</small>")
        top = QHBoxLayout()
        top.addWidget(self.verdict, 1)
        top.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(top)
        column.addWidget(self.checks)
        column.addWidget(self.fold)
        column.addWidget(self.caveat)
        self.button.clicked.connect(self._press)
        jobs.run_changed.connect(self._follow)
        viewer.events.theme.connect(self._show)
        self._show()

    @property
    def state(self) -> State:
        """What the card shows."""
        known = self._known.get(self._about)
        if not self._about:
            return "empty"
        if self._about in self._runs:
            return "busy"
        if known is None:
            return "unchecked"
        return "checked" if isinstance(known, Passport) else "failed"

    @property
    def passport(self) -> Passport | None:
        """The passport that is shown."""
        known = self._known.get(self._about)
        return known if isinstance(known, Passport) else None

    def offer(self, about: str) -> None:
        """Show what is known of a picture and a model.

        Parameters
        ----------
        about
            Names both, with all settings; ``""`` if there is nothing to check.
        """
        if about != self._about:
            self._about = about
            self._show()

    def check(self, about: str, settings: PassportSettings) -> None:
        """Measure a picture in the compute process, beside whatever runs there.

        Parameters
        ----------
        about
            See `offer`.
        settings
            Which picture, and which model.
        """
        if about in self._runs:
            return
        run = self._jobs.submit("passport", settings, urgent=True)
        self._runs[about] = run
        self._show()

    def refuse(self, about: str, sentence: str) -> None:
        """Say why a picture cannot be checked."""
        self._known[about] = sentence
        self._show()

    def stop(self) -> None:
        """Cancel what is measured."""
        for run in self._runs.values():
            run.cancel()

    def _press(self) -> None:
        if self.state == "busy":
            self._runs[self._about].cancel()
        else:
            self._known.pop(self._about, None)
            self.asked.emit()

    def _follow(self, run: Run) -> None:
        about = next((about for about, one in self._runs.items() if one is run), None)
        if about is None:
            return
        if run.outcome is not None:
            del self._runs[about]
            if run.outcome.result is not None:
                self._known[about] = Passport.from_json(run.outcome.result)
            elif run.outcome.state == "failed":
                self._known[about] = run.outcome.sentence
            while len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
        if about == self._about:
            self._show()

    # --- showing ----------------------------------------------------------------------------------

    def _show(self, event: Any = None) -> None:
        del event
        state, passport = self.state, self.passport
        self.button.setEnabled(state != "empty")
        self.button.setText(
            {"busy": "Stop", "checked": "Check again"}.get(state, "Check my picture")
        )
        self.button.setToolTip(
            "Measure sizes, light, noise and focus of the planes that the model would be given"
        )
        self.verdict.setText(self._headline(state))
        checks = () if passport is None else passport.checks
        doubts = [check for check in checks if check.status != "green"]
        fine = [check for check in checks if check.status == "green"]
        self.checks.setText("".join(self._row(check) for check in _worst_first(doubts)))
        self.checks.setVisible(bool(doubts))
        many = f"{len(fine)} check{' is' if len(fine) == 1 else 's are'}"
        self.fold.heading.setText(f"{many} as in training")
        self.fine.setText("".join(self._row(check) for check in fine) + _notes(passport))
        self.fold.setVisible(bool(fine))
        self.caveat.setVisible(passport is not None)

    def _headline(self, state: State) -> str:
        known = self._known.get(self._about)
        if isinstance(known, Passport):
            return f"{self._sign(known.status)} <b>{escape(known.verdict, quote=False)}</b>"
        if state == "failed":
            return f"{self._sign('red')} {_said(str(known))}"
        if state != "busy":
            return _UNCHECKED
        run = self._runs[self._about]
        if run.progress is None:
            return "Measuring the picture …"
        done, total, what = run.progress
        return f"Measuring: {done} of {total} {escape(what, quote=False)}"

    def _row(self, check: PassportCheck) -> str:
        found = escape(check.found, quote=False)
        trained = f" (trained: {escape(check.trained, quote=False)})" if check.trained else ""
        lines = [f"{self._sign(check.status)} <b>{escape(check.name)}</b>: {found}{trained}"]
        if check.reason:
            lines.append(_said(check.reason))
        if check.advice:
            lines.append(f"→ {_said(check.advice)}")
        return f"<p style='margin-top:0; margin-bottom:6px'>{'<br>'.join(lines)}</p>"

    def _sign(self, status: Status) -> str:
        ground = get_theme(self._viewer.theme).background.as_rgb_tuple()[:3]
        colour = _COLOURS["dark" if sum(ground) < 384 else "light"][status]
        return f"<span style='color:{colour}; font-weight:bold'>{_SIGNS[status]}</span>"


def _notes(passport: Passport | None) -> str:
    """Return what a passport says besides; what the model is not for stands on its card."""
    notes = () if passport is None else passport.notes
    said = [note for note in notes if not note.startswith("model ")]
    lines = (_said(note) for note in said)
    return "".join(f"<p style='margin-top:0; margin-bottom:6px'>{line}</p>" for line in lines)


def _said(sentence: str) -> str:
    """Return a sentence of the command line in the words of the page."""
    return escape(words_of(sentence.replace("`", "")), quote=False)


def _worst_first(checks: list[PassportCheck]) -> list[PassportCheck]:
    return sorted(checks, key=lambda check: check.status != "red")
