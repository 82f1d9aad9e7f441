"""Where does a check see something, as labels over the prediction: to look at, and to paint on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.io.open import open_image
from napari_virtualstain.napari_io.regions import regions_of
from napari_virtualstain.objects.polygons import inside

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Shapes

__all__ = ["MARKED", "drawn_plane", "marks_of", "over_image", "painted_plane", "write_marks"]

MARKED = "#ff8c1a"
"""Orange: no stain of Cell Painting is, and it stands out of grey."""


def marks_of(store: Path) -> Callable[[], dict[str, NDArray[np.uint8]]]:
    """Return what opens the marks (Y, X) of a field, by the name of the check.

    Parameters
    ----------
    store
        That `virtualstain qc --maps` wrote.

    Returns
    -------
    callable
        To be called in a thread: it reads files.
    """

    def opened() -> dict[str, NDArray[np.uint8]]:
        image = open_image(store)
        pixels = image.read(tuple(slice(0, n) for n in image.shape))[0, :, 0]
        return dict(zip(image.channel_names, pixels.astype(np.uint8), strict=True))

    return opened


def over_image(over: Image, name: str) -> dict[str, Any]:
    """Return the keywords of a ``Labels`` layer of (Y, X) that lies over a layer, marks in orange.

    Parameters
    ----------
    over
        Whose last two axes count.
    name
        Of the layer.
    """
    from napari.utils.colormaps import DirectLabelColormap

    return {
        "name": name,
        "scale": list(np.asarray(over.scale)[-2:]),
        "translate": list(np.asarray(over.translate)[-2:]),
        "units": [str(unit) for unit in over.units[-2:]],
        "axis_labels": [str(label) for label in over.axis_labels[-2:]],
        "colormap": DirectLabelColormap(color_dict={None: MARKED, 0: "transparent", 1: MARKED}),
        "opacity": 0.55,
    }


def painted_plane(layer: Labels) -> NDArray[np.uint8]:
    """Return what is painted in any plane of a layer, as one plane (Y, X) of 0 and 1."""
    data = np.asarray(layer.data[0] if layer.multiscale else layer.data) != 0
    flat: NDArray[np.bool_] = data.any(axis=tuple(range(data.ndim - 2)))
    return flat.astype(np.uint8)


def drawn_plane(shapes: Shapes, over: Image, point: Any) -> NDArray[np.uint8]:
    """Return what lies inside the areas of a layer, in pixels of an image: (Y, X) of 0 and 1.

    Parameters
    ----------
    shapes, over, point
        See `regions.regions_of`.
    """
    data = over.data[0] if over.multiscale else over.data
    rows, columns = data.shape[-2:]
    return inside((int(rows), int(columns)), regions_of(shapes, over, point)).astype(np.uint8)


def write_marks(path: Path, marks: NDArray[np.uint8]) -> None:
    """Write what is marked as a TIFF, which ``--exclude`` takes.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.partial.tif")
        tifffile.imwrite(scratch, marks, metadata={"axes": "YX"}, compression="zlib")
        scratch.replace(path)
