"""What does a field look like, predicted and true? A small picture of both and of their overlay."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.save_png import QUANTILES, overlay
from napari_virtualstain.jobs.compare import read_rows

if TYPE_CHECKING:
    from napari_virtualstain.jobs.verdict_fields import ComparedField, FieldComparer

__all__ = ["EDGE", "Thumbnail", "grey", "png_address", "thumbnail"]

EDGE = 256
"""Pixels of the longer edge, at most."""
_ROWS = 512
"""That are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """Pictures of a field as ``data:`` addresses.

    Parameters
    ----------
    name
        Of the field.
    stain
        That is shown.
    limits
        Grey values that are black and white, in all three.
    truth, prediction, both
        PNG; in the last, prediction is magenta, truth green, and what agrees is white.
    """

    name: str
    stain: str
    limits: tuple[float, float]
    truth: str
    prediction: str
    both: str


def thumbnail(comparer: FieldComparer, field: ComparedField, stain: str) -> Thumbnail:
    """Open a field again and show one stain of it; limits are those of the truth."""
    prediction, truth = comparer.opened(field.pair)
    planes = [_small(image, stain, int(field.key[3]), comparer.plane(image))
              for image in (prediction, truth)]  # fmt: skip
    known = planes[1][np.isfinite(planes[1])]
    low, high = (float(v) for v in np.quantile(known, QUANTILES)) if known.size else (0.0, 1.0)
    high = high if high > low else low + 1
    shown = [grey(plane, low, high) for plane in planes]
    return Thumbnail(
        name=field.pair.prediction.name, stain=stain, limits=(low, high),
        truth=png_address(shown[1]), prediction=png_address(shown[0]),
        both=png_address(overlay(*shown)),
    )  # fmt: skip


def _small(image: LazyImage, stain: str, t: int, z: int) -> NDArray[np.float32]:
    """Return means of blocks of a plane, strip by strip; NaN where a whole block is missing."""
    height, width = image.shape[3:]
    block = max(1, -(-max(height, width) // EDGE))
    block = min(block, height, width)
    channel = image.channel_index(stain)
    tall = height // block * block
    strip = block * max(1, _ROWS // block)
    found = []
    for top in range(0, tall, strip):
        rows = read_rows(image, t, channel, z, slice(top, min(top + strip, tall)))
        cut = rows[:, : width // block * block]
        cut = cut.reshape(len(rows) // block, block, -1, block)
        known = np.isfinite(cut)
        total, count = np.where(known, cut, 0).sum(axis=(1, 3)), known.sum(axis=(1, 3))
        found.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return np.concatenate(found).astype(np.float32)


def grey(plane: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Return 0 at the lower limit and below, 255 at the upper and above; 0 for what is missing."""
    share = np.clip((np.nan_to_num(plane, nan=low) - low) / (high - low), 0, 1)
    return np.asarray(np.rint(255 * share), np.uint8)


def png_address(picture: NDArray[np.uint8]) -> str:
    """Return a picture as the ``data:`` address of a PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
