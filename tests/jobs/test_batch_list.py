"""The list of a batch: edited while a run goes through it, kept over versions, each image in its own place."""

import json
import re
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.errors import (
    ImageFileError,
    OutputBusyError,
    RunCancelled,
    SettingsError,
)
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import batch as job
from napari_virtualstain.jobs.batch import BatchSettings, run
from napari_virtualstain.jobs.batch_file import _plain, change_state, load_state
from napari_virtualstain.jobs.batch_item import ITEM_SETTINGS, Item, PlateShape
from napari_virtualstain.jobs.batch_items import Found, find_images, placed, scene_pattern
from napari_virtualstain.jobs.batch_state import BatchState

STATES = Path(__file__).parent / "states"


def item(name, **more):
    return Item(input=f"/{name}", scene="", out=f"{name}.ome.zarr", **more)


def listing(*names, **more):
    return BatchState(items=tuple(item(name) for name in names), **more)


def names(state):
    return "".join(one.input[1:] for one in state.items)


# --- the list as a value --------------------------------------------------------------------------

MOVES = {
    "one_up": ("abc", "c", -1, "acb"),
    "one_down": ("abc", "a", 1, "bac"),
    "the_first_stays": ("abc", "a", -1, "abc"),
    "two_together": ("abcd", "cd", -1, "acdb"),
    "all_stay": ("abc", "abc", -1, "abc"),
    "two_apart": ("abcd", "bd", 1, "acbd"),
}


@pytest.mark.parametrize("case", MOVES)
def test_images_move_past_each_other(case):
    before, moved, by, after = MOVES[case]
    state = listing(*before).moved({(f"/{name}", "") for name in moved}, by)
    assert names(state) == after


def test_what_is_done_keeps_its_place_while_others_move():
    state = listing(*"abc").marked(("/b", ""), state="done").moved({("/c", "")}, -1)
    assert names(state) == "cba"
    assert [one.state for one in state.items] == ["waiting", "done", "waiting"]


@given(st.permutations("abcdef"), st.sets(st.sampled_from("abcdef")), st.sampled_from([-1, 1]))
def test_moving_loses_and_makes_nothing(order, moved, by):
    state = listing(*order).moved({(f"/{name}", "") for name in moved}, by)
    assert sorted(names(state)) == sorted(order)


def test_what_is_removed_comes_back_to_its_old_place_when_it_is_added_again():
    state = listing(*"ab").without({("/a", "")})
    assert (names(state), state.removed) == ("b", (item("a"),))
    assert names(state.with_items([item("a")], again=False)) == "b"
    again = state.with_items([item("a")])
    assert (names(again), again.removed) == ("ba", ())


def test_other_time_points_are_added_to_those_that_are_done():
    state = BatchState(items=(item("a", times=(0, 1), state="done"),))
    (joined,) = state.with_items([item("a", times=(1, 4))]).items
    assert (joined.times, joined.state) == ((0, 1, 4), "waiting")
    (whole,) = state.with_items([item("a")]).items
    assert (whole.times, whole.state) == ((), "waiting")


def test_an_image_with_other_settings_of_its_own_is_refused():
    sentence = (
        "'a' is in the list already, with other settings (--channel). Remove it there first, or "
        "choose another --out."
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(sentence)}$"):
        listing("a").with_items([item("a", channel="BF")])


def test_only_what_failed_waits_again():
    state = BatchState(items=(item("a", state="failed", sentence="x"), item("b", state="done")))
    assert [(one.state, one.sentence) for one in state.retried().items] == [
        ("waiting", ""), ("done", ""),
    ]  # fmt: skip


def test_files_of_one_name_in_two_folders_have_places_of_their_own(tmp_path):
    paths = [tmp_path / folder / "a.tif" for folder in "xyz"]
    own = dict.fromkeys(ITEM_SETTINGS) | {"times": ()}
    known = []
    for path in paths:
        known += placed([(path, None)], known, plate=False, own=own)
    assert [one.out for one in known] == ["a.tif.ome.zarr", "a.tif_2.ome.zarr", "a.tif_3.ome.zarr"]
    together = placed([(path, None) for path in paths], [], plate=False, own=own)
    assert [one.out for one in together] == [one.out for one in known]
    assert placed([(path, None) for path in paths], known, plate=False, own=own) == known


