"""Which channels are planes of one stack? Microscopes save bright field at several heights so.

JUMP Cell Painting has ``Brightfield``, ``Brightfield High`` and ``Brightfield
Low``, one plane each. How they lie is read from their heights in the metadata:
their order, numbers and names differ from site to site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_virtualstain.datasets.z_planes import SAME_PLANE_UM
from napari_virtualstain.io.image import Channel, LazyImage

__all__ = ["alike", "joined_planes", "middle_of"]


def alike(name: str, other: str) -> bool:
    """Return whether two channels are of one kind: the first six letters of one are in the other.

    Examples
    --------
    >>> alike("Brightfield", "bright field low"), alike("Brightfield", "HighZBF")
    (True, True)
    >>> alike("Brightfield", "Digital Phase Contrast")
    False
    """
    key = _letters(name)[:6]
    return bool(key) and key in _letters(other)


def middle_of(channels: Sequence[Channel]) -> Channel | None:
    """Return the channel in the middle of an odd number at different heights, else `None`."""
    heights = [channel.z_offset_um for channel in channels]
    known = sorted(height for height in heights if height is not None)
    if len(known) != len(channels) or len(known) % 2 == 0 or not np.diff(known).all():
        return None
    return channels[heights.index(known[len(known) // 2])]


def joined_planes(
    image: LazyImage, name: str, z_offsets_um: Sequence[float | None]
) -> tuple[LazyImage, tuple[str, ...]] | None:
    """Return one channel whose planes are channels of the image at a model's offsets.

    Parameters
    ----------
    image
        With one plane a channel.
    name
        Channel that lies at 0.
    z_offsets_um
        Wanted positions relative to it.

    Returns
    -------
    tuple or None
        The image (T, 1, P, Y, X) and the channel of each plane; `None` unless there are several
        of one kind, and each offset has one of its own within 1 µm.
    """
    reference = image.channels[image.channel_index(name)]
    if image.shape[2] != 1 or None in z_offsets_um or reference.z_offset_um is None:
        return None
    known = [
        (channel.name, channel.z_offset_um - reference.z_offset_um)
        for channel in image.channels
        if channel.z_offset_um is not None
        and channel.modality == reference.modality
        and alike(reference.name, channel.name)
    ]
    if len(known) < 2:
        return None
    at = np.array([height for _, height in known])
    # (wanted, there): how far each channel lies from each wanted position
    apart = np.abs(np.subtract.outer(np.array(z_offsets_um, float), at))
    nearest = [int(i) for i in apart.argmin(axis=1)]
    if apart.min(axis=1).max() > SAME_PLANE_UM or len(set(nearest)) < len(nearest):
        return None
    names = tuple(known[i][0] for i in nearest)
    chosen = image.select(list(names))
    stack = replace(
        chosen,
        # (T, P, 1, Y, X) -> (T, 1, P, Y, X)
        data=chosen.data.transpose(0, 2, 1, 3, 4),
        channels=(reference,),
        missing=tuple(sorted((t, 0, c) for t, c, _ in chosen.missing)),
        z_positions_um=tuple(float(at[i]) for i in nearest),
    )
    return stack, names


def _letters(name: str) -> str:
    letters = "".join(letter for letter in name.casefold() if letter.isalnum())
    if letters.startswith("bf") or letters.endswith("bf"):
        letters = f"brightfield{letters}"
    return letters
