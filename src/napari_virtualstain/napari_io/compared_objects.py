"""What became of nuclei or cells, as a layer: a colour for each kind, where the prediction lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.compare_objects import labels_channel
from napari_virtualstain.jobs.found_objects import Kind
from napari_virtualstain.napari_io.layer_axes import place_of
from napari_virtualstain.napari_io.layers import placement
from napari_virtualstain.objects.match import KINDS

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["KIND_COLOURS", "object_labels"]

KIND_COLOURS = dict(
    zip(KINDS, ("#86a893", "#e8432e", "#3aa0ff", "#f2b134", "#b266ff"), strict=True)
)
"""Grey-green for what is right; red, blue, orange and violet stand out of it, and differ for people
who see no difference between red and green."""
_FAINT = "59"
"""Opacity of what is right, in hexadecimal: errors are to be seen, and the stain below."""


def object_labels(
    store: Path, predicted: Image, kind: Kind
) -> Callable[[], tuple[Any, dict[str, Any]]]:
    """Return what opens the objects that a comparison wrote, as data and keywords of ``Labels``.

    Parameters
    ----------
    store
        That it wrote.
    predicted
        In which they were found; where its pixels lie now, so do theirs.
    kind
        ``"nuclei"`` or ``"cells"``.

    Returns
    -------
    callable
        To be called in a thread: it reads files.
    """
    place = place_of(predicted)

    def opened() -> tuple[Any, dict[str, Any]]:
        from napari.utils.colormaps import DirectLabelColormap

        image = open_image(store).select([labels_channel(kind)])
        keep, keywords = placement(image)
        index = tuple(slice(None) if axis in keep else 0 for axis in "tzyx")
        colours: dict[int | None, str] = {None: "transparent", 0: "transparent"}
        colours |= dict(enumerate(KIND_COLOURS.values(), start=1))
        colours[1] = f"{KIND_COLOURS['matched']}{_FAINT}"
        return image.data[:, 0][index], {
            **place.apply(keywords),
            "name": f"{kind} compared",
            "colormap": DirectLabelColormap(color_dict=colours),
            "opacity": 0.6,
        }

    return opened
