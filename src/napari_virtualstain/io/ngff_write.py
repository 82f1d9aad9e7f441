"""What is written into the attributes of an OME-Zarr 0.5 store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.colours import colour_of
from napari_virtualstain.io.image import Channel

__all__ = ["PARTIAL", "VERSION", "first_windows", "multiscales", "omero"]

VERSION = "0.5"
"""Of OME-Zarr."""
PARTIAL = " (partial)"
"""Ends the name of a store whose run did not finish."""


def multiscales(
    *,
    name: str,
    levels: int,
    pixel_size_um: PixelSize,
    origin_um: tuple[float, float, float],
    time_interval_s: float | None,
) -> list[dict[str, Any]]:
    """Return the ``multiscales`` entry of an image with axes ``tczyx``.

    A unit is written only where the size is known: 1.0 with a unit would pass for a size.
    """
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    if time_interval_s is not None:
        axes[0]["unit"] = "second"
    known = [getattr(pixel_size_um, letter) is not None for letter in "zyx"]
    for letter, knows in zip("zyx", known, strict=True):
        axes.append({"name": letter, "type": "space"} | ({"unit": "micrometer"} if knows else {}))
    sizes = pixel_size_um.scale()
    start = [o if k else 0.0 for o, k in zip(origin_um, known, strict=True)]
    datasets = []
    for level in range(levels):
        factor = 2.0**level
        scale = [time_interval_s or 1.0, 1.0, sizes[0], sizes[1] * factor, sizes[2] * factor]
        # The centre of a coarse pixel lies between those of the fine ones that it averages.
        shift = [0.0, *((factor - 1) / 2 * size for size in sizes[1:])]
        translation = [0.0, 0.0, *(float(a + b) for a, b in zip(start, shift, strict=True))]
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [float(s) for s in scale]},
                    {"type": "translation", "translation": translation},
                ],
            }
        )
    return [
        {
            "name": name,
            "axes": axes,
            "datasets": datasets,
            "type": "mean",
            "metadata": {"description": "mean of 2 x 2 pixels, without those that are missing"},
        }
    ]


def first_windows(dtype: np.dtype[Any], n_channels: int) -> list[dict[str, float]]:
    """Return display windows for a store without pixels: what its type can hold."""
    if np.issubdtype(dtype, np.integer):
        low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    else:
        low, high = 0.0, 1.0
    return [{"min": low, "max": high, "start": low, "end": high} for _ in range(n_channels)]


def omero(
    name: str, channels: Sequence[Channel], windows: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """Return the ``omero`` block: how each channel is called and shown."""
    return {
        "name": name,
        "channels": [
            {
                "label": channel.name,
                "color": colour_of(channel),
                "active": True,
                "coefficient": 1.0,
                "family": "linear",
                "inverted": False,
                "window": dict(window),
            }
            for channel, window in zip(channels, windows, strict=True)
        ],
        "rdefs": {"defaultT": 0, "defaultZ": 0, "model": "color"},
    }
