"""Crops of a prediction and of its truth are compared as sets, by features that are named."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from little_encoders import write_encoder
from scipy import ndimage

from napari_virtualstain.encoders.package import load_encoder_package
from napari_virtualstain.errors import PixelDataError, SettingsError, UnknownNameError
from napari_virtualstain.intensity import Rule
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import compare_sets, evaluate
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.evaluation import Evaluation
from napari_virtualstain.metrics.frechet import (
    frechet_distance,
    kernel_distance,
    texture_features,
)

RNG = np.random.default_rng(5)
# (T, C, Z, Y, X): smooth fields, which a blur makes smoother still. Five by five crops of 64 px.
NOISE = RNG.normal(size=(1, 2, 1, 320, 330))
TRUTH = (1000 + 900 * ndimage.gaussian_filter(NOISE, (0, 0, 0, 1.5, 1.5))).astype(np.float32)
BLUR = ndimage.gaussian_filter(TRUTH, (0, 0, 0, 1.5, 1.5))


def write(path, pixels):
    channels = [Channel(name) for name in ("DNA", "ER")]
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=channels, n_tiles=1, dtype=str(pixels.dtype)
    ) as sink:
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
    return str(path)


@pytest.fixture
def compare(tmp_path):
    def compare(p, t, features="texture", **settings):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return evaluate.run(
            EvaluateSettings(
                prediction=write(folder / "p.ome.zarr", p), target=write(folder / "t.ome.zarr", t),
                fid_features=features, **settings,
            )
        )  # fmt: skip

    return compare


def crops(plane, edge=64):
    """Side by side, the last of a row and of a column moved back."""
    starts = [
        [*range(0, n - edge + 1, edge), *([n - edge] if n % edge else [])] for n in plane.shape
    ]
    return np.stack([plane[y : y + edge, x : x + edge] for y in starts[0] for x in starts[1]])


def test_the_distance_is_that_of_all_crops_in_the_units_of_the_truth(compare):
    p = BLUR + 50
    found = compare(p, TRUTH)
    for c, score in enumerate(found.scores):
        t = TRUTH[0, c, 0]
        sets = [texture_features(crops((s - t.mean()) / t.std())) for s in (p[0, c, 0], t)]
        assert score.fid == pytest.approx(frechet_distance(*sets), rel=1e-3)
        assert score.kid is None
    assert found.sets == {
        "features": "texture", "fingerprint": "", "crop_px": [64, 64], "numbers": 15,
        "crops": {"DNA": 30, "ER": 30},
    }  # fmt: skip
    assert any("FID(features=texture)" in note and "64 x 64 px" in note for note in found.notes)


def test_a_blur_is_another_set_and_the_truth_in_another_place_is_not(compare):
    moved = np.roll(TRUTH, (40, 40), (3, 4))
    near, far = (compare(p, TRUTH).scores[0] for p in (moved, BLUR))
    assert far.fid > 5 * near.fid
    assert far.pcc > 0.5 > near.pcc


def test_rows_and_batches_change_no_number(compare, monkeypatch):
    two = np.concatenate([TRUTH, TRUTH[..., ::-1]])
    other = np.concatenate([BLUR, TRUTH])
    whole = compare(other, two).scores
    monkeypatch.setattr(compare_sets, "_AT_ONCE", 64 * 64 * 2)
    assert compare(other, two).scores == whole


def test_an_own_encoder_sees_each_stain_by_itself(compare, tmp_path):
    folder = write_encoder(
        tmp_path / "eye", in_channels=3, channels=(), crop=32, input_rule=Rule(clip_sd=None)
    )
    found = compare(BLUR, TRUTH, str(folder))
    encoder = load_encoder_package(folder).encoder
    for c, score in enumerate(found.scores):
        t = TRUTH[0, c, 0]
        sets = [
            encoder.features(
                np.repeat(crops((s - t.mean()) / t.std(), 32)[:, None], 3, 1).astype(np.float32)
            )
            for s in (BLUR[0, c, 0], t)
        ]
        assert score.fid == pytest.approx(frechet_distance(*sets), rel=1e-3)
        assert score.kid == pytest.approx(kernel_distance(*sets), rel=1e-3)
    assert found.sets["features"] == "eye"
    assert len(found.sets["fingerprint"]) == 64


def test_too_few_crops_for_a_frechet_distance_are_said_with_how_many_it_takes(compare, tmp_path):
    p, t = BLUR[..., :256, :200].copy(), TRUTH[..., :256, :200]  # 4 x 4 crops of 64 px
    p[:, 0, :, 0, 0] = np.nan
    found = compare(p, t)
    assert [score.fid is None for score in found.scores] == [True, False]
    (note,) = [n for n in found.notes if "no FID" in n]
    assert note == "DNA: no FID: 15 features take at least 16 crops, and 15 are whole"
    folder = str(write_encoder(tmp_path / "eye", channels=(), crop=64))  # of 24 features
    found = compare(p, t, folder)
    assert [(s.fid, s.kid is None) for s in found.scores] == [(None, False)] * 2
    assert [n for n in found.notes if "no FID" in n] == [
        f"{stain}: no FID: 24 features take at least 25 crops, and {n} are whole; KID, which does "
        "not depend on how many there are, is given"
        for stain, n in (("DNA", 15), ("ER", 16))
    ]
    p[:, :] = np.where(np.arange(200) < 150, np.nan, p)
    found = compare(p, t, folder)
    assert (found.scores[0].fid, found.scores[0].kid, found.sets["crops"]["DNA"]) == (None, None, 0)
    (note,) = [n for n in found.notes if "no FID" in n]
    assert (
        note == "DNA, ER: no FID: 24 features take at least 25 crops, and 0 are whole; KID takes 10"
    )


def test_crops_of_many_planes_are_chosen_evenly(compare, monkeypatch):
    monkeypatch.setattr(compare_sets, "_MOST", 20)
    found = compare(np.repeat(BLUR, 3, 0), np.repeat(TRUTH, 3, 0))
    assert found.sets["crops"] == {"DNA": 20, "ER": 20}


def test_the_scores_travel_as_json_table_and_csv(compare, tmp_path):
    folder = str(write_encoder(tmp_path / "eye", channels=(), crop=32))
    found = compare(BLUR, TRUTH, folder, csv=str(tmp_path / "t.csv"))
    assert Evaluation.from_json(found.to_json()) == found
    head, first, _ = found.table().splitlines()
    assert head.split()[-2:] == ["FID", "KID"]
    assert first.split()[-2:] == [f"{found.scores[0].fid:.4g}", f"{found.scores[0].kid:.3g}"]
    assert len(head) == len(first)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert float(rows[1]["kid"]) == pytest.approx(found.scores[1].kid, rel=1e-5)
    plain = compare(BLUR, TRUTH, None, csv=str(tmp_path / "plain.csv"))
    assert (plain.sets, "FID" in plain.table()) == (None, False)
    assert "kid" not in (tmp_path / "plain.csv").read_text()


def test_a_constant_stain_is_compared_as_it_is(compare):
    flat = np.full_like(TRUTH, 7)
    assert compare(flat, flat).scores[0].fid == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("cut", "options", "error", "words"),
    [
        (100, {}, PixelDataError, "crops of 64 x 64 px. At least 16 are compared, 16 for a Fréchet distance, and here there are 4. Compare a larger region"),
        (60, {}, PixelDataError, "here there are 0"),
        (320, {"features": "textur"}, UnknownNameError, "encoder named 'textur'"),
    ],
    ids=["few crops", "a picture smaller than a crop", "an unknown name"],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(compare, cut, options, error, words):
    with pytest.raises(error, match=words):
        compare(BLUR[..., :cut, :cut], TRUTH[..., :cut, :cut], **options)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"encoder": "resnet3d", "classes": ("a", "b")}, "sees volumes"),
        ({"in_channels": 2, "per_channel": False}, "sees DNA, ER together"),
    ],
    ids=["volumes", "several together"],
)
def test_encoders_of_something_else_are_refused(compare, tmp_path, made, words):
    folder = write_encoder(tmp_path / "eye", crop=32, **made)
    with pytest.raises(SettingsError, match=f"{words}.*Give --fid-features"):
        compare(BLUR, TRUTH, str(folder))
