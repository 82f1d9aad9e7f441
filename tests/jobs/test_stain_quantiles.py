"""A model of distributions also stains what the truth is below with given probabilities."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_virtualstain.datasets.stain_names import is_doubt
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.package import save_package
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import evaluate, stain
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.napari_io.layers import image_layers
from napari_virtualstain.zoo import load_generator

LEVELS = (0.05, 0.95)


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    card = load_generator(tiny_model).card
    generator = build_generator("isl", in_channels=3, out_channels=5, preset="tiny", seed=2)
    out = tmp_path_factory.mktemp("isl") / "binned"
    card = card.model_copy(
        update={
            "generator": "isl",
            "architecture": {"depth": 2, "width": 4, "hidden": 32, "bins": 64},
        }
    )
    planes = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    save_package(out, card, generator, planes)
    return out


@pytest.fixture(scope="module")
def given():
    pixels = np.random.default_rng(1).normal(1000, 100, (1, 1, 3, 40, 48)).astype(np.float32)
    return LazyImage(data=da.from_array(pixels), channels=(Channel("Brightfield", "transmitted"),))


def stained(model, given, out, **settings):
    chosen = StainSettings(input="array", model=str(model), out=str(out), pixel_size=0.6, **settings)  # fmt: skip
    stain.run(chosen, image=given)
    return open_image(out)


@pytest.mark.parametrize("mode", ["whole", "stream", "halo"])
def test_quantiles_are_channels_beside_the_medians_and_in_order(model, given, tmp_path, mode):
    plain = stained(model, given, tmp_path / "a.ome.zarr")
    image = stained(model, given, tmp_path / "b.ome.zarr", mode=mode, quantiles=LEVELS)
    names = plain.channel_names
    assert image.channel_names == (
        *names,
        *(f"{n} 5 %" for n in names),
        *(f"{n} 95 %" for n in names),
    )
    middle, low, high = np.split(image.data.compute(), 3, axis=1)
    span = np.ptp(middle)
    np.testing.assert_allclose(middle, plain.data.compute(), atol=1e-5 * span)
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert (low < high).all()


def test_layers_of_quantiles_are_hidden_at_first(model, given, tmp_path):
    image = stained(model, given, tmp_path / "b.ome.zarr", quantiles=LEVELS)
    for _, keywords, _ in image_layers(image):
        assert keywords["visible"] is not is_doubt(keywords["name"])


def test_quantiles_are_not_judged_as_stains(model, given, tmp_path):
    stained(model, given, tmp_path / "b.ome.zarr", quantiles=LEVELS)
    pixels = np.random.default_rng(1).integers(0, 999, (2, 40, 48)).astype(np.uint16)
    truth = tmp_path / "truth.ome.tif"
    tifffile.imwrite(
        truth, pixels, metadata={"axes": "CYX", "Channel": {"Name": ["Hoechst", "Concanavalin"]}}
    )
    for matched in ((), ("DNA=Hoechst",)):
        found = evaluate.run(
            EvaluateSettings(
                prediction=str(tmp_path / "b.ome.zarr"), target=str(truth), match=matched
            )
        )
        assert {score.stain for score in found.scores} <= {"DNA", "ER"}


def test_a_run_is_not_gone_on_with_under_other_quantiles(model, field_folder, tmp_path):
    path, out = field_folder / "brightfield.ome.zarr", tmp_path / "o.ome.zarr"
    settings = {"input": str(path), "model": str(model), "out": str(out)}
    stain.run(StainSettings(**settings, quantiles=LEVELS))
    with pytest.raises(SettingsError, match="other --quantiles"):
        stain.run(StainSettings(**settings, resume=True))


def test_a_model_of_one_number_a_pixel_has_no_quantiles(tiny_model, given, tmp_path):
    with pytest.raises(SettingsError, match="Leave out --quantiles"):
        stained(tiny_model, given, tmp_path / "o.ome.zarr", quantiles=LEVELS)
