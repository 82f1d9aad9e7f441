"""In which colour a channel is shown when the file does not say.

The five stains of Cell Painting have the colours of their papers; other dyes
have roughly the colour of their light, far red in magenta.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.modality import modality_of, name_tokens

__all__ = ["COLOURS", "GREY", "UNNAMED", "colour_of", "colours_of", "stain_colours"]

GREY = "FFFFFF"
"""White at full intensity: a grey picture."""

BLUE, GREEN, YELLOW, ORANGE, MAGENTA, RED = (
    "0000FF",
    "00FF00",
    "FFFF00",
    "FFA500",
    "FF00FF",
    "FF0000",
)

UNNAMED = (GREEN, MAGENTA, "00FFFF", YELLOW, "FF8000")
"""Of channels whose names say none; nearly everybody can tell the first two apart."""

COLOURS: dict[str, str] = {
    "dna": BLUE,
    "dapi": BLUE,
    "hoechst": BLUE,
    "er": GREEN,
    "cona": GREEN,
    "gfp": GREEN,
    "egfp": GREEN,
    "fitc": GREEN,
    "rna": YELLOW,
    "syto": YELLOW,
    "agp": ORANGE,
    "phalloidin": ORANGE,
    "actin": ORANGE,
    "tritc": ORANGE,
    "cy3": ORANGE,
    "mito": MAGENTA,
    "mitotracker": MAGENTA,
    "cy5": MAGENTA,
    "propidium": RED,
    "rfp": RED,
    "mcherry": RED,
    "map2": GREEN,
    "nfh": RED,
    "red": RED,
    "green": GREEN,
    "blue": BLUE,
}
"""Stain, as a word of a channel name, to ``RRGGBB``."""


def colour_of(channel: Channel) -> str:
    """Return ``RRGGBB``: the channel's own colour, that of its stain, or grey.

    Examples
    --------
    >>> colour_of(Channel("Mito")), colour_of(Channel("Brightfield high"))
    ('FF00FF', 'FFFFFF')
    >>> colour_of(Channel("Hoechst33342")), colour_of(Channel("x", colour="123456"))
    ('0000FF', '123456')
    """
    if channel.colour:
        return channel.colour.lstrip("#").upper()
    if "transmitted" in (channel.modality, modality_of(channel.name)):
        return GREY
    for word in name_tokens(channel.name):
        for form in (word, word.rstrip("0123456789")):
            if form in COLOURS:
                return COLOURS[form]
    return GREY


def colours_of(channels: Sequence[Channel]) -> tuple[str, ...]:
    """Return ``RRGGBB`` of channels that are shown together: of grey ones no two are added up.

    One transmitted channel stays grey; others without a colour get one that is not taken.

    Examples
    --------
    >>> colours_of([Channel("a"), Channel("b")]), colours_of([Channel("a")])
    (('00FF00', 'FF00FF'), ('FFFFFF',))
    >>> colours_of([Channel("BF", "transmitted"), Channel("GFP"), Channel("b")])
    ('FFFFFF', '00FF00', 'FF00FF')
    """
    colours = [colour_of(channel) for channel in channels]
    lit = [n for n, one in enumerate(channels) if one.modality == "transmitted"]
    below = next((n for n in lit if colours[n] == GREY), None)
    free = cycle([colour for colour in UNNAMED if colour not in colours] or UNNAMED)
    return tuple(
        next(free) if colour == GREY and n != below and len(colours) > 1 else colour
        for n, colour in enumerate(colours)
    )


def stain_colours(stains: Sequence[Channel]) -> tuple[str, ...]:
    """Return ``RRGGBB`` of stains that lie over a bright field: none is as grey as that.

    Examples
    --------
    >>> stain_colours([Channel("Membrane")])
    ('00FF00',)
    >>> stain_colours([Channel("DNA"), Channel("x", colour="FFFFFF"), Channel("y")])
    ('0000FF', '00FF00', 'FF00FF')
    """
    return colours_of([Channel("Brightfield", "transmitted"), *stains])[1:]
