"""The command line, as a user and a script see it."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import psutil
import pytest
import tifffile

from napari_virtualstain.cli import main
from napari_virtualstain.cli.main import VERBS
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record


@pytest.fixture(scope="module")
def stack(tmp_path_factory, small_fields):
    """Three bright-field planes of 96 x 96 px with axes and pixel size."""
    path = tmp_path_factory.mktemp("stack") / "bf.ome.tif"
    write_stack(path, small_fields[0].brightfield[0])
    return path


def write_stack(path, pixels, pixel_size=0.6):
    tifffile.imwrite(
        path, pixels, ome=True,
        metadata={
            "axes": "ZYX", "PhysicalSizeX": pixel_size, "PhysicalSizeY": pixel_size,
            "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "Channel": {"Name": "Brightfield"},
        },
    )  # fmt: skip


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.ome.zarr"


def words(*arguments):
    return [str(a) for a in arguments]


def test_stain_writes_a_store_and_says_where(stack, tiny_model, out, capsys):
    assert main(words("stain", stack, "--model", tiny_model, "--out", out, "--json")) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["out"] == str(out)
    assert result["stains"] == ["DNA", "ER", "RNA", "AGP", "Mito"]
    assert "tiles stained" in shown.err
    image = open_image(out)
    assert image.channel_names == ("DNA", "ER", "RNA", "AGP", "Mito")
    assert image.shape == (1, 5, 1, 96, 96)
    assert image.pixel_size_um.yx == pytest.approx(0.6)
    assert np.isfinite(image.data.compute()).all()


def test_the_record_holds_what_is_needed_to_repeat_the_run(stack, tiny_model, out):
    main(words("stain", stack, "--model", tiny_model, "--out", out, "--quiet"))
    stored = read_record(out)
    record = stored["record"]
    assert stored["status"] == "complete"
    assert record["settings"]["input"] == str(stack)
    assert record["model"]["fingerprint"]
    assert len(record["normalisation"]["inputs"][0]) == 3
    assert record["input"]["axes"] == "zyx"
    assert record["plan"]["tiles"] == 1
    assert {"torch", "napari-virtualstain"} <= set(record["versions"])


def test_small_tiles_give_the_stain_of_large_ones(stack, tiny_model, tmp_path):
    results = []
    for tile in (32, 1024):
        store = tmp_path / f"{tile}.ome.zarr"
        assert (
            main(words("stain", stack, "--model", tiny_model, "--out", store, "--tile", tile)) == 0
        )
        results.append(open_image(store).data.compute())
    np.testing.assert_allclose(*results, rtol=1e-4, atol=0.05)


def test_plan_says_what_stain_would_do_and_writes_nothing(
    stack, tiny_model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("NVS_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(words("plan", stack, "--model", tiny_model, "--tile", 32)) == 0
    assert re.fullmatch(
        r"9 tiles of up to 32 x 32 px, halo 9 px, 2\.01 x the pixels of the image, "
        r"\d+ MB of memory, exact\n"
        r"The stain takes up to 0\.2 MB on disk; before the first tile, 0\.1 MB are read to measure "
        r"the grey values\.\n",
        capsys.readouterr().out,
    )
    assert list(tmp_path.iterdir()) == []


def test_plan_measures_the_grey_values_so_that_the_run_starts_at_once(
    stack, tiny_model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "cache"))
    line = words("plan", stack, "--model", tiny_model, "--out", tmp_path / "o.zarr", "--json")
    assert main(line) == 0
    before = json.loads(capsys.readouterr().out)
    assert (before["statistics_ready"], before["measure_mb"]) == (False, 0.055)
    assert before["output_mb"] == pytest.approx(5 * 96 * 96 * 4 * 4 / 3 / 1e6, abs=1e-3)
    assert before["free_mb"] > 0
    assert main([*line, "--measure"]) == 0
    capsys.readouterr()
    assert main(line) == 0
    after = json.loads(capsys.readouterr().out)
    assert (after["statistics_ready"], after["measure_mb"]) == (True, 0)
    assert after["words"].endswith("the grey values are known, so that it starts at once.")


def test_stain_of_a_region_says_how_to_get_the_rest(stack, tiny_model, out, capsys):
    line = words("stain", stack, "--model", tiny_model, "--out", out, "--tile", 32)
    assert main([*line, "--region", "0,0,20,40"]) == 0
    assert "; 2 of 9 tiles, the rest by --resume; " in capsys.readouterr().out
    assert main([*line, "--resume"]) == 0
    assert read_record(out)["status"] == "complete"


def test_evaluate_prints_scores_with_the_floor_beside(small_fields, tiny_model, tmp_path, capsys):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path / "f")
    below, truth = tmp_path / "f" / "brightfield.ome.zarr", tmp_path / "f" / "stains.ome.zarr"
    store = tmp_path / "o.ome.zarr"
    main(words("stain", below, "--model", tiny_model, "--out", store, "--quiet"))
    capsys.readouterr()
    table = tmp_path / "t.csv"
    assert main(words("evaluate", store, "--target", truth, "--json", "--csv", table)) == 0
    rows = json.loads(capsys.readouterr().out)["channels"]
    assert [row["stain"] for row in rows] == ["DNA", "ER", "RNA", "AGP", "Mito"]
    predicted = open_image(store).data[0, 0, 0].compute()
    true = open_image(truth).data[0, 0, 0].compute()
    assert rows[0]["pcc"] == pytest.approx(np.corrcoef(predicted.ravel(), true.ravel())[0, 1])
    assert all(-1 <= row["floor_pcc"] <= 1 for row in rows)
    assert table.read_text().startswith("stain,target,pcc")
    assert main(words("evaluate", store, "--target", truth, "--match", "DNA=Mito", "--json")) == 0
    (row,) = json.loads(capsys.readouterr().out)["channels"]
    assert (row["stain"], row["target"]) == ("DNA", "Mito")


def test_simulate_writes_files_that_info_understands(tmp_path, capsys):
    folder = tmp_path / "sim"
    assert main(words("simulate", "--out", folder, "--size", 64, "--seed", 3, "--quiet")) == 0
    path = capsys.readouterr().out.strip()
    assert main(words("info", f"{path}/brightfield.ome.zarr", "--json")) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert image["shape_tczyx"] == [1, 1, 3, 64, 64]
    assert image["pixel_size_um"] == {"z": 4.0, "y": 0.6, "x": 0.6}
    assert image["channels"][0]["modality"] == "transmitted"


def test_simulate_writes_six_stains_in_three_dimensions(tmp_path, capsys):
    line = ("simulate", "--out", tmp_path, "--size", 32, "--mode", "stack", "--timepoints", 2)
    assert main(words(*line, "--density", 3000)) == 0
    path = capsys.readouterr().out.strip()
    image = open_image(f"{path}/stains.ome.zarr")
    assert image.shape == (2, 6, 7, 32, 32)
    assert image.channel_names[-1] == "Tubulin"


def test_models_lists_models_methods_and_recipes(capsys):
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "unet" in found["generators"]
    assert "demo" in found["recipes"]
    assert main(["models", "--all"]) == 0
    whole = capsys.readouterr().out
    assert "Methods (train --generator):" in whole
    assert main(["models"]) == 0
    short = capsys.readouterr().out
    assert short.splitlines()[-1].endswith("`virtualstain models --all` lists them.")
    counted = f"More: {len(found['downloads'])} to download, "
    assert counted in short
    assert "Methods" not in short
    assert short.partition("More:")[0] in whole


def test_train_learns_from_files_and_its_model_stains(small_fields, tmp_path, capsys):
    from napari_virtualstain.jobs.simulate import write_field

    for i, field in enumerate(small_fields):
        write_field(field, tmp_path / str(i))
    inputs = ",".join(str(tmp_path / str(i) / "brightfield.ome.zarr") for i in (0, 1))
    targets = ",".join(str(tmp_path / str(i) / "stains.ome.zarr") for i in (0, 1))
    model = tmp_path / "mine"
    line = words(
        "train", "--input", inputs, "--target", targets, "--stains", "DNA,AGP", "--out", model,
        "--preset", "tiny", "--steps", 6, "--patch", 32, "--batch", 2, "--validate-every", 3,
        "--validation", 0.5, "--json",
    )  # fmt: skip
    assert main(line) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["validation_pcc"]) == {"DNA", "AGP"}
    card = json.loads((model / "card.json").read_text())
    assert [plane["z_offset_um"] for plane in card["inputs"]] == [-4.0, 0.0, 4.0]
    assert card["pixel_size_um"] == 0.6
    assert (model / "training.csv").read_text().count("\n") == 3
    store = tmp_path / "o.ome.zarr"
    below = tmp_path / "1" / "brightfield.ome.zarr"
    assert main(words("stain", below, "--model", model, "--out", store, "--quiet")) == 0
    assert open_image(store).channel_names == ("DNA", "AGP")
    assert main(line) == 1
    assert "Choose another --out, or add --overwrite." in capsys.readouterr().err


# Bad input: one sentence that ends with what to do, exit code 1, and nothing left that looks whole.


def constant(pixels):
    return np.full_like(pixels, 7)


def with_nan(pixels):
    pixels = pixels.astype(np.float32)
    pixels[1, 3, 4] = np.nan
    pixels[2, 0, 0] = np.inf
    return pixels


BAD_PIXELS = {
    "all constant": (constant, "is constant: nearly all pixels have the value 7.*lamp was on"),
    "NaN": (with_nan, "input plane 1 holds 1 NaN or infinite pixels.*Replace them"),
    "too few planes": (lambda p: p[:1], "takes 3 z planes.*has 1.*--z 0,0,0"),
    "too many planes": (lambda p: np.concatenate([p, p]), "has 6.*Choose them with --z"),
}  # fmt: skip


def fails(capsys, sentence, *line):
    code = main(words(*line))
    shown = capsys.readouterr()
    (text,) = [row for row in shown.err.splitlines() if row.startswith("error: ")]
    assert re.search(sentence, text), text
    assert text.endswith("."), text
    assert "Traceback" not in shown.err
    assert "defect" not in text, text
    assert code == 1
    assert shown.out == ""


@pytest.mark.parametrize(("change", "sentence"), BAD_PIXELS.values(), ids=BAD_PIXELS)
def test_pixels_that_cannot_be_stained(
    change, sentence, small_fields, tiny_model, tmp_path, out, capsys
):
    path = tmp_path / "bad.ome.tif"
    write_stack(path, change(small_fields[0].brightfield[0]))
    fails(capsys, sentence, "stain", path, "--model", tiny_model, "--out", out)
    assert not out.exists()


def test_a_missing_file(tiny_model, out, tmp_path, capsys):
    fails(
        capsys,
        "nothing.tif",
        "stain",
        tmp_path / "nothing.tif",
        "--model",
        tiny_model,
        "--out",
        out,
    )
    assert not out.exists()


def test_a_truncated_tiff(stack, tiny_model, tmp_path, out, capsys):
    path = tmp_path / "cut.ome.tif"
    path.write_bytes(stack.read_bytes()[: stack.stat().st_size // 2])
    fails(capsys, "cut.ome.tif", "stain", path, "--model", tiny_model, "--out", out)
    assert not out.exists()


def test_a_zarr_without_multiscales(tiny_model, tmp_path, out, capsys):
    import zarr

    zarr.create_group(tmp_path / "bare.zarr")
    fails(capsys, "bare.zarr", "stain", tmp_path / "bare.zarr", "--model", tiny_model, "--out", out)
    assert not out.exists()


def test_axes_that_cannot_be_told(tiny_model, small_fields, tmp_path, out, capsys):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, small_fields[0].brightfield[0], photometric="minisblack", metadata=None)
    line = ("stain", path, "--model", tiny_model, "--out", out)
    fails(capsys, "--axes zyx", *line)
    assert not out.exists()
    assert main(words(*line, "--axes", "zyx")) == 0


def test_a_pixel_size_that_is_off_is_offered_to_be_resampled(
    small_fields, tiny_model, tmp_path, out, capsys
):
    path = tmp_path / "fine.ome.tif"
    write_stack(path, small_fields[0].brightfield[0], pixel_size=0.45)
    line = ("stain", path, "--model", tiny_model, "--out", out)
    fails(capsys, r"0.45 x 0.45 µm pixels.*trained at 0.6 µm \(25% off.*Add --resample", *line)
    assert not out.exists()
    assert main(words(*line, "--resample")) == 0
    image = open_image(out)
    assert image.shape[3:] == (96, 96)
    assert image.pixel_size_um.yx == pytest.approx(0.45)
    assert np.isfinite(image.data.compute()).all()


def test_a_pixel_size_that_is_nearly_right_is_taken(small_fields, tiny_model, tmp_path, out):
    path = tmp_path / "near.ome.tif"
    write_stack(path, small_fields[0].brightfield[0], pixel_size=0.7)
    assert main(words("stain", path, "--model", tiny_model, "--out", out)) == 0


def test_an_unknown_pixel_size_is_assumed_and_said(small_fields, tiny_model, tmp_path, out, capsys):
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, small_fields[0].brightfield[0], photometric="minisblack", metadata=None)
    line = ("stain", path, "--axes", "zyx", "--model", tiny_model, "--out", out)
    assert main(words(*line)) == 0
    assert "does not state its pixel size; taken as the model's 0.6 µm" in capsys.readouterr().err
    fails(capsys, "State it with --pixel-size", *line, "--resample", "--overwrite")
    assert open_image(out).data.compute().shape == (1, 5, 1, 96, 96)


SIZES = [(1, 1), (5, 7), (13, 1), (31, 97), (2, 101)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_odd_sizes_are_stained(size, tiny_model, tmp_path, out, capsys):
    path = tmp_path / "odd.ome.tif"
    write_stack(path, np.random.default_rng(0).integers(0, 999, (3, *size)).astype(np.uint16))
    if size == (1, 1):
        # One pixel is constant by itself: it cannot be normalised, whatever the model.
        fails(capsys, "is constant", "stain", path, "--model", tiny_model, "--out", out)
        return
    assert main(words("stain", path, "--model", tiny_model, "--out", out)) == 0
    image = open_image(out)
    assert image.shape[3:] == size
    assert np.isfinite(image.data.compute()).all()


def test_an_output_that_exists_is_kept_unless_told(stack, tiny_model, out, capsys):
    line = ("stain", stack, "--model", tiny_model, "--out", out)
    assert main(words(*line)) == 0
    before = open_image(out).data.compute()
    capsys.readouterr()
    fails(capsys, "--overwrite", *line)
    np.testing.assert_array_equal(open_image(out).data.compute(), before)
    assert main(words(*line, "--overwrite")) == 0
    assert [p.name for p in out.parent.iterdir()] == [out.name]


def test_a_failed_overwrite_puts_the_old_result_back(stack, tiny_model, tmp_path, out, capsys):
    assert main(words("stain", stack, "--model", tiny_model, "--out", out)) == 0
    before = open_image(out).data.compute()
    bad = tmp_path / "bad.ome.tif"
    write_stack(bad, constant(np.zeros((3, 96, 96), np.uint16)))
    capsys.readouterr()
    fails(capsys, "is constant", "stain", bad, "--model", tiny_model, "--out", out, "--overwrite")
    np.testing.assert_array_equal(open_image(out).data.compute(), before)


def test_the_input_is_never_overwritten(small_fields, tiny_model, tmp_path, capsys):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path)
    path = tmp_path / "brightfield.ome.zarr"
    before = open_image(path).data.compute()
    fails(capsys, "", "stain", path, "--model", tiny_model, "--out", path, "--overwrite")
    np.testing.assert_array_equal(open_image(path).data.compute(), before)


def test_an_unknown_model_is_answered_with_what_there_is(stack, out, capsys):
    fails(
        capsys,
        "No model named 'demmo'.*Give one of these",
        "stain",
        stack,
        "--model",
        "demmo",
        "--out",
        out,
    )


def test_an_unknown_generator_is_answered_with_the_nearest(tmp_path, capsys):
    line = (
        "train",
        "--recipe",
        "demo",
        "--fields",
        1,
        "--generator",
        "unett",
        "--out",
        tmp_path / "m",
    )
    fails(capsys, "No generator named 'unett'. Did you mean 'unet'", *line)


def test_a_pickle_is_refused(stack, tmp_path, out, capsys):
    (tmp_path / "net.pth").write_bytes(b"\x80\x04.")
    fails(capsys, "is a pickle", "stain", stack, "--model", tmp_path / "net.pth", "--out", out)


def test_a_full_disk(stack, tiny_model, out, capsys, monkeypatch):
    from napari_virtualstain.io.sink import OmeZarrSink

    original = OmeZarrSink.write
    calls = []

    def full(self, region, array):
        calls.append(region)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(self, region, array)

    import zarr

    def full_zarr(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zarr.Array, "__setitem__", full_zarr)
    fails(capsys, "(?i)(space|full)", "stain", stack, "--model", tiny_model, "--out", out)
    monkeypatch.undo()
    assert read_record(out)["status"] == "partial"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(stack, tiny_model, tmp_path, capsys):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    fails(capsys, "", "stain", stack, "--model", tiny_model, "--out", folder / "o.ome.zarr")


def interrupted(line, ready):
    """Run a command, press Ctrl-C when it is ready; return exit code and standard error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_virtualstain", *words(*line)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background has SIGINT ignored, and would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None and not ready():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize("seconds", [0.6, 1.5])
