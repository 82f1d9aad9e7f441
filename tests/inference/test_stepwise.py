"""A sample that is drawn in tiles is the sample of the whole image."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_virtualstain.diffusion.bridge import BrownianBridge
from napari_virtualstain.diffusion.bridge_sampler import BridgeSteps, bridge_timesteps
from napari_virtualstain.diffusion.noise_schedule import (
    NoiseSchedule,
    linear_alphas_cumprod,
    spaced_timesteps,
)
from napari_virtualstain.diffusion.pixel_noise import noise_of
from napari_virtualstain.diffusion.samplers import Ancestral, Ddim, DpmSolverPlusPlus2M
from napari_virtualstain.errors import DiskError, RunCancelled, SettingsError
from napari_virtualstain.inference import stepwise
from napari_virtualstain.inference.stepwise import sample_tiles, state_bytes
from napari_virtualstain.tiling.plan import plan_tiles

SCHEDULE = NoiseSchedule(linear_alphas_cumprod(), spaced_timesteps(1000, 5))
RULES = {
    "ddim": Ddim(schedule=SCHEDULE),
    "ddpm": Ancestral(schedule=SCHEDULE),
    "cut ddpm": Ancestral(schedule=SCHEDULE, clip=(-15, 15)),
    "dpm-solver++": DpmSolverPlusPlus2M(schedule=SCHEDULE),
}
N_X, N_C = 2, 3


class Network:
    """Convolutions over x, conditioning and a plane of the noise level."""

    def __init__(self, layers, halo, multiple_of):
        self.layers, self.halo, self.multiple_of = layers, halo, multiple_of
        generator = torch.Generator().manual_seed(1)
        for parameter in layers.parameters():
            nn.init.normal_(parameter, std=0.15, generator=generator)

    def __call__(self, x, conditioning, time):
        level = np.full_like(x[:, :1], time.level)
        given = torch.from_numpy(np.concatenate([x, conditioning, level], axis=1))
        with torch.inference_mode():
            return self.layers(given).numpy()

    def plan(self, shape, core):
        return plan_tiles(shape, core=core, halo=self.halo, multiple_of=self.multiple_of)


NETWORKS = {
    "dilated": Network(
        nn.Sequential(
            nn.Conv2d(N_X + N_C + 1, 6, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(6, N_X, 5, padding=4, dilation=2),
        ),
        halo=5,
        multiple_of=1,
    ),
    "down and up": Network(
        nn.Sequential(
            nn.Conv2d(N_X + N_C + 1, 6, 3, padding=1),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, N_X, 3, padding=1),
            nn.Upsample(scale_factor=2),
        ),
        halo=4,
        multiple_of=2,
    ),
}
VOLUME = Network(
    nn.Sequential(nn.Conv3d(N_X + N_C + 1, 4, 3, padding=1), nn.Tanh(), nn.Conv3d(4, N_X, 1)),
    halo=1,
    multiple_of=1,
)
IMAGE = np.random.default_rng(0).normal(size=(N_C, 64, 64)).astype(np.float32)


def sample(network, rule, shape, core, *, image=None, **settings):
    """Return the sample of an image, each pixel written once."""
    planes = IMAGE[(slice(None), *(slice(0, n) for n in shape))] if image is None else image
    result = np.full((N_X, *shape), np.nan, np.float32)

    def write(tile, pixels):
        at = (slice(None), *tile.write)
        assert np.isnan(result[at]).all()
        result[at] = pixels

    sample_tiles(
        network,
        rule,
        network.plan(shape, core),
        lambda region: planes[(slice(None), *region)],
        write,
        channels=N_X,
        **{"seed": 4, **settings},
    )
    assert not np.isnan(result).any()
    return result


def sample_whole(network, rule, shape):
    """The stupid twin: one array, one loop, one call a step, padded to the stride by hand."""
    padding = [(0, 0), *[(0, -n % network.multiple_of) for n in shape]]
    region = tuple(slice(0, n) for n in shape)
    planes = np.pad(IMAGE[(slice(None), *region)], padding)[None]
    x = noise_of(4, region, channels=N_X)
    history = np.zeros((rule.memory, *x.shape), np.float32)
    for step in range(rule.steps):
        eps = network(np.pad(x, padding)[None], planes, rule.prepare(step))
        noise = noise_of(4, region, draw=step + 1, channels=N_X)
        x, history = rule.step(
            step,
            x,
            eps[(slice(None), slice(None), *region)],
            history,
            noise if rule.is_stochastic(step) else None,
        )
    return x


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@settings(max_examples=12)
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), core=st.integers(5, 45))
def test_tiles_are_the_sample_of_the_whole_image(network, rule, shape, core):
    whole = sample_whole(network, rule, shape)
    tiled = sample(network, rule, shape, core)
    # 1e-5 of the range: the accuracy of float32 under another order of additions
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * max(np.ptp(whole), 1.0))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("core", range(6, 34, 3))
def test_no_tile_size_changes_the_sample(rule, core):
    network = NETWORKS["down and up"]
    whole = sample(network, rule, (33, 31), 33)
    tiled = sample(network, rule, (33, 31), core)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(whole))


def test_a_halo_that_is_too_small_is_seen():
    """What the tests above would say if neighbours did not matter."""
    network = NETWORKS["dilated"]
    blind = Network(network.layers, halo=2, multiple_of=1)
    apart = sample(blind, RULES["ddim"], (33, 31), 8) - sample(network, RULES["ddim"], (33, 31), 8)
    assert np.abs(apart).max() > 1e-3


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_order_of_the_tiles_changes_no_bit(rule):
    network = NETWORKS["dilated"]
    shuffle = np.random.default_rng(5)
    first = sample(network, rule, (33, 31), 8)
    for _ in range(3):
        other = sample(
            network, rule, (33, 31), 8, order=lambda _step: shuffle.permutation(20).tolist()
        )
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_files_and_memory_give_the_same_bits(rule, tmp_path):
    network = NETWORKS["dilated"]
    seen = []

    def look(done, _total):
        seen.append(done)
        assert list(tmp_path.iterdir()) == []  # the files have no name

    in_files = sample(network, rule, (33, 31), 8, budget_bytes=0, folder=tmp_path, on_tile=look)
    assert seen == list(range(5 * 20 + 1))
    np.testing.assert_array_equal(in_files, sample(network, rule, (33, 31), 8))


def test_volumes_are_sampled_like_planes():
    image = np.random.default_rng(1).normal(size=(N_C, 9, 14, 11)).astype(np.float32)
    rule = RULES["dpm-solver++"]
    tiled = sample(VOLUME, rule, (9, 14, 11), 4, image=image)
    whole = sample(VOLUME, rule, (9, 14, 11), 14, image=image)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(whole))


def test_the_seed_decides_the_sample():
    network, rule = NETWORKS["dilated"], RULES["ddpm"]
    one, again, other = (sample(network, rule, (20, 20), 8, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.9


def test_constant_conditioning_leaves_no_trace_of_the_tiles():
    """Noise is the only thing that differs between pixels; a seam would be a step in the mean."""
    network = NETWORKS["dilated"]
    image = np.full((N_C, 48, 48), 0.7, np.float32)
    rule = RULES["ddpm"]
    tiled = sample(network, rule, (48, 48), 12, image=image)
    whole = sample(network, rule, (48, 48), 48, image=image)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(whole))


class Silent:
    """A rule of one step without noise or memory, that hands on what the network says."""

    steps, initial_scale, memory, outputs = 1, 0.0, 0, 1

    def is_stochastic(self, step):
        return False

    def prepare(self, step):
        return SCHEDULE.time(step)

    def step(self, step, x, prediction, history, noise):
        assert noise is None
        return prediction[0], history


def test_constant_in_constant_out():
    image = np.full((2, 23, 17), 3.5, np.float32)
    result = sample(
        type("", (), {"plan": NETWORKS["dilated"].plan, "__call__": lambda _s, _x, c, _t: c})(),
        Silent(),
        (23, 17),
        5,
        image=image,
    )
    np.testing.assert_array_equal(result, image)


def test_a_bridge_starts_from_a_picture():
    start = np.random.default_rng(2).normal(size=(N_X, 23, 17)).astype(np.float32)
    result = sample(
        type("", (), {"plan": NETWORKS["dilated"].plan, "__call__": lambda _s, x, _c, _t: x})(),
        Silent(),
        (23, 17),
        5,
        start=lambda region: start[(slice(None), *region)],
    )
    np.testing.assert_array_equal(result, start)


def test_a_bridge_in_tiles_is_the_bridge_of_the_whole_image():
    """The end that it is led to is remembered in every tile."""
    network = NETWORKS["dilated"]
    end = np.random.default_rng(2).normal(size=(N_X, 33, 31)).astype(np.float32)
    rule = BridgeSteps(bridge=BrownianBridge(), timesteps=bridge_timesteps(1000, 5), eta=0.5)

    def start(region):
        return end[(slice(None), *region)]

    whole = sample(network, rule, (33, 31), 33, start=start)
    tiled = sample(network, rule, (33, 31), 8, start=start)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(whole))
    region = (slice(0, 33), slice(0, 31))
    x = end + np.float32(rule.initial_scale) * noise_of(4, region, channels=N_X)
    history = end[None]
    for step in range(5):
        prediction = network(x[None], IMAGE[None, :, :33, :31], rule.prepare(step))
        noise = noise_of(4, region, draw=step + 1, channels=N_X)
        noise = noise if rule.is_stochastic(step) else None
        x, history = rule.step(step, x, prediction, history, noise)
    np.testing.assert_allclose(whole, x, rtol=0, atol=1e-5 * np.ptp(x))


def test_a_learned_variance_is_sampled_in_tiles():
    narrow = NETWORKS["dilated"]

    def both(x, conditioning, time):
        eps = narrow(x, conditioning, time)
        return np.concatenate([eps, np.tanh(eps)])

    wide = type("", (), {"plan": narrow.plan, "__call__": lambda _s, *given: both(*given)})()
    rule = Ancestral(schedule=SCHEDULE, variance="learned")
    whole, tiled = (sample(wide, rule, (33, 31), core) for core in (33, 8))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(whole))
    assert np.abs(whole - sample(narrow, RULES["ddpm"], (33, 31), 33)).max() > 1e-3


@pytest.mark.parametrize("in_files", [False, True], ids=["in memory", "in files"])
def test_cancelling_ends_between_two_tiles_and_leaves_nothing(in_files, tmp_path):
    def cancel(done, total):
        assert total == 100
        if done == 37:
            raise RunCancelled("The run was cancelled. Start it again.")

    calls = []
    network = NETWORKS["dilated"]

    def counted(*given):
        calls.append(1)
        return network(*given)

    counted.plan = network.plan
    with pytest.raises(RunCancelled):
        sample(
            counted,
            RULES["ddpm"],
            (33, 31),
            8,
            budget_bytes=0 if in_files else 1 << 30,
            folder=tmp_path,
            on_tile=cancel,
        )
    assert len(calls) == 37
    assert list(tmp_path.iterdir()) == []


def test_files_leave_no_room_taken_after_an_error(tmp_path):
    """Every file is closed, so that the system takes its room back."""

    def failing(*_given):
        raise ValueError("a defect")

    failing.plan = NETWORKS["dilated"].plan
    handles = Path("/proc/self/fd")
    if not handles.is_dir():
        pytest.skip("open files cannot be counted here")
    before = len(list(handles.iterdir()))
    with pytest.raises(ValueError, match="a defect") as kept:
        sample(failing, RULES["dpm-solver++"], (33, 31), 8, budget_bytes=0, folder=tmp_path)
    assert len(list(handles.iterdir())) == before
    assert kept.tb is not None  # somebody keeps the exception and its frames
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_before_the_first_step(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(DiskError) as caught:
        sample(NETWORKS["dilated"], RULES["ddim"], (33, 31), 8, budget_bytes=0, folder=tmp_path)
    assert str(caught.value) == (
        f"Sampling keeps 0.0 GB at a time between two steps, and the folder '{tmp_path}' refuses "
        "them: No space left on device. Choose another folder, stain a smaller region, or allow "
        "more memory."
    )


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DiskError, match="refuses them: No such file or directory. Choose another"):
        sample(
            NETWORKS["dilated"], RULES["ddim"], (9, 9), 8, budget_bytes=0, folder=tmp_path / "no"
        )


def test_where_the_system_cannot_reserve_room_zeros_are_written(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(stepwise, "_BLOCK", 1000)
    network, rule = NETWORKS["dilated"], RULES["dpm-solver++"]
    in_files = sample(network, rule, (33, 31), 8, budget_bytes=0, folder=tmp_path)
    np.testing.assert_array_equal(in_files, sample(network, rule, (33, 31), 8))


@pytest.mark.parametrize(
    ("rule", "fields"), [(RULES["ddim"], 2), (RULES["dpm-solver++"], 3)], ids=["ddim", "2m"]
)
def test_what_is_kept_is_known_before(rule, fields):
    assert state_bytes(rule, (100, 200), 5) == fields * 5 * 100 * 200 * 4


def test_memory_does_not_grow_with_the_image_when_files_are_used(tmp_path):
    """Traced are all arrays of numpy; the pages of a file are not among them."""

    def peak(size, budget):
        plan = plan_tiles((size, 256), core=64, halo=8, multiple_of=1)
        tracemalloc.start()
        try:
            sample_tiles(
                lambda x, _conditioning, _time: x * np.float32(0.1),
                RULES["dpm-solver++"],
                plan,
                lambda region: np.zeros((1, *(p.stop - p.start for p in region)), np.float32),
                lambda _tile, _pixels: None,
                channels=4,
                budget_bytes=budget,
                folder=tmp_path,
            )
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # Threads of others are traced, too: the least of a few is what this one takes.
    small, large = (min(peak(size, 0) for _ in range(3)) for size in (128, 2048))
    assert large < small * 1.1 + 50_000
    assert peak(2048, 1 << 30) > state_bytes(RULES["dpm-solver++"], (2048, 256), 4)


@pytest.mark.parametrize("numbers", [[0, 1], [0, 0, 1, 2], [0, 1, 2, 4]], ids=str)
def test_an_order_that_leaves_tiles_out_is_refused(numbers):
    with pytest.raises(SettingsError, match="each of the 4 tiles once.*every number of the plan"):
        sample(NETWORKS["dilated"], RULES["ddim"], (16, 16), 8, order=lambda _step: numbers)


def test_a_network_of_another_shape_is_refused():
    narrow = type(
        "", (), {"plan": NETWORKS["dilated"].plan, "__call__": lambda _s, x, _c, _t: x[:, :1]}
    )()
    with pytest.raises(
        SettingsError, match=r"returns \(1, 1, 13, 13\) for an x of \(1, 2, 13, 13\)"
    ):
        sample(narrow, RULES["ddim"], (16, 16), 8)
