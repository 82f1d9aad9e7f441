"""The page that tunes a model: pick pairs, watch it learn, see whether it helped, keep it or not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from safetensors.numpy import load_file

from napari_virtualstain import simulate
from napari_virtualstain.datasets.pairing_file import load_pairs
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.jobs.training_run import training_folder
from napari_virtualstain.jobs.tuning_keep import list_tunings, tunings_folder
from napari_virtualstain.jobs.tuning_run import Curves, Point, looks_in, read_settings
from napari_virtualstain.napari_io.fields import fields_in
from napari_virtualstain.napari_io.source import LayerSource, tagged
from napari_virtualstain.widgets._tune_curves import lines_of, span_of
from napari_virtualstain.widgets._tune_pairs import pairs_among
from napari_virtualstain.widgets._tune_result import said_of
from napari_virtualstain.widgets.tune import TunePage
from napari_virtualstain.zoo import find_model, list_models, models_folder

SMALL = {"steps": 40, "validate_every": 5, "batch": 2, "patch": 32}


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Three simulated fields, a folder each; read-only."""
    place = tmp_path_factory.mktemp("pairs")
    found = []
    for n in range(3):
        settings, seed = simulate.training_settings(n)
        made = simulate.simulate_field(replace(settings, shape_px=(96, 96)), seed=seed)
        write_field(made, place / f"f{n}")
        found.append(place / f"f{n}")
    return found


@pytest.fixture
def bench(desk, tiny_model, monkeypatch):
    """The page Tune with the tiny model, and tunings that take a moment; nothing is left behind."""
    shutil.copytree(tiny_model, models_folder() / "tiny", dirs_exist_ok=True)
    page = desk.dock.tune
    made = page.settings
    # What nobody sets on the page: as many steps as a user would have patience for in a test.
    monkeypatch.setattr(page, "settings", lambda pairs: made(pairs).model_copy(update=SMALL))
    desk.dock.show_page("tune")
    page.model.box.setEditText("tiny")
    yield desk
    desk.wait(lambda: not desk.jobs.runs)
    for name in ("tiny", "tiny-tuned", "tunings"):
        shutil.rmtree(models_folder() / name, ignore_errors=True)


def opened(bench, fields):
    """Open pairs and add them all; wait until the plan says who teaches."""
    for field in fields:
        bench.open(field / "brightfield.ome.zarr")
        bench.open(field / "stains.ome.zarr")
    bench.dock.show_page("tune")
    bench.wait(lambda: bench.tune.pairs.add_open.isEnabled())
    bench.click(bench.tune.pairs.add_open)
    planned(bench)
    return bench.tune


def planned(bench):
    bench.wait(lambda: "weights may move" in bench.tune.plan.text(), 60)


def rows(page):
    tree = page.pairs.list
    return [
        tuple(tree.topLevelItem(n).text(c) for c in range(3))
        for n in range(tree.topLevelItemCount())
    ]


def begun(bench, page):
    """Start, and wait until something is seen of it."""
    bench.click(page.start)
    bench.wait(lambda: page.watch.plot.curves is not None, 60)


def test_an_empty_page_says_what_to_do(bench):
    page = bench.tune
    assert page.notice.text.startswith("Add pairs of bright field and true stains")
    assert not page.start.isEnabled()
    assert not page.watch.isVisible()
    assert not page.result.isVisible()
    assert not page.pairs.list.isVisible()


