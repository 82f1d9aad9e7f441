"""Train a generator on matched fields and write a model folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import dask
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.leakage import find_leaks
from napari_virtualstain.datasets.pairs import PairedField, pair_up
from napari_virtualstain.datasets.split import split_by_group
from napari_virtualstain.denoising.package import read_denoiser_card
from napari_virtualstain.embedding.index_file import INDEX_FILE, write_index
from napari_virtualstain.encoders.package import EncoderModel
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.card import LabelKind, VolumeInput
from napari_virtualstain.generators.labels import find_kinds, number_labels
from napari_virtualstain.generators.package import save_package
from napari_virtualstain.generators.registry import GENERATORS, build_generator
from napari_virtualstain.generators.start import start_from
from napari_virtualstain.inference.memory import keep_freed_memory
from napari_virtualstain.intensity import Rule
from napari_virtualstain.jobs.base import ModelText, PathText, Progress, stage
from napari_virtualstain.jobs.index_patches import taught_index, with_index
from napari_virtualstain.jobs.judge import check_term, term_for
from napari_virtualstain.jobs.known_sets import as_stacks, open_known
from napari_virtualstain.jobs.labelled_images import LabelSettings
from napari_virtualstain.jobs.model_card import describe_model
from napari_virtualstain.jobs.recipes import Recipe, get_recipe
from napari_virtualstain.jobs.train_apart import check_apart, train_apart
from napari_virtualstain.jobs.train_encoder import train_encoder
from napari_virtualstain.jobs.training_denoised import open_denoisers
from napari_virtualstain.jobs.training_fields import (
    FieldData,
    PairSettings,
    check_alike,
    open_pairs,
)
from napari_virtualstain.jobs.training_labels import (
    check_condition,
    label_fields,
    told_labels,
)
from napari_virtualstain.jobs.training_pairs import open_pairs_file
from napari_virtualstain.jobs.training_run import (
    KEPT_OF_DATA,
    KeptOfData,
    TrainResult,
    check_training_output,
    devices_of,
    training_folder,
)
from napari_virtualstain.training.painting import Beside, fit, patch_shape
from napari_virtualstain.training.patches import check_patch
from napari_virtualstain.training.settings import LoopSettings, ViewSettings, learning_settings
from napari_virtualstain.zoo import load_generator

__all__ = ["TrainResult", "TrainSettings", "run", "test_part", "train_on_fields"]

_VOLUME = 3
"""Spatial axes of a network over stacks."""
_TEST_EDGE = 64
"""Of the test pair, in pixels."""


class TrainSettings(LoopSettings, PairSettings, LabelSettings, ViewSettings):
    """Settings of `virtualstain train`."""

    out: PathText = Field(description="model folder to write")
    recipe: str | None = Field(default=None, description="a named training, for example demo")
    fields: int = Field(default=240, ge=1, description="number of fields of a recipe")
    data: PathText | None = Field(
        default=None,
        description="folder of a public set of images that the recipe learns from, instead of "
        "simulated fields",
    )
    generator: str = Field(default="unet", description=f"method: {', '.join(GENERATORS)}")
    preset: str = Field(
        default="small", description="size of the network; `virtualstain models --all` lists them"
    )
    start: ModelText | None = Field(
        default=None,
        description="model whose weights the network starts from, for example a U-Net for a GAN",
    )
    perceptual: ModelText | None = Field(
        default=None, description=LoopSettings.model_fields["perceptual"].description
    )
    denoised_targets: tuple[PathText, ...] = Field(
        default=(), description=LoopSettings.model_fields["denoised_targets"].description
    )
    condition: tuple[str, ...] = Field(
        default=(),
        description="of a generator that is told what was done to an image (guided_i2i): columns "
        "of the table of --labels, for example treatment,cell_line",
    )
    one_model_a_stain: bool = Field(
        default=False,
        description="train a model for each stain, one after the other with the same settings, "
        "instead of one for all; the output is then a folder of models",
    )
    normalise_stains_on: Literal["set", "field"] = Field(
        default="set",
        description="whose pixels normalise the stains: those of all training fields, so that "
        "intensities can be compared, or those of each field alone, as published",
    )
    validation: float = Field(
        default=0.1, ge=0, lt=1, description="share of the fields to validate on"
    )
    training_index: KeptOfData = Field(default="pictures", description=KEPT_OF_DATA)
    device: str = Field(
        default="auto",
        description="auto, cpu, cuda, cuda:1 or mps; several share each batch: cuda:0,cuda:1",
    )
    resume: bool = Field(default=False, description="go on from the last checkpoint")
    overwrite: bool = Field(default=False, description="replace the model if it exists")


def run(
    settings: TrainSettings,
    *,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train on a recipe's fields or on a user's files.

    Raises
    ------
    VirtualStainError
        If files, settings or output do not fit.
    """
    recipe: Recipe | None = None
    stated = {name: getattr(settings, name) for name in settings.model_fields_set}
    if settings.recipe is not None:
        found = get_recipe(settings.recipe)
        settings = TrainSettings.model_validate({**found.settings, **stated})
        if isinstance(found, Recipe):
            recipe = found
    if settings.encoder is not None:
        return train_encoder(settings, on_progress=on_progress, should_stop=should_stop)
    _refuse_labels(settings)
    check_condition(settings)
    if settings.one_model_a_stain:
        check_apart(settings)
    else:
        check_training_output(settings.out, resume=settings.resume, overwrite=settings.overwrite)
    # What can be refused without the images is refused before they are made or read.
    network = _build(settings, 1, 1)
    learning_settings(network.learning, settings)
    for denoiser in settings.denoised_targets:
        read_denoiser_card(denoiser)
    _judge(settings, recipe.stains if recipe is not None and settings.data is None else ())
    if recipe is None or recipe.fits is None:
        check_patch(
            patch_shape(network, settings), multiple_of=network.multiple_of, window=network.window
        )
    if settings.data is not None and recipe is None:
        raise SettingsError(
            "--data is the folder of a public set of images for a --recipe. For images of your "
            "own use --input and --target, or --pairs."
        )
    if recipe is not None:
        _refuse_own_images(settings)
        data = _recipe_data(recipe, settings, network, on_progress)
        if recipe.fits is not None and data.fields:
            smallest = min((field.shape for field in data.fields), key=min)
            fitting = recipe.fits(smallest, network.multiple_of)
            settings = settings.model_copy(
                update={name: v for name, v in fitting.items() if name not in stated}
            )
    elif settings.pairs is not None:
        if network.ndim == _VOLUME:
            raise SettingsError(
                "A pairs file is of planes, and this network is over stacks. Name the stacks with "
                "--input and --target, or choose a --generator over planes."
            )
        data = open_pairs_file(settings, name=Path(settings.out).name)
    else:
        data = open_pairs(settings, name=Path(settings.out).name, volume=network.ndim == _VOLUME)
    if settings.one_model_a_stain:
        return train_apart(
            data, settings, train_on_fields, on_progress=on_progress, should_stop=should_stop
        )
    return train_on_fields(data, settings, on_progress=on_progress, should_stop=should_stop)


