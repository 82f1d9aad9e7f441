"""How visible the borders of the tiles are in what was written.

For every internal border, the step across it is held against the steps between
the lines beside it, in the same direction. With ``b`` the first line after a
border, across an axis, and ``g(i) = mean |y[i] - y[i - 1]|`` over the lines' pixels:

    seam = sum of g(b) over the borders
           / sum of (g(b - 3) + g(b - 2) + g(b + 2) + g(b + 3)) / 4 over the borders

1.0 is no seam: the borders cannot be told from the rest of the picture. The steps
next to the border, ``b - 1`` and ``b + 1``, are left out, since a prediction that goes
wrong towards the border of its tile changes them too.

To both sides one rounding step of float32 at the largest value of these lines is
added, so that a constant picture has the seam 1.0, and rounding is none.

What it does not tell
---------------------
Whether the values are right: blending gives 1.0 and wrong values. And what a picture
would be without tiles: where that is at hand, the step across a border is better held
against the step of the whole-image prediction at the same place, which also sees
differences that the content of the picture hides. A run has no such picture, so that
the lines beside the border stand in for it; on a picture whose content has no relation
to the tiles both are the same but for the sampling of the lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import PixelDataError

__all__ = ["SeamIndex", "WorstBorder"]

# How far the lines of a step lie from the border on either side: y[b + 2] - y[b + 1] and on.
_NEAR, _FAR = 1, 3
_Line = tuple[int, int]  # axis, first pixel after the border


@dataclass(frozen=True, slots=True)
class WorstBorder:
    """The border that is seen best.

    Parameters
    ----------
    seam
        Its own seam index.
    channel
        Position of the channel.
    axis
        Spatial axis that is crossed.
    position
        First pixel after the border along this axis.
    """

    seam: float
    channel: int
    axis: int
    position: int


@dataclass(slots=True)
class _Steps:
    """Sums and numbers of steps along one border, by channel: across it, and beside it."""

    across: NDArray[np.float64]
    n_across: NDArray[np.int64]
    beside: NDArray[np.float64]
    n_beside: NDArray[np.int64]

    @classmethod
    def none(cls, channels: int) -> _Steps:
        return cls(
            across=np.zeros(channels),
            n_across=np.zeros(channels, np.int64),
            beside=np.zeros(channels),
            n_beside=np.zeros(channels, np.int64),
        )

    def measured(self) -> NDArray[np.bool_]:
        return np.asarray((self.n_across > 0) & (self.n_beside > 0))


@dataclass(slots=True)
class SeamIndex:
    """Gather the seams of a picture from its finished tiles, in any order.

    Only the lines along borders whose other side is still to come are kept, and a
    few numbers for each line of the grid. Borders whose other side never comes are not
    measured.

    Parameters
    ----------
    shape
        Of the picture, spatial axes only, in pixels.

    Examples
    --------
    >>> ramp = np.arange(16.0)[None, None] * np.ones((1, 8, 1))
    >>> ramp[..., 8:] += 3
    >>> seams = SeamIndex((8, 16))
    >>> for x in (0, 8):
    ...     seams.add((slice(0, 8), slice(x, x + 8)), ramp[:, :, x : x + 8])
    >>> seams.seam.round(3).tolist(), seams.worst.position
    ([4.0], 8)
    """

    shape: tuple[int, ...]
    _lines: dict[_Line, _Steps] = field(default_factory=dict, init=False, repr=False)
    _waiting: dict[tuple[_Line, tuple[int, ...]], tuple[bool, NDArray[Any]]] = field(
        default_factory=dict, init=False, repr=False
    )
    # Size of the values along borders, by channel; empty before the first tile.
    _largest: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros(0), init=False, repr=False
    )

    def add(self, region: Region, pixels: NDArray[Any], *, plane: int = 0) -> None:
        """Take in a finished tile.

        Parameters
        ----------
        region
            Where it lies, spatial axes. Tiles that are neighbours share a whole face, as
            those of a plan do; each comes once.
        pixels
            (C, *extent); NaN and infinity are left out. Channels are not compared.
        plane
            Of a stack whose pictures are gathered together: only tiles of one plane are
            neighbours.

        Raises
        ------
        PixelDataError
            If the pixels do not fill the region, or have another number of channels than
            those before.
        """
        extent = tuple(part.stop - part.start for part in region)
        channels = self._largest.size or pixels.shape[0]
        if pixels.shape != (channels, *extent):
            raise PixelDataError(
                f"A tile of {channels} channels and {extent} px was handed in as {pixels.shape}. "
                "Give every channel of the pixels of its region."
            )
        if not self._largest.size:
            self._largest = np.zeros(channels)
        for axis, (part, length) in enumerate(zip(region, self.shape, strict=True)):
            lines = np.moveaxis(pixels, axis + 1, 1)  # (C, along the axis, ...)
            face = (plane, axis, *(p.start for i, p in enumerate(region) if i != axis))
            if part.start > 0:
                self._side((axis, part.start), face, lines[:, : _FAR + 1], after=True)
            if part.stop < length:
                self._side((axis, part.stop), face, lines[:, : -_FAR - 2 : -1], after=False)

    def _side(
        self, line: _Line, face: tuple[int, ...], lines: NDArray[Any], *, after: bool
    ) -> None:
        """Take in one side of a border; lines count from the border into the tile."""
        steps = self._lines.setdefault(line, _Steps.none(lines.shape[0]))
        _gather(steps.beside, steps.n_beside, lines[:, _NEAR:-1], lines[:, _NEAR + 1 :])
        sizes = np.abs(lines.reshape(len(lines), -1).astype(np.float64))
        largest = np.max(sizes, axis=1, initial=0.0, where=np.isfinite(sizes))
        self._largest = np.maximum(self._largest, largest)
        self._meet((line, face), lines[:, 0], after=after)

    def _meet(
        self, key: tuple[_Line, tuple[int, ...]], first: NDArray[Any], *, after: bool
    ) -> None:
        """Hold the first line of one side against that of the other, if it has come."""
        other = self._waiting.get(key)
        if other is None or other[0] == after:  # or a tile that came twice
            self._waiting[key] = (after, first.copy())  # not a view that keeps the tile
            return
        del self._waiting[key]
        steps = self._lines[key[0]]
        _gather(steps.across, steps.n_across, first, other[1])

    def merge(self, other: SeamIndex) -> None:
        """Take in what somebody else gathered from other tiles of the same picture."""
        if not other._largest.size:
            return
        if not self._largest.size:
            self._largest = np.zeros(other._largest.size)
        self._largest = np.maximum(self._largest, other._largest)
        for line, theirs in other._lines.items():
            mine = self._lines.setdefault(line, _Steps.none(theirs.across.size))
            for part in ("across", "n_across", "beside", "n_beside"):
                setattr(mine, part, getattr(mine, part) + getattr(theirs, part))
        for key, (after, first) in other._waiting.items():
            self._meet(key, first, after=after)

    @property
    def borders(self) -> int:
        """Borders that were measured: lines of the grid of tiles, of one pixel to full length."""
        return sum(bool(steps.measured().any()) for steps in self._lines.values())

    @property
    def seam(self) -> NDArray[np.float64]:
        """Seam index by channel, (C,); NaN where no border was measured."""
        total = _Steps.none(self._largest.size)
        for steps in self._lines.values():
            # A line counts with the pixels that were measured on it.
            counted = np.where(steps.measured(), steps.n_across, 0)
            total.across += np.where(counted, steps.across, 0.0)
            total.n_across += counted
            total.beside += counted * _mean(steps.beside, steps.n_beside)
            total.n_beside += counted
        return self._ratio(total)

    @property
    def worst(self) -> WorstBorder | None:
        """The border line, from end to end of the picture, with the largest index; or `None`."""
        found = [
            WorstBorder(float(value), channel, *line)
            for line, steps in sorted(self._lines.items())
            for channel, value in enumerate(self._ratio(steps).tolist())
            if not np.isnan(value)
        ]
        return max(found, key=lambda border: border.seam, default=None)

    def _ratio(self, steps: _Steps) -> NDArray[np.float64]:
        least = np.maximum(np.finfo(np.float32).eps * self._largest, np.finfo(np.float64).tiny)
        ratio = (_mean(steps.across, steps.n_across) + least) / (
            _mean(steps.beside, steps.n_beside) + least
        )
        return np.where(steps.measured(), ratio, np.nan)


def _gather(
    total: NDArray[np.float64],
    number: NDArray[np.int64],
    here: NDArray[Any],
    there: NDArray[Any],
) -> None:
    """Add the sizes of the steps between lines (C, ...), where both are finite."""
    with np.errstate(invalid="ignore"):  # infinity less infinity
        steps = np.abs(here.astype(np.float64) - there)
    steps = steps.reshape(len(steps), -1)
    known = np.isfinite(steps)
    total += np.sum(steps, axis=1, where=known)
    number += known.sum(axis=1)


def _mean(total: NDArray[np.float64], number: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(total / np.maximum(number, 1))
