"""How many cells, how large, how bright? Counted in what is open, and outlined there."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.io.disk import check_output, disk_errors
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.batch_items import scene_pattern
from napari_virtualstain.jobs.measure import TABLES, MeasureSettings
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.napari_io.outlines import LINE, outlines_of
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._measure_view import MeasuredView
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, form, wide
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._spool import Spool
from napari_virtualstain.widgets._view import shown_plane

if TYPE_CHECKING:
    import napari

__all__ = ["MeasurePage"]

_EMPTY = "Stain an image first, or open one with a stain of nuclei."
_NONE = "are not looked for"
_LIGHT = "the bright field"
_ONE, _ALL = "this field", "all fields of this plate or file"


class MeasurePage(QWidget):
    """Counts and measures nuclei and cells.

    Parameters
    ----------
    viewer
        In which outlines are shown.
    fields
        What it shows.
    jobs
        Where it is measured.
    run_bar
        Where that is shown.
    """

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._viewer, self._jobs, self._run_bar = viewer, jobs, run_bar
        self._background = Background(self)
        self._spool = Spool(self, jobs, self._background)
        self._run: Run | None = None
        self._result: dict[str, Any] | None = None
        self._over: Image | None = None
        self._asked: tuple[str, str] = ("", "")
        self.outlines: list[Labels] = []
        self.box = FieldBox(
            fields, lambda f: bool(f.stains) and not f.is_derived, "no stain is open yet",
            follows=lambda f: f.predicted,
        )  # fmt: skip
        self.scope = wide(QComboBox())
        self.scope.addItems([_ONE, _ALL])
        self.nuclei, self.cells = wide(QComboBox()), wide(QComboBox())
        self.least, self.most = _micrometres(8.0), _micrometres(30.0)
        self.whole_only = QCheckBox("leave out those that the edge cuts")
        self.start = QPushButton("Measure")
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.notice = Notice(viewer)
        self.view = MeasuredView()
        self.save = QPushButton("Save tables…")
        self._arrange()
        self.box.chosen.connect(self._changed)
        self.start.clicked.connect(self.measure)
        self.save.clicked.connect(self._ask)
        jobs.run_changed.connect(self._follow)
        self._changed()

    # --- what would be measured -------------------------------------------------------------------

    def settings(self, out: str, *, path: str | None = None) -> MeasureSettings:
        """Return the settings of what is chosen.

        Parameters
        ----------
        out
            Folder of the tables.
        path
            Where an image in memory was written.

        Raises
        ------
        VirtualStainError
            If there is nothing to measure.
        """
        field = self.box.field
        if field is None:
            raise MissingInputError(_EMPTY)
        if field.path is None and path is None:
            raise MissingInputError(
                "This image lies in memory, so no command can open it. Save it as OME-Zarr first."
            )
        layer, source = field.layers[0]
        found: dict[str, Any] = {
            "input": path or field.path, "out": out, "nuclei": self.nuclei.currentData(),
            "cells": self.cells.currentData(), "outlines": True,
            "nucleus": (self.least.value(), self.most.value()),
            "whole_only": self.whole_only.isChecked(), "z": shown_plane(self._viewer, layer),
        }  # fmt: skip
        if path is None:
            found |= {"axes": field.axes, "pattern": field.pattern}
            if self.scope.currentText() == _ONE and field.scene:
                found["scene"] = scene_pattern([field.scene])
        if source is not None and source.pixel_size_stated:
            found["pixel_size"] = source.pixel_size_um[1]
        return make_settings(
            MeasureSettings, {name: value for name, value in found.items() if value is not None}
        )

    def command(self) -> str:
        """Return the line that measures the same."""
        settings = self.settings("numbers").absolute()
        return to_command(
            "measure", settings.model_copy(update={"out": "numbers"}), positional=("input",)
        )

    def _changed(self) -> None:
        field = self.box.field
        self.start.setEnabled(field is not None)
        self.copy.setEnabled(field is not None)
        if field is None:
            self.notice.hint(_EMPTY)
            return
        if self.notice.text == _EMPTY:
            self.notice.clear()
        stains = {s.stain: s.channel for _, s in field.layers if s is not None and s.stain}
        _refill(self.nuclei, stains)
        dna = find_stain("DNA", list(stains))
        if dna is not None and self.nuclei.property("of") != field.key:
            self.nuclei.setCurrentIndex(self.nuclei.findText(dna.channel))
        self.nuclei.setProperty("of", field.key)
        light = field.with_role("brightfield")
        cells = {_NONE: None, **stains, **({_LIGHT: light[0][1].channel} if light else {})}
        _refill(self.cells, cells)

    # --- measuring --------------------------------------------------------------------------------

    def measure(self) -> None:
        """Measure what is chosen now; what was measured before stays until the answer is there."""
        field = self.box.field
        if field is None:
            return
        if field.path is None:
            self._spool.write(
                field,
                lambda path: self._submit(field, path),
                lambda sentence: self.notice.fail(words_of(sentence)),
            )
            return
        self._submit(field, None)

    def _submit(self, field: Field, path: str | None) -> None:
        try:
            settings = self.settings(str(self._jobs.temporary("numbers")), path=path)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        if self._run is not None and not self._run.ended:
            self._run.cancel()
        self.notice.clear()
        self._over = self._layer_of(field)
        self._asked = (settings.input, field.scene if path is None else "")
        self._run = self._jobs.submit("measure", settings)
        self._run_bar.announce(self._run, f"Measuring {field.name}")

    def _layer_of(self, field: Field) -> Image:
        """Return the layer in which nuclei are found."""
        wanted = self.nuclei.currentData()
        found = (layer for layer, s in field.layers if s is not None and s.channel == wanted)
        return next(found, field.layers[0][0])

    def _follow(self, run: Run) -> None:
        if run is not self._run or run.outcome is None:
            return
        self._run = None
        if run.outcome.result is None:
            self.notice.fail_run(run)
            return
        self._take(run.outcome.result)

    def _take(self, result: dict[str, Any]) -> None:
        self._result = result
        notes = [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in result["notes"]]
        self.notice.hint(words_of(" ".join(notes)))
        self.save.show()
        self.view.show_tables(*_tables(Path(result["out"])), result["objects"])
        over, asked = self._over, self._asked
        image = next(
            (one for one in result["images"] if (one["path"], one["scene"]) == asked),
            result["images"][0] if len(result["images"]) == 1 else None,
        )
        self._forget()
        if image is None or over is None or over not in self._viewer.layers:
            return
        self._background.run(
            "outlines",
            outlines_of(Path(result["out"]) / image["outlines"], over),
            lambda found: self._outline(over, found),
            lambda sentence: self.notice.fail(words_of(sentence)),
        )

    def _outline(self, over: Image, found: list[tuple[Any, dict[str, Any]]]) -> None:
        """Show outlines over the stain, its own layer chosen as before."""
        if over not in self._viewer.layers:
            return
        self._forget()
        selected = list(self._viewer.layers.selection)
        for data, keywords in found:
            layer = Labels(data, **keywords)
            layer.contour = LINE
            self._viewer.add_layer(layer)
            self.outlines.append(layer)
        self._viewer.layers.selection = selected

    def _forget(self) -> None:
        layers, self.outlines = self.outlines, []
        for layer in layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    # --- keeping ----------------------------------------------------------------------------------

    def save_tables(self, folder: str) -> None:
        """Copy tables and outlines to a place of the user's.

        Parameters
        ----------
        folder
            That is not there yet.
        """
        if self._result is None:
            return
        tables, target = Path(self._result["out"]), Path(folder)

        def copied() -> None:
            check_output(target, inputs=[str(tables)], overwrite=False)
            with disk_errors(target):
                shutil.copytree(tables, target)

        self._background.run(
            "tables", copied, lambda _: self.notice.hint(f"Kept in {target}."),
            lambda sentence: self.notice.fail(words_of(sentence)),
        )  # fmt: skip

    def _ask(self) -> None:
        dialog = QFileDialog(self, "A folder for the tables")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.selectFile("numbers")
        dialog.fileSelected.connect(self.save_tables)
        dialog.open()

    def close_runs(self) -> None:
        """Cancel what was asked for; the viewer is closing."""
        if self._run is not None and not self._run.ended:
            self._run.cancel()

    def _arrange(self) -> None:
        self.nuclei.setToolTip("In which stain nuclei are found")
        self.cells.setToolTip("In which channel the cell of each nucleus is found, if in any")
        self.box.setMinimumWidth(90)
        widths = QHBoxLayout()
        widths.addWidget(self.least, 1)
        widths.addWidget(QLabel("to"))
        widths.addWidget(self.most, 1)
        rows = form()
        rows.addRow("Stains", self.box)
        rows.addRow("Measured", self.scope)
        rows.addRow("Nuclei in", self.nuclei)
        rows.addRow("Cells in", self.cells)
        rows.addRow("Nuclei are", widths)
        rows.addRow("", self.whole_only)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.copy)
        self.save.hide()
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addLayout(rows)
        column.addLayout(buttons)
        column.addWidget(self.notice)
        column.addWidget(self.view)
        column.addWidget(self.save)
        column.addStretch(1)


def _tables(folder: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the rows of fields and wells."""
    found: list[list[dict[str, str]]] = []
    for name in TABLES[1:]:
        path = folder / name
        if not path.exists():
            found.append([])
            continue
        with path.open(encoding="utf-8", newline="") as file:
            found.append(list(csv.DictReader(file)))
    return found[0], found[1]


def _refill(box: QComboBox, entries: Mapping[str, str | None]) -> None:
    """Offer other entries; what is chosen stays where it is still there."""
    before = box.currentText()
    box.clear()
    for name, data in entries.items():
        box.addItem(name, data)
    box.setCurrentIndex(max(box.findText(before), 0))


def _micrometres(value: float) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0.1, 1000.0)
    box.setDecimals(1)
    box.setSuffix(" µm")
    box.setValue(value)
    box.setToolTip("Smallest and largest diameter of a nucleus")
    return box
