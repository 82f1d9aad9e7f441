"""Train a generator on matched fields and write a model folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
from pydantic import Field

from napari_virtualstain.datasets.pairs import PairedField, gather_statistics, pair_up
from napari_virtualstain.datasets.planes import choose_channel
from napari_virtualstain.datasets.split import split_by_group
from napari_virtualstain.errors import (
    ChannelError,
    OutputExistsError,
    PixelSizeError,
    SettingsError,
)
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.card import InputPlane, ModelCard, Stain, TrainingReport
from napari_virtualstain.generators.package import check_model_output, save_package
from napari_virtualstain.generators.registry import GENERATORS, build_generator, get_spec
from napari_virtualstain.inference.device import choose_device
from napari_virtualstain.inference.memory import keep_freed_memory
from napari_virtualstain.intensity import Rule
from napari_virtualstain.io.colours import colour_of
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import Plane, Progress, versions
from napari_virtualstain.jobs.recipes import Recipe, get_recipe
from napari_virtualstain.training.describe import describe_fields
from napari_virtualstain.training.loop import TrainingResult, fit
from napari_virtualstain.training.patches import check_patch
from napari_virtualstain.training.settings import LoopSettings

__all__ = ["FieldData", "TrainResult", "TrainSettings", "run", "train_on_fields"]

_QUANTILES = (0.001, 0.01, 0.5, 0.99, 0.999)
_TEST_EDGE = 64
_TOLERANCE = 0.20
"""Relative difference of pixel sizes up to which images teach one model."""


class TrainSettings(LoopSettings):
    """Settings of `virtualstain train`."""

    out: str = Field(description="model folder to write")
    recipe: str | None = Field(default=None, description="a named training, for example demo")
    input: tuple[str, ...] = Field(default=(), description="images with the bright field")
    target: tuple[str, ...] = Field(
        default=(), description="images with the stains, one an input; the inputs if not given"
    )
    stains: tuple[str, ...] = Field(default=(), description="channels of the targets to learn")
    channel: str | None = Field(default=None, description="name of the bright-field channel")
    z: tuple[Plane, ...] | None = Field(default=None, description="z planes to learn from")
    scene: str | None = Field(
        default=None, description="which image of each input, if it holds several (see `info`)"
    )
    axes: str | None = Field(default=None, description="axes of the inputs, if they do not say")
    target_scene: str | None = Field(default=None, description="which image of each target")
    target_axes: str | None = Field(
        default=None, description="axes of the targets, if they do not say"
    )
    pixel_size: float | None = Field(
        default=None, gt=0, description="pixel size in µm, if the files do not say"
    )
    fields: int = Field(default=240, ge=1, description="number of fields of a recipe")
    generator: str = Field(default="unet", description=f"method: {', '.join(GENERATORS)}")
    preset: str = Field(
        default="small", description="size of the network; `virtualstain models` lists them"
    )
    validation: float = Field(
        default=0.1, ge=0, lt=1, description="share of the fields to validate on"
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    resume: bool = Field(default=False, description="go on from the last checkpoint")
    overwrite: bool = Field(default=False, description="replace the model if it exists")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldData:
    """Fields to learn from, and what the card says of them.

    Parameters
    ----------
    fields
        Matched planes and stains.
    stains
        Names of the stains.
    card
        ``name``, ``pixel_size_um``, ``input_channel``, ``z_offsets_um``,
        ``data`` and, if known, ``title``, ``description``, ``licence``,
        ``citation`` and ``limits``.
    """

    fields: Sequence[PairedField]
    stains: tuple[str, ...]
    card: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a training came to."""

    out: Path
    finished: bool
    steps: int
    seconds: float
    validation_loss: float | None
    validation_pcc: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out),
            "finished": self.finished,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "validation_loss": _number(self.validation_loss),
            "validation_pcc": {n: _number(v) for n, v in self.validation_pcc.items()},
        }


