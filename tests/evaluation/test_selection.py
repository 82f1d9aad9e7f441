"""Features are chosen by what they tell in the truth."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.profiles import Profiles
from napari_virtualstain.evaluation.selection import robust_scale, select_features

N = 40


def table(columns):
    values = np.column_stack(list(columns.values()))
    keys = tuple((f"A{i:02d}",) for i in range(len(values)))
    return Profiles(keys=keys, names=tuple(columns), values=values)


def test_each_reason_leaves_out_what_it_should_and_no_more():
    rng = np.random.default_rng(0)
    controls = np.arange(N) < 20
    good, other = rng.normal(size=(2, N))
    some, few = rng.normal(size=(2, N))
    some[:3], few[:2] = np.nan, np.nan  # 7.5 and 5 %
    wild, treated = rng.normal(size=(2, N))
    wild[0], treated[-1] = 1000.0, 1000.0  # a control, and a treatment that does a lot
    columns = {
        "good": good, "constant": np.full(N, 7.0), "some": some, "few": few, "wild": wild,
        "treated": treated, "other": other, "twin": -good + 0.05 * rng.normal(size=N),
    }  # fmt: skip
    kept, why = select_features(table(columns), controls)
    assert set(kept) | set(why) == set(columns)
    assert set(kept) ^ {"good", "twin"} >= {"few", "treated", "other"}
    assert len({"good", "twin"} & set(kept)) == 1
    reasons = {"some": "8 %", "constant": "the same", "wild": "SD away"}
    assert {n for n in why if n not in ("good", "twin")} == set(reasons)
    assert all(said in why[name] for name, said in reasons.items())


def test_no_two_that_are_kept_correlate_and_each_other_has_one_that_does():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(N, 4))
    mixed = base @ rng.normal(size=(4, 12)) + 0.3 * rng.normal(size=(N, 12))
    one = table({f"f{i}": column for i, column in enumerate(mixed.T)})
    kept, why = select_features(one, np.ones(N, bool))
    r = np.abs(np.corrcoef(mixed.T))
    at = [one.names.index(name) for name in kept]
    assert (r[np.ix_(at, at)] - np.identity(len(at)) <= 0.9).all()
    assert why
    assert all(r[one.names.index(name), at].max() > 0.9 for name in why)


def test_nothing_left_is_an_error():
    with pytest.raises(PixelDataError, match="the same everywhere"):
        select_features(table({"a": np.ones(9), "b": np.zeros(9)}), np.ones(9, bool))


def test_the_scale_is_that_of_a_normal_distribution_and_outliers_do_not_move_it():
    values = np.random.default_rng(2).normal(5, 3, size=(4000, 1))
    values[:100] = 1e6
    assert robust_scale(values)[0] == pytest.approx(3, rel=0.06)


def test_where_most_are_equal_the_scale_is_the_standard_deviation():
    values = np.array([[0.0, 1.0], [0, 1], [0, 1], [4, 1]])
    scale = robust_scale(values)
    assert scale[0] == pytest.approx(values[:, 0].std())
    assert np.isnan(scale[1])
