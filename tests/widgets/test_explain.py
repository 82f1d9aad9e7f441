"""The page that answers a click with a map, and says whether to believe it."""

from __future__ import annotations

import shlex
import shutil

import numpy as np
import pytest
from drawn_models import package
from judged_stores import write_image
from little_encoders import write_encoder
from qtpy.QtWidgets import QApplication

from napari_virtualstain.api import index
from napari_virtualstain.cli.arguments import settings_from
from napari_virtualstain.cli.main import VERBS, _parse
from napari_virtualstain.explain.attention import top_mass
from napari_virtualstain.explain.methods import METHODS
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.explain import ExplainSettings
from napari_virtualstain.napari_io.fields import fields_in
from napari_virtualstain.widgets import _explain_form
from napari_virtualstain.widgets.explain import ExplainPage

AT = (130, 70)


@pytest.fixture
def page(desk, field_folder, tiny_model):
    """The page over a bright field, with the tiny model."""
    desk.open(field_folder / "brightfield.ome.zarr", page="explain")
    desk.explain.form.model.box.setEditText(str(tiny_model))
    return desk.explain


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    folder = write_encoder(tmp_path / "looks", channels=(), in_channels=3)
    monkeypatch.setattr(_explain_form, "list_encoders", lambda: {str(folder): folder})
    return folder


class Event:
    """What the mouse says to a callback of napari."""

    def __init__(self, layer, yx, *, drags=False):
        self.type = "mouse_press"
        self.position = layer.data_to_world((0,) * (layer.ndim - 2) + tuple(yx))
        self.drags = drags

    def happen(self, viewer):
        """Press, perhaps move, and let go."""
        ours = [c for c in viewer.mouse_drag_callbacks if isinstance(_owner(c), ExplainPage)]
        for callback in ours:
            answer = callback(viewer, self)
            next(answer, None)
            self.type = "mouse_move" if self.drags else "mouse_release"
            list(answer)


def _owner(callback):
    return getattr(callback, "__self__", None)


def choose(page, method):
    page.form.method.setCurrentIndex(page.form.method.findData(method))


def explained(desk, count=1):
    """Wait until the maps of a run are there; return their layers."""
    desk.wait(lambda: not desk.jobs.runs, 60)
    desk.wait(lambda: desk.explain.maps.isVisible() and desk.explain.maps.choice.count() >= count)
    return list(desk.explain.maps._layers)


def test_an_empty_viewer_says_what_to_do(desk):
    desk.dock.show_page("explain")
    assert desk.explain.notice.text.startswith("Open an image first")
    for button in (desk.explain.start, desk.explain.pick, desk.explain.copy):
        assert not button.isEnabled()


def test_a_click_is_answered_with_maps_that_lie_on_the_image(desk, page):
    choose(page, "gradient")
    assert not page.start.isEnabled(), "a map of one pixel needs one"
    desk.click(page.pick)
    (light,) = desk.viewer.layers
    light.translate = (*light.translate[:-2], 30.0, -12.0)
    Event(light, AT).happen(desk.viewer)
    layers = explained(desk)
    whole, first = layers[0], layers[1]
    assert whole.name == "DNA gradient, all planes"
    assert whole.visible
    assert not first.visible
    assert whole.scale.tolist() == pytest.approx([0.6, 0.6])
    assert [str(unit) for unit in whole.units] == ["micrometer"] * 2
    assert whole.axis_labels == ("y", "x")
    strongest = np.unravel_index(np.nanargmax(whole.data), whole.data.shape)
    world = np.asarray(whole.data_to_world(strongest))
    wanted = np.asarray(light.data_to_world((0, *AT))[-2:])
    assert np.abs(world - wanted).max() <= 9 * 0.6, "near the pixel, within the halo"
    assert "DNA at 130,70 is predicted as" in page.maps.words.text()
    assert "random weights" in page.maps.sanity.text
    assert page.maps.reading.text() == METHODS["gradient"].reading
    assert all(field.is_derived for field in fields_in(layers)), "no page takes them for images"
    assert page.box.field.brightfield is light


