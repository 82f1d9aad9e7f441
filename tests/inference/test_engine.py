"""Pieces leave no trace: what they give is the forward pass of the whole image."""

from __future__ import annotations

import itertools
import threading
import time
from functools import cache

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import NETS, trained, volume
from torch import nn

from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.inference.engine import stain_tiles
from napari_virtualstain.inference.network import prepare_network
from napari_virtualstain.inference.planner import RunPlan
from napari_virtualstain.inference.source import PlanesSource
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.tiling.plan import plan_tiles

INPUT = Normalisation(offset=100.0, scale=20.0, low=-15, high=15)
OUTPUT = Normalisation(offset=300.0, scale=50.0)
MODEL = trained(NETS["unet"])
NETWORK = prepare_network(MODEL)
COPY = nn.Conv2d(1, 1, 1, bias=False)
nn.init.ones_(COPY.weight)
SHAPES = st.tuples(st.integers(1, 61), st.integers(1, 61))


def source_of(array, *, volume=False):
    """(T, P, Y, X) -> what a network is given."""
    image = LazyImage(data=da.from_array(array[:, None]), channels=(Channel("BF"),))
    n_t, n_p = array.shape[:2]
    return PlanesSource(InputPlanes(image), ((INPUT,) * n_p,) * n_t, volume=volume)


