"""Which wells and features are asked, and in which units? As they differ from controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.embedding.intervals import Interval
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.findings import Finding
from napari_virtualstain.evaluation.hits import scale_by_controls
from napari_virtualstain.evaluation.mechanisms import Classifiers
from napari_virtualstain.evaluation.profiles import Key, Profiles
from napari_virtualstain.evaluation.selection import median_of, robust_scale, select_features
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.verdict_rows import Row
from napari_virtualstain.words import plural

__all__ = [
    "BRIGHTFIELD",
    "PREDICTION",
    "TRUTH",
    "Asked",
    "Phenotype",
    "Scaled",
    "column_of",
    "scale_wells",
    "score_row",
    "well_rows",
]

TRUTH, PREDICTION, BRIGHTFIELD = "truth", "prediction", "bright field"
"""Names of the sources."""
_COLUMNS = {TRUTH: "true", PREDICTION: "predicted", BRIGHTFIELD: "brightfield"}
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """The wells that are asked.

    Parameters
    ----------
    sources
        Features by source, the truth first; all of the same wells. Bright field has features of
        its own.
    treatments, targets
        Of each well, ``""`` where none is known.
    controls, toxic
        Which are known to do nothing, and to kill.
    """

    sources: Mapping[str, Profiles]
    treatments: tuple[str, ...]
    targets: tuple[str, ...]
    controls: NDArray[np.bool_]
    toxic: NDArray[np.bool_]

    @property
    def wells(self) -> tuple[Key, ...]:
        """Plate and well of each."""
        return self.sources[TRUTH].keys


@dataclass(slots=True, kw_only=True, eq=False)
class Phenotype:
    """All that was found.

    Parameters
    ----------
    findings
        What was asked of prediction and truth, and the answers.
    scores
        A row a question and source: value, interval, chance.
    features
        A row a feature that was looked at: its correlation, and how much it decides.
    treatments, wells
        A row each.
    classifiers
        By question: of mechanisms, and of controls against the rest.
    remarks
        Sentences that are no answers: on active treatments, and on the features that decide, by
        question.
    places
        On paper, by picture: (N, 2) of each source in it.
    notes
        What was left out or not asked, and why.
    """

    findings: list[Finding] = field(default_factory=list)
    scores: list[Row] = field(default_factory=list)
    features: list[Row] = field(default_factory=list)
    treatments: list[Row] = field(default_factory=list)
    wells: list[Row] = field(default_factory=list)
    classifiers: dict[str, Classifiers] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    places: list[dict[str, NDArray[np.float64]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def score_row(
    question: str, source: str, value: Interval | float, *, chance: float, n: int, taught: str = ""
) -> Row:
    """Return a row of the table of scores."""
    nan = float("nan")
    three = (
        (value.value, value.low, value.high)
        if isinstance(value, Interval)
        else (float(value), nan, nan)
    )
    return {
        "question": question, "source": source, "taught": taught,
        **dict(zip(("value", "low", "high"), three, strict=True)), "chance": chance, "n": n,
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaled:
    """Wells as they differ from controls.

    Parameters
    ----------
    values
        (N, D) by source, nothing missing: what a well lacks is 0, as controls are.
    names
        Of the features of truth and prediction.
    kept
        The same with those in which predicted controls do not vary.
    """

    values: Mapping[str, NDArray[np.float64]]
    names: tuple[str, ...]
    kept: tuple[str, ...]


def scale_wells(asked: Asked, found: Phenotype) -> Scaled:
    """Choose features by the truth, those of bright field by itself, and scale them by controls.

    Without controls they are scaled by all wells. Notes of what is left out are added.

    Raises
    ------
    PixelDataError
        If no feature is left, there are too few controls, or a plate has none.
    """
    known = np.array([bool(name) for name in asked.treatments], np.bool_)
    some = bool(asked.controls.any())
    untreated: list[bool] = asked.controls.tolist() if some else [True] * len(known)
    truth = asked.sources[TRUTH]
    kept, _ = select_features(truth, untreated)
    there = set(asked.sources[PREDICTION].names)
    lacking = [name for name in kept if name not in there]
    if lacking:
        found.notes.append(
            f"{plural(len(lacking), 'feature')} that the prediction lacks, left out: "
            f"{listed(lacking, _SHOWN)}"
        )
    kept = tuple(name for name in kept if name in there)
    if not kept:
        raise PixelDataError(
            "Prediction and truth have no feature in common that tells anything. Measure both in "
            "the same way, with the same names of channels."
        )
    found.notes.append(
        f"{plural(len(kept), 'feature')} of {len(truth.names)} kept by what they are like in truth"
    )
    values = {}
    for source, profiles in asked.sources.items():
        names = kept
        if source == BRIGHTFIELD:
            names, _ = select_features(profiles, untreated)
        own = profiles.columns(names).values
        if some:
            scaled = np.full_like(own, np.nan)
            plates = [asked.wells[n][0] for n in np.flatnonzero(known)]
            scaled[known] = scale_by_controls(own[known], asked.controls[known].tolist(), plates)
        else:
            scaled = (own - median_of(own)) / robust_scale(own)
        values[source] = scaled
    there_too: list[bool] = np.all(
        [np.isfinite(values[source]).any(axis=0) for source in (TRUTH, PREDICTION)], axis=0
    ).tolist()
    constant = [name for name, is_there in zip(kept, there_too, strict=True) if not is_there]
    if constant:
        found.notes.append(
            f"{plural(len(constant), 'feature')} in which predicted controls do not vary, left out "
            f"of all but hits: {listed(constant, _SHOWN)}"
        )
    if not any(there_too):
        raise PixelDataError(
            "The prediction is the same in all wells, so that nothing can be asked of it. Check "
            "that it was measured on the predicted stains."
        )
    for source in (TRUTH, PREDICTION):
        values[source] = values[source][:, there_too]
    # What a well lacks counts as what controls have.
    whole = {
        source: np.nan_to_num(one[:, np.isfinite(one).any(axis=0)], nan=0.0)
        for source, one in values.items()
    }
    names = tuple(name for name, is_there in zip(kept, there_too, strict=True) if is_there)
    return Scaled(values=whole, names=names, kept=kept)


def well_rows(asked: Asked, found: Phenotype) -> list[Row]:
    """Return the rows of the table of wells, to which columns are added."""
    if not found.wells:
        found.wells = [
            {"plate": plate, "well": well, "treatment": treatment, "target": target}
            for (plate, well), treatment, target in zip(
                asked.wells, asked.treatments, asked.targets, strict=True
            )
        ]
    return found.wells


def column_of(source: str) -> str:
    """Return what columns of a source end with."""
    return _COLUMNS[source]
