"""Recipes learn from public sets of images, which are known by how their folders look."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from skimage.io import imsave

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.generators.registry import GENERATORS, build_generator
from napari_virtualstain.jobs import train
from napari_virtualstain.jobs.encoder_recipes import ENCODER_RECIPES
from napari_virtualstain.jobs.known_sets import as_stacks, open_known, single_cells
from napari_virtualstain.jobs.recipes import RECIPES, get_recipe
from napari_virtualstain.jobs.train import TrainSettings
from napari_virtualstain.training.painting import patch_shape
from napari_virtualstain.training.patches import check_patch
from napari_virtualstain.training.settings import learning_settings


def montage(path, rng, *, cells):
    """Write a montage of 3 x 3 cells of 40 px, the last ones padding: a row repeated."""
    tiles = rng.integers(100, 900, (9, 40, 40)).astype(np.uint16)
    tiles[cells:] = tiles[cells - 1, -1]
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, tiles.reshape(3, 3, 40, 40).swapaxes(1, 2).reshape(120, 120))


@pytest.fixture
def cells(tmp_path):
    """Folder of two phases with 7 and 5 cells."""
    rng = np.random.default_rng(0)
    for phase, n in (("G1", 7), ("S", 5)):
        for channel in (3, 4):
            montage(tmp_path / "run" / phase / f"Ch{channel}_{phase}.tif", rng, cells=n)
    return tmp_path


def test_cells_are_cut_from_montages_and_padding_is_left_out(cells):
    bright, dna, phases = single_cells(cells / "run")
    assert bright.shape == dna.shape == (12, 40, 40)
    assert phases == ["G1"] * 7 + ["S"] * 5


def test_a_recipe_learns_from_cells_in_patches_that_fit_them(cells, tmp_path):
    out = tmp_path / "model"
    train.run(
        TrainSettings(
            recipe="unet", data=str(cells), out=str(out), steps=2, preset="tiny", batch=2,
            validate_every=2,
        )
    )  # fmt: skip
    card = read_card(out)
    assert card.name == "model"
    assert card.stain_names == ("DNA",)
    assert (card.training.settings["patch"], card.training.recipe) == (40, "unet")
    assert "doi:10.1038/ncomms10256" in card.citation


def test_quadrants_of_the_neurons_keep_away_from_each_other(tmp_path):
    rng = np.random.default_rng(0)
    stem = "lab-Rubin,condition-x,acquisition_date,year-2016,well-r03c03,depth_computation,value-m"
    for name in [
        *(f"z_depth-{z},channel-PHASE_CONTRAST" for z in range(2)),
        "z_depth-0,channel-DAPI_CONFOCAL", "z_depth-0,channel-MAP2_CONFOCAL",
    ]:  # fmt: skip
        where = name.split(",")
        path = tmp_path / f"{stem},is_mask-false,kind,value-x,{where[0]},{where[1]}.png"
        imsave(path, rng.integers(0, 999, (256, 256)).astype(np.uint16), check_contrast=False)
    data = open_known(str(tmp_path))
    assert data.stains == ("DAPI", "MAP2")
    assert [field.shape for field in data.fields] == [(96, 96)] * 4
    assert len({field.group for field in data.fields}) == 4


def test_a_network_over_stacks_gets_pictures_as_stacks_and_says_so(cells):
    data = as_stacks(open_known(str(cells)))
    assert data.fields[0].planes.shape == (1, 8, 40, 40)
    assert data.fields[0].stains.shape == (1, 8, 40, 40)
    assert "says nothing about depth" in data.notes[-1]
    assert data.card["volume"].window is None


@pytest.mark.parametrize(
    ("where", "sentence"),
    [("nowhere", "names no folder"), (".", "none of the public sets.*leave out --recipe")],
)
def test_a_folder_that_is_no_known_set_is_refused(tmp_path, where, sentence):
    with pytest.raises(SettingsError, match=sentence):
        open_known(str(tmp_path / where))


def test_data_without_a_recipe_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="public set of images for a --recipe"):
        train.run(TrainSettings(data=str(tmp_path), out=str(tmp_path / "m")))


@pytest.mark.parametrize("name", sorted(set(RECIPES) - set(ENCODER_RECIPES)))
def test_every_recipe_fits_its_network(name):
    """Its preset exists, its method takes its settings, its patch fits fields of any size."""
    recipe = get_recipe(name)
    settings = TrainSettings(out="m", recipe=name, **recipe.settings)
    spec = GENERATORS[settings.generator]
    tiny = build_generator(settings.generator, in_channels=1, out_channels=1, preset="tiny")
    learning_settings(tiny.learning, settings)
    assert settings.preset in spec.presets
    with torch.device("meta"):
        stride = build_generator(
            spec.name, in_channels=1, out_channels=1, preset=settings.preset
        ).multiple_of
    for shape in [(40, 40), (512, 512)]:
        over = shape if tiny.ndim == 2 else (8, *shape)
        if recipe.fits is None or min(shape) < stride:
            continue
        fitting = settings.model_copy(update=recipe.fits(over, stride))
        check_patch(patch_shape(tiny, fitting), multiple_of=stride, window=tiny.window)


def test_every_method_has_a_recipe():
    paints = set(RECIPES) - set(ENCODER_RECIPES)
    assert {name.removesuffix("-paper") for name in paints} == {*GENERATORS, "demo"}


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"demo", *ENCODER_RECIPES}))
def test_every_recipe_learns_from_real_cells_for_two_minutes(name, realdata, tmp_path):
    small = {"labelfree": "small", "large": "small", "paper": "little"}
    preset = get_recipe(name).settings["preset"]
    out = tmp_path / "model"
    train.run(
        TrainSettings(
            recipe=name, data=str(realdata / "jurkat_ifc"), out=str(out), budget=120,
            preset=small.get(preset, preset) if preset == "paper" else preset,
        )
    )  # fmt: skip
    assert read_card(out).stain_names == ("DNA",)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "n", "stains"),
    [
        ("jurkat_ifc", 3419, ("DNA",)),
        ("isl_neurons", 4, ("DAPI", "MAP2")),
        ("ecoli_bf", 20, ("Membrane",)),
    ],
)
def test_real_sets_are_known(realdata, folder, n, stains):
    data = open_known(str(realdata / folder))
    assert (len(data.fields), data.stains) == (n, stains)