def run_plan(network, shape, mode="halo", *, core=16, band=8, axis=0, rows=16, beyond=0):
    """Return a plan whose halo is by `beyond` larger than it has to be."""
    reach = network.reach
    if mode == "whole":
        core = shape
    elif mode == "stream":
        core = [rows if a == axis else core for a in range(len(shape))]
        band = -(-band // reach.multiple_of[axis]) * reach.multiple_of[axis]
    halo = tuple(n + beyond for n in reach.halo)
    tiles = plan_tiles(shape, core=core, halo=halo, multiple_of=reach.multiple_of)
    return RunPlan(mode=mode, tiles=tiles, axis=axis, band=band)


def stain(array, network, plan, *, numbers=None, ratios=None, volume=False, n_out=3):
    source = source_of(array, volume=volume)
    stainer = Stainer(
        network=lambda t: network, source=source, outputs=(OUTPUT,) * n_out, ratios=ratios
    )
    result = np.full((array.shape[0], n_out, *source.shape), np.nan, "f4")
    written = np.zeros((array.shape[0], *source.shape), int)

    def write(t, tile, stains):
        assert stains.dtype == np.float32
        result[(t, slice(None), *tile.write)] = stains
        written[(t, *tile.write)] += 1

    stain_tiles(stainer, plan, write, numbers=numbers)
    assert written.max() <= 1
    if numbers is None:
        assert written.min() == 1
    return result


def stain_whole(array, model, strides):
    """The stupid twin: pad the whole image, run the network once."""
    result = []
    for planes in array:
        normal = INPUT.apply(planes)
        spatial = normal.shape[-len(strides) :]
        outer = [(0, 0)] * (normal.ndim - len(strides))
        pads = [(0, -n % s) for n, s in zip(spatial, strides, strict=True)]
        padded = torch.from_numpy(np.pad(normal, [*outer, *pads])[None])
        if normal.ndim == len(strides):
            padded = padded[None]
        with torch.inference_mode():
            predicted = model(padded)[0].numpy()
        result.append(OUTPUT.invert(predicted[(slice(None), *(slice(n) for n in spatial))]))
    return np.stack(result)


def random_image(shape, n_p=2, n_t=1, seed=0):
    return np.random.default_rng(seed).normal(100, 20, (n_t, n_p, *shape))


def assert_same(got, expected):
    # 1e-5 of the range, the accuracy of float32 under another order of additions
    np.testing.assert_allclose(
        got, expected, atol=1e-5 * max(float(np.ptp(expected)), OUTPUT.scale)
    )


@settings(max_examples=25, deadline=None)
@given(SHAPES, st.integers(5, 40))
def test_tiles_equal_the_whole_image(shape, core):
    array = random_image(shape)
    got = stain(array, NETWORK, run_plan(NETWORK, shape, core=core))
    assert_same(got, stain_whole(array, MODEL, NETWORK.reach.multiple_of))


@settings(max_examples=25, deadline=None)
@given(SHAPES, st.integers(4, 24), st.integers(8, 40), st.integers(4, 40), st.integers(0, 1))
def test_a_stream_equals_the_whole_image(shape, band, rows, core, axis):
    array = random_image(shape)
    plan = run_plan(NETWORK, shape, "stream", band=band, rows=rows, core=core, axis=axis)
    got = stain(array, NETWORK, plan)
    assert_same(got, stain_whole(array, MODEL, NETWORK.reach.multiple_of))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("mode", ["whole", "halo", "stream"])
def test_every_network_gives_the_same_in_every_mode(name, mode):
    model = trained(NETS[name])
    network = prepare_network(model)
    array = random_image((53, 40))
    got = stain(array, network, run_plan(network, (53, 40), mode, core=24))
    assert_same(got, stain_whole(array, model, network.reach.multiple_of))


@cache
def flat_network(kernel, pools):
    """A network of two layers, or three with a step of two pixels; it looks further with `kernel`."""
    torch.manual_seed(kernel)
    layers = [nn.Conv2d(2, 3, kernel, padding=kernel // 2), nn.ReLU()]
    if pools:
        layers += [nn.AvgPool2d(2), nn.Conv2d(3, 3, kernel, padding=kernel // 2), nn.ReLU()]
        layers += [nn.Upsample(scale_factor=2, mode="nearest")]
    return prepare_network(nn.Sequential(*layers, nn.Conv2d(3, 3, 1)))


@pytest.mark.parametrize("mode", ["whole", "halo", "stream"])
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_constant_in_gives_constant_out_for_every_shape_tile_and_halo(mode, data):
    network = flat_network(data.draw(st.sampled_from([1, 3, 5])), data.draw(st.booleans()))
    needed = network.reach.halo[0]
    # What the network pads counts up to its halo from the border; beyond it all is alike.
    edges = st.integers(2 * needed + 1, 2 * needed + 40)
    shape = data.draw(st.tuples(edges, edges))
    axis, core = data.draw(st.integers(0, 1)), data.draw(st.integers(7, 50))
    plan = run_plan(
        network, shape, mode, core=core, axis=axis, rows=data.draw(st.integers(4, 40)),
        band=data.draw(st.integers(2, 24)), beyond=data.draw(st.integers(0, 9)),
    )  # fmt: skip
    level = data.draw(st.floats(60, 160, width=32))
    got = stain(np.full((1, 2, *shape), level), network, plan)
    inner = got[0, :, needed : shape[0] - needed, needed : shape[1] - needed]
    assert_same(inner, np.broadcast_to(constant(network, level)[:, None, None], inner.shape))


def constant(network, level):
    """What the network makes of one grey value, away from any border: (C,)."""
    edge = 4 * (network.reach.halo[0] + network.reach.multiple_of[0])
    normal = INPUT.apply(np.full((1, 2, edge, edge), level)).astype(np.float32)
    return OUTPUT.invert(network.forward(normal)[0])[:, edge // 2, edge // 2]


@pytest.mark.parametrize("mode", ["whole", "halo", "stream"])
def test_a_volume_equals_its_forward_pass(mode):
    model = trained(volume, (2, 2, 6, 16, 16))
    first = nn.Sequential(nn.Conv3d(1, 2, 1), *model)
    network = prepare_network(first)
    array = random_image((30, 26), n_p=7)
    plan = run_plan(network, (7, 30, 26), mode, core=12, axis=1)
    if mode == "stream":
        plan = RunPlan(
            mode="stream", axis=1, band=8,
            tiles=plan_tiles((7, 30, 26), core=(7, 10, 16), halo=network.reach.halo,
                             multiple_of=network.reach.multiple_of),
        )  # fmt: skip
    got = stain(array, network, plan, volume=True)
    assert_same(got, stain_whole(array, first.eval(), network.reach.multiple_of))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_stream_that_begins_anywhere_has_the_same_bits(data):
    shape = (200, 24)
    plan = run_plan(NETWORK, shape, "stream", band=8, rows=16, core=24)
    array = random_image(shape)
    undisturbed = stain(array, NETWORK, plan)
    chosen = data.draw(st.sets(st.integers(0, len(plan.tiles) - 1), min_size=1))
    part = stain(array, NETWORK, plan, numbers=sorted(chosen))
    there = ~np.isnan(part)
    np.testing.assert_array_equal(part[there], undisturbed[there])
    assert there.sum() == sum(
        3 * np.prod([s.stop - s.start for s in plan.tiles.tile(n).write]) for n in chosen
    )


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(12)))
def test_any_order_of_tiles_has_the_same_bits(order):
    array = random_image((61, 47))
    plan = run_plan(NETWORK, (61, 47))
    assert len(plan.tiles) == 12
    np.testing.assert_array_equal(
        stain(array, NETWORK, plan, numbers=order), stain(array, NETWORK, plan)
    )


def test_a_halo_that_is_too_small_leaves_seams():
    array = random_image((48, 48))
    tiles = plan_tiles((48, 48), core=16, halo=0, multiple_of=4)
    tiled = stain(array, NETWORK, RunPlan(mode="halo", tiles=tiles))
    assert np.abs(tiled - stain_whole(array, MODEL, (4, 4))).max() > 0.1


@pytest.mark.parametrize("mode", ["halo", "stream"])
def test_time_points_are_stained_one_by_one(mode):
    array = random_image((40, 24), n_t=3)
    plan = run_plan(NETWORK, (40, 24), mode)
    together = stain(array, NETWORK, plan)
    for t in range(3):
        np.testing.assert_array_equal(together[t : t + 1], stain(array[t : t + 1], NETWORK, plan))


def test_the_tiles_of_a_resampled_run_agree_whatever_their_size():
    network, array = prepare_network(COPY), random_image((90, 70), n_p=1)
    small, large = (
        stain(array, network, run_plan(network, (90, 70), core=core), ratios=(1.9, 1.9), n_out=1)
        for core in (16, 128)
    )
    np.testing.assert_allclose(small, large, atol=1e-3)


def test_a_resampled_smooth_picture_comes_back():
    y, x = np.mgrid[:80, :96]
    array = (100 + 20 * np.sin(y / 15) * np.cos(x / 11))[None, None]
    network = prepare_network(COPY)
    back = stain(array, network, run_plan(network, (80, 96), core=32), ratios=(1.5, 1.5), n_out=1)
    expected = OUTPUT.invert(INPUT.apply(array))
    np.testing.assert_allclose(back[0, 0, 4:-4, 4:-4], expected[0, 0, 4:-4, 4:-4], atol=1.5)


class Watched:
    """A source that notes what it was asked for."""

    def __init__(self, source):
        self.source, self.asked = source, []
        self.shape, self.times, self.blocks = source.shape, source.times, source.blocks

    def read(self, t, region):
        self.asked.append(region)
        return self.source.read(t, region)


def watched_run(shape, mode="halo", *, write=lambda *args: None, **keywords):
    source = Watched(source_of(random_image(shape)))
    stainer = Stainer(network=lambda t: NETWORK, source=source, outputs=(OUTPUT,) * 3)
    plan = run_plan(NETWORK, shape, mode, core=32)
    stain_tiles(stainer, plan, write, **keywords)
    return source.asked, plan


def test_reading_asks_for_no_more_than_the_tile():
    asked, plan = watched_run((200, 200))
    assert len(asked) == len(plan.tiles)
    halo, step = NETWORK.reach.halo[0], NETWORK.reach.multiple_of[0]
    assert max(s.stop - s.start for region in asked for s in region) <= 32 + 2 * (halo + step)


def test_a_stream_reads_every_row_once():
    asked, _plan = watched_run((200, 32), "stream")
    rows = sorted((region[0].start, region[0].stop) for region in asked)
    assert rows[0][0] == 0
    assert rows[-1][1] == 200
    assert all(a[1] == b[0] for a, b in itertools.pairwise(rows))


class EndedError(Exception):
    pass


@pytest.mark.parametrize("mode", ["halo", "stream"])
def test_a_run_that_is_ended_waits_for_what_is_being_written(mode):
    inside, written = threading.Event(), []

    def write(t, tile, stains):
        inside.set()
        time.sleep(0.05)
        written.append(tile.index)

    def on_tile(done, total):
        if done or inside.is_set():
            raise EndedError

    with pytest.raises(EndedError):
        watched_run((200, 32), mode, write=write, on_tile=on_tile)
    count = len(written)
    time.sleep(0.1)
    assert 1 <= count == len(written) < 7
    assert not [t for t in threading.enumerate() if t.name.startswith("virtualstain-")]


@pytest.mark.parametrize("mode", ["halo", "stream"])
@pytest.mark.parametrize("where", ["read", "write"])
def test_what_goes_wrong_in_a_thread_is_raised(mode, where, monkeypatch):
    def fail(*args):
        raise EndedError("no room")

    if where == "read":
        monkeypatch.setattr(Watched, "read", fail)
    with pytest.raises(EndedError, match="no room"):
        watched_run((200, 32), mode, **({"write": fail} if where == "write" else {}))


def test_tiles_are_asked_for_while_the_run_goes_on():
    pending, order = list(range(6)), []

    def numbers():
        while pending:
            yield pending.pop(0)

    def write(t, tile, stains):
        order.append(tile.index)
        if tile.index == 0:
            pending.reverse()

    shape = (180, 32)
    stainer = Stainer(
        network=lambda t: NETWORK, source=source_of(random_image(shape)), outputs=(OUTPUT,) * 3
    )
    seen = []
    stain_tiles(
        stainer, run_plan(NETWORK, shape, core=32), write, numbers=numbers(), total=lambda: 6,
        on_tile=lambda *p: (seen.append(p), time.sleep(0.02)),
    )  # fmt: skip
    assert sorted(order) == [0, 1, 2, 3, 4, 5]
    assert order != sorted(order)
    assert (seen[0], seen[-1]) == ((0, 6), (6, 6))
