"""From where are images taken? What the viewer shows, or files and folders that are named."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_virtualstain.io.remote import absolute
from napari_virtualstain.jobs.batch_items import Found
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._parts import wide
from napari_virtualstain.widgets._queue_source import Source, SourceKey, open_sources
from napari_virtualstain.words import plural

__all__ = ["SourceBox"]


_SINGLE = (
    "{0} of {1} are images of their own on the list. If several of them make up an image, open the "
    "folder on the page Load with “Files are named my way…”, and choose it here."
)


class SourceBox(QWidget):
    """A box with what the viewer shows and what was named, and buttons to name more.

    Parameters
    ----------
    fields
        What the viewer shows.
    background
        In which folders are looked through.
    """

    chosen = Signal()
    """Another source is chosen, or its images are known now."""
    single = Signal(object)
    """A source of single images was named: there is nothing to choose."""
    offered = Signal()
    """A source with several images was named."""
    said = Signal(str)
    """Something to know."""
    refused = Signal(str)
    """What is not possible, in a sentence."""

    def __init__(self, fields: Fields, background: Background) -> None:
        super().__init__()
        self._fields, self._background = fields, background
        self._named: list[Source] = []
        self._sources: list[Source] = []
        self._looked: dict[SourceKey, Found] = {}
        self._coming: deque[Source] = deque()
        self._busy = False
        self.box = wide(QComboBox())
        self.box.setPlaceholderText("nothing is open")
        self.files = QPushButton("Files…")
        self.files.setToolTip("Add image files; dropping them on this page does the same")
        self.folder = QPushButton("Folder…")
        self.folder.setToolTip("Choose a plate, or a folder of images, or an OME-Zarr")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.box, 1)
        row.addWidget(self.files)
        row.addWidget(self.folder)
        fields.changed.connect(self._refill)
        self.box.currentIndexChanged.connect(self.look)
        self.files.clicked.connect(lambda: self._ask(QFileDialog.FileMode.ExistingFiles))
        self.folder.clicked.connect(lambda: self._ask(QFileDialog.FileMode.Directory))
        self._refill()

    @property
    def source(self) -> Source | None:
        """What is chosen, with its images once somebody has looked."""
        index = int(self.box.currentIndex())
        if not 0 <= index < len(self._sources):
            return None
        source = self._sources[index]
        return replace(source, found=self._looked.get(source.key))

    def look(self) -> None:
        """Look at the images of what is chosen, once somebody sees the box."""
        source = self.source
        self.chosen.emit()
        if source is not None and source.found is None and self.isVisible():
            self._background.run(
                "images", source.look, lambda found: self._take(source, found), self.refused.emit
            )

    def _take(self, source: Source, found: Found) -> None:
        self._looked[source.key] = found
        now = self.source
        if now is not None and now.key == source.key:
            self.chosen.emit()

    def _refill(self, *, choose: Source | None = None) -> None:
        """Offer what the viewer shows now, and what was named."""
        now = self.source
        known = {source.key for source in self._sources}
        there = open_sources(self._fields.all)
        keys = {source.key for source in there}
        self._sources = [*there, *(one for one in self._named if one.key not in keys)]
        new = [one for one in there if one.key not in known]
        wanted = choose or (new[-1] if new else now)
        offered = [source.key for source in self._sources]
        self.box.blockSignals(True)
        self.box.clear()
        for one in self._sources:
            self.box.addItem(one.name)
            self.box.setItemData(self.box.count() - 1, one.path, Qt.ItemDataRole.ToolTipRole)
        there_still = wanted is not None and wanted.key in offered
        self.box.setCurrentIndex(
            offered.index(wanted.key) if wanted is not None and there_still else len(offered) - 1
        )
        self.box.blockSignals(False)
        self.box.setEnabled(bool(offered))
        source = self.source
        if source is None or now is None or source.key != now.key or choose is not None:
            self.look()

    # --- naming -----------------------------------------------------------------------------------

    def add_paths(self, paths: Iterable[str | Path]) -> None:
        """Put files on the list; of what holds several images, offer them to be chosen from."""
        self._coming.extend(Source(path=absolute(str(path))) for path in paths)
        if self._coming and not self._busy:
            # Of the first only: what is said of one that is refused has to stay.
            self.said.emit(f"Looking at {self._coming[0].name} …")
        self._look_at_next()

    def _look_at_next(self) -> None:
        """Look at one after the other, so that they come on the list in their order."""
        if self._busy or not self._coming:
            return
        source = self._coming.popleft()
        self._busy = True
        self._background.run(
            "images that were named",
            source.look,
            lambda found: self._looked_at(lambda: self._take_named(source, found)),
            lambda sentence: self._looked_at(lambda: self.refused.emit(sentence)),
        )

    def _looked_at(self, then: Callable[[], None]) -> None:
        self._busy = False
        then()
        self._look_at_next()

    def _take_named(self, source: Source, found: Found) -> None:
        self.said.emit("")
        source = replace(source, found=found)
        self._looked[source.key] = found
        if all(len(scenes) < 2 for _, scenes in found.images):
            self.single.emit(source)
            if len(found.images) > 1:
                self.said.emit(_SINGLE.format(plural(len(found.images), "file"), source.name))
            return
        count = plural(len(source.scenes), "image")
        self.said.emit(f"{source.name} holds {count}. Choose which, and add them.")
        self.offered.emit()
        self._named = [one for one in self._named if one.key != source.key] + [source]
        self._refill(choose=source)

    def _ask(self, mode: Any) -> None:
        dialog = QFileDialog(self, "Images to stain")
        dialog.setFileMode(mode)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.filesSelected.connect(self.add_paths)
        dialog.open()