def test_ctrl_c_in_the_first_seconds_is_one_sentence(stack, out, seconds):
    began = time.monotonic()
    line = ("stain", stack, "--model", "demo", "--out", out, "--quiet")
    code, errors = interrupted(line, lambda: time.monotonic() - began > seconds)
    assert "Traceback" not in errors
    done = out.exists() and read_record(out)["status"] == "complete"
    if not done:  # a fast machine may be
        assert errors.startswith("error: Interrupted")
        # A shell shows 130 for both: an exit code, or the signal while the interpreter ends.
        assert code in (130, -signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_ctrl_c_leaves_a_valid_store_that_is_marked_partial(tiny_model, tmp_path, out):
    path = tmp_path / "large.ome.tif"
    write_stack(path, np.random.default_rng(0).integers(0, 999, (3, 700, 700)).astype(np.uint16))
    line = ("stain", path, "--model", tiny_model, "--out", out, "--tile", 32)
    commits = out / "0" / "commits"
    code, errors = interrupted(line, lambda: commits.exists() and commits.stat().st_size)
    assert code == 130
    assert f"error: Interrupted. '{out}' holds " in errors
    assert "tiles and is marked partial. To go on, run the command again with --resume." in errors
    assert "Traceback" not in errors
    state = read_record(out)
    assert state["status"] == "partial"
    assert 0 < state["tiles_done"] < state["tiles_total"]
    image = open_image(out)
    assert any("partial" in guess or "tiles" in guess for guess in image.guesses)
    pixels = image.data.compute()
    assert np.isnan(pixels).any()
    assert np.isfinite(pixels).any()


def test_a_killed_run_is_gone_on_with_to_the_same_bytes(tiny_model, tmp_path, out):
    path = tmp_path / "large.ome.tif"
    write_stack(path, np.random.default_rng(0).integers(0, 999, (3, 400, 400)).astype(np.uint16))
    line = words("stain", path, "--model", tiny_model, "--tile", 32, "--quiet", "--out")
    process = subprocess.Popen([sys.executable, "-m", "napari_virtualstain", *line, str(out)])
    try:
        commits = out / "0" / "commits"
        until = time.monotonic() + 60
        while time.monotonic() < until and not (commits.exists() and commits.stat().st_size > 50):
            time.sleep(0.005)
        psutil.Process(process.pid).suspend()  # or it would be done before it is looked at
        assert main([*line, str(out), "--resume"]) == 1  # it is alive
    finally:
        process.kill()
        process.wait()
    state = read_record(out)
    assert (state["status"], state["reason"]) == ("partial", "still running, or killed")
    assert 0 < state["tiles_done"] < state["tiles_total"]
    assert (out / "0" / "lock").exists()
    assert main([*line, str(out), "--resume"]) == 0
    assert main([*line, str(tmp_path / "whole.ome.zarr")]) == 0
    stores = [
        {f.relative_to(s): f.read_bytes() for f in s.rglob("*") if f.is_file() and f.parent != s}
        for s in (out, tmp_path / "whole.ome.zarr")
    ]
    assert stores[0] == stores[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_ctrl_c_stops_a_training_with_a_checkpoint_and_it_goes_on(small_fields, tmp_path):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path)
    model = tmp_path / "mine"
    line = words(
        "train", "--input", tmp_path / "brightfield.ome.zarr", "--target", tmp_path / "stains.ome.zarr",
        "--stains", "DNA", "--out", model, "--preset", "tiny", "--patch", 16, "--batch", 1,
        "--validation", 0, "--validate-every", 1_000_000, "--json",
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_virtualstain", *line, "--steps", "1000000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert "steps, loss" in process.stderr.readline()  # the first step is done
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert shown == ""
    (text,) = [row for row in errors.splitlines() if row.startswith("error: ")]
    assert re.fullmatch(
        r"error: Stopped after \d+ steps, with a checkpoint. "
        r"Go on with the same command and --resume.", text,
    )  # fmt: skip
    assert not model.exists()
    assert (tmp_path / "mine.training" / "checkpoint.pt").exists()


def test_training_in_process_gives_ctrl_c_back(small_fields, tmp_path, capsys):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path)
    before = signal.getsignal(signal.SIGINT)
    line = words(
        "train", "--input", tmp_path / "brightfield.ome.zarr", "--target", tmp_path / "stains.ome.zarr",
        "--stains", "DNA", "--out", tmp_path / "m", "--preset", "tiny", "--patch", 16, "--steps", 2,
        "--validation", 0, "--json",
    )  # fmt: skip
    assert main(line) == 0
    assert json.loads(capsys.readouterr().out)["validation_loss"] is None
    assert signal.getsignal(signal.SIGINT) is before


def test_json_has_a_word_for_what_is_not_a_number():
    from napari_virtualstain.cli.main import _to_json

    result = {"pcc": float("nan"), "rows": [(1.5, float("inf"), True, None, "µm")]}
    assert json.loads(_to_json(result)) == {"pcc": None, "rows": [[1.5, None, True, None, "µm"]]}


def test_what_the_system_refuses_is_no_defect(stack, tiny_model, out, capsys, monkeypatch):
    from napari_virtualstain.jobs import stain

    def refused(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", "/secret/b.tif")

    monkeypatch.setattr(stain, "prepare", refused)
    fails(
        capsys, "refuses '/secret/b.tif': Permission denied. Check that", "stain", stack, "--model",
        tiny_model, "--out", out,
    )  # fmt: skip


def test_a_demo_without_a_display_says_so_before_the_work(tmp_path, capsys, monkeypatch):
    if find_spec("napari") is None or find_spec("PyQt6") is None:
        pytest.skip("napari or its Qt is not installed, which is said first")
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems always have a display")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    fails(capsys, "no display.*Add --no-window", "demo", "--out", tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["stian", "x"])
    assert caught.value.code == 2
    assert "no command named 'stian'. Did you mean 'stain'?" in capsys.readouterr().err


def test_a_missing_option_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["stain", "x.tif"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_defect_is_reported_as_one(stack, tiny_model, out, capsys, monkeypatch):
    from napari_virtualstain.jobs import stain

    def broken(*args, **kwargs):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(stain, "prepare", broken)
    assert main(words("stain", stack, "--model", tiny_model, "--out", out)) == 1
    assert "ZeroDivisionError: division by zero. This is a defect" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_help(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert "--json" in capsys.readouterr().out


MEMORY = {
    "of the system": MemoryError("no"),
    "of a GPU": type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
    "of torch on a CPU": RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes"),
}


@pytest.mark.parametrize("error", MEMORY.values(), ids=MEMORY)
def test_memory_that_is_used_up_is_no_defect(error, stack, tiny_model, out, capsys, monkeypatch):
    from napari_virtualstain.jobs import stain

    def greedy(*args, **kwargs):
        raise error

    monkeypatch.setattr(stain, "prepare", greedy)
    line = ("stain", stack, "--model", tiny_model, "--out", out)
    fails(capsys, "The memory is used up. Use a smaller --tile", *line)


def test_letters_that_a_console_lacks_are_written_out(monkeypatch, capsys):
    import io

    from napari_virtualstain.cli.main import _printable

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert _printable("0.6 µm") == "0.6 \\xb5m"


def test_an_unknown_option_is_answered_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["stain", "x.tif", "--out", "o", "--tiel", "64"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: `virtualstain stain` does not know '--tiel'. Did you mean '--tile'? "
        "See `virtualstain stain --help`.\n"
    )


def test_what_has_its_place_is_not_asked_for_by_an_option(capsys):
    with pytest.raises(SystemExit):
        main(["export", "x.tif", "--out", "y.png"])
    assert "Write it without --out: `virtualstain export INPUT OUT`." in capsys.readouterr().err


def test_the_floor_is_found_from_another_folder(
    small_fields, tiny_model, tmp_path, capsys, monkeypatch
):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path / "f")
    monkeypatch.chdir(tmp_path / "f")
    line = (
        "stain",
        "brightfield.ome.zarr",
        "--model",
        tiny_model,
        "--out",
        "o.ome.zarr",
        "--quiet",
    )
    assert main(words(*line)) == 0
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    assert main(words("evaluate", "f/o.ome.zarr", "--target", "f/stains.ome.zarr", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["channels"][0]["floor_pcc"] is not None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("--preset", "tinny"), "Did you mean 'tiny'"),
        (("--patch", "100"), "Use --patch 96"),
        (("--resume",), "no checkpoint.*Train without --resume"),
        (("--perceptual", "no-one"), "No encoder named 'no-one'.*encoder folder"),
        (("--perceptual", "demo"), "'demo' is a model that stains, and gives no features"),
    ],
)
def test_a_recipe_is_refused_before_its_fields_are_made(
    changes, sentence, tmp_path, capsys, monkeypatch
):
    from napari_virtualstain.jobs import recipes

    monkeypatch.setattr(recipes, "simulate_field", lambda *a, **k: pytest.fail("a field was made"))
    fails(capsys, sentence, "train", "--recipe", "demo", "--out", tmp_path / "m", *changes)


def test_pairs_are_matched_and_taught_from_one_file(small_fields, tmp_path, capsys):
    from napari_virtualstain.jobs.simulate import write_field

    for n, field in enumerate(small_fields):
        write_field(field, tmp_path / "sim" / f"field_{n}")
    given, model = tmp_path / "pairs.json", tmp_path / "model"
    line = words(
        "pairs", tmp_path / "sim", "--stains", "DNA,AGP", "--out", given, "--split", "field"
    )
    assert main([*line, "--json"]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert sorted(pair["set"] for pair in result["pairs"]) == ["train", "validation"]
    assert "2 of 2 pairs checked" in shown.err
    quick = ("--preset", "tiny", "--steps", 2, "--batch", 1, "--patch", 32, "--validate-every", 2)
    assert main(words("train", "--pairs", given, "--out", model, *quick)) == 0
    assert (
        json.loads((model / "card.json").read_text())["training"]["pairs"]["split"]["by"] == "field"
    )


BAD_PAIRS = {
    "no pairs file": (("train", "--pairs", "{bad}", "--out", "{out}"), "is no pairs file, or is damaged.*Write it anew"),
    "a pairs file that is not there": (("train", "--pairs", "{none}", "--out", "{out}"), "does not exist. Write it with `virtualstain pairs`"),
    "a recipe and pairs": (("train", "--pairs", "{bad}", "--recipe", "demo", "--out", "{out}"), "Use --recipe or --input, not both"),
    "no images": (("pairs", "{none}"), "does not exist"),
    "a share that is none": (("pairs", "{stack}", "--split", "field", "--test", "1.5"), "Correct --test"),
    "only bright field": (("pairs", "{stack}"), "No channel is known to be fluorescence.*--stains"),
    "a split into nothing": (("pairs", "{stack}", "--split", "slide"), "invalid choice: 'slide'"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "sentence"), BAD_PAIRS.values(), ids=BAD_PAIRS)
def test_pairs_that_cannot_be_used_are_one_sentence(line, sentence, stack, tmp_path, capsys):
    (tmp_path / "bad.json").write_text('{"schema_version": 1}')
    places = {
        "bad": tmp_path / "bad.json",
        "none": tmp_path / "none",
        "out": tmp_path / "m",
        "stack": stack,
    }
    try:
        code = main([word.format(**places) for word in line])
    except SystemExit as stopped:  # a word that the parser refuses
        code = stopped.code
    shown = capsys.readouterr()
    assert code in (1, 2)
    assert shown.out == ""
    assert re.search(sentence, shown.err)
    assert shown.err.count("error:") == 1
    assert not (tmp_path / "m").exists()
