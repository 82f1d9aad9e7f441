"""Where is there something to learn? Blocks of fields by how much of them is stained.

Of sparse cells nearly every patch is empty, and an average over patches is one over background.
Part of the patches can be drawn where stains are brighter than their mean; the others still lie
anywhere, so that a network learns what empty looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.pairs import PairedSet

__all__ = ["Foreground", "find_foreground"]

_BLOCK = 16
"""Edge of a block in pixels."""
_STRIP = 32 * _BLOCK
"""Rows of a field that are read together."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """How much of each block is foreground.

    Parameters
    ----------
    blocks
        By field, (rows, columns) of the share of pixels, 0 to 1, that are brighter than the mean of
        their stain over the set; the mean over stains, of volumes also over planes.
    """

    blocks: tuple[NDArray[np.float64], ...]

    def draw(
        self,
        rng: np.random.Generator,
        patch: Sequence[int],
        shapes: Sequence[tuple[int, ...]],
        field: int | None = None,
    ) -> tuple[int, tuple[int, int]] | None:
        """Draw a field and the corner (y, x) of a patch, by how much foreground the patch has.

        Parameters
        ----------
        rng
            Decides.
        patch
            Its edges in pixels; the last two are looked at.
        shapes
            Of the fields, in pixels.
        field
            That is drawn already; one of all by its foreground if `None`.

        Returns
        -------
        tuple or None
            `None` where nothing is foreground.
        """
        if field is None:
            shares = np.array([blocks.mean() for blocks in self.blocks])
            if shares.sum() == 0:
                return None
            field = int(rng.choice(len(shares), p=shares / shares.sum()))
        edges = [int(n) for n in patch[-2:]]
        content = _in_patch(self.blocks[field], [max(n // _BLOCK, 1) for n in edges])
        if content.sum() == 0:
            return None
        at = int(rng.choice(content.size, p=(content / content.sum()).ravel()))
        corner = []
        for block, n, edge in zip(
            divmod(at, content.shape[1]), shapes[field][-2:], edges, strict=True
        ):
            # Not on the grid of blocks alone: each pixel is seen at every place of a patch.
            start = block * _BLOCK + int(rng.integers(-_BLOCK // 2, _BLOCK // 2 + 1))
            corner.append(int(np.clip(start, 0, n - edge)))
        return field, (corner[0], corner[1])


def find_foreground(pairs: PairedSet) -> Foreground:
    """Look at the stains of all fields, strip by strip.

    Parameters
    ----------
    pairs
        Their normalisation says what the mean of a stain is: 0.
    """
    return Foreground(tuple(_blocks(pairs, n) for n in range(len(pairs.fields))))


def _blocks(pairs: PairedSet, number: int) -> NDArray[np.float64]:
    field = pairs.fields[number]
    targets = pairs.targets[number] if pairs.targets else pairs.outputs
    *_, height, width = field.shape
    rows = []
    for start, stop in pairwise([*range(0, height, _STRIP), height]):
        pixels = np.asarray(field.stains[..., start:stop, :])
        # Missing pixels are no foreground.
        bright = np.stack([n.apply(s) > 0 for n, s in zip(targets, pixels, strict=True)])
        share = bright.reshape(-1, *bright.shape[-2:]).mean(axis=0)
        share = np.pad(share, [(0, -share.shape[0] % _BLOCK), (0, -width % _BLOCK)])
        y, x = (n // _BLOCK for n in share.shape)
        rows.append(share.reshape(y, _BLOCK, x, _BLOCK).mean(axis=(1, 3)))
    return np.concatenate(rows)


def _in_patch(blocks: NDArray[np.float64], size: Sequence[int]) -> NDArray[np.float64]:
    """Return the sum over a patch for each block in which it may begin."""
    sums = np.pad(blocks, [(1, 0), (1, 0)]).cumsum(axis=0).cumsum(axis=1)
    h, w = (min(n, there) for n, there in zip(size, blocks.shape, strict=True))
    found: NDArray[np.float64] = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    return np.maximum(found, 0.0)
