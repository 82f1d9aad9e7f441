"""How right are samplers, and with how many steps? On a normal distribution whose answer is known.

    python benchmarks/samplers.py [--samples 60000]

The clean value is normal, so that the best prediction of the noise in x, and of the clean value, is
a formula: what is wrong then is wrong with the sampler, and not with a network. Palette's schedule
of 2000 steps for those that begin with noise (mean 2, standard deviation 0.7), a Brownian bridge of
1000 from 1.5 to a standard normal. Writes ``docs/benchmarks/samplers.md``.
"""

from __future__ import annotations

import argparse
from math import sqrt
from typing import Any

import numpy as np
from _report import machine, table, write

from napari_virtualstain.diffusion.bridge import BrownianBridge, target_weights
from napari_virtualstain.diffusion.bridge_sampler import BridgeSteps, bridge_timesteps
from napari_virtualstain.diffusion.choice import noise_sampler
from napari_virtualstain.diffusion.noise_schedule import alphas_cumprod
from napari_virtualstain.diffusion.walk import walk

STEPS = (8, 25, 50, 200)
MEAN, SPREAD, END = 2.0, 0.7, 1.5


def from_noise(name: str, steps: int, samples: int) -> tuple[float, float]:
    """Return by how much the mean is off, and the spread over the right one."""
    rng = np.random.default_rng(0)

    def predict(x: Any, time: Any) -> Any:
        variance = time.level * SPREAD**2 + 1 - time.level
        eps = sqrt(1 - time.level) * (x - sqrt(time.level) * MEAN) / variance
        return eps.astype(np.float32)[None]

    rule = noise_sampler(name, alphas_cumprod("palette"), steps=steps)
    found = walk(rule, predict, lambda _number: rng.normal(size=samples).astype(np.float32))
    return float(found.mean() - MEAN) / SPREAD, float(found.std() / SPREAD)


def over_a_bridge(eta: float, published: bool, steps: int, samples: int) -> tuple[float, float]:
    """Return the same of a bridge whose clean end is standard normal."""
    rng = np.random.default_rng(0)
    bridge = BrownianBridge()
    rule = BridgeSteps(
        bridge=bridge, timesteps=bridge_timesteps(1000, steps), eta=eta, as_published=published
    )

    def predict(x: Any, time: Any) -> Any:
        m, variance = bridge.m[time.t], bridge.variance[time.t]
        clean = (1 - m) / ((1 - m) ** 2 + variance) * (x.astype(np.float64) - m * END)
        eps = (x - (1 - m) * clean - m * END) / sqrt(variance)
        parts = zip(target_weights(rule.objective, m, variance), (clean, END, eps), strict=True)
        return np.asarray(sum(share * part for share, part in parts), np.float32)[None]

    start = np.full(samples, END, np.float32)
    found = walk(
        rule, predict, lambda _number: rng.normal(size=samples).astype(np.float32), start=start
    )
    return float(found.mean()), float(found.std())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=60_000)
    samples = parser.parse_args().samples
    rows = []
    for name in ("ddpm", "ddim", "dpm++"):
        for steps in (*STEPS, 2000):
            if name == "dpm++" and steps > STEPS[-1]:
                continue
            off, spread = from_noise(name, steps, samples)
            rows.append((name, steps, f"{off:+.3f}", f"{spread:.3f}"))
    bridges = []
    for published in (False, True):
        for eta in (0.0, 0.5, 1.0):
            for steps in (*STEPS, 1000):
                off, spread = over_a_bridge(eta, published, steps, samples)
                way = "as published" if published else "ours"
                bridges.append((way, eta, steps, f"{off:+.3f}", f"{spread:.3f}"))
    write(
        "samplers.md",
        f"""# How many steps does a sampler need?

Written by `python benchmarks/samplers.py --samples {samples}`. The distribution is normal, and the best prediction a formula: what is off here is the
sampler's doing. A trained network adds its own errors. Means are off by so many standard deviations; of {samples:,} samples, whose own error is about
{1 / sqrt(samples):.3f}.

## From noise: Palette's schedule of 2000 steps

| wanted | all steps of ddpm, 200 of ddim, 20 of dpm++ | spread 0.94 to 1.01 |
|---|---|---|

{table(("sampler", "steps", "mean off by", "spread / right"), rows)}

## Over a Brownian bridge of 1000 steps

*ours* keeps the variance of the bridge at every step; *as published* is the step of the public code, which loses it where `eta` is below 1.

{table(("step", "eta", "steps", "mean off by", "spread / right"), bridges)}

{machine()}.
""",
    )


if __name__ == "__main__":
    main()
