"""What happens inside a model lies over the image, says what it is worth, and is refused in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_models import package

from napari_virtualstain import api
from napari_virtualstain.cli import main
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.package import load_package
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.nets.guided_attention import SelfAttention

AT = (130, 70)
PALETTE = {"architecture": {"middle_attention": True}}


@pytest.fixture(scope="module")
def bright(field_folder):
    return field_folder / "brightfield.ome.zarr"


@pytest.fixture(scope="module")
def palette(tiny_model, tmp_path_factory):
    return package("palette", tiny_model, tmp_path_factory.mktemp("inside"), **PALETTE)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "why.ome.zarr"


def maps_of(result):
    image = open_image(result.out)
    return dict(zip(image.channel_names, image.data[0, :, 0].compute(), strict=True)), image


def corner(image):
    size = image.pixel_size_um
    return tuple(round(o / s) for o, s in zip(image.origin_um[1:], (size.y, size.x), strict=True))


def normal(bright):
    planes = open_image(bright).data[0, 0].compute().astype(np.float64)
    mean, sd = planes.mean(axis=(1, 2), keepdims=True), planes.std(axis=(1, 2), keepdims=True)
    return ((planes - mean) / sd).astype(np.float32)


def test_steps_of_a_draw_are_shown_over_the_image_each_with_its_sanity(bright, palette, out):
    result = api.explain(
        bright, out, model=palette, at=AT, method=("self-attention", "attention-received"),
        size=64, sampling_steps=4, shown_steps=(4, 1),
    )  # fmt: skip
    maps, image = maps_of(result)
    assert list(maps) == [
        f"{title}, step {step} of 4, mean of heads"
        for title in ("attention of 130,70", "attention received") for step in (1, 4)
    ]  # fmt: skip
    assert image.shape[3:] == (64, 64)
    assert corner(image) == (98, 38)
    assert image.pixel_size_um.yx == pytest.approx(0.6)
    for one in result.maps:
        assert one.verdict in {"depends", "partly", "same", "unknown"}
        assert "random weights" in one.sanity
        assert "a shuffled picture" in one.sanity
        px, grid = one.numbers["px_per_value"], one.numbers["grid"]
        assert [px * n for n in grid] == [64, 64]
        values = maps[one.channel]
        assert values[::px, ::px].sum() == pytest.approx(1, rel=1e-5)
        np.testing.assert_array_equal(
            values, np.kron(values[::px, ::px], np.ones((px, px), np.float32))
        )
    said = " ".join(result.sentences)
    assert "is predicted as" not in said, "no draw of a large crop for maps that need none"
    area = result.maps[1].numbers["area"]
    assert "60% of the attention of 130,70 lies in this part of the window: " in said
    assert f", {area:.0%} at step 4 of 4 (60% would be even)." in said
    assert any("shown a part of 64 x 64 px around the pixel" in note for note in result.notes)
    assert any(note.startswith("one value per ") for note in result.notes)
    record = read_record(out)["record"]
    assert record["settings"]["shown_steps"] == [4, 1]
    assert record["maps"][0]["numbers"]["step"] == 1


def test_one_step_shows_each_head_and_the_same_seed_the_same_map(bright, palette, tmp_path):
    def asked(name, seed):
        result = api.explain(
            bright, tmp_path / name, model=palette, at=AT, method=("self-attention",), size=32,
            sampling_steps=3, shown_steps=(2,), seed=seed, sanity=False,
        )  # fmt: skip
        return result, maps_of(result)[0]

    result, first = asked("a.ome.zarr", 5)
    heads = result.maps[0].numbers["heads"]
    assert len(first) == 1 + heads > 2
    mean, *each = first.values()
    np.testing.assert_allclose(np.mean(each, axis=0), mean, rtol=1e-5)
    _, again = asked("b.ome.zarr", 5)
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    _, other = asked("c.ome.zarr", 6)
    assert np.abs(other[next(iter(first))] - mean).max() > 0


def test_five_steps_are_shown_if_nobody_says_which(bright, palette, out):
    result = api.explain(
        bright, out, model=palette, method=("attention-received",), size=16, sampling_steps=9,
        sanity=False,
    )  # fmt: skip
    assert [one.numbers["step"] for one in result.maps] == [1, 3, 5, 7, 9]


def test_a_window_of_the_whole_field_is_not_called_a_part(bright, palette, out):
    whole = open_image(bright)
    small = replace(whole, data=whole.data[..., :44, :60])
    result = api.explain(
        small, out, model=palette, method=("attention-received",), sampling_steps=1, sanity=False
    )
    assert not any("larger than one window" in note for note in result.notes)
    assert maps_of(result)[1].shape[3:] == (44, 60)


def test_modulation_of_spade_is_that_of_the_whole_field(bright, tiny_model, tmp_path, out):
    spade = package("spade", tiny_model, tmp_path)
    result = api.explain(
        bright, out, model=spade, at=AT, method=("spade",), size=64, depth=0,
    )  # fmt: skip
    maps, image = maps_of(result)
    assert list(maps) == ["SPADE scale (gamma)", "SPADE offset (beta)"]
    top, left = corner(image)
    network = load_package(spade).generator.module().eval()
    layer = next(p for p in network.modules() if type(p).__name__ == "Spade")
    px = result.maps[0].numbers["px_per_value"]
    with torch.no_grad():
        planes = torch.from_numpy(normal(bright))[None]
        small = torch.nn.functional.avg_pool2d(planes, px) if px > 1 else planes
        gamma = layer.mlp_gamma(layer.mlp_shared(small))[0].square().mean(dim=0).sqrt().numpy()
    first, shown = (top // px, left // px), maps["SPADE scale (gamma)"][::px, ::px]
    inner = (slice(2, -2),) * 2  # a convolution of two looks two places far
    there = gamma[first[0] :][: shown.shape[0], first[1] :][:, : shown.shape[1]]
    np.testing.assert_allclose(shown[inner], there[inner], rtol=1e-4, atol=1e-6)
    assert result.maps[0].verdict
    assert "SPADE norms; depth 0 is" in " ".join(result.sentences)


def test_spade_of_a_model_that_draws_needs_no_draw(bright, tiny_model, tmp_path, out):
    model = package("spade_diffusion", tiny_model, tmp_path)
    result = api.explain(bright, out, model=model, method=("spade",), size=32, sanity=False)
    assert "is the same at every step" in " ".join(result.sentences)
    assert "step" not in result.maps[0].numbers


def test_an_autoencoder_shows_its_attention(bright, tiny_model, tmp_path, out):
    model = package("vae_gan", tiny_model, tmp_path, architecture={"attention": True})
    result = api.explain(
        bright, out, model=model, at=AT, method=("self-attention",), depth=1, size=64
    )
    assert result.maps[0].numbers["depth"] == 1
    assert "The model has 2 self-attentions" in " ".join(result.sentences)


BAD = {
    "a model without attention": (
        "tiny", {"method": ("attention-received",)},
        "is a unet, which has no self-attention; it has planes, gradient.*--method"),
    "a model without SPADE": (
        "palette", {"method": ("spade",)},
        "is a palette, which has no SPADE norms; it has planes, occlusion, self-attention.*--method"),
    "no pixel": ("palette", {"method": ("self-attention",)}, "none is named.*--at"),
    "a step that is not there": (
        "palette", {"method": ("attention-received",), "shown_steps": (4,)},
        "drawn in 3 steps, from 1.*--shown-steps"),
    "a depth that is not there": (
        "palette", {"method": ("attention-received",), "depth": 1},
        "no depth 1: the model has 1.*--depth"),
    "a pixel outside of the part": (
        "palette", {"method": ("self-attention",), "at": AT, "region": (0, 0, 32, 32)},
        "outside of the part.*--at"),
}  # fmt: skip


@pytest.mark.parametrize(("which", "asked", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_looked_at(which, asked, words, bright, palette, tiny_model, out):
    model = {"palette": palette, "tiny": tiny_model}[which]
    more = {"sampling_steps": 3} if which == "palette" else {}
    with pytest.raises(SettingsError, match=words) as caught:
        api.explain(bright, out, model=model, sanity=False, **more, **asked)
    assert str(caught.value).endswith(".")
    assert not out.exists()


def test_the_attention_of_a_classifier_that_is_not_asked_is_none(bright, tiny_model, tmp_path, out):
    architecture = {"guide_width": 8, "middle_attention": False}
    model = package("guided_i2i", tiny_model, tmp_path, architecture=architecture)
    modules = load_package(model).generator.module().modules()
    assert any(isinstance(part, SelfAttention) for part in modules)
    with pytest.raises(SettingsError, match="has no self-attention; it has planes, occlusion. Ch"):
        api.explain(bright, out, model=model, method=("attention-received",), size=32)


def test_the_command_names_steps_by_commas(bright, palette, out, capsys):
    line = [
        "explain", bright, "--model", palette, "--method", "attention-received", "--size", "16",
        "--sampling-steps", "3", "--shown-steps", "1,3", "--out", out, "--quiet",
    ]  # fmt: skip
    assert main([str(word) for word in line]) == 0
    shown = capsys.readouterr().out
    assert "attention received, step 3 of 3, mean of heads: " in shown
