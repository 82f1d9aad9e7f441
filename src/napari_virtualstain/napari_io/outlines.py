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
    place = place_of(over)

    def opened() -> list[tuple[Any, dict[str, Any]]]:
        image = open_image(store)
        keep, keywords = placement(image)
        index = tuple(slice(None) if axis in keep else 0 for axis in "tzyx")
        where = place.apply(keywords)
        return [
            (image.data[:, c][index], {**where, "name": f"measured {name}", "opacity": 0.9})
            for c, name in reversed(list(enumerate(image.channel_names)))
        ]

    return opened
