"""What the pixels of an image are like, in one pass, remembered by image.

The pass reads each chunk once and holds one chunk at a time. Results are kept
under the identity of the image (files, sizes, modification times) and by time
point, so that a second run on the same field starts at once, a changed file
is read anew, and one frame of a film does not wait for the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import pairwise, product

import numpy as np
from pydantic import TypeAdapter, ValidationError

from napari_virtualstain.intensity import PixelStatistics, StatisticsAccumulator
from napari_virtualstain.io.cache import cache_folder, keep_file
from napari_virtualstain.io.image import LazyImage

__all__ = [
    "cache_folder",
    "image_statistics",
    "joint_is_known",
    "joint_statistics",
    "times_to_measure",
]

_TABLE = TypeAdapter(list[list[PixelStatistics]])
_VERSION = 2


def image_statistics(
    image: LazyImage,
    *,
    times: Sequence[int] | None = None,
    quantiles: tuple[float, ...] = (),
    stacked: bool = False,
    on_block: Callable[[int, int], None] | None = None,
) -> list[list[list[PixelStatistics]]]:
    """Gather the statistics of every plane of an image.

    Parameters
    ----------
    image
        (T, C, Z, Y, X).
    times
        Time points to look at, each once; all if `None`.
    quantiles
        Probabilities (0 to 1) to report beside mean, SD and range.
    stacked
        Whether the z planes of a channel are taken as one; each of them then has the same
        statistics. Quantiles of several planes do not follow from those of each.
    on_block
        Called with blocks done and blocks in all, first of all with none done;
        not at all if everything is remembered.

    Returns
    -------
    list
        Indexed ``[i][c][z]``, ``i`` counting the time points asked for. A plane without data
        has a count of 0.
    """
    chosen = tuple(range(image.shape[0])) if times is None else tuple(times)
    keys = _keys(image, quantiles, chosen, stacked)
    known = {t: found for t in chosen if (found := _remembered(keys[t])) is not None}
    missing = [t for t in chosen if t not in known]
    if missing:
        for t, table in _gather(image, missing, quantiles, on_block, stacked).items():
            known[t] = _results(table, image.shape[2])
            _remember(keys[t], known[t])
    return [known[t] for t in chosen]


def joint_statistics(
    images: Sequence[LazyImage],
    t: int,
    *,
    quantiles: tuple[float, ...] = (),
    stacked: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> list[list[PixelStatistics]]:
    """Gather the statistics of every plane over several images together, as if they were one.

    Parameters
    ----------
    images
        With equal channels and z planes, of one type of pixel. Those of which a plane is missing,
        or holds a pixel that is not finite, are left out.
    t
        Time point.
    quantiles, stacked
        See `image_statistics`.
    on_image
        Called with images done and images in all, first of all with none done; not at all if
        everything is remembered.

    Returns
    -------
    list
        Indexed ``[c][z]``. A plane without data has a count of 0.
    """
    key = _joint_key(images, quantiles, t, stacked)
    known = _remembered(key)
    if known is not None:
        return known
    _, n_c, n_z, _, _ = images[0].shape
    each = 1 if stacked else n_z
    joint = [[StatisticsAccumulator(quantiles) for _ in range(each)] for _ in range(n_c)]
    for number, image in enumerate(images):
        if on_image is not None:
            on_image(number, len(images))
        if any(when == t for when, _, _ in image.missing):
            continue
        found = _gather(image, [t], quantiles, None, stacked)[t]
        if any(plane.result().not_finite for row in found for plane in row):
            continue
        for row, others in zip(joint, found, strict=True):
            for plane, other in zip(row, others, strict=True):
                plane.merge(other)
    if on_image is not None:
        on_image(len(images), len(images))
    result = _results(joint, n_z)
    _remember(key, result)
    return result


def joint_is_known(
    images: Sequence[LazyImage],
    t: int,
    *,
    quantiles: tuple[float, ...] = (),
    stacked: bool = False,
) -> bool:
    """Return whether `joint_statistics` has to read nothing."""
    return _remembered(_joint_key(images, quantiles, t, stacked)) is not None


def times_to_measure(
    image: LazyImage,
    *,
    times: Sequence[int] | None = None,
    quantiles: tuple[float, ...] = (),
    stacked: bool = False,
) -> tuple[int, ...]:
    """Return the time points whose statistics are not remembered; see `image_statistics`."""
    chosen = tuple(range(image.shape[0])) if times is None else tuple(times)
    keys = _keys(image, quantiles, chosen, stacked)
    return tuple(t for t in chosen if _remembered(keys[t]) is None)


def _gather(
    image: LazyImage,
    times: Sequence[int],
    quantiles: tuple[float, ...],
    on_block: Callable[[int, int], None] | None,
    stacked: bool,
) -> dict[int, list[list[StatisticsAccumulator]]]:
    """Return what was gathered by time point, channel and plane; of a stack, one for all planes."""
    _, n_c, n_z, _, _ = image.shape
    edges = [np.cumsum([0, *sizes]) for sizes in image.data.chunks]
    pieces = [[slice(int(a), int(b)) for a, b in pairwise(e)] for e in edges]
    # Of a chunk that holds several time points, those between the first and last asked for.
    asked = [[t for t in times if part.start <= t < part.stop] for part in pieces[0]]
    pieces[0] = [slice(min(some), max(some) + 1) for some in asked if some]
    total, done = int(np.prod([len(p) for p in pieces])), 0
    if on_block is not None:
        on_block(0, total)
    table: dict[tuple[int, int, int], StatisticsAccumulator] = {}
    whole = {(t, c): StatisticsAccumulator(quantiles) for t, c in product(times, range(n_c))}
    missing = set(image.missing)
    # Planes outside, blocks of the plane inside: one accumulator a plane of a chunk.
    for planes in product(*pieces[:3]):
        inside = [
            (t, c, z)
            for t, c, z in product(*(range(part.start, part.stop) for part in planes))
            if t in times
        ]
        gather = {
            (t, c, z): whole[t, c] if stacked else StatisticsAccumulator(quantiles)
            for t, c, z in inside
        }
        for window in product(*pieces[3:]):
            block = image.read((*planes, *window))
            for t, c, z in inside:
                if (t, c, z) in missing:
                    continue
                pixels = block[t - planes[0].start, c - planes[1].start, z - planes[2].start]
                gather[t, c, z].add(pixels)
            done += 1
            if on_block is not None:
                on_block(done, total)
        table.update(gather)
    if stacked:
        return {t: [[whole[t, c]] for c in range(n_c)] for t in times}
    return {t: [[table[t, c, z] for z in range(n_z)] for c in range(n_c)] for t in times}


def _results(table: list[list[StatisticsAccumulator]], planes: int) -> list[list[PixelStatistics]]:
    """Return statistics for each plane, also where one was gathered for all."""
    rows = [[gathered.result() for gathered in row] for row in table]
    return [row * planes if len(row) < planes else row for row in rows]


def _keys(
    image: LazyImage, quantiles: tuple[float, ...], times: Sequence[int], stacked: bool
) -> dict[int, str | None]:
    identity = image.source.identity()
    if identity is None:
        return dict.fromkeys(times)
    # The dask name tells a selection of channels or planes from the whole image.
    parts = [_VERSION, identity, image.data.name, image.shape, str(image.dtype), quantiles]
    parts += ["stacked"] if stacked else []
    return {t: hashlib.sha256(json.dumps([*parts, t]).encode()).hexdigest() for t in times}


def _joint_key(
    images: Sequence[LazyImage], quantiles: tuple[float, ...], t: int, stacked: bool
) -> str | None:
    keys = [_keys(image, quantiles, [t], stacked)[t] for image in images]
    if None in keys:
        return None
    return hashlib.sha256(json.dumps(["joint", keys]).encode()).hexdigest()


def _remembered(key: str | None) -> list[list[PixelStatistics]] | None:
    if key is None:
        return None
    try:
        return _TABLE.validate_json((cache_folder() / "statistics" / f"{key}.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _remember(key: str | None, result: list[list[PixelStatistics]]) -> None:
    if key is None:
        return
    keep_file(cache_folder() / "statistics" / f"{key}.json", _TABLE.dump_json(result))
