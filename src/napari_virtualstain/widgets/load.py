"""What is in an image, and what each channel is to a virtual stain.

The page shows what the reader found. What it guessed is marked until somebody
confirms it; roles, stain names and pixel size can be changed, and travel with
the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari.layers import Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.errors import MissingInputError
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.plate import plates_of
from napari_virtualstain.io.scene import Scene
from napari_virtualstain.jobs.info import InfoSettings
from napari_virtualstain.napari_io.fields import Field, alike
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.reader import open_layers
from napari_virtualstain.napari_io.source import LayerSource, Role, source_of, tagged
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Wrapped, form, wide
from napari_virtualstain.widgets._plate_panel import PlatePanel

if TYPE_CHECKING:
    import napari

__all__ = ["LoadPage"]

_ROLES: dict[Role, str] = {
    "brightfield": "bright field",
    "truth": "true stain",
    "prediction": "predicted stain",
    "other": "neither",
}
_EMPTY = (
    "Drop an image on this page or on the viewer: OME-Zarr, TIFF, a plate folder, or a folder with "
    "one file a plane."
)
_LARGEST_UM = 1000.0
_ROLE_WIDTH = 125


class LoadPage(QWidget):
    """Opens images, and says what each channel is.

    Parameters
    ----------
    viewer
        To add layers to.
    fields
        What the viewer shows.
    """

    proceed = Signal()

    def __init__(self, viewer: napari.Viewer, fields: Fields) -> None:
        super().__init__()
        self._viewer, self._fields = viewer, fields
        self._background = Background(self)
        self._scenes: tuple[Scene, ...] = ()
        self._scenes_of: tuple[str, str | None] | None = None
        self._shown_um: dict[str, float] = {}
        self._refused: str | Path = ""
        self._behind = True
        self.axes = QLineEdit()
        self.axes.setPlaceholderText("for example zyx, then Enter")
        self.axes.setToolTip("What the axes of this file are, one letter of t, c, z, y, x each")
        self.file = QPushButton("Open an image…")
        self.folder = QPushButton("Open a folder or OME-Zarr…")
        self.notice = Notice(viewer)
        self.box = FieldBox(fields, lambda field: True, "no image is open yet")
        self.scene = wide(QComboBox())
        self._rows = form()
        self.found = Wrapped()
        self.y_um, self.z_um = _size_box("y and x"), _size_box("z")
        self.table = _channel_table()
        self.guesses = Wrapped()
        self.confirm = QPushButton("Confirm")
        self.confirm.setToolTip("I have looked at these guesses, and they are right")
        self.copy = CopyCommand(self._command, self.notice.fail)
        self.go = QPushButton("Go on to Stain")
        self._arrange()
        self.file.clicked.connect(self.ask_for_file)
        self.folder.clicked.connect(self.ask_for_folder)
        self.box.chosen.connect(self.show_field)
        self.scene.activated.connect(lambda index: self._open_scene(self._scenes[index].name))
        self.plate.opened.connect(lambda name: self._open_scene(name, instead=True))
        self.y_um.editingFinished.connect(self._resize_yx)
        self.z_um.editingFinished.connect(self._resize_z)
        self.axes.returnPressed.connect(self._open_with_axes)
        self.confirm.clicked.connect(self._confirm)
        self.go.clicked.connect(self.proceed)
        self.show_field()

    # --- opening ----------------------------------------------------------------------------------

    def ask_for_file(self) -> None:
        """Let the user choose a file, without holding up the viewer."""
        self._ask("Open an image", QFileDialog.FileMode.ExistingFile)

    def ask_for_folder(self) -> None:
        """Let the user choose a folder or an OME-Zarr."""
        self._ask("Open a folder or OME-Zarr", QFileDialog.FileMode.Directory)

    def open_path(
        self, path: str | Path, *, scene: str | None = None, axes: str | None = None
    ) -> None:
        """Open a path in the background and add its channels as layers.

        Parameters
        ----------
        path
            File or folder.
        scene
            Which of the images in it.
        axes
            Of a file that does not say.
        """
        self.notice.hint(f"Opening {Path(path).name} …")
        self._background.run(
            f"open {path}",
            lambda: open_layers(path, scene=scene, axes=axes),
            self._add,
            lambda sentence: self._refuse(path, sentence),
        )

    def _refuse(self, path: str | Path, sentence: str) -> None:
        self.notice.fail(words_of(sentence))
        self._refused = path
        self._ask_for_axes(wanted="for example --axes" in sentence)

    def _ask_for_axes(self, *, wanted: bool) -> None:
        """Show the row in which the axes of a file are stated that does not say them."""
        self.axes.setVisible(wanted)
        self._rows.labelForField(self.axes).setVisible(wanted)

    def _open_with_axes(self) -> None:
        self.open_path(self._refused, axes=self.axes.text().strip() or None)

    def _ask(self, title: str, mode: QFileDialog.FileMode) -> None:
        dialog = QFileDialog(self, title)
        dialog.setFileMode(mode)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.open_path)
        dialog.open()

    def _add(self, layers: Sequence[LayerData], *, instead: Field | None = None) -> None:
        self.notice.clear()
        self._ask_for_axes(wanted=False)
        for layer, _ in () if instead is None else instead.layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        for data in layers:
            self._viewer.add_layer(Layer.create(*data))
        self._fields.look()

    def _open_scene(self, name: str, *, instead: bool = False) -> None:
        """Show another image of the same path, beside or in place of the one that is chosen."""
        field = self.box.field
        scene = next((one for one in self._scenes if one.name == name), None)
        if field is None or field.path is None or scene is None or name == field.scene:
            return
        path, axes = field.path, field.axes
        self._background.run(
            "open the next",
            lambda: open_layers(path, axes=axes, opened=open_image(scene.open())),
            lambda layers: self._add_scene(layers, path, instead=instead),
            lambda sentence: self._refuse(path, sentence),
        )

    def _add_scene(self, layers: Sequence[LayerData], path: str, *, instead: bool) -> None:
        field = self.box.field  # which may be another than when it was asked for
        if field is None or field.path != path:
            self._add(layers)
            return
        self._add(alike(layers, field), instead=field if instead else None)

    # --- showing ----------------------------------------------------------------------------------

    def show_field(self) -> None:
        """Show what is known of the chosen image, once the page is looked at."""
        # The layers of a run come one by one; the table of a page behind would be made for each.
        self._behind = not self.isVisible()
        if not self._behind:
            self._show()

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Show what has changed meanwhile."""
        super().showEvent(event)
        if self._behind:
            self.show_field()

    def _show(self) -> None:
        field = self.box.field
        for widget in (self.table, self.found, self.copy, self.go, self.y_um, self.z_um):
            widget.setEnabled(field is not None)
        self._show_guesses(field)
        self._show_scenes(field)
        if field is None:
            self.found.setText("")
            self.table.setRowCount(0)
            self.notice.hint(_EMPTY)
            return
        if self.notice.text == _EMPTY:
            self.notice.clear()
        self.found.setText(_description(field))
        self._show_size(field)
        self._show_channels(field)

    def _show_size(self, field: Field) -> None:
        layer = field.layers[0][0]
        steps = zip(layer.scale, layer.units, strict=True)
        known = dict(zip(_letters(layer), steps, strict=True))
        for box, axis in ((self.y_um, "y"), (self.z_um, "z")):
            scale, unit = known.get(axis, (0.0, "pixel"))
            in_um = str(unit) in ("micrometer", "um", "µm")
            box.blockSignals(True)
            box.setValue(float(scale) if in_um else 0.0)
            box.blockSignals(False)
            self._shown_um[axis] = box.value()
        self.z_um.setEnabled("z" in known)

    def _show_channels(self, field: Field) -> None:
        self.table.setRowCount(len(field.layers))
        for row, (layer, source) in enumerate(field.layers):
            name = QTableWidgetItem(layer.name if source is None else source.channel)
            name.setToolTip(layer.name)
            name.setFlags(Qt.ItemFlag.ItemIsEnabled)
            self.table.setItem(row, 0, name)
            role = QComboBox()
            for key, text in _ROLES.items():
                role.addItem(text, key)
            now = source.role if source is not None else "brightfield"
            role.setCurrentIndex(list(_ROLES).index(now))
            role.setToolTip("What this channel is to a virtual stain")
            stain = QLineEdit(source.stain if source is not None else "")
            stain.setPlaceholderText("stain" if now in ("truth", "prediction") else "")
            stain.setToolTip("Name under which prediction and truth are paired, for example DNA")
            stain.setEnabled(now in ("truth", "prediction"))
            role.activated.connect(lambda _, r=role, s=stain, one=layer: self._give(one, r, s))
            stain.editingFinished.connect(lambda r=role, s=stain, one=layer: self._give(one, r, s))
            self.table.setCellWidget(row, 1, role)
            self.table.setCellWidget(row, 2, stain)
        height = self.table.horizontalHeader().height() + 4
        height += sum(self.table.rowHeight(row) for row in range(self.table.rowCount()))
        self.table.setFixedHeight(min(height, 260))

    def _show_guesses(self, field: Field | None) -> None:
        guesses = () if field is None else field.open_guesses
        lines = "".join(f"<li>{escape(words_of(guess), quote=False)}</li>" for guess in guesses)
        self.guesses.setText(f"<b>Please confirm what was guessed:</b><ul>{lines}</ul>")
        self.guesses.setVisible(bool(guesses))
        self.confirm.setVisible(bool(guesses))

    def _show_scenes(self, field: Field | None) -> None:
        self.scene.setVisible(False)
        self._rows.labelForField(self.scene).setVisible(False)
        if field is None or field.path is None:
            self.plate.show_plates((), "")
            return
        path, axes = field.path, field.axes
        if self._scenes_of == (path, axes):
            self._offer_scenes(self._scenes, field.scene)
            return
        self._scenes, self._scenes_of = (), None
        self.plate.show_plates((), "")
        self._background.run(
            "scenes",
            lambda: list_scenes(path, axes=axes),
            lambda scenes: self._take_scenes(scenes, (path, axes)),
            lambda sentence: None,  # the image itself is open already
        )

    def _take_scenes(self, scenes: tuple[Scene, ...], of: tuple[str, str | None]) -> None:
        self._scenes, self._scenes_of = scenes, of
        field = self.box.field
        if field is not None and (field.path, field.axes) == of:
            self._offer_scenes(scenes, field.scene)

    def _offer_scenes(self, scenes: tuple[Scene, ...], shown: str) -> None:
        names = [scene.name for scene in scenes]
        self.scene.clear()
        self.scene.addItems(names)
        if shown in names:
            self.scene.setCurrentIndex(names.index(shown))
        self.scene.setVisible(len(names) > 1)
        self._rows.labelForField(self.scene).setVisible(len(names) > 1)
        self.plate.show_plates(plates_of(scenes), shown)

    # --- changing ---------------------------------------------------------------------------------

    def _give(self, layer: Any, role: QComboBox, stain: QLineEdit) -> None:
        """Note the role of a channel with its layer."""
        source = source_of(layer) or LayerSource(channel=layer.name)
        wanted: Role = role.currentData()
        assert wanted in get_args(Role)
        new = source.with_role(wanted, stain.text().strip())
        if new != source:
            layer.metadata = tagged(layer.metadata, new)
            self._fields.look()

    def _resize_yx(self) -> None:
        """Take the pixel size from the user, for the layers and for every run."""
        if self.y_um.value() != self._shown_um.get("y"):
            self._resize({"y": self.y_um.value() or None, "x": self.y_um.value() or None})

    def _resize_z(self) -> None:
        """Take the distance of the planes from the user, for the layers."""
        if self.z_um.value() != self._shown_um.get("z"):
            self._resize({"z": self.z_um.value() or None})

    def _resize(self, stated: dict[str, float | None]) -> None:
        field = self.box.field
        if field is None:
            return
        for layer, source in field.layers:
            known = source or LayerSource(channel=layer.name)
            labels = _letters(layer)
            layer.scale = [stated.get(a) or old for a, old in zip(labels, layer.scale, strict=True)]
            layer.units = [
                ("um" if stated[a] else "pixel") if a in stated else str(old)
                for a, old in zip(labels, layer.units, strict=True)
            ]
            sizes = dict(zip("zyx", known.pixel_size_um, strict=True)) | stated
            guesses = tuple(g for g in known.guesses if "pixel size" not in g.lower())
            new = replace(known, pixel_size_um=(sizes["z"], sizes["y"], sizes["x"]))
            if "y" in stated:
                new = replace(new, pixel_size_stated=stated["y"] is not None, guesses=guesses)
            if source is not None:
                layer.metadata = tagged(layer.metadata, new)
        self._fields.look()

    def _confirm(self) -> None:
        field = self.box.field
        if field is None:
            return
        for layer, source in field.layers:
            if source is not None:
                layer.metadata = tagged(layer.metadata, source.as_confirmed())
        self._fields.look()

    def _command(self) -> str:
        field = self.box.field
        if field is None or field.path is None:
            raise MissingInputError(
                "This image lies in memory, so no command can open it. Save it as OME-Zarr first."
            )
        settings = InfoSettings(input=field.path, axes=field.axes).absolute()
        return to_command("info", settings, positional=("input",))

    def _arrange(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.file)
        top.addWidget(self.folder)
        self._rows.addRow("Axes", self.axes)
        self._ask_for_axes(wanted=False)
        self._rows.addRow("Image", self.box)
        self._rows.addRow("Scene", self.scene)
        self._rows.addRow("Found", self.found)
        self._rows.addRow("Pixel y, x", self.y_um)
        self._rows.addRow("Step z", self.z_um)
        self.plate = PlatePanel(self._rows)
        bottom = QHBoxLayout()
        bottom.addWidget(self.copy)
        bottom.addWidget(self.go)
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addLayout(top)
        column.addWidget(self.notice)
        column.addLayout(self._rows)
        column.addWidget(self.plate)
        column.addWidget(self.table)
        column.addWidget(self.guesses)
        column.addWidget(self.confirm)
        column.addLayout(bottom)
        column.addStretch(1)