def test_pick_watch_believe_keep_and_stain_with_it(bench, fields, bystander):
    page = opened(bench, fields)
    before = set(bench.viewer.layers)
    seen = rows(page)
    assert len(seen) == 3
    assert sorted(role for _, role, _ in seen) == ["judges", "teaches", "teaches"]
    assert "Judged on 1 held-back field" in page.doubts.text
    begun(bench, page)
    # The crops lie beside the image: bright field, base, now and truth.
    bench.wait(lambda: len(page.watch.sheet.layers) == 4)
    names = [layer.name for layer in page.watch.sheet.layers]
    assert names == ["bright field, held back", "DNA base", "DNA now", "DNA true"]
    base, now, true = page.watch.sheet.layers[1:]
    assert base.contrast_limits == now.contrast_limits == true.contrast_limits
    bench.wait(lambda: page.result.isVisible(), 90)
    assert np.isfinite(now.data).all()
    assert not np.array_equal(now.data, base.data)
    assert "tiny-tuned" not in list_models()
    assert "DNA" in page.result.table.text()
    bench.click(page.result.keep)
    bench.wait(lambda: "tiny-tuned" in list_models())
    bench.wait(lambda: bench.dock.stain.model.name == "tiny-tuned")
    card = read_card(find_model("tiny-tuned"))
    assert card.training.recipe == "finetune quick"
    assert not list_tunings()
    assert not list(tunings_folder().iterdir())
    # No crop is left in the viewer.
    bench.wait(lambda: set(bench.viewer.layers) == before)
    bench.wait(lambda: bench.stain.box.field is not None)
    bench.wait(bench.stain.all.isEnabled)
    bench.click(bench.stain.all)
    bench.wait(lambda: "Stained" in bench.stain.notice.text, 60)
    bench.wait(lambda: set(bench.predicted()) == set(card.stain_names))
    bench.idle()


def test_reverting_leaves_nothing(bench, fields):
    page = opened(bench, fields[:2])
    begun(bench, page)
    bench.wait(lambda: page.result.isVisible(), 90)
    bench.click(page.result.revert)
    assert not list(tunings_folder().iterdir())
    assert "tiny-tuned" not in list_models()
    assert page.start.isEnabled()
    assert "the old one is as it was" in page.notice.text


def test_cancelling_leaves_nothing(bench, fields, monkeypatch):
    monkeypatch.setitem(SMALL, "steps", 5000)
    page = opened(bench, fields[:2])
    begun(bench, page)
    bench.click(page.watch.cancel)
    bench.wait(lambda: page.notice.text == "Cancelled: nothing was changed.", 30)
    assert not list(tunings_folder().iterdir())
    assert page.start.isEnabled()


def test_a_run_is_paused_left_come_back_to_and_ended(bench, fields, monkeypatch):
    monkeypatch.setitem(SMALL, "steps", 5000)
    page = opened(bench, fields[:2])
    begun(bench, page)
    bench.wait(lambda: page.watch.sheet.layers)
    bench.click(page.watch.pause)
    bench.wait(lambda: page.watch.state.text().startswith("Paused after"), 30)
    folder = page.watch.folder
    assert (folder / "checkpoint.pt").is_file()
    # Another page has the canvas to itself.
    bench.dock.show_page("stain")
    assert not any("DNA now" in layer.name for layer in bench.viewer.layers)
    bench.dock.show_page("tune")
    bench.wait(lambda: any("DNA now" in layer.name for layer in bench.viewer.layers))
    seen = looks_in(folder)
    bench.click(page.watch.resume)
    bench.wait(lambda: looks_in(folder)[-1] > seen[-1], 60)
    bench.click(page.watch.end)
    bench.wait(lambda: page.result.isVisible(), 90)
    assert page.result.headline.text().startswith("<b>tiny-tuned</b>")
    bench.click(page.result.revert)


@pytest.mark.slow
def test_a_tuning_whose_process_was_killed_is_resumed_to_the_same_weights(
    bench, fields, monkeypatch
):
    monkeypatch.setitem(SMALL, "steps", 60)
    page, kept = opened(bench, fields[:2]), {}
    for name in ("killed", "undisturbed"):
        bench.wait(page.start.isEnabled)
        bench.click(page.start)
        if name == "killed":
            checkpoint = tunings_folder() / "tiny-tuned.training" / "checkpoint.pt"
            bench.wait(checkpoint.is_file, 60)
            (run,) = (run for run in bench.jobs.runs if run.verb == "finetune")
            psutil.Process(run.pid).kill()
            bench.wait(lambda: "ended unexpectedly" in page.notice.text, 60)
            bench.wait(page.watch.resume.isVisible)
            bench.click(page.watch.resume)
        bench.wait(lambda: page.result.isVisible(), 120)
        kept[name] = load_file(tunings_folder() / "tiny-tuned" / "weights.safetensors")
        bench.click(page.result.revert)
        planned(bench)
    for name, weight in kept["undisturbed"].items():
        np.testing.assert_array_equal(kept["killed"][name], weight, err_msg=name)


