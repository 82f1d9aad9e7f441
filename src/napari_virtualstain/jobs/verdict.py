"""Would the conclusion have been another one? A plate of predictions against its truth, in words.

Every field is measured in prediction and truth in the same way; what is concluded from both is
compared, each answer with its interval over wells. What the numbers are is in `evaluation`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.evaluation.findings import CAVEAT, State, conclusion
from napari_virtualstain.evaluation.planar import Planar, check_planar
from napari_virtualstain.io.disk import check_report
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress
from napari_virtualstain.jobs.listed_images import listed_images
from napari_virtualstain.jobs.matched_settings import AXES, MATCH, PATTERN, PIXEL_SIZE, SCENE, Z
from napari_virtualstain.jobs.measure import relative_stains
from napari_virtualstain.jobs.page_file import PDF, check_pdf
from napari_virtualstain.jobs.run_record import describe_run
from napari_virtualstain.jobs.verdict_answers import Answers, answer, refuse_one_well
from napari_virtualstain.jobs.verdict_cells import CellSample, ComparedCells, compare_cells
from napari_virtualstain.jobs.verdict_fields import ComparedField, FieldComparer
from napari_virtualstain.jobs.verdict_labels import labels_of, labels_of_wells
from napari_virtualstain.jobs.verdict_pairs import pair_fields
from napari_virtualstain.jobs.verdict_rows import worst_fields
from napari_virtualstain.jobs.verdict_tables import FILES, plain_values, write_verdict
from napari_virtualstain.words import plural

__all__ = ["VerdictResult", "VerdictSettings", "run"]

_SHOWN = 5


class VerdictSettings(JobSettings):
    """Settings of `virtualstain verdict`."""

    prediction: PathText = Field(description="predicted stains: a plate, or a folder of images")
    target: PathText = Field(description="the true stains of the same fields")
    out: PathText = Field(description="folder to write the page and the tables into")
    labels: PathText | None = Field(
        default=None, description="table of what was done to each well (CSV or TSV)"
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
    match: tuple[str, ...] = MATCH
    nuclei: str = Field(default="DNA", description="predicted stain in which nuclei are found")
    cells: str | None = Field(
        default=None,
        description="predicted stain in which the cell of each nucleus is found, for example AGP; "
        "no cells if not given",
    )
    nucleus: tuple[float, float] = Field(
        default=(8.0, 30.0), description="least and largest diameter of a nucleus in micrometres"
    )
    reach: float = Field(
        default=25.0, gt=0, description="how far a cell can reach from its nucleus in micrometres"
    )
    level: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="share of treatments that do nothing that are no hits",
    )
    population: int = Field(
        default=200,
        ge=20,
        description="single cells of each well and side whose distributions are compared, at most",
    )
    scatter: Planar = Field(
        default="pca",
        description="how single cells are drawn on paper: pca, tsne (extra [phenotype]) or umap "
        "(extra [umap])",
    )
    scene: str | None = SCENE
    z: Plane | None = Z
    pixel_size: float | None = PIXEL_SIZE
    axes: str | None = AXES
    pattern: str | None = PATTERN
    draws: int = Field(default=500, ge=50, description="how often wells are drawn for an interval")
    seed: int = Field(default=0, ge=0, description="decides what is drawn")
    pdf: bool = Field(default=False, description=PDF)
    overwrite: bool = Field(default=False, description="replace the verdict that is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictResult:
    """What was found.

    Parameters
    ----------
    out
        Folder of the page and the tables.
    state
        ``"kept"``, ``"changed"`` or ``"unsure"``.
    sentence
        The same in words.
    answers
        To each question.
    cells
        How single cells are distributed.
    worst
        Fields that agree least with their truth, worst first.
    fields, wells
        How many were compared.
    seconds
        That it took.
    notes
        What was guessed, left out or not asked; a sentence each.
    """

    out: Path
    state: State
    sentence: str
    answers: Answers
    cells: ComparedCells
    worst: tuple[ComparedField, ...]
    fields: int
    wells: int
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; what is not a number becomes `None`."""
        found = self.answers
        plain: dict[str, Any] = plain_values({
            "out": str(self.out), "state": self.state, "sentence": self.sentence,
            "findings": [one.to_json() for one in found.findings],
            "channels": list(found.channels),
            "groups": [
                {**one.group._asdict(), "features": one.features, "pearson": one.pearson.value,
                 "low": one.pearson.low, "high": one.pearson.high, "spearman": one.spearman}
                for one in found.groups
            ],
            "feature_correlation": found.correlation,
            "distributions": [dict(row) for row in self.cells.groups],
            "worst_wells": [dict(row) for row in found.wells[:_SHOWN]],
            "fields": self.fields, "wells": self.wells, "caveat": CAVEAT,
            "seconds": round(self.seconds, 3), "notes": list(self.notes),
        })  # fmt: skip
        return plain

    def text(self) -> str:
        """Return the same for people."""
        lines = [self.sentence, ""]
        lines += [f"{one.state:<8} {one.question}: {one.sentence}" for one in self.answers.findings]
        lines += ["", "stain         PCC   SSIM  amount  features  trust"]
        for row in self.answers.channels:
            numbers = "".join(
                f"{row[name]:{width}.3f}"
                for name, width in (("pcc", 7), ("ssim", 7), ("amount", 8), ("features", 10))
            )
            lines.append(f"{row['stain']:<10}{numbers}  {row['trust']}")
        said = self.cells.sentence()
        lines += ["", said] if said else []
        worst = [f"{row['well']} ({row['agreement']:.2f})" for row in self.answers.wells[:_SHOWN]]
        lines += ["", f"wells that agree least: {', '.join(worst)}", CAVEAT]
        what = f"{plural(self.fields, 'field')} in {plural(self.wells, 'well')}"
        return "\n".join([*lines, f"{what} -> {self.out / FILES[0]} ({self.seconds:.1f} s)"])


