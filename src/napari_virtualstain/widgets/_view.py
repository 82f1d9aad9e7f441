"""Which part of an image does the canvas show? In its pixels, planes and time points."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["go_to", "shown_place", "shown_plane", "shown_region", "shown_time"]


def shown_region(viewer: napari.Viewer, layer: Image) -> tuple[int, int, int, int] | None:
    """Return (first row, first column, last row + 1, last column + 1) of what is on the canvas.

    Parameters
    ----------
    viewer
        In 3-D, in the grid, and with other axes than y and x everything counts as shown.
    layer
        Whose pixels are meant; of a pyramid those of the finest level.

    Returns
    -------
    tuple or None
        `None` if nothing of the layer is in view.
    """
    finest = layer.data[0] if layer.multiscale else layer.data
    height, width = finest.shape[-2:]
    last = tuple(range(viewer.dims.ndim - 2, viewer.dims.ndim))
    if tuple(viewer.dims.displayed) != last or viewer.canvas.grid.enabled:
        return (0, 0, height, width)
    # Not layer.corner_pixels: of a pyramid they are what napari has loaded, far more than is seen.
    camera = viewer.scene.camera
    half = np.asarray(viewer.canvas.size, dtype=float) / 2 / camera.zoom
    point = np.asarray(viewer.dims.point[-layer.ndim :], dtype=float)
    corners = []
    for sign in product((-1, 1), repeat=2):
        point[-2:] = np.asarray(camera.center)[-2:] + half * sign
        corners.append(layer.world_to_data(point)[-2:])
    # The middle of the first pixel is 0, its edges are -0.5 and 0.5.
    y0, x0 = np.floor(np.min(corners, axis=0) + 0.5)
    y1, x1 = np.ceil(np.max(corners, axis=0) + 0.5)
    region = (
        int(max(y0, 0)), int(max(x0, 0)), int(min(y1, height)), int(min(x1, width)),
    )  # fmt: skip
    return region if region[0] < region[2] and region[1] < region[3] else None


def shown_place(viewer: napari.Viewer, layer: Image) -> tuple[int, ...]:
    """Return the index in view along each axis of a layer but its last two, y and x."""
    finest = layer.data[0] if layer.multiscale else layer.data
    at = layer.world_to_data(viewer.dims.point[-layer.ndim :])[:-2]
    return tuple(
        int(np.clip(round(float(place)), 0, length - 1))
        for place, length in zip(at, finest.shape[:-2], strict=True)
    )


def shown_time(viewer: napari.Viewer, layer: Image) -> int | None:
    """Return the index of the time point in view, `None` for an image without a time axis."""
    return _along("t", viewer, layer)


def shown_plane(viewer: napari.Viewer, layer: Image) -> int | None:
    """Return the index of the z plane in view, `None` for an image without a z axis."""
    return _along("z", viewer, layer)


def go_to(viewer: napari.Viewer, layer: Image, place: Mapping[str, int]) -> None:
    """Move the sliders to an index along axes of a layer; axes that it lacks stay.

    Parameters
    ----------
    viewer
        That shows it.
    layer
        With the axes.
    place
        Index by the letter of the axis, ``"t"`` or ``"z"``.
    """
    labels = list(layer.axis_labels)
    at = layer.data_to_world([place.get(a, 0) for a in labels])
    for letter in place:
        if letter in labels[:-2]:
            axis = viewer.dims.ndim - layer.ndim + labels.index(letter)
            viewer.dims.set_point(axis, at[labels.index(letter)])


def _along(letter: str, viewer: napari.Viewer, layer: Image) -> int | None:
    labels = list(layer.axis_labels)
    return shown_place(viewer, layer)[labels.index(letter)] if letter in labels[:-2] else None
