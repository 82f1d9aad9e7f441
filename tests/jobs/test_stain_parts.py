"""A stain may be cancelled, asked for region by region, and gone on with: the numbers stay."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zarr

from napari_virtualstain.errors import (
    ImageFileError,
    OutputBusyError,
    OutputExistsError,
    RunCancelled,
    SettingsError,
)
from napari_virtualstain.inference.scan import Reach
from napari_virtualstain.inference.shared import shared_model
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.stain_order import choose_order
from napari_virtualstain.jobs.stain_record import asked_for, ranges
from napari_virtualstain.tiling.plan import plan_tiles


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two time points of three planes of 70 x 100 px."""
    path = tmp_path_factory.mktemp("film") / "film.ome.tif"
    write(path, np.random.default_rng(0).integers(500, 1500, (2, 3, 70, 100)).astype(np.uint16))
    return path


def write(path, pixels):
    size = {"PhysicalSizeX": 0.6, "PhysicalSizeY": 0.6, "Channel": {"Name": "Brightfield"}}
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "TZYX", **size})


@pytest.fixture
def settings(film, tiny_model, tmp_path):
    def settings(**changes):
        stated = {
            "input": str(film), "model": str(tiny_model), "out": str(tmp_path / "o.ome.zarr"),
            "tile": 32,
        }  # fmt: skip
        return StainSettings(**{**stated, **changes})

    return settings


@pytest.fixture(scope="module")
def whole(film, tiny_model, tmp_path_factory):
    """What an undisturbed run writes."""
    out = tmp_path_factory.mktemp("whole") / "o.ome.zarr"
    stain.run(StainSettings(input=str(film), model=str(tiny_model), out=str(out), tile=32))
    return out


def arrays(store):
    """Every file of the arrays of a store, byte for byte."""
    return {
        file.relative_to(store).as_posix(): file.read_bytes()
        for file in sorted(Path(store).rglob("*"))
        if file.is_file() and file != Path(store) / "zarr.json"
    }


def cancel_at(stage, count):
    def on_progress(done, total, what):
        if what == stage and done == count:
            raise RunCancelled("enough")

    return on_progress


class Fake:
    """Predicts its first plane for every stain; no network."""

    multiple_of = 8

    def __init__(self, n):
        self.out_channels, self.seen = n, 0

    def predict(self, planes, *, seed=0):
        self.seen += 1
        return np.repeat(planes[:, :1], self.out_channels, axis=1)


@pytest.fixture
def fake(monkeypatch, tiny_model):
    real = shared_model(tiny_model)
    generator = Fake(len(real.model.card.stains))
    shared = SimpleNamespace(
        model=replace(real.model, generator=generator), reach=Reach(8, 8, exact=True)
    )
    monkeypatch.setattr(
        "napari_virtualstain.inference.shared.shared_model", lambda name, device: shared
    )
    return generator


@pytest.mark.parametrize("count", [0, 1, 7, 24])
def test_a_stain_is_cancelled_between_tiles(count, fake, settings):
    with pytest.raises(RunCancelled, match="enough"):
        stain.run(settings(), on_progress=cancel_at("tiles stained", count))
    state = read_record(settings().out)
    assert (state["status"], state["reason"]) == ("partial", "cancelled")
    assert (state["tiles_done"], state["tiles_total"], fake.seen) == (count, 24, count)
    assert sorted(p.name for p in Path(settings().out, "0").iterdir() if p.is_file()) == [
        *(["commits"] if count else []), "zarr.json",
    ]  # fmt: skip
    pixels = open_image(settings().out).data.compute()
    assert np.isfinite(pixels[:, 0]).any() == bool(count)


@pytest.mark.parametrize("count", [0, 1])
def test_a_stain_is_cancelled_between_measured_blocks(count, fake, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RunCancelled, match="enough"):
        stain.run(settings(), on_progress=cancel_at("blocks measured", count))
    assert not Path(settings().out).exists()
    assert fake.seen == 0


