"""A simulated plate is a plate like any other, with a table of what was done to its wells."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from napari_virtualstain.datasets.simulated_plate import PlateSettings, plate_fields
from napari_virtualstain.errors import OutputExistsError, ReplayError, SettingsError
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.plate import plates_of
from napari_virtualstain.jobs import replay, simulate
from napari_virtualstain.jobs.simulate import SimulateSettings

HOW = {"plate": 9, "plates": 2, "sites": 1, "compounds": 1, "size": 24, "seed": 5}
PLAN = PlateSettings(
    wells=9, plates=2, sites=1, compounds=1, shape_px=(24, 24), seed=5, controls=0.1
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("plates")
    with pytest.MonkeyPatch.context() as patch:
        # 9 wells: 8 mechanisms and a control.
        patch.setattr("napari_virtualstain.jobs.simulate_plate.PlateSettings", lambda **how: PLAN)
        paths = simulate.run(SimulateSettings(out=str(out), **HOW))
    return out, paths


def test_both_halves_of_each_plate_are_there_and_the_labels(written):
    out, paths = written
    assert [str(path.relative_to(out)) for path in paths] == [
        "brightfield/plate1.ome.zarr", "brightfield/plate2.ome.zarr",
        "stains/plate1.ome.zarr", "stains/plate2.ome.zarr", "labels.csv",
    ]  # fmt: skip


def test_every_field_lies_in_its_well_with_its_pixels(written):
    _, paths = written
    fields = [f for f in plate_fields(PLAN) if f.plate == "plate2"]
    scenes = list_scenes(paths[3])
    (plate,) = plates_of(scenes)
    assert (plate.name, plate.rows, plate.columns) == ("plate2", 4, 6)
    assert [scene.well for scene in scenes] == [f.well for f in fields]
    truth = fields[4].simulate()
    below, stained = (open_image(paths[i], scene=scenes[4].name) for i in (1, 3))
    assert stained.channel_names == truth.stain_names
    np.testing.assert_array_equal(stained.data[0, :, 0].compute(), truth.stains[0])
    np.testing.assert_array_equal(below.data[0, 0].compute(), truth.brightfield[0])


def test_the_table_says_what_was_done(written):
    _, paths = written
    with paths[-1].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [f.labels for f in plate_fields(PLAN)]
    assert set(rows[0]) == {"plate", "well", "site", "treatment", "moa", "strength"}


def test_what_is_there_stays(written):
    out, paths = written
    with pytest.raises(OutputExistsError, match="--overwrite"):
        simulate.run(SimulateSettings(out=str(out), **{**HOW, "plate": 24}))
    assert paths[-1].read_text(encoding="utf-8").startswith("plate,well")


def test_a_table_of_others_stays(tmp_path):
    (tmp_path / "labels.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="labels.csv"):
        simulate.run(SimulateSettings(out=str(tmp_path), **{**HOW, "plate": 24}))
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8") == "mine"


def test_a_field_of_a_plate_is_not_repeated_alone(written, tmp_path):
    _, paths = written
    field = paths[2] / "A" / "1" / "1"
    with pytest.raises(ReplayError, match="one of a simulated plate"):
        replay.run(replay.ReplaySettings(record=str(field), out=str(tmp_path / "again.ome.zarr")))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        pytest.param(
            {"plate": 24, "phenotype": "enlarged"}, "--phenotype is of single", id="fields"
        ),
        pytest.param({"plate": 6}, "16 compounds and 2 controls do not fit", id="no room"),
    ],
)
def test_plates_that_cannot_be_are_refused(how, sentence, tmp_path):
    with pytest.raises(SettingsError, match=sentence):
        simulate.run(SimulateSettings(out=str(tmp_path / "p"), **how))
    assert not (tmp_path / "p").exists()
