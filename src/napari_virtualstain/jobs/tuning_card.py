"""What does a tuned model say of itself? What it was, what tuned it, and what that did."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.embedding.index_file import INDEX_FILE, write_index
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.card import ModelCard, Stain
from napari_virtualstain.generators.package import Model, save_package
from napari_virtualstain.generators.registry import get_spec
from napari_virtualstain.jobs.base import Progress, stage
from napari_virtualstain.jobs.index_patches import taught_index, with_index
from napari_virtualstain.jobs.model_card import describe_model
from napari_virtualstain.jobs.train import test_part
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.jobs.training_run import training_folder
from napari_virtualstain.training.loop import TrainingResult
from napari_virtualstain.training.settings import LoopSettings, learning_settings

if TYPE_CHECKING:
    from napari_virtualstain.jobs.finetune import FinetuneResult, FinetuneSettings

__all__ = ["save_tuned"]


def save_tuned(
    settings: FinetuneSettings,
    model: Model,
    data: FieldData,
    train: PairedSet,
    held: PairedSet,
    loop: LoopSettings,
    generator: Generator,
    result: TrainingResult,
    found: FinetuneResult,
    *,
    on_progress: Progress | None,
) -> list[str]:
    """Write the tuned model, whose card says what it was, what tuned it, and what that did.

    Returns
    -------
    list
        Notes of what it could not keep.
    """
    base = model.card
    card = describe_model(
        data, train, loop, result, generator=base.generator,
        preset=next(iter(get_spec(base.generator).presets)),
        learning=learning_settings(generator.learning, loop),
        recipe=f"finetune {settings.preset}", n_validation=len(data.fields) - len(train.fields),
        on_field=stage(on_progress, "training fields measured for the card"),
    )  # fmt: skip
    after = {gain.stain: gain.pcc_after for gain in found.gains}
    stains: list[Stain] = []
    for new, old in zip(card.stains, base.stains, strict=True):
        pcc = after.get(new.name, float("nan"))
        unseen = not any(
            np.isfinite(np.asarray(one.stains[len(stains)])).any() for one in train.fields
        )
        stains.append(
            old.model_copy(update={
                "normalisation": old.normalisation if unseen else new.normalisation,
                "expected_pcc": round(pcc, 4) if np.isfinite(pcc) else None,
            })
        )  # fmt: skip
    told = {**card.training.settings, "preset": settings.preset, "rank": settings.rank}
    card = card.model_copy(update={
        "architecture": base.architecture, "stains": tuple(stains), "labels": base.labels,
        "input_rule": base.input_rule, "volume": base.volume, "resize_to": base.resize_to,
        "title": f"{base.title or base.name}, {_made(settings.preset)}", "licence": base.licence,
        "citation": base.citation, "description": base.description,
        "limits": tuple(dict.fromkeys((*base.limits, *card.limits))),
        "training": card.training.model_copy(update={
            "parent": None if settings.preset == "scratch" else model.fingerprint,
            "settings": told,
            "taught": _all_taught(settings.preset, base, card),
            "tuned": {gain.stain: gain.to_json() for gain in found.gains},
        }),
    })  # fmt: skip
    planes, _ = train.read(0, test_part(train.fields[0].shape, generator))
    index, untold = taught_index(
        generator, train, held, name=card.name, stains=data.stains, kept=settings.training_index,
        on_progress=on_progress,
    )  # fmt: skip
    card = with_index(card, index)
    save_package(settings.out, card, generator, planes[None], overwrite=settings.overwrite)
    if index is not None:
        write_index(Path(settings.out) / INDEX_FILE, index)
    folder = training_folder(settings.out)
    if result.steps:
        shutil.copy(folder / "log.csv", Path(settings.out) / "training.csv")
    # What is left of a training says that it was not finished.
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return untold


def _all_taught(preset: str, base: ModelCard, card: ModelCard) -> tuple[str, ...]:
    """Return prints of what tuned and of what taught before; nothing did, from scratch."""
    before = () if preset == "scratch" else base.training.taught
    return tuple(sorted({*before, *card.training.taught}))


def _made(preset: str) -> str:
    return {"scratch": "from scratch", "recalibrate": "recalibrated"}.get(preset, "tuned")
