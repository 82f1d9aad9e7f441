"""Where is a prediction unlike its truth? Local SSIM and absolute error, over the field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.compare import read_rows
from napari_virtualstain.metrics.strips import Comparison
from napari_virtualstain.metrics.structure import SSIM_WINDOW, local_ssim

__all__ = ["MAPS", "map_channel", "write_maps"]

MAPS = ("SSIM", "absolute error")
"""What is written of each stain."""
_CHUNK = 512
_STRIP = 1 << 22
"""Pixels of each picture that are held at a time."""


def map_channel(kind: str, stain: str) -> str:
    """Return the name of a channel of the maps.

    Examples
    --------
    >>> map_channel("SSIM", "DNA")
    'SSIM of DNA'
    """
    return f"{kind} of {stain}"


def write_maps(
    prediction: LazyImage,
    target: LazyImage,
    pairs: Sequence[tuple[str, str]],
    out: Path,
    *,
    overwrite: bool = False,
    on_plane: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Write how alike both are around each pixel, plane by plane, in bounded memory.

    Parameters
    ----------
    prediction, target
        Images of one size.
    pairs
        Channel of the prediction, channel of the target.
    out
        OME-Zarr to write to: of each stain the SSIM around each pixel (-1 to 1, relative to the
        range of the truth's plane), and the absolute difference in the unit of the truth. NaN where
        either is missing.
    overwrite
        Whether it may be replaced.
    on_plane
        Told of planes done, and how many there are.

    Raises
    ------
    OutputExistsError, DiskError
        If it cannot be written.

    Notes
    -----
    The mean of the map of a plane is `metrics.structure.ssim`; see there for windows and constants.
    """
    n_t, _, n_z, height, width = prediction.shape
    rows = max(1, _STRIP // width // _CHUNK) * _CHUNK
    strips = [slice(y, min(y + rows, height)) for y in range(0, height, rows)]
    work = list(product(enumerate(pairs), range(n_t), range(n_z)))
    sink = OmeZarrSink.create(
        out,
        shape=(n_t, len(MAPS) * len(pairs), n_z, height, width),
        channels=[Channel(map_channel(kind, stain)) for stain, _ in pairs for kind in MAPS],
        pixel_size_um=prediction.pixel_size_um,
        origin_um=prediction.origin_um,
        time_interval_s=prediction.time_interval_s,
        z_positions_um=prediction.z_positions_um,
        dtype="float32",
        chunks_yx=_CHUNK,
        n_tiles=len(work) * len(strips),
        record={"kind": "local error", "stains": [stain for stain, _ in pairs]},
        overwrite=overwrite,
    )
    on_plane(0, len(work))
    with sink:
        for number, ((index, names), t, z) in enumerate(work):
            channels = prediction.channel_index(names[0]), target.channel_index(names[1])
            both = partial(_both, (prediction, target), channels, t, z)
            seen = Comparison()
            for strip in strips:
                seen.add(*both(strip))
            for part, strip in enumerate(strips):
                maps = _maps(both, strip, height, seen)
                first = len(MAPS) * index
                region = (
                    slice(t, t + 1), slice(first, first + len(MAPS)), slice(z, z + 1), strip,
                    slice(0, width),
                )  # fmt: skip
                sink.write(region, maps[None, :, None])
                sink.commit(number * len(strips) + part)
            on_plane(number + 1, len(work))
        sink.finish({})


def _both(
    images: tuple[LazyImage, LazyImage], channels: tuple[int, int], t: int, z: int, strip: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return rows of one plane of prediction and truth, (y, X) each."""
    p, y = (read_rows(image, t, c, z, strip) for image, c in zip(images, channels, strict=True))
    return p, y


def _maps(
    both: Callable[[slice], tuple[NDArray[np.float32], NDArray[np.float32]]],
    strip: slice,
    height: int,
    seen: Comparison,
) -> NDArray[np.float32]:
    """Return SSIM and absolute error of a strip, (2, y, X)."""
    margin = SSIM_WINDOW - 1
    wide = slice(max(0, strip.start - margin), min(strip.stop + margin, height))
    p, y = both(wide)
    inner = slice(strip.start - wide.start, strip.stop - wide.start)
    found = np.full((len(MAPS), *p[inner].shape), np.nan, np.float32)
    if seen.count and seen.data_range > 0 and min(height, p.shape[1]) >= SSIM_WINDOW:
        found[0] = local_ssim(p, y, range_=seen.data_range, fill=seen.truth_mean)[inner]
    found[1] = np.abs(p[inner] - y[inner])
    return found
