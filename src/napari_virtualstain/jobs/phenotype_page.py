"""How are answers about phenotypes kept? A page for people, JSON for programs, and tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtualstain.evaluation.findings import CAVEAT
from napari_virtualstain.io.disk import disk_errors, write_whole
from napari_virtualstain.jobs.page import document, table
from napari_virtualstain.jobs.page_file import write_page
from napari_virtualstain.jobs.phenotype_wells import PREDICTION, TRUTH
from napari_virtualstain.jobs.svg import Point, cloud
from napari_virtualstain.jobs.verdict_page import (
    HOW,
    WORDS,
    confusion_figure,
    effects_figure,
    findings_table,
    treatments_table,
)
from napari_virtualstain.jobs.verdict_tables import csv_text
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.jobs.phenotype import PhenotypeResult

__all__ = ["FILES", "write_phenotype"]

FILES = (
    "phenotype.html", "phenotype.json", "scores.csv", "wells.csv", "features.csv", "treatments.csv",
)  # fmt: skip
"""Page, answers with settings and versions, and a row a score, well, feature and treatment."""
_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f4fc9", "#a6761d",
    "#b8a800", "#ff6f91", "#4d5fd0", "#57733a",
)  # fmt: skip
_OTHER, _CONTROL = "#c4c9ce", "#5c646c"
_MOST_DECISIVE = 15


def write_phenotype(result: PhenotypeResult, about: Mapping[str, Any]) -> None:
    """Write all files, each in one step, the page last.

    Parameters
    ----------
    result
        What was found.
    about
        Settings and versions.

    Raises
    ------
    DiskError
        If they cannot be written.
    """
    out, found = result.out, result.found
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    tables = (found.scores, found.wells, found.features, found.treatments)
    for name, rows in zip(FILES[2:], tables, strict=True):
        if rows:
            write_whole(out / name, csv_text(rows))
        else:  # that of another run would tell of other wells
            with disk_errors(out / name):
                (out / name).unlink(missing_ok=True)
    whole = {**about, "result": result.to_json()}
    write_whole(out / FILES[1], json.dumps(whole, indent=2, allow_nan=False))
    write_page(out / FILES[0], _page(result, about), pdf=about["settings"]["pdf"])


def _page(result: PhenotypeResult, about: Mapping[str, Any]) -> str:
    found, settings = result.found, about["settings"]
    compared = [settings["prediction"], settings["target"], settings["brightfield"]]
    names = " with ".join(escape(str(one)) for one in compared if one)
    parts = [
        f"<h1>{escape(result.sentence)}</h1>",
        f"<p>{plural(result.wells, 'well')}: {names}.</p>",
        f'<p class="caveat">{escape(CAVEAT)}</p>',
    ]
    if found.findings:
        parts += ["<h2>What was asked</h2>", findings_table(found.findings)]
    parts += [
        "<h2>Truth, prediction and bright field side by side</h2>",
        _scores(found.scores),
        *(
            f"<p>{escape(found.remarks[one])}</p>"
            for one in ("active treatments",)
            if one in found.remarks
        ),
        *_classifiers(result),
        "<h2>Wells on paper</h2>",
        *_clouds(result, settings["scatter"], settings["controls"]),
    ]
    if found.treatments:
        parts += ["<h2>Treatments</h2>", effects_figure(found.treatments),
                  treatments_table(found.treatments)]  # fmt: skip
    parts += [
        "<h2>How this was made</h2>",
        "".join(f"<p>{escape(note)}</p>" for note in result.notes),
        f"<pre>{escape(json.dumps(about, indent=1, ensure_ascii=False))}</pre>",
    ]
    return document(f"Phenotype: {WORDS[result.state]}", parts)


def _scores(scores: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for row in scores:
        taught = row["taught"] if row["taught"] != row["source"] else ""
        within = "" if np.isnan(row["low"]) else f"{row['low']:.2f} to {row['high']:.2f}"
        source = row["source"] + (f", taught by {taught}" if taught else "")
        rows.append({**row, "source": source, "within": within})
    return table(
        rows,
        {"question": "question", "source": "asked of", "value": "", "within": "95 %",
         "chance": "by chance", "n": "of"},
    ) + (
        "<p>F1 is the mean over classes. Classifiers are asked of wells that taught neither. "
        "<em>Taught by</em> names whose features they learnt from where it is another source. "
        "Distances are better small, all else is better large.</p>"
    )  # fmt: skip


def _classifiers(result: PhenotypeResult) -> list[str]:
    parts: list[str] = []
    for question, classifiers in result.found.classifiers.items():
        if not classifiers.weights:
            continue
        column = f"weight_{question.split()[0]}"
        parts.append(f"<h2>By what {escape(question)} are told apart</h2>")
        parts.append(f"<p>{escape(result.found.remarks[question])}</p>")
        parts += [
            confusion_figure(classifiers.score(source, source).table, source)
            for source in (TRUTH, PREDICTION)
        ]
        rows = [row for row in result.found.features if not np.isnan(row[f"{column}_true"])]
        ranks = {}
        for side in ("true", "predicted"):
            order = sorted(rows, key=lambda row: -row[f"{column}_{side}"])
            ranks[side] = {row["feature"]: n for n, row in enumerate(order, 1)}
        rows.sort(key=lambda row: -row[f"{column}_true"])
        shown = [
            {**row, **{f"rank_{side}": ranks[side][row["feature"]] for side in ranks}}
            for row in rows[:_MOST_DECISIVE]
        ]
        parts.append(
            table(
                shown,
                {"feature": "feature", f"{column}_true": "weight in truth",
                 f"{column}_predicted": "in prediction", "rank_true": "rank in truth",
                 "rank_predicted": "in prediction", "pearson": "correlation"},
            )
        )  # fmt: skip
    return parts


def _clouds(result: PhenotypeResult, how: str, controls: Sequence[str]) -> list[str]:
    rows = result.found.wells
    by = "target" if any(row["target"] for row in rows) else "treatment"
    named = ["controls" if row["treatment"] in controls else row[by] for row in rows]
    counted = [name for name, _ in Counter(named).most_common() if name not in ("", "controls")]
    colours = dict(zip(counted, _COLOURS, strict=False))
    if "controls" in named:
        colours["controls"] = _CONTROL
    key = ", ".join(
        f'<span class="dot" style="color:{colour}">&#9679;</span> {escape(name)}'
        for name, colour in colours.items()
    )
    if any(name not in colours for name in named):
        key += f', <span class="dot" style="color:{_OTHER}">&#9679;</span> others'
    figures = []
    for picture in result.found.places:
        points = [
            Point(
                x, y, f"{row['plate']} {row['well']} {row['treatment']}, {source}",
                name if name in colours else "", hollow=source == PREDICTION,
            )
            for source, places in picture.items()
            for (x, y), row, name in zip(places.tolist(), rows, named, strict=True)
        ]  # fmt: skip
        what = " and ".join(picture)
        rings = " Discs are truth, rings prediction." if PREDICTION in picture else ""
        figures.append(
            f"<figure>{cloud(points, colours={**colours, '': _OTHER}, label=f'Wells, {what}')}"
            f"<figcaption>{HOW[how]}, {escape(what)}: {key}.{rings} Rest the pointer on a well "
            "for its name.</figcaption></figure>"
        )
    return figures
