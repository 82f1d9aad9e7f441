"""A reference says what is usual: it is fitted, kept, edited and read again."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from drawn_cells import drawn_cells, kept_cells

from napari_virtualstain.errors import ImageFileError, MissingInputError, PixelDataError
from napari_virtualstain.io.kept import write_kept
from napari_virtualstain.qc.checks import run_checks, worst_state
from napari_virtualstain.qc.expectation import fit_expectation
from napari_virtualstain.qc.fit import fit_reference
from napari_virtualstain.qc.guard import bright_ranks, judge_amount
from napari_virtualstain.qc.reference import Limits, Usual, read_reference


@pytest.fixture(scope="module")
def fields():
    return [kept_cells(seed) for seed in range(10)]


@pytest.fixture(scope="module")
def reference(fields):
    return fit_reference(
        [lambda f=f: f for f in fields], alarms=0.1, model="drawn", fingerprint="f"
    )


def test_no_more_good_fields_are_flagged_than_was_asked_for(fields, reference):
    states = [worst_state(run_checks(one, reference)) for one in fields]
    assert states.count("amber") + states.count("red") <= 2
    assert reference.alarms == 0.1


def test_what_is_written_is_read_again_the_same(reference, tmp_path):
    path = tmp_path / "new" / "r.json"
    write_kept(path, reference)
    assert read_reference(path) == reference
    assert [p.name for p in path.parent.iterdir()] == ["r.json"]


def test_an_edited_limit_is_obeyed(reference):
    field = drawn_cells(50)
    strict = reference.model_copy(
        update={"limits": {**reference.limits, "blur": Limits(amber=1e-6, red=1e9)}}
    )
    (one,) = run_checks(field, strict, ["blur"])
    assert one.state == "amber"


def test_what_is_no_reference_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(MissingInputError, match="--calibrate"):
        read_reference(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"fields": 0}')
    with pytest.raises(ImageFileError, match="no reference of good predictions"):
        read_reference(tmp_path / "bad.json")


def test_too_few_fields_make_no_reference():
    with pytest.raises(PixelDataError, match="at least 4"):
        fit_reference([partial(drawn_cells, 1)] * 3)


@pytest.mark.parametrize(
    ("side", "value", "score"),
    [("high", 4, 1), ("high", 0, 0), ("low", 1, 1), ("low", 9, 0), ("both", 0, 2), ("both", 6, 2)],
)
def test_a_score_counts_how_far_out_a_value_is(side, value, score):
    assert Usual(middle=2, low=1, high=4).score(value, side, 0.01) == pytest.approx(score)


def test_a_range_without_width_is_as_wide_as_is_believed():
    assert Usual(middle=0, low=0, high=0).score(0.02, "high", 0.01) == pytest.approx(2)


def test_an_expectation_is_the_weighted_sum_that_is_there():
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(5):
        x = rng.normal(size=(3, 20, 20)).astype(np.float32)
        pairs.append((x, (2 * x[0] - x[2] + 7).astype(np.float32)))
    found = fit_expectation(pairs)
    assert found.weights == pytest.approx([2, 0, -1, 7], abs=0.02)
    assert found.r > 0.999
    np.testing.assert_allclose(found.of(pairs[0][0]), pairs[0][1], atol=0.05)
    assert fit_expectation(pairs[:1]) is None


@pytest.mark.parametrize(
    ("gains", "offset", "rank", "amount"),
    [
        ([1.0, 1.02, 0.98, 1.0, 1.0], 0.0, 0.9, "amount"),
        ([1.0, 1.02, 0.98, 1.0], 0.0, 0.9, "rank"),  # too few fields
        ([0.5, 1.5, 1.0, 1.0, 1.0], 0.0, 0.9, "rank"),
        ([2.0] * 6, 0.0, 0.9, "rank"),
        ([1.0] * 6, 0.5, 0.9, "rank"),
        ([1.0] * 6, 0.0, 0.3, "picture"),
    ],
)
def test_an_amount_needs_gain_offset_and_ranks(gains, offset, rank, amount):
    found = judge_amount(gains, [offset] * len(gains), [rank] * len(gains))
    assert found.amount == amount
    assert f"{found.gain:.2f}" in found.words


def test_fields_of_which_nothing_is_known_have_no_verdict():
    assert judge_amount([float("nan")], [0.0], [0.9]) is None


def sparse(brightness, noise, seed):
    """Return few discs of given brightness on a background of noise, 0.5 µm a pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:300, :300]
    found = rng.normal(0, noise, (300, 300))
    for n, bright in enumerate(brightness):
        cy, cx = 40 + 75 * (n // 4), 40 + 75 * (n % 4)
        found[(y - cy) ** 2 + (x - cx) ** 2 < 15**2] += bright
    return found.astype(np.float32)


def test_ranks_are_those_of_cells_and_not_of_the_noise_between_them():
    amounts = np.linspace(50, 200, 16)
    truth = sparse(amounts, 5, seed=1)
    assert bright_ranks(sparse(amounts, 5, seed=2), truth, 0.5) > 0.85
    shuffled = sparse(np.random.default_rng(3).permutation(amounts), 5, seed=2)
    assert bright_ranks(shuffled, truth, 0.5) < 0.6, "as many cells, as bright, the wrong ones"


def test_missing_pixels_have_no_rank_and_an_empty_field_has_none():
    truth = sparse(np.linspace(50, 200, 16), 5, seed=1)
    predicted = truth.copy()
    predicted[:150] = np.nan
    assert bright_ranks(predicted, truth, 0.5) == pytest.approx(1)
    assert np.isnan(bright_ranks(np.full_like(truth, np.nan), truth, 0.5))
    assert np.isnan(bright_ranks(truth[:10, :10], truth[:10, :10], 0.5))
