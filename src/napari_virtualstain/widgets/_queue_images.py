"""Which images are put on the list? Wells of a plate, scenes of a file, or files one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.io.plate import Plate
from napari_virtualstain.io.scene import listed
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._parts import form, wide
from napari_virtualstain.widgets._queue_source import Source, SourceKey, images_of, numbers
from napari_virtualstain.widgets._queue_source_box import SourceBox
from napari_virtualstain.widgets._well_picker import WellPicker
from napari_virtualstain.words import plural

__all__ = ["ImagesPanel"]

_NAMED = 4


class ImagesPanel(QWidget):
    """Offers what the viewer shows and what was named, and adds what is chosen of it.

    Parameters
    ----------
    fields
        What the viewer shows.
    background
        In which folders are looked through.
    channel
        Returns the name of the bright field that is stated for all images, if one is.
    """

    added = Signal(object, object)
    """Images, and what is stated of them."""
    offered = Signal()
    """Something with several images, of which some are to be chosen."""
    said = Signal(str)
    """Something to know."""
    refused = Signal(str)
    """What is not possible, in a sentence."""

    def __init__(
        self, fields: Fields, background: Background, channel: Callable[[], str | None]
    ) -> None:
        super().__init__()
        self._channel = channel
        self._shown: SourceKey | None = None
        self.sources = SourceBox(fields, background)
        self.plate = wide(QComboBox())
        self.map = WellPicker()
        self.map.setToolTip(
            "Click on wells, on letters of rows and numbers of columns, or draw a box; Shift drops"
        )
        self.count = QLabel()
        self.every, self.none = QPushButton("All"), QPushButton("None")
        self.sites, self.names, self.times = QLineEdit(), QLineEdit(), QLineEdit()
        self.times.setPlaceholderText("all, or for example 0,4-6")
        self.times.setToolTip("Time points of each image, from 0")
        self.add = QPushButton("Add")
        self._rows, self._below = form(), form()
        self._arrange()
        self.sources.chosen.connect(self._choose)
        self.sources.single.connect(self._emit)
        self.sources.offered.connect(self.offered)
        self.sources.said.connect(self.said)
        self.sources.refused.connect(self.refused)
        self.plate.currentIndexChanged.connect(self._show_plate)
        self.map.picked_changed.connect(self._count)
        self.sites.textChanged.connect(self._count)
        self.names.textChanged.connect(self._count)
        self.every.clicked.connect(lambda: self.map.pick_all())
        self.none.clicked.connect(lambda: self.map.pick_all(False))
        self.add.clicked.connect(self._add)
        self._choose()

    @property
    def source(self) -> Source | None:
        """What is chosen, with its images once somebody has looked."""
        return self.sources.source

    def add_paths(self, paths: Iterable[str | Path]) -> None:
        """See `SourceBox.add_paths`."""
        self.sources.add_paths(paths)

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Look at what was chosen behind the scenes; wells that were picked stay so."""
        super().showEvent(event)
        source = self.source
        if source is not None and (source.found is None or source.key != self._shown):
            self.sources.look()

    def _choose(self) -> None:
        source = self.source
        self._show(source)
        if source is not None and source.found is None:
            self.add.setText("Looking …")

    # --- what is shown ----------------------------------------------------------------------------

    def _show(self, source: Source | None) -> None:
        self._shown = None if source is None else source.key
        plates = () if source is None else source.plates
        self.plate.blockSignals(True)
        self.plate.clear()
        self.plate.addItems([plate.name or "plate" for plate in plates])
        self.plate.blockSignals(False)
        _show_row(self._rows, self.plate, len(plates) > 1)
        scenes = () if source is None else source.scenes
        _show_row(self._rows, self.names, not plates and len(scenes) > 1)
        names = [scene.name for scene in scenes]
        more = ", …" if len(names) > _NAMED else ""
        self.names.setPlaceholderText(f"all: {', '.join(names[:_NAMED])}{more}")
        self.names.setToolTip("Names by commas, with * for anything:\n" + "\n".join(names[:40]))
        _show_row(self._below, self.times, bool(source is not None and source.found))
        self._show_plate()

    def _shown_plate(self) -> Plate | None:
        source = self.source
        plates = () if source is None or source.found is None else source.plates
        index = max(self.plate.currentIndex(), 0)
        return plates[index] if index < len(plates) else None

    def _show_plate(self) -> None:
        plate = self._shown_plate()
        for part in (self.map, self.count, self.every, self.none):
            part.setVisible(plate is not None)
        sites = [] if plate is None else [site.name for well in plate.wells for site in well.sites]
        names = list(dict.fromkeys(sites))
        _show_row(self._below, self.sites, len(names) > 1)
        self.sites.setPlaceholderText(f"all, or for example {', '.join(names[:2])}")
        self.sites.setToolTip("Sites of each well by commas, with * for anything")
        if plate is not None:
            self.map.show_plate(plate)
        self._count()

    def _chosen(self) -> tuple[Source, Sequence[Any], int] | None:
        source = self.source
        if source is None or source.found is None:
            return None
        chosen, without = images_of(
            source, plate=self._shown_plate(), wells=self.map.picked, sites=self.sites.text(),
            names=self.names.text(), channel=self._channel(),
        )  # fmt: skip
        return source, chosen, without

    def _count(self) -> None:
        """Say how many images would be added."""
        plate = self._shown_plate()
        if plate is not None:
            self.count.setText(f"{len(self.map.picked)} of {plural(len(plate.wells), 'well')}")
        try:
            found = self._chosen()
        except VirtualStainError as error:
            self.add.setText("Add")
            self.add.setEnabled(False)
            self.add.setToolTip(str(error))
            return
        self.add.setEnabled(found is not None)
        self.add.setText("Add" if found is None else f"Add {plural(len(found[1]), 'image')}")
        self.add.setToolTip("Put these images at the end of the list")

    # --- adding -----------------------------------------------------------------------------------

    def _add(self) -> None:
        source = self.source
        if source is not None:
            self._emit(source)

    def _emit(self, source: Source) -> None:
        try:
            now = self.source
            if now is not None and now.key == source.key:
                found = self._chosen()
                assert found is not None
                _, chosen, without = found
                times = numbers(self.times.text())
            else:
                chosen, without = images_of(
                    source, plate=None, wells=(), sites="", names="", channel=self._channel()
                )
                times = ()
        except VirtualStainError as error:
            self.refused.emit(str(error))
            return
        others = source.found.others if source.found is not None else ()
        said = [f"{plural(without, 'image')} with fluorescence only left out."] if without else []
        if others:
            said.append(f"Left out, since they are no images: {listed(others, _NAMED)}.")
        self.said.emit(" ".join(said))
        self.added.emit(chosen, {**source.own(), "times": times})

    def _arrange(self) -> None:
        picked = QHBoxLayout()
        picked.addWidget(self.count, 1)
        picked.addWidget(self.every)
        picked.addWidget(self.none)
        self._rows.addRow("From", self.sources)
        self._rows.addRow("Plate", self.plate)
        self._rows.addRow("Scenes", self.names)
        self._below.addRow("Sites", self.sites)
        self._below.addRow("Times", self.times)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._rows)
        column.addWidget(self.map)
        column.addLayout(picked)
        column.addLayout(self._below)
        column.addWidget(self.add)


def _show_row(rows: QFormLayout, part: QWidget, shown: bool) -> None:
    part.setVisible(shown)
    rows.labelForField(part).setVisible(shown)
