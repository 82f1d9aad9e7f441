"""Are mechanisms told apart, and controls from the rest? Classifiers of each source are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_virtualstain.errors import MissingExtraError, PixelDataError
from napari_virtualstain.evaluation.mechanisms import (
    Classifiers,
    classify_sources,
    teachable,
)
from napari_virtualstain.evaluation.phenotype_findings import about_classes, reasons_in_words
from napari_virtualstain.evaluation.reasons import compare_reasons
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.phenotype_wells import (
    BRIGHTFIELD,
    PREDICTION,
    TRUTH,
    Asked,
    Phenotype,
    Scaled,
    column_of,
    score_row,
    well_rows,
)

if TYPE_CHECKING:
    from napari_virtualstain.jobs.phenotype import PhenotypeSettings

__all__ = ["ask_classes"]

_SHOWN = 5
MECHANISMS = "mechanisms"


def ask_classes(
    asked: Asked, scaled: Scaled, settings: PhenotypeSettings, found: Phenotype
) -> None:
    """Teach classifiers, and note what they say.

    Raises
    ------
    PixelDataError, MissingExtraError
        If mechanisms are named and cannot be asked.
    """
    groups = _groups(asked, settings)
    if settings.moa is not None:
        classes = [
            "" if is_control else target
            for target, is_control in zip(asked.targets, asked.controls.tolist(), strict=True)
        ]
        _told_apart("mechanisms", "Mechanisms", classes, groups, scaled, settings, found, asked)
    if asked.controls.any():
        classes = [
            "" if not name else "control" if is_control else "treated"
            for name, is_control in zip(asked.treatments, asked.controls.tolist(), strict=True)
        ]
        # Controls are one treatment: they would all lie in one group.
        apart = list(asked.wells) if settings.group == "treatment" else groups
        try:
            _told_apart(
                "controls or not", "Controls and all others", classes, apart, scaled, settings,
                found, asked,
            )  # fmt: skip
        except (PixelDataError, MissingExtraError) as error:
            found.notes.append(f"controls are not told from the rest: {error}")


def _groups(asked: Asked, settings: PhenotypeSettings) -> list[Any]:
    """Return what is never split between teaching and asking."""
    if settings.group == "treatment":
        return list(asked.treatments)
    return [well[0] if settings.group == "plate" else well for well in asked.wells]


def _told_apart(
    question: str, what: str, classes: Sequence[str], groups: Sequence[Any], scaled: Scaled,
    settings: PhenotypeSettings, found: Phenotype, asked: Asked,
) -> None:  # fmt: skip
    chosen, few = teachable(classes, groups, settings.folds)
    if few:
        found.notes.append(
            f"of {question}, those with fewer than {settings.folds} groups are not asked: "
            f"{listed([f'{name} ({n})' for name, n in few.items()], _SHOWN)}"
        )
    rows = [n for n, one in enumerate(chosen.tolist()) if one]
    names, parts = [classes[n] for n in rows], [groups[n] for n in rows]
    linear = question == MECHANISMS
    how: dict[str, Any] = {
        "linear": linear,
        "folds": settings.folds, "draws": settings.draws, "seed": settings.seed,
    }  # fmt: skip
    both = {source: scaled.values[source][rows] for source in (TRUTH, PREDICTION)}
    of_both = classify_sources(both, names, parts, **how)
    each = [of_both]
    if BRIGHTFIELD in scaled.values:
        light = {BRIGHTFIELD: scaled.values[BRIGHTFIELD][rows]}
        each.append(classify_sources(light, names, parts, **how))
    found.classifiers[question] = of_both
    found.findings.append(about_classes(question, what, of_both, TRUTH, PREDICTION))
    found.scores += [
        score_row(f"{question} (F1)", one.asked, one.f1, chance=one.chance, n=len(rows),
                  taught=one.taught)
        for classifiers in each for one in classifiers.scores
    ]  # fmt: skip
    table = well_rows(asked, found)
    for classifiers in each:
        for one in classifiers.scores:
            if one.taught == one.asked:
                name = f"{question.split()[0]}_{column_of(one.asked)}"
                for row in table:
                    row.setdefault(name, "")
                for n, guess in zip(rows, one.guess, strict=True):
                    table[n][name] = guess
    if linear:
        _note_weights(question, of_both, scaled, settings, found)


def _note_weights(
    question: str, of_both: Classifiers, scaled: Scaled, settings: PhenotypeSettings,
    found: Phenotype,
) -> None:  # fmt: skip
    """Note by which features both sides decide."""
    reasons = compare_reasons(of_both, TRUTH, PREDICTION, scaled.names, most=settings.most)
    found.remarks[question] = reasons_in_words(reasons)
    at = {name: n for n, name in enumerate(scaled.names)}
    for row in found.features:
        for source, weights in of_both.weights.items():
            n = at.get(row["feature"])
            name = f"weight_{question.split()[0]}_{column_of(source)}"
            row[name] = float("nan") if n is None else float(weights[n])
