"""The training loop: patches, loss, average, examination, log, checkpoint.

Plain on purpose. Each step depends on the settings, the step number and the
state alone, so that on a CPU with the same number of threads a resumed training
ends with the same bits as an undisturbed one.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.losses.pixel import get_loss
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.training.checkpoint import load_checkpoint, save_checkpoint
from napari_virtualstain.training.patches import check_patch_size, draw_batch, middle
from napari_virtualstain.training.settings import LoopSettings

__all__ = ["Examination", "TrainingResult", "examine", "fit", "learning_rate"]

_EXAMINED = 1024
"""Largest edge of the part of a field that is examined, in pixels."""


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


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Return the rate of a step: linear up over 5 % of the steps, cosine down to 1 %."""
    warm = max(1, round(0.05 * settings.steps))
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, settings.steps - warm)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + cos(pi * done)))


def examine(generator: Generator, pairs: PairedSet, *, loss: str) -> Examination:
    """Predict validation fields and compare, in normalised units.

    Of a field larger than 1024 px the middle is taken: what an examination needs
    of memory must not depend on how large somebody's images are.
    """
    measure = get_loss(loss)
    losses, correlations = [], []
    for index, field in enumerate(pairs.fields):
        # Cut to the stride: padding would be judged along with the picture.
        planes, stains = pairs.read(index, middle(field.shape, _EXAMINED, generator.multiple_of))
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


def _check_examined(pairs: PairedSet, *, multiple_of: int) -> None:
    for field in pairs.fields:
        if min(field.shape) < multiple_of:
            raise SettingsError(
                f"Field {field.name!r} is {field.shape[0]} x {field.shape[1]} px, smaller than the "
                f"{multiple_of} px that the network makes one of, so it cannot examine. "
                "Leave the field out, or use a smaller --preset."
            )


def _average(average: dict[str, torch.Tensor], module: nn.Module, decay: float, step: int) -> None:
    # Early on the average would be made of random weights: let it follow faster.
    keep = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - keep)
            else:
                average[name].copy_(value)


def _snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def fit(
    generator: Generator,
    train: PairedSet,
    settings: LoopSettings,
    *,
    validation: PairedSet | None = None,
    folder: Path,
    stain_names: tuple[str, ...],
    resume: bool = False,
    device: str = "cpu",
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
    device
        Torch device.
    on_step
        Called with steps done, steps in all, and a sentence.
    should_stop
        Asked after every step; a checkpoint is written before stopping.

    Raises
    ------
    SettingsError
        If patches do not fit, or the checkpoint is of other settings.
    PixelDataError
        If the loss becomes NaN.
    DiskError
        If checkpoint or log cannot be written.
    """
    check_patch_size(train, patch=settings.patch, multiple_of=generator.multiple_of)
    if validation is not None:
        _check_examined(validation, multiple_of=generator.multiple_of)
    began = time.monotonic()
    module = generator.module().to(device)
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    state: dict[str, Any] = {
        "step": 0, "average": _snapshot(module), "best": None, "best_loss": float("inf"),
        "best_pcc": [], "rows": [], "running": [],
    }  # fmt: skip
    frozen = settings.model_dump(mode="json")
    checkpoint = folder / "checkpoint.pt"
    if resume:
        if not checkpoint.exists():
            raise SettingsError(
                f"There is no checkpoint in '{folder}' to resume from. Train without --resume."
            )
        stored = load_checkpoint(checkpoint, settings=frozen)
        try:
            module.load_state_dict(stored["module"])
            optimiser.load_state_dict(stored["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise SettingsError(
                f"The checkpoint in '{folder}' is of another network: its preset, planes or number "
                "of stains differ. Use the same settings, or train again without --resume."
            ) from error
        if tuple(stored.get("stains", stain_names)) != stain_names:
            raise SettingsError(
                f"The checkpoint was made for {', '.join(stored['stains'])}, this training is for "
                f"{', '.join(stain_names)}. Name the same --stains in the same order."
            )
        state = {key: stored[key] for key in state}
        state["average"] = {k: v.to(device) for k, v in stored["average"].items()}
    else:
        with disk_errors(folder):  # now, not after the first hour
            folder.mkdir(parents=True, exist_ok=True)
    measure = get_loss(settings.loss)
    finished = True
    module.train()
    while state["step"] < settings.steps:
        step = state["step"]
        loss = _step(module, optimiser, train, settings, step, measure, device)
        if not np.isfinite(loss):
            raise PixelDataError(
                f"The loss became {loss} at step {step}. Use a lower --learning-rate, or "
                "--precision fp32; a checkpoint written before is kept."
            )
        state["running"].append(loss)
        if settings.ema:
            _average(state["average"], module, settings.ema, step)
        else:
            state["average"] = _snapshot(module)
        state["step"] = step + 1
        stopping = should_stop()
        last = state["step"] == settings.steps
        if last or state["step"] % settings.validate_every == 0:
            _take_stock(generator, state, settings, validation, began, stain_names)
            with disk_errors(folder):
                _write_log(folder / "log.csv", state["rows"])
        if last or stopping or state["step"] % settings.validate_every == 0:
            # Stopping in between examines nothing: it must not change what is kept as best.
            current = {"module": module.state_dict(), "optimiser": optimiser.state_dict()}
            with disk_errors(checkpoint):
                named = {"stains": list(stain_names)}
                save_checkpoint(checkpoint, {**state, **current, **named}, settings=frozen)
        if on_step is not None:
            on_step(state["step"], settings.steps, f"steps, loss {loss:.4f}")
        if stopping and not last:
            finished = False
            break
    module.load_state_dict(state["best"] or state["average"])
    module.eval()
    best = Examination(state["best_loss"], tuple(state["best_pcc"])) if state["best"] else None
    return TrainingResult(state["step"], finished, best, time.monotonic() - began)


def _step(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    train: PairedSet,
    settings: LoopSettings,
    step: int,
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    device: str,
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, settings)
    planes, stains = draw_batch(
        train,
        step=step,
        batch=settings.batch,
        patch=settings.patch,
        augment=settings.augment,
        seed=settings.seed,
    )
    x, y = torch.from_numpy(planes).to(device), torch.from_numpy(stains).to(device)
    kind = torch.device(device).type
    with torch.autocast(kind, torch.bfloat16, enabled=settings.precision == "bf16"):
        predicted = module(x)
    loss = measure(predicted.float(), y)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _take_stock(
    generator: Generator,
    state: dict[str, Any],
    settings: LoopSettings,
    validation: PairedSet | None,
    began: float,
    stain_names: tuple[str, ...],
) -> None:
    """Examine the averaged weights, keep them if they are the best, and note it."""
    row: dict[str, Any] = {
        "step": state["step"],
        "learning_rate": learning_rate(state["step"] - 1, settings),
        "train_loss": float(np.mean(state["running"])),
        "seconds": round(time.monotonic() - began, 1),
    }
    if validation is not None and validation.fields:
        module = generator.module()
        current = _snapshot(module)
        module.load_state_dict(state["average"])
        found = examine(generator, validation, loss=settings.loss)
        if found.loss < state["best_loss"]:
            state["best"] = _snapshot(module)
            state["best_loss"], state["best_pcc"] = found.loss, list(found.pcc)
        module.load_state_dict(current)
        module.train()
        row["validation_loss"] = found.loss
        row |= {f"pcc {name}": value for name, value in zip(stain_names, found.pcc, strict=True)}
    state["rows"].append(row)
    state["running"] = []


def _write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
