"""A run is repeated from its record: equal numbers, or a sentence that says why not."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_virtualstain import stain as stain_array
from napari_virtualstain.cli import main
from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    ReplayError,
    RunCancelled,
)
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.io.record import KEY, read_record
from napari_virtualstain.jobs import replay, simulate, stain
from napari_virtualstain.jobs.replay import ReplaySettings
from napari_virtualstain.jobs.replay_compare import compare_stores
from napari_virtualstain.jobs.simulate import SimulateSettings, write_field
from napari_virtualstain.jobs.stain import StainSettings


@pytest.fixture(scope="module")
def field(tmp_path_factory, small_fields):
    folder = tmp_path_factory.mktemp("field")
    write_field(small_fields[0], folder)
    return folder


@pytest.fixture
def stained(field, tiny_model, tmp_path):
    """Stain a field in tiles of 32 px."""

    def stained(**changes):
        stated = {
            "input": str(field / "brightfield.ome.zarr"), "model": str(tiny_model), "tile": 32,
            "out": str(tmp_path / "o.ome.zarr"),
        }  # fmt: skip
        return stain.run(StainSettings(**{**stated, **changes})).out

    return stained


def again(store, **changes):
    return replay.run(ReplaySettings(record=str(store), **changes))


def change_record(store, *keys, value):
    """Set one entry of a record, as another version or another machine would have written it."""
    path = Path(store) / "zarr.json"
    content = json.loads(path.read_text())
    entry = content["attributes"][KEY]["record"]
    for key in keys[:-1]:
        entry = entry[key]
    if value is None:
        entry.pop(keys[-1], None)
    else:
        entry[keys[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("given", ["", "zarr.json"], ids=["the store", "its zarr.json"])
def test_a_stain_is_repeated_bit_for_bit(given, stained):
    store = stained()
    found = again(store / given if given else store)
    assert found.out == store.with_name("o-replay.ome.zarr")
    assert found.likeness.equal
    assert found.likeness.compared == 5 * 96 * 96
    assert (found.problem, found.notes) == (None, ())
    assert "equal bit for bit in all 46,080 pixels of both" in found.text()
    np.testing.assert_array_equal(
        open_image(store).data.compute(), open_image(found.out).data.compute()
    )


def test_a_field_of_a_plate_is_repeated_beside_the_plate(stained, tmp_path):
    plate = PlateStore(tmp_path / "plate.ome.zarr", name="plate", rows=1, columns=2)
    store = stained(out=str(plate.path / field_path(0, 1, "0")))
    plate.add(0, 1, "0")
    before = sorted(path.relative_to(plate.path) for path in plate.path.rglob("*"))
    found = again(store)
    assert found.likeness.equal
    assert found.out == tmp_path / "plate-A-2-0-replay.ome.zarr"
    assert sorted(path.relative_to(plate.path) for path in plate.path.rglob("*")) == before


def test_a_region_is_repeated_as_a_region(stained):
    store = stained(region=(0, 0, 40, 20))
    found = again(store)
    assert found.likeness.equal
    assert read_record(found.out)["tiles_done"] == read_record(store)["tiles_done"] == 2


def test_a_resumed_run_is_repeated_run_by_run(stained):
    store = stained(region=(0, 0, 10, 10))
    stained(region=(60, 60, 70, 70), resume=True)
    stained(resume=True)
    found = again(store)
    assert found.likeness.equal
    runs = [[run["tiles"] for run in read_record(s)["record"]["runs"]] for s in (store, found.out)]
    assert runs[0] == runs[1] == [[[0, 0]], [[4, 5], [7, 8]], [[0, 8]]]


def test_of_a_cancelled_run_what_it_has_is_compared(field, tiny_model, tmp_path):
    def enough(done, total, what):
        if (done, what) == (3, "tiles stained"):
            raise RunCancelled("enough")

    settings = StainSettings(
        input=str(field / "brightfield.ome.zarr"), model=str(tiny_model), tile=32,
        out=str(tmp_path / "o.ome.zarr"),
    )  # fmt: skip
    with pytest.raises(RunCancelled):
        stain.run(settings, on_progress=enough)
    found = again(settings.out)
    assert found.likeness.equal
    tiles = read_record(settings.out)["tiles_done"]
    assert tiles >= 3
    assert found.likeness.compared == tiles * 32 * 32 * 5
    assert read_record(found.out)["status"] == "complete"


@pytest.mark.parametrize("content", simulate.CONTENTS)
def test_a_simulated_store_is_repeated(content, tmp_path):
    settings = SimulateSettings(out=str(tmp_path), size=48, seed=3, mode="stack", density=2000)
    (folder,) = simulate.run(settings)
    found = again(folder / f"{content}.ome.zarr")
    assert found.likeness.equal
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [*(f"{name}.ome.zarr" for name in simulate.CONTENTS), f"{content}-replay.ome.zarr"]
    )


def test_the_record_of_the_first_version_is_repeated(stained):
    store = stained()
    change_record(store, "runs", value=None)
    change_record(store, "model", "path", value=None)
    for name in ("region", "times", "resume"):
        change_record(store, "settings", name, value=None)
    assert again(store).likeness.equal


def test_paths_of_the_record_hold_in_another_folder(field, tiny_model, tmp_path, monkeypatch):
    shutil.copytree(tiny_model, tmp_path / "my model")
    shutil.copytree(field / "brightfield.ome.zarr", tmp_path / "b.ome.zarr")
    monkeypatch.chdir(tmp_path)
    stain.run(StainSettings(input="b.ome.zarr", model="my model", out="o.ome.zarr"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert again("../o.ome.zarr").likeness.equal


def test_other_numbers_are_found_and_fail_the_command(stained, capsys):
    store = stained()
    array = zarr.open_group(store)["0"]
    array[0, 2, 0, 5, 5] = array[0, 2, 0, 5, 5] + 1.0
    assert main(["replay", str(store), "--json"]) == 1
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert (result["agrees"], result["equal"], result["channel"]) == (False, False, "RNA")
    assert result["largest_difference"] == pytest.approx(1.0, rel=1e-3)
    assert "error: The repetition of " in shown.err
    assert "has other numbers: in channel 'RNA' by up to " in shown.err
    assert shown.err.endswith("Compare both before you trust either.\n")


def test_last_digits_may_differ(stained):
    store = stained()
    array = zarr.open_group(store)["0"]
    array[0, 0, 0, 5, 5] = np.nextafter(array[0, 0, 0, 5, 5], np.float32(np.inf))
    found = again(store)
    assert not found.likeness.equal
    assert found.likeness.agrees
    assert found.problem is None
    assert "of its range (allowed 1e-05)" in found.text()


def test_a_changed_input_is_said(field, tiny_model, tmp_path):
    path = tmp_path / "b.ome.tif"
    rng = np.random.default_rng(0)

    def write():
        tifffile.imwrite(
            path, rng.integers(0, 999, (3, 64, 64)).astype(np.uint16), ome=True,
            metadata={
                "axes": "ZYX", "PhysicalSizeX": 0.6, "PhysicalSizeY": 0.6,
                "Channel": {"Name": "Brightfield"},
            },
        )  # fmt: skip

    write()
    out = tmp_path / "o.ome.zarr"
    stain.run(StainSettings(input=str(path), model=str(tiny_model), out=str(out)))
    os.utime(path, (0, 0))
    found = again(out)
    assert found.likeness.equal
    assert found.notes[0].startswith(f"the input {str(path)!r} has changed, or was copied")
    write()
    found = again(out, overwrite=True)
    assert found.problem is not None
    assert f"Since the run, the input {str(path)!r} has changed" in found.problem


def test_another_torch_is_said(stained):
    store = stained()
    change_record(store, "versions", "torch", value="1.0")
    (note,) = again(store).notes
    assert note.startswith("torch was 1.0 and is ")


def test_the_device_of_the_run_may_be_missing(stained):
    store = stained()
    runs = read_record(store)["record"]["runs"]
    change_record(store, "runs", value=[{**runs[0], "device": "cuda:97"}])
    assert again(store).notes == ("the device 'cuda:97' of the run is not here, 'cpu' was taken",)


REFUSED = {
    "another schema": (
        ("schema_version",), 9,
        "is of schema 9, this version reads up to 2. Update napari-virtualstain, or repeat it with the version that wrote it, 0.1.0",
    ),
    "another job": (("job",), "dance", "is not repeated. It was written by 'dance', which this version does not know. Upd"),
    "an array in memory": (
        ("input", "path"), None, "was an array in memory that was not kept, so the run cannot",
    ),
    "another model": (
        ("model", "fingerprint"), "0" * 64,
        "is not the one of the run: its fingerprint is another. Put the model of the run back",
    ),
    "a part of the input": (
        ("input", "shape_tczyx"), [1, 1, 3, 9, 9], "the run was given .1, 1, 3, 9, 9.: a part of",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "value", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_repeated(keys, value, sentence, stained):
    store = stained()
    change_record(store, *keys, value=value)
    if keys == ("input", "path"):
        content = json.loads((store / "zarr.json").read_text())
        content["attributes"][KEY]["record"]["input"]["path"] = None
        (store / "zarr.json").write_text(json.dumps(content))
    with pytest.raises(ReplayError, match=sentence):
        again(store)
    assert not store.with_name("o-replay.ome.zarr").exists()


def test_an_array_in_memory_was_not_kept(small_fields, tiny_model, tmp_path):
    out = tmp_path / "o.ome.zarr"
    planes = small_fields[0].brightfield[0]
    stain_array(planes, axes="zyx", out=out, model=tiny_model, pixel_size=0.6)
    with pytest.raises(ReplayError, match="Save the array as OME-TIFF or OME-Zarr, and stain tha"):
        again(out)


def test_another_simulator_is_refused(tmp_path, small_fields):
    write_field(small_fields[0], tmp_path)
    store = tmp_path / "labels.ome.zarr"
    change_record(store, "simulator", value="0" * 64)
    with pytest.raises(ReplayError, match="another version of the simulator, which draws other"):
        again(store)
    change_record(store, "settings", value=None)
    with pytest.raises(ReplayError, match="does not hold the settings of the field. Simulate it"):
        again(store)


def test_how_a_training_is_repeated(tiny_model):
    with pytest.raises(ReplayError, match="Train again with the images of the first time, with"):
        again(tiny_model)
    from napari_virtualstain.zoo import find_model

    with pytest.raises(ReplayError, match="`virtualstain train --recipe demo --seed 0 --out NEW`"):
        again(find_model("demo"))


def test_a_record_is_needed(tmp_path, stained):
    with pytest.raises(MissingInputError):
        again(tmp_path / "nowhere.zarr")
    zarr.create_group(store=tmp_path / "other.zarr")
    with pytest.raises(ImageFileError, match="holds no run record"):
        again(tmp_path / "other.zarr")


def test_an_input_that_is_gone(stained, tmp_path):
    store = stained()
    change_record(store, "input", "path", value=str(tmp_path / "gone.tif"))
    with pytest.raises(MissingInputError, match="gone.tif"):
        again(store)


def test_stores_are_compared_where_both_have_pixels():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(2, 3, 1, 600, 20)).astype(np.float32)
    second = first.copy()
    first[0, :, :, :300] = np.nan
    second[:, :, :, 500:] = np.nan
    images = [open_image(pixels, axes="tczyx") for pixels in (first, second)]
    found = compare_stores(*images)
    both = np.isfinite(first) & np.isfinite(second)
    assert (found.equal, found.compared) == (True, both.sum())
    second[both] += np.where(rng.random(both.sum()) < 0.01, 0.5, 0).astype(np.float32)
    found = compare_stores(
        images[0], replace(images[1], data=open_image(second, axes="tczyx").data)
    )
    assert not found.agrees
    assert found.largest == pytest.approx(0.5, rel=1e-5)
