"""Train an encoder on pictures, by their labels or without, and write its folder."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dask
import numpy as np

from napari_virtualstain.datasets.labelled import CHANNEL, LabelledSet, classes_of, label_up
from napari_virtualstain.datasets.split import split_by_group
from napari_virtualstain.embedding.crops import central_crops
from napari_virtualstain.encoders.base import Classifier, Encoder
from napari_virtualstain.encoders.card import EncoderCard, EncoderChannel
from napari_virtualstain.encoders.given import repeated
from napari_virtualstain.encoders.package import save_encoder
from napari_virtualstain.encoders.registry import build_encoder, get_encoder_spec
from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.inference.memory import keep_freed_memory
from napari_virtualstain.intensity import Rule
from napari_virtualstain.io.origin import TrainingReport
from napari_virtualstain.jobs.base import Progress, stage, versions
from napari_virtualstain.jobs.encoder_recipes import known_pictures, simulated_pictures
from napari_virtualstain.jobs.labelled_images import PictureData, open_pictures
from napari_virtualstain.jobs.training_run import (
    TrainResult,
    check_training_output,
    devices_of,
    training_folder,
)
from napari_virtualstain.training.loop import TrainingResult, learn
from napari_virtualstain.training.seeing import Classifying, Viewing
from napari_virtualstain.training.settings import LoopSettings, ViewSettings, learning_settings
from napari_virtualstain.zoo import load_encoder

if TYPE_CHECKING:
    from napari_virtualstain.encoders.base import EncoderSpec
    from napari_virtualstain.jobs.train import TrainSettings

__all__ = ["train_encoder", "train_on_pictures"]

_PAIR = 2
"""Pictures of a class: one to teach, one to examine."""
_ONLY_PAINTING = (
    "target", "pairs", "stains", "channel", "illumination", "perceptual", "denoised_targets",
    "at_once", "sampler", "foreground", "one_model_a_stain",
)  # fmt: skip
"""Settings that no encoder has."""


def train_encoder(
    settings: TrainSettings,
    *,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train on a user's images, on a public set, or on simulated plates.

    Raises
    ------
    VirtualStainError
        If images, labels, settings or output do not fit.
    """
    spec = get_encoder_spec(settings.encoder or "")
    _check(settings, spec)
    check_training_output(settings.out, resume=settings.resume, overwrite=settings.overwrite)
    label = _label(settings, spec)
    _build(settings, spec, channels=max(1, len(settings.channels)), classes=_PAIR)
    if settings.data is not None:
        data = known_pictures(settings.data, channels=settings.channels, label=label)
    elif settings.input:
        data = open_pictures(settings, settings, ndim=spec.ndim, label=label)
    else:
        data = simulated_pictures(
            settings.fields, label=label, ndim=spec.ndim, channels=settings.channels,
            split_by=settings.split_by, told=stage(on_progress, "fields made ready"),
        )  # fmt: skip
    return train_on_pictures(data, settings, on_progress=on_progress, should_stop=should_stop)


def _label(settings: TrainSettings, spec: EncoderSpec) -> str:
    """Return what pictures are to be called by, ``""`` where it does not matter."""
    if settings.label is not None:
        return settings.label
    own = settings.input or settings.data is not None
    needless = spec.learns == "views" and settings.labels is None and bool(own)
    return "" if needless else "treatment"


def _check(settings: TrainSettings, spec: EncoderSpec) -> None:
    stated = [n for n in _ONLY_PAINTING if n in settings.model_fields_set and getattr(settings, n)]
    if stated:
        raise SettingsError(
            f"--{stated[0].replace('_', '-')} is for what paints, and {spec.name} is an encoder. "
            "Leave it out; --channels, --labels and --label say what an encoder sees."
        )
    if settings.together and settings.label == CHANNEL:
        raise SettingsError(
            f"With --label {CHANNEL} each channel is looked at by itself, to tell which it is. "
            "Leave out --together."
        )
    if settings.label == CHANNEL and _stated_set(settings):
        raise SettingsError(
            "Which channel a picture is of cannot be learnt from grey values that were normalised "
            "by its name. Leave out --normalise-stains-on set: each picture is normalised by "
            "itself."
        )
    if settings.data is None and not settings.input and settings.recipe is None:
        raise SettingsError(
            "There are no images to learn from. Name plates, images or folders with --input, or a "
            "--recipe, for example wsdino."
        )
    encoder = _build(settings, spec, channels=1, classes=_PAIR)
    step, least = encoder.multiple_of, encoder.smallest
    edges = {"--patch": settings.patch}
    if spec.learns != "classes" and settings.narrow_views:
        edges["--narrow-patch"] = settings.narrow_patch
    for option, edge in edges.items():
        if edge % step or edge < least:
            raise SettingsError(
                f"A crop of {edge} px does not fit {spec.name}, whose edges are multiples of "
                f"{step} px, at least {least}. Use for example "
                f"{option} {max(least, round(edge / step) * step)}."
            )


