"""What do networks that see say of a prediction? Beside the scores of its pixels.

What needs torch is imported only where it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.base import Progress, stage
from napari_virtualstain.jobs.evaluation import ChannelScore

if TYPE_CHECKING:
    from napari_virtualstain.encoders.package import EncoderModel
    from napari_virtualstain.jobs.compare_sets import Features

__all__ = ["features_of", "judge_of", "scores_of_judge", "scores_of_sets"]

Pairs = Sequence[tuple[str, str]]
"""Channel of the prediction, channel of the target."""
Judged = tuple[list[ChannelScore], dict[str, Any], list[str]]
"""Scores with what is said of them, by whom, and what to know of that."""


def judge_of(name: str | None, prediction: LazyImage, pairs: Pairs) -> EncoderModel | None:
    """Return the classifier that is asked, if one is.

    Raises
    ------
    VirtualStainError
        If it cannot judge these stains.
    """
    if name is None:
        return None
    from napari_virtualstain.jobs.judge import judge_for

    return judge_for(
        name,
        [stain for stain, _ in pairs],
        # Planes of a stack can be judged one by one, a plane is no volume.
        ndim=None if prediction.shape[2] > 1 else 2,
        over="the prediction is one plane",
    )


def scores_of_judge(
    judge: EncoderModel,
    prediction: LazyImage,
    target: LazyImage,
    pairs: Pairs,
    scores: Sequence[ChannelScore],
    on_progress: Progress | None,
) -> Judged:
    """Return the scores with what a classifier says, of which one, and what to know of that."""
    from napari_virtualstain.jobs.compare_features import compare_features

    told = stage(on_progress, "windows seen")
    found = compare_features(prediction, target, pairs, judge, on_window=told)
    numbers = [found.distance.get(score.stain) for score in scores]
    known = [n for n in numbers if n is not None and not np.isnan(n)]
    about = {
        "encoder": found.encoder, "fingerprint": found.fingerprint,
        "window_px": list(found.window_px), "together": found.together,
        "mean": float(np.mean(known)) if known else None,
    }  # fmt: skip
    edges = " x ".join(map(str, found.window_px))
    notes = [f"features are those of {found.encoder!r}, in windows of {edges} px; 0 is alike"]
    if found.together and len(found.distance) > 1:
        notes.append(f"features of {', '.join(found.distance)} are compared together")
    left_out = [score.stain for score in scores if score.stain not in found.distance]
    if left_out:
        notes.append(f"{found.encoder!r} was not trained on {', '.join(left_out)}")
    judged = [
        replace(
            score, perceptual=found.distance.get(score.stain),
            perceptual_misplaced=found.misplaced.get(score.stain),
        )
        for score in scores
    ]  # fmt: skip
    return judged, about, notes


def features_of(name: str | None, prediction: LazyImage) -> Features | None:
    """Return what sets of crops are compared by, if they are.

    Raises
    ------
    VirtualStainError
        If there is no such encoder, its extra is not installed, or there are too few crops.
    """
    if name is None:
        return None
    from napari_virtualstain.jobs.compare_sets import crops_of, features_for

    features = features_for(name)
    crops_of(prediction, features)
    return features


def scores_of_sets(
    features: Features,
    prediction: LazyImage,
    target: LazyImage,
    pairs: Pairs,
    scores: Sequence[ChannelScore],
    on_progress: Progress | None,
) -> Judged:
    """Return the scores with those of sets of crops, by which features, and what to know of it."""
    from napari_virtualstain.jobs.compare_sets import compare_sets

    told = stage(on_progress, "rows of crops seen")
    both = list(
        zip(scores, compare_sets(prediction, target, pairs, features, on_row=told), strict=True)
    )
    about = {**features.to_json(), "crops": {score.stain: one.crops for score, one in both}}
    notes = [features.words]
    doubts: dict[str, list[str]] = {}
    for score, one in both:
        doubts.setdefault(one.doubt, []).append(score.stain)
    notes += [f"{', '.join(names)}: {doubt}" for doubt, names in doubts.items() if doubt]
    return [replace(score, fid=one.fid, kid=one.kid) for score, one in both], about, notes
