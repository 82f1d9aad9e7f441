"""What does a person read? One page that needs nothing but itself: answers, figures, settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from napari_virtualstain.evaluation.findings import CAVEAT
from napari_virtualstain.jobs.page import document, number_cell, table
from napari_virtualstain.jobs.svg import Bar, Point, bars_figure, cloud, heat_map, scatter
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.evaluation.findings import Finding
    from napari_virtualstain.jobs.verdict import VerdictResult
    from napari_virtualstain.jobs.verdict_pictures import Thumbnail
    from napari_virtualstain.metrics.classification import Confusion

__all__ = [
    "HOW",
    "WORDS",
    "confusion_figure",
    "effects_figure",
    "findings_table",
    "page",
    "treatments_table",
]

WORDS = {"kept": "kept", "changed": "changed", "unsure": "not known"}
_COLOURS = {
    "hit": "#1450a0", "lost": "#d1242f", "invented": "#e68214", "no hit": "#8c959f",
    "": "#1450a0",
}  # fmt: skip
_SIDES = {"truth": "#56606a", "prediction": "#d55e00"}
HOW = {"pca": "Principal components", "tsne": "t-SNE", "umap": "UMAP"}
"""Names of the ways to draw on paper."""
_MOST_ROWS, _MOST_CLASSES, _SHORT = 100, 16, 10


def page(result: VerdictResult, whole: Mapping[str, Any], pictures: Sequence[Thumbnail]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    result
        What was found.
    whole
        What ``verdict.json`` holds: settings and versions are shown from it.
    pictures
        Of the worst fields.
    """
    found = result.answers
    what = f"{plural(result.fields, 'field')} in {plural(result.wells, 'well')}"
    settings = {name: value for name, value in whole.items() if name != "result"}
    parts = [
        f"<h1>{escape(result.sentence)}</h1>",
        (f"<p>{what} of {escape(str(whole['settings']['prediction']))}, compared with "
        f"{escape(str(whole['settings']['target']))}.</p>"),
        f'<p class="caveat">{escape(CAVEAT)}</p>',
        "<h2>What was asked</h2>",
        findings_table(found.findings),
        "<h2>Which channels and features to trust</h2>",
        table(
            found.channels,
            {"stain": "stain", "pcc": "PCC", "pcc_low": "from", "pcc_high": "to", "ssim": "SSIM",
             "gain": "gain", "amount": "amount", "features": "features", "trust": "trust"},
        ),
        ("<p>PCC, SSIM and gain are of pictures; <em>amount</em> is predicted over true brightness "
        "of objects; <em>features</em> is the mean correlation over fields of what is measured in "
        "the stain. The mean over all features that are kept "
        f"(CPcor) is {number_cell(found.correlation)}.</p>"),
        _groups(result),
        "<h2>Counts and treatments</h2>",
        _scatters(result),
        treatments_table(found.treatments),
        *_cells(result, whole["settings"]["scatter"]),
        "<h2>Wells that agree least</h2>",
        table(
            found.wells[:10],
            {"plate": "plate", "well": "well", "treatment": "treatment", "agreement": "agreement",
             "true": "nuclei", "predicted": "predicted", "matched": "matched", "missed": "missed",
             "invented": "invented"},
        ),
        *map(_picture, pictures),
        "<h2>How this was made</h2>",
        "".join(f"<p>{escape(note)}</p>" for note in result.notes),
        f"<pre>{escape(json.dumps(settings, indent=1, ensure_ascii=False))}</pre>",
    ]  # fmt: skip
    return document(f"Verdict: {WORDS[result.state]}", parts)


