"""What is in an image, and what each channel is to a virtual stain.

The page shows what the reader found. What it guessed is marked until somebody
confirms it; roles, stain names and pixel size can be changed, and travel with
the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QLineEdit,
    QPushButton,
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
from napari_virtualstain.napari_io.source import source_of, tagged
from napari_virtualstain.widgets._channel_table import ChannelTable
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Wrapped, form, wide
from napari_virtualstain.widgets._pattern_panel import PatternPanel
from napari_virtualstain.widgets._pixel_sizes import PixelSizes, letters_of
from napari_virtualstain.widgets._plate_panel import PlatePanel

if TYPE_CHECKING:
    import napari

__all__ = ["LoadPage"]

_EMPTY = (
    "Drop an image on this page or on the viewer: OME-Zarr, TIFF, a plate folder, or a folder with "
    "one file a plane."
)


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
    replaced = Signal(object, object)
    """An image, and the key of the one that has taken its place."""

    def __init__(self, viewer: napari.Viewer, fields: Fields) -> None:
        super().__init__()
        self._viewer, self._fields = viewer, fields
        self._background = Background(self)
        self._scenes: tuple[Scene, ...] = ()
        self._scenes_of: _Opened | None = None
        self._refused: str | Path = ""
        self._together: frozenset[str] = frozenset()
        self._behind = True
        self.axes = QLineEdit()
        self.axes.setPlaceholderText("for example zyx, then Enter")
        self.axes.setToolTip(
            "What the axes of this file are, one letter of t, c, z, y, x each; f: separate fields"
        )
        self.file = QPushButton("Image…")
        self.folder = QPushButton("Folder or OME-Zarr…")
        self.url = QPushButton("URL…")
        self.url.setToolTip("Open an OME-Zarr from the internet, chunk by chunk as it is looked at")
        self.own_names = QPushButton("Files are named my way…")
        self.own_names.setToolTip("Say how the files of a folder are named, and see what fits")
        self.pattern = PatternPanel(self._background)
        self.notice = Notice(viewer)
        # A stain that appears must not take the plate away from which it is asked for.
        self.box = FieldBox(
            fields, lambda field: True, "no image is open yet",
            follows=lambda field: not field.predicted and not field.is_derived,
        )  # fmt: skip
        self.scene = wide(QComboBox())
        self._rows = form()
        self.found = Wrapped()
        self.sizes = PixelSizes(self)
        self.y_um, self.z_um = self.sizes.y_um, self.sizes.z_um
        self.table = ChannelTable()
        self.guesses = Wrapped()
        self.confirm = QPushButton("Confirm")
        self.confirm.setToolTip("I have looked at these guesses, and they are right")
        self.copy = CopyCommand(self._command, self.notice.fail)
        self.go = QPushButton("Go on to Stain")
        self._arrange()
        self.file.clicked.connect(self.ask_for_file)
        self.folder.clicked.connect(self.ask_for_folder)
        self.url.clicked.connect(self.ask_for_url)
        self.box.chosen.connect(self.show_field)
        self.scene.activated.connect(lambda index: self._open_scene(self._scenes[index].name))
        self.plate.opened.connect(lambda name: self._open_scene(name, instead=True))
        self.sizes.changed.connect(fields.look)
        self.axes.returnPressed.connect(self._open_with_axes)
        self.table.changed.connect(fields.look)
        self.own_names.clicked.connect(self._ask_for_pattern)
        self.pattern.opened.connect(lambda path, text: self.open_path(path, pattern=text))
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

    def ask_for_url(self) -> None:
        """Let the user type the address of an OME-Zarr, without holding up the viewer."""
        dialog = QInputDialog(self)
        dialog.setWindowTitle("Open from the internet")
        dialog.setLabelText("Address of an OME-Zarr, https://… or s3://…")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.resize(520, dialog.height())
        dialog.textValueSelected.connect(lambda text: self.open_path(text.strip()))
        dialog.open()

    def open_paths(self, paths: Sequence[str]) -> None:
        """Open several paths; of these, one with bright field is shown rather than its truth."""
        self._together = frozenset(paths)
        for path in paths:
            self.open_path(path)

    def open_path(
        self,
        path: str | Path,
        *,
        scene: str | None = None,
        axes: str | None = None,
        pattern: str | None = None,
    ) -> None:
        """Open a path in the background and add its channels as layers.

        Parameters
        ----------
        path
            File, folder or URL.
        scene
            Which of the images in it.
        axes
            Of a file that does not say.
        pattern
            How the files of a folder are named.
        """
        self.notice.hint(f"Opening {Path(path).name} …")
        self._background.run(
            f"open {path}",
            lambda: open_layers(path, scene=scene, axes=axes, pattern=pattern),
            self._add,
            lambda sentence: self._refuse(path, sentence),
        )

    def _refuse(self, path: str | Path, sentence: str) -> None:
        self.notice.fail(words_of(sentence))
        self._refused = path
        self._ask_for_axes(wanted="for example --axes" in sentence)
        files = any(Path(path).iterdir()) if Path(path).is_dir() else False
        if files and not (Path(path) / "zarr.json").exists():
            # No layout knows its names, or one that is wrong does.
            self.pattern.show_folder(Path(path), self.pattern.line.text())

    def _ask_for_pattern(self) -> None:
        """Ask how the files of the folder that is shown, or of another one, are named."""
        field = self.box.field
        shown = None if field is None or field.path is None else Path(field.path)
        if shown is not None and shown.is_dir() and not shown.name.endswith(".zarr"):
            self.pattern.show_folder(shown, (field.pattern or "") if field is not None else "")
            return
        self._ask(
            "The folder with the files",
            QFileDialog.FileMode.Directory,
            lambda path: self.pattern.show_folder(Path(path)),
        )

    def _ask_for_axes(self, *, wanted: bool) -> None:
        """Show the row in which the axes of a file are stated that does not say them."""
        self.axes.setVisible(wanted)
        self._rows.labelForField(self.axes).setVisible(wanted)

    def _open_with_axes(self) -> None:
        self.open_path(self._refused, axes=self.axes.text().strip() or None)

    def _ask(
        self, title: str, mode: QFileDialog.FileMode, then: Callable[[str], None] | None = None
    ) -> None:
        dialog = QFileDialog(self, title)
        dialog.setFileMode(mode)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(then or self.open_path)
        dialog.open()

    def _add(self, layers: Sequence[LayerData], *, instead: Field | None = None) -> None:
        self.notice.clear()
        self.pattern.hide()
        self._ask_for_axes(wanted=False)
        self._put([Layer.create(*data) for data in layers], instead)
        source = source_of(layers[0][1]["metadata"])
        opened = ("", "") if source is None else (source.path or "", source.scene)
        if instead is not None:
            self.replaced.emit(instead, opened)
        before = self.box.field
        self._fields.look()
        self.box.choose(opened)
        now = self.box.field
        if before is None or now is None or not {before.path, now.path} <= self._together:
            return
        if before.brightfield is not None and now.brightfield is None:
            self.box.choose(before.key)

    def _put(self, new: Sequence[Layer], instead: Field | None) -> None:
        """Put layers into the viewer, in the place of those of an image or on top."""
        shown, names = self._viewer.layers, [layer.name for layer in new]
        old = [layer for layer, _ in (instead.layers if instead else ()) if layer in shown]
        at = min(map(shown.index, old), default=len(shown))
        for number, layer in enumerate(new):
            shown.insert(at + number, layer)
        # Behind the new ones: without a stack in between, napari would forget the plane in view.
        for layer in old:
            shown.remove(layer)
        for layer, name in zip(new, names, strict=True):
            layer.name = name  # napari had to tell it from that of the old one

    def _open_scene(self, name: str, *, instead: bool = False) -> None:
        """Show another image of the same path, beside or in place of the one that is chosen."""
        field = self.box.field
        scene = next((one for one in self._scenes if one.name == name), None)
        if field is None or field.path is None or scene is None or name == field.scene:
            return
        path, axes, pattern = field.path, field.axes, field.pattern
        self._background.run(
            "open the next",
            lambda: open_layers(path, axes=axes, pattern=pattern, opened=open_image(scene.open())),
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
        self.sizes.show_field(field)
        self.table.show_field(field)

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
        opened = _opened(field)
        if self._scenes_of == opened:
            self._offer_scenes(self._scenes, field.scene)
            return
        self._scenes, self._scenes_of = (), None
        self.plate.show_plates((), "")
        self._background.run(
            "scenes",
            lambda: list_scenes(opened[0], axes=opened[1], pattern=opened[2]),
            lambda scenes: self._take_scenes(scenes, opened),
            lambda sentence: None,  # the image itself is open already
        )

    def _take_scenes(self, scenes: tuple[Scene, ...], of: _Opened) -> None:
        self._scenes, self._scenes_of = scenes, of
        field = self.box.field
        if field is not None and _opened(field) == of:
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
        settings = InfoSettings(input=field.path, axes=field.axes, pattern=field.pattern).absolute()
        return to_command("info", settings, positional=("input",))

    def _arrange(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.file)
        top.addWidget(self.folder)
        top.addWidget(self.url)
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
        column.addWidget(self.own_names)
        column.addWidget(self.notice)
        column.addWidget(self.pattern)
        column.addLayout(self._rows)
        column.addWidget(self.plate)
        column.addWidget(self.table)
        column.addWidget(self.guesses)
        column.addWidget(self.confirm)
        column.addLayout(bottom)
        column.addStretch(1)


_Opened = tuple[str, str | None, str | None]
"""Path, axes and pattern with which an image was opened."""


def _opened(field: Field) -> _Opened:
    return (field.path or "", field.axes, field.pattern)


def _description(field: Field) -> str:
    """Return what was found, in words."""
    layer, source = field.layers[0]
    finest = layer.data[0] if layer.multiscale else layer.data
    names = {"t": "time points", "z": "z planes", "y": "rows", "x": "columns"}
    parts = [
        f"{n} {names.get(a, a)}" for a, n in zip(letters_of(layer), finest.shape, strict=False)
    ]
    many = len(field.layers)
    channels = f"{many} channel{'' if many == 1 else 's'}"
    kind = "a layer in memory" if field.path is None or source is None else source.kind
    where = "" if field.path is None else f"<br><small>{escape(field.path, quote=False)}</small>"
    return f"{channels}, {escape(', '.join(parts))}, {finest.dtype} ({kind}){where}"
