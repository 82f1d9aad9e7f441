"""Sample images for *File > Open Sample*."""

from __future__ import annotations

import dask.array as da

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.napari_io.layers import BELOW, STAINED, LayerData, image_layers
from napari_virtualstain.simulate import demo_settings, simulate_field

__all__ = ["demo_field"]


def demo_field() -> list[LayerData]:
    """Return the demo field: three bright-field planes, and five true stains over them."""
    settings, seed = demo_settings()
    field = simulate_field(settings, seed=seed)
    y_um, x_um = settings.pixel_yx_um
    offsets = field.focus_offsets_um
    below = LazyImage(
        data=da.from_array(field.brightfield[:, None]),
        channels=(Channel("Brightfield", "transmitted"),),
        pixel_size_um=PixelSize(offsets[1] - offsets[0], y_um, x_um),
        origin_um=(offsets[0], 0.0, 0.0),
        z_positions_um=offsets,
        axes="zyx",
    )
    above = LazyImage(
        data=da.from_array(field.stains[:, :, None]),
        channels=tuple(Channel(name, "fluorescence") for name in field.stain_names),
        pixel_size_um=PixelSize(None, y_um, x_um),
        axes="cyx",
    )
    return [*image_layers(below, opacity=BELOW), *image_layers(above, opacity=STAINED)]
