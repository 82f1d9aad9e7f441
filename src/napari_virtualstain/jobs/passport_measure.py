"""What a picture is like, measured as the training fields of a model were."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.inference.resample import resample_region, resampled_length
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.base import Progress
from napari_virtualstain.jobs.ready import ReadyPlanes
from napari_virtualstain.jobs.rescale import LARGEST_RATIO, PIXEL_TOLERANCE, off_by, resized
from napari_virtualstain.preprocessing.likeness import (
    SMALLEST,
    comparable_numbers,
    focus_in_windows,
)
from napari_virtualstain.preprocessing.quality import (
    PlaneQuality,
    empty_fraction,
    noise_level,
    plane_quality,
)

__all__ = ["LARGEST", "Measured", "MeasuredPlane", "Situation", "measure"]

LARGEST = 4096
"""Largest edge of the part of a plane that is measured, in pixels of image and model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPlane:
    """What was measured of one plane.

    Parameters
    ----------
    stored
        Of the pixels as they are in the file; `None` if none of them is finite.
    numbers
        Those that are compared, at the model's pixel size where the image is resampled.
    """

    stored: PlaneQuality | None
    numbers: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of the planes that a model is given.

    Parameters
    ----------
    planes
        In the order in which the model takes them; empty if they are too small.
    z
        Which planes of the image these are.
    shape
        (Y, X) of the image in pixels.
    at_model
        The same in pixels of the model, if the image has to be resampled.
    part
        Edges of the middle that was measured, if that is not the whole plane.
    """

    planes: tuple[MeasuredPlane, ...]
    z: tuple[int, ...]
    shape: tuple[int, int]
    at_model: tuple[int, int] | None = None
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the checks look at.

    Parameters
    ----------
    card
        Of the model.
    image
        As opened, all channels.
    size
        Pixel size, with what the user stated.
    stated
        Whether the user stated the pixel size.
    channel
        Name of the one to stain.
    named
        Whether the user named it.
    """

    card: ModelCard
    image: LazyImage
    size: PixelSize
    stated: bool
    channel: str
    named: bool

    @property
    def ratios(self) -> tuple[float, float] | None:
        """Model pixel over pixel of the image as the network is given it (y, x), if known."""
        size = resized(self.size, self._of_field)
        if size.y is None or size.x is None:
            return None
        y, x = self.card.pixel_size_yx_um
        return (y / size.y, x / size.x)

    @property
    def resampling(self) -> tuple[float, float] | None:
        """Network pixel over image pixel, only where the image is or has to be resampled."""
        if self._of_field is not None or self.ratios is None:
            return self._of_field
        if off_by(self.ratios) <= PIXEL_TOLERANCE:
            return None
        within = 1 / LARGEST_RATIO <= min(self.ratios) <= max(self.ratios) <= LARGEST_RATIO
        return self.ratios if within else None

    @property
    def _of_field(self) -> tuple[float, float] | None:
        """By what a model resizes each field, whatever its pixel size."""
        if self.card.resize_to is None:
            return None
        _, _, _, height, width = self.image.shape
        ratios = (height / self.card.resize_to[0], width / self.card.resize_to[1])
        return None if ratios == (1.0, 1.0) else ratios


def measure(
    here: Situation, ready: ReadyPlanes, t: int, on_progress: Progress | None = None
) -> Measured:
    """Measure each plane that the model is given; one of them is in memory at a time."""
    ratios, planes = here.resampling, ready.planes
    shape = (planes.image.shape[3], planes.image.shape[4])
    at_model = None
    # Enlarged to the model's pixels, a small part of the image is as much to hold as all of it.
    edges = [LARGEST if ratios is None else floor(LARGEST * min(1.0, r)) for r in ratios or (1, 1)]
    if ratios is not None:
        y, x = (resampled_length(n, r) for n, r in zip(shape, ratios, strict=True))
        at_model = (y, x)
    middle = [_middle(n, edge) for n, edge in zip(shape, edges, strict=True)]
    part = (middle[0].stop - middle[0].start, middle[1].stop - middle[1].start)
    if min(*part, *(at_model or part)) < SMALLEST:
        return Measured(planes=(), z=planes.z, shape=shape, at_model=at_model)
    found = []
    for p, plane in enumerate(here.card.inputs):
        if on_progress is not None:
            on_progress(p, len(planes), "planes measured")
        region = (slice(t, t + 1), slice(None), slice(p, p + 1), *middle)
        window = (LARGEST, LARGEST) if plane.ranges is None else plane.ranges.window_px
        stored = ready.stored.image.read(region)[0, 0, 0]
        even = None if ready.light is None else planes.image.read(region)[0, 0, 0]
        found.append(_measured(stored, even, ratios, window))
    if on_progress is not None:
        on_progress(len(planes), len(planes), "planes measured")
    return Measured(
        planes=tuple(found),
        z=planes.z,
        shape=shape,
        at_model=at_model,
        part=None if part == shape else part,
    )


def _measured(
    pixels: NDArray[Any],
    even: NDArray[Any] | None,
    ratios: tuple[float, float] | None,
    window: tuple[int, int],
) -> MeasuredPlane:
    """Measure a plane as stored, and what is compared as corrected for uneven light."""
    if not np.isfinite(pixels).any():
        return MeasuredPlane(stored=None, numbers={})
    stored = given = plane_quality(pixels)
    numbers = comparable_numbers(stored, {})
    if even is not None:
        pixels, given = even, plane_quality(even)
        # What the camera did to the pixels is seen before the correction only.
        numbers = {**comparable_numbers(given, {}), **_of_camera(numbers)}
    if ratios is not None:
        # What the network would be given: averaged pixels have less noise and other detail.
        whole = tuple(slice(0, n) for n in pixels.shape)
        grid = tuple(
            slice(0, resampled_length(n, r)) for n, r in zip(pixels.shape, ratios, strict=True)
        )
        known = np.where(np.isfinite(pixels), pixels, np.nan).astype(np.float32)
        pixels = resample_region(known, whole, grid, ratios)
        if "noise_percent" in numbers:
            # The median is the same on both grids, but for the last digits.
            numbers["noise_percent"] *= noise_level(pixels) / max(given.noise, 1e-12)
        numbers["empty_fraction"] = empty_fraction(pixels)
    numbers.update(focus_in_windows(pixels, window))
    return MeasuredPlane(
        stored=stored,
        numbers={name: value for name, value in numbers.items() if np.isfinite(value)},
    )


def _of_camera(numbers: dict[str, float]) -> dict[str, float]:
    return {name: numbers[name] for name in ("saturated_fraction", "bits_used") if name in numbers}


def _middle(length: int, edge: int) -> slice:
    if length <= edge:
        return slice(0, length)
    start = (length - edge) // 2
    return slice(start, start + edge)
