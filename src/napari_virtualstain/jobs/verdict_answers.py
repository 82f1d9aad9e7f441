"""What follows from compared fields? Tables of wells, features and treatments, and the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_virtualstain.embedding.intervals import Interval
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.agreement import (
    HitAgreement,
    compare_hits,
    ratio_of_medians,
    ratio_of_sums,
)
from napari_virtualstain.evaluation.correlation import (
    GroupCorrelation,
    by_group,
    feature_correlation,
)
from napari_virtualstain.evaluation.findings import (
    Finding,
    about_amounts,
    about_counts,
    about_hits,
    about_targets,
)
from napari_virtualstain.evaluation.groups import group_of
from napari_virtualstain.evaluation.hits import find_hits, scale_by_controls
from napari_virtualstain.evaluation.profiles import Key, Profiles, joined
from napari_virtualstain.evaluation.selection import select_features
from napari_virtualstain.evaluation.targets import match_targets
from napari_virtualstain.jobs.measure_field import over_fields
from napari_virtualstain.jobs.verdict_fields import ComparedField
from napari_virtualstain.jobs.verdict_rows import Row, channel_row, well_rows

__all__ = ["Answers", "answer", "ask_hits", "refuse_one_well"]

_NO_FEATURE = ("missing",)
_NOT_ASKED = "hits, their order and targets are not asked: "


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """All that was found.

    Parameters
    ----------
    findings
        What was asked, and the answers.
    channels
        A row a stain: scores, amounts, correlation of its features, and ``trust``.
    groups
        Correlation by compartment x type x channel.
    features, wells, treatments
        Rows of the tables; wells with the worst first.
    hits
        Of the treatments; `None` where no controls are named.
    correlation
        Mean correlation of the features that are kept (published as CPcor).
    notes
        What was not asked, and why.
    """

    findings: tuple[Finding, ...]
    channels: tuple[Row, ...]
    groups: tuple[GroupCorrelation, ...]
    features: tuple[Row, ...]
    wells: tuple[Row, ...]
    treatments: tuple[Row, ...]
    hits: HitAgreement | None
    correlation: float
    notes: tuple[str, ...]


def answer(
    fields: Sequence[ComparedField],
    stains: Sequence[str],
    *,
    cells: bool,
    labels: Mapping[Key, str],
    targets: Mapping[Key, str],
    controls: Sequence[str],
    relative: Sequence[str],
    level: float,
    draws: int,
    seed: int,
) -> Answers:
    """Put fields together to wells, and ask.

    Parameters
    ----------
    fields
        In any order.
    stains
        That were compared.
    cells
        Whether cells were looked for: amounts are theirs, else those of nuclei.
    labels, targets
        Treatment, and its target or mechanism, of each well (plate, well) that has one.
    controls
        Names of treatments that do nothing.
    relative
        Stains whose grey values mean no amounts.
    level
        Of hits; see `evaluation.hits.find_hits`.
    draws, seed
        Of all that is drawn.

    Raises
    ------
    PixelDataError
        If there is one well only, or too few controls.
    """
    of_field = [one.key[:2] for one in fields]
    wells = list(dict.fromkeys(of_field))
    refuse_one_well(wells)
    drawn: dict[str, Any] = {"draws": draws, "seed": seed}
    prediction, truth = (_profiles(fields, side) for side in ("prediction", "truth"))
    prediction, truth = joined(prediction, truth)
    counts = np.array([[one.nuclei["predicted"], one.nuclei["true"]] for one in fields])
    matched = sum(one.nuclei["matched"] for one in fields)
    findings = [
        about_counts(
            ratio_of_sums(counts[:, 0], counts[:, 1], of_field, **drawn),
            float(feature_correlation(counts[:, :1], counts[:, 1:])[0]),
            matched=matched, true=int(counts[:, 1].sum()), predicted=int(counts[:, 0].sum()),
        )
    ]  # fmt: skip
    part = "cell" if cells else "nucleus"
    amounts: dict[str, Interval] = {}
    for stain in stains:
        name = f"median_{part}_excess_{stain}"
        p, t = (one.columns([name]).values[:, 0] for one in (prediction, truth))
        amounts[stain] = ratio_of_medians(p, t, of_field, **drawn)
        findings.append(about_amounts(stain, amounts[stain], relative=stain in relative))
    groups = by_group(prediction, truth, of_field, **drawn)
    p_wells, t_wells = (_of_wells(one, of_field, wells) for one in (prediction, truth))
    untreated = [labels.get(well) in controls for well in wells]
    kept, why = select_features(t_wells, untreated if any(untreated) else [True] * len(wells))
    hits, notes = None, []
    treatments: list[Row] = []
    if any(untreated):
        hits, more, treatments = ask_hits(
            p_wells, t_wells, kept, wells, labels, targets, untreated, level=level, **drawn
        )
        findings += more
    else:
        why_not = "no control well is left" if controls else "no controls are named (--controls)"
        notes.append(f"{_NOT_ASKED}{why_not}")
    r, ranks = (
        feature_correlation(prediction.values, truth.values, ranks=k) for k in (False, True)
    )
    features = [
        {"feature": name, **group_of(name)._asdict(), "pearson": float(r[n]),
         "spearman": float(ranks[n]), "kept": name in kept, "why_not": why.get(name, "")}
        for n, name in enumerate(truth.names)
    ]  # fmt: skip
    chosen = [row["pearson"] for row in features if row["kept"] and np.isfinite(row["pearson"])]
    return Answers(
        findings=tuple(findings),
        channels=tuple(
            channel_row(s, fields, of_field, amounts[s], features, drawn) for s in stains
        ),
        groups=tuple(groups),
        features=tuple(features),
        wells=tuple(well_rows(fields, wells, stains, labels)),
        treatments=tuple(treatments),
        hits=hits,
        correlation=float(np.mean(chosen)) if chosen else float("nan"),
        notes=tuple(notes),
    )


def refuse_one_well(wells: Iterable[Key]) -> None:
    """Refuse to conclude from one well.

    Raises
    ------
    PixelDataError
        If there is no other.
    """
    names = list(dict.fromkeys("/".join(part for part in well[:2] if part) for well in wells))
    if len(names) < 2:
        raise PixelDataError(
            f"All fields lie in one well, {names[0]!r}, and nothing can be concluded from one. "
            "Compare more wells, or use `virtualstain evaluate` for one field."
        )


def _profiles(fields: Sequence[ComparedField], side: str) -> Profiles:
    tables = [getattr(one, side) for one in fields]
    names = tuple(name for name in tables[0] if name not in _NO_FEATURE)
    values = np.array([[table[name] for name in names] for table in tables], np.float64)
    return Profiles(keys=tuple(one.key for one in fields), names=names, values=values)


def _of_wells(fields: Profiles, of_field: Sequence[Key], wells: Sequence[Key]) -> Profiles:
    rows = [[n for n, well in enumerate(of_field) if well == one] for one in wells]
    columns = [
        [over_fields(name, fields.values[inside, c].tolist()) for inside in rows]
        for c, name in enumerate(fields.names)
    ]
    return Profiles(keys=tuple(wells), names=fields.names, values=np.array(columns).T)


def ask_hits(
    prediction: Profiles, truth: Profiles, kept: Sequence[str], wells: Sequence[Key],
    labels: Mapping[Key, str], targets: Mapping[Key, str], untreated: Sequence[bool], *,
    level: float, draws: int, seed: int,
) -> tuple[HitAgreement, list[Finding], list[Row]]:  # fmt: skip
    """Ask which treatments do something; wells without a label are left out.

    Parameters
    ----------
    prediction, truth
        Of the same wells.
    kept
        Features that are looked at.
    wells
        Plate and well of each row.
    labels, targets, level, draws, seed
        As in `answer`.
    untreated
        Which wells are controls.

    Returns
    -------
    tuple
        What was found, in words, and a row a treatment, the strongest first.
    """
    known = [n for n, well in enumerate(wells) if well in labels]
    names = [labels[wells[n]] for n in known]
    controls = [untreated[n] for n in known]
    plates = [wells[n][0] for n in known]
    scaled, effects = [], []
    for side in (prediction, truth):
        values = scale_by_controls(side.columns(kept).values[known], controls, plates)
        scaled.append(values)
        effects.append(
            find_hits(values, names, controls, plates, level=level, draws=4 * draws, seed=seed)
        )
    (p_wells, t_wells), (p, t) = scaled, effects
    found = compare_hits((p_wells, p), (t_wells, t), names, draws=draws, seed=seed)
    of_treatment = {labels[well]: target for well, target in targets.items() if well in labels}
    answers = about_hits(found)
    asked = [n for n, name in enumerate(t.treatments) if name in of_treatment]
    answers += about_targets(
        match_targets(
            p.profiles[asked], t.profiles[asked],
            [of_treatment[t.treatments[n]] for n in asked], seed=seed,
        )
    )  # fmt: skip
    rows = [
        {"treatment": name, "target": of_treatment.get(name, ""), "wells": names.count(name),
         "effect_true": float(t.sizes[n]), "threshold_true": float(t.thresholds[n]),
         "hit_true": bool(t.hits[n]), "effect_predicted": float(p.sizes[n]),
         "threshold_predicted": float(p.thresholds[n]), "hit_predicted": bool(p.hits[n]),
         "call": _call(name, t.hits[n] or p.hits[n], found),
         "cosine": float(found.cosine[n]),
         "looks_like": t.treatments[found.nearest[n]] if found.nearest[n] >= 0 else ""}
        for n, name in enumerate(t.treatments)
    ]  # fmt: skip
    return found, answers, sorted(rows, key=lambda row: -row["effect_true"])


def _call(name: str, hit: bool, found: HitAgreement) -> str:
    if name in found.lost:
        return "lost"
    if name in found.invented:
        return "invented"
    return "hit" if hit else "no hit"
