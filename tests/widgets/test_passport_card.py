"""The card on the page Stain that answers whether a model will work on a picture."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from napari_virtualstain.jobs import passport as job
from napari_virtualstain.jobs.passport import PassportSettings


@pytest.fixture
def page(desk, field_folder, tiny_model):
    desk.open(field_folder / "brightfield.ome.zarr", page="stain")
    desk.choose_model(tiny_model)
    desk.wait(lambda: desk.stain.passport.state == "unchecked")
    return desk.stain


def checked(desk, card):
    desk.click(card.button)
    desk.wait(lambda: card.state in ("checked", "failed"))


def test_the_card_says_what_the_passport_says(desk, page, field_folder, tiny_model):
    card = page.passport
    checked(desk, card)
    path = str(field_folder / "brightfield.ome.zarr")
    expected = job.run(PassportSettings(input=path, model=str(tiny_model), channel="Brightfield"))
    assert card.passport == expected
    assert expected.verdict in card.verdict.text()
    rows = card.checks.text() + card.fine.text()
    for check in expected.checks:
        assert f"<b>{check.name}</b>" in rows
    green = sum(check.status == "green" for check in expected.checks)
    assert card.fold.heading.text().startswith(f"{green} check")
    # Another pixel size is another question, and the answer to the first is remembered.
    page.settings["pixel_size"].value = "3"
    desk.wait(lambda: card.state == "unchecked")
    assert not card.checks.isVisible()
    checked(desk, card)
    assert card.passport.status == "red"
    assert "Not as it is: pixel size" in card.verdict.text()
    page.settings["resample"].value = True
    page.settings["pixel_size"].value = ""
    desk.wait(lambda: card.state == "checked")
    assert card.passport == expected


def test_advice_names_the_form_and_not_the_command_line(desk, page):
    page.settings["pixel_size"].value = "0.9"
    desk.wait(lambda: page.passport.state == "unchecked")
    checked(desk, page.passport)
    assert "→ Stain with “Resample”" in page.passport.checks.text()
    assert "--" not in page.passport.checks.text()


def test_each_sign_can_be_read_in_both_themes(desk, page):
    page.settings["pixel_size"].value = "3"
    desk.wait(lambda: page.passport.state == "unchecked")
    checked(desk, page.passport)
    shown = {}
    for theme in ("dark", "light"):
        desk.viewer.theme = theme
        shown[theme] = page.passport.verdict.text()
    assert shown["dark"] != shown["light"]
    assert all("✗" in text for text in shown.values()), "colour is not all that tells"


def test_a_picture_that_is_gone_is_one_sentence_and_may_be_checked_again(
    desk, field_folder, tiny_model, tmp_path
):
    path = tmp_path / "mine.ome.zarr"
    shutil.copytree(field_folder / "brightfield.ome.zarr", path)
    desk.open(path, page="stain")
    desk.choose_model(tiny_model)
    desk.planned()
    path.rename(tmp_path / "away")
    card = desk.stain.passport
    checked(desk, card)
    assert card.state == "failed"
    assert card.verdict.text().endswith("Check the path.")
    (tmp_path / "away").rename(path)
    checked(desk, card)
    assert card.state == "checked"


def test_a_layer_in_memory_is_written_once_and_checked(desk, tiny_model):
    pixels = np.random.default_rng(0).integers(100, 999, (3, 96, 96)).astype(np.uint16)
    desk.viewer.add_image(
        pixels, name="mine", scale=(4.0, 0.6, 0.6), units=["um"] * 3, axis_labels=["z", "y", "x"]
    )
    desk.dock.show_page("stain")
    desk.choose_model(tiny_model)
    card = desk.stain.passport
    desk.wait(lambda: card.state == "unchecked")
    checked(desk, card)
    assert card.state == "checked", card.verdict.text()
    assert any(check.name == "Noise" for check in card.passport.checks)


def test_nothing_can_be_checked_without_a_picture(desk):
    desk.dock.show_page("stain")
    assert desk.stain.passport.state == "empty"
    assert not desk.stain.passport.button.isEnabled()


def test_what_is_measured_can_be_stopped(desk, page, monkeypatch):
    card = page.passport
    desk.click(card.button)
    assert card.state == "busy"
    assert card.button.text() == "Stop"
    (run,) = [run for run in desk.jobs.runs if run.verb == "passport"]
    desk.click(card.button)
    desk.wait(lambda: run.ended)
    desk.wait(lambda: card.state != "busy")
    assert card.state in ("unchecked", "checked")
