"""Active treatments are those far from the controls, and both sides are asked alike."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.actives import (
    compare_actives,
    k_means_1d,
    principal_components,
)

NAMES = ["DMSO"] * 10 + [f"t{n // 3:02d}" for n in range(36)]
CONTROLS = [name == "DMSO" for name in NAMES]
STRONG = ("t00", "t01", "t02", "t03")


def wells(seed, strong=STRONG):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(46, 30)) + 3  # controls and weak treatments share a direction
    values[[name in strong for name in NAMES]] -= 8
    return values


def test_planted_actives_are_found_on_both_sides():
    found = compare_actives(wells(1), wells(0), NAMES, CONTROLS, draws=50)
    far = found.distances > 1
    assert [n for n, one in zip(found.treatments, far[1], strict=True) if one] == list(STRONG)
    assert (far[0] == far[1]).all()
    assert found.active[:, :4].all()


def test_the_same_table_overlaps_wholly_and_another_set_less():
    same = compare_actives(wells(0), wells(0), NAMES, CONTROLS, draws=50)
    assert (same.overlap.value, same.overlap.low) == (1, 1)
    other = compare_actives(wells(1, ("t08", "t09", "t10")), wells(0), NAMES, CONTROLS, draws=50)
    assert other.overlap.value < 0.7
    assert 0 < other.chance < 1


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=9), st.integers(1, 3))
def test_no_other_cut_of_the_line_is_better(values, k):
    x = np.array(values)

    def cost(labels):
        return sum(((x[labels == n] - x[labels == n].mean()) ** 2).sum() for n in set(labels))

    order = np.argsort(x, kind="stable")
    costs = []
    for cuts in combinations(range(1, len(x)), k - 1):
        labels = np.zeros(len(x), int)
        labels[order] = np.searchsorted(cuts, np.arange(len(x)), side="right")
        costs.append(cost(labels))
    found = k_means_1d(x, k)
    assert cost(found) == pytest.approx(min(costs), abs=1e-6)
    assert (np.diff(found[order]) >= 0).all()


def test_components_are_those_of_the_covariance():
    values = np.random.default_rng(0).normal(size=(30, 5)) * [5, 4, 3, 2, 1]
    found = principal_components(values, 2)
    eigenvalues, vectors = np.linalg.eigh(np.cov(values.T))
    twin = (values - values.mean(axis=0)) @ vectors[:, ::-1][:, :2]
    assert np.abs(found) == pytest.approx(np.abs(twin))
    assert found.var(axis=0, ddof=1) == pytest.approx(eigenvalues[::-1][:2])


def test_fewer_treatments_than_clusters_are_refused():
    with pytest.raises(PixelDataError, match="2 treatments do not fall into 3 clusters"):
        compare_actives(np.eye(6), np.eye(6), list("aabbcc"), [True, True, *[False] * 4])