def _refuse_labels(settings: TrainSettings) -> None:
    only = [*LabelSettings.model_fields, *ViewSettings.model_fields]
    only.remove("labels")  # of a generator with --condition
    stated = [name for name in only if name in settings.model_fields_set]
    if stated:
        raise SettingsError(
            f"--{stated[0].replace('_', '-')} is for what sees, and a generator paints. Add "
            "--encoder to train an encoder, or leave it out."
        )


def _refuse_own_images(settings: TrainSettings) -> None:
    if settings.input or settings.target or settings.pairs:
        raise SettingsError("A recipe brings its own images. Use --recipe or --input, not both.")
    if settings.illumination:
        raise SettingsError(
            "A recipe brings its own images, which no file of --illumination was fitted on. "
            "Leave it out."
        )


def _recipe_data(
    recipe: Recipe, settings: TrainSettings, network: Generator, on_progress: Progress | None
) -> FieldData:
    """Return what a recipe learns from: a public set of images, or simulated fields."""
    if settings.data is not None:
        data = open_known(settings.data)
        data = replace(data, card={**data.card, "name": Path(settings.out).name})
    else:
        data = FieldData(
            fields=recipe.fields(settings.fields, stage(on_progress, "fields made ready")),
            stains=recipe.stains,
            card=dict(recipe.card),
            label_names=("phenotype",),
        )
    return as_stacks(data, at_least=network.window or 1) if network.ndim == _VOLUME else data


