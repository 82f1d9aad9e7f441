"""Which planes of a stack to take: the one in focus, or all that are.

Works on a `FocusProfile`; what the measures mean and in which direction they
point stands in `focus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.preprocessing.focus import FocusProfile, extrema

__all__ = ["BestPlane", "FocusRange", "best_plane", "in_focus_range"]

_FLAT = 0.02
"""A profile whose focus stands out by less than this part of its level is called flat."""
_STANDS_OUT = 0.1
"""Part of the range by which an inner extremum has to stand out to outrank the ends."""
_APART = 1.5
"""Planes by which measures may differ and still agree."""


@dataclass(frozen=True, slots=True)
class BestPlane:
    """The plane that is in focus, as far as its stack tells.

    Parameters
    ----------
    index
        Of the plane.
    position
        The same between the planes, by a parabola through three values.
    measure
        That decided.
    direction
        1 if focus is where the measure is largest, -1 if smallest.
    direction_from
        ``"given"``; ``"this stack"``; or ``"convention"`` (1), if the stack does not tell.
    confidence
        0 to 1: the part of the measures that agree, times how far the focus stands
        above the planes that are two or more away.
    others
        What the other measures say, by name.
    notes
        Sentences about what makes it doubtful.
    """

    index: int
    position: float
    measure: str
    direction: int
    direction_from: str
    confidence: float
    others: dict[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FocusRange:
    """Consecutive planes that are in focus: ``start`` to before ``stop``.

    Parameters
    ----------
    start, stop
        Planes kept.
    best
        From which it was grown.
    notes
        Sentences about what makes it doubtful.
    """

    start: int
    stop: int
    best: BestPlane
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of planes."""
        return self.stop - self.start


def best_plane(
    profile: FocusProfile,
    *,
    measure: str = "power_log_log_slope",
    direction: int | Mapping[str, int] | None = None,
) -> BestPlane:
    """Return the plane in focus.

    Parameters
    ----------
    profile
        Of at least one plane.
    measure
        Which decides; the others are asked whether they agree.
    direction
        1 or -1 for the deciding measure, or for several by name, as
        `calibrated_direction` gives it; read off the stack where nothing is given.

    Raises
    ------
    UnknownNameError
        If the measure was not taken.
    SettingsError
        If a direction is neither 1 nor -1, or no plane has a value.
    """
    given = {measure: direction} if isinstance(direction, int) else dict(direction or {})
    if wrong := [value for value in given.values() if value not in (1, -1)]:
        raise SettingsError(
            f"A direction of focus is 1 (largest) or -1 (smallest), got {wrong[0]}. "
            "Give one of them."
        )
    line = profile.line(measure)
    if not np.isfinite(line).any():
        raise SettingsError(
            f"{measure} has no value on any plane: all are constant. Choose another stack."
        )
    sense, told_by = _sense(profile, measure, given)
    index = _extreme(line, sense)
    others = {}
    for name in profile.values:
        other = profile.line(name)
        if name != measure and np.isfinite(other).any():
            others[name] = _extreme(other, _sense(profile, name, given)[0])
    agreeing = [name for name, at in others.items() if abs(at - index) <= _APART]
    agreement = (1 + len(agreeing)) / (1 + len(others))
    sharpness, relief = _peakedness(line, sense, index)
    notes = []
    if len(profile) < 3:
        notes.append("Fewer than three planes: there is no focus to be found between them.")
        sharpness = 0.0
    elif relief < _FLAT:
        notes.append(f"The profile of {measure} is flat: all planes are about equally sharp.")
        sharpness = 0.0
    elif index in (0, len(profile) - 1):
        notes.append(
            f"The best plane, {index}, is the {'first' if index == 0 else 'last'} of the stack; "
            "the true focus may lie outside."
        )
        sharpness *= 0.5
    if told_by == "convention" and len(profile) > 2:
        notes.append(
            f"The stack does not tell whether {measure} is largest or smallest in focus; largest "
            "was assumed, which is wrong for most bright field. Calibrate it on a stack whose "
            "focus is known."
        )
        sharpness *= 0.5
    ends = sense * line[[0, -1]]
    if 0 < index < len(profile) - 1 and np.nanmax(ends) > sense * line[index]:
        notes.append(
            f"An end of the stack has a more extreme {measure} than plane {index}, which was taken "
            "since the profile turns there."
        )
        sharpness *= 0.5
    if others and len(agreeing) < len(others):
        said = ", ".join(f"{name} {at}" for name, at in others.items() if name not in agreeing)
        notes.append(f"Other measures choose other planes ({said}).")
    confidence = float(agreement * sharpness)
    return BestPlane(
        index, _between_planes(line, sense, index), measure, sense, told_by, confidence, others,
        tuple(notes),
    )  # fmt: skip


