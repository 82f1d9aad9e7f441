"""Every script in examples/ does what it says, with a model that is small enough to wait for."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
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


def run_alone(*words, path=()):
    """Run a script, or the program, in a process of its own, and return what it printed."""
    source = FOLDER.parent / "src"
    among = os.pathsep.join(map(str, [*path, source]))
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=240,
        env={**os.environ, "PYTHONPATH": among, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_example_is_left_out():
    text = Path(__file__).read_text(encoding="utf-8")
    ran = ('run_example("{}"', 'run_alone(FOLDER / "{}"')
    assert [p.name for p in FOLDER.glob("*.py")
            if not any(way.format(p.name) in text for way in ran)] == []  # fmt: skip


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


def test_another_microscope_gives_pairs_that_are_brighter_and_shared_by_name(run_example, tmp_path):
    from napari_virtualstain import open_image

    said = run_example("another_microscope.py", tmp_path, "--fields", 2, "--size", 64)
    assert said.count("64 px, 5 stains") == 2
    names = [
        sorted(p.name for p in (tmp_path / kind).iterdir()) for kind in ("brightfield", "stains")
    ]
    assert names[0] == names[1] == ["field1.ome.zarr", "field2.ome.zarr"]
    stains = open_image(tmp_path / "stains" / "field1.ome.zarr").data
    assert int(stains.min().compute()) >= 300
    assert open_image(tmp_path / "brightfield" / "field2.ome.zarr").shape == (1, 1, 3, 64, 64)


@pytest.mark.slow
def test_a_generator_of_ones_own_is_found_by_its_entry_point_trained_and_stains(tmp_path):
    said = run_alone(FOLDER / "write_your_own_generator.py", tmp_path, "--steps", 2)
    assert "listed: Two wide convolutions, an example" in said
    assert "trained: 2 steps" in said
    assert said.count("a linear filter") == 2

    # The program itself, in another process, where the package lies as pip would leave it.
    packages = (tmp_path, FOLDER)
    found = json.loads(run_alone("-m", "napari_virtualstain", "models", "--json", path=packages))
    assert found["generators"]["two_layers"]["presets"] == ["small", "tiny"]
    assert found["broken_generators"] == {}
    again = run_alone(
        "-m", "napari_virtualstain", "stain", tmp_path / "field2_brightfield.ome.tif", "--quiet",
        "--model", tmp_path / "model", "--out", tmp_path / "again.ome.zarr", path=packages,
    )  # fmt: skip
    assert "DNA, RNA -> " in again


def test_published_weights_become_a_model_that_stains_a_stack(run_example, tmp_path):
    said = run_example("import_published_weights.py", tmp_path)
    assert "VisCy FCMAE for 4 planes" in said
    assert "not for: Trained on quantitative phase" in said
    assert "9 planes of Nucleus, Membrane" in said


@pytest.mark.slow
def test_many_images_are_stained_on_workers_and_not_twice(tiny_model, small_fields, tmp_path):
    from napari_virtualstain.jobs.simulate import write_field

    given, out = tmp_path / "given", tmp_path / "out"
    for number, field in enumerate(small_fields[:2]):
        write_field(field, given, only={"brightfield": given / f"{number}.ome.zarr"})
    (given / "notes.txt").write_text("no image")
    words = (given, out, "--model", tiny_model, "--workers", 1)
    first = run_alone(FOLDER / "stain_many_on_dask.py", *words)
    assert first.count(".ome.zarr: stained") == 2
    assert "notes.txt: failed: " in first
    again = run_alone(FOLDER / "stain_many_on_dask.py", *words)
    assert again.count(".ome.zarr: was done before") == 2