def test_what_was_stopped_is_offered_to_another_viewer(bench, fields, monkeypatch):
    monkeypatch.setitem(SMALL, "steps", 5000)
    page = opened(bench, fields[:2])
    begun(bench, page)
    page.close_runs()
    bench.wait(lambda: not bench.jobs.runs, 30)
    other = TunePage(bench.viewer, bench.fields, bench.jobs, bench.run_bar)
    bench.qtbot.addWidget(other)
    other.show()
    assert other.earlier.box.currentText() == "tiny-tuned (stopped)"
    # The command line can go on with it as well.
    assert read_settings(training_folder(str(tunings_folder() / "tiny-tuned")))["preset"] == "quick"
    bench.click(other.earlier.open)
    bench.wait(lambda: other.watch.plot.curves is not None)
    assert other.watch.resume.isVisible()
    bench.click(other.watch.cancel)
    assert not list(tunings_folder().iterdir())


def test_the_curves_say_what_the_base_model_would(bench):
    points = tuple(
        Point(step=n, seconds=n, train=1.0 if n else None, held=0.9 - n / 100, pcc=(0.5, None))
        for n in range(3)
    )
    base = Point(step=0, seconds=0, train=None, held=0.8, pcc=(0.4, None))
    curves = Curves(
        stains=("DNA", "ER"), fields=("f",), judges=False, steps=100, base=base, points=points
    )
    (loss, lines), (pcc, held) = lines_of(curves, 0)
    assert (loss, pcc) == ("Loss", "Correlation, DNA")
    assert {name: values for name, _, values in lines}["base"] == [(0.0, 0.8), (100.0, 0.8)]
    assert held[0][2] == [(0.0, 0.5), (1.0, 0.5), (2.0, 0.5)]
    assert [title for title, _ in lines_of(curves, 1)] == ["Loss"]
    with_floor = replace(curves, floor=(0.2, None))
    (_, _), (_, held) = lines_of(with_floor, 0)
    assert held[-1] == ("floor", "floor", [(0.0, 0.2), (100.0, 0.2)])
    low, high = span_of(lines)
    assert low < 0.8 < 1.0 < high


GAINS = {
    "better": ({"value": 0.2, "low": 0.1, "high": 0.3}, "better, +0.100 to +0.300"),
    "inside the noise": (
        {"value": 0.01, "low": -0.1, "high": 0.1}, "inside the noise, -0.100 to +0.100",
    ),
    "too little to tell": (None, "too little to tell"),
}  # fmt: skip


@pytest.mark.parametrize("verdict", GAINS)
def test_a_gain_is_said_with_its_interval(verdict):
    interval, words = GAINS[verdict]
    assert said_of({"verdict": verdict, "pcc_gain": interval, "pcc_after": 0.5}) == words


def image(viewer, role, path, stain="DNA"):
    layer = viewer.add_image(np.zeros((8, 8)), name=f"{role} {path}")
    # A lazy array would be read from the path; the tests look at the names alone.
    layer.metadata = tagged({}, LayerSource(path=path, channel=stain, role=role, stain=stain))
    return layer


