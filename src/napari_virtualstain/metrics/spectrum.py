"""At which sizes of structure do two pictures agree? Correlation and power by spatial frequency.

A blurred prediction has the right cells and lacks their fine texture: it correlates with the truth
at low frequencies, and its power is gone at high ones. `SpectralAgreement` says both, by octaves,
in the memory of one strip.

===================  =============================================================
here                 in the papers
===================  =============================================================
``correlation``      FRC(r), Fourier ring correlation, of rings an octave wide
``power``            ratio of the radially averaged power spectra
``finest_px``        resolution by the fixed threshold of 1/7
===================  =============================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["BANDS_PX", "SpectralAgreement"]

BANDS_PX = ((32, 16), (16, 8), (8, 4), (4, 2))
"""Bands, by the longest and shortest period of a wave in pixels."""
_BLOCK = 256
"""Edge of the blocks whose spectra are added up, in pixels."""
_THRESHOLD = 1 / 7
_LEAST = 32
"""Edge of a block below which the coarsest band has no rings."""


class SpectralAgreement:
    """Compare the spectra of two pictures of which strips are handed in.

    Parameters
    ----------
    shape
        Of the whole picture, (Y, X).

    Notes
    -----
    Blocks of 256 px (or the picture's shorter edge, if that is less) are freed of their mean,
    weighted by a Hann window, and their cross and power spectra added up before anything is divided
    (Welch 1967, doi:10.1109/TAU.1967.1161901). A block with a missing pixel counts for nothing.
    Strips have to begin on multiples of the block; what is left at the last edges is not looked at.

    Correlation is ``sum(Re(P conj(T))) / sqrt(sum(|P|^2) sum(|T|^2))`` over the waves of a ring: 1
    for equal pictures, about 0 for waves that have nothing to do with each other; it is blind to
    gain and offset. The threshold of 1/7 is that of Banterle et al. 2013,
    doi:10.1016/j.jsb.2013.05.004.

    Examples
    --------
    >>> truth = np.random.default_rng(0).normal(size=(64, 64))
    >>> found = SpectralAgreement(truth.shape)
    >>> found.add(2 * truth, truth)
    >>> [round(float(c), 6) for c in found.correlation], [round(float(p), 6) for p in found.power]
    ([1.0, 1.0, 1.0, 1.0], [4.0, 4.0, 4.0, 4.0])
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.block = min(_BLOCK, min(shape) // 2 * 2)
        edge = max(self.block, 2)
        self._window = np.outer(np.hanning(edge + 1)[:-1], np.hanning(edge + 1)[:-1])
        frequency = np.hypot(fft.fftfreq(edge)[:, None], fft.rfftfreq(edge)[None])
        ring = np.round(frequency * edge).astype(int)
        # Waves along x that stand for two, as those of the other half plane are their conjugates.
        twice = np.full(ring.shape, 2.0)
        twice[:, 0] = twice[:, -1] = 1.0
        self._ring, self._twice, self._edge = ring.ravel(), twice.ravel(), edge
        self._sums = np.zeros((3, self._ring.max() + 1))
        self.blocks = 0

    def add(self, prediction: NDArray[Any], truth: NDArray[Any]) -> None:
        """Take in a strip of both pictures, all columns; NaN is missing."""
        if self.block < _LEAST:
            return
        for p, t in zip(self._cut(prediction), self._cut(truth), strict=True):
            if not (np.isfinite(p).all() and np.isfinite(t).all()):
                continue
            waves = [fft.rfft2((own - own.mean()) * self._window) for own in (p, t)]
            terms = (
                (waves[0] * waves[1].conj()).real, np.abs(waves[0]) ** 2, np.abs(waves[1]) ** 2,
            )  # fmt: skip
            for sums, term in zip(self._sums, terms, strict=True):
                sums += np.bincount(self._ring, term.ravel() * self._twice, len(sums))
            self.blocks += 1

    def _cut(self, strip: NDArray[Any]) -> list[NDArray[np.float64]]:
        rows, columns = (n // self.block for n in strip.shape)
        return [
            np.asarray(strip[y : y + self.block, x : x + self.block], np.float64)
            for y in range(0, rows * self.block, self.block)
            for x in range(0, columns * self.block, self.block)
        ]

    @property
    def correlation(self) -> tuple[float, ...]:
        """Of the waves of each band of `BANDS_PX`, -1 to 1; NaN where there are none."""
        return tuple(_ratio(both, np.sqrt(p * t)) for both, p, t in self._of_bands())

    @property
    def power(self) -> tuple[float, ...]:
        """Power of the prediction over that of the truth by band; 1 is right, 0 is blurred away."""
        return tuple(_ratio(p, t) for _, p, t in self._of_bands())

    @property
    def finest_px(self) -> float:
        """Period of the finest waves up to which the rings correlate by more than 1/7, in pixels.

        2 where all do, infinite where none does, NaN where there is nothing to compare.
        """
        if not self.blocks:
            return float("nan")
        both, p, t = self._sums[:, 1 : self._edge // 2 + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            low = np.flatnonzero(~(both / np.sqrt(p * t) > _THRESHOLD))
        last = int(low[0]) if len(low) else self._edge // 2
        return self._edge / last if last else float("inf")

    def _of_bands(self) -> list[NDArray[np.float64]]:
        found = []
        for long, short in BANDS_PX:
            # The finest band includes its last ring, half a wave a pixel.
            first, last = -(-self._edge // long), self._edge // short + (short == 2)
            found.append(self._sums[:, first:last].sum(axis=1))
        return found


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else float("nan")
