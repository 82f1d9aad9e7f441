"""Would the conclusion be the same? A plate of predictions against its truth, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.jobs.base import JobSettings, make_settings
from napari_virtualstain.jobs.blind import BlindSettings
from napari_virtualstain.jobs.measure import MeasureSettings
from napari_virtualstain.jobs.phenotype import PhenotypeSettings
from napari_virtualstain.jobs.recognise import RecogniseSettings
from napari_virtualstain.jobs.verdict import VerdictSettings
from napari_virtualstain.napari_io.matched import matched_names
from napari_virtualstain.widgets._blind_panel import ANSWERS, PAGE, BlindPanel
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Jobs
from napari_virtualstain.widgets._kept_report import KeptReport
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Foldout, Wrapped, form
from napari_virtualstain.widgets._plate_choice import FileChoice, PlateChoice
from napari_virtualstain.widgets._run_bar import RunBar

if TYPE_CHECKING:
    import napari

__all__ = ["VerdictPage"]

_NOTHING = (
    "Open a field of the predicted plate and one of the true stains, or choose folders with them."
)
_NO_LAYOUT = "A network learns treatments from a table of them. Choose one beside Layout."
_ABOUT = (
    "For a plate, or a folder of fields with what was done to each: would you have concluded the "
    "same from the predicted stains as from the true ones? One field alone is for the page Compare."
)
_SIGNS = {"changed": ("✗", "#e0564f"), "unsure": ("?", "#e0a030"), "kept": ("✓", "#4c9f70")}
"""In the order in which answers are told: what is wrong first."""
_WORDS = {"kept": "kept", "changed": "changed", "unsure": "not known"}


class VerdictPage(QWidget):
    """Asks whether biology survives, and whether a person can tell.

    Parameters
    ----------
    viewer
        Whose theme is followed.
    fields
        What it shows.
    jobs, run_bar
        Where questions are answered, and where that is shown.
    """

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._jobs, self._run_bar = jobs, run_bar
        self._run: Run | None = None
        self._then: Callable[[dict[str, Any], JobSettings], None] | None = None
        self.prediction = PlateChoice(
            fields, lambda f: f.predicted, "no prediction yet", "Predicted stains"
        )
        self.truth = PlateChoice(
            fields, lambda f: bool(f.with_role("truth")), "no true stain yet", "True stains"
        )
        self.layout_table = FileChoice(
            "A table of what was done to each well", "no layout", "Table (*.csv *.tsv *.txt)"
        )
        self.treatment, self.controls = QLineEdit("treatment"), QLineEdit()
        self.moa, self.nuclei, self.cells = QLineEdit(), QLineEdit("DNA"), QLineEdit()
        self.count, self.folds, self.steps = QSpinBox(), QSpinBox(), QSpinBox()
        self.start = QPushButton("Verdict")
        self.phenotype = QPushButton("Phenotypes")
        self.recognise = QPushButton("Recognise")
        self.blind = QPushButton("Blind review")
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.notice = Notice(viewer)
        self.words = Wrapped()
        self.report = KeptReport(self.notice.hint, self._refuse)
        self.review = BlindPanel(self._refuse)
        self.fold = Foldout("What is asked", QWidget(), is_open=True)
        self._arrange()
        for choice in (self.prediction, self.truth):
            choice.changed.connect(self._changed)
        self.start.clicked.connect(self.judge)
        self.phenotype.clicked.connect(self.ask_phenotypes)
        self.recognise.clicked.connect(self.ask_recognition)
        self.blind.clicked.connect(self.begin_review)
        self.review.score.clicked.connect(self.score_review)
        self.review.done.connect(self.score_review)
        jobs.run_changed.connect(self._follow)
        self._changed()

    # --- what would be asked ----------------------------------------------------------------------

    def settings(self, out: str) -> VerdictSettings:
        """Return the settings of a verdict.

        Parameters
        ----------
        out
            Folder of the report.

        Raises
        ------
        VirtualStainError
            If there is nothing to ask about.
        """
        values = {
            **self._both(), "out": out, "labels": self.layout_table.path,
            "label": self.treatment.text().strip() or "treatment", "controls": self._controls(),
            "moa": self.moa.text().strip() or None, "nuclei": self.nuclei.text().strip() or "DNA",
            "cells": self.cells.text().strip() or None,
        }  # fmt: skip
        return make_settings(VerdictSettings, {k: v for k, v in values.items() if v is not None})

    def command(self) -> str:
        """Return the line that gives the same verdict."""
        settings = self.settings("verdict").absolute()
        return to_command(
            "verdict", settings.model_copy(update={"out": "verdict"}), positional=("prediction",)
        )

    def _controls(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.controls.text().split(",") if part.strip())

    def _both(self) -> dict[str, Any]:
        predicted, true = self.prediction.plate, self.truth.plate
        if predicted is None or true is None:
            raise MissingInputError(_NOTHING)
        found: dict[str, Any] = {"prediction": predicted, "target": true}
        one, other = self.prediction.field, self.truth.field
        if one is not None and other is not None:
            found["match"] = matched_names(one, other)
        if other is not None:
            found |= {"axes": other.axes, "pattern": other.pattern}
        return found

    def _changed(self) -> None:
        possible = self.prediction.plate is not None and self.truth.plate is not None
        for button in (self.start, self.phenotype, self.recognise, self.blind, self.copy):
            button.setEnabled(possible)
        if not possible:
            self.notice.hint(_NOTHING)
        elif self.notice.text == _NOTHING:
            self.notice.clear()

    # --- asking -----------------------------------------------------------------------------------

    def judge(self) -> None:
        """Ask for a verdict on what is chosen now."""
        self._ask(
            "verdict", lambda: self.settings(str(self._jobs.temporary("verdict"))), "Judging",
            lambda result, _: self._tell(result, "verdict.html", "verdict"),
        )  # fmt: skip

    def ask_phenotypes(self) -> None:
        """Measure both plates in the same way, and ask the tables of wells."""
        try:
            asked = self.settings(str(self._jobs.temporary("phenotype")))
        except VirtualStainError as error:
            self._refuse(str(error))
            return
        names = dict(one.split("=", 1) for one in asked.match)
        folders = [str(self._jobs.temporary(name)) for name in ("predicted", "true")]

        def measured(side: int) -> MeasureSettings:
            true = {"axes": asked.axes, "pattern": asked.pattern} if side else {}
            named = (lambda name: names.get(name, name)) if side else (lambda name: name)
            stains = [named(one) for one in names] or None
            values = {
                "input": (asked.prediction, asked.target)[side], "out": folders[side],
                "nuclei": named(asked.nuclei),
                "cells": None if asked.cells is None else named(asked.cells),
                "stains": stains, "nucleus": asked.nucleus, "reach": asked.reach, **true,
            }  # fmt: skip
            return make_settings(
                MeasureSettings, {k: v for k, v in values.items() if v is not None}
            )

        def compared() -> PhenotypeSettings:
            values = {
                "prediction": str(Path(folders[0]) / "wells.csv"),
                "target": str(Path(folders[1]) / "wells.csv"), "out": asked.out,
                "labels": asked.labels, "label": asked.label, "controls": asked.controls,
                "moa": asked.moa, "folds": self.folds.value(),
            }  # fmt: skip
            return make_settings(
                PhenotypeSettings, {k: v for k, v in values.items() if v is not None}
            )

        def third(result: dict[str, Any], _: JobSettings) -> None:
            del result
            self._ask(
                "phenotype", compared, "Asking for phenotypes",
                lambda found, _: self._tell(found, "phenotype.html", "phenotype"),
            )  # fmt: skip

        self._ask(
            "measure", lambda: measured(0), "Measuring predicted stains",
            lambda *_: self._ask("measure", lambda: measured(1), "Measuring true stains", third),
        )  # fmt: skip

    def ask_recognition(self) -> None:
        """Teach a network treatments from true stains, and ask it of the predicted ones."""

        def settings() -> RecogniseSettings:
            asked = self.settings(str(self._jobs.temporary("recognise")))
            if asked.labels is None:
                raise MissingInputError(_NO_LAYOUT)
            shared = ("prediction", "target", "match", "axes", "pattern", "labels", "label", "out")
            values = {name: getattr(asked, name) for name in shared}
            values |= {"steps": self.steps.value(), "folds": self.folds.value()}
            return make_settings(
                RecogniseSettings, {k: v for k, v in values.items() if v is not None}
            )

        self._ask(
            "recognise", settings, "Teaching treatments",
            lambda result, _: self._tell(result, "recognise.html", "recognise"),
        )  # fmt: skip

    def begin_review(self) -> None:
        """Draw pairs of predicted and real pictures, and show the first."""

        def settings() -> BlindSettings:
            values = {
                **self._both(), "out": str(self._jobs.temporary("review")),
                "count": self.count.value(),
            }  # fmt: skip
            return make_settings(BlindSettings, {k: v for k, v in values.items() if v is not None})

        def opened(result: dict[str, Any], _: JobSettings) -> None:
            self._note(result)
            self.words.clear()
            self.report.hide()
            try:
                self.review.open_review(Path(result["out"]))
            except VirtualStainError as error:
                self._refuse(str(error))
            self.fold.heading.setChecked(False)

        self._ask("blind", settings, "Drawing pairs", opened)

    def score_review(self) -> None:
        """Score the answers that there are by the key of the review."""
        folder = self.review.folder
        if folder is None or not self.review.answers:
            return

        def settings() -> BlindSettings:
            answers = (str(folder / ANSWERS),)
            return make_settings(BlindSettings, {"out": str(folder), "answers": answers})

        def scored(result: dict[str, Any], _: JobSettings) -> None:
            self._note(result)
            lines = [f"<b>{escape(result['score']['sentence'])}</b>"]
            if len(result["by_stain"]) > 1:
                lines += [
                    f"{escape(name)}: {one['right']} of {one['asked']}"
                    for name, one in result["by_stain"].items()
                ]
            self.words.setText("<br>".join(lines))
            self.report.show_report(folder / PAGE, "review")

        self._ask("blind", settings, "Scoring answers", scored)

    def _ask(
        self,
        verb: str,
        settings: Callable[[], JobSettings],
        title: str,
        then: Callable[[dict[str, Any], JobSettings], None],
    ) -> None:
        try:
            asked = settings()
        except VirtualStainError as error:
            self._refuse(str(error))
            return
        if self._run is not None and not self._run.ended:
            self._run.cancel()
        self.notice.clear()
        self._then, self._run = then, self._jobs.submit(verb, asked)
        self._run_bar.announce(self._run, title)

    def _follow(self, run: Run) -> None:
        if run is not self._run or run.outcome is None:
            return
        then, self._run, self._then = self._then, None, None
        if run.outcome.result is None:
            self.notice.fail_run(run)
        elif then is not None:
            then(run.outcome.result, run.settings)

    def _tell(self, result: Mapping[str, Any], page: str, name: str) -> None:
        """Say what was concluded, and lead to the report."""
        self.review.hide()
        self._note(result)
        parts = [f"<b>{escape(result['sentence'])}</b>"]
        order = list(_SIGNS)
        for one in sorted(result["findings"], key=lambda one: order.index(one["state"])):
            sign, colour = _SIGNS[one["state"]]
            parts.append(
                f'<span style="color: {colour}"><b>{sign}</b></span> '
                f"<b>{escape(one['question'])}</b> {_WORDS[one['state']]}: "
                f"{escape(one['sentence'])}"
            )
        parts.append(f"<i>{escape(result['caveat'])}</i>")
        self.words.setText("".join(f'<p style="margin: 0 0 6px 0">{part}</p>' for part in parts))
        self.fold.heading.setChecked(False)  # what was found is what somebody looks at now
        self.report.show_report(Path(result["out"]) / page, name)

    def _note(self, result: Mapping[str, Any]) -> None:
        notes = [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in result["notes"]]
        self.notice.hint(words_of(" ".join(notes)))

    def _refuse(self, sentence: str) -> None:
        self.notice.fail(words_of(sentence))

    def close_runs(self) -> None:
        """Cancel what was asked for; the viewer is closing."""
        self._then = None
        if self._run is not None and not self._run.ended:
            self._run.cancel()

    def _arrange(self) -> None:
        self.count.setRange(2, 400)
        self.count.setValue(40)
        self.count.setSuffix(" pairs")
        self.folds.setRange(2, 50)
        self.folds.setValue(5)
        self.folds.setSuffix(" folds")
        self.steps.setRange(10, 100_000)
        self.steps.setValue(RecogniseSettings.model_fields["steps"].default)
        self.steps.setSuffix(" steps")
        self.controls.setPlaceholderText("DMSO; without them hits are not asked")
        self.moa.setPlaceholderText("no column")
        self.cells.setPlaceholderText("not looked for, or AGP")
        for part, tip in (
            (self.treatment, "Column of the layout that says what was done to a well"),
            (self.controls, "Treatments that do nothing, several by commas"),
            (self.moa, "Column with the mechanism or target of each treatment"),
            (self.nuclei, "Predicted stain in which nuclei are found"),
            (self.cells, "Predicted stain in which the cell of each nucleus is found"),
            (
                self.folds,
                "In how many parts mechanisms and treatments are asked: at most wells of each",
            ),
            (self.steps, "How long each network of Recognise learns; there are three of a source"),
            (self.count, "How many pairs of pictures a review has"),
            (self.start, "Are counts, amounts, hits and their order as in the true stains?"),
            (self.phenotype, "Measure both plates, and ask whether mechanisms are told apart"),
            (
                self.recognise,
                "Does a network taught by true stains know the treatments in predicted ones?",
            ),
            (self.blind, "Can you tell predicted from real pictures? Answer with two keys"),
        ):
            part.setToolTip(tip)
        rows = form()
        rows.addRow(Wrapped(_ABOUT))
        rows.addRow("Predicted", self.prediction)
        rows.addRow("True", self.truth)
        rows.addRow("Layout", self.layout_table)
        rows.addRow("Treatments in", self.treatment)
        rows.addRow("Controls are", self.controls)
        mechanism = QHBoxLayout()
        mechanism.addWidget(self.moa, 1)
        mechanism.addWidget(self.folds)
        rows.addRow("Mechanism in", mechanism)
        rows.addRow("Nuclei in", self.nuclei)
        rows.addRow("Cells in", self.cells)
        rows.addRow("Taught for", self.steps)
        rows.addRow("Review of", self.count)
        buttons = QHBoxLayout()
        for button in (self.start, self.phenotype, self.recognise, self.blind):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.fold.content.setLayout(rows)
        column.addWidget(self.fold)
        column.addLayout(buttons)
        column.addWidget(self.notice)
        column.addWidget(self.words)
        column.addWidget(self.review)
        column.addWidget(self.report)
        column.addWidget(self.copy)
        column.addStretch(1)
