"""Maps of what a network looked at, as layers that lie over the picture that they explain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.io.open import open_image
from napari_virtualstain.napari_io.difference import diverging
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.source import LayerSource, tagged

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["explanation_layers"]

_BRIGHTEST = 99.5
"""Percentile of a map that is shown brightest: single pixels would leave the rest black."""
_TIMES_EVEN = 4.0
"""Times the mean of a map of attention that is shown brightest at least."""


def explanation_layers(
    store: Path, over: Image, region_yx: Sequence[float], *, attention: Collection[str] = ()
) -> Callable[[], list[LayerData]]:
    """Return what opens the maps of a run, in the order in which it wrote them.

    They are plain arrays with the role *other*, so that no page takes them for an image. What has a
    sign is blue and orange around black, all else from black to yellow.

    Parameters
    ----------
    store
        That the run wrote.
    over
        A layer of the picture; where its pixels lie now, so do those of the maps.
    region_yx
        First row, first column, last row + 1, last column + 1 of the maps in its pixels; fractions
        where the network's pixels are others.
    attention
        Maps that would be the same everywhere if nothing were looked for: brightest is what has
        some times the mean at least, so that one that is nearly even does not look strong.

    Returns
    -------
    callable
        To be called in a thread: it reads files.
    """
    scale, translate = np.asarray(over.scale)[-2:], np.asarray(over.translate)[-2:]
    units = [str(unit) for unit in over.units[-2:]]
    labels = [str(label) for label in over.axis_labels[-2:]]

    def opened() -> list[LayerData]:
        image = open_image(store)
        pixels = image.read(tuple(slice(0, n) for n in image.shape))[0, :, 0]
        first, stop = np.asarray(region_yx[:2]), np.asarray(region_yx[2:])
        ratio = (stop - first) / pixels.shape[1:]
        where = {
            "scale": list(scale * ratio),
            "translate": list(translate + scale * (first + ratio / 2 - 0.5)),
            "units": units,
            "axis_labels": labels,
        }
        return [
            (values, {"name": name, **_colours(values, name in attention), **where}, "image")
            for name, values in zip(image.channel_names, pixels, strict=True)
        ]

    return opened


def _colours(values: NDArray[Any], even: bool) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    signed = bool(known.size) and float(known.min()) < 0
    top = float(np.percentile(np.abs(known), _BRIGHTEST)) if known.size else 1.0
    top = top or float(np.abs(known).max(initial=0.0)) or 1.0
    if even:
        top = max(top, _TIMES_EVEN * float(known.mean()))
    return {
        "colormap": diverging() if signed else "inferno",
        "contrast_limits": (-top, top) if signed else (0.0, top),
        "blending": "additive",
        "opacity": 0.9,
        "interpolation2d": "nearest",
        "visible": False,
        "metadata": tagged({}, LayerSource(role="other")),
    }
