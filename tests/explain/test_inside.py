"""Attention and SPADE inside a generator are those that its weights say, written out naively."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_virtualstain.explain.inside import (
    KINDS,
    attention_of_place,
    attention_received,
    first_moments,
    inner_layers,
    modulation,
    module_of,
    moments_of,
)
from napari_virtualstain.generators.registry import GENERATORS, build_generator
from napari_virtualstain.generators.sampled import Sampling, draw_sample
from napari_virtualstain.nets.guided_attention import SelfAttention

HOW = Sampling(steps=4)
WITH_ATTENTION = {
    "palette": {"middle_attention": True},
    "guided_i2i": {"middle_attention": True, "guide_width": 0},
    "spade_diffusion": {"middle_attention": True, "attention": (2,)},
    "bbdm": {"middle_attention": True},
    "lbbdm": {"middle_attention": True, "code_attention": True},
    "vae_gan": {"attention": True},
}


def generator_of(name, **changes):
    """Return a small generator of random weights, none of them zero."""
    architecture = {**GENERATORS[name].presets["tiny"], **changes}
    generator = build_generator(
        name, in_channels=3, out_channels=5, architecture=architecture, seed=3
    )
    torch.manual_seed(0)
    for weights in generator.module().parameters():
        torch.nn.init.normal_(weights, std=0.1)
    for part in generator.module().modules():
        if isinstance(part, SelfAttention):  # else it would be nearly even, whatever is computed
            for weights in part.parameters():
                torch.nn.init.normal_(weights, std=1.0)
    generator.module().eval()
    return generator


def subject_of(name, **changes):
    """Return what is looked at: the generator if it walks, else its network."""
    generator = generator_of(name, **changes)
    return generator if hasattr(generator, "rule") else generator.module()


@pytest.fixture(scope="module")
def planes():
    return np.random.default_rng(1).normal(size=(3, 32, 48)).astype(np.float32)


def naive(layer, x):
    """Return the whole matrix of attention (H, N, N) from the weights of a layer."""
    found = []
    with torch.no_grad():
        weight = layer.norm.weight, layer.norm.bias
        calm = functional.group_norm(x, layer.norm.num_groups, *weight, layer.norm.eps)
        flat = calm[0].flatten(1)
        if hasattr(layer, "qkv"):
            rows = layer.qkv.weight[:, :, 0] @ flat + layer.qkv.bias[:, None]
            size = flat.shape[0] // layer.heads
            parts = [
                (rows[3 * h * size : (3 * h + 1) * size], rows[(3 * h + 1) * size :][:size])
                for h in range(layer.heads)
            ]
        else:
            parts = [
                tuple(
                    part.weight[:, :, 0, 0] @ flat + part.bias[:, None]
                    for part in (layer.q, layer.k)
                )
            ]
        for query, key in parts:
            scores = query.T @ key / query.shape[0] ** 0.5
            powers = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
            found.append(powers / powers.sum(dim=1, keepdim=True))
    return torch.stack(found).numpy()


def given_to(subject, layer, ask):
    """Return all that a layer is given while something is asked."""
    kept = []
    part = module_of(subject).get_submodule(layer)
    handle = part.register_forward_pre_hook(lambda _part, given: kept.append(given[0].clone()))
    with torch.inference_mode():
        ask()
    handle.remove()
    return part, kept


@pytest.mark.parametrize(("name", "changes"), WITH_ATTENTION.items(), ids=WITH_ATTENTION)
def test_attention_is_that_of_the_draw_itself_at_each_step(name, changes, planes):
    subject = subject_of(name, **changes)
    layers = inner_layers(subject, first_moments(subject, planes, HOW), KINDS["attention"])
    assert layers
    moments = moments_of(subject, planes, HOW, seed=7, shown=(1, 3))
    for layer in layers:
        if isinstance(subject, torch.nn.Module):
            part, kept = given_to(
                subject, layer.name, lambda: subject(torch.from_numpy(planes)[None])
            )
        else:
            part, kept = given_to(
                subject, layer.name, lambda: draw_sample(subject, planes[None], HOW, seed=7)
            )
        asked = [one for one in moments if one.part == layer.part]
        assert [one.step for one in asked] == ([1, 3] if layer.part == "step" else [0])
        for moment in asked:
            x = kept[max(0, moment.step - 1)]
            wanted = naive(part, x)
            assert wanted.max() > 5 * wanted.mean()
            assert layer.heads == len(wanted)
            rows, columns = x.shape[2:]
            assert (rows * layer.px, columns * layer.px) == planes.shape[1:]
            place = (rows - 1, 1)
            got = attention_of_place(subject, moment, layer.name, place)
            np.testing.assert_allclose(
                got, wanted[:, place[0] * columns + place[1]].reshape(-1, rows, columns),
                rtol=1e-5, atol=1e-5,
            )  # fmt: skip
            mean = wanted.mean(axis=1).reshape(-1, rows, columns)
            got = attention_received(subject, moment, layer.name, block_bytes=1)
            np.testing.assert_allclose(got, mean, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(got.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_all_parts_of_a_bridge_among_codes_are_listed_in_their_order(planes):
    subject = subject_of("lbbdm", **WITH_ATTENTION["lbbdm"])
    layers = inner_layers(subject, first_moments(subject, planes, HOW), KINDS["attention"])
    assert [layer.part for layer in layers] == ["given", "step", "painted"]
    assert layers[1].words().endswith("px, at every step")


def test_rows_in_blocks_are_the_rows_at_once(planes):
    subject = subject_of("palette", middle_attention=True)
    (moment,) = [m for m in first_moments(subject, planes, HOW) if m.part == "step"]
    (layer,) = inner_layers(subject, [moment], KINDS["attention"])
    one, all_ = (
        attention_received(subject, moment, layer.name, block_bytes=size) for size in (1, 1 << 30)
    )
    np.testing.assert_allclose(one, all_, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["spade", "spade_diffusion"])
def test_modulation_is_what_the_convolutions_read_from_the_planes(name, planes):
    subject = subject_of(name)
    moments = first_moments(subject, planes, HOW)
    layers = inner_layers(subject, moments, KINDS["spade"])
    assert len({layer.px for layer in layers}) > 1
    for layer in (layers[0], layers[-1]):
        (moment,) = [one for one in moments if one.part == layer.part]
        part = module_of(subject).get_submodule(layer.name)
        small = torch.from_numpy(planes)[None]
        if layer.px > 1:
            # SPADE takes the mean, SPADE-diffusion the nearest pixel.
            shrink = functional.avg_pool2d if name == "spade" else functional.max_pool2d
            small = shrink(small, layer.px if name == "spade" else 1, layer.px)
        with torch.no_grad():
            hidden = torch.relu(part.mlp_shared[0](small))
            wanted = [
                np.sqrt(np.mean(np.square(read(hidden)[0].numpy()), axis=0))
                for read in (part.mlp_gamma, part.mlp_beta)
            ]
        for got, one in zip(modulation(subject, moment, layer.name), wanted, strict=True):
            np.testing.assert_allclose(got, one, rtol=1e-5, atol=1e-6)


def test_looking_leaves_no_trace(planes):
    subject = subject_of("palette", middle_attention=True)
    before = draw_sample(subject, planes[None], HOW, seed=1)
    moments = moments_of(subject, planes, HOW, seed=1, shown=(2,))
    (layer,) = inner_layers(subject, moments, KINDS["attention"])
    attention_of_place(subject, moments[1], layer.name, (0, 0))
    assert all(not part._forward_pre_hooks for part in subject.module().modules())
    np.testing.assert_array_equal(draw_sample(subject, planes[None], HOW, seed=1), before)
