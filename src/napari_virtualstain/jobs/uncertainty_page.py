"""What a spread is worth, as one page that loads nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from napari_virtualstain.jobs.page import document, table

if TYPE_CHECKING:
    from napari_virtualstain.jobs.uncertainty import UncertaintyResult

__all__ = ["page"]

_SHOWN = (0, 4, 8, 10, 12, 16, 18)
"""Places in a retention curve: all pixels down to a tenth of them."""
_CAVEAT = (
    "An interval says how far the truth usually lies from the stain where the spread is so large, "
    "on fields like those that it was measured on. It knows nothing of another microscope, another "
    "kind of cell or another treatment, and a mistake that all views or draws share has no spread."
)


def page(result: UncertaintyResult, about: Mapping[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    result
        What was found.
    about
        Settings and versions.
    """
    level = f"{result.level:.0%}"
    parts = [
        "<h1>What the spread is worth</h1>",
        *(f"<p>{escape(one.sentence(result.level))}.</p>" for one in result.stains),
        f'<p class="caveat">{escape(_CAVEAT)}</p>',
        f"<h2>Do intervals of {level} hold {level}?</h2>",
        (
            f"<p>Of pixels of the foreground of the {result.held_back} fields that were held back; "
            "tenths of them from the smallest spread to the largest. In brackets 95 %, fields "
            "drawn with replacement.</p>"
        ),
        table(
            [
                {
                    "stain": one.name, "all": f"{one.coverage.value:.0%} "
                    f"({one.coverage.low:.0%} to {one.coverage.high:.0%})",
                    "width": f"{one.width:.3g}",
                    **{str(n): f"{share:.0%}" for n, share in enumerate(one.parts)},
                }
                for one in result.stains
            ],
            {"stain": "stain", "all": "within", "width": "median half-width",
             **{str(n): str(n + 1) for n in range(10)}},
        ),
        "<h2>Does the spread find errors?</h2>",
        (
            "<p>Mean absolute error of what is left when the least sure pixels are left out, over "
            "that of all; below in turn, when the brightest are. <em>Area</em> is the mean of the "
            "curve: 1 is no better than leaving out pixels at random.</p>"
        ),
        table(
            [
                {
                    "stain": one.name, "by": by, "area": curve.area,
                    **{
                        str(n): curve.error[n] / curve.error[0] if curve.error[0] else float("nan")
                        for n in _SHOWN
                    },
                }
                for one in result.stains
                for by, curve in (("spread", one.spread), ("brightness", one.brightness))
            ],
            {"stain": "stain", "by": "left out by", "area": "area",
             **{str(n): f"{result.stains[0].spread.kept[n]:.0%} left" for n in _SHOWN}},
        ),
        "<h2>How this was made</h2>",
        "".join(f"<p>{escape(note)}</p>" for note in result.notes),
        f"<pre>{escape(json.dumps(about, indent=1, ensure_ascii=False))}</pre>",
    ]  # fmt: skip
    return document("What the spread is worth", parts)
