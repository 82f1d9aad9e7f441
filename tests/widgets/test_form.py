"""Settings models as forms, and back."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.plan import PlanSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.widgets._form import SettingsForm, label_of, words_of

SHOWN = ("z", "pixel_size", "resample", "tile", "seed", "overwrite")


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)

    flag: bool = Field(default=False, description="whether")
    number: int = Field(default=3, ge=0, le=9, description="how many")
    choice: Literal["a", "b"] = Field(default="a", description="which")
    text: str = Field(default="", description="what")
    many: tuple[int, ...] | None = Field(default=None, description="which ones")


@pytest.fixture
def form(qapp):
    form = SettingsForm(StainSettings, SHOWN, placeholders={"z": "by their positions"})
    yield form
    form.native.close()
    form.native.deleteLater()


def test_an_untouched_form_says_nothing(form):
    assert form.values() == {}


def test_every_field_has_its_name_and_its_description(form):
    assert [row.name for row in form] == list(SHOWN)
    for row in form:
        assert row.label == label_of(row.name)
        about = StainSettings.model_fields[row.name].description
        assert about[1:] in row.tooltip
        assert f"--{row.name.replace('_', '-')}" in row.tooltip
    assert form["z"].native.placeholderText() == "by their positions"


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("z", "2, 6,10", (2, 6, 10)),
        ("z", "4", (4,)),
        ("pixel_size", "0.65", 0.65),
        ("tile", 64, 64),
        ("seed", 7, 7),
        ("resample", True, True),
        ("overwrite", True, True),
    ],
)
def test_what_is_typed_becomes_a_setting(form, name, typed, value):
    form[name].value = typed
    settings = make_settings(StainSettings, {"input": "a", "out": "b", **form.values()})
    assert getattr(settings, name) == value


def test_bounds_of_a_setting_are_bounds_of_its_row(form):
    assert form["seed"].min == 0


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "flag": st.booleans(),
            "number": st.integers(0, 9),
            "choice": st.sampled_from("ab"),
            "many": st.lists(st.integers(0, 99), min_size=1, max_size=4).map(tuple),
        },
    )
)
def test_settings_that_are_shown_are_read_again(qapp, values):
    form = SettingsForm(Model, tuple(Model.model_fields))
    form.show_values(values)
    assert Model(**form.values()) == Model(**values)
    form.show_values({})
    assert form.values() == {}
    form.native.deleteLater()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Choose planes with --z.", "Choose planes with “Z planes”."),
        ("Add --resample or --pixel-size.", "Add “Resample” or “Pixel size (µm)”."),
        ("Choose another --out or add --overwrite.", "Choose another “Output” or add “Replace output”."),
        ("A dash - and -- stay.", "A dash - and -- stay."),
        ("It lies at a--b.", "It lies at a--b."),
    ],
)  # fmt: skip
def test_sentences_name_the_fields_of_the_form(said, shown):
    assert words_of(said) == shown


def test_every_setting_has_a_label_without_dashes():
    for kind in (StainSettings, PlanSettings):
        for name in kind.model_fields:
            assert "_" not in label_of(name)