def _stated_set(settings: TrainSettings) -> bool:
    stated = "normalise_stains_on" in settings.model_fields_set
    return stated and settings.normalise_stains_on == "set"


def _crop(settings: TrainSettings, spec: EncoderSpec) -> tuple[int, ...]:
    flat = (settings.patch, settings.patch)
    return flat if spec.ndim == len(flat) else (settings.patch_z, *flat)


def _build(settings: TrainSettings, spec: EncoderSpec, *, channels: int, classes: int) -> Encoder:
    """Return the encoder before its training: with random weights, or those of another."""
    n = channels if settings.together else 1
    told = classes if spec.learns == "classes" else 0
    if settings.start is None:
        return build_encoder(
            spec.name, in_channels=n, classes=told, preset=settings.preset, seed=settings.seed
        )
    model = load_encoder(settings.start)
    card = model.card
    theirs_spec = get_encoder_spec(card.encoder)
    classify = (theirs_spec.learns == "classes", spec.learns == "classes")
    if theirs_spec.ndim != spec.ndim or len(set(classify)) > 1:
        raise ModelPackageError(
            f"The encoder {card.name!r} is a {card.encoder}, whose network is another than that of "
            f"{spec.name}. Start from one of the same kind."
        )
    if settings.together and card.in_channels != n:
        raise ModelPackageError(
            f"The encoder {card.name!r} takes {card.in_channels} channels, and this training has "
            f"{n}. Start from another, or leave out --together."
        )
    built = build_encoder(
        spec.name, in_channels=card.in_channels, classes=told, architecture=card.architecture,
        seed=settings.seed,
    )  # fmt: skip
    theirs, ours = model.encoder.module().state_dict(), built.module().state_dict()
    # What tells other classes apart is of no use; what sees is.
    last = {name for name in ours if name.startswith(("fc.", "_fc."))}
    apart = [
        name
        for name in {**ours, **theirs}
        if name not in last
        and (name not in ours or name not in theirs or ours[name].shape != theirs[name].shape)
    ]
    if apart:
        raise ModelPackageError(
            f"The encoder {card.name!r} has another network than {spec.name}: {len(apart)} of its "
            f"parts differ, for example {apart[0]}. Start from one of the same kind."
        )
    built.module().load_state_dict({**theirs, **{name: ours[name] for name in last}})
    return built