def _number(value: float | None) -> float | None:
    """Return `None` for what is not a number, which JSON has no word for."""
    return None if value is None or not np.isfinite(value) else value


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
    if settings.recipe is not None:
        recipe = get_recipe(settings.recipe)
        stated = {name: getattr(settings, name) for name in settings.model_fields_set}
        settings = TrainSettings.model_validate({**recipe.settings, **stated})
    _check_output(settings)
    # What can be refused without the images is refused before they are made or read.
    check_patch(settings.patch, multiple_of=_build(settings, 1, 1).multiple_of)
    if recipe is not None:
        if settings.input or settings.target:
            raise SettingsError(
                "A recipe brings its own images. Use --recipe or --input, not both."
            )
        data = FieldData(
            fields=recipe.fields(settings.fields, _stage(on_progress, "fields made ready")),
            stains=recipe.stains,
            card=dict(recipe.card),
        )
    else:
        data = _open_fields(settings)
    return train_on_fields(data, settings, on_progress=on_progress, should_stop=should_stop)


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
    _check_output(settings)
    _check_alike(data)
    device = choose_device(settings.device)
    keep_freed_memory()
    groups = [field.group or field.name for field in data.fields]
    teach, hold = split_by_group(groups, validation=settings.validation, seed=settings.seed)
    output_rule = Rule(kind="zscore", clip_sd=None)
    input_rule = Rule()
    with dask.config.set(scheduler="synchronous"):
        train = pair_up(
            [data.fields[i] for i in teach],
            input_rule=input_rule, output_rule=output_rule, stain_names=data.stains,
        )  # fmt: skip
        held = pair_up(
            [data.fields[i] for i in hold],
            input_rule=input_rule, output_rule=output_rule, stain_names=data.stains,
            outputs=train.outputs,
        )  # fmt: skip
        n_planes = data.fields[0].planes.shape[0]
        generator = _build(settings, n_planes, len(data.stains))
        folder = _training_folder(settings)
        result = fit(
            generator,
            train,
            LoopSettings.model_validate(
                {name: getattr(settings, name) for name in LoopSettings.model_fields}
            ),
            validation=held if hold else None,
            folder=folder,
            stain_names=data.stains,
            resume=settings.resume,
            device=device,
            on_step=on_progress,
            should_stop=should_stop,
        )
        if result.finished:
            card = _card(data, settings, train.fields, train.outputs, len(hold), result)
            edge = min(_TEST_EDGE, *train.fields[0].shape) // generator.multiple_of
            part = slice(0, max(1, edge) * generator.multiple_of)
            planes, _ = train.read(0, (part, part))
            generator.module().to("cpu")
            save_package(settings.out, card, generator, planes[None], overwrite=settings.overwrite)
            shutil.copy(folder / "log.csv", Path(settings.out) / "training.csv")
            # What is left of a training says that it was not finished.
            (folder / "checkpoint.pt").unlink(missing_ok=True)
    pcc = dict(zip(data.stains, result.best.pcc, strict=True)) if result.best else {}
    return TrainResult(
        out=Path(settings.out),
        finished=result.finished,
        steps=result.steps,
        seconds=result.seconds,
        validation_loss=result.best.loss if result.best else None,
        validation_pcc=pcc,
    )


def _training_folder(settings: TrainSettings) -> Path:
    """Return where checkpoint and log lie, beside the model."""
    out = Path(settings.out)
    return out.with_name(f"{out.name}.training")


def _check_output(settings: TrainSettings) -> None:
    check_model_output(Path(settings.out), overwrite=settings.overwrite)
    checkpoint = _training_folder(settings) / "checkpoint.pt"
    if settings.resume and not checkpoint.exists():
        raise SettingsError(
            f"There is no checkpoint '{checkpoint}' to resume from. Train without --resume."
        )
    if checkpoint.exists() and not (settings.resume or settings.overwrite):
        raise OutputExistsError(
            f"'{checkpoint}' is of a training that was not finished. "
            "Go on with it by --resume, or add --overwrite to begin anew."
        )


def _check_alike(data: FieldData) -> None:
    """Refuse fields that one network cannot learn from."""
    if not data.fields:
        raise SettingsError("There are no fields to train on. Give at least one.")
    first = data.fields[0]
    for other in data.fields:
        if other.planes.shape[0] != first.planes.shape[0]:
            raise ChannelError(
                f"Field {first.name!r} has {first.planes.shape[0]} bright-field planes, "
                f"{other.name!r} has {other.planes.shape[0]}. Choose equally many of each with --z."
            )


def _build(settings: TrainSettings, n_planes: int, n_stains: int) -> Generator:
    return build_generator(
        settings.generator,
        in_channels=n_planes,
        out_channels=n_stains,
        preset=settings.preset,
        seed=settings.seed,
    )


def _stage(on_progress: Progress | None, what: str) -> Callable[[int, int], None]:
    return lambda done, total: on_progress(done, total, what) if on_progress else None


