"""A small plate under uneven light, written as one file a plane."""

from __future__ import annotations

import numpy as np
import tifffile

from napari_virtualstain.simulate.camera import shading

PATTERN = "{well}_{site}_z{z}.tif"
SHAPE = (96, 96)
LIGHT = shading(SHAPE, amplitude=0.3, rng=np.random.default_rng(7))


def write_plate(folder, *, wells=("B03", "B04"), sites=6, planes=3, light=LIGHT, seed=0):
    """Write fields of grain and spots; well by well the lamp is brighter."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for w, well in enumerate(wells):
        for site in range(1, sites + 1):
            scene = rng.normal(1000, 40, SHAPE)
            for y, x in rng.integers(0, 90, (8, 2)):
                scene[y : y + 6, x : x + 6] -= 250
            for z in range(planes):
                pixels = scene * light * (1 + 0.5 * w) * (1 + 0.02 * site) + rng.normal(0, 3, SHAPE)
                tifffile.imwrite(folder / f"{well}_s{site}_z{z}.tif", np.rint(pixels).astype("u2"))
    return folder
