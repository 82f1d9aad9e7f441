"""Hits are what lies further from the controls than they do, in truth and prediction alike."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.agreement import compare_hits, ratio_of_medians, ratio_of_sums
from napari_virtualstain.evaluation.hits import Effects, find_hits, scale_by_controls

D = 8


def plate(seed=0, controls=20, wells=3, doing=(0, 0, 4, 6), plates=1, spread=1.0):
    """Wells of controls and treatments; each treatment moves features of its own."""
    rng = np.random.default_rng(seed)
    values, treatments, of = [], [], []
    for number in range(plates):
        offset = rng.normal(0, 50, D)  # of a plate
        for name, strength, count in [
            ("DMSO", 0, controls),
            *((f"t{i}", s, wells) for i, s in enumerate(doing)),
        ]:
            moved = np.zeros(D)
            if name != "DMSO":
                moved[2 * int(name[1]) : 2 * int(name[1]) + 2] = strength
            values += list(offset + spread * (moved + rng.normal(size=(count, D))))
            treatments += [name] * count
            of += [f"p{number}"] * count
    return np.array(values), treatments, [t == "DMSO" for t in treatments], of


def effects(values, treatments, controls, plates, **how):
    scaled = scale_by_controls(values, controls, plates)
    return scaled, find_hits(scaled, treatments, controls, plates, **how)


@pytest.mark.parametrize("plates", [1, 3])
def test_treatments_that_do_something_are_hits_and_others_are_none(plates):
    _, found = effects(*plate(plates=plates))
    assert found.treatments == ("t0", "t1", "t2", "t3")
    assert found.hits.tolist() == [False, False, True, True]


def test_treatments_that_do_nothing_are_hits_as_often_as_the_level_says():
    rates = []
    for seed in range(20):
        _, found = effects(*plate(seed, controls=30, doing=[0] * 4), level=0.8, draws=200)
        rates.append(found.hits.mean())
    assert np.mean(rates) == pytest.approx(0.2, abs=0.1)


def test_gain_offset_and_the_order_of_wells_change_no_effect():
    values, treatments, controls, plates = plate()
    _, found = effects(values, treatments, controls, plates)
    order = np.random.default_rng(3).permutation(len(values))
    scaled = 2 * values[order] + 1000
    _, again = effects(
        scaled, [treatments[i] for i in order], [controls[i] for i in order],
        [plates[i] for i in order],
    )  # fmt: skip
    assert again.sizes == pytest.approx(found.sizes)
    assert again.hits.tolist() == found.hits.tolist()


def test_what_a_well_lacks_is_left_out_and_not_zero():
    values, treatments, controls, plates = plate()
    _, whole = effects(values, treatments, controls, plates)
    values[-1, 0] = np.nan  # a feature that t3 does not move
    _, found = effects(values, treatments, controls, plates)
    assert np.isfinite(found.sizes).all()
    assert found.sizes[:3] == pytest.approx(whole.sizes[:3])
    values[:, 3] = np.nan
    _, found = effects(values, treatments, controls, plates)
    assert np.isfinite(found.sizes).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"controls": 4}, "There are 4 control wells, and 5 are needed"),
        ({"doing": ()}, "All wells are controls"),
    ],
    ids=["few controls", "no treatment"],
)
def test_what_cannot_be_told_is_said(change, said):
    with pytest.raises(PixelDataError, match=said):
        effects(*plate(**change))


def test_a_plate_without_controls_is_named():
    values, treatments, controls, plates = plate(plates=2)
    gone = [c and p == "p1" for c, p in zip(controls, plates, strict=True)]
    keep = [i for i, g in enumerate(gone) if not g]
    with pytest.raises(PixelDataError, match="Plate 'p1' has no control well"):
        effects(values[keep], *([one[i] for i in keep] for one in (treatments, controls, plates)))


# Truth against prediction.


def compared(predicted, truth, treatments, controls, plates):
    p, t = (effects(values, treatments, controls, plates) for values in (predicted, truth))
    return compare_hits(p, t, treatments, draws=100)


STRONG = {"doing": (5, 6, 7, 8), "spread": 0.5}


def test_the_truth_itself_agrees_with_the_truth():
    values, *rest = plate(**STRONG)
    found = compared(3 * values + 10, values, *rest)
    assert [one.low for one in (found.overlap, found.ranking, found.recognised)] == [1, 1, 1]
    assert (found.lost, found.invented, found.swapped) == ((), (), ())
    assert found.cosine == pytest.approx(1)


def test_a_treatment_that_is_drawn_as_untreated_is_lost():
    values, treatments, controls, plates = plate(**STRONG)
    predicted = values.copy()
    rows = [i for i, t in enumerate(treatments) if t == "t1"]
    predicted[rows] = values[: len(rows)]  # as controls look
    found = compared(predicted, values, treatments, controls, plates)
    assert (found.lost, found.invented) == (("t1",), ())
    assert found.overlap.value == pytest.approx(3 / 4)
    assert found.overlap.low < found.overlap.value < found.overlap.high


def test_two_treatments_that_are_swapped_are_named_though_both_are_hits():
    values, treatments, controls, plates = plate(**STRONG)
    predicted = values.copy()
    one, other = ([i for i, t in enumerate(treatments) if t == n] for n in ("t0", "t2"))
    predicted[one + other] = values[other + one]
    found = compared(predicted, values, treatments, controls, plates)
    assert found.swapped == (("t0", "t2"),)
    assert (found.lost, found.invented) == ((), ())
    assert found.recognised.value == pytest.approx(0.5)
    assert [found.truth.treatments[i] for i in found.nearest] == ["t2", "t1", "t0", "t3"]


def test_a_prediction_of_nothing_but_noise_agrees_by_chance():
    values, *rest = plate(**STRONG)
    noise = np.random.default_rng(9).normal(size=values.shape)
    found = compared(noise, values, *rest)
    assert found.overlap.value < 0.8
    assert found.recognised.value < 0.8


def test_intervals_are_over_wells():
    truth = np.full(40, 10.0)
    wells = [f"A{i // 2}" for i in range(40)]
    predicted = np.where(np.arange(40) // 2 % 2, 9.0, 10.0)
    for ratio in (ratio_of_sums, ratio_of_medians):
        found = ratio(predicted, truth, wells, draws=300)
        assert found.groups == 20
        assert 0.9 <= found.low <= found.value <= found.high <= 1.0
    assert ratio_of_sums(predicted, truth, wells).value == pytest.approx(0.95)
    assert np.isnan(ratio_of_medians(predicted, np.zeros(40), wells, draws=9).value)


def test_a_hit_that_is_on_the_border_in_the_other_is_not_lost():
    truth, near, far = (
        Effects(treatments=("a", "b"), profiles=np.zeros((2, 1)), sizes=np.array([sizes, 3.0]),
                thresholds=np.ones(2))
        for sizes in (1.05, 0.95, 0.5)
    )  # fmt: skip
    assert truth.hits.tolist() == [True, True]
    assert near.hits.tolist() == far.hits.tolist() == [False, True]
    assert (near.nearly.tolist(), far.nearly.tolist()) == ([True, True], [False, True])
    for predicted, size, lost, share in ((near, 0.95, (), 1.0), (far, 0.5, ("a",), 0.5)):
        drawn = np.array([[size], [3.0]])
        found = compare_hits(
            (drawn, predicted), (np.array([[1.05], [3.0]]), truth), ["a", "b"], draws=50
        )
        assert (found.lost, found.invented) == (lost, ())
        assert found.overlap.value == pytest.approx(share)
