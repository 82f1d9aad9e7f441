"""Which crops a step sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.labelled import LabelledPicture, label_up
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.intensity import Rule
from napari_virtualstain.training.settings import ViewSettings
from napari_virtualstain.training.views import (
    Sampler,
    check_pictures,
    draw_crops,
    draw_views,
    resized_crop,
)


def numbered(labels, *, edge=40, per_channel=True, label="treatment"):
    """Pictures whose grey value says which they are, and which channel."""
    rng = np.random.default_rng(0)
    of = [
        LabelledPicture(
            f"p{n}",
            np.stack([np.full((edge, edge), 10.0 * n + c) for c in (1, 2)])
            + 0.01 * rng.normal(size=(2, edge, edge)),
            name,
        )
        for n, name in enumerate(labels)
    ]
    return label_up(
        of, channels=("DNA", "ER"), per_channel=per_channel, label=label,
        classes=tuple(sorted({name for name in labels if name})), rule=Rule(kind="none"),
        normalise_on="set",
    )  # fmt: skip


def which(pixels):
    """Return picture and channel of what was drawn."""
    return divmod(round(float(pixels.mean())), 10)


VIEWS = ViewSettings(narrow_views=3, narrow_patch=16)


def views_of(pictures, *, step=0, weak=True, batch=64, seed=0):
    return draw_views(
        pictures, Sampler.of(pictures), step=step, batch=batch, edge=24, views=VIEWS, weak=weak,
        augment=True, seed=seed,
    )  # fmt: skip


def test_small_views_are_of_one_other_picture_with_the_same_label():
    labels = ["x", "y", "x", "y", "x"]
    wide, narrow = views_of(numbered(labels))
    assert wide.shape == (2, 64, 1, 24, 24)
    assert narrow.shape == (3, 64, 1, 16, 16)
    for n in range(64):
        (of,), (other,) = ({which(v[n]) for v in views} for views in (wide, narrow))
        assert of[0] != other[0]
        assert of[1] == other[1]
        assert labels[of[0]] == labels[other[0]]


def test_the_first_steps_may_be_those_of_dino():
    pictures = numbered(["x", "y", "x", "y"])
    told = {"batch": 32, "edge": 24, "weak": True, "augment": True, "seed": 0}
    views = VIEWS.model_copy(update={"own_steps": 2})
    for step in (1, 2):
        wide, narrow = draw_views(pictures, Sampler.of(pictures), step=step, views=views, **told)
        same = {which(wide[0][n]) == which(narrow[0][n]) for n in range(32)}
        assert same == {step < 2}


def test_without_weak_labels_all_views_are_of_one_picture():
    wide, narrow = views_of(numbered(["x", "y"]), weak=False)
    for n in range(64):
        assert len({which(v[n]) for v in (*wide, *narrow)}) == 1


def test_every_class_is_drawn_as_often_however_many_pictures_it_has():
    pictures = numbered(["x"] * 9 + ["y"])
    _, classes = draw_crops(
        pictures, Sampler.of(pictures), step=0, batch=2000, crop=(8, 8), augment=False, seed=0
    )
    assert np.mean(classes) == pytest.approx(0.5, abs=0.05)


def test_crops_have_the_class_of_their_picture():
    labels = ["y", "x", "y"]
    pictures = numbered(labels, per_channel=False)
    pixels, classes = draw_crops(
        pictures, Sampler.of(pictures), step=3, batch=40, crop=(8, 8), augment=True, seed=1
    )
    assert pixels.shape == (40, 2, 8, 8)
    for crop, label in zip(pixels, classes, strict=True):
        assert pictures.classes[label] == labels[which(crop[0])[0]]


@pytest.mark.parametrize("draw", [views_of, lambda p, **at: draw_crops(
    p, Sampler.of(p), batch=8, crop=(8, 8), augment=True, **{"seed": 0, **at}
)], ids=["views", "crops"])  # fmt: skip
def test_seed_and_step_decide_everything(draw):
    pictures = numbered(["x", "y", "x", "y"])
    one, again, step, seed = (
        draw(pictures, step=s, seed=d) for s, d in ((1, 0), (1, 0), (2, 0), (1, 5))
    )
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], step[0])
    assert not np.array_equal(one[0], seed[0])


@given(low=st.floats(0.01, 1), high=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_a_crop_covers_its_share_of_the_picture(low, high, seed):
    """Of a ramp: how far it rises across a crop says how much of the picture it shows."""
    edge = 64
    low, high = sorted((low, high))
    ramp = np.broadcast_to(np.arange(edge, dtype=float), (1, edge, edge)).copy()
    pictures = label_up(
        [LabelledPicture("ramp", ramp)], channels=("a",), per_channel=True, label="",
        rule=Rule(kind="none"), normalise_on="set",
    )  # fmt: skip
    crop = resized_crop(
        pictures, 0, np.random.default_rng(seed), edge=edge, share=(low, high), augment=False
    )
    assert crop.shape == (1, edge, edge)
    inner = crop[0, 32, 16:48]  # away from the borders, where resizing has nothing to lean on
    length = (inner[-1] - inner[0]) / 31 * edge
    assert np.sqrt(low) * edge - 1.5 <= length <= np.sqrt(high) * edge + 1.5


@pytest.mark.parametrize(
    ("labels", "crop", "pairs", "words"),
    [
        (["x", "y", "x"], (24, 24), True, "'y' has one picture with DNA.*--encoder dino"),
        (["x", "y"], (41, 41), False, "40 x 40 px, smaller than a crop of 41 x 41.*--patch"),
        (["x", "y"], (8, 8, 8), False, "smaller than a crop of 8 x 8 x 8"),
    ],
    ids=["one picture of a class", "too small", "planes for volumes"],
)
def test_pictures_that_give_no_views_are_refused(labels, crop, pairs, words):
    with pytest.raises(SettingsError, match=words):
        check_pictures(numbered(labels), crop=crop, option="--patch", pairs=pairs)


def test_shares_out_of_order_are_refused():
    with pytest.raises(ValueError, match="the smaller first"):
        ViewSettings(wide_share=(0.5, 0.2))
