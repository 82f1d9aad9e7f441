"""What is hidden is hidden by hand, too, and a stain is said to depend on what it does depend on."""

import numpy as np
import pytest

from napari_virtualstain.explain.occlusion import (
    hidden_planes,
    occlusion_map,
    plane_changes,
    plane_dependence,
)
from napari_virtualstain.explain.probe import Probe
from napari_virtualstain.metrics.pixel import pearson

KEEP = (slice(2, 18), slice(3, 27))
NAMES = ("-4 µm", "0 µm", "+4 µm")


@pytest.fixture
def planes():
    return np.random.default_rng(0).normal(size=(3, 20, 30)).astype(np.float32)


def probe(predict):
    return Probe(predict=predict, stain=0)


def test_occlusion_is_a_loop_over_squares(planes):
    asked = probe(lambda p: np.cumsum(p.sum(axis=0) ** 2, axis=1))
    got = occlusion_map(asked, planes, (11, 17), edge=6, step=4)
    total, count = np.zeros((20, 30)), np.zeros((20, 30))
    for top in (0, 4, 8, 12, 14):
        for left in (0, 4, 8, 12, 16, 20, 24):
            changed = planes.copy()
            for plane in range(3):
                changed[plane, top : top + 6, left : left + 6] = planes[plane].mean()
            fall = asked.predict(planes)[11, 17] - asked.predict(changed)[11, 17]
            total[top : top + 6, left : left + 6] += fall
            count[top : top + 6, left : left + 6] += 1
    np.testing.assert_allclose(got, total / count, rtol=1e-4, atol=1e-4)


def test_a_square_as_large_as_the_crop_hides_all(planes):
    got = occlusion_map(probe(lambda p: p[0]), planes, (5, 5), edge=99)
    np.testing.assert_allclose(got, planes[0, 5, 5] - planes[0].mean(), rtol=1e-4)


def test_a_hidden_plane_has_its_mean_everywhere(planes):
    found = hidden_planes(planes, [1])
    np.testing.assert_array_equal(found[[0, 2]], planes[[0, 2]])
    np.testing.assert_allclose(found[1], planes[1].mean(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("with_truth", [True, False], ids=["truth", "itself"])
def test_a_stain_depends_on_the_planes_that_it_is_made_of(planes, with_truth):
    def predict(p):
        return 2 * p[0] + 1.5 * p[1] + 0.01 * p[2]

    noise = np.random.default_rng(1).normal(size=(20, 30))
    truth = (predict(planes) + 0.5 * noise).astype(np.float32)[KEEP] if with_truth else None
    found = plane_dependence(predict, planes, keep=KEEP, truth=truth)
    like = predict(planes)[KEEP] if truth is None else truth
    assert found.whole == pytest.approx(pearson(predict(planes)[KEEP], like))
    for plane in range(3):
        changed = planes.copy()
        changed[plane] = planes[plane].mean()
        wanted = predict(changed)[KEEP]
        assert found.without[plane] == pytest.approx(pearson(wanted, like), abs=1e-5)
        np.testing.assert_allclose(
            found.changes[plane], np.abs(wanted - predict(planes)[KEEP]), atol=1e-5
        )
    assert found.needed == (0, 1)
    both = planes.copy()
    both[:2] = planes[:2].mean(axis=(1, 2), keepdims=True)
    assert found.without_needed == pytest.approx(pearson(predict(both)[KEEP], like), abs=1e-5)
    said = found.words("DNA", NAMES)
    assert said.startswith("DNA depends on planes -4 µm and 0 µm; without them the correlation")
    assert ("the truth" in said) is with_truth
    assert f"falls from {found.whole:.2f} to {found.without_needed:.2f}" in said


def test_two_planes_that_say_the_same_are_not_needed_one_by_one(planes):
    planes[1] = planes[0]
    found = plane_dependence(lambda p: p[0] + p[1], planes, keep=KEEP)
    assert found.needed == ()
    assert "no single plane" in found.words("DNA", NAMES)
    assert "still 1.00" in found.words("DNA", NAMES)


def test_one_plane_is_said_to_be_one(planes):
    found = plane_dependence(lambda p: p[0], planes[:1], keep=KEEP)
    assert found.alone == ()
    assert found.words("DNA", ["0 µm"]) == (
        "DNA has one input plane; with it hidden, the correlation with the prediction of all "
        "planes is 0.00 and not 1.00."
    )


def test_a_constant_stain_is_said_to_be_one(planes):
    found = plane_dependence(lambda p: np.zeros_like(p[0]), planes, keep=KEEP)
    assert "cannot be told: it is constant here" in found.words("DNA", NAMES)


def test_progress_counts_predictions(planes):
    told = []
    plane_dependence(lambda p: p[0], planes, keep=KEEP, on_step=lambda *a: told.append(a))
    assert [done for done, _ in told] == list(range(1, 1 + len(told)))
    assert told[-1][0] <= told[-1][1]


def test_changes_alone_are_those_of_the_whole_question(planes):
    def predict(p):
        return p[0] * p[1] + p[2]

    whole = plane_dependence(predict, planes, keep=KEEP)
    np.testing.assert_array_equal(plane_changes(predict, planes, keep=KEEP), whole.changes)
    assert whole.spread == pytest.approx(predict(planes)[KEEP].std(), rel=1e-5)
