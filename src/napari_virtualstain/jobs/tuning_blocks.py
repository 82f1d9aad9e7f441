"""Where fields that did not teach are looked at, block by block, and what models predict there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.metrics.pixel import pearson

__all__ = ["BLOCK", "EDGE", "block_scores", "blocks", "forgotten", "mean_of_known", "predictions"]

BLOCK = 128
"""Edge of a block in pixels; of a smaller field, half of it."""
EDGE = 1024
"""Of a larger field, the middle is examined."""


def blocks(shape: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """Return where the blocks of a field (C, *S) lie."""
    edge = min(BLOCK, min(shape[-2:]) // 2)
    return [
        (..., slice(y, y + edge), slice(x, x + edge))
        for y in range(0, shape[-2] - edge + 1, edge)
        for x in range(0, shape[-1] - edge + 1, edge)
    ]


def predictions(
    pairs: PairedSet,
    generators: tuple[Generator, Generator],
    largest: int = EDGE,
    most: int | None = None,
) -> Iterator[tuple[NDArray[Any], NDArray[Any], tuple[NDArray[Any], NDArray[Any]]]]:
    """Yield planes, true stains in grey values, and what both predict of them, normalised."""
    for number, field in enumerate(pairs.fields[:most]):
        stride = generators[0].multiple_of
        part = []
        for n in field.shape:
            edge = max(min(n, largest) // stride * stride, stride)
            start = max(n - edge, 0) // 2
            part.append(slice(start, start + edge))
        planes, stains = pairs.read(number, tuple(part))
        truth = np.stack([o.invert(s) for o, s in zip(pairs.outputs, stains, strict=True)])
        one = generators[0].predict(planes[None])[0]
        same = generators[1] is generators[0]
        yield planes, truth, (one, one if same else generators[1].predict(planes[None])[0])


def block_scores(after: Generator, held: PairedSet) -> NDArray[np.float64]:
    """Return the correlation of each block of fields that did not teach: (blocks, stains).

    Parameters
    ----------
    after
        A tuned model.
    held
        Fields; NaN of a block without truth.
    """
    rows = []
    for _, truth, (tuned, _) in predictions(held, (after, after)):
        rows += [
            [
                pearson(one[part], true[part]) if np.isfinite(true[part]).any() else np.nan
                for one, true in zip(tuned, truth, strict=True)
            ]
            for part in blocks(truth.shape)
        ]
    return np.array(rows, np.float64)


def forgotten(
    after: Generator, planes: NDArray[np.float32], expected: NDArray[np.float32]
) -> float:
    """Return how alike the tuned model stains what the base model came with: PCC, mean of stains.

    Parameters
    ----------
    after
        The tuned model.
    planes, expected
        Test pair of the base model, (B, P, *S) and (B, C, *S).
    """
    found = after.predict(planes)
    values = [pearson(found[:, c], expected[:, c]) for c in range(expected.shape[1])]
    return mean_of_known(np.array(values))


def mean_of_known(values: NDArray[Any]) -> float:
    """Return the mean of what is a number, NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
