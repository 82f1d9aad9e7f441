"""A prediction is compared with the truth of its field, beside the floor; what is missing is said."""

from __future__ import annotations

import csv
import json
from itertools import count

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import linregress, spearmanr
from skimage.filters import threshold_otsu

from napari_virtualstain.errors import AxesError, ChannelError, PixelDataError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import compare as strips
from napari_virtualstain.jobs import evaluate, stain
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.evaluation import Evaluation
from napari_virtualstain.metrics.floor import linear_floor
from napari_virtualstain.metrics.pixel import data_range, mae, mse, pearson, psnr
from napari_virtualstain.metrics.structure import ssim

RNG = np.random.default_rng(0)
# (T, C, Z, Y, X)
TRUTH = RNG.normal(1000, 100, (2, 2, 3, 33, 29)).astype(np.float32)
NEAR = TRUTH + RNG.normal(0, 30, TRUTH.shape).astype(np.float32)
PLANES = RNG.normal(size=(2, 1, 3, 33, 29)).astype(np.float32) + TRUTH[:, :1] / 100


def write(path, pixels, channels):
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=channels, n_tiles=1, dtype=str(pixels.dtype)
    ) as sink:
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
    return str(path)


@pytest.fixture
def compare(tmp_path):
    numbers = count()

    def compare(p, t, *, names=("DNA", "ER"), true_names=None, below=None, **settings):
        place = tmp_path / str(next(numbers))
        if below is not None:
            lit = [Channel(f"bf {c}", "transmitted") for c in range(below.shape[1])]
            settings["brightfield"] = write(place / "b.ome.zarr", below, lit)
        chosen = EvaluateSettings(
            prediction=write(place / "p.ome.zarr", p, [Channel(n) for n in names]),
            target=write(place / "t.ome.zarr", t, [Channel(n) for n in true_names or names]),
            **settings,
        )
        return evaluate.run(chosen)

    return compare


def test_scores_are_means_over_planes_and_time_points(compare):
    for c, score in enumerate(compare(NEAR, TRUTH).scores):
        planes = [(NEAR[t, c, z], TRUTH[t, c, z]) for t in range(2) for z in range(3)]
        metrics = {"pcc": pearson, "ssim": ssim, "psnr": psnr, "mae": mae, "mse": mse}
        for name, metric in metrics.items():
            expected = np.mean([metric(p, t) for p, t in planes])
            assert getattr(score, name) == pytest.approx(expected, rel=1e-5), name
        assert score.data_range == pytest.approx(np.mean([data_range(t) for _, t in planes]))
        assert (score.missing, score.floor_pcc) == (0, None)


@pytest.mark.parametrize("rows", [1, 8, 16])
def test_strips_change_no_number(compare, monkeypatch, rows):
    p, t = NEAR[:, :, :1].copy(), TRUTH[:, :, :1].copy()
    p[0, 0, 0, 5:9], t[0, 1, 0, :, 3] = np.nan, np.nan
    whole = compare(p, t, below=PLANES)
    monkeypatch.setattr(strips, "_ROWS", rows)
    monkeypatch.setattr(strips, "_STRIP", 1)
    for one, other in zip(whole.scores, compare(p, t, below=PLANES).scores, strict=True):
        for name in (
            "pcc", "ssim", "psnr", "mae", "mse", "data_range", "floor_pcc", "missing", "rank", "gain",
            "offset", "foreground_pcc", "foreground_mae", "constant_ssim", "constant_mse",
        ):  # fmt: skip
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6), name


def test_amounts_and_foreground_are_those_of_scipy_and_scikit_image(compare):
    p, t = 1.5 * NEAR[:1, :, :1] + 40, TRUTH[:1, :, :1]
    for c, score in enumerate(compare(p, t).scores):
        one, true = p[0, c, 0], t[0, c, 0]
        line = linregress(true.ravel(), one.ravel())
        assert (score.gain, score.offset) == pytest.approx((line.slope, line.intercept), rel=1e-4)
        assert score.rank == pytest.approx(spearmanr(one.ravel(), true.ravel()).statistic)
        bright = true > threshold_otsu(true)
        assert score.foreground_pcc == pytest.approx(pearson(one[bright], true[bright]), abs=1e-6)
        assert score.foreground_mae == pytest.approx(mae(one[bright], true[bright]), rel=1e-6)
        flat = np.full_like(true, true.mean())
        assert score.constant_mse == pytest.approx(mse(flat, true), rel=1e-5)
        assert score.constant_ssim == pytest.approx(ssim(flat, true), rel=1e-5)


