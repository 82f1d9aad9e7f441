"""Do fields change over a plate, with time, or from plate to plate? Drift, in words.

What is measured of each field is compared by wells, since fields of one well are not independent:
with the row and the column (Spearman), between rows and between columns (Kruskal and Wallis),
between the edge of the plate and the rest (Mann and Whitney), between plates (Kruskal and Wallis),
and with the time point (Spearman). All p values of a run are corrected together (Holm 1979,
doi:10.2307/4615733), and what is significant and weak is not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import factorial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from napari_virtualstain.io.plate import Place, Plate, parse_well, plates_with
from napari_virtualstain.qc.drift_numbers import DriftMeasure, drift_measure
from napari_virtualstain.words import plural

__all__ = ["Drift", "DriftReport", "MeasuredField", "find_drift", "holm"]

Floats = NDArray[np.float64]
With = Literal["row", "column", "rows", "columns", "edge", "plate", "time"]

_WELLS = 8
"""Wells of a plate from which on they are compared."""
_LINES = 3
"""Rows, or columns, from which on there is a direction."""
_SIDE = 4
"""Wells on either side of a comparison of two."""
_TIMES = 8
_FEW = 20
_LEVEL = 0.05
_EFFECT = {"row": 0.4, "column": 0.4, "time": 0.4, "edge": 0.4, "rows": 0.25, "columns": 0.25,
           "plate": 0.25}  # fmt: skip
"""Smallest effect that is told: correlation of ranks, and share of the variance of ranks."""
_LAYOUT = "; if treatments follow the layout, it may be theirs"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredField:
    """What was measured of one time point of one image.

    Parameters
    ----------
    image
        Which.
    place
        Where it lies.
    t, times
        Time point, and how many the image has.
    numbers
        As `drift_numbers.drift_numbers` gives them.
    """

    image: str
    place: Place
    t: int
    times: int
    numbers: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One measure that changes with one thing.

    Parameters
    ----------
    measure, of
        What changes: its name, and whether it is of the ``"input"`` or the ``"output"``.
    along
        With what: ``"row"``, ``"column"`` and ``"time"`` rise or fall, ``"rows"``, ``"columns"``
        and ``"plate"`` differ, ``"edge"`` differs from the inner wells.
    plate
        Name of the plate, ``""`` for all or one without a name.
    effect
        Correlation of ranks from -1 to 1; of what differs, the share of the variance of ranks.
    p
        After Holm.
    count
        Wells, or time points.
    words
        What to read; one sentence.
    """

    measure: str
    of: Literal["input", "output"]
    along: With
    plate: str
    effect: float
    p: float
    count: int
    words: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """What was found on all plates.

    Parameters
    ----------
    found
        Strongest first, input before output.
    untold
        What could not be assessed, and why; a sentence each.
    tests
        How many comparisons were made, and corrected for.
    wells
        That were compared, or too few.
    """

    found: tuple[Drift, ...] = ()
    untold: tuple[str, ...] = ()
    tests: int = 0
    wells: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "found": [one.to_json() for one in self.found], "untold": list(self.untold),
            "tests": self.tests, "wells": self.wells,
        }  # fmt: skip

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, or that nothing was."""
        if self.found:
            return tuple(one.words for one in self.found)
        if self.tests:
            return (f"No drift was found in {plural(self.tests, 'comparison')}.",)
        return ()


def holm(p: Sequence[float]) -> list[float]:
    """Return p values after Holm's correction, in the same order.

    Examples
    --------
    >>> [round(one, 2) for one in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    found, largest = [0.0] * len(p), 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * float(p[number])))
        found[number] = largest
    return found


def find_drift(fields: Sequence[MeasuredField]) -> DriftReport:
    """Say what changes over plates, from plate to plate, and with time.

    Parameters
    ----------
    fields
        Of a run.
    """
    wells = _wells(fields)
    plates = {plate.name: plate for plate in plates_with((f.image, f.place) for f in fields)}
    tests: list[Drift] = []
    untold: list[str] = []
    if not wells:
        untold.append("Drift over the plate: not assessable, no image says in which well it lies.")
    for name, own in wells.items():
        tests += _over_plate(plates[name], own, untold)
    if len(wells) == 1:
        untold.append("Differences between plates: not assessable, there is one plate.")
    elif wells:
        tests += _between_plates(wells, untold)
    tests += _over_time(fields, untold)
    corrected = [
        replace(one, p=p) for one, p in zip(tests, holm([t.p for t in tests]), strict=True)
    ]
    told = [one for one in corrected if one.p < _LEVEL and abs(one.effect) >= _EFFECT[one.along]]
    steady = {(one.measure, one.plate, f"{one.along}s") for one in told}
    kept = [  # a slope says more than a difference
        replace(one, words=one.words.replace("{p}", f"{one.p:.1g}"))
        for one in told
        if (one.measure, one.plate, one.along) not in steady
    ]
    kept.sort(key=lambda one: (one.of == "output", -abs(one.effect)))
    return DriftReport(
        found=tuple(kept), untold=tuple(untold), tests=len(tests),
        wells=sum(len(own) for own in wells.values()),
    )  # fmt: skip


