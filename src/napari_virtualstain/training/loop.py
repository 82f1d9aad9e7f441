"""The training loop: patches, loss, average, examination, log, checkpoint.

Plain on purpose. Each step depends on the settings, the step number and the
state alone, so that on a CPU with the same number of threads a resumed training
ends with the same bits as an undisturbed one. What a step makes smaller is the
method's own (`generators.learning`).
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import cos, pi, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.learning import Batch, Moment
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.losses.pixel import get_loss
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.training.pace import Pace
from napari_virtualstain.training.patches import check_patch_size, draw_batch, middle
from napari_virtualstain.training.prefetch import Prefetch
from napari_virtualstain.training.settings import LoopSettings, learning_settings
from napari_virtualstain.training.state import State, snapshot
from napari_virtualstain.training.together import make_learner

__all__ = ["Examination", "TrainingResult", "examine", "fit", "patch_shape", "rate_factor"]

_EXAMINED = {2: 1024, 3: 128}
"""Largest edge of the part of a field that is examined, in pixels, by spatial axes."""


@dataclass(frozen=True, slots=True)
class Examination:
    """How the averaged weights did on the validation fields.

    Parameters
    ----------
    loss
        Mean over fields, in normalised units; NaN where no field has a stain.
    pcc
        Pearson correlation a stain, mean over fields; NaN where a stain is missing.
    """

    loss: float
    pcc: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training came to.

    Parameters
    ----------
    steps
        Done.
    finished
        False if it was stopped early; the checkpoint goes on from there.
    best
        The examination of the weights that are now in the generator, if there
        were validation fields.
    seconds
        Spent in this call.
    """

    steps: int
    finished: bool
    best: Examination | None
    seconds: float


def rate_factor(step: int, steps: int, schedule: str = "cosine") -> float:
    """Return which part of the largest rate a step has.

    Linear up over 5 % of the steps; then ``"cosine"`` goes down to 1 %, ``"constant"`` stays.

    Examples
    --------
    >>> [round(rate_factor(step, 100), 2) for step in (0, 4, 52, 99)]
    [0.2, 1.0, 0.51, 0.01]
    """
    warm = max(1, round(0.05 * steps))
    if step < warm:
        return (step + 1) / warm
    if schedule == "constant":
        return 1.0
    done = (step - warm) / max(1, steps - warm)
    return 0.01 + 0.99 * 0.5 * (1 + cos(pi * min(done, 1.0)))


def examine(generator: Generator, pairs: PairedSet, *, loss: str) -> Examination:
    """Predict validation fields and compare, in normalised units.

    Of a field larger than 1024 px (a volume: 128 px) the middle is taken: what an examination needs
    of memory must not depend on how large somebody's images are.
    """
    measure = get_loss(loss)
    losses, correlations = [], []
    for index, field in enumerate(pairs.fields):
        # Cut to the stride: padding would be judged along with the picture.
        planes, stains = pairs.read(index, _examined(field.shape, generator))
        predicted = generator.predict(planes[None])[0]
        found = float(measure(torch.from_numpy(predicted), torch.from_numpy(stains)))
        # Nothing known is no loss of 0, which no other weights could beat.
        losses.append(found if np.isfinite(stains).any() else float("nan"))
        correlations.append(
            [
                pearson(p, s) if np.isfinite(s).any() else float("nan")
                for p, s in zip(predicted, stains, strict=True)
            ]
        )
    table = np.array(correlations)
    known = np.isfinite(table)
    means = np.where(known, table, 0).sum(0) / np.maximum(known.sum(0), 1)
    pcc = tuple(float(m) if k else float("nan") for m, k in zip(means, known.any(0), strict=True))
    judged = [value for value in losses if not np.isnan(value)]
    return Examination(loss=float(np.mean(judged)) if judged else float("nan"), pcc=pcc)


