"""Matched bright field and stains: what a network learns from.

Fields stay as they came, in grey values and unread; a patch is normalised when
it is cut, with the numbers of its whole field (input) and of the whole training
set (stains), so that predictions can be returned to grey values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import LazyArray, Region
from napari_virtualstain.errors import ChannelError, PixelDataError
from napari_virtualstain.intensity import (
    Normalisation,
    PixelStatistics,
    Rule,
    StatisticsAccumulator,
)

__all__ = ["PairedField", "PairedSet", "gather_statistics", "pair_up"]

_STRIP = 512


@dataclass(frozen=True, slots=True, eq=False)
class PairedField:
    """One field of view, seen twice.

    Parameters
    ----------
    name
        Unique in its set.
    planes
        Bright field (P, Y, X), any dtype, read by slices.
    stains
        Fluorescence (C, Y, X) of the same Y and X; NaN is missing.
    group
        What must stay on one side of a split: the field, its well or plate.
    """

    name: str
    planes: LazyArray
    stains: LazyArray
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse pairs that are not of the same field."""
        if self.planes.shape[1:] != self.stains.shape[1:]:
            raise PixelDataError(
                f"Field {self.name!r}: the bright field is {self.planes.shape[1:]} px and the "
                f"stains are {self.stains.shape[1:]} px. Crop or resample one of them first."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Y and X in pixels."""
        return (self.planes.shape[1], self.planes.shape[2])


def gather_statistics(
    images: Iterable[LazyArray], *, quantiles: tuple[float, ...] = ()
) -> tuple[PixelStatistics, ...]:
    """Gather statistics of each channel over all images together, strip by strip.

    Parameters
    ----------
    images
        (C, Y, X) each, with equal C.
    quantiles
        Probabilities (0 to 1) to report.

    Raises
    ------
    ChannelError
        If the numbers of channels differ.
    """
    gather: list[StatisticsAccumulator] | None = None
    for image in images:
        n_channels = image.shape[0]
        if gather is None:
            gather = [StatisticsAccumulator(quantiles) for _ in range(n_channels)]
        if len(gather) != n_channels:
            raise ChannelError(
                f"Fields have {len(gather)} and {n_channels} channels. "
                "Give every field the same channels."
            )
        rows = [*range(0, image.shape[1], _STRIP), image.shape[1]]
        for start, stop in pairwise(rows):
            strip = np.asarray(image[:, start:stop])
            for accumulator, pixels in zip(gather, strip, strict=True):
                accumulator.add(pixels)
    return tuple(accumulator.result() for accumulator in gather or ())


@dataclass(frozen=True, slots=True, eq=False)
class PairedSet:
    """Fields with the numbers that normalise them.

    Parameters
    ----------
    fields
        In order.
    inputs
        By field, then plane: fitted on that whole field.
    outputs
        By stain: fitted on the training fields together.
    """

    fields: tuple[PairedField, ...]
    inputs: tuple[tuple[Normalisation, ...], ...]
    outputs: tuple[Normalisation, ...]

    def read(self, field: int, region: Region) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read and normalise a (Y, X) region: planes (P, y, x), stains (C, y, x)."""
        pair = self.fields[field]
        planes = np.asarray(pair.planes[(slice(None), *region)])
        stains = np.asarray(pair.stains[(slice(None), *region)])
        return (
            np.stack([n.apply(p) for n, p in zip(self.inputs[field], planes, strict=True)]),
            np.stack([n.apply(s) for n, s in zip(self.outputs, stains, strict=True)]),
        )


def pair_up(
    fields: Sequence[PairedField],
    *,
    input_rule: Rule,
    output_rule: Rule,
    stain_names: Sequence[str],
    outputs: Sequence[Normalisation] | None = None,
) -> PairedSet:
    """Fit the normalisations of a set of fields.

    Parameters
    ----------
    fields
        With equal planes and stains.
    input_rule
        Fitted on each field and plane.
    output_rule
        Fitted on each stain over all fields, missing pixels (NaN) left out.
    stain_names
        For messages.
    outputs
        Those of another set, for validation fields; fitted here if `None`.

    Raises
    ------
    PixelDataError
        If a plane or stain is constant, or a plane holds NaN.
    """
    inputs = []
    for field in fields:
        statistics = gather_statistics([field.planes], quantiles=input_rule.quantiles)
        inputs.append(
            tuple(
                input_rule.fit(s, what=f"Input plane {p} of field {field.name!r}")
                for p, s in enumerate(statistics)
            )
        )
    if outputs is None:
        statistics = gather_statistics(
            (field.stains for field in fields), quantiles=output_rule.quantiles
        )
        outputs = [
            output_rule.fit(s.model_copy(update={"not_finite": 0}), what=f"Stain {name!r}")
            for name, s in zip(stain_names, statistics, strict=True)
        ]
    return PairedSet(tuple(fields), tuple(inputs), tuple(outputs))