def in_focus_range(
    profile: FocusProfile,
    *,
    measure: str = "power_log_log_slope",
    direction: int | Mapping[str, int] | None = None,
    keep: float = 0.5,
) -> FocusRange:
    """Return the consecutive planes around the best one that are in focus.

    Parameters
    ----------
    profile, measure, direction
        As for `best_plane`.
    keep
        0 to 1: a plane is kept while its value is above this part of the way from
        the worst plane to the best one. The planes kept have no gap.

    Raises
    ------
    SettingsError
        If `keep` is not between 0 and 1, and as `best_plane`.
    """
    if not 0 < keep < 1:
        raise SettingsError(f"keep must lie between 0 and 1, got {keep:g}. Choose 0.5.")
    best = best_plane(profile, measure=measure, direction=direction)
    line = best.direction * profile.line(measure)
    known = line[np.isfinite(line)]
    lowest, highest = float(known.min()), float(line[best.index])
    # NaN compares as false: a plane without a value ends the range.
    kept = line >= lowest + keep * (highest - lowest)
    start = stop = best.index
    while start > 0 and kept[start - 1]:
        start -= 1
    while stop < kept.size and kept[stop]:
        stop += 1
    notes = list(best.notes)
    outside = int(np.count_nonzero(kept)) - (stop - start)
    if outside:
        more = "1 more plane" if outside == 1 else f"{outside} more planes"
        notes.append(f"Beyond a gap, {more} would be in focus; left out.")
    return FocusRange(start, stop, best, tuple(notes))


def _sense(profile: FocusProfile, measure: str, given: Mapping[str, int]) -> tuple[int, str]:
    if measure in given:
        return given[measure], "given"
    found = profile.direction(measure)
    return (found, "this stack") if found else (1, "convention")


def _extreme(line: NDArray[np.float64], sense: int) -> int:
    """Return the best plane: an inner extremum where one stands out, since focus has two sides."""
    values = sense * line
    overall = int(np.nanargmax(values))
    heights = extrema(values) if np.isfinite(values).all() else {}
    if overall in heights or not heights:
        return overall
    inner = max(heights, key=heights.__getitem__)
    return inner if heights[inner] > _STANDS_OUT * np.ptp(values) else overall


def _peakedness(line: NDArray[np.float64], sense: int, index: int) -> tuple[float, float]:
    """Return how far the best plane stands above those two or more away (0 to 1), and its relief.

    The first is relative to the range of the profile, less for an extremum of the other kind
    that could be meant; the second is relative to the level of the profile.
    """
    values = sense * line
    finite = values[np.isfinite(values)]
    spread = float(np.ptp(finite))
    if finite.size < 3 or spread == 0:
        return 0.0, 0.0
    away = np.abs(np.arange(line.size) - index) >= 2
    rest = values[away & np.isfinite(values)]
    relief = spread / max(abs(float(np.median(finite))), 1e-300)
    if rest.size == 0:
        return 0.0, relief
    above = float(np.clip((values[index] - np.median(rest)) / spread, 0, 1))
    if np.isfinite(values).all():
        this, opposite = (max(extrema(v).values(), default=0.0) for v in (values, -values))
        above *= this / (this + opposite) if this > 0 else 1.0
    return above, relief


def _between_planes(line: NDArray[np.float64], sense: int, index: int) -> float:
    if not 0 < index < line.size - 1:
        return float(index)
    before, here, after = sense * line[index - 1 : index + 2]
    bend = before - 2 * here + after
    if not np.isfinite(bend) or bend >= 0:
        return float(index)
    return float(index + 0.5 * (before - after) / bend)
