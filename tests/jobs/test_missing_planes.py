"""A plane that is not there is neither stained, nor measured, nor taken for darkness."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_virtualstain.datasets.statistics import image_statistics
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import evaluate, info, stain
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.info import InfoSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.training_fields import PairSettings, open_pairs

PATTERN = "{well}_t{t}_z{z}_{channel}.tif"


@pytest.fixture
def plate(tmp_path):
    """Two wells in the numbered layout, two time points, three planes; one plane of A1 is lost."""
    folder = tmp_path / "plate"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for well in ("A01", "A02"):
        for t in (0, 1):
            for z in (0, 1, 2):
                for c in ("c1", "c2"):
                    pixels = rng.normal(1000, 100, (40, 48)).astype(np.uint16)
                    tifffile.imwrite(folder / f"{well}_t{t}_z{z}_{c}.tif", pixels)
    (folder / "A01_t1_z2_c1.tif").write_bytes(b"")
    return folder


def test_a_field_that_lacks_an_input_plane_is_one_sentence_and_others_are_stained(
    plate, tiny_model, tmp_path
):
    def run(scene, **settings):
        return stain.run(
            StainSettings(
                input=str(plate), scene=scene, channel="c1", model=str(tiny_model), pixel_size=0.6,
                out=str(tmp_path / f"{scene}{len(settings)}.ome.zarr"), **settings,
            )
        )  # fmt: skip

    with pytest.raises(PixelDataError) as caught:
        run("A01")
    assert str(caught.value) == (
        "Channel 'c1' of scene 'A01' cannot be stained: plane z 2 at time point 1 is missing. "
        "Put its file back, or choose other planes with --z, other time points with --times or "
        "another --scene."
    )
    assert not (tmp_path / "A010.ome.zarr").exists()
    assert run("A01", times=(0,)).tiles_done > 0
    result = run("A02")
    assert result.tiles_done == result.tiles_total


def test_a_missing_plane_has_no_statistics(plate):
    image = open_image(plate, scene="A01")
    found = image_statistics(image)[1][0]
    assert [s.count for s in found] == [40 * 48, 40 * 48, 0]


def test_a_missing_plane_of_the_truth_counts_for_nothing(tmp_path):
    rng = np.random.default_rng(1)
    for name in ("truth", "near"):
        (tmp_path / name).mkdir()
    for z in range(4):
        truth = rng.normal(1000, 100, (40, 48))
        for name, noise in (("truth", 0), ("near", 20)):
            pixels = (truth + rng.normal(0, 1, truth.shape) * noise).astype(np.uint16)
            tifffile.imwrite(tmp_path / name / f"a_z{z}_c1.tif", pixels)
    settings = EvaluateSettings(prediction=str(tmp_path / "near"), target=str(tmp_path / "truth"))
    whole = evaluate.run(settings).scores[0]
    (tmp_path / "truth" / "a_z1_c1.tif").unlink()
    score = evaluate.run(settings).scores[0]
    assert score.missing == pytest.approx(0.25)
    assert score.mae == pytest.approx(whole.mae, rel=0.05)


def test_a_training_is_not_given_a_missing_input_and_missing_truth_is_nan(plate):
    settings = {"input": (str(plate),), "channel": "c1", "stains": ("c2",), "pixel_size": 0.6}
    with pytest.raises(PixelDataError, match="time point 1 is missing"):
        open_pairs(PairSettings(scene="A01", z=(2,), **settings), name="m")


def test_info_lists_plates_and_what_is_missing(plate):
    found = info.run(InfoSettings(input=str(plate), pattern=PATTERN))
    json.dumps(found)
    first, second = found["images"]
    assert (first["missing_planes"], second["missing_planes"]) == ([[1, 0, 2]], [])
    assert (first["well"], found["images_total"]) == ("A01", 2)
    (listed,) = found["plates"]
    assert [well["name"] for well in listed["wells"]] == ["A01", "A02"]
    text = info.to_text(found)
    assert "missing: 1 of 12 planes" in text
    assert "plate: 2 x 3, 2 wells and 2 sites with images" in text
    short = info.to_text(info.run(InfoSettings(input=str(plate), most=1)))
    assert "and 1 more image;" in short


def test_a_folder_with_names_of_its_own_is_stained_by_its_pattern(tiny_model, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for well in ("A1", "A2"):
        for z in (1, 2, 3):
            pixels = rng.normal(1000, 100, (40, 48)).astype(np.uint16)
            tifffile.imwrite(folder / f"{well}-bright{z}.tif", pixels)
    result = stain.run(
        StainSettings(
            input=str(folder), pattern="{well}-{channel}{z}.tif", scene="A02", pixel_size=0.6,
            model=str(tiny_model), out=str(tmp_path / "out.ome.zarr"),
        )
    )  # fmt: skip
    assert result.tiles_done == result.tiles_total
