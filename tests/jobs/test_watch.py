"""Watching: only what is complete is stained, once; what never becomes complete is said."""

import shutil

import pytest

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.jobs.watch import WatchSettings, run


class Clock:
    """Time that goes by only while somebody waits, and what happens meanwhile."""

    def __init__(self, happens):
        self.now, self._happens = 0.0, sorted(happens.items())

    def __call__(self):
        return self.now

    def rest(self, seconds):
        self.now += seconds
        while self._happens and self._happens[0][0] <= self.now:
            self._happens.pop(0)[1]()


@pytest.fixture
def watch(tiny_model, tmp_path):
    (tmp_path / "in").mkdir()

    def watch(happens, **more):
        clock, notes = Clock(happens), []
        values = {
            "input": str(tmp_path / "in"), "out": str(tmp_path / "out"), "model": str(tiny_model),
            "settle": 3.0, "every": 1.0, "idle": 20.0,
        }  # fmt: skip
        settings = WatchSettings(**(values | more))
        result = run(settings, on_note=notes.append, clock=clock, rest=clock.rest)
        return result, notes, clock

    return watch


@pytest.fixture
def arrive(field_folder, tmp_path):
    """Copy an image into the folder, or only its first half."""
    source = field_folder / "brightfield.ome.zarr"

    def arrive(name, *, half=False):
        target = tmp_path / "in" / name

        def copy():
            shutil.copytree(source, target, dirs_exist_ok=True)
            if half:
                shutil.rmtree(target / "0")

        return copy

    return arrive


def test_images_are_stained_as_they_come(watch, arrive):
    result, notes, clock = watch({2: arrive("a.ome.zarr"), 9: arrive("b.ome.zarr")})
    assert [(item.name, item.state) for item in result.items] == [
        ("a.ome.zarr", "done"), ("b.ome.zarr", "done"),
    ]  # fmt: skip
    assert notes == ["a.ome.zarr is stained", "b.ome.zarr is stained"]
    assert clock.now < 40


def test_half_an_image_is_waited_for(watch, arrive):
    result, notes, _ = watch({1: arrive("a.ome.zarr", half=True), 12: arrive("a.ome.zarr")})
    assert notes == ["a.ome.zarr is stained"]
    assert result.count("done") == 1


def test_files_that_still_change_are_waited_for(watch, arrive, tmp_path):
    def touch():
        (tmp_path / "in" / "a.ome.zarr" / "more").write_text(str(touch))
        (tmp_path / "in" / "a.ome.zarr" / "zarr.json").touch()

    happens = {1: arrive("a.ome.zarr")} | dict.fromkeys(range(2, 15, 2), touch)
    stained = []
    _, notes, clock = watch(happens, idle=10.0)
    stained += notes
    assert stained == ["a.ome.zarr is stained"]
    assert clock.now >= 14 + 3


def test_what_is_never_complete_is_said(watch, arrive):
    result, notes, _ = watch({1: arrive("a.ome.zarr"), 2: arrive("b.ome.zarr", half=True)})
    assert notes[0] == "a.ome.zarr is stained"
    assert notes[1].startswith("b.ome.zarr was never complete: ")
    assert result.count("waiting") == 1


def test_an_empty_folder_is_waited_for_and_ends(watch):
    result, notes, clock = watch({})
    assert (result.items, notes) == ((), [])
    assert clock.now >= 20


def test_what_was_done_before_is_not_done_again(watch, arrive):
    watch({1: arrive("a.ome.zarr")})
    _, notes, _ = watch({1: arrive("b.ome.zarr")})
    assert notes == ["b.ome.zarr is stained"]


def test_the_stains_may_lie_in_the_folder_that_is_watched(watch, arrive, tmp_path):
    result, _, _ = watch({1: arrive("a.ome.zarr")}, out=str(tmp_path / "in" / "stained"))
    assert [item.name for item in result.items] == ["a.ome.zarr"]


def test_a_folder_that_is_not_there_is_one_sentence(watch, tmp_path):
    with pytest.raises(
        SettingsError, match="is no folder, so nothing can come into it. Make it, or"
    ):
        watch({}, input=str(tmp_path / "nowhere"))
