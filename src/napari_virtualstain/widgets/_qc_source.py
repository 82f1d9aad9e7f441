"""What is judged: a prediction that is open, all of its plate, or a folder; against what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.errors import MissingInputError
from napari_virtualstain.jobs.batch_items import scene_pattern
from napari_virtualstain.napari_io.fields import Field, path_name
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._parts import Wrapped, form, wide

__all__ = ["NOTHING", "JudgedSource"]

NOTHING = (
    "Stain an image first, open a store that a run wrote, or choose a folder with many of them."
)
_NARROW = 90
_ONE, _ALL = "this field", "all fields of this plate or file"


class JudgedSource(QWidget):
    """Rows to choose what is judged.

    Parameters
    ----------
    fields
        What the viewer shows.
    """

    changed = Signal()

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self.folder: str | None = None
        self.reference: str | None = None
        self.artifacts: str | None = None
        self.box = FieldBox(fields, lambda f: f.predicted, "nothing is stained yet")
        self.box.setMinimumWidth(_NARROW)
        self.choose = QPushButton("Folder…")
        self.choose.setToolTip("Judge all predictions in a folder, or a plate that is not open")
        self.named = Wrapped()
        self.back = _tool("✕", "Judge what is open instead")
        self.scope = wide(QComboBox())
        self.scope.addItems([_ONE, _ALL])
        self.light = FieldBox(
            fields, lambda f: f.can_be_stained, "", follows=lambda f: False,
            nothing="as the run recorded",
        )  # fmt: skip
        self.true = FieldBox(
            fields, lambda f: bool(f.with_role("truth")), "", follows=lambda f: False,
            nothing="none",
        )  # fmt: skip
        self.good = Wrapped()
        self.choose_good = QPushButton("Choose…")
        self.forget_good = _tool("✕", "Use the reference of the model instead")
        self.learnt = Wrapped()
        self.choose_learnt = QPushButton("Choose…")
        self.forget_learnt = _tool("✕", "Use the clicks on these stains, or those of the model")
        self._arrange()
        self.box.chosen.connect(self.changed)
        self.true.chosen.connect(self.changed)
        self.choose.clicked.connect(self._ask_for_folder)
        self.back.clicked.connect(lambda: self.set_folder(None))
        self.choose_good.clicked.connect(self._ask_for_reference)
        self.forget_good.clicked.connect(lambda: self.set_reference(None))
        self.choose_learnt.clicked.connect(self._ask_for_artifacts)
        self.forget_learnt.clicked.connect(lambda: self.set_artifacts(None))
        self.set_folder(None)
        self.set_reference(None)
        self.set_artifacts(None)

    @property
    def field(self) -> Field | None:
        """The image that is judged, `None` if it is a folder, or nothing."""
        return None if self.folder is not None else self.box.field

    @property
    def problem(self) -> str:
        """Why nothing can be judged, ``""`` if something can."""
        return "" if self.folder is not None or self.box.field is not None else NOTHING

    @property
    def name(self) -> str:
        """For people."""
        if self.folder is not None:
            return Path(self.folder).name
        field = self.box.field
        if field is None or self.scope.currentText() == _ONE or field.path is None:
            return "" if field is None else field.name
        return path_name(field.path)

    def values(self) -> dict[str, Any]:
        """Return settings of `virtualstain qc`.

        Raises
        ------
        MissingInputError
            If there is nothing to judge.
        """
        field = self.box.field
        found: dict[str, Any] = {}
        if self.folder is not None:
            found["prediction"] = self.folder
        elif field is None or field.path is None:
            raise MissingInputError(NOTHING)
        else:
            found["prediction"] = field.path
            if self.scope.currentText() == _ONE and field.scene:
                found["scene"] = scene_pattern([field.scene])
        if (light := self.light.field) is not None:
            found["source"] = _path_of(light, "bright field")
        if (true := self.true.field) is not None:
            found["target"] = _path_of(true, "true stain")
        if self.reference is not None:
            found["reference"] = self.reference
        if self.artifacts is not None:
            found["artifacts"] = self.artifacts
        return found

    def set_folder(self, path: str | None) -> None:
        """Judge a folder; what is open for `None`."""
        self.folder = path
        for part in (self.named, self.back):
            part.setVisible(path is not None)
        self.named.setText("" if path is None else path_name(path))
        self.named.setToolTip(path or "")
        self.box.setVisible(path is None)
        self.scope.setEnabled(path is None)
        self.changed.emit()

    def set_reference(self, path: str | None) -> None:
        """Hold predictions against a reference; against that of their model for `None`."""
        self.reference = path
        self.good.setText("good stains of the same model" if path is None else path_name(path))
        self.forget_good.setVisible(path is not None)
        self.changed.emit()

    def set_artifacts(self, path: str | None) -> None:
        """Ask for what clicks elsewhere taught; for what clicks on these stains did for `None`."""
        self.artifacts = path
        self.learnt.setText("clicks on these stains, if any" if path is None else path_name(path))
        self.forget_learnt.setVisible(path is not None)
        self.changed.emit()

    def _ask_for_artifacts(self) -> None:
        dialog = QFileDialog(self, "What clicks on other stains taught")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilter("Artifacts (*.json)")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.set_artifacts)
        dialog.open()

    def _ask_for_folder(self) -> None:
        dialog = QFileDialog(self, "A folder or plate with predictions")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.set_folder)
        dialog.open()

    def _ask_for_reference(self) -> None:
        dialog = QFileDialog(self, "A reference of good predictions")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilter("Reference (*.json)")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.set_reference)
        dialog.open()

    def _arrange(self) -> None:
        self.light.setToolTip("What was stained; the run has written down what it read")
        self.true.setToolTip("Also count nuclei that have no partner in the truth")
        self.choose_good.setToolTip(
            "A file that `qc --calibrate` made of good predictions of the same model"
        )
        self.choose_learnt.setToolTip(
            "A file of what was learnt from clicks on good and bad places of other stains"
        )
        rows = form()
        rows.addRow("Predicted", _row(self.box, self.named, self.back, self.choose))
        rows.addRow("Judged", self.scope)
        rows.addRow("Bright field", self.light)
        rows.addRow("True", self.true)
        rows.addRow("Held against", _row(self.good, self.forget_good, self.choose_good))
        rows.addRow("Artifacts", _row(self.learnt, self.forget_learnt, self.choose_learnt))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(rows)


def _path_of(field: Field, what: str) -> str:
    if field.path is None:
        raise MissingInputError(
            f"The {what} {field.name!r} lies in memory, so no run can open it. Save it as OME-Zarr "
            "first."
        )
    return field.path


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part, 1 if isinstance(part, (QComboBox, Wrapped)) else 0)
    return row


def _tool(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    return button
