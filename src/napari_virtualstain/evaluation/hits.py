"""Which treatments do something? Those whose wells lie further from the controls than controls do.

What is asked of truth and prediction in the same way, each by its own controls: a stain that is
twice as bright everywhere has the same hits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.sphering import FEWEST
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.selection import median_of, robust_scale

__all__ = [
    "BORDER",
    "Effects",
    "find_hits",
    "membership",
    "refuse_few_controls",
    "scale_by_controls",
    "sizes_of",
]


BORDER = 1.2
"""Threshold over what is still on the border of being a hit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effects:
    """What treatments do, in robust standard deviations of the controls.

    Parameters
    ----------
    treatments
        Names, in alphabetical order.
    profiles
        (treatments, features), the mean over the wells of each.
    sizes
        Root mean square of each profile.
    thresholds
        What as many control wells reach by chance.
    """

    treatments: tuple[str, ...]
    profiles: NDArray[np.float64]
    sizes: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which treatments do more than controls."""
        return np.asarray(self.sizes > self.thresholds, np.bool_)

    @property
    def nearly(self) -> NDArray[np.bool_]:
        """Which do, or come so near that another picture of the same cells might."""
        return np.asarray(self.sizes > self.thresholds / BORDER, np.bool_)


def refuse_few_controls(wells: int) -> None:
    """Refuse to say how controls vary by a few.

    Raises
    ------
    PixelDataError
        If there are fewer than five.
    """
    if wells < FEWEST:
        raise PixelDataError(
            f"There are {wells} control wells, and {FEWEST} are needed to know how controls vary. "
            "Name more of them with --controls, or compare more wells."
        )


def scale_by_controls(
    values: NDArray[np.float64], controls: Sequence[bool], plates: Sequence[str]
) -> NDArray[np.float64]:
    """Return wells (N, D) as they differ from the controls of their plate, in SD of all controls.

    The middle is the median of the controls of a plate, since plates differ; the scale is that of
    the controls of all plates, each around its own middle, since a few wells tell little of it.
    Features in which controls do not vary become NaN.

    Raises
    ------
    PixelDataError
        If a plate has no control, or there are fewer than five in all.
    """
    untreated = np.asarray(controls, bool)
    refuse_few_controls(int(untreated.sum()))
    which = np.asarray(plates)
    centred = np.array(values, np.float64)
    for plate in dict.fromkeys(plates):
        here = which == plate
        if not (here & untreated).any():
            raise PixelDataError(
                f"Plate {plate!r} has no control well, so that nobody can say what its treatments "
                "do. Name its controls with --controls, or leave the plate out."
            )
        centred[here] -= median_of(values[here & untreated])
    return np.asarray(centred / robust_scale(centred[untreated]), np.float64)


def sizes_of(
    scaled: NDArray[np.float64], members: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean profile of each group of wells, and its root mean square.

    Parameters
    ----------
    scaled
        (N, D) wells.
    members
        (K, N) how often each well counts in each group.

    Returns
    -------
    tuple
        (K, D) and (K,), over what is known; NaN where nothing is.
    """
    known = np.isfinite(scaled)
    counts = members @ known.astype(np.float64)
    total = members @ np.where(known, scaled, 0.0)
    profiles = np.where(counts > 0, total / np.maximum(counts, 1e-300), np.nan)
    there = np.isfinite(profiles)
    square = np.where(there, profiles, 0.0) ** 2
    n = there.sum(axis=1)
    sizes = np.where(n > 0, np.sqrt(square.sum(axis=1) / np.maximum(n, 1)), np.nan)
    return profiles, sizes


def membership(labels: Sequence[str], names: Sequence[str]) -> NDArray[np.float64]:
    """Return (K, N) which wells have which label."""
    same = np.asarray(labels)[None, :] == np.asarray(names)[:, None]
    return np.asarray(same, np.float64)


