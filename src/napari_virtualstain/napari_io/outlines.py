"""What was counted, as outlines over the stain: a colour for each number in the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.io.open import open_image
from napari_virtualstain.napari_io.layer_axes import place_of
from napari_virtualstain.napari_io.layers import placement

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["LINE", "outlines_of"]

LINE = 2
"""Width of an outline in pixels."""
_BRIGHT = (
    "#ffe14d", "#ff9d3c", "#ffffff", "#5ce1ff", "#b6ff5c", "#ff8fb8", "#ffc8a2", "#8affd0",
)  # fmt: skip
"""Colours that stand out of every stain and of black; those of neighbours differ."""


def outlines_of(store: Path, over: Image) -> Callable[[], list[tuple[Any, dict[str, Any]]]]:
    """Return what opens the labels of a measurement, as data and keywords of ``Labels``.

    Parameters
    ----------
    store
        That `virtualstain measure --outlines` wrote.
    over
        Layer in which they were found; where its pixels lie now, so do theirs.

    Returns
    -------
    callable
        To be called in a thread: it reads files. Cells come first, to lie below their nuclei.
    """
    from napari.utils.colormaps import CyclicLabelColormap

    place = place_of(over)
    # Numbers take them in turn; the first is that of what is no object.
    colours = CyclicLabelColormap(colors=["transparent", *_BRIGHT])

    def opened() -> list[tuple[Any, dict[str, Any]]]:
        image = open_image(store)
        keep, keywords = placement(image)
        index = tuple(slice(None) if axis in keep else 0 for axis in "tzyx")
        where = place.apply(keywords)
        return [
            (
                image.data[:, c][index],
                {**where, "name": f"measured {name}", "opacity": 0.9, "colormap": colours},
            )
            for c, name in reversed(list(enumerate(image.channel_names)))
        ]

    return opened
