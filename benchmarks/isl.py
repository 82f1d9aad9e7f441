"""Real neurons: 13 planes of phase contrast to DAPI and MAP2, three quadrants to the fourth.

Data: the in-silico-labeling field of Christiansen et al. 2018
(doi:10.1016/j.cell.2018.03.040), CC-BY-4.0. Training pixels keep 64 px away from
the test quadrant. Run: ``python benchmarks/isl.py --data FOLDER``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from _report import data_root, machine, peak_memory_mb, table, write

from napari_virtualstain import open_image
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.metrics.floor import linear_floor
from napari_virtualstain.metrics.pixel import mae, pearson, psnr
from napari_virtualstain.metrics.structure import ssim

STAINS = ("DAPI_CONFOCAL", "MAP2_CONFOCAL")
NAMES = ("DAPI", "MAP2")
GUARD = 64
PIXEL_UM = 1.0  # not in the files; only names the grid
CORNERS = {"top left": (0, 0), "top right": (0, 1), "bottom left": (1, 0), "bottom right": (1, 1)}


def training_parts(corner: tuple[int, int], size: int) -> list[tuple[slice, slice]]:
    """Return two rectangles that cover all but the test quadrant and its guard band."""
    half = size // 2
    row, column = corner
    # The half of the rows that the test quadrant is not in, over the whole width ...
    rows = slice(0, half - GUARD) if row else slice(half + GUARD, size)
    # ... and beside the test quadrant, over the other rows.
    beside = slice(half - GUARD, size) if row else slice(0, half + GUARD)
    columns = slice(0, half - GUARD) if column else slice(half + GUARD, size)
    return [(rows, slice(0, size)), (beside, columns)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of real images")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--folds", default="bottom right", help="comma-separated, or 'all'")
    options = parser.parse_args()
    folder = data_root(options.data) / "isl_neurons"
    phase = open_image(folder, channels=["PHASE_CONTRAST"])
    truth = open_image(folder, channels=list(STAINS)).select(STAINS)
    size = phase.shape[3]
    half = size // 2
    folds = list(CORNERS) if options.folds == "all" else options.folds.split(",")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for fold in folds:
            corner = CORNERS[fold.strip()]
            fields = [
                PairedField(
                    f"part {i}",
                    phase.crop(*part).data[0, 0].compute(),
                    truth.crop(*part).data[0, :, 0].compute(),
                )
                for i, part in enumerate(training_parts(corner, size))
            ]
            model = Path(scratch) / fold.replace(" ", "_")
            settings = TrainSettings(
                out=str(model), steps=options.steps, validation=0, loss="l1", patch=128, batch=8,
                learning_rate=2e-3, precision="bf16", validate_every=options.steps,
            )  # fmt: skip
            card = {
                "name": "isl", "pixel_size_um": PIXEL_UM, "input_channel": "Phase contrast",
                "z_offsets_um": (None,) * phase.shape[2], "data": "isl_neurons, CC-BY-4.0",
            }  # fmt: skip
            began = time.monotonic()
            train_on_fields(FieldData(fields=fields, stains=NAMES, card=card), settings)
            seconds = time.monotonic() - began
            place = [slice(k * half, (k + 1) * half) for k in corner]
            test = phase.crop(*place)
            out = Path(scratch) / f"{model.name}.ome.zarr"
            stain.run(
                stain.StainSettings(
                    input=str(folder), model=str(model), out=str(out), tile=256,
                    pixel_size=PIXEL_UM, channel=phase.channel_names[0],
                ),
                image=test,
            )  # fmt: skip
            predicted = open_image(out)
            planes = test.data[0, 0].compute().astype(float)
            for c, name in enumerate(NAMES):
                p = predicted.data[0, c, 0].compute()
                t = truth.crop(*place).data[0, c, 0].compute().astype(np.float32)
                rows.append(
                    (
                        fold, name, f"{pearson(p, t):.3f}", f"{linear_floor(planes, t):.3f}",
                        f"{ssim(p, t):.3f}", f"{psnr(p, t):.2f}", f"{mae(p, t):.0f}",
                        f"{mae(np.full_like(t, np.median(t)), t):.0f}", f"{seconds:.0f}",
                    )
                )  # fmt: skip
    header = (
        "test quadrant", "stain", "PCC", "floor PCC", "SSIM", "PSNR (dB)", "MAE (counts)",
        "MAE of a flat image", "training (s)",
    )  # fmt: skip
    write(
        "isl.md",
        f"""# Real neurons: phase contrast to DAPI and MAP2

Written by `python benchmarks/isl.py --data FOLDER --steps {options.steps} --folds "{options.folds}"`.
One 1024 x 1024 px field of human iPSC-derived neurons (Christiansen et al. 2018,
doi:10.1016/j.cell.2018.03.040, CC-BY-4.0): 13 planes of phase contrast to confocal DAPI and MAP2.
Trained on three quadrants, tested on the fourth; training pixels keep {GUARD} px away from it.
U-Net `small` (1.9 M parameters), L1, {options.steps} steps of 8 patches of 128 px, no validation set, so that
nothing was chosen by looking at the test quadrant.

{table(header, rows)}

*Floor*: the best linear combination of the 13 planes in 3 x 3 px neighbourhoods, fitted to the
test quadrant's own truth. Where the MAE is larger than that of a flat image (a quadrant with few cells),
the structure is found and the grey values are not: each image is z-scored by itself, which loses how full
it is, and the correlation does not tell. One field is no proof that a model would work on another plate.

{machine()}; peak memory {peak_memory_mb():.0f} MB.
""",
    )


if __name__ == "__main__":
    main()