Wells = Mapping[str, Mapping[str, float]]
"""By name of the well, then of the measure."""


def _wells(fields: Sequence[MeasuredField]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median of each measure by plate and well."""
    gathered: dict[str, dict[str, dict[str, list[float]]]] = {}
    for one in fields:
        if parse_well(one.place.well) is not None:
            well = gathered.setdefault(one.place.plate, {}).setdefault(one.place.well, {})
            for name, value in one.numbers.items():
                well.setdefault(name, []).append(value)
    return {
        plate: {
            well: {name: float(np.median(v)) for name, v in own.items()}
            for well, own in wells.items()
        }
        for plate, wells in gathered.items()
    }


def _over_plate(plate: Plate, wells: Wells, untold: list[str]) -> list[Drift]:
    of = f" of {plate.name}" if plate.name else ""
    if len(wells) < _WELLS:
        there = "one well" if len(wells) == 1 else f"{len(wells)} wells"
        untold.append(
            f"Drift over the plate{of}: not assessable, there {'is' if len(wells) == 1 else 'are'} "
            f"{there}, and {_WELLS} are needed."
        )
        return []
    at = {name: parse_well(name) or (0, 0) for name in wells}
    tests: list[Drift] = []
    for axis, what in enumerate(("row", "column")):
        lines = {place[axis] for place in at.values()}
        if len(lines) < _LINES:
            untold.append(
                f"Drift with the {what}{of}: not assessable, the wells lie in "
                f"{plural(len(lines), what)}."
            )
            continue
        tests += _with_line(plate.name, wells, {n: p[axis] for n, p in at.items()}, what)
    last = (plate.rows - 1, plate.columns - 1)
    edge = {name for name, (y, x) in at.items() if y in (0, last[0]) or x in (0, last[1])}
    if min(len(edge), len(at) - len(edge)) < _SIDE:
        untold.append(
            f"Difference of the edge{of}: not assessable, fewer than {_SIDE} wells lie at the edge "
            "or inside."
        )
    else:
        tests += _of_edge(plate.name, wells, edge)
    return tests


def _named(wells: Wells) -> Iterator[tuple[str, list[str], Floats]]:
    """Yield each measure with the wells that have it, where it varies."""
    for name in dict.fromkeys(name for own in wells.values() for name in own):
        there = [well for well, own in wells.items() if name in own]
        values = np.array([wells[well][name] for well in there])
        if len(there) >= _WELLS and np.ptp(values) > 1e-9 * max(np.abs(values).max(), 1e-12):
            yield name, there, values


def _with_line(plate: str, wells: Wells, line: Mapping[str, int], what: str) -> list[Drift]:
    found = []
    row: With = "row" if what == "row" else "column"
    rows: With = "rows" if what == "row" else "columns"
    for name, there, values in _named(wells):
        at = np.array([line[well] for well in there], float)
        told = drift_measure(name)
        if len(set(at)) >= _LINES:
            found.append(_slope(name, row, plate, at, values, f"with the {what}", "wells"))
        groups = [values[at == one] for one in np.unique(at) if (at == one).sum() > 1]
        if len(groups) >= _LINES:
            ends = (min(groups, key=np.median), max(groups, key=np.median))
            statistic, p, share = _kruskal(groups)
            del statistic
            between = " to ".join(told.shown(float(np.median(g))) for g in ends)
            words = (
                f"{told.title} differs between {what}s{_on(plate)} (Kruskal-Wallis, p = {{p}} "
                f"after Holm): medians of {between}{_layout(told)}."
            )
            found.append(
                Drift(measure=name, of=told.of, along=rows, plate=plate, effect=share, p=p,
                      count=len(there), words=words)
            )  # fmt: skip
    return found


def _slope(
    name: str, along: With, plate: str, at: Floats, values: Floats, said: str, unit: str
) -> Drift:
    rho, p = (float(v) for v in stats.spearmanr(at, values))
    if len(at) <= _FEW:  # where the formula knows less than counting: no order is rarer than this
        p = max(p, 2 / factorial(len(at)))
    told = drift_measure(name)
    low, high = np.quantile(at, (1 / 3, 2 / 3))
    ends = " to ".join(
        told.shown(float(np.median(part))) for part in (values[at <= low], values[at >= high])
    )
    words = (
        f"{told.title} {'rises' if rho > 0 else 'falls'} {said}{_on(plate)} (Spearman {rho:+.2f} "
        f"over {len(at)} {unit}, p = {{p}} after Holm): from {ends}"
        f"{_layout(told) if along != 'time' else ''}."
    )
    return Drift(measure=name, of=told.of, along=along, plate=plate, effect=rho, p=p,
                 count=len(at), words=words)  # fmt: skip


def _kruskal(groups: Sequence[Floats]) -> tuple[float, float, float]:
    """Return H, p, and epsilon squared: the share of the variance of ranks between groups."""
    statistic, p = stats.kruskal(*groups)
    count = sum(map(len, groups))
    share = max(0.0, (float(statistic) - len(groups) + 1) / (count - len(groups)))
    return float(statistic), float(p), share


def _of_edge(plate: str, wells: Wells, edge: set[str]) -> list[Drift]:
    found = []
    for name, there, values in _named(wells):
        at_edge = np.array([well in edge for well in there])
        outer, inner = values[at_edge], values[~at_edge]
        if min(len(outer), len(inner)) < _SIDE:
            continue
        statistic, p = stats.mannwhitneyu(outer, inner)
        effect = 2 * float(statistic) / (len(outer) * len(inner)) - 1
        told = drift_measure(name)
        words = (
            f"{told.title} is {'higher' if effect > 0 else 'lower'} at the edge{_on(plate)} than "
            f"inside (Mann-Whitney, p = {{p}} after Holm): {told.shown(float(np.median(outer)))} "
            f"in {len(outer)} wells, {told.shown(float(np.median(inner)))} in {len(inner)}"
            f"{_layout(told)}."
        )
        found.append(
            Drift(measure=name, of=told.of, along="edge", plate=plate, effect=effect, p=float(p),
                  count=len(there), words=words)
        )  # fmt: skip
    return found


def _between_plates(plates: Mapping[str, Wells], untold: list[str]) -> list[Drift]:
    large = {name: own for name, own in plates.items() if len(own) >= _SIDE}
    if len(large) < 2:
        untold.append(
            f"Differences between plates: not assessable, fewer than two have {_SIDE} wells."
        )
        return []
    found = []
    for name in dict.fromkeys(n for own in large.values() for well in own.values() for n in well):
        groups = {
            plate: np.array([well[name] for well in own.values() if name in well])
            for plate, own in large.items()
        }
        groups = {plate: values for plate, values in groups.items() if len(values) >= _SIDE}
        if len(groups) < 2 or np.ptp(np.concatenate(list(groups.values()))) == 0:
            continue
        _, p, share = _kruskal(list(groups.values()))
        told = drift_measure(name)
        order = sorted(groups, key=lambda plate: float(np.median(groups[plate])))
        ends = ", ".join(
            f"{told.shown(float(np.median(groups[plate])))} on {plate or 'that without a name'}"
            for plate in (order[0], order[-1])
        )
        words = (
            f"{told.title} differs between {len(groups)} plates (Kruskal-Wallis over wells, "
            f"p = {{p}} after Holm): {ends}."
        )
        found.append(
            Drift(measure=name, of=told.of, along="plate", plate="", effect=share, p=p,
                  count=sum(map(len, groups.values())), words=words)
        )  # fmt: skip
    return found


def _over_time(fields: Sequence[MeasuredField], untold: list[str]) -> list[Drift]:
    """Follow each measure with the time point, over all images together."""
    long = [one for one in fields if one.times >= _TIMES]
    if not long:
        untold.append(
            "Drift with the order of acquisition: not assessable, files do not say when each was "
            f"taken, and no image has {_TIMES} time points."
        )
        return []
    own: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for one in long:
        for name, value in one.numbers.items():
            own.setdefault((name, one.image), []).append((one.t, value))
    by_time: dict[str, dict[int, list[float]]] = {}
    levels: dict[str, list[float]] = {}
    for (name, _), rows in own.items():
        level = float(np.median([value for _, value in rows]))
        levels.setdefault(name, []).append(level)
        for t, value in rows:  # beside the image's own level: images differ for other reasons
            by_time.setdefault(name, {}).setdefault(t, []).append(value - level)
    found = []
    for name, times in by_time.items():
        at = np.array(sorted(times), float)
        level = float(np.median(levels[name]))
        values = np.array([float(np.median(times[int(t)])) for t in at]) + level
        if len(at) >= _TIMES and np.ptp(values) > 1e-9 * max(np.abs(values).max(), 1e-12):
            found.append(_slope(name, "time", "", at, values, "with time", "time points"))
    return found


def _on(plate: str) -> str:
    return f" of {plate}" if plate else ""


def _layout(told: DriftMeasure) -> str:
    return _LAYOUT if told.of == "output" else ""
