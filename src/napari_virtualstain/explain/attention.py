"""At what does an encoder look? Attention of its patches, as maps over the picture.

Rows of attention come from the encoder (`encoders.base.PatchEncoder`), which computes the rows
that are asked for and no others. What follows is what DINO's `visualize_attention` does (Caron et
al. 2021, arXiv:2104.14294): the picture is cut to whole patches, the key of the picture's own token
is left out, and each patch is drawn as a square. The mask keeps the fewest patches that hold a
*fraction* of the mass.

Letters: H heads, (G, F) the grid of patches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.encoders.base import PatchEncoder
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.metrics.pixel import spearman

__all__ = [
    "Agreement",
    "agreement",
    "attention_maps",
    "enlarged",
    "evenness",
    "rollout_map",
    "token_at",
    "top_mass",
]

Picture = NDArray[np.float32]
Map = NDArray[np.float32]


def token_at(at: tuple[int, int], shape: tuple[int, int], patch: int) -> int:
    """Return the token of the patch that a pixel lies in.

    Parameters
    ----------
    at
        Row and column of the pixel.
    shape
        (Y, X) of the picture, whole patches.
    patch
        Edge of a patch in pixels.

    Raises
    ------
    SettingsError
        If it lies outside.

    Examples
    --------
    >>> token_at((9, 0), (16, 24), 8)
    4
    """
    if not all(0 <= place < n for place, n in zip(at, shape, strict=True)):
        raise SettingsError(
            f"The pixel {at[0]},{at[1]} lies outside of what the encoder is given, {shape[0]} x "
            f"{shape[1]} px in whole patches of {patch} px. Choose another with --at."
        )
    return 1 + at[0] // patch * (shape[1] // patch) + at[1] // patch


def attention_maps(
    encoder: PatchEncoder, picture: Picture, *, block: int = -1, token: int = 0
) -> Map:
    """Return to which patches a token attends, head by head.

    Parameters
    ----------
    encoder
        Ready to see.
    picture
        Normalised, (in_channels, Y, X), whole patches.
    block
        Which, from 0; negative from the last.
    token
        That asks: 0 is the picture's own, see `token_at`.

    Returns
    -------
    numpy.ndarray
        (H, G, F); each head sums to 1 less what it gives to the picture's own token.
    """
    found = encoder.attention(picture[None], block=block, rows=(token,))[0, :, 0, 1:]
    return found.reshape(-1, *(n // encoder.patch for n in picture.shape[1:]))


def rollout_map(encoder: PatchEncoder, picture: Picture, *, token: int = 0) -> Map:
    """Return from which patches a token comes through all blocks: (G, F).

    Parameters
    ----------
    encoder, picture, token
        See `attention_maps`.
    """
    found = encoder.rollout(picture[None], rows=(token,))[0, 0, 1:]
    return found.reshape(*(n // encoder.patch for n in picture.shape[1:]))


def top_mass(values: Map, fraction: float) -> NDArray[np.bool_]:
    """Return which patches hold a fraction of the mass, the strongest first.

    Parameters
    ----------
    values
        (..., G, F), not negative; each map by itself.
    fraction
        0 to 1. All that is dropped holds no more than the rest.

    Examples
    --------
    >>> top_mass(np.array([[4.0, 1.0], [3.0, 2.0]], np.float32), 0.6).tolist()
    [[True, False], [True, False]]
    """
    if not 0 < fraction <= 1:
        raise SettingsError(
            f"A fraction of the mass lies between 0 and 1, and {fraction:g} is asked for. Correct "
            "--mass."
        )
    flat = values.reshape(-1, values.shape[-2] * values.shape[-1]).astype(np.float64)
    order = np.argsort(flat, axis=1, kind="stable")
    total = flat.sum(axis=1, keepdims=True)
    held = np.cumsum(np.take_along_axis(flat, order, axis=1), axis=1)
    # What the weakest hold together may reach 1 - fraction, but for rounding.
    kept = held > (1 - fraction) * total + 1e-12 * total
    found = np.zeros(flat.shape, bool)
    np.put_along_axis(found, order, kept, axis=1)
    return found.reshape(values.shape)


def enlarged(values: NDArray[np.generic], patch: int) -> NDArray[np.float32]:
    """Return a map (..., G, F) as pixels (..., Y, X): each patch is a square of one value."""
    return np.repeat(np.repeat(values, patch, axis=-2), patch, axis=-1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How alike an encoder looks at two pictures.

    Parameters
    ----------
    rank
        Correlation of ranks of the two maps, NaN if one is constant.
    overlap
        Patches in both masks over patches in either, 0 to 1.
    fraction
        Of the mass that the masks hold.
    chance
        The overlap of two masks of these sizes that have nothing to do with each other.
    """

    rank: float
    overlap: float
    fraction: float
    chance: float

    def words(self) -> str:
        """Say it."""
        return (
            f"attention agrees with Spearman {self.rank:.2f}; the patches that hold "
            f"{self.fraction:.0%} of it overlap by {self.overlap:.0%} ({self.chance:.0%} by chance)"
        )


def agreement(one: Map, other: Map, fraction: float) -> Agreement:
    """Compare where an encoder looks in two pictures of one field, such as truth and prediction.

    Parameters
    ----------
    one, other
        Maps (G, F) of one grid.
    fraction
        Of the mass, see `top_mass`.
    """
    a, b = top_mass(one, fraction), top_mass(other, fraction)
    p, q = a.mean(), b.mean()
    return Agreement(
        rank=spearman(one.ravel(), other.ravel()),
        overlap=float((a & b).sum() / (a | b).sum()),
        fraction=fraction,
        chance=float(p * q / (p + q - p * q)),
    )


def evenness(values: Map) -> float:
    """Return how evenly a map is spread: its entropy over the largest, 1 for the same everywhere.

    Examples
    --------
    >>> evenness(np.ones((4, 4), np.float32))
    1.0
    """
    share = values.ravel().astype(np.float64)
    share = share[share > 0] / share.sum()
    return float(-(share * np.log(share)).sum() / np.log(values.size)) if values.size > 1 else 1.0
