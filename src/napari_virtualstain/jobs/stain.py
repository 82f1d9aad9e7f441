"""Predict the stains of an image and write them to an OME-Zarr."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.planes import fit_planes
from napari_virtualstain.datasets.statistics import image_statistics
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.record import read_record
from napari_virtualstain.io.sink import OmeZarrSink, check_output, check_unlocked
from napari_virtualstain.jobs.base import PathText, Progress, TimePoint
from napari_virtualstain.jobs.prepare import CHUNK, InputSettings, PreparedStain, prepare
from napari_virtualstain.jobs.stain_order import choose_order
from napari_virtualstain.jobs.stain_record import (
    asked_for,
    check_same_run,
    describe_stain,
    go_on,
    resumed_notes,
)
from napari_virtualstain.tiling.plan import Tile

if TYPE_CHECKING:
    from napari_virtualstain.inference.engine import Stainer

__all__ = ["StainResult", "StainSettings", "run"]


class StainSettings(InputSettings):
    """Settings of `virtualstain stain`."""

    out: PathText = Field(description="OME-Zarr to write, for example stain.ome.zarr")
    region: tuple[int, int, int, int] | None = Field(
        default=None,
        description="only tiles that touch this part of the image: first row, first column, "
        "last row + 1, last column + 1, in pixels",
    )
    times: tuple[TimePoint, ...] = Field(
        default=(), description="only these time points, from 0; all if not given"
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    seed: int = Field(default=0, ge=0, description="random seed, for methods that draw")
    resume: bool = Field(
        default=False, description="go on with the output if the same run has begun it"
    )
    overwrite: bool = Field(default=False, description="replace the output if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class StainResult:
    """What a run came to.

    Parameters
    ----------
    out
        The store.
    stains
        Names of its channels.
    shape
        Of its finest level.
    plan
        In words.
    tiles_done, tiles_total
        Of the store, over all time points; fewer are done than there are if only a
        region or some time points were asked for.
    seconds
        That the run took.
    notes
        What was guessed or assumed.
    """

    out: Path
    stains: tuple[str, ...]
    shape: tuple[int, int, int, int, int]
    plan: str
    tiles_done: int
    tiles_total: int
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out),
            "stains": list(self.stains),
            "shape_tczyx": list(self.shape),
            "plan": self.plan,
            "tiles_done": self.tiles_done,
            "tiles_total": self.tiles_total,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }


def run(
    settings: StainSettings,
    *,
    image: LazyImage | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    on_store: Callable[[Path], None] | None = None,
) -> StainResult:
    """Stain an image and write the result.

    Parameters
    ----------
    settings
        Of the run; kept in the output as its record.
    image
        See `prepare`.
    on_progress
        Told of blocks measured and tiles done. What it raises ends the run.
    on_note
        Told what was guessed or assumed, before the first tile.
    on_store
        Told where the store is as soon as it is there, before the first tile.

    Raises
    ------
    VirtualStainError
        If input, model or output cannot be used. A store that was begun is
        left valid and marked partial.
    """
    # Torch is loaded when a run begins: whoever builds a form or a command needs settings only.
    from napari_virtualstain.inference.device import choose_device, thread_count
    from napari_virtualstain.inference.engine import stain_tiles
    from napari_virtualstain.inference.memory import keep_freed_memory, release_freed_memory

    began = time.monotonic()
    out = Path(settings.out)
    state = _begun(settings)
    device = choose_device(settings.device)
    prepared = prepare(settings, image=image, device=device)
    model, plan, shape = prepared.model, prepared.plan, prepared.output_shape
    order = choose_order(plan, shape[0], region=settings.region, times=settings.times)
    keep_freed_memory()
    stainer = _stainer(settings, prepared, order.times, _stage(on_progress, "blocks measured"))
    record = describe_stain(
        settings, prepared, stainer.inputs, order.numbers, device=device, threads=thread_count()
    )
    if state is not None:
        check_same_run(out, state, record)
    notes = (*prepared.notes, *resumed_notes(state, record))
    if on_note is not None:
        for note in notes:
            on_note(note)

    def result(done: int) -> StainResult:
        return StainResult(
            out=out,
            stains=model.card.stain_names,
            shape=shape,
            plan=prepared.describe(),
            tiles_done=done,
            tiles_total=shape[0] * len(plan),
            seconds=time.monotonic() - began,
            notes=notes,
        )

    if state is not None and state["status"] == "complete":
        if on_store is not None:
            on_store(out)
        return result(state["tiles_total"])
    if state is None:
        sink = _create(settings, prepared, record)
    else:
        changed = go_on(state, record)
        record |= changed
        sink = OmeZarrSink.resume(out, record_update=changed)

    def write(t: int, tile: Tile, stains: NDArray[np.float32]) -> None:
        # (C, y, x) -> (1, C, 1, y, x)
        region = (slice(t, t + 1), slice(0, shape[1]), slice(0, 1), *tile.write)
        sink.write(region, stains[None, :, None])
        sink.commit(t * len(plan) + tile.index)

    try:
        with sink:
            if on_store is not None:
                on_store(out)
            there = sink.committed()
            numbers = [n for n in order.numbers if n not in there] if there else order.numbers
            if numbers:
                stain_tiles(
                    stainer, plan, write,
                    numbers=numbers, on_tile=_stage(on_progress, "tiles stained"),
                )  # fmt: skip
            done = _close(sink, record, time.monotonic() - began)
    finally:
        release_freed_memory()
    return result(done)


def _begun(settings: StainSettings) -> dict[str, Any] | None:
    """Look at the output before anything is loaded; return what is known of one to go on with."""
    if settings.resume and settings.overwrite:
        raise SettingsError(
            "A store is either gone on with or replaced. Use --resume or --overwrite, not both."
        )
    out = Path(settings.out)
    check_unlocked(out)
    there = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    going_on = settings.resume and there
    overwrite = None if going_on else settings.overwrite
    check_output(out, inputs=[settings.input], overwrite=overwrite)
    return read_record(out) if going_on else None


def _stainer(
    settings: StainSettings,
    prepared: PreparedStain,
    times: tuple[int, ...],
    on_block: Callable[[int, int], None] | None,
) -> Stainer:
    """Measure the time points that are stained, and return what predicts their tiles."""
    from napari_virtualstain.inference.engine import Stainer

    planes, card = prepared.planes, prepared.model.card
    statistics = image_statistics(
        planes.image, times=times, quantiles=card.input_rule.quantiles, on_block=on_block
    )
    rows = fit_planes(planes, [row[0] for row in statistics], card.input_rule, times=times)
    by_time = dict(zip(times, rows, strict=True))
    return Stainer(
        generator=prepared.model.generator,
        planes=planes,
        inputs=tuple(by_time.get(t, ()) for t in range(planes.image.shape[0])),
        outputs=tuple(stain.normalisation for stain in card.stains),
        halo=prepared.halo,
        ratios=prepared.ratios,
        seed=settings.seed,
    )


def _create(
    settings: StainSettings, prepared: PreparedStain, record: dict[str, Any]
) -> OmeZarrSink:
    image, card = prepared.planes.image, prepared.model.card
    size = image.pixel_size_um
    yx = (settings.pixel_size or size.y, settings.pixel_size or size.x)
    shape = prepared.output_shape
    return OmeZarrSink.create(
        settings.out,
        shape=shape,
        channels=[Channel(s.name, "fluorescence", s.colour) for s in card.stains],
        pixel_size_um=PixelSize(None, *yx),
        origin_um=_origin(image),
        time_interval_s=image.time_interval_s,
        chunks_yx=min(CHUNK, prepared.plan.core[0]),
        record=record,
        n_tiles=shape[0] * len(prepared.plan),
        overwrite=settings.overwrite,
        name=f"virtual stain ({card.name})",
    )


def _close(sink: OmeZarrSink, record: dict[str, Any], seconds: float) -> int:
    """Finish a store, or leave it with the part that was asked for; return the tiles done."""
    runs = [*record["runs"][:-1], {**record["runs"][-1], "seconds": round(seconds, 3)}]
    update = {"runs": runs, "seconds": round(sum(run.get("seconds", 0.0) for run in runs), 3)}
    done, asked = len(sink.committed()), asked_for(runs)
    if done == sink.n_tiles:
        sink.finish(update)
    elif done == asked:
        sink.leave(f"{asked} of {sink.n_tiles} tiles were asked for", update)
    else:
        why = f"{done} of the {asked} tiles that were asked for are there, of {sink.n_tiles} in all"
        sink.leave(why, update)
    return done


def _origin(image: LazyImage) -> tuple[float, float, float]:
    """Return where the stains lie: over the input, in the plane in focus if it is known."""
    z, y, x = image.origin_um
    # The origin is that of the first plane, which lies so far from focus.
    return (z - (image.z_positions_um[0] if image.z_positions_um else 0.0), y, x)


def _stage(on_progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(done, total, what)
