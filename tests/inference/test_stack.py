"""A stack in tiles, in rows or at once is the forward pass over the whole volume."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.inference.engine import stain_tiles
from napari_virtualstain.inference.network import prepare_network
from napari_virtualstain.inference.planner import plan_run
from napari_virtualstain.inference.source import PlanesSource
from napari_virtualstain.inference.stack import stack_network
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.inference.z_window import ZWindows, blend_windows
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.image import Channel, LazyImage

DEPTH, EDGE = 5, 96


@pytest.fixture(scope="module")
def generator():
    """A small fnet whose BatchNorm has seen something."""
    made = build_generator(
        "fnet", in_channels=1, out_channels=2, architecture={"ndim": 3, "depth": 1, "width": 4}
    )
    module = made.module().train()
    with torch.no_grad():
        module(torch.from_numpy(volume()[None, None, :4]))
    module.eval()
    return made


def volume():
    return np.random.default_rng(0).normal(size=(DEPTH, EDGE, EDGE)).astype(np.float32)


def stained(network, mode, *, tile=None):
    """Run a stack through the engine; return (stains, Z, Y, X)."""
    image = LazyImage(
        data=da.from_array(volume()[None, None], chunks=(1, 1, 1, 48, 48)),
        channels=(Channel("Brightfield"),), pixel_size_um=PixelSize(1.0, 0.5, 0.5),
    )  # fmt: skip
    norm = Normalisation()
    stainer = Stainer(
        network=lambda t: network,
        source=PlanesSource(InputPlanes(image), ((norm,) * DEPTH,)),
        outputs=(norm,) * 2 * DEPTH,
    )
    plan = plan_run(
        network, (EDGE, EDGE), mode=mode, tile=tile, chunk=32, budget=2 << 30,
        out_channels=2 * DEPTH,
    )  # fmt: skip
    assert plan.mode == mode
    result = np.full((2 * DEPTH, EDGE, EDGE), np.nan, np.float32)

    def write(t, tile, stains):
        result[(slice(None), *tile.write)] = stains

    stain_tiles(stainer, plan, write)
    return result.reshape(2, DEPTH, EDGE, EDGE)


@pytest.mark.parametrize(("mode", "tile"), [("whole", None), ("halo", 32), ("stream", None)])
def test_a_stack_is_stained_as_the_whole_volume(generator, mode, tile):
    whole = generator.predict(np.pad(volume(), [(0, 1), (0, 0), (0, 0)])[None, None])[0, :, :DEPTH]
    network = stack_network(prepare_network(generator.module()), depth=DEPTH)
    found = stained(network, mode, tile=tile)
    assert np.abs(found - whole).max() < 1e-5 * np.ptp(whole)


def test_windows_along_z_are_blended_as_one_by_one(generator):
    windows = ZWindows(depth=DEPTH, window=2)
    network = stack_network(prepare_network(generator.module()), depth=DEPTH, windows=windows)
    found = stained(network, "halo", tile=32)

    def predict(part):
        return generator.predict(volume()[None, None, part])[0]

    twin = dict(blend_windows(predict, windows))
    for z in range(DEPTH):
        np.testing.assert_allclose(found[:, z], twin[z], atol=1e-4)


def test_a_stack_knows_what_it_takes_in_memory_and_along_which_axes_it_is_cut(generator):
    inner = prepare_network(generator.module())
    network = stack_network(inner, depth=DEPTH)
    assert network.ndim == 2
    assert network.reach.halo == inner.reach.halo[1:]
    assert network.forward_bytes((64, 64)) > inner.forward_bytes((6, 64, 64))
    assert network.streams
    assert not stack_network(inner, depth=4, windows=ZWindows(depth=4, window=2)).streams
    moved = network.on_processor()
    np.testing.assert_array_equal(moved.forward(volume()[None]), network.forward(volume()[None]))
