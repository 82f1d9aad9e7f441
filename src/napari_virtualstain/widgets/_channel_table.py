"""What is each channel to a virtual stain? A row a channel, whose role is kept with its layer."""

from __future__ import annotations

from typing import Any, get_args

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QLineEdit,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
)

from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.napari_io.source import LayerSource, Role, source_of, tagged

__all__ = ["ChannelTable"]

_ROLES: dict[Role, str] = {
    "brightfield": "bright field",
    "truth": "true stain",
    "prediction": "predicted stain",
    "other": "neither",
}
_ROLE_WIDTH = 125
_HIGHEST = 260


class ChannelTable(QTableWidget):
    """The channels of an image, what each is, and under which name stains are paired."""

    changed = Signal()
    """A channel is something else now."""

    def __init__(self) -> None:
        super().__init__(0, 3)
        self.setHorizontalHeaderLabels(["Channel", "Is", "Stain"])
        self.verticalHeader().hide()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        header = self.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(1, _ROLE_WIDTH)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)

    def show_field(self, field: Field) -> None:
        """Show the channels of an image."""
        self.setRowCount(len(field.layers))
        for row, (layer, source) in enumerate(field.layers):
            self._show_channel(row, layer, source)
        height = self.horizontalHeader().height() + 4
        height += sum(self.rowHeight(row) for row in range(self.rowCount()))
        self.setFixedHeight(min(height, _HIGHEST))

    def _show_channel(self, row: int, layer: Any, source: LayerSource | None) -> None:
        name = QTableWidgetItem(layer.name if source is None else source.channel)
        name.setToolTip(layer.name)
        name.setFlags(Qt.ItemFlag.ItemIsEnabled)
        self.setItem(row, 0, name)
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
        role.activated.connect(lambda _: self._give(layer, role, stain))
        stain.editingFinished.connect(lambda: self._give(layer, role, stain))
        self.setCellWidget(row, 1, role)
        self.setCellWidget(row, 2, stain)

    def _give(self, layer: Any, role: QComboBox, stain: QLineEdit) -> None:
        """Note the role of a channel with its layer."""
        source = source_of(layer) or LayerSource(channel=layer.name)
        wanted: Role = role.currentData()
        assert wanted in get_args(Role)
        new = source.with_role(wanted, stain.text().strip())
        if new != source:
            layer.metadata = tagged(layer.metadata, new)
            self.changed.emit()
