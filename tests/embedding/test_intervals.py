"""Intervals hold what they promise, and know what belongs together."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.embedding.intervals import bootstrap, of_difference, of_mean
from napari_virtualstain.errors import PixelDataError, SettingsError

RNG = np.random.default_rng(2)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = RNG.normal(5, 2, 400)
    found = of_mean(values, range(400))
    error = values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.3 * error
    )


def test_items_of_one_group_are_one_witness():
    values = np.repeat(RNG.normal(size=20), 30)  # fields of 20 wells, alike within each
    wells = np.repeat(np.arange(20), 30).tolist()
    apart, together = of_mean(values, range(600)), of_mean(values, wells)
    assert together.high - together.low > 4 * (apart.high - apart.low)
    assert together.groups == 20


def test_about_95_of_100_intervals_hold_the_truth():
    held = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        groups = np.repeat(np.arange(30), 4)
        values = 3 + rng.normal(size=30)[groups] + rng.normal(size=120)
        found = of_mean(values, groups.tolist(), draws=300)
        held += found.low <= 3 <= found.high
    assert 0.88 < held / 200 <= 0.99


def test_a_paired_difference_is_sharper_than_two_scores():
    hard = RNG.normal(size=100)  # what is hard for both
    one, other = hard + 0.2 + 0.1 * RNG.normal(size=100), hard
    assert of_difference(one, other, range(100)).excludes_zero
    assert of_mean(one, range(100)).low < of_mean(other, range(100)).high


def test_the_seed_decides():
    values = RNG.normal(size=50)
    assert of_mean(values, range(50), seed=4) == of_mean(values, range(50), seed=4)
    assert of_mean(values, range(50), seed=4) != of_mean(values, range(50), seed=5)


def test_groups_are_drawn_whole_and_as_many_as_there_are():
    groups = ["a", "b", "a", "c"]
    seen = []
    bootstrap(lambda drawn: seen.append(drawn) or 0.0, groups, draws=50)
    for drawn in seen:
        counts = [int((drawn == i).sum()) for i in range(4)]
        assert counts[0] == counts[2]
        assert counts[0] + counts[1] + counts[3] == 3


def test_draws_without_a_score_are_left_out():
    found = bootstrap(
        lambda drawn: float("nan") if 0 not in drawn else float(len(set(drawn.tolist()))),
        range(5),
    )
    assert 1 <= found.low <= found.high <= 5


@pytest.mark.parametrize(
    ("groups", "how", "kind", "sentence"),
    [
        pytest.param(["a"] * 3, {}, PixelDataError, "got 1. Group by", id="one group"),
        pytest.param("abc", {"level": 95}, SettingsError, "for example 0.95", id="per cent"),
    ],
)
def test_what_has_no_interval_is_refused(groups, how, kind, sentence):
    with pytest.raises(kind, match=sentence):
        of_mean(np.ones(3), groups, **how)
