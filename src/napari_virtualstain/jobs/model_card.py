"""What a trained model is told to say about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any

from napari_virtualstain.datasets.pairs import PairedSet, gather_statistics
from napari_virtualstain.generators.card import (
    RELATIVE_UNIT,
    InputPlane,
    LabelKind,
    ModelCard,
    Stain,
)
from napari_virtualstain.generators.learning import LearningSettings
from napari_virtualstain.generators.registry import get_spec
from napari_virtualstain.io.colours import stain_colours
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.origin import DenoisedTarget, TrainingReport
from napari_virtualstain.jobs.base import versions
from napari_virtualstain.jobs.seen_before import prints_of_taught
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.training.describe import describe_fields, measure_ranges
from napari_virtualstain.training.loop import TrainingResult
from napari_virtualstain.training.settings import LoopSettings

__all__ = ["describe_model"]

_RELATIVE = (
    "Relative intensity only: each training field was normalised by itself, so that amounts cannot "
    "be read from a stain, and fields cannot be compared by their intensity."
)
_QUANTILES = (0.001, 0.01, 0.5, 0.99, 0.999)


def describe_model(
    data: FieldData,
    train: PairedSet,
    settings: LoopSettings,
    result: TrainingResult,
    *,
    generator: str,
    preset: str,
    learning: LearningSettings,
    recipe: str,
    n_validation: int,
    judge: str | None = None,
    denoised: Mapping[str, DenoisedTarget] = MappingProxyType({}),
    labels: tuple[LabelKind, ...] = (),
    on_field: Callable[[int, int], None] | None = None,
) -> ModelCard:
    """Return the card of a model that was just trained, its files still to be filled in.

    Parameters
    ----------
    data
        What is known of the images.
    train
        The fields that taught, with their normalisations.
    settings
        Of the training loop.
    result
        What the training came to.
    generator, preset
        Method and size of the network.
    learning
        What the method was told.
    recipe
        Name of the recipe, or what stands for it.
    n_validation
        Number of fields that examined.
    judge
        Fingerprint of the encoder to which stains were made to look true, if there was one.
    denoised
        By stain, those that taught without their noise.
    labels
        What the network is told of an image.
    on_field
        Told of training fields whose ranges are measured.
    """
    statistics = gather_statistics((field.planes for field in train.fields), quantiles=_QUANTILES)
    ranges = measure_ranges(train.fields, on_field=on_field)
    offsets = data.card["z_offsets_um"]
    n_stains = len(data.stains)
    pcc = result.best.scores[:n_stains] if result.best else (float("nan"),) * n_stains
    spec = get_spec(generator)
    told_of_method = learning.model_dump(mode="json")
    told = {
        "title", "description", "licence", "citation", "illumination_corrected", "volume", "na",
    }  # fmt: skip
    known = told & set(data.card)
    limits = tuple(data.card.get("limits", ()))
    colours = stain_colours([Channel(name) for name in data.stains])
    return ModelCard(
        name=data.card["name"],
        generator=generator,
        architecture={**spec.presets[preset], **_told(labels)},
        labels=labels,
        inputs=tuple(
            InputPlane(
                channel=data.card["input_channel"],
                z_offset_um=z,
                statistics=s,
                ranges=r,
                typical_contrast=sd,
            )
            for z, s, r, sd in zip(offsets, statistics, ranges, train.typical_contrast, strict=True)
        ),
        stains=tuple(
            Stain(
                name=name,
                colour=colour,
                normalisation=norm,
                unit=RELATIVE_UNIT if train.targets else "camera counts",
                expected_pcc=round(value, 4) if isfinite(value) else None,
            )
            for name, colour, norm, value in zip(
                data.stains, colours, train.outputs, pcc, strict=True
            )
        ),
        pixel_size_um=data.card["pixel_size_um"],
        training=TrainingReport(
            recipe=recipe,
            data=data.card["data"],
            n_fields=len(train.fields),
            n_validation_fields=n_validation,
            steps=result.steps,
            seed=settings.seed,
            loss=settings.loss,
            settings={
                **{name: getattr(settings, name) for name in LoopSettings.model_fields},
                **told_of_method,
                **({} if judge is None else {"perceptual_fingerprint": judge}),
            },
            versions=versions(),
            pairs=None if data.record is None else dict(data.record),
            illumination=data.light,
            denoised=dict(denoised),
            taught=prints_of_taught(data.footprints, (field.name for field in train.fields)),
        ),
        limits=(*limits, *((_RELATIVE,) if train.targets else ())),
        feature_statistics=describe_fields(train.fields),
        **{key: data.card[key] for key in known},
    )


def _told(labels: tuple[LabelKind, ...]) -> dict[str, Any]:
    """Return what a network that is told labels is built with."""
    return {"classes": [len(kind.classes) for kind in labels]} if labels else {}