def find_hits(
    scaled: NDArray[np.float64],
    treatments: Sequence[str],
    controls: Sequence[bool],
    plates: Sequence[str],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Effects:
    """Return the effect of each treatment beside what controls reach by chance.

    Parameters
    ----------
    scaled
        (N, D) wells, as `scale_by_controls` returns them.
    treatments
        Of each well.
    controls
        Which of them are untreated.
    plates
        Of each well.
    level
        Share of draws of controls that lie below the threshold: of treatments that do nothing, the
        others are hits by chance.
    draws, seed
        Of the bootstrap.

    Raises
    ------
    PixelDataError
        If no well is treated.

    Notes
    -----
    The effect is the root mean square over features of the mean profile of the wells. What would be
    found of a treatment that does nothing is drawn with replacement from the controls, as often as
    `draws` says: wells, as many as the treatment has, of the controls of all plates around their
    own middle, and anew the middle of each of its plates, which few controls do not tell for sure.
    The threshold is a quantile of these effects. There is no correction for many treatments.

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 16.2 (two samples).
    """
    untreated = np.asarray(controls, bool)
    names = tuple(sorted({t for t, c in zip(treatments, untreated, strict=True) if not c}))
    if not names:
        raise PixelDataError(
            "All wells are controls, so that there is nothing to find. Compare treated wells too."
        )
    members = membership(treatments, names)
    profiles, sizes = sizes_of(scaled, members)
    null = _Null(scaled[untreated], np.asarray(plates)[untreated].tolist(), draws, seed)
    layouts = [Counter(np.asarray(plates)[row > 0].tolist()) for row in members]
    return Effects(
        treatments=names,
        profiles=profiles,
        sizes=sizes,
        thresholds=np.array([null.threshold(one, level) for one in layouts]),
    )


_VALUES = 1 << 22
"""Numbers that are held at once."""


class _Null:
    """Draws what treatments that do nothing look like."""

    def __init__(
        self, controls: NDArray[np.float64], plates: Sequence[str], draws: int, seed: int
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._draws = draws
        which = np.array(plates)
        self._wells = controls.copy()
        self._middles: dict[str, NDArray[np.float64]] = {}
        for plate in dict.fromkeys(plates):
            here = which == plate
            n = int(here.sum())
            # Deviations from a middle that was fitted to them are too small.
            self._wells[here] *= np.sqrt(n / (n - 1)) if n > 1 else 1.0
            # A control alone tells nothing of how sure the middle is: that of all plates does.
            pool = controls[here] if n > 1 else controls
            self._middles[plate] = self._drawn_middles(pool, n)
        self._known: dict[tuple[tuple[str, int], ...], float] = {}

    def _drawn_middles(self, pool: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        """Return (draws, D) medians of n that are drawn, some draws at a time."""
        found = []
        at_once = max(1, _VALUES // max(n * pool.shape[1], 1))
        for first in range(0, self._draws, at_once):
            count = min(at_once, self._draws - first)
            drawn = pool[self._rng.integers(len(pool), size=(count, n))]
            found.append(median_of(drawn.transpose(1, 0, 2).reshape(n, -1)).reshape(count, -1))
        return np.concatenate(found)

    def threshold(self, layout: Counter[str], level: float) -> float:
        """Return what is seldom exceeded by so many wells of each plate."""
        key = tuple(sorted(layout.items()))
        if key not in self._known:
            total = sum(layout.values())
            drawn = self._rng.integers(len(self._wells), size=(self._draws, total))
            counts = np.zeros((self._draws, len(self._wells)))
            np.add.at(counts, (np.arange(self._draws)[:, None], drawn), 1.0)
            means, _ = sizes_of(self._wells, counts)
            middle = sum(n / total * self._middles[plate] for plate, n in key)
            _, sizes = sizes_of(means - middle, np.identity(self._draws))
            known = sizes[np.isfinite(sizes)]
            self._known[key] = float(np.quantile(known, level)) if len(known) else float("nan")
        return self._known[key]
