"""Real single cells: bright field to DNA content in imaging flow cytometry.

Data: Jurkat cells, propidium iodide (Blasi et al. 2016,
doi:10.1038/ncomms10256), BSD-3, as montages of 40 x 40 px cells. Within a cell
every blob correlates with every other, so that the score is not PCC but the
absolute error, and the DNA content summed over each cell.
Run: ``python benchmarks/jurkat.py --data FOLDER``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from _report import data_root, machine, peak_memory_mb, table, write
from numpy.typing import NDArray

from napari_virtualstain import build_generator
from napari_virtualstain.datasets.pairs import PairedField, PairedSet, gather_statistics
from napari_virtualstain.intensity import Rule
from napari_virtualstain.jobs.known_sets import single_cells
from napari_virtualstain.training.painting import fit
from napari_virtualstain.training.settings import LoopSettings

EDGE = 40
SEED = 0


def least_squares(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    design = np.column_stack([x, np.ones(len(x))])
    return np.linalg.lstsq(design, y, rcond=None)[0]


def simple_features(bright: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what needs no network: mean, SD, extremes and area of each cell."""
    flat = bright.reshape(len(bright), -1).astype(float)
    away = np.abs(flat - np.median(flat, axis=1, keepdims=True))
    area = (away > 2 * np.median(away)).sum(axis=1)
    return np.column_stack([flat.mean(1), flat.std(1), flat.min(1), flat.max(1), area])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of real images")
    parser.add_argument("--steps", type=int, default=2500)
    options = parser.parse_args()
    folder = data_root(options.data) / "jurkat_ifc" / "Experiment_1"
    bright, dna, phases = single_cells(folder)
    bright, dna = bright.astype(np.float32), dna.astype(np.float32)
    order = np.random.default_rng(SEED).permutation(len(bright))
    test, teach = order[: len(order) // 5], order[len(order) // 5 :]
    fields = tuple(PairedField(f"cell {i}", bright[i][None], dna[i][None]) for i in teach)
    # One normalisation for the whole set: cells of one run are comparable in grey values.
    below = Rule().fit(gather_statistics(f.planes for f in fields)[0], what="bright field")
    above = Rule(clip_sd=None).fit(gather_statistics(f.stains for f in fields)[0], what="DNA")
    pairs = PairedSet(fields, ((below,),) * len(fields), (above,))
    generator = build_generator(
        "unet",
        in_channels=1,
        out_channels=1,
        architecture={"depth": 4, "width": 16, "norm": "batch"},
    )
    settings = LoopSettings(
        steps=options.steps, batch=64, patch=EDGE, loss="l1", learning_rate=2e-3,
        validate_every=options.steps, precision="bf16", seed=SEED,
    )  # fmt: skip
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        fit(generator, pairs, settings, folder=Path(scratch), stain_names=("DNA",))
    seconds = time.monotonic() - began
    predicted = np.concatenate(
        [
            above.invert(generator.predict(below.apply(bright[part])[:, None])[:, 0])
            for part in np.array_split(test, 8)
        ]
    )
    truth = dna[test]
    total = truth.sum(axis=(1, 2))
    mean_image = np.broadcast_to(np.median(dna[teach], axis=0), truth.shape)
    weights = least_squares(
        simple_features(bright[teach]), dna[teach].sum(axis=(1, 2)).astype(float)
    )
    guessed = np.column_stack([simple_features(bright[test]), np.ones(len(test))]) @ weights
    span = float(np.percentile(dna[teach], 99.9) - np.percentile(dna[teach], 0.1))

    def score(image: NDArray[np.float32] | None, amount: NDArray[np.float64]) -> tuple[str, ...]:
        l1 = "-" if image is None else f"{np.abs(image - truth).mean():.1f}"
        relative = "-" if image is None else f"{np.abs(image - truth).mean() / span:.4f}"
        spread = amount.std() > 1e-6 * amount.mean()  # a constant has no correlation
        r = f"{np.corrcoef(amount, total)[0, 1]:.3f}" if spread else "-"
        off = f"{np.abs(amount - total).mean() / total.mean():.1%}"
        return l1, relative, r, off

    rows = [
        ("U-Net (0.5 M parameters)", *score(predicted, predicted.sum(axis=(1, 2)))),
        ("the median cell, always", *score(mean_image, np.full(len(test), mean_image[0].sum()))),
        ("linear in mean, SD, min, max, area", *score(None, guessed)),
    ]
    by_phase = []
    names = np.array(phases)[test]
    for name in sorted(set(phases)):
        part = names == name
        by_phase.append(
            (
                name, int(part.sum()), f"{total[part].mean():.3g}",
                f"{predicted.sum(axis=(1, 2))[part].mean():.3g}",
            )
        )  # fmt: skip
    header = (
        "method",
        "L1 (counts)",
        "L1 / range",
        "r of DNA per cell",
        "mean error of DNA per cell",
    )
    write(
        "jurkat.md",
        f"""# Real single cells: bright field to DNA

Written by `python benchmarks/jurkat.py --data FOLDER --steps {options.steps}`. {len(bright)} Jurkat cells
(Blasi et al. 2016, doi:10.1038/ncomms10256, BSD-3), 40 x 40 px, bright field to propidium iodide;
{len(teach)} to train on, {len(test)} to test, split by cell (seed {SEED}). All cells are of one run of
the instrument: this says nothing about another day. Range: 0.1 to 99.9 percentile of the training DNA.

{table(header, rows)}

Pearson correlation within a cell is not shown: the same mean image for every cell already reaches
more than 0.9.

{table(("phase", "test cells", "true DNA per cell", "predicted"), by_phase)}

Training {seconds:.0f} s. {machine()}; peak memory {peak_memory_mb():.0f} MB.
""",
    )


if __name__ == "__main__":
    main()
