"""Were the right things counted? Nuclei and cells as labels, to be looked at over the stain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.measure_field import Measured

__all__ = ["FOLDER", "write_outlines"]

FOLDER = "outlines"
"""Of the stores."""


def write_outlines(out: Path, name: str, found: Sequence[Measured], image: LazyImage) -> str:
    """Write what was found in an image: channels ``nuclei`` and ``cells``, numbers as in the table.

    Parameters
    ----------
    out
        Folder of the tables.
    name
        Of the image.
    found
        A time point each.
    image
        Whose pixel size it has.

    Returns
    -------
    str
        Path of the store below the folder.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    safe = re.sub(r"[^\w.-]+", "_", re.sub(r"(\.ome)?\.zarr", "", name)).strip("_")
    place = f"{FOLDER}/{safe}.ome.zarr"
    channels = ["nuclei", *(["cells"] if found[0].cells is not None else [])]
    size = image.pixel_size_um
    shape = (len(found), len(channels), 1, *found[0].nuclei.shape)
    with OmeZarrSink.create(
        out / place, shape=shape, dtype="int32", n_tiles=len(found), overwrite=True,
        record={"job": "measure"}, pixel_size_um=PixelSize(None, size.y, size.x),
        channels=[Channel(one) for one in channels], time_interval_s=image.time_interval_s,
    ) as sink:  # fmt: skip
        for t, one in enumerate(found):
            both = [one.nuclei] if one.cells is None else [one.nuclei, one.cells]
            at = (slice(t, t + 1), *(slice(0, n) for n in shape[1:]))
            sink.write(at, np.stack(both).astype(np.int32)[None, :, None])
            sink.commit(t)
        sink.finish({})
    return place
