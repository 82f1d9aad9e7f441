"""What is scored: the chosen pair or all of its plate, by which models, and on which pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.errors import MissingInputError
from napari_virtualstain.jobs.batch_items import scene_pattern
from napari_virtualstain.napari_io.fields import Field, path_name
from napari_virtualstain.napari_io.regions import regions_of
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._parts import Wrapped, form, wide

if TYPE_CHECKING:
    import napari

__all__ = ["ScoredSource"]

ONE, ALL = "this field", "all fields of this plate or file"
WHOLE, BRIGHT, DRAWN = "the whole image", "the foreground only", "inside drawn regions"
_NO_REGION = (
    "No region is drawn. Add a Shapes layer, draw a rectangle, an ellipse or a polygon over the "
    "image, and keep the layer visible."
)
_LINE = 22


class ScoredSource(QWidget):
    """Rows to choose what is scored.

    Parameters
    ----------
    viewer
        In which regions are drawn.
    fields
        What it shows.
    """

    def __init__(self, viewer: napari.Viewer, fields: Fields) -> None:
        super().__init__()
        self._viewer, self._fields = viewer, fields
        self._first: Field | None = None
        self.labels: str | None = None
        self.scope = wide(QComboBox())
        self.scope.addItems([ONE, ALL])
        self.also = QListWidget()
        self.within = wide(QComboBox())
        self.within.addItems([WHOLE, BRIGHT, DRAWN])
        self.second = FieldBox(
            fields, lambda f: bool(f.with_role("truth")), "", follows=lambda f: False,
            nothing="none",
        )  # fmt: skip
        self.layout_name = Wrapped()
        self.choose = QPushButton("Choose…")
        self.forget = QToolButton()
        self._arrange()
        fields.changed.connect(lambda: self.offer(self._first))
        self.choose.clicked.connect(self._ask)
        self.forget.clicked.connect(lambda: self.set_labels(None))
        self.set_labels(None)

    def offer(self, first: Field | None) -> None:
        """Offer the other predictions that are open, to be set beside one.

        Parameters
        ----------
        first
            That is scored anyway.
        """
        self._first = first
        ticked = {field.key for field in self.others}
        self.also.clear()
        for field in self._fields.all:
            if not field.predicted or first is None or field.path in (None, first.path):
                continue
            model = next((s.model for _, s in field.with_role("prediction") if s.model), "")
            item = QListWidgetItem(f"{model} · {field.name}" if model else field.name)
            item.setData(Qt.ItemDataRole.UserRole, field.key)
            item.setFlags(Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEnabled)
            on = field.key in ticked
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            item.setToolTip(field.path or "")
            self.also.addItem(item)
        self.also.setFixedHeight(min(max(self.also.count(), 1), 3) * _LINE + 4)
        self._rows.setRowVisible(self.also, bool(self.also.count()))

    def tick(self, key: tuple[str, str], *, on: bool = True) -> None:
        """Tick another prediction by the key of its field."""
        for item in self._items():
            if item.data(Qt.ItemDataRole.UserRole) == key:
                item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    @property
    def others(self) -> list[Field]:
        """The predictions that are ticked."""
        keys = [
            tuple(item.data(Qt.ItemDataRole.UserRole)) for item in self._items()
            if item.checkState() == Qt.CheckState.Checked
        ]  # fmt: skip
        return [field for field in self._fields.all if field.key in keys]

    @property
    def is_one(self) -> bool:
        """Whether the chosen field alone is scored."""
        return bool(self.scope.currentText() == ONE)

    def values(self, predicted: Field, true: Field, path: str | None) -> dict[str, Any]:
        """Return settings of `virtualstain scores` but what regions are drawn.

        Parameters
        ----------
        predicted, true
            The pair that is chosen.
        path
            Where a truth in memory was written.

        Raises
        ------
        MissingInputError
            If a file is needed and there is none.
        """
        if true.path is None and path is None:
            raise MissingInputError(
                "The true stain lies in memory, so no command can open it. Save it as OME-Zarr "
                "first."
            )
        found: dict[str, Any] = {
            "prediction": predicted.path, "target": path or true.path,
            "also": tuple(field.path for field in self.others),
            "foreground": self.within.currentText() == BRIGHT, "labels": self.labels,
        }  # fmt: skip
        if path is None:
            found |= {"axes": true.axes, "pattern": true.pattern}
        if self.is_one:
            scenes = {field.scene for field in (predicted, *self.others)} - {""}
            found["scene"] = scene_pattern(sorted(scenes)) if scenes else None
            if path is None and true.scene:
                found["target_scene"] = scene_pattern([true.scene])
        second = self.second.field
        if second is not None and second.path is None:
            raise MissingInputError(
                f"The second measurement {second.name!r} lies in memory, so no run can open it. "
                "Save it as OME-Zarr first."
            )
        found["replicate"] = None if second is None else second.path
        return {name: value for name, value in found.items() if value not in (None, ())}

    def regions(self, predicted: Field) -> list[list[tuple[float, float]]] | None:
        """Return what is drawn, in pixels of a prediction; `None` if regions do not matter.

        Raises
        ------
        MissingInputError
            If nothing is drawn.
        """
        if self.within.currentText() != DRAWN:
            return None
        shapes = [
            layer for layer in self._viewer.layers if isinstance(layer, Shapes) and layer.visible
        ]
        active = self._viewer.layers.selection.active
        shapes = [active] if active in shapes else shapes
        over, point = predicted.layers[0][0], self._viewer.dims.point
        found = [polygon for layer in shapes for polygon in regions_of(layer, over, point)]
        if not found:
            raise MissingInputError(_NO_REGION)
        return found

    def set_labels(self, path: str | None) -> None:
        """Take the treatments of wells from a table; from the images themselves for `None`."""
        self.labels = path
        self.layout_name.setText("as the plate says" if path is None else path_name(path))
        self.layout_name.setToolTip(path or "")
        self.forget.setVisible(path is not None)

    def _items(self) -> list[QListWidgetItem]:
        return [self.also.item(number) for number in range(self.also.count())]

    def _ask(self) -> None:
        dialog = QFileDialog(self, "A table of what was done to each well")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilter("Table (*.csv *.tsv *.txt)")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda path: self.set_labels(str(Path(path))))
        dialog.open()

    def _arrange(self) -> None:
        self.also.setToolTip("Other predictions of the same fields, to be ranked beside this one")
        self.within.setToolTip(
            "Which pixels count. The foreground is where the truth is above Otsu's threshold; "
            "regions are what is drawn in a Shapes layer"
        )
        self.second.setToolTip(
            "A second measurement of the true stain: what it scores is the ceiling"
        )
        self.choose.setToolTip("A CSV with the columns well and treatment")
        self.forget.setText("✕")
        self.forget.setToolTip("Take treatments from the plate itself")
        treatments = QHBoxLayout()
        treatments.addWidget(self.layout_name, 1)
        treatments.addWidget(self.forget)
        treatments.addWidget(self.choose)
        self._rows = form()
        self._rows.addRow("Scored", self.scope)
        self._rows.addRow("Also by", self.also)
        self._rows.addRow("Counted", self.within)
        self._rows.addRow("Ceiling by", self.second)
        self._rows.addRow("Treatments", treatments)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._rows)
        self._rows.setRowVisible(self.also, False)
