"""Predict the stains of an image and write them to an OME-Zarr."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import Field

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.record import read_record
from napari_virtualstain.io.scale import Scale
from napari_virtualstain.io.sink import OmeZarrSink, check_output, check_unlocked
from napari_virtualstain.io.sink_end import tidy
from napari_virtualstain.jobs.base import PathText, Progress, TimePoint
from napari_virtualstain.jobs.grey_values import grey_values
from napari_virtualstain.jobs.prepare import CHUNK, InputSettings, PreparedStain, prepare
from napari_virtualstain.jobs.stain_ledger import Ledger
from napari_virtualstain.jobs.stain_order import Agenda, Focus, choose_order
from napari_virtualstain.jobs.stain_record import (
    asked_for,
    check_same_run,
    describe_stain,
    go_on,
    ranges,
    recorded_plan_of,
    resumed_notes,
)
from napari_virtualstain.jobs.stain_share import (
    Share,
    Spread,
    opened_here,
)
from napari_virtualstain.tiling.plan import TilePlan

__all__ = ["StainResult", "StainSettings", "run", "stain_origin"]

_DARKEST, _BRIGHTEST = 10.0, 55.0
"""What uint16 holds, in standard deviations of the training stains around their mean."""


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
    seams
        How visible the borders between the tiles of this run are (1 is not at all), by stain, and
        the worst; `None` if there are none.
    """

    out: Path
    stains: tuple[str, ...]
    shape: tuple[int, int, int, int, int]
    plan: str
    tiles_done: int
    tiles_total: int
    seconds: float
    notes: tuple[str, ...]
    seams: dict[str, Any] | None = None

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
            "seams": self.seams,
        }


def run(
    settings: StainSettings,
    *,
    image: LazyImage | None = None,
    plan: dict[str, Any] | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    on_store: Callable[[Path], None] | None = None,
    look: Callable[[], Focus | None] | None = None,
    only: Sequence[int] | None = None,
    spread: Spread | None = None,
) -> StainResult:
    """Stain an image and write the result.

    Parameters
    ----------
    settings
        Of the run; kept in the output as its record.
    image
        See `prepare`.
    plan
        Of the record of a run that is repeated; see `prepare`.
    on_progress
        Told of blocks measured and tiles done. What it raises ends the run.
    on_note
        Told what was guessed or assumed, before the first tile.
    on_store
        Told where the store is as soon as it is there, before the first tile.
    look
        Returns what somebody looks at now, asked before each tile: it comes first. If a region was
        asked for, it takes the place of that region.
    only
        Tiles to stain, instead of those that the settings ask for.
    spread
        Workers that share the tiles; they are computed in this process if `None`.

    Raises
    ------
    VirtualStainError
        If input, model or output cannot be used. A store that was begun is
        left valid and marked partial.
    """
    # Torch is loaded when a run begins: whoever builds a form or a command needs settings only.
    from napari_virtualstain.inference.device import thread_count
    from napari_virtualstain.inference.engine import stain_tiles
    from napari_virtualstain.inference.memory import keep_freed_memory, release_freed_memory
    from napari_virtualstain.inference.seams import SeamIndex
    from napari_virtualstain.jobs.stain_network import stainer_of

    began = time.monotonic()
    follows = look is not None and settings.region is not None
    out = Path(settings.out)
    state = _begun(settings)
    repeated = recorded_plan_of(state) or plan
    if spread is None:
        threads = thread_count()
        prepared = prepare(settings, image=image, recorded=repeated)
    else:
        image = opened_here(settings, image)
        foreseen = spread.foresee(settings, repeated)
        threads, prepared = spread.threads, foreseen.prepared(settings, image=image)
    model, tiles, shape = prepared.model, prepared.plan, prepared.output_shape
    order = choose_order(tiles, shape[0], region=settings.region, times=settings.times)
    if only is not None:
        order = replace(order, numbers=tuple(only))
    keep_freed_memory()
    grey = grey_values(settings, prepared)
    inputs = grey.fit(order.times, _stage(on_progress, "blocks measured"))
    record = describe_stain(
        settings, prepared, inputs, order.numbers, threads=threads, follows=follows,
        spread=None if spread is None else spread.describe(), grey=grey.described,
    )  # fmt: skip
    if state is not None:
        check_same_run(out, state, record)
    share = (
        None if spread is None else Share.of(settings, prepared, inputs, record, run=uuid4().hex)
    )
    notes = (*prepared.notes, *grey.notes, *resumed_notes(state, record))
    if on_note is not None:
        for note in notes:
            on_note(note)

    def result(done: int, ledger: Ledger | None = None) -> StainResult:
        return StainResult(
            out=out,
            stains=model.card.stain_names,
            shape=shape,
            plan=prepared.describe(),
            tiles_done=done,
            tiles_total=shape[0] * len(tiles),
            seconds=time.monotonic() - began,
            notes=(*notes, *(ledger.notes if ledger else ())),
            seams=ledger.entry()["seams"] if ledger else None,
        )

    if state is not None and state["status"] == "complete":
        with disk_errors(out):
            tidy(out)  # its run may have been killed right after its last word
        if on_store is not None:
            on_store(out)
        return result(state["tiles_total"])
    if state is None:
        sink = _create(settings, prepared, record)
    else:
        changed = go_on(state, record)
        record |= changed
        sink = OmeZarrSink.resume(out, record_update=changed)

    ledger = Ledger(prepared, sink, SeamIndex(shape[3:]), on_note)
    try:
        with sink:
            if on_store is not None:
                on_store(out)
            there = sink.committed()
            agenda = Agenda(
                tiles, shape[0], order.numbers,
                done=there, follows=follows, look=look or (lambda: None),
            )  # fmt: skip
            if agenda.total and spread is not None and share is not None:
                on_tile = _stage(on_progress, "tiles stained") or (lambda _done, _total: None)
                spread.stain(share, list(agenda), ledger.take, on_tile)
            elif agenda.total:
                stainer = stainer_of(
                    prepared, inputs, seed=settings.seed,
                    on_layer=_stage(on_progress, "layers measured"), on_step=ledger.step,
                )  # fmt: skip
                drawn = prepared.sampling is not None
                told = _stage(on_progress, "steps of tiles drawn" if drawn else "tiles stained")
                stain_tiles(
                    stainer, prepared.run_plan, ledger.write,
                    numbers=agenda, total=lambda: agenda.total,
                    on_tile=None if drawn else told, on_pass=told if drawn else None,
                    on_step=ledger.step, on_other_way=ledger.note_way,
                )  # fmt: skip
            ledger.judge()
            entry = {"seconds": time.monotonic() - began, **ledger.entry()}
            if prepared.input_has_changed():
                entry["input_changed"] = True
                ledger.step(
                    f"{settings.input!r} was changed while it was stained: tiles may show two "
                    "states of it. Stain it again with --overwrite"
                )
            if follows:
                entry["tiles"] = ranges(sorted({*agenda.given, *(there & set(order.numbers))}))
            built = _stage(on_progress, "chunks of coarser levels")
            done = _close(sink, record, entry, built)
    finally:
        release_freed_memory()
    return result(done, ledger)


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
        pixel_size_um=PixelSize(size.z if prepared.depth else None, *yx),
        origin_um=image.origin_um if prepared.depth else stain_origin(image),
        z_positions_um=image.z_positions_um if prepared.depth else None,
        time_interval_s=image.time_interval_s,
        chunks_yx=_chunk(prepared.plan),
        record=record,
        n_tiles=shape[0] * len(prepared.plan),
        dtype=settings.dtype,
        scales=_scales(settings.dtype, [stain.normalisation for stain in card.stains]),
        overwrite=settings.overwrite,
        name=f"virtual stain ({card.name})",
    )


