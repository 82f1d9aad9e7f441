"""Which field should be stained next? A list of those that would help most; a click goes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.suggest import SuggestSettings
from napari_virtualstain.napari_io.fields import Field, alike, path_name
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.reader import open_layers
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Wrapped, form
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    import napari

__all__ = ["NextPanel"]

_LEAST, _MOST = 70, 190
_EMPTY = (
    "Open the bright field of fields that are not stained yet, or of any field of a plate: all "
    "fields of its file are looked at."
)
_PAIRS = "pairs.json"


class NextPanel(QWidget):
    """Fields without a true stain, those first that would help most.

    Parameters
    ----------
    viewer
        Whose images are looked at.
    fields
        What it shows.
    jobs
        Where fields are looked at.
    run_bar
        Where that is shown.
    background
        In which a field is opened that is not open yet.
    model
        Returns the name of the model that is to be tuned, or raises a sentence.
    write_pairs
        Writes the pairs that teach already to a path, and returns whether there are any.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        fields: Fields,
        jobs: Jobs,
        run_bar: RunBar,
        background: Background,
        *,
        model: Callable[[], str],
        write_pairs: Callable[[Path], bool],
    ) -> None:
        super().__init__()
        self._viewer, self._fields, self._jobs, self._run_bar = viewer, fields, jobs, run_bar
        self._background, self._model, self._write_pairs = background, model, write_pairs
        self._run: Run | None = None
        self._found: list[Mapping[str, Any]] = []
        self.count = QSpinBox()
        self.count.setRange(1, 100)
        self.count.setValue(10)
        self.count.setToolTip("How many fields you could stain")
        self.find = QPushButton("Stain these next")
        self.find.setToolTip(
            "Look at the bright field that is open, and at the other fields of its files, and list "
            "those that would help most: unlike what teaches already, doubtful to the model, "
            "spread over wells"
        )
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.list = _tree()
        self.words = Wrapped()
        self.notice = Notice(viewer)
        self._arrange()
        self.find.clicked.connect(self.look)
        self.list.itemClicked.connect(lambda row, _column: self._go(row))
        self.list.itemActivated.connect(lambda row, _column: self._go(row))
        jobs.run_changed.connect(self._follow)

    def settings(self) -> SuggestSettings:
        """Return the settings that look at the fields that are open, beside the pairs.

        Raises
        ------
        VirtualStainError
            If no field is open, or there is no such model.
        """
        offered = [f for f in self._fields.all if f.path and f.with_role("brightfield")]
        if not offered:
            raise MissingInputError(_EMPTY)
        first = offered[0]
        # One command opens all files alike.
        paths = {f.path for f in offered if (f.axes, f.pattern) == (first.axes, first.pattern)}
        place = self._jobs.temporary("known") / _PAIRS
        values: dict[str, Any] = {
            "input": tuple(f for f in dict.fromkeys(one.path for one in offered) if f in paths),
            "model": self._model(), "count": self.count.value(), "axes": first.axes,
            "pattern": first.pattern,
        }  # fmt: skip
        (_, source), *_ = first.with_role("brightfield")
        if source.pixel_size_stated:
            values["pixel_size"] = source.pixel_size_um[1]
        if self._write_pairs(place):
            values["pairs"] = str(place)
        return make_settings(
            SuggestSettings, {name: v for name, v in values.items() if v is not None}
        )

    def command(self) -> str:
        """Return the line that does the same.

        Raises
        ------
        VirtualStainError
            If no field is open.
        """
        return to_command("suggest", self.settings().absolute())

    def look(self) -> None:
        """Look at the fields."""
        try:
            settings = self.settings()
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        self.notice.hint("Looking at the fields …")
        self.find.setEnabled(False)
        self._run = self._jobs.submit("suggest", settings)
        self._run_bar.announce(self._run, "Looking for fields to stain next")

    def stop(self) -> None:
        """Cancel what was asked for: the viewer is going."""
        if self._run is not None and not self._run.ended:
            self._run.cancel()

    def _follow(self, run: Run) -> None:
        if run is not self._run or run.outcome is None:
            return
        self._run = None
        self.find.setEnabled(True)
        self.notice.clear()
        if run.outcome.result is not None:
            self.show_result(run.outcome.result)
        elif run.outcome.state == "failed":
            self.notice.fail_run(run)
        else:
            self.notice.hint("Stopped.")

    def show_result(self, result: Mapping[str, Any]) -> None:
        """Show which fields should be stained.

        Parameters
        ----------
        result
            As `jobs.suggest.SuggestResult.to_json` has it.
        """
        self._found = list(result["fields"])
        self.list.clear()
        for one in self._found:
            row = QTreeWidgetItem([f"{one['rank']}  {self._name(one)}", one["why"]])
            place = " ".join(filter(None, (one["plate"], one["well"], one["site"])))
            numbers = f"novelty {one['novelty']:.2f}, doubt {one['doubt']:.2f} (1 is usual)"
            row.setToolTip(0, "\n".join(filter(None, (one["path"], one["scene"], place))))
            row.setToolTip(1, f"{one['why']}\n{numbers}")
            self.list.addTopLevelItem(row)
        beside = f", beside {result['known']} that teach" if result["known"] else ""
        self.words.setText(
            f"Of {plural(result['looked_at'], 'field')}{beside}. Click on one to go there, and "
            "look before you stain it: dirt and bad focus are unusual too."
        )
        self.notice.warn(words_of(". ".join(_sentence(note) for note in result["notes"])))
        self._fit()

    def _name(self, one: Mapping[str, Any]) -> str:
        """Return what the viewer calls a field."""
        key = (one["path"], one["scene"])
        known = next((f.name for f in self._fields.all if f.key == key), None)
        return known or f"{path_name(one['path'])} {one['scene']}".strip()

    # --- going there ------------------------------------------------------------------------------

    def _go(self, row: QTreeWidgetItem) -> None:
        """Show a field: the layers that it has, or new ones."""
        one = self._found[self.list.indexOfTopLevelItem(row)]
        self.words.setText(f"{self._name(one)}: {one['why']}.")
        there = next((f for f in self._fields.all if f.key == (one["path"], one["scene"])), None)
        if there is not None:
            self._show(there)
            return
        beside = next((f for f in self._fields.all if f.path == one["path"]), None)
        axes, pattern = (None, None) if beside is None else (beside.axes, beside.pattern)
        self.notice.hint(f"Opening {one['name']} …")
        self._background.run(
            "next",
            lambda: open_layers(
                one["path"], scene=one["scene"] or None, axes=axes, pattern=pattern
            ),
            lambda layers: self._add(layers, beside, (one["path"], one["scene"])),
            lambda sentence: self.notice.fail(words_of(sentence)),
        )

    def _add(self, layers: Sequence[LayerData], beside: Field | None, key: tuple[str, str]) -> None:
        self.notice.clear()
        for data in layers if beside is None else alike(layers, beside):
            self._viewer.add_layer(Layer.create(*data))
        self._fields.look()
        there = next((f for f in self._fields.all if f.key == key), None)
        if there is not None:
            self._show(there)

    def _show(self, field: Field) -> None:
        """Show a field alone, and choose its bright field."""
        own = [layer for layer, _ in field.layers]
        light = field.brightfield or own[0]
        for layer in self._viewer.layers:
            if isinstance(layer, Image):
                layer.visible = layer is light if layer in own else False
        self._viewer.layers.selection = {light}
        low, high = light.extent.world[:, -2:]
        camera = self._viewer.scene.camera
        camera.center = (*camera.center[:-2], *((low + high) / 2))

    def _fit(self) -> None:
        rows = self.list.topLevelItemCount()
        height = self.list.header().sizeHint().height() + 6
        height += sum(max(self.list.sizeHintForRow(n), 16) for n in range(rows))
        self.list.setFixedHeight(min(max(height, _LEAST), _MOST))
        self.list.setVisible(bool(rows))

    def _arrange(self) -> None:
        rows = form()
        rows.addRow("How many", self.count)
        buttons = QHBoxLayout()
        buttons.addWidget(self.find)
        buttons.addWidget(self.copy)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(rows)
        column.addLayout(buttons)
        column.addWidget(self.notice)
        column.addWidget(self.list)
        column.addWidget(self.words)
        self._fit()


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:].rstrip('.')}"


def _tree() -> QTreeWidget:
    tree = QTreeWidget()
    tree.setHeaderLabels(["Field", "Why"])
    tree.setRootIsDecorated(False)
    tree.setWordWrap(True)
    tree.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    header = tree.header()
    header.setStretchLastSection(True)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
    header.resizeSection(0, 150)
    return tree
