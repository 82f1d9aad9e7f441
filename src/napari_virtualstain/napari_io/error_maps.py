"""Local SSIM and absolute error as layers, where the prediction lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.compare_maps import MAPS, map_channel
from napari_virtualstain.napari_io.layer_axes import place_of
from napari_virtualstain.napari_io.layers import placement
from napari_virtualstain.napari_io.source import LayerSource, tagged

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["map_layers"]

_COLOURS = {"SSIM": "viridis", "absolute error": "inferno"}


def map_layers(
    store: Path, predicted: Image, true: Image, stain: str
) -> Callable[[], dict[str, tuple[Any, dict[str, Any]]]]:
    """Return what opens the maps that a comparison wrote, as data and keywords of ``Image``.

    SSIM is shown from 0 to 1, yellow where both are alike; the error from 0 to half the range in
    which the truth is shown, bright where it is large.

    Parameters
    ----------
    store
        That it wrote.
    predicted
        Where its pixels lie, theirs do.
    true
        In whose limits the error is shown.
    stain
        Channel of the prediction.

    Returns
    -------
    callable
        To be called in a thread: it reads files. Its answer is by the kind of the map.
    """
    place = place_of(predicted)
    low, high = (float(v) for v in true.contrast_limits)
    limits = {"SSIM": (0.0, 1.0), "absolute error": (0.0, max((high - low) / 2, 1e-6))}

    def opened() -> dict[str, tuple[Any, dict[str, Any]]]:
        found = {}
        for kind in MAPS:
            image = open_image(store).select([map_channel(kind, stain)])
            keep, keywords = placement(image)
            index = tuple(slice(None) if axis in keep else 0 for axis in "tzyx")
            found[kind] = (
                image.data[:, 0][index],
                {
                    **place.apply(keywords),
                    "name": f"{stain} {'SSIM map' if kind == 'SSIM' else kind}",
                    "colormap": _COLOURS[kind],
                    "contrast_limits": limits[kind],
                    "blending": "translucent",
                    "visible": False,
                    "metadata": tagged({}, LayerSource(role="other")),
                },
            )
        return found

    return opened
