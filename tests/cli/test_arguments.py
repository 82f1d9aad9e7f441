"""Settings become options, and options the same settings."""

from __future__ import annotations

import argparse
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.cli.arguments import add_arguments, settings_from, to_command
from napari_virtualstain.cli.main import VERBS, _load
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.jobs.models import ModelsSettings
from napari_virtualstain.jobs.simulate import SimulateSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.train import TrainSettings

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text and not text.startswith("-")
)  # fmt: skip


def parse(kind, line, positional):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser, kind, positional=positional)
    return settings_from(kind, vars(parser.parse_args(line)))


@given(
    st.builds(
        StainSettings,
        input=words,
        out=words,
        model=words,
        channel=st.none() | words,
        z=st.none() | st.lists(st.integers(0, 99), min_size=1, max_size=4).map(tuple),
        pixel_size=st.none() | st.floats(0.01, 10),
        resample=st.booleans(),
        tile=st.integers(16, 4096),
        overwrite=st.booleans(),
    )
)
def test_a_command_gives_back_the_settings_it_was_made_of(settings):
    line = shlex.split(to_command("stain", settings, positional=("input",)))
    assert line[:2] == ["virtualstain", "stain"]
    assert parse(StainSettings, line[2:], ("input",)) == settings


@given(st.lists(words, min_size=1, max_size=3).map(tuple), st.booleans())
def test_lists_with_commas_inside_survive(names, augment):
    settings = TrainSettings(out="m", stains=names, augment=augment)
    line = shlex.split(to_command("train", settings))
    assert parse(TrainSettings, line[2:], ()) == settings


def test_what_is_at_its_default_is_not_said():
    settings = StainSettings(input="a b.tif", out="o.ome.zarr")
    command = to_command("stain", settings, positional=("input",))
    assert command == "virtualstain stain 'a b.tif' --out o.ome.zarr"


def test_a_list_may_be_repeated_or_split_by_commas():
    a = parse(StainSettings, ["x", "--out", "o", "--z", "1,2", "--z", "5"], ("input",))
    assert a.z == (1, 2, 5)


def test_a_switch_that_is_on_is_offered_as_off():
    assert parse(TrainSettings, ["--out", "m", "--no-augment"], ()).augment is False


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (StainSettings, {"input": "x", "out": "o", "tile": "3"}, "tile = '3' is not possible.*Correct --tile"),
        (StainSettings, {"input": "x", "out": "o", "z": ["a"]}, "Correct --z"),
        (SimulateSettings, {"out": "o", "density": "-1"}, "Correct --density"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_in_one_sentence(kind, values, sentence):
    with pytest.raises(SettingsError, match=sentence):
        settings_from(kind, values)


def test_a_word_in_its_place_is_not_called_an_option():
    with pytest.raises(SettingsError, match="'exprt' is not possible.*Correct ACTION"):
        settings_from(ModelsSettings, {"action": "exprt"}, positional=("action", "file"))


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_every_setting_of_every_verb_is_explained(verb):
    kind = _load(verb.settings)
    for name, field in kind.model_fields.items():
        assert field.description, f"{verb.name} {name}"
    assert callable(_load(verb.run))
