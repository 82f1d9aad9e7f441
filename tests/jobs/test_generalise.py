"""Results of several domains become a matrix, whoever wrote them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from napari_virtualstain.api import generalise
from napari_virtualstain.cli.main import main
from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    PixelDataError,
)
from napari_virtualstain.jobs.generalise import FILES

STAINS = ("DNA", "ER")


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def verdict_folder(folder, pcc, *, stains=STAINS, seed=0, wells=10):
    """Write fields as a verdict does."""
    rng = np.random.default_rng(seed)
    rows = []
    for well in range(wells):
        for site in (1, 2):
            true = int(rng.integers(20, 60))
            row = {"plate": "p", "well": f"A{well:02d}", "site": site, "time": 0, "true": true,
                   "predicted": true + int(rng.integers(-2, 3))}  # fmt: skip
            for stain in stains:
                r = pcc + 0.01 * rng.normal()
                row |= {f"pcc_{stain}": r, f"ssim_{stain}": r / 2, f"psnr_{stain}": 30 * r,
                        f"mae_{stain}": 10, f"mse_{stain}": 200 * (1 - r), f"gain_{stain}": 1,
                        f"true_median_nucleus_mean_{stain}": 5}  # fmt: skip
            rows.append(row)
    write_rows(folder / "fields.csv", rows)


@pytest.fixture
def matrix(tmp_path):
    for n, (name, pcc) in enumerate({"aa": 0.9, "ab": 0.6, "bb": 0.8, "ba": 0.7}.items()):
        verdict_folder(tmp_path / "results" / name, pcc, seed=n)
    rows = [
        {"Train": n[0], "Test": n[1], "Result": f"results/{n}"} for n in ("aa", "ab", "bb", "ba")
    ]
    return write_rows(tmp_path / "matrix.csv", rows)


def test_verdicts_become_a_matrix_with_planted_losses(matrix, tmp_path):
    found = generalise(matrix, out=tmp_path / "out", draws=100)
    by = {(e.train, e.test, e.score): e for e in found.entries}
    assert {score for _, _, score in by} == {"pcc", "ssim", "psnr", "mse", "mae", "counts"}
    assert by["a", "b", "pcc"].loss.low < 100 / 3 < by["a", "b", "pcc"].loss.high
    assert by["a", "b", "mse"].loss.value == pytest.approx(300, rel=0.15)
    assert by["b", "a", "mae"].loss.value == 0
    assert by["a", "a", "counts"].value.low > 0.9
    assert "if trained on a and asked of b" in found.sentences()[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    page = (tmp_path / "out" / FILES[0]).read_text("utf-8")
    assert page.count("<svg") == page.count("</svg>") == 3
    whole = json.loads((tmp_path / "out" / FILES[1]).read_text("utf-8"))
    assert len(whole["result"]["matrix"]) == 24


def test_what_evaluate_writes_is_read_image_by_image(tmp_path):
    rows = []
    for n, pcc in enumerate([0.8, 0.82, 0.78, 0.4, 0.42, 0.38]):
        scores = [
            {"stain": s, "target": s, "pcc": pcc, "ssim": None if s == "ER" else 0.5, "psnr": 20.0,
             "mae": 1.0, "mse": 2.0, "gain": 1.0}
            for s in STAINS
        ]  # fmt: skip
        if n % 3:
            path = write_rows(tmp_path / f"{n}.csv", [{k: "" if v is None else v for k, v in r.items()} for r in scores])  # fmt: skip
        else:
            path = tmp_path / f"{n}.json"
            path.write_text(json.dumps({"channels": scores, "notes": []}))
        rows.append({"train": "a", "test": "ab"[n // 3], "result": path.name})
    found = generalise(write_rows(tmp_path / "m.csv", rows), out=tmp_path / "out", draws=100)
    one = next(e for e in found.entries if (e.test, e.score) == ("b", "pcc"))
    assert one.loss.value == pytest.approx(50)
    assert one.fields == 3
    assert "ssim" not in {e.score for e in found.entries}  # no image has it of both stains


def test_stains_that_not_all_have_are_left_out_and_said(matrix, tmp_path):
    verdict_folder(tmp_path / "results" / "ab", 0.6, stains=("DNA", "AGP"))
    found = generalise(matrix, out=tmp_path / "out", draws=50)
    assert any("left out: AGP, ER" in note for note in found.notes)


def test_the_command_line_says_the_same(matrix, tmp_path, capsys):
    words = ["generalise", str(matrix), "--out", str(tmp_path / "out"), "--draws", "50", "--quiet"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("PCC is worse by")
    assert "a on b  MSE" in said
    assert main(words) == 1
    assert "replace it with --overwrite" in capsys.readouterr().err


def table(tmp_path, *rows, columns="train,test,result"):
    path = tmp_path / "bad.csv"
    path.write_text("\n".join([columns, *rows]))
    return path


BAD = {
    "no table": (lambda d: d / "none.csv", MissingInputError, "is no file. Name a table"),
    "no column": (
        lambda d: table(d, "a,b,c", columns="train,test,where"),
        ImageFileError, "no column 'result'; it has train, test, where. Give it",
    ),
    "an empty cell": (lambda d: table(d, "a,,x"), ImageFileError, "lacks train, test or result"),
    "no result": (lambda d: table(d, "a,b,nowhere"), MissingInputError, "nowhere' does not exist"),
    "another table": (
        lambda d: table(d, "a,b,bad.csv"), ImageFileError, "is no result of `virtualstain verdict`",
    ),
    "own domains alone": (
        lambda d: table(d, "a,a,results/aa"), PixelDataError, "on another domain than its own",
    ),
    "no stain in common": (
        lambda d: table(d, "a,a,results/aa", "a,b,results/other"), PixelDataError,
        "no stain in common",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence(matrix, tmp_path, make, kind, sentence):
    verdict_folder(tmp_path / "results" / "other", 0.5, stains=("AGP",))
    with pytest.raises(kind, match=sentence) as caught:
        generalise(make(tmp_path), out=tmp_path / "out")
    assert str(caught.value).endswith(".")
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_a_file_is_refused(matrix, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputExistsError, match="is a file"):
        generalise(matrix, out=tmp_path / "file")
