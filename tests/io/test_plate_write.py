"""A plate of results is a plate for whoever opens it, from its first field on."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import list_scenes
from napari_virtualstain.io.plate import plates_of
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.io.sink import OmeZarrSink


def write_field(path, value):
    with OmeZarrSink.create(
        path, shape=(1, 1, 1, 8, 8), channels=[Channel("DNA")], n_tiles=1
    ) as sink:
        sink.write((slice(0, 1), slice(0, 1), slice(0, 1), slice(0, 8), slice(0, 8)),
                   np.full((1, 1, 1, 8, 8), value, np.float32))  # fmt: skip
        sink.commit(0)


FIELDS = [(1, 2, 0), (0, 0, 0), (1, 2, 1), (7, 11, 0)]


@pytest.fixture
def plate(tmp_path):
    path = tmp_path / "plate.ome.zarr"
    store = PlateStore(path, name="mine", rows=8, columns=12)
    for value, place in enumerate(FIELDS):
        write_field(path / field_path(*place), value)
        store.add(*place)
    return path


def test_every_field_is_found_with_its_pixels(plate):
    scenes = {scene.name: scene.open() for scene in list_scenes(plate)}
    assert set(scenes) == {"A/1/0", "B/3/0", "B/3/1", "H/12/0"}
    for value, place in enumerate(FIELDS):
        pixels = scenes[field_path(*place)].data.compute()
        assert (pixels == value).all()


def test_the_plate_has_its_size_and_wells(plate):
    (found,) = plates_of(list_scenes(plate))
    assert (found.rows, found.columns) == (8, 12)
    assert [(well.name, len(well.sites)) for well in found.wells] == [
        ("A01", 1),
        ("B03", 2),
        ("H12", 1),
    ]


def test_another_program_reads_the_plate(plate):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    read = ngff_zarr.from_hcs_zarr(str(plate))
    assert sorted(well.path for well in read.metadata.wells) == ["A/1", "B/3", "H/12"]
    assert len(read.metadata.columns) == 12


def test_nothing_is_listed_that_is_not_there(tmp_path):
    path = tmp_path / "plate.ome.zarr"
    store = PlateStore(path, name="mine", rows=2, columns=3)
    write_field(path / "B/1/0", 1)
    write_field(path / "B/1/1", 1)
    store.add(1, 0, 1)
    well = json.loads((path / "B/1/zarr.json").read_text())["attributes"]["ome"]["well"]
    assert well["images"] == [{"path": "1"}]
    assert [scene.name for scene in list_scenes(path)] == ["B/1/1"]


@given(place=st.tuples(st.integers(0, 31), st.integers(0, 47), st.integers(0, 99)))
def test_two_fields_never_share_a_place(place):
    row, column, field = field_path(*place).split("/")
    back = 0
    for letter in row:
        back = 26 * back + ord(letter) - 64
    assert (back - 1, int(column) - 1, int(field)) == place
