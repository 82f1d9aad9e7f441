"""What does a person read of a judgement? The worst fields with pictures and reasons, then all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from napari_virtualstain.jobs.page import document, table
from napari_virtualstain.qc.checks import UNSEEN
from napari_virtualstain.qc.drift import DriftReport
from napari_virtualstain.qc.guard import NOT_IF_RED
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.jobs.qc import QcResult
    from napari_virtualstain.jobs.qc_tables import Shown

__all__ = ["page"]

_MOST = 200
_MARKS = {"green": "&#10003;", "amber": "!", "red": "&#10007;", "not assessable": "?"}
_STYLE = """
.green { color: #1a7f37; } .amber { color: #9a6700; } .red { color: #d1242f; }
.not { color: #6e7781; }
"""


def page(
    result: QcResult,
    whole: Mapping[str, Any],
    shown: Sequence[Shown],
    wells: Sequence[Mapping[str, Any]],
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    result
        What was found.
    whole
        What ``qc.json`` holds: settings and versions are shown from it.
    shown
        Pictures of the worst fields.
    wells
        Rows, worst first.
    """
    counts = ", ".join(f"{n} {state}" for state, n in result.counts.items())
    settings = {name: value for name, value in whole.items() if name != "result"}
    parts = [
        f"<h1>{plural(len(result.fields), 'field')}: {counts}</h1>",
        f"<p>{escape(str(whole['settings']['prediction']))}, "
        + (
            f"held against {escape(result.reference)}.</p>"
            if result.reference
            else "without a reference of good predictions.</p>"
        ),
        f'<p class="caveat">{escape(UNSEEN)}</p>',
        "".join(f"<p>{escape(note)}</p>" for note in result.notes),
        "<h2>Amounts</h2>",
        _amounts(result),
        "<h2>The worst fields</h2>" if shown else "",
        *map(_picture, shown),
    ]
    if wells:
        parts += [
            "<h2>Wells</h2>",
            table(
                wells[:_MOST],
                {"plate": "plate", "well": "well", "state": "state", "fields": "fields",
                 "red": "red", "amber": "amber", "green": "green", "reason": "reason"},
            ),
        ]  # fmt: skip
    parts += _drift(result.drift)
    rows = [
        {"name": one.name, "state": one.state, "reason": one.reason,
         "advice": one.flagged[0].advice if one.flagged else "",
         "decision": "" if one.decision is None else one.decision.verdict}
        for one in result.fields[:_MOST]
    ]  # fmt: skip
    more = len(result.fields) - len(rows)
    parts += [
        "<h2>All fields, worst first</h2>",
        table(
            rows,
            {
                "name": "field",
                "state": "state",
                "reason": "worst",
                "advice": "do",
                "decision": "decided",
            },
        ),
        f"<p>{more} more in fields.csv.</p>" if more > 0 else "",
        _untold(result),
        "<h2>How this was made</h2>",
        f"<pre>{escape(json.dumps(settings, indent=1, ensure_ascii=False))}</pre>",
    ]
    return document(f"Quality: {counts}", parts, _STYLE)


def _drift(drift: DriftReport) -> list[str]:
    """Say what changes over plates, what was looked at in vain, and what could not be looked at."""
    return [
        "<h2>Drift</h2>",
        *(
            f'<p class="{"caveat" if drift.found else ""}">{escape(one)}</p>'
            for one in drift.sentences
        ),
        *(f'<p class="not">{escape(one)}</p>' for one in drift.untold),
    ]


def _amounts(result: QcResult) -> str:
    if not result.guard:
        return (
            "<p>Nothing is known of amounts: compare counts and shapes only. Held-out wells with "
            "true stains, given with --target, would tell.</p>"
        )
    said = [
        f"<p><b>{escape(stain)}</b>: {escape(one.words)}</p>" for stain, one in result.guard.items()
    ]
    if result.state == "red":
        said.append(f'<p class="caveat">{escape(NOT_IF_RED)}</p>')
    return "".join(said)


def _picture(one: Shown) -> str:
    pictures = "".join(
        f'<img src="{address}" alt="{escape(what)}" title="{escape(what)}"> '
        for what, address in one.pictures
    )
    said = "".join(
        f'<li class="{found.state.split()[0]}">{_MARKS[found.state]} <b>{escape(found.title)}</b>: '
        f"{escape(found.reason)}. {escape(found.advice)}</li>"
        for found in one.field.flagged
    )
    return (
        f"<figure>{pictures}<figcaption><b>{escape(one.field.name)}</b>: "
        f"{', '.join(escape(what) for what, _ in one.pictures)}; orange is what the first finding "
        f"is about.</figcaption></figure><ul>{said}</ul>"
    )


def _untold(result: QcResult) -> str:
    """Say which checks could not look, and why: once each."""
    reasons: dict[str, str] = {}
    for field in result.fields:
        for one in field.findings:
            if one.state == "not assessable":
                reasons.setdefault(one.title, one.reason)
    if not reasons:
        return ""
    items = "".join(f"<li>{escape(t)}: {escape(reason)}</li>" for t, reason in reasons.items())
    return f"<h2>What could not be assessed</h2><ul>{items}</ul>"
