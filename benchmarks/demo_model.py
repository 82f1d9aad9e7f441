"""How much of what can be had the demo model has, on fields unlike those it was trained on.

    python benchmarks/demo_model.py

stains held-out simulated fields (other seeds, densities and phenotypes than in
training) through the same job as the command line, and writes
``docs/benchmarks/demo_model.md``. Floor and ceiling are those of the very fields
that are stained, with the predictors of ``benchmarks/simulator.py``, which know
nothing of the model. The fields begin at number 100: the first ones were looked
at while the simulator was built.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from _report import machine, peak_memory_mb, table, write
from simulator import REGIONS, fit_floors, foreground, score_field, summarise

from napari_virtualstain import load_generator, open_image
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.simulate import (
    STAINS,
    FieldSettings,
    SimulatedField,
    demo_settings,
    fingerprint,
    held_out_settings,
    simulate_field,
    training_settings,
)

FIRST = 100
FITTED = 36


def score(field: SimulatedField, model: str, scratch: Path) -> tuple[dict[str, list[float]], float]:
    """Stain one field; return PCC by region and stain, and seconds."""
    place = scratch / str(field.seed)
    write_field(field, place)
    began = time.monotonic()
    job = stain.StainSettings(
        input=str(place / "brightfield.ome.zarr"), model=model, out=str(place / "out.ome.zarr")
    )
    stain.run(job)
    seconds = time.monotonic() - began
    predicted = open_image(place / "out.ome.zarr").data[0, :, 0].compute()
    masks = {"whole": np.ones(predicted.shape[1:], bool), "foreground": foreground(field)}
    found = {
        region: [pearson(p[mask], t[mask]) for p, t in zip(predicted, field.stains[0], strict=True)]
        for region, mask in masks.items()
    }
    return found, seconds


def made(recipe: tuple[FieldSettings, int]) -> SimulatedField:
    settings, seed = recipe
    return simulate_field(settings, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--fields", type=int, default=18)
    options = parser.parse_args()
    card = load_generator(options.model).card
    floors = fit_floors([made(training_settings(i)) for i in range(FITTED)])
    runs, limits = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(options.fields):
            field = made(held_out_settings(FIRST + i))
            runs.append(score(field, options.model, Path(scratch)))
            limits.append(score_field(floors, field))
        demo, _ = score(made(demo_settings()), options.model, Path(scratch))
    known = summarise(limits)
    blocks = []
    for region in REGIONS:
        floor, ceiling = (known[region][k] for k in ("floor", "ceiling"))
        values = np.array([found[region] for found, _ in runs])
        rows, closed = [], []
        for c, name in enumerate(STAINS):
            mean = float(values[:, c].mean())
            closed.append((mean - floor[name]) / (ceiling[name] - floor[name]))
            rows.append(
                (
                    name, f"{floor[name]:.3f}", f"{mean:.3f} ± {values[:, c].std():.3f}",
                    f"{values[:, c].min():.3f}", f"{ceiling[name]:.3f}", f"{closed[-1]:.0%}",
                    f"{demo[region][c]:.3f}",
                )
            )  # fmt: skip
        header = (
            "stain",
            "floor",
            "PCC, mean ± SD",
            "worst field",
            "ceiling",
            "gap closed",
            "demo field",
        )
        blocks.append(
            f"## {'Whole field' if region == 'whole' else 'Foreground (cells, dilated by 4 px)'}\n\n"
            f"{table(header, rows)}\n\nGap closed, mean over stains: **{np.mean(closed):.0%}**, "
            f"least: **{min(closed):.0%}**."
        )
    training = card.training
    body = "\n\n".join(blocks)
    write(
        "demo_model.md",
        f"""# What the demo model learnt

Written by `python benchmarks/demo_model.py`. Pearson correlation (PCC) of prediction and camera image on
{options.fields} held-out fields of the simulator: seeds from {100_000 + FIRST}, densities and phenotypes outside the
training ranges, none of them looked at before. *Gap closed* is (PCC - floor) / (ceiling - floor). The floor is the best
predictor without context (a linear filter bank of 31 x 31 px, or a 3 x 3 px CNN), fitted on {FITTED} training fields and
measured on the same held-out fields; the ceiling is the noise-free stain. How hard the simulator is was recorded in
[simulator.md](simulator.md) before the model was trained.

{body}

## Provenance

- Model `{card.name}`: {training.n_fields} training fields, {training.n_validation_fields} validation fields,
  {training.steps} steps, loss {training.loss}, seed {training.seed}. Made by `virtualstain train --recipe demo`.
- Simulator `{fingerprint()}`.
- {np.median([s for _, s in runs]):.1f} s a field of 512 x 512 px (median; model loaded and checked each time).
- {machine()}; peak memory {peak_memory_mb():.0f} MB.
""",
    )


if __name__ == "__main__":
    main()
