"""What is seen of a tuning while it runs? Held-back fields, restained every few seconds.

A part of a field is stained with the weights of the moment and written beside the training, with
the losses and correlations of up to four such parts. Looking changes nothing of what is learnt, and
takes a tenth of the time at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.sampled import SampledGenerator
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.jobs.tuning_run import (
    Curves,
    HeldCrop,
    Point,
    read_curves,
    write_crop,
    write_curves,
    write_look,
)
from napari_virtualstain.metrics.floor import linear_floor
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.training.painting import examined_part

__all__ = ["TuningWatch"]

_FLAT = 3
"""Axes of planes (P, Y, X)."""
_EDGE = 256
"""Of a part in pixels; of what draws, half of it."""
_FIELDS = 4
_LOOKS = 24
"""That are kept to be looked back at."""
_PAUSE_S = 2.0
_SHARE = 10
"""Looking takes one part of so many of the time."""
_LOSSES: dict[str, Callable[..., Any]] = {"l1": np.abs, "l2": np.square}
"""Of the difference of known pixels; as `losses.pixel` has them for a training."""


class TuningWatch:
    """Stains parts of held-back fields while a generator is tuned; see `training.loop.Watch`.

    Parameters
    ----------
    folder
        Of the training.
    generator
        That learns.
    before
        With the weights of the base model; the same, before it learns.
    held
        Fields that do not teach, normalised as those that do.
    stains
        Names.
    base
        By stain: what returns a prediction of the base model to grey values.
    judges
        Whether these fields judge in the end.
    loss
        Pixel loss of the training.
    resume
        Whether the curves go on.
    """

    def __init__(
        self,
        folder: Path,
        generator: Generator,
        before: Generator,
        held: PairedSet,
        *,
        stains: Sequence[str],
        base: Sequence[Normalisation],
        judges: bool,
        loss: str,
        resume: bool,
    ) -> None:
        self._folder, self._generator, self._held = folder, generator, held
        drawn = isinstance(generator, SampledGenerator)
        self._loss = None if drawn else _LOSSES[loss]
        largest = _EDGE // 2 if drawn else _EDGE
        count = 1 if drawn else _FIELDS
        self._parts = [
            (n, _busiest(held, n, generator, largest)) for n in range(len(held.fields))[:count]
        ]
        self._said: list[float] = []
        self._began = time.monotonic()
        plain, truths, planes = [], [], []
        for n, part in self._parts:
            seen, truth = held.read(n, part)
            stained = before.predict(seen[None])[0]
            grey = [b.invert(p) for b, p in zip(base, stained, strict=True)]
            # In the units of the tuning, so that all losses can be compared.
            plain.append(np.stack([o.apply(g) for o, g in zip(held.outputs, grey, strict=True)]))
            truths.append(truth)
            planes.append(seen)
        self._planes, self._truths = planes, truths
        known = read_curves(folder) if resume else None
        self._earlier = known.points[-1].seconds if known is not None and known.points else 0.0
        self._curves = Curves(
            stains=tuple(stains), fields=tuple(held.fields[n].name for n, _ in self._parts),
            judges=judges, steps=0, base=self._point(0, plain),
            points=() if known is None else known.points, floor=_floors(planes, truths),
        )  # fmt: skip
        crop = HeldCrop(planes=planes[0], truth=self._grey(truths[0]), base=self._grey(plain[0]))
        write_crop(folder, crop)
        self._next = 0.0

    def follow(self, said: Mapping[str, float]) -> bool:
        """Take what a step said; return whether to look now."""
        self._said.append(next(iter(said.values())))
        return time.monotonic() >= self._next

    def look(self, step: int, steps: int) -> None:
        """Stain the parts with the weights of the moment, and write what there is to see."""
        generator = self._generator
        if isinstance(generator, SampledGenerator) and not generator.drawable:
            return
        began = time.monotonic()
        found = [self._predict(planes) for planes in self._planes]
        # Of a run that was killed behind its checkpoint, the same steps come again.
        earlier = tuple(point for point in self._curves.points if point.step < step)
        self._curves = replace(
            self._curves, steps=steps, points=(*earlier, self._point(step, found))
        )
        write_look(self._folder, step, self._grey(found[0]), most=_LOOKS)
        write_curves(self._folder, self._curves)
        self._said.clear()
        now = time.monotonic()
        self._next = now + max(_PAUSE_S, _SHARE * (now - began))

    def _predict(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._generator.predict(planes[None])[0]
        return found

    def _grey(self, stained: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([o.invert(s) for o, s in zip(self._held.outputs, stained, strict=True)])

    def _point(self, step: int, found: Sequence[NDArray[np.float32]]) -> Point:
        """Return how predictions of the parts, normalised, compare with the truth."""
        loss = None
        if self._loss is not None:
            losses = [
                float(np.nanmean(self._loss(p - t)))
                for p, t in zip(found, self._truths, strict=True)
                if np.isfinite(t).any()
            ]
            loss = float(np.mean(losses)) if losses else None
        table = np.array(
            [
                [_alike(p, t) for p, t in zip(*pair, strict=True)]
                for pair in zip(found, self._truths, strict=True)
            ]
        )
        known = np.isfinite(table)
        pcc = [
            float(column[there].mean()) if there.any() else None
            for column, there in zip(table.T, known.T, strict=True)
        ]
        return Point(
            step=step, seconds=round(time.monotonic() - self._began + self._earlier, 2),
            train=float(np.mean(self._said)) if self._said else None, held=loss, pcc=tuple(pcc),
        )  # fmt: skip


def _floors(
    planes: Sequence[NDArray[np.float32]], truths: Sequence[NDArray[np.float32]]
) -> tuple[float | None, ...]:
    """Return by stain the mean of what a linear filter comes to on each part."""
    if planes[0].ndim != _FLAT:
        return (None,) * len(truths[0])
    found: list[float | None] = []
    for c in range(len(truths[0])):
        values = [
            linear_floor(seen, truth[c])
            for seen, truth in zip(planes, truths, strict=True)
            if np.isfinite(truth[c]).all()
        ]
        known = [value for value in values if np.isfinite(value)]
        found.append(float(np.mean(known)) if known else None)
    return tuple(found)


def _alike(predicted: NDArray[Any], truth: NDArray[Any]) -> float:
    return pearson(predicted, truth) if np.isfinite(truth).any() else float("nan")


def _busiest(held: PairedSet, number: int, generator: Generator, largest: int) -> Region:
    """Return the part of a field that shows most: where its stains vary most."""
    field = held.fields[number]
    whole = examined_part(field.shape, generator)
    stride = generator.multiple_of
    edges = [min(part.stop - part.start, max(largest // stride, 1) * stride) for part in whole[-2:]]
    first = [part.start for part in whole[-2:]]
    ends = [part.stop for part in whole[-2:]]
    _, stains = held.read(number, whole)
    best, region = -1.0, whole
    for y in range(first[0], ends[0] - edges[0] + 1, edges[0]):
        for x in range(first[1], ends[1] - edges[1] + 1, edges[1]):
            rows = slice(y - first[0], y - first[0] + edges[0])
            part = stains[..., rows, x - first[1] : x - first[1] + edges[1]]
            known = np.isfinite(part)
            varied = float(np.var(part[known])) if known.any() else 0.0
            if varied > best:
                best = varied
                region = (*whole[:-2], slice(y, y + edges[0]), slice(x, x + edges[1]))
    return region
