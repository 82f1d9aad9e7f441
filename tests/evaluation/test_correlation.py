"""Features correlate as column by column they do, and groups by the mean of theirs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_virtualstain.evaluation.correlation import by_group, feature_correlation
from napari_virtualstain.evaluation.profiles import Profiles
from napari_virtualstain.metrics import pixel

values = arrays(
    np.float64, (7, 3),
    elements=st.one_of(st.just(np.nan), st.floats(-9, 9).map(lambda x: round(x, 1))),
)  # fmt: skip


@given(values, values, st.booleans())
def test_it_is_what_a_loop_over_columns_finds(p, t, ranks):
    found = feature_correlation(p, t, ranks=ranks)
    own = pixel.spearman if ranks else pixel.pearson
    for column, r in enumerate(found):
        both = np.isfinite(p[:, column]) & np.isfinite(t[:, column])
        if both.sum() < 3:
            assert np.isnan(r)
        else:
            expected = own(p[both, column], t[both, column])
            assert r == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_one_odd_row_moves_pearson_and_not_spearman():
    t = np.r_[np.linspace(0, 1, 20), 100.0][:, None]
    p = np.r_[np.linspace(1, 0, 20), 100.0][:, None]
    assert feature_correlation(p, t)[0] > 0.99
    assert feature_correlation(p, t, ranks=True)[0] < 0


def test_groups_are_of_compartment_type_and_channel():
    rng = np.random.default_rng(0)
    names = (
        "count", "median_nucleus_area", "median_nucleus_solidity", "median_nucleus_mean_DNA",
        "median_nucleus_mean_ER", "covered",
    )  # fmt: skip
    truth = rng.normal(size=(12, 6))
    truth[:, 5] = 1.0  # has no correlation
    prediction = truth.copy()
    prediction[:, 2] *= -1  # one of two shapes
    prediction[:, 4] = rng.normal(size=12)
    keys = tuple((f"A{i:02d}", str(j)) for i in range(6) for j in range(2))
    one, other = (Profiles(keys=keys, names=names, values=v) for v in (prediction, truth))
    found = {str(g.group): g for g in by_group(one, other, [k[0] for k in keys], draws=50)}
    assert {name: g.features for name, g in found.items()} == {
        "field count": 1, "nucleus shape": 2, "nucleus intensity DNA": 1, "nucleus intensity ER": 1,
    }  # fmt: skip
    assert found["field count"].pearson.value == pytest.approx(1)
    assert found["nucleus shape"].pearson.value == pytest.approx(0, abs=1e-9)
    assert abs(found["nucleus intensity ER"].pearson.value) < 0.9
    assert found["nucleus intensity ER"].pearson.groups == 6  # wells, not fields
