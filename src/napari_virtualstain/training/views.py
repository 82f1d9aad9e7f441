"""Which crops of which pictures a step sees: decided by seed and step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from napari_virtualstain.datasets.labelled import LabelledSet
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.training.patches import turn
from napari_virtualstain.training.settings import ViewSettings

__all__ = ["Sampler", "check_pictures", "draw_crops", "draw_views", "resized_crop"]

Pixels = NDArray[np.float32]
_PAIR = 2
"""Pictures of a class, or wide views, at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampler:
    """Draw examples so that every class is drawn as often, however many pictures it has.

    Parameters
    ----------
    examples
        Of each class, indices in the set; one class of all where there are no labels.
    """

    examples: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, pictures: LabelledSet) -> Sampler:
        """Return the sampler of a set; classes without an example are not drawn."""
        labels = [-1 if one.label is None else one.label for one in pictures.examples]
        by_class = [np.flatnonzero(np.equal(labels, label)) for label in sorted(set(labels))]
        return cls(tuple(by_class))

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Return a class and one of its examples."""
        label = int(rng.integers(len(self.examples)))
        return label, int(rng.choice(self.examples[label]))

    def other(self, rng: np.random.Generator, label: int, example: int, like: LabelledSet) -> int:
        """Return another picture of the class, of the same channel; see `check_pictures`."""
        of, channel = like.examples[example].picture, like.examples[example].channel
        candidates = [
            int(i)
            for i in self.examples[label]
            if like.examples[i].picture != of and like.examples[i].channel == channel
        ]
        return candidates[int(rng.integers(len(candidates)))]


def check_pictures(
    pictures: LabelledSet, *, crop: Sequence[int], option: str, pairs: bool = False
) -> None:
    """Refuse pictures from which no crops can be drawn.

    Parameters
    ----------
    pictures
        To draw from.
    crop
        Smallest edges that a picture must have, in pixels.
    option
        That would make the crop smaller.
    pairs
        Whether a second picture of the same class is needed.

    Raises
    ------
    SettingsError
        If a picture is smaller than a crop, or a class has one picture alone.
    """
    for picture in pictures.pictures:
        if len(picture.shape) != len(crop) or any(
            n < edge for n, edge in zip(picture.shape, crop, strict=True)
        ):
            raise SettingsError(
                f"Picture {picture.name!r} is {_by(picture.shape)} px, smaller than a crop of "
                f"{_by(crop)} px. Use a smaller {option}, or leave the picture out."
            )
    if not pairs:
        return
    found: dict[tuple[int | None, int | None], set[int]] = {}
    for one in pictures.examples:
        found.setdefault((one.label, one.channel), set()).add(one.picture)
    for (label, channel), which in found.items():
        if len(which) < _PAIR:
            name = "" if label is None else pictures.classes[label]
            of = "" if channel is None else f" with {pictures.channels[channel]}"
            raise SettingsError(
                f"The class {name!r} has one picture{of}, and its small views must be of another. "
                "Give more pictures of it, leave it out of --labels, or train --encoder dino, "
                "which needs no labels."
            )


def resized_crop(
    pictures: LabelledSet,
    example: int,
    rng: np.random.Generator,
    *,
    edge: int,
    share: tuple[float, float],
    augment: bool,
) -> Pixels:
    """Cut a square that covers some share of a picture's area, and resize it.

    Parameters
    ----------
    pictures, example
        What is cut.
    rng
        Decides share, corner and turn.
    edge
        Of the result, in pixels.
    share
        Smallest and largest part of the picture's area.
    augment
        Whether to flip and rotate.

    Returns
    -------
    numpy.ndarray
        (C, edge, edge).
    """
    shape = pictures.shape(example)
    length = round(sqrt(rng.uniform(*share) * prod(shape)))
    length = max(1, min(length, *shape))
    corner = [int(rng.integers(n - length + 1)) for n in shape]
    pixels = pictures.read(example, tuple(slice(at, at + length) for at in corner))
    if length != edge:
        # Averaged where it gets smaller: what is finer than a pixel must not turn into noise.
        pixels = functional.interpolate(
            torch.from_numpy(pixels)[None], size=(edge, edge), mode="bicubic", antialias=True
        )[0].numpy()
    return turn(pixels, int(rng.integers(8))) if augment else pixels


def draw_views(
    pictures: LabelledSet,
    sampler: Sampler,
    *,
    step: int,
    batch: int,
    edge: int,
    views: ViewSettings,
    weak: bool,
    augment: bool,
    seed: int,
) -> tuple[Pixels, Pixels]:
    """Draw the views of a step.

    Parameters
    ----------
    pictures, sampler
        What is drawn from.
    step, seed
        Decide everything.
    batch
        Pictures a step.
    edge
        Of a wide view in pixels.
    views
        How many, how large.
    weak
        Whether narrow views are of another picture with the same label, after the steps in which
        they are of the same.
    augment
        Whether to flip and rotate.

    Returns
    -------
    tuple
        Wide views (W, B, C, edge, edge) and narrow ones (N, B, C, edge', edge').
    """
    rng = np.random.default_rng([seed, step])

    def cut(which: int, count: int, px: int, share: tuple[float, float]) -> list[Pixels]:
        return [
            resized_crop(pictures, which, rng, edge=px, share=share, augment=augment)
            for _ in range(count)
        ]

    wide, narrow = [], []
    for _ in range(batch):
        label, example = sampler.draw(rng)
        strange = weak and step >= views.own_steps
        other = sampler.other(rng, label, example, pictures) if strange else example
        wide.append(cut(example, _PAIR, edge, views.wide_share))
        narrow.append(cut(other, views.narrow_views, views.narrow_patch, views.narrow_share))
    return _by_view(wide), _by_view(narrow)


def _by_view(drawn: list[list[Pixels]]) -> Pixels:
    """Return (views, B, C, Y, X) of the views of each picture."""
    return np.ascontiguousarray(np.swapaxes(np.array(drawn, np.float32), 0, 1))


def draw_crops(
    pictures: LabelledSet,
    sampler: Sampler,
    *,
    step: int,
    batch: int,
    crop: Sequence[int],
    augment: bool,
    seed: int,
) -> tuple[Pixels, NDArray[np.int64]]:
    """Draw crops and the classes of their pictures.

    Parameters
    ----------
    pictures, sampler
        What is drawn from.
    step, seed
        Decide everything.
    batch
        Crops a step.
    crop
        Their edges in pixels.
    augment
        Whether to flip and rotate.

    Returns
    -------
    tuple
        (B, C, *crop) and (B,).
    """
    rng = np.random.default_rng([seed, step])
    pixels, classes = [], []
    for _ in range(batch):
        _, example = sampler.draw(rng)
        corner = [
            int(rng.integers(n - edge + 1))
            for n, edge in zip(pictures.shape(example), crop, strict=True)
        ]
        region = tuple(slice(at, at + edge) for at, edge in zip(corner, crop, strict=True))
        cut = pictures.read(example, region)
        pixels.append(turn(cut, int(rng.integers(8))) if augment else cut)
        classes.append(pictures.examples[example].label)
    return np.ascontiguousarray(np.stack(pixels)), np.array(classes, np.int64)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in shape)
