"""Tiles leave no trace: what they give is the forward pass of the whole image."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.inference.engine import Stainer, stain_tiles
from napari_virtualstain.inference.scan import scan_reach
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.tiling.plan import plan_tiles

INPUT = Normalisation(offset=100.0, scale=20.0, low=-15, high=15)
OUTPUT = Normalisation(offset=300.0, scale=50.0)


def planes_of(array):
    """(T, P, Y, X) -> what a network is given."""
    image = LazyImage(data=da.from_array(array[:, None]), channels=(Channel("BF"),))
    return InputPlanes(image)


def stainer_for(array, generator, halo, ratios=None):
    n_t, n_p = array.shape[:2]
    return Stainer(
        generator=generator,
        planes=planes_of(array),
        inputs=((INPUT,) * n_p,) * n_t,
        outputs=(OUTPUT,) * generator.out_channels,
        halo=halo,
        ratios=ratios,
    )


def stain(array, generator, *, core, halo, ratios=None):
    stainer = stainer_for(array, generator, halo, ratios)
    plan = plan_tiles(array.shape[2:], core=core, halo=halo, multiple_of=generator.multiple_of)
    result = np.full((array.shape[0], generator.out_channels, *array.shape[2:]), np.nan, "f4")

    def write(t, tile, stains):
        result[(t, slice(None), *tile.write)] = stains

    stain_tiles(stainer, plan, write)
    return result


def stain_whole(array, generator):
    """The stupid twin: pad the whole image, run the network once."""
    stride = generator.multiple_of
    result = []
    for planes in array:
        normal = INPUT.apply(planes)
        padded = np.pad(normal, [(0, 0), *[(0, -n % stride) for n in planes.shape[1:]]])
        predicted = generator.predict(padded[None])[0]
        result.append(OUTPUT.invert(predicted[:, : planes.shape[1], : planes.shape[2]]))
    return np.stack(result)


@pytest.fixture(scope="module")
def unet():
    generator = build_generator("unet", in_channels=2, out_channels=3, preset="tiny", seed=3)
    module = generator.module()
    torch.manual_seed(0)
    module.train()
    with torch.no_grad():  # running statistics that do something
        for _ in range(5):
            module(torch.randn(2, 2, 32, 32))
    return generator


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 61), st.integers(1, 61)), st.integers(5, 40))
def test_tiles_equal_the_whole_image(unet, shape, core):
    halo = scan_reach(unet.module()).halo
    array = np.random.default_rng(0).normal(100, 20, (1, 2, *shape))
    tiled = stain(array, unet, core=core, halo=halo)
    # 1e-5 of the range, the accuracy of float32 under another order of additions
    np.testing.assert_allclose(tiled, stain_whole(array, unet), atol=1e-5 * 15 * OUTPUT.scale)


def test_a_halo_that_is_too_small_leaves_seams(unet):
    array = np.random.default_rng(0).normal(100, 20, (1, 2, 48, 48))
    tiled = stain(array, unet, core=16, halo=0)
    assert np.abs(tiled - stain_whole(array, unet)).max() > 0.1


def test_time_points_are_stained_one_by_one(unet):
    array = np.random.default_rng(0).normal(100, 20, (3, 2, 20, 24))
    together = stain(array, unet, core=16, halo=8)
    for t in range(3):
        np.testing.assert_array_equal(
            together[t : t + 1], stain(array[t : t + 1], unet, core=16, halo=8)
        )


class Copy:
    """A generator that returns its first plane: what comes out is what went in."""

    in_channels, out_channels, multiple_of = 1, 1, 4

    def predict(self, planes, *, seed=0):
        return planes[:, :1]


def test_the_tiles_of_a_resampled_run_agree_whatever_their_size():
    array = np.random.default_rng(0).normal(100, 20, (1, 1, 90, 70))
    ratios = (1.9, 1.9)
    small = stain(array, Copy(), core=16, halo=3, ratios=ratios)
    large = stain(array, Copy(), core=128, halo=3, ratios=ratios)
    np.testing.assert_allclose(small, large, atol=1e-3)


def test_a_resampled_smooth_picture_comes_back():
    y, x = np.mgrid[:80, :96]
    array = (100 + 20 * np.sin(y / 15) * np.cos(x / 11))[None, None]
    back = stain(array, Copy(), core=32, halo=0, ratios=(1.5, 1.5))
    expected = OUTPUT.invert(INPUT.apply(array))
    np.testing.assert_allclose(back[0, 0, 4:-4, 4:-4], expected[0, 0, 4:-4, 4:-4], atol=1.5)


def test_reading_asks_for_no_more_than_the_tile(unet):
    asked = []

    class Watched(InputPlanes):
        def read(self, t, region):
            asked.append(region)
            return super().read(t, region)

    array = np.random.default_rng(0).normal(100, 20, (1, 2, 200, 200))
    stainer = stainer_for(array, unet, 8)
    watched = Watched(stainer.planes.image)
    object.__setattr__(stainer, "planes", watched)
    plan = plan_tiles((200, 200), core=32, halo=8, multiple_of=2)
    stain_tiles(stainer, plan, lambda *args: None)
    assert len(asked) == len(plan)
    assert max(part.stop - part.start for region in asked for part in region) <= 32 + 2 * 8 + 2
