"""Sphered controls vary alike in all directions; what they do not tell is not blown up."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.embedding.retrieval import cosine
from napari_virtualstain.embedding.sphering import fit_sphering, sphere
from napari_virtualstain.errors import PixelDataError, SettingsError

RNG = np.random.default_rng(5)


def correlated(n, d, rng=RNG):
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


@pytest.mark.parametrize("form", ["zca", "pca"])
def test_controls_have_the_covariance_of_a_sphere_afterwards(form):
    controls = correlated(200, 6)
    after = fit_sphering(controls, shrinkage=0, form=form).apply(controls)
    np.testing.assert_allclose(after.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(after, rowvar=False, bias=True), np.eye(6), atol=1e-7)


def test_both_forms_have_the_same_angles():
    controls, profiles = correlated(40, 5), correlated(8, 5)
    zca, pca = (cosine(fit_sphering(controls, form=f).apply(profiles)) for f in ("zca", "pca"))
    np.testing.assert_allclose(zca, pca)


def test_a_feature_keeps_its_name_where_features_are_independent():
    controls = RNG.normal(size=(5000, 3)) * [1, 10, 100]
    matrix = fit_sphering(controls, shrinkage=0).matrix
    np.testing.assert_allclose(matrix, np.diag([1, 0.1, 0.01]), atol=0.02)


def ledoit_wolf_twin(controls):
    """The formulas as they are printed, row by row, in the norm of the paper."""
    x = controls - controls.mean(axis=0)
    n, p = x.shape
    s = sum(np.outer(row, row) for row in x) / n
    norm = lambda a: np.trace(a @ a.T) / p  # noqa: E731
    m = np.trace(s @ np.eye(p)) / p
    d2 = norm(s - m * np.eye(p))
    b2 = min(sum(norm(np.outer(row, row) - s) for row in x) / n**2, d2)
    return b2 / d2


@pytest.mark.parametrize("n", [6, 20, 500])
def test_the_shrinkage_is_that_of_the_printed_formula(n):
    controls = correlated(n, 7, np.random.default_rng(n))
    assert fit_sphering(controls).shrinkage == pytest.approx(ledoit_wolf_twin(controls))


def test_fewer_controls_are_shrunk_more():
    everything = correlated(2000, 10)
    shares = [fit_sphering(everything[:n]).shrinkage for n in (8, 40, 2000)]
    assert 1 >= shares[0] > shares[1] > shares[2] > 0


def test_fewer_controls_than_features_blow_nothing_up():
    controls, others = RNG.normal(size=(12, 300)), RNG.normal(size=(50, 300))
    after = fit_sphering(controls).apply(others)
    assert 0.5 < after.std() < 2


def test_a_nuisance_direction_of_the_controls_no_longer_decides():
    nuisance = np.zeros(8)
    nuisance[0] = 30
    controls = RNG.normal(size=(60, 8)) + RNG.normal(size=(60, 1)) * nuisance
    effect = np.zeros((2, 8))
    effect[0, 3], effect[1, 5] = 4, 4  # two mechanisms, seen under two lamps
    profiles = np.concatenate([effect + nuisance, effect - nuisance])
    before, after = cosine(profiles), cosine(fit_sphering(controls).apply(profiles))
    assert before[0, 1] > before[0, 2]  # the lamp decides
    assert after[0, 1] < after[0, 2]  # the mechanism does


def test_a_channel_that_a_field_lacks_says_nothing_of_the_others():
    features = correlated(30, 6)
    whole, _ = sphere(features, [True] * 20 + [False] * 10, [slice(0, 4), slice(4, 6)])
    features[25, 0] = np.nan
    after, fitted = sphere(features, [True] * 20 + [False] * 10, [slice(0, 4), slice(4, 6)])
    assert np.isnan(after[25]).tolist() == [True] * 4 + [False] * 2
    np.testing.assert_allclose(np.delete(after, 25, 0), np.delete(whole, 25, 0))
    np.testing.assert_allclose(after[25, 4:], whole[25, 4:])
    assert [one.controls for one in fitted] == [20, 20]


def test_a_control_that_lacks_a_channel_is_left_out_of_the_fit_of_that_channel():
    features = correlated(30, 4)
    features[3, 0] = np.nan
    _, fitted = sphere(features, [True] * 30, [slice(0, 2), slice(2, 4)])
    assert [one.controls for one in fitted] == [29, 30]


@pytest.mark.parametrize(
    ("controls", "how", "kind", "sentence"),
    [
        pytest.param(
            np.ones((4, 3)), {}, PixelDataError, r"There are 4 controls .* --controls, or leave",
            id="too few",
        ),
        pytest.param(
            np.full((9, 3), np.nan), {}, PixelDataError, "There are 0 controls", id="all missing"
        ),
        pytest.param(
            RNG.normal(size=(9, 9)), {"shrinkage": 0}, PixelDataError, "more than 9 controls",
            id="as many as features",
        ),
        pytest.param(np.ones((9, 3)), {}, PixelDataError, "different images", id="all the same"),
        pytest.param(
            np.ones((9, 3)), {"shrinkage": 2}, SettingsError, "between 0 and 1", id="shrinkage"
        ),
    ],
)  # fmt: skip
def test_controls_that_tell_nothing_are_refused(controls, how, kind, sentence):
    with pytest.raises(kind, match=sentence):
        fit_sphering(controls, **how)
