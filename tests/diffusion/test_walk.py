"""A walk asks for noise and predictions in order, and is what tiles of the whole image are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_virtualstain.diffusion.bridge import BrownianBridge
from napari_virtualstain.diffusion.bridge_sampler import BridgeSteps, bridge_timesteps
from napari_virtualstain.diffusion.noise_schedule import (
    NoiseSchedule,
    alphas_cumprod,
    spaced_timesteps,
)
from napari_virtualstain.diffusion.pixel_noise import noise_of
from napari_virtualstain.diffusion.samplers import Ancestral, Ddim, DpmSolverPlusPlus2M
from napari_virtualstain.diffusion.walk import walk
from napari_virtualstain.errors import RunCancelled
from napari_virtualstain.inference.stepwise import sample_tiles
from napari_virtualstain.tiling.plan import plan_tiles

SCHEDULE = NoiseSchedule(alphas_cumprod("guided-diffusion"), spaced_timesteps(1000, 6))
BRIDGE = {"bridge": BrownianBridge(), "timesteps": bridge_timesteps(1000, 6)}
RULES = {
    "ddpm": Ancestral(schedule=SCHEDULE),
    "ddim": Ddim(schedule=SCHEDULE),
    "dpm-solver++": DpmSolverPlusPlus2M(schedule=SCHEDULE),
    "bridge": BridgeSteps(eta=0.5, **BRIDGE),
    "bridge as published": BridgeSteps(as_published=True, **BRIDGE),
}
SHAPE = (12, 9)
REGION = (slice(0, 12), slice(0, 9))
END = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)


def network(x, time):
    return x * np.float32(0.5) + np.float32(time.level)


def draw(number):
    return noise_of(7, REGION, draw=number, channels=2)


@pytest.mark.parametrize(("name", "rule"), RULES.items(), ids=RULES)
def test_it_is_the_sample_in_tiles(name, rule):
    is_bridge = "bridge" in name
    found = walk(
        rule, lambda x, time: network(x, time)[None], draw, start=END if is_bridge else None
    )
    tiled = np.empty_like(found)

    def write(tile, pixels):
        tiled[(slice(None), *tile.write)] = pixels

    sample_tiles(
        lambda x, _planes, time: network(x, time),
        rule,
        plan_tiles(SHAPE, core=5, halo=0, multiple_of=1),
        lambda region: np.zeros((1, *(part.stop - part.start for part in region)), np.float32),
        write,
        channels=2,
        seed=7,
        start=(lambda region: END[(slice(None), *region)]) if is_bridge else None,
    )
    np.testing.assert_array_equal(found, tiled)


@pytest.mark.parametrize(("name", "rule"), RULES.items(), ids=RULES)
def test_torch_walks_as_numpy_does(name, rule):
    start = END if "bridge" in name else None
    one = walk(rule, lambda x, time: network(x, time)[None], draw, start=start)
    other = walk(
        rule,
        lambda x, time: (x * 0.5 + time.level)[None],
        lambda number: torch.from_numpy(draw(number)),
        start=None if start is None else torch.from_numpy(start),
    )
    assert other.dtype == torch.float32
    np.testing.assert_allclose(other.numpy(), one, rtol=1e-5, atol=1e-6)


def test_a_batch_is_walked_as_its_samples_are():
    rule = RULES["dpm-solver++"]
    first = np.random.default_rng(1).normal(size=(3, 2, 4, 4)).astype(np.float32)
    batch = walk(rule, lambda x, time: network(x, time)[None], lambda _number: first)
    for sample, part in zip(batch, first, strict=True):
        alone = walk(rule, lambda x, time: network(x, time)[None], lambda _n, part=part: part)
        np.testing.assert_array_equal(sample, alone)


def test_noise_is_asked_for_by_number_and_only_where_it_is_needed():
    asked = {"ddpm": [0, 1, 2, 3, 4, 5], "ddim": [0], "bridge": [0, 1, 2, 3, 4, 5]}
    asked["bridge as published"] = [1, 2, 3, 4, 5]
    for name, expected in asked.items():
        seen = []

        def noted(number, seen=seen):
            seen.append(number)
            return draw(number)

        start = END if "bridge" in name else None
        walk(RULES[name], lambda x, time: network(x, time)[None], noted, start=start)
        assert seen == expected


def test_progress_ends_the_walk():
    seen = []

    def report(done, total):
        seen.append((done, total))
        if done == 2:
            raise RunCancelled("The run was cancelled. Start it again.")

    with pytest.raises(RunCancelled):
        walk(RULES["ddim"], lambda x, time: network(x, time)[None], draw, on_step=report)
    assert seen == [(0, 6), (1, 6), (2, 6)]
