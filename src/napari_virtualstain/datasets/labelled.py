"""Pictures and what they are called: what an encoder learns from.

Pictures stay as they came, in grey values and unread; a crop is normalised when it is cut, with
numbers of the whole training set or of its whole picture, never its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import LazyArray, Region
from napari_virtualstain.datasets.pairs import look_at, merge_all
from napari_virtualstain.errors import ChannelError, PixelDataError, SettingsError
from napari_virtualstain.intensity import Normalisation, PixelStatistics, Rule

__all__ = ["CHANNEL", "Example", "LabelledPicture", "LabelledSet", "classes_of", "label_up"]

CHANNEL = "channel"
"""The label that every picture has: which of its channels is looked at."""
_FEW = 2

NormaliseOn = Literal["set", "field"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPicture:
    """One picture of some channels.

    Parameters
    ----------
    name
        Unique in its set.
    pixels
        (C, *S) of any dtype, read by slices; NaN is missing.
    label
        What it is called, `None` if nobody knows.
    group
        What must stay on one side of a split: the picture, its well or plate.
    """

    name: str
    pixels: LazyArray
    label: str | None = None
    group: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Edges in pixels, (Y, X) or (Z, Y, X)."""
        return tuple(self.pixels.shape[1:])


@dataclass(frozen=True, slots=True)
class Example:
    """What is looked at as one: a picture, or one channel of it.

    Parameters
    ----------
    picture
        Index in the set.
    channel
        Index, `None` for all together.
    label
        Index of its class, `None` without.
    """

    picture: int
    channel: int | None
    label: int | None


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """Pictures with the numbers that normalise them.

    Parameters
    ----------
    pictures
        In order.
    channels
        Names, in the order of the pixels.
    normalisations
        By picture, then channel.
    stored
        By channel: those of the whole set, empty where each picture has its own.
    examples
        What is looked at; channels that are missing are not among them.
    classes
        Names of the labels.
    left_out
        How many examples have missing pixels and are not there.
    unlabelled
        How many pictures have no label, where labels are asked for.
    """

    pictures: tuple[LabelledPicture, ...]
    channels: tuple[str, ...]
    normalisations: tuple[tuple[Normalisation, ...], ...]
    stored: tuple[Normalisation, ...]
    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    left_out: int = 0
    unlabelled: int = 0

    def shape(self, example: int) -> tuple[int, ...]:
        """Return the edges of what an example shows."""
        return self.pictures[self.examples[example].picture].shape

    def read(self, example: int, region: Region) -> NDArray[np.float32]:
        """Read and normalise a region of *S: (1, *S) of one channel, else (C, *S)."""
        one = self.examples[example]
        norms = self.normalisations[one.picture]
        which = slice(None) if one.channel is None else slice(one.channel, one.channel + 1)
        pixels = np.asarray(self.pictures[one.picture].pixels[(which, *region)])
        return np.stack([n.apply(p) for n, p in zip(norms[which], pixels, strict=True)])


def classes_of(labels: Sequence[str | None]) -> tuple[str, ...]:
    """Return the classes of labels, in the order of the alphabet.

    Raises
    ------
    SettingsError
        If there are fewer than two.
    """
    known = Counter(label for label in labels if label is not None)
    if len(known) < _FEW:
        found = f"only one, {next(iter(known))!r}" if known else "none"
        raise SettingsError(
            f"At least two classes can be told apart, and the pictures have {found}. Give a table "
            "with more --labels, or name another --label."
        )
    return tuple(sorted(known))


def label_up(
    pictures: Sequence[LabelledPicture],
    *,
    channels: Sequence[str],
    per_channel: bool,
    label: str,
    classes: Sequence[str] = (),
    rule: Rule,
    normalise_on: NormaliseOn,
    stored: Sequence[Normalisation] | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> LabelledSet:
    """Look at every pixel once, fit the normalisations, and list what is looked at.

    Parameters
    ----------
    pictures
        With the same channels.
    channels
        Their names.
    per_channel
        Whether each channel is looked at by itself.
    label
        ``""`` where labels do not matter, `CHANNEL` where the channel is the label.
    classes
        Those that are told apart; pictures of others are not looked at.
    rule
        Fitted on the whole set or on each picture.
    normalise_on
        Which of the two.
    stored
        By channel: those of a training set, for pictures that examine.
    on_picture
        Told of pictures looked at.

    Raises
    ------
    ChannelError
        If pictures have other channels.
    PixelDataError
        If a channel is constant, or nothing is left to look at.
    """
    accumulated = []
    for number, picture in enumerate(pictures):
        if picture.pixels.shape[0] != len(channels):
            raise ChannelError(
                f"Picture {picture.name!r} has {picture.pixels.shape[0]} channels, and "
                f"{', '.join(channels)} are asked for. Give every picture the same channels."
            )
        accumulated.append(look_at(picture.pixels, rule.quantiles))
        if on_picture is not None:
            on_picture(number + 1, len(pictures))
    seen = [[one.result() for one in of_picture] for of_picture in accumulated]
    if normalise_on == "field":
        kept: tuple[Normalisation, ...] = ()
    elif stored is not None:
        kept = tuple(stored)
    else:
        kept = tuple(
            rule.fit(one.result(), what=f"Channel {name!r}", may_lack=True)
            for name, one in zip(channels, merge_all(accumulated), strict=True)
        )
    norms = tuple(
        kept
        or tuple(
            rule.fit(one, what=f"Channel {name!r} of picture {picture.name!r}", may_lack=True)
            if one.count
            else Normalisation()
            for name, one in zip(channels, of_picture, strict=True)
        )
        for picture, of_picture in zip(pictures, seen, strict=True)
    )
    examples, left_out = _examples(pictures, seen, channels, per_channel, label, classes)
    if not examples:
        raise PixelDataError(
            "No picture is left to look at: all have missing (NaN) pixels or no label. "
            "Give pictures that are whole, or a table of --labels that names them."
        )
    lacking = sum(p.label is None for p in pictures) if label and label != CHANNEL else 0
    return LabelledSet(
        tuple(pictures), tuple(channels), norms, kept, examples,
        tuple(channels) if label == CHANNEL else tuple(classes), left_out, lacking,
    )  # fmt: skip


def _examples(
    pictures: Sequence[LabelledPicture],
    seen: Sequence[Sequence[PixelStatistics]],
    channels: Sequence[str],
    per_channel: bool,
    label: str,
    classes: Sequence[str],
) -> tuple[tuple[Example, ...], int]:
    number = {name: n for n, name in enumerate(classes)}
    found, left_out = [], 0
    for index, (picture, statistics) in enumerate(zip(pictures, seen, strict=True)):
        known = None if picture.label is None else number.get(picture.label)
        if label not in ("", CHANNEL) and known is None:
            continue
        whole = [one.count > 0 and not one.not_finite for one in statistics]
        if not per_channel:
            if all(whole):
                found.append(Example(index, None, known))
            else:
                left_out += 1
            continue
        for channel in range(len(channels)):
            if whole[channel]:
                found.append(Example(index, channel, channel if label == CHANNEL else known))
            else:
                left_out += 1
    return tuple(found), left_out
