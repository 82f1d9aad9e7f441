"""Which tiles of which time points a stain is asked for, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.tiling.plan import TilePlan

__all__ = ["Agenda", "Focus", "Order", "Region", "choose_order"]

Region = tuple[int, int, int, int]
"""First row, first column, last row + 1, last column + 1, in pixels."""


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


@dataclass(frozen=True, slots=True)
class Focus:
    """What somebody looks at while a run goes on.

    Parameters
    ----------
    region
        First row, first column, last row + 1, last column + 1, in pixels.
    times
        Time points; all if empty.
    """

    region: Region
    times: tuple[int, ...] = ()


class Agenda:
    """Tiles that wait, in the order in which they are wanted now; iterating takes them.

    Parameters
    ----------
    plan, n_times
        See `choose_order`.
    numbers
        What is asked for, in order.
    done
        Tiles that are there already.
    follows
        Whether what is looked at replaces what was asked for: then tiles that are not in view
        any more are not stained. Otherwise it only comes first.
    look
        Returns what is looked at now, `None` if nobody has said; asked before each tile.
    """

    def __init__(
        self,
        plan: TilePlan,
        n_times: int,
        numbers: Sequence[int],
        *,
        done: Collection[int] = (),
        follows: bool = False,
        look: Callable[[], Focus | None] = lambda: None,
    ) -> None:
        self._plan, self._n_times, self._follows, self._look = plan, n_times, follows, look
        # Of others the grey values are not known.
        self._times = {number // len(plan) for number in numbers}
        self._taken = set(done)
        self._given: list[int] = []
        self._waiting = [number for number in numbers if number not in self._taken]
        self._seen: Focus | None = None

    @property
    def given(self) -> tuple[int, ...]:
        """Tiles that were taken."""
        return tuple(self._given)

    @property
    def total(self) -> int:
        """How many were taken and wait, as far as is known now."""
        return len(self._given) + len(self._waiting)

    def __iter__(self) -> Iterator[int]:
        """Take the tiles one by one."""
        while True:
            self._turn()
            if not self._waiting:
                return
            number = self._waiting.pop(0)
            self._taken.add(number)
            self._given.append(number)
            yield number

    def _turn(self) -> None:
        """Turn to what is looked at now."""
        focus = self._look()
        if focus is None or focus == self._seen:
            return
        self._seen = focus
        try:
            order = choose_order(
                self._plan, self._n_times, region=focus.region, times=focus.times
            ).numbers
        except SettingsError:
            return  # nothing of the image is in view
        in_view = [
            number
            for number in order
            if number not in self._taken and number // len(self._plan) in self._times
        ]
        if self._follows:
            self._waiting = in_view
        else:
            waiting = set(self._waiting)
            first = [number for number in in_view if number in waiting]
            ahead = set(first)
            self._waiting = first + [n for n in self._waiting if n not in ahead]


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