def test_another_map_is_shown_alone_and_a_new_click_takes_their_place(desk, page):
    choose(page, "gradient")
    desk.click(page.pick)
    (light,) = desk.viewer.layers
    Event(light, AT).happen(desk.viewer)
    before = explained(desk)
    page.maps.choice.setCurrentIndex(2)
    assert [layer.visible for layer in before] == [False, False, True, False]
    assert page.maps.sanity.text.startswith("DNA gradient, all planes: ")
    Event(light, (60, 200)).happen(desk.viewer)
    desk.wait(lambda: "60,200" in page.maps.words.text(), 60)
    assert not any(layer in desk.viewer.layers for layer in before)


def test_a_drag_moves_the_picture_and_asks_nothing(desk, page):
    desk.click(page.pick)
    (light,) = desk.viewer.layers
    Event(light, AT, drags=True).happen(desk.viewer)
    Event(light, (999, 3)).happen(desk.viewer)
    assert not [run for run in desk.jobs.runs if run.verb == "explain"]
    assert "outside of the image" in page.notice.text
    desk.dock.show_page("stain")
    assert not page.pick.isChecked()
    assert page._click not in desk.viewer.mouse_drag_callbacks


def test_without_an_index_it_says_how_to_add_one(desk, page):
    choose(page, "planes")
    page.form.sanity.setChecked(False)
    desk.click(page.start)
    explained(desk)
    assert page.nearest.isVisible()
    assert "carries no index of its training data" in page.nearest.words.text
    assert page.nearest.pictures == []
    assert not page.nearest.sources.isVisible()


@pytest.fixture
def indexed(tmp_path, tiny_model, field_folder):
    """The tiny model with an index of six pictures that are the field, turned and mirrored."""
    model = shutil.copytree(tiny_model, tmp_path / "indexed")
    image = open_image(field_folder / "brightfield.ome.zarr")
    planes = image.data[:, :, :, :128, :128].compute()
    for n in range(6):
        turned = np.roll(np.rot90(planes, n, axes=(-2, -1)), 16 * n, axis=-1)
        write_image(tmp_path / "bright" / f"f{n}.ome.zarr", turned, image.channels)
    index(tmp_path / "bright", model=model)
    return model


def test_the_nearest_training_patches_stand_beside_each_other(desk, page, indexed):
    page.form.model.box.setEditText(str(indexed))
    choose(page, "planes")
    page.form.sanity.setChecked(False)
    desk.click(page.start)
    explained(desk)
    assert len(page.nearest.pictures) == 5  # of the bright field; no stain was kept
    assert page.nearest.caption.text() == (
        "Nearest training patches, bright field, with their distance:"
    )
    assert all(one.pixmap().width() == 54 for one in page.nearest.pictures)
    assert page.nearest.sources.text().count("<br>") == 4
    assert ".ome.zarr at " in page.nearest.sources.text()
    for over, kind in ((0.7, "hint"), (2.4, "warning")):
        told = {"words": "So it is.", "over_limit": over, "patches": [], "stain_name": ""}
        page.nearest.show_nearest(told)
        assert page.nearest.words.kind == kind
        assert page.nearest.pictures == []
    page.nearest.show_nearest(None)
    assert not page.nearest.isVisible()


def test_hidden_planes_need_no_click(desk, page):
    choose(page, "planes")
    page.form.sanity.setChecked(False)
    desk.click(page.start)
    explained(desk)
    assert "DNA depends on" in page.maps.words.text()
    assert page.maps.sanity.text.startswith("Not compared with maps of random weights")
    assert page.maps.sanity.kind == "hint"


def test_the_command_gives_the_same_settings(desk, page):
    choose(page, "integrated")
    assert not page.copy.isEnabled(), "no pixel is named yet"
    page._at = AT
    page._changed()
    desk.click(page.copy)
    words = shlex.split(QApplication.clipboard().text())
    assert words[:2] == ["virtualstain", "explain"]
    entry, values = _parse(words[1:])
    assert entry is VERBS["explain"]
    found = settings_from(ExplainSettings, values, positional=entry.positional)
    assert found == page.settings("why.ome.zarr")
    assert found.at == AT


