"""Stain pixels that are in memory, for example from another program.

    python examples/stain_an_array.py demo stain.ome.zarr            # a simulated field
    python examples/stain_an_array.py my-model stain.ome.zarr bf.npy # yours: (z, y, x)

Needs: a model by name or folder. Writes: an OME-Zarr with one channel a stain.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain import LazyImage, load_generator, open_image, simulate_field, stain
from napari_virtualstain.simulate import FieldSettings


def simulated(edge: int = 128) -> NDArray[np.uint16]:
    """Return the bright field of a small simulated field: (z, y, x)."""
    return simulate_field(FieldSettings(shape_px=(edge, edge)), seed=1).brightfield[0]


def run(model: str, out: str, pixels: NDArray[np.generic]) -> LazyImage:
    """Stain an array of z planes and return the result, opened."""
    card = load_generator(model).card
    # An array does not say what its axes are, nor how large its pixels are.
    image = open_image(pixels, axes="zyx", pixel_size_um=card.pixel_size_um)
    return stain(image, model=model, out=out, overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name or folder")
    parser.add_argument("out", help="OME-Zarr to write; replaced if it exists")
    parser.add_argument("array", nargs="?", help=".npy file of shape (z, y, x)")
    options = parser.parse_args()
    pixels = np.load(Path(options.array)) if options.array else simulated()
    result = run(options.model, options.out, pixels)
    print(f"{options.out}: {', '.join(result.channel_names)}, shape (t, c, z, y, x) {result.shape}")
    for index, name in enumerate(result.channel_names):
        # A dask array: nothing is read before compute().
        plane = result.data[0, index, 0].compute()
        print(f"{name:<8} {plane.min():8.1f} to {plane.max():8.1f}")


if __name__ == "__main__":
    main()