def _size_box(axis: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0.0, _LARGEST_UM)
    box.setDecimals(4)
    box.setSingleStep(0.05)
    box.setSuffix(" µm")
    box.setSpecialValueText("not stated")
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setToolTip(f"Distance of pixels along {axis} in micrometres; 0 if nobody knows")
    return box


def _channel_table() -> QTableWidget:
    table = QTableWidget(0, 3)
    table.setHorizontalHeaderLabels(["Channel", "Is", "Stain"])
    table.verticalHeader().hide()
    table.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    header = table.horizontalHeader()
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
    table.setColumnWidth(1, _ROLE_WIDTH)
    header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
    return table


def _letters(layer: Any) -> list[str]:
    """Return the axes of a layer; those of layers of somebody else by their place, as in a run."""
    labels = [str(label).lower() for label in layer.axis_labels]
    n = len(labels)
    return labels if set(labels) <= set("tzyx") or n > 4 else list("tzyx"[-n:])


def _description(field: Field) -> str:
    """Return what was found, in words."""
    layer, source = field.layers[0]
    finest = layer.data[0] if layer.multiscale else layer.data
    names = {"t": "time points", "z": "z planes", "y": "rows", "x": "columns"}
    parts = [f"{n} {names.get(a, a)}" for a, n in zip(_letters(layer), finest.shape, strict=False)]
    many = len(field.layers)
    channels = f"{many} channel{'' if many == 1 else 's'}"
    kind = "a layer in memory" if field.path is None or source is None else source.kind
    where = "" if field.path is None else f"<br><small>{escape(field.path, quote=False)}</small>"
    return f"{channels}, {escape(', '.join(parts))}, {finest.dtype} ({kind}){where}"
