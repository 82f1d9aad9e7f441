"""Bands of rows give the forward pass of the whole image, and no row is computed twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import NETS, trained, volume
from torch import nn

from napari_virtualstain.inference.network import prepare_network
from napari_virtualstain.inference.operations import UnknownOperationError, trace
from napari_virtualstain.inference.stream import RowStream, can_stream, stream_bytes

MODELS = {name: trained(build) for name, build in NETS.items()}
NETWORKS = {name: prepare_network(model) for name, model in MODELS.items()}
STEP = {name: max(network.reach.multiple_of) for name, network in NETWORKS.items()}


def whole(name, image):
    with torch.inference_mode():
        return MODELS[name](torch.from_numpy(image[None]))[0].numpy()


def streamed(network, image, cuts, axis=0):
    stream = network.stream(image.shape[axis + 1], axis=axis)
    bands = []
    for start, stop in zip([0, *cuts], [*cuts, image.shape[axis + 1]], strict=True):
        rows = [slice(None)] * image.ndim
        rows[axis + 1] = slice(start, stop)
        bands += stream.push(image[tuple(rows)])
    return np.concatenate(bands, axis=axis + 1)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).normal(size=(2, height, width)).astype(np.float32)


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_bands_give_the_whole_image(name, data):
    step = STEP[name]
    height = data.draw(st.integers(1, 12)) * step
    width = data.draw(st.integers(1, 5)) * step
    axis = data.draw(st.integers(0, 1))
    edges = (height, width)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, edges[axis] - 1)), max_size=5)))
    cuts = [cut for cut in cuts if cut < edges[axis]]
    image = picture(height, width)
    expected = whole(name, image)
    got = streamed(NETWORKS[name], image, cuts, axis)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-5 * max(1.0, float(np.ptp(expected))))


@pytest.mark.parametrize("axis", [0, 1, 2], ids="zyx")
def test_a_volume_is_streamed_along_any_axis(axis):
    net = trained(volume, (2, 2, 6, 16, 16))
    network = prepare_network(net)
    image = np.random.default_rng(0).normal(size=(2, 9, 20, 14)).astype(np.float32)
    with torch.inference_mode():
        expected = net(torch.from_numpy(image[None]))[0].numpy()
    got = streamed(network, image, [2, 8], axis)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_each_operation_computes_each_row_once(monkeypatch):
    network = NETWORKS["unet"]
    rows = []
    real = RowStream._window

    def watched(self, stage, start, stop):
        rows.append((stage.node.name, start, stop))
        return real(self, stage, start, stop)

    monkeypatch.setattr(RowStream, "_window", watched)
    streamed(network, picture(64, 16), [8, 24, 32, 60])
    for name in {name for name, *_ in rows}:
        mine = [(a, b) for n, a, b in rows if n == name]
        assert mine[0][0] == 0
        assert all(before[1] == after[0] for before, after in itertools.pairwise(mine))


def test_memory_does_not_grow_with_the_height():
    outline = NETWORKS["unet"].outline
    small, large = (
        stream_bytes(outline, band=16, shape=(height, 64), channels=2) for height in (256, 2048)
    )
    assert small == large
    whole_image = NETWORKS["unet"].forward_bytes((2048, 64))
    assert large < whole_image / 5


def test_missing_pixels_stay_missing_in_both():
    image = picture(48, 32)
    image[:, 20, 10] = np.nan
    got = streamed(NETWORKS["unet"], image, [8, 24])
    np.testing.assert_array_equal(np.isnan(got), np.isnan(whole("unet", image)))
    assert 0 < np.isnan(got).mean() < 1


REFUSED = {
    "linear upsampling": nn.Upsample(scale_factor=2, mode="bilinear"),
    "reflected border": nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
}


@pytest.mark.parametrize("layer", REFUSED.values(), ids=REFUSED)
def test_what_is_not_computed_by_rows_says_so(layer):
    traced = trace(nn.Sequential(layer))
    assert not can_stream(traced)
    with pytest.raises(UnknownOperationError, match="row by row"):
        RowStream(traced, length=8)
