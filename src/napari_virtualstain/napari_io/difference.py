"""Where, and in which direction, is a prediction wrong? A layer of prediction minus truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.source import LayerSource, tagged

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["DIVERGING", "difference_layer", "diverging", "levels_of", "same_pixels", "unlike"]

DIVERGING = ((0.35, 0.65, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0), (1.0, 0.6, 0.1, 1.0))
"""Too dark, right, too bright (RGBA, 0 to 1)."""


def difference_layer(prediction: Image, truth: Image, *, name: str) -> LayerData:
    """Return a layer of prediction minus truth, lazily, centred on zero.

    Blue is too dark, orange too bright, black is right. The limits are half the
    range in which the truth is shown, to either side. Missing pixels stay missing.

    Parameters
    ----------
    prediction, truth
        Layers of equal size; only their pixels are compared, not their place.
    name
        Of the new layer.

    Raises
    ------
    PixelDataError
        If their sizes differ.
    """
    if not same_pixels(prediction, truth):
        raise PixelDataError(unlike(prediction, truth))
    levels = [_minus(a, b) for a, b in zip(levels_of(prediction), levels_of(truth), strict=False)
              if _squeezed(a).shape == _squeezed(b).shape]  # fmt: skip
    low, high = (float(v) for v in truth.contrast_limits)
    limit = max((high - low) / 2, 1e-6)
    keep = {
        "scale": list(prediction.scale),
        "translate": list(prediction.translate),
        "units": [str(unit) for unit in prediction.units],
        "axis_labels": list(prediction.axis_labels),
    }
    return (
        levels if len(levels) > 1 else levels[0],
        {
            "name": name,
            "colormap": diverging(),
            "contrast_limits": (-limit, limit),
            "blending": "translucent",
            "visible": False,
            "multiscale": len(levels) > 1,
            "metadata": tagged({}, LayerSource(role="other")),
            **keep,
        },
        "image",
    )


def diverging() -> Any:
    """Return blue over black to orange: told apart by nearly everybody, and dark where right."""
    from napari.utils import Colormap

    return Colormap([list(colour) for colour in DIVERGING], name="too dark/bright")


def same_pixels(one: Image, other: Image) -> bool:
    """Return whether two layers have pixels that can be compared, axes of length one aside."""
    return bool(_squeezed(levels_of(one)[0]).shape == _squeezed(levels_of(other)[0]).shape)


def unlike(prediction: Image, truth: Image) -> str:
    """Say why two layers cannot be compared pixel by pixel."""
    return (
        f"{prediction.name!r} has {_by(prediction)} and {truth.name!r} {_by(truth)} pixels, so "
        "there is no difference to show. Choose the truth of the same field."
    )


def levels_of(layer: Image) -> list[Any]:
    """Return the pixels of a layer, the finest level first."""
    return list(layer.data) if layer.multiscale else [layer.data]


def _squeezed(pixels: Any) -> Any:
    lazy = pixels if isinstance(pixels, da.Array) else da.from_array(pixels, name=False)
    return lazy.squeeze()


def _minus(a: Any, b: Any) -> Any:
    difference = _squeezed(a).astype(np.float32) - _squeezed(b).astype(np.float32)
    # The layer keeps the axes of the prediction.
    return difference.reshape(a.shape)


def _by(layer: Image) -> str:
    return " x ".join(str(n) for n in levels_of(layer)[0].shape)