def test_the_pattern_of_names_chooses_these_and_no_others(tmp_path):
    from napari_virtualstain.io.scene import Scene
    from napari_virtualstain.jobs.batch_items import chosen_images

    there = ["B03/f01", "B03/f02", "a,b[1]*", "a", "b1x", "B?3"]
    scenes = tuple(Scene(name=name, kind="x", load=lambda: None) for name in there)
    wanted = ["B03/f02", "a,b[1]*", "B?3"]
    chosen, _ = chosen_images(
        Found(images=((tmp_path, scenes),)), scenes=scene_pattern(wanted), channel=None, plate=False
    )
    assert [scene.name for _, scene in chosen] == wanted


# --- the file -------------------------------------------------------------------------------------


def test_a_list_is_what_it_was_after_reading(tmp_path):
    state = listing(*"ab", begun=True, paused=True, settings={"model": "demo"})
    state = state.without({("/a", "")}).marked(("/b", ""), state="done", seconds=1.5)
    change_state(tmp_path, lambda _: state)
    assert load_state(tmp_path) == state


def state_of(version, folder):
    shutil.copy(STATES / f"batch-{version}.json", folder / "batch.json")
    return load_state(folder)


def test_a_list_of_version_1_is_read_with_what_was_stated_once_for_all(tmp_path):
    state = state_of(1, tmp_path)
    assert [one.state for one in state.items] == ["done", "failed", "waiting"]
    assert {(one.pattern, one.channel, one.pixel_size) for one in state.items} == {
        ("{well}~{z}.tif", "Brightfield", 0.6)
    }
    assert (state.begun, state.paused, state.removed) == (True, False, ())
    assert "pattern" not in state.settings
    assert state.plate == PlateShape(name="", rows=4, columns=6)


def test_a_list_of_version_2_keeps_its_fields(tmp_path):
    state = state_of(2, tmp_path)
    assert state.paused
    assert state.items[0].times == (0, 2)
    assert [(one.out, one.field) for one in state.items] == [
        ("D/4/0", (3, 3, "0")),
        ("B/2/0", (1, 1, "0")),
    ]
    assert [one.scene for one in state.removed] == ["C03"]


def test_a_list_of_version_3_is_read_and_written_as_it_is(tmp_path):
    state = state_of(3, tmp_path)
    assert [(one.out, one.plate, one.well, one.site) for one in state.items] == [
        ("D/4/f02", "mine", "D04", "f02"),
        ("B/2/tile1", "mine", "B02", "tile 1"),
    ]
    assert _plain(state) == json.loads((STATES / "batch-3.json").read_text())


def test_changes_of_many_at_once_are_all_there(tmp_path):
    def add(number):
        for n in range(10):
            new = item(f"{number}-{n}")
            change_state(tmp_path, lambda state, new=new: state.with_items([new]))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load_state(tmp_path).items) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["batch.json"]


def test_a_lock_of_a_crash_locks_nobody_out(tmp_path, monkeypatch):
    lock = tmp_path / ".batch.json.lock"
    lock.touch()
    monkeypatch.setattr("napari_virtualstain.jobs.batch_file._PATIENCE_S", 0.05)
    time.sleep(0.1)
    change_state(tmp_path, lambda state: state)
    assert not lock.exists()


def test_what_a_change_raises_leaves_the_file_as_it_was(tmp_path):
    change_state(tmp_path, lambda _: listing("a"))

    def refuse(state):
        raise SettingsError("No.")

    with pytest.raises(SettingsError):
        change_state(tmp_path, refuse)
    assert names(load_state(tmp_path)) == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["batch.json"]


# --- a run through it -----------------------------------------------------------------------------


