"""A pairs file says the same after it was written, moved and read; what is none is refused."""

from __future__ import annotations

import json
import shutil

import pytest

from napari_virtualstain.datasets.pairing_file import (
    FilePair,
    FileShift,
    FileSplit,
    FileStain,
    FileUnmatched,
    PairsFile,
    load_pairs,
    save_pairs,
)
from napari_virtualstain.errors import ImageFileError, MissingInputError, OutputExistsError


def shift(verdict, stain="DNA", t=0, **known):
    return FileShift(
        stain=stain, t=t, dy_px=2.0, dx_px=-1.5, confidence=0.8, verdict=verdict, **known
    )


def pairs(root, *, correct=True, **known):
    pair = FilePair(
        name="A01/1", plate="P", well="A01", field="P/A01/1", set="train", matched_by="place",
        path=str(root / "in" / "b.tif"), channel="BF",
        stains={"DNA": FileStain(path=str(root / "in" / "s.tif"), channel="DAPI", by="synonym")},
        registration=(shift("shifted"), shift("ambiguous", t=1), shift("aligned", t=2)),
    )  # fmt: skip
    return PairsFile(
        stains=("DNA", "ER"), pairs=(pair,), correct=correct, split=FileSplit(by="well", seed=3),
        unmatched=(FileUnmatched(path=str(root / "in" / "x.tif"), reason="no bright field"),),
        **known,
    )  # fmt: skip


def test_what_is_written_is_read_again(tmp_path):
    made = pairs(tmp_path, pixel_size_um=0.5, z=(1, 2), notes=("A note.",))
    save_pairs(tmp_path / "pairs.json", made)
    assert load_pairs(tmp_path / "pairs.json") == made
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.json"]


def test_a_folder_may_be_moved_with_its_pairs_file(tmp_path):
    save_pairs(tmp_path / "a" / "pairs.json", pairs(tmp_path / "a"))
    assert json.loads((tmp_path / "a" / "pairs.json").read_text())["pairs"][0]["path"] == "in/b.tif"
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert load_pairs(tmp_path / "b" / "pairs.json") == pairs(tmp_path / "b")


def test_a_url_stays_a_url(tmp_path):
    far = pairs(tmp_path).with_paths(lambda text: "s3://bucket/plate.zarr")
    save_pairs(tmp_path / "pairs.json", far)
    assert load_pairs(tmp_path / "pairs.json") == far


def test_only_what_is_surely_shifted_is_moved_and_only_on_request(tmp_path):
    made = pairs(tmp_path)
    assert made.corrections(made.pairs[0]) == {("DNA", 0): (2.0, -1.5)}
    made = pairs(tmp_path, correct=False)
    assert made.corrections(made.pairs[0]) == {}


def test_nothing_else_is_replaced(tmp_path):
    there = tmp_path / "pairs.json"
    save_pairs(there, pairs(tmp_path))
    with pytest.raises(OutputExistsError, match="choose another --out or add --overwrite"):
        save_pairs(there, pairs(tmp_path))
    save_pairs(there, pairs(tmp_path, correct=False), overwrite=True)
    assert load_pairs(there).correct is False
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(OutputExistsError, match="no pairs file, which is never replaced"):
        save_pairs(tmp_path / "notes.json", pairs(tmp_path), overwrite=True)


BROKEN = {
    "no JSON": ("{", "no pairs file, or is damaged"),
    "a list": ("[]", "it has no schema_version"),
    "newer": ('{"schema_version": 2}', "is of schema 2, this program knows 1. Update napari-virtualstain"),
    "without pairs": ('{"schema_version": 1, "stains": []}', "pairs: Field required.*Write it anew with"),
    "bytes": (b"\xff\xfe\x00", "no pairs file, or is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_pairs_file_is_refused(content, sentence, tmp_path):
    file = tmp_path / "p.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ImageFileError, match=sentence):
        load_pairs(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingInputError, match="Write it with `virtualstain pairs`"):
        load_pairs(tmp_path / "p.json")
