"""Which illumination function fits a sample of fields, seen one at a time.

Sums of the pixels are kept, not the fields: of every other field apart, so that
the halves can be held against each other, in the memory of a few planes however
many fields there are. References and departures stand in `illumination`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.preprocessing.illumination import (
    IlluminationFunction,
    IlluminationSettings,
    nothing_to_fit,
)
from napari_virtualstain.preprocessing.surface import smoothed_at_nodes

__all__ = ["FEW_FIELDS", "IlluminationAccumulator", "fit_illumination"]

FEW_FIELDS = 10
"""Below so many fields, cells are still seen in the function: a note says so."""

_UNSURE_PERCENT = 5.0
"""A note is made of more uncertainty than this."""

_ROBUST_MINIMUM = 0.02
"""CellProfiler's part of the field that may be darker than its minimum."""


class IlluminationAccumulator:
    """Gather fields of one channel and plane, one at a time.

    Parameters
    ----------
    settings
        The defaults are those of the papers but for the level.

    Examples
    --------
    >>> fit = IlluminationAccumulator()
    >>> for brightness in (1.0, 2.0):
    ...     _ = fit.add(brightness * np.linspace(90, 110, 400).reshape(20, 20))
    >>> function = fit.result()
    >>> function.fields, function.shape, round(float(function.values().mean()), 2)
    (2, (20, 20), 1.0)
    """

    def __init__(self, settings: IlluminationSettings | None = None) -> None:
        self.settings = settings or IlluminationSettings()
        # (2, Y, X): even and odd fields.
        self._sums: NDArray[np.float64] | None = None
        self._counts: NDArray[np.uint32] | None = None
        self._fields = 0
        self._left_out = 0

    def add(self, field: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> bool:
        """Take in a field.

        Parameters
        ----------
        field
            (Y, X) grey values; NaN and infinity are missing.
        mask
            Where pixels count; everywhere by default.

        Returns
        -------
        bool
            False if the field was left out, since all its pixels are alike or missing.

        Raises
        ------
        PixelDataError
            If the field is no plane, or of another shape than those before.
        """
        if np.ndim(field) != 2 or 0 in np.shape(field):
            raise PixelDataError(
                f"A field must be one plane (Y, X), got shape {np.shape(field)}. "
                "Give one channel and one z plane at a time."
            )
        for what, shape in (
            ("The fields before were", None if self._sums is None else self._sums.shape[1:]),
            ("The mask is", None if mask is None else np.shape(mask)),
        ):
            if shape is not None and shape != np.shape(field):
                y, x = np.shape(field)
                raise PixelDataError(
                    f"{what} {shape[0]} x {shape[1]} px, this field is {y} x {x}. "
                    "Fit fields of one size together."
                )
        pixels = np.asarray(field, np.float64)
        known = np.isfinite(pixels)
        if mask is not None:
            known &= np.asarray(mask, bool)
        inside = pixels[known]
        if inside.size == 0 or inside.min() == inside.max():
            self._left_out += 1
            return False
        if self._sums is None or self._counts is None:
            self._sums = np.zeros((2, *pixels.shape))
            self._counts = np.zeros((2, *pixels.shape), np.uint32)
        self._sums[self._fields % 2][known] += inside
        self._counts[self._fields % 2] += known
        self._fields += 1
        return True

    def mean(self) -> NDArray[np.float64]:
        """Return the mean (Y, X) of the fields so far; NaN where no field has a pixel."""
        if self._sums is None or self._counts is None:
            raise nothing_to_fit(self._left_out)
        return _quotient(self._sums.sum(axis=0), self._counts.sum(axis=0))

    def result(self) -> IlluminationFunction:
        """Return the function that fits the fields so far.

        Raises
        ------
        PixelDataError
            If there were no fields, or their mean is not above the dark value.
        """
        mean = self.mean()
        shape = (int(mean.shape[0]), int(mean.shape[1]))
        nodes = self._smoothed(mean)
        notes = []
        missing = np.isnan(nodes)
        if missing.any():
            nearest = ndimage.distance_transform_edt(
                missing, return_distances=False, return_indices=True
            )
            nodes = nodes[tuple(nearest)]
            part = 100 * float(missing.mean())
            notes.append(
                f"No field has pixels in {part:.0f} % of the plane; the function was continued "
                "from the nearest place."
            )
        nodes = self._levelled(nodes)
        uncertainty = self._uncertainty()
        if self._fields < FEW_FIELDS:
            count = "1 field" if self._fields == 1 else f"{self._fields} fields"
            notes.append(
                f"Fitted on {count} only: cells may have left their traces. Use {FEW_FIELDS} or "
                "more fields of the plate."
            )
        if uncertainty is not None and uncertainty > _UNSURE_PERCENT:
            notes.append(
                f"Halves of the fields disagree: the function is sure to {uncertainty:.0f} % only. "
                "Use more fields, or fields with more cells."
            )
        if self._left_out:
            seen = self._fields + self._left_out
            notes.append(
                f"{self._left_out} of {seen} fields had no picture (all pixels alike or missing) "
                "and were left out."
            )
        return IlluminationFunction(
            shape=shape,
            settings=self.settings,
            fields=self._fields,
            left_out=self._left_out,
            uncertainty_percent=uncertainty,
            notes=tuple(notes),
            nodes=tuple(tuple(float(v) for v in row) for row in nodes),
        )

    def _smoothed(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the light above dark, smoothed, at nodes."""
        shape = (int(mean.shape[0]), int(mean.shape[1]))
        sigma = self.settings.sigma_for(shape)
        return smoothed_at_nodes(
            mean - self.settings.dark, sigma=sigma, smoothing=self.settings.smoothing
        )

    def _uncertainty(self) -> float | None:
        """Return by how much functions of other such fields would differ, in percent."""
        if self._fields < 2 or self._sums is None or self._counts is None:
            return None
        halves = [
            self._smoothed(_quotient(total, count))
            for total, count in zip(self._sums, self._counts, strict=True)
        ]
        both = np.isfinite(halves[0]) & np.isfinite(halves[1])
        both &= (np.where(both, halves[0], 0) > 0) & (np.where(both, halves[1], 0) > 0)
        if not both.any():
            return None
        # The mean of two halves is half as uncertain as their difference.
        return float(50 * np.std(np.log(halves[0][both] / halves[1][both])))

    def _levelled(self, nodes: NDArray[np.float64]) -> NDArray[np.float64]:
        positive = nodes[nodes > 0]
        if positive.size * 2 < nodes.size:
            raise PixelDataError(
                f"No illumination function can be fitted: half of the field is not brighter than "
                f"the dark value {self.settings.dark:g}. Choose brighter fields, or a lower dark "
                "value."
            )
        # Below this is no light but rounding and offset; dividing by it would make noise bright.
        lowest = float(np.quantile(positive, _ROBUST_MINIMUM))
        if self.settings.level == "minimum":
            return np.maximum(nodes, lowest) / lowest
        return np.where(nodes > 0, nodes, lowest) / float(np.median(nodes))


def _quotient(total: NDArray[np.float64], count: NDArray[Any]) -> NDArray[np.float64]:
    result = np.full(total.shape, np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result


def fit_illumination(
    fields: Iterable[NDArray[Any]], settings: IlluminationSettings | None = None
) -> IlluminationFunction:
    """Return the function that fits fields (Y, X), which may be a generator.

    Raises
    ------
    PixelDataError
        As `IlluminationAccumulator.add` and `IlluminationAccumulator.result`.
    """
    gather = IlluminationAccumulator(settings)
    for field in fields:
        gather.add(field)
    return gather.result()
