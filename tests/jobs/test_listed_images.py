"""A stain lies where the image lies that it was predicted from."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from judged_stores import write_image

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import PixelSizeError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.plate import Place
from napari_virtualstain.jobs.listed_images import listed_images, pixel_of, place_of_run
from napari_virtualstain.jobs.verdict_pairs import pair_fields

PLACES = {
    "a field of an OME-Zarr plate": ("A/10/1", Place(plate="p1", well="A10", site="1")),
    "one of several plates": ("day2/b3/s2", Place(plate="day2", well="B03", site="s2")),
    "a name that is a well": ("B02_s3", Place(plate="p1", well="B02", site="s3")),
    "a name that is none": ("cells", None),
    "no scene": (None, None),
}


def stain(store, **source):
    record = {"job": "stain", "input": source} if source else {}
    write_image(store, np.ones((1, 1, 1, 8, 8)), [Channel("DNA")], record)
    return store


@pytest.mark.parametrize(("scene", "expected"), PLACES.values(), ids=PLACES)
def test_the_record_says_where_it_lies(tmp_path, scene, expected):
    path = stain(tmp_path / "p1_x.ome.zarr", scene=scene, path="/data/p1.ome.zarr")
    assert place_of_run(path) == expected


def test_a_folder_of_stains_lies_in_the_wells_of_their_plates(tmp_path):
    for plate in ("p1", "p2"):
        stain(tmp_path / f"{plate}_a.ome.zarr", scene="C/2/1", path=f"/data/{plate}.ome.zarr")
    stain(tmp_path / "other.ome.zarr")
    found = listed_images(
        str(tmp_path), scene=None, axes=None, pattern=None, out=str(tmp_path / "o")
    )
    places = {one.path.name: (one.place.plate, one.place.well) for one in found}
    assert places == {
        "other.ome.zarr": ("", ""), "p1_a.ome.zarr": ("p1", "C02"), "p2_a.ome.zarr": ("p2", "C02"),
    }  # fmt: skip
    assert place_of_run(tmp_path / "nowhere") is None


def test_a_truth_that_lies_in_no_plate_is_still_found_by_name(tmp_path):
    for name in ("one", "two"):
        stain(
            tmp_path / "p" / f"{name}.ome.zarr", scene=f"C/{len(name)}/{name}", path="/p1.ome.zarr"
        )
        stain(tmp_path / "t" / f"{name}.ome.zarr")
    sides = [
        listed_images(str(tmp_path / side), scene=None, axes=None, pattern=None, out="o")
        for side in "pt"
    ]
    pairs, notes = pair_fields(*sides)
    assert [(p.prediction.path.name, p.truth.path.name) for p in pairs] == [
        ("one.ome.zarr", "one.ome.zarr"), ("two.ome.zarr", "two.ome.zarr"),
    ]  # fmt: skip
    assert not notes


SIZES = {
    "what is stated wins": (0.3, 0.5, 0.08, 0.3, False),
    "then what the file says": (None, 0.5, 0.08, 0.5, False),
    "then what the stain took": (None, None, 0.08, 0.08, True),
}


@pytest.mark.parametrize(("stated", "written", "taken", "size", "said"), SIZES.values(), ids=SIZES)
def test_a_pixel_has_the_size_that_its_stain_took(stated, written, taken, size, said):
    record = {"plan": {"pixel_sizes_yx_um": {"image": [written] * 2, "network": [taken] * 2}}}
    notes: list[str] = []
    assert pixel_of(_pixels(written), record, stated, notes) == size
    assert ["the model's 0.08 µm" in note for note in notes] == [True] * said


@pytest.mark.parametrize(
    "record", [{}, {"plan": {"pixel_sizes_yx_um": {"network": [None, None]}}}],
    ids=["no record", "an older one"],
)  # fmt: skip
def test_a_size_that_nobody_knows_is_asked_for(record):
    with pytest.raises(PixelSizeError, match="--pixel-size"):
        pixel_of(_pixels(None), record, None, [])


def _pixels(size):
    return LazyImage(
        data=da.zeros((1, 1, 1, 8, 8)), channels=(Channel("DNA"),),
        pixel_size_um=PixelSize(None, size, size),
    )  # fmt: skip
