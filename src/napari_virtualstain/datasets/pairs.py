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
    contrast_of,
)

__all__ = [
    "PairedField",
    "PairedSet",
    "gather_statistics",
    "look_at",
    "merge_all",
    "pair_up",
]

_STRIP = 512
"""Rows of a picture that are looked at together."""
_PLANES = 8
"""Planes of a volume that are."""
_FLAT = 3
"""Axes of (C, Y, X)."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedField:
    """One field of view, seen twice.

    Parameters
    ----------
    name
        Unique in its set.
    planes
        Bright field (P, Y, X), or one volume of it (1, Z, Y, X); any dtype, read by slices.
    stains
        Fluorescence (C, *S) of the same Y and X, or Z, Y and X; NaN is missing.
    group
        What must stay on one side of a split: the field, its well or plate.
    labels
        What was done to it, one a label that is known of a set; `None` where it is not known.
    """

    name: str
    planes: LazyArray
    stains: LazyArray
    group: str = ""
    labels: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        """Refuse pairs that are not of the same field."""
        if self.planes.shape[1:] != self.stains.shape[1:]:
            raise PixelDataError(
                f"Field {self.name!r}: the bright field is {self.planes.shape[1:]} px and the "
                f"stains are {self.stains.shape[1:]} px. Crop or resample one of them first."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Y and X, or Z, Y and X, in pixels."""
        return tuple(self.planes.shape[1:])


def gather_statistics(
    images: Iterable[LazyArray], *, quantiles: tuple[float, ...] = ()
) -> tuple[PixelStatistics, ...]:
    """Gather statistics of each channel over all images together, strip by strip.

    Parameters
    ----------
    images
        (C, *S) each, with equal C.
    quantiles
        Probabilities (0 to 1) to report.

    Raises
    ------
    ChannelError
        If the numbers of channels differ.
    """
    return tuple(one.result() for one in merge_all(look_at(image, quantiles) for image in images))


def look_at(image: LazyArray, quantiles: tuple[float, ...]) -> list[StatisticsAccumulator]:
    """Look at every pixel of an image (C, *S), strip by strip; return what was seen, by channel."""
    gather = [StatisticsAccumulator(quantiles) for _ in range(image.shape[0])]
    strip = _STRIP if len(image.shape) == _FLAT else _PLANES
    for start, stop in pairwise([*range(0, image.shape[1], strip), image.shape[1]]):
        for accumulator, pixels in zip(gather, np.asarray(image[:, start:stop]), strict=True):
            accumulator.add(pixels)
    return gather


def merge_all(gathered: Iterable[list[StatisticsAccumulator]]) -> list[StatisticsAccumulator]:
    """Put together what was gathered of several images; what comes first is added to."""
    merged: list[StatisticsAccumulator] | None = None
    for one in gathered:
        if merged is None:
            merged = one
            continue
        if len(merged) != len(one):
            raise ChannelError(
                f"Fields have {len(merged)} and {len(one)} channels. "
                "Give every field the same channels."
            )
        for into, more in zip(merged, one, strict=True):
            into.merge(more)
    return merged or []


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
        By stain: what a prediction is returned to grey values with. Fitted on the training fields
        together, or the identity where each field has its own.
    targets
        By field, then stain, where each field has its own; empty where all have `outputs`.
    present
        By field, then stain: whether the field has any pixel of it. Empty if not known.
    typical_contrast
        By plane: contrast of a usual field, `None` where it has none; see `intensity.contrast_of`.
    """

    fields: tuple[PairedField, ...]
    inputs: tuple[tuple[Normalisation, ...], ...]
    outputs: tuple[Normalisation, ...]
    targets: tuple[tuple[Normalisation, ...], ...] = ()
    present: tuple[tuple[bool, ...], ...] = ()
    typical_contrast: tuple[float | None, ...] = ()

    def read(self, field: int, region: Region) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read and normalise a region of *S: planes (P, *S), stains (C, *S)."""
        pair = self.fields[field]
        planes = np.asarray(pair.planes[(slice(None), *region)])
        stains = np.asarray(pair.stains[(slice(None), *region)])
        targets = self.targets[field] if self.targets else self.outputs
        return (
            np.stack([n.apply(p) for n, p in zip(self.inputs[field], planes, strict=True)]),
            np.stack([n.apply(s) for n, s in zip(targets, stains, strict=True)]),
        )


def pair_up(
    fields: Sequence[PairedField],
    *,
    input_rule: Rule,
    output_rule: Rule,
    stain_names: Sequence[str],
    outputs: Sequence[Normalisation] | None = None,
    typical_contrast: Sequence[float | None] | None = None,
    relative: bool = False,
) -> PairedSet:
    """Fit the normalisations of a set of fields.

    Parameters
    ----------
    fields
        With equal planes and stains.
    input_rule
        Fitted on each field and plane.
    output_rule
        Fitted on each stain, missing pixels (NaN) left out.
    stain_names
        For messages.
    outputs
        Those of another set, for validation fields; fitted here if `None`.
    typical_contrast
        By plane: contrast of a field of the training set, for validation fields; the median of
        these fields if `None`. See `intensity.Rule.fit`.
    relative
        Fit the stains of each field by themselves, as Cross-Zamirski et al. publish it: what a
        model then predicts is relative to its field, and no amount.

    Raises
    ------
    PixelDataError
        If a plane or stain is constant, or a plane holds NaN.
    """
    planes = [gather_statistics([f.planes], quantiles=input_rule.quantiles) for f in fields]
    usual = _typical(planes) if typical_contrast is None else tuple(typical_contrast)
    inputs = tuple(
        tuple(
            input_rule.fit(s, what=f"Input plane {p} of field {field.name!r}", typical_contrast=sd)
            for p, (s, sd) in enumerate(zip(statistics, usual, strict=True))
        )
        for field, statistics in zip(fields, planes, strict=True)
    )
    gathered = [look_at(field.stains, output_rule.quantiles) for field in fields]
    seen = [[one.result() for one in stains] for stains in gathered]
    present = tuple(tuple(s.count > 0 for s in stains) for stains in seen)
    targets: tuple[tuple[Normalisation, ...], ...] = ()
    if relative:
        targets = tuple(
            tuple(
                output_rule.fit(s, what=f"Stain {name!r} of field {field.name!r}", may_lack=True)
                if s.count
                else Normalisation()
                for name, s in zip(stain_names, stains, strict=True)
            )
            for field, stains in zip(fields, seen, strict=True)
        )
        outputs = [Normalisation() for _ in stain_names]
    elif outputs is None:
        outputs = [
            output_rule.fit(one.result(), what=f"Stain {name!r}", may_lack=True)
            for name, one in zip(stain_names, merge_all(gathered), strict=True)
        ]
    return PairedSet(tuple(fields), inputs, tuple(outputs), targets, present, usual)


def _typical(planes: Sequence[Sequence[PixelStatistics]]) -> tuple[float | None, ...]:
    """Return the median contrast of fields by plane, `None` where a field has none."""
    found = []
    for of_fields in zip(*planes, strict=True):
        contrasts = [contrast_of(s) for s in of_fields]
        known = [c for c in contrasts if c is not None]
        found.append(float(np.median(known)) if len(known) == len(contrasts) else None)
    return tuple(found)
