"""What a generator is taught, and how it is examined: patches of matched fields.

A task of the training loop (`training.loop`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.learning import Batch, Term
from napari_virtualstain.generators.sampled import SampledGenerator
from napari_virtualstain.losses.descent import Learner
from napari_virtualstain.losses.pixel import get_loss
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.training.foreground import find_foreground
from napari_virtualstain.training.loop import Examination, TrainingResult, Watch, learn
from napari_virtualstain.training.patches import check_patch_size, draw_batch, middle
from napari_virtualstain.training.settings import LoopSettings, learning_settings
from napari_virtualstain.training.together import make_learner

__all__ = [
    "Beside",
    "Painting",
    "examine",
    "examined_part",
    "fit",
    "painted_on_nothing",
    "patch_shape",
]

Patches = tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, ...]]
_EXAMINED = {2: 1024, 3: 128}
"""Largest edge of the part of a field that is examined, in pixels, by spatial axes."""
_EMPTY_SD = 0.05
"""Of the noise that stands for a field without cells, in SD of one with cells."""
_DRAWN = 256
"""The same of what is drawn in several passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Other truths of the validation fields: their scores are noted, and decide nothing.

    Parameters
    ----------
    pairs
        The same fields with other stains.
    names
        By place among the stains, what the scores of those that are compared are called.
    """

    pairs: PairedSet
    names: Mapping[int, str]


class Painting:
    """Learn to predict the stains of patches; see `training.loop.Task`.

    Parameters
    ----------
    generator
        With the weights to start from.
    train, validation
        Fields.
    settings
        Of the training.
    stain_names
        Columns of the log.
    term
        What is made small beside the loss of the method; `None` for nothing.
    labels
        By training field, the number of the class of each label, -1 where it is not known; `None`
        for a method that is told none.
    beside
        What the validation fields are compared with besides.

    Raises
    ------
    SettingsError
        If patches, fields and network do not fit.
    """

    score = "pcc"

    def __init__(
        self,
        generator: Generator,
        train: PairedSet,
        settings: LoopSettings,
        *,
        validation: PairedSet | None,
        stain_names: tuple[str, ...],
        term: Term | None = None,
        labels: NDArray[np.int64] | None = None,
        beside: Beside | None = None,
    ) -> None:
        self.names, self._term, self._labels = stain_names, term, labels
        self._beside = beside
        if beside is not None:
            self.names += tuple(beside.names.values())
        self._generator, self._train, self._validation = generator, train, validation
        self._settings, self._patch = settings, patch_shape(generator, settings)
        stride, window = generator.multiple_of, generator.window
        check_patch_size(train, patch=self._patch, multiple_of=stride, window=window)
        if validation is not None:
            _check_examined(validation, multiple_of=stride, window=window)
        pixels = sum(prod(field.shape) for field in train.fields)
        self.seen_a_step = settings.batch * prod(self._patch) / pixels
        self._foreground = find_foreground(train) if settings.foreground else None
        self._told = learning_settings(generator.learning, settings)
        least = self._told.smallest_patch
        if min(self._patch[-2:]) < least:
            raise SettingsError(
                f"The critic of this method gives its first score to patches of {least} px, got "
                f"{settings.patch}. Use --patch {-(-least // stride) * stride} or more, or fewer "
                "--method critic_layers."
            )

    def module(self) -> nn.Module:
        """Return the generator's network."""
        return self._generator.module()

    def learner(self, devices: Sequence[str]) -> Learner:
        """Return what teaches it."""
        return make_learner(self._generator, self._told, devices)

    def draw(self, *, step: int) -> Patches:
        """Return planes (B, P, *S), stains (B, C, *S), and the field of each."""
        settings = self._settings
        return draw_batch(
            self._train, step=step, batch=settings.batch, patch=self._patch,
            augment=settings.augment, seed=settings.seed, alike=settings.sampler,
            foreground=self._foreground, share=settings.foreground,
        )  # fmt: skip

    def batch(self, drawn: Patches, device: str) -> Batch:
        """Return the same on the device."""
        planes, stains = (torch.from_numpy(pixels).to(device) for pixels in drawn[:2])
        labels = None
        if self._labels is not None:
            labels = torch.from_numpy(self._labels[list(drawn[2])]).to(device)
        at_once = self._settings.at_once or self._settings.batch
        return Batch(planes, stains, at_once=at_once, term=self._term, labels=labels)

    def examine(self) -> Examination | None:
        """Predict the validation fields, if there are some and the generator can already."""
        generator, held = self._generator, self._validation
        early = isinstance(generator, SampledGenerator) and not generator.drawable
        if held is None or not held.fields or early:
            return None
        return examine(generator, held, loss=self._settings.loss, beside=self._beside)


