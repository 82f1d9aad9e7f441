"""A LoadData table names TIFFs that lie beside it, and what lacks stays empty."""

from __future__ import annotations

import csv
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import ChannelError, OutputExistsError, RunCancelled
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import list_scenes
from napari_virtualstain.io.plate import Place
from napari_virtualstain.io.save_loaddata import write_loaddata
from napari_virtualstain.io.scene import Scene

CHANNELS = (Channel("DNA (Hoechst)"), Channel("ER"))


def image(seed: int, *, times: int = 1, depth: int = 1, channels=CHANNELS) -> LazyImage:
    shape = (times, len(channels), depth, 12, 10)
    pixels = np.random.default_rng(seed).integers(0, 60_000, shape).astype("uint16")
    return LazyImage(
        data=da.from_array(pixels), channels=channels, pixel_size_um=PixelSize(1.0, 0.5, 0.5)
    )


def scene(seed: int, place: Place | None, name: str = "", **keywords) -> Scene:
    return Scene(name=name, kind="array", load=lambda: image(seed, **keywords), place=place)


def plate(**keywords) -> list[Scene]:
    facts = (("treatment", "DMSO"),)
    return [
        scene(0, Place(plate="P1", well="B02", site="s1", facts=facts), **keywords),
        scene(1, Place(plate="P1", well="B02", site="s2", facts=facts), **keywords),
        scene(2, Place(plate="P1", well="C11", site="s1"), **keywords),
    ]


def rows_of(table) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_is_read_back_as_the_plate_that_was_written(tmp_path):
    table = tmp_path / "out" / "load_data.csv"
    written = write_loaddata(table, plate())
    assert (written.rows, written.files, written.missing) == (3, 6, 0)
    back = list_scenes(table)
    assert [(s.well, s.site) for s in back] == [("B02", "s1"), ("B02", "s2"), ("C11", "s1")]
    assert dict(back[0].place.facts) == {"treatment": "DMSO"}
    for number, one in enumerate(back):
        assert one.channel_names == ("DNA_Hoechst", "ER")
        np.testing.assert_array_equal(one.open().data.compute(), image(number).data.compute())
        assert one.open().pixel_size_um.yx == pytest.approx(0.5)
        (guess,) = one.open().guesses
        assert guess.startswith("The pixel size, 0.5 µm, is from the resolution tags")


def test_rows_say_where_each_field_lies_and_files_lie_beside_the_table(tmp_path):
    write_loaddata(tmp_path / "load_data.csv", plate())
    first = rows_of(tmp_path / "load_data.csv")[0]
    assert first == {
        "Metadata_Plate": "P1",
        "Metadata_Well": "B02",
        "Metadata_Site": "s1",
        "Metadata_treatment": "DMSO",
        "FileName_DNA_Hoechst": "P1_B02_s1_DNA_Hoechst.tif",
        "FileName_ER": "P1_B02_s1_ER.tif",
    }
    with tifffile.TiffFile(tmp_path / first["FileName_ER"]) as file:
        assert file.pages[0].tags["XResolution"].value == (20000, 1)  # 0.5 µm, in 1/cm


def test_time_points_and_z_planes_have_rows_of_their_own(tmp_path):
    write_loaddata(tmp_path / "t.csv", plate(times=2, depth=3))
    rows = rows_of(tmp_path / "t.csv")
    assert len(rows) == 3 * 2 * 3
    assert [(r["Metadata_T"], r["Metadata_Z"]) for r in rows[:4]] == [
        ("0", "0"), ("0", "1"), ("0", "2"), ("1", "0"),
    ]  # fmt: skip
    assert len({r["FileName_ER"] for r in rows}) == len(rows)


def test_a_missing_plane_is_an_empty_cell(tmp_path):
    whole = image(0)
    lacks = replace(whole, missing=((0, 1, 0),))
    one = Scene(name="", kind="array", load=lambda: lacks, place=Place(well="A01"))
    written = write_loaddata(tmp_path / "t.csv", [one])
    assert (written.files, written.missing) == (1, 1)
    assert rows_of(tmp_path / "t.csv")[0]["FileName_ER"] == ""


def test_images_of_one_place_do_not_overwrite_each_other(tmp_path):
    same = Place(well="A01")
    write_loaddata(tmp_path / "t.csv", [scene(0, same), scene(1, same)])
    assert len({row["FileName_ER"] for row in rows_of(tmp_path / "t.csv")}) == 2


def test_wells_with_other_channels_have_empty_cells(tmp_path):
    other = scene(3, Place(well="D01"), channels=(Channel("RNA"),))
    write_loaddata(tmp_path / "t.csv", [*plate(), other])
    rows = rows_of(tmp_path / "t.csv")
    assert (rows[0]["FileName_RNA"], rows[-1]["FileName_ER"]) == ("", "")


def test_files_that_are_there_stay_until_they_may_be_replaced(tmp_path):
    write_loaddata(tmp_path / "t.csv", plate())
    with pytest.raises(OutputExistsError, match="add --overwrite"):
        write_loaddata(tmp_path / "t.csv", plate())
    write_loaddata(tmp_path / "t.csv", plate(), overwrite=True)


def test_channels_that_cannot_be_told_apart_are_refused(tmp_path):
    alike = (Channel("DNA 1"), Channel("DNA-1"))
    with pytest.raises(ChannelError, match=r"Choose some with --channels\.$"):
        write_loaddata(tmp_path / "t.csv", [scene(0, None, channels=alike)])


def test_what_is_cancelled_leaves_no_table(tmp_path):
    def stop(done, _):
        if done == 2:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        write_loaddata(tmp_path / "t.csv", plate(), on_field=stop)
    assert not (tmp_path / "t.csv").exists()
    assert not list(tmp_path.glob("*.partial"))
