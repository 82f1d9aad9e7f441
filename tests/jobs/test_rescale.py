"""An image is resized for a model, unequally along y and x if need be, and its stain back."""

import json
import re
import shutil

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.cli import main
from napari_virtualstain.errors import PixelSizeError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.inference.resample import resample_region, resampled_length
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.passport import PassportSettings
from napari_virtualstain.jobs.passport import run as passport
from napari_virtualstain.jobs.prepare import InputSettings, prepare
from napari_virtualstain.jobs.rescale import ratios_for, resized
from napari_virtualstain.zoo import find_model

BF = (Channel("Brightfield", "transmitted"),)


@pytest.fixture
def model(tiny_model, tmp_path):
    """Copy the tiny model, with another card."""

    def model(**changes):
        folder = tmp_path / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tiny_model, folder)
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps(card | changes))
        return folder

    return model


def image(shape=(130, 176), size=(0.5, 0.5), seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = sum(
        np.sin(2 * np.pi * (a * y / shape[0] + b * x / shape[1]) + c)
        for a, b, c in rng.uniform(0, 7, (12, 3))
    )
    stack = np.stack([1000 + 60 * waves * k for k in (1.0, 0.7, 1.2)])[None, None]
    data = da.from_array(stack.astype(np.float32), chunks=(1, 1, 1, 64, 64))
    return LazyImage(data=data, channels=BF, pixel_size_um=PixelSize(4.0, *size))


def run(model, given_, tmp_path, name, **settings):
    out = tmp_path / f"{name}.ome.zarr"
    chosen = stain.StainSettings(input="array", model=str(model), out=str(out), **settings)
    stain.run(chosen, image=given_)
    return open_image(out)


def test_the_demo_and_other_old_cards_load_as_they_are():
    card = read_card(find_model("demo"))
    assert (card.pixel_size_um, card.resize_to, card.illumination_corrected) == (0.6, None, None)
    assert card.pixel_size_yx_um == (0.6, 0.6)
    assert card.pixel_size_words == "0.6 µm"


def test_a_card_may_hold_two_pixel_sizes_and_a_shape():
    card = read_card(find_model("demo"))
    values = card.model_dump(mode="json") | {"pixel_size_um": [0.61, 0.82], "resize_to": [512, 512]}
    found = ModelCard.model_validate_json(json.dumps(values))
    assert found.pixel_size_yx_um == (0.61, 0.82)
    assert found.pixel_size_words == "0.61 x 0.82 µm"
    assert ModelCard.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ValueError):
        ModelCard.model_validate(values | {"pixel_size_um": [0.6, 0]})


def test_1408_x_1040_becomes_512_x_512_and_both_pixel_sizes_are_known():
    card = read_card(find_model("demo")).model_copy(
        update={"pixel_size_um": (0.65, 0.88), "resize_to": (512, 512)}
    )
    size = PixelSize(None, 0.32, 0.32)
    ratios, words = ratios_for(card, size, (1040, 1408), resample=False)
    assert ratios == (1040 / 512, 1408 / 512)
    assert words == (
        "the field is resized from 1040 x 1408 to 512 x 512 px, as in the training, and the "
        "stains back"
    )
    after = resized(size, ratios)
    assert (after.y, after.x) == pytest.approx((0.65, 0.88))


@given(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), st.integers(1, 2048))
def test_any_field_gets_exactly_the_shape_of_the_training(shape, edge):
    assert [resampled_length(n, n / edge) for n in shape] == [edge, edge]


def test_a_resized_stain_is_that_of_the_field_resized_before(model, tmp_path):
    small = model(resize_to=[64, 80], pixel_size_um=[130 / 64 * 0.5, 176 / 80 * 0.5])
    whole = image()
    found = run(small, whole, tmp_path, "a")
    assert found.shape[3:] == (130, 176)
    assert found.pixel_size_um == PixelSize(None, 0.5, 0.5)
    ratios = (130 / 64, 176 / 80)
    plan = read_record(tmp_path / "a.ome.zarr")["record"]["plan"]
    assert plan["resample_ratios_yx"] == list(ratios)
    assert plan["pixel_sizes_yx_um"]["image"] == [0.5, 0.5]
    assert plan["pixel_sizes_yx_um"]["network"] == pytest.approx([0.5 * r for r in ratios])
    # The twin: resized by hand, stained as it is, resized back. Normalised with the same numbers.
    pixels = whole.data[0, 0].compute()
    everywhere = (slice(0, 130), slice(0, 176))
    by_hand = resample_region(pixels, everywhere, (slice(0, 64), slice(0, 80)), ratios)
    norms = read_record(tmp_path / "a.ome.zarr")["record"]["normalisation"]["inputs"][0]
    normal = np.stack([(p - n["offset"]) / n["scale"] for p, n in zip(by_hand, norms, strict=True)])
    from napari_virtualstain.zoo import load_generator

    loaded = load_generator(str(small))
    stains = loaded.generator.predict(normal[None].astype(np.float32), seed=0)[0]
    grey = np.stack(
        [s.normalisation.invert(p) for s, p in zip(loaded.card.stains, stains, strict=True)]
    )
    back = resample_region(
        grey, (slice(0, 64), slice(0, 80)), everywhere, tuple(1 / r for r in ratios)
    )
    scale = float(back.std())
    np.testing.assert_allclose(found.data[0, :, 0].compute(), back, atol=2e-3 * scale)