def _chunk(plan: TilePlan) -> int:
    """Return the edge of a chunk in pixels, such that no two tiles share one."""
    # Along an axis that one tile spans, as a stream spans the width of a narrow image, none can.
    edges = (core for core, n in zip(plan.core, plan.shape, strict=True) if core < n)
    return min([CHUNK, *edges])


def _scales(dtype: str, outputs: Sequence[Normalisation]) -> list[Scale] | None:
    """Return what the numbers of a small type mean, by stain; `None` for plain grey values."""
    if dtype == "float32":
        return None
    if dtype == "float16":
        # What the network predicts: small numbers, of which a float has more digits.
        return [Scale(gain=norm.scale, offset=norm.offset) for norm in outputs]
    return [
        Scale.for_range(n.offset - _DARKEST * n.scale, n.offset + _BRIGHTEST * n.scale, dtype)
        for n in outputs
    ]


def _close(
    sink: OmeZarrSink,
    record: dict[str, Any],
    entry: dict[str, Any],
    on_chunk: Callable[[int, int], None] | None,
) -> int:
    """Finish a store, or leave it with the part that was asked for; return the tiles done."""
    entry["seconds"] = round(entry["seconds"], 3)
    runs = [*record["runs"][:-1], {**record["runs"][-1], **entry}]
    update = {"runs": runs, "seconds": round(sum(run.get("seconds", 0.0) for run in runs), 3)}
    done, asked = len(sink.committed()), asked_for(runs)
    if done == sink.n_tiles:
        sink.finish(update, on_progress=on_chunk)
    elif done == asked:
        sink.leave(f"{asked} of {sink.n_tiles} tiles were asked for", update)
    else:
        why = f"{done} of the {asked} tiles that were asked for are there, of {sink.n_tiles} in all"
        sink.leave(why, update)
    return done


def stain_origin(image: LazyImage) -> tuple[float, float, float]:
    """Return where a flat result lies: over the input, in the plane in focus if it is known.

    Parameters
    ----------
    image
        The planes that it is made from.

    Returns
    -------
    tuple
        z, y, x in micrometres.
    """
    z, y, x = image.origin_um
    # The origin is that of the first plane, which lies so far from focus.
    return (z - (image.z_positions_um[0] if image.z_positions_um else 0.0), y, x)


def _stage(on_progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(done, total, what)
