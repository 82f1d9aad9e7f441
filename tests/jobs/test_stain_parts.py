"""A stain may be cancelled, asked for region by region, and gone on with: the numbers stay."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_virtualstain.errors import (
    ImageFileError,
    OutputBusyError,
    OutputExistsError,
    PixelDataError,
    RunCancelled,
    SettingsError,
)
from napari_virtualstain.inference.network import Network
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.stain_order import Agenda, Focus, choose_order
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


@pytest.fixture
def forwards(monkeypatch):
    """How many tiles went through the network."""
    seen = []
    real = Network.predict

    def watched(self, planes, keeps):
        seen.append(planes.shape)
        return real(self, planes, keeps)

    monkeypatch.setattr(Network, "predict", watched)
    return seen


@pytest.mark.parametrize("count", [0, 1, 7, 24])
def test_a_stain_is_cancelled_between_tiles(count, forwards, settings):
    with pytest.raises(RunCancelled, match="enough"):
        stain.run(settings(), on_progress=cancel_at("tiles stained", count))
    state = read_record(settings().out)
    assert (state["status"], state["reason"]) == ("partial", "cancelled")
    # What was computed is written too, and no more is computed than waits to be written.
    assert (state["tiles_done"], state["tiles_total"]) == (len(forwards), 24)
    assert count <= len(forwards) <= count + 3
    assert sorted(p.name for p in Path(settings().out, "0").iterdir() if p.is_file()) == [
        *(["commits", "notes"] if count else []), "zarr.json",
    ]  # fmt: skip
    pixels = open_image(settings().out).data.compute()
    assert np.isfinite(pixels[:, 0]).any() == bool(count)


@pytest.mark.parametrize("count", [0, 1])
def test_a_stain_is_cancelled_between_measured_blocks(
    count, forwards, settings, tmp_path, monkeypatch
):
    monkeypatch.setenv("NVS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RunCancelled, match="enough"):
        stain.run(settings(), on_progress=cancel_at("blocks measured", count))
    assert not Path(settings().out).exists()
    assert not forwards


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
    # Up to three more than were told were written.
    left = {done for done, total in calls if total <= 24 - count} - {0}
    assert len(left) >= max(0, 24 - count - 3)
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


def test_what_a_run_left_that_was_killed_after_its_last_word_is_removed(settings):
    stain.run(settings())
    before, out = arrays(settings().out), Path(settings().out)
    for name in ("0/commits", "0/notes", "zarr.0123.partial", "1/c/0/0/0/0/0.0123.partial"):
        (out / name).write_bytes(b"\n1\n")
    # Of a process that is no more.
    (out / "0/lock").write_text(f'{{"pid": {2**30}, "host": "{platform.node()}", "at": 0}}')
    stain.run(settings(resume=True))
    assert arrays(out) == before


def test_a_region_may_take_the_place_of_a_result(settings):
    stain.run(settings())
    stain.run(settings(overwrite=True, region=(0, 0, 1, 1)))
    assert read_record(settings().out)["tiles_done"] == 2
    assert not Path(settings().out + ".previous").exists()


OTHERWISE = {
    "tiles": ({"tile": 48}, "it was begun with another --tile"),
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


def agenda_of(numbers, looks, **keywords):
    """What an agenda of 5 x 5 tiles gives while somebody looks here and there."""
    plan = plan_tiles((160, 160), core=32, halo=4, multiple_of=8)
    looks = iter(looks)
    return list(Agenda(plan, 2, numbers, look=lambda: next(looks, None), **keywords))


CORNER = Focus((128, 128, 160, 160), (0,))
ROW = Focus((0, 0, 32, 160), (0,))


def test_without_a_look_tiles_come_as_they_were_asked_for():
    assert agenda_of([3, 1, 2], []) == [3, 1, 2]


def test_what_is_looked_at_comes_first_and_nothing_is_lost():
    given = agenda_of(range(25), [None, None, CORNER])
    assert given[:3] == [0, 1, 24]
    assert sorted(given) == list(range(25))


def test_a_view_that_is_followed_takes_the_place_of_the_one_before():
    given = agenda_of([0, 1, 2, 3, 4], [None, CORNER, CORNER], follows=True)
    assert given == [0, 24]


def test_going_back_stains_what_was_left_out():
    given = agenda_of([0, 1, 2, 3, 4], [None, CORNER, ROW, ROW], follows=True)
    assert given[:2] == [0, 24]
    assert sorted(given) == [0, 1, 2, 3, 4, 24]


def test_tiles_that_are_there_are_not_given():
    assert sorted(agenda_of(range(5), [ROW], done={1, 2}, follows=True)) == [0, 3, 4]


def test_a_time_point_whose_grey_values_are_not_known_is_not_turned_to():
    later = Focus((0, 0, 160, 160), (1,))
    assert agenda_of([0, 1], [None, later], follows=True) == [0]


def test_a_look_beside_the_image_changes_nothing():
    assert agenda_of([3, 1], [Focus((500, 500, 600, 600))]) == [3, 1]


def test_a_run_turns_to_what_is_looked_at(settings, whole):
    looks = iter([None, Focus((64, 96, 96, 128), (0,))])
    result = stain.run(settings(region=(0, 0, 32, 32), times=(0,)), look=lambda: next(looks, None))
    state = read_record(result.out)
    (run,) = state["record"]["runs"]
    assert run["followed"]
    assert run["tiles"][0] == [0, 0]
    assert result.tiles_done == state["tiles_done"] >= 2
    part, all_of_it = (open_image(s).data.compute() for s in (result.out, whole))
    there = np.isfinite(part)
    np.testing.assert_array_equal(part[there], all_of_it[there])


@pytest.mark.parametrize("dtype", ["float16", "uint16"])
def test_small_numbers_are_grey_values_again_when_they_are_read(dtype, settings, whole):
    result = stain.run(settings(dtype=dtype))
    assert zarr.open_array(store=result.out / "0").dtype == dtype
    expected = open_image(whole).data.compute()
    got = open_image(result.out).data.compute()
    assert got.dtype == np.float32
    for channel, norm in enumerate(
        read_record(whole)["record"]["normalisation"]["outputs"].values()
    ):
        apart = np.abs(got[:, channel] - expected[:, channel]).max()
        assert 0 < apart < 0.01 * norm["scale"]


STITCHED = {
    "median": {"stitch": "median", "tile": 32},
    "gaussian": {"stitch": "gaussian", "tile": 32},
}


@pytest.mark.parametrize("values", STITCHED.values(), ids=STITCHED)
def test_stitching_as_published_is_recorded_and_shows_its_seams(values, settings, whole):
    result = stain.run(settings(**values))
    state = read_record(result.out)
    assert state["status"] == "complete"
    assert state["record"]["plan"]["stitch"] == values["stitch"]
    assert not state["record"]["plan"]["exact"]
    assert "as published" in result.plan
    assert result.seams["borders"] > 0
    got, expected = (open_image(s).data.compute() for s in (result.out, whole))
    assert 0.85 < np.corrcoef(got[0, 0].ravel(), expected[0, 0].ravel())[0, 1] < 0.99999


def test_the_seams_of_a_run_are_measured_and_kept(settings):
    result = stain.run(settings())
    (run,) = read_record(result.out)["record"]["runs"]
    assert run["seams"] == result.seams
    assert set(result.seams["by_stain"]) == set(result.stains)
    assert all(0.7 < value < 1.4 for value in result.seams["by_stain"].values())


MODES = {"stream": {"mode": "stream"}, "whole": {"mode": "whole"}, "halo": {"mode": "halo"}}


@pytest.mark.parametrize("values", MODES.values(), ids=MODES)
def test_every_mode_gives_the_same_stain(values, settings, whole):
    result = stain.run(settings(tile=None, **values))
    got, expected = (open_image(s).data.compute() for s in (result.out, whole))
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.ptp(expected))
    assert read_record(result.out)["record"]["plan"]["mode"] == values["mode"]


def test_a_store_is_gone_on_with_by_the_plan_it_was_begun_with(settings, monkeypatch):
    with pytest.raises(RunCancelled):
        stain.run(settings(), on_progress=cancel_at("tiles stained", 5))
    result = stain.run(settings(tile=None, memory=0.5, resume=True))
    assert (result.tiles_done, result.tiles_total) == (24, 24)
    assert read_record(result.out)["record"]["plan"]["core"] == [32, 32]


def test_memory_that_is_too_little_says_what_would_do(settings):
    with pytest.raises(SettingsError, match=r"Give it at least 0\.\d GB with --memory"):
        stain.run(settings(tile=None, memory=0.0001))


def test_bfloat16_is_checked_and_said(settings, whole):
    notes = []
    result = stain.run(settings(precision="bfloat16"), on_note=notes.append)
    (said,) = [note for note in notes if "bfloat16" in note]
    assert "off by" in said
    plan = read_record(result.out)["record"]["plan"]
    assert plan["precision"] == ("float32" if "computed in float32" in said else "bfloat16")
    got, expected = (open_image(s).data.compute() for s in (result.out, whole))
    assert np.abs(got - expected).max() < 0.05 * np.ptp(expected)


def test_bfloat16_that_overflows_is_not_taken(settings, monkeypatch):
    from napari_virtualstain.inference import shared

    monkeypatch.setattr(shared, "check_precision", lambda *networks: float("nan"))
    result = stain.run(settings(precision="bfloat16"))
    assert "computed in float32: bfloat16 gives no numbers on a test tile" in result.notes
    assert read_record(result.out)["record"]["plan"]["precision"] == "float32"


def spoil(monkeypatch, how):
    """Let the network give what is no number, where `how` says so of a tile."""
    finish = Stainer.finish

    def spoilt(self, t, tile, stains):
        grey = finish(self, t, tile, stains)
        how(t, tile.index, grey)
        return grey

    monkeypatch.setattr(Stainer, "finish", spoilt)


@pytest.mark.parametrize("mode", ["halo", "stream"])
def test_pixels_that_are_no_number_are_counted_and_said(settings, monkeypatch, mode):
    def some(t, index, grey):
        if (t, index) == (1, 0):
            grey[0, :2, :3] = np.nan
            grey[3, 5, 7] = -np.inf

    spoil(monkeypatch, some)
    heard = []
    result = stain.run(settings(mode=mode), on_note=heard.append)
    first, _, _, last, _ = result.stains
    assert (
        result.notes[-1]
        == heard[-1]
        == (
            "pixels that are no number (NaN or infinity) and count as missing: "
            f"6 of {first}, 1 of {last}, of 14,000 each. Take another model, or look for pixels of "
            "extreme values in the image"
        )
    )
    state = read_record(result.out)
    assert (state["status"], state["record"]["missing_pixels"]) == ("complete", [6, 0, 0, 1, 0])


def test_they_are_said_by_the_run_that_ends_what_another_began(settings, monkeypatch):
    def some(t, index, grey):
        grey[0, 0, 0] = np.nan

    with monkeypatch.context() as patch:
        spoil(patch, some)
        with pytest.raises(RunCancelled):
            stain.run(settings(), on_progress=cancel_at("tiles stained", 4))
    begun = read_record(settings().out)["tiles_done"]
    result = stain.run(settings(resume=True))
    assert f"missing: {begun} of {result.stains[0]}, of 14,000 each" in result.notes[-1]


def test_a_model_that_gives_no_numbers_ends_the_run_at_its_first_tile(settings, monkeypatch):
    spoil(monkeypatch, lambda t, index, grey: grey.fill(np.nan))
    with pytest.raises(PixelDataError) as raised:
        stain.run(settings())
    assert str(raised.value) == (
        "The model 'tiny' gives no numbers for any stain, only NaN or infinity. Take another "
        "model, or look for pixels of extreme values in the image."
    )
    state = read_record(settings().out)
    assert (state["status"], state["tiles_done"]) == ("partial", 0)


def test_a_stain_without_a_number_is_no_complete_result(settings, monkeypatch):
    def one(t, index, grey):
        grey[2] = np.inf

    spoil(monkeypatch, one)
    with pytest.raises(PixelDataError, match="gives no numbers for the stain '.+', only NaN"):
        stain.run(settings())
    assert read_record(settings().out)["status"] == "partial"


def test_an_input_that_changes_during_the_run_is_said(settings, film, tmp_path):
    changing = tmp_path / "changing.ome.tif"
    changing.write_bytes(film.read_bytes())

    def touch(done, total, what):
        if (done, what) == (3, "tiles stained"):
            os.utime(changing, (1, 1))

    result = stain.run(settings(input=str(changing)), on_progress=touch)
    assert "was changed while it was stained" in result.notes[-1]
    assert read_record(result.out)["record"]["runs"][-1]["input_changed"]


def test_tiles_that_are_small_beside_their_halo_are_said(settings):
    result = stain.run(settings(tile=16))
    (said,) = [note for note in result.notes if "a larger --tile is faster" in note]
    assert said.startswith("tiles of 16 px are small beside their halo of 9 px: ")
