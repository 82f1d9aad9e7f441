"""How good are the starter models on what they were not taught?

    python benchmarks/starter.py --data FOLDER

Each bundled model of real cells is examined on the fields that its training held back (``train
--recipe unet --data … --validation …`` with the seed in its card), beside a linear regression on
the planes that is fitted to the very truth it is judged by. Writes ``docs/benchmarks/starter.md``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from _report import data_root, machine, table, write
from systems import linear

from napari_virtualstain.datasets.pairs import pair_up
from napari_virtualstain.datasets.split import split_by_group
from napari_virtualstain.intensity import Rule
from napari_virtualstain.jobs.known_sets import open_known
from napari_virtualstain.metrics.pixel import mae, pearson
from napari_virtualstain.zoo import find_model, load_generator


@dataclass(frozen=True)
class Starter:
    """A bundled model, what it learnt from, and which share was held back."""

    model: str
    folder: str
    validation: float


STARTERS = (
    Starter("isl-neurons", "isl_neurons", 0.25),
    Starter("jurkat-dna", "jurkat_ifc", 0.2),
    Starter("ecoli-membrane", "ecoli_bf", 0.2),
)


def examined(starter: Starter, folder: Any) -> list[tuple[str, ...]]:
    model = load_generator(starter.model)
    data = open_known(str(folder / starter.folder))
    card = model.card
    groups = [field.group or field.name for field in data.fields]
    _, held = split_by_group(groups, validation=starter.validation, seed=card.training.seed)
    if len(held) != card.training.n_validation_fields:
        raise SystemExit(f"error: {starter.model} held other fields back. Train it again.")
    fields = [data.fields[n] for n in held]
    outputs = [stain.normalisation for stain in card.stains]
    pairs = pair_up(
        fields, input_rule=card.input_rule, output_rule=Rule(kind="zscore", clip_sd=None),
        stain_names=data.stains, outputs=outputs,
        typical_contrast=[plane.typical_contrast for plane in card.inputs],
    )  # fmt: skip
    began = time.perf_counter()
    got = []
    for n, field in enumerate(fields):
        planes, _ = pairs.read(n, tuple(slice(0, size) for size in field.shape))
        stride = model.generator.multiple_of
        edges = [size // stride * stride for size in field.shape]
        stains = model.generator.predict(planes[None, :, : edges[0], : edges[1]])[0]
        got.append(np.stack([o.invert(s) for o, s in zip(outputs, stains, strict=True)]))
    each = (time.perf_counter() - began) / len(fields)
    size = (find_model(starter.model) / "weights.safetensors").stat().st_size / 1e6
    rows = []
    for c, stain in enumerate(card.stains):
        truths = [
            np.asarray(f.stains[c], np.float32)[: p.shape[1], : p.shape[2]]
            for f, p in zip(fields, got, strict=True)
        ]
        guesses = [p[c] for p in got]
        spread = float(np.std(np.concatenate([t.ravel() for t in truths])))
        middle = float(np.median(np.concatenate([t.ravel() for t in truths])))
        amounts = [np.array([one.sum() for one in some]) for some in (guesses, truths)]
        whole = f"{pearson(*amounts):.3f}" if len(fields) > 2 else "-"
        floor = np.mean(
            [
                pearson(linear(np.asarray(f.planes)[:, : t.shape[0], : t.shape[1]], t), t)
                for f, t in zip(fields, truths, strict=True)
            ]
        )
        rows.append(
            (
                card.name, stain.name, f"{len(held)} of {len(data.fields)}",
                f"{np.mean([pearson(p, t) for p, t in zip(guesses, truths, strict=True)]):.3f}",
                f"{floor:.3f}", whole,
                f"{np.mean([mae(p, t) for p, t in zip(guesses, truths, strict=True)]) / spread:.3f}",
                f"{np.mean([mae(np.full_like(t, middle), t) for t in truths]) / spread:.3f}",
                f"{card.training.steps}", f"{size:.1f}", f"{each:.2f}",
            )
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of real images")
    folder = data_root(parser.parse_args().data)
    rows = [row for starter in STARTERS for row in examined(starter, folder)]
    header = (
        "model", "stain", "held-out fields", "PCC", "floor PCC", "r of the sum of a field", "MAE (SD)",
        "MAE of a flat image (SD)", "steps", "weights (MB)", "s a field",
    )  # fmt: skip
    write(
        "starter.md",
        f"""# How good are the starter models on what they were not taught?

Written by `python benchmarks/starter.py --data FOLDER`. Means over the fields that each training held back; the weights
that did best on these very fields were kept (of six to ten times that they were looked at), so that fields of your own
will look worse, and fields of another microscope much worse. *Floor*: a linear regression on the planes, pixel by pixel,
fitted to the truth it is judged by. SD: of the truth.

{table(header, rows)}

- `isl-neurons`: one quadrant of the one field was held back, 64 px away from the others: no other culture, plate or day.
- `jurkat-dna`: cells of 40 x 40 px. The PCC says nothing here: the same mean image for every cell reaches more than 0.9.
  Look at the correlation of the sums, the DNA of a cell, and at the MAE.
- `ecoli-membrane`: whole fields were held back, of the same series.

{machine()}.
""",
    )


if __name__ == "__main__":
    main()
