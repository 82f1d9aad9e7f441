"""Drawn predictions, bright fields and truths as stores, one a field or as plates."""

from __future__ import annotations

import numpy as np
from drawn_cells import PIXEL_UM, STAINS

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.io.sink import OmeZarrSink


def write_image(path, pixels, channels, record=None):
    """Write (T, C, Z, Y, X)."""
    with OmeZarrSink.create(
        path, shape=pixels.shape, dtype="float32", n_tiles=1, record=record or {},
        pixel_size_um=PixelSize(None, PIXEL_UM, PIXEL_UM), channels=channels,
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels.astype(np.float32))
        sink.commit(0)
        sink.finish({})


def stains_of(fields):
    """(T, C, 1, Y, X) of the fields of each time point."""
    return np.stack([np.stack([f.stains[n] for n in STAINS]) for f in fields])[:, :, None]


def write_prediction(path, *fields, record=None):
    write_image(path, stains_of(fields), [Channel(n) for n in STAINS], record)
    return path


def write_source(path, *fields):
    planes = np.stack([f.planes for f in fields])[:, None]
    write_image(path, planes, [Channel("Brightfield", modality="transmitted")])
    return path


def write_plate(path, fields, kind, columns=6):
    """Write one field a well, along the first row; kind is "stains" or "planes"."""
    store = PlateStore(path, name=path.stem, rows=2, columns=columns)
    for column, field in enumerate(fields):
        write = write_prediction if kind == "stains" else write_source
        write(path / field_path(0, column, "0"), field)
        store.add(0, column, "0")
    return path
