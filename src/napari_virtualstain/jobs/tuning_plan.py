"""What would a tuning do? Who teaches and judges, what is doubtful, and how long it takes here.

Nothing is written. How long is measured: a few steps are taken with weights that are thrown away.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import dask
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.inference.memory import MemoryUse, keep_freed_memory
from napari_virtualstain.jobs.base import Progress, stage
from napari_virtualstain.jobs.passport_focus import sharpness
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.jobs.training_run import devices_of
from napari_virtualstain.jobs.tuning_again import folds_of, subsets_of
from napari_virtualstain.jobs.tuning_lines import explained_by_line
from napari_virtualstain.losses.descent import Moment
from napari_virtualstain.preprocessing.likeness import focus_in_windows
from napari_virtualstain.preprocessing.quality import saturation
from napari_virtualstain.preprocessing.registration import estimate_shift
from napari_virtualstain.training.painting import Painting, examined_part
from napari_virtualstain.words import duration, plural

if TYPE_CHECKING:
    from napari_virtualstain.datasets.pairs import PairedField
    from napari_virtualstain.generators.base import Generator
    from napari_virtualstain.jobs.finetune import FinetuneSettings, Tuning

__all__ = ["FieldSeen", "FinetunePlan", "Role", "plan_tuning"]

Role = Literal["teaches", "chooses", "judges"]

_SMALLEST, _LARGEST = 32, 1024
"""Edges of the middle of a field in pixels that are looked at."""
_SATURATED = 1e-3
"""Share of saturated pixels that is worth a word."""
_UNTIMED, _TIMED = 1, 2
"""Steps."""
_OFFERED = 0.5
"""Part of the error that gain and offset must take away to be offered first."""
_WATCHED = 1.1
"""How much longer a tuning takes that is watched; see `jobs.tuning_watch`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSeen:
    """A field of a tuning.

    Parameters
    ----------
    name
        Of the field.
    role
        What it is for.
    shape
        In pixels.
    stains
        Those that it has.
    notes
        What is doubtful about it.
    """

    name: str
    role: Role
    shape: tuple[int, ...]
    stains: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetunePlan:
    """What a tuning would do.

    Parameters
    ----------
    fields
        In the order in which they were given.
    steps
        `None` where a time budget decides.
    seconds
        That it takes here.
    memory_mb
        That it takes besides the images.
    moving, of
        Numbers of the network that may move, and that there are.
    device
        Where it computes.
    notes
        Sentences about what should be known.
    """

    fields: tuple[FieldSeen, ...]
    steps: int | None
    seconds: float
    memory_mb: float
    moving: int
    of: int
    device: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {**asdict(self), "words": self.words}

    @property
    def words(self) -> str:
        """How long it takes, and what moves, in a sentence."""
        steps = "" if not self.steps else f" for {plural(self.steps, 'step')}"
        share = self.moving / max(self.of, 1)
        return (
            f"About {duration(self.seconds)}{steps} on {self.device}, and {self.memory_mb:.0f} MB "
            f"of memory; {share:.1%} of the weights may move."
        )

    def text(self) -> str:
        """Return the same for people."""
        width = max(len(field.name) for field in self.fields)
        lines = [f"{'field':<{width}}  {'':<8}  px          stains"]
        for field in self.fields:
            size = " x ".join(map(str, field.shape))
            said = "".join(f"; {note}" for note in field.notes)
            stains = ", ".join(field.stains)
            lines.append(f"{field.name:<{width}}  {field.role:<8}  {size:<10}  {stains}{said}")
        return "\n".join([*lines, self.words])


def plan_tuning(
    settings: FinetuneSettings,
    card: ModelCard,
    data: FieldData,
    tuning: Tuning,
    before: Generator,
    notes: Sequence[str],
    on_progress: Progress | None,
) -> FinetunePlan:
    """Look at the fields, and take a few steps to see how long they take.

    Parameters
    ----------
    settings
        Of the tuning.
    card
        Of the base model.
    data
        All fields, as they were given.
    tuning
        Ready to begin; its weights move.
    before
        The base model; it is asked before any weight moves.
    notes
        What is known already.
    on_progress
        Told of fields looked at.
    """
    looked = stage(on_progress, "fields looked at")
    roles: dict[str, Role] = {}
    parts: tuple[tuple[Role, Any], ...] = (
        ("teaches", tuning.train), ("chooses", tuning.choose), ("judges", tuning.judge),
    )  # fmt: skip
    for role, pairs in parts:
        roles |= {} if pairs is None else {field.name: role for field in pairs.fields}
    seen = []
    with dask.config.set(scheduler="synchronous"):
        for number, field in enumerate(data.fields):
            looked(number, len(data.fields))
            # Of the only field a part teaches and another judges.
            own = [n for n in roles if n == field.name or n.startswith(f"{field.name} (")]
            found = _checked(field, data.stains, card)
            seen += [
                FieldSeen(
                    name=name, role=roles[name], shape=field.shape, stains=found[0], notes=found[1]
                )
                for name in own
            ]
        said = [] if tuning.tuned.moving == 0 else _offered(tuning, before, data.stains)
        still = tuning.tuned.moving == 0
        each, memory = (0.0, 0.0) if still else _a_step(tuning, settings, data.stains)
        judging = _a_look(tuning) * (len(tuning.train.fields) + 2 * len(tuning.judge.fields))
    looked(len(data.fields), len(data.fields))
    steps = 0 if still else None if settings.budget else tuning.loop.steps
    seconds = (_WATCHED if settings.watch else 1.0) * each * tuning.loop.steps
    if settings.budget and not still:
        seconds = settings.budget
    again = 1
    if settings.judge_each:
        apart = [[f.group or f.name for f in p.fields] for _, p in parts if p is not None]
        again += len(folds_of([*chain(*apart)], {*chain(*apart[1:])}))
    if settings.curve:
        groups = [field.group or field.name for field in tuning.train.fields]
        again += len(subsets_of(groups, settings.seed))
    seconds *= again
    return FinetunePlan(
        fields=tuple(seen), steps=steps, seconds=seconds + judging, memory_mb=memory,
        moving=tuning.tuned.moving, of=tuning.tuned.of,
        device=devices_of(settings.device)[0], notes=(*notes, *said),
    )  # fmt: skip