def test_open_images_are_paired_by_file_by_folder_or_because_there_are_two(desk, monkeypatch):
    monkeypatch.setattr("napari_virtualstain.napari_io.source._shows_the_file", lambda *_: True)
    for role, path in (
        ("brightfield", "/a/1.tif"), ("truth", "/a/1.tif"),
        ("brightfield", "/b/light.tif"), ("truth", "/b/stain.tif"),
        ("brightfield", "/c/light.tif"), ("truth", "/c/x.tif"), ("truth", "/c/y.tif"),
    ):  # fmt: skip
        image(desk.viewer, role, path)
    found = pairs_among(fields_in(desk.viewer.layers))
    assert [(f.path, t.path) for f, t in found] == [
        ("/a/1.tif", "/a/1.tif"), ("/b/light.tif", "/b/stain.tif"),
    ]  # fmt: skip
    two = [f for f in fields_in(desk.viewer.layers) if f.path in ("/b/light.tif", "/c/x.tif")]
    assert [(f.path, t.path) for f, t in pairs_among(two)] == [("/b/light.tif", "/c/x.tif")]


def test_a_folder_is_searched_for_pairs(bench, fields):
    bench.tune.search(str(fields[0].parent))
    bench.wait(lambda: len(bench.tune.pairs.pairs) == 3, 60)
    planned(bench)
    assert sorted(role for _, role, _ in rows(bench.tune)) == ["judges", "teaches", "teaches"]


