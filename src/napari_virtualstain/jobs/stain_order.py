"""Which tiles of which time points a stain is asked for, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.tiling.plan import TilePlan

__all__ = ["Order", "choose_order"]


@dataclass(frozen=True, slots=True)
class Order:
    """What is stained.

    Parameters
    ----------
    times
        Time points, each once.
    numbers
        Tiles, as `inference.engine.stain_tiles` numbers them.
    """

    times: tuple[int, ...]
    numbers: Sequence[int]


def choose_order(
    plan: TilePlan,
    n_times: int,
    *,
    region: tuple[int, int, int, int] | None = None,
    times: Sequence[int] = (),
) -> Order:
    """Return which tiles are asked for: those that touch a region, nearest to its middle first.

    They are tiles of the plan of the whole image, so that what is stained region by
    region has the numbers of what is stained at once.

    Parameters
    ----------
    plan
        Of the whole image.
    n_times
        Time points of the image.
    region
        First row, first column, last row + 1, last column + 1 in pixels; what lies
        outside the image is cut off. All tiles in raster order if `None`.
    times
        Time points; all if empty.

    Raises
    ------
    SettingsError
        If the region holds no pixel of the image, or a time point is not there.
    """
    chosen = tuple(dict.fromkeys(times)) or tuple(range(n_times))
    if max(chosen) >= n_times:
        raise SettingsError(
            f"Time point {max(chosen)} was asked for, but the image has {n_times} "
            f"(0 to {n_times - 1}). Choose time points in that range with --times."
        )
    if region is None:
        if chosen == tuple(range(n_times)):
            return Order(chosen, range(n_times * len(plan)))
        tiles: Sequence[int] = range(len(plan))
    else:
        tiles = plan.touching(_inside(plan, region))
    return Order(chosen, [t * len(plan) + index for t in chosen for index in tiles])


def _inside(plan: TilePlan, region: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """Return the part of a region that lies in the image."""
    height, width = plan.shape
    top, left, bottom, right = region
    rows = slice(max(0, top), min(bottom, height))
    columns = slice(max(0, left), min(right, width))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        raise SettingsError(
            f"The region {', '.join(map(str, region))} holds no pixel of the image of "
            f"{height} x {width} px. Give first row, first column, last row + 1 and "
            "last column + 1 inside it with --region."
        )
    return rows, columns
