"""What a judgement says, in words and colours that are the same in table, plate and text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.words import plural

__all__ = [
    "COLOURS", "SIGNS", "VERDICT_SIGNS", "Row", "drift_as_html", "findings_as_html", "flagged",
    "good_as_text", "summary", "wells_of",
]  # fmt: skip

SIGNS = {"green": "✓", "amber": "!", "red": "✗", "not assessable": "?"}
"""Beside the colours, for people who see no difference between them."""
COLOURS = {"green": "#4c9f70", "amber": "#e0a030", "red": "#e0564f", "not assessable": "#8c8c8c"}
VERDICT_SIGNS = {"accepted": "✓", "rejected": "✗", "rejected in part": "◪"}

_FEW = 4
"""So many checks are named one by one."""

RANK = {"red": 3, "amber": 2, "green": 1, "not assessable": 0}

Row = Mapping[str, Any]
"""A field, as `jobs.qc_tables.JudgedField.to_json` has it."""


def summary(rows: Sequence[Row], decided: int) -> str:
    """Return how many fields are in which state, and how many somebody has looked at."""
    counts = {state: sum(row["state"] == state for row in rows) for state in RANK}
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    reviewed = f" {decided} of {len(rows)} reviewed." if decided else ""
    return f"{plural(len(rows), 'field')}: {said}.{reviewed}"


def findings_as_html(row: Row) -> str:
    """Return what the checks say of a field: what is flagged, then what cannot be told."""
    findings = row["findings"]
    lines = [_line(one) for one in flagged(row)]
    good = [one["title"] for one in findings if one["state"] == "green"]
    if good:
        named = escape(_listed(good)) if len(good) <= _FEW else f"{len(good)} checks"
        lines.append(f"{_sign('green')} Nothing unusual: {named}.")
    untold: dict[str, list[str]] = {}
    for one in findings:
        if one["state"] == "not assessable":
            reason = str(one["reason"]).removeprefix("not assessable: ")
            untold.setdefault(words_of(reason), []).append(one["title"])
    lines += [
        f"{_sign('not assessable')} Cannot be told: {escape(_listed(titles))} ({escape(reason)})."
        for reason, titles in untold.items()
    ]
    return "<br>".join(lines)


def good_as_text(row: Row) -> str:
    """Return which checks found nothing unusual, for whoever asks."""
    good = [one["title"] for one in row["findings"] if one["state"] == "green"]
    return f"Nothing unusual: {_listed(good)}." if len(good) > _FEW else ""


def drift_as_html(drift: Mapping[str, Any]) -> str:
    """Return what changes over plates and with time, then of what it cannot be told."""
    lines = [f"{_sign('amber')} <b>Drift</b>: {escape(one['words'])}" for one in drift["found"]]
    if not drift["found"] and drift["tests"]:
        lines.append(f"{_sign('green')} No drift was found in {drift['tests']} comparisons.")
    if drift["untold"] and (drift["tests"] or drift["wells"]):  # of one image nobody expects it
        what = [one.partition(": not assessable")[0] for one in drift["untold"]]
        lines.append(f"{_sign('not assessable')} Cannot be told: {escape(_listed(what))}.")
    return "<br>".join(lines)


def flagged(row: Row) -> list[Mapping[str, Any]]:
    """Return what is amber or red in a field, worst first."""
    found = [one for one in row["findings"] if one["state"] in ("red", "amber")]
    return sorted(found, key=lambda one: (RANK[one["state"]], one["score"]), reverse=True)


def wells_of(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Return the worst field of each well, by plate and well."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        wells = found.setdefault(row["plate"], {})
        if row["well"] and (
            row["well"] not in wells or RANK[row["state"]] > RANK[wells[row["well"]]["state"]]
        ):
            wells[row["well"]] = row
    return {plate: wells for plate, wells in found.items() if wells}


def _line(one: Mapping[str, Any]) -> str:
    reason = escape(f"{one['reason'][:1].upper()}{one['reason'][1:]}")
    advice = escape(words_of(one["advice"]))
    return f"{_sign(one['state'])} <b>{escape(one['title'])}</b>: {reason}. {advice}"


def _sign(state: str) -> str:
    return f'<span style="color: {COLOURS[state]}"><b>{SIGNS[state]}</b></span>'


def _listed(titles: Sequence[str]) -> str:
    """Return titles as one phrase, with a small letter where none is a name."""
    small = [f"{title[:1].lower()}{title[1:]}" for title in titles]
    return ", ".join(small)