def test_layers_in_memory_are_written_first(bench, fields):
    light = open_image(fields[0] / "brightfield.ome.zarr").data.compute()[0, 0]
    dna = open_image(fields[0] / "stains.ome.zarr").data.compute()[0, 0, 0]
    size = {"scale": (1, 0.6, 0.6), "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
    for pixels, role in ((light, "brightfield"), (dna[None], "truth")):
        layer = bench.viewer.add_image(pixels, name=f"my {role}", **size)
        source = LayerSource(role=role, channel="DNA", stain="DNA" if role == "truth" else "")
        layer.metadata = tagged(layer.metadata, source)
    bench.fields.look()
    bench.click(bench.tune.pairs.add)
    bench.wait(lambda: bench.tune.pairs.pairs, 30)
    (pair,) = bench.tune.pairs.pairs
    assert set(pair.stains) == {"DNA"}
    assert bench.jobs.session.folder in Path(pair.path).parents
    planned(bench)
    assert any("weaker" in part for part in bench.tune.doubts.text.split("."))


def wrong_model(bench, fields):
    bench.tune.model.box.setEditText("nothing-like-it")


def taken_name(bench, fields):
    bench.tune.name.setText("demo")
    bench.tune.name.editingFinished.emit()


def odd_name(bench, fields):
    bench.tune.name.setText("a/b")
    bench.tune.name.editingFinished.emit()


def twice(bench, fields):
    page = bench.tune.pairs
    page.brightfield.setCurrentIndex(0)
    page.true.setCurrentIndex(0)
    bench.click(page.add)


BAD = {
    "a model that is not there": (wrong_model, "nothing-like-it"),
    "a name that is taken": (taken_name, "There is a model named 'demo' already."),
    "a name that is no file": (odd_name, "is no name for a model"),
    "a pair that is in the list": (twice, "is in the list already"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_begins(bench, fields, case):
    do, sentence = BAD[case]
    opened(bench, fields[:1])
    do(bench, fields)
    bench.wait(lambda: sentence in bench.tune.notice.text)
    assert bench.tune.notice.kind == "error"
    assert len(bench.tune.pairs.pairs) == 1
    assert not tunings_folder().exists() or not list(tunings_folder().iterdir())


def changed_stains(folder, target, change):
    """Copy a field with other stains."""
    shutil.copytree(folder, target)
    stains = open_image(folder / "stains.ome.zarr")
    pixels = change(stains.data.compute().astype(np.float32))
    shutil.rmtree(target / "stains.ome.zarr")
    with OmeZarrSink.create(
        target / "stains.ome.zarr", shape=pixels.shape, channels=list(stains.channels), n_tiles=1,
        pixel_size_um=stains.pixel_size_um,
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
        sink.finish({})
    return target


WRONG = {
    "another size": (lambda p: p[..., :64], "px. Give images of one field at one size"),
    "a constant target": (np.zeros_like, "constant"),
}


@pytest.mark.parametrize("case", WRONG)
def test_pairs_that_cannot_teach_are_refused_by_the_plan(bench, fields, tmp_path, case):
    change, sentence = WRONG[case]
    wrong = [changed_stains(field, tmp_path / field.name, change) for field in fields[:2]]
    for field in wrong:
        bench.open(field / "brightfield.ome.zarr")
        bench.open(field / "stains.ome.zarr")
    bench.dock.show_page("tune")
    bench.wait(lambda: bench.tune.pairs.add_open.isEnabled())
    bench.click(bench.tune.pairs.add_open)
    bench.wait(lambda: sentence in bench.tune.notice.text, 60)
    assert not bench.tune.start.isEnabled()


def test_a_field_on_both_sides_is_refused_in_the_words_of_the_job(bench, fields, tmp_path):
    copies = []
    for n in range(2):
        shutil.copytree(fields[0], tmp_path / f"copy{n}")
        copies.append(tmp_path / f"copy{n}")
    for field in copies:
        bench.open(field / "brightfield.ome.zarr")
        bench.open(field / "stains.ome.zarr")
    bench.dock.show_page("tune")
    bench.wait(lambda: bench.tune.pairs.add_open.isEnabled())
    bench.click(bench.tune.pairs.add_open)
    bench.wait(lambda: "would leak into what judges" in bench.tune.notice.text, 60)
    assert not bench.tune.start.isEnabled()


def test_the_line_to_copy_does_the_same(bench, fields):
    page = opened(bench, fields)
    line = page.command()
    assert line.startswith("virtualstain finetune")
    assert "--model tiny" in line
    assert "pairs.json" in line
    written = json.loads((tunings_folder() / "tiny-tuned.training" / "pairs.json").read_text())
    assert len(written["pairs"]) == 3


def test_files_of_one_name_in_folders_beside_each_other_are_pairs():
    from types import SimpleNamespace

    def field(path, role, scene=""):
        return SimpleNamespace(
            path=path, scene=scene, key=(path, scene), with_role=lambda asked: asked == role
        )

    light = [field(f"/d/brightfield/f{n}.ome.tif", "brightfield") for n in (1, 2, 3)]
    true = [field(f"/d/stains/F{n}.ome.zarr", "truth") for n in (1, 2)]
    elsewhere = field("/e/stains/f3.ome.zarr", "truth")
    found = pairs_among([*light, *true, elsewhere])
    assert [(a.path, b.path) for a, b in found] == [
        ("/d/brightfield/f1.ome.tif", "/d/stains/F1.ome.zarr"),
        ("/d/brightfield/f2.ome.tif", "/d/stains/F2.ome.zarr"),
    ]


def test_what_is_painted_over_is_left_out(bench, fields):
    page = opened(bench, fields[:2])
    painted = bench.viewer.add_labels(np.zeros((96, 96), int), name="folds")
    bench.wait(lambda: page.pairs.leave_out.count() == 2)
    assert not page.pairs.leave_out.isEnabled()  # until a field is chosen
    page.pairs.list.topLevelItem(0).setSelected(True)
    assert page.pairs.leave_out.isEnabled()
    page.pairs.leave_out.setCurrentIndex(1)
    page.pairs.leave_out.activated.emit(1)
    painted.data[10:40, 10:40] = 2  # painted on after it was chosen
    page.command()
    folder = tunings_folder() / "tiny-tuned.training"
    first, second = load_pairs(folder / "pairs.json").pairs
    assert second.exclude is None
    np.testing.assert_array_equal(tifffile.imread(first.exclude), painted.data > 0)
    bench.wait(lambda: page._plan is None and not page._soon.isActive(), 60)
    assert page.start.isEnabled(), page.notice.text


@pytest.mark.parametrize("kind", ["labels", "shapes"])
def test_only_drawn_regions_of_a_field_count(bench, fields, kind):
    page = opened(bench, fields[:2])
    if kind == "labels":
        drawn = np.zeros((96, 96), int)
        drawn[20:61, 30:81] = 1
        bench.viewer.add_labels(drawn, name="these")
    else:
        # 0.6 um a pixel: in the units of the image.
        corners = 0.6 * np.array([[20, 30], [20, 80], [60, 80], [60, 30]])
        bench.viewer.add_shapes([corners], shape_type="polygon", name="these", units="um")
    bench.wait(lambda: page.pairs.leave_out.count() == 2)
    page.pairs.list.topLevelItem(0).setSelected(True)
    page.pairs.way.setCurrentText("Only")
    page.pairs.leave_out.setCurrentIndex(1)
    page.pairs.leave_out.activated.emit(1)
    page.command()
    first, second = load_pairs(tunings_folder() / "tiny-tuned.training" / "pairs.json").pairs
    assert second.exclude is None
    left_out = tifffile.imread(first.exclude)
    expected = np.ones((96, 96), int)
    expected[20:61, 30:81] = 0
    np.testing.assert_array_equal(left_out, expected)
    bench.wait(lambda: page._plan is None and not page._soon.isActive(), 60)
    assert page.start.isEnabled(), page.notice.text
    # Another choice of the same layer turns it round.
    page.pairs.list.topLevelItem(0).setSelected(True)
    assert page.pairs.way.currentText() == "Only"
    page.pairs.way.setCurrentText("Leave out")
    page.pairs.way.activated.emit(0)
    page.command()
    np.testing.assert_array_equal(tifffile.imread(first.exclude), 1 - expected)


def test_shapes_in_which_nothing_is_drawn_are_refused(bench, fields):
    page = opened(bench, fields[:2])
    bench.viewer.add_shapes(name="these", ndim=2)
    bench.wait(lambda: page.pairs.leave_out.count() == 2)
    page.pairs.list.topLevelItem(0).setSelected(True)
    page.pairs.way.setCurrentText("Only")
    page.pairs.leave_out.setCurrentIndex(1)
    page.pairs.leave_out.activated.emit(1)
    bench.wait(lambda: "lies inside “these”. Draw" in page.notice.text, 30)


def test_painting_over_everything_is_refused(bench, fields):
    page = opened(bench, fields[:1])
    bench.viewer.add_labels(np.ones((96, 96), int), name="all")
    bench.wait(lambda: page.pairs.leave_out.count() == 2)
    page.pairs.leave_out.setCurrentIndex(1)
    page.pairs.leave_out.activated.emit(1)
    bench.wait(lambda: "leaves out the whole field" in page.notice.text, 60)
    assert not page.start.isEnabled()


@pytest.mark.slow
def test_a_tuning_goes_on_when_the_viewer_is_closed(bench, fields, monkeypatch):
    monkeypatch.setitem(SMALL, "steps", 400)
    page = opened(bench, fields[:2])
    bench.click(page.alone)
    begun(bench, page)
    folder = page.watch.folder
    page.close_runs()
    bench.wait(lambda: not bench.jobs.runs, 60)
    bench.wait(lambda: list_tunings() and list_tunings()[0].state == "going", 60)
    other = TunePage(bench.viewer, bench.fields, bench.jobs, bench.run_bar)
    bench.qtbot.addWidget(other)
    other.show()
    assert other.earlier.box.currentText() == "tiny-tuned (goes on by itself)"
    bench.click(other.earlier.open)
    bench.wait(lambda: other.watch.plot.curves is not None)
    if other.watch.end.isVisible():  # it may be done by now
        other.watch.end.click()
    bench.wait(lambda: other.result.isVisible(), 120)
    assert not folder.joinpath("asked.json").exists()
    bench.click(other.result.revert)
    other.close_runs()


def test_fields_to_stain_next_are_listed_and_a_click_goes_there(bench, fields, tmp_path):
    """Two pairs teach; of two more fields one is crowded, and it is found and shown."""
    page = opened(bench, fields[:2])
    for name, n_cells, seed in (("usual", 2, 7), ("crowded", 9, 8)):
        shown = simulate.FieldSettings(shape_px=(96, 96), n_cells=n_cells)
        made = simulate.simulate_field(shown, seed=seed)
        path = tmp_path / f"{name}.ome.zarr"
        write_field(made, tmp_path, only={"brightfield": path})
        bench.open(path)
    bench.dock.show_page("tune")
    planned(bench)
    page.next_fold.heading.setChecked(True)
    bench.click(page.next.find)
    bench.wait(lambda: page.next.list.topLevelItemCount() == 2, 60)
    first, second = (page.next.list.topLevelItem(n) for n in range(2))
    assert "crowded" in first.text(0)
    assert first.text(1)
    assert "beside 2 that teach" in page.next.words.text()
    page.next.list.itemClicked.emit(second, 0)
    (light,) = bench.viewer.layers.selection
    assert "usual" in light.name or "usual" in str(light.metadata)
    assert light.visible
    assert [layer for layer in bench.viewer.layers if layer.visible] == [light]
    assert page.next.command().startswith("virtualstain suggest --input")


def test_a_field_that_is_not_open_is_opened_by_a_click(bench, fields, tmp_path):
    store = PlateStore(tmp_path / "plate.ome.zarr", name="plate", rows=1, columns=3)
    for column in range(3):
        inner = field_path(0, column, "0")
        shutil.copytree(fields[column] / "brightfield.ome.zarr", store.path / inner)
        store.add(0, column, "0")
    bench.open(store.path)
    bench.dock.show_page("tune")
    page = bench.tune
    page.next_fold.heading.setChecked(True)
    bench.click(page.next.find)
    bench.wait(lambda: page.next.list.topLevelItemCount() == 3, 60)
    assert "Nothing is known of what teaches already" in page.next.notice.text
    before = {field.key for field in bench.fields.all}
    row = next(
        n for n, one in enumerate(page.next._found) if (one["path"], one["scene"]) not in before
    )
    page.next.list.itemClicked.emit(page.next.list.topLevelItem(row), 0)
    bench.wait(lambda: len(bench.fields.all) == 2)
    (light,) = bench.viewer.layers.selection
    assert [layer for layer in bench.viewer.layers if layer.visible] == [light]


def test_without_a_bright_field_nothing_is_looked_at(bench):
    page = bench.tune
    page.next_fold.heading.setChecked(True)
    bench.click(page.next.find)
    assert page.next.notice.text.startswith("Open the bright field of fields")
    assert not page.next.list.isVisible()


def test_the_card_shows_where_it_lost_most(bench):
    card = bench.tune.result
    gain = {
        "stain": "DNA", "pcc_before": 0.5, "pcc_after": 0.6, "verdict": "better", "by": "PCC",
        "pcc_gain": {"value": 0.1, "low": 0.05, "high": 0.2},
    }  # fmt: skip
    block = {"stain": "DNA", "field": "f1", "y": 0, "x": 0, "pcc_before": 0.7, "pcc_after": 0.4}
    result = {"gains": [gain], "worst": [block], "like_before": None, "notes": []}
    pictures = np.random.default_rng(0).normal(size=(1, 4, 32, 32)).astype(np.float32)
    card.show_result("mine", result, pictures)
    assert card.worst.isVisible()
    assert card.worst.words == ["DNA 0.70 to 0.40, f1"]
    assert [one.toolTip() for one in card.worst.pictures] == [
        "bright field", "before", "after", "true",
    ]  # fmt: skip
    assert all(not one.pixmap().isNull() for one in card.worst.pictures)
    card.show_result("mine", {**result, "worst": []})
    assert not card.worst.isVisible()
