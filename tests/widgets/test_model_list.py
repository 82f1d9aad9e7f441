"""A list of models with filters, and what is known of each of them; no viewer is needed."""

from __future__ import annotations

import shutil

import pytest
from little_encoders import write_encoder
from qtpy.QtCore import Qt

from napari_virtualstain.widgets._model_entries import list_entries
from napari_virtualstain.widgets._model_list import ModelList

HERE = ["demo", "ecoli-membrane", "isl-neurons", "jurkat-dna", "mine"]
"""Those that come with the program, and one of the user's."""


@pytest.fixture(autouse=True)
def no_extras(monkeypatch):
    """Without the encoders that extras bring, whether they are installed or not."""
    monkeypatch.setattr("napari_virtualstain.zoo.PACKAGED", {})


@pytest.fixture
def shown(tiny_model, tmp_path, monkeypatch, qtbot):
    monkeypatch.setenv("NVS_MODELS", str(tmp_path))
    shutil.copytree(tiny_model, tmp_path / "mine")
    made = ModelList()
    qtbot.addWidget(made)
    made.show_entries(list_entries()[0])
    return made


def names(shown):
    return [entry.name for entry in shown.shown]


def tick(shown, name, state=Qt.CheckState.Checked):
    items = [shown.list.item(row) for row in range(shown.list.count())]
    next(item for item in items if item.text().startswith(f"{name}\n")).setCheckState(state)


def test_models_of_this_machine_come_first_then_those_to_download(shown):
    found = names(shown)
    assert found[: len(HERE)] == HERE
    assert found.index("VSCyto2D") < found.index("noisy-hedgehog"), "what cannot be used comes last"
    assert shown.count.text() == f"5 models here, {len(found) - 5} to download"
    lines = [shown.list.item(row).text().split("\n")[1] for row in range(6)]
    assert lines[0] == lines[4] == "DNA, ER, RNA, AGP, Mito · Brightfield planes"
    assert lines[5] == "Nucleus, Membrane · Phase2D planes · ↓ 374 MB"


@pytest.fixture
def seeing(shown, tmp_path):
    """With three encoders of the user's, one of which is damaged."""
    write_encoder(tmp_path / "which", encoder="resnet", classes=("DNA", "ER"), label="channel")
    write_encoder(tmp_path / "eye3d", encoder="resnet3d", channels=(), classes=("a", "b"))
    write_encoder(tmp_path / "broken")
    (tmp_path / "broken" / "encoder.json").write_text("{}")
    shown.show_entries(list_entries()[0])
    return shown


def test_encoders_stand_below_models_and_say_what_they_see(seeing):
    lines = dict(seeing.list.item(row).text().split("\n") for row in range(seeing.list.count()))
    assert lines["which"] == "sees DNA, ER, each by itself · planes"
    assert lines["eye3d"] == "sees any channel, each by itself · stacks"
    assert lines["broken"] == "cannot be used"
    assert lines["DINO-ViT-S8"].startswith("sees · RGB planes")
    found = names(seeing)
    assert found.index("mine") < found.index("which") < found.index("VSCyto2D")
    assert seeing.count.text().startswith("6 models and 2 encoders here, ")
    items = [seeing.list.item(row) for row in range(seeing.list.count())]
    tickable = {
        i.text().split("\n")[0] for i in items if i.flags() & Qt.ItemFlag.ItemIsUserCheckable
    }
    assert tickable == set(HERE), "what paints nothing cannot be tried"


def test_what_paints_and_what_sees_can_be_told_apart(seeing):
    seeing.does.setCurrentIndex(seeing.does.findData("sees"))
    assert [name for name in names(seeing) if name != "efficientnet-lite0"] == [
        "eye3d", "which", "DINO-ViT-S8"
    ]  # fmt: skip
    seeing.over.setCurrentIndex(seeing.over.findText("stacks"))
    assert names(seeing) == ["eye3d"]
    seeing.over.setCurrentIndex(0)
    seeing.does.setCurrentIndex(seeing.does.findData("paints"))
    assert not {"eye3d", "which", "DINO-ViT-S8", "broken"} & set(names(seeing))
    assert {"mine", "VSCyto2D"} <= set(names(seeing))
    assert "encoder" not in seeing.count.text()


def test_the_card_of_an_encoder_is_read(seeing):
    (entry,) = [e for e in seeing.entries if e.name == "which"]
    for text in (
        "DNA, ER, each by itself",
        "crops of 16 x 16 px",
        "ResNet classifier of planes",
        "none, by channel",
        "<b>Tells apart</b>",
    ):
        assert text in entry.words()


FILTERS = {
    "a stain": ("stain", "membrane", lambda e: "Membrane" in e.stains),
    "a kind of light": ("channel", "Brightfield", lambda e: e.channel == "Brightfield"),
    "stacks": ("over", "stacks", lambda e: e.over == "stacks"),
}


@pytest.mark.parametrize(("box", "value", "fits"), FILTERS.values(), ids=FILTERS)
def test_a_filter_leaves_what_fits(box, value, fits, shown):
    filter_ = getattr(shown, box)
    filter_.setCurrentIndex(filter_.findText(value, Qt.MatchFlag.MatchFixedString))
    assert filter_.currentIndex() > 0
    wanted = [entry.name for entry in shown.entries if fits(entry)]
    assert names(shown) == wanted
    assert 0 < len(wanted) < len(shown.entries)


def test_words_are_searched_and_nothing_found_is_said(shown):
    shown.text.setText("zebrafish  nucleus")
    assert names(shown) == ["VSNeuromast"]
    shown.text.setText("no such thing")
    assert names(shown) == []
    assert shown.count.text() == "No model is like that. Open a filter again."
    assert shown.current is None


def test_ticks_keep_their_order_and_only_count_where_they_are_seen(shown):
    tick(shown, "mine")
    tick(shown, "demo")
    assert [entry.name for entry in shown.ticks] == ["mine", "demo"]
    shown.show_entries(list_entries()[0])
    assert [entry.name for entry in shown.ticks] == ["mine", "demo"], "also after another look"
    shown.text.setText("demo")
    assert [entry.name for entry in shown.ticks] == ["demo"]
    shown.text.clear()
    tick(shown, "mine", Qt.CheckState.Unchecked)
    assert [entry.name for entry in shown.ticks] == ["demo"]
    tickable = [e.name for e, row in zip(shown.shown, range(99), strict=False)
                if shown.list.item(row).flags() & Qt.ItemFlag.ItemIsUserCheckable]  # fmt: skip
    assert tickable == HERE, "what is not here cannot be tried"


def test_the_one_that_is_looked_at_stays_so(shown):
    shown.choose("VSCyto3D")
    shown.text.setText("cyto")
    assert shown.current.name == "VSCyto3D"
    shown.text.setText("tiny")
    assert shown.current.name == "mine"


def test_an_index_that_is_damaged_is_said_and_the_models_stay(shown, tmp_path):
    (tmp_path / "index.json").write_text("{")
    entries, problem = list_entries()
    assert [entry.name for entry in entries] == HERE
    assert problem.endswith("Correct or delete it.")
