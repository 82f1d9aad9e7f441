"""How is kept what a network knew? A page for people, JSON for programs, and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from napari_virtualstain.evaluation.findings import CAVEAT
from napari_virtualstain.io.disk import disk_errors, write_whole
from napari_virtualstain.jobs.page import document, table
from napari_virtualstain.jobs.page_file import write_page
from napari_virtualstain.jobs.svg import Bar, bars_figure
from napari_virtualstain.jobs.verdict_page import WORDS, confusion_figure, findings_table
from napari_virtualstain.jobs.verdict_tables import csv_text
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.jobs.recognise import RecogniseResult

__all__ = ["FILES", "write_recognise"]

FILES = ("recognise.html", "recognise.json", "scores.csv", "fields.csv")
"""Page, answers with settings and versions, and a row a score and a field."""


def write_recognise(result: RecogniseResult, about: Mapping[str, Any]) -> None:
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
    out = result.out
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(FILES[2:], (result.scores, result.fields), strict=True):
        write_whole(out / name, csv_text(rows))
    whole = {**about, "result": result.to_json()}
    write_whole(out / FILES[1], json.dumps(whole, indent=2, allow_nan=False))
    write_page(out / FILES[0], _page(result, about), pdf=about["settings"]["pdf"])


def _page(result: RecogniseResult, about: Mapping[str, Any]) -> str:
    settings = about["settings"]
    what = f"{plural(len(result.fields), 'field')} in {plural(result.wells, 'well')}"
    compared = [settings["prediction"], settings["target"], settings["brightfield"]]
    names = " with ".join(escape(str(one)) for one in compared if one)
    bars = [
        Bar(source, one.balanced.value, one.balanced.low, one.balanced.high,
            {"by chance": one.chance_balanced})
        for source, one in result.known.items()
    ]  # fmt: skip
    rows = [{**row, "within": f"{row['low']:.2f} to {row['high']:.2f}"} for row in result.scores]
    figure = bars_figure(bars, x="share of each class that is known", label="Balanced accuracy")
    parts = [
        f"<h1>{escape(result.finding.sentence)}</h1>",
        f"<p>{what}: {names}.</p>",
        f'<p class="caveat">{escape(CAVEAT)}</p>',
        "<h2>What was asked</h2>",
        findings_table([result.finding]),
        "<h2>How often treatments are known</h2>",
        table(
            rows,
            {"question": "", "source": "asked of", "taught": "taught by", "value": "",
             "within": "95 %", "chance": "by chance", "n": "fields"},
        ),
        ("<p>Accuracy is the share of fields that are taken for what they are, balanced accuracy "
        "its mean over classes. No network is asked of a well that taught it. By chance are the "
        "same guesses in random order.</p>"),
        (f"<figure>{figure}<figcaption>Balanced accuracy with its 95 % interval over wells; the "
        "stroke is what the same guesses come to by chance.</figcaption></figure>"),
        "<h2>What is taken for what</h2>",
        *(
            confusion_figure(one.table, source, "fields", "fields.csv")
            for source, one in result.known.items()
        ),
        "<h2>How this was made</h2>",
        "".join(f"<p>{escape(note)}</p>" for note in result.notes),
        f"<pre>{escape(json.dumps(about, indent=1, ensure_ascii=False))}</pre>",
    ]  # fmt: skip
    return document(f"Recognition: {WORDS[result.finding.state]}", parts)
