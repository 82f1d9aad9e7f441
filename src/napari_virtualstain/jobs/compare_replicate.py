"""What would a second measurement of the same stain score? No model can be asked for more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.compare import compare_planes, grid_of, grid_words
from napari_virtualstain.jobs.evaluation import ChannelScore
from napari_virtualstain.jobs.matched_channels import match_channels, open_truth

__all__ = ["open_replicate", "with_ceiling"]

_EQUAL = 1e-9
"""No two measurements are as alike as this: a correlation of 1, but for rounding."""


def open_replicate(path: str, target: LazyImage, truths: Sequence[str]) -> LazyImage:
    """Open a second measurement of true stains.

    Parameters
    ----------
    path
        File or folder.
    target
        The first, whole.
    truths
        Channels of it that are compared.

    Raises
    ------
    VirtualStainError
        If it cannot be opened, has other sizes, or none of the stains.
    """
    image = open_truth(path, truths).with_gaps()
    if grid_of(image) != grid_of(target):
        raise PixelDataError(
            f"The replicate has {grid_words(image)} and the target {grid_words(target)}. Give a "
            "second measurement of the same field with --replicate."
        )
    match_channels(target.select(list(truths)), image, [])
    return image


def with_ceiling(
    scores: Sequence[ChannelScore],
    target: LazyImage,
    replicate: LazyImage,
    *,
    on_plane: Callable[[int, int], object] | None = None,
) -> tuple[list[ChannelScore], list[str]]:
    """Add to scores what the replicate scores against the same truth.

    Parameters
    ----------
    scores
        Of the prediction.
    target, replicate
        Of one size: the part that is compared.
    on_plane
        Told of planes done, and how many there are.

    Returns
    -------
    scores, notes
        Scores with ``ceiling_pcc`` and ``ceiling_ssim`` where the replicate has the stain.
    """
    truths = [score.target for score in scores]
    there = dict(match_channels(target.select(truths), replicate, []))
    places = list(product(range(target.shape[0]), range(target.shape[2])))
    total = len(there) * len(places)
    done, found, notes = 0, [], []
    for score in scores:
        if score.target not in there:
            notes.append(f"{score.stain}: no ceiling, the replicate has no such stain")
            found.append(score)
            continue
        rows = []
        for t, z in places:
            names = (there[score.target], score.target)
            rows.append(compare_planes(replicate, target, None, names, t, z))
            done += 1
            if on_plane is not None:
                on_plane(done, total)
        pcc, ssim = (
            _mean([row.compared.pearson for row in rows]), _mean([row.ssim for row in rows]),
        )  # fmt: skip
        found.append(replace(score, ceiling_pcc=pcc, ceiling_ssim=ssim))
        if pcc is not None and pcc > 1 - _EQUAL:
            notes.append(
                f"{score.stain}: the replicate is the truth itself, which is no ceiling; give "
                "another measurement with --replicate"
            )
    return found, notes


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None
