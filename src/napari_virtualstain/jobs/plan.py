"""Say what a stain would do, without doing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from napari_virtualstain.io.disk import free_bytes
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.base import PathText, Progress
from napari_virtualstain.jobs.grey_values import grey_values
from napari_virtualstain.jobs.prepare import InputSettings, PreparedStain, prepare
from napari_virtualstain.words import duration

__all__ = ["Plan", "PlanSettings", "describe", "run", "to_text"]


class PlanSettings(InputSettings):
    """Settings of `virtualstain plan`."""

    out: PathText | None = Field(
        default=None, description="where the stain would be written, to say how much room is there"
    )
    measure: bool = Field(
        default=False,
        description="also measure the grey values now, so that the run starts at once, and how "
        "long a model that draws will take",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a stain would do, read and write.

    Parameters
    ----------
    prepared
        Image, model and tiles.
    bytes_to_measure
        Uncompressed pixels that have to be read before the first tile; 0 if their
        grey values are known already.
    bytes_to_write
        Size of the result before compression, with its coarser levels.
    bytes_free
        Where the result would be written, if that was said.
    seconds
        That drawing takes, from one pass over a small part; `None` if it was not measured.
    notes
        What was guessed or assumed; one sentence each.
    """

    prepared: PreparedStain
    bytes_to_measure: int
    bytes_to_write: int
    bytes_free: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


def run(
    settings: PlanSettings,
    *,
    image: LazyImage | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Plan:
    """Return the run that `virtualstain stain` would begin.

    Parameters
    ----------
    settings
        Of the run, and whether to measure the grey values.
    image
        See `prepare`.
    on_progress
        Told of blocks measured. What it raises ends the run.
    on_note
        Told what was guessed or assumed.

    Raises
    ------
    VirtualStainError
        If input and model do not fit.
    """
    prepared = prepare(settings, image=image)
    if on_note is not None:
        for note in prepared.notes:
            on_note(note)
    grey = grey_values(settings, prepared)
    if on_note is not None:
        for note in grey.notes:
            on_note(note)
    if settings.measure:
        told = None if on_progress is None else partial(_blocks, on_progress)
        grey.measure(range(prepared.planes.image.shape[0]), told)
    times = prepared.planes.image.shape[0]
    timed = settings.measure and prepared.sampling is not None
    return Plan(
        prepared=prepared,
        seconds=_seconds(prepared) * times if timed else None,
        bytes_to_measure=0 if settings.measure else grey.bytes_to_measure(),
        notes=(*prepared.notes, *grey.notes),
        bytes_to_write=round(
            float(np.prod(prepared.output_shape, dtype=float))
            * np.dtype(settings.dtype).itemsize
            * 4
            / 3
        ),
        bytes_free=None if settings.out is None else free_bytes(Path(settings.out)),
    )


def _seconds(prepared: PreparedStain) -> float:
    """Return how long a time point of what is drawn takes."""
    from napari_virtualstain.inference.sampled import SampledStainer
    from napari_virtualstain.jobs.stain_network import stainer_of

    stainer = stainer_of(prepared, ())
    assert isinstance(stainer, SampledStainer)
    return stainer.seconds(prepared.plan)


def _blocks(on_progress: Progress, done: int, total: int) -> None:
    on_progress(done, total, "blocks measured")


def describe(found: Plan) -> dict[str, Any]:
    """Return a plan as plain values for ``--json``."""
    prepared = found.prepared
    card, plan = prepared.model.card, prepared.plan
    return {
        "plan": prepared.describe(),
        "model": card.name,
        "stains": list(card.stain_names),
        "channel": prepared.planes.image.channel_names[0],
        "planes": len(prepared.planes),
        "tiles": len(plan) * prepared.planes.image.shape[0],
        "mode": prepared.run_plan.mode,
        "core_yx": list(plan.core),
        "halo_yx": list(plan.halo),
        "largest_read_yx": list(plan.largest_read),
        "overhead": round(prepared.run_plan.overhead, 4),
        "memory_mb": _megabytes(prepared.run_plan.bytes),
        "exact": prepared.exact,
        "statistics": prepared.statistics,
        "precision": prepared.network.precision,
        "resample_ratios_yx": None if prepared.ratios is None else list(prepared.ratios),
        "drawn": prepared.sampling is not None,
        "seconds": None if found.seconds is None else round(found.seconds, 3),
        "notes": list(found.notes),
        "statistics_ready": found.bytes_to_measure == 0,
        "measure_mb": _megabytes(found.bytes_to_measure),
        "output_mb": _megabytes(found.bytes_to_write),
        "free_mb": None if found.bytes_free is None else _megabytes(found.bytes_free),
        "words": to_text(found),
    }


def _megabytes(number: int) -> float:
    return round(number / 1e6, 3)


def to_text(found: Plan) -> str:
    """Return the same for people, in a line about the tiles and one about time and room."""
    size = f"The stain takes up to {_size(found.bytes_to_write)} on disk"
    if found.bytes_free is not None:
        size += f", where {_size(found.bytes_free)} are free"
    ready = (
        "the grey values are known, so that it starts at once"
        if found.bytes_to_measure == 0
        else f"before the first tile, {_size(found.bytes_to_measure)} are read to measure the "
        "grey values"
    )
    takes = "" if found.seconds is None else f" Drawing takes about {duration(found.seconds)}."
    return f"{found.prepared.describe()}\n{size}; {ready}.{takes}"


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{max(number / 1e6, 0.1):.1f} MB"
