"""Train a model on pairs of bright field and stains, written as OME-TIFF like your own.

    python examples/train_on_simulated_pairs.py FOLDER

Three simulated fields are written into FOLDER and a network is trained on two of them for a
moment: long enough to see the steps, far too short to be of use. For your own images keep
`train(...)` and leave out `write_pairs`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tifffile

from napari_virtualstain import load_generator, simulate_field, train
from napari_virtualstain.simulate import FieldSettings

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")


def write_pairs(folder: Path, *, fields: int = 3, edge: int = 96) -> tuple[list[str], list[str]]:
    """Write fields as pairs of OME-TIFFs that state axes, channels and pixel size."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs, targets = [], []
    for seed in range(fields):
        field = simulate_field(FieldSettings(shape_px=(edge, edge), n_cells=4), seed=seed)
        y_um, x_um = field.pixel_size_um
        size = {
            "PhysicalSizeY": y_um, "PhysicalSizeYUnit": "µm",
            "PhysicalSizeX": x_um, "PhysicalSizeXUnit": "µm",
        }  # fmt: skip
        names = {"Brightfield": ("ZYX", "Brightfield"), "Stains": ("CYX", list(STAINS))}
        pixels = {"Brightfield": field.brightfield[0], "Stains": field.stains[0]}
        for what, paths in (("Brightfield", inputs), ("Stains", targets)):
            axes, channels = names[what]
            path = folder / f"field{seed}_{what.lower()}.ome.tif"
            metadata = {"axes": axes, "Channel": {"Name": channels}, **size}
            tifffile.imwrite(path, pixels[what], ome=True, metadata=metadata)
            paths.append(str(path))
    return inputs, targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="takes the images and the model")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    inputs, targets = write_pairs(options.folder)
    result = train(
        input=inputs,
        target=targets,
        stains=["DNA", "Mito"],  # of the channels that the targets have
        out=options.folder / "model",
        preset="tiny",  # "small" for real use
        steps=options.steps,
        validate_every=options.steps // 2,
        batch=2,
        patch=32,
        validation=0.3,  # one of three fields examines and does not teach
        overwrite=True,
    )
    card = load_generator(result.out).card
    print(f"{result.out}: {card.training.n_fields} fields taught, {result.steps} steps")
    for name, pcc in result.validation_pcc.items():
        print(f"{name:<6} PCC {pcc:.3f} on a field that it has not seen")


if __name__ == "__main__":
    main()
