"""Does a classifier that judges make predictions sharper, and at what price?

    python benchmarks/perceptual.py [--steps 400] [--judge-steps 200] [--weights 0,0.3,1]

A U-Net learns simulated fields with the pixel loss alone, and with a classifier of structures
beside it (`train --perceptual`). Fields that taught nobody are then stained, and judged by the
pixels, and by *another* classifier, trained from another seed. Writes
``docs/benchmarks/perceptual.md``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from _report import machine, table, write
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_virtualstain.datasets.pairs import PairedField, gather_statistics
from napari_virtualstain.encoders.given import normalisations_for
from napari_virtualstain.encoders.package import EncoderModel, load_encoder_package
from napari_virtualstain.encoders.perceptual import Perceptual
from napari_virtualstain.generators.package import load_package
from napari_virtualstain.intensity import Rule
from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
from napari_virtualstain.jobs.train import run as train
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.metrics.pixel import mse, pearson
from napari_virtualstain.simulate import STAINS, FieldSettings, SimulatedField, simulate_field

TEACH, HELD = 20, 6
CARD = {
    "name": "m", "pixel_size_um": 0.6, "input_channel": "Brightfield",
    "z_offsets_um": (-4.0, 0.0, 4.0), "data": "simulated fields",
}  # fmt: skip
Pixels = NDArray[np.float32]


def field(seed: int) -> SimulatedField:
    return simulate_field(FieldSettings(shape_px=(192, 192), n_cells=14), seed=seed)


def judge(place: Path, seed: int, steps: int) -> EncoderModel:
    train(
        TrainSettings(
            out=str(place), recipe="structure", fields=12, patch=64, steps=steps, seed=seed,
            validate_every=steps, device="cpu",
        )
    )  # fmt: skip
    return load_encoder_package(place)


def distances(judge: EncoderModel, prediction: Pixels, truth: Pixels) -> NDArray[np.float64]:
    """Return distances, and those of the truth from itself turned round, by stain: (2, C)."""
    seen = []
    for picture in (prediction, truth):
        statistics = gather_statistics([picture], quantiles=judge.card.input_rule.quantiles)
        norms = normalisations_for(judge.card, STAINS, statistics)
        seen.append(np.stack([n.apply(p) for n, p in zip(norms, picture, strict=True)])[None])
    _, distance, misplaced = Perceptual(judge, STAINS).numbers(seen[0], seen[1], device="cpu")
    return np.concatenate([distance, misplaced])


def steepness(picture: Pixels) -> NDArray[np.float64]:
    """Return the mean difference of neighbours, by stain."""
    steps: NDArray[np.float64] = np.abs(np.diff(picture, axis=-1)).mean((1, 2))
    return steps


def stained(model: Path, seen: SimulatedField) -> Pixels:
    package = load_package(model)
    planes = np.asarray(seen.brightfield[0])
    rule = Rule()
    norms = [rule.fit(s, what="a plane") for s in gather_statistics([planes])]
    given = np.stack([n.apply(p) for n, p in zip(norms, planes, strict=True)])
    made = package.generator.predict(given[None])[0]
    return np.stack(
        [s.normalisation.invert(p) for s, p in zip(package.card.stains, made, strict=True)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--judge-steps", type=int, default=200)
    parser.add_argument("--weights", default="0,0.3,1")
    options = parser.parse_args()
    weights = [float(word) for word in options.weights.split(",")]
    teach, held = [field(n) for n in range(TEACH)], [field(n) for n in range(TEACH, TEACH + HELD)]
    data = FieldData(
        fields=tuple(
            PairedField(f"field {n}", f.brightfield[0], f.stains[0]) for n, f in enumerate(teach)
        ),
        stains=STAINS, card=CARD,
    )  # fmt: skip
    truths = [np.asarray(f.stains[0], np.float32) for f in held]
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        judge(place / "judge", 0, options.judge_steps)
        other = judge(place / "other", 1, options.judge_steps)
        print("judges are trained", flush=True)

        def row(name: str, pictures: list[Pixels], seconds: float | None) -> None:
            pairs = list(zip(pictures, truths, strict=True))
            each = np.mean([distances(other, p, t) for p, t in pairs], axis=0)
            pcc = np.mean([[pearson(a, b) for a, b in zip(p, t, strict=True)] for p, t in pairs], 0)
            error = np.mean(
                [mse(a, b) / b.var() for p, t in pairs for a, b in zip(p, t, strict=True)]
            )
            sharp = np.mean([steepness(p) / steepness(t) for p, t in pairs], axis=0)
            rows.append(
                (
                    name, f"{pcc.mean():.3f}", f"{pcc[3:].mean():.3f}", f"{error:.3f}",
                    f"{each[0].mean():.3f}", f"{each[0][3:].mean():.3f}", f"{sharp[3:].mean():.2f}",
                    "" if seconds is None else f"{seconds:.0f}",
                )
            )  # fmt: skip
            print(rows[-1], flush=True)

        for weight in weights:
            out = place / f"weight {weight}"
            told = {"perceptual": str(place / "judge"), "perceptual_weight": weight}
            began = time.monotonic()
            train_on_fields(
                data,
                TrainSettings(
                    out=str(out), preset="little", steps=options.steps, batch=6, patch=96,
                    validate_every=100, learning_rate=2e-3, device="cpu", seed=1,
                    **(told if weight else {}),
                ),
            )  # fmt: skip
            name = f"weight {weight:g}" if weight else "pixel loss alone"
            row(name, [stained(out, f) for f in held], time.monotonic() - began)
        for sigma in (1.0, 2.0):
            blurred = [np.stack([gaussian_filter(p, sigma) for p in t]) for t in truths]
            row(f"the truth, blurred by {sigma:g} px", blurred, None)
        row("the truth, moved by 1 px", [np.roll(t, (1, 1), (1, 2)) for t in truths], None)
        turned = np.mean([distances(other, t, t)[1] for t in truths])
    header = (
        "stains", "PCC", "PCC of AGP, Mito", "MSE over variance", "features",
        "features of AGP, Mito", "steepness of AGP, Mito over that of the truth", "training (s)",
    )  # fmt: skip
    write(
        "perceptual.md",
        f"""# Does a classifier that judges make predictions sharper?

Written by `python benchmarks/perceptual.py --steps {options.steps} --judge-steps {options.judge_steps} --weights {options.weights}`.
A U-Net (`little`) learns five stains of {TEACH} simulated fields of 192 x 192 px, with the pixel loss alone and with a
[classifier of structures](../encoders.md#train-towards-features) beside it. {HELD} fields that taught nobody are judged by *another* classifier, trained from
another seed: *features* is its distance from the truth, 0 for the same picture; the truth from itself turned round has {turned:.2f}. Steepness is the mean
difference of neighbouring pixels. One seed: differences of a hundredth mean nothing.

{table(header, rows)}

{machine()}.
""",
    )


if __name__ == "__main__":
    main()