def _open_fields(settings: TrainSettings) -> FieldData:
    """Open a user's pairs: each time point of each pair is a field."""
    if not settings.input:
        raise SettingsError(
            "Nothing to train on. Name images with --input and --target, or a --recipe."
        )
    targets = settings.target or settings.input
    if len(targets) != len(settings.input):
        raise SettingsError(
            f"{len(settings.input)} inputs and {len(targets)} targets were named. "
            "Name one --target an --input, in the same order."
        )
    if not settings.stains:
        raise SettingsError("Say which channels of the targets to learn, e.g. --stains DNA,ER.")
    fields: list[PairedField] = []
    sizes: list[float] = []
    offsets: set[tuple[float, ...] | None] = set()
    label = ""
    for source, truth in zip(settings.input, targets, strict=True):
        image = open_image(
            source,
            scene=settings.scene,
            axes=settings.axes,
            channels=[settings.channel] if settings.channel else None,
        )
        label, _ = choose_channel(image, channel=settings.channel, like="bright field")
        planes = image.select([label], z=settings.z)
        same = source == truth  # what was said of the input holds for the target
        stains = open_image(
            truth,
            scene=settings.target_scene or (settings.scene if same else None),
            axes=settings.target_axes or (settings.axes if same else None),
            channels=list(settings.stains),
        )
        if planes.shape[0] != stains.shape[0] or stains.shape[2] != 1:
            raise SettingsError(
                f"'{source}' has {planes.shape[0]} time points, '{truth}' {stains.shape[0]} and "
                f"{stains.shape[2]} z planes. Give targets of one plane for the same time points."
            )
        size = settings.pixel_size or planes.pixel_size_um.yx
        if size is not None:
            sizes.append(size)
        offsets.add(planes.z_positions_um)
        fits = planes.nbytes + stains.nbytes < psutil.virtual_memory().available / 8
        for t in range(planes.shape[0]):
            below, above = planes.data[t, 0], stains.data[t, :, 0]
            if fits:
                with dask.config.set(scheduler="synchronous"):
                    below, above = below.compute(), above.compute()
            fields.append(PairedField(f"{source} t{t}", below, above, group=source))
    if not sizes:
        raise PixelSizeError(
            "The inputs do not state their pixel size, without which nobody could use the model "
            "safely. State it with --pixel-size, for example --pixel-size 0.65."
        )
    if max(sizes) > (1 + _TOLERANCE) * min(sizes):
        raise PixelSizeError(
            f"The inputs have pixels of {min(sizes):g} to {max(sizes):g} µm, and one model is for "
            "one size. Leave out those that differ, or resample them first."
        )
    n_planes = fields[0].planes.shape[0]
    # Known only if all inputs say the same.
    positions = offsets.pop() if len(offsets) == 1 else None
    return FieldData(
        fields=fields,
        stains=settings.stains,
        card={
            "name": Path(settings.out).name,
            "pixel_size_um": float(np.median(sizes)),
            "input_channel": label,
            "z_offsets_um": positions or (None,) * n_planes,
            "data": ", ".join(Path(source).name for source in settings.input),
            "limits": ("Judge it on fields that were not trained on before you trust it.",),
        },
    )


def _card(
    data: FieldData,
    settings: TrainSettings,
    fields: Sequence[PairedField],
    outputs: Sequence[Any],
    n_validation: int,
    result: TrainingResult,
) -> ModelCard:
    statistics = gather_statistics((field.planes for field in fields), quantiles=_QUANTILES)
    offsets = data.card["z_offsets_um"]
    pcc = result.best.pcc if result.best else (float("nan"),) * len(data.stains)
    spec = get_spec(settings.generator)
    known = {"title", "description", "licence", "citation", "limits"} & set(data.card)
    return ModelCard(
        name=data.card["name"],
        generator=settings.generator,
        architecture=dict(spec.presets[settings.preset]),
        inputs=tuple(
            InputPlane(channel=data.card["input_channel"], z_offset_um=z, statistics=s)
            for z, s in zip(offsets, statistics, strict=True)
        ),
        stains=tuple(
            Stain(
                name=name,
                colour=colour_of(Channel(name)),
                normalisation=norm,
                expected_pcc=None if _number(value) is None else round(value, 4),
            )
            for name, norm, value in zip(data.stains, outputs, pcc, strict=True)
        ),
        pixel_size_um=data.card["pixel_size_um"],
        training=TrainingReport(
            recipe=settings.recipe or "own images",
            data=data.card["data"],
            n_fields=len(fields),
            n_validation_fields=n_validation,
            steps=result.steps,
            seed=settings.seed,
            loss=settings.loss,
            settings={name: getattr(settings, name) for name in LoopSettings.model_fields},
            versions=versions(),
        ),
        feature_statistics=describe_fields(fields),
        **{key: data.card[key] for key in known},
    )
