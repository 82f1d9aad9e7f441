"""Staining from the dock: planned in words, painted while it goes on, and never in the way of anything else."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from qtpy.QtWidgets import QApplication

from napari_virtualstain.generators.registry import GENERATORS
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.napari_io.source import source_of

STAINS = ["AGP", "DNA", "ER", "Mito", "RNA"]


@pytest.fixture
def busy(desk, bystander, large_field, tiny_model):
    """A run over 1024 tiles that has begun, and what it paints, seen by the viewer."""
    (source,) = desk.open(large_field, page="stain")
    desk.choose_model(tiny_model, tile=32)
    desk.click(desk.stain.all)
    desk.source, desk.run = source, desk.running()
    desk.wait(lambda: len(desk.predicted()) == 5)
    return desk


def some_slow(cases, *, quick):
    """Return the names of all cases, those behind the first few marked as slow."""
    return [
        pytest.param(name, marks=() if number < quick else pytest.mark.slow, id=name)
        for number, name in enumerate(cases)
    ]


def run_line(line, cwd):
    """Run a copied command line as a user pastes it."""
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", line], cwd=cwd, env=here, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pixels(path):
    return open_image(path).data.compute()


# --- before the run --------------------------------------------------------------------------------


def test_the_plan_stands_there_in_words_before_anything_runs(ready):
    said = ready.planned()
    assert said.startswith("16 tiles")
    assert "The stain takes up to" in said
    assert ready.predicted() == {}
    assert ready.stain.notice.text == ""


def test_a_change_of_the_form_changes_the_plan(ready):
    ready.planned()
    ready.stain.settings["tile"].value = 128
    ready.wait(lambda: ready.stain.plan.text().startswith("4 tiles"))
    ready.idle()


def test_the_card_of_the_model_is_there_before_it_is_used(ready, tiny_model):
    ready.stain.model.fold.heading.click()
    said = ready.stain.model.about.text()
    for words in (
        "3 planes of Brightfield at -4, +0, +4 µm",
        "0.6 µm",
        "DNA",
        "simulated",
        "BSD-3",
    ):
        assert words in said
    ready.stain.model.box.setCurrentText("demo")
    assert ready.stain.model.limits.isVisible()
    assert "simulated" in ready.stain.model.limits.text().lower()


def test_an_empty_viewer_says_what_to_do_next(desk):
    desk.dock.show_page("stain")
    assert not desk.stain.all.isEnabled()
    assert desk.stain.notice.text == (
        "Open a bright-field image first, on the page Load or by dropping it on the viewer."
    )


# --- in view, and all ------------------------------------------------------------------------------


def look_at(viewer, centre_um, zoom):
    viewer.scene.camera.center = (0.0, *centre_um)
    viewer.scene.camera.zoom = zoom


def make_visible(layer):
    """Choose limits under which every finite pixel is bright."""
    layer.contrast_limits_range = (-1e9, 1e9)
    layer.contrast_limits = (-1e6, -1e5)


def test_stain_view_stains_what_is_in_view_and_stain_all_goes_on(ready, tmp_path):
    (source,) = ready.viewer.layers
    ready.planned()
    # 256 px of 0.6 um; the middle of the canvas is in the upper left tile, and little else is seen.
    look_at(ready.viewer, (0.6 * 24, 0.6 * 24), zoom=30.0)
    ready.wait(lambda: (np.abs(source.corner_pixels[1][-2:]) < 64).all(), 5)
    ready.click(ready.stain.view)
    ready.wait(lambda: len(ready.predicted()) == 5)
    ready.idle()
    (painter,) = ready.painters()
    state = read_record(painter.store)
    assert (state["status"], state["tiles_done"], state["tiles_total"]) == ("partial", 1, 16)
    assert ready.stain.notice.text.endswith(", 1 of 16 tiles; temporary until it is kept.")
    layers = ready.predicted()
    shown = layers["DNA"]
    for layer in ready.viewer.layers:
        layer.visible = layer is shown
    make_visible(shown)
    ready.viewer.reset_view()
    picture = ready.canvas()
    assert ready.at(picture, shown, (32, 32)).max() > 100, "the stained tile"
    for unstained in ((32, 160), (160, 32), (200, 200)):
        assert ready.at(picture, shown, unstained).max() == 0
    first = pixels(painter.store)[..., :64, :64]

    ready.click(ready.stain.all)
    ready.idle()
    assert read_record(painter.store)["status"] == "complete"
    assert ready.painters() == [painter]
    assert ready.predicted() == layers, "the same layers"
    picture = ready.canvas()
    for stained in ((32, 32), (32, 160), (160, 32), (200, 200)):
        assert ready.at(picture, shown, stained).max() > 100
    np.testing.assert_array_equal(pixels(painter.store)[..., :64, :64], first)


def tiles_in(store):
    """Which of 16 tiles of 64 px hold pixels."""
    whole = np.isfinite(pixels(store)[0, 0, 0])
    return {
        4 * row + column
        for row in range(4)
        for column in range(4)
        if whole[64 * row : 64 * row + 64, 64 * column : 64 * column + 64].all()
    }


def test_live_mode_stains_what_comes_into_view_and_nothing_else(ready):
    ready.planned()
    look_at(ready.viewer, (0.6 * 32, 0.6 * 32), zoom=40.0)
    ready.stain.live.click()
    ready.wait(lambda: ready.painters() and ready.painters()[0].layers)
    ready.idle()
    (painter,) = ready.painters()
    assert tiles_in(painter.store) == {0}
    look_at(ready.viewer, (0.6 * 224, 0.6 * 160), zoom=40.0)
    ready.wait(lambda: tiles_in(painter.store) == {0, 14})
    ready.idle()
    asked = len(ready.stain.stainings.all[0].runs)
    look_at(ready.viewer, (0.6 * 32, 0.6 * 32), zoom=40.0)  # where all is stained
    ready.qtbot.wait(900)
    assert len(ready.stain.stainings.all[0].runs) == asked
    ready.stain.live.click()
    look_at(ready.viewer, (0.6 * 32, 0.6 * 224), zoom=40.0)
    ready.qtbot.wait(900)
    assert tiles_in(painter.store) == {0, 14}


def test_live_mode_goes_on_when_a_job_of_another_kind_has_ended(ready):
    from napari_virtualstain.jobs.base import make_settings
    from napari_virtualstain.jobs.passport import PassportSettings

    ready.planned()
    values = ready.stain.values(ready.stain.box.field)
    known = {name: value for name, value in values.items() if name in PassportSettings.model_fields}
    other = ready.jobs.submit("passport", make_settings(PassportSettings, known))
    ready.stain.live.click()
    assert not ready.painters(), "it waits"
    ready.wait(lambda: other.ended and ready.painters())
    ready.wait(lambda: len(ready.predicted()) == 5)
    ready.idle()
    ready.stain.live.click()


def test_a_run_over_all_turns_to_what_comes_into_view(busy):
    desk = busy
    look_at(desk.viewer, (12.0 + 0.6 * 30, 30.0 + 0.6 * 990), zoom=20.0)
    look_at(desk.viewer, (30.0 + 0.6 * 990, 12.0 + 0.6 * 990), zoom=20.0)

    def last_corner():
        stain = open_image(desk.run.settings.out).data[0, 0, 0, 992:, 992:]
        return np.isfinite(stain.compute()).all()

    desk.wait(last_corner)
    assert not desk.run.ended
    assert desk.run.progress[0] < 1000
    desk.click(desk.run_bar.cancel)
    desk.idle()


def test_with_true_stains_alone_the_page_says_where_bright_field_is_named(desk, field_folder):
    desk.dock.show_page("stain")
    assert desk.stain.notice.text.startswith("Open a bright-field image first")
    desk.open(field_folder / "stains.ome.zarr", page="stain")
    desk.wait(lambda: desk.stain.notice.text.startswith("What is open is taken for true stains."))
    desk.open(field_folder / "brightfield.ome.zarr")
    desk.wait(lambda: desk.stain.notice.text == "")


def test_a_plan_that_fails_is_said_on_its_page_and_nowhere_else(desk, field_folder, monkeypatch):
    said = []
    monkeypatch.setattr("napari_virtualstain.widgets._notice.show_error", said.append)
    desk.open(field_folder / "brightfield.ome.zarr", page="stain")
    desk.stain.settings["z"].value = "0"  # the demo model takes three planes
    desk.wait(lambda: desk.stain.notice.kind == "error")
    assert "plane" in desk.stain.notice.text
    assert said == []


def test_nothing_in_view_is_said(ready):
    look_at(ready.viewer, (9000.0, 9000.0), zoom=5.0)
    ready.wait(lambda: ready.stain.all.isEnabled())
    ready.canvas()
    ready.click(ready.stain.view)
    assert ready.stain.notice.text == (
        "Nothing of this image is in view. Move it into view, or stain all."
    )
    assert [run.verb for run in ready.jobs.runs if run.verb == "stain"] == []


def test_stains_appear_while_the_run_goes_on(busy):
    desk = busy
    shown = desk.predicted()["DNA"]
    was = {layer: layer.visible for layer in desk.viewer.layers}
    for layer in desk.viewer.layers:
        layer.visible = layer is shown
    make_visible(shown)
    desk.viewer.reset_view()
    # What is in view comes first, from its middle: the corners are the last.
    desk.wait(lambda: desk.at(desk.canvas(), shown, (528, 528)).max() > 100)
    assert not desk.run.ended
    canvas = desk.canvas()
    if desk.run.progress[0] < 1024:  # the last tile was not there when the picture was taken
        assert desk.at(canvas, shown, (1000, 1000)).max() == 0
    assert desk.run.progress[1:] == (1024, "tiles stained")
    assert desk.run_bar.bar.maximum() == 1024
    desk.click(desk.run_bar.cancel)
    desk.idle()
    for layer, visible in was.items():
        layer.visible = visible


def test_the_layers_lie_on_their_image_in_its_units(busy):
    desk = busy
    for stain, layer in desk.predicted().items():
        np.testing.assert_allclose(layer.scale, desk.source.scale[-2:])
        np.testing.assert_allclose(layer.translate, desk.source.translate[-2:])
        assert layer.translate.tolist() == pytest.approx([30.0, 12.0])
        assert [str(u) for u in layer.units] == [str(u) for u in desk.source.units[-2:]]
        assert layer.axis_labels == ("y", "x")
        assert layer.name == f"{stain} (tiny) {desk.stain.box.currentText()}"
        assert source_of(layer).model == "tiny"
    assert sorted(desk.predicted()) == STAINS
    order = list(desk.viewer.layers)
    assert all(order.index(layer) > order.index(desk.source) for layer in desk.predicted().values())
    desk.click(desk.run_bar.cancel)
    desk.idle()
    assert desk.run.outcome.state == "cancelled"


def test_one_stain_is_shown_at_a_time_until_all_are_asked_for(ready):
    ready.click(ready.stain.all)
    ready.idle()
    layers = ready.predicted()
    assert [name for name, layer in layers.items() if layer.visible] == ["DNA"]
    ready.stain.switch.choose("Mito")
    assert [name for name, layer in layers.items() if layer.visible] == ["Mito"]
    ready.stain.switch.choose("All")
    assert all(layer.visible for layer in layers.values())


@pytest.mark.slow
def test_runs_queue_and_end_in_their_order(busy, tiny_model, field_folder, tmp_path):
    desk = busy
    desk.open(field_folder / "brightfield.ome.zarr", page="stain")
    desk.choose_model(tiny_model, tile=64)
    desk.stain.out.setText(str(tmp_path / "second.ome.zarr"))
    desk.click(desk.stain.all)
    desk.wait(lambda: len([r for r in desk.jobs.runs if r.verb == "stain"]) == 2)
    first, second = (run for run in desk.jobs.runs if run.verb == "stain")
    assert (first.state, second.state) == ("running", "waiting")
    desk.wait(lambda: desk.run_bar.details.text().endswith("; 1 waiting"))
    assert not Path(second.settings.out).exists()
    desk.click(desk.run_bar.cancel)
    desk.wait(lambda: second.ended)
    assert (first.outcome.state, second.outcome.state) == ("cancelled", "done")
    desk.idle()


def test_cancel_keeps_what_is_painted_and_stain_all_goes_on(busy):
    desk = busy
    desk.click(desk.run_bar.cancel)
    desk.wait(lambda: desk.run.ended)
    desk.idle()
    assert desk.run.outcome.state == "cancelled"
    done = read_record(desk.run.settings.out)["tiles_done"]
    assert 0 < done < 1024
    assert len(desk.predicted()) == 5
    assert desk.run_bar.details.text() == "nothing is running"
    desk.click(desk.stain.all)
    again = desk.running()
    assert again.settings.out == desk.run.settings.out
    assert again.settings.resume
    assert len(desk.predicted()) == 5
    desk.click(desk.run_bar.cancel)
    desk.idle()


# --- what the user does meanwhile ------------------------------------------------------------------


def delete_source(desk):
    desk.viewer.layers.remove(desk.source)


def rename_source(desk):
    desk.source.name = "another name"


def edit_source(desk):
    desk.source.data = [np.zeros((3, n, n), np.uint16) for n in (1024, 512)]


def select_another(desk):
    other = next(layer for layer in desk.viewer.layers if layer.name == "theirs")
    desk.viewer.layers.selection.active = other
    desk.stain.box.choose(("layer", str(id(other))))


def delete_predicted(desk):
    desk.viewer.layers.remove(desk.predicted()["ER"])


def reorder(desk):
    desk.viewer.layers.reverse()


MEANWHILE = {
    "the_source_is_deleted": (delete_source, STAINS),
    "a_predicted_layer_is_deleted": (delete_predicted, ["AGP", "DNA", "Mito", "RNA"]),
    "the_source_is_renamed": (rename_source, STAINS),
    "the_source_is_edited": (edit_source, STAINS),
    "another_image_is_selected": (select_another, STAINS),
    "the_layers_are_reordered": (reorder, STAINS),
}


@pytest.mark.parametrize("what", some_slow(MEANWHILE, quick=1))
def test_the_run_goes_on_and_its_stains_stay_on_their_image(busy, what):
    desk = busy
    do, expected = MEANWHILE[what]
    names = {stain: layer.name for stain, layer in desk.predicted().items()}
    do(desk)
    desk.source = None
    before = desk.run.progress[0]
    desk.wait(lambda: desk.run.progress[0] > before + 50)
    assert not desk.run.ended
    desk.click(desk.run_bar.cancel)
    desk.wait(lambda: desk.run.ended)
    desk.idle()
    assert desk.run.outcome.state == "cancelled"
    layers = desk.predicted()
    assert sorted(layers) == expected
    for stain, layer in layers.items():
        assert layer.name == names[stain]
        np.testing.assert_allclose(layer.translate, [30.0, 12.0])
        # Which tiles come first depends on what is in view.
        assert np.isfinite(np.asarray(layer.data[0][:1024, :1024])).sum() >= 50 * 32 * 32
    assert desk.stain.notice.text == ("Cancelled. What was done is kept: stain again to go on.")


# --- what goes wrong -------------------------------------------------------------------------------


def failed(desk):
    """Wait until the page says what went wrong, and return it; the viewer lives."""
    desk.wait(lambda: desk.stain.notice.kind == "error" and desk.stain.notice.text, 30)
    desk.wait(lambda: not desk.jobs.runs)
    said = desk.stain.notice.text
    assert "Traceback" not in said
    assert "--" not in said
    assert desk.stain.notice.isVisible()
    desk.viewer.add_points(np.zeros((1, 2)))
    return said


def one_plane(tmp_path):
    """Write one plane where the model needs three."""
    return _image(tmp_path, np.random.default_rng(0).integers(0, 999, (1, 96, 96)), 0.6)


def other_pixels(tmp_path):
    return _image(tmp_path, np.random.default_rng(0).integers(0, 999, (3, 96, 96)), 1.3)


def with_nan(tmp_path):
    pixels = np.random.default_rng(0).random((3, 96, 96), np.float32)
    pixels[1, 40, 40] = np.nan
    return _image(tmp_path, pixels, 0.6)


def constant(tmp_path):
    return _image(tmp_path, np.full((3, 96, 96), 7), 0.6)


def _image(tmp_path, pixels, pixel_um):
    from napari_virtualstain.axes import PixelSize
    from napari_virtualstain.io.image import Channel
    from napari_virtualstain.io.sink import OmeZarrSink

    path = tmp_path / "bad.ome.zarr"
    pixels = pixels.astype(np.float32)[None, None]
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=[Channel("Brightfield", "transmitted")], n_tiles=1,
        pixel_size_um=PixelSize(4.0, pixel_um, pixel_um),
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
    return path


BAD_FILES = {
    "one_plane_where_three_are_needed": (
        one_plane,
        "The model takes 3 z planes (at -4, +0, +4 µm), channel 'Brightfield' has 1. Open the whole z stack, or repeat a plane with “Z planes” 0,0,0 and expect a poorer stain.",
    ),
    "another_pixel_size": (
        other_pixels,
        "The image has 1.3 x 1.3 µm pixels, the model was trained at 0.6 µm (117% off, allowed 20%). Add “Resample” to stain at the model's pixel size, or correct the image's with “Pixel size (µm)”.",
    ),
    "not_a_number": (
        with_nan,
        "Channel 'Brightfield', input plane 1 holds 1 NaN or infinite pixels, from which no normalisation follows. Replace them (for example by the median) and save the image again.",
    ),
    "one_grey_value": (
        constant,
        "Channel 'Brightfield', input plane 0 is constant: nearly all pixels have the value 7, so there is nothing to stain. Check that the right channel was chosen and the lamp was on.",
    ),
}


@pytest.mark.parametrize("case", some_slow(BAD_FILES, quick=1))
def test_a_file_that_cannot_be_stained_is_one_sentence(desk, bystander, tiny_model, tmp_path, case):
    make, expected = BAD_FILES[case]
    desk.open(make(tmp_path), page="stain")
    desk.choose_model(tiny_model, tile=64)
    if desk.stain.all.isEnabled():
        desk.click(desk.stain.all)
    assert failed(desk) == expected
    assert desk.predicted() == {}


def rgb(viewer):
    return viewer.add_image(np.zeros((64, 64, 3), np.uint8) + 9, name="photo", rgb=True)


def flat(viewer):
    return viewer.add_image(np.random.default_rng(0).random((64, 64)), name="flat")


def holes(viewer):
    pixels = np.random.default_rng(0).random((3, 64, 64))
    pixels[0, 3, 3] = np.nan
    return viewer.add_image(pixels, name="holes")


def grey(viewer):
    return viewer.add_image(np.full((3, 64, 64), 2.0), name="grey")


def five_axes(viewer):
    return viewer.add_image(np.zeros((2, 2, 2, 8, 8)), name="five")


BAD_LAYERS = {
    "a_colour_picture": (
        rgb,
        "The layer 'photo' is a colour picture. Split it into its channels first (right click on the layer: Split RGB).",
    ),
    "one_plane_where_three_are_needed": (
        flat,
        "The model takes 3 z planes (at -4, +0, +4 µm), channel 'flat' has 1. Open the whole z stack, or repeat a plane with “Z planes” 0,0,0 and expect a poorer stain.",
    ),
    "not_a_number": (
        holes,
        "Channel 'holes', input plane 0 holds 1 NaN or infinite pixels, from which no normalisation follows. Replace them (for example by the median) and save the image again.",
    ),
    "one_grey_value": (
        grey,
        "Channel 'grey', input plane 0 is constant: nearly all pixels have the value 2, so there is nothing to stain. Check that the right channel was chosen and the lamp was on.",
    ),
    "five_axes": (
        five_axes,
        "The layer 'five' has 5 axes, files have t, z, y and x at most. Split it along one of its axes first (right click on the layer: Split Stack).",
    ),
}


@pytest.mark.parametrize("case", some_slow(BAD_LAYERS, quick=2))
def test_a_layer_that_cannot_be_stained_is_one_sentence(desk, bystander, tiny_model, case):
    make, expected = BAD_LAYERS[case]
    make(desk.viewer)
    desk.wait(lambda: len(desk.fields.all) == 2)
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model, tile=64)
    desk.click(desk.stain.all)
    assert failed(desk) == expected
    assert desk.predicted() == {}


def missing_model(desk, tmp_path):
    desk.choose_model(tmp_path / "nowhere" / "model")


def unknown_model(desk, tmp_path):
    desk.choose_model("dem")


def broken_model(desk, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(desk.model, folder)
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    desk.choose_model(folder)


def pickled_model(desk, tmp_path):
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"weights": 1}))
    desk.choose_model(tmp_path / "model.pt")


def unknown_generator(desk, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(desk.model, folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "generator": "unett"}))
    desk.choose_model(folder)


def no_weights(desk, tmp_path):
    folder = tmp_path / "light"
    shutil.copytree(desk.model, folder)
    (folder / "weights.safetensors").unlink()
    desk.choose_model(folder)


def read_only_folder(desk, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    desk.choose_model(desk.model)
    (tmp_path / "locked").mkdir(mode=0o555)
    desk.stain.out.setText(str(tmp_path / "locked" / "out.ome.zarr"))


def impossible_planes(desk, tmp_path):
    desk.choose_model(desk.model, z="0, 1, 9")


def no_number(desk, tmp_path):
    desk.choose_model(desk.model, pixel_size="wide")


def wrong_pixel_size(desk, tmp_path):
    desk.choose_model(desk.model, pixel_size="60")


def output_is_input(desk, tmp_path):
    desk.choose_model(desk.model)
    desk.stain.out.setText(str(tmp_path / "field.ome.zarr"))


def output_is_a_tiff(desk, tmp_path):
    desk.choose_model(desk.model)
    desk.stain.out.setText(str(tmp_path / "result.tif"))


def output_is_there(desk, tmp_path):
    desk.choose_model(desk.model)
    shutil.copytree(tmp_path / "field.ome.zarr", tmp_path / "there.ome.zarr")
    desk.stain.out.setText(str(tmp_path / "there.ome.zarr"))


def output_is_in_a_file(desk, tmp_path):
    desk.choose_model(desk.model)
    (tmp_path / "file").write_text("words")
    desk.stain.out.setText(str(tmp_path / "file" / "out.ome.zarr"))


def input_is_gone(desk, tmp_path):
    desk.choose_model(desk.model)
    shutil.rmtree(tmp_path / "field.ome.zarr")


BAD_FORMS = {
    "no_model_at_the_path": (
        missing_model,
        "There is no model at 'TMP/nowhere/model'. Give a model folder or zip, or one of the names that `virtualstain models` lists: demo, ecoli-membrane, isl-neurons, jurkat-dna.",
    ),
    "no_model_of_that_name": (
        unknown_model,
        "No model named 'dem'. Did you mean 'demo'? There are: demo, ecoli-membrane, isl-neurons, jurkat-dna. Give one of these, or the path of a model folder.",
    ),
    "a_damaged_model": (
        broken_model,
        "The file weights.safetensors of the model 'TMP/broken' is not the one that its card describes (sha256 differs): it was altered or cut short. Copy or download the model again.",
    ),
    "a_pickle": (
        pickled_model,
        "'TMP/model.pt' is a pickle, which can run any code when it is opened, and is not loaded. Ask its author for a model folder with card.json and weights.safetensors.",
    ),
    "a_generator_that_nobody_knows": (
        unknown_generator,
        f"No generator named 'unett'. Did you mean 'unet'? There are: {', '.join(GENERATORS)}. Choose one of these.",
    ),
    "no_weights": (
        no_weights,
        "The model 'TMP/light' lacks its file weights.safetensors. Copy or download the whole folder again.",
    ),
    "a_folder_that_is_read_only": (
        read_only_folder,
        "'TMP/locked/out.ome.zarr' cannot be written: there is no permission to write there. Choose another “Output” where it can be written.",
    ),
    "planes_that_are_not_there": (
        impossible_planes,
        "z plane 9 asked for, but the image has 3 (0 to 2). Choose planes in that range with “Z planes”.",
    ),
    "a_pixel_size_that_is_no_number": (
        no_number,
        "The setting pixel_size = 'wide' is not possible: Input should be a valid number, unable to parse string as a number. Correct “Pixel size (µm)”.",
    ),
    "a_pixel_size_that_cannot_be": (
        wrong_pixel_size,
        "The image has 60 x 60 µm pixels, the model was trained at 0.6 µm: more than 16 times apart, so that one is wrong or the model is for other images. Correct the image's with “Pixel size (µm)”.",
    ),
    "the_output_is_the_input": (
        output_is_input,
        "The output 'TMP/field.ome.zarr' is the input itself. Choose another “Output”.",
    ),
    "the_output_is_a_tiff": (
        output_is_a_tiff,
        "The output 'TMP/result.tif' would be an OME-Zarr folder, which no program expects under that name. Name it 'result.ome.zarr'.",
    ),
    "the_output_is_there": (
        output_is_there,
        "'TMP/there.ome.zarr' exists. To go on, choose another “Output” or add “Replace output”.",
    ),
    "the_output_lies_in_a_file": (
        output_is_in_a_file,
        "'TMP/file/out.ome.zarr' cannot be written: a part of the path is a file, not a folder. Choose another “Output” where it can be written.",
    ),
    "the_input_is_gone": (
        input_is_gone,
        "'TMP/field.ome.zarr' does not exist. Check the path.",
    ),
}


@pytest.mark.parametrize("case", some_slow(BAD_FORMS, quick=2))
def test_a_form_that_cannot_be_done_is_one_sentence(
    desk, bystander, field_folder, tiny_model, tmp_path, case
):
    do, expected = BAD_FORMS[case]
    desk.model = tiny_model
    shutil.copytree(field_folder / "brightfield.ome.zarr", tmp_path / "field.ome.zarr")
    desk.open(tmp_path / "field.ome.zarr", page="stain")
    do(desk, tmp_path)
    if desk.stain.all.isEnabled():
        desk.click(desk.stain.all)
    assert failed(desk).replace(str(tmp_path), "TMP") == expected
    assert desk.predicted() == {}


@pytest.mark.parametrize(
    "edges", [(97, 61), pytest.param((33, 1), marks=pytest.mark.slow)], ids="{0[0]}x{0[1]}".format
)
def test_an_image_of_odd_size_is_stained_to_its_last_pixel(
    desk, bystander, tiny_model, tmp_path, edges
):
    pixels = np.random.default_rng(0).integers(100, 999, (3, *edges))
    desk.open(_image(tmp_path, pixels, 0.6), page="stain")
    desk.choose_model(tiny_model, tile=32)
    desk.click(desk.stain.all)
    desk.wait(lambda: len(desk.predicted()) == 5)
    desk.idle()
    for layer in desk.predicted().values():
        finest = np.asarray(layer.data[0] if layer.multiscale else layer.data)
        assert finest.shape == edges
        assert np.isfinite(finest).all()


def test_what_exists_is_replaced_when_the_form_says_so(ready, tmp_path, field_folder):
    out = tmp_path / "there.ome.zarr"
    shutil.copytree(field_folder / "brightfield.ome.zarr", out)
    ready.stain.out.setText(str(out))
    ready.stain.settings["overwrite"].value = True
    ready.click(ready.stain.all)
    ready.idle()
    assert read_record(out)["record"]["job"] == "stain"
    assert len(ready.predicted()) == 5


def test_a_killed_worker_is_one_sentence_and_the_next_run_goes_on(busy):
    desk = busy
    psutil.Process(desk.run.pid).kill()
    assert failed(desk) == (
        "The compute process ended unexpectedly: killed, or out of memory. What was done is kept; "
        "start the run again to go on, with a smaller “Tile (px)” if memory was short."
    )
    assert desk.stain.notice.copy.isVisible()
    desk.stain.notice.copy.click()
    report = QApplication.clipboard().text()
    assert "verb: stain" in report
    assert '"tile":32' in report
    desk.wait(lambda: desk.jobs.state.name == "ready", 30)
    desk.click(desk.stain.all)
    again = desk.running()
    assert again.settings.out == desk.run.settings.out
    assert desk.stain.notice.text == ""
    desk.click(desk.run_bar.cancel)
    desk.idle()


@pytest.fixture
def small_disk(request, tmp_path):
    """A disk of so many kB."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(folder)]
    if subprocess.run(line, capture_output=True).returncode:
        pytest.skip("this machine mounts nothing")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("small_disk", "expected"),
    [
        pytest.param(
            2000,
            "'DISK/out.ome.zarr' needs about 27.9 MB, but only 2.0 MB are free there. Make room, or "
            "choose another “Output” on a larger disk.",
            id="before_the_first_tile",
        ),
        pytest.param(
            4000,
            "'DISK/out.ome.zarr' cannot be written: the disk is full (0.0 MB free). Make room, or "
            "choose another “Output” where it can be written.",
            id="while_it_goes_on",
        ),
    ],
    indirect=["small_disk"],
)
def test_a_full_disk_is_one_sentence(
    desk, bystander, large_field, tiny_model, small_disk, expected
):
    desk.open(large_field, page="stain")
    desk.choose_model(tiny_model, tile=128)
    desk.stain.out.setText(str(small_disk / "out.ome.zarr"))
    desk.click(desk.stain.all)
    assert failed(desk).replace(str(small_disk), "DISK") == expected


