"""A review hides which picture is real, is answered by keys, gone on with, and scored by its key."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from drawn_cells import STAINS
from judged_stores import write_image
from PIL import Image

from napari_virtualstain.api import blind
from napari_virtualstain.cli.main import main
from napari_virtualstain.errors import (
    ChannelError,
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    PixelDataError,
    SettingsError,
)
from napari_virtualstain.io.image import Channel

SIDE = 80


def field(seed, *, blur=0):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(1, len(STAINS), 1, SIDE, SIDE)) * 50 + 500
    return base + blur * np.roll(base, 1, axis=-1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Predictions are means of neighbours; the truth is not."""
    root = tmp_path_factory.mktemp("images")
    for n in range(6):
        for kind, blur in (("truth", 0), ("prediction", 1)):
            channels = [Channel(name) for name in STAINS]
            write_image(root / kind / f"f{n}.ome.zarr", field(n, blur=blur), channels)
    return root


@pytest.fixture(scope="module")
def review(images):
    blind(images / "prediction", target=images / "truth", out=images / "review", count=16, edge=48)
    return images / "review"


def key_of(folder):
    return json.loads((folder / "key.json").read_text("utf-8"))


def pairs_of(folder):
    text = (folder / "review.html").read_text("utf-8")
    return json.loads(re.search(r"const PAIRS = (\[.*?\]);\n", text)[1].replace("<\\/", "</"))


def pixels(address):
    content = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content))).astype(float)


def roughness(picture):
    return float(np.corrcoef(picture[:, 1:].ravel(), picture[:, :-1].ravel())[0, 1])


def write_answers(path, folder, answer):
    key = key_of(folder)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "pair", "answer", "seconds"])
        writer.writerows(
            [key["review"], one["pair"], answer(one), 1.5] for one in key["pairs"] if answer(one)
        )
    return path


def other(side):
    return "right" if side == "left" else "left"


def test_the_key_is_right_and_the_page_does_not_tell(review):
    key, pairs = key_of(review), pairs_of(review)
    assert len(key["pairs"]) == len(pairs) == 16
    for one, shown in zip(key["pairs"], pairs, strict=True):
        assert one["stain"] == shown["stain"]
        real, drawn = (pixels(shown[side]) for side in (one["real"], other(one["real"])))
        assert real.shape == (48, 48)
        assert roughness(drawn) > 0.3 > roughness(real)
    assert {one["real"] for one in key["pairs"]} == {"left", "right"}
    page = (review / "review.html").read_text("utf-8")
    assert "http" not in page
    assert not re.search(r"prediction|truth|f\d\.ome|\"real\"", page)


def test_the_same_seed_is_the_same_review_and_another_is_not(images, tmp_path):
    how = {"target": images / "truth", "count": 16, "edge": 48}
    for name, seed in (("a", 0), ("b", 1)):
        blind(images / "prediction", out=tmp_path / name, seed=seed, **how)
    own = key_of(images / "review") if (images / "review").exists() else key_of(tmp_path / "a")
    assert key_of(tmp_path / "a")["pairs"] == own["pairs"]
    assert key_of(tmp_path / "a")["review"] == own["review"] != key_of(tmp_path / "b")["review"]


def test_answers_are_scored_by_the_key(review, tmp_path):
    right = write_answers(tmp_path / "right.csv", review, lambda one: one["real"])
    found = blind(out=review, answers=(str(right),))
    assert (found.score.right, found.score.asked) == (16, 16)
    assert set(found.by_stain) <= set(STAINS)
    assert sum(one.asked for one in found.by_stain.values()) == 16
    lazy = write_answers(
        tmp_path / "left.csv", review, lambda one: "left" if one["pair"] <= 9 else ""
    )
    both = blind(out=review, answers=(str(right), str(lazy)))
    assert both.score.asked == 25
    assert both.by_file[str(lazy)].left == 1
    assert any("7 of 16 pairs are not answered" in note for note in both.notes)
    kept = json.loads((review / "score.json").read_text("utf-8"))
    assert kept["result"]["score"]["asked"] == 25


SCRIPT = """
var nodes = {}, saved = {}, files = [], handler;
var document = {
  getElementById: function(id) { return nodes[id] = nodes[id] || { firstChild: {} }; },
  addEventListener: function(name, what) { handler = what; },
  createElement: function() { return { click: function() {} }; } };
var localStorage = { getItem: function(k) { return saved[k] || null; },
                     setItem: function(k, v) { saved[k] = v; } };
var performance = { now: function() { return 0; } };
var URL = { createObjectURL: function() { return ""; } };
function Blob(parts) { files.push(parts.join("")); }
function press(key) { handler({ key: key, preventDefault: function() {} }); }
"""


ENGINE = """
import json, sys
from PyQt6.QtCore import QCoreApplication
from PyQt6.QtQml import QJSEngine

app = QCoreApplication([])
engine = QJSEngine()
found = []
for text in json.load(sys.stdin):
    result = engine.evaluate(text)
    assert not result.isError(), result.toString()
    found.append(result.toVariant())
print(json.dumps(found))
"""