def test_a_cancelled_overwrite_leaves_the_result_that_was_there(settings):
    stain.run(settings())
    before = arrays(settings().out)
    with pytest.raises(RunCancelled):
        stain.run(settings(overwrite=True), on_progress=cancel_at("tiles stained", 2))
    assert read_record(settings().out)["status"] == "complete"
    assert arrays(settings().out) == before


@pytest.mark.parametrize("count", [0, 5, 24], ids="after {} tiles".format)
def test_a_cancelled_run_is_gone_on_with_to_the_same_bytes(count, settings, whole):
    with pytest.raises(RunCancelled):
        stain.run(settings(), on_progress=cancel_at("tiles stained", count))
    calls = []
    result = stain.run(
        settings(resume=True), on_progress=lambda done, total, what: calls.append((done, total))
    )
    assert (result.tiles_done, result.tiles_total) == (24, 24)
    assert len(calls) == (25 - count if count < 24 else 0)
    assert arrays(settings().out) == arrays(whole)
    state, undisturbed = read_record(settings().out), read_record(whole)
    assert state["status"] == "complete"
    assert state["record"]["normalisation"] == undisturbed["record"]["normalisation"]
    assert [run["tiles"] for run in state["record"]["runs"]] == [[[0, 23]], [[0, 23]]]
    blocks = [zarr.open_group(s).attrs["ome"]["omero"]["channels"] for s in (settings().out, whole)]
    assert blocks[0] == blocks[1]


def test_a_region_has_the_numbers_of_the_whole(settings, whole):
    places = []
    result = stain.run(settings(region=(20, 40, 40, 70), times=(1,)), on_store=places.append)
    assert places == [result.out]
    assert (result.tiles_done, result.tiles_total) == (4, 24)
    state = read_record(result.out)
    assert (state["status"], state["reason"]) == ("partial", "4 of 24 tiles were asked for")
    assert open_image(result.out).guesses == (
        "Only 4 of 24 tiles are there: no more were asked for. The rest is missing, not dark.",
    )
    part, all_of_it = (open_image(s).data.compute() for s in (result.out, whole))
    np.testing.assert_array_equal(part[1, :, :, :64, 32:96], all_of_it[1, :, :, :64, 32:96])
    assert np.isfinite(part).sum() == 5 * 64 * 64
    run = state["record"]["runs"][0]
    assert (run["region"], run["times"]) == ([20, 40, 40, 70], [1])
    assert run["tiles"] == [[13, 14], [17, 18]]
    inputs = state["record"]["normalisation"]["inputs"]
    assert inputs[0] is None
    assert inputs[1] == read_record(whole)["record"]["normalisation"]["inputs"][1]


def test_only_the_time_points_that_are_stained_are_measured(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "cache"))
    stain.run(settings(times=(1,)))
    assert len(list((tmp_path / "cache" / "statistics").iterdir())) == 1
    stain.run(settings(resume=True))
    assert len(list((tmp_path / "cache" / "statistics").iterdir())) == 2


def test_region_by_region_the_last_one_completes_the_store(settings, whole):
    parts = [
        {"region": (0, 0, 33, 33)}, {"region": (30, 30, 70, 100), "times": (0,)},
        {"region": (-50, 50, 1000, 1000)}, {"times": (1,)}, {"region": (40, 0, 60, 10)},
        {"region": (0, 0, 70, 60)},
    ]  # fmt: skip
    seen, lows = [], []
    for part in parts:
        result = stain.run(settings(resume=True, **part))
        seen.append(result.tiles_done)
        state = read_record(settings().out)
        assert state["tiles_done"] == asked_for(state["record"]["runs"]) == result.tiles_done
        lows.append(zarr.open_group(settings().out).attrs["ome"]["omero"]["channels"][0]["window"])
    # What earlier runs have shown is kept: a window never becomes narrower.
    assert [w["min"] for w in lows] == sorted((w["min"] for w in lows), reverse=True)
    assert [w["max"] for w in lows] == sorted(w["max"] for w in lows)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (8, 24)
    assert state["status"] == "complete"
    assert arrays(settings().out) == arrays(whole)


