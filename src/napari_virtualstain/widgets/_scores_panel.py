"""How good is each field, and which model is best? A table to go through, ranks and a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.scores import ScoresSettings
from napari_virtualstain.jobs.scores_rows import LIMITS, ranked
from napari_virtualstain.jobs.scores_within import regions_text
from napari_virtualstain.jobs.scores_write import ENDINGS, check_table, write_table
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Wrapped, form, wide
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._scores_source import ScoredSource
from napari_virtualstain.widgets._scores_table import NUMBERS, FieldTable, Row, place_name, said
from napari_virtualstain.widgets._spool import Spool
from napari_virtualstain.widgets._strip_plot import COLOURS, Dot, StripPlot

if TYPE_CHECKING:
    import napari

__all__ = ["ScoresPanel"]

_ANY = "all stains"
_GROUPS = {"treatment": "treatment", "well": "well", "plate": "plate", "stain": "stain"}
_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}

Pair = Callable[[], "tuple[Field | None, Field | None, tuple[str, ...]]"]


class ScoresPanel(QWidget):
    """What is scored, and what came of it.

    Parameters
    ----------
    viewer
        In which regions are drawn, and whose theme is followed.
    fields
        What it shows.
    jobs, run_bar
        Where scores are computed, and where that is shown.
    pair
        Returns the prediction and the truth that are chosen, and PREDICTED=TRUE names of their
        channels; raises a sentence if they have no stain in common.
    """

    chosen = Signal(object)
    """A row whose field is to be shown."""

    def __init__(
        self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar, pair: Pair
    ) -> None:
        super().__init__()
        self._jobs, self._run_bar, self._pair = jobs, run_bar, pair
        self._background = Background(self)
        self._spool = Spool(self, jobs, self._background)
        self._run: Run | None = None
        self._result: dict[str, Any] | None = None
        self.settings_of_result: ScoresSettings | None = None
        self.source = ScoredSource(viewer, fields)
        self.start = QPushButton("Score")
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.notice = Notice(viewer)
        self.number, self.stain, self.group = (wide(QComboBox()) for _ in range(3))
        self.table = FieldTable()
        self.ranks = Wrapped()
        self.plot = StripPlot(viewer)
        self.save = QPushButton("Save table…")
        self.copy_table = QPushButton("Copy table")
        self._arrange()
        self.start.clicked.connect(self.score)
        self.number.activated.connect(lambda _: self._fill())
        self.stain.activated.connect(lambda _: self._fill())
        self.group.activated.connect(lambda _: self._draw())
        self.table.sorts.connect(self._sort_by)
        self.table.chosen.connect(self._choose)
        self.plot.picked.connect(self.table.choose)
        self.save.clicked.connect(self._ask)
        self.copy_table.clicked.connect(
            lambda: QApplication.clipboard().setText(self.table.as_text())
        )
        jobs.run_changed.connect(self._follow)

    @property
    def row(self) -> Row | None:
        """The row that is chosen."""
        return self.table.row

    @property
    def rows(self) -> Sequence[Row]:
        """All rows of the last run, in its order."""
        return [] if self._result is None else self._result["rows"]

    # --- what would be scored ---------------------------------------------------------------------

    def settings(self, path: str | None = None, regions: str | None = None) -> ScoresSettings:
        """Return the settings of what is chosen.

        Parameters
        ----------
        path
            Where a truth in memory was written.
        regions
            Where regions were written.

        Raises
        ------
        VirtualStainError
            If there is nothing to score.
        """
        predicted, true, match = self._pair()
        if predicted is None or true is None:
            raise MissingInputError("Choose a prediction and its true stain above.")
        values = self.source.values(predicted, true, path)
        if self.source.regions(predicted) is not None:
            if regions is None:
                raise MissingInputError(
                    "What is drawn lies in the viewer, so no command can read it. Choose the whole "
                    "image or the foreground to copy the command, and add --regions to it."
                )
            values["regions"] = regions
        return make_settings(ScoresSettings, {**values, "match": match})

    def command(self) -> str:
        """Return the line that gives the same table."""
        return to_command("scores", self.settings().absolute(), positional=("prediction",))

    def offer(self, *, possible: bool) -> None:
        """Take note of another pair."""
        try:
            first = self._pair()[0]
        except VirtualStainError:
            first = None
        self.source.offer(first)
        self.start.setEnabled(possible)
        self.copy.setEnabled(possible)

    # --- scoring ----------------------------------------------------------------------------------

    def score(self) -> None:
        """Score what is chosen now; the table stays until another is there."""
        try:
            predicted, true, _ = self._pair()
            drawn = None if predicted is None else self.source.regions(predicted)
        except VirtualStainError as error:
            self._refuse(str(error))
            return
        if predicted is None or true is None:
            return
        regions = None
        if drawn is not None:
            regions = self._jobs.temporary("regions.json")
            Path(regions).write_text(regions_text(drawn), encoding="utf-8")
        kept = None if regions is None else str(regions)
        if true.path is None:
            self._spool.write(true, lambda path: self._submit(path, kept), self._refuse)
        else:
            self._submit(None, kept)

    def _submit(self, path: str | None, regions: str | None) -> None:
        try:
            settings = self.settings(path, regions)
        except VirtualStainError as error:
            self._refuse(str(error))
            return
        if self._run is not None and not self._run.ended:
            self._run.cancel()
        self.notice.clear()
        self._run = self._jobs.submit("scores", settings)
        name = "the field" if self.source.is_one else "all fields"
        self._run_bar.announce(self._run, f"Scoring {name}")

    def _follow(self, run: Run) -> None:
        if run is not self._run or run.outcome is None:
            return
        self._run = None
        if run.outcome.result is None:
            self.notice.fail_run(run)
            return
        assert isinstance(run.settings, ScoresSettings)
        self.settings_of_result = run.settings
        self.show_result(run.outcome.result)

    def show_result(self, result: dict[str, Any]) -> None:
        """Show another table.

        Parameters
        ----------
        result
            See `jobs.scores.ScoresResult.to_json`.
        """
        self._result = result
        notes = [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in result["notes"]]
        self.notice.hint(words_of(" ".join(notes)))
        stains = list(dict.fromkeys(row["stain"] for row in result["rows"]))
        before = self.stain.currentText()
        self.stain.clear()
        self.stain.addItems(([_ANY] if len(stains) > 1 else []) + stains)
        self.stain.setCurrentIndex(max(self.stain.findText(before), 0))
        wanted = self.group.currentText()
        self.group.clear()
        self.group.addItems(
            [n for n in _GROUPS if n == "stain" or any(row[n] for row in result["rows"])]
        )
        self.group.setCurrentIndex(max(self.group.findText(wanted), 0))
        self.results.show()
        self._fill()
        self.table.setFocus()

    # --- looking ----------------------------------------------------------------------------------

    def _sort_by(self, number: str) -> None:
        self.number.setCurrentIndex(self.number.findData(number))
        self._fill()

    def _shown(self) -> list[Row]:
        wanted = self.stain.currentText()
        return [row for row in self.rows if wanted in (_ANY, row["stain"])]

    def _fill(self) -> None:
        number = self.number.currentData()
        self.table.show_rows(self._shown(), number)
        self.ranks.setText(_ranks_as_html(self._shown(), number))
        self._draw()
        if self.table.row is None and self.table.rows:
            self.table.choose(self.table.rows[0])

    def _draw(self) -> None:
        number, by = self.number.currentData(), self.group.currentText() or "stain"
        rows, name = self._shown(), place_name(self.rows)
        dots = [
            Dot(str(row[by] or "not said"), str(row["model"]), float(row[number]), row,
                f"{name(row)} {row['stain']} {row['model']}")
            for row in rows if row[number] is not None and np.isfinite(row[number])
        ]  # fmt: skip
        floor = LIMITS.get(number, (None, None))[0]
        known = [row[floor] for row in rows if floor is not None and row[floor] is not None]
        self.plot.show_dots(dots, float(np.median(known)) if known else None)
        self.plot.ring(self.row)
        self.plot.setToolTip(
            f"{NUMBERS[number][0]} of each field by {by}; boxes are quartiles"
            + ("; the dashed line is the median floor" if known else "")
        )

    def _choose(self) -> None:
        self.plot.ring(self.row)
        if self.row is not None:
            self.chosen.emit(self.row)

    # --- keeping ----------------------------------------------------------------------------------

    def save_table(self, path: str) -> None:
        """Write the table to a file of the user's, all rows of it.

        Parameters
        ----------
        path
            That ends in .csv, .json or .parquet; Qt has asked whether it may be replaced.
        """
        result, settings = self._result, self.settings_of_result
        if result is None or settings is None:
            return
        where = Path(path)

        def write() -> None:
            check_table(where, overwrite=True)
            write_table(where, result, settings.model_dump(mode="json"))

        self._background.run(
            "table", write, lambda _: self.notice.hint(f"Kept in {where}."), self._refuse
        )

    def _ask(self) -> None:
        dialog = QFileDialog(self, "A file for the table")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters([f"{end[1:].upper()} (*{end})" for end in ENDINGS])
        dialog.setDefaultSuffix("csv")
        dialog.filterSelected.connect(
            lambda name: dialog.setDefaultSuffix(name.rpartition(".")[2].rstrip(")"))
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.selectFile("scores.csv")
        dialog.fileSelected.connect(self.save_table)
        dialog.open()

    def _refuse(self, sentence: str) -> None:
        self.notice.fail(words_of(sentence))

    def close_runs(self) -> None:
        """Cancel what was asked for; the viewer is closing."""
        if self._run is not None and not self._run.ended:
            self._run.cancel()

    def _arrange(self) -> None:
        for name, (title, about) in NUMBERS.items():
            self.number.addItem(title, name)
            self.number.setItemData(self.number.count() - 1, about, Qt.ItemDataRole.ToolTipRole)
        for box in (self.number, self.stain):  # two in a row of a narrow dock
            box.setMinimumContentsLength(5)
        self.number.setToolTip("Which number sorts the table, the worst first, and is drawn")
        self.stain.setToolTip("Which stains are listed")
        self.group.setToolTip("By what the points of the plot are put together")
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.copy)
        rows = form()
        choice = QHBoxLayout()
        choice.addWidget(self.number, 1)
        choice.addWidget(self.stain, 1)
        rows.addRow("Worst by", choice)
        below = form()
        below.addRow("Drawn by", self.group)
        keep = QHBoxLayout()
        keep.addWidget(self.copy_table)
        keep.addWidget(self.save)
        self.results = QWidget()
        found = QVBoxLayout(self.results)
        found.setContentsMargins(0, 0, 0, 0)
        found.addLayout(rows)
        found.addWidget(self.table)
        found.addWidget(self.ranks)
        found.addLayout(below)
        found.addWidget(self.plot)
        found.addLayout(keep)
        self.results.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addWidget(self.source)
        column.addLayout(buttons)
        column.addWidget(self.notice)
        column.addWidget(self.results)


def _ranks_as_html(rows: Sequence[Row], number: str) -> str:
    """Return the mean of each model, the best first, with the place it has by this number."""
    found = ranked(rows)
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines = []
    for stain in dict.fromkeys(one.stain for one in found):
        here = [one for one in found if one.stain == stain]
        here.sort(key=lambda one: one.places.get(number, len(here) + 1))
        parts = []
        for one in here:
            mean = one.means[number]
            place = one.places.get(number)
            colour = COLOURS[models.index(one.model) % len(COLOURS)]
            order = f" ({_ORDINALS.get(place, f'{place}th')})" if place and len(here) > 1 else ""
            text = f"{one.model} {said(number, mean if np.isfinite(mean) else None)}{order}"
            parts.append(f'<span style="color: {colour}">●</span>&nbsp;{escape(text)}')
        lines.append(f"{escape(stain)}: {', '.join(parts)}")
    planes = sorted({one.rows for one in found})
    few = " to ".join(str(n) for n in dict.fromkeys((planes[0], planes[-1])))
    lines.append(f"Means over {few} {'plane' if planes[-1] == 1 else 'planes'} that all have.")
    return "<br>".join(lines)
