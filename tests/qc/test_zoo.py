"""Failures have the strength and the place that they say, in both versions."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_cells import drawn_cells
from scipy import ndimage

from napari_virtualstain.qc.checks import CHECKS
from napari_virtualstain.qc.zoo import ZOO
from napari_virtualstain.qc.zoo_twins import TWINS

BOTH = [pytest.param(one, id=f"{n} {which}") for which, zoo in (("zoo", ZOO), ("twin", TWINS))
        for n, one in zoo.items()]  # fmt: skip


@pytest.fixture(scope="module")
def field():
    return drawn_cells(3, cells=8)


@pytest.mark.parametrize("failure", BOTH)
def test_a_failure_changes_the_field_the_same_each_time_and_leaves_the_good_one(failure, field):
    before = {n: p.copy() for n, p in field.stains.items()}
    planes = field.planes.copy()
    one, two = (failure.damage(field, "moderate", seed=4) for _ in range(2))
    for name, picture in one.field.stains.items():
        assert picture.dtype == np.float32
        np.testing.assert_array_equal(picture, two.field.stains[name])
        np.testing.assert_array_equal(field.stains[name], before[name])
    np.testing.assert_array_equal(field.planes, planes)
    changed = any((one.field.stains[n] != p).any() for n, p in before.items())
    changed |= bool((one.field.planes != planes).any())
    changed |= any((one.field.before[n] != p).any() for n, p in field.before.items())
    assert changed
    assert (one.mask is not None) == failure.regional
    if failure.regional:
        assert one.mask.shape == field.shape
        assert 0 < one.mask.mean() < 0.7


@pytest.mark.parametrize("failure", BOTH)
def test_a_weak_failure_is_no_stronger_than_a_moderate_one(failure, field):
    def strength(which):
        damaged = failure.damage(field, which, seed=1).field
        off = [np.abs(damaged.stains[n] - p).mean() for n, p in field.stains.items()]
        off.append(np.abs(damaged.planes - field.planes).mean() / 20)
        off += [np.abs(damaged.before[n] - p).mean() for n, p in field.before.items()]
        return sum(off)

    assert strength("weak") <= strength("moderate") * 1.001


@pytest.mark.parametrize("zoo", [ZOO, TWINS], ids=["zoo", "twin"])
def test_strengths_are_what_they_say(zoo, field):
    plain = field.stains["ER"]
    shifted = zoo["intensity shift"].damage(field, 0.2, seed=1).field.stains
    largest = max(
        float(np.median(shifted[n] - p)) / field.bright(n) for n, p in field.stains.items()
    )
    assert largest == pytest.approx(0.2, rel=0.02)
    veil = zoo["haze"].damage(field, 0.2).field.stains["ER"] - plain
    assert veil.mean() / field.bright("ER") == pytest.approx(0.2, rel=0.1)
    dust = zoo["dust"].damage(field, 0.02).mask
    assert dust.mean() == pytest.approx(0.02, rel=0.5)


def test_both_blurs_are_as_wide(field):
    # Of a point the second moment is the square of sigma.
    point = np.zeros((256, 256), np.float32)
    point[128, 128] = 1e4
    stains = {**field.stains, "ER": field.stains["ER"] + point}
    from dataclasses import replace

    moments = []
    for zoo in (ZOO, TWINS):
        spread = (
            zoo["blur"].damage(replace(field, stains=stains, _kept={}), 2.0).field.stains["ER"]
            - zoo["blur"].damage(field, 2.0).field.stains["ER"]
        )
        y, _ = np.indices(spread.shape)
        moments.append((spread * (y - 128.0) ** 2).sum() / spread.sum())
    assert moments == pytest.approx([4, 4], rel=0.1)


def test_lost_nuclei_are_gone_in_dna_alone(field):
    damaged = ZOO["lost nuclei"].damage(field, 0.2, seed=2)
    assert ndimage.label(damaged.mask)[1] == 2  # of 8
    inside = ndimage.binary_erosion(damaged.mask, iterations=2)
    assert damaged.field.stains["DNA"][inside].mean() < 0.4 * field.stains["DNA"][inside].mean()
    assert damaged.field.stains["ER"] is field.stains["ER"]


def test_every_failure_is_found_by_checks_that_exist():
    for one in ZOO.values():
        assert set(one.found_by) <= set(CHECKS), one.name
        assert one.strengths[0] >= one.strengths[1]
    assert {n for n, one in ZOO.items() if not one.found_by} == {"gain", "plausible swap"}
    assert set(ZOO) - set(TWINS) == {"channel swap", "plausible swap", "z swap"}


def test_the_table_of_the_docs_is_that_of_the_zoo():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "qc.md").read_text(encoding="utf-8")
    for name, one in ZOO.items():
        strong, weak = (f"{s:g}" for s in one.strengths)
        row = f"| {name} | {strong} | {'' if strong == weak else weak} | {one.unit} |"
        assert row in page, row
