"""Make a model of a checkpoint that others published (here VisCy's), and stain a stack with it.

    python examples/import_published_weights.py FOLDER                           # random weights
    python examples/import_published_weights.py FOLDER --checkpoint VSCyto3D.ckpt

Without a checkpoint one is made that has the names and shapes of VisCy's, a small network, and
random weights: it shows the way, and its stains mean nothing. In a terminal the same is
`virtualstain models import FILE --out NAME`; `virtualstain models download VSCyto3D` fetches the
published weights first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from napari_virtualstain import build_generator, load_generator, open_image, simulate_field, stain
from napari_virtualstain.jobs import models
from napari_virtualstain.simulate import FieldSettings

PIXEL_UM, STEP_UM = 0.6, 2.0


def write_checkpoint(path: Path) -> None:
    """Write a checkpoint as Lightning does, with the keys of VisCy's FCMAE networks."""
    network = build_generator("fcmae", in_channels=1, out_channels=2, preset="tiny", seed=1)
    weights = network.module().state_dict()
    torch.save({"state_dict": {f"model.{name}": w for name, w in weights.items()}}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="takes the model and the stain")
    parser.add_argument("--checkpoint", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = options.checkpoint
    if checkpoint is None:
        checkpoint = options.folder / "random.ckpt"
        write_checkpoint(checkpoint)

    # What the file is follows from its weights; nothing in it is run.
    settings = models.ModelsSettings(
        action="import", file=str(checkpoint), out=str(options.folder / "model"),
        stains=("Nucleus", "Membrane"), pixel_size=PIXEL_UM, overwrite=True,
    )  # fmt: skip
    models.run(settings)
    card = load_generator(options.folder / "model").card
    print(f"{card.imported.format}: takes {card.takes_words}, stains {', '.join(card.stain_names)}")
    for limit in card.limits:
        print(f"not for: {limit}")

    offsets = tuple(STEP_UM * (z - 4) for z in range(9))
    field = simulate_field(FieldSettings(shape_px=(64, 64), focus_offsets_um=offsets), seed=1)
    stack = open_image(field.brightfield[0], axes="zyx", pixel_size_um=PIXEL_UM)
    out = options.folder / "stain.ome.zarr"
    result = stain(
        stack, model=options.folder / "model", out=out, z_step=STEP_UM, resample=True,
        overwrite=True,
    )  # fmt: skip
    print(f"{out}: {result.shape[2]} planes of {', '.join(result.channel_names)}")


if __name__ == "__main__":
    main()
