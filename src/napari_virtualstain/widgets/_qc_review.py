"""The fields that were judged, one after the other: look, accept or reject, and go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.datasets.review import Decision, Review, Verdict, read_review, write_review
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.io.folder import review_folder
from napari_virtualstain.io.plate import Place, plates_with
from napari_virtualstain.napari_io.marks import write_marks
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._parts import Wrapped, form, wide
from napari_virtualstain.widgets._plate_map import PlateMap
from napari_virtualstain.widgets._qc_marks import MarksBox
from napari_virtualstain.widgets._qc_table import JudgedTable
from napari_virtualstain.widgets._qc_words import (
    COLOURS,
    Row,
    drift_as_html,
    findings_as_html,
    good_as_text,
    summary,
    wells_of,
)

if TYPE_CHECKING:
    import napari

__all__ = ["ReviewPanel"]

_SHOWN: dict[str, Callable[[Row, Decision | None], bool]] = {
    "all fields": lambda row, decision: True,
    "amber and red": lambda row, decision: row["state"] in ("amber", "red"),
    "not yet reviewed": lambda row, decision: decision is None,
    "rejected": lambda row, decision: decision is not None and decision.verdict != "accepted",
}


class ReviewPanel(QWidget):
    """A queue of judged fields, worst first, with a plate map where they lie on one.

    Parameters
    ----------
    viewer
        For the marks.
    complain
        Takes a sentence if a decision cannot be kept.
    """

    chosen = Signal()
    """Another field is to be shown."""
    decided = Signal(object)
    """A decision was written: `Decision`."""

    def __init__(self, viewer: napari.Viewer, complain: Callable[[str], None]) -> None:
        super().__init__()
        self._complain = complain
        self._prediction = self._name = ""
        self._rows: tuple[Row, ...] = ()
        self._unseen = ""
        self.review = Review()
        self.summary = Wrapped()
        self.drift = Wrapped()
        self.map = PlateMap()
        self.shown = wide(QComboBox())
        self.shown.addItems(list(_SHOWN))
        self.table = JudgedTable()
        self.accept = QPushButton("Accept")
        self.reject = QPushButton("Reject")
        self.reject_part = QPushButton("Reject marked part")
        self.comment = QLineEdit()
        self.words = Wrapped()
        self.marks = MarksBox(viewer)
        self._arrange()
        self.table.chosen.connect(self._choose)
        self.table.pressed_key.connect(self._press)
        self.map.chosen.connect(self._choose_well)
        self.shown.activated.connect(lambda _: self._fill())
        self.accept.clicked.connect(lambda: self.decide("accepted"))
        self.reject.clicked.connect(lambda: self.decide("rejected"))
        self.reject_part.clicked.connect(lambda: self.decide("rejected in part"))
        self.comment.editingFinished.connect(self._comment)
        self.marks.changed.connect(self._enable)
        self.hide()

    @property
    def row(self) -> Row | None:
        """The field that is looked at."""
        return self.table.row

    @property
    def decision(self) -> Decision | None:
        """What was decided about it."""
        return None if self.row is None else self._decision(self.row)

    def show_result(self, result: dict[str, Any], prediction: str, name: str) -> None:
        """Show the fields of a run, the worst first and chosen.

        Parameters
        ----------
        result
            See `jobs.qc.QcResult.to_json`.
        prediction
            What was judged, beside which decisions are kept.
        name
            What it is called.
        """
        self._prediction, self._name = prediction, name
        try:
            self.review = read_review(prediction)
        except VirtualStainError as error:
            self.review = Review()
            self._complain(words_of(str(error)))
        self._rows = tuple(result["fields"])
        self._unseen = result["unseen"]
        self._show_map()
        self.drift.setText(drift_as_html(result["drift"]))
        self.drift.setToolTip("\n".join(result["drift"]["untold"]))
        self.drift.setVisible(bool(self.drift.text()))
        self.shown.setCurrentIndex(0)
        self._fill()
        self.show()
        self.table.choose(self._rows[0])
        self.table.setFocus()

    def show_marks(self, over: Any, marks: dict[str, NDArray[np.uint8]]) -> None:
        """Show what the checks saw of the field that is looked at.

        Parameters
        ----------
        over
            Layer of the field.
        marks
            By name of the check.
        """
        row, decision = self.row, self.decision
        if row is None:
            return
        titles = {one["check"]: one["title"] for one in row["findings"]}
        named = {titles[name]: pixels for name, pixels in marks.items()}
        rejected = None
        if decision is not None and decision.marks is not None:
            file = review_folder(self._prediction) / decision.marks
            rejected = np.asarray(tifffile.imread(file)) if file.is_file() else None
        self.marks.offer(over, named, rejected)

    def decide(self, verdict: Verdict) -> None:
        """Decide about the field that is looked at, and go on to the next that nobody has reviewed.

        The same decision again takes it back.

        Parameters
        ----------
        verdict
            What is decided.
        """
        row, before = self.row, self.decision
        if row is None:
            return
        if before is not None and before.verdict == verdict and verdict != "rejected in part":
            self._write(self.review.without(*_key(row)))
            return
        marks = None
        try:
            if verdict == "rejected in part":
                painted = self.marks.painted
                if painted is None:
                    return
                key, t = _key(row)
                stem = "_".join(part for part in (*key, str(t)) if part)
                safe = "".join(c if c.isalnum() or c in "-." else "_" for c in stem)
                marks = f"marks/{safe}.tif"
                write_marks(review_folder(self._prediction) / marks, painted)
        except VirtualStainError as error:
            self._complain(words_of(str(error)))
            return
        decision = Decision(
            path=row["path"], scene=row["scene"], time=row["time"], verdict=verdict,
            comment=self.comment.text().strip(), state=row["state"], reason=row["reason"],
            when=datetime.now(UTC).isoformat(timespec="seconds"), marks=marks,
        )  # fmt: skip
        if self._write(self.review.decided(decision)):
            self.decided.emit(decision)
            self._go_on(row)

    def undecide(self) -> None:
        """Take back what was decided about the field that is looked at."""
        if self.row is not None and self.decision is not None:
            self._write(self.review.without(*_key(self.row)))

    def insert(self, part: QWidget) -> None:
        """Show a part above what is said of the field."""
        column = self.layout()
        assert isinstance(column, QVBoxLayout)
        column.insertWidget(column.indexOf(self.words), part)

    # --- inside -----------------------------------------------------------------------------------

    def _decision(self, row: Row) -> Decision | None:
        return self.review.of(*_key(row))

    def _press(self, key: str) -> None:
        if key == "u":
            self.undecide()
        else:
            self.decide("accepted" if key == "a" else "rejected")

    def _comment(self) -> None:
        """Keep another comment of a field that is decided already."""
        now, text = self.decision, self.comment.text().strip()
        if now is not None and now.comment != text:
            self._write(self.review.decided(now.model_copy(update={"comment": text})))

    def _write(self, review: Review) -> bool:
        try:
            write_review(self._prediction, review)
        except VirtualStainError as error:
            self._complain(words_of(str(error)))
            return False
        self.review = review
        self._fill()
        return True

    def _go_on(self, row: Row) -> None:
        """Go on to the next field of the list that nobody has reviewed, if there is one."""
        rows = self.table.rows
        at = next((n for n, one in enumerate(rows) if one is row), -1)
        order = [*rows[at + 1 :], *rows[: max(at, 0)]]
        following = next((one for one in order if self._decision(one) is None), None)
        if following is not None:
            self.table.choose(following)

    def _fill(self) -> None:
        """Show the fields that are asked for, as they are decided now."""
        wanted = _SHOWN[self.shown.currentText()]
        decisions = {id(row): self._decision(row) for row in self._rows}
        here = self.row
        rows = [row for row in self._rows if wanted(row, decisions[id(row)]) or row is here]
        verdicts = {key: one.verdict for key, one in decisions.items() if one is not None}
        self.table.show_rows(rows, verdicts)
        said = f"<b>{summary(self._rows, len(verdicts))}</b>"
        self.summary.setText(f"{escape(self._name)}: {said}")
        self._enable()

    def _choose(self) -> None:
        row = self.row
        # What cannot be seen at all belongs beside what was seen.
        said = "" if row is None else f"{findings_as_html(row)}<br><i>{self._unseen}</i>"
        self.words.setText(said)
        self.words.setToolTip("" if row is None else good_as_text(row))
        decision = self.decision
        self.comment.setText("" if decision is None else decision.comment)
        if row is not None:
            self.map.ring(row["well"])
        self._enable()
        self.chosen.emit()

    def _choose_well(self, well: str) -> None:
        """Look at the worst field of a well; of all fields if the list does not show it."""
        inside = [row for row in self._rows if row["well"] == well]
        if inside and not self.table.choose(inside[0]):
            self.shown.setCurrentIndex(0)
            self._fill()
            self.table.choose(inside[0])

    def _show_map(self) -> None:
        places = [
            (row["scene"], Place(plate=row["plate"], well=row["well"], site=row["site"]))
            for row in self._rows
        ]
        plates = plates_with(places)
        wells = wells_of(self._rows)
        # Of several plates the one with the worst field is drawn; the list holds all of them.
        plate = next((one for one in plates if one.name == self._rows[0]["plate"]), None)
        self.map.setVisible(plate is not None)
        if plate is None:
            return
        worst = wells[plate.name]
        self.map.show_plate(plate, "")
        self.map.colour_as(
            {well: COLOURS[row["state"]] for well, row in worst.items()},
            {well: f"{row['state']}: {row['reason'] or 'nothing unusual'}"
             for well, row in worst.items()},
        )  # fmt: skip

    def _enable(self) -> None:
        is_there = self.row is not None
        verdict = None if self.decision is None else self.decision.verdict
        self.accept.setEnabled(is_there)
        self.reject.setEnabled(is_there)
        self.comment.setEnabled(is_there)
        self.reject_part.setEnabled(is_there and self.marks.painted is not None)
        self.accept.setChecked(verdict == "accepted")
        self.reject.setChecked(verdict == "rejected")

    def _arrange(self) -> None:
        self.accept.setCheckable(True)
        self.reject.setCheckable(True)
        self.accept.setToolTip("This field can be used (A); once more takes it back")
        self.reject.setToolTip("This field is not to be used (R); once more takes it back")
        self.reject_part.setToolTip("Not to be used is what is marked in orange; paint on it first")
        self.comment.setPlaceholderText("comment, kept with the decision")
        self.map.setToolTip("")
        buttons = QHBoxLayout()
        buttons.addWidget(self.accept)
        buttons.addWidget(self.reject)
        buttons.addWidget(self.reject_part)
        rows = form()
        rows.addRow("Show", self.shown)
        below = form()
        below.addRow("Marked", self.marks)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addWidget(self.summary)
        column.addWidget(self.map)
        column.addWidget(self.drift)
        column.addLayout(rows)
        column.addWidget(self.table)
        column.addLayout(buttons)
        column.addWidget(self.comment)
        column.addLayout(below)
        column.addWidget(self.words)


def _key(row: Row) -> tuple[tuple[str, str], int]:
    return (row["path"], row["scene"]), row["time"]
