"""What follows from the features of fields? Tables of wells and treatments, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.labelled import CHANNEL
from napari_virtualstain.embedding.intervals import Interval, bootstrap, of_mean
from napari_virtualstain.embedding.profiles import (
    How,
    aggregate,
    treatment_profiles,
    unit_length,
)
from napari_virtualstain.embedding.retrieval import Retrieval, retrieve
from napari_virtualstain.embedding.sphering import sphere
from napari_virtualstain.jobs.embed_table import Features, write_features
from napari_virtualstain.metrics.classification import Confusion, confusion

if TYPE_CHECKING:
    from napari_virtualstain.jobs.embed import EmbedSettings

__all__ = ["Match", "Verdict", "judge", "write_profiles"]

PREDICTED, PROBABILITY = "Predicted", "Probability"
"""Beginnings of the columns of a classifier."""
_OF_A_FIELD = ("Site", "Path", "Scene")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How often the nearest profile is of the same mechanism.

    Parameters
    ----------
    name
        ``"NSC"`` or ``"NSCB"``.
    sphered
        Whether profiles were compared in the coordinates of the controls.
    accuracy
        With its interval over compounds; the interval is `None` of a single one.
    asked, profiles
        How many have a neighbour that could be right, and how many there are.
    chance
        Of neighbours drawn at random.
    by_class
        Accuracy by mechanism.
    """

    name: str
    sphered: bool
    accuracy: float
    interval: Interval | None
    asked: int
    profiles: int
    chance: float
    by_class: dict[str, float]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Match:
        """Return the same from plain values."""
        within = values["interval"]
        return cls(**{**values, "interval": None if within is None else Interval(**within)})

    def __str__(self) -> str:
        within = f" ({self.interval.low:.3f} to {self.interval.high:.3f})" if self.interval else ""
        how = ", sphered" if self.sphered else ""
        return (
            f"{self.name}{how}: {self.accuracy:.3f}{within} of {self.asked} profiles, by chance "
            f"{self.chance:.3f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How often a classifier names the right class.

    Parameters
    ----------
    table
        Which classes are taken for which.
    macro_f1
        With its interval over wells, which is `None` of a single one.
    """

    table: Confusion
    macro_f1: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "classes": list(self.table.classes),
            "counts": self.table.counts.tolist(),
            "f1": self.table.f1.tolist(),
            "macro_f1": self.table.macro_f1,
            "accuracy": self.table.accuracy,
            "interval": None if self.macro_f1 is None else asdict(self.macro_f1),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Verdict:
        """Return the verdict that `to_json` was called on."""
        within = values["interval"]
        return cls(
            table=Confusion(classes=tuple(values["classes"]), counts=np.asarray(values["counts"])),
            macro_f1=None if within is None else Interval(**within),
        )


def write_profiles(
    out: Path, fields: Features, settings: EmbedSettings
) -> tuple[list[Match], list[str]]:
    """Write wells and treatments, sphered where controls are named; return scores and notes.

    Parameters
    ----------
    out
        Folder.
    fields
        One row a field.
    settings
        Names of the labels, and which treatments are controls.

    Raises
    ------
    PixelDataError
        If there are too few controls.
    """
    matches: list[Match] = []
    notes: list[str] = []
    versions = {"": fields}
    if settings.controls:
        versions["_sphered"] = _sphered(fields, settings, notes)
        write_features(out / "fields_sphered.csv", versions["_sphered"])
    for ending, these in versions.items():
        if any(these.metadata["Well"]):
            write_features(out / f"wells{ending}.csv", _merged(these, ("Plate", "Well"), "mean"))
        if settings.label is None:
            continue
        known = these.rows([bool(name) for name in these.metadata[settings.label]])
        treatments = _treatments(known, settings.label, settings.across)
        write_features(out / f"treatments{ending}.csv", treatments)
        if settings.moa is not None:
            matches += _matches(known, treatments, settings, sphered=bool(ending), notes=notes)
    return matches, notes


def _controls(fields: Features, settings: EmbedSettings) -> list[bool]:
    """Return which fields are controls."""
    assert settings.label is not None
    return [name in settings.controls for name in fields.metadata[settings.label]]


def _sphered(fields: Features, settings: EmbedSettings, notes: list[str]) -> Features:
    values, fitted = sphere(fields.values, _controls(fields, settings), fields.blocks())
    shares = ", ".join(f"{one.shrinkage:.2f}" for one in fitted)
    notes.append(
        f"sphered on {min(one.controls for one in fitted)} control fields, with a shrinkage of "
        f"{shares}"
    )
    return Features(metadata=fields.metadata, names=fields.names, values=values)


def _merged(fields: Features, keys: Sequence[str], how: How) -> Features:
    """Return one row for all fields that agree in some columns."""
    groups = list(zip(*(fields.metadata[key] for key in keys), strict=True))
    names, values = aggregate(fields.values, groups, how)
    return Features(
        metadata=_agreed(fields, groups, names, keys), names=fields.names, values=values
    )


def _treatments(fields: Features, label: str, how: How) -> Features:
    """Return one profile of length 1 a treatment."""
    treatments = fields.metadata[label]
    names, values = treatment_profiles(fields.values, treatments, fields.metadata["Plate"], how)
    return Features(
        metadata=_agreed(fields, treatments, names, (label,)),
        names=fields.names,
        values=unit_length(values),
    )


def _agreed(
    fields: Features, groups: Sequence[Any], names: Sequence[Any], keys: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return what all fields of a group agree on, and how many they are."""
    agreed: dict[str, tuple[str, ...]] = {}
    for name, column in fields.metadata.items():
        if name in _OF_A_FIELD:
            continue
        said: dict[Any, set[str]] = {}
        for group, value in zip(groups, column, strict=True):
            said.setdefault(group, set()).add(value)
        if name in keys or all(len(values) == 1 for values in said.values()):
            agreed[name] = tuple(next(iter(said[group])) for group in names)
    counts = dict.fromkeys(names, 0)
    for group in groups:
        counts[group] += 1
    return {**agreed, "Fields": tuple(str(counts[group]) for group in names)}


def _matches(
    fields: Features, treatments: Features, settings: EmbedSettings, *, sphered: bool,
    notes: list[str],
) -> list[Match]:  # fmt: skip
    """Return NSC over treatments, and NSCB over treatments of each batch."""
    assert settings.label is not None
    assert settings.moa is not None
    batch = settings.batch or "Plate"
    found = []
    for name, profiles in (
        ("NSC", treatments),
        ("NSCB", _of_batches(fields, settings.label, batch)),
    ):
        needed = [settings.moa, settings.compound or settings.label]
        needed += [batch] if name == "NSCB" else []
        unsure = [column for column in needed if column not in profiles.metadata]
        if unsure:
            notes.append(f"no {name}: fields of one treatment differ in {unsure[0]!r}")
            continue
        treated = profiles.rows(
            [
                bool(moa) and treatment not in settings.controls
                for moa, treatment in zip(
                    profiles.metadata[settings.moa], profiles.metadata[settings.label], strict=True
                )
            ]
        )
        if len(treated) < 2:
            notes.append(f"no {name}: {len(treated)} treatments have a {settings.moa!r}")
            continue
        classes, compounds, *batches = (treated.metadata[column] for column in needed)
        one = retrieve(treated.values, classes, compounds, *batches)
        if not one.asked.any():
            notes.append(
                f"no {name}: no {settings.moa} has profiles of other compounds"
                + (" in other batches" if batches else "")
            )
            continue
        found.append(_match(name, one, compounds, sphered))
    return found


def _of_batches(fields: Features, label: str, batch: str) -> Features:
    """Return one profile a treatment and batch.

    Departs from WS-DINO, which has one profile of a treatment over all its batches: of that
    nobody could say which batch it is of.
    """
    return _merged(fields, (label, batch), "mean")


def _match(name: str, one: Retrieval, compounds: Sequence[str], sphered: bool) -> Match:
    hits = one.hits[one.asked]
    groups = [c for c, asked in zip(compounds, one.asked, strict=True) if asked]
    return Match(
        name=name,
        sphered=sphered,
        accuracy=one.accuracy,
        interval=of_mean(hits, groups) if len(set(groups)) > 1 else None,
        asked=int(one.asked.sum()),
        profiles=len(one.asked),
        chance=one.chance,
        by_class={str(key): value for key, value in one.by_class().items()},
    )


def judge(
    fields: Features, *, classes: Sequence[str], channels: Sequence[str], label: str | None
) -> Verdict | None:
    """Compare what a classifier says with what is known; `None` if nothing is.

    Parameters
    ----------
    fields
        With columns ``Predicted``, or ``Predicted_<channel>`` each.
    classes
        That it tells apart.
    channels
        Those that are looked at by themselves; empty where all go in together.
    label
        Column of the true class, or `CHANNEL`; `None` if it is not known.
    """
    if label is None:
        return None
    truth: list[str] = []
    guess: list[str] = []
    groups: list[tuple[str, ...]] = []
    wells = list(zip(fields.metadata["Plate"], fields.metadata["Well"], strict=True))
    if not any(well for _, well in wells):
        wells = list(zip(fields.metadata["Path"], fields.metadata["Scene"], strict=True))
    for channel in channels or ("",):
        said = fields.metadata[f"{PREDICTED}_{channel}" if channel else PREDICTED]
        true = (channel,) * len(said) if label == CHANNEL else fields.metadata[label]
        for one, other, well in zip(true, said, wells, strict=True):
            if one in classes and other:
                truth.append(one)
                guess.append(other)
                groups.append(well)
    if not truth:
        return None
    names, codes = tuple(classes), {name: n for n, name in enumerate(classes)}
    pairs = np.array([[codes[a], codes[b]] for a, b in zip(truth, guess, strict=True)])

    def score(drawn: NDArray[np.int64]) -> float:
        counts = np.zeros((len(names), len(names)), np.int64)
        np.add.at(counts, (pairs[drawn, 0], pairs[drawn, 1]), 1)
        return Confusion(classes=names, counts=counts).macro_f1

    interval = bootstrap(score, groups) if len(set(groups)) > 1 else None
    return Verdict(table=confusion(truth, guess, names), macro_f1=interval)