@pytest.mark.parametrize("small_disk", [40_000], indirect=True, ids=["read_only"])
def test_a_disk_that_is_read_only_is_one_sentence(
    desk, bystander, field_folder, tiny_model, small_disk
):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    desk.open(field_folder / "brightfield.ome.zarr", page="stain")
    desk.choose_model(tiny_model, tile=64)
    desk.stain.out.setText(str(small_disk / "out.ome.zarr"))
    desk.click(desk.stain.all)
    assert failed(desk).replace(str(small_disk), "DISK") == (
        "'DISK/out.ome.zarr' cannot be written: the disk is read-only. Choose another “Output” "
        "where it can be written."
    )
    assert desk.predicted() == {}


@pytest.mark.slow
def test_two_viewers_do_not_write_one_store_one_after_the_other(
    busy, make_napari_viewer, jobs, qtbot
):
    desk = busy
    other = type(desk)(make_napari_viewer(show=True), jobs, qtbot)
    other.open(desk.run.settings.input, page="stain")
    other.choose_model(desk.run.settings.model, tile=32)
    other.stain.out.setText(desk.run.settings.out)
    other.click(other.stain.all)
    desk.run.cancel()
    out = desk.run.settings.out
    assert failed(other) == (
        f"'{out}' exists. To go on, choose another “Output” or add “Replace output”."
    )
    assert len(desk.predicted()) == 5
    other.close()


