"""What is a denoiser shown? Planes of one channel, all normalised by the same two numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from napari_virtualstain.axes import LazyArray, Region
from napari_virtualstain.datasets.statistics import image_statistics
from napari_virtualstain.intensity import Normalisation, Rule, together
from napari_virtualstain.io.image import LazyImage

__all__ = ["RULE", "GreyPlanes"]

RULE = Rule(kind="zscore", clip_sd=None)
"""Of all planes together, so that noise that is as strong in one as in another stays so."""
_SHARE = 8
"""An image is held in memory where it takes at most this part of what is free."""


@dataclass(frozen=True, slots=True, eq=False)
class GreyPlanes:
    """Planes of grey values, and the normalisation of all of them.

    Parameters
    ----------
    planes
        (Y, X) each, read by slices; what is not finite is missing.
    norm
        Applied to all of them.
    gaps
        Whether a pixel is missing anywhere.
    """

    planes: Sequence[LazyArray]
    norm: Normalisation
    gaps: bool = False

    @classmethod
    def of_images(
        cls,
        images: Sequence[LazyImage],
        norm: Normalisation | None = None,
        *,
        on_block: Callable[[int, int], None] | None = None,
    ) -> GreyPlanes:
        """Return the planes of images of one channel: time points, and of each its z planes.

        Parameters
        ----------
        images
            (T, 1, Z, Y, X) each; held in memory where there is room.
        norm
            Of a denoiser that exists; fitted on all pixels if `None`.
        on_block
            Told of blocks measured, image by image.

        Raises
        ------
        PixelDataError
            If the channel has no pixels, or only one value.
        """
        images = [image.with_gaps() for image in images]
        seen = [
            plane
            for image in images
            for time in image_statistics(image, on_block=on_block)
            for depth in time
            for plane in depth
        ]
        room = psutil.virtual_memory().available / _SHARE
        planes: list[LazyArray] = []
        for image in images:
            fits = sum(one.nbytes for one in images) < room
            pixels = image.read((slice(None),) * 5) if fits else image.data
            places = product(range(image.shape[0]), range(image.shape[2]))
            planes += [pixels[t, 0, z] for t, z in places]
        return cls(
            planes,
            norm
            or RULE.fit(
                together(seen), what=f"Channel {images[0].channel_names[0]!r}", may_lack=True
            ),
            any(image.missing for image in images) or any(plane.not_finite for plane in seen),
        )

    def __len__(self) -> int:
        """Return the number of planes."""
        return len(self.planes)

    def shape(self, plane: int) -> tuple[int, int]:
        """Return Y and X of a plane in pixels."""
        height, width = self.planes[plane].shape
        return int(height), int(width)

    def grey(self, plane: int, region: Region) -> NDArray[Any]:
        """Read a region (Y, X) as the file has it, in this thread."""
        part = self.planes[plane][region]
        compute = getattr(part, "compute", None)
        return np.asarray(part if compute is None else compute(scheduler="synchronous"))

    def read(self, plane: int, region: Region) -> NDArray[np.float32]:
        """Read and normalise a region (Y, X); NaN is missing."""
        normal = self.norm.apply(self.grey(plane, region))
        normal[~np.isfinite(normal)] = np.nan
        return normal