def fit(
    generator: Generator,
    train: PairedSet,
    settings: LoopSettings,
    *,
    validation: PairedSet | None = None,
    folder: Path,
    stain_names: tuple[str, ...],
    term: Term | None = None,
    labels: NDArray[np.int64] | None = None,
    beside: Beside | None = None,
    resume: bool = False,
    devices: Sequence[str] = ("cpu",),
    on_step: Callable[[int, int, str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    should_end: Callable[[], bool] = lambda: False,
    watch: Watch | None = None,
) -> TrainingResult:
    """Train a generator in place; see `Painting` and `training.loop.learn`."""
    task = Painting(
        generator, train, settings, validation=validation, stain_names=stain_names, term=term,
        labels=labels, beside=beside,
    )  # fmt: skip
    return learn(
        task, settings, folder=folder, resume=resume, devices=devices, on_step=on_step,
        should_stop=should_stop, should_end=should_end, watch=watch,
    )  # fmt: skip


def examine(
    generator: Generator, pairs: PairedSet, *, loss: str, beside: Beside | None = None
) -> Examination:
    """Predict validation fields and compare, in normalised units.

    Of a field larger than 1024 px (a volume: 128 px) the middle is taken: what an examination needs
    of memory must not depend on how large somebody's images are. Scores are the Pearson correlation
    of each stain, the mean over fields; NaN where it is missing. What is compared besides has its
    scores behind them.

    Of a generator that draws, 256 px are drawn, always with the same noise, and what decides is 1
    minus the mean correlation, plus what it paints where there is nothing (`painted_on_nothing`):
    a pixel loss would prefer a blurred mean, and that of a step of its training says nothing.
    """
    drawn = isinstance(generator, SampledGenerator)
    measure = get_loss(loss)
    losses, correlations, others = [], [], []
    for index, field in enumerate(pairs.fields):
        # Cut to the stride: padding would be judged along with the picture.
        part = examined_part(field.shape, generator)
        planes, stains = pairs.read(index, part)
        predicted = generator.predict(planes[None])[0]
        found = float(measure(torch.from_numpy(predicted), torch.from_numpy(stains)))
        # Nothing known is no loss of 0, which no other weights could beat.
        losses.append(found if np.isfinite(stains).any() else float("nan"))
        correlations.append([_alike(p, s) for p, s in zip(predicted, stains, strict=True)])
        if beside is not None:
            _, truths = beside.pairs.read(index, part)
            others.append([_alike(predicted[n], truths[n]) for n in beside.names])
    pcc = _means(correlations)
    if drawn:
        least = 1 - float(np.nanmean(pcc)) if np.isfinite(pcc).any() else float("nan")
        losses = [least + painted_on_nothing(generator, pairs)]
    judged = [value for value in losses if not np.isnan(value)]
    found = float(np.mean(judged)) if judged else float("nan")
    return Examination(loss=found, scores=(*pcc, *(_means(others) if others else ())))


def _alike(predicted: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    return pearson(predicted, truth) if np.isfinite(truth).any() else float("nan")


def _means(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the mean of each column, of what is known of it; NaN where nothing is."""
    table = np.array(rows)
    known = np.isfinite(table)
    means = np.where(known, table, 0).sum(0) / np.maximum(known.sum(0), 1)
    return tuple(float(m) if k else float("nan") for m, k in zip(means, known.any(0), strict=True))


def painted_on_nothing(generator: Generator, pairs: PairedSet) -> float:
    """Return how much is painted on a field without cells, as a share of what cells have.

    The field is camera noise as `datasets.pairs` normalises that of an empty one: far less contrast
    than cells have. What counts is the mean of what lies above the background of the true stains
    (their lower quartile, by a standard deviation), over stains; 0 is nothing, 1 as much as the
    first field has.

    Parameters
    ----------
    generator
        Over planes.
    pairs
        Its first field says what cells have.
    """
    part = examined_part(pairs.fields[0].shape, generator)
    planes, stains = pairs.read(0, part)
    noise = np.random.default_rng(0).normal(0, _EMPTY_SD, planes.shape).astype(np.float32)
    painted = generator.predict(noise[None])[0]
    shares = []
    for one, truth in zip(painted, stains, strict=True):
        known = truth[np.isfinite(truth)]
        if known.size == 0:
            continue
        floor = np.quantile(known, 0.25) + 1.0
        cells = float(np.maximum(known - floor, 0).mean())
        if cells > 0:
            shares.append(float(np.maximum(one - floor, 0).mean()) / cells)
    return float(np.mean(shares)) if shares else 0.0


def examined_part(shape: tuple[int, ...], generator: Generator) -> Region:
    """Return the middle of a field, as large as an examination looks at; see `examine`."""
    largest, stride, window = _EXAMINED[generator.ndim], generator.multiple_of, generator.window
    if isinstance(generator, SampledGenerator):
        largest = _DRAWN
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


def patch_shape(generator: Generator, settings: LoopSettings) -> tuple[int, ...]:
    """Return the edges of a patch: (Y, X), or (Z, Y, X) of a generator over volumes."""
    flat = (settings.patch, settings.patch)
    if generator.ndim == len(flat):
        return flat
    return (settings.patch_z if generator.window is None else generator.window, *flat)
