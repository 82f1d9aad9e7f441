"""Every question, asked of truth, prediction and bright field alike.

The questions themselves are in `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import bootstrap, of_mean
from napari_virtualstain.embedding.retrieval import retrieve
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.actives import compare_actives
from napari_virtualstain.evaluation.correlation import feature_correlation
from napari_virtualstain.evaluation.hits import membership, sizes_of
from napari_virtualstain.evaluation.phenotype_findings import (
    about_replicates,
    about_toxicity,
    actives_in_words,
)
from napari_virtualstain.evaluation.planar import on_paper
from napari_virtualstain.evaluation.replicates import find_replicates
from napari_virtualstain.evaluation.targets import NEAREST, target_distance
from napari_virtualstain.evaluation.toxicity import compare_toxicity, toxic_votes
from napari_virtualstain.jobs.phenotype_classes import ask_classes
from napari_virtualstain.jobs.phenotype_wells import (
    BRIGHTFIELD,
    PREDICTION,
    TRUTH,
    Asked,
    Phenotype,
    Scaled,
    column_of,
    scale_wells,
    score_row,
    well_rows,
)
from napari_virtualstain.jobs.verdict_answers import ask_hits

if TYPE_CHECKING:
    from napari_virtualstain.jobs.phenotype import PhenotypeSettings

__all__ = ["ask"]


def ask(asked: Asked, settings: PhenotypeSettings, told: Callable[[int, int], None]) -> Phenotype:
    """Ask everything that can be asked.

    Parameters
    ----------
    asked
        Of whom.
    settings
        Of the run.
    told
        Called with questions done and all.

    Raises
    ------
    VirtualStainError
        If what was named, mechanisms or toxic wells, cannot be asked; what follows from controls
        alone is noted instead.
    """
    found = Phenotype()
    questions = (_features, _treatments, _replicates, _actives, ask_classes, _toxicity, _on_paper)
    told(0, len(questions))
    scaled = scale_wells(asked, found)
    for number, question in enumerate(questions, 1):
        question(asked, scaled, settings, found)
        told(number, len(questions))
    order = list(dict.fromkeys(row["question"] for row in found.scores))
    found.scores.sort(key=lambda row: order.index(row["question"]))
    return found


def _features(asked: Asked, scaled: Scaled, settings: PhenotypeSettings, found: Phenotype) -> None:
    p, t = (asked.sources[s].columns(scaled.kept).values for s in (PREDICTION, TRUTH))
    pearson, spearman = (feature_correlation(p, t, ranks=ranks) for ranks in (False, True))
    found.features = [
        {"feature": name, "pearson": float(pearson[n]), "spearman": float(spearman[n])}
        for n, name in enumerate(scaled.kept)
    ]

    def score(drawn: NDArray[np.int64]) -> float:
        r = feature_correlation(p[drawn], t[drawn])
        return float(np.nanmean(r)) if np.isfinite(r).any() else float("nan")

    interval = bootstrap(score, asked.wells, draws=settings.draws, seed=settings.seed)
    found.scores.append(
        score_row("feature correlation", PREDICTION, interval, chance=0.0, n=len(scaled.kept))
    )


def _treatments(
    asked: Asked, scaled: Scaled, settings: PhenotypeSettings, found: Phenotype
) -> None:
    drawn: dict[str, Any] = {"draws": settings.draws, "seed": settings.seed}
    wells = asked.wells
    labels = {well: name for well, name in zip(wells, asked.treatments, strict=True) if name}
    targets = {well: name for well, name in zip(wells, asked.targets, strict=True) if name}
    if asked.controls.any():
        _, answers, found.treatments = ask_hits(
            asked.sources[PREDICTION], asked.sources[TRUTH], scaled.kept, wells, labels, targets,
            asked.controls.tolist(), level=settings.level, **drawn,
        )  # fmt: skip
        found.findings += answers
    else:
        found.notes.append(
            "hits, replicates and active treatments are not asked: no controls are named "
            "(--controls)"
        )
    of_treatment = {labels[well]: target for well, target in targets.items() if well in labels}
    names = [name for name in of_treatment if name not in settings.controls]
    if len(names) < 2:
        return
    classes = [of_treatment[name] for name in names]
    members = membership(asked.treatments, names)
    for source, values in scaled.values.items():
        profiles, _ = sizes_of(values, members)
        for within in NEAREST:
            one = retrieve(profiles, classes, within=within)
            n = int(one.asked.sum())
            if n > 1 and one.chance < 1:  # else nobody could miss it
                share = of_mean(one.hits[one.asked], range(n), **drawn)
                question = f"same target among the nearest {within}"
                found.scores.append(score_row(question, source, share, chance=one.chance, n=n))
        apart = target_distance(profiles, classes, **drawn)
        if apart.targets:
            found.scores.append(
                score_row(
                    "distance of matching targets", source,
                    apart.mean if apart.within is None else apart.within, chance=apart.chance,
                    n=apart.targets,
                )
            )  # fmt: skip


def _replicates(
    asked: Asked, scaled: Scaled, settings: PhenotypeSettings, found: Phenotype
) -> None:
    if not asked.controls.any():
        return
    rows = [n for n, name in enumerate(asked.treatments) if name]
    treatments = [asked.treatments[n] for n in rows]
    untreated = asked.controls[rows].tolist()
    drawn: dict[str, Any] = {"draws": settings.draws, "seed": settings.seed}
    try:
        each = {
            source: find_replicates(values[rows], treatments, untreated, **drawn)
            for source, values in scaled.values.items()
        }
    except PixelDataError as error:
        found.notes.append(f"replicates are not asked: {error}")
        return
    found.findings.append(about_replicates(each[PREDICTION], each[TRUTH], treatments, **drawn))
    for source, one in each.items():
        chance, n = float(one.chance.mean()), len(one.wells)
        found.scores.append(score_row("replicates (mAP)", source, one.mean, chance=chance, n=n))
        of_treatment: dict[str, list[float]] = {}
        for well, precision in zip(one.wells.tolist(), one.precision.tolist(), strict=True):
            of_treatment.setdefault(treatments[well], []).append(precision)
        for row in found.treatments:
            values = of_treatment.get(row["treatment"], [float("nan")])
            row[f"map_{column_of(source)}"] = float(np.mean(values))


def _actives(asked: Asked, scaled: Scaled, settings: PhenotypeSettings, found: Phenotype) -> None:
    if not asked.controls.any():
        return
    rows = [n for n, name in enumerate(asked.treatments) if name]
    try:
        one = compare_actives(
            scaled.values[PREDICTION][rows], scaled.values[TRUTH][rows],
            [asked.treatments[n] for n in rows], asked.controls[rows].tolist(),
            draws=settings.draws, seed=settings.seed,
        )  # fmt: skip
    except PixelDataError as error:
        found.notes.append(f"active treatments are not asked: {error}")
        return
    found.remarks["active treatments"] = actives_in_words(one)
    n = len(one.treatments)
    found.scores.append(
        score_row("active treatments, overlap", PREDICTION, one.overlap, chance=one.chance, n=n)
    )
    number = {name: n for n, name in enumerate(one.treatments)}
    for row in found.treatments:
        for side, column in enumerate(("predicted", "true")):
            at = number[row["treatment"]]
            row[f"from_controls_{column}"] = float(one.distances[side, at])
            row[f"active_{column}"] = bool(one.active[side, at])


def _toxicity(asked: Asked, scaled: Scaled, settings: PhenotypeSettings, found: Phenotype) -> None:
    if not settings.toxic:
        return
    rows = [n for n, name in enumerate(asked.treatments) if name]
    votes = {
        source: toxic_votes(values[rows], asked.toxic[rows].tolist(), asked.controls[rows].tolist(),
                            seed=settings.seed)
        for source, values in scaled.values.items()
    }  # fmt: skip
    wells = [asked.wells[n] for n in rows]
    for source in list(votes)[1:]:
        one = compare_toxicity(
            votes[source], votes[TRUTH], wells, draws=settings.draws, seed=settings.seed
        )
        if source == PREDICTION:
            found.findings.append(about_toxicity(one))
        found.scores += [
            score_row("toxic wells, sensitivity", source, one.sensitivity, chance=one.chance,
                      n=one.truth),
            score_row("toxic wells, specificity", source, one.specificity, chance=1 - one.chance,
                      n=one.asked - one.truth),
        ]  # fmt: skip
    table = well_rows(asked, found)
    for source, each in votes.items():
        for row in table:
            row[f"toxic_{column_of(source)}"] = float("nan")
        for n, vote in zip(rows, each.tolist(), strict=True):
            table[n][f"toxic_{column_of(source)}"] = vote


def _on_paper(asked: Asked, scaled: Scaled, settings: PhenotypeSettings, found: Phenotype) -> None:
    pictures = [(TRUTH, PREDICTION), *([(BRIGHTFIELD,)] if BRIGHTFIELD in scaled.values else [])]
    table = well_rows(asked, found)
    for sources in pictures:
        stacked = np.concatenate([scaled.values[source] for source in sources])
        places = np.split(on_paper(stacked, settings.scatter, seed=settings.seed), len(sources))
        found.places.append(dict(zip(sources, places, strict=True)))
        for source, own in zip(sources, places, strict=True):
            for row, (x, y) in zip(table, own.tolist(), strict=True):
                row |= {f"x_{column_of(source)}": x, f"y_{column_of(source)}": y}
