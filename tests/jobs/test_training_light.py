"""A training under even light: each image by the functions of its plate, and the card says so."""

from __future__ import annotations

import re

import numpy as np
import psutil
import pytest
import tifffile
from lit_plate import LIGHT, SHAPE

from napari_virtualstain.errors import ImageFileError, MissingInputError, SettingsError
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import illumination, pairs, stain, train
from napari_virtualstain.jobs.illumination import IlluminationSettings
from napari_virtualstain.jobs.pairs import PairsSettings
from napari_virtualstain.jobs.train import TrainSettings
from napari_virtualstain.jobs.training_fields import PairSettings, open_pairs
from napari_virtualstain.jobs.training_pairs import open_pairs_file
from napari_virtualstain.preprocessing.illumination_set import (
    FittedOn,
    IlluminationSet,
    load_illumination_set,
)

QUICK = {
    "preset": "tiny", "steps": 4, "patch": 16, "batch": 2, "validate_every": 2, "device": "cpu",
    "stains": ("DNA",), "validation": 0,
}  # fmt: skip


def write_fields(folder, *, light=LIGHT, n=8, seed=0):
    """Write fields of bright field and DNA, the bright field under uneven light."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for i in range(n):
        scene = rng.normal(1000, 40, SHAPE)
        planes = np.stack([scene * light, scene * 3])
        tifffile.imwrite(
            folder / f"f{i}.ome.tif", np.rint(planes).astype("u2"), photometric="minisblack",
            metadata={"axes": "CYX", "PhysicalSizeX": 0.6, "PhysicalSizeY": 0.6,
                      "Channel": {"Name": ["Brightfield", "DNA"]}},
        )  # fmt: skip
    return folder


def fit(folder, out):
    illumination.run(IlluminationSettings(input=str(folder), out=str(out)))
    return str(out)


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Two folders, each under a light of its own, and a file of functions for each."""
    root = tmp_path_factory.mktemp("plates")
    folders = [
        write_fields(root / "P1"),
        write_fields(root / "P2", light=LIGHT[::-1, ::-1] ** 2, seed=1),
    ]
    return [(folder, fit(folder, root / f"{folder.name}.json")) for folder in folders]


@pytest.fixture
def light(plates):
    return plates[0][1]


def fields(folder, n=3):
    return tuple(str(folder / f"f{i}.ome.tif") for i in range(n))


def opened(*inputs, **settings):
    chosen = PairSettings(input=inputs, stains=("DNA",), pixel_size=0.6, **settings)
    return open_pairs(chosen, name="m")


def even(path, light):
    (function,) = (plane.function for plane in load_illumination_set(light).planes)
    return function.apply(open_image(path).data[0, 0, 0].compute())


@pytest.mark.parametrize("held", [True, False], ids=["in memory", "read as needed"])
def test_the_bright_field_is_corrected_and_the_stain_is_not(plates, light, held, monkeypatch):
    if not held:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 0}))
    paths = fields(plates[0][0])
    with_light, without = opened(*paths, illumination=(light,)), opened(*paths)
    part = (slice(None), slice(13, 80), slice(40, 90))
    for path, one, plain in zip(paths, with_light.fields, without.fields, strict=True):
        assert isinstance(one.planes, np.ndarray) is held
        expected = even(path, light)
        np.testing.assert_array_equal(np.asarray(one.planes)[0], expected)
        np.testing.assert_array_equal(np.asarray(one.planes[part])[0], expected[part[1:]])
        np.testing.assert_array_equal(np.asarray(one.stains), np.asarray(plain.stains))
    assert with_light.footprints == without.footprints  # leaks are looked for in recorded pixels
    assert np.std(np.asarray(with_light.fields[0].planes)) < 0.6 * np.std(
        np.asarray(without.fields[0].planes)
    )


def notes_of(path, model, out, **settings):
    result = stain.run(
        stain.StainSettings(
            input=path, model=str(model), out=str(out), channel="Brightfield", overwrite=True,
            **settings,
        )
    )  # fmt: skip
    return [note for note in result.notes if "uneven light" in note]


def test_fit_train_and_stain_agree_on_the_light(plates, light, tmp_path):
    paths, out = fields(plates[0][0]), tmp_path / "o.ome.zarr"
    train.run(TrainSettings(out=str(tmp_path / "a"), input=paths, illumination=(light,), **QUICK))
    train.run(TrainSettings(out=str(tmp_path / "b"), input=paths, **QUICK))
    lit, plain = read_card(tmp_path / "a"), read_card(tmp_path / "b")
    assert (lit.illumination_corrected, plain.illumination_corrected) == (True, False)
    assert lit.training.illumination == (load_illumination_set(light).fingerprint,)
    assert plain.training.illumination == ()
    assert lit.inputs[0].statistics.std < 0.6 * plain.inputs[0].statistics.std
    said = "the model was trained on planes corrected for uneven light, these are not"
    assert notes_of(paths[0], tmp_path / "a", out)[0].startswith(said)
    assert notes_of(paths[0], tmp_path / "a", out, illumination=light) == []
    said = "the model was trained on planes as recorded, these are corrected for uneven light"
    assert notes_of(paths[0], tmp_path / "b", out, illumination=light)[0].startswith(said)
    assert notes_of(paths[0], tmp_path / "b", out) == []