def test_a_complete_store_has_nothing_left_to_do(settings, whole):
    stain.run(settings())
    before, notes, places = arrays(settings().out), [], []
    result = stain.run(settings(resume=True), on_note=notes.append, on_store=places.append)
    assert result.tiles_done == 24
    assert notes[-1] == "the output is complete already: nothing was left to do"
    assert places == [result.out]
    assert arrays(settings().out) == before


def test_a_region_may_take_the_place_of_a_result(settings):
    stain.run(settings())
    stain.run(settings(overwrite=True, region=(0, 0, 1, 1)))
    assert read_record(settings().out)["tiles_done"] == 2
    assert not Path(settings().out + ".previous").exists()


OTHERWISE = {
    "tiles": ({"tile": 48}, "it was begun with another --tile, --pixel-size or --resample"),
    "pixel size": ({"pixel_size": 0.61}, "it was begun with another --pixel-size"),
    "seed": ({"seed": 1}, "it was begun with another --seed"),
    "planes": ({"z": (0, 0, 1)}, "it was begun with another channel or other z planes"),
    "model": ({"model": "demo"}, "it was begun with another model"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "why"), OTHERWISE.values(), ids=OTHERWISE)
def test_a_store_that_was_begun_otherwise_is_not_gone_on_with(changes, why, settings):
    stain.run(settings(region=(0, 0, 1, 1)))
    before = arrays(settings().out)
    with pytest.raises(SettingsError, match=f"cannot be gone on with: {why}. Choose another --out"):
        stain.run(settings(resume=True, **changes))
    assert arrays(settings().out) == before


def test_a_changed_input_is_not_gone_on_with(settings, film, tmp_path):
    mine = tmp_path / "mine.ome.tif"
    mine.write_bytes(film.read_bytes())
    stain.run(settings(input=str(mine), region=(0, 0, 1, 1)))
    os.utime(mine, (0, 0))
    with pytest.raises(SettingsError, match="from another input, or the input has changed since"):
        stain.run(settings(input=str(mine), resume=True))


def test_an_array_in_memory_is_not_gone_on_with(settings, film):
    image = open_image(open_image(film).data.compute(), axes="tczyx")
    stated = {"pixel_size": 0.6, "region": (0, 0, 1, 1), "channel": image.channel_names[0]}
    stain.run(settings(**stated), image=image)
    with pytest.raises(SettingsError, match="of which nobody can tell whether it is the same"):
        stain.run(settings(resume=True, **stated), image=image)


def test_a_store_of_another_program_is_not_gone_on_with(settings):
    zarr.create_group(store=settings().out)
    with pytest.raises(ImageFileError, match="holds no run record"):
        stain.run(settings(resume=True))


WRONG = {
    "both": (
        {"resume": True, "overwrite": True},
        "A store is either gone on with or replaced. Use --resume or --overwrite, not both.",
    ),
    "time point": ({"times": (2,)}, "Time point 2 was asked for, but the image has 2 .0 to 1."),
    "region": (
        {"region": (70, 0, 90, 10)}, "The region 70, 0, 90, 10 holds no pixel of the image of 70",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "sentence"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_asked_for(changes, sentence, settings):
    with pytest.raises(SettingsError, match=sentence):
        stain.run(settings(**changes))
    assert not Path(settings().out).exists()


def test_a_store_that_another_run_writes_is_refused(settings):
    refused = []

    def on_store(out):
        for changes in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputBusyError, match="is being written by process"):
                stain.run(settings(**changes))
            refused.append(out)

    stain.run(settings(), on_store=on_store)
    assert len(refused) == 2
    assert read_record(settings().out)["status"] == "complete"
    with pytest.raises(OutputExistsError):
        stain.run(settings())


def test_the_tiles_nearest_to_the_middle_come_first():
    plan = plan_tiles((160, 160), core=32, halo=4, multiple_of=8)
    order = choose_order(plan, 1, region=(0, 0, 160, 160))
    assert order.numbers[0] == 12
    assert set(order.numbers[1:5]) == {7, 11, 13, 17}
    assert sorted(order.numbers) == list(range(25))


def test_the_union_of_runs_is_counted_once():
    runs = [{"tiles": ranges(tiles)} for tiles in ([0, 1, 2], [2, 3, 9], [1], range(5, 8))]
    assert asked_for(runs) == 8
