"""Does a model work where it was not trained? Results of several domains as one matrix."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.embedding.intervals import Interval
from napari_virtualstain.evaluation.findings import CAVEAT
from napari_virtualstain.evaluation.generalisation import COUNTS, HIGHER, Entry, Loss, fill_matrix
from napari_virtualstain.io.disk import check_report, disk_errors, write_whole
from napari_virtualstain.jobs.base import JobSettings, PathText, Progress, stage
from napari_virtualstain.jobs.generalise_results import cells_of, read_results
from napari_virtualstain.jobs.page import document, table
from napari_virtualstain.jobs.page_file import PDF, check_pdf, write_page
from napari_virtualstain.jobs.run_record import describe_run
from napari_virtualstain.jobs.svg import heat_map
from napari_virtualstain.jobs.verdict_tables import csv_text, plain_values
from napari_virtualstain.words import plural

__all__ = ["GeneraliseResult", "GeneraliseSettings", "run"]

FILES = ("generalise.html", "generalise.json", "matrix.csv")
_NAMES = {"pcc": "PCC", "ssim": "SSIM", "psnr": "PSNR", "mse": "MSE", "mae": "MAE",
          COUNTS: "counts"}  # fmt: skip


class GeneraliseSettings(JobSettings):
    """Settings of `virtualstain generalise`."""

    table: PathText = Field(
        description="table with the columns train, test and result: a folder of `verdict`, or what "
        "`evaluate` wrote with --csv or --json"
    )
    out: PathText = Field(description="folder to write the page and the table into")
    draws: int = Field(default=500, ge=50, description="how often wells are drawn for an interval")
    seed: int = Field(default=0, ge=0, description="decides what is drawn")
    pdf: bool = Field(default=False, description=PDF)
    overwrite: bool = Field(default=False, description="replace the page that is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneraliseResult:
    """What was found.

    Parameters
    ----------
    out
        Folder of the page and the table.
    entries
        Every number of the matrix.
    losses
        What each score loses off the diagonal.
    domains
        Names of those that were trained on, and of those asked of.
    seconds
        That it took.
    notes
        What was left out; a sentence each.
    """

    out: Path
    entries: tuple[Entry, ...]
    losses: tuple[Loss, ...]
    domains: tuple[tuple[str, ...], tuple[str, ...]]
    seconds: float
    notes: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Return what each score loses, in words."""
        found = []
        for one in self.losses:
            worst = one.worst.loss
            assert worst is not None
            found.append(
                f"{_NAMES[one.score]} is worse by {_percent(one.mean)} on other domains than on "
                f"its own, over {plural(one.cells, 'pair')}; most, by {_percent(worst)}, if "
                f"trained on {one.worst.train} and asked of {one.worst.test}."
            )
        return found or ["No model was asked of its own domain: nothing says what it loses."]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a number."""
        nan = float("nan")
        return [
            {"train": e.train, "test": e.test, "score": e.score, "value": e.value.value,
             "low": e.value.low, "high": e.value.high, "loss": e.loss.value if e.loss else nan,
             "loss_low": e.loss.low if e.loss else nan, "loss_high": e.loss.high if e.loss else nan,
             "fields": e.fields}
            for e in self.entries
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; what is not a number becomes `None`."""
        plain: dict[str, Any] = plain_values({
            "out": str(self.out), "sentences": self.sentences(), "matrix": self.rows(),
            "losses": [
                {"score": one.score, "loss": one.mean.value, "low": one.mean.low,
                 "high": one.mean.high, "cells": one.cells}
                for one in self.losses
            ],
            "caveat": CAVEAT, "seconds": round(self.seconds, 3), "notes": list(self.notes),
        })  # fmt: skip
        return plain

    def text(self) -> str:
        """Return the same for people."""
        lines = [*self.sentences(), "", *_lines(self.rows()), "", CAVEAT]
        return "\n".join([*lines, f"-> {self.out / FILES[0]} ({self.seconds:.1f} s)"])


