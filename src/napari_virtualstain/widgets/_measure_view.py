"""What was measured: a row a field, and wells in the colour of any column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QComboBox,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.io.plate import Place, plates_with
from napari_virtualstain.widgets._parts import Wrapped, form, wide
from napari_virtualstain.widgets._plate_map import PlateMap
from napari_virtualstain.words import plural

__all__ = ["MeasuredView"]

_HEIGHT = 180
_NAME = 110
"""Widest name of a row: numbers are what the table is for."""
_ABOUT = "Metadata_"
_FIRST = ("count", "covered", "median_nucleus_area")
_UNITS = {"_area": " (µm²)", "_perimeter": " (µm)"}
_SHARES = ("covered", "missing")
"""Columns that stand first."""

Row = Mapping[str, str]


class MeasuredView(QWidget):
    """A sentence, a plate map where there is a plate, and the table of fields."""

    def __init__(self) -> None:
        super().__init__()
        self._wells: list[Row] = []
        self.words = Wrapped()
        self.colour = wide(QComboBox())
        self.map = PlateMap()
        self.scale = QLabel()
        self.table = QTableWidget()
        self.copy = QPushButton("Copy table")
        self._arrange()
        self.colour.activated.connect(lambda _: self._recolour())
        self.copy.clicked.connect(lambda: QApplication.clipboard().setText(self.as_text()))
        self.hide()

    def show_tables(self, fields: Sequence[Row], wells: Sequence[Row], objects: int) -> None:
        """Show what a run has written.

        Parameters
        ----------
        fields, wells
            Rows of the tables; no wells where there is no plate.
        objects
            Nuclei in all.
        """
        columns = [name for name in fields[0] if not name.startswith(_ABOUT)]
        columns.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
        self.words.setText(f"<b>{_summary(fields, objects)}</b>")
        self._fill(fields, columns)
        # Of several time points the map shows the first.
        first = wells[0][f"{_ABOUT}Time"] if wells else ""
        self._wells = [row for row in wells if row[f"{_ABOUT}Time"] == first]
        self._show_map(columns)
        self.show()

    def as_text(self) -> str:
        """Return the table as a spreadsheet takes it."""
        table = self.table
        head = [
            "Field",
            *(table.horizontalHeaderItem(n).text() for n in range(table.columnCount())),
        ]
        rows = [
            [table.verticalHeaderItem(row).text(),
             *(table.item(row, n).text() for n in range(table.columnCount()))]
            for row in range(table.rowCount())
        ]  # fmt: skip
        return "\n".join("\t".join(line) for line in [head, *rows])

    def _fill(self, fields: Sequence[Row], columns: Sequence[str]) -> None:
        table = self.table
        table.clear()
        table.setRowCount(len(fields))
        table.setColumnCount(len(columns))
        table.setHorizontalHeaderLabels([_title(name) for name in columns])
        table.setVerticalHeaderLabels(_names(fields))
        for number, row in enumerate(fields):
            for column, name in enumerate(columns):
                item = QTableWidgetItem(_short(row[name], name))
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                item.setToolTip(name)
                table.setItem(number, column, item)
        table.resizeColumnsToContents()
        height = table.horizontalHeader().height() + 24
        height += sum(table.rowHeight(n) for n in range(len(fields)))
        table.setFixedHeight(min(_HEIGHT, height))

    def _show_map(self, columns: Sequence[str]) -> None:
        plates = plates_with(
            (row[f"{_ABOUT}Well"],
             Place(plate=row[f"{_ABOUT}Plate"], well=row[f"{_ABOUT}Well"]))
            for row in self._wells
        )  # fmt: skip
        for part in (self.map, self.scale):
            part.setVisible(bool(plates))
        self._rows.setRowVisible(self.colour, bool(plates))
        if not plates:
            return
        before = self.colour.currentData()
        self.colour.clear()
        for name in columns:
            self.colour.addItem(_title(name), name)
        self.colour.setCurrentIndex(max(self.colour.findData(before), 0))
        self._wells = [row for row in self._wells if row[f"{_ABOUT}Plate"] == plates[0].name]
        self.map.show_plate(plates[0], "")
        self._recolour()

    def _recolour(self) -> None:
        name = self.colour.currentData()
        values = {row[f"{_ABOUT}Well"]: float(row[name]) for row in self._wells if row.get(name)}
        self.map.colour_by(values, _title(name))
        known = [value for value in values.values() if np.isfinite(value)]
        self.scale.setText(f"dark {min(known):.3g}, bright {max(known):.3g}" if known else "")

    def _arrange(self) -> None:
        self.colour.setToolTip("Colour each well by the mean, or median, of its fields")
        self.scale.setAlignment(Qt.AlignmentFlag.AlignRight)
        table: Any = self.table
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        table.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        table.verticalHeader().setDefaultSectionSize(22)
        table.verticalHeader().setMaximumWidth(_NAME)
        table.verticalHeader().setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._rows = form()
        self._rows.addRow("Colour by", self.colour)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.words)
        column.addLayout(self._rows)
        column.addWidget(self.map)
        column.addWidget(self.scale)
        column.addWidget(self.table)
        column.addWidget(self.copy, 0, Qt.AlignmentFlag.AlignLeft)


def _summary(fields: Sequence[Row], objects: int) -> str:
    counted = "1 nucleus" if objects == 1 else f"{objects} nuclei"
    said = f"{counted} in {plural(len(fields), 'field')}"
    areas = [float(row["median_nucleus_area"]) for row in fields if row["median_nucleus_area"]]
    return f"{said}, of {np.median(areas):.0f} µm² in the median." if areas else f"{said}."


def _names(fields: Sequence[Row]) -> list[str]:
    """Return a name a row: well and site, or the file; with its time where there are several."""
    times = len({row[f"{_ABOUT}Time"] for row in fields}) > 1
    found = []
    for row in fields:
        place = [row[f"{_ABOUT}Well"], row[f"{_ABOUT}Site"]]
        name = " ".join(part for part in place if part) if place[0] else _named(row)
        found.append(f"{name} t {row[f'{_ABOUT}Time']}" if times else name)
    return found


def _named(row: Row) -> str:
    """Return the name of a file, without its endings, and of the image in it."""
    file = row[f"{_ABOUT}Path"].removesuffix(".zarr").removesuffix(".ome")
    return f"{file} {row[f'{_ABOUT}Scene']}".strip()


def _title(name: str) -> str:
    """Return a column in few words.

    Examples
    --------
    >>> _title("median_nucleus_mean_DNA"), _title("covered"), _title("median_cell_area")
    ('nucleus mean DNA', 'covered', 'cell area (µm²)')
    """
    unit = next((u for ending, u in _UNITS.items() if name.endswith(ending)), "")
    return name.removeprefix("median_").replace("_", " ") + unit


def _short(text: str, name: str) -> str:
    """Return a number in four digits, shares as per cent.

    Examples
    --------
    >>> _short("165.432", "median_nucleus_area"), _short("0.10712", "covered"), _short("", "count")
    ('165.4', '10.7 %', '')
    """
    if not text:
        return ""
    return f"{float(text):.1%}".replace("%", " %") if name in _SHARES else f"{float(text):.4g}"