def test_a_store_that_another_program_writes_is_left_alone(ready, tmp_path):
    from napari_virtualstain.io.image import Channel
    from napari_virtualstain.io.sink import OmeZarrSink

    out = tmp_path / "busy.ome.zarr"
    sink = OmeZarrSink.create(out, shape=(1, 1, 1, 8, 8), channels=[Channel("DNA")], n_tiles=1)
    ready.stain.out.setText(str(out))
    ready.stain.settings["overwrite"].value = True
    ready.click(ready.stain.all)
    assert failed(ready).startswith(
        f"'{out}' is being written by process {os.getpid()}. Wait until"
    )
    sink.leave("the test is over")


# --- layers of somebody else -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numpy", pytest.param("dask", marks=pytest.mark.slow)])
def test_a_layer_in_memory_is_written_once_and_stained(desk, field_folder, tiny_model, kind):
    stack = open_image(field_folder / "brightfield.ome.zarr").data[0, 0]
    asked = []

    def block(part):
        asked.append(os.getpid())
        return part

    data = stack.compute() if kind == "numpy" else stack.map_blocks(block, meta=stack._meta)
    layer = desk.viewer.add_image(
        data, name="theirs", scale=(4.0, 0.6, 0.6), units=["um"] * 3, translate=(0, 5, 7),
        contrast_limits=(0, 60000),
    )  # fmt: skip
    desk.wait(lambda: desk.stain.box.field is not None)
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model, tile=64)
    size = stack.nbytes / 1e6
    assert desk.stain.plan.text() == (
        f"'theirs' lies in memory: {size:.1f} MB are written to a temporary store before the run."
    )
    desk.click(desk.stain.all)
    desk.wait(lambda: len(desk.predicted()) == 5)
    desk.idle()
    (painter,) = desk.painters()
    assert read_record(painter.store)["status"] == "complete"
    if kind == "dask":
        assert set(asked) <= {os.getpid()}, "a layer of this process is computed here"
    assert layer in desk.viewer.layers
    assert layer.data is data
    for made in desk.predicted().values():
        np.testing.assert_allclose(made.translate, [5, 7])
        np.testing.assert_allclose(made.scale, [0.6, 0.6])
    # The same numbers as from the file.
    desk.open(field_folder / "brightfield.ome.zarr", page="stain")
    desk.click(desk.stain.all)
    desk.idle()
    assert len(desk.painters()) == 2
    np.testing.assert_array_equal(*(pixels(one.store) for one in desk.painters()))


