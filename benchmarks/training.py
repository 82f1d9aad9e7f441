"""Does training keep the network busy?

    python benchmarks/training.py [--steps 30] [--preset little] [--device cpu] [--systems unet,fnet]

For each method: the time of a step of the training loop (patches drawn and normalised, learnt from,
averaged) over that of the bare step (forward, backward and optimiser on one batch that lies in
memory), measured before and after; and which part of the time the loop waited for patches. Writes
``docs/benchmarks/training.md``.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import machine, table, write

from napari_virtualstain import simulate
from napari_virtualstain.datasets.pairs import PairedField, PairedSet, pair_up
from napari_virtualstain.generators.learning import Batch
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.intensity import Rule
from napari_virtualstain.losses.descent import Moment
from napari_virtualstain.training.painting import fit, patch_shape
from napari_virtualstain.training.patches import draw_batch
from napari_virtualstain.training.settings import LoopSettings, learning_settings
from napari_virtualstain.training.together import make_learner

PLANES = ("unet", "wgan_gp", "pix2pix", "spade", "isl", "fnet2d")
VOLUMES = ("fnet", "wgan_gp_3d")
WANTED = 0.85
WAKING = 3  # steps that are not timed


def fields(volume: bool) -> PairedSet:
    depths = tuple(float(z) for z in np.arange(-4, 4, 0.5))
    found = []
    for n in range(2):
        settings, seed = simulate.training_settings(n)
        if volume:
            settings = replace(
                settings, shape_px=(128, 128), focus_offsets_um=depths, stain_offsets_um=depths
            )
        made = simulate.simulate_field(settings, seed=seed)
        planes = made.brightfield[0][None] if volume else made.brightfield[0]
        found.append(PairedField(f"field {n}", planes, made.stains[0]))
    return pair_up(
        found, input_rule=Rule(), output_rule=Rule(clip_sd=None), stain_names=simulate.STAINS
    )


def bare(name: str, pairs: PairedSet, settings: LoopSettings, device: str, steps: int) -> float:
    """Return the seconds of a step without the loop."""
    generator = build(name, pairs, settings)
    learner = make_learner(generator, learning_settings(generator.learning, settings), [device])
    planes, stains, _ = draw_batch(
        pairs, step=0, batch=settings.batch, patch=patch_shape(generator, settings), augment=True,
        seed=0, alike="pixels",
    )  # fmt: skip
    batch = Batch(
        torch.from_numpy(planes).to(device),
        torch.from_numpy(stains).to(device),
        at_once=settings.batch,
    )
    for network in learner.networks.values():
        network.train()
    began = 0.0
    for step in range(WAKING + steps):
        if step == WAKING:
            began = time.perf_counter()
        # What a step says are numbers, for which a graphics card is waited for.
        learner.step(batch, Moment(step=step, epoch=0.0, device=torch.device(device).type))
    return (time.perf_counter() - began) / steps


def build(name: str, pairs: PairedSet, settings: LoopSettings) -> Any:
    return build_generator(
        name,
        in_channels=pairs.fields[0].planes.shape[0],
        out_channels=len(simulate.STAINS),
        preset=PRESET[0],
    )


PRESET = ["little"]


def looped(name: str, pairs: PairedSet, settings: LoopSettings, device: str, steps: int) -> Any:
    """Return the seconds of a step of the loop, and the part that was spent waiting."""
    times: list[float] = []
    began = time.perf_counter()
    settings = settings.model_copy(update={"steps": WAKING + steps, "validate_every": 10**6})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fit(
            build(name, pairs, settings), pairs, settings, folder=folder,
            stain_names=simulate.STAINS, devices=[device],
            on_step=lambda *_: times.append(time.perf_counter()),
        )  # fmt: skip
        with (folder / "log.csv").open() as file:
            waited = float(list(csv.DictReader(file))[-1]["waited_s"])
    # The last step also writes the checkpoint.
    took = times[-2] - times[WAKING - 1]
    return took / (len(times) - 1 - WAKING), waited / (times[-1] - began)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--preset", default="little")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--systems", default=",".join([*PLANES, *VOLUMES]))
    options = parser.parse_args()
    PRESET[0] = options.preset
    if options.threads:
        torch.set_num_threads(options.threads)
    chosen = options.systems.split(",")
    rows = []
    for systems, volume in ((PLANES, False), (VOLUMES, True)):
        wanted = [name for name in systems if name in chosen]
        pairs = fields(volume) if wanted else None
        for name in wanted:
            settings = LoopSettings(
                batch=2 if volume else 8,
                patch=64 if volume else 128,
                patch_z=16,
                learning_rate=1e-4,
            )
            first = bare(name, pairs, settings, options.device, options.steps)
            each, waited = looped(name, pairs, settings, options.device, options.steps)
            last = bare(name, pairs, settings, options.device, options.steps)
            limit = (first + last) / 2
            rows.append(
                (
                    name, f"{each * 1e3:.0f}", f"{limit * 1e3:.0f} ({first * 1e3:.0f}, {last * 1e3:.0f})",
                    f"{limit / each:.0%}", f"{waited:.1%}",
                )
            )  # fmt: skip
    header = (
        "method",
        "step of the loop (ms)",
        "bare step (ms; before, after)",
        "bare over loop",
        "waiting for patches",
    )
    write(
        "training.md",
        f"""# Does training keep the network busy?

Written by `python benchmarks/training.py --preset {options.preset} --device {options.device} --steps {options.steps}`.
Simulated fields; planes: 8 patches of 128 x 128 px a step, stacks: 2 of 16 x 64 x 64. The bare step is forward, backward
and optimiser on one batch that lies in memory, of the critic too where there is one. The loop also draws, normalises and
turns patches in a thread of its own, and averages the weights. Wanted: at least {WANTED:.0%}.

{table(header, rows)}

{machine()}.
""",
    )


if __name__ == "__main__":
    main()
