"""Cells of one distribution lie at the floor, those of another beyond it, by what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import energy_distance, wasserstein_distance

from napari_virtualstain.errors import MissingExtraError, PixelDataError
from napari_virtualstain.evaluation.populations import (
    ALL,
    Cells,
    auroc,
    compare_populations,
    energy,
    recognised,
    wasserstein,
)

NAMES = ("nucleus_area", "nucleus_mean_DNA", "cell_mean_AGP", "cell_excess_AGP")
WELLS = [("p", f"A{n:02}") for n in range(1, 7)]
TREATED = {well: ("a", "b", "c")[n // 2] for n, well in enumerate(WELLS)}


def population(seed=0, cells=120, move=None, names=NAMES):
    """Return wells that differ, whose predicted cells are moved: feature -> (gain, offset in SD)."""
    rng = np.random.default_rng(seed)
    truth, prediction = {}, {}
    for n, well in enumerate(WELLS):
        middle = np.arange(len(names)) + 0.5 * (n // 2)
        truth[well] = rng.normal(middle, 1, (cells, len(names)))
        found = rng.normal(middle, 1, (cells, len(names)))
        for name, (gain, offset) in (move or {}).items():
            column = names.index(name)
            found[:, column] = middle[column] + gain * (found[:, column] - middle[column]) + offset
        prediction[well] = found
    return located(names, truth, prediction)


def located(names, truth, prediction):
    """Put each cell in a place of its own, except that predicted and true ones share them."""
    return Cells(
        names=names, truth=truth, prediction=prediction,
        true_places={well: np.arange(len(side)) for well, side in truth.items()},
        predicted_places={well: np.arange(len(side)) for well, side in prediction.items()},
    )  # fmt: skip


def by_group(cells, treatments=TREATED):
    found, _ = compare_populations(cells, treatments, draws=100)
    return {one.group: one for one in found if not one.feature}


def test_cells_of_one_distribution_lie_at_the_floor():
    whole = by_group(population())[ALL]
    assert whole.wasserstein.value == pytest.approx(whole.halves, rel=0.15)
    assert whole.excess.low < 0 < whole.excess.high
    assert whole.energy.value == pytest.approx(whole.energy_halves, rel=0.2)
    assert whole.features == len(NAMES)
    assert whole.wasserstein.groups == len(WELLS)


def test_the_same_cells_on_both_sides_lie_at_the_floor_and_not_below_it():
    """A perfect prediction is no better than other true cells, since it is asked of other places."""
    cells = population()
    whole = by_group(located(NAMES, cells.truth, cells.truth))[ALL]
    assert whole.wasserstein.value == pytest.approx(whole.halves)
    assert whole.energy.value == pytest.approx(whole.energy_halves)


def test_the_group_whose_feature_is_moved_is_the_one_that_is_found():
    found = by_group(population(move={"cell_mean_AGP": (1.0, 1.5)}))
    assert list(found) == [ALL, "nucleus shape", "nucleus intensity DNA", "cell intensity AGP"]
    assert found["cell intensity AGP"].excess.low > 0.2
    assert abs(found["nucleus shape"].excess.value) < 0.06
    assert found["cell intensity AGP"].energy.low > 2 * found["cell intensity AGP"].energy_halves


def test_a_distribution_that_is_too_narrow_is_found_though_its_mean_is_right():
    """What a mean of draws does: the cells are all like the usual one."""
    found = by_group(population(move=dict.fromkeys(NAMES, (0.3, 0.0))))[ALL]
    assert found.excess.low > 0.1


def test_a_single_feature_has_a_row_of_its_own_in_its_group():
    distances, _ = compare_populations(
        population(move={"cell_excess_AGP": (1, 2.0)}), {}, draws=100
    )
    rows = {one.feature: one for one in distances if one.feature}
    assert set(rows) == set(NAMES)
    assert rows["cell_excess_AGP"].wasserstein.value > 1
    assert rows["cell_mean_AGP"].wasserstein.value < 0.4
    assert rows["cell_excess_AGP"].group == "cell intensity AGP"
    assert rows["cell_excess_AGP"].energy is None


def test_distances_are_in_standard_deviations_of_the_true_cells():
    cells = population(move={"cell_mean_AGP": (1.0, 1.0)})
    scale = np.array([1, 1000.0, 1e-3, 1])
    large = located(
        NAMES,
        {well: side * scale for well, side in cells.truth.items()},
        {well: side * scale for well, side in cells.prediction.items()},
    )
    for one, other in zip(by_group(cells).values(), by_group(large).values(), strict=True):
        assert one.wasserstein.value == pytest.approx(other.wasserstein.value)
        assert one.energy.value == pytest.approx(other.energy.value)


def test_replicates_are_wells_of_one_treatment_and_without_labels_there_are_none():
    shifted = population()
    moved = {
        well: side + (3.0 if n % 2 else 0.0) for n, (well, side) in enumerate(shifted.truth.items())
    }
    uneven = located(NAMES, moved, moved)
    found = by_group(uneven)[ALL]
    assert found.replicates > 3 * found.halves
    assert by_group(uneven, {})[ALL].replicates is None
    assert by_group(population())[ALL].replicates == pytest.approx(
        by_group(population())[ALL].halves, rel=0.2
    )


def test_a_classifier_tells_apart_what_was_moved_and_guesses_at_the_rest():
    pytest.importorskip("sklearn")
    cells = population(move={"cell_mean_AGP": (1.0, 2.0)})
    found = recognised(cells, [ALL, "nucleus shape", "cell intensity AGP"], draws=100)
    assert found["cell intensity AGP"].low > 0.8
    assert found[ALL].low > 0.8
    assert found["nucleus shape"].value == pytest.approx(0.5, abs=0.05)


def test_the_classifier_is_never_asked_of_a_well_that_taught_it():
    """Each well has a code of its own, by which its predicted cells would be known."""
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    names = ("nucleus_area", "cell_area")
    truth, prediction = {}, {}
    for n, well in enumerate(WELLS):
        side = 1 if n % 2 else -1
        code = np.full((80, 1), 10.0 * n)
        truth[well] = np.hstack([code, rng.normal(side, 0.1, (80, 1))])
        prediction[well] = np.hstack([code, rng.normal(-side, 0.1, (80, 1))])
    found = recognised(located(names, truth, prediction), [ALL], draws=50)
    assert found[ALL].value < 0.8, "with its own well among the teachers it would be 1"


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.ensemble", None)
    with pytest.raises(MissingExtraError, match=r"napari-virtualstain\[phenotype\]"):
        recognised(population(), [ALL])


def test_missing_features_and_small_wells_are_left_out_and_said():
    cells = population(names=(*NAMES, "nucleus_solidity"))
    for side in (cells.truth, cells.prediction):
        for table in side.values():
            table[:, -1] = 0.5
            table[0, 0] = np.nan
    small = dict(cells.prediction)
    small[WELLS[0]] = small[WELLS[0]][:9]
    found, notes = compare_populations(located(cells.names, cells.truth, small), {}, draws=50)
    assert found[0].features == len(NAMES)
    assert found[0].wasserstein.groups == len(WELLS) - 1
    assert [note.split()[:3] for note in notes] == [["1", "of", "5"], ["1", "of", "6"]]


def test_cells_that_lie_in_one_place_have_no_halves():
    cells = population()
    place = {well: np.zeros(len(side), int) for well, side in cells.truth.items()}
    crowded = Cells(
        names=NAMES, truth=cells.truth, prediction=cells.prediction, true_places=place,
        predicted_places=place,
    )  # fmt: skip
    with pytest.raises(PixelDataError, match="Compare larger fields"):
        compare_populations(crowded, {})


EMPTY = {
    "one well": (WELLS[:1], 50),
    "few cells everywhere": (WELLS, 5),
    "no cell anywhere": (WELLS, 0),
}


@pytest.mark.parametrize("case", EMPTY)
def test_too_few_cells_are_refused_in_one_sentence(case):
    wells, most = EMPTY[case]
    cells = population()
    some = located(
        NAMES,
        {well: cells.truth[well][:most] for well in wells},
        {well: cells.prediction[well][:most] for well in wells},
    )
    with pytest.raises(PixelDataError, match="Compare more fields or wells"):
        compare_populations(some, {})


NUMBERS = st.floats(-50, 50, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (9, 2), elements=NUMBERS), arrays(np.float64, (9, 2), elements=NUMBERS))
def test_the_distances_of_one_feature_are_those_of_scipy(one, other):
    expected = [wasserstein_distance(one[:, n], other[:, n]) for n in range(2)]
    np.testing.assert_allclose(wasserstein(one, other), expected, atol=1e-9)
    np.testing.assert_allclose(
        energy(one[:, :1], other[:, :1]), energy_distance(one[:, 0], other[:, 0]), atol=1e-5
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=20))
def test_the_area_under_the_curve_is_how_often_a_positive_is_ranked_higher(drawn):
    scores = np.array([float(score) for score, _ in drawn])
    positive = np.array([one for _, one in drawn])
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    found = auroc(scores, positive)
    assert np.isnan(found) if not pairs else found == pytest.approx(np.mean(pairs))
