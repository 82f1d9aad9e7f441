"""What somebody decided about a field is kept beside it, whole, and found again."""

from __future__ import annotations

import json

import pytest

from napari_virtualstain.datasets.review import Decision, Review, read_review, write_review
from napari_virtualstain.errors import ImageFileError, SettingsError, VirtualStainError
from napari_virtualstain.io.folder import review_folder

KEY = ("plate.ome.zarr", "B/2/0")


def decision(verdict="accepted", t=0, **more):
    return Decision(path=KEY[0], scene=KEY[1], time=t, verdict=verdict, **more)


@pytest.mark.parametrize(
    ("prediction", "folder"),
    [
        ("d/plate.ome.zarr", "d/plate.review"),
        ("d/plate.zarr", "d/plate.review"),
        ("d/stained", "d/stained.review"),
        ("d/stained.tif", "d/stained.tif.review"),
    ],
)
def test_decisions_lie_beside_the_prediction(tmp_path, prediction, folder):
    assert review_folder(tmp_path / prediction) == tmp_path / folder


def test_nobody_has_decided_anything_about_what_is_new(tmp_path):
    assert read_review(tmp_path / "new.ome.zarr") == Review()


def test_the_last_decision_counts_and_others_stay(tmp_path):
    review = Review().decided(decision(t=0)).decided(decision(t=1))
    review = review.decided(decision("rejected", t=0, comment="bubble"))
    write_review(tmp_path / "p.ome.zarr", review)
    found = read_review(tmp_path / "p.ome.zarr")
    assert found == review
    assert [one.time for one in found.decisions] == [1, 0]
    assert found.of(KEY, 0).comment == "bubble"
    assert found.of(KEY, 1).verdict == "accepted"
    assert found.of(("other", ""), 0) is None
    assert found.without(KEY, 0).of(KEY, 0) is None
    assert len(found.without(KEY, 7).decisions) == 2


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("{", ImageFileError, "damaged"),
        (json.dumps({"schema_version": 99}), ImageFileError, "Update napari-virtualstain"),
        (json.dumps({"schema_version": 1, "decisions": [{"path": "x"}]}), SettingsError, "verdict"),
        (json.dumps({"schema_version": 1, "more": 1}), SettingsError, "more"),
    ],
)
def test_a_file_that_is_none_is_told_in_a_sentence(tmp_path, text, error, says):
    folder = review_folder(tmp_path / "p.ome.zarr")
    folder.mkdir()
    (folder / "review.json").write_text(text)
    with pytest.raises(error, match=says) as caught:
        read_review(tmp_path / "p.ome.zarr")
    assert isinstance(caught.value, VirtualStainError)
    assert str(folder / "review.json") in str(caught.value)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    write_review(tmp_path / "p.ome.zarr", Review().decided(decision()))
    monkeypatch.setattr("pathlib.Path.replace", _full)
    with pytest.raises(VirtualStainError, match="cannot be written"):
        write_review(tmp_path / "p.ome.zarr", Review())
    assert len(read_review(tmp_path / "p.ome.zarr").decisions) == 1


def _full(*_):
    raise OSError(28, "No space left on device")
