"""How are numbers drawn without a library? Figures of a page, as SVG that stands in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

__all__ = ["Bar", "Point", "bars_figure", "cloud", "heat_map", "scatter"]

_SIDE, _LEFT, _TOP, _BELOW = 260, 58, 12, 46
_FRAME = 'class="frame" fill="none" stroke="#d0d7de"'
_EQUAL = 'class="equal" stroke="#d0d7de" stroke-dasharray="4 3"'
"""The page says it, too, as it is light or dark; what prints without its style has these."""
_LETTER = 7.6
"""Pixels that a letter takes at most, of the usual fonts."""
_CELL = (74, 26)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a `scatter`.

    Parameters
    ----------
    x, y
        Where; left out if either is not a number.
    name
        Shown where the pointer rests.
    kind
        A key of the colours.
    hollow
        A ring instead of a disc, in a `cloud`.
    """

    x: float
    y: float
    name: str
    kind: str = ""
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of `bars_figure`.

    Parameters
    ----------
    name
        Stands left of it.
    value, low, high
        The number and its interval; what is not a number is not drawn.
    marks
        What it is held against, by name, two at most: drawn as a stroke, and as a triangle.
    """

    name: str
    value: float
    low: float
    high: float
    marks: Mapping[str, float]


def bars_figure(bars: Sequence[Bar], *, x: str, label: str) -> str:
    """Return numbers from 0 with their intervals, a row each, and what they are held against.

    Parameters
    ----------
    bars
        In order, from the top.
    x
        Of the axis.
    label
        Of the figure, for those who cannot see it.
    """
    high, left = 22, 12 + ceil(_LETTER * max((len(one.name) for one in bars), default=0))
    numbers = [n for one in bars for n in (one.value, one.high, *one.marks.values())]
    most = max((n for n in numbers if isfinite(n)), default=1.0)
    step = _step(most)
    top = step * max(1, ceil(most / step - 1e-9))
    bottom = _TOP + high * len(bars)
    width, height = left + _SIDE + 16, bottom + _BELOW

    def at(value: float) -> float:
        return left + _SIDE * max(value, 0.0) / top

    out = [
        (
            f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" font-size="12" '
            f'aria-label="{escape(label)}">'
        ),
        (f'<rect x="{left}" y="{_TOP}" width="{_SIDE}" height="{bottom - _TOP}" {_FRAME}/>'),
    ]
    for number in range(round(top / step) + 1):
        place = f'x="{at(number * step):.1f}" y="{bottom + 16}"'
        out.append(f'<text {place} text-anchor="middle">{number * step:g}</text>')
    for n, one in enumerate(bars):
        y = _TOP + high * (n + 0.5)
        out.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{escape(one.name)}</text>')
        said = ", ".join(
            f"{name} {value:.3f}"
            for name, value in {"here": one.value, **one.marks}.items() if isfinite(value)
        )  # fmt: skip
        parts = []
        if isfinite(one.low) and isfinite(one.high):
            parts.append(
                f'<line x1="{at(one.low):.1f}" x2="{at(one.high):.1f}" y1="{y}" y2="{y}" '
                'stroke="#1450a0" stroke-width="2"/>'
            )
        if isfinite(one.value):
            parts.append(f'<circle cx="{at(one.value):.1f}" cy="{y}" r="4" fill="#1450a0"/>')
        for shape, value in enumerate(one.marks.values()):
            if isfinite(value):
                here = at(value)
                drawn = f"M{here:.1f} {y - 7}V{y + 7}" if shape == 0 else (
                    f"M{here - 4:.1f} {y + 4}h8l-4 -8z"
                )  # fmt: skip
                parts.append(f'<path d="{drawn}" fill="none" stroke="#e68214" stroke-width="2"/>')
        out.append(f"<g><title>{escape(f'{one.name}: {said}')}</title>{''.join(parts)}</g>")
    middle = left + _SIDE / 2
    out.append(f'<text x="{middle}" y="{height - 8}" text-anchor="middle">{escape(x)}</text>')
    return "\n".join([*out, "</svg>"])


def scatter(
    points: Sequence[Point], *, x: str, y: str, colours: Mapping[str, str], label: str
) -> str:
    """Return points with one scale for both axes from 0, and the line on which both are equal.

    Parameters
    ----------
    points
        What is drawn.
    x, y
        Of the axes.
    colours
        CSS colour by kind.
    label
        Of the figure, for those who cannot see it.
    """
    known = [one for one in points if isfinite(one.x) and isfinite(one.y)]
    most = max((max(one.x, one.y) for one in known), default=1.0)
    step = _step(most)
    top = step * max(1, ceil(most / step - 1e-9))

    def at(value: float) -> float:
        return _SIDE * max(value, 0) / top

    width, height = _LEFT + _SIDE + 12, _TOP + _SIDE + _BELOW
    out = [
        (
            f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" font-size="12" '
            f'aria-label="{escape(label)}">'
        ),
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" {_FRAME}/>',
        f'<line x1="{_LEFT}" y1="{_TOP + _SIDE}" x2="{_LEFT + _SIDE}" y2="{_TOP}" {_EQUAL}/>',
    ]
    for number in range(round(top / step) + 1):
        value = number * step
        here, text = at(value), f"{value:g}"
        out += [
            (
                f'<text x="{_LEFT + here:.1f}" y="{_TOP + _SIDE + 16}" text-anchor="middle">{text}'
                "</text>"
            ),
            (
                f'<text x="{_LEFT - 6}" y="{_TOP + _SIDE - here + 4:.1f}" text-anchor="end">{text}'
                "</text>"
            ),
        ]
    middle = _TOP + _SIDE / 2
    out += [
        f'<text x="{_LEFT + _SIDE / 2}" y="{height - 8}" text-anchor="middle">{escape(x)}</text>',
        (
            f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}'
            "</text>"
        ),
    ]
    out += [
        f'<circle cx="{_LEFT + at(one.x):.1f}" cy="{_TOP + _SIDE - at(one.y):.1f}" r="4" '
        f'fill="{colours[one.kind]}"><title>{escape(one.name)}: {one.x:.3g}, {one.y:.3g}</title>'
        "</circle>"
        for one in known
    ]
    return "\n".join([*out, "</svg>"])


def cloud(points: Sequence[Point], *, colours: Mapping[str, str], label: str) -> str:
    """Return points whose places mean nothing but who is near whom: no axes.

    Parameters
    ----------
    points, colours, label
        As in `scatter`. Both axes have one scale.
    """
    known = [one for one in points if isfinite(one.x) and isfinite(one.y)]
    left, low = (min(values, default=0.0)
                 for values in ([p.x for p in known], [p.y for p in known]))  # fmt: skip
    wide = max((max(p.x - left, p.y - low) for p in known), default=0.0) or 1.0
    side, edge = 1.6 * _SIDE, 10
    width, height = (
        2 * edge + side * max(values, default=0.0) / wide
        for values in ([p.x - left for p in known], [p.y - low for p in known])
    )
    out = [
        (
            f'<svg viewBox="0 0 {width:.1f} {height:.1f}" '
            f'width="{width:.1f}" role="img" font-size="12" aria-label="{escape(label)}">'
        ),
        f'<rect x="1" y="1" width="{width - 2:.1f}" height="{height - 2:.1f}" {_FRAME}/>',
    ]
    for one in known:
        x, y = (edge + side * (v - start) / wide for v, start in ((one.x, left), (one.y, low)))
        colour = colours[one.kind]
        how = f'fill="none" stroke="{colour}"' if one.hollow else f'fill="{colour}"'
        out.append(
            f'<circle cx="{x:.1f}" cy="{height - y:.1f}" r="3.5" {how}>'
            f"<title>{escape(one.name)}</title></circle>"
        )
    return "\n".join([*out, "</svg>"])


def _step(most: float) -> float:
    """Return the distance of ticks: 1, 2 or 5 of some power of ten, for five of them or fewer.

    Examples
    --------
    >>> _step(47), _step(1.2), _step(230)
    (10.0, 0.5, 50.0)
    """
    if not most > 0:
        return 1.0
    power = 10.0 ** floor(log10(most / 5))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power * 5 >= most - 1e-9))


def heat_map(
    values: Mapping[tuple[str, str], tuple[float, str]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
) -> str:
    """Return a table of coloured cells with their numbers, from -1 (orange) over 0 to 1 (blue).

    Parameters
    ----------
    values
        By row and column: the number, and what is shown where the pointer rests. Cells without one
        stay empty.
    rows, columns
        In order.
    label
        Of the figure.
    """
    wide, high = _CELL
    left = 12 + ceil(_LETTER * max(map(len, rows), default=0))
    width, height = left + wide * len(columns), high * (len(rows) + 1)
    out = [
        (
            f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" font-size="12" '
            f'aria-label="{escape(label)}">'
        )
    ]
    out += [
        f'<text x="{left + wide * (n + 0.5)}" y="17" text-anchor="middle">{escape(name)}</text>'
        for n, name in enumerate(columns)
    ]
    for r, row in enumerate(rows):
        y = high * (r + 1)
        out.append(f'<text x="{left - 8}" y="{y + 17}" text-anchor="end">{escape(row)}</text>')
        for c, column in enumerate(columns):
            value, said = values.get((row, column), (float("nan"), ""))
            if not isfinite(value):
                continue
            x = left + wide * c
            ink = "#fff" if value > 0.6 else "#000"
            out += [
                (
                    f'<rect x="{x}" y="{y}" width="{wide - 2}" height="{high - 2}" '
                    f'fill="{_shade(value)}"><title>{escape(said)}</title></rect>'
                ),
                (
                    f'<text x="{x + wide / 2 - 1}" y="{y + 16}" text-anchor="middle" fill="{ink}">'
                    f"{value:.2f}</text>"
                ),
            ]
    return "\n".join([*out, "</svg>"])


def _shade(value: float) -> str:
    """Return white at 0, dark blue at 1, orange at -1."""
    share = min(abs(value), 1.0)
    end = (20, 80, 160) if value > 0 else (230, 130, 20)
    red, green, blue = (round(255 + share * (one - 255)) for one in end)
    return f"rgb({red},{green},{blue})"
