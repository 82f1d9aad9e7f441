"""What a model and an encoder looked at: the numbers of plain twins, on the image, with a warning."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import torch
from drawn_models import package
from little_encoders import write_encoder
from stacks import DEPTH, train_on_stacks

from napari_virtualstain import api
from napari_virtualstain.axes import PixelSize
from napari_virtualstain.cli import main
from napari_virtualstain.encoders.package import load_encoder_package
from napari_virtualstain.errors import (
    AxesError,
    OutputExistsError,
    PixelDataError,
    SettingsError,
    UnknownNameError,
    VirtualStainError,
)
from napari_virtualstain.generators.package import load_package, save_package
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.stain import run as stain
from napari_virtualstain.metrics.pixel import pearson

AT = (130, 70)


@pytest.fixture(scope="module")
def bright(field_folder):
    return field_folder / "brightfield.ome.zarr"


@pytest.fixture(scope="module")
def truth(field_folder):
    return field_folder / "stains.ome.zarr"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders") / "looks"
    return write_encoder(folder, channels=(), in_channels=3)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "why.ome.zarr"


def normal(bright):
    """Return the planes of a field as the tiny model takes them, each over its own field."""
    planes = open_image(bright).data[0, 0].compute().astype(np.float64)
    mean, sd = planes.mean(axis=(1, 2), keepdims=True), planes.std(axis=(1, 2), keepdims=True)
    return ((planes - mean) / sd).astype(np.float32)


def maps_of(result):
    image = open_image(result.out)
    return dict(zip(image.channel_names, image.data[0, :, 0].compute(), strict=True)), image


def corner(image):
    """Return the first pixel of a store in pixels of a field whose own lies at the origin."""
    size = image.pixel_size_um
    return tuple(round(o / s) for o, s in zip(image.origin_um[1:], (size.y, size.x), strict=True))


# --- a pixel of a model --------------------------------------------------------------------------


def test_a_gradient_is_that_of_the_whole_field_and_lies_on_it(bright, tiny_model, out):
    result = api.explain(bright, out, model=tiny_model, at=AT, method=("gradient",), stain="er")
    maps, image = maps_of(result)
    network = load_package(tiny_model).generator.module().eval()
    given = torch.from_numpy(normal(bright)[None]).requires_grad_()
    network(given)[0, 1, AT[0], AT[1]].backward()
    wanted = given.grad[0].numpy()
    assert image.pixel_size_um == PixelSize(None, 0.6, 0.6)
    top, left = corner(image)
    height, width = image.shape[3:]
    part = (slice(top, top + height), slice(left, left + width))
    for number, name in enumerate(("-4 µm", "0 µm", "+4 µm")):
        np.testing.assert_allclose(
            maps[f"ER gradient, {name}"], wanted[number][part], rtol=1e-3, atol=1e-6
        )
    np.testing.assert_allclose(
        maps["ER gradient, all planes"], np.abs(wanted).sum(axis=0)[part], rtol=1e-3, atol=1e-5
    )
    outside = wanted.copy()
    outside[(slice(None), *part)] = 0
    assert np.abs(outside).max() == 0  # the crop holds all that the pixel depends on
    assert height < 64
    (whole, *_rest) = result.maps
    assert sum(whole.numbers["share_of_plane"].values()) == pytest.approx(1, abs=1e-3)
    assert whole.numbers["radius_px"]["95%"] <= 2**0.5 * whole.numbers["halo_px"]
    assert "95% within" in " ".join(result.sentences)


def test_the_predicted_value_is_that_of_the_stain(bright, tiny_model, out, tmp_path):
    result = api.explain(bright, out, model=tiny_model, at=AT, method=("occlusion",))
    store = tmp_path / "s.ome.zarr"
    stain(StainSettings(input=str(bright), model=str(tiny_model), out=str(store)))
    value = float(open_image(store).data[0, 0, 0, AT[0], AT[1]].compute())
    (said,) = [s for s in result.sentences if "is predicted as" in s]
    assert said.startswith("DNA at 130,70 is predicted as ")
    assert float(said.split(" predicted as ")[1].split()[0].rstrip(",")) == pytest.approx(
        value, rel=1e-3
    )


def test_every_map_of_a_pixel_is_written_with_its_sanity_and_reading(bright, tiny_model, out):
    methods = ("gradient", "smoothgrad", "integrated", "occlusion", "gradcam", "planes")
    result = api.explain(
        bright, out, model=tiny_model, at=AT, method=methods, samples=3, steps=24, size=32
    )
    maps, _ = maps_of(result)
    assert [one.channel for one in result.maps] == list(maps)
    main_maps = [one for one in result.maps if one.verdict]
    assert [one.method for one in main_maps] == list(methods)
    for one in main_maps:
        assert one.verdict in {"depends", "partly", "same", "unknown"}
        assert "random weights" in one.sanity or one.verdict == "unknown"
        assert one.reading
        assert np.nanmax(np.abs(maps[one.channel])) > 0
    by_method = {one.method: one.numbers for one in main_maps}
    assert by_method["integrated"]["missing"] < 0.1
    depths = by_method["gradcam"]["depths"]
    assert by_method["gradcam"]["depth"] < len(depths)
    record = read_record(out)["record"]
    assert record["job"] == "explain"
    assert record["network"]["stain"] == "DNA"
    assert [one["channel"] for one in record["maps"]] == list(maps)
    assert json.loads(json.dumps(result.to_json()))["maps"][0]["sanity"] in result.text()


def test_integrated_gradients_add_up_to_the_prediction(bright, tiny_model, out):
    result = api.explain(
        bright, out, model=tiny_model, at=AT, method=("integrated",), steps=64, sanity=False
    )
    maps, image = maps_of(result)
    total = sum(np.nansum(maps[n]) for n in maps if "all planes" not in n)
    network = load_package(tiny_model).generator
    planes = normal(bright)
    value = network.predict(planes[None])[0, 0, AT[0], AT[1]]
    # The baseline is the crop of the run, each plane at its mean.
    top, left = corner(image)
    height, width = image.shape[3:]
    crop = planes[:, top : top + height, left : left + width]
    flat = np.broadcast_to(crop.mean(axis=(1, 2), keepdims=True), crop.shape)
    start = network.predict(flat[None])[0, 0, AT[0] - top, AT[1] - left]
    assert result.maps[0].numbers["missing"] < 0.1
    assert total == pytest.approx(value - start, abs=0.1)


@pytest.mark.parametrize("with_truth", [True, False], ids=["truth", "itself"])
def test_hidden_planes_are_hidden_by_hand_too(bright, truth, tiny_model, out, with_truth):
    region = (64, 32, 160, 128)
    more = {"target": str(truth)} if with_truth else {}
    result = api.explain(bright, out, model=tiny_model, region=region, sanity=False, **more)
    (numbers,) = [one.numbers for one in result.maps if one.numbers]
    network = load_package(tiny_model).generator
    halo = 16  # more than the network's own
    part = tuple(slice(a - halo, b + halo) for a, b in zip(region[:2], region[2:], strict=True))
    inner = (slice(halo, -halo),) * 2
    planes = normal(bright)[(slice(None), *part)]
    full = network.predict(planes[None])[0, 0][inner]
    like = full
    if with_truth:
        whole = open_image(truth)
        like = whole.data[0, whole.channel_index("DNA"), 0].compute()[64:160, 32:128]
    assert numbers["with_truth"] is with_truth
    assert numbers["correlation"] == pytest.approx(pearson(full, like), abs=2e-3)
    for plane, name in enumerate(("-4 µm", "0 µm", "+4 µm")):
        hidden = planes.copy()
        # The crop of the run reaches as far as the halo, of which the mean is taken.
        hidden[plane] = planes[plane].mean()
        r = pearson(network.predict(hidden[None])[0, 0][inner], like)
        assert numbers["without"][name] == pytest.approx(r, abs=0.05)
    assert any(s.startswith("DNA depends on") for s in result.sentences)
    maps, image = maps_of(result)
    assert image.shape[3:] == (96, 96)
    assert corner(image) == (64, 32)
    assert set(maps) == {
        "DNA planes, any plane", "DNA without -4 µm", "DNA without 0 µm", "DNA without +4 µm"
    }  # fmt: skip


def test_a_store_of_two_maps_is_as_large_as_both(bright, tiny_model, out):
    result = api.explain(
        bright, out, model=tiny_model, at=(3, 250), method=("gradient", "planes"), size=64,
        sanity=False,
    )  # fmt: skip
    maps, image = maps_of(result)
    assert corner(image) == (0, 192)
    assert image.shape[3:] == (64, 64)
    gradient = maps["DNA gradient, all planes"]
    y, x = np.nonzero(np.nan_to_num(gradient))
    assert y.max() < 40
    assert x.min() > 20
    assert np.isnan(gradient[-1, 0])
    assert np.isfinite(maps["DNA without 0 µm"]).all()


def test_resampled_maps_lie_over_the_image(bright, tiny_model, out):
    image = open_image(bright)
    coarse = replace(image, pixel_size_um=PixelSize(4.0, 0.3, 0.3))
    result = api.explain(
        coarse, out, model=tiny_model, at=AT, method=("gradient",), resample=True, sanity=False
    )
    _, written = maps_of(result)
    assert written.pixel_size_um.yx == pytest.approx(0.6)
    top, left, bottom, right = result.region_yx
    assert top <= AT[0] < bottom
    assert left <= AT[1] < right
    # The first pixel's centre, half a pixel of its own inside.
    assert written.origin_um[1] / 0.3 == pytest.approx(top - 0.5 + 1.0)


def test_a_model_over_stacks_says_which_of_its_planes(tmp_path_factory, out):
    folder = tmp_path_factory.mktemp("volume")
    model = train_on_stacks(folder)
    result = api.explain(
        folder / "light1.ome.zarr", out, model=model, at=(20, 20), plane=1, size=16,
        method=("gradient", "planes"), sanity=False,
    )  # fmt: skip
    (numbers,) = [one.numbers for one in result.maps if "without" in one.numbers]
    assert len(numbers["without"]) == DEPTH
    with pytest.raises(SettingsError, match="there are.*--plane"):
        api.explain(folder / "light1.ome.zarr", out, model=model, plane=DEPTH, overwrite=True)


def test_a_network_with_statistics_of_its_image_keeps_them(tiny_model, bright, tmp_path, out):
    card = load_package(tiny_model).card
    architecture = {**card.architecture, "norm": "instance"}
    card = card.model_copy(update={"architecture": architecture})
    generator = build_generator("unet", in_channels=3, out_channels=5, architecture=architecture)
    planes = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    save_package(tmp_path / "m", card, generator, planes)
    result = api.explain(
        bright, out, model=tmp_path / "m", at=AT, method=("occlusion",), sanity=False
    )
    store = tmp_path / "s.ome.zarr"
    stain(
        StainSettings(
            input=str(bright), model=str(tmp_path / "m"), out=str(store), statistics="frozen"
        )
    )
    value = float(open_image(store).data[0, 0, 0, AT[0], AT[1]].compute())
    (said,) = [s for s in result.sentences if "is predicted as" in s]
    assert float(said.split(" predicted as ")[1].split()[0].rstrip(",")) == pytest.approx(
        value, rel=1e-2
    )


def test_a_model_that_draws_has_planes_and_occlusion(tiny_model, tmp_path, bright, out):
    palette = package("palette", tiny_model, tmp_path)
    result = api.explain(
        bright, out, model=palette, size=16, method=("planes",), sampling_steps=2, sanity=False
    )
    assert any("one draw" in note for note in result.notes)
    assert any("DNA" in sentence for sentence in result.sentences)
    with pytest.raises(
        SettingsError, match="draws its stains in many steps.*has planes and occlusion.*--method"
    ):
        api.explain(
            bright, out, model=palette, at=AT, method=("gradient",), sampling_steps=2,
            overwrite=True,
        )  # fmt: skip


# --- attention -----------------------------------------------------------------------------------


def test_attention_is_that_of_the_encoder_on_the_image(truth, encoder, out):
    result = api.explain(truth, out, encoder=encoder, channels=("DNA",), mass=0.5)
    maps, image = maps_of(result)
    pixels = open_image(truth).data[0, 0, 0].compute().astype(np.float64)
    picture = ((pixels - pixels.mean()) / pixels.std()).astype(np.float32)
    network = load_encoder_package(encoder).encoder
    rows = network.attention(np.repeat(picture[None, None], 3, axis=1))[0, :, 0, 1:]
    heads = rows.reshape(2, 32, 32)
    got = maps["DNA attention, block 2 of 2, head 2 of 2"]
    np.testing.assert_allclose(got, np.kron(heads[1], np.ones((8, 8))), rtol=1e-3)
    mean = maps["DNA attention, block 2 of 2, mean of heads"]
    np.testing.assert_allclose(mean, np.kron(heads.mean(axis=0), np.ones((8, 8))), rtol=1e-3)
    mask = maps["DNA attention, top 50%"]
    assert set(np.unique(mask)) == {0, 1}
    assert mean[mask == 1].sum() >= 0.5 * mean.sum()
    assert image.pixel_size_um.yx == open_image(truth).pixel_size_um.yx
    assert corner(image) == (0, 0)
    assert any("32 x 32 patches of 8 px" in note for note in result.notes)
    assert result.maps[0].verdict


def test_a_clicked_patch_asks_within_a_region(truth, encoder, out):
    region = (8, 16, 112, 130)
    result = api.explain(
        truth, out, encoder=encoder, channels=("ER",), region=region, at=(50, 60), block=0,
        method=("attention", "rollout"), sanity=False,
    )  # fmt: skip
    maps, image = maps_of(result)
    assert image.shape[3:] == (104, 112)
    assert corner(image) == (8, 16)
    whole = open_image(truth)
    pixels = whole.data[0, whole.channel_index("ER"), 0].compute().astype(np.float64)
    picture = ((pixels - pixels.mean()) / pixels.std()).astype(np.float32)[8:112, 16:128]
    network = load_encoder_package(encoder).encoder
    token = 1 + (50 - 8) // 8 * 14 + (60 - 16) // 8
    given = np.repeat(picture[None, None], 3, axis=1)
    rows = network.attention(given, block=0, rows=(token,))[0, 0, 0, 1:].reshape(13, 14)
    np.testing.assert_allclose(
        maps["ER attention, block 1 of 2, head 1 of 2"][::8, ::8], rows, rtol=1e-3
    )
    rollout = network.rollout(given, rows=(token,))[0, 0, 1:].reshape(13, 14)
    np.testing.assert_allclose(maps["ER rollout"][::8, ::8], rollout, rtol=1e-3)
    assert any("only this part" in note for note in result.notes)


def test_truth_and_prediction_agree_with_themselves(truth, encoder, out, tmp_path):
    same = api.explain(
        truth, out, encoder=encoder, channels=("DNA",), against=str(truth), sanity=False
    )
    assert same.maps[0].numbers["agreement_spearman"] == 1
    assert same.maps[0].numbers["agreement_overlap"] == 1
    other = api.explain(
        truth, tmp_path / "o.ome.zarr", encoder=encoder, channels=("DNA",), against=str(truth),
        match=("DNA=Mito",), sanity=False,
    )  # fmt: skip
    del other
    assert "Spearman 1.00" in " ".join(same.sentences)


# --- bad input -----------------------------------------------------------------------------------

BAD = {
    "attention of a generator": (
        {"method": ("attention",)}, SettingsError, "has no 'attention'; it has planes, gradient.*--encoder.*--method"),
    "a gradient of no pixel": ({"method": ("gradient",)}, SettingsError, "none is named.*--at"),
    "a pixel outside": ({"at": (256, 3)}, SettingsError, "lies outside.*256 x 256 px.*--at"),
    "a stain that is not there": ({"stain": "DAPI"}, UnknownNameError, "No stain of the model.*DNA.*--stain"),
    "a time point that is not there": ({"t": 4}, AxesError, "Time point 4.*--t"),
    "a region of nothing": ({"region": (300, 0, 400, 10)}, SettingsError, "holds no pixel.*--region"),
    "a depth that is not there": (
        {"at": AT, "method": ("gradcam",), "depth": 99}, SettingsError, "no depth 99.*Choose 0 to.*--depth"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "kind", "words"), BAD.values(), ids=BAD)
def test_what_a_model_cannot_be_asked(asked, kind, words, bright, tiny_model, out):
    with pytest.raises(kind, match=words) as caught:
        api.explain(bright, out, model=tiny_model, sanity=False, **asked)
    assert str(caught.value).endswith(".")
    assert not out.exists()


BAD_ATTENTION = {
    "a map of generators": ({"method": ("gradcam",)}, "has no 'gradcam'; it has attention, rollout"),
    "a block that is not there": ({"block": 7}, "no block 7.*Choose 0 to 1"),
    "a part smaller than a patch": ({"region": (0, 0, 5, 60)}, "5 x 60 px.*8 px at least.*larger"),
    "a pixel outside of the part": ({"region": (0, 0, 64, 64), "at": (70, 3)}, "lies outside.*--at"),
    "several planes": ({"z": (0, 1)}, "looks at one z plane.*--z"),
    "a region of nothing": ({"region": (0, 300, 10, 400)}, "holds no pixel.*--region"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "words"), BAD_ATTENTION.values(), ids=BAD_ATTENTION)
def test_what_an_encoder_cannot_be_asked(asked, words, truth, encoder, out):
    with pytest.raises(VirtualStainError, match=words) as caught:
        api.explain(truth, out, encoder=encoder, channels=("DNA",), sanity=False, **asked)
    assert str(caught.value).endswith(".")
    assert not out.exists()


def test_an_encoder_without_patches_is_refused(truth, structure_encoder, out):
    with pytest.raises(SettingsError, match="is a resnet, which has no attention.*--encoder"):
        api.explain(truth, out, encoder=structure_encoder)


def picture(pixels):
    return LazyImage(
        data=da.from_array(pixels[None, None].astype(np.float32)),
        channels=(Channel("Brightfield", "transmitted"),), pixel_size_um=PixelSize(4.0, 0.6, 0.6),
    )  # fmt: skip


def test_pixels_that_are_missing_are_refused(small_fields, tiny_model, encoder, out):
    pixels = small_fields[0].brightfield[0].astype(np.float32)
    pixels[1, 40, 40] = np.nan
    with pytest.raises(PixelDataError, match="NaN"):
        api.explain(picture(pixels), out, model=tiny_model)
    with pytest.raises(PixelDataError, match="NaN"):
        api.explain(picture(pixels), out, encoder=encoder)
    assert not out.exists()


def test_a_field_without_cells_is_said_to_show_nothing(small_fields, tiny_model, out, tmp_path):
    like = small_fields[0].brightfield[0]
    noise = np.random.default_rng(0).normal(like.mean(), like.mean() * 1e-4, like.shape)
    result = api.explain(picture(noise), out, model=tiny_model, sanity=False)
    assert any("shows nothing here" in note for note in result.notes)
    flat = np.full(like.shape, 7.0)
    with pytest.raises(PixelDataError, match="constant"):
        api.explain(picture(flat), tmp_path / "flat.ome.zarr", model=tiny_model)


def test_a_store_of_another_model_is_said_to_be_one(
    bright, tiny_model, small_fields, out, tmp_path
):
    store = tmp_path / "s.ome.zarr"
    stain(StainSettings(input=str(bright), model=str(tiny_model), out=str(store)))
    result = api.explain(bright, out, model=tiny_model, prediction=str(store), sanity=False)
    assert result.maps
    with pytest.raises(
        SettingsError, match="predicted with the model 'tiny'.*'demo' would.*--model"
    ):
        api.explain(bright, out, model="demo", prediction=str(store), overwrite=True)
    with pytest.raises(
        SettingsError, match="a stain that the model 'tiny' predicted.*bright field"
    ):
        api.explain(store, out, model=tiny_model, overwrite=True)
    write_field(small_fields[0], tmp_path / "f")
    other = tmp_path / "f" / "brightfield.ome.zarr"
    with pytest.raises(SettingsError, match="and not from this picture"):
        api.explain(other, out, model=tiny_model, prediction=str(store), overwrite=True)
    with pytest.raises(SettingsError, match="was not written by `virtualstain stain`"):
        api.explain(bright, out, model=tiny_model, prediction=str(bright), overwrite=True)


def test_a_truth_of_another_size_is_refused(bright, tiny_model, out, small_fields):
    del small_fields
    with pytest.raises(VirtualStainError, match="No channel|true stain"):
        api.explain(bright, out, model=tiny_model, target=str(bright))


def test_nothing_is_replaced_unasked(bright, tiny_model, out):
    shutil.copytree(bright, out)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        api.explain(bright, out, model=tiny_model)
    assert open_image(out).shape == open_image(bright).shape


def test_the_command_prints_what_to_make_of_it(bright, tiny_model, out, capsys):
    line = ["explain", str(bright), "--model", str(tiny_model), "--at", "130,70", "--out", str(out)]
    assert main([*line, "--size", "32"]) == 0
    shown = capsys.readouterr().out
    assert "DNA at 130,70 is predicted as" in shown
    assert "DNA depends on" in shown
    assert "random weights" in shown
    assert main([*line, "--size", "32", "--overwrite", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["method"] for one in found["maps"]} == {"planes", "gradient"}
    assert found["out"] == str(out)


def test_a_pixel_that_nothing_moves_is_said_and_recorded(tiny_model, out, tmp_path):
    model = load_package(tiny_model)
    with torch.no_grad():
        for weights in model.generator.module().parameters():
            weights.zero_()
    dead = tmp_path / "dead"
    planes = np.zeros((1, 3, 16, 16), np.float32)
    save_package(dead, model.card, model.generator, planes)
    light = np.random.default_rng(0).normal(100, 9, (3, 64, 64)).astype(np.float32)
    found = api.explain(
        light, axes="zyx", pixel_size=0.6, out=out, model=dead, method=("gradient",), at=(30, 30),
        sanity=False,
    )  # fmt: skip
    assert any(one.startswith("The gradient is 0 everywhere") for one in found.sentences)
    assert found.maps[0].numbers["radius_px"] == {"50%": None, "95%": None}
    assert read_record(out)["record"]["maps"][0]["numbers"]["halo_px"] > 0
