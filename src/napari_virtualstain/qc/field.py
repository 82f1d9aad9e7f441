"""What is there to judge? A predicted field, the bright field that it was made of, and their parts.

Checks look at two grids: pixels, where borders, blur and patterns are seen, and squares of about
1.2 µm (`QcField.coarse`), on which cells are found quickly. What several checks need is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.errors import ChannelError, PixelDataError
from napari_virtualstain.objects.segment import segment_nuclei
from napari_virtualstain.preprocessing.quality import noise_level

__all__ = [
    "GRID_UM",
    "NUCLEUS_UM",
    "SMALLEST_PX",
    "Borders",
    "Familiar",
    "QcField",
    "binned",
    "borders_of",
    "middle_part",
    "softened",
]

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]
T = TypeVar("T")

GRID_UM = 1.2
"""Edge of the squares on which cells are looked for."""
NUCLEUS_UM = (6.0, 30.0)
"""Least and largest diameter of a nucleus."""
SMALLEST_PX = 64
"""Shorter edge of the smallest field that is judged."""
_AROUND = 2.0
_QUIET = 0.02
_EMPTY = 2.2
"""Of the variance of the quietest places, up to which a place is empty."""
_PART = 1024
"""Edge of the middle of a plane in which noise and focus are measured."""
_LEVEL = 0.2


@dataclass(frozen=True, slots=True)
class Borders:
    """First pixel after each border between tiles, along y and along x."""

    y: tuple[int, ...] = ()
    x: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is a border."""
        return bool(self.y or self.x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Familiar:
    """How far a bright field is from the training data of its model.

    Parameters
    ----------
    field
        Distance of the field, over what held-out fields stay below: 1 is the limit.
    patches
        Share of its patches that are strange by themselves, over the same.
    where
        (Y, X) strange patches, on the pixels of the field.
    """

    field: float
    patches: float
    where: Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class QcField:
    """One plane at one time point, as it is judged.

    Parameters
    ----------
    stains
        Predicted pictures (Y, X) by the name of their channel; NaN is missing.
    pixel_um
        Edge of a pixel in micrometres.
    planes
        (P, Y, X) of the bright field that was stained, `None` if it is not at hand.
    borders
        Where tiles meet; `None` if nobody knows.
    before
        The stains at the time point before, `None` where there is none.
    below
        The stains of the z plane below, `None` where there is none.
    familiar
        How far the bright field is from the training data, `None` if nobody can tell.
    unfamiliar_why
        Why nobody can; ``""`` if nobody has tried.

    Raises
    ------
    PixelDataError
        If pictures differ in size, are too small, or hold no finite pixel.
    """

    stains: Mapping[str, Picture]
    pixel_um: float
    planes: Picture | None = None
    borders: Borders | None = None
    before: Mapping[str, Picture] | None = None
    below: Mapping[str, Picture] | None = None
    familiar: Familiar | None = None
    unfamiliar_why: str = ""
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)
    _making: dict[str, AbstractContextManager[Any]] = field(
        default_factory=dict, repr=False, init=False
    )

    def __post_init__(self) -> None:
        """Refuse what no check could look at."""
        if not self.stains:
            raise PixelDataError("There is no stain to judge. Give a prediction with channels.")
        shapes = {picture.shape for picture in self.stains.values()}
        if self.planes is not None:
            shapes.add(self.planes.shape[1:])
        if len(shapes) > 1:
            raise PixelDataError(
                f"Prediction and bright field differ in size: {', '.join(map(str, shapes))} px. "
                "Give the bright field that was stained."
            )
        if min(self.shape) < SMALLEST_PX:
            raise PixelDataError(
                f"The field is {self.shape[0]} x {self.shape[1]} px, and fields from {SMALLEST_PX} "
                "px can be judged. Give a larger part of it."
            )
        for name, picture in self.stains.items():
            if not np.isfinite(picture).any():
                raise PixelDataError(
                    f"No pixel of {name!r} is there. Stain the field first, or leave it out."
                )

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) in pixels."""
        y, x = next(iter(self.stains.values())).shape
        return int(y), int(x)

    @property
    def bin(self) -> int:
        """Pixels along the edge of a square of the coarse grid."""
        return max(1, min(round(GRID_UM / self.pixel_um), min(self.shape) // 32))

    def stain(self, name: str) -> str | None:
        """Return the channel that holds a stain, by name or synonym; `None` if none surely does."""
        try:
            found = find_stain(name, tuple(self.stains))
        except ChannelError:
            return None
        return None if found is None else found.channel

    def coarse(self, name: str) -> Picture:
        """Return a stain on the coarse grid; what is missing has the median."""
        return self.once(f"coarse {name}", lambda: _filled(binned(self.stains[name], self.bin)))

    @cached_property
    def light(self) -> Picture | None:
        """(P, y, x): the bright field on the coarse grid, relative to its median, less 1."""
        if self.planes is None:
            return None
        found = []
        for plane in self.planes:
            small = _filled(binned(plane, self.bin))
            middle = float(np.median(small)) or 1.0
            found.append(small / np.float32(middle) - 1)
        return np.stack(found)

    @cached_property
    def empty(self) -> Mask | None:
        """Where the bright field shows nothing, on the coarse grid; `None` if nobody can tell.

        Notes
        -----
        The variance over some 5 µm, over that of the quietest fiftieth of the plane; empty is what
        varies little more in every plane, and is not next to what does. Coating and noise are
        everywhere, so that neither is a measure. Where less than a fiftieth of the field is empty,
        nobody can tell.
        """
        if self.light is None:
            return None
        quiet = np.ones(self.light.shape[1:], bool)
        for plane in self.light:
            mean = softened(plane, _AROUND)
            varies = softened(plane * plane, _AROUND) - mean * mean
            quiet &= varies <= _EMPTY * max(float(np.quantile(varies, _QUIET)), 1e-12)
        quiet = ndimage.binary_opening(quiet, iterations=2)
        found: Mask = ndimage.binary_erosion(quiet, iterations=2, border_value=1)
        return found if found.mean() >= 0.02 else None

    @cached_property
    def noise(self) -> tuple[float, ...]:
        """SD of the noise of each plane of the bright field, over its median; the middle of it."""
        found = []
        for plane in () if self.planes is None else self.planes:
            part = middle_part(plane)
            known = part[np.isfinite(part)]
            middle = float(np.median(known)) if known.size else 0.0
            noise = noise_level(part)
            found.append(noise / abs(middle) if middle and np.isfinite(noise) else 0.0)
        return tuple(found)

    def dark(self, name: str) -> float:
        """Return the level of a stain where there is nothing: 25 % of empty places, else its 5 %.

        Not their median: flat parts of cells look empty, and are most of it in a dense field.
        """

        def level() -> float:
            small = self.coarse(name)
            if self.empty is not None:
                return float(np.quantile(small[self.empty], 0.25))
            return float(np.quantile(small, 0.05))

        return self.once(f"dark {name}", level)

    def bright(self, name: str) -> float:
        """Return how far the cells of a stain stand above `dark`: the mean of its foreground."""

        def level() -> float:
            over = self.coarse(name)[self.foreground(name)]
            return float(over.mean()) - self.dark(name) if over.size else 0.0

        return self.once(f"bright {name}", level)

    def foreground(self, name: str) -> Mask:
        """Return where a stain is above a fifth of its way from dark to its brightest hundredth."""

        def mask() -> Mask:
            small = self.coarse(name)
            top = float(np.quantile(small, 0.99)) - self.dark(name)
            found: Mask = small > self.dark(name) + max(_LEVEL * top, 1e-6)
            return found

        return self.once(f"foreground {name}", mask)

    @cached_property
    def spread(self) -> dict[str, float]:
        """SD of each stain in its foreground: the measure of how strong a failure is."""
        return {
            name: float(self.coarse(name)[self.foreground(name)].std())
            if self.foreground(name).any()
            else 0.0
            for name in self.stains
        }

    @cached_property
    def nuclei(self) -> NDArray[np.int32] | None:
        """Labels on the coarse grid of what DNA shows, `None` without such a stain."""
        dna = self.stain("DNA")
        if dna is None:
            return None
        edge = self.bin * self.pixel_um
        return segment_nuclei(
            self.coarse(dna), diameter_px=(NUCLEUS_UM[0] / edge, NUCLEUS_UM[1] / edge)
        )

    @cached_property
    def cells(self) -> Mask:
        """Where any stain but DNA shows a cell, on the coarse grid; DNA if there is no other."""
        dna = self.stain("DNA")
        names = [name for name in self.stains if name != dna] or list(self.stains)
        found = np.zeros(self.coarse(names[0]).shape, bool)
        for name in names:
            found |= self.foreground(name)
        return found

    def on_pixels(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return what is on the coarse grid on the pixels of the field."""
        large = mask.repeat(self.bin, axis=0).repeat(self.bin, axis=1)
        gap = [(0, n - m) for n, m in zip(self.shape, large.shape, strict=True)]
        return np.pad(large, [(0, max(0, most)) for _, most in gap], mode="edge")

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what was made under a key before, or make it now."""
        if key not in self._kept:
            # Checks run beside each other: who comes second waits for the first.
            with self._making.setdefault(key, RLock()):
                if key not in self._kept:
                    self._kept[key] = make()
        kept: T = self._kept[key]
        return kept


def binned(picture: NDArray[Any], edge: int) -> Picture:
    """Return means of whole squares; what is not a number counts for nothing.

    Examples
    --------
    >>> binned(np.arange(16.0).reshape(4, 4), 2).tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    y, x = (n // edge for n in picture.shape)
    cut = np.asarray(picture[: y * edge, : x * edge], np.float32)
    if edge == 1:
        return cut.copy()
    parts = [cut[i::edge, j::edge] for i in range(edge) for j in range(edge)]
    total = np.zeros((y, x), np.float32)
    if np.isfinite(cut).all():
        for part in parts:
            total += part
        total /= np.float32(edge * edge)
        return total
    count = np.zeros((y, x), np.float32)
    for part in parts:
        known = np.isfinite(part)
        total += np.where(known, part, 0)
        count += known
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), np.float32)


def _filled(picture: Picture) -> Picture:
    known = np.isfinite(picture)
    if known.all():
        return picture
    middle = np.float32(np.median(picture[known])) if known.any() else np.float32(0)
    return np.where(known, picture, middle)


def softened(picture: NDArray[Any], sigma: float) -> Picture:
    """Return a picture blurred by a Gaussian that ends at 2.5 sigma: near enough, and quicker."""
    found: Picture = ndimage.gaussian_filter(picture, sigma, truncate=2.5)
    return found


def middle_part(plane: Picture) -> Picture:
    """Return the middle of a plane, of 1024 px at most: enough for what is the same all over."""
    y, x = ((n - min(n, _PART)) // 2 for n in plane.shape)
    middle: Picture = plane[y : y + _PART, x : x + _PART]
    return middle


def borders_of(starts: Sequence[int], length: int) -> tuple[int, ...]:
    """Return those starts of tiles that are inside of a picture."""
    return tuple(sorted({start for start in starts if 0 < start < length}))
