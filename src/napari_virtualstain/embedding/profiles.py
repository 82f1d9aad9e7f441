"""What does a treatment look like, in numbers? Its crops and fields put together to one profile.

The steps of the WS-DINO evaluation are functions over a matrix of features with one row a
crop, field or profile. What is missing is NaN and stays so: a field whose DNA channel is broken
has NaN for its features and not zeros, with which it would resemble other broken fields.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError

__all__ = ["How", "aggregate", "median_of_crops", "treatment_profiles", "unit_length"]

How = Literal["mean", "median"]
"""What several rows become one by."""
K = TypeVar("K", bound=Hashable)


def median_of_crops(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return the median of each feature over the crops of a picture.

    Parameters
    ----------
    features
        (N, D), one row a crop; a feature that any crop lacks (NaN) is missing of the picture.

    Notes
    -----
    The true median: of an even number of crops the mean of the two in the middle. The published
    code calls ``torch.median``, which returns the lower of the two, so that its features of four
    crops are systematically smaller.

    Examples
    --------
    >>> median_of_crops(np.array([[0.0], [1.0], [2.0], [9.0]]))
    array([1.5])
    """
    if len(features) == 0:
        raise PixelDataError("A picture without crops has no features. Give at least one crop.")
    return np.asarray(np.median(np.asarray(features, np.float64), axis=0), np.float64)


def aggregate(
    features: NDArray[Any], groups: Sequence[K], how: How
) -> tuple[list[K], NDArray[np.float64]]:
    """Return one row a group, the groups in the order in which they first occur.

    Parameters
    ----------
    features
        (N, D); rows that lack a feature (NaN) are left out for that feature, which is
        missing only where no row of the group has it.
    groups
        Of each row.
    how
        ``"mean"`` or ``"median"``.

    Examples
    --------
    >>> aggregate(np.array([[1.0], [3.0], [8.0]]), ["a", "a", "b"], "mean")
    (['a', 'b'], array([[2.],
           [8.]]))
    """
    rows: dict[K, list[int]] = {}
    for index, group in enumerate(groups):
        rows.setdefault(group, []).append(index)
    values = np.asarray(features, np.float64)
    out = np.full((len(rows), values.shape[1]), np.nan)
    for number, members in enumerate(rows.values()):
        inside = values[members]
        there = ~np.isnan(inside).all(axis=0)  # the functions warn of columns without a number
        of_those = inside[:, there]
        merged = np.nanmean(of_those, axis=0) if how == "mean" else np.nanmedian(of_those, axis=0)
        out[number, there] = merged
    return list(rows), out


def treatment_profiles(
    features: NDArray[Any], treatments: Sequence[K], plates: Sequence[Hashable], how: How = "median"
) -> tuple[list[K], NDArray[np.float64]]:
    """Return one profile a treatment: the mean over a plate, and over plates the median.

    Parameters
    ----------
    features
        (N, D), one row a field.
    treatments, plates
        Of each field.
    how
        Over plates: ``"median"`` as WS-DINO does for BBBC021, ``"mean"`` as for Target-2. A plate
        with many fields counts no more than one with few.
    """
    pairs, of_plates = aggregate(features, list(zip(treatments, plates, strict=True)), "mean")
    return aggregate(of_plates, [treatment for treatment, _ in pairs], how)


def unit_length(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return rows of length 1, by which only their direction is compared.

    Parameters
    ----------
    features
        (N, D); the length is that of what is there, and what is missing (NaN) stays missing. A row
        of zeros has no direction: it becomes NaN.
    """
    values = np.asarray(features, np.float64)
    length = np.sqrt(np.nansum(values**2, axis=1, keepdims=True))
    return values / np.where(length > 0, length, np.nan)
