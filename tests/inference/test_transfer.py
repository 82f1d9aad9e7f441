"""What a graphics card makes of grey values is what numpy makes of them, bit by bit."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from small_nets import NETS, trained, volume
from torch import nn

from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.inference import pipeline
from napari_virtualstain.inference.engine import stain_tiles
from napari_virtualstain.inference.network import Network, prepare_network
from napari_virtualstain.inference.pipeline import Ahead, threads_beside
from napari_virtualstain.inference.planner import RunPlan
from napari_virtualstain.inference.source import PlanesSource, padded
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.inference.transfer import (
    Grey,
    Returning,
    arrived,
    normalised,
    stacked,
    to_host_tensor,
)
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.tiling.plan import Tile, plan_tiles

TYPES = [
    "?",
    "u1",
    "<u2",
    ">u2",
    "<u4",
    ">u4",
    "u8",
    "i1",
    "<i2",
    ">i2",
    "i4",
    ">i8",
    "f2",
    "f4",
    ">f4",
    "f8",
]
NORM = Normalisation(offset=417.25, scale=131.7, low=-3, high=2.5)
NETWORK = prepare_network(trained(NETS["unet"]))
# Its name only: what is computed is computed here, in the way that a card would.
CARD = torch.device("cuda")
GPU = pytest.mark.gpu
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]

numbers = st.floats(-1e6, 1e6)
limits = st.sampled_from([(None, None), (-15.0, 15.0), (0.0, None), (None, 0.0), (-0.5, -0.25)])
norms = st.builds(
    lambda offset, scale, ends: Normalisation(offset=offset, scale=scale, low=ends[0], high=ends[1]),
    numbers | st.sampled_from([0.0, -0.0]), st.floats(1e-3, 1e6), limits,
)  # fmt: skip
pixels = st.sampled_from(TYPES).flatmap(
    lambda kind: hnp.arrays(np.dtype(kind), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
)


def same_bits(got, wanted):
    assert got.dtype == wanted.dtype == np.float32
    assert got.shape == wanted.shape
    unknown = np.isnan(wanted)
    np.testing.assert_array_equal(np.isnan(got), unknown)
    # Plus zero: clipped at 0, a zero may have either sign, of NumPy by the processor.
    bits = [
        (np.where(unknown, 0, values) + 0.0).astype("f4").view("u4") for values in (got, wanted)
    ]
    np.testing.assert_array_equal(*bits)


@pytest.mark.parametrize("device", DEVICES)
@settings(deadline=None)
@given(grey=pixels, norm=norms)
@example(np.array([[-0.0, 0.0, np.nan, np.inf, -np.inf]], "f4"), Normalisation(low=0.0, high=1.0))
@example(np.array([[np.nan, 65504, 6e-8]], "f2"), NORM)
@example(np.array([[-0.0]], "f2"), Normalisation(low=0.0))
@example(np.array([[2**64 - 1, 2**53 + 1]], "u8"), Normalisation(scale=3.0))
def test_a_device_normalises_to_the_bits_of_numpy(device, grey, norm):
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = norm.apply(grey)
    same_bits(normalised(to_host_tensor(grey).to(device), norm).cpu().numpy(), wanted)


@pytest.mark.parametrize("device", DEVICES)
def test_every_grey_value_of_a_camera_is_normalised_to_the_bits_of_numpy(device):
    grey = np.arange(1 << 16, dtype=">u2").reshape(256, 256)
    for norm in (NORM, Normalisation(offset=1 / 3, scale=7e-3), Normalisation()):
        same_bits(normalised(to_host_tensor(grey).to(device), norm).cpu().numpy(), norm.apply(grey))


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_divides_and_does_not_multiply_by_the_inverse(device):
    other = 0
    for divisor in range(3, 400, 2):
        # Halfway between two numbers of float32, where the last bit in double precision decides.
        grey = np.arange((1 << 25) - 41, 1 << 25, 2) * divisor
        norm = Normalisation(scale=divisor)
        got = normalised(to_host_tensor(grey).to(device), norm).cpu().numpy()
        same_bits(got, norm.apply(grey))
        other += int(((grey * (1 / divisor)).astype("f4") != got).sum())
    assert other > 100


@pytest.mark.parametrize("kind", [np.longdouble, np.ulonglong], ids=["long double", "ulonglong"])
def test_types_without_a_name_in_torch_come_as_what_numpy_computes_with(kind):
    grey = np.array([[0, 3, 60_001]], kind)
    same_bits(normalised(to_host_tensor(grey), NORM).numpy(), NORM.apply(grey))


def test_pixels_that_nobody_may_change_or_that_lie_apart_are_copied():
    grey = np.arange(24, dtype="u2").reshape(4, 6)[::-2, 1::2]
    grey.flags.writeable = False
    host = to_host_tensor(grey)
    assert host.dtype == torch.uint16
    np.testing.assert_array_equal(host.numpy(), grey)


def source_of(array, *, volume=False, chunk="auto"):
    """(T, P, Y, X) -> what a network is given; every plane and time point has its own numbers."""
    image = LazyImage(data=da.from_array(array[:, None], chunks=chunk), channels=(Channel("BF"),))
    n_t, n_p = array.shape[:2]
    inputs = tuple(
        tuple(
            Normalisation(offset=400.0 + 10 * t + p, scale=90.0 + p, low=-2, high=2)
            for p in range(n_p)
        )
        for t in range(n_t)
    )
    return PlanesSource(InputPlanes(image), inputs, volume=volume)


def picture(shape, n_p=2, n_t=1, kind="u2"):
    return np.random.default_rng(0).normal(450, 90, (n_t, n_p, *shape)).astype(kind)


def stainer_of(source, network, *, card, n_out=3, ratios=None):
    return Stainer(
        network=lambda t: network, source=source, ratios=ratios,
        outputs=(Normalisation(offset=300.0, scale=50.0),) * n_out,
        planned=replace(network, device=CARD) if card else None,
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("in_z", [False, True], ids=["planes", "volume"])
def test_a_tile_beyond_the_image_is_given_to_the_network_as_numpy_would(in_z, precision):
    model = nn.Conv3d(1, 1, 1) if in_z else trained(NETS["unet"])
    network = prepare_network(model, precision=precision)
    source = source_of(picture((21, 17), n_p=5 if in_z else 2, kind=">i2"), volume=in_z)
    yx = (slice(8, 28), slice(4, 20))
    region = (slice(1, 8), *yx) if in_z else yx
    tile = Tile(index=0, read=region, write=yx, keep=yx)
    grey = stainer_of(source, network, card=True).read(0, tile)
    assert isinstance(grey, Grey)
    got, wanted = network.tensor([grey, grey]), network.tensor(padded(source, 0, region)[None])
    assert got.dtype == wanted.dtype
    assert got.is_contiguous(memory_format=network.layout)
    for one in got:
        np.testing.assert_array_equal(one.float().numpy(), wanted[0].float().numpy())
    assert (got[..., -1] == 0).all()


def run_plan(network, shape, *, mode="halo", core=16, batch=1):
    reach = network.reach
    core = shape if mode == "whole" else core
    tiles = plan_tiles(shape, core=core, halo=reach.halo, multiple_of=reach.multiple_of)
    return RunPlan(mode=mode, tiles=tiles, batch=batch)


def stain(stainer, plan, *, company=False, numbers=None):
    """With ``company`` the first thread that writes waits until another one does."""
    source = stainer.source
    result = np.full((source.times, len(stainer.outputs), *source.shape), np.nan, "f4")
    seen, names, met = [], set(), threading.Event()

    def write(t, tile, stains):
        names.add(threading.current_thread().name)
        if len(names) > 1:
            met.set()
        if company:
            met.wait(10)
        seen.append((threading.current_thread().name, t, tile.index))
        result[(t, slice(None), *tile.write)] = stains

    stain_tiles(stainer, plan, write, numbers=numbers)
    return result, seen


@pytest.fixture
def eight(monkeypatch):
    """Let this be a machine of 16 processors."""
    monkeypatch.setattr(pipeline, "processors", lambda: 16)


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize("mode", ["halo", "whole"])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_way_of_a_card_leaves_the_bits_of_the_processors_way(mode, batch):
    source = source_of(picture((61, 47), n_t=2), chunk=(1, 1, 1, 16, 16))
    plan = run_plan(NETWORK, (61, 47), mode=mode, batch=batch)
    one, _ = stain(stainer_of(source, NETWORK, card=False), plan)
    many, seen = stain(stainer_of(source, NETWORK, card=True), plan, company=mode == "halo")
    np.testing.assert_array_equal(many, one)
    assert len({(t, index) for _, t, index in seen}) == len(seen) == 2 * len(plan.tiles)
    if mode == "halo":
        assert len({name for name, *_ in seen}) > 1


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize("ratios", [None, (1.3, 1.3)], ids=["as it is", "resampled"])
def test_volumes_and_resampled_pictures_go_the_same_way(ratios):
    model = nn.Sequential(nn.Conv3d(1, 2, 1), *trained(volume, (2, 2, 6, 16, 16))).eval()
    network = prepare_network(NETWORK.module if ratios else model)
    source = source_of(picture((30, 26), n_p=2 if ratios else 7), volume=ratios is None)
    plan = run_plan(network, source.shape, core=12)
    one, many = (
        stain(stainer_of(source, network, card=card, ratios=ratios), plan)[0]
        for card in (False, True)
    )
    np.testing.assert_array_equal(many, one)


@pytest.mark.usefixtures("eight")
def test_a_card_that_runs_out_of_memory_leaves_its_tiles_to_the_processor(monkeypatch):
    source, steps = source_of(picture((61, 47))), []
    plan = replace(run_plan(NETWORK, (61, 47), core=32), batch=2)
    stainer = stainer_of(source, NETWORK, card=True)
    real = Network.predict

    def predict(self, planes, keeps):
        if self is NETWORK:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, planes, keeps)

    monkeypatch.setattr(Network, "predict", predict)
    got = np.full((3, 61, 47), np.nan, "f4")
    stain_tiles(
        stainer, plan, lambda t, tile, stains: got.__setitem__((slice(None), *tile.write), stains),
        on_step=steps.append,
    )  # fmt: skip
    monkeypatch.undo()
    wanted, _ = stain(stainer_of(source, NETWORK, card=False), replace(plan, batch=1))
    np.testing.assert_allclose(got, wanted[0], atol=1e-4)
    assert "on the processor" in steps[-1]


def test_pieces_come_in_the_order_in_which_they_were_asked_for():
    def job(number):
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number

    jobs = (lambda n=n: job(n) for n in range(20))
    with Ahead(jobs, 6, threads=4) as pieces:
        assert list(pieces) == list(range(20))
    assert not [t for t in threading.enumerate() if t.name.startswith("virtualstain-")]


@pytest.mark.parametrize(
    ("card", "cores", "free", "mode", "threads"),
    [
        (False, 64, 10**12, "halo", 1),
        (True, 2, 10**12, "halo", 1),
        (True, 16, 10**12, "halo", 8),
        (True, 64, 10**12, "halo", 8),
        (True, 16, 10**12, "whole", 1),
        (True, 16, 10**12, "stream", 1),
        (True, 16, 4 * 10**9, "halo", 6),
        (True, 16, 10**6, "halo", 1),
    ],
)
def test_threads_are_as_many_as_processors_and_memory_allow(
    monkeypatch, card, cores, free, mode, threads
):
    monkeypatch.setattr(pipeline, "processors", lambda: cores)
    monkeypatch.setattr(pipeline, "free_memory", lambda device: free)
    source = source_of(np.broadcast_to(np.zeros((), "u2"), (1, 2, 8192, 8192)))
    plan = run_plan(NETWORK, (8192, 8192), mode=mode, core=2048)
    assert threads_beside(stainer_of(source, NETWORK, card=card), plan) == threads


def test_numbers_that_were_never_away_are_there():
    values = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)[:, 1:]
    assert not isinstance(Returning.of(values), Returning)
    np.testing.assert_array_equal(arrived(Returning.of(values)), values.float().numpy())


@pytest.mark.gpu
def test_on_a_card_results_are_those_of_the_processor():
    network = prepare_network(trained(NETS["unet"]), device="cuda")
    source = source_of(picture((300, 280), n_t=2), chunk=(1, 1, 1, 64, 64))
    plan = run_plan(NETWORK, (300, 280), core=64)
    stainer = replace(stainer_of(source, network, card=False), planned=network)
    assert stainer.on_card
    got, _ = stain(stainer, plan)
    wanted, _ = stain(stainer_of(source, NETWORK, card=False), plan)
    np.testing.assert_allclose(got, wanted, atol=1e-5 * float(np.ptp(wanted)))
    backwards = range(2 * len(plan.tiles) - 1, -1, -1)
    np.testing.assert_array_equal(stain(stainer, plan, numbers=backwards)[0], got)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_card_tiles_are_what_they_are_here(dtype):
    grey = Grey(pixels=to_host_tensor(picture((40, 50))[0]), norms=(NORM, NORM), shape=(2, 48, 56))
    assert grey.pixels.is_pinned()
    ways = [
        stacked([grey, grey], device=torch.device(d), dtype=dtype, layout=torch.channels_last).cpu()
        for d in ("cpu", "cuda")
    ]
    assert torch.equal(*ways)
    back = Returning.of(ways[0].cuda())
    assert isinstance(back, Returning)
    np.testing.assert_array_equal(arrived(back), ways[0].float().numpy())
