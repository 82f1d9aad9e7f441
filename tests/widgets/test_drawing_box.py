"""A model that draws is asked how; one that does not is asked nothing."""

from __future__ import annotations

import pytest
from drawn_models import package

from napari_virtualstain.generators.card import LabelKind
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.drawing import DrawingSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.widgets._drawing_box import DrawingBox

KINDS = (
    LabelKind(name="treatment", classes=("dmso", "taxol")),
    LabelKind(name="cell_line", classes=("A549",)),
)


@pytest.fixture(scope="module")
def palette(tiny_model, tmp_path_factory):
    return package("palette", tiny_model, tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def told(tiny_model, tmp_path_factory):
    return package(
        "guided_i2i", tiny_model, tmp_path_factory.mktemp("told"), labels=KINDS,
        architecture={"classes": [2, 1]},
    )  # fmt: skip


@pytest.fixture
def box(qapp):
    box = DrawingBox(StainSettings, qapp)
    yield box
    box.fold.close()
    box.fold.deleteLater()


def shown(part, below):
    return part.isVisibleTo(below)


def test_nothing_is_asked_of_a_model_that_gives_the_same_stain_every_time(box, palette, tiny_model):
    box.show_card(read_card(palette))
    box.settings["draws"].value = 4
    assert not box.fold.isHidden()
    assert box.values() == {"draws": 4}
    box.show_card(read_card(tiny_model))
    assert box.fold.isHidden()
    assert box.values() == {}
    box.show_card(read_card(palette))
    assert box.values() == {"draws": 4}


def test_an_untouched_box_says_nothing(box, told):
    box.show_card(read_card(told))
    assert box.values() == {}


def test_each_label_of_the_model_is_a_row_and_unknown_until_chosen(box, told):
    box.show_card(read_card(told))
    boxes = box._labels
    assert list(boxes) == ["treatment", "cell_line"]
    assert [boxes["treatment"].itemText(n) for n in range(3)] == ["unknown", "dmso", "taxol"]
    assert boxes["treatment"].currentText() == "unknown"
    boxes["treatment"].setCurrentText("taxol")
    assert box.values() == {"told": ("treatment=taxol",)}


def test_what_cannot_be_led_is_not_asked_how_far(box, palette, told):
    row = box.settings["guidance"].native
    box.show_card(read_card(told))
    assert shown(row, box.fold)
    box.settings["guidance"].value = 1.5
    assert box.values() == {"guidance": 1.5}
    box.show_card(read_card(palette))
    assert not shown(row, box.fold)
    assert "guidance" not in box.values()


def test_what_a_project_kept_comes_back_before_or_after_its_model(box, told):
    kept = {"told": ["treatment=dmso"], "draws": 40, "sampling_steps": 8, "seed": 3}
    box.show_values(kept)
    box.show_card(read_card(told))
    said = {"told": ("treatment=dmso",), "draws": 40, "sampling_steps": "8", "seed": 3}
    assert box.values() == said
    box.show_card(read_card(told))
    assert box.values() == said
    box.show_values({})
    assert box.values() == {}


def test_all_that_drawing_can_be_told_is_asked_for(box):
    assert {row.name for row in box.settings} | {"told"} == set(DrawingSettings.model_fields)


def test_a_drawn_stain_is_timed_and_comes_with_its_spread(desk, field_folder, palette, tmp_path):
    desk.open(field_folder / "brightfield.ome.zarr", page="stain")
    desk.choose_model(palette)
    drawing = desk.stain.form.drawing
    assert drawing.fold.isVisible()
    drawing.settings["sampling_steps"].value = "2"
    drawing.settings["draws"].value = 3
    desk.wait(lambda: "Drawing takes about" in desk.stain.plan.text())
    assert "drawn in 2 steps, the mean of 3 draws" in desk.stain.plan.text()
    out = tmp_path / "drawn.ome.zarr"
    desk.stain.out.setText(str(out))
    desk.click(desk.stain.all)
    desk.idle()
    names = open_image(out).channel_names
    assert {"DNA", "DNA spread"} <= set(names)
    assert read_record(out)["record"]["sampling"]["draws"] == 3
    assert not desk.predicted()["DNA spread"].visible
    assert desk.stain.switch.names == (
        "DNA", "ER", "RNA", "AGP", "Mito", "All",
        "DNA spread", "ER spread", "RNA spread", "AGP spread", "Mito spread",
    )  # fmt: skip
    desk.stain.switch.choose("All")
    shown = [name for name, layer in desk.predicted().items() if layer.visible]
    assert sorted(shown) == ["AGP", "DNA", "ER", "Mito", "RNA"]
    desk.stain.switch.choose("DNA spread")
    assert [name for name, layer in desk.predicted().items() if layer.visible] == ["DNA spread"]
