"""Which field of a plate is shown: its map, what colours the wells, and the sites of a well."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.io.plate import Plate, Site, Well
from napari_virtualstain.widgets._parts import wide
from napari_virtualstain.widgets._plate_map import PlateMap

__all__ = ["PlatePanel"]

_SITES = "number of sites"
_NONE = "nothing"


class PlatePanel(QWidget):
    """A plate to look around in: a click, an arrow key or *Next* opens another field.

    Parameters
    ----------
    rows
        The form of the page, in which the boxes of the panel stand.
    """

    opened = Signal(str)
    """Name of the scene that is to be shown."""

    def __init__(self, rows: QFormLayout) -> None:
        super().__init__()
        self._rows = rows
        self._plates: tuple[Plate, ...] = ()
        self._scene = ""
        self.plate = wide(QComboBox())
        self.colour = wide(QComboBox())
        self.colour.setToolTip("Colour each well by a number that is known of it")
        self.map = PlateMap()
        self.where, self.scale = QLabel(), QLabel()
        self.scale.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.back = _button("◀", "The field before (Page Up)", "PgUp")
        self.next = _button("▶", "The next field of the plate (Page Down)", "PgDown")
        rows.addRow("Plate", self.plate)
        rows.addRow("Colour by", self.colour)
        line = QHBoxLayout()
        line.addWidget(self.where, 1)
        line.addWidget(self.back)
        line.addWidget(self.next)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.map)
        column.addWidget(self.scale)
        column.addLayout(line)
        self.plate.activated.connect(self._change_plate)
        self.colour.activated.connect(self._recolour)
        self.map.chosen.connect(self._open_well)
        self.back.clicked.connect(lambda: self._step(-1))
        self.next.clicked.connect(lambda: self._step(1))
        self.show_plates((), "")

    def show_plates(self, plates: Sequence[Plate], scene: str) -> None:
        """Show the plate of a scene; nothing if there is none.

        Parameters
        ----------
        plates
            Of the path that is open.
        scene
            That is shown.
        """
        self._plates, self._scene = tuple(plates), scene
        index = next((n for n, plate in enumerate(plates) if _site_of(plate, scene)), None)
        self.setVisible(index is not None)
        for box, is_there in ((self.plate, len(plates) > 1), (self.colour, True)):
            box.setVisible(index is not None and is_there)
            self._rows.labelForField(box).setVisible(index is not None and is_there)
        if index is None:
            return
        self.plate.clear()
        self.plate.addItems([plate.name or "plate" for plate in plates])
        self.plate.setCurrentIndex(index)
        self._show(plates[index])

    def _show(self, plate: Plate) -> None:
        found = _site_of(plate, self._scene)
        self.map.show_plate(plate, "" if found is None else found[0].name)
        names = [_NONE, _SITES, *(name for name in plate.facts() if _numbers(plate, name))]
        kept = self.colour.currentText()
        self.colour.clear()
        self.colour.addItems(names)
        self.colour.setCurrentIndex(names.index(kept) if kept in names else 0)
        self._recolour()
        if found is None:
            self.where.setText("Click on a well to open it.")
        else:
            well, site = found
            number = well.sites.index(site) + 1
            self.where.setText(f"{well.name}, site {number} of {len(well.sites)}")
        fields = _fields(plate)
        at = fields.index(self._scene) if self._scene in fields else None
        self.back.setEnabled(at is not None and at > 0)
        self.next.setEnabled(at is None or at + 1 < len(fields))

    @property
    def _plate(self) -> Plate:
        plate: Plate = self._plates[self.plate.currentIndex()]
        return plate

    def _change_plate(self) -> None:
        self._show(self._plate)

    def _recolour(self) -> None:
        name = self.colour.currentText()
        values = {} if name == _NONE else _numbers(self._plate, name)
        self.map.colour_by(values, name)
        self.scale.setVisible(bool(values))
        if values:
            low, high = min(values.values()), max(values.values())
            self.scale.setText(f"{name}: dark {low:g}, bright {high:g}")

    def _open_well(self, name: str) -> None:
        """Open the same site of another well, its first if it has no such one."""
        well = self._plate.well(name)
        if well is None:
            return
        now = _site_of(self._plate, self._scene)
        alike = [site for site in well.sites if now is not None and site.name == now[1].name]
        site = (alike or list(well.sites))[0]
        kind = 0 if now is None else now[1].scenes.index(self._scene)
        self._open(site.scenes[kind] if kind < len(site.scenes) else site.scenes[0])

    def _step(self, by: int) -> None:
        fields = _fields(self._plate)
        at = fields.index(self._scene) + by if self._scene in fields else 0
        if 0 <= at < len(fields):
            self._open(fields[at])

    def _open(self, scene: str) -> None:
        self._scene = scene
        self._show(self._plate)
        self.opened.emit(scene)


def _button(text: str, tip: str, key: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setShortcut(QKeySequence(key))
    button.setFixedWidth(36)
    return button


def _site_of(plate: Plate, scene: str) -> tuple[Well, Site] | None:
    for well in plate.wells:
        for site in well.sites:
            if scene in site.scenes:
                return well, site
    return None


def _fields(plate: Plate) -> list[str]:
    """Return a scene a site, well by well."""
    return [site.scenes[0] for well in plate.wells for site in well.sites]


def _numbers(plate: Plate, name: str) -> dict[str, float]:
    """Return a number by well, as far as it is one."""
    if name == _SITES:
        return {well.name: float(len(well.sites)) for well in plate.wells}
    found = {}
    for well in plate.wells:
        try:
            found[well.name] = float(well.fact(name) or "")
        except ValueError:
            continue
    return found
