"""The training loop: draw, learn, average, examine, log, keep.

Plain on purpose. Each step depends on the settings, the step number and the
state alone, so that on a CPU with the same number of threads a resumed training
ends with the same bits as an undisturbed one. What is taught and how it is examined is the
task's (`training.painting`); what a step makes smaller is the method's own
(`generators.learning`).
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.losses.descent import Learner, Moment
from napari_virtualstain.training.pace import Pace
from napari_virtualstain.training.prefetch import Prefetch
from napari_virtualstain.training.settings import LoopSettings
from napari_virtualstain.training.state import State, Weights, snapshot

__all__ = ["Examination", "Task", "TrainingResult", "Watch", "learn", "rate_factor", "seeded"]


@dataclass(frozen=True, slots=True)
class Examination:
    """How the averaged weights did on what was held back.

    Parameters
    ----------
    loss
        What decides which weights are kept; NaN where nothing could be judged.
    scores
        One for each name of the task; NaN where there is nothing to judge.
    """

    loss: float
    scores: tuple[float, ...]


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
        The examination of the weights that are now in the network, if there
        was one.
    seconds
        Spent in this call.
    """

    steps: int
    finished: bool
    best: Examination | None
    seconds: float


class Task(Protocol):
    """What is taught, what it sees in each step, and how it is examined.

    Attributes
    ----------
    names
        What an examination has a score of, for example the stains.
    score
        What the scores are, for the log.
    seen_a_step
        Which part of an epoch a step is.
    """

    names: tuple[str, ...]
    score: str
    seen_a_step: float

    def module(self) -> nn.Module:
        """Return the network whose weights are averaged and kept."""

    def learner(self, devices: Sequence[str]) -> Learner:
        """Return what teaches it; the network is moved to the first of the devices."""

    def draw(self, *, step: int) -> Any:
        """Return what a step sees, as arrays; asked in a thread, and decided by the step alone."""

    def batch(self, drawn: Any, device: str) -> Any:
        """Bring what was drawn to the device, as the learner takes it."""

    def examine(self) -> Examination | None:
        """Examine the network with the weights that it has; `None` if there is nothing to."""


class Watch(Protocol):
    """Looks on while a network learns; what comes out of the training is the same without it."""

    def follow(self, said: Mapping[str, float]) -> bool:
        """Take what a step said; return whether to look at the network now."""

    def look(self, step: int, steps: int) -> None:
        """Look at the network, which has the averaged weights of this step for the moment."""


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