def train_on_fields(
    data: FieldData,
    settings: TrainSettings,
    *,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train on fields that are open already.

    Parameters
    ----------
    data
        Fields and what to say of them.
    settings
        ``input``, ``target`` and ``recipe`` are not looked at.
    on_progress
        Told of steps done.
    should_stop
        Asked after each step.

    Raises
    ------
    VirtualStainError
        If settings or output do not fit the fields.
    """
    check_training_output(settings.out, resume=settings.resume, overwrite=settings.overwrite)
    check_alike(data)
    devices = devices_of(settings.device)
    judge = _judge(settings, data.stains)
    denoisers = open_denoisers(settings.denoised_targets, data.stains)
    folder = training_folder(settings.out)
    keep_freed_memory()
    teach, hold = _split(data, settings)
    kinds: tuple[LabelKind, ...] = ()
    if told_labels(settings):
        data = label_fields(data, settings)
        kinds = find_kinds(data.label_names, [data.fields[i] for i in teach])
    output_rule = Rule(kind="zscore", clip_sd=None)
    input_rule = Rule()
    notes: list[str] = []
    with dask.config.set(scheduler="synchronous"):
        paired = partial(
            pair_up, input_rule=input_rule, output_rule=output_rule, stain_names=data.stains,
            relative=settings.normalise_stains_on == "field",
        )  # fmt: skip
        teaching, examining = ([data.fields[i] for i in some] for some in (teach, hold))
        clean = partial(denoisers.applied, device=devices[0], on_progress=on_progress)
        train = paired(clean(teaching, folder=folder / "teaching") if denoisers else teaching)
        as_taught = partial(paired, outputs=train.outputs, typical_contrast=train.typical_contrast)
        held = as_taught(examining)
        beside = None
        if denoisers and hold:
            twins = clean(examining, folder=folder / "examining")
            beside = Beside(pairs=as_taught(twins), names=denoisers.names)
        n_planes = data.fields[0].planes.shape[0]
        generator = _build(settings, n_planes, len(data.stains), kinds)
        if generator.window is not None:
            stack = data.card.get("volume", VolumeInput())
            stack = stack.model_copy(update={"window": generator.window})
            data = replace(data, card={**data.card, "volume": stack})
        if settings.start is not None:
            start_from(generator, load_generator(settings.start), data.stains)
        loop = {name: getattr(settings, name) for name in LoopSettings.model_fields}
        if judge is not None:  # not by its name, which may come to stand for another
            loop["perceptual"] = judge.fingerprint
        loop["denoised_targets"] = denoisers.fingerprints
        result = fit(
            generator,
            train,
            LoopSettings.model_validate(loop),
            validation=held if hold else None,
            folder=folder,
            stain_names=data.stains,
            term=term_for(judge, settings, data.stains, None if train.targets else train.outputs),
            labels=_numbered(kinds, train.fields) if kinds else None,
            beside=beside,
            resume=settings.resume,
            devices=devices,
            on_step=on_progress,
            should_stop=should_stop,
        )
        scores = result.best.scores if result.best else ()
        compared = dict(zip(denoisers.names, scores[len(data.stains) :], strict=False))
        if result.finished:
            card = describe_model(
                data,
                train,
                settings,
                result,
                generator=settings.generator,
                preset=settings.preset,
                learning=learning_settings(generator.learning, settings),
                recipe=settings.recipe or "own images",
                n_validation=len(hold),
                labels=kinds,
                denoised=denoisers.reported(compared),
                judge=None if judge is None else judge.fingerprint,
                on_field=stage(on_progress, "training fields measured for the card"),
            )
            planes, _ = train.read(0, test_part(train.fields[0].shape, generator))
            generator.module().to("cpu")
            index, untold = taught_index(
                generator, train, held if hold else None, name=card.name, stains=data.stains,
                kept=settings.training_index, on_progress=on_progress,
            )  # fmt: skip
            notes += untold
            card = with_index(card, index)
            save_package(settings.out, card, generator, planes[None], overwrite=settings.overwrite)
            if index is not None:
                write_index(Path(settings.out) / INDEX_FILE, index)
            shutil.copy(folder / "log.csv", Path(settings.out) / "training.csv")
            # What is left of a training says that it was not finished.
            (folder / "checkpoint.pt").unlink(missing_ok=True)
    for name in ("teaching", "examining"):  # of stains without their noise
        shutil.rmtree(folder / name, ignore_errors=True)
    return TrainResult(
        out=Path(settings.out),
        finished=result.finished,
        steps=result.steps,
        seconds=result.seconds,
        validation_loss=result.best.loss if result.best else None,
        validation_pcc=dict(zip(data.stains, scores, strict=False)),
        validation_pcc_denoised={data.stains[n]: value for n, value in compared.items()},
        notes=(*data.notes, *denoisers.notes(data.card["pixel_size_um"]), *notes),
    )


def test_part(shape: tuple[int, ...], generator: Generator) -> Region:
    """Return the part of a field that becomes the test pair."""
    stride = generator.multiple_of
    part = [slice(0, max(1, min(_TEST_EDGE, n) // stride) * stride) for n in shape]
    if generator.window is not None:
        part[0] = slice(0, generator.window)
    return tuple(part)


def _split(data: FieldData, settings: TrainSettings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which fields teach and which examine; refuse fields that would do both."""
    if data.sets is None:
        groups = [field.group or field.name for field in data.fields]
        teach, hold = split_by_group(groups, validation=settings.validation, seed=settings.seed)
    else:
        teach = tuple(n for n, name in enumerate(data.sets) if name == "train")
        hold = tuple(n for n, name in enumerate(data.sets) if name == "validation")
    sets = ["train" if n in set(teach) else "validation" for n in range(len(data.fields))]
    leaks = [leak for leak in find_leaks(data.footprints, sets) if leak.certain]
    if leaks:
        raise SettingsError(f"What is learnt would leak into what examines: {leaks[0].sentence}")
    return teach, hold


def _build(
    settings: TrainSettings, n_planes: int, n_stains: int, kinds: Sequence[LabelKind] = ()
) -> Generator:
    return build_generator(
        settings.generator,
        in_channels=n_planes,
        out_channels=n_stains,
        preset=settings.preset,
        architecture={"classes": [len(kind.classes) for kind in kinds]} if kinds else None,
        seed=settings.seed,
    )


def _numbered(kinds: Sequence[LabelKind], fields: Sequence[PairedField]) -> NDArray[np.int64]:
    """Return the number of the class of each label, (fields, labels)."""
    return np.array([number_labels(kinds, field.labels) for field in fields], np.int64)


def _judge(settings: TrainSettings, stains: tuple[str, ...]) -> EncoderModel | None:
    """Return the encoder of ``--perceptual``, if there is one and it fits; see `jobs.judge`."""
    if settings.perceptual is None:
        return None
    return check_term(settings.perceptual, patch_shape(_build(settings, 1, 1), settings), stains)
