"""A classifier judges stains: while they are learnt, and when they are compared with the truth."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from structure_classifier import card_of

from napari_virtualstain.cli.main import main
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.encoders.package import (
    load_encoder_package,
    read_encoder_card,
    save_encoder,
)
from napari_virtualstain.encoders.perceptual import Perceptual
from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.errors import (
    ChannelError,
    MissingInputError,
    SettingsError,
    UnknownNameError,
)
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.intensity import Normalisation, Rule
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import compare_features, evaluate, recipes, train
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.evaluation import Evaluation
from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
from napari_virtualstain.jobs.training_fields import FieldData

SIZES = {"ndim": 2, "blocks": (1,), "width": 4, "bottleneck": False}
NORMS = (Normalisation(offset=1000, scale=100), Normalisation(offset=500, scale=90))


def judge(path, names=("DNA", "ER"), *, ndim=2, channels=1, **card):
    """The folder of a classifier with weights at random."""
    sizes, name = {**SIZES, "ndim": ndim}, {2: "resnet", 3: "resnet3d"}[ndim]
    encoder = build_encoder(name, in_channels=channels, classes=2, architecture=sizes, seed=3)
    crop = {2: (16, 16), 3: (4, 16, 16)}[ndim]
    card = {"crop_px": crop, "classes": ("a", "b"), "in_channels": channels, **card}
    said = card_of(names, card.pop("norms", None), encoder=name, sizes=sizes, **card)
    given = np.zeros((1, channels, *(16,) * ndim), np.float32)
    save_encoder(path, said, encoder, given)
    return str(path)


# While they are learnt.

QUICK = {
    "preset": "tiny", "steps": 4, "patch": 16, "batch": 2, "validate_every": 2, "device": "cpu",
    "validation": 0,
}  # fmt: skip
CARD = {
    "name": "m", "pixel_size_um": 0.6, "input_channel": "Brightfield",
    "z_offsets_um": (-4.0, 4.0), "data": "noise",
}  # fmt: skip


def data(stains=("DNA", "ER")):
    rng = np.random.default_rng(0)
    below = rng.normal(500, 50, (2, 40, 36)).astype(np.float32)
    above = np.stack([below[0] * 2, below.mean(0) - 7][: len(stains)]).astype(np.float32)
    return FieldData(fields=(PairedField("f", below, above),), stains=stains, card=CARD)


def settings(out, **changed):
    return TrainSettings(out=str(out), **{**QUICK, **changed})


def weights_in(folder):
    return (folder / "weights.safetensors").read_bytes()


def test_the_card_says_who_judged_and_the_log_what(tmp_path):
    name = judge(tmp_path / "which", norms=NORMS)
    train_on_fields(data(), settings(tmp_path / "m", perceptual=name, perceptual_weight=2.5))
    told = read_card(tmp_path / "m").training.settings
    assert (told["perceptual"], told["perceptual_weight"]) == (name, 2.5)
    assert told["perceptual_fingerprint"] == load_encoder_package(name).fingerprint
    rows = list(csv.DictReader((tmp_path / "m" / "training.csv").read_text().splitlines()))
    assert all(0 < float(row["train_perceptual"]) < 10 for row in rows)
    train_on_fields(data(), settings(tmp_path / "plain"))
    assert "perceptual_fingerprint" not in read_card(tmp_path / "plain").training.settings
    assert weights_in(tmp_path / "plain") != weights_in(tmp_path / "m")


@pytest.mark.parametrize("generator", ["unet", "wgan_gp"])
def test_a_resumed_training_ends_with_the_same_weights_and_the_same_judge(tmp_path, generator):
    judged = {
        "perceptual": judge(tmp_path / "which"), "generator": generator, "patch": 32,
        "method": ("critic_steps=1", "critic_width=2") if generator == "wgan_gp" else (),
    }  # fmt: skip
    train_on_fields(data(), settings(tmp_path / "whole", **judged))
    stops = iter([False, True])
    train_on_fields(data(), settings(tmp_path / "m", **judged), should_stop=lambda: next(stops))
    # It is known by what it is, not by what it is called.
    moved = shutil.copytree(tmp_path / "which", tmp_path / "moved")
    judge(tmp_path / "which", description="another")
    with pytest.raises(SettingsError, match="made with perceptual = "):
        train_on_fields(data(), settings(tmp_path / "m", **judged, resume=True))
    judged["perceptual"] = str(moved)
    train_on_fields(data(), settings(tmp_path / "m", **judged, resume=True))
    assert weights_in(tmp_path / "m") == weights_in(tmp_path / "whole")


def test_stacks_are_judged_as_volumes_on_two_devices(tmp_path):
    rng = np.random.default_rng(0)
    below = rng.normal(500, 50, (1, 20, 40, 36)).astype(np.float32)
    stack = FieldData(
        fields=(PairedField("f", below, (below * 2)),), stains=("DNA",),
        card={**CARD, "z_offsets_um": (None,)},
    )  # fmt: skip
    made = settings(
        tmp_path / "m", generator="fnet", perceptual=judge(tmp_path / "deep", ("DNA",), ndim=3),
        device="cpu,cpu", patch=32, patch_z=16,
    )  # fmt: skip
    train_on_fields(stack, made)
    rows = list(csv.DictReader((tmp_path / "m" / "training.csv").read_text().splitlines()))
    assert all(0 < float(row["train_perceptual"]) < 10 for row in rows)


@pytest.fixture
def no_pictures(monkeypatch):
    """Fail if any picture is made or opened."""

    def asked(*_, **__):
        raise AssertionError("a picture was asked for")

    monkeypatch.setattr(train, "open_pairs", asked)
    demo = replace(recipes.get_recipe("demo"), fields=asked)
    monkeypatch.setitem(recipes.RECIPES, "demo", lambda: demo)


UNFIT = {
    "missing": ({}, "nothing", UnknownNameError, r"'nothing'"),
    "a path that is not there": ({}, "no/where", MissingInputError, r"no encoder at"),
    "no classifier": ({"classes": ()}, None, SettingsError, r"tells no classes apart"),
    "volumes": ({"ndim": 3}, None, SettingsError,
                r"sees volumes, and this method predicts planes\. Give --perceptual one"),
    "other stains": ({"names": ("tubulin", "actin")}, None, ChannelError,
                     r"trained on tubulin, actin, and none of DNA, ER, RNA, AGP, Mito"),
    "one stain of several together": (
        {"names": ("DNA", "actin"), "per_channel": False, "channels": 2}, None, ChannelError,
        r"no channel 'actin' among DNA"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_who_cannot_judge_is_refused_before_any_picture_is_made(name, tmp_path, no_pictures):
    how, given, kind, words = UNFIT[name]
    if given is None:
        how = dict(how)
        # Without classes it cannot be built here, and need not: its card says it.
        given = judge(tmp_path / "which", **{k: v for k, v in how.items() if k != "classes"})
        if "classes" in how:
            file = tmp_path / "which" / "encoder.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), "classes": []}))
    with pytest.raises(kind, match=words) as caught:
        train.run(settings(tmp_path / "m", recipe="demo", perceptual=given))
    assert str(caught.value).count("\n") == 0
    assert not (tmp_path / "m.training").exists()


def test_patches_that_are_too_small_for_a_judge_are_refused(tmp_path, no_pictures):
    name = judge(tmp_path / "which")
    with pytest.raises(SettingsError, match=r"patches of 8 x 8 px.*from 16 px on.*--patch"):
        train.run(settings(tmp_path / "m", recipe="demo", perceptual=name, patch=8))


# When they are compared.

RNG = np.random.default_rng(0)
# (T, C, Z, Y, X)
TRUTH = RNG.normal(1000, 100, (2, 2, 3, 40, 33)).astype(np.float32)
NEAR = TRUTH + RNG.normal(0, 30, TRUTH.shape).astype(np.float32)
NAMES = ("DNA", "ER")


def write(path, pixels, names):
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=[Channel(n) for n in names], n_tiles=1,
        dtype=str(pixels.dtype),
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
    return str(path)


@pytest.fixture
def compare(tmp_path):
    def compare(name, p=NEAR, t=TRUTH, *, names=NAMES, true_names=None, **more):
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        return evaluate.run(
            EvaluateSettings(
                prediction=write(place / "p.ome.zarr", p, names),
                target=write(place / "t.ome.zarr", t, true_names or names), perceptual=name, **more,
            )
        )  # fmt: skip

    return compare


def by_hand(name, p, t, norms, *, stains=NAMES, ndim=2, edge=16, deep=4):
    """Window by window: (distance, misplaced) by stain, weighed by known pixels."""
    perceptual = Perceptual(load_encoder_package(name), stains)
    n_t, _, n_z, height, width = p.shape
    tops, lefts = ([*range(0, n - edge + 1, edge)] for n in (height, width))
    tops += [height - edge] * (height % edge > 0)
    lefts += [width - edge] * (width % edge > 0)
    fronts = range(n_z) if ndim == 2 else [0]
    total = 0
    for time in range(n_t):
        given = [
            np.stack([n.apply(x[time, c]) for c, n in enumerate(norms(x, time))]) for x in (p, t)
        ]
        for z in fronts:
            for y in tops:
                for x in lefts:
                    depth = z if ndim == 2 else slice(0, min(deep, n_z))
                    part = (slice(None), depth, slice(y, y + edge), slice(x, x + edge))
                    pair = [torch.from_numpy(np.ascontiguousarray(g[part])[None]) for g in given]
                    found = perceptual.compare(*pair, misplaced=True)
                    known = found.known.double()
                    each = [known, known * found.distance, known * found.misplaced]
                    total = total + torch.stack(each)[:, 0].numpy()
    return total[1] / total[0], total[2] / total[0]


def of_each(x, time):
    return [
        Normalisation(offset=float(x[time, c].mean()), scale=float(x[time, c].std()))
        for c in range(x.shape[1])
    ]


@pytest.mark.parametrize("at_once", [1, 1 << 19])
def test_numbers_are_those_of_windows_one_by_one(compare, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(compare_features, "_AT_ONCE", at_once)
    name = judge(tmp_path / "which", norms=NORMS)
    found = compare(name)
    distance, misplaced = by_hand(name, NEAR, TRUTH, lambda _x, _t: NORMS)
    np.testing.assert_allclose([s.perceptual for s in found.scores], distance, rtol=1e-5)
    np.testing.assert_allclose([s.perceptual_misplaced for s in found.scores], misplaced, rtol=1e-5)
    assert found.perceptual["mean"] == pytest.approx(distance.mean(), rel=1e-5)
    assert found.perceptual["window_px"] == [16, 16]
    assert any("windows of 16 x 16 px" in note for note in found.notes)


def test_each_picture_is_normalised_by_itself_where_the_card_says_so(compare, tmp_path):
    name = judge(tmp_path / "which", input_rule=Rule(kind="zscore", clip_sd=None))
    wanted, _ = by_hand(name, NEAR, TRUTH, of_each)
    found = compare(name)
    np.testing.assert_allclose([s.perceptual for s in found.scores], wanted, rtol=1e-4)
    # Gain and offset are then no difference.
    brighter = compare(name, NEAR * 3 + 50)
    np.testing.assert_allclose([s.perceptual for s in brighter.scores], wanted, rtol=1e-3)


def test_stacks_are_seen_as_volumes(compare, tmp_path):
    name = judge(tmp_path / "deep", ndim=3, norms=NORMS)
    wanted, _ = by_hand(name, NEAR, TRUTH, lambda _x, _t: NORMS, ndim=3)
    found = compare(name)
    np.testing.assert_allclose([s.perceptual for s in found.scores], wanted, rtol=1e-5)
    assert found.perceptual["window_px"] == [3, 16, 16]
    with pytest.raises(SettingsError, match="sees volumes, and the prediction is one plane"):
        compare(name, NEAR[:, :, :1], TRUTH[:, :, :1])


def test_what_is_missing_counts_for_nothing(compare, tmp_path):
    name = judge(tmp_path / "which", input_rule=Rule(kind="zscore", clip_sd=None))
    p, t = NEAR.copy(), TRUTH.copy()
    p[:, :, :, 32:], t[:, 1, 1] = np.nan, np.nan
    found = compare(name, p, t)
    assert all(0 < score.perceptual < 4 for score in found.scores)
    # Windows of what is there alone have the same number.
    whole = compare(name, NEAR[:, :1, :, :32, :32], TRUTH[:, :1, :, :32, :32], names=("DNA",))
    padded = [
        np.pad(x[:, :1, :, :32, :32], [(0, 0)] * 3 + [(0, 16), (0, 0)], constant_values=np.nan)
        for x in (NEAR, TRUTH)
    ]
    part = compare(name, *padded, names=("DNA",))
    assert part.scores[0].perceptual == pytest.approx(whole.scores[0].perceptual, rel=1e-3)


def test_a_constant_prediction_is_far_and_no_error(compare, tmp_path):
    name = judge(tmp_path / "which", input_rule=Rule())
    flat = compare(name, np.full_like(NEAR, 7.0)).scores
    assert all(f.perceptual > n.perceptual for f, n in zip(flat, compare(name).scores, strict=True))


def test_stains_are_matched_and_those_that_it_does_not_know_left_out(compare, tmp_path):
    name = judge(tmp_path / "which", ("ER", "Mito"))
    found = compare(name, true_names=("DAPI", "endoplasmic"), match=("DNA=DAPI", "ER=endoplasmic"))
    dna, er = found.scores
    assert dna.perceptual is None
    assert 0 < er.perceptual < 4
    assert found.perceptual["mean"] == er.perceptual
    assert any("was not trained on DNA" in note for note in found.notes)


def test_stains_that_are_judged_together_have_one_number(compare, tmp_path):
    name = judge(tmp_path / "both", ("ER", "DNA"), per_channel=False, channels=2)
    found = compare(name)
    assert found.scores[0].perceptual == found.scores[1].perceptual
    assert found.perceptual["together"]
    assert any("ER, DNA are compared together" in note for note in found.notes)


def test_the_command_prints_writes_and_returns_it(tmp_path, capsys):
    name = judge(tmp_path / "which", norms=NORMS)
    p, t = write(tmp_path / "p.ome.zarr", NEAR, NAMES), write(tmp_path / "t.ome.zarr", TRUTH, NAMES)
    words = ["evaluate", p, "--target", t, "--csv", str(tmp_path / "s.csv")]
    assert main([*words, "--perceptual", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["perceptual"].keys() == {"encoder", "fingerprint", "window_px", "together", "mean"}
    assert found["perceptual"]["encoder"] == read_encoder_card(name).name
    numbers = [row["perceptual"] for row in found["channels"]]
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert [float(row["perceptual"]) for row in rows] == pytest.approx(numbers, rel=1e-4)
    assert Evaluation.from_json(found).to_json() == found
    assert main([*words, "--perceptual", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-2:] == ["features", "misplaced"]
    assert [float(line.split()[-2]) for line in lines[1:]] == pytest.approx(numbers, abs=1e-4)
    assert main(words) == 0
    assert "features" not in capsys.readouterr().out
    assert "perceptual" not in (tmp_path / "s.csv").read_text()


def test_who_cannot_judge_is_refused_before_pixels_are_read(compare, tmp_path):
    for name, kind, words in (
        ("nothing", UnknownNameError, "nothing"),
        (judge(tmp_path / "w", ("tubulin",)), ChannelError, "trained on tubulin, and none of DNA, ER"),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            compare(name)


def test_a_blurred_prediction_of_lower_error_is_judged_worse(
    structure_encoder, small_fields, tmp_path
):
    field = small_fields[0]
    truth = np.asarray(field.stains[:1, :, None], np.float32)
    blurred = np.stack([gaussian_filter(plane, 2) for plane in truth[0, :, 0]])[None, :, None]
    sharp = np.roll(truth, (1, 1), axis=(3, 4))
    target = write(tmp_path / "t.ome.zarr", truth, field.stain_names)
    scores = [
        evaluate.run(
            EvaluateSettings(
                prediction=write(tmp_path / f"{n}.ome.zarr", p.astype(np.float32), field.stain_names),
                target=target, perceptual=str(structure_encoder),
            )
        ).scores
        for n, p in enumerate((sharp, blurred))
    ]  # fmt: skip
    for right, wrong in zip(*scores, strict=True):
        assert wrong.mse < right.mse
        assert right.perceptual < wrong.perceptual
