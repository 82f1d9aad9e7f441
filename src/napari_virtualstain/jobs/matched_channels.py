"""Which channel of a truth is a predicted stain? As named, else by name, else by synonym."""

from __future__ import annotations

from collections.abc import Sequence

from napari_virtualstain.datasets.stain_names import find_stain, is_doubt
from napari_virtualstain.errors import ChannelError, did_you_mean
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import list_scenes, open_image

__all__ = ["match_channels", "open_truth", "read_match", "taken_for"]

_FEW = 8
"""Images of a file or folder that are looked into for stains, unasked."""


def open_truth(
    path: str,
    stains: Sequence[str],
    *,
    scene: str | None = None,
    axes: str | None = None,
    pattern: str | None = None,
    channels: Sequence[str] = (),
) -> LazyImage:
    """Open the image that holds true stains: of a few in one folder or file, the one that has some.

    Parameters
    ----------
    path
        File or folder.
    stains
        What is looked for, by name or synonym.
    scene, axes, pattern, channels
        As in `io.open.open_image`; a scene or channels that are named decide alone.

    Raises
    ------
    VirtualStainError
        If it cannot be opened, or several images could be meant.
    """
    if scene is None and not channels:
        scenes = list_scenes(path, axes=axes, pattern=pattern)
        if 1 < len(scenes) <= _FEW:
            opened = [one.open() for one in scenes]
            holding = [
                image
                for image in opened
                if any(find_stain(stain, [n]) for stain in stains for n in image.channel_names)
            ]
            if len(holding) == 1:
                return holding[0]
    return open_image(
        path, scene=scene, axes=axes, pattern=pattern, channels=list(channels) or None
    )


def read_match(names: Sequence[str], match: Sequence[str]) -> list[tuple[str, str]]:
    """Parse ``PREDICTED=TRUE`` pairs.

    Raises
    ------
    ChannelError
        If one of them is none, or its first half no predicted channel.
    """
    pairs = []
    for text in match:
        stain, sign, truth = text.partition("=")
        if not sign or stain not in names:
            raise ChannelError(
                f"--match {text!r} does not say PREDICTED=TRUE with a predicted channel "
                f"({', '.join(names)}).{did_you_mean(stain, list(names))} "
                "Write for example --match DNA=DAPI."
            )
        pairs.append((stain, truth))
    return pairs


def match_channels(
    prediction: LazyImage, target: LazyImage, pairs: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return channel of the prediction and channel of the target: the named pairs, if there are.

    Raises
    ------
    ChannelError
        If no channel has a truth.
    """
    if pairs:
        return [
            (stain, target.channel_names[target.channel_index(truth)]) for stain, truth in pairs
        ]
    folded = {name.casefold(): name for name in target.channel_names}
    same = [
        (name, folded[name.casefold()])
        for name in prediction.channel_names
        if name.casefold() in folded
    ]
    if not same:
        found = (
            (name, find_stain(name, target.channel_names))
            for name in prediction.channel_names
            if not is_doubt(name)
        )
        same = [(name, channel.channel) for name, channel in found if channel is not None]
    if not same:
        raise ChannelError(
            f"No channel of the target ({', '.join(target.channel_names)}) has the name of a "
            f"predicted stain ({', '.join(prediction.channel_names)}). "
            "Pair them with --match, for example "
            f"--match '{prediction.channel_names[0]}={target.channel_names[0]}'."
        )
    return same


def taken_for(pairs: Sequence[tuple[str, str]], match: Sequence[str]) -> list[str]:
    """Say which channels were taken by a synonym."""
    if match:
        return []
    return [
        f"{stain} is compared with the channel {truth!r}; choose another with --match"
        for stain, truth in pairs
        if stain.casefold() != truth.casefold()
    ]
