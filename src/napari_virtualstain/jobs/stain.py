"""Predict the stains of an image and write them to an OME-Zarr.

`prepare` turns settings into a plan that can be printed; `run` carries it out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.planes import InputPlanes, choose_planes, fit_planes
from napari_virtualstain.datasets.statistics import image_statistics
from napari_virtualstain.errors import PixelSizeError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.package import Model
from napari_virtualstain.inference.device import choose_device, thread_count
from napari_virtualstain.inference.engine import Stainer, stain_tiles
from napari_virtualstain.inference.memory import keep_freed_memory, release_freed_memory
from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink, check_output
from napari_virtualstain.jobs.base import JobSettings, Plane, Progress, versions
from napari_virtualstain.tiling.plan import Tile, TilePlan, plan_tiles
from napari_virtualstain.zoo import load_generator

__all__ = ["InputSettings", "PreparedStain", "StainResult", "StainSettings", "prepare", "run"]

_TOLERANCE = 0.20
"""Relative difference of pixel sizes up to which a model is used as it is."""
_CHUNK = 512
_SMALLEST_TILE = 16
_LARGEST_RATIO = 16.0
"""Of pixel sizes that are resampled: beyond it one of them is wrong, or in another unit."""


class InputSettings(JobSettings):
    """Which image, and which of its planes a model is given."""

    input: str = Field(description="image file or folder with the bright field")
    model: str = Field(default="demo", description="name of a model, or a model folder or zip")
    scene: str | None = Field(
        default=None, description="which image, if the input holds several (see `info`)"
    )
    channel: str | None = Field(default=None, description="name of the bright-field channel")
    z: tuple[Plane, ...] | None = Field(
        default=None, description="z planes for the model, from 0, for example 2,6,10"
    )
    axes: str | None = Field(default=None, description="axes of the file, if it does not say")
    pixel_size: float | None = Field(
        default=None, gt=0, description="pixel size in µm, if the file does not say or is wrong"
    )
    resample: bool = Field(default=False, description="resample to the model's pixel size and back")
    tile: int = Field(default=512, ge=_SMALLEST_TILE, description="edge of a tile in pixels")


class StainSettings(InputSettings):
    """Settings of `virtualstain stain`."""

    out: str = Field(description="OME-Zarr to write, for example stain.ome.zarr")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    seed: int = Field(default=0, ge=0, description="random seed, for methods that draw")
    overwrite: bool = Field(default=False, description="replace the output if it exists")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedStain:
    """A run that has not begun.

    Parameters
    ----------
    model
        Loaded and checked.
    image
        As opened, all channels.
    planes
        What the model is given.
    plan
        Tiles over Y and X of the image.
    halo
        Of the network, in its pixels.
    exact
        Whether tiles equal the whole image.
    ratios
        Model pixel over image pixel (y, x) if resampling, else `None`.
    notes
        What was guessed or assumed, one sentence each.
    """

    model: Model
    image: LazyImage
    planes: InputPlanes
    plan: TilePlan
    halo: int
    exact: bool
    ratios: tuple[float, float] | None
    notes: tuple[str, ...]

    def describe(self) -> str:
        """Say what would be done, in words."""
        t = self.planes.image.shape[0]
        times = "" if t == 1 else f" at each of {t} time points"
        kind = "exact" if self.exact else "approximate: the network sees only its tile"
        return f"{self.plan.describe()}{times}, {kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StainResult:
    """What a run came to."""

    out: Path
    stains: tuple[str, ...]
    shape: tuple[int, int, int, int, int]
    plan: str
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out),
            "stains": list(self.stains),
            "shape_tczyx": list(self.shape),
            "plan": self.plan,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }


def prepare(settings: InputSettings, *, image: LazyImage | None = None) -> PreparedStain:
    """Open, check and plan, without predicting anything.

    Parameters
    ----------
    settings
        Of the run.
    image
        Opened already, or an array; ``settings.input`` then only names it.

    Raises
    ------
    VirtualStainError
        If input and model do not fit; the sentence says what to do.
    """
    model = load_generator(settings.model)
    if image is None:
        image = open_image(settings.input, scene=settings.scene, axes=settings.axes)
    notes = list(image.guesses)
    planes = choose_planes(
        image,
        like=model.card.inputs[0].channel,
        z_offsets_um=[plane.z_offset_um for plane in model.card.inputs],
        channel=settings.channel,
        z=settings.z,
    )
    notes += planes.notes
    ratios, note = _pixel_ratios(settings, planes.image.pixel_size_um, model.card)
    if note:
        notes.append(note)
    reach = scan_reach(model.generator.module())
    stride = model.generator.multiple_of
    core = _core(settings.tile, ratios)
    plan = plan_tiles(image.shape[3:], core=core, halo=reach.halo, multiple_of=stride)
    return PreparedStain(
        model=model,
        image=image,
        planes=planes,
        plan=plan,
        halo=reach.halo,
        exact=reach.exact,
        ratios=ratios,
        notes=tuple(notes),
    )


def _core(tile: int, ratios: tuple[float, float] | None) -> int:
    """Return the edge of a tile in pixels of the image, in whole chunks if it has any.

    Where the model's pixels are the smaller ones, a tile grows on its way to the network;
    it is cut so much smaller that the network sees no more than it was told to.
    """
    if ratios is not None:
        tile = max(_SMALLEST_TILE, round(tile * min(1.0, *ratios)))
    return -(-tile // _CHUNK) * _CHUNK if tile >= _CHUNK else tile


def _pixel_ratios(
    settings: InputSettings, found: PixelSize, card: ModelCard
) -> tuple[tuple[float, float] | None, str | None]:
    """Compare pixel sizes: what to resample by, and what to say."""
    if settings.pixel_size is not None:
        found = PixelSize(found.z, settings.pixel_size, settings.pixel_size)
    if found.y is None or found.x is None:
        if settings.resample:
            raise PixelSizeError(
                "The image does not state its pixel size, so it cannot be resampled. "
                "State it with --pixel-size, for example --pixel-size 0.65."
            )
        return None, (
            f"the image does not state its pixel size; taken as the model's "
            f"{card.pixel_size_um:g} µm, state another with --pixel-size"
        )
    ratios = (card.pixel_size_um / found.y, card.pixel_size_um / found.x)
    if settings.resample:
        if not 1 / _LARGEST_RATIO <= min(ratios) <= max(ratios) <= _LARGEST_RATIO:
            raise PixelSizeError(
                f"The image has {found.y:g} x {found.x:g} µm pixels, the model was trained at "
                f"{card.pixel_size_um:g} µm: more than {_LARGEST_RATIO:g} times apart, so that one "
                "is wrong or the model is for other images. Correct the image's with --pixel-size."
            )
        return ratios, None
    off = max(abs(1 / ratio - 1) for ratio in ratios)
    if off > _TOLERANCE:
        raise PixelSizeError(
            f"The image has {found.y:g} x {found.x:g} µm pixels, the model was trained at "
            f"{card.pixel_size_um:g} µm ({off:.0%} off, allowed {_TOLERANCE:.0%}). Add --resample "
            "to stain at the model's pixel size, or correct the image's with --pixel-size."
        )
    return None, None


def run(
    settings: StainSettings,
    *,
    image: LazyImage | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> StainResult:
    """Stain an image and write the result.

    Parameters
    ----------
    settings
        Of the run; kept in the output as its record.
    image
        See `prepare`.
    on_progress
        Told of blocks measured and tiles done.
    on_note
        Told what was guessed or assumed, before the first tile.

    Raises
    ------
    VirtualStainError
        If input, model or output cannot be used. A store that was begun is
        left valid and marked partial.
    """
    began = time.monotonic()
    out = Path(settings.out)
    check_output(out, inputs=[settings.input], overwrite=settings.overwrite)
    device = choose_device(settings.device)
    prepared = prepare(settings, image=image)
    for note in prepared.notes:
        if on_note is not None:
            on_note(note)
    model, planes, plan = prepared.model, prepared.planes, prepared.plan
    keep_freed_memory()
    model.generator.module().to(device)
    statistics = image_statistics(
        planes.image,
        quantiles=model.card.input_rule.quantiles,
        on_block=_stage(on_progress, "blocks measured"),
    )
    stainer = Stainer(
        generator=model.generator,
        planes=planes,
        inputs=fit_planes(planes, [row[0] for row in statistics], model.card.input_rule),
        outputs=tuple(stain.normalisation for stain in model.card.stains),
        halo=prepared.halo,
        ratios=prepared.ratios,
        seed=settings.seed,
    )
    n_t, _, _, height, width = planes.image.shape
    shape = (n_t, len(model.card.stains), 1, height, width)
    size = planes.image.pixel_size_um
    yx = (settings.pixel_size or size.y, settings.pixel_size or size.x)
    sink = OmeZarrSink.create(
        out,
        shape=shape,
        channels=[Channel(s.name, "fluorescence", s.colour) for s in model.card.stains],
        pixel_size_um=PixelSize(None, *yx),
        origin_um=_origin(planes.image),
        time_interval_s=planes.image.time_interval_s,
        chunks_yx=min(_CHUNK, plan.core[0]),
        record=_record(settings, prepared, stainer, device),
        n_tiles=n_t * len(plan),
        overwrite=settings.overwrite,
        name=f"virtual stain ({model.card.name})",
    )

    def write(t: int, tile: Tile, stains: NDArray[np.float32]) -> None:
        # (C, y, x) -> (1, C, 1, y, x)
        region = (slice(t, t + 1), slice(0, shape[1]), slice(0, 1), *tile.write)
        sink.write(region, stains[None, :, None])
        sink.commit(t * len(plan) + tile.index)

    with sink:
        stain_tiles(stainer, plan, write, on_tile=_stage(on_progress, "tiles stained"))
        sink.finish({"seconds": round(time.monotonic() - began, 3)})
    release_freed_memory()
    return StainResult(
        out=out,
        stains=model.card.stain_names,
        shape=shape,
        plan=prepared.describe(),
        seconds=time.monotonic() - began,
        notes=prepared.notes,
    )


def _origin(image: LazyImage) -> tuple[float, float, float]:
    """Return where the stains lie: over the input, in the plane in focus if it is known."""
    z, y, x = image.origin_um
    # The origin is that of the first plane, which lies so far from focus.
    return (z - (image.z_positions_um[0] if image.z_positions_um else 0.0), y, x)


def _stage(on_progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(done, total, what)


def _record(
    settings: StainSettings, prepared: PreparedStain, stainer: Stainer, device: str
) -> dict[str, Any]:
    """Return everything needed to repeat the run and to judge it."""
    image, model = prepared.image, prepared.model
    return {
        "schema_version": 1,
        "job": "stain",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": settings.model_dump(mode="json"),
        "input": {
            "kind": image.source.kind,
            "scene": image.source.scene,
            "identity": image.source.identity(),
            "axes": image.axes,
            "shape_tczyx": list(image.shape),
            "channel": prepared.planes.image.channel_names[0],
            "z": list(prepared.planes.z),
            "path": None if image.source.path is None else str(Path(image.source.path).resolve()),
        },
        "notes": list(prepared.notes),
        "model": {
            "name": model.card.name,
            "generator": model.card.generator,
            "fingerprint": model.fingerprint,
            "licence": model.card.licence,
        },
        "normalisation": {
            "rule": model.card.input_rule.model_dump(mode="json"),
            "inputs": [[n.model_dump(mode="json") for n in row] for row in stainer.inputs],
            "outputs": {s.name: s.normalisation.model_dump(mode="json") for s in model.card.stains},
            "units": {s.name: s.unit for s in model.card.stains},
        },
        "plan": {
            "words": prepared.describe(),
            "core_yx": list(prepared.plan.core),
            "halo": prepared.halo,
            "multiple_of": prepared.plan.multiple_of,
            "tiles": len(prepared.plan),
            "exact": prepared.exact,
            "resample_ratios_yx": None if prepared.ratios is None else list(prepared.ratios),
        },
        "seed": settings.seed,
        "device": device,
        "threads": thread_count(),
        "versions": versions(),
    }
