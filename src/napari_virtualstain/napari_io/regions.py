"""Which pixels lie inside what somebody has drawn? Shapes as polygons in the pixels of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

__all__ = ["regions_of"]

_CORNERS = 64
"""Of an ellipse, so that it is right to a thousandth."""
_AREAS = ("rectangle", "polygon", "ellipse")


def regions_of(shapes: Shapes, over: Image, point: Any) -> list[list[tuple[float, float]]]:
    """Return the areas of a layer as corners (y, x) in pixels of an image; lines are none.

    Parameters
    ----------
    shapes
        Layer with what was drawn.
    over
        Image whose pixels are meant.
    point
        Of the viewer's axes in view (world), for axes that the shapes do not have.
    """
    found = []
    for data, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if str(kind) not in _AREAS:
            continue
        corners = np.asarray(data, float)
        if str(kind) == "ellipse":
            # Four corners of the box around it, in order.
            middle, turns = corners.mean(axis=0), np.linspace(0, 2 * np.pi, _CORNERS, False)
            one, other = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
            corners = middle + np.outer(np.cos(turns), one) + np.outer(np.sin(turns), other)
        polygon = []
        for corner in corners:
            world = np.asarray(point, dtype=float)
            world[-shapes.ndim :] = shapes.data_to_world(corner)
            y, x = over.world_to_data(world[-over.ndim :])[-2:]
            polygon.append((float(y), float(x)))
        found.append(polygon)
    return found
