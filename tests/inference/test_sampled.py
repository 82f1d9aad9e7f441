"""An image that is drawn in tiles is the image that is drawn at once."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import torch

from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.errors import ComputeError, RunCancelled
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.generators.sampled import Sampling, draw_sample, first_network
from napari_virtualstain.inference.engine import stain_tiles
from napari_virtualstain.inference.network import prepare_network
from napari_virtualstain.inference.planner import RunPlan
from napari_virtualstain.inference.sampled import SampledStainer, draw_seed
from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.inference.source import PlanesSource
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.tiling.plan import plan_tiles

INPUT = Normalisation(offset=100.0, scale=20.0)
OUTPUT = Normalisation(offset=300.0, scale=50.0)
SPREAD = Normalisation(offset=0.0, scale=50.0)
HOW = Sampling(steps=2)


def made(name="palette", **architecture):
    generator = build_generator(
        name, in_channels=2, out_channels=3, preset="tiny", architecture=architecture
    )
    torch.manual_seed(0)
    for weights in generator.module().parameters():  # zeros would hide what is wrong
        torch.nn.init.normal_(weights, std=0.15)
    return generator


GENERATOR = made()
METHODS = ("palette", "bbdm", "lbbdm")
"""From noise, from a first prediction that has a reach of its own, and among codes."""


def random_image(shape, n_t=1):
    return np.random.default_rng(0).normal(100, 20, (n_t, 2, *shape))


def stain(
    array, *, core=None, numbers=None, ratios=None, on_pass=None, generator=GENERATOR, **more
):
    image = LazyImage(data=da.from_array(array[:, None]), channels=(Channel("BF"),))
    source = PlanesSource(InputPlanes(image), ((INPUT,) * 2,) * len(array))
    network = prepare_network(first_network(generator))
    reach = network.reach
    tiles = plan_tiles(
        source.shape, core=core or source.shape, halo=reach.halo, multiple_of=reach.multiple_of
    )
    plan = RunPlan(mode="halo" if core else "whole", tiles=tiles, passes=2)
    norms = (OUTPUT,) * 3 + (SPREAD,) * 3 * (more.get("draws", 1) > 1)
    stainer = SampledStainer(
        network=lambda t: network, source=source, outputs=norms, ratios=ratios,
        generator=generator, how=HOW, **{"statistics": "whole", **more},
    )  # fmt: skip
    result = np.full((len(array), len(norms), *source.shape), np.nan, "f4")

    def write(t, tile, stains):
        result[(t, slice(None), *tile.write)] = stains

    stain_tiles(stainer, plan, write, numbers=numbers, on_pass=on_pass)
    return result


@pytest.mark.parametrize("name", METHODS)
def test_the_whole_image_at_once_is_what_the_generator_draws(name):
    generator, array = made(name), random_image((24, 32))
    drawn = draw_sample(generator, INPUT.apply(array), HOW, seed=7)
    whole = stain(array, seed=7, generator=generator)
    np.testing.assert_allclose(whole, OUTPUT.invert(drawn), atol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_tiles_with_exact_statistics_are_the_whole_image(name):
    generator = made(name, multipliers=(1,))  # a pass over the image for each of few layers
    array = random_image((13, 75))
    whole = stain(array, seed=1, generator=generator)
    got = stain(array, seed=1, core=38, statistics="exact", generator=generator)
    np.testing.assert_allclose(got, whole, atol=2e-4 * np.ptp(whole))
    # Statistics of each tile alone are what this is against.
    alone = stain(array, seed=1, core=38, statistics="patch", generator=generator)
    assert np.abs(alone - whole).max() > 20 * np.abs(got - whole).max()


@pytest.mark.parametrize("name", ["palette", "lbbdm"])
def test_frozen_statistics_are_those_of_an_image_that_is_one_patch(name):
    generator, array = made(name), random_image((24, 32))
    got = stain(array, seed=1, core=16, statistics="frozen", generator=generator)
    whole = stain(array, seed=1, generator=generator)
    np.testing.assert_allclose(got, whole, atol=2e-4 * np.ptp(whole))


def test_the_mean_and_the_spread_are_those_of_the_draws():
    array = random_image((16, 24))
    draws = np.stack([stain(array, seed=draw_seed(5, n)) for n in range(3)])
    found = stain(array, seed=5, draws=3)
    np.testing.assert_allclose(found[:, :3], draws.mean(0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found[:, 3:], draws.std(0, ddof=1), rtol=1e-3, atol=1e-3)


def test_what_is_walked_is_smaller_than_the_image_by_what_a_code_stands_for():
    """A walk among codes is planned in pixels, and walked with the halo of a step among codes."""
    generator = made("lbbdm")
    network = prepare_network(first_network(generator))
    stainer = SampledStainer(
        network=lambda t: network, source=None, outputs=(), generator=generator, how=HOW
    )
    step = scan_reach(generator.step_network(generator.rule(HOW).prepare(0), HOW))
    assert stainer.stepping.reach == step
    assert step.halo[0] * 2 + sum(generator.margins) - 3 <= network.reach.halo[0]
    assert network.reach.halo[0] <= step.halo[0] * 2 + sum(generator.margins)
    # Only the outline of it is on the meta device.
    assert {p.device.type for p in generator.module().parameters()} == {"cpu"}


def test_neighbouring_seeds_share_no_draw():
    seeds = {draw_seed(seed, draw) for seed in range(20) for draw in range(20)}
    assert len(seeds) == 400


def test_tiles_that_are_wanted_are_those_of_the_whole_run():
    array = random_image((48, 40), n_t=2)
    whole = stain(array, core=16, statistics="patch")
    part = stain(array, core=16, statistics="patch", numbers=[10, 3])
    known = np.isfinite(part)
    assert known.any()
    np.testing.assert_array_equal(part[known], whole[known])
    assert np.isfinite(part).sum() == 2 * 3 * 16 * 16


@pytest.mark.parametrize("name", ["palette", "lbbdm"])
def test_fields_that_memory_does_not_hold_lie_in_files(name, tmp_path):
    array, how = random_image((24, 32)), {"core": 16, "statistics": "frozen", "draws": 2}
    how["generator"] = made(name)
    before = stain(array, **how)
    after = stain(array, **how, budget=0, folder=tmp_path)
    np.testing.assert_array_equal(before, after)
    assert not list(Path(tmp_path).iterdir())


@pytest.mark.parametrize("name", ["palette", "lbbdm"])
def test_resampled_images_are_drawn_on_the_grid_of_the_model(name):
    array, how = random_image((24, 32)), {"ratios": (2.0, 2.0), "generator": made(name)}
    whole = stain(array, **how)
    assert np.isfinite(whole).all()
    tiles = stain(array, core=16, statistics="frozen", **how)
    np.testing.assert_allclose(tiles, whole, atol=2e-3 * np.ptp(whole))


def test_every_pass_is_told_and_may_end_the_run():
    told = []
    stain(random_image((32, 16), n_t=2), core=16, draws=2, on_pass=lambda *n: told.append(n))
    assert told[0] == (0, 2 * 2 * 2 * 2)
    assert told[-1] == (16, 16)
    assert [done for done, _ in told] == sorted(done for done, _ in told)

    def stop(done, total):
        if done == 3:
            raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        stain(random_image((32, 16)), core=16, on_pass=stop)


def test_no_memory_for_a_step_is_said_in_a_sentence(monkeypatch):
    generator = made()

    def no_memory(*_args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(generator, "denoise", no_memory)
    with pytest.raises(ComputeError, match="choose smaller tiles with --tile"):
        stain(random_image((16, 16)), generator=generator)
