"""Which patches a step sees: decided by seed and step alone.

No random state is carried from step to step, so that a training that resumes at
step 500 sees what the undisturbed one saw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.training.foreground import Foreground

__all__ = ["check_patch", "check_patch_size", "draw_batch", "middle", "turn"]


def check_patch(patch: Sequence[int], *, multiple_of: int, window: int | None = None) -> None:
    """Refuse patches that do not fit the network.

    Parameters
    ----------
    patch
        Edges in pixels: (Y, X) or (Z, Y, X).
    multiple_of
        What the network makes one pixel of.
    window
        Planes that it takes, if that is fixed: those of the patch, which are then as many.

    Raises
    ------
    SettingsError
        If the network cannot halve it as often as it would.
    """
    divided = patch if window is None else patch[1:]
    for edge, option in zip(reversed(divided), ("--patch", "--patch", "--patch-z"), strict=False):
        if edge % multiple_of:
            raise SettingsError(
                f"The network halves its input until {multiple_of} px become one, so a patch must "
                f"be a multiple of {multiple_of} px; got {edge}. "
                f"Use {option} {max(1, round(edge / multiple_of)) * multiple_of}."
            )


def check_patch_size(
    pairs: PairedSet, *, patch: Sequence[int], multiple_of: int, window: int | None = None
) -> None:
    """Refuse patches that do not fit the fields or the network.

    Raises
    ------
    SettingsError
        If a field is smaller than a patch, or the network cannot halve it.
    """
    check_patch(patch, multiple_of=multiple_of, window=window)
    for field in pairs.fields:
        if window is not None and field.shape[0] < window:
            raise SettingsError(
                f"Field {field.name!r} has {field.shape[0]} z planes, and the network takes "
                f"{window} at a time. Leave the field out, or use another --preset."
            )
        if any(n < edge for n, edge in zip(field.shape, patch, strict=True)):
            options = "--patch" if len(patch) == 2 else "--patch or --patch-z"
            raise SettingsError(
                f"Field {field.name!r} is {_by(field.shape)} px, smaller than a "
                f"patch of {_by(patch)} px. Use a smaller {options}, or leave the field out."
            )


def _by(shape: Sequence[int]) -> str:
    """Return a shape for people.

    Examples
    --------
    >>> _by((40, 90)), _by((64, 64))
    ('40 x 90', '64 x 64')
    """
    return " x ".join(str(n) for n in shape)


def middle(shape: Sequence[int], largest: int, multiple_of: int = 1) -> Region:
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
    return tuple(parts)


def turn(pixels: NDArray[np.float32], which: int) -> NDArray[np.float32]:
    """Return one of the eight flips and rotations of (C, *S) in y and x; 0 changes nothing."""
    turned = np.rot90(pixels, which % 4, axes=(-2, -1))
    return turned[..., ::-1] if which >= 4 else turned


def draw_batch(
    pairs: PairedSet,
    *,
    step: int,
    batch: int,
    patch: Sequence[int],
    augment: bool,
    seed: int,
    alike: str = "pixels",
    foreground: Foreground | None = None,
    share: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, ...]]:
    """Cut the patches of a step.

    Parameters
    ----------
    pairs
        Fields with their normalisations.
    step, seed
        Decide fields, corners and turns.
    batch
        Number of the patches.
    patch
        Their edges in pixels: (Y, X) or (Z, Y, X), the last two alike.
    augment
        Whether to flip and rotate.
    alike
        ``"pixels"``: every field is drawn as often. ``"stains"``: every stain is, and then one
        of the fields that have it.
    foreground, share
        Where there is something to see, and which share of the patches is drawn there; of
        ``"pixels"``, fields that show more are then drawn more often.

    Returns
    -------
    tuple
        Planes (B, P, *patch) and stains (B, C, *patch), normalised; and the field of each.
    """
    rng = np.random.default_rng([seed, step])
    planes, stains, drawn = [], [], []
    for _ in range(batch):
        field = _draw_field(pairs, rng, alike)
        corner = [
            int(rng.integers(n - edge + 1))
            for n, edge in zip(pairs.fields[field].shape, patch, strict=True)
        ]
        if foreground is not None and rng.random() < share:
            chosen = None if alike == "pixels" else field
            shapes = [one.shape for one in pairs.fields]
            place = foreground.draw(rng, patch, shapes, chosen)
            if place is not None:
                field, corner[-2:] = place[0], place[1]
                corner[:-2] = [
                    int(rng.integers(n - edge + 1))
                    for n, edge in zip(pairs.fields[field].shape[:-2], patch[:-2], strict=True)
                ]
        which = int(rng.integers(8)) if augment else 0
        region = tuple(slice(at, at + edge) for at, edge in zip(corner, patch, strict=True))
        p, s = pairs.read(field, region)
        planes.append(turn(p, which))
        stains.append(turn(s, which))
        drawn.append(field)
    return np.stack(planes), np.stack(stains), tuple(drawn)


def _draw_field(pairs: PairedSet, rng: np.random.Generator, alike: str) -> int:
    if alike == "pixels":
        return int(rng.integers(len(pairs.fields)))
    having = [
        fields
        for fields in zip(*pairs.present, strict=True)
        if any(fields)  # a stain that no field has cannot be drawn
    ]
    found = np.flatnonzero(having[int(rng.integers(len(having)))])
    return int(found[int(rng.integers(len(found)))])
