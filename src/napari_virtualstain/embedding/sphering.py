"""Which differences between profiles are more than those of untreated wells? Sphering shows.

Sphering (typical variation normalisation, TVN) fits how features vary from control to control,
and rescales all features so that controls vary by 1 in every direction: what is left is what
treatments do beyond that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError, SettingsError

__all__ = ["FEWEST", "Sphering", "fit_sphering", "refuse_few", "sphere"]

FEWEST: Final = 5
"""Controls without which nothing is said of how they vary."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sphering:
    """A fitted sphering; see `fit_sphering`.

    Parameters
    ----------
    mean
        (D,) of the controls.
    matrix
        (D, D) that centred rows are multiplied by.
    shrinkage
        Share of the covariance that was replaced by that of a sphere, 0 to 1.
    controls
        How many it was fitted on.
    """

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]
    shrinkage: float
    controls: int

    def apply(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N, D) features in the coordinates of the controls; a row with NaN is all NaN."""
        values = np.asarray(features, np.float64)
        out = (values - self.mean) @ self.matrix
        out[np.isnan(values).any(axis=1)] = np.nan
        return out


def refuse_few(controls: int) -> None:
    """Refuse to sphere on so few controls.

    Raises
    ------
    PixelDataError
        If there are fewer than `FEWEST`.
    """
    if controls < FEWEST:
        raise PixelDataError(
            f"There are {controls} controls with all features, and {FEWEST} are needed to know how "
            "controls vary. Name more of them with --controls, or leave it out."
        )


def fit_sphering(
    controls: NDArray[Any],
    *,
    shrinkage: float | None = None,
    form: Literal["zca", "pca"] = "zca",
) -> Sphering:
    """Fit how controls vary.

    Parameters
    ----------
    controls
        (N, D) features of control fields or wells; rows with NaN are left out.
    shrinkage
        Share of the covariance that is replaced by that of a sphere of the same total variance;
        `None` chooses it by Ledoit and Wolf 2004. With 0, which is what WS-DINO does, there must
        be more controls than features: directions in which they happen not to vary would be blown
        up without bounds.
    form
        ``"zca"`` rotates back after scaling, so that a feature keeps its name; ``"pca"`` leaves the
        principal components, largest first, as published. Angles and distances are the same.

    Raises
    ------
    PixelDataError
        If there are too few controls, or they do not vary.
    SettingsError
        If the shrinkage is not between 0 and 1.

    References
    ----------
    Ando, McLean and Berndl 2017, doi:10.1101/161422 (TVN); Ledoit and Wolf 2004,
    doi:10.1016/S0047-259X(03)00096-4, section 3.2.
    """
    values = np.asarray(controls, np.float64)
    values = values[~np.isnan(values).any(axis=1)]
    n, d = values.shape
    refuse_few(n)
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise SettingsError(
            f"The shrinkage must be between 0 and 1, got {shrinkage}. Leave it out for the one "
            "that suits the number of controls."
        )
    if shrinkage == 0 and n <= d:
        raise PixelDataError(
            f"{n} controls do not tell how {d} features vary without shrinkage. Leave the "
            f"shrinkage out, or give more than {d} controls."
        )
    mean = values.mean(axis=0)
    centred = values - mean
    covariance = centred.T @ centred / n
    typical = float(np.trace(covariance)) / d
    if not typical > 1e-12 * float((mean**2).mean()):
        raise PixelDataError(
            f"The {n} controls all have the same features, so nothing is known of how they "
            "vary. Check that they are different images."
        )
    share = _ledoit_wolf(centred, covariance, typical) if shrinkage is None else shrinkage
    eigenvalues, vectors = np.linalg.eigh(
        (1 - share) * covariance + share * typical * np.identity(d)
    )
    # What rounding leaves of a direction without variance must not be blown up.
    eigenvalues = np.maximum(eigenvalues, 1e-12 * eigenvalues[-1])[::-1]
    vectors = vectors[:, ::-1]
    scaled = vectors / np.sqrt(eigenvalues)
    matrix = scaled @ vectors.T if form == "zca" else scaled
    return Sphering(mean=mean, matrix=matrix, shrinkage=share, controls=n)


def _ledoit_wolf(
    centred: NDArray[np.float64], covariance: NDArray[np.float64], typical: float
) -> float:
    """Return the share of a sphere that brings a covariance nearest to the true one.

    Their b² / d²: how far the covariance of single rows is from that of all, over how far that is
    from a sphere. ``|x xᵀ - S|²`` summed over rows x is ``sum |x|⁴ - N |S|²``.
    """
    n, d = centred.shape
    squared = float((covariance**2).sum())
    apart = squared - d * typical**2  # from the sphere
    noise = (float(((centred**2).sum(axis=1) ** 2).sum()) / n - squared) / n
    return 1.0 if apart <= 0 else min(max(noise / apart, 0.0), 1.0)


def sphere(
    features: NDArray[Any],
    controls: Sequence[bool],
    blocks: Sequence[slice],
    *,
    shrinkage: float | None = None,
    form: Literal["zca", "pca"] = "zca",
) -> tuple[NDArray[np.float64], list[Sphering]]:
    """Sphere the features of each channel by themselves, as WS-DINO does.

    Parameters
    ----------
    features
        (N, D), all channels beside each other.
    controls
        Whether each row is a control.
    blocks
        The columns of each channel. A channel that a row lacks (NaN) says nothing of the others.
    shrinkage, form
        As in `fit_sphering`.

    Returns
    -------
    tuple
        (N, D) features, and what was fitted to each block.
    """
    values = np.asarray(features, np.float64)
    chosen = np.asarray(controls, bool)
    out = np.full_like(values, np.nan)
    fitted = []
    for block in blocks:
        one = fit_sphering(values[chosen, block], shrinkage=shrinkage, form=form)
        out[:, block] = one.apply(values[:, block])
        fitted.append(one)
    return out, fitted
