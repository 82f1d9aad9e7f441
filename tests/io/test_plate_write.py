"""A plate of results is a plate for whoever opens it, from its first field on."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import read_with

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import list_scenes
from napari_virtualstain.io.plate import plates_of
from napari_virtualstain.io.plate_write import PlateStore, field_name, field_path
from napari_virtualstain.io.sink import OmeZarrSink


def write_field(path, value):
    with OmeZarrSink.create(
        path, shape=(1, 1, 1, 8, 8), channels=[Channel("DNA")], n_tiles=1,
        pixel_size_um=PixelSize(z=2.0, y=0.5, x=0.25),
    ) as sink:  # fmt: skip
        sink.write((slice(0, 1), slice(0, 1), slice(0, 1), slice(0, 8), slice(0, 8)),
                   np.full((1, 1, 1, 8, 8), value, np.float32))  # fmt: skip
        sink.commit(0)


FIELDS = [(1, 2, "f01"), (0, 0, "0"), (1, 2, "tile1"), (7, 11, "f10")]


@pytest.fixture
def plate(tmp_path):
    path = tmp_path / "plate.ome.zarr"
    store = PlateStore(path, name="mine", rows=8, columns=12)
    for value, place in enumerate(FIELDS):
        write_field(path / field_path(*place), value)
        store.add(*place, site="tile 1" if place[2] == "tile1" else None)
    return path


def test_every_field_is_found_with_its_pixels(plate):
    scenes = {scene.name: scene.open() for scene in list_scenes(plate)}
    assert set(scenes) == {"A/1/0", "B/3/f01", "B/3/tile1", "H/12/f10"}
    for value, place in enumerate(FIELDS):
        pixels = scenes[field_path(*place)].data.compute()
        assert (pixels == value).all()


def test_the_plate_has_its_size_and_wells(plate):
    (found,) = plates_of(list_scenes(plate))
    assert (found.rows, found.columns) == (8, 12)
    assert [(well.name, [site.name for site in well.sites]) for well in found.wells] == [
        ("A01", ["0"]),
        ("B03", ["f01", "tile 1"]),
        ("H12", ["f10"]),
    ]


def test_another_program_reads_the_plate(plate):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    read = ngff_zarr.from_hcs_zarr(str(plate))
    assert sorted(well.path for well in read.metadata.wells) == ["A/1", "B/3", "H/12"]
    assert len(read.metadata.columns) == 12
    image = read.get_well("B", "3").get_image(1).images[0]
    assert (np.asarray(image.data) == 2).all()
    assert [image.scale[axis] for axis in "zyx"] == [2.0, 0.5, 0.25]


@pytest.mark.parametrize("program", ["ngff-zarr", "ome-zarr", "bioio"])
def test_other_programs_read_pixels_and_sizes_of_each_field(plate, program):
    for value, place in enumerate(FIELDS):
        found = read_with(program, ".ome.zarr", plate / field_path(*place))
        assert (found.pixels == value).all()
        assert found.steps[1:] == (2.0, 0.5, 0.25)
        assert found.names in (("DNA",), None)


def test_nothing_is_listed_that_is_not_there(tmp_path):
    path = tmp_path / "plate.ome.zarr"
    store = PlateStore(path, name="mine", rows=2, columns=3)
    write_field(path / "B/1/0", 1)
    write_field(path / "B/1/1", 1)
    store.add(1, 0, "1")
    well = json.loads((path / "B/1/zarr.json").read_text())["attributes"]["ome"]["well"]
    assert well["images"] == [{"path": "1"}]
    assert [scene.name for scene in list_scenes(path)] == ["B/1/1"]


SITES = st.one_of(st.text(max_size=4), st.sampled_from(["f01", "F01", "f 01", "0", "1", "x2"]))


@given(sites=st.lists(SITES, max_size=12), row=st.integers(0, 31), column=st.integers(0, 47))
def test_two_fields_never_share_a_place(sites, row, column):
    names = []
    for site in sites:
        names.append(field_name(site, {name.casefold() for name in names}))
    assert len({field_path(row, column, name).casefold() for name in names}) == len(sites)
    assert all(name.isascii() and name.isalnum() for name in names)  # what OME-Zarr allows


@given(place=st.tuples(st.integers(0, 31), st.integers(0, 47)))
def test_two_wells_never_share_a_place(place):
    row, column, _ = field_path(*place, "0").split("/")
    back = 0
    for letter in row:
        back = 26 * back + ord(letter) - 64
    assert (back - 1, int(column) - 1) == place