# --- the result ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_result_is_kept_where_the_user_wants_it_and_its_record_replays(ready, tmp_path):
    ready.click(ready.stain.all)
    ready.idle()
    (painter,) = ready.painters()
    temporary, kept = painter.store, tmp_path / "kept.ome.zarr"
    before = pixels(temporary)
    ready.wait(ready.stain.keep.isVisible)
    ready.stain.keep_at(str(kept))
    ready.wait(lambda: ready.stain.notice.text == f"Kept in {kept}.")
    ready.idle()
    assert temporary.exists(), "other layers may show it until the session ends"
    np.testing.assert_array_equal(pixels(kept), before)
    for c, layer in painter.layers.items():
        assert source_of(layer).path == str(kept)
        finest = layer.data[0] if layer.multiscale else layer.data
        np.testing.assert_array_equal(np.asarray(finest), before[0, c, 0])
    assert not ready.stain.keep.isVisible()
    said = run_line(f"virtualstain replay {kept} --out {tmp_path / 'again.ome.zarr'}", tmp_path)
    assert "equal" in said.lower() or "same" in said.lower()
    np.testing.assert_array_equal(pixels(tmp_path / "again.ome.zarr"), before)


def test_a_stain_of_a_layer_in_memory_lies_on_it_however_it_is_placed(
    desk, field_folder, tiny_model
):
    stack = open_image(field_folder / "brightfield.ome.zarr").data[0, 0].compute()
    layer = desk.viewer.add_image(
        stack, name="theirs", scale=(1, 0.65, 0.65), translate=(0, 50, 80), rotate=10,
        contrast_limits=(0, 60000),
    )  # fmt: skip
    desk.wait(lambda: desk.stain.box.field is not None)
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model, tile=64)
    desk.click(desk.stain.all)
    desk.wait(lambda: len(desk.predicted()) == 5)
    desk.idle()
    corners = [(0, 0), (0, 255), (255, 0), (255, 255)]
    for made in desk.predicted().values():
        for corner in corners:
            expected = layer.data_to_world((0, *corner))[-2:]
            np.testing.assert_allclose(made.data_to_world(corner), expected, atol=1e-9)
        assert list(map(str, made.units)) == list(map(str, layer.units[-2:]))