def _examined(shape: tuple[int, ...], generator: Generator) -> Region:
    largest, stride, window = _EXAMINED[generator.ndim], generator.multiple_of, generator.window
    if window is None:
        return middle(shape, largest, stride)
    above = (shape[0] - window) // 2
    return (slice(above, above + window), *middle(shape[1:], largest, stride))


def _check_examined(pairs: PairedSet, *, multiple_of: int, window: int | None) -> None:
    for field in pairs.fields:
        if window is not None and field.shape[0] < window:
            raise SettingsError(
                f"Field {field.name!r} has {field.shape[0]} z planes, and the network takes "
                f"{window} at a time, so it cannot examine. Leave the field out, or use another "
                "--preset."
            )
        if min(field.shape if window is None else field.shape[1:]) < multiple_of:
            raise SettingsError(
                f"Field {field.name!r} is {' x '.join(map(str, field.shape))} px, smaller than the "
                f"{multiple_of} px that the network makes one of, so it cannot examine. "
                "Leave the field out, or use a smaller --preset."
            )


def fit(
    generator: Generator,
    train: PairedSet,
    settings: LoopSettings,
    *,
    validation: PairedSet | None = None,
    folder: Path,
    stain_names: tuple[str, ...],
    resume: bool = False,
    devices: Sequence[str] = ("cpu",),
    on_step: Callable[[int, int, str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train a generator in place; it ends with the best averaged weights.

    Parameters
    ----------
    generator
        With the weights to start from.
    train, validation
        Fields; without validation the last averaged weights are kept.
    settings
        See `LoopSettings`.
    folder
        Takes ``checkpoint.pt`` and ``log.csv``.
    stain_names
        Columns of the log.
    resume
        Go on from the checkpoint in ``folder``.
    devices
        Torch devices; several share each batch.
    on_step
        Called with steps done, steps in all, and a sentence.
    should_stop
        Asked after every step; a checkpoint is written before stopping.

    Raises
    ------
    SettingsError
        If patches or settings do not fit, or the checkpoint is of other settings.
    PixelDataError
        If the loss becomes NaN; the generator then has the best weights so far.
    DiskError
        If checkpoint or log cannot be written.
    """
    patch = patch_shape(generator, settings)
    stride, window = generator.multiple_of, generator.window
    check_patch_size(train, patch=patch, multiple_of=stride, window=window)
    if validation is not None:
        _check_examined(validation, multiple_of=stride, window=window)
    began = time.monotonic()
    module, device = generator.module(), devices[0]
    told = learning_settings(generator.learning, settings)
    with seeded(settings.seed, device=device):
        learner = make_learner(generator, told, devices)
    rates = {
        name: [float(group["lr"]) for group in optimiser.param_groups]
        for name, optimiser in learner.optimisers.items()
    }
    frozen = settings.model_dump(mode="json")
    state = State.fresh(module)
    checkpoint = folder / "checkpoint.pt"
    if resume:
        if not checkpoint.exists():
            raise SettingsError(
                f"There is no checkpoint in '{folder}' to resume from. Train without --resume."
            )
        state = State.resumed(checkpoint, learner, stain_names, frozen, device=device)
    else:
        with disk_errors(folder):  # now, not after the first hour
            folder.mkdir(parents=True, exist_ok=True)
    patches = partial(
        draw_batch, train, batch=settings.batch, patch=patch, augment=settings.augment,
        seed=settings.seed, alike=settings.sampler,
    )  # fmt: skip
    seen_a_step = settings.batch * prod(patch) / sum(prod(f.shape) for f in train.fields)
    pace = Pace(settings, state)
    finished = True
    for network in learner.networks.values():
        network.train()
    with Prefetch(patches, state.step) as drawn:
        while state.step < pace.steps:
            step = state.step
            factor = rate_factor(step, pace.steps, settings.schedule)
            for name, optimiser in learner.optimisers.items():
                for group, rate in zip(optimiser.param_groups, rates[name], strict=True):
                    group["lr"] = rate * factor
            planes, stains = drawn.take(step)
            moment = Moment(
                step=step, epoch=step * seen_a_step, device=torch.device(device).type,
                precision=settings.precision, clip=settings.clip,
            )  # fmt: skip
            # What a step draws depends on its number alone, so that a resumed one draws the same.
            with seeded(settings.seed, step, device=device):
                said = learner.step(
                    Batch(
                        torch.from_numpy(planes).to(device), torch.from_numpy(stains).to(device),
                        at_once=settings.at_once or settings.batch,
                    ),
                    moment,
                )  # fmt: skip
            wrong = next((name for name, value in said.items() if not np.isfinite(value)), None)
            if wrong is not None:
                module.load_state_dict(state.kept)
                raise PixelDataError(
                    f"The {wrong} became {said[wrong]} at step {step}. Use a lower "
                    "--learning-rate, or --precision fp32; a checkpoint written before is kept."
                )
            state.take(said, module, settings)
            pace.tell(state)
            stopping = should_stop()
            examined = state.step % settings.validate_every == 0
            last = state.step >= pace.steps
            if last or examined:
                _take_stock(
                    generator, state, settings, validation,
                    seconds=time.monotonic() - began, waited=drawn.waited_s,
                    rate=next(iter(rates.values()))[0] * factor, stain_names=stain_names,
                )  # fmt: skip
                with disk_errors(folder):
                    _write_log(folder / "log.csv", state.rows)
                last = last or bool(settings.patience and state.stale >= settings.patience)
            if last or stopping or examined:
                # Stopping in between examines nothing: it must not change what is kept as best.
                with disk_errors(checkpoint):
                    state.save(checkpoint, learner, stain_names, frozen)
            if on_step is not None:
                words = ", ".join(f"{name} {value:.4f}" for name, value in said.items())
                on_step(state.step, pace.steps, f"steps, {words}")
            if last:
                break
            if stopping:
                finished = False
                break
    module.load_state_dict(state.kept)
    module.eval()
    best = Examination(state.best_loss, tuple(state.best_pcc)) if state.best else None
    return TrainingResult(state.step, finished, best, time.monotonic() - began)


def patch_shape(generator: Generator, settings: LoopSettings) -> tuple[int, ...]:
    """Return the edges of a patch: (Y, X), or (Z, Y, X) of a generator over volumes."""
    flat = (settings.patch, settings.patch)
    if generator.ndim == len(flat):
        return flat
    return (settings.patch_z if generator.window is None else generator.window, *flat)


@contextmanager
def seeded(*seeds: int, device: str) -> Iterator[None]:
    """Draw what torch draws from seeds, and leave its own random state as it was."""
    cards = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1))
        yield


def _take_stock(
    generator: Generator,
    state: State,
    settings: LoopSettings,
    validation: PairedSet | None,
    *,
    seconds: float,
    waited: float,
    rate: float,
    stain_names: tuple[str, ...],
) -> None:
    """Examine the averaged weights, keep them if they are the best, and note it."""
    row: dict[str, Any] = {
        "step": state.step,
        "learning_rate": rate,
        **{f"train_{name}": float(np.mean(values)) for name, values in state.running.items()},
        "seconds": round(seconds, 1),
        "waited_s": round(waited, 1),
    }
    if validation is not None and validation.fields:
        module = generator.module()
        current = snapshot(module)
        module.load_state_dict(state.average)
        found = examine(generator, validation, loss=settings.loss)
        state.stale += 1
        if found.loss < state.best_loss:
            state.best, state.stale = snapshot(module), 0
            state.best_loss, state.best_pcc = found.loss, list(found.pcc)
        module.load_state_dict(current)
        module.train()
        row["validation_loss"] = found.loss
        row |= {f"pcc {name}": value for name, value in zip(stain_names, found.pcc, strict=True)}
    state.rows.append(row)
    state.running = {}


def _write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
