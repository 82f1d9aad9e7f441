"""How alike two stores are, pixel by pixel, where both have pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ReplayError
from napari_virtualstain.io.image import LazyImage

__all__ = ["TOLERANCE", "Likeness", "compare_stores"]

TOLERANCE = 1e-5
"""Difference over the range of a channel up to which numbers are the same: the accuracy of float32
under another order of additions."""
_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How alike two images are.

    Parameters
    ----------
    equal
        Whether all pixels that both have are the same to the last bit.
    compared
        Pixels that both have.
    largest
        Difference in grey values.
    relative
        Largest difference over the range of its channel.
    worst
        Name of the channel in which it is; of a report, of the column.
    what
        That was compared: ``"pixels"``, or ``"values"`` of a report.
    """

    equal: bool
    compared: int
    largest: float
    relative: float
    worst: str
    what: Literal["pixels", "values"] = "pixels"

    @property
    def where(self) -> str:
        """The place of the largest difference, in words."""
        return f"{'channel' if self.what == 'pixels' else 'column'} {self.worst!r}"

    @property
    def agrees(self) -> bool:
        """Whether the numbers are the same."""
        return self.compared > 0 and self.relative <= TOLERANCE

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "equal": self.equal,
            "agrees": self.agrees,
            f"{self.what}_compared": self.compared,
            "largest_difference": self.largest,
            "largest_difference_of_range": self.relative,
            "channel" if self.what == "pixels" else "column": self.worst,
        }


def compare_stores(
    original: LazyImage,
    again: LazyImage,
    *,
    on_plane: Callable[[int, int], None] | None = None,
) -> Likeness:
    """Compare two images in bounded memory.

    Parameters
    ----------
    original, again
        Of the same shape; NaN is missing.
    on_plane
        Called with planes done and planes in all.

    Raises
    ------
    ReplayError
        If their shapes differ.
    """
    if original.shape != again.shape:
        raise ReplayError(
            f"The original has the shape {original.shape}, its repetition {again.shape} "
            "(t, c, z, y, x). Repeat it with the input and the version of the run."
        )
    n_t, n_c, n_z, height, _ = original.shape
    report = on_plane or (lambda _done, _total: None)
    report(0, n_c * n_t * n_z)
    equal, compared, done = True, 0, 0
    largest, relative, worst = 0.0, 0.0, original.channel_names[0]
    for c in range(n_c):
        difference, low, high = 0.0, np.inf, -np.inf
        for t, z in product(range(n_t), range(n_z)):
            for start in range(0, height, _ROWS):
                region = (
                    slice(t, t + 1), slice(c, c + 1), slice(z, z + 1),
                    slice(start, min(start + _ROWS, height)), slice(None),
                )  # fmt: skip
                first, second = _shared(original.read(region), again.read(region))
                if first.size:
                    compared += first.size
                    equal = equal and first.tobytes() == second.tobytes()
                    apart = np.abs(first.astype(np.float64) - second.astype(np.float64))
                    difference = max(difference, float(apart.max()))
                    low, high = min(low, float(first.min())), max(high, float(first.max()))
            done += 1
            report(done, n_c * n_t * n_z)
        share = difference / (high - low) if high > low else float(difference > 0)
        if share > relative:
            largest, relative, worst = difference, share, original.channel_names[c]
    return Likeness(
        equal=equal and compared > 0,
        compared=compared,
        largest=largest,
        relative=relative,
        worst=worst,
    )


def _shared(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pixels that both have."""
    both = np.isfinite(first) & np.isfinite(second)
    return first[both], second[both]
