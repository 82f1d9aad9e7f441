"""A prediction beside the truth, as layers.

Left, the predicted channels over the bright field; right, the true ones. Each
pair shares contrast limits, so that equal brightness means equal counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_virtualstain.io.open import open_image
from napari_virtualstain.napari_io.layers import BELOW, STAINED, channel_limits, image_layers

if TYPE_CHECKING:
    import napari

__all__ = ["PREDICTED", "TRUE", "add_comparison"]

_GAP = 0.03
"""Between the two pictures, as a share of their width."""
PREDICTED, TRUE = " (predicted)", " (true)"
"""Behind the names of the channels."""


def add_comparison(
    viewer: napari.Viewer, brightfield: Path, prediction: Path, truth: Path
) -> tuple[str, ...]:
    """Add bright field, predicted channels over it, and true channels beside.

    Parameters
    ----------
    viewer
        To add to.
    brightfield, prediction, truth
        Stores of the same field; channels are paired by name.

    Returns
    -------
    tuple
        Names of the stains that have a pair.
    """
    below, predicted, true = (open_image(path) for path in (brightfield, prediction, truth))
    x_um = predicted.pixel_size_um.scale()[2]
    shift = predicted.shape[4] * x_um * (1 + _GAP)
    contrast = {
        name: channel_limits(true, true.channel_index(name))
        for name in predicted.channel_names
        if name in true.channel_names
    }
    # The plane in focus: stains lie in one plane.
    focus = (
        int(np.argmin(np.abs(below.z_positions_um)))
        if below.z_positions_um
        else below.shape[2] // 2
    )
    flat = below.select(z=[focus])
    layers = [
        *image_layers(flat, suffix=" (in focus)", brightness=BELOW),
        *image_layers(predicted, suffix=PREDICTED, contrast=contrast, opacity=STAINED),
        *image_layers(
            true.select(list(contrast)),
            suffix=TRUE,
            contrast=contrast,
            opacity=STAINED,
            offset_um=(0, shift),
        ),
    ]
    for pixels, keywords, _ in layers:
        viewer.add_image(np.asarray(pixels), **keywords)
    return tuple(contrast)
