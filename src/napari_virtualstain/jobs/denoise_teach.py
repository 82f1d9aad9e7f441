"""What teaches a denoiser? The noisy planes themselves; its folder is written at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.origin import TrainingReport
from napari_virtualstain.jobs.base import JobSettings, Progress, versions
from napari_virtualstain.training.settings import Duration

if TYPE_CHECKING:
    from napari_virtualstain.datasets.grey_planes import GreyPlanes
    from napari_virtualstain.denoising.package import DenoiserModel

__all__ = ["TeachingSettings", "check_taught", "teach"]

_VALIDATE_EVERY = 100
"""Steps between examinations and checkpoints."""
_TEST_EDGE = 64
"""Of the test pair, in pixels."""


class TeachingSettings(JobSettings):
    """How a denoiser is trained."""

    preset: Literal["paper", "small", "tiny"] = Field(
        default="small", description="size of the network"
    )
    steps: int = Field(default=600, ge=1, description="optimiser steps")
    budget: Duration | None = Field(
        default=None,
        description="time for the steps instead of their number, for example 2min; how many "
        "follows from how long the first ones take",
    )
    batch: int = Field(default=8, ge=1, description="patches a step")
    patch: int = Field(default=64, ge=8, description="edge of a patch in pixels")
    learning_rate: float = Field(default=2e-3, gt=0, description="largest learning rate")
    spacing: int = Field(
        default=8,
        ge=2,
        description="one pixel in each square of so many pixels across is hidden: 8 is the paper's "
        "1.6 %, 22 the 0.2 % of its later program",
    )
    radius: int = Field(
        default=5, ge=1, description="how far its neighbours lie, along each axis, in pixels"
    )
    replacement: Literal["neighbour", "median"] = Field(
        default="neighbour",
        description="what is shown in the place of a hidden pixel: a neighbour, drawn anew each "
        "time, or the median of all, as N2V2 has it",
    )
    seed: int = Field(default=0, ge=0, description="decides weights, patches and hidden pixels")

    def teaching(self) -> dict[str, object]:
        """Return these settings alone, as plain values."""
        return self.model_dump(mode="json", include=set(TeachingSettings.model_fields))


def check_taught(model: DenoiserModel, settings: TeachingSettings, *, channel: str) -> None:
    """Refuse to go on with a denoiser that was taught otherwise.

    Raises
    ------
    SettingsError
        If so.
    """
    card = model.card
    if card.channel == channel and card.training.settings == settings.teaching():
        return
    raise SettingsError(
        f"The denoiser '{model.path}' was taught with other settings, or on another channel. Use "
        "the same settings, or add --overwrite instead of --resume."
    )


def teach(
    planes: GreyPlanes,
    settings: TeachingSettings,
    *,
    channel: str,
    data: str,
    pixel_size_um: float | None,
    out: Path,
    folder: Path,
    device: str,
    resume: bool = False,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> DenoiserModel | int:
    """Train a denoiser and write its folder.

    Parameters
    ----------
    planes
        To learn from.
    settings
        Of the training.
    channel, data, pixel_size_um
        For the card: what the planes show, where they are from, and how large their pixels are.
    out
        Folder of the denoiser; one that is there is replaced.
    folder
        Takes checkpoint and log.
    device
        A torch device that is there.
    resume
        Go on from the checkpoint in ``folder``, if there is one.
    on_progress
        Told of steps.
    should_stop
        Asked after each step.

    Returns
    -------
    DenoiserModel or int
        The number of steps if it was stopped; the checkpoint goes on from there.

    Raises
    ------
    SettingsError
        If patches, planes and network do not fit, or the checkpoint is of other settings.
    PixelDataError
        If the loss becomes NaN.
    DiskError
        If something cannot be written.
    """
    from napari_virtualstain.denoising.denoiser import PRESETS, build_denoiser
    from napari_virtualstain.denoising.package import DenoiserCard, load_denoiser, save_denoiser
    from napari_virtualstain.training.denoising import Denoising, Hiding
    from napari_virtualstain.training.loop import learn
    from napari_virtualstain.training.patches import middle
    from napari_virtualstain.training.settings import LoopSettings

    loop = LoopSettings(
        loss="l2", steps=settings.steps, budget=settings.budget, batch=settings.batch,
        patch=settings.patch, learning_rate=settings.learning_rate, seed=settings.seed,
        validate_every=_VALIDATE_EVERY,
    )  # fmt: skip
    denoiser = build_denoiser(settings.preset, seed=settings.seed)
    task = Denoising(
        denoiser, planes, loop, name=channel,
        hiding=Hiding(
            spacing=settings.spacing, radius=settings.radius, replacement=settings.replacement
        ),
    )  # fmt: skip
    result = learn(
        task, loop, folder=folder, devices=[device],
        resume=resume and (folder / "checkpoint.pt").exists(),
        on_step=on_progress, should_stop=should_stop,
    )  # fmt: skip
    if not result.finished:
        return result.steps
    denoiser.module().to("cpu")
    loss = None if result.best is None else result.best.loss
    card = DenoiserCard(
        name=out.name,
        architecture=PRESETS[settings.preset],
        channel=channel,
        normalisation=planes.norm,
        pixel_size_um=pixel_size_um,
        squared_error=loss if loss is not None and np.isfinite(loss) else None,
        training=TrainingReport(
            recipe="own images", data=data, n_fields=len(planes), n_validation_fields=0,
            steps=result.steps, seed=settings.seed, loss="l2 at hidden pixels",
            settings=settings.teaching(), versions=versions(),
        ),
    )  # fmt: skip
    part = middle(planes.shape(0), _TEST_EDGE, denoiser.multiple_of)
    save_denoiser(out, card, denoiser, np.nan_to_num(planes.read(0, part))[None, None])
    shutil.copy(folder / "log.csv", out / "training.csv")
    # What is left of a training says that it was not finished.
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return load_denoiser(out)
