"""Which chunks of an array of a zarr store are not there.

A chunk that is not there reads as the fill value. Programs also leave out
chunks that hold nothing else, so that one alone proves nothing: it is counted
and said. A plane of which no chunk is there was never written.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOLDERS", "MANY", "Gaps", "gaps_of"]

MANY = 16_384
"""Chunks of an array up to which its folder is listed; beyond it takes seconds."""
FOLDERS = 1024
"""Folders below it up to which that is done: on a share each costs a millisecond."""
_KEY = re.compile(r"(?:c[/.])?(\d+(?:[/.]\d+)*)")

Index = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Gaps:
    """What an array lacks.

    Parameters
    ----------
    planes
        Of the array's shape with one pixel along Y and X: where nothing of a plane is stored.
    chunks
        How many chunks of the other planes are not stored.
    total
        How many there are.
    """

    planes: NDArray[np.bool_]
    chunks: int
    total: int


def gaps_of(array: Any, folder: Path) -> Gaps | None:
    """Return what an array lacks whose last two axes are Y and X.

    Parameters
    ----------
    array
        Of zarr; where chunks lie together in shards, those are what is counted.
    folder
        That it lies in, on this computer.

    Returns
    -------
    Gaps or None
        `None` where nothing lacks, where listing would take long (`MANY`, `FOLDERS`), or where
        the chunks are named in no known way.
    """
    chunks = array.shards or array.chunks
    counts = tuple(math.ceil(n / c) for n, c in zip(array.shape, chunks, strict=True))
    total = math.prod(counts)
    if len(counts) < 2 or not 0 < total <= MANY or _folders(array, counts) > FOLDERS:
        return None
    there = set()
    for key in _files(folder):
        found = _KEY.fullmatch(key)
        if found is None:
            continue
        index = tuple(int(n) for n in re.split(r"[/.]", found[1]))
        if len(index) == len(counts) and all(i < n for i, n in zip(index, counts, strict=True)):
            there.add(index)
    if not there and any(_files(folder)):
        return None
    if len(there) == total:
        return None
    stored = np.zeros(counts, np.bool_)
    stored[tuple(np.array(sorted(there), np.intp).reshape(-1, len(counts)).T)] = True
    empty: NDArray[np.bool_] = ~np.any(stored, axis=(-2, -1), keepdims=True)[
        ..., 0, 0
    ]  # by chunk along the other axes
    planes = empty
    for axis, (n, c) in enumerate(zip(array.shape[:-2], chunks[:-2], strict=True)):
        planes = np.take(planes, np.arange(n) // c, axis=axis)
    scattered = total - len(there) - int(empty.sum()) * counts[-2] * counts[-1]
    return Gaps(planes[..., None, None], scattered, total)


def _folders(array: Any, counts: Index) -> int:
    """Return how many folders hold the chunks of an array that lacks none."""
    metadata = array.metadata
    encoding = getattr(metadata, "chunk_key_encoding", None)
    between = getattr(encoding, "separator", None) or getattr(metadata, "dimension_separator", "/")
    return sum(math.prod(counts[:n]) for n in range(len(counts))) if between == "/" else 1


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of the chunks below the folder of an array, with ``/``."""
    for where, _, names in os.walk(folder):
        inner = os.path.relpath(where, folder).replace(os.sep, "/")
        for name in names:
            if not name.startswith((".", "zarr.json")):
                yield name if inner == "." else f"{inner}/{name}"