def run(
    settings: GeneraliseSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> GeneraliseResult:
    """Read results of models on their own and on other domains, and say what is lost.

    Parameters
    ----------
    settings
        Which results.
    on_progress
        Told when results are read, and when the matrix is filled.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If a result is not there, or they cannot be compared.
    """
    began = time.monotonic()
    out, told = Path(settings.out), stage(on_progress, "steps")
    check_report(out, FILES, [settings.table], overwrite=settings.overwrite)
    check_pdf(settings.pdf)
    told(0, 2)
    cells, notes = cells_of(read_results(Path(settings.table)))
    told(1, 2)
    entries, losses = fill_matrix(cells, draws=settings.draws, seed=settings.seed)
    told(2, 2)
    result = GeneraliseResult(
        out=out, entries=tuple(entries), losses=tuple(losses),
        domains=tuple(tuple(dict.fromkeys(names)) for names in zip(*cells, strict=True)),  # type: ignore[arg-type]
        seconds=time.monotonic() - began, notes=tuple(notes),
    )  # fmt: skip
    about = describe_run("generalise", settings)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_whole(out / FILES[2], csv_text(result.rows()))
    whole = {**about, "result": result.to_json()}
    write_whole(out / FILES[1], json.dumps(whole, indent=2, allow_nan=False))
    write_page(out / FILES[0], _page(result, about), pdf=settings.pdf)
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _percent(interval: Interval) -> str:
    known = interval.low == interval.low
    within = f" ({interval.low:.0f} to {interval.high:.0f})" if known else ""
    return f"{interval.value:.0f} %{within}"


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    wide = max(len(f"{row['train']} on {row['test']}") for row in rows)
    return [
        f"{row['train'] + ' on ' + row['test']:<{wide}}  {_NAMES[row['score']]:<6} "
        f"{row['value']:10.4g}"
        + ("" if row["loss"] != row["loss"] else f"  worse by {row['loss']:.0f} %")
        for row in rows
    ]


def _page(result: GeneraliseResult, about: Mapping[str, Any]) -> str:
    trains, tests = result.domains
    parts = [
        f"<h1>{escape(result.sentences()[0])}</h1>",
        *(f"<p>{escape(one)}</p>" for one in result.sentences()[1:]),
        f'<p class="caveat">{escape(CAVEAT)}</p>',
    ]
    for score in [name for name in HIGHER if any(e.score == name for e in result.entries)]:
        here = [e for e in result.entries if e.score == score]
        parts.append(f"<h2>{_NAMES[score]}</h2>")
        if score in ("pcc", "ssim", COUNTS):
            values = {
                (e.train, e.test): (e.value.value, f"{e.train} on {e.test}: {e.value}")
                for e in here
            }
            label = f"{_NAMES[score]} by domain of training and of test"
            figure = heat_map(values, rows=trains, columns=tests, label=label)
            parts.append(
                f'<figure class="wide">{figure}<figcaption>Rows: trained on. Columns: asked of. '
                "Rest the pointer on a number for its interval.</figcaption></figure>"
            )
        parts.append(
            table(
                [{"train": e.train, "test": e.test, "value": e.value.value, "fields": e.fields,
                  "within": "" if e.value.low != e.value.low else
                  f"{e.value.low:.4g} to {e.value.high:.4g}",
                  "loss": "" if e.loss is None else _percent(e.loss)} for e in here],
                {"train": "trained on", "test": "asked of", "value": _NAMES[score],
                 "within": "95 %", "loss": "worse by", "fields": "fields"},
            )
        )  # fmt: skip
    parts += [
        ("<p><em>Worse by</em> compares a model with itself on its own domain, in per cent; in "
         "brackets, 95 % intervals, wells (or images) drawn with replacement.</p>"),
        "<h2>How this was made</h2>",
        "".join(f"<p>{escape(note)}</p>" for note in result.notes),
        f"<pre>{escape(json.dumps(about, indent=1, ensure_ascii=False))}</pre>",
    ]  # fmt: skip
    return document("Generalisation", parts)