def findings_table(findings: Sequence[Finding]) -> str:
    """Return questions and answers as a table."""
    rows = []
    for one in findings:
        low, high = one.allowed
        ends = [f"{'from' if n == 0 else 'to'} {e:g}" for n, e in enumerate((low, high))
                if e is not None]  # fmt: skip
        rows.append(
            f"<tr><td>{escape(one.question)}</td>"
            f'<td class="state {one.state}">{WORDS[one.state]}</td>'
            f"<td>{escape(one.sentence)}</td><td>{' '.join(ends)}</td></tr>"
        )
    head = "<tr><th>question</th><th></th><th>answer</th><th>no change</th></tr>"
    return (
        f'<div class="wide"><table><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        "<p>In brackets: 95 % intervals, wells drawn with replacement. <em>Kept</em> is what lies "
        "within the last column with its whole interval, <em>changed</em> what lies outside with "
        "all of it.</p>"
    )


def _groups(result: VerdictResult) -> str:
    groups = result.answers.groups
    values = {}
    for one in groups:
        g, r = one.group, one.pearson
        said = (
            f"{g}: Pearson {r.value:.2f} ({r.low:.2f} to {r.high:.2f}), Spearman "
            f"{one.spearman:.2f}, {plural(one.features, 'feature')}"
        )
        values[f"{g.compartment} {g.kind}", g.channel or "all"] = (r.value, said)
    rows = list(dict.fromkeys(row for row, _ in values))
    columns = list(dict.fromkeys(column for _, column in values))
    label = "Correlation of features by compartment, type and channel"
    figure = heat_map(values, rows=rows, columns=columns, label=label)
    return (
        f'<figure class="wide">{figure}<figcaption>Mean correlation (Pearson, over fields) of '
        "predicted and true features; rest the pointer on a number for its interval.</figcaption>"
        "</figure>"
    )


def _scatters(result: VerdictResult) -> str:
    counts = [
        Point(row["true"], row["predicted"], f"{row['plate']} {row['well']} {row['treatment']}")
        for row in result.answers.wells
    ]
    figures = [
        "<figure>"
        + scatter(counts, x="true nuclei", y="predicted nuclei", colours=_COLOURS,
                  label="Nuclei of each well, true and predicted")
        + "<figcaption>Nuclei of each well.</figcaption></figure>"
    ]  # fmt: skip
    if result.answers.treatments:
        figures.append(effects_figure(result.answers.treatments))
    return "".join(figures)


def _cells(result: VerdictResult, how: str) -> list[str]:
    """Return how single cells are distributed, as a table and two figures."""
    cells = result.cells
    if not cells.distances:
        return []
    bars = [
        Bar(one.group, one.wasserstein.value, one.wasserstein.low, one.wasserstein.high,
            {"halves of truth": one.halves,
             **({} if one.replicates is None else {"replicates": one.replicates})})
        for one in cells.distances if not one.feature
    ]  # fmt: skip
    points = [
        Point(row["x"], row["y"],
              " ".join(filter(None, (row["plate"], row["well"], row["treatment"], row["side"]))),
              row["side"], hollow=row["side"] == "prediction")
        for row in cells.places
    ]  # fmt: skip
    key = ", ".join(
        f'<span class="dot" style="color:{colour}">{sign}</span> {side}'
        for side, colour, sign in (
            ("truth", _SIDES["truth"], "&#9679;"), ("prediction", _SIDES["prediction"], "&#9675;"),
        )
    )  # fmt: skip
    label = "Distance of predicted from true single cells, by group of features"
    return [
        "<h2>Single cells</h2>",
        f"<p>{escape(cells.sentence())}</p>",
        table(
            cells.groups,
            {"group": "features", "features": "how many", "wasserstein": "distance",
             "wasserstein_low": "from", "wasserstein_high": "to", "halves": "halves of truth",
             "replicates": "replicates", "energy": "energy distance",
             "energy_halves": "halves of truth", "auroc": "AUROC", "auroc_low": "from",
             "auroc_high": "to"},
        ),
        ("<p><em>Distance</em> is Wasserstein-1 in standard deviations of the true cells within "
        "a well, the mean over features and wells; beside it what two halves of the true cells of "
        "a well, and the true cells of two wells of one treatment, differ by. "
        "<em>Energy distance</em> is of all features of a row together. <em>AUROC</em> is how "
        "well a classifier tells predicted from true cells of wells that it has not seen: "
        "0.5 is by chance. None of it is part of the "
        "verdict above. Single features are in distributions.csv.</p>"),
        (f'<figure>{bars_figure(bars, x="standard deviations of true cells", label=label)}'
        "<figcaption>Distance of predicted from true cells, with its 95 % interval over wells; "
        "marks are floors: | two halves of the true cells, &#9651; two wells of one treatment."
        "</figcaption></figure>"),
        (f"<figure>{cloud(points, colours=_SIDES, label='Single cells, predicted and true')}"
        f"<figcaption>{HOW[how]} of single cells, truth and prediction on one paper: {key}."
        "</figcaption></figure>"),
    ]  # fmt: skip


