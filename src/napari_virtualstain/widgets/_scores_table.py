"""Scores of fields, the worst first: a number, its floor and ceiling, then all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QAbstractItemView

from napari_virtualstain.jobs.scores_rows import LIMITS, worst_first
from napari_virtualstain.napari_io.fields import path_name
from napari_virtualstain.widgets._row_table import RIGHT, Column, RowTable

__all__ = ["NUMBERS", "FieldTable", "place_name", "said"]

Row = Mapping[str, Any]

NUMBERS = {
    "pcc": ("PCC", "Pearson correlation with the truth: 1 is perfect, 0 is chance"),
    "ssim": ("SSIM", "Mean structural similarity, relative to the range of the truth"),
    "psnr": ("PSNR", "Peak signal-to-noise ratio in dB, relative to the range of the truth"),
    "mae": ("MAE", "Mean absolute error in the unit of the truth"),
    "mse": ("MSE", "Mean squared error in the squared unit of the truth"),
    "ms_ssim": ("MS-SSIM", "SSIM over five scales"),
    "gain": ("Gain", "Slope of the prediction over the truth: 1 is right, 2 is twice as bright"),
    "offset": ("Offset", "What the prediction has where the truth is 0"),
    "rank": ("Rank r", "Correlation of ranks, blind to any curve that grows"),
    "detail": ("Detail", "Power in structures of 2 to 4 px, over that of the truth: 1 is right"),
}
"""Titles and tooltips of `jobs.scores_rows.BETTER`."""
_FLOORS = {
    "pcc": "What the best linear filter of the bright field reaches on the same pixels",
    **dict.fromkeys(
        ("ssim", "psnr", "mae", "mse"),
        "What a constant picture at the mean of the truth scores on the same pixels",
    ),
}
_CEILING = "What a second measurement of the same stain scores against the truth"
_HEIGHT = 190
_NUMBER = 52


class FieldTable(RowTable):
    """A row a plane, stain and model; arrow keys and clicks go there."""

    chosen = Signal()
    """Another row is current."""
    sorts = Signal(str)
    """By which number the user wants the rows to be sorted: the title of its column was clicked."""

    def __init__(self) -> None:
        self._numbers: list[str | None] = []
        super().__init__((), _tip)
        self.setFixedHeight(_HEIGHT)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setAccessibleName("Scores of fields")
        self.setToolTip("Arrow keys go from field to field; the title of a number sorts by it")
        self.horizontalHeader().setSectionsClickable(True)
        self.horizontalHeader().sectionClicked.connect(self._sort)
        self.selectionModel().currentRowChanged.connect(lambda *_: self.chosen.emit())

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is shown, the worst first."""
        return self.row_model.rows

    @property
    def row(self) -> Row | None:
        """The row that is chosen."""
        found: Row | None = self.current
        return found

    def show_rows(self, rows: Sequence[Row], number: str) -> None:
        """Show rows with the worst of a number first; the one that is chosen stays so.

        Parameters
        ----------
        rows
            Of `jobs.scores.ScoresResult`.
        number
            One of `NUMBERS`; it stands first.
        """
        before = self.row
        self.selectionModel().blockSignals(True)
        several = len({row["model"] for row in rows}) > 1
        columns = [
            Column(title="Field", width=64, text=place_name(rows)),
            Column(title="Stain", width=46, text=lambda row: str(row["stain"])),
        ]
        columns += [Column(title="Model", width=64, text=_model)] if several else []
        self._numbers = [None] * len(columns)
        for one in (number, *(name for name in NUMBERS if name != number)):
            title, about = NUMBERS[one]
            columns.append(_number(one, title, about))
            self._numbers.append(one)
            floor, ceiling = LIMITS.get(one, (None, None))
            for beside, name, why in (
                (floor, "floor", _FLOORS.get(one, "")), (ceiling, "ceiling", _CEILING)
            ):  # fmt: skip
                if beside is not None and any(row[beside] is not None for row in rows):
                    columns.append(_number(beside, name, why))
                    self._numbers.append(one)
        self.row_model.replace(worst_first(rows, number), columns)
        self.fit_columns()
        if before is not None:
            self.choose(before)
        self.selectionModel().blockSignals(False)

    def _sort(self, section: int) -> None:
        number = self._numbers[section]
        if number is not None:
            self.sorts.emit(number)


def place_name(rows: Sequence[Row]) -> Callable[[Row], str]:
    """Return what names a row by where it lies, without what all have in common."""
    plates = len({row["plate"] for row in rows}) > 1
    times = len({row["time"] for row in rows}) > 1
    planes = len({row["z"] for row in rows}) > 1

    def name(row: Row) -> str:
        parts = [row["plate"] if plates else "", row["well"], row["site"]]
        found = " ".join(str(p) for p in parts if p) if row["well"] else _file(row)
        found += f" t {row['time']}" if times else ""
        return f"{found} z {row['z']}" if planes else found

    return name


def said(number: str, value: float | None) -> str:
    """Return a number with as many digits as mean something.

    Examples
    --------
    >>> said("pcc", 0.12345), said("mae", 1234.5), said("psnr", None)
    ('0.123', '1.23e3', '-')
    """
    if value is None:
        return "-"
    kind = (
        number.rpartition("_")[2] if number.startswith(("constant", "ceiling", "floor")) else number
    )
    if kind in ("pcc", "ssim", "ms_ssim", "rank"):
        return f"{value:.3f}"
    if kind == "psnr":
        return f"{value:.1f}"
    if kind in ("gain", "detail"):
        return f"{value:.2f}"
    return f"{value:.3g}".replace("e+0", "e").replace("e+", "e")


def _number(name: str, title: str, about: str) -> Column:
    return Column(
        title=title, width=_NUMBER, about=about, align=RIGHT,
        text=lambda row: said(name, row[name]),
    )  # fmt: skip


def _model(row: Row) -> str:
    return str(row["model"])


def _file(row: Row) -> str:
    """Return the name of the true image: those of the predictions tell models apart."""
    return f"{path_name(row['target_path'])} {row['target_scene']}".strip()


def _tip(row: Row) -> str:
    parts = [str(row["name"]), f"model {row['model']}", str(row["treatment"]), row["within"]]
    return "\n".join(part for part in parts if part)
