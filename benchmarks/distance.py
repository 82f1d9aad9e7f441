"""Does the distance from the training data see conditions that were not trained on, and does it go with the error?

    python benchmarks/distance.py [--taught 60] [--fields 24] [--keep FOLDER] [--dry]

An index of the demo model is made of fields that taught it. Reported are held-out fields of the simulator that nobody looked at while
the index was written, and the same under other conditions (those of `qc.NATURAL`), as `qc` judges them. Writes
``docs/benchmarks/distance.md``; with ``--dry`` it only prints.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from _report import table, write
from scipy import stats

from napari_virtualstain.datasets.pairs import PairedField, PairedSet, pair_up
from napari_virtualstain.embedding.familiar import TrainingIndex, block_numbers
from napari_virtualstain.embedding.index_file import index_bytes
from napari_virtualstain.inference.deepest import PatchReader, patch_reader
from napari_virtualstain.intensity import Rule
from napari_virtualstain.jobs.index_patches import PatchGrid, index_of_pairs
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.simulate import (
    STAINS,
    held_out_settings,
    simulate_field,
    training_settings,
)
from napari_virtualstain.zoo import load_generator
from qc import ALARMS, FIRST, NATURAL, interval, simulated, unlike

TAUGHT = 228
"""Fields that taught the demo model, of the 240 of its recipe."""
UNSEEN = FIRST + 7000
"""Held-out fields from here on were not looked at while the distance was written."""


def paired(fields: list[PairedField], model) -> PairedSet:
    card = model.card
    return pair_up(
        fields, input_rule=card.input_rule, output_rule=Rule(clip_sd=None), stain_names=STAINS,
        typical_contrast=[plane.typical_contrast for plane in card.inputs],
    )  # fmt: skip


def taught(count: int) -> list[PairedField]:
    """Return some of the fields that taught, spread over all."""
    found = []
    for index in np.linspace(0, TAUGHT - 1, count).round().astype(int):
        settings, seed = training_settings(int(index))
        made = simulate_field(settings, seed=seed)
        found.append(PairedField(f"simulated {seed}", made.brightfield[0], made.stains[0]))
    return found


def over_limit(
    planes: np.ndarray, truth: np.ndarray, model, reader: PatchReader, index: TrainingIndex
) -> float:
    """Return the score of a field: the larger of its two numbers over their limits."""
    pairs = paired([PairedField("f", planes, truth)], model)
    grid = PatchGrid(planes.shape[1:], reader.edge)
    whole, _ = pairs.read(0, (slice(None), slice(None)))
    edge = reader.edge
    patches = np.stack([whole[:, y : y + edge, x : x + edge] for y, x in grid.places])
    blocks = block_numbers(grid.places, grid.shape, edge)
    return max(index.over_limits(index.of_field(reader.read(patches), blocks)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--taught", type=int, default=60)
    parser.add_argument("--fields", type=int, default=24)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--dry", action="store_true")
    args = parser.parse_args()
    began = time.monotonic()
    model = load_generator("demo")
    index = index_of_pairs(
        model.generator, paired(taught(args.taught), model), None, name="demo",
        weights=model.card.files["weights.safetensors"], stains=STAINS, alarms=ALARMS,
    )  # fmt: skip
    reader = patch_reader(model.generator)
    print(f"index of {index.fitted} fields, {len(index_bytes(index)) / 1e6:.2f} MB", flush=True)
    scores: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    brighter = []
    for name, changes in NATURAL.items():
        for n in range(args.fields):
            settings, seed = held_out_settings(UNSEEN + n)
            made = simulated(unlike(settings, changes), seed, args.keep)
            field = made.fields[0]
            assert field.planes is not None
            scores.setdefault(name, []).append(
                over_limit(field.planes, made.truth, model, reader, index)
            )
            if not changes:
                lit = over_limit(1.5 * field.planes, made.truth, model, reader, index)
                brighter.append(abs(lit - scores[name][-1]))
            pcc = [pearson(p, t) for p, t in zip(field.stains.values(), made.truth, strict=True)]
            if np.isfinite(pcc).all() and "n_cells" not in changes:
                errors.setdefault(name, []).append(float(np.mean(pcc)))
        print(f"{name}: {np.median(scores[name]):.2f} {time.monotonic() - began:.0f} s", flush=True)
    good = np.array(next(iter(scores.values())))
    rows = []
    for name, own in scores.items():
        bad = np.array(own)
        area = "" if bad is good or name == next(iter(scores)) else interval(good, bad, 1.0)[0]
        pcc = f"{np.mean(errors[name]):.3f}" if name in errors else ""
        rows.append([name, area, f"{np.median(bad):.2f}", f"{(bad > 1).mean():.0%}", pcc])
        print(*rows[-1], sep=" | ", flush=True)
    known = [(s, e) for name in errors for s, e in zip(scores[name], errors[name], strict=True)]
    rho = float(stats.spearmanr(*zip(*known, strict=True)).statistic)
    inside = [(s, e) for s, e in zip(good, errors[next(iter(errors))], strict=True)]
    within = float(stats.spearmanr(*zip(*inside, strict=True)).statistic)
    low = [e for s, e in known if s <= 1]
    beyond = [e for s, e in known if s > 1]
    said = (
        f"Over all of these fields, the score and the mean PCC of the five stains go together by Spearman {rho:+.2f}; over the undamaged ones alone by {within:+.2f}. "
        f"Mean PCC of the {len(low)} fields below the limit {np.mean(low):.3f}, of the {len(beyond)} above {np.mean(beyond):.3f}. "
        f"A lamp that is half as bright again changes the score of an undamaged field by {max(brighter):.3f} at most."
    )
    print(said)
    if args.dry:
        return
    parts = [
        "# Distance from the training data",
        (f"Written by `python benchmarks/distance.py`. The index is of {index.fitted} of the simulated fields that taught the demo model; "
        f"{args.fields} held-out fields each (512 x 512 px, seeds from {100_000 + UNSEEN}), which nobody looked at while the distance was written, as they are and under conditions outside of those of the training. "
        "The score is the larger of the two numbers of the [check](../qc.md#distance-from-the-training-data) over their limits. AUROC against the fields as they are, with 95 % intervals over fields; "
        f"*flagged* is beyond the limit, which asks for {ALARMS:.0%} of good fields; *PCC* is the mean of the five stains."),
        table(("condition", "AUROC", "median score", "flagged", "PCC"), rows),
        said,
        "What the table does not say: simulated fields differ from each other by what the simulator varies, and real ones by more. Make an index of your own images, and look at what it says of wells that you have a true stain of.",
    ]  # fmt: skip
    write("distance.md", "\n\n".join(parts))


if __name__ == "__main__":
    main()
