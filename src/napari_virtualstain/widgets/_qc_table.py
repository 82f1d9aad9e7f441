"""The judged fields, worst first: state, reason, and what somebody decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Signal

from napari_virtualstain.widgets._qc_words import COLOURS, SIGNS, VERDICT_SIGNS, Row
from napari_virtualstain.widgets._row_table import MIDDLE, Column, RowTable

__all__ = ["JudgedTable"]

_HEIGHT = 170
_SHORT = {"accepted": "good", "rejected": "bad", "rejected in part": "in part"}


class JudgedTable(RowTable):
    """Rows to go through with the arrow keys; A accepts, R rejects, U takes a decision back."""

    chosen = Signal()
    """Another row is current."""
    pressed_key = Signal(str)
    """``"a"``, ``"r"`` or ``"u"``."""

    def __init__(self) -> None:
        self._verdicts: Mapping[int, str] = {}
        self._plates = 0
        super().__init__(
            (
                Column(
                    title="", width=24, text=lambda row: SIGNS[row["state"]], align=MIDDLE,
                    colour=lambda row: COLOURS[row["state"]],
                ),
                Column(title="Field", width=64, text=self._place),
                Column(title="Worst", text=lambda row: str(row["reason"]) or "nothing unusual"),
                Column(title="Decided", width=58, text=self._decided),
            ),
            lambda row: "\n".join(p for p in (row["name"], row["state"], row["reason"]) if p),
        )  # fmt: skip
        self.setFixedHeight(_HEIGHT)
        self.setAccessibleName("Judged fields")
        self.setToolTip("Arrow keys go through the fields; A accepts, R rejects, U takes it back")
        self.selectionModel().currentRowChanged.connect(lambda *_: self.chosen.emit())

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is shown."""
        return self.row_model.rows

    @property
    def row(self) -> Row | None:
        """The field that is chosen."""
        found: Row | None = self.current
        return found

    def show_rows(self, rows: Sequence[Row], verdicts: Mapping[int, str]) -> None:
        """Show these fields; the one that is chosen stays so, if it is there.

        Parameters
        ----------
        rows
            In order.
        verdicts
            What was decided, by ``id`` of the row.
        """
        before = self.row
        self.selectionModel().blockSignals(True)
        self._verdicts, self._plates = verdicts, len({row["plate"] for row in rows})
        self.row_model.replace(rows)
        if before is not None:
            self.choose(before)
        self.selectionModel().blockSignals(False)

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        """Decide with a key."""
        key = event.text().lower()
        if key in ("a", "r", "u") and self.row is not None:
            self.pressed_key.emit(key)
            return
        super().keyPressEvent(event)

    def _decided(self, row: Row) -> str:
        verdict = self._verdicts.get(id(row), "")
        return f"{VERDICT_SIGNS[verdict]} {_SHORT[verdict]}" if verdict else ""

    def _place(self, row: Row) -> str:
        """Return where a field of a plate lies, without what all have in common."""
        if not row["well"]:
            return str(row["name"])
        parts = [row["plate"] if self._plates > 1 else "", row["well"], row["site"]]
        name = " ".join(str(part) for part in parts if part)
        return f"{name} t {row['time']}" if " t " in row["name"] else name
