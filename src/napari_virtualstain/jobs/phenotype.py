"""Is the phenotype still there? Tables of features of predicted and true stains, asked alike.

`verdict` measures images itself; this verb takes features from whoever measured them, so that a
plate can be asked with hundreds of features and by classifiers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from napari_virtualstain.datasets.labels import ImageKey, label_images, read_labels
from napari_virtualstain.errors import (
    PixelDataError,
    SettingsError,
    unknown_name,
)
from napari_virtualstain.evaluation.findings import CAVEAT, State, conclusion
from napari_virtualstain.evaluation.planar import Planar
from napari_virtualstain.io.disk import check_report
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.base import JobSettings, PathText, Progress, stage
from napari_virtualstain.jobs.page_file import PDF, check_pdf
from napari_virtualstain.jobs.phenotype_answers import ask
from napari_virtualstain.jobs.phenotype_page import FILES, write_phenotype
from napari_virtualstain.jobs.phenotype_tables import read_wells, wells_of_all
from napari_virtualstain.jobs.phenotype_wells import (
    BRIGHTFIELD,
    PREDICTION,
    TRUTH,
    Asked,
    Phenotype,
)
from napari_virtualstain.jobs.run_record import describe_run
from napari_virtualstain.jobs.verdict_tables import plain_values
from napari_virtualstain.words import plural

__all__ = ["PhenotypeResult", "PhenotypeSettings", "run"]

_SHOWN = 5


class PhenotypeSettings(JobSettings):
    """Settings of `virtualstain phenotype`."""

    prediction: PathText = Field(
        description="table of features of the predicted stains: wells.csv of `measure` or `embed`, "
        "or another with Metadata_Well"
    )
    target: PathText = Field(description="the same of the true stains")
    out: PathText = Field(description="folder to write the page and the tables into")
    brightfield: PathText | None = Field(
        default=None, description="the same of the bright field, for comparison"
    )
    labels: PathText | None = Field(
        default=None,
        description="table of what was done to each well (CSV or TSV); the tables' own columns "
        "of metadata if not given",
    )
    label: str = Field(
        default="treatment", description="its column with the treatment; several joined by +"
    )
    controls: tuple[str, ...] = Field(
        default=(), description="treatments that do nothing, for example DMSO"
    )
    moa: str | None = Field(
        default=None, description="its column with the target or mechanism of a treatment"
    )
    toxic: tuple[str, ...] = Field(
        default=(), description="treatments that are known to be toxic; others are compared"
    )
    group: Literal["well", "plate", "treatment"] = Field(
        default="well",
        description="what a classifier never both learns from and is asked of: well, plate or "
        "treatment",
    )
    folds: int = Field(default=5, ge=2, description="in how many parts classifiers are asked")
    most: int = Field(
        default=10, ge=1, description="how many of the most decisive features are compared"
    )
    scatter: Planar = Field(
        default="pca",
        description="how wells are drawn on paper: pca, tsne (extra [phenotype]) or umap "
        "(extra [umap])",
    )
    level: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="share of treatments that do nothing that are no hits",
    )
    draws: int = Field(default=500, ge=50, description="how often wells are drawn for an interval")
    seed: int = Field(default=0, ge=0, description="decides what is drawn")
    pdf: bool = Field(default=False, description=PDF)
    overwrite: bool = Field(default=False, description="replace the page that is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhenotypeResult:
    """What was found.

    Parameters
    ----------
    out
        Folder of the page and the tables.
    state
        ``"kept"``, ``"changed"`` or ``"unsure"``.
    sentence
        The same in words.
    found
        Answers, scores and tables.
    wells
        How many were asked.
    seconds
        That it took.
    notes
        What was left out or not asked; a sentence each.
    """

    out: Path
    state: State
    sentence: str
    found: Phenotype
    wells: int
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; what is not a number becomes `None`."""
        plain: dict[str, Any] = plain_values({
            "out": str(self.out), "state": self.state, "sentence": self.sentence,
            "findings": [one.to_json() for one in self.found.findings],
            "scores": self.found.scores, "remarks": self.found.remarks, "wells": self.wells,
            "caveat": CAVEAT, "seconds": round(self.seconds, 3), "notes": list(self.notes),
        })  # fmt: skip
        return plain

    def text(self) -> str:
        """Return the same for people."""
        lines = [self.sentence, ""]
        lines += [f"{one.state:<8} {one.question}: {one.sentence}" for one in self.found.findings]
        lines += ["", *(f"{what}: {said}" for what, said in self.found.remarks.items()), ""]
        for row in self.found.scores:
            taught = row["taught"] if row["taught"] not in ("", row["source"]) else ""
            who = row["source"] + (f", taught by {taught}" if taught else "")
            within = "" if np.isnan(row["low"]) else f" ({row['low']:.3f} to {row['high']:.3f})"
            lines.append(
                f"{row['question']:<32} {who:<30} {row['value']:.3f}{within}, by chance "
                f"{row['chance']:.3f}"
            )
        lines += ["", CAVEAT]
        what = plural(self.wells, "well")
        return "\n".join([*lines, f"{what} -> {self.out / FILES[0]} ({self.seconds:.1f} s)"])