@pytest.mark.slow
def test_a_kept_stain_of_a_layer_in_memory_keeps_its_input_and_replays(
    desk, field_folder, tiny_model, tmp_path
):
    stack = open_image(field_folder / "brightfield.ome.zarr").data[0, 0].compute()
    desk.viewer.add_image(stack, name="theirs", contrast_limits=(0, 60000))
    desk.wait(lambda: desk.stain.box.field is not None)
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model, tile=64)
    desk.click(desk.stain.view)
    desk.wait(lambda: len(desk.predicted()) == 5)
    desk.idle()
    desk.click(desk.stain.all)
    desk.idle()
    assert len(desk.painters()) == 1, "it is written once, and both go into one store"
    kept = tmp_path / "kept.ome.zarr"
    desk.wait(desk.stain.keep.isVisible)
    desk.stain.keep_at(str(kept))
    desk.wait(lambda: desk.stain.notice.text == f"Kept in {kept}.")
    assert (tmp_path / "kept-input.ome.zarr").is_dir()
    said = run_line(f"virtualstain replay {kept} --out {tmp_path / 'again.ome.zarr'}", tmp_path)
    assert "equal" in said.lower() or "same" in said.lower()


def test_a_projection_of_a_file_is_not_taken_for_the_file(ready):
    """napari copies metadata; a run over the copy would stain something else than is shown."""
    (source, *_), data = ready.viewer.layers, ready.viewer.layers[0].data
    flat = np.asarray(data if not ready.viewer.layers[0].multiscale else data[0]).max(axis=0)
    copy = ready.viewer.add_image(flat, name="max", metadata=dict(source.metadata))
    ready.wait(lambda: len(ready.dock.fields.all) == 2)
    assert {field.path is None for field in ready.dock.fields.all} == {True, False}
    assert ready.stain.box.field.brightfield is copy


