"""Take the noise from a channel: learn it from the planes themselves, and write them without."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from napari_virtualstain.datasets.grey_planes import GreyPlanes
from napari_virtualstain.errors import OutputExistsError, RunCancelled, SettingsError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.model_files import DENOISES
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.io.scene import is_like
from napari_virtualstain.io.sink import check_output, check_unlocked
from napari_virtualstain.jobs.base import PathText, Progress
from napari_virtualstain.jobs.denoise_record import (
    check_same,
    denoised_name,
    describe_denoising,
)
from napari_virtualstain.jobs.denoise_teach import TeachingSettings, check_taught, teach
from napari_virtualstain.jobs.denoise_write import plan_of, write_planes, write_preview
from napari_virtualstain.jobs.training_run import training_folder

if TYPE_CHECKING:
    from napari_virtualstain.denoising.package import DenoiserModel

__all__ = ["DenoiseResult", "DenoiseSettings", "run"]


class DenoiseSettings(TeachingSettings):
    """Settings of `virtualstain denoise`."""

    input: PathText = Field(description="image file or folder with the noisy channel")
    channel: str = Field(description="name of the channel to denoise")
    out: PathText = Field(description="OME-Zarr to write, for example dna.ome.zarr")
    scene: str | None = Field(
        default=None, description="which image, if the input holds several (see `info`)"
    )
    learn_from: str | None = Field(
        default=None,
        description="images of the input that the network learns from, by names like B0?/f01, "
        "several by commas; the image that is denoised if not given",
    )
    axes: str | None = Field(default=None, description="axes of the file, if it does not say")
    pattern: str | None = Field(
        default=None,
        description="how the files of a folder are named, for example "
        "{well}_{site}_z{z}_{channel}.tif",
    )
    model: PathText | None = Field(
        default=None,
        description="folder of a denoiser that was kept: it is used, and nothing is trained",
    )
    keep_as: PathText | None = Field(
        default=None, description="folder in which the trained denoiser is kept"
    )
    preview: PathText | None = Field(
        default=None,
        description="PNG of the middle of the image, written before the whole is denoised: noisy, "
        "denoised, and what was taken away",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    tile: int | None = Field(
        default=None, ge=16, description="edge of a tile in pixels; chosen by memory if not given"
    )
    resume: bool = Field(
        default=False, description="go on with the training, or with the output, that was cut off"
    )
    overwrite: bool = Field(default=False, description="replace what is written if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiseResult:
    """What a run came to.

    Parameters
    ----------
    out
        The store.
    channel
        As it is named there.
    shape
        Of its finest level.
    plan
        In words.
    steps
        Of the training of the denoiser.
    unforeseen
        By how many grey values hidden pixels differ from what the network guesses (root of the mean
        square): the noise, which is at most so large, and what of the picture cannot be foretold.
    model, preview
        Where they are, `None` if they were not kept.
    seconds
        That the run took.
    notes
        What should be known.
    """

    out: Path
    channel: str
    shape: tuple[int, int, int, int, int]
    plan: str
    steps: int
    unforeseen: float | None
    model: Path | None
    preview: Path | None
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out),
            "channel": self.channel,
            "shape_tczyx": list(self.shape),
            "plan": self.plan,
            "steps": self.steps,
            "unforeseen": self.unforeseen,
            "model": None if self.model is None else str(self.model),
            "preview": None if self.preview is None else str(self.preview),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """Return the same for people."""
        noise = ""
        if self.unforeseen is not None:
            noise = f"; noise of at most {self.unforeseen:.4g} grey values (standard deviation)"
        return (
            f"{self.channel} -> {self.out} ({self.plan}; {self.steps} steps{noise}; "
            f"{self.seconds:.1f} s)"
        )


def run(
    settings: DenoiseSettings,
    *,
    image: LazyImage | None = None,
    plan: dict[str, Any] | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] = lambda _text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> DenoiseResult:
    """Train a denoiser on a channel, and write the channel denoised.

    Parameters
    ----------
    settings
        Of the run; kept in the output as its record.
    image
        Opened already, or an array; ``settings.input`` then only names it.
    plan
        Of the record of a run that is repeated.
    on_progress
        Told of blocks measured, steps and tiles done. What it raises ends the run.
    on_note
        Told what was guessed, before the training.
    should_stop
        Asked after each step of the training, which then writes a checkpoint, and after each tile.

    Raises
    ------
    RunCancelled
        If it was asked to stop; it says how to go on.
    VirtualStainError
        If input, denoiser or output cannot be used. A store that was begun is left valid and
        marked partial.
    """
    from napari_virtualstain.inference.device import choose_device
    from napari_virtualstain.inference.memory import keep_freed_memory, release_freed_memory

    began = time.monotonic()
    out = Path(settings.out)
    state = _begun(settings)
    device = choose_device(settings.device)
    if image is None:
        image = open_image(
            settings.input, scene=settings.scene, axes=settings.axes, pattern=settings.pattern
        )
    source = image.source
    identify = source.identify and cache(source.identify)  # one look at the files for the run
    image = replace(image, source=replace(source, identify=identify))
    noisy = image.select([settings.channel])
    notes = list(image.guesses)
    for note in notes:
        on_note(note)
    keep_freed_memory()
    try:
        model, planes = _denoiser(settings, noisy, device, on_progress, should_stop)
        stainer, run_plan = plan_of(
            model.denoiser, planes, device=device, tile=settings.tile,
            recorded=plan if state is None else state["record"].get("plan"),
        )  # fmt: skip
        if settings.preview is not None:
            write_preview(Path(settings.preview), stainer, planes, noisy)
        record = describe_denoising(settings, image, noisy, model, run_plan, device=device)
        if state is not None:
            check_same(out, state, record)
        done = write_planes(
            settings, noisy, planes, stainer, run_plan, record, state=state,
            on_progress=on_progress, should_stop=should_stop,
        )  # fmt: skip
    finally:
        release_freed_memory()
    shutil.rmtree(training_folder(settings.out), ignore_errors=True)
    loss = model.card.squared_error
    return DenoiseResult(
        out=out, channel=denoised_name(noisy.channel_names[0]), shape=noisy.shape,
        plan=run_plan.describe(), steps=model.card.training.steps,
        unforeseen=None if loss is None else loss**0.5 * model.card.normalisation.scale,
        model=Path(kept) if (kept := settings.model or settings.keep_as) else None,
        preview=None if settings.preview is None else Path(settings.preview),
        seconds=time.monotonic() - began, notes=(*notes, *done),
    )  # fmt: skip


def _begun(settings: DenoiseSettings) -> dict[str, Any] | None:
    """Refuse what cannot be written, before anything is read; return a store to go on with."""
    from napari_virtualstain.denoising.package import check_denoiser_output, read_denoiser_card

    if settings.resume and settings.overwrite:
        raise SettingsError(
            "A run is either gone on with or replaced. Use --resume or --overwrite, not both."
        )
    if settings.model is not None and (settings.keep_as is not None or settings.learn_from):
        raise SettingsError(
            "A denoiser that is there already is not trained. Leave out --keep-as and "
            "--learn-from, or --model."
        )
    if settings.model is not None:
        read_denoiser_card(settings.model)
    out = Path(settings.out)
    check_unlocked(out)
    going_on = settings.resume and out.exists()
    overwrite = None if going_on else settings.overwrite
    check_output(out, inputs=[settings.input], overwrite=overwrite)
    if settings.keep_as is not None and not settings.resume:
        check_denoiser_output(Path(settings.keep_as), overwrite=settings.overwrite)
    if settings.preview is not None:
        preview = Path(settings.preview)
        if preview.exists() and not (settings.overwrite or settings.resume):
            raise OutputExistsError(
                f"'{preview}' exists. Choose another --preview, or add --overwrite to replace it."
            )
    if training_folder(settings.out).exists() and not (settings.resume or settings.overwrite):
        raise OutputExistsError(
            f"'{training_folder(settings.out)}' is of a run that was not finished. "
            "Go on with it by --resume, or add --overwrite to begin anew."
        )
    return read_record(out) if going_on else None


def _denoiser(
    settings: DenoiseSettings,
    noisy: LazyImage,
    device: str,
    on_progress: Progress | None,
    should_stop: Callable[[], bool],
) -> tuple[DenoiserModel, GreyPlanes]:
    """Return what denoises, loaded or trained, and the planes of the image."""
    from napari_virtualstain.denoising.package import load_denoiser

    def measured(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(done, total, "blocks measured")

    if settings.model is not None:
        model = load_denoiser(settings.model)
        return model, GreyPlanes.of_images([noisy], model.card.normalisation, on_block=measured)
    folder = training_folder(settings.out)
    place = folder / "denoiser" if settings.keep_as is None else Path(settings.keep_as)
    channel = noisy.channel_names[0]
    if settings.resume and (place / DENOISES).is_file():
        model = load_denoiser(place)
        check_taught(model, settings, channel=channel)
        return model, GreyPlanes.of_images([noisy], model.card.normalisation, on_block=measured)
    others = _learnt_from(settings, channel)
    taught = GreyPlanes.of_images(others or [noisy], on_block=measured)
    found = teach(
        taught, settings, channel=channel, data=_named(settings), out=place, folder=folder,
        pixel_size_um=noisy.pixel_size_um.yx, device=device, resume=settings.resume,
        on_progress=on_progress, should_stop=should_stop,
    )  # fmt: skip
    if isinstance(found, int):
        raise RunCancelled(
            f"Stopped after {found} steps, with a checkpoint. Go on with the same command and "
            "--resume."
        )
    planes = taught
    if others:
        planes = GreyPlanes.of_images([noisy], taught.norm, on_block=measured)
    return found, planes


def _learnt_from(settings: DenoiseSettings, channel: str) -> list[LazyImage]:
    """Return the images that are named to learn from, of the one channel; none if none are."""
    if settings.learn_from is None:
        return []
    found = [
        scene.open().select([channel])
        for scene in list_scenes(settings.input, axes=settings.axes, pattern=settings.pattern)
        if is_like(scene.name, settings.learn_from)
    ]
    if not found:
        raise SettingsError(
            f"No image in {settings.input!r} is named like {settings.learn_from!r}. See the names "
            "with `virtualstain info`, and choose others with --learn-from."
        )
    return found


def _named(settings: DenoiseSettings) -> str:
    which = settings.learn_from or settings.scene
    return Path(settings.input).name + (f" ({which})" if which else "")
