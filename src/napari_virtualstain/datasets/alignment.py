"""How the stains of a field lie on its bright field, and how they are moved onto it.

The bright field is never moved: a network is given it as it is. Pixels of a
stain that move in from outside are NaN, which is missing, and weigh nothing in
losses and scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.preprocessing.registration import apply_shift, estimate_shift

__all__ = ["StainShift", "measure_shift", "middle_plane", "shift_channels", "spread_planes"]

_LARGEST = 2048
"""Of a plane that is larger, the middle is compared."""
_SMALLEST = 32
_MOST_PLANES = 3
_REACH = 2
"""Neighbours that a value between pixels is made of, to each side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StainShift:
    """By how much one stain lies beside its bright field.

    Parameters
    ----------
    stain
        Its name.
    t
        Time point.
    dy, dx
        In pixels: what the stain has to be moved by.
    uncertainty_px
        Standard error; `None` where nothing could be compared.
    confidence
        0 to 1; see `preprocessing.registration.estimate_shift`.
    verdict
        ``"aligned"``, ``"shifted"`` or ``"ambiguous"``.
    distance_um
        Length of the shift, `None` where the pixel size is not known.
    plane
        z plane of the bright field that told most.
    measured_on
        The stain that was compared, if another one's shift counts for this one.
    """

    stain: str
    t: int
    dy: float
    dx: float
    uncertainty_px: float | None
    confidence: float
    verdict: Literal["aligned", "shifted", "ambiguous"]
    distance_um: float | None = None
    plane: int = 0
    measured_on: str = ""

    @property
    def distance_px(self) -> float:
        """Length of the shift in pixels."""
        return float(np.hypot(self.dy, self.dx))

    def words(self) -> str:
        """Return the shift as people say it: ``2.3 px (1.4 µm; dy +1.2, dx -2.0)``."""
        length = "" if self.distance_um is None else f"{self.distance_um:.2g} µm; "
        return f"{self.distance_px:.1f} px ({length}dy {self.dy:+.1f}, dx {self.dx:+.1f})"


def spread_planes(depth: int) -> tuple[int, ...]:
    """Return the planes of a stack that are compared: at most three, spread over it.

    Examples
    --------
    >>> spread_planes(1), spread_planes(3), spread_planes(13)
    ((0,), (0, 1, 2), (3, 6, 9))
    """
    if depth <= _MOST_PLANES:
        return tuple(range(depth))
    return tuple(round(i) for i in np.linspace(0, depth - 1, _MOST_PLANES + 2)[1:-1])


def middle_plane(image: LazyImage, t: int, c: int, z: int) -> NDArray[np.float32]:
    """Return the middle of a plane, at most 2048 px a side."""
    rows, columns = (_middle(n) for n in image.shape[3:])
    region = (slice(t, t + 1), slice(c, c + 1), slice(z, z + 1), rows, columns)
    pixels: NDArray[np.float32] = image.read(region)[0, 0, 0].astype(np.float32)
    return pixels


def _middle(n: int) -> slice:
    start = max(0, n - _LARGEST) // 2
    return slice(start, start + min(n, _LARGEST))


def measure_shift(
    planes: LazyImage,
    stains: LazyImage,
    channel: int,
    t: int,
    *,
    z: Sequence[int] = (),
    tolerance_px: float = 1.5,
) -> StainShift:
    """Measure how a stain lies on the bright field of its field.

    Parameters
    ----------
    planes
        Bright field (T, 1, P, Y, X).
    stains
        Of the same T, Y and X, with one z plane.
    channel, t
        Which stain, at which time point.
    z
        Planes of the bright field to compare; at most three spread over the stack if none is
        given. The surest of them counts: far from focus the edges of bright field lie elsewhere.
    tolerance_px
        Shifts up to this are called none.
    """
    name = stains.channel_names[channel]
    stain = middle_plane(stains, t, channel, 0)
    if min(stain.shape) < _SMALLEST:
        return StainShift(
            stain=name, t=t, dy=0.0, dx=0.0, uncertainty_px=None, confidence=0.0,
            verdict="ambiguous", distance_um=None,
        )  # fmt: skip
    found = [
        (estimate_shift(middle_plane(planes, t, 0, p), stain, tolerance_px=tolerance_px), p)
        for p in z or spread_planes(planes.shape[2])
    ]
    shift, plane = max(found, key=lambda one: one[0].confidence)
    size = planes.pixel_size_um
    length = None if size.y is None or size.x is None else shift.distance_um((size.y, size.x))
    error = shift.uncertainty_px
    return StainShift(
        stain=name,
        t=t,
        dy=round(shift.dy, 3),
        dx=round(shift.dx, 3),
        uncertainty_px=round(error, 3) if np.isfinite(error) else None,
        confidence=round(shift.confidence, 3),
        verdict=shift.verdict,
        distance_um=None if length is None else round(length, 4),
        plane=plane,
    )


def shift_channels(
    image: LazyImage, shifts: Mapping[tuple[int, int], tuple[float, float]]
) -> LazyImage:
    """Return the same image with some of its planes moved, when somebody reads them.

    Parameters
    ----------
    image
        Of any number of channels and planes.
    shifts
        (dy, dx) in pixels by time point and channel, as `apply_shift` takes them.

    Returns
    -------
    LazyImage
        float32 if anything is moved; what moved in from outside is NaN.
    """
    rounded = {at: (round(dy, 6), round(dx, 6)) for at, (dy, dx) in shifts.items()}
    moving = {at: by for at, by in rounded.items() if by != (0.0, 0.0)}
    if not moving:
        return image
    floats = image.data.astype(np.float32)
    n_t, n_c = image.shape[:2]
    data = da.concatenate(
        [
            da.concatenate(
                [_moved(floats[t : t + 1, c : c + 1], moving.get((t, c))) for c in range(n_c)],
                axis=1,
            )
            for t in range(n_t)
        ],
        axis=0,
    )
    return replace(image, data=data)


def _moved(data: da.Array, shift: tuple[float, float] | None) -> da.Array:
    """Move (1, 1, Z, Y, X) block by block, each with as many neighbours as it needs."""
    if shift is None:
        return data
    height, width = data.shape[3:]
    if abs(shift[0]) >= height or abs(shift[1]) >= width:
        empty: da.Array = da.full_like(data, np.nan)
        return empty
    depth = (0, 0, 0, *(ceil(abs(by)) + _REACH for by in shift))

    def move(block: NDArray[Any]) -> NDArray[np.float32]:
        return apply_shift(block, shift)

    moved: da.Array = da.map_overlap(
        move,
        data,
        depth=depth,
        boundary=np.nan,
        dtype=np.float32,
        meta=np.empty((0,) * 5, np.float32),
    )
    return moved
