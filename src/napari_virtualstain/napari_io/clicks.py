"""Places that somebody clicks as good and as bad, as points, and what they taught, as a map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.io.open import open_image
from napari_virtualstain.napari_io.marks import over_image
from napari_virtualstain.napari_io.source import LayerSource, tagged

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["COLOUR", "points_over", "probability_of", "probability_over"]

COLOUR = {"good": "#4c9f70", "bad": "#e0564f"}
_SYMBOL = {"good": "disc", "bad": "x"}
"""Beside the colours, for people who see no difference between them."""
_SIZE = 12
"""Of a point in pixels of the picture."""


def points_over(over: Image, label: str) -> dict[str, Any]:
    """Return the keywords of a ``Points`` layer of (y, x) in pixels of a layer that it lies over.

    Parameters
    ----------
    over
        Whose last two axes count.
    label
        ``"good"`` or ``"bad"``.
    """
    keywords = over_image(over, f"{label} places")
    return {
        **{n: v for n, v in keywords.items() if n not in ("colormap", "opacity")},
        "ndim": 2, "face_color": COLOUR[label], "symbol": _SYMBOL[label], "size": _SIZE,
        "border_color": "white", "metadata": tagged({}, LayerSource(role="other")),
    }  # fmt: skip


def probability_of(store: Path) -> Callable[[], NDArray[np.float32]]:
    """Return what opens the map (Y, X) that `virtualstain qc --clicks` wrote.

    Parameters
    ----------
    store
        One of its maps.

    Returns
    -------
    callable
        To be called in a thread: it reads files.
    """

    def opened() -> NDArray[np.float32]:
        image = open_image(store).with_gaps()
        pixels: NDArray[np.float32] = image.read(tuple(slice(0, n) for n in image.shape))[0, 0, 0]
        return pixels

    return opened


def probability_over(over: Image) -> dict[str, Any]:
    """Return the keywords of an ``Image`` layer with such a map over a layer.

    Dark is what is more probably good than bad.

    Parameters
    ----------
    over
        Whose last two axes count.
    """
    keywords = over_image(over, "probability of bad")
    return {
        **keywords, "colormap": "inferno", "contrast_limits": (0.5, 1.0), "blending": "additive",
        "opacity": 0.5, "interpolation2d": "nearest",
        "metadata": tagged({}, LayerSource(role="other")),
    }  # fmt: skip