def run(
    settings: PhenotypeSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> PhenotypeResult:
    """Put tables together by well, ask the same of each, and write what comes out.

    Parameters
    ----------
    settings
        Which tables, and what is asked.
    on_progress
        Told of questions; what it raises ends the run, and nothing is written.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If tables or labels do not fit, or what was asked for cannot be answered.
    """
    began = time.monotonic()
    out = Path(settings.out)
    _check(out, settings)
    paths = {TRUTH: settings.target, PREDICTION: settings.prediction}
    if settings.brightfield is not None:
        paths[BRIGHTFIELD] = settings.brightfield
    tables = [read_wells(Path(path)) for path in paths.values()]
    sides, images, notes = wells_of_all(tables)
    if len(images) < 2:
        raise PixelDataError(
            f"The tables share one well, {'/'.join(filter(None, sides[0].keys[0]))!r}, and nothing "
            "can be concluded from one. Compare more wells."
        )
    asked, said = _labelled(images, dict(zip(paths, sides, strict=True)), settings)
    found = ask(asked, settings, stage(on_progress, "questions asked"))
    state, sentence = conclusion(found.findings)
    if not found.findings:
        state, sentence = (
            "unsure",
            (
                "Nothing was asked but how features correlate: name treatments that do nothing "
                "with --controls, or mechanisms with --moa."
            ),
        )
    result = PhenotypeResult(
        out=out, state=state, sentence=sentence, found=found, wells=len(images),
        seconds=time.monotonic() - began,
        notes=(*(note for one in tables for note in one.notes), *notes, *said, *found.notes),
    )  # fmt: skip
    rows = {source: one.rows for source, one in zip(paths, tables, strict=True)}
    write_phenotype(result, describe_run("phenotype", settings, rows=rows))
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _labelled(
    images: tuple[ImageKey, ...], sources: dict[str, Any], settings: PhenotypeSettings
) -> tuple[Asked, list[str]]:
    """Say what was done to each well.

    Raises
    ------
    UnknownNameError
        If no column or treatment is called so.
    SettingsError
        If the table says two things of a well, or one treatment has two mechanisms.
    """
    nothing = ("",) * len(images)
    wanted = settings.labels is not None or settings.controls or settings.toxic
    table = None if settings.labels is None else read_labels(settings.labels)
    treatments, targets = nothing, nothing
    notes: list[str] = []
    if wanted:
        twice = () if table is None else table.doubled(settings.label)
        if twice:
            raise SettingsError(
                f"The table of labels says two things of {listed(twice, _SHOWN)}. Leave one row a "
                "well, or name the column with both by --label."
            )
        labelled = label_images(images, settings.label, table)
        treatments = tuple(name or "" for name in labelled.labels)
        notes += labelled.notes
        for option, names in (("--controls", settings.controls), ("--toxic", settings.toxic)):
            for name in names:
                if name not in treatments:
                    raise unknown_name(
                        settings.label, name, set(treatments) - {""},
                        then=f"Choose among these with {option}.",
                    )  # fmt: skip
    if settings.moa is not None:
        targets = tuple(name or "" for name in label_images(images, settings.moa, table).labels)
        _refuse_two_targets(treatments, targets, settings.moa)
    both = sorted(set(settings.controls) & set(settings.toxic))
    if both:
        raise SettingsError(
            f"{both[0]!r} is named by --controls and by --toxic. Name it by one of them."
        )
    if settings.toxic and not settings.controls:
        raise SettingsError(
            "Toxic wells are told from controls, and none are named. Name them with --controls."
        )
    if settings.group == "treatment" and settings.moa is not None and not wanted:
        treatments = tuple(
            name or "" for name in label_images(images, settings.label, table).labels
        )
    return (
        Asked(
            sources=sources, treatments=treatments, targets=targets,
            controls=np.array([name in settings.controls for name in treatments], np.bool_),
            toxic=np.array([name in settings.toxic for name in treatments], np.bool_),
        ),
        notes,
    )  # fmt: skip


def _refuse_two_targets(treatments: tuple[str, ...], targets: tuple[str, ...], moa: str) -> None:
    known: dict[str, str] = {}
    for treatment, target in zip(treatments, targets, strict=True):
        if treatment and target and known.setdefault(treatment, target) != target:
            raise SettingsError(
                f"{treatment!r} has two values of {moa!r}, {known[treatment]!r} and {target!r}. "
                "Give each treatment one, or name another column with --label or --moa."
            )


def _check(out: Path, settings: PhenotypeSettings) -> None:
    inputs = [settings.prediction, settings.target, settings.brightfield, settings.labels]
    check_report(out, FILES, inputs, overwrite=settings.overwrite)
    check_pdf(settings.pdf)
