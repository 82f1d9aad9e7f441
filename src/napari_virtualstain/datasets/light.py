"""What would planes be under even light? Corrected where they are read, and never before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.preprocessing.illumination import IlluminationFunction

__all__ = ["corrected_planes"]


@dataclass(frozen=True, slots=True, eq=False)
class _Corrected:
    """An array (T, 1, P, Y, X) that reads an image and divides it by the light of each plane.

    Not `dask.array.map_blocks`: that lists the place of every chunk beforehand, and a slice of
    a chunk would be corrected as a whole.
    """

    image: LazyImage
    functions: tuple[IlluminationFunction, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        given = key if isinstance(key, tuple) else (key,)
        given = (*given, *(slice(None) for _ in range(self.ndim - len(given))))
        region: list[slice] = []
        rest: list[slice | int] = []
        for part, length in zip(given, self.shape, strict=True):
            if isinstance(part, slice):
                start, stop, step = part.indices(length)
                unit = step == 1
                region.append(slice(start, max(start, stop)) if unit else slice(0, length))
                rest.append(slice(None) if unit else part)
            else:
                at = int(part) % length
                region.append(slice(at, at + 1))
                rest.append(0)
        pixels = self.image.read(tuple(region))
        light = np.empty(pixels.shape, np.float32)
        for i, plane in enumerate(range(region[2].start, region[2].stop)):
            function = self.functions[plane]
            light[:, :, i] = function.apply(pixels[:, :, i], (region[3], region[4]))
        return light[tuple(rest)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _EvenImage(LazyImage):
    """A corrected image. A region is read past dask, which would correct whole chunks for it."""

    pixels: _Corrected
    name: str

    def read(self, region: Region) -> NDArray[Any]:
        """Read the corrected pixels of a region (T, C, Z, Y, X)."""
        if self.data.name != self.name:  # a part was selected, or cut out
            return LazyImage.read(self, region)
        return self.pixels[tuple(region)]


def corrected_planes(planes: InputPlanes, functions: Sequence[IlluminationFunction]) -> InputPlanes:
    """Return planes that are corrected for uneven light as they are read.

    Parameters
    ----------
    planes
        What a network is given, or learns from.
    functions
        One a plane, fitted on planes of this size.

    Returns
    -------
    InputPlanes
        float32 grey values; a region has the bits that the whole plane has there.

    Raises
    ------
    SettingsError
        If there are more or fewer functions than planes.
    """
    image = planes.image
    if len(functions) != len(planes):
        raise SettingsError(
            f"{len(functions)} illumination functions for {len(planes)} planes. Give one a plane."
        )
    # The name tells these pixels from the recorded ones, and from those under another light.
    values = [function.model_dump(mode="json") for function in functions]
    told = json.dumps([image.data.name, values], sort_keys=True).encode()
    name = f"corrected-{hashlib.sha256(told).hexdigest()}"
    pixels = _Corrected(image, tuple(functions))
    data = da.from_array(
        pixels, chunks=image.data.chunks, name=name, fancy=False,
        meta=np.empty((0,) * 5, np.float32),
    )  # fmt: skip
    described = {f.name: getattr(image, f.name) for f in fields(LazyImage) if f.name != "data"}
    return replace(planes, image=_EvenImage(data=data, pixels=pixels, name=name, **described))
