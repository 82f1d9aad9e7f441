"""How few steps may a sampler take? Against the full schedule, by more than the correlation.

    python benchmarks/sampling.py --model MODEL [--full 1000] [--draws 8] [--size 96] [--fields 4]
                                  [--device cuda]

A model that draws (``virtualstain train --recipe palette``) stains simulated fields that taught
nobody, by the ancestral sampler with ``--full`` steps, and by quick samplers. A quick sampler is
accepted if the correlation of its mean over draws with the truth is within 0.01, the power in each
octave of spatial frequency within 10 %, and the spread between draws within 10 %, of each stain:
correlation alone rewards the blurred mean. Writes ``docs/benchmarks/sampling.md``.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import numpy as np
from _report import machine, table, write
from numpy.typing import NDArray

from napari_virtualstain.generators.package import Model
from napari_virtualstain.generators.sampled import SampledGenerator, Sampling, draw_sample
from napari_virtualstain.intensity import Rule, StatisticsAccumulator
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.simulate import FieldSettings, simulate_field
from napari_virtualstain.zoo import load_generator

Pixels = NDArray[np.float32]
QUICK = (("dpm++", 8), ("dpm++", 25), ("ddim", 25), ("ddim", 50), ("ddpm", 25), ("ddpm", 100))
FIRST_SEED = 200_000


def given(model: Model, size: int, fields: int) -> tuple[Pixels, Pixels]:
    """Return normalised planes (B, P, Y, X) and stains (B, C, Y, X) of fields never taught."""
    planes, stains = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + fields):
        field = simulate_field(
            FieldSettings(shape_px=(size, size), n_cells=size * size // 2600), seed=seed
        )
        planes.append(np.stack([_zscore(plane) for plane in field.brightfield[0]]))
        stains.append(
            np.stack(
                [
                    stain.normalisation.apply(pixels)
                    for stain, pixels in zip(model.card.stains, field.stains[0], strict=True)
                ]
            )
        )
    return np.stack(planes), np.stack(stains)


def _zscore(plane: Pixels) -> Pixels:
    gather = StatisticsAccumulator()
    gather.add(plane)
    return Rule().fit(gather.result(), what="plane").apply(plane)


def octaves(pixels: Pixels) -> NDArray[np.float64]:
    """Return the mean power in octaves of frequency from 1/32 to 1/2 a pixel, by stain: (C, 4)."""
    power = np.abs(np.fft.fft2(pixels - pixels.mean((-2, -1), keepdims=True))) ** 2
    y, x = (np.fft.fftfreq(n) for n in pixels.shape[-2:])
    radius = np.hypot(y[:, None], x[None, :])
    edges = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
    bands = [power[..., (radius >= a) & (radius < b)].mean(-1) for a, b in pairwise(edges)]
    found = np.stack(bands, axis=-1)
    return found.reshape(-1, *found.shape[-2:]).mean(0)


class Seen:
    """What draws of a sampler come to."""

    def __init__(self, draws: Pixels, truth: Pixels, seconds: float) -> None:
        mean = draws.mean(0)
        self.pcc = np.array(
            [
                np.mean([pearson(m, t) for m, t in zip(mean[:, c], truth[:, c], strict=True)])
                for c in range(mean.shape[1])
            ]
        )
        self.one = np.array(
            [
                np.mean([pearson(m, t) for m, t in zip(draws[0][:, c], truth[:, c], strict=True)])
                for c in range(mean.shape[1])
            ]
        )
        self.power = octaves(draws)
        self.spread = np.sqrt(draws.var(0, ddof=1).mean((0, 2, 3)))
        self.seconds = seconds


def look(
    generator: SampledGenerator, planes: Pixels, truth: Pixels, how: Sampling, draws: int
) -> Seen:
    began = time.perf_counter()
    found = [draw_sample(generator, planes, how, seed=1000 * n) for n in range(draws)]
    return Seen(np.stack(found), truth, (time.perf_counter() - began) / (draws * len(planes)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--full", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    model = load_generator(chosen.model)
    generator = model.generator
    if not isinstance(generator, SampledGenerator):
        raise SystemExit("error: The model does not draw. Give one of `train --recipe palette`.")
    generator.module().to(chosen.device)
    planes, truth = given(model, chosen.size, chosen.fields)
    full = look(generator, planes, truth, Sampling(sampler="ddpm", steps=chosen.full), chosen.draws)
    rows = [_row("ddpm", chosen.full, full, full)]
    for name, steps in QUICK:
        rows.append(
            _row(
                name,
                steps,
                look(generator, planes, truth, Sampling(sampler=name, steps=steps), chosen.draws),
                full,
            )
        )
    report = model.card.training
    text = f"""# Steps of a sampler

Written by `python benchmarks/sampling.py`. Model: `{model.card.generator}` {report.recipe}, {report.steps} steps on {report.n_fields}
fields; {chosen.fields} simulated fields of {chosen.size} px that taught nobody, {chosen.draws} draws of each. Against {chosen.full} ancestral steps (first row):
largest difference over stains ({", ".join(model.card.stain_names)}). *Accepted* if PCC of the mean over draws is within 0.01, power in each octave within 10 %, spread within 10 %.

{table(["sampler", "steps", "s a draw", "PCC, mean of draws", "PCC, one draw", "PCC off by", "power off by", "spread off by", "accepted"], rows)}

{machine()}.
"""
    write("sampling.md", text)


def _row(name: str, steps: int, seen: Seen, full: Seen) -> list[object]:
    pcc = float(np.abs(seen.pcc - full.pcc).max())
    power = float(np.abs(seen.power / full.power - 1).max())
    spread = float(np.abs(seen.spread / full.spread - 1).max())
    fine = pcc <= 0.01 and power <= 0.1 and spread <= 0.1
    return [
        name, steps, f"{seen.seconds:.2f}", f"{seen.pcc.mean():.3f}", f"{seen.one.mean():.3f}",
        f"{pcc:.3f}", f"{power:.0%}", f"{spread:.0%}", "" if seen is full else "yes" if fine else "no",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
