"""Other programs that read what is written here: pixels, sizes and names, as they find them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a program found: (T, C, Z, Y, X), steps along t, z, y and x, names if it tells them."""

    pixels: np.ndarray
    steps: tuple[float | None, ...]
    names: tuple[str, ...] | None


def _ngff_zarr(path: Path) -> Read:
    import ngff_zarr

    image = ngff_zarr.from_ngff_zarr(str(path)).images[0]
    assert tuple(image.dims) == tuple("tczyx")
    assert {image.axes_units[axis] for axis in "zyx"} == {"micrometer"}
    steps = tuple(float(image.scale[axis]) for axis in "tzyx")
    return Read(pixels=np.asarray(image.data), steps=steps, names=None)


def _ome_zarr(path: Path) -> Read:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    node = next(iter(Reader(parse_url(str(path)))()))
    found = node.metadata["coordinateTransformations"][0]
    t, _, z, y, x = next(one["scale"] for one in found if one["type"] == "scale")
    names = tuple(node.metadata["channel_names"])
    return Read(pixels=np.asarray(node.data[0]), steps=(t, z, y, x), names=names)


def _bioio(path: Path) -> Read:
    from bioio import BioImage

    # By itself it goes by the ending, which a field of a plate has not.
    which = "bioio_ome_zarr" if path.is_dir() else "bioio_ome_tiff"
    image = BioImage(path, reader=import_module(which).Reader)
    size, interval = image.physical_pixel_sizes, image.time_interval
    # Its reader of OME-TIFF does not look at the interval.
    t = None if interval is None else float(getattr(interval, "total_seconds", lambda: interval)())
    return Read(
        pixels=np.asarray(image.data),
        steps=(t, size.Z, size.Y, size.X),
        names=tuple(str(name) for name in image.channel_names),
    )


def _tifffile(path: Path) -> Read:
    import tifffile

    with tifffile.TiffFile(path) as file:
        pixels, letters = file.series[0].asarray(), file.series[0].axes
        said: dict[str, Any] = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    pixels = pixels[tuple(slice(None) if axis in letters else None for axis in "TCZYX")]
    channels = said["Channel"] if isinstance(said["Channel"], list) else [said["Channel"]]
    keys = ("TimeIncrement", *(f"PhysicalSize{axis}" for axis in "ZYX"))
    assert {said.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"} == {"µm"}
    return Read(
        pixels=pixels,
        steps=tuple(said.get(key) for key in keys),
        names=tuple(channel["Name"] for channel in channels),
    )


_READERS: dict[tuple[str, str], tuple[tuple[str, ...], Callable[[Path], Read]]] = {
    ("ngff-zarr", ".ome.zarr"): (("ngff_zarr",), _ngff_zarr),
    ("ome-zarr", ".ome.zarr"): (("ome_zarr",), _ome_zarr),
    ("bioio", ".ome.zarr"): (("bioio", "bioio_ome_zarr"), _bioio),
    ("bioio", ".ome.tif"): (("bioio", "bioio_ome_tiff"), _bioio),
    ("tifffile", ".ome.tif"): (("tifffile",), _tifffile),
}
PEERS = [pytest.param(*key, id=f"{key[0]}{key[1]}") for key in _READERS]
"""Program and ending of a file."""


def read_with(program: str, ending: str, path: Path) -> Read:
    """Read a file with another program; the test is skipped where that is not installed."""
    modules, read = _READERS[program, ending]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        for module in modules:
            pytest.importorskip(module)
        return read(path)