def test_a_large_plane_has_scales_and_bands(compare, tmp_path):
    truth = gaussian_filter(RNG.normal(size=(300, 280)), 1).astype(np.float32)[None, None, None]
    blurred = gaussian_filter(truth, (0, 0, 0, 2, 2))
    (score,) = compare(blurred, truth, names=("DNA",), csv=str(tmp_path / "s.csv")).scores
    assert 0 < score.ms_ssim < 1
    assert list(score.band_power) == sorted(score.band_power, reverse=True)
    assert score.band_power[0] > 0.5 > 0.05 > score.band_power[-1]
    with (tmp_path / "s.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["band_power_4_2px"]) == pytest.approx(score.band_power[-1], rel=1e-5)


def test_what_was_measured_survives_another_process(compare):
    found = compare(NEAR, TRUTH)
    again = Evaluation.from_json(json.loads(json.dumps(found.to_json())))
    assert again.to_json() == found.to_json()
    assert again.table() == found.table()


def test_a_replicate_says_what_can_be_reached(compare, tmp_path):
    again = tmp_path / "again.ome.zarr"
    noisy = (TRUTH + RNG.normal(0, TRUTH.std() / 2, TRUTH.shape)).astype(np.float32)
    write(again, noisy, [Channel("DNA"), Channel("ER")])
    found = compare(NEAR, TRUTH, replicate=str(again), csv=str(tmp_path / "s.csv"))
    for c, score in enumerate(found.scores):
        planes = [(noisy[t, c, z], TRUTH[t, c, z]) for t in range(2) for z in range(3)]
        assert score.ceiling_pcc == pytest.approx(np.mean([pearson(p, t) for p, t in planes]))
        assert score.ceiling_ssim == pytest.approx(np.mean([ssim(p, t) for p, t in planes]))
    assert "PCC of a replicate" in found.table()
    assert "ceiling_pcc" in (tmp_path / "s.csv").read_text(encoding="utf-8")
    assert Evaluation.from_json(json.loads(json.dumps(found.to_json()))).table() == found.table()
    assert "ceiling" not in compare(NEAR, TRUTH).table()


def test_a_replicate_that_is_the_truth_or_of_another_field_is_no_ceiling(compare, tmp_path):
    again, other = tmp_path / "again.ome.zarr", tmp_path / "other.ome.zarr"
    write(again, TRUTH[:, :1], [Channel("DNA")])
    notes = compare(NEAR, TRUTH, replicate=str(again)).notes
    assert any("the replicate is the truth itself" in note for note in notes)
    assert "ER: no ceiling, the replicate has no such stain" in notes
    write(other, TRUTH[..., :20, :], [Channel("DNA"), Channel("ER")])
    with pytest.raises(PixelDataError, match="replicate has .*Give a second measurement"):
        compare(NEAR, TRUTH, replicate=str(other))


def test_the_floor_is_that_of_the_planes_on_the_pixels_that_are_compared(compare):
    p = NEAR[:, :, :1].copy()
    p[0, 0, 0, :9] = np.nan
    t = TRUTH[:, :, :1]
    score = compare(p, t, below=PLANES).scores[0]
    seen = np.where(np.isfinite(p), t, np.nan)
    floors = [linear_floor(PLANES[i, 0], seen[i, 0, 0]) for i in range(2)]
    assert score.floor_pcc == pytest.approx(np.mean(floors), abs=1e-6)


def test_the_floor_is_fitted_to_the_bright_field_of_the_run(small_fields, tiny_model, tmp_path):
    from napari_virtualstain.jobs.simulate import write_field

    write_field(small_fields[0], tmp_path)
    below, out = tmp_path / "brightfield.ome.zarr", str(tmp_path / "o.ome.zarr")
    stain.run(stain.StainSettings(input=str(below), model=str(tiny_model), out=out))
    settings = EvaluateSettings(prediction=out, target=str(tmp_path / "stains.ome.zarr"))
    found = evaluate.run(settings)
    field = small_fields[0]
    for c, score in enumerate(found.scores):
        expected = linear_floor(field.brightfield[0], field.stains[0, c])
        assert score.floor_pcc == pytest.approx(expected, abs=1e-5)
    # Another file took its place: no floor is better than one of another field.
    write_field(small_fields[1], tmp_path / "other")
    import shutil

    shutil.rmtree(below)
    shutil.copytree(tmp_path / "other" / "brightfield.ome.zarr", below)
    found = evaluate.run(settings)
    assert all(score.floor_pcc is None for score in found.scores)
    assert any("has changed since the run" in note for note in found.notes)


def test_channels_are_paired_by_name_or_as_told(compare):
    paired = compare(NEAR, TRUTH, true_names=("er", "dna")).scores
    assert [(s.stain, s.target) for s in paired] == [("DNA", "dna"), ("ER", "er")]
    (told,) = compare(NEAR, TRUTH, true_names=("DAPI", "x"), match=("DNA=dapi",)).scores
    assert (told.stain, told.target) == ("DNA", "DAPI")
    assert told.pcc > 0.9


def test_a_target_that_does_not_say_its_axes_is_asked_for_them(tmp_path):
    import tifffile

    truth = TRUTH[0, :, 0]
    tifffile.imwrite(tmp_path / "t.tif", truth, photometric="minisblack", metadata=None)
    given = {
        "prediction": write(tmp_path / "p.ome.zarr", NEAR[:1, :, :1], [Channel("DNA"), Channel("ER")]),
        "target": str(tmp_path / "t.tif"), "match": ("ER=channel 1",),
    }  # fmt: skip
    with pytest.raises(AxesError, match="--axes"):
        evaluate.run(EvaluateSettings(**given))
    (score,) = evaluate.run(EvaluateSettings(**given, axes="cyx")).scores
    assert score.pcc == pytest.approx(pearson(NEAR[0, 1, 0], truth[1]), abs=1e-6)


def test_missing_pixels_are_left_out_and_said(compare):
    p = NEAR.copy()
    p[:, 0, :, :11] = np.nan  # a third of each plane
    p[1, 0, 2] = np.nan  # and one plane whole
    found = compare(p, TRUTH)
    assert found.scores[0].missing == pytest.approx((5 / 3 + 1) / 6)
    assert found.scores[0].pcc > 0.9
    assert found.scores[1].missing == 0
    (note,) = [n for n in found.notes if "missing (NaN)" in n]
    assert note.startswith("DNA: 44.4 % of the pixels are missing")


def test_a_constant_plane_does_not_hide_the_others(compare):
    t = TRUTH.copy()
    t[0, 0, 0] = 7
    found = compare(NEAR, t)
    assert found.scores[0].pcc > 0.9
    assert found.scores[0].psnr > 0
    assert any("no correlation on 1 of 6 planes" in note for note in found.notes)
    assert compare(NEAR, TRUTH * 0 + 7).to_json()["channels"][0]["pcc"] is None


def test_a_store_that_was_cut_off_says_so(tmp_path, compare):
    sink = OmeZarrSink.create(
        tmp_path / "cut.ome.zarr", shape=(1, 1, 1, 32, 16), channels=[Channel("DNA")], n_tiles=2,
        chunks_yx=16,
    )  # fmt: skip
    half = RNG.normal(size=(1, 1, 1, 16, 16)).astype(np.float32)
    sink.write((*[slice(0, 1)] * 3, slice(0, 16), slice(0, 16)), half)
    sink.commit(0)
    sink.fail("Interrupted")
    truth = write(tmp_path / "t.ome.zarr", np.concatenate([half, half], 3), [Channel("DNA")])
    found = evaluate.run(EvaluateSettings(prediction=str(tmp_path / "cut.ome.zarr"), target=truth))
    assert found.scores[0].missing == pytest.approx(0.5)
    assert found.scores[0].mae == 0
    assert any("1 of 2 tiles" in note for note in found.notes)
    json.dumps(found.to_json(), allow_nan=False)


def test_a_tiny_plane_has_no_ssim_and_its_csv_an_empty_cell(compare, tmp_path):
    table = tmp_path / "sub" / "t.csv"
    found = compare(NEAR[..., :5, :6], TRUTH[..., :5, :6], csv=str(table))
    assert found.scores[0].ssim is None
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert (rows[0]["ssim"], rows[0]["floor_pcc"]) == ("", "")
    assert rows[0]["mae"] == f"{found.scores[0].mae:.6g}"
    assert found.table().count("\n") == 2


REFUSED = {
    "another size": ((NEAR, TRUTH[..., :30, :]), {}, r"33 x 29 px and 2 time points and 3 z planes and the target 30 x 29.*same field"),
    "another number of time points": ((NEAR, TRUTH[:1]), {}, "Choose the target of the same field"),
    "another number of z planes": ((NEAR, TRUTH[:, :, :1]), {}, "select z planes first"),
    "nothing in common": ((NEAR * np.nan, TRUTH), {}, "'DNA' and truth 'DNA' have no pixel in common.*run was finished"),
}  # fmt: skip
ASKED = {
    "no names in common": ({"true_names": ("a", "b")}, "Pair them with --match, for example"),
    "a pair without a sign": ({"match": ("DNA",)}, "does not say PREDICTED=TRUE"),
    "a stain that is not predicted": ({"match": ("DNB=ER",)}, "Did you mean 'DNA'"),
    "a truth that is not there": ({"match": ("DNA=DAPI",)}, "DAPI"),
    "several bright fields": ({"below": np.repeat(PLANES, 2, 1)}, "Choose one with --channel"),
}  # fmt: skip


@pytest.mark.parametrize(("pictures", "settings", "sentence"), REFUSED.values(), ids=REFUSED)
def test_pictures_of_other_fields_are_refused(compare, pictures, settings, sentence):
    with pytest.raises(PixelDataError, match=sentence):
        compare(*pictures, **settings)


@pytest.mark.parametrize(("settings", "sentence"), ASKED.values(), ids=ASKED)
def test_channels_that_cannot_be_told_are_asked(compare, settings, sentence):
    with pytest.raises(ChannelError, match=sentence):
        compare(NEAR, TRUTH, **settings)


def test_a_bright_field_of_other_time_points_gives_no_floor(compare):
    found = compare(NEAR, TRUTH, below=PLANES[:1])
    assert found.scores[0].floor_pcc is None
    assert "no floor: the bright field has 33 x 29 px and 3 z planes" in found.notes


# Where the truth does not lie on the prediction.


def shifted_truth(shift):
    """Return a prediction, and its truth that lies elsewhere: (1, 2, 1, Y, X) each."""
    from scipy import ndimage

    rng = np.random.default_rng(3)
    wide = np.zeros((2, 136, 144))
    for field in wide:
        for y, x in rng.integers(0, field.shape, (60, 2)):
            field[y, x] += rng.uniform(200, 2000)
    wide = ndimage.gaussian_filter(wide, (0, 2, 2)) * 10 + 100
    moved = ndimage.shift(wide[1], (-shift[0], -shift[1]), order=5, mode="reflect")
    cut = np.s_[..., 20:-20, 20:-20]
    truth = np.stack([wide[0], moved])
    return (a[cut][None, :, None].astype(np.float32) for a in (wide, truth))


def test_a_truth_that_is_shifted_is_said_and_left_alone(compare):
    predicted, truth = shifted_truth((3.4, -2.2))
    found = compare(predicted, truth)
    (note,) = [n for n in found.notes if "shifted" in n]
    assert note.startswith("ER: the target is shifted by ")
    assert note.endswith("which lowers all scores; --correct-shift moves it")
    assert found.scores[1].pcc == pytest.approx(
        pearson(predicted[0, 1, 0], truth[0, 1, 0]), abs=1e-6
    )
    assert found.scores[1].missing == 0


def test_a_truth_that_is_shifted_is_moved_on_request(compare):
    predicted, truth = shifted_truth((3.4, -2.2))
    found = compare(predicted, truth, correct_shift=True)
    (note,) = [n for n in found.notes if "was moved by" in n]
    assert "as --correct-shift says" in note
    plain = compare(predicted, truth)
    assert found.scores[0] == plain.scores[0]
    assert found.scores[1].pcc > 0.99 > plain.scores[1].pcc + 0.1
    assert 0 < found.scores[1].missing < 0.15


def test_a_prediction_that_tells_nothing_moves_nothing(compare):
    noise = RNG.normal(size=(1, 2, 1, 96, 104)).astype(np.float32)
    _, truth = shifted_truth((3.4, -2.2))
    found = compare(noise, truth, correct_shift=True)
    assert not [n for n in found.notes if "target" in n]
    assert found.scores[1].missing == 0


def test_a_truth_under_the_name_of_its_dye_is_taken_and_said(compare):
    found = compare(NEAR, TRUTH, true_names=("Hoechst 33342", "x"))
    assert [(s.stain, s.target) for s in found.scores] == [("DNA", "Hoechst 33342")]
    assert (
        "DNA is compared with the channel 'Hoechst 33342'; choose another with --match"
        in found.notes
    )


def test_a_part_is_compared_as_if_it_were_all_there_is(compare):
    settings = {"region": (3, 2, 30, 25), "times": (1,)}
    whole = compare(NEAR, TRUTH, below=PLANES[:, :, :1], **settings)
    part = (slice(1, 2), slice(None), slice(None), slice(3, 30), slice(2, 25))
    alone = compare(NEAR[part], TRUTH[part], below=PLANES[part][:, :, :1])
    assert whole.to_json()["channels"] == alone.to_json()["channels"]
    assert whole.scores != compare(NEAR, TRUTH, below=PLANES[:, :, :1]).scores


PARTS = {
    "a time point that is not there": (
        {"times": (0, 2)},
        "Time point 2 is asked for, and there are 2",
    ),
    "a region beyond the image": ({"region": (40, 0, 50, 20)}, "hold no pixel"),
}


@pytest.mark.parametrize(("part", "sentence"), PARTS.values(), ids=PARTS)
def test_a_part_that_is_not_there_is_refused(part, sentence, compare):
    with pytest.raises(AxesError, match=sentence):
        compare(NEAR, TRUTH, **part)


DENOISED = {
    "its name": ({}, "DNA (denoised)"),
    "its record": ({"record": {"job": "denoise"}}, "DNA"),
}


@pytest.mark.parametrize(("made", "name"), DENOISED.values(), ids=DENOISED)
def test_scores_against_denoised_truth_are_labelled(made, name, tmp_path):
    def write_one(path, pixels, channel, **made):
        with OmeZarrSink.create(
            path, shape=(1, 1, 1, 33, 29), channels=[Channel(channel)], n_tiles=1, **made
        ) as sink:
            sink.write((slice(0, 1),) * 3 + (slice(0, 33), slice(0, 29)), pixels[:1, :1, :1])
            sink.commit(0)
        return str(path)

    stated = {
        "prediction": write_one(tmp_path / "p.ome.zarr", NEAR, "DNA"),
        "target": write_one(tmp_path / "t.ome.zarr", TRUTH, name, **made),
    }
    found = evaluate.run(EvaluateSettings(**stated, csv=str(tmp_path / "s.csv")))
    assert any(n.startswith(f"the truth is denoised ({name})") for n in found.notes)
    assert found.table().endswith("against denoised truth")
    again = evaluate.Evaluation.from_json(json.loads(json.dumps(found.to_json())))
    assert again.scores[0].denoised_truth
    (row,) = csv.DictReader((tmp_path / "s.csv").read_text().splitlines())
    assert row["denoised_truth"] == "True"
    raw = write_one(tmp_path / "r.ome.zarr", TRUTH, "DNA", record={"job": "stain"})
    found = evaluate.run(EvaluateSettings(**{**stated, "target": raw}, csv=str(tmp_path / "r.csv")))
    assert not any("denoised" in note for note in found.notes)
    assert "denoised" not in found.table() + (tmp_path / "r.csv").read_text()