@pytest.fixture
def folder(field_folder, tmp_path):
    """Four images."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcd":
        shutil.copytree(field_folder / "brightfield.ome.zarr", folder / f"{name}.ome.zarr")
    return folder


@pytest.fixture
def settings(folder, tmp_path):
    def settings(**more):
        values = {"input": str(folder), "out": str(tmp_path / "out")}
        return BatchSettings(**(values | more))

    return settings


@pytest.fixture
def stained(monkeypatch):
    """Names of images that were stained, in order, by a stain that takes no time."""
    done = []

    def stain(settings, **_):
        name = Path(settings.input).name[0]
        if name in stain.bad:
            raise stain.bad[name]
        done.append(name)
        if name in stain.meanwhile:
            stain.meanwhile.pop(name)()
        return SimpleNamespace(seconds=0.25)

    stain.bad, stain.meanwhile = {}, {}
    monkeypatch.setattr(job, "stain", stain)
    return SimpleNamespace(names=done, bad=stain.bad, meanwhile=stain.meanwhile)


def key(folder, name):
    return (str(folder / f"{name}.ome.zarr"), "")


def test_the_list_is_gone_through_in_its_order_and_may_change_meanwhile(
    settings, stained, folder, tmp_path
):
    out = tmp_path / "out"

    def edit():
        change_state(out, lambda s: s.moved({key(folder, "d")}, -1).without({key(folder, "b")}))

    stained.meanwhile["a"] = edit
    result = run(settings())
    assert stained.names == ["a", "d", "c"]
    assert [one.name[0] for one in result.items] == ["a", "d", "c"]
    run(settings())
    assert stained.names[3:] == ["a", "d", "c"], "their stores are not there"
    notes = []
    stained.names.clear()
    run(settings(), on_note=notes.append)
    assert notes == ["left out, since they were taken off the list: b.ome.zarr"]
    assert "b" not in stained.names
    run(settings(retry=True))
    assert "b" in stained.names


def test_a_pause_ends_the_run_behind_the_image_that_is_stained(settings, stained, tmp_path):
    from dataclasses import replace

    stained.meanwhile["b"] = lambda: change_state(
        tmp_path / "out", lambda state: replace(state, paused=True)
    )
    notes = []
    result = run(settings(), on_note=notes.append)
    assert stained.names == ["a", "b"]
    assert (result.count("done"), result.count("waiting")) == (2, 2)
    assert notes == ["paused; waiting: 2"]
    stained.names.clear()
    run(settings())
    assert stained.names[-2:] == ["c", "d"]


def test_without_an_input_the_list_is_gone_on_with_as_it_was_begun(settings, stained, tmp_path):
    stained.bad["c"] = ImageFileError("It is damaged. Copy it again.")
    run(settings(dtype="float16", tile=64))
    stained.names.clear()
    stained.bad.clear()
    seen = []
    result = run(
        BatchSettings(out=str(tmp_path / "out"), retry=True), on_item=lambda one: seen.append(one)
    )
    assert "c" in stained.names
    assert result.count("done") == 4
    assert ("c.ome.zarr", "running") in [(one.name, one.state) for one in seen]
    with pytest.raises(SettingsError, match=r"was begun with other settings \(--dtype\)"):
        run(BatchSettings(out=str(tmp_path / "out"), dtype="uint16"))


def test_neither_an_input_nor_a_list_is_one_sentence(tmp_path):
    with pytest.raises(SettingsError, match=r"holds no list of images \(no batch\.json\)\. Name a"):
        run(BatchSettings(out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_each_image_is_told_of_as_it_begins_and_ends(settings, stained):
    stained.bad["b"] = ImageFileError("It is damaged. Copy it again.")
    seen = []
    run(settings(), on_item=lambda one: seen.append((one.name[0], one.state, one.sentence)))
    assert seen[:4] == [
        ("a", "running", ""), ("a", "done", ""),
        ("b", "running", ""), ("b", "failed", "It is damaged. Copy it again."),
    ]  # fmt: skip


def test_an_image_that_another_run_writes_is_left_to_it(settings, stained):
    stained.bad["b"] = OutputBusyError("It is being written. Wait.")
    notes = []
    result = run(settings(), on_note=notes.append)
    assert stained.names == ["a", "c", "d"]
    assert notes == ["b.ome.zarr waits: It is being written. Wait."]
    assert result.count("waiting") == 1


def test_images_of_two_folders_are_one_list_each_with_what_is_stated_of_it(
    settings, stained, folder, tmp_path
):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    run(settings(channel="Brightfield"))
    result = run(settings(input=str(other), pixel_size=0.6))
    assert len({one.out for one in result.items}) == 8
    stated = {(Path(one.input).parent.name, one.channel, one.pixel_size) for one in result.items}
    assert stated == {("in", "Brightfield", None), ("other", None, 0.6)}


def test_a_list_that_was_not_begun_takes_the_settings_of_its_first_run(settings, stained, folder):
    out = Path(settings().out)
    change_state(out, lambda _: BatchState(settings={"model": "another"}))
    run(settings())
    assert load_state(out).settings["model"] == "demo"
    assert load_state(out).begun


def test_only_the_time_points_that_were_asked_for_are_stained(tiny_model, tmp_path, field_folder):
    import numpy as np
    import tifffile

    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 999, (3, 3, 64, 64)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "film.tif", pixels, imagej=True, metadata={"axes": "TZYX"})
    values = {
        "input": str(tmp_path / "film.tif"), "model": str(tiny_model), "pixel_size": 0.6,
        "out": str(tmp_path / "out"),
    }  # fmt: skip
    (one,) = run(BatchSettings(**values, times=(1,))).items
    assert (one.state, one.times) == ("done", (1,)), one.sentence
    store = tmp_path / "out" / one.out
    assert (read_record(store)["status"], read_record(store)["tiles_done"]) == ("partial", 1)
    (again,) = run(BatchSettings(**values, times=(1,))).items
    assert again.seconds == one.seconds, "it was stained again"
    (more,) = run(BatchSettings(**values, times=(0, 2))).items
    assert (more.state, more.times) == ("done", (0, 1, 2)), more.sentence
    assert read_record(store)["status"] == "complete"


def test_a_cancelled_image_waits_and_the_order_stays(settings, stained, tmp_path):
    stained.bad["b"] = RunCancelled("Cancelled.")
    with pytest.raises(RunCancelled):
        run(settings())
    state = load_state(tmp_path / "out")
    assert [one.state for one in state.items] == ["done", "waiting", "waiting", "waiting"]


def test_a_plate_grows_by_wells_that_are_added_later(settings, stained, folder, tmp_path):
    from napari_virtualstain.io.plate_write import PlateStore

    plate = tmp_path / "plate.ome.zarr"
    store = PlateStore(plate, name="mine", rows=2, columns=3)
    for row, column, field in ((0, 0, "0"), (0, 0, "1"), (1, 2, "0")):
        at = plate / "AB"[row] / str(column + 1) / field
        shutil.copytree(folder / "a.ome.zarr", at)
        store.add(row, column, field)
    values = {"input": str(plate), "out": str(tmp_path / "stained.ome.zarr")}
    run(settings(**values, scene="A/1/1"))
    result = run(settings(**values))
    places = {one.scene: one.out for one in result.items}
    assert places == {"A/1/1": "A/1/1", "A/1/0": "A/1/0", "B/3/0": "B/3/0"}
    assert load_state(tmp_path / "stained.ome.zarr").plate == PlateShape(
        name="mine", rows=2, columns=3
    )


def test_a_folder_without_images_is_found_out_before_anything_is_written(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageFileError):
        find_images(tmp_path / "empty")


def test_a_folder_that_may_not_be_written_is_said_at_once(tmp_path, monkeypatch):
    from napari_virtualstain.errors import DiskError
    from napari_virtualstain.jobs import batch_file

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(batch_file.os, "open", refuse)
    monkeypatch.setattr(batch_file.sys, "platform", "linux")
    with pytest.raises(DiskError, match="no permission to write there"):
        batch_file.change_state(tmp_path, lambda state: state)
