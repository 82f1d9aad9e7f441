"""What the pixels of an image are like, in one pass, remembered by image.

The pass reads each chunk once and holds one chunk at a time. Results are kept
under the identity of the image (files, sizes, modification times), so that a
second run on the same field starts at once, and a changed file is read anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import platformdirs
from pydantic import TypeAdapter, ValidationError

from napari_virtualstain.intensity import PixelStatistics, StatisticsAccumulator
from napari_virtualstain.io.image import LazyImage

__all__ = ["cache_folder", "image_statistics"]

_TABLE = TypeAdapter(list[list[list[PixelStatistics]]])
_VERSION = 1


def cache_folder() -> Path:
    """Return where statistics are remembered; `NVS_CACHE` overrides it."""
    override = os.environ.get("NVS_CACHE")
    return Path(override) if override else platformdirs.user_cache_path("napari-virtualstain")


def image_statistics(
    image: LazyImage,
    *,
    quantiles: tuple[float, ...] = (),
    on_block: Callable[[int, int], None] | None = None,
) -> list[list[list[PixelStatistics]]]:
    """Gather the statistics of every plane of an image.

    Parameters
    ----------
    image
        (T, C, Z, Y, X).
    quantiles
        Probabilities (0 to 1) to report beside mean, SD and range.
    on_block
        Called with blocks done and blocks in all.

    Returns
    -------
    list
        Indexed ``[t][c][z]``.
    """
    key = _key(image, quantiles)
    if key is not None and (known := _remembered(key)) is not None:
        return known
    result = _gather(image, quantiles, on_block)
    if key is not None:
        _remember(key, result)
    return result


def _gather(
    image: LazyImage,
    quantiles: tuple[float, ...],
    on_block: Callable[[int, int], None] | None,
) -> list[list[list[PixelStatistics]]]:
    n_t, n_c, n_z, _, _ = image.shape
    edges = [np.cumsum([0, *sizes]) for sizes in image.data.chunks]
    pieces = [[slice(int(a), int(b)) for a, b in pairwise(e)] for e in edges]
    total, done = int(np.prod([len(p) for p in pieces])), 0
    table: dict[tuple[int, int, int], PixelStatistics] = {}
    # Planes outside, blocks of the plane inside: one accumulator a plane of a chunk.
    for planes in product(*pieces[:3]):
        inside = [
            (t, c, z) for t, c, z in product(*(range(part.start, part.stop) for part in planes))
        ]
        gather = {plane: StatisticsAccumulator(quantiles) for plane in inside}
        for window in product(*pieces[3:]):
            block = image.read((*planes, *window))
            for t, c, z in inside:
                pixels = block[t - planes[0].start, c - planes[1].start, z - planes[2].start]
                gather[t, c, z].add(pixels)
            done += 1
            if on_block is not None:
                on_block(done, total)
        table.update({plane: accumulator.result() for plane, accumulator in gather.items()})
    return [[[table[t, c, z] for z in range(n_z)] for c in range(n_c)] for t in range(n_t)]


def _key(image: LazyImage, quantiles: tuple[float, ...]) -> str | None:
    identity = image.source.identity()
    if identity is None:
        return None
    # The dask name tells a selection of channels or planes from the whole image.
    parts = [_VERSION, identity, image.data.name, image.shape, str(image.dtype), quantiles]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _remembered(key: str) -> list[list[list[PixelStatistics]]] | None:
    try:
        return _TABLE.validate_json((cache_folder() / "statistics" / f"{key}.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _remember(key: str, result: list[list[list[PixelStatistics]]]) -> None:
    folder = cache_folder() / "statistics"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / f"{key}.{os.getpid()}"
        scratch.write_bytes(_TABLE.dump_json(result))
        scratch.replace(folder / f"{key}.json")
    except OSError:
        return  # a cache that cannot be written costs time, nothing else
