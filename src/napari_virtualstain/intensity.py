"""How grey values become what a network sees, and how to get back.

A `Rule` says *how* to normalise ("z-score, clipped at 15 SD"); `Rule.fit` turns
it into a `Normalisation`, frozen numbers that can be stored, shown and
inverted. Rules are fitted on the statistics of a whole field or a whole data
set, never on a tile: two tiles of one field must not disagree about what a grey
value means.

`PixelStatistics` are gathered block by block in one pass, in memory that does
not depend on the size of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_virtualstain.errors import PixelDataError

__all__ = [
    "NEARLY_EMPTY",
    "Normalisation",
    "PixelStatistics",
    "Rule",
    "StatisticsAccumulator",
    "contrast_of",
    "together",
]

NEARLY_EMPTY = 0.3
"""Share of a usual field's contrast below which a field is taken to be empty."""
_QUARTILES = (0.25, 0.5, 0.75)
_PIECE = 1 << 20
"""Pixels that are looked at together."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PixelStatistics(_Frozen):
    """What the pixels of one plane, field or data set are like.

    Parameters
    ----------
    count
        Number of finite pixels.
    not_finite
        Number of NaN and infinite pixels, which enter nothing else.
    mean, std
        Mean and population standard deviation, in grey values.
    minimum, maximum
        Smallest and largest grey value.
    quantiles
        Grey value by probability (0 to 1). Exact for integers of up to 16 bit,
        within 0.03 % of the value for floats.
    """

    count: int
    not_finite: int
    mean: float
    std: float
    minimum: float
    maximum: float
    quantiles: dict[float, float]


def contrast_of(statistics: PixelStatistics) -> float | None:
    """Return standard deviation over mean, `None` where the mean means nothing (phase around 0).

    Examples
    --------
    >>> gather = StatisticsAccumulator()
    >>> gather.add(np.array([90.0, 110.0]))
    >>> contrast_of(gather.result())
    0.1
    """
    if statistics.count == 0 or not 0 < statistics.std < abs(statistics.mean):
        return None
    return statistics.std / abs(statistics.mean)


def together(statistics: Sequence[PixelStatistics]) -> PixelStatistics:
    """Return what several planes are like as one, quantiles left out.

    Examples
    --------
    >>> gather = [StatisticsAccumulator() for _ in range(2)]
    >>> for one, pixels in zip(gather, ([1.0, 3.0], [5.0, 7.0])):
    ...     one.add(np.array(pixels))
    >>> both = together([one.result() for one in gather])
    >>> both.count, both.mean, round(both.std, 3), both.maximum
    (4, 4.0, 2.236, 7.0)
    """
    known = [s for s in statistics if s.count]
    count = sum(s.count for s in known)
    mean = sum(s.mean * s.count for s in known) / count if count else float("nan")
    spread = sum((s.std**2 + (s.mean - mean) ** 2) * s.count for s in known)
    return PixelStatistics(
        count=count,
        not_finite=sum(s.not_finite for s in statistics),
        mean=mean,
        std=float(np.sqrt(spread / count)) if count else float("nan"),
        minimum=min((s.minimum for s in known), default=float("nan")),
        maximum=max((s.maximum for s in known), default=float("nan")),
        quantiles={},
    )


class Normalisation(_Frozen):
    """``clip((x - offset) / scale, low, high)``: frozen, and invertible inside the clip.

    Parameters
    ----------
    offset, scale
        In grey values; ``scale`` is positive.
    low, high
        Limits after scaling, `None` for none.

    Examples
    --------
    >>> norm = Normalisation(offset=100.0, scale=50.0)
    >>> norm.apply(np.array([100, 150], np.uint16))
    array([0., 1.], dtype=float32)
    >>> norm.invert(np.array([0.0, 1.0], np.float32))
    array([100., 150.], dtype=float32)
    """

    offset: float = 0.0
    scale: float = Field(default=1.0, gt=0)
    low: float | None = None
    high: float | None = None

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise grey values of any type and shape to float32."""
        # In double precision first: uint16 and offsets near 65535 would lose digits.
        scaled = np.subtract(pixels, self.offset, dtype=np.float64)
        scaled /= self.scale
        if self.low is not None or self.high is not None:
            np.clip(scaled, self.low, self.high, out=scaled)
        normal: NDArray[np.float32] = scaled.astype(np.float32)
        return normal

    def invert(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return float32 grey values; what was clipped comes back at the limit."""
        grey = np.multiply(values, self.scale, dtype=np.float64)
        grey += self.offset
        small: NDArray[np.float32] = grey.astype(np.float32)
        return small


class Rule(_Frozen):
    """How to choose a `Normalisation` from statistics.

    Parameters
    ----------
    kind
        ``zscore``: mean to 0, standard deviation to 1. ``percentile``: the
        quantiles ``low`` and ``high`` to 0 and 1. ``minmax``: the smallest and
        largest value to 0 and 1. ``robust``: median to 0, interquartile range to 1.
        ``none``: grey values as they are.
    clip_sd
        ``zscore`` only: values beyond so many standard deviations are clipped
        (15 as in Cross-Zamirski et al. 2023, arXiv:2303.08863); `None` for no clip.
    low, high
        ``percentile`` only: probabilities between 0 and 1; values outside are kept.

    Notes
    -----
    ``robust`` is that of VisCy (doi:10.1101/2024.05.31.596901), which takes its quantiles from
    every 32nd pixel along y and x; here they are those of all pixels. Of a stack for a network
    over volumes, all planes are taken together, as there.

    Examples
    --------
    >>> stats = StatisticsAccumulator(quantiles=(0.01, 0.99))
    >>> stats.add(np.array([1.0, 3.0]))
    >>> Rule().fit(stats.result(), what="a test").offset
    2.0
    """

    kind: Literal["zscore", "percentile", "minmax", "robust", "none"] = "zscore"
    clip_sd: float | None = Field(default=15.0, gt=0)
    low: float = Field(default=0.01, ge=0, le=1)
    high: float = Field(default=0.99, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Probabilities whose quantiles `fit` needs."""
        if self.kind == "robust":
            return _QUARTILES
        return (self.low, self.high) if self.kind == "percentile" else ()

    def fit(
        self,
        statistics: PixelStatistics,
        *,
        what: str,
        typical_contrast: float | None = None,
        may_lack: bool = False,
    ) -> Normalisation:
        """Return the frozen numbers for these statistics.

        Parameters
        ----------
        statistics
            Of the whole field or data set.
        what
            Names the pixels in an error, for example ``"channel 'BF', z plane 0"``.
        typical_contrast
            Standard deviation over mean of a usual field, `None` if not known; see `contrast_of`.
            ``zscore`` scales a field with less than `NEARLY_EMPTY` of it as a usual one of its
            brightness: an empty field that is blown up to a standard deviation of 1 is noise in
            which a network sees cells. A contrast and not a standard deviation, since another
            lamp or camera multiplies both.
        may_lack
            Whether pixels that are no number are missing, and count for nothing: those of a true
            stain that was not measured, or was painted over. Else they are a fault.

        Raises
        ------
        PixelDataError
            If pixels are NaN or infinite and may not be, if there are none, or if all have one
            value.
        """
        if statistics.not_finite and not may_lack:
            raise PixelDataError(
                f"{what} holds {statistics.not_finite} NaN or infinite pixels, from which no "
                "normalisation follows. Replace them (for example by the median) and save "
                "the image again."
            )
        if statistics.count == 0:
            raise PixelDataError(f"{what} has no pixels. Choose another image or region.")
        if self.kind == "none":
            return Normalisation()
        if self.kind == "zscore":
            offset, scale = statistics.mean, statistics.std
            usual = abs(offset) * (typical_contrast or 0.0)
            if 0 < scale < NEARLY_EMPTY * usual:
                scale = usual
            limits = (None, None) if self.clip_sd is None else (-self.clip_sd, self.clip_sd)
        elif self.kind == "minmax":
            offset, scale = statistics.minimum, statistics.maximum - statistics.minimum
            limits = (None, None)
        elif self.kind == "robust":
            first, offset, third = (statistics.quantiles[p] for p in _QUARTILES)
            # The published rule adds 1e-8, so that no constant field divides by zero; it is
            # refused here.
            scale, limits = third - first, (None, None)
        else:
            offset = statistics.quantiles[self.low]
            scale = statistics.quantiles[self.high] - offset
            limits = (None, None)
        if not np.isfinite([offset, scale]).all():
            raise PixelDataError(
                f"{what} holds grey values up to {statistics.maximum:g}, too large to compute "
                "with. Divide them by a constant and save the image again."
            )
        # A spread below what float32 can tell from its mean is rounding, not picture.
        spread = statistics.maximum - statistics.minimum if self.kind == "robust" else 0.0
        if not scale > max(abs(offset), spread) * 1e-7:
            raise PixelDataError(
                f"{what} is constant: nearly all pixels have the value {offset:g}, so there is "
                "nothing to stain. Check that the right channel was chosen and the lamp was on."
            )
        return Normalisation(offset=offset, scale=scale, low=limits[0], high=limits[1])


class StatisticsAccumulator:
    """Gather `PixelStatistics` block by block.

    Mean and variance are merged pairwise (Chan, Golub and LeVeque 1979,
    Stanford STAN-CS-79-773), so that large offsets cost no digits. Quantiles
    come from a histogram over the sortable bit pattern of the pixels: every
    value for integers of up to 16 bit, the upper 20 bits of a float32 (relative
    width 2**-11) for everything else. The memory is at most 8 MB.

    Parameters
    ----------
    quantiles
        Probabilities (0 to 1) to report.
    """

    def __init__(self, quantiles: tuple[float, ...] = ()) -> None:
        self._probabilities = tuple(quantiles)
        self._histogram: NDArray[np.int64] | None = None
        self._exact = True
        self._base = 0
        self._count = 0
        self._not_finite = 0
        self._mean = 0.0
        self._m2 = 0.0
        self._minimum = np.inf
        self._maximum = -np.inf

    def add(self, block: NDArray[Any]) -> None:
        """Take in a block of pixels of any shape; all blocks have one dtype."""
        pixels = np.asarray(block).ravel()
        # Piece by piece: a plane that is one chunk of its file must not be copied in float64.
        for start in range(0, pixels.size, _PIECE):
            self._add(pixels[start : start + _PIECE])

    def _add(self, pixels: NDArray[Any]) -> None:
        if pixels.dtype.kind == "f":
            finite = np.isfinite(pixels)
            if not finite.all():
                self._not_finite += int(pixels.size - np.count_nonzero(finite))
                pixels = pixels[finite]
        elif pixels.dtype.kind == "b":
            pixels = pixels.astype(np.uint8)
        if pixels.size == 0:
            return
        if self._probabilities:
            self._count_values(pixels)
        with np.errstate(over="ignore"):  # infinite moments are refused when a rule is fitted
            mean = float(pixels.mean(dtype=np.float64))
            m2 = float(np.square(pixels - mean, dtype=np.float64).sum())
        total = self._count + pixels.size
        delta = mean - self._mean
        self._m2 += m2 + delta * delta * self._count * pixels.size / total
        self._mean += delta * pixels.size / total
        self._count = total
        self._minimum = min(self._minimum, float(pixels.min()))
        self._maximum = max(self._maximum, float(pixels.max()))

    def _count_values(self, pixels: NDArray[Any]) -> None:
        dtype = pixels.dtype
        if dtype.kind in "iu" and dtype.itemsize <= 2:
            self._base = int(np.iinfo(dtype).min)
            keys = pixels.astype(np.int64) - self._base
            size = 1 << (8 * dtype.itemsize)
        else:
            self._exact = False
            keys = _sortable_bits(pixels.astype(np.float32)) >> 12
            size = 1 << 20
        counts = np.bincount(keys, minlength=size)
        self._histogram = counts if self._histogram is None else self._histogram + counts

    def merge(self, other: StatisticsAccumulator) -> None:
        """Take in what another has gathered of pixels of the same type and probabilities."""
        if other._histogram is not None:
            mine = self._histogram
            self._histogram = other._histogram if mine is None else mine + other._histogram
            self._exact, self._base = other._exact, other._base
        self._not_finite += other._not_finite
        if other._count == 0:
            return
        total = self._count + other._count
        delta = other._mean - self._mean
        self._m2 += other._m2 + delta * delta * self._count * other._count / total
        self._mean += delta * other._count / total
        self._count = total
        self._minimum = min(self._minimum, other._minimum)
        self._maximum = max(self._maximum, other._maximum)

    def _quantile(self, probability: float) -> float:
        if self._histogram is None:
            return float("nan")
        # The smallest value with at least this share of pixels at or below it.
        rank = max(1, int(np.ceil(probability * self._count)))
        key = int(np.searchsorted(np.cumsum(self._histogram), rank))
        if self._exact:
            return float(key + self._base)
        middle = np.array([(key << 12) + (1 << 11)], np.uint32)
        value = float(_from_sortable_bits(middle)[0])
        if abs(value) < np.finfo(np.float32).tiny:
            value = 0.0  # the bin that holds it
        return min(max(value, self._minimum), self._maximum)

    def result(self) -> PixelStatistics:
        """Return the statistics of all blocks so far."""
        if self._count == 0:
            nan = float("nan")
            return PixelStatistics(
                count=0, not_finite=self._not_finite, mean=nan, std=nan,
                minimum=nan, maximum=nan, quantiles={},
            )  # fmt: skip
        return PixelStatistics(
            count=self._count,
            not_finite=self._not_finite,
            mean=self._mean,
            std=float(np.sqrt(self._m2 / self._count)),
            minimum=self._minimum,
            maximum=self._maximum,
            quantiles={p: self._quantile(p) for p in self._probabilities},
        )


def _sortable_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Map float32 to uint32 so that the order of numbers is the order of bits."""
    bits = values.view(np.uint32)
    negative = (bits >> 31).astype(bool)
    return np.where(negative, ~bits, bits | np.uint32(1 << 31))


def _from_sortable_bits(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    positive = (keys >> 31).astype(bool)
    bits = np.where(positive, keys & np.uint32(0x7FFFFFFF), ~keys)
    return bits.astype(np.uint32).view(np.float32)
