"""Which parts of a field are left out? Those that somebody has painted over: they have no truth.

A fold, a bubble or a dead cell in a true stain teaches what is wrong. What is missing weighs
nothing in losses, scores and normalisations.
"""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image

__all__ = ["leave_out"]


def leave_out(stains: LazyImage, painted: str) -> LazyImage:
    """Return stains that are NaN where a picture is not 0.

    Parameters
    ----------
    stains
        (T, C, Z, Y, X).
    painted
        Path of a picture of the same Y and X, for one or for all time points; what is painted in
        any of its channels and planes counts.

    Returns
    -------
    LazyImage
        Of floats.

    Raises
    ------
    PixelDataError
        If it is of another size, or nothing is left.
    """
    mask = open_image(painted)
    size = (mask.shape[3], mask.shape[4])
    if size != tuple(stains.shape[3:]) or mask.shape[0] not in (1, stains.shape[0]):
        raise PixelDataError(
            f"'{painted}' leaves out parts of {size[0]} x {size[1]} px, and the stains are "
            f"{stains.shape[3]} x {stains.shape[4]} px. Paint on a picture of that very field."
        )
    out = (mask.data != 0).any(axis=(1, 2), keepdims=True)
    if bool(out.all().compute(scheduler="synchronous")):
        raise PixelDataError(
            f"'{painted}' leaves out the whole field. Paint over parts of it, or remove the pair."
        )
    dtype = np.result_type(stains.dtype, np.float32)
    return replace(stains, data=da.where(out, dtype.type(np.nan), stains.data.astype(dtype)))