def test_tiles_leave_no_trace_in_a_resized_field(model, tmp_path):
    small = model(resize_to=[64, 80], pixel_size_um=[1.0, 1.1])
    one, other = (
        run(small, image(), tmp_path, str(tile), tile=tile).data.compute() for tile in (16, 512)
    )
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=0.5)


def test_resizing_there_and_back_gives_a_smooth_picture_again():
    pixels = image().data[0, 0].compute()
    whole = (slice(0, 130), slice(0, 176))
    ratios = (130 / 100, 176 / 110)
    there = resample_region(pixels, whole, (slice(0, 100), slice(0, 110)), ratios)
    back = resample_region(
        there, (slice(0, 100), slice(0, 110)), whole, tuple(1 / r for r in ratios)
    )
    inner = (slice(None), slice(4, -4), slice(4, -4))
    assert np.abs(back - pixels)[inner].max() < 0.03 * np.ptp(pixels)


def test_an_unequal_pixel_size_is_compared_along_both_axes(model):
    told = {"input": "x", "model": str(model(pixel_size_um=[0.5, 1.0]))}
    fits = prepare(InputSettings(**told), image=image(size=(0.5, 1.0)))
    assert fits.ratios is None
    with pytest.raises(PixelSizeError, match=r"trained at 0\.5 x 1 µm \(50% off, allowed 20%\)"):
        prepare(InputSettings(**told), image=image(size=(0.5, 0.5)))
    there = prepare(InputSettings(**told, resample=True), image=image(size=(0.5, 0.5)))
    assert there.ratios == (1.0, 2.0)
    assert there.network_pixel_size_um == PixelSize(4.0, 0.5, 1.0)


def test_a_field_of_another_size_is_not_squeezed_unasked(model):
    told = {"input": "x", "model": str(model(resize_to=[64, 80], pixel_size_um=[1.0, 1.1]))}
    larger = image((400, 500))
    sentence = (
        "Resized to 64 x 80 px, as the model was trained, the field has pixels of 3.12 x 3.12 µm"
    )
    with pytest.raises(PixelSizeError, match=f"^{re.escape(sentence)}.*Add --resample"):
        prepare(InputSettings(**told), image=larger)
    assert prepare(InputSettings(**told, resample=True), image=larger).ratios == (2.0, 2.2)
    unknown = prepare(InputSettings(**told), image=image(size=(None, None)))
    assert any("state it with --pixel-size" in note for note in unknown.notes)
    as_it_is = prepare(InputSettings(**told), image=image((64, 80), size=(1.0, 1.1)))
    assert as_it_is.ratios is None


def test_the_passport_knows_of_resized_fields(model):
    settings = PassportSettings(
        input="x", model=str(model(resize_to=[64, 80], pixel_size_um=[1.0, 1.1]))
    )
    found = passport(settings, image=image())
    size = next(check for check in found.checks if check.name == "Pixel size")
    assert size.status == "green"
    assert size.trained == "1 x 1.1 µm, fields resized to 64 x 80 px"
    field = next(check for check in found.checks if check.name == "Field size")
    assert "64 x 80 of the model" in field.found
    squeezed = passport(settings, image=image((400, 500)))
    assert squeezed.checks[0].status != "green"


def test_the_list_of_models_shows_both_sizes(model, monkeypatch, capsys, tmp_path):
    model(pixel_size_um=[0.5, 1.0])
    monkeypatch.setenv("NVS_MODELS", str(tmp_path))
    assert main(["models"]) == 0
    assert "0.5 x 1 µm pixels" in capsys.readouterr().out
