"""A list of models with filters, and what is known of each of them; no viewer is needed."""

from __future__ import annotations

import shutil

import pytest
from qtpy.QtCore import Qt

from napari_virtualstain.widgets._model_entries import list_entries
from napari_virtualstain.widgets._model_list import ModelList

HERE = ["demo", "ecoli-membrane", "isl-neurons", "jurkat-dna", "mine"]
"""Those that come with the program, and one of the user's."""


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