def _offered(tuning: Tuning, before: Generator, stains: Sequence[str]) -> list[str]:
    """Say of which stains a gain and an offset take most of the error away."""
    shares = explained_by_line(before, tuning.train, tuning.judge, tuning.base)
    found = {name: share for name, share in zip(stains, shares, strict=True) if share > _OFFERED}
    if not found:
        return []
    least, most = min(found.values()), max(found.values())
    taken = f"{least:.0%}" if most - least < 0.01 else f"{least:.0%} to {most:.0%}"
    words = (
        f"{', '.join(found)}: a gain and an offset alone take {taken} of the error away; try "
        "--preset recalibrate first, which moves no weight"
    )
    return [words]


def _checked(
    field: PairedField, stains: Sequence[str], card: ModelCard
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which stains a field has, and what is doubtful about it."""
    middle = tuple(
        slice(max(n - _LARGEST, 0) // 2, max(n - _LARGEST, 0) // 2 + min(n, _LARGEST))
        for n in field.shape[-2:]
    )
    depth = () if len(field.shape) == len(middle) else (field.shape[0] // 2,)
    planes = np.asarray(field.planes[(slice(None), *depth, *middle)])
    truth = np.asarray(field.stains[(slice(None), *depth, *middle)])
    return _looked_at(_Pixels(planes), _Pixels(truth), tuple(stains), card.model_dump_json())


class _Pixels:
    """An array that is equal to another of the same pixels: a plan is asked for again and again."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self._key = hash((array.shape, str(array.dtype), array.tobytes()))

    def __hash__(self) -> int:
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pixels) and np.array_equal(
            self.array, other.array, equal_nan=self.array.dtype.kind == "f"
        )


@lru_cache(maxsize=32)
def _looked_at(
    planes: _Pixels, truth: _Pixels, stains: tuple[str, ...], card: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    there = tuple(
        name for name, one in zip(stains, truth.array, strict=True) if np.isfinite(one).any()
    )
    notes = [f"no {name}" for name in stains if name not in there]
    model = ModelCard.model_validate_json(card)
    large = min(planes.array.shape[-2:]) >= _SMALLEST
    middle = planes.array[len(planes.array) // 2].astype(np.float32)
    for name, one in zip(stains, truth.array, strict=True):
        if name not in there:
            continue
        share, _ = saturation(one)
        if share > _SATURATED:
            notes.append(f"{name}: {share:.1%} of the pixels are saturated")
        if np.nanmin(one) == np.nanmax(one):
            notes.append(f"{name}: all pixels have one value")
        elif large and (shift := estimate_shift(middle, one)).verdict == "shifted":
            notes.append(f"{name} lies {shift.distance_px:.1f} px beside the bright field")
    if large:
        notes += _unlike(planes.array, model)
    return there, tuple(notes)


def _unlike(planes: NDArray[Any], card: ModelCard) -> list[str]:
    """Say which planes are sharper or more blurred than those that the base model learnt from."""
    found = []
    for p, (plane, trained) in enumerate(zip(planes, card.inputs, strict=False)):
        if trained.ranges is None:
            continue
        numbers = focus_in_windows(plane, trained.ranges.window_px)
        known = {name: value for name, value in numbers.items() if np.isfinite(value)}
        status, words = sharpness(card, p, known)
        if status == "red":
            said = "other detail" if words == "different" else words
            where = f"plane {p}" if len(card.inputs) > 1 else "bright field"
            found.append(f"{where}: {said} than the model was trained on")
    return found


def _a_step(
    tuning: Tuning, settings: FinetuneSettings, stains: tuple[str, ...]
) -> tuple[float, float]:
    """Return the seconds of a step, and the memory in MB that it takes."""
    keep_freed_memory()
    devices = devices_of(settings.device)
    task = Painting(
        tuning.generator, tuning.train, tuning.loop, validation=None, stain_names=stains
    )
    memory = MemoryUse(devices[0])
    learner = task.learner(devices)
    for network in learner.networks.values():
        network.train()
    began = time.monotonic()
    for step in range(_UNTIMED + _TIMED):
        if step == _UNTIMED:
            began = time.monotonic()
        given = task.batch(task.draw(step=step), devices[0])
        moment = Moment(
            step=step, epoch=0.0, done=0.0, device=devices[0].partition(":")[0],
            precision=tuning.loop.precision, clip=tuning.loop.clip,
        )  # fmt: skip
        learner.step(given, moment)
    seconds = (time.monotonic() - began) / _TIMED
    return seconds, memory.taken / 1e6


def _a_look(tuning: Tuning) -> float:
    """Return the seconds that it takes to stain a field that judges."""
    field = tuning.judge.fields[0]
    planes, _ = tuning.judge.read(0, examined_part(field.shape, tuning.generator))
    began = time.monotonic()
    tuning.generator.predict(planes[None])
    return time.monotonic() - began
