"""What have all pages that are written for people in common? Their form, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["document", "number_cell", "table"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --line: #d0d7de; --back: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --line: #444c56; --back: #0d1117; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { border-bottom: 1px solid var(--line);
  padding: .25rem .7rem .25rem 0; text-align: left; vertical-align: top; }
.wide { overflow-x: auto; }
.state { font-weight: 600; white-space: nowrap; }
.kept::before { content: "\\2713  "; } .changed::before { content: "\\2717  "; }
.unsure::before { content: "?  "; }
.kept { color: #1a7f37; } .changed { color: #d1242f; } .unsure { color: #9a6700; }
figure { display: inline-block; margin: 0 1.5rem 1rem 0; vertical-align: top; }
figcaption { font-size: .85rem; max-width: 26rem; }
svg { max-width: 100%; height: auto; } svg text { font-size: 12px; }
svg text:not([fill]) { fill: var(--ink); } .frame { fill: none; stroke: var(--line); }
.equal { stroke: var(--line); stroke-dasharray: 4 3; }
img { width: 200px; height: auto; background: #000; }
.caveat { border-left: 4px solid #9a6700; padding-left: .8rem; }
pre { overflow-x: auto; font-size: .8rem; } .dot { font-size: 1.2em; }
@page { size: A4; margin: 15mm; }
@media print {
:root { color-scheme: light; --ink: #1f2328; --line: #d0d7de; --back: #fff; }
body { margin: 0; padding: 0; max-width: none; font-size: 10pt; print-color-adjust: exact; }
h1 { font-size: 15pt; } h2 { font-size: 12pt; break-after: avoid; }
tr, figure, .caveat { break-inside: avoid; } thead { display: table-header-group; }
.wide, pre { overflow: visible; } .wide table { width: 100%; font-size: 7.5pt; }
th, td { padding-right: .3rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 7pt; }
img { width: 150px; } figure { max-width: 100%; margin-right: .5rem; } }
"""


def document(title: str, parts: Sequence[str], style: str = "") -> str:
    """Return a page that loads nothing else.

    Parameters
    ----------
    title
        Of the window.
    parts
        HTML, in order.
    style
        CSS beside the common one.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Return rows as an HTML table: which keys, and what stands above them."""
    head = "".join(f"<th>{name}</th>" for name in columns.values())
    body = "".join(
        "<tr>" + "".join(f"<td>{number_cell(row.get(key, ''))}</td>" for key in columns) + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def number_cell(value: Any) -> str:
    """Return what stands in a cell: three decimals of a number, a dash for none, text escaped."""
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3f}"
    return escape(str(value))