def learn(
    task: Task,
    settings: LoopSettings,
    *,
    folder: Path,
    resume: bool = False,
    devices: Sequence[str] = ("cpu",),
    on_step: Callable[[int, int, str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    should_end: Callable[[], bool] = lambda: False,
    watch: Watch | None = None,
) -> TrainingResult:
    """Train a network in place; it ends with the best averaged weights.

    Parameters
    ----------
    task
        What is taught; without examinations the last averaged weights are kept.
    settings
        See `LoopSettings`.
    folder
        Takes ``checkpoint.pt`` and ``log.csv``.
    resume
        Go on from the checkpoint in ``folder``.
    devices
        Torch devices; several share each batch.
    on_step
        Called with steps done, steps in all, and a sentence.
    should_stop
        Asked after every step; a checkpoint is written before stopping.
    should_end
        Asked after every step; the training then ends as after its last one.
    watch
        Looks before the first step, when it wants to, and after the last.

    Raises
    ------
    SettingsError
        If the checkpoint is of other settings.
    PixelDataError
        If the loss becomes NaN; the network then has the best weights so far.
    DiskError
        If checkpoint or log cannot be written.
    """
    began = time.monotonic()
    device = devices[0]
    module = task.module()
    with seeded(settings.seed, device=device):
        learner = task.learner(devices)
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
        state = State.resumed(checkpoint, learner, task.names, frozen, device=device)
    else:
        with disk_errors(folder):  # now, not after the first hour
            folder.mkdir(parents=True, exist_ok=True)
    pace = Pace(settings, state)
    finished = True
    for network in learner.networks.values():
        network.train()
    if watch is not None:
        with _averaged(module, state.average):
            watch.look(state.step, pace.steps)
    with Prefetch(task.draw, state.step) as drawn:
        while state.step < pace.steps:
            step = state.step
            factor = rate_factor(step, pace.steps, settings.schedule)
            for name, optimiser in learner.optimisers.items():
                for group, rate in zip(optimiser.param_groups, rates[name], strict=True):
                    group["lr"] = rate * factor
            given = task.batch(drawn.take(step), device)
            moment = Moment(
                step=step, epoch=step * task.seen_a_step, done=step / pace.steps,
                device=torch.device(device).type, precision=settings.precision,
                clip=settings.clip,
            )  # fmt: skip
            # What a step draws depends on its number alone, so that a resumed one draws the same.
            with seeded(settings.seed, step, device=device):
                said = learner.step(given, moment)
            wrong = next((name for name, value in said.items() if not np.isfinite(value)), None)
            if wrong is not None:
                module.load_state_dict(state.kept)
                raise PixelDataError(
                    f"The {wrong} became {said[wrong]} at step {step}. Use a lower "
                    "--learning-rate, or --precision fp32; a checkpoint written before is kept."
                )
            state.take(said, module, settings)
            pace.tell(state, said)
            looks = watch is not None and watch.follow(said)
            stopping = should_stop()
            examined = state.step % settings.validate_every == 0
            last = state.step >= pace.steps or should_end()
            if last or examined:
                _take_stock(
                    task, state,
                    seconds=time.monotonic() - began, waited=drawn.waited_s,
                    rate=next(iter(rates.values()))[0] * factor,
                )  # fmt: skip
                with disk_errors(folder):
                    _write_log(folder / "log.csv", state.rows)
                last = last or bool(settings.patience and state.stale >= settings.patience)
            if watch is not None and (looks or last):
                with _averaged(module, state.average):
                    watch.look(state.step, pace.steps)
            if last or stopping or examined:
                # Stopping in between examines nothing: it must not change what is kept as best.
                with disk_errors(checkpoint):
                    state.save(checkpoint, learner, task.names, frozen)
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
    best = Examination(state.best_loss, tuple(state.best_scores)) if state.best else None
    return TrainingResult(state.step, finished, best, time.monotonic() - began)


@contextmanager
def seeded(*seeds: int, device: str) -> Iterator[None]:
    """Draw what torch draws from seeds, and leave its own random state as it was."""
    cards = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1))
        yield


@contextmanager
def _averaged(module: nn.Module, average: Weights) -> Iterator[None]:
    """Give a network its averaged weights for the moment."""
    current = snapshot(module)
    module.load_state_dict(average)
    try:
        yield
    finally:
        module.load_state_dict(current)
        module.train()


def _take_stock(task: Task, state: State, *, seconds: float, waited: float, rate: float) -> None:
    """Examine the averaged weights, keep them if they are the best, and note it."""
    row: dict[str, Any] = {
        "step": state.step,
        "learning_rate": rate,
        **{f"train_{name}": float(np.mean(values)) for name, values in state.running.items()},
        "seconds": round(seconds, 1),
        "waited_s": round(waited, 1),
    }
    module = task.module()
    with _averaged(module, state.average):
        found = task.examine()
        if found is not None:
            state.stale += 1
            if found.loss < state.best_loss:
                state.best, state.stale = snapshot(module), 0
                state.best_loss, state.best_scores = found.loss, list(found.scores)
            row["validation_loss"] = found.loss
            row |= {
                f"{task.score} {name}": value
                for name, value in zip(task.names, found.scores, strict=True)
            }
    state.rows.append(row)
    state.running = {}


def _write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
