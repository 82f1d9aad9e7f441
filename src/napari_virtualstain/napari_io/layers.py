"""How an image becomes layers: one a channel, with colour, scale, units and axis labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_virtualstain.io.colours import colour_of
from napari_virtualstain.io.image import LazyImage

__all__ = ["BELOW", "STAINED", "LayerData", "channel_limits", "image_layers"]

BELOW, STAINED = 0.45, 0.75
"""Opacity of a bright field under stains and of stains over it: five at full are white."""

LayerData = tuple[Any, dict[str, Any], str]
"""Data, keywords of ``add_image``, and ``"image"``: what napari takes from a reader."""


def image_layers(
    image: LazyImage,
    *,
    suffix: str = "",
    contrast: dict[str, tuple[float, float]] | None = None,
    offset_um: tuple[float, float] = (0.0, 0.0),
    opacity: float = 1.0,
) -> list[LayerData]:
    """Return one layer a channel, bright field first so that stains lie over it.

    Parameters
    ----------
    image
        Any image; axes of length one that the file did not have are dropped.
    suffix
        Behind each channel's name, for example ``" (predicted)"``.
    contrast
        Limits by channel name; a channel without an entry takes those of its
        pixels, read once.
    offset_um
        Moves the layers by so much (y, x).
    opacity
        Of every layer, 0 to 1; see `BELOW` and `STAINED`.

    Returns
    -------
    list
        For ``viewer.add_layer(Layer.create(*data))``, or a reader.
    """
    n_t, _, n_z, _, _ = image.shape
    keep = [axis for axis, n in (("t", n_t), ("z", n_z)) if n > 1] + ["y", "x"]
    z_um, y_um, x_um = image.pixel_size_um.scale()
    step = {"t": image.time_interval_s or 1.0, "z": z_um, "y": y_um, "x": x_um}
    known = {
        "t": image.time_interval_s,
        "z": image.pixel_size_um.z,
        "y": image.pixel_size_um.y,
        "x": image.pixel_size_um.x,
    }
    unit = {a: ("s" if a == "t" else "um") if known[a] is not None else "pixel" for a in "tzyx"}
    at = {
        "t": 0.0,
        "z": image.origin_um[0],
        "y": image.origin_um[1] + offset_um[0],
        "x": image.origin_um[2] + offset_um[1],
    }
    order = sorted(
        range(len(image.channels)), key=lambda c: image.channels[c].modality != "transmitted"
    )
    layers: list[LayerData] = []
    for c in order:
        channel = image.channels[c]
        # (T, Z, Y, X) without the axes of length one
        pixels = image.data[:, c]
        pixels = pixels[tuple(slice(None) if a in keep else 0 for a in "tzyx")]
        stained = channel.modality != "transmitted"
        limits = (contrast or {}).get(channel.name)
        layers.append(
            (
                pixels,
                {
                    "name": f"{channel.name}{suffix}",
                    "colormap": _colormap(colour_of(channel)),
                    "opacity": opacity,
                    "blending": "additive" if stained else "translucent",
                    "contrast_limits": limits or channel_limits(image, c),
                    "scale": [step[a] for a in keep],
                    "translate": [at[a] for a in keep],
                    "units": [unit[a] for a in keep],
                    "axis_labels": keep,
                    "metadata": {"source": image.source.path, "channel": channel.name},
                },
                "image",
            )
        )
    return layers


def channel_limits(image: LazyImage, c: int) -> tuple[float, float]:
    """Return the 1st and 99.8th percentile of the middle plane of a channel."""
    n_t, _, n_z, height, width = image.shape
    # At most about a million pixels, spread over the plane.
    stride = max(1, int(np.sqrt(height * width / 1e6)))
    part = slice(None, None, stride)
    region = (
        slice(n_t // 2, n_t // 2 + 1), slice(c, c + 1), slice(n_z // 2, n_z // 2 + 1), part, part,
    )  # fmt: skip
    values = image.read(region)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return (0.0, 1.0)
    low, high = (float(v) for v in np.percentile(values, (1.0, 99.8)))
    return (low, high) if high > low else (low, low + 1.0)


def _colormap(colour: str) -> Any:
    """Return a napari colormap from black to a colour; plain grey by its name."""
    if colour.upper() == "FFFFFF":
        return "gray"
    from napari.utils import Colormap

    rgb = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return Colormap([[0.0, 0.0, 0.0, 1.0], [*rgb, 1.0]], name=f"#{colour.lower()}")
