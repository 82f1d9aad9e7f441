"""Which pairs tune the model? Those of open layers, of a folder, or of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QMenu,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.datasets.pairing_file import FilePair, FileStain, PairsFile, save_pairs
from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.errors import ChannelError, MissingInputError, SettingsError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.napari_io.fields import Field, path_name
from napari_virtualstain.napari_io.marks import drawn_plane, painted_plane, write_marks
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._parts import form, wide

if TYPE_CHECKING:
    import napari

__all__ = ["PairList", "pair_of", "pairs_among", "with_pair"]

_LEAST, _MOST = 70, 190
_FILES = "Pairs (*.json *.csv *.tsv)"


class PairList(QWidget):
    """Pairs as rows, and buttons that add some; what a plan says of them stands beside.

    Parameters
    ----------
    viewer
        Whose labels say what is left out.
    fields
        What it shows.
    """

    changed = Signal()
    """There are other pairs."""
    wanted = Signal(object)
    """A list of (bright field, true stains) of the viewer that are to become pairs."""
    searched = Signal(str)
    """A folder or table in which pairs are to be looked for."""
    refused = Signal(str)
    """Why something was not added."""

    def __init__(self, viewer: napari.Viewer, fields: Fields) -> None:
        super().__init__()
        self._viewer, self._fields = viewer, fields
        self._painted: dict[str, tuple[Labels | Shapes, bool]] = {}
        self.file: PairsFile | None = None
        self.brightfield = FieldBox(
            fields, lambda f: bool(f.with_role("brightfield")), "no bright field is open yet"
        )
        self.true = FieldBox(fields, lambda f: bool(f.with_role("truth")), "no true stain is open")
        self.add = QPushButton("Add this pair")
        self.add.setToolTip("Add the bright field and the true stains that are chosen above")
        self.add_open = QPushButton("Add all open")
        self.add_open.setToolTip(
            "Add every bright field that is open with true stains of the same file or folder"
        )
        self.add_more = QToolButton()
        self.add_more.setText("From disk")
        self.add_more.setToolTip("Look for pairs in a folder or a table, or take a pairs file")
        self.add_more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.add_more.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.remove = QPushButton("Remove")
        self.remove.setToolTip("Take the chosen pairs out; without a choice, all of them")
        self.list = _tree()
        self.way = QComboBox()
        self.way.addItems(["Leave out", "Only"])
        self.way.setToolTip(
            "Whether what is painted or drawn in the layer beside is left out of the chosen field, "
            "or everything else"
        )
        self.leave_out = wide(QComboBox())
        self.leave_out.setMinimumContentsLength(len("nothing"))  # three share the row
        self.leave_out.setToolTip(
            "A layer of labels or shapes in which folds, bubbles and dead cells of the chosen "
            "field are painted, or the regions that count are drawn: what is left out neither "
            "teaches nor judges. It is read when the tuning starts"
        )
        self._arrange()
        self.add.clicked.connect(self._add)
        self.add_open.clicked.connect(lambda: self.wanted.emit(pairs_among(fields.all)))
        self.remove.clicked.connect(self._remove)
        self.list.itemSelectionChanged.connect(self._look)
        self.brightfield.chosen.connect(self._look)
        self.true.chosen.connect(self._look)
        fields.changed.connect(self._offer_labels)
        self.leave_out.activated.connect(self._paint_out)
        self.way.activated.connect(self._paint_out)
        self._offer_labels()
        self._look()

    @property
    def pairs(self) -> tuple[FilePair, ...]:
        """What there is by now."""
        return () if self.file is None else self.file.pairs

    def put(self, pair: FilePair, of: PairsFile) -> None:
        """Add a pair of the viewer.

        Parameters
        ----------
        pair
            To add.
        of
            How its images are opened, without pairs.
        """
        try:
            self.file = with_pair(self.file, pair, of)
        except SettingsError as error:
            self.refused.emit(str(error))
            return
        self._show()

    def put_file(self, file: PairsFile) -> None:
        """Take the pairs of a file in the place of those that are here, with its sets."""
        self.file = file
        self._show()

    def written(self, place: Path) -> None:
        """Write the pairs file, and beside it what is painted now.

        Parameters
        ----------
        place
            Of the file; what was there goes.

        Raises
        ------
        VirtualStainError
            If it cannot be written.
        """
        assert self.file is not None
        with disk_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            pairs = []
            for number, pair in enumerate(self.pairs):
                if pair.name in self._painted:
                    beside = place.with_name(f"left-out-{number}.tif")
                    write_marks(beside, self._left_out_of(pair))
                    pair = pair.model_copy(update={"exclude": str(beside)})
                pairs.append(pair)
        # Those of a pair that was removed are wanted no more.
        stains = tuple(s for s in self.file.stains if any(s in pair.stains for pair in pairs))
        file = self.file.model_copy(update={"pairs": tuple(pairs), "stains": stains})
        save_pairs(place, file, overwrite=True)

    def show_plan(self, fields: Sequence[Mapping[str, Any]]) -> None:
        """Say of each field what it is for, and what is doubtful about it.

        Parameters
        ----------
        fields
            As `jobs.tuning_plan.FinetunePlan.to_json` has them.
        """
        self.list.clear()
        names = [str(field["name"]) for field in fields]
        for name, field in zip(names, fields, strict=True):
            notes = "; ".join(field["notes"]) or "nothing to note"
            owners = [p.name for p in self.pairs if name.startswith(f"{p.name} t")]
            pair = max(owners, key=len, default=None)
            # Time points are told apart where there are some.
            alone = pair is not None and f"{pair} t1" not in names
            short = name.replace(" t0", "", 1) if alone else name
            row = QTreeWidgetItem([short, str(field["role"]), notes])
            row.setData(0, Qt.ItemDataRole.UserRole, pair)
            size = " x ".join(map(str, field["shape"]))
            row.setToolTip(0, f"{size} px; {', '.join(field['stains'])}")
            row.setToolTip(2, notes)
            self.list.addTopLevelItem(row)
        self._fit()

    def _show(self) -> None:
        """Show the pairs, about which nothing is known yet."""
        self.list.clear()
        for pair in self.pairs:
            row = QTreeWidgetItem([pair.name, "…", ", ".join(pair.stains)])
            row.setData(0, Qt.ItemDataRole.UserRole, pair.name)
            row.setToolTip(0, pair.path)
            self.list.addTopLevelItem(row)
        self._fit()
        self._look()
        self.changed.emit()

    def _add(self) -> None:
        brightfield, true = self.brightfield.field, self.true.field
        if brightfield is not None and true is not None:
            self.wanted.emit([(brightfield, true)])

    def _remove(self) -> None:
        if self.file is None:
            return
        chosen = {row.data(0, Qt.ItemDataRole.UserRole) for row in self.list.selectedItems()}
        left = tuple(p for p in self.pairs if chosen and p.name not in chosen)
        self.file = self.file.model_copy(update={"pairs": left}) if left else None
        self._show()

    def _look(self) -> None:
        both = self.brightfield.field is not None and self.true.field is not None
        self.add.setEnabled(both)
        self.add_open.setEnabled(both)
        self.remove.setEnabled(bool(self.pairs))
        some = bool(self.list.selectedItems())
        chosen = self._chosen()
        self.leave_out.setEnabled(bool(chosen) and self.leave_out.count() > 1)
        layer, only = self._painted.get(chosen[0], (None, False)) if chosen else (None, False)
        self.leave_out.setCurrentIndex(max(self.leave_out.findData(layer), 0))
        self.way.setEnabled(self.leave_out.isEnabled())
        if layer is not None:
            self.way.setCurrentIndex(int(only))
        self.remove.setText("Remove" if some else "Remove all")

    def _chosen(self) -> list[str]:
        """Return the names of the pairs that are chosen, of the only one in any case."""
        rows = {row.data(0, Qt.ItemDataRole.UserRole) for row in self.list.selectedItems()}
        return [pair.name for pair in self.pairs if pair.name in rows or len(self.pairs) == 1]

    def _offer_labels(self) -> None:
        """Offer the layers of labels and shapes that there are now."""
        layers = [layer for layer in self._viewer.layers if isinstance(layer, Labels | Shapes)]
        self.leave_out.clear()
        self.leave_out.addItem("nothing", None)
        for layer in layers:
            self.leave_out.addItem(layer.name, layer)
        self._look()

    def _paint_out(self) -> None:
        """Leave out of the chosen pairs what is painted in the chosen layer, or all but that."""
        layer = self.leave_out.currentData()
        for name in self._chosen():
            if layer is None:
                self._painted.pop(name, None)
            else:
                self._painted[name] = (layer, self.way.currentIndex() == 1)
        self.changed.emit()

    def _left_out_of(self, pair: FilePair) -> NDArray[np.uint8]:
        """Return what of a pair is left out now, (Y, X).

        Raises
        ------
        VirtualStainError
            If shapes lie over no image, or nothing is drawn in them.
        """
        layer, only = self._painted[pair.name]
        if isinstance(layer, Labels):
            marks = painted_plane(layer)
        else:
            over = self._brightfield_of(pair)
            if over is None:
                raise MissingInputError(
                    f"The bright field of {pair.name} is not open, so nobody knows which part of "
                    f"it “{layer.name}” means. Open it, or paint labels."
                )
            marks = drawn_plane(layer, over, self._viewer.dims.point)
        if only and not marks.any():
            raise MissingInputError(
                f"Nothing of {pair.name} lies inside “{layer.name}”. Draw a rectangle, an ellipse "
                "or a polygon over it, or paint, and start again."
            )
        return 1 - marks if only else marks

    def _brightfield_of(self, pair: FilePair) -> Image | None:
        """Return the layer in which the bright field of a pair is open."""
        for field in self._fields.all:
            if (field.path, field.scene) == (pair.path, pair.scene) or (
                field.path is None and field.name == pair.name
            ):
                for layer, _ in field.with_role("brightfield"):
                    return layer
        return None

    def _fit(self) -> None:
        rows = self.list.topLevelItemCount()
        height = self.list.header().sizeHint().height() + 6
        height += rows * max(self.list.sizeHintForRow(0), 16)
        self.list.setFixedHeight(min(max(height, _LEAST), _MOST))
        self.list.setVisible(bool(rows))

    def _ask(self, *, folder: bool) -> None:
        """Let the user choose, without holding up the viewer."""
        dialog = QFileDialog(self, "Pairs of bright field and true stains")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if folder:
            dialog.setFileMode(QFileDialog.FileMode.Directory)
        else:
            dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
            dialog.setNameFilter(_FILES)
        dialog.fileSelected.connect(self.searched)
        dialog.open()

    def _arrange(self) -> None:
        menu = QMenu(self.add_more)
        menu.addAction("A folder or plate…", lambda: self._ask(folder=True))
        menu.addAction("A table or pairs file…", lambda: self._ask(folder=False))
        self.add_more.setMenu(menu)
        rows = form()
        rows.addRow("Bright field", self.brightfield)
        rows.addRow("True stains", self.true)
        buttons = QGridLayout()
        buttons.setSpacing(4)
        for column, button in enumerate((self.add, self.add_open, self.add_more)):
            buttons.addWidget(button, 0, column)
        below = QHBoxLayout()
        below.addWidget(self.way)
        below.addWidget(self.leave_out, 1)
        below.addWidget(self.remove)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(rows)
        column.addLayout(buttons)
        column.addWidget(self.list)
        column.addLayout(below)
        self._fit()


def pairs_among(fields: Sequence[Field]) -> list[tuple[Field, Field]]:
    """Return which open images are bright field and truth of one field.

    The true stains lie in the same image, or else in the only such image of the same folder, or of
    the same name in a folder beside it; of one bright field and one image of true stains, wherever
    they lie.
    """
    light = [f for f in fields if f.with_role("brightfield")]
    true = [f for f in fields if f.with_role("truth")]
    found = [(f, f) for f in light if f in true]
    done = {f.key for f, _ in found}
    light = [f for f in light if f.key not in done]
    true = [f for f in true if f.key not in done]
    if len(light) == len(true) == 1:
        return [*found, (light[0], true[0])]
    for field in light:
        beside = [f for f in true if _folder(f) == _folder(field) is not None]
        beside = beside or [f for f in true if _name(f) == _name(field) is not None]
        if len(beside) == 1:
            found.append((field, beside[0]))
    return found


def _folder(field: Field) -> tuple[Path, str] | None:
    return None if field.path is None else (Path(field.path).parent, field.scene)


def _name(field: Field) -> tuple[Path, str, str] | None:
    """Return what files of one field have in common that lie in folders beside each other."""
    if field.path is None:
        return None
    path = Path(field.path)
    return path.parent.parent, path.name.split(".")[0].casefold(), field.scene


def pair_of(
    brightfield: Field, true: Field, card: ModelCard, *, paths: tuple[str, str]
) -> tuple[FilePair, PairsFile]:
    """Return a pair of the viewer as a pairs file has it, and how its images are opened.

    Parameters
    ----------
    brightfield, true
        Images of the viewer.
    card
        Of the model, whose stains are looked for under their names and synonyms.
    paths
        Where both lie; layers in memory have been written there.

    Raises
    ------
    ChannelError
        If there is no stain of the model.
    """
    there = true.true_channels
    stains = {}
    for name in card.stain_names:
        channel = find_stain(name, list(there))
        if channel is not None:
            stains[name] = FileStain(
                path=paths[1], scene=true.scene, channel=there[channel.channel], by=channel.by
            )
    if not stains:
        raise ChannelError(
            f"{true.name}: none of its true stains ({', '.join(there)}) is one of the model "
            f"({', '.join(card.stain_names)}). Name its channels on the page Load, or choose "
            "another model."
        )
    layer, source = brightfield.with_role("brightfield")[0]
    pair = FilePair(
        name=brightfield.name, field=f"{paths[0]} {brightfield.scene}".strip(),
        matched_by="the viewer", path=paths[0], scene=brightfield.scene,
        channel=layer.name if brightfield.path is None else source.channel, stains=stains,
    )  # fmt: skip
    shown = source_of(layer)
    stated = shown.pixel_size_um[1] if shown is not None and shown.pixel_size_stated else None
    how = PairsFile(
        stains=card.stain_names, axes=brightfield.axes, target_axes=true.axes,
        pattern=brightfield.pattern, target_pattern=true.pattern, pixel_size_um=stated, pairs=(),
    )  # fmt: skip
    return pair, how


def with_pair(file: PairsFile | None, pair: FilePair, of: PairsFile) -> PairsFile:
    """Return a pairs file with one pair more; who teaches is then decided anew.

    Raises
    ------
    SettingsError
        If it is there already, or its images are opened in another way than the others.
    """
    if file is None:
        return of.model_copy(update={"pairs": (pair,)})
    if any((one.path, one.scene) == (pair.path, pair.scene) for one in file.pairs):
        raise SettingsError(f"{pair.name} is in the list already. Add another field.")
    for name in ("axes", "target_axes", "pattern", "target_pattern", "pixel_size_um"):
        if getattr(file, name) != getattr(of, name):
            what = name.removeprefix("target_").replace("_um", "").replace("_", " ")
            raise SettingsError(
                f"{pair.name} was opened with another {what} than the pairs before. Open all of "
                "them alike on the page Load."
            )
    taken = {one.name for one in file.pairs}
    name = pair.name
    if name in taken:
        name = path_name(pair.path) if path_name(pair.path) not in taken else pair.field
    stains = tuple(dict.fromkeys((*file.stains, *of.stains)))
    pairs = (
        *(one.model_copy(update={"set": None}) for one in file.pairs),
        pair.model_copy(update={"name": name}),
    )
    return file.model_copy(update={"pairs": pairs, "split": None, "stains": stains})


def _tree() -> QTreeWidget:
    tree = QTreeWidget()
    tree.setHeaderLabels(["Field", "For", "Notes"])
    tree.setRootIsDecorated(False)
    tree.setUniformRowHeights(True)
    tree.setSelectionMode(QTreeWidget.SelectionMode.ExtendedSelection)
    tree.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    tree.setIconSize(QSize(0, 0))
    tree.headerItem().setToolTip(1, "Who teaches, and who is held back to judge: never both")
    header = tree.header()
    header.setStretchLastSection(True)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
    header.resizeSection(0, 120)
    header.resizeSection(1, 66)
    return tree