def test_the_images_of_a_pairs_file_are_corrected_too(plates, light, tmp_path):
    file = tmp_path / "pairs.json"
    pairs.run(
        PairsSettings(
            input=str(plates[0][0]), stains=("DNA",), out=str(file), registration="none",
            split="field", validation=0.2, test=0,
        )
    )  # fmt: skip
    data = open_pairs_file(PairSettings(pairs=str(file), illumination=(light,)), name="m")
    found = {field.name.split(" t")[0]: field.planes[0] for field in data.fields}
    for i, path in enumerate(fields(plates[0][0], 8)):
        (name,) = (n for n in found if n.endswith(f"f{i}"))
        np.testing.assert_array_equal(found[name], even(path, light))
    quick = {name: value for name, value in QUICK.items() if name != "validation"}
    train.run(
        TrainSettings(out=str(tmp_path / "m"), pairs=str(file), illumination=(light,), **quick)
    )
    card = read_card(tmp_path / "m")
    assert card.illumination_corrected
    assert card.training.illumination == (load_illumination_set(light).fingerprint,)


# Several plates.


def renamed(light, out, **fitted):
    """Write the same functions as if they had been fitted on something else."""
    known = load_illumination_set(light)
    told = FittedOn(**{"input": "elsewhere", "fields": ("f",), "of": 1, **fitted})
    IlluminationSet(planes=known.planes, fitted_on=told).save(out)
    return str(out)


def test_each_image_takes_the_functions_of_its_own_plate(plates):
    (one, first), (other, second) = plates
    paths = [fields(one)[0], fields(other)[0]]
    data = opened(*paths, illumination=(second, first))
    for field, path, light in zip(data.fields, paths, (first, second), strict=True):
        np.testing.assert_array_equal(field.planes[0], even(path, light))
    assert set(data.light) == {load_illumination_set(f).fingerprint for f in (first, second)}
    assert data.notes == tuple(n for n in data.notes if n.startswith("Illumination: "))


def test_plates_go_by_their_names_before_their_folders(plates, tmp_path):
    (one, first), (other, second) = plates
    # The folder says P1; the table says that its image is of plate B.
    a = renamed(first, tmp_path / "a.json", plate="A", input=str(one))
    b = renamed(second, tmp_path / "b.json", plate="B", input="P2")
    table = tmp_path / "table.csv"
    rows = [f"{one}/f0.ome.tif,{one}/f0.ome.tif,b,B02", f"{other}/f0.ome.tif,{other}/f0.ome.tif,,"]
    table.write_text("\n".join(["input,target,plate,well", *rows]), encoding="utf-8")
    file = tmp_path / "pairs.json"
    pairs.run(PairsSettings(input=str(table), stains=("DNA",), out=str(file), registration="none"))
    data = open_pairs_file(PairSettings(pairs=str(file), illumination=(a, b)), name="m")
    for field, folder in zip(data.fields, (one, other), strict=True):
        np.testing.assert_array_equal(field.planes[0], even(folder / "f0.ome.tif", b))
    # One file alone holds for all, and it is said that a plate is another one.
    data = open_pairs_file(PairSettings(pairs=str(file), illumination=(a,)), name="m")
    (note,) = [n for n in data.notes if "fitted on plate" in n]
    assert note.startswith("The illumination functions were fitted on plate A, and correct images ")
    assert " of b too" in note


def test_an_image_that_no_function_or_several_fit_is_refused(plates, tmp_path):
    (one, first), (other, second) = plates
    away = write_fields(tmp_path / "P3", n=1)
    with pytest.raises(SettingsError, match=r"P3/f0.ome.tif' is of none of the plates that P1.json, P2.json .*by `virtualstain illumination`"):  # fmt: skip
        opened(fields(one)[0], str(away / "f0.ome.tif"), illumination=(first, second))
    twice = renamed(first, tmp_path / "again.json", input=str(one))
    with pytest.raises(SettingsError, match=r"could be corrected by P1.json, again.json. Give one"):
        opened(fields(one)[0], illumination=(first, twice))
    del other


REFUSED = {
    "another size": ((80, 96), "Brightfield", "are for planes of 96 x 96 px, those of the image"),
    "another channel": (SHAPE, "Phase", "none is of channel 'Phase'"),
}


@pytest.mark.parametrize(("shape", "channel", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_field_that_does_not_fit_is_named(shape, channel, sentence, light, tmp_path):
    path = tmp_path / "odd.ome.tif"
    tifffile.imwrite(
        path, np.ones((2, *shape), "u2"), photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": [channel, "DNA"]}},
    )  # fmt: skip
    with pytest.raises(SettingsError, match=rf"odd.ome.tif' cannot be corrected\. .*{sentence}"):
        opened(str(path), illumination=(light,), channel=channel)


def test_what_is_no_file_of_functions_is_refused_before_a_training(plates, light, tmp_path):
    path = fields(plates[0][0])[0]
    given = {"input": (path,), "out": str(tmp_path / "m"), **QUICK}
    with pytest.raises(MissingInputError):
        train.run(TrainSettings(illumination=(str(tmp_path / "none.json"),), **given))
    with pytest.raises(ImageFileError):
        train.run(TrainSettings(illumination=(path,), **given))
    with pytest.raises(SettingsError, match=re.escape("Leave it out.")):
        train.run(TrainSettings(recipe="demo", illumination=(light,), out=str(tmp_path / "m")))
    assert not (tmp_path / "m").exists()
