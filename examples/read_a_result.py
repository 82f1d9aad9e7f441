"""Read a stained image and the record of its run, with and without this package.

    python examples/read_a_result.py stain.ome.zarr

The pixels and the record need nothing but zarr; `open_image` adds names, sizes and warnings.
"""

from __future__ import annotations

import argparse

import numpy as np
import zarr

from napari_virtualstain import open_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", help="OME-Zarr that `virtualstain stain` wrote")
    store = parser.parse_args().store

    image = open_image(store)
    print(f"channels: {', '.join(image.channel_names)}")
    print(f"shape (t, c, z, y, x): {image.shape}, pixel size {image.pixel_size_um.yx} µm")
    for guess in image.guesses:  # a store that is not complete says so here
        print(f"please confirm: {guess}")

    # Any program that reads zarr 3 sees the same numbers.
    group = zarr.open_group(store, mode="r")
    finest = group["0"]
    for index, name in enumerate(image.channel_names):
        plane = np.asarray(finest[0, index, 0])
        missing = np.isnan(plane).mean()
        middle = f"{np.nanmedian(plane):.1f}" if missing < 1 else "-"
        print(f"{name:<8} median {middle:>8}, {missing:.0%} missing")

    run = group.attrs["napari_virtualstain"]
    record = run["record"]
    print(f"run: {run['status']}, {run['tiles_done']} of {run['tiles_total']} tiles")
    print(f"model: {record['model']['name']}, fingerprint {record['model']['fingerprint'][:12]}")
    print(f"made {record['created']} on {record['device']}, input {record['settings']['input']}")


if __name__ == "__main__":
    main()