def test_a_run_that_ends_before_the_viewer_looks_is_painted_all_the_same(ready):
    ready.stain.all.click()
    run = ready.stain.stainings.all[0].runs[0]
    run.wait(60)  # the viewer's thread is busy all the while
    ready.wait(lambda: len(ready.predicted()) == 5)
    ready.idle()
    assert read_record(run.settings.out)["status"] == "complete"


def test_keeping_over_something_is_refused(ready, tmp_path):
    ready.click(ready.stain.all)
    ready.idle()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("words")
    ready.stain.keep_at(str(tmp_path / "there"))
    assert failed(ready) == (
        f"'{tmp_path / 'there'}' exists and is a folder that is no OME-Zarr store, which is never "
        "replaced. Choose another “Output”."
    )
    assert (tmp_path / "there" / "file").read_text() == "words"


def test_the_copied_command_gives_equal_pixels(ready, tmp_path):
    ready.stain.settings["z"].value = "2, 1, 0"
    ready.click(ready.stain.all)
    ready.idle()
    ready.click(ready.stain.copy)
    line = QApplication.clipboard().text()
    assert line.startswith("virtualstain stain ")
    run_line(line, tmp_path)
    (made,) = tmp_path.glob("*.ome.zarr")
    (painter,) = ready.painters()
    np.testing.assert_array_equal(pixels(made), pixels(painter.store))