@pytest.fixture
def browser(review):
    """Return what runs the script of the page, in an engine without a window and its own process."""
    pytest.importorskip("PyQt6.QtQml")
    page = (review / "review.html").read_text("utf-8")
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL)[1]

    def run(*texts, saved="{}"):
        opening = [SCRIPT, f"saved = {saved}; 0", f"(function() {{ {script} }})(); 0"]
        done = subprocess.run(
            [sys.executable, "-c", ENGINE], input=json.dumps([*opening, *texts]),
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[len(opening) :]

    return run


def test_keys_answer_go_back_and_save(browser, review, tmp_path):
    *_, told, _, saved = browser(
        'press("ArrowLeft"); press("2"); press("2"); press("Backspace"); press("1"); 0',
        'nodes["done"].textContent', 'press("s"); 0', "files[0]",
    )  # fmt: skip
    assert told == "pair 4 of 16, 3 answered"
    rows = [(row["pair"], row["answer"]) for row in csv.DictReader(io.StringIO(saved))]
    assert rows == [("1", "left"), ("2", "right"), ("3", "left")]
    answers = tmp_path / "answers.csv"
    answers.write_text(saved, encoding="utf-8")
    assert blind(out=review, answers=(str(answers),)).score.asked == 3


def test_a_review_that_was_closed_is_gone_on_with(browser):
    _, kept = browser('press("1"); press("1"); 0', "JSON.stringify(saved)")
    told, over, _, end = browser(
        'nodes["done"].textContent', 'nodes["over"].hidden',
        'for (var n = 0; n < 14; n++) { press("2"); } 0', 'nodes["over"].hidden', saved=kept,
    )  # fmt: skip
    assert told == "pair 3 of 16, 2 answered"
    assert (over, end) == (True, False)


def test_who_is_asked_of_one_stain_sees_no_other(images, tmp_path):
    blind(images / "prediction", target=images / "truth", out=tmp_path / "r", count=4, stains=(STAINS[1],), contrast="truth")  # fmt: skip
    assert {one["stain"] for one in key_of(tmp_path / "r")["pairs"]} == {STAINS[1]}


BAD = {
    "nothing": ({"prediction": None, "target": None}, SettingsError, "needs predicted and true"),
    "both": ({"answers": ("a.csv",)}, SettingsError, "Leave out the images, or --answers"),
    "no such stain": ({"stains": ("GFP",)}, ChannelError, "No predicted stain is called 'GFP'"),
    "there already": ({"out": "REVIEW"}, OutputExistsError, "replace it with --overwrite"),
}


@pytest.mark.parametrize(("change", "kind", "sentence"), BAD.values(), ids=BAD)
def test_bad_questions_are_one_sentence(images, review, tmp_path, change, kind, sentence):
    values = {
        "prediction": images / "prediction", "target": images / "truth", "out": tmp_path / "r",
        **change,
    }  # fmt: skip
    values["out"] = review if values["out"] == "REVIEW" else values["out"]
    with pytest.raises(kind, match=sentence):
        blind(values.pop("prediction"), **values)
    assert not (tmp_path / "r").exists()


ANSWERS = {
    "another review": ("x,1,left,1", SettingsError, "answers of another review, 'x'"),
    "no such pair": ("ID,99,left,1", ImageFileError, "that the page does not give: pair '99'"),
    "no such answer": ("ID,1,both,1", ImageFileError, "pair '1', 'both'"),
    "nothing": ("", PixelDataError, "No pair was answered"),
}


@pytest.mark.parametrize(("row", "kind", "sentence"), ANSWERS.values(), ids=ANSWERS)
def test_bad_answers_are_one_sentence(review, tmp_path, row, kind, sentence):
    path = tmp_path / "answers.csv"
    row = row.replace("ID", key_of(review)["review"])
    path.write_text(f"review,pair,answer,seconds\n{row}\n", encoding="utf-8")
    with pytest.raises(kind, match=sentence):
        blind(out=review, answers=(str(path),))


def test_a_folder_without_a_key_and_answers_that_are_not_there(review, tmp_path):
    with pytest.raises(MissingInputError, match=r"key.json' does not exist. Name the folder"):
        blind(out=tmp_path, answers=("a.csv",))
    with pytest.raises(MissingInputError, match="cannot be read"):
        blind(out=review, answers=(str(tmp_path / "none.csv"),))


def test_constant_fields_are_left_out_and_said(tmp_path):
    channels = [Channel(name) for name in STAINS]
    for n in range(3):
        for kind in ("p", "t"):
            values = np.ones_like(field(n)) if n == 0 and kind == "p" else field(n)
            write_image(tmp_path / kind / f"f{n}.ome.zarr", values, channels)
    found = blind(tmp_path / "p", target=tmp_path / "t", out=tmp_path / "r", count=6, edge=32)
    assert found.pairs == 6
    assert any("1 field left out; the first, f0.ome.zarr" in note for note in found.notes)


def test_the_command_line_writes_and_scores(images, tmp_path, capsys):
    out = str(tmp_path / "r")
    words = ["blind", str(images / "prediction"), "--target", str(images / "truth"), "--out", out,
             "--count", "4", "--quiet"]  # fmt: skip
    assert main(words) == 0
    assert "Give the page alone" in capsys.readouterr().out
    answers = write_answers(tmp_path / "a.csv", tmp_path / "r", lambda one: other(one["real"]))
    assert main(["blind", "--answers", str(answers), "--out", out, "--quiet"]) == 0
    assert "named in 0 of 4 pairs" in capsys.readouterr().out
