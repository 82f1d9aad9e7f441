"""How grey values become the numbers of a small type, and grey values again.

A store of float16 or unsigned integers holds ``stored``; what was meant is
``grey = stored * gain + offset``, by channel. The scale lies in the metadata of
the store, and every reader of this package gives back grey values as float32,
with NaN where pixels are missing. Other programs see the stored numbers.

In integers 0 is kept for missing pixels, since viewers show it black: the
darkest value is stored as 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_virtualstain.errors import ImageFileError, SettingsError
from napari_virtualstain.io.record import read_record

__all__ = [
    "MISSING",
    "Scale",
    "ScaledArray",
    "check_scales",
    "described",
    "open_stored",
    "scales_of",
    "stored_pixels",
    "to_grey",
    "to_stored",
]

MISSING = 0
"""What stands for a missing pixel in an integer store that has a scale."""
_SMALL = ("float16", "uint8", "uint16")
_LARGEST_HALF = 65504.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What the stored numbers of a channel mean: ``grey = stored * gain + offset``.

    Parameters
    ----------
    gain
        Grey values a step, positive.
    offset
        Grey value of a stored 0.

    Raises
    ------
    SettingsError
        If they are not finite, or the gain is not positive.
    """

    gain: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be undone."""
        if not (math.isfinite(self.gain) and self.gain > 0 and math.isfinite(self.offset)):
            raise SettingsError(
                f"A scale has a positive gain and a finite offset, got {self.gain} and "
                f"{self.offset}. Give both as numbers."
            )

    @classmethod
    def for_range(cls, low: float, high: float, dtype: DTypeLike) -> Scale:
        """Return the scale with the smallest steps that holds a range.

        Parameters
        ----------
        low, high
            Grey values; what lies outside will be clipped.
        dtype
            float16, uint8 or uint16. Of float16 the gain stays 1 if it can, and is a
            power of two if not, so that no bit is lost by it.

        Examples
        --------
        >>> Scale.for_range(-100, 65434, "uint16")
        Scale(gain=1.0, offset=-101.0)
        >>> Scale.for_range(0, 1e6, "float16")
        Scale(gain=16.0, offset=0.0)
        """
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise SettingsError(f"A range of grey values goes up, got {low} to {high}.")
        kind = np.dtype(dtype)
        _check_type(kind)
        if kind == np.float16:
            largest = max(abs(low), abs(high))
            return cls(gain=2.0 ** max(0, math.ceil(math.log2(largest / _LARGEST_HALF))))
        gain = (high - low) / (float(np.iinfo(kind).max) - MISSING - 1)
        return cls(gain=gain, offset=low - (MISSING + 1) * gain)


def check_scales(
    scales: Sequence[Scale] | None, dtype: np.dtype[Any], n_channels: int
) -> tuple[Scale, ...] | None:
    """Return the scale of each channel, `None` where pixels are stored as they are.

    Raises
    ------
    SettingsError
        If their number or the type of the store does not fit.
    """
    if scales is None:
        return (Scale(),) * n_channels if dtype == np.float16 else None
    if len(scales) != n_channels:
        raise SettingsError(
            f"{len(scales)} scales were given for {n_channels} channels. Give one a channel."
        )
    if dtype in (np.float32, np.float64) and all(scale == Scale() for scale in scales):
        return None
    _check_type(dtype)
    return tuple(scales)


def _check_type(dtype: np.dtype[Any]) -> None:
    if dtype.name not in _SMALL:
        raise SettingsError(
            f"Pixels of type {dtype} are stored without a scale. "
            f"Choose one of {', '.join(_SMALL)}, or give no scales."
        )


def to_stored(
    grey: NDArray[Any], scales: Sequence[Scale], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], list[int]]:
    """Return pixels as they are stored, and how many of each channel were clipped.

    Parameters
    ----------
    grey
        (T, C, Z, Y, X), NaN where missing; infinity counts as missing too.
    scales
        One entry along C.
    dtype
        Of the store.
    """
    stored = np.empty(grey.shape, dtype)
    clipped = []
    whole = dtype.kind in "iu"
    low, high = (MISSING + 1, np.iinfo(dtype).max) if whole else (-_LARGEST_HALF, _LARGEST_HALF)
    for c, scale in enumerate(scales):
        values = grey[:, c]
        if scale != Scale():
            # In double precision: in single a step of 65,536 may be missed by a hundredth.
            values = np.subtract(values, scale.offset, dtype=np.float64)
            values /= scale.gain
        if whole:
            values = np.rint(values)
        least, most = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        if np.isinf(least) or np.isinf(most):
            # No value of the range is nearest to it: it is missing, as NaN is.
            values = np.where(np.isinf(values), np.nan, values)
            least, most = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        count = 0
        if least < low or most > high:
            count = int(np.count_nonzero(values < low)) + int(np.count_nonzero(values > high))
            values = np.clip(values, low, high)
        if whole and np.isnan(np.add.reduce(values, axis=None)):
            values = np.where(np.isnan(values), MISSING, values)
        stored[:, c] = values
        clipped.append(count)
    return stored, clipped


def to_grey(stored: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
    """Return the grey values of stored pixels of one channel, of any shape, NaN where missing."""
    if stored.dtype.kind in "iu":
        # A list of all values is exact and quicker than arithmetic in double precision.
        table = _meaning(np.arange(np.iinfo(stored.dtype).max + 1, dtype=np.float64), scale)
        table[MISSING] = np.nan
        grey: NDArray[np.float32] = table[stored]
        return grey
    return stored.astype(np.float32) if scale == Scale() else _meaning(stored, scale)


def _meaning(stored: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
    grey = np.multiply(stored, scale.gain, dtype=np.float64)
    grey += scale.offset
    small: NDArray[np.float32] = grey.astype(np.float32)
    return small


class ScaledArray:
    """A stored array (T, C, Z, Y, X) that reads as grey values, float32.

    Parameters
    ----------
    array
        Zarr array of stored numbers.
    scales
        One entry along C.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, array: Any, scales: Sequence[Scale]) -> None:
        self._array = array
        self._scales = tuple(scales)
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.ndim = len(self.shape)
        self.chunks: tuple[int, ...] = tuple(array.chunks)

    def __getitem__(self, region: Any) -> NDArray[np.float32]:
        """Read a region: an index or slice for each axis, as in numpy."""
        keys = list(region) if isinstance(region, tuple) else [region]
        if any(key is Ellipsis for key in keys):
            at = next(i for i, key in enumerate(keys) if key is Ellipsis)
            keys[at : at + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        stored = np.asarray(self._array[tuple(keys)])
        chosen = np.arange(self.shape[1])[keys[1] if len(keys) > 1 else slice(None)]
        if chosen.ndim == 0:
            return to_grey(stored, self._scales[int(chosen)])
        grey = np.empty(stored.shape, np.float32)
        axis = 0 if isinstance(keys[0], int | np.integer) else 1
        for place, channel in enumerate(chosen):
            part: Any = (*(slice(None),) * axis, place)
            grey[part] = to_grey(stored[part], self._scales[int(channel)])
        return grey


def stored_pixels(array: Any, scales: Sequence[Scale] | None) -> Any:
    """Return a stored array as one of grey values; itself if nothing scales it.

    Parameters
    ----------
    array
        Zarr array (T, C, Z, Y, X) of a store of this package.
    scales
        See `scales_of`.
    """
    return array if scales is None else ScaledArray(array, scales)


def open_stored(store: Path, level: int = 0) -> Any:
    """Open a level of a store of this package by itself, as grey values.

    Parameters
    ----------
    store
        Its path; it may be incomplete.
    level
        Number of the level, 0 for the finest.

    Returns
    -------
    array
        Like a zarr array (T, C, Z, Y, X), with ``shape``, ``chunks`` and ``dtype``. Read anew
        each time it is indexed.
    """
    import zarr

    array = zarr.open_array(store=store / str(level), mode="r")
    return stored_pixels(array, scales_of(read_record(store)))


def scales_of(state: Mapping[str, Any] | None) -> tuple[Scale, ...] | None:
    """Return the scales that the record of a store names, `None` if pixels are what they are.

    Raises
    ------
    ImageFileError
        If they are damaged: nobody could tell what the pixels mean.
    """
    layout = (state or {}).get("layout") or {}
    try:
        noted = layout.get("scales")
        return None if noted is None else tuple(Scale(**entry) for entry in noted)
    except (AttributeError, TypeError) as error:
        raise ImageFileError(
            f"The record of a store is damaged: what its grey values mean is not there ({error}). "
            "Run the command that wrote it again."
        ) from error


def described(scales: Sequence[Scale] | None) -> list[dict[str, float]] | None:
    """Return scales as they are recorded; `scales_of` reads them."""
    return None if scales is None else [asdict(scale) for scale in scales]