def train_on_pictures(
    data: PictureData,
    settings: TrainSettings,
    *,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train an encoder on pictures that are open already.

    Parameters
    ----------
    data
        Pictures and what to say of them.
    settings
        ``input``, ``data`` and ``recipe`` are not looked at.
    on_progress
        Told of pictures looked at and of steps done.
    should_stop
        Asked after each step.

    Raises
    ------
    VirtualStainError
        If settings or output do not fit the pictures.
    """
    spec = get_encoder_spec(settings.encoder or "")
    check_training_output(settings.out, resume=settings.resume, overwrite=settings.overwrite)
    devices = devices_of(settings.device)
    if len(devices) > 1:
        raise SettingsError("An encoder is trained on one device. Name one with --device.")
    keep_freed_memory()
    named = data.label not in ("", CHANNEL)
    classes = classes_of([picture.label for picture in data.pictures]) if named else ()
    teach, hold, said = _split(data, settings, spec)
    on = "field" if data.label == CHANNEL else settings.normalise_stains_on
    told: dict[str, Any] = {
        "channels": data.channels, "per_channel": not settings.together, "classes": classes,
        "rule": Rule(), "normalise_on": on,
    }  # fmt: skip
    with dask.config.set(scheduler="synchronous"):
        train = label_up(
            [data.pictures[i] for i in teach],
            label="" if spec.learns == "views" else data.label,
            on_picture=stage(on_progress, "pictures looked at"), **told,
        )  # fmt: skip
        held = None
        if hold:
            held = label_up(
                [data.pictures[i] for i in hold], label=data.label, stored=train.stored or None,
                **told,
            )  # fmt: skip
        encoder = _build(settings, spec, channels=len(data.channels), classes=len(train.classes))
        loop = LoopSettings.model_validate(
            {name: getattr(settings, name) for name in LoopSettings.model_fields}
        )
        if spec.learns != "classes" and "ema" not in settings.model_fields_set:
            loop = loop.model_copy(update={"ema": 0.0})  # the teacher is an average already
        crop = _crop(settings, spec)
        task: Viewing | Classifying
        if spec.learns == "classes":
            task = Classifying(cast(Classifier, encoder), train, loop, validation=held, crop=crop)
        else:
            views = ViewSettings.model_validate(
                {name: getattr(settings, name) for name in ViewSettings.model_fields}
            )
            task = Viewing(
                encoder, train, loop, validation=held, crop=crop, views=views,
                weak=spec.learns == "labelled views",
            )  # fmt: skip
        folder = training_folder(settings.out)
        result = learn(
            task, loop, folder=folder, resume=settings.resume, devices=devices,
            on_step=on_progress, should_stop=should_stop,
        )  # fmt: skip
        notes = (*data.notes, *said, *_notes(train))
        if result.finished:
            encoder.module().to("cpu").requires_grad_(True)
            card = _describe(data, train, settings, loop, result, encoder, held)
            pictures = train.read(0, central_crops(train.shape(0), crop)[0])
            save_encoder(settings.out, card, encoder, repeated(pictures[None], card.in_channels))
            shutil.copy(folder / "log.csv", Path(settings.out) / "training.csv")
            # What is left of a training says that it was not finished.
            (folder / "checkpoint.pt").unlink(missing_ok=True)
    scores = dict(zip(task.names, result.best.scores, strict=True)) if result.best else {}
    return TrainResult(
        out=Path(settings.out), finished=result.finished, steps=result.steps,
        seconds=result.seconds, validation_loss=result.best.loss if result.best else None,
        validation_scores=scores, notes=notes,
    )  # fmt: skip


def _split(
    data: PictureData, settings: TrainSettings, spec: EncoderSpec
) -> tuple[list[int], list[int], tuple[str, ...]]:
    """Return which pictures teach and which examine, and what to say of it.

    Without labels nothing can be examined. A group whose classes would have too few pictures left
    to be taught by does not examine.
    """
    everything = list(range(len(data.pictures)))
    if not data.label or not settings.validation:
        return everything, [], ()
    labels = [picture.label for picture in data.pictures]
    groups = [picture.group or picture.name for picture in data.pictures]
    least = _PAIR if spec.learns == "labelled views" else 1
    left = Counter(labels)
    alone = [name for name, count in left.items() if name is not None and count < _PAIR]
    if alone:
        raise SettingsError(
            f"The class {alone[0]!r} has one picture, which cannot both teach and examine. Give "
            "more pictures of it, leave it out of --labels, or use --validation 0."
        )
    _, chosen = split_by_group(groups, validation=settings.validation, seed=settings.seed)
    wanted = list(dict.fromkeys(groups[n] for n in chosen))
    hold: list[int] = []
    for group in wanted:
        members = [n for n in everything if groups[n] == group]
        taken = Counter(labels[n] for n in members)
        if all(left[name] - count >= least for name, count in taken.items() if name is not None):
            left -= taken
            hold += members
    notes: list[str] = []
    if len(hold) < len(chosen) and spec.learns != "views" and data.label != CHANNEL:
        notes.append(
            f"{len(hold)} pictures examine and not {len(chosen)}, since some classes have too few "
            "to be taught by"
        )
    return [n for n in everything if n not in set(hold)], sorted(hold), tuple(notes)


def _notes(train: LabelledSet) -> tuple[str, ...]:
    found = []
    if train.left_out:
        what = "channels" if train.examples[0].channel is not None else "pictures"
        found.append(f"{train.left_out} {what} with missing (NaN) pixels were left out")
    return tuple(found)


def _describe(
    data: PictureData,
    train: LabelledSet,
    settings: TrainSettings,
    loop: LoopSettings,
    result: TrainingResult,
    encoder: Encoder,
    held: LabelledSet | None,
) -> EncoderCard:
    spec = get_encoder_spec(settings.encoder or "")
    architecture = dict(spec.presets.get(settings.preset, {}))
    if settings.start is not None:
        architecture = dict(load_encoder(settings.start).card.architecture)
    stored = train.stored or (None,) * len(train.channels)
    told = {"title", "description", "licence", "citation", "limits"} & set(data.card)
    size = data.card.get("pixel_size_um")
    by = data.label if spec.learns != "views" else ""
    return EncoderCard(
        name=Path(settings.out).name,
        encoder=spec.name,
        architecture=architecture,
        in_channels=encoder.in_channels,
        per_channel=not settings.together,
        channels=tuple(
            EncoderChannel(name=name, normalisation=norm)
            for name, norm in zip(train.channels, stored, strict=True)
        ),
        crop_px=_crop(settings, spec),
        pixel_size_um=None if size is None else float(size),
        label=by,
        classes=train.classes if spec.learns == "classes" else (),
        training=TrainingReport(
            recipe=settings.recipe or "own images",
            data=str(data.card.get("data", "")),
            n_fields=len(train.pictures),
            n_validation_fields=0 if held is None else len(held.pictures),
            steps=result.steps,
            seed=settings.seed,
            loss="cross-entropy" if spec.learns == "classes" else "distillation",
            settings={
                **{name: getattr(loop, name) for name in LoopSettings.model_fields},
                **{name: getattr(settings, name) for name in ViewSettings.model_fields},
                **learning_settings(encoder.learning, loop).model_dump(mode="json"),
                "validation_scores": _scores(result),
            },
            versions=versions(),
        ),
        **{key: data.card[key] for key in told},
    )


def _scores(result: TrainingResult) -> list[float] | None:
    if result.best is None:
        return None
    return [round(score, 4) for score in result.best.scores if np.isfinite(score)]
