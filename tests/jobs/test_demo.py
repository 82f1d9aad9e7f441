"""The demo goes from nothing to a compared stain, again and again."""

from __future__ import annotations

import json

import pytest

from napari_virtualstain.errors import OutputExistsError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import demo


@pytest.fixture(scope="module")
def done(tiny_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo-output"
    told = []
    settings = demo.DemoSettings(out=str(out), model=str(tiny_model))
    return out, demo.run(settings, on_field=told.append), told


def test_it_stains_a_known_and_an_unknown_treatment(done):
    _, fields, told = done
    assert [field.name for field in fields] == ["control (control)", "treated (hyperfused_mito)"]
    assert told == fields


def test_every_channel_is_compared_with_its_truth_and_its_floor(done):
    for field in done[1]:
        assert [score.stain for score in field.evaluation.scores] == [
            "DNA",
            "ER",
            "RNA",
            "AGP",
            "Mito",
        ]
        assert all(score.floor_pcc is not None for score in field.evaluation.scores)


def test_the_sample_fields_are_stained_in_several_tiles(done):
    from napari_virtualstain.io.record import read_record

    for field in done[1]:
        record = read_record(field.prediction)["record"]
        assert record["plan"]["tiles"] == 4
        assert record["plan"]["exact"]


def test_what_is_written_are_images_like_any_others(done):
    for field in done[1]:
        assert open_image(field.brightfield).shape == (1, 1, 3, 512, 512)
        assert open_image(field.truth).channel_names == open_image(field.prediction).channel_names
        metrics = json.loads((field.prediction.parent / "metrics.json").read_text())
        assert len(metrics["channels"]) == 5


def test_a_second_demo_replaces_the_first(done, tiny_model):
    out, fields, _ = done
    again = demo.run(demo.DemoSettings(out=str(out), model=str(tiny_model)))
    assert [f.evaluation for f in again] == [f.evaluation for f in fields]


def test_a_demo_never_replaces_what_is_not_its_own(tiny_model, tmp_path):
    place = tmp_path / "control" / "stain.ome.zarr"
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError):
        demo.run(demo.DemoSettings(out=str(tmp_path), model=str(tiny_model)))
    assert (place / "thesis.txt").read_text() == "years of work"
