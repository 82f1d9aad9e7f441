"""Which patches a step sees: decided by seed and step alone.

No random state is carried from step to step, so that a training that resumes at
step 500 sees what the undisturbed one saw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.errors import SettingsError

__all__ = ["check_patch", "check_patch_size", "draw_batch", "middle", "turn"]


def check_patch(patch: int, *, multiple_of: int) -> None:
    """Refuse patches that do not fit the network.

    Raises
    ------
    SettingsError
        If the network cannot halve it as often as it would.
    """
    if patch % multiple_of:
        raise SettingsError(
            f"The network halves its input until {multiple_of} px become one, so a patch must be "
            f"a multiple of {multiple_of} px; got {patch}. "
            f"Use --patch {max(1, round(patch / multiple_of)) * multiple_of}."
        )


def check_patch_size(pairs: PairedSet, *, patch: int, multiple_of: int) -> None:
    """Refuse patches that do not fit the fields or the network.

    Raises
    ------
    SettingsError
        If a field is smaller than a patch, or the network cannot halve it.
    """
    check_patch(patch, multiple_of=multiple_of)
    for field in pairs.fields:
        if min(field.shape) < patch:
            raise SettingsError(
                f"Field {field.name!r} is {field.shape[0]} x {field.shape[1]} px, smaller than a "
                f"patch of {patch} px. Use a smaller --patch, or leave the field out."
            )


def middle(shape: tuple[int, int], largest: int, multiple_of: int = 1) -> tuple[slice, slice]:
    """Return the middle of a field, at most so large, its edges multiples of a number.

    Examples
    --------
    >>> middle((40, 90), 64, 16)
    (slice(0, 32, None), slice(13, 77, None))
    """
    parts = []
    for n in shape:
        length = min(n, largest) // multiple_of * multiple_of
        start = (n - length) // 2 if n > largest else 0
        parts.append(slice(start, start + length))
    return (parts[0], parts[1])


def turn(pixels: NDArray[np.float32], which: int) -> NDArray[np.float32]:
    """Return one of the eight flips and rotations of (C, Y, X); 0 changes nothing."""
    turned = np.rot90(pixels, which % 4, axes=(1, 2))
    return turned[:, :, ::-1] if which >= 4 else turned


def draw_batch(
    pairs: PairedSet, *, step: int, batch: int, patch: int, augment: bool, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut the patches of a step.

    Parameters
    ----------
    pairs
        Fields with their normalisations.
    step, seed
        Decide fields, corners and turns.
    batch, patch
        Number and edge (pixels) of the patches.
    augment
        Whether to flip and rotate.

    Returns
    -------
    tuple
        Planes (B, P, patch, patch) and stains (B, C, patch, patch), normalised.
    """
    rng = np.random.default_rng([seed, step])
    planes, stains = [], []
    for _ in range(batch):
        field = int(rng.integers(len(pairs.fields)))
        height, width = pairs.fields[field].shape
        y, x = int(rng.integers(height - patch + 1)), int(rng.integers(width - patch + 1))
        which = int(rng.integers(8)) if augment else 0
        p, s = pairs.read(field, (slice(y, y + patch), slice(x, x + patch)))
        planes.append(turn(p, which))
        stains.append(turn(s, which))
    return np.stack(planes), np.stack(stains)
