"""Compare a prediction with the truth, channel by channel, beside the floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.datasets.planes import choose_channel
from napari_virtualstain.errors import (
    AxesError,
    PixelDataError,
    VirtualStainError,
)
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import JobSettings, ModelText, PathText, Progress, TimePoint
from napari_virtualstain.jobs.compare import compare_planes, grid_of, grid_words
from napari_virtualstain.jobs.compare_replicate import open_replicate, with_ceiling
from napari_virtualstain.jobs.denoise_record import is_denoised
from napari_virtualstain.jobs.evaluate_objects import check_objects, given_labels, objects_of
from napari_virtualstain.jobs.evaluate_seen import (
    features_of,
    judge_of,
    scores_of_judge,
    scores_of_sets,
)
from napari_virtualstain.jobs.evaluation import (
    Evaluation,
    check_csv,
    doubts_about,
    score_of,
    write_csv,
)
from napari_virtualstain.jobs.listed_images import record_of
from napari_virtualstain.jobs.matched_channels import (
    match_channels,
    open_truth,
    read_match,
    taken_for,
)
from napari_virtualstain.jobs.matched_settings import AXES, MATCH, PATTERN
from napari_virtualstain.jobs.seen_before import Remembered
from napari_virtualstain.jobs.target_shift import seen_to

__all__ = ["EvaluateSettings", "planes_of_run", "run"]


class EvaluateSettings(JobSettings):
    """Settings of `virtualstain evaluate`."""

    prediction: PathText = Field(description="predicted stains, for example stain.ome.zarr")
    target: PathText = Field(description="image with the true fluorescence")
    prediction_scene: str | None = Field(
        default=None, description="which image of the prediction, if there are several"
    )
    brightfield: PathText | None = Field(
        default=None, description="bright field for the floor; that of the run if not given"
    )
    channel: str | None = Field(default=None, description="bright-field channel for the floor")
    replicate: PathText | None = Field(
        default=None,
        description="a second measurement of the true stains of the same field: what it scores is "
        "the ceiling",
    )
    match: tuple[str, ...] = MATCH
    scene: str | None = Field(default=None, description="which image of the target")
    axes: str | None = AXES
    pattern: str | None = PATTERN
    region: tuple[int, int, int, int] | None = Field(
        default=None,
        description="only this part of the image: first row, first column, last row + 1, last "
        "column + 1, in pixels",
    )
    times: tuple[TimePoint, ...] = Field(
        default=(), description="only these time points, from 0; all if not given"
    )
    correct_shift: bool = Field(
        default=False,
        description="move stains of the target that are surely shifted against the prediction",
    )
    perceptual: ModelText | None = Field(
        default=None,
        description="also ask a classifier (name or path of an encoder) how alike prediction and "
        "truth are",
    )
    fid_features: ModelText | None = Field(
        default=None,
        description="also compare the sets of crops of prediction and truth (FID, KID), by these "
        "features: texture, efficientnet-lite0 (extra [fid]), or name or path of an encoder",
    )
    objects: str | None = Field(
        default=None,
        description="predicted stain whose nuclei are compared with the true ones, for example DNA",
    )
    cells: str | None = Field(
        default=None,
        description="compare whole cells instead, found from these nuclei in this predicted stain, "
        "for example AGP or RNA",
    )
    nucleus: tuple[float, float] = Field(
        default=(8.0, 30.0),
        description="least and largest diameter of a nucleus, in micrometres; in pixels where "
        "neither image says how large a pixel is",
    )
    reach: float = Field(
        default=25.0,
        gt=0,
        description="how far a cell can reach from its nucleus, in micrometres (or pixels)",
    )
    iou: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="overlap (intersection over union) from which two objects are the same",
    )
    distance: float | None = Field(
        default=None,
        gt=0,
        description="instead: how far the centres of two objects that are the same may lie apart, "
        "in micrometres (or pixels)",
    )
    predicted_labels: PathText | None = Field(
        default=None,
        description="image with the labels of the predicted nuclei or cells, so that none are "
        "looked for; with --true-labels",
    )
    true_labels: PathText | None = Field(
        default=None, description="the same of the true ones; with --predicted-labels"
    )
    out: PathText | None = Field(
        default=None,
        description="OME-Zarr to write the nuclei or cells to: predicted, true, and what became "
        "of them",
    )
    overwrite: bool = Field(default=False, description="replace --out if it exists")
    csv: PathText | None = Field(default=None, description="also write the table to this file")


def run(settings: EvaluateSettings, *, on_progress: Progress | None = None) -> Evaluation:
    """Compare every predicted channel with its truth.

    Parameters
    ----------
    settings
        Which files.
    on_progress
        Told of planes compared.

    Raises
    ------
    VirtualStainError
        If files cannot be read, sizes differ, or no channel has a truth.
    """
    if settings.csv is not None:
        check_csv(Path(settings.csv))
    check_objects(settings)
    prediction = open_image(settings.prediction, scene=settings.prediction_scene)
    record = record_of(prediction)
    pairs = read_match(prediction.channel_names, settings.match)
    target = open_truth(
        settings.target, prediction.channel_names, scene=settings.scene, axes=settings.axes,
        pattern=settings.pattern, channels=[truth for _, truth in pairs],
    )  # fmt: skip
    # What is missing is not dark: as NaN it counts for nothing, as it does in predictions.
    prediction, target = prediction.with_gaps(), target.with_gaps()
    pairs = match_channels(prediction, target, pairs)
    judge = judge_of(settings.perceptual, prediction, pairs)
    if grid_of(prediction) != grid_of(target):
        raise PixelDataError(
            f"The prediction has {grid_words(prediction)} and the target {grid_words(target)}. "
            "Choose the target of the same field, or another --scene; project or select z planes "
            "first."
        )
    denoised = [truth for _, truth in pairs if is_denoised(settings.target, truth)]
    notes = [*prediction.guesses, *target.guesses, *taken_for(pairs, settings.match)]
    if denoised:
        notes.append(
            f"the truth is denoised ({', '.join(denoised)}), which a smooth stain gains from: give "
            "scores against the raw truth, and these only beside them, labelled"
        )
    replicate = None
    if settings.replicate is not None:
        truths = [truth for _, truth in pairs]
        replicate = _part(open_replicate(settings.replicate, target, truths), settings)
    labels = given_labels(settings, prediction)
    if labels is not None:
        labels = (_part(labels[0], settings), _part(labels[1], settings))
    fits = (target.shape[0], *target.shape[3:])
    prediction, target = (_part(image, settings) for image in (prediction, target))
    features = features_of(settings.fid_features, prediction)
    target, shifts = seen_to(prediction, target, pairs, correct=settings.correct_shift)
    notes += shifts
    planes, note = _brightfield(settings, record)
    planes = None if planes is None else planes.with_gaps()
    remembered = Remembered()
    remembered.add(planes, record, settings.times)
    notes += remembered.notes()
    if planes is not None and (planes.shape[0], *planes.shape[3:]) != fits:
        note = f"no floor: the bright field has {grid_words(planes)}"
        planes = None
    planes = None if planes is None else _part(planes, settings)
    if note:
        notes.append(note)
    n_t, _, n_z, _, _ = prediction.shape
    places = list(product(range(n_t), range(n_z)))
    scores = []
    if on_progress is not None:
        on_progress(0, len(pairs) * len(places), "planes compared")
    for index, (stain, truth) in enumerate(pairs):
        rows = []
        for number, (t, z) in enumerate(places):
            rows.append(compare_planes(prediction, target, planes, (stain, truth), t, z))
            if on_progress is not None:
                on_progress(
                    index * len(places) + number + 1, len(pairs) * len(places), "planes compared"
                )
        score = score_of(stain, truth, rows, with_floor=planes is not None)
        scores.append(replace(score, denoised_truth=truth in denoised))
        notes += doubts_about(scores[-1], rows)
    if replicate is not None:
        scores, said = with_ceiling(
            scores, target, replicate,
            on_plane=lambda done, n: on_progress and on_progress(done, n, "replicate planes"),
        )  # fmt: skip
        notes += said
    seen: dict[str, Any] | None = None
    if judge is not None:
        scores, seen, said = scores_of_judge(judge, prediction, target, pairs, scores, on_progress)
        notes += said
    sets: dict[str, Any] | None = None
    if features is not None:
        scores, sets, said = scores_of_sets(
            features, prediction, target, pairs, scores, on_progress
        )
        notes += said
    objects = None
    if settings.objects is not None:
        objects, said = objects_of(settings, prediction, target, pairs, labels, on_progress)
        notes += said
    result = Evaluation(
        scores=tuple(scores), notes=tuple(notes), perceptual=seen, sets=sets, objects=objects
    )
    if settings.csv is not None:
        write_csv(Path(settings.csv), result)
    return result


def _part(image: LazyImage, settings: EvaluateSettings) -> LazyImage:
    """Return the region and time points that are asked for; gaps have been filled in before."""
    if settings.times:
        n_t = image.shape[0]
        if max(settings.times) >= n_t:
            raise AxesError(
                f"Time point {max(settings.times)} is asked for, and there are {n_t} (0 to "
                f"{n_t - 1}). Choose others with --times."
            )
        image = replace(image, data=image.data[list(settings.times)], missing=())
    if settings.region is None:
        return image
    top, left, bottom, right = settings.region
    return image.crop(slice(top, bottom), slice(left, right))


def _brightfield(
    settings: EvaluateSettings, record: Mapping[str, Any]
) -> tuple[LazyImage | None, str | None]:
    """Open what the floor is fitted on: named, or that of the run; (T, 1, P, Y, X)."""
    if settings.brightfield is not None:
        image = open_image(settings.brightfield)
        like = str(record.get("input", {}).get("channel", "bright field"))
        name, note = choose_channel(image, channel=settings.channel, like=like)
        return image.select([name]), note
    return planes_of_run(record)


def planes_of_run(record: Mapping[str, Any]) -> tuple[LazyImage | None, str | None]:
    """Return the bright field that a run was given, or why there is no floor.

    Parameters
    ----------
    record
        Of the run; empty if nobody knows it.

    Returns
    -------
    planes, note
        (T, 1, P, Y, X), or `None` and a sentence.
    """
    from napari_virtualstain.jobs.prepare import prepare
    from napari_virtualstain.jobs.stain import StainSettings

    absent = "no floor: the bright field of the run is not at hand, give it by --brightfield"
    try:
        # The settings keep the path as it was typed, perhaps relative to another folder.
        typed = {**record["settings"], "input": record["input"]["path"]}
        prepared = prepare(StainSettings.model_validate(typed))
        known = record["input"]["identity"]
    except (VirtualStainError, KeyError, ValueError):
        return None, absent
    if prepared.image.source.identity() != known:
        return None, (
            "no floor: the bright field has changed since the run, or is another file of that "
            "name; give it by --brightfield"
        )
    return prepared.planes.image, None