def test_a_stain_of_another_model_is_said_to_be_one(desk, page, field_folder, tmp_path, tiny_model):
    from napari_virtualstain.jobs.stain import StainSettings, run

    out = tmp_path / "s.ome.zarr"
    run(
        StainSettings(
            input=str(field_folder / "brightfield.ome.zarr"), model=str(tiny_model), out=str(out)
        )
    )
    desk.open(out, page="explain")
    assert page.box.choose(next(f.key for f in desk.fields.all if f.can_be_stained))
    page.form.model.box.setEditText("demo")
    choose(page, "planes")
    desk.click(page.start)
    desk.wait(lambda: page.notice.kind == "error", 60)
    assert "was predicted with the model 'tiny'" in page.notice.text


def test_attention_is_shown_head_by_head_and_cut_to_its_strongest(desk, encoder, field_folder):
    desk.open(field_folder / "stains.ome.zarr", page="explain")
    page = desk.explain
    page.form.what.setCurrentIndex(1)
    page.form.refill_encoders()
    page.form.channel.setCurrentIndex(page.form.channel.findData("DNA"))
    assert page.form.block_name.text() == "2 of 2, the last"
    page.form.block.setValue(1)
    desk.click(page.start)
    layers = explained(desk)
    names = [layer.name for layer in layers]
    assert names == ["DNA attention, block 1 of 2, mean of heads"] + [
        f"DNA attention, block 1 of 2, head {n} of 2" for n in (1, 2)
    ]
    truth = next(layer for layer in desk.viewer.layers if layer.name == "DNA")
    extent = np.asarray(layers[0].extent.world), np.asarray(truth.extent.world)[:, -2:]
    np.testing.assert_allclose(*extent, atol=1e-6)
    whole = layers[0].data.copy()
    page.maps.mass.setValue(30)
    mask = np.kron(top_mass(whole[::8, ::8], 0.3), np.ones((8, 8)))
    np.testing.assert_array_equal(layers[0].data, whole * mask)
    page.maps.mass.setValue(100)
    np.testing.assert_array_equal(layers[0].data, whole)
    assert "patches of 8 px" in page.notice.text


def test_without_an_encoder_it_is_said_where_to_get_one(desk, page, monkeypatch):
    monkeypatch.setattr(_explain_form, "list_encoders", dict)
    page.form.what.setCurrentIndex(1)
    page.form.refill_encoders()
    assert not page.start.isEnabled()
    assert "Download DINO-ViT-S8 on the page Models" in page.notice.text


def test_what_fails_is_said_in_a_sentence(desk, page):
    choose(page, "planes")
    page.form.model.box.setEditText("no-such-model")
    assert not page.start.isEnabled()
    assert "no-such-model" in page.notice.text


def test_a_closing_viewer_ends_what_was_asked_for(desk, page, field_folder):
    choose(page, "planes")
    desk.click(page.start)
    runs = list(desk.jobs.runs)
    desk.close()
    desk.qtbot.waitUntil(lambda: all(run.ended for run in runs), timeout=20_000)
    assert open_image(field_folder / "brightfield.ome.zarr").shape[2] == 3


def test_steps_of_a_draw_are_one_choice_and_a_slider_goes_through_them(
    desk, field_folder, tiny_model, tmp_path
):
    architecture = {"middle_attention": True, "multipliers": (1, 1, 1, 1)}
    model = package("palette", tiny_model, tmp_path, architecture=architecture)
    desk.open(field_folder / "brightfield.ome.zarr", page="explain")
    page = desk.explain
    page.form.model.box.setEditText(str(model))
    page.form.sanity.setChecked(True)
    assert not page.form.depth.isVisible()
    choose(page, "attention-received")
    assert page.form.depth.isVisible()
    page.form.depth.setValue(1)
    assert page.form.values(at=None)["depth"] == 0
    desk.click(page.start)
    layers = explained(desk)
    assert page.maps.choice.count() == 1
    assert len(layers) == page.maps.step.maximum() + 1 == 5
    assert [layer.visible for layer in layers] == [True, False, False, False, False]
    assert page.maps.step_name.text() == "step 1 of 25"
    page.maps.step.setValue(4)
    assert [layer.visible for layer in layers] == [False, False, False, False, True]
    assert page.maps.step_name.text() == "step 25 of 25"
    assert "random weights" in page.maps.sanity.text
    assert page.maps.reading.text() == METHODS["attention-received"].reading
    assert "one value per" in page.notice.text.lower()
    shown = layers[4]
    assert shown.contrast_limits[1] >= 4 * np.nanmean(shown.data), "what is even does not glow"
