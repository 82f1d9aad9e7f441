"""The index of a whole plate: parsed as a stream, once, and refused where it is dangerous."""

from __future__ import annotations

import os
import time
import tracemalloc

import numpy as np
import pytest
import tifffile
from plate_index import write_index

from napari_virtualstain.io.cache import cache_folder
from napari_virtualstain.io.layouts import index_cache
from napari_virtualstain.io.layouts.harmony import read_index
from napari_virtualstain.io.layouts.index_cache import remembered_plan
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.plate import plates_of
from napari_virtualstain.io.safe_xml import XmlError, records


@pytest.fixture
def plate(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "cache"))
    write_index(tmp_path / "Images", wells=6, fields=2, channels=3)
    return tmp_path / "Images" / "Index.idx.xml"


@pytest.fixture
def counted():
    """How often the index is parsed."""
    calls = []

    def read(index):
        calls.append(index)
        return read_index(index)

    read.__module__ = read_index.__module__
    return calls, read


def test_an_index_is_parsed_once(plate, counted):
    calls, read = counted
    first, again = remembered_plan(plate, read), remembered_plan(plate, read)
    assert len(calls) == 1
    assert again == first
    assert len(first.planes) == 36
    assert first.places["A02/f01"].position_um == pytest.approx((-600.0, 600.0))
    assert (first.places["A02/f01"].plate, again.na) == ("P1", 1.0)


@pytest.mark.parametrize("change", ["time", "size", "parser"])
def test_an_index_that_changed_is_parsed_again(plate, counted, change, monkeypatch):
    calls, read = counted
    remembered_plan(plate, read)
    if change == "time":
        os.utime(plate, ns=(1, 1))
    elif change == "size":
        plate.write_text(plate.read_text(encoding="utf-8") + " ", encoding="utf-8")
    else:
        monkeypatch.setattr(index_cache, "VERSION", index_cache.VERSION + 1)
    remembered_plan(plate, read)
    assert len(calls) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_cache_is_ignored_and_written_again(plate, counted, damage):
    calls, read = counted
    first = remembered_plan(plate, read)
    (file,) = (cache_folder() / "indices").iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(
        {
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "empty": b"",
            "other": b"{}",
        }[damage]
    )
    assert remembered_plan(plate, read) == first
    assert len(calls) == 2
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_time_only(plate, monkeypatch):
    (plate.parent / "file").write_text("")
    monkeypatch.setenv("NVS_CACHE", str(plate.parent / "file" / "below"))
    assert len(remembered_plan(plate, read_index).planes) == 36


def test_a_name_in_an_index_never_leads_out_of_its_folder(plate):
    text = plate.read_text(encoding="utf-8")
    plate.write_text(text.replace("<URL>r01c01f01", "<URL>../../etc/r01c01f01"), encoding="utf-8")
    assert {p.path.parent for p in read_index(plate).planes} == {plate.parent}


@pytest.mark.parametrize(
    "prologue",
    [
        '<!DOCTYPE x [<!ENTITY a "b">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        "<!-- " + "x" * (1 << 20) + " --><!DOCTYPE x>",
    ],
    ids=["internal", "external", "late"],
)
def test_a_document_type_is_refused_before_anything_is_read(tmp_path, prologue):
    path = tmp_path / "a.xml"
    path.write_text(f'<?xml version="1.0"?>{prologue}<x><Image><URL>a</URL></Image></x>')
    with pytest.raises(XmlError, match="declares a document type"):
        next(records(path, ("Image",), ("URL",)))


def test_records_are_found_whatever_their_prefix_and_depth(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(
        '<p:x xmlns:p="u"><p:l><p:Image p:id="1"><p:URL U="m"> a &amp; <!-- c -->b </p:URL><p:N/>'
        "<p:deep><p:URL>c</p:URL></p:deep></p:Image></p:l><p:URL>no</p:URL><p:Image/></p:x>"
    )
    first, second = records(path, ("Image",), ("URL", "N"))
    assert first.attributes == {"id": "1"}
    assert first.facts == {"URL": "a & b", "URL U": "m", "N": ""}
    assert second.facts == {}


@pytest.mark.slow
def test_a_plate_of_27648_files_opens_in_three_seconds_and_reopens_in_one(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "Images"
    assert write_index(folder) == 27_648
    for channel in range(1, 9):
        name = f"r01c01f01p01-ch{channel}sk1fk1fl1.tiff"
        tifffile.imwrite(folder / name, np.zeros((8, 8), np.uint16))
    seconds = []
    for _ in range(2):
        began = time.process_time()  # not those of other programs on a busy computer
        scenes = list_scenes(tmp_path)
        image = scenes[0].open()
        seconds.append(time.process_time() - began)
        assert (len(scenes), image.shape) == (3456, (1, 8, 1, 8, 8))
    assert seconds[0] < 3
    assert seconds[1] < 1
    (found,) = plates_of(scenes)
    assert (found.rows, found.columns, len(found.wells)) == (16, 24, 384)
    tracemalloc.start()
    try:
        list_scenes(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    with pytest.raises(ValueError, match="holds 3456 images"):  # none of them is opened for it
        open_image(tmp_path, channels=["HOECHST 33342"])
