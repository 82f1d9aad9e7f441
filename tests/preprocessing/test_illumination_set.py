"""Functions of all planes of a plate in one file: looked up by channel and plane."""

import json
import re

import numpy as np
import pytest

from napari_virtualstain.errors import ImageFileError, SettingsError
from napari_virtualstain.preprocessing.illumination_fit import fit_illumination
from napari_virtualstain.preprocessing.illumination_set import (
    FittedOn,
    IlluminationSet,
    PlaneLight,
    load_illumination_set,
)


def function(seed, shape=(24, 32)):
    rng = np.random.default_rng(seed)
    ramp = np.linspace(1, 1 + seed / 10, shape[1])
    return fit_illumination(rng.normal(1000, 10, shape) * ramp for _ in range(10))


@pytest.fixture(scope="module")
def functions():
    return IlluminationSet(
        planes=tuple(
            PlaneLight(channel=c, z=z, function=function(2 * i + z))
            for i, c in enumerate(("BF", "Phase"))
            for z in (0, 1)
        ),
        fitted_on=FittedOn(input="plate", plate="P1", fields=("B03/f01",), of=9, seed=3),
    )


def test_each_plane_has_its_own_function(functions):
    found = functions.functions_for("phase", (1, 0, 1), (24, 32))
    assert found == tuple(functions.planes[i].function for i in (3, 2, 3))


UNKNOWN = {
    "channel": (("DNA", (0,), (24, 32)), "are of BF, Phase, none is of channel 'DNA'. Fit them on"),
    "plane": (("BF", (0, 2), (24, 32)), "of channel 'BF' are of z planes 0, 1, none is of plane 2."),
    "size": (("BF", (0,), (24, 33)), "are for planes of 24 x 32 px, those of the image have 24 x 33."),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "sentence"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_has_no_function_is_one_sentence(functions, asked, sentence):
    with pytest.raises(SettingsError, match=f"{re.escape(sentence)}.*--illumination\\.$"):
        functions.functions_for(*asked)


def test_what_is_saved_is_loaded_to_the_bit(functions, tmp_path):
    functions.save(tmp_path / "light.json")
    found = load_illumination_set(tmp_path / "light.json")
    assert found == functions
    assert found.fingerprint == functions.fingerprint


def test_the_fingerprint_is_of_the_functions_and_not_of_what_is_said_of_them(functions):
    assert functions.model_copy(update={"fitted_on": None}).fingerprint == functions.fingerprint
    other = functions.model_copy(update={"planes": functions.planes[:3]})
    assert other.fingerprint != functions.fingerprint


def test_a_single_function_holds_for_any_plane(tmp_path):
    alone = function(3)
    alone.save(tmp_path / "one.json")
    found = load_illumination_set(tmp_path / "one.json")
    assert found.functions_for("anything", (5, 7), (24, 32)) == (alone, alone)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "is an illumination function of version 2, this program reads 1."),
        ({"format": "else"}, "is no illumination function."),
        ({"format": ["else"]}, "is no illumination function."),
        ({"planes": []}, "is a damaged illumination function."),
    ],
    ids=["newer", "something else", "odd", "altered"],
)
def test_altered_files_are_refused(functions, tmp_path, change, sentence):
    path = tmp_path / "light.json"
    functions.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ImageFileError, match=re.escape(sentence)):
        load_illumination_set(path)
