"""Did it help? Before and after on fields that did not teach, in plain words; keep it or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._parts import Wrapped
from napari_virtualstain.widgets._tune_worst import WorstBlocks

__all__ = ["ResultCard", "headline", "said_of"]

_NONE = "too little to tell"


class ResultCard(QWidget):
    """What a tuning came to, and the two buttons that decide about it.

    Parameters
    ----------
    viewer
        Whose theme it follows.
    """

    kept = Signal()
    reverted = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._result: Mapping[str, Any] | None = None
        self.headline, self.table, self.notes = Wrapped(), Wrapped(), Wrapped()
        self.worst = WorstBlocks()
        self.keep, self.revert = QPushButton("Keep"), QPushButton("Revert")
        self.keep.setToolTip("Put the tuned model among your models, and choose it on Stain")
        self.revert.setToolTip("Delete the tuned model; the old one was never changed")
        buttons = QHBoxLayout()
        buttons.addWidget(self.keep)
        buttons.addWidget(self.revert)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        for part in (self.headline, self.table, self.worst, self.notes):
            column.addWidget(part)
        column.addLayout(buttons)
        self.keep.clicked.connect(self.kept)
        self.revert.clicked.connect(self.reverted)
        viewer.events.theme.connect(self._paint)
        self.hide()

    def show_result(
        self,
        name: str,
        result: Mapping[str, Any],
        worst: Sequence[NDArray[np.float32]] = (),
    ) -> None:
        """Show what became of a tuning.

        Parameters
        ----------
        name
            Of the tuned model.
        result
            As `FinetuneResult.to_json` has it.
        worst
            Pictures of the blocks that lost most, as `jobs.tuning_run.read_worst` has them.
        """
        self._result = result
        gains = result["gains"]
        self.headline.setText(f"<b>{escape(name)}</b>: {escape(headline(gains))}")
        like = result.get("like_before")
        kept = []
        if like is not None:
            kept.append(
                f"On the test picture that came with the old model, both agree to {like:.2f}; 1 "
                "would mean that nothing was forgotten."
            )
        notes = [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in result["notes"]]
        self.notes.setText("<br>".join(escape(words_of(one)) for one in (*kept, *notes)))
        self.worst.show_blocks(result.get("worst", ()), worst)
        self._paint()
        self.show()

    def forget(self) -> None:
        """Show nothing."""
        self._result = None
        self.hide()

    def _paint(self, event: Any = None) -> None:
        del event
        if self._result is None:
            return
        theme = get_theme(self._viewer.theme)
        colours = {"better": "#3fa34d", "worse": theme.error.as_hex()}
        head = "".join(f"<td><b>{t}</b>&nbsp;&nbsp;</td>" for t in ("", "Before", "After", ""))
        rows = [f"<tr>{head}</tr>"]
        for gain in self._result["gains"]:
            colour = colours.get(gain["verdict"], theme.text.as_hex())
            cells = (
                escape(gain["stain"]), _number(gain["pcc_before"]), _number(gain["pcc_after"]),
                f'<span style="color: {colour}">{escape(said_of(gain))}</span>',
            )  # fmt: skip
            rows.append("<tr>" + "".join(f"<td>{c}&nbsp;&nbsp;</td>" for c in cells) + "</tr>")
        self.table.setText(
            f"<table>{''.join(rows)}</table>Pearson correlation on fields that did not teach, and "
            "between which values its gain lies with 95 % certainty."
        )


def headline(gains: Sequence[Mapping[str, Any]]) -> str:
    """Return in a sentence whether it helped.

    Examples
    --------
    >>> headline([{"stain": "DNA", "verdict": "better"}, {"stain": "ER", "verdict": "worse"}])
    'DNA is better than before; ER is worse.'
    >>> headline([{"stain": "DNA", "verdict": "inside the noise"}])
    'the gain is inside the noise. Keeping it changes nothing that could be measured.'
    """
    by = {v: [g["stain"] for g in gains if g["verdict"] == v] for v in ("better", "worse")}
    said = [
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {verdict}"
        + (" than before" if not number else "")
        for number, (verdict, names) in enumerate((v, n) for v, n in by.items() if n)
    ]
    if said:
        return f"{'; '.join(said)}."
    if any(gain["verdict"] == "inside the noise" for gain in gains):
        return "the gain is inside the noise. Keeping it changes nothing that could be measured."
    return "too little was held back to tell whether it helped. Give more fields."


def said_of(gain: Mapping[str, Any]) -> str:
    """Return the verdict on a stain with the interval of its gain."""
    interval = gain["pcc_gain"]
    if interval is None or gain["verdict"] == _NONE:
        return _NONE if gain["pcc_after"] is not None else "no true stain"
    if gain.get("by") == "MAE":
        before, after = gain["mae_before"], gain["mae_after"]
        return f"{gain['verdict']}, error {before:.4g} before, {after:.4g} after"
    return f"{gain['verdict']}, {interval['low']:+.3f} to {interval['high']:+.3f}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
