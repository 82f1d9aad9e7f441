"""What are the fields of a good model like? Looks at them twice, and makes a reference of them.

The first time for what a field is by itself (levels, grain, nuclei, what foretells what), the
second time with every check, for the usual ranges. The limits of all checks are a
multiple of what 95 % of the fields stay below in each: one factor, so that no more than the stated
share of the fields exceeds any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.qc import cells, source
from napari_virtualstain.qc.checks import CHECKS
from napari_virtualstain.qc.expectation import Expectation, fit_expectation, of_light, of_stains
from napari_virtualstain.qc.field import Picture, QcField
from napari_virtualstain.qc.found import CannotTell
from napari_virtualstain.qc.guard import Guard
from napari_virtualstain.qc.reference import (
    Likeness,
    Limits,
    QcReference,
    StainUsual,
    Usual,
)

__all__ = ["FEWEST", "fit_reference"]

FEWEST = 4
"""Fields from which on a reference is made."""
_LIKE = 8
_FOLDS = 8
_SHRINK = 0.1
_BEYOND = {"smooth": 0.995, "nuclei": 0.9995}
"""Share of the places of good fields that are not marked."""
_SAMPLE = 4000
_RED = 2.0
"""Red is so many times the amber score."""
_LEAST_AMBER = 1.5


def fit_reference(
    fields: Sequence[Callable[[], QcField]],
    *,
    alarms: float = 0.05,
    model: str = "",
    fingerprint: str = "",
    guard: Mapping[str, Guard] | None = None,
    on_field: Callable[[int, int], None] = lambda done, of: None,
) -> QcReference:
    """Return the reference of good fields.

    Parameters
    ----------
    fields
        Each opens a field; all have the same stains and pixel size.
    alarms
        Share of these fields that any check may call amber or worse.
    model, fingerprint
        Whose predictions they are.
    guard
        What pairs with a truth say of amounts.
    on_field
        Told of looks done, and of all.

    Raises
    ------
    PixelDataError
        If there are fewer than four.
    """
    if len(fields) < FEWEST:
        raise PixelDataError(
            f"A reference of {len(fields)} fields says nothing of what is usual. Give at least "
            f"{FEWEST}, better 50."
        )
    first = _Looks()
    for number, opened in enumerate(fields):
        on_field(number, 2 * len(fields))
        first.add(opened())
    bare = first.reference(len(fields), alarms, model, fingerprint, dict(guard or {}))
    beyond: dict[str, list[NDArray[np.float64]]] = {}
    for number, opened in enumerate(fields):
        on_field(len(fields) + number, 2 * len(fields))
        field = opened()
        for name, values in _surprises(field, bare).items():
            beyond.setdefault(name, []).append(values)
    limits = {
        name: float(
            np.quantile(np.concatenate(v), _BEYOND["smooth" if name == "smooth" else "nuclei"])
        )
        for name, v in beyond.items()
    }
    known = bare.model_copy(update={"beyond": {n: round(v, 5) for n, v in limits.items()}})
    second = [_numbers(opened(), known) for opened in fields]
    on_field(2 * len(fields), 2 * len(fields))
    if known.likeness is not None:
        for row, left_out in zip(second, first.left_out(), strict=True):
            row["likeness/distance"] = left_out
    return _with_ranges(known, second)


class _Looks:
    """What fields are by themselves, gathered one after the other."""

    def __init__(self) -> None:
        self._dark: dict[str, list[float]] = {}
        self._bright: dict[str, list[float]] = {}
        self._grain: dict[str, list[NDArray[np.float64]]] = {}
        self._light: dict[str, list[tuple[NDArray[np.float32], Picture]]] = {}
        self._others: dict[str, list[tuple[NDArray[np.float32], Picture]]] = {}
        self._nuclei: list[dict[str, NDArray[np.float64]]] = []
        self._contrast: list[float] = []
        self._like: list[dict[str, float]] = []
        self._pixel_um, self._planes = 0.0, 0
        self._rng = np.random.default_rng(0)

    def add(self, field: QcField) -> None:
        self._pixel_um = field.pixel_um
        self._planes = 0 if field.planes is None else len(field.planes)
        light, dna = of_light(field), field.stain("DNA")
        for name in field.stains:
            self._dark.setdefault(name, []).append(field.dark(name))
            self._bright.setdefault(name, []).append(field.bright(name))
            fine, level, inside = cells.grain(field, name)
            own = np.stack([fine[inside], level[inside]]).astype(np.float64)
            self._grain.setdefault(name, []).append(self._some(own))
            if light is not None:
                self._light.setdefault(name, []).append(self._places(light, field.coarse(name)))
        if dna is not None:
            others = of_stains(field, dna)
            if others is not None:
                self._others.setdefault(dna, []).append(self._places(others, field.coarse(dna)))
            try:
                self._nuclei.append(cells.nucleus_table(field))
            except CannotTell:
                pass
            else:
                labels = field.nuclei
                over = field.coarse(dna)[labels > 0] if labels is not None else np.zeros(1)
                self._contrast.append(float(np.median(over)) - field.dark(dna))
        if light is not None:
            with suppress(CannotTell):
                self._like.append(source.light_numbers(field))

    def _places(
        self, features: NDArray[np.float32], stain: Picture
    ) -> tuple[NDArray[np.float32], Picture]:
        flat = features.reshape(len(features), -1)
        some = self._rng.permutation(flat.shape[1])[:_SAMPLE]
        return flat[:, some].copy(), stain.ravel()[some].copy()

    def _some(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[:, self._rng.permutation(values.shape[1])[:_SAMPLE]]

    def left_out(self) -> list[float]:
        """Return the distance of each field from all others; NaN where it has no numbers."""
        return [
            _likeness([*self._like[:n], *self._like[n + 1 :]]).distance(one)
            for n, one in enumerate(self._like)
        ]

    def reference(
        self, count: int, alarms: float, model: str, fingerprint: str, guard: dict[str, Guard]
    ) -> QcReference:
        stains = {
            name: StainUsual(
                dark=round(float(np.median(self._dark[name])), 6),
                bright=round(float(np.median(self._bright[name])), 6),
                grain=_grain(self._grain[name]),
            )
            for name in self._dark
        }
        enough = len(self._like) >= _LIKE and len(self._like) == count
        return QcReference(
            model=model, fingerprint=fingerprint, fields=count, alarms=alarms,
            pixel_um=self._pixel_um, planes=self._planes, stains=stains,
            light=_fitted(self._light), others=_fitted(self._others), nucleus=self._nucleus(),
            likeness=_likeness(self._like) if enough else None, guard=guard,
        )  # fmt: skip

    def _nucleus(self) -> tuple[float, float, float, float] | None:
        if not self._nuclei:
            return None
        area = np.concatenate([one["area"] for one in self._nuclei])
        solid = np.concatenate([one["solidity"] for one in self._nuclei])
        if len(area) < 10:
            return None
        return (
            round(float(np.quantile(area, 0.98)), 3), round(float(np.quantile(solid, 0.02)), 4),
            round(float(np.median(area)), 3), round(float(np.median(self._contrast)), 6),
        )  # fmt: skip


def _fitted(
    pairs: Mapping[str, list[tuple[NDArray[np.float32], Picture]]],
) -> dict[str, Expectation]:
    found = {name: fit_expectation(own) for name, own in pairs.items()}
    return {name: one for name, one in found.items() if one is not None}


def _grain(parts: Sequence[NDArray[np.float64]]) -> tuple[float, float, float] | None:
    fine, level = np.concatenate(parts, axis=1)
    if len(fine) < 100 or level.std() == 0:
        return None
    slope, at_one = np.polyfit(level, fine, 1)
    sd = float((fine - at_one - slope * level).std())
    return round(float(at_one), 5), round(float(slope), 5), round(sd, 5)


def _likeness(rows: Sequence[Mapping[str, float]]) -> Likeness:
    """Return mean and inverse covariance, a tenth of which is that of independent numbers."""
    names = tuple(rows[0])
    table = np.array([[row[name] for name in names] for row in rows])
    spread = np.cov(table, rowvar=False)
    own = np.diag(np.maximum(np.diag(spread), 1e-4))
    spread = (1 - _SHRINK) * spread + _SHRINK * own
    return Likeness(
        names=names, mean=tuple(round(float(m), 6) for m in table.mean(axis=0)),
        precision=tuple(tuple(round(float(v), 6) for v in row) for row in np.linalg.inv(spread)),
    )  # fmt: skip


def _surprises(field: QcField, bare: QcReference) -> dict[str, NDArray[np.float64]]:
    """Return samples of what is compared place by place."""
    found = {}
    try:
        for witness, less in cells.surprises(field, bare).items():
            found[f"lost {witness}"] = less[::2, ::2].ravel().astype(np.float64)
            found[f"invented {witness}"] = -found[f"lost {witness}"]
    except CannotTell:
        pass
    try:
        mean, inside = cells.smoothness(field, bare.stains)
        found["smooth"] = mean[inside].astype(np.float64)
    except CannotTell:
        pass
    return found


def _numbers(field: QcField, reference: QcReference) -> dict[str, float]:
    found = {}
    for check in CHECKS.values():
        try:
            measured = check.measure(field, reference)
        except CannotTell:
            continue
        for number, value in measured.numbers.items():
            if np.isfinite(value):
                found[f"{check.name}/{number}"] = value
    return found


def _ranges(rows: Sequence[Mapping[str, float]]) -> dict[str, Usual]:
    found = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row[name] for row in rows if name in row]
        if len(values) < FEWEST - 1 or name.partition("/")[0] == "missing":
            continue
        low, middle, high = (float(f"{v:.6g}") for v in np.quantile(values, (0.05, 0.5, 0.95)))
        found[name] = Usual(middle=middle, low=low, high=high)
    return found


def _scores(row: Mapping[str, float], usual: Mapping[str, Usual]) -> dict[str, float]:
    """Return the worst score of each check."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if name in usual:
            check = CHECKS[name.partition("/")[0]]
            score = usual[name].score(value, check.side, check.least)
            found[check.name] = max(score, found.get(check.name, 0.0))
    return found


def _with_ranges(known: QcReference, rows: Sequence[Mapping[str, float]]) -> QcReference:
    usual = _ranges(rows)
    # Of each field by the ranges of others: by those that it helped to find, it lies too near.
    scores: list[dict[str, float]] = []
    for fold in range(_FOLDS):
        ranges = _ranges([row for n, row in enumerate(rows) if n % _FOLDS != fold])
        scores += [_scores(row, ranges) for n, row in enumerate(rows) if n % _FOLDS == fold]
    checks = sorted({name.partition("/")[0] for name in usual})
    # One check scatters more than another: each by its own 95 %, then all by one factor.
    wide = {c: max(float(np.quantile([s.get(c, 0.0) for s in scores], 0.95)), 1.0) for c in checks}
    worst = [max((s.get(c, 0.0) / wide[c] for c in checks), default=0.0) for s in scores]
    factor = max(float(np.quantile(worst, 1 - known.alarms)), 1.0)
    limits = {}
    for check in CHECKS:
        if check in wide:
            amber = max(factor * wide[check], _LEAST_AMBER)
            limits[check] = Limits(amber=round(amber, 3), red=round(_RED * amber, 3))
    return known.model_copy(update={"usual": usual, "limits": limits})
