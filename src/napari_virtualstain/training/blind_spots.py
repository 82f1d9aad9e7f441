"""Which pixels is a denoiser asked for and not shown? And what is shown in their place.

Noise2Void (Krull, Buchholz and Jug 2019, arXiv:1811.10980, section 3.3): in each patch a few pixels
take the value of another pixel nearby, and the network is asked for what was there. Noise that is
independent from pixel to pixel cannot be foretold from the neighbours, the picture can. So the
least squares answer is the picture without its noise.

One pixel is hidden in each square of ``spacing`` x ``spacing`` pixels: every pixel of a patch is as
likely as any other, and none of them are next to many. The paper hides 64 of 64 x 64 pixels, a
spacing of 8 (1.6 %); the authors' later program 0.198 %, a spacing of 22.

We depart in two ways, both for the blind spot's sake: the neighbour is never the pixel itself (in
the paper it may be), and never one that is hidden too, through whose place the network would be
shown what it is asked for. The median of the neighbours instead of one of them is that of N2V2
(Höck et al. 2022, arXiv:2211.08512), which takes away a checkerboard that the first way can leave.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Replacement", "choose_spots", "hide", "stand_ins"]

Replacement = Literal["neighbour", "median"]
"""What stands in the place of a hidden pixel: a neighbour, drawn anew, or the median of all."""

Pixels = NDArray[np.float32]
Spots = NDArray[np.intp]


def choose_spots(
    shape: tuple[int, int], rng: np.random.Generator, *, spacing: int
) -> tuple[Spots, Spots]:
    """Draw the pixels that are hidden, one in each square.

    Parameters
    ----------
    shape
        (Y, X) of the patch in pixels.
    rng
        Draws.
    spacing
        Edge of a square in pixels.

    Returns
    -------
    tuple
        Rows and columns. Of squares that end beyond the patch some have none, so that the chance of
        a pixel is 1 / spacing² everywhere.
    """
    count = [-(-edge // spacing) for edge in shape]
    rows, columns = np.indices(count).reshape(2, -1) * spacing
    rows, columns = (
        rows + rng.integers(spacing, size=rows.size),
        columns + rng.integers(spacing, size=columns.size),
    )
    inside = (rows < shape[0]) & (columns < shape[1])
    return rows[inside], columns[inside]


def stand_ins(
    patch: Pixels, rows: Spots, columns: Spots, pick: NDArray[np.float64], *,
    radius: int, replacement: Replacement,
) -> Pixels:  # fmt: skip
    """Return what is shown in the place of hidden pixels.

    Parameters
    ----------
    patch
        (Y, X), NaN where missing.
    rows, columns
        (N,) of the hidden pixels.
    pick
        (N,) in [0, 1): decides which of the neighbours, as they are read row by row.
    radius
        Neighbours lie at most so many pixels away along each axis, inside the patch; those that are
        hidden or missing are none.
    replacement
        See `Replacement`.

    Returns
    -------
    numpy.ndarray
        (N,), NaN where there is no neighbour.
    """
    candidates = patch.copy()
    candidates[rows, columns] = np.nan
    around = np.pad(candidates, radius, constant_values=np.nan)
    reach = 2 * radius + 1
    # (N, reach²): all values in the square around each hidden pixel, itself and others NaN
    windows = np.lib.stride_tricks.sliding_window_view(around, (reach, reach))
    near = windows[rows, columns].reshape(len(rows), reach * reach)
    known = np.isfinite(near)
    count = known.sum(axis=1)
    found = np.full(len(rows), np.nan, np.float32)
    some = count > 0
    if replacement == "median":
        found[some] = np.nanmedian(np.where(known, near, np.nan)[some], axis=1)
        return found
    number = np.floor(pick * count).astype(np.intp)
    place = (np.cumsum(known, axis=1) > number[:, None]).argmax(axis=1)
    found[some] = near[np.arange(len(rows)), place][some]
    return found


def hide(
    patch: Pixels, rng: np.random.Generator, *,
    spacing: int, radius: int, replacement: Replacement,
) -> tuple[Pixels, Pixels]:  # fmt: skip
    """Return what a network is shown of a patch, and what it is asked for.

    Parameters
    ----------
    patch
        (Y, X) normalised, NaN where missing.
    rng
        Draws pixels and neighbours.
    spacing, radius, replacement
        See `choose_spots` and `stand_ins`.

    Returns
    -------
    tuple
        Shown: the patch with its hidden pixels replaced, and 0, the mean, where it is missing.
        Asked for: NaN but at hidden pixels that are known and had a neighbour.
    """
    rows, columns = choose_spots(patch.shape, rng, spacing=spacing)
    values = stand_ins(
        patch, rows, columns, rng.random(len(rows)), radius=radius, replacement=replacement
    )
    asked = np.full_like(patch, np.nan)
    shown = patch.copy()
    hidden = np.isfinite(values) & np.isfinite(patch[rows, columns])
    rows, columns, values = rows[hidden], columns[hidden], values[hidden]
    asked[rows, columns] = patch[rows, columns]
    shown[rows, columns] = values
    return np.nan_to_num(shown, copy=False, nan=0.0), asked
