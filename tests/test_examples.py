"""Every script in examples/ does what it says, with a model that is small enough to wait for."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "examples"
if not FOLDER.is_dir():
    pytest.skip("the examples are not part of an installed package", allow_module_level=True)


@pytest.fixture
def run_example(monkeypatch, capsys):
    """Run a script as ``python examples/NAME arguments`` would, and return what it printed."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(FOLDER / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_no_example_is_left_out():
    text = Path(__file__).read_text(encoding="utf-8")
    assert [p.name for p in FOLDER.glob("*.py") if f'run_example("{p.name}"' not in text] == []


def test_an_array_is_stained_and_read_again(run_example, tiny_model, small_fields, tmp_path):
    array, out = tmp_path / "bf.npy", tmp_path / "out.ome.zarr"
    np.save(array, small_fields[0].brightfield[0])
    said = run_example("stain_an_array.py", tiny_model, out, array)
    assert "DNA, ER, RNA, AGP, Mito, shape (t, c, z, y, x) (1, 5, 1, 96, 96)" in said
    read = run_example("read_a_result.py", out)
    assert "pixel size 0.6 µm" in read
    assert "run: complete, 1 of 1 tiles" in read
    assert read.count("0% missing") == 5
    assert "please confirm" not in read


def test_without_an_array_a_simulated_field_is_stained(run_example, tiny_model, tmp_path):
    said = run_example("stain_an_array.py", tiny_model, tmp_path / "out.ome.zarr")
    assert "(1, 5, 1, 128, 128)" in said


def test_a_result_that_is_not_complete_says_so(run_example, tmp_path):
    from napari_virtualstain import Channel
    from napari_virtualstain.io.sink import OmeZarrSink

    record = {
        "settings": {"input": "bf.tif"}, "model": {"name": "m", "fingerprint": "0" * 64},
        "created": "now", "device": "cpu",
    }  # fmt: skip
    out = tmp_path / "half.ome.zarr"
    OmeZarrSink.create(
        out, shape=(1, 1, 1, 8, 8), channels=[Channel("DNA")], n_tiles=2, record=record
    ).fail("Ctrl-C")
    read = run_example("read_a_result.py", out)
    assert "run: partial, 0 of 2 tiles" in read
    assert "100% missing" in read
    assert "please confirm: Only 0 of 2 tiles are there" in read


def test_a_model_is_trained_on_pairs_of_tiffs(run_example, tmp_path):
    said = run_example("train_on_simulated_pairs.py", tmp_path / "new", "--steps", 4)
    assert "2 fields taught, 4 steps" in said
    assert said.count("on a field that it has not seen") == 2
    assert (tmp_path / "new" / "model" / "card.json").is_file()
