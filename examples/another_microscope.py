"""Simulate a microscope that the bundled model has never seen, as pairs to tune it on.

    python examples/another_microscope.py other --fields 6

Writes other/brightfield/field1.ome.zarr, other/stains/field1.ome.zarr, and so on: pairs that
belong together by their names. Focus, lamp, condenser and noise differ from those of the fields
that taught the model, and the camera of the stains counts 2.5 times as much, and 300 more.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_virtualstain import simulate_field
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.simulate import FieldSettings

GAIN, OFFSET = 2.5, 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fields", type=int, default=6)
    parser.add_argument("--size", type=int, default=256, help="edge of a field in pixels")
    options = parser.parse_args()
    settings = FieldSettings(
        shape_px=(options.size, options.size),
        focus_error_um=2.0, illumination=0.35, condenser_na=0.15, noise=2.5,
    )  # fmt: skip
    for number in range(1, options.fields + 1):
        field = simulate_field(settings, seed=900 + number)
        other = np.rint(GAIN * field.stains + OFFSET).clip(0, 65535).astype(np.uint16)
        name = f"field{number}.ome.zarr"
        stores = {kind: options.folder / kind / name for kind in ("brightfield", "stains")}
        write_field(replace(field, stains=other), options.folder, only=stores, overwrite=True)
        print(f"{name}: {settings.shape_px[0]} px, {len(field.stain_names)} stains")


if __name__ == "__main__":
    main()
