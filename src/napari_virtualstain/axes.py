"""What the axes of a picture mean, and how large a pixel is.

Inside the package every image has five axes in one order, time, channel, z, y,
x (``"tczyx"``), of which those that a file lacks have length one. Letters are
those of OME: ``t``, ``c``, ``z``, ``y``, ``x``. An axis of separate fields, ``f``,
lies where time does, and is not taken for it. Lengths are micrometres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import AxesError, PixelSizeError

__all__ = [
    "AXES",
    "MICROMETRES",
    "LazyArray",
    "PixelSize",
    "Region",
    "are_fields",
    "as_tczyx",
    "parse_axes",
    "to_micrometres",
]

AXES = "tczyx"
"""The order of the axes of every image inside the package."""
_FIELDS = "f"

Region = tuple[slice, ...]
"""One slice an axis, with explicit non-negative start and stop, in pixels."""

MICROMETRES: dict[str, float] = {
    "angstrom": 1e-4,
    "å": 1e-4,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "nm": 1e-3,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "um": 1.0,
    "µm": 1.0,  # micro sign
    "μm": 1.0,  # Greek mu: both are met in files
    "\\u00b5m": 1.0,  # ImageJ escapes it
    "millimeter": 1e3,
    "millimetre": 1e3,
    "mm": 1e3,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "cm": 1e4,
    "inch": 25_400.0,
    "meter": 1e6,
    "metre": 1e6,
    "m": 1e6,
}
"""Length units met in image files, in micrometres."""


class LazyArray(Protocol):
    """What is read region by region: dask, zarr and numpy arrays all fit."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def __getitem__(self, region: Any, /) -> Any:
        """Return the pixels of a region, perhaps not yet computed."""


@dataclass(frozen=True, slots=True)
class PixelSize:
    """How large a pixel is in micrometres; `None` where nothing says so.

    Parameters
    ----------
    z, y, x
        Distance between neighbouring pixel centres in micrometres, positive.

    Examples
    --------
    >>> PixelSize(y=0.6, x=0.6).relative_to(0.5)
    1.2
    """

    z: float | None = None
    y: float | None = None
    x: float | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that no microscope has."""
        for axis in "zyx":
            size = getattr(self, axis)
            if size is not None and not (np.isfinite(size) and size > 0):
                raise PixelSizeError(
                    f"The pixel size along {axis} must be a positive number of micrometres, "
                    f"got {size!r}. State it with --pixel-size, for example --pixel-size 0.65."
                )

    @property
    def yx(self) -> float | None:
        """Geometric mean of y and x in micrometres, `None` unless both are known."""
        if self.y is None or self.x is None:
            return None
        return float(np.sqrt(self.y * self.x))

    def relative_to(self, other_um: float) -> float | None:
        """Return how many times larger a pixel is than ``other_um``, if known."""
        return None if self.yx is None else self.yx / other_um

    def scale(self) -> tuple[float, float, float]:
        """Return (z, y, x), with 1.0 where the size is not known."""
        return (self.z or 1.0, self.y or 1.0, self.x or 1.0)


def to_micrometres(value: float, unit: str | None) -> float | None:
    """Convert a length; `None` when the unit is missing or is not a length.

    Examples
    --------
    >>> to_micrometres(325.0, "nm")
    0.325
    >>> to_micrometres(1.0, "pixel") is None
    True
    """
    factor = MICROMETRES.get((unit or "").strip().lower())
    return None if factor is None else value * factor


def parse_axes(axes: str, *, ndim: int) -> str:
    """Check axis letters that a user or a file gave, and return those of ``tczyx``.

    Parameters
    ----------
    axes
        One letter an axis, of ``t c z y x`` in any order, for example ``"zyx"``; ``f`` in place
        of ``t`` says that what follows one another are separate fields.
    ndim
        Number of axes of the array that they describe.

    Raises
    ------
    AxesError
        If letters repeat, are unknown, lack y or x, or do not fit the array.

    Examples
    --------
    >>> parse_axes("ZYX", ndim=3)
    'zyx'
    >>> parse_axes("fyx", ndim=3)
    'tyx'
    """
    letters = axes.strip().lower()
    what_to_do = 'Give one letter of "tczyx" an axis, for example --axes zyx.'
    if {"t", _FIELDS} <= set(letters):
        raise AxesError(
            f"Axes {axes!r} hold time points (t) and separate fields (f), which lie in one place. "
            "Save each field as a file of its own."
        )
    letters = letters.replace(_FIELDS, "t")
    unknown = sorted(set(letters) - set(AXES))
    if unknown:
        raise AxesError(f"Axes {axes!r} hold unknown letters {''.join(unknown)!r}. {what_to_do}")
    if len(set(letters)) != len(letters):
        raise AxesError(f"Axes {axes!r} name an axis twice. {what_to_do}")
    if not {"y", "x"} <= set(letters):
        raise AxesError(f"Axes {axes!r} lack y or x, which every image has. {what_to_do}")
    if len(letters) != ndim:
        raise AxesError(
            f"Axes {axes!r} name {len(letters)} axes, but the image has {ndim}. {what_to_do}"
        )
    return letters


def are_fields(axes: str | None) -> bool:
    """Whether axis letters that a user gave say that what lies along time are separate fields.

    Examples
    --------
    >>> are_fields("fyx"), are_fields("tyx"), are_fields(None)
    (True, False, False)
    """
    return _FIELDS in (axes or "").lower()


def as_tczyx(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return an array (numpy or dask) with its axes ordered and filled up to ``tczyx``.

    Parameters
    ----------
    array
        Any array with ``transpose`` and indexing by ``None``.
    axes
        Its axes as `parse_axes` returns them.
    """
    present = [letter for letter in AXES if letter in axes]
    ordered = array.transpose([axes.index(letter) for letter in present])
    return ordered[tuple(slice(None) if letter in present else None for letter in AXES)]