def run(
    settings: VerdictSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> VerdictResult:
    """Compare every field with its truth, and say what it comes to.

    Parameters
    ----------
    settings
        Which images, and what is asked.
    on_progress
        Told of fields; what it raises ends the run, and nothing is written.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If images, channels or labels do not fit, or nothing can be concluded.
    """
    began = time.monotonic()
    out = Path(settings.out)
    _check(out, settings)
    predictions = listed_images(
        settings.prediction, scene=settings.scene, axes=None, pattern=None, out=settings.out
    )
    truths = listed_images(
        settings.target, scene=None, axes=settings.axes, pattern=settings.pattern, out=settings.out
    )
    pairs, notes = pair_fields(predictions, truths)
    # Before the work: what cannot be asked is said at once.
    refuse_one_well(one.key for one in pairs)
    check_planar(settings.scatter)
    known, targets, said = labels_of(pairs, settings)
    sample = CellSample(settings.population, settings.seed)
    comparer = FieldComparer(settings, sample)

    def told(done: int) -> None:
        if on_progress is not None:
            on_progress(done, len(pairs), "fields compared")

    fields = list(comparer.compare(pairs, told))
    measurer = comparer.measurer
    treatments = labels_of_wells(fields, [known[one.pair] for one in fields], settings.label)
    found = answer(
        fields, measurer.stains, cells=measurer.cells is not None, labels=treatments,
        targets=labels_of_wells(fields, [targets[one.pair] for one in fields], str(settings.moa)),
        controls=settings.controls, relative=relative_stains(predictions[0].path),
        level=settings.level, draws=settings.draws, seed=settings.seed,
    )  # fmt: skip
    cells = compare_cells(
        sample, treatments, how=settings.scatter, draws=settings.draws, seed=settings.seed
    )
    state, sentence = conclusion(found.findings)
    result = VerdictResult(
        out=out, state=state, sentence=sentence, answers=found, cells=cells,
        worst=worst_fields(fields, measurer.stains), fields=len(fields), wells=len(found.wells),
        seconds=time.monotonic() - began,
        notes=(*notes, *said, *comparer.notes, *found.notes, *cells.notes),
    )  # fmt: skip
    about = describe_run(
        "verdict", settings, channels=comparer.pairs, nuclei=measurer.nuclei, cells=measurer.cells
    )
    write_verdict(result, fields, about, measurer.stains, comparer)
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _check(out: Path, settings: VerdictSettings) -> None:
    check_report(out, FILES, [settings.prediction, settings.target], overwrite=settings.overwrite)
    check_pdf(settings.pdf)