def effects_figure(treatments: Sequence[Mapping[str, Any]]) -> str:
    """Return the effects of treatments, true and predicted, as a figure."""
    effects = [
        Point(row["effect_true"], row["effect_predicted"], row["treatment"], row["call"])
        for row in treatments
    ]
    kinds = dict.fromkeys(one.kind for one in effects)
    key = ", ".join(
        f'<span class="dot" style="color:{_COLOURS[kind]}">&#9679;</span> {kind}' for kind in kinds
    )
    return (
        "<figure>"
        + scatter(effects, x="true effect", y="predicted effect", colours=_COLOURS,
                  label="Effect of each treatment, true and predicted")
        + "<figcaption>Effect of each treatment, in standard deviations of the controls: "
        f"{key}.</figcaption></figure>"
    )  # fmt: skip


def confusion_figure(
    found: Confusion, asked: str, what: str = "wells", rows_in: str = "wells.csv"
) -> str:
    """Return which classes are taken for which, as a figure.

    Parameters
    ----------
    found
        Counts.
    asked
        Whose they are, for people.
    what
        That is counted.
    rows_in
        Table that says it of each, where there are too many classes to be drawn.
    """
    names = [str(name) for name in found.classes]
    if len(names) > _MOST_CLASSES:
        return f"<p>{len(names)} classes are too many for a figure; see {rows_in}.</p>"
    short = [name if len(name) <= _SHORT else f"{name[: _SHORT - 1]}…" for name in names]
    columns = [name if short.count(name) == 1 else f"{n + 1}" for n, name in enumerate(short)]
    values = {}
    for r, row in enumerate(found.counts):
        for c, count in enumerate(row.tolist()):
            share = count / row.sum() if row.sum() else float("nan")
            said = f"{names[r]} taken for {names[c]}: {count} of {int(row.sum())} {what}"
            values[names[r], columns[c]] = (share, said)
    figure = heat_map(
        values, rows=names, columns=columns, label=f"What is taken for what in {asked}"
    )
    return (
        f'<figure class="wide">{figure}<figcaption>{escape(asked)}: share of the {what} of a '
        "row that are taken for the column.</figcaption></figure>"
    )


def treatments_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the strongest treatments as a table; nothing if there are none."""
    if not rows:
        return ""
    shown = rows[:_MOST_ROWS]
    more = len(rows) - len(shown)
    return table(
        shown,
        {"treatment": "treatment", "target": "target", "wells": "wells",
         "effect_true": "true effect", "threshold_true": "threshold",
         "effect_predicted": "predicted", "threshold_predicted": "threshold", "call": "hit",
         "cosine": "cosine", "looks_like": "looks like"},
    ) + (f"<p>{more} more in treatments.csv.</p>" if more else "")  # fmt: skip


def _picture(one: Thumbnail) -> str:
    low, high = one.limits
    pictures = "".join(
        f'<img src="{address}" alt="{escape(what)}" title="{escape(what)}"> '
        for address, what in (
            (one.truth, "truth"), (one.prediction, "prediction"),
            (one.both, "prediction magenta, truth green"),
        )
    )  # fmt: skip
    return (
        f"<figure>{pictures}<figcaption>{escape(one.name)}, {escape(one.stain)}: truth, "
        f"prediction, both (prediction magenta, truth green); black is {low:.4g} and white "
        f"{high:.4g} in all.</figcaption></figure>"
    )
