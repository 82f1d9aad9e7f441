"""How large, how round and how bright is each object? One row an object, one array a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops_table

__all__ = ["SHAPE_COLUMNS", "measure_objects"]

SHAPE_COLUMNS = (
    "object", "y", "x", "area", "perimeter", "eccentricity", "solidity", "form_factor",
    "touches_border",
)  # fmt: skip
"""Columns of every table, whatever stains there are."""


def measure_objects(
    labels: NDArray[Any], stains: Mapping[str, NDArray[Any]], *, pixel_um: float = 1.0
) -> dict[str, NDArray[Any]]:
    """Return the shape of each object, and how bright each stain is in it.

    Parameters
    ----------
    labels
        (Y, X) whole numbers, 0 is background.
    stains
        Pictures (Y, X) by name; NaN is missing and counts for nothing.
    pixel_um
        Edge of a pixel in micrometres; lengths and areas are in pixels where it is 1.

    Returns
    -------
    dict of str to numpy.ndarray
        Columns of one length: `SHAPE_COLUMNS`, with the centre in micrometres from the first pixel,
        then for each stain ``mean_NAME`` and ``sum_NAME`` over the object, and ``excess_NAME``, the
        sum of what is above the median of the background of the picture.

    Examples
    --------
    >>> labels = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 2]])
    >>> found = measure_objects(labels, {"DNA": labels * 10.0}, pixel_um=0.5)
    >>> found["area"].tolist(), found["sum_DNA"].tolist(), found["touches_border"].tolist()
    ([1.0, 0.25], [40.0, 20.0], [True, True])
    """
    wanted = ("label", "centroid", "area", "perimeter", "eccentricity", "solidity", "bbox")
    found = regionprops_table(np.asarray(labels, np.int32), properties=wanted)
    names, perimeter = found["label"], found["perimeter"] * pixel_um
    area = found["area"] * pixel_um**2
    edges = (found["bbox-0"] == 0) | (found["bbox-1"] == 0)
    edges |= (found["bbox-2"] == labels.shape[0]) | (found["bbox-3"] == labels.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        # Of few pixels a perimeter is too short: nothing is rounder than a disc.
        form = np.minimum(4 * np.pi * area / perimeter**2, 1.0)
    table: dict[str, NDArray[Any]] = {
        "object": names, "y": found["centroid-0"] * pixel_um, "x": found["centroid-1"] * pixel_um,
        "area": area, "perimeter": perimeter, "eccentricity": found["eccentricity"],
        "solidity": found["solidity"], "form_factor": np.where(perimeter > 0, form, np.nan),
        "touches_border": edges,
    }  # fmt: skip
    outside = labels == 0
    for name, picture in stains.items():
        known = np.isfinite(picture)
        values = np.where(known, picture, 0.0)
        counts = np.atleast_1d(ndimage.sum_labels(known, labels, names))
        sums = np.atleast_1d(ndimage.sum_labels(values, labels, names))
        background = picture[outside & known]
        dark = float(np.median(background)) if background.size else float("nan")
        table[f"mean_{name}"] = np.divide(
            sums, counts, out=np.full(len(names), np.nan), where=counts > 0
        )
        table[f"sum_{name}"] = np.where(counts > 0, sums, np.nan)
        table[f"excess_{name}"] = table[f"sum_{name}"] - dark * counts
    return table
