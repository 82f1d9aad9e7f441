"""How is a prediction shown beside its truth on paper? Panels of what is in view, with limits.

Pixels are repeated, not smoothed: what is printed is what was computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_virtualstain.io.save_png import QUANTILES, compose, draw_bar, overlay
from napari_virtualstain.napari_io.difference import DIVERGING
from napari_virtualstain.napari_io.mixed import Pair

__all__ = ["Panel", "compose_figure", "panels_of"]

_EDGE = 420
"""A panel is at least so wide, and a whole number of times its pixels."""
_GAP, _FONT = 14, 17
_GREY = "FFFFFF"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One picture of a figure.

    Parameters
    ----------
    title
        Above it.
    pixels
        (Y, X, 3) uint8.
    below
        Which grey values are black and white.
    """

    title: str
    pixels: NDArray[np.uint8]
    below: str


def panels_of(
    pair: Pair, limits: tuple[float, float], brightfield: NDArray[np.floating] | None = None
) -> list[Panel]:
    """Return what goes in, what is predicted, what is true, both, and their difference.

    Parameters
    ----------
    pair
        What is in view.
    limits
        Grey values that are black and white in prediction and truth alike.
    brightfield
        (Y, X) of the same region, shown between two of its quantiles (`io.save_png.QUANTILES`);
        left out if `None`.
    """
    low, high = limits
    half = max((high - low) / 2, 1e-6)
    span = f"{low:.4g} to {high:.4g}"
    predicted, true = (
        compose({"": plane}, {"": _GREY}, {"": limits}) for plane in (pair.predicted, pair.true)
    )
    found = []
    if brightfield is not None and np.isfinite(brightfield).any():
        ends = np.nanquantile(brightfield, QUANTILES)
        grey = compose({"": brightfield}, {"": _GREY}, {"": (float(ends[0]), float(ends[1]))})
        found.append(
            Panel(title="Bright field", pixels=grey, below=f"{ends[0]:.4g} to {ends[1]:.4g}")
        )
    both = overlay(predicted[..., 0], true[..., 0])
    return [
        *found,
        Panel(title="Predicted", pixels=predicted, below=span),
        Panel(title="True", pixels=true, below=span),
        Panel(title="Predicted magenta, true green", pixels=both, below=span),
        Panel(
            title="Predicted - true",
            pixels=_signed(pair.predicted.astype(float) - pair.true, half),
            below=f"blue {-half:.4g}, black 0, orange {half:.4g}",
        ),
    ]


def compose_figure(
    panels: Sequence[Panel], *, pixel_um: float | None, caption: Sequence[str]
) -> Image.Image:
    """Set panels in a row, on white.

    Parameters
    ----------
    panels
        Of one size.
    pixel_um
        Edge of a pixel of a panel; without it the first panel has no scale bar.
    caption
        Lines below, which are wrapped.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    font = ImageFont.load_default(size=_FONT)
    line = _FONT + 7
    height, width = panels[0].pixels.shape[:2]
    times = max(1, -(-_EDGE // width))
    wide, high = width * times, height * times
    whole = len(panels) * (wide + _GAP) + _GAP
    letters = max(20, int((whole - 2 * _GAP) / (0.52 * _FONT)))
    rows = [row for text in caption for row in wrap(text, letters)]
    tall = _GAP + line + high + line + _GAP // 2 + line * len(rows) + _GAP
    figure = Image.new("RGB", (whole, tall), "white")
    pen = ImageDraw.Draw(figure)
    for number, panel in enumerate(panels):
        left, top = _GAP + number * (wide + _GAP), _GAP + line
        picture = Image.fromarray(panel.pixels).resize((wide, high), Image.Resampling.NEAREST)
        if number == 0 and pixel_um is not None:
            draw_bar(picture, pixel_um / times)
        pen.text((left, _GAP), panel.title, fill="black", font=font)
        figure.paste(picture, (left, top))
        pen.text((left, top + high + 4), panel.below, fill="#444444", font=font)
    for number, row in enumerate(rows):
        at = _GAP + line + high + line + _GAP // 2 + number * line
        pen.text((_GAP, at), row, fill="#444444", font=font)
    return figure


def _signed(values: NDArray[np.floating], half: float) -> NDArray[np.uint8]:
    """Return differences in the colours of the layer of differences; missing ones are black."""
    share = np.clip(np.nan_to_num(values, nan=0.0) / half, -1, 1)[..., None]
    low, _, high = (np.asarray(colour[:3]) for colour in DIVERGING)
    shown = np.where(share < 0, -share * low, share * high)
    return np.asarray(np.rint(255 * shown), np.uint8)