def test_a_layer_in_memory_has_no_command(desk, tiny_model):
    desk.viewer.add_image(np.zeros((3, 8, 8)), name="theirs")
    desk.wait(lambda: desk.stain.box.field is not None)
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model)
    desk.click(desk.stain.copy)
    assert desk.stain.notice.text == (
        "This image lies in memory, so no command can open it. Save it as OME-Zarr first."
    )


def test_a_stain_that_is_there_is_not_done_twice(ready):
    ready.click(ready.stain.all)
    ready.idle()
    ready.click(ready.stain.all)
    assert ready.stain.notice.text == (
        "This image is stained already; its layers are in the viewer."
    )
    assert len(ready.predicted()) == 5


@pytest.mark.slow
def test_a_scheduler_elsewhere_is_taken_once_its_address_is_one(ready):
    ready.planned()
    compute = ready.stain.compute
    try:
        compute.setEditText("host")
        assert ready.jobs.address is None
        assert "tcp://host:8786" in ready.stain.notice.text
        compute.setEditText("tcp://127.0.0.1:1")
        assert ready.jobs.address == "tcp://127.0.0.1:1"
        assert ready.stain.command().endswith(" --scheduler tcp://127.0.0.1:1")
        ready.wait(lambda: "tcp://127.0.0.1:1" in ready.stain.notice.text, 30)
    finally:
        compute.setEditText("this computer")
    assert ready.jobs.address is None
    assert "--scheduler" not in ready.stain.command()
    assert ready.planned().startswith("16 tiles")
