"""How unevenly a channel is lit, and what its pixels would be under even light.

An `IlluminationFunction` belongs to one plane of one channel on one plate. It is
smooth, so that it is kept as some 1,500 numbers and evaluated wherever a tile
needs it; `illumination_fit` finds it.

The reference is CellProfiler's CorrectIlluminationCalculate and -Apply [1]_ as
used for Cell Painting [2]_: mean of the fields, a median filter over a quarter of
the field's longer side (249 px of 998, 320 px of 1280), division. Like there, a
filter size of s is a disc of radius s / 2.35, or a Gaussian of that SD.

Where this departs:

- The level. There the function is divided by its 2nd percentile and raised to 1
  below it (``level="minimum"`` here), so that grey values shrink. By default
  here its median is 1 and grey values keep their level; after a z-score of each
  image both are the same but in the darkest corner.
- The filter is exact at nodes a quarter of a radius apart, with cubic
  interpolation between them, and means over blocks of pixels enter where the
  disc has a radius of more than 128 px.
- ``dark`` may be subtracted before the division and added after it. The papers
  did not, which leaves some of the unevenness in dim channels.

References
----------
.. [1] Carpenter et al., Genome Biology 7, R100 (2006), doi:10.1186/gb-2006-7-10-r100.
.. [2] Singh, Bray, Jones, Carpenter, "Pipeline for illumination correction of
   images for high-throughput microscopy", J. Microscopy 256, 231 (2014),
   doi:10.1111/jmi.12178.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.preprocessing.sealed import damaged, read_sealed, write_sealed
from napari_virtualstain.preprocessing.surface import Smoothing, interpolated

__all__ = [
    "KIND",
    "IlluminationFunction",
    "IlluminationSettings",
    "function_of",
    "load_illumination",
]

KIND = "napari-virtualstain illumination function"
"""What a file of one function calls itself."""
_VERSION = 1
_PART_OF_SIDE = 0.25
_SIGMAS_A_SIZE = 2.35


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IlluminationSettings(_Frozen):
    """How an illumination function is found.

    Parameters
    ----------
    smoothing
        ``"median"``, hardly moved by cells, or ``"gaussian"``.
    filter_px
        Size of the filter in pixels; `None` for a quarter of the longer side of
        the field, which is what 249 px were in the papers.
    level
        ``"median"``: the median of the function is 1, grey values keep their level.
        ``"minimum"``: as CellProfiler rescales, values only become smaller.
    dark
        Grey value without any light (the camera's offset); 0 as in the papers.

    Examples
    --------
    >>> IlluminationSettings().filter_for((998, 998)), IlluminationSettings().sigma_for((998, 998))
    (249, 106)
    """

    smoothing: Smoothing = "median"
    filter_px: float | None = Field(default=None, gt=0)
    level: Literal["median", "minimum"] = "median"
    dark: float = 0.0

    def filter_for(self, shape: tuple[int, int]) -> float:
        """Return the size of the filter in pixels for a field (Y, X)."""
        if self.filter_px is not None:
            return self.filter_px
        return max(1, int(_PART_OF_SIDE * max(shape)))

    def sigma_for(self, shape: tuple[int, int]) -> int:
        """Return the radius of the disc, or the SD of the Gaussian, in whole pixels."""
        return max(1, int(self.filter_for(shape) / _SIGMAS_A_SIZE + 0.5))


class IlluminationFunction(_Frozen):
    """The light on each pixel of a plane, relative to its typical value.

    Parameters
    ----------
    shape
        (Y, X) in pixels of the fields that it was fitted on, and is for.
    settings
        By which it was found.
    fields
        How many fields entered.
    left_out
        How many did not, since they held no picture.
    uncertainty_percent
        By how much the halves of the fields disagree about a place, as the standard
        error of their mean; `None` if there was one field.
    notes
        Sentences about what makes it doubtful.
    nodes
        The function on an even grid that reaches from the first pixel to the last.
    """

    shape: tuple[int, int]
    settings: IlluminationSettings
    fields: int = Field(ge=1)
    left_out: int = Field(default=0, ge=0)
    uncertainty_percent: float | None = None
    notes: tuple[str, ...] = ()
    nodes: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _usable(self) -> Self:
        widths = {len(row) for row in self.nodes}
        if len(widths) != 1 or 0 in widths or min(self.shape) < 1:
            raise ValueError("nodes are no grid")
        if min(min(row) for row in self.nodes) <= 0:
            raise ValueError("nodes must be positive")
        return self

    @property
    def unevenness_percent(self) -> float:
        """Brightest minus darkest place of the field, in percent of its median."""
        nodes = np.array(self.nodes)
        return float(100 * np.ptp(nodes) / np.median(nodes))

    def values(self, region: tuple[slice, ...] | None = None) -> NDArray[np.float32]:
        """Return the function (y, x) on a region of the plane, all of it by default."""
        values: NDArray[np.float32] = self._double(self._checked(region)).astype(np.float32)
        return values

    def apply(
        self, pixels: NDArray[Any], region: tuple[slice, ...] | None = None
    ) -> NDArray[np.float32]:
        """Return what the pixels would be under even light.

        Parameters
        ----------
        pixels
            (..., y, x) grey values of any type; NaN stays NaN.
        region
            Which part of the plane they are: a slice each for y and x. The whole
            plane by default. A region has the bits that the whole plane has there.

        Returns
        -------
        numpy.ndarray
            float32, in grey values.

        Raises
        ------
        SettingsError
            If the pixels are not those of the region, or of a plane of another size.
        """
        parts = self._checked(region)
        size = tuple(part.stop - part.start for part in parts)
        if tuple(np.shape(pixels)[-2:]) != size:
            what = "this region is" if region is not None else "the fields of this function were"
            raise SettingsError(
                f"An illumination function cannot correct pixels of shape {np.shape(pixels)}: "
                f"{what} {size[0]} x {size[1]} px. Fit a function on fields of the same camera "
                "settings."
            )
        # In double precision: uint16 with an offset near 65535 would lose digits.
        lit = np.subtract(pixels, self.settings.dark, dtype=np.float64)
        lit /= self._double(parts)
        lit += self.settings.dark
        corrected: NDArray[np.float32] = lit.astype(np.float32)
        return corrected

    def save(self, path: Path | str) -> None:
        """Write it into one JSON file, which is whole or not there.

        Raises
        ------
        DiskError
            If it cannot be written.
        """
        write_sealed(path, self.model_dump(mode="json"), kind=KIND, version=_VERSION)

    def _checked(self, region: tuple[slice, ...] | None) -> tuple[slice, slice]:
        if region is None:
            return slice(0, self.shape[0]), slice(0, self.shape[1])
        inside = len(region) == 2 and all(
            part.step in (None, 1) and 0 <= part.start <= part.stop <= length
            for part, length in zip(region, self.shape, strict=True)
        )
        if not inside:
            raise SettingsError(
                f"The region {region} is not inside a plane of {self.shape[0]} x {self.shape[1]} "
                "px. Give a slice with start and stop each for y and x."
            )
        return region[0], region[1]

    def _double(self, region: tuple[slice, slice]) -> NDArray[np.float64]:
        nodes = np.array(self.nodes)
        values = interpolated(nodes, self.shape, region)
        # Cubic interpolation swings a little beyond the nodes; light must stay above zero.
        positive: NDArray[np.float64] = np.maximum(values, 0.5 * float(nodes.min()))
        return positive


def load_illumination(path: Path | str) -> IlluminationFunction:
    """Read what `IlluminationFunction.save` wrote.

    Raises
    ------
    MissingInputError
        If there is no such file.
    ImageFileError
        If it is damaged, altered, or something else.
    """
    _, content = read_sealed(path, {KIND: _VERSION})
    return function_of(content, path)


def function_of(content: dict[str, Any], path: Path | str) -> IlluminationFunction:
    """Return the function in the content of a file.

    Raises
    ------
    ImageFileError
        If it is none.
    """
    try:
        return IlluminationFunction.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise damaged(path) from error


def nothing_to_fit(left_out: int) -> PixelDataError:
    """Return the error of a function that no field could tell anything about."""
    seen = f"all {left_out} fields are constant or empty" if left_out else "no field was given"
    return PixelDataError(
        f"No illumination function can be fitted: {seen}. Choose fields with light in them."
    )
