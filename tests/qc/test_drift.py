"""Drift is found where it was put, is told in words, and noise and treatments of one well are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_cells import drawn_cells
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.io.plate import Place, well_name
from napari_virtualstain.qc.drift import MeasuredField, find_drift, holm
from napari_virtualstain.qc.drift_numbers import drift_numbers
from napari_virtualstain.qc.field import Familiar


def plate(
    change=lambda y, x: 0.0, *, name="", rows=8, columns=12, sites=2, seed=0, measure="focus"
):
    """Fields of a whole plate; every measure has noise, one of them a change with its place."""
    rng = np.random.default_rng(seed)
    found = []
    for y in range(rows):
        for x in range(columns):
            for site in range(sites):
                numbers = {n: 10 + rng.normal(0, 1) for n in ("focus", "exposure", "nuclei")}
                numbers[measure] += change(y, x)
                place = Place(plate=name, well=well_name(y, x), site=str(site))
                found.append(
                    MeasuredField(
                        image=f"{name}{y}/{x}/{site}", place=place, t=0, times=1, numbers=numbers
                    )
                )
    return found


def said(fields):
    return {(one.measure, one.along): one for one in find_drift(fields).found}


def test_noise_is_no_drift():
    alarms = [len(find_drift(plate(seed=seed)).found) for seed in range(20)]
    assert sum(alarms) <= 2


def test_many_comparisons_of_a_small_plate_raise_no_more_alarms_than_one():
    alarms = [bool(find_drift(plate(seed=s, rows=3, columns=4)).found) for s in range(100, 160)]
    assert np.mean(alarms) <= 0.1


PUT = {
    "row": (lambda y, x: 0.6 * y, 1),
    "column": (lambda y, x: -0.4 * x, -1),
    "edge": (lambda y, x: 3.0 * (y in (0, 7) or x in (0, 11)), 1),
    "rows": (lambda y, x: 4.0 * (y % 2), 1),
    "columns": (lambda y, x: 4.0 * (x % 2), 1),
}


@pytest.mark.parametrize("along", PUT)
def test_a_change_with_the_place_is_found_and_nothing_else(along):
    change, sign = PUT[along]
    found = said(plate(change))
    assert ("focus", along) in found
    assert {measure for measure, _ in found} == {"focus"}
    one = found["focus", along]
    assert np.sign(one.effect) == sign
    assert one.p < 0.05
    assert one.count == 96


def test_a_slope_is_told_as_a_slope_and_not_once_more_as_a_difference():
    found = said(plate(PUT["row"][0]))
    assert ("focus", "row") in found
    assert ("focus", "rows") not in found


def test_it_is_said_in_words_from_where_to_where():
    (one,) = (f for f in find_drift(plate(lambda y, x: 2.0 * x)).found if f.along == "column")
    assert one.words.startswith("Focus of the bright field rises with the column (Spearman +1.")
    assert "over 96 wells, p = " in one.words
    assert "after Holm): from 1" in one.words
    assert one.words.endswith(".")
    assert "{p}" not in one.words


def test_of_an_output_it_is_said_that_treatments_may_be_the_cause():
    (one,) = find_drift(plate(lambda y, x: 1.0 * x, measure="nuclei")).found
    assert one.of == "output"
    assert "if treatments follow the layout, it may be theirs" in one.words


def test_input_comes_before_output():
    fields = plate(lambda y, x: 0.5 * x, measure="nuclei", seed=1)
    more = [
        MeasuredField(
            image=one.image, place=one.place, t=0, times=1,
            numbers={**one.numbers, "noise": 0.01 + 0.001 * n / 100 + 1e-4 * (n % 7)},
        )
        for n, one in enumerate(fields)
    ]  # fmt: skip
    order = [one.of for one in find_drift(more).found]
    assert order == sorted(order)
    assert set(order) == {"input", "output"}


def test_fields_of_a_well_count_once():
    few = plate(sites=1, rows=3, columns=4)
    many = [
        MeasuredField(image=f"{one.image}{n}", place=one.place, t=0, times=1, numbers=one.numbers)
        for one in few
        for n in range(30)
    ]
    alone, repeated = find_drift(few), find_drift(many)
    assert [one.p for one in repeated.found] == [one.p for one in alone.found]
    assert repeated.tests == alone.tests


def test_plates_that_differ_are_named():
    fields = plate(name="monday") + plate(lambda y, x: 3.0, name="friday", seed=5)
    found = said(fields)
    one = found["focus", "plate"]
    assert "differs between 2 plates" in one.words
    assert "on monday" in one.words
    assert "on friday" in one.words
    assert not find_drift(plate(name="monday") + plate(name="friday", seed=5)).found


def test_each_plate_is_looked_at_by_itself():
    fields = plate(name="monday") + plate(PUT["row"][0], name="friday", seed=5)
    assert said(fields)["focus", "row"].plate == "friday"
    assert "of friday" in said(fields)["focus", "row"].words


def movie(change, *, times=12, images=3):
    rng = np.random.default_rng(0)
    return [
        MeasuredField(
            image=str(n), place=Place(), t=t, times=times,
            numbers={"noise": 0.1 * n + rng.normal(0, 0.001) + change * t},
        )
        for n in range(images)
        for t in range(times)
    ]  # fmt: skip


def test_a_change_with_time_is_found_though_images_differ():
    (one,) = find_drift(movie(0.001)).found
    assert (one.measure, one.along, one.count) == ("noise", "time", 12)
    assert "rises with time" in one.words
    assert "treatments" not in one.words
    assert not find_drift(movie(0.0)).found


UNTOLD = {
    "no plate": (movie(0, times=1), "no image says in which well it lies"),
    "one well": (plate(rows=1, columns=1), "there is one well, and 8 are needed"),
    "too few wells": (plate(rows=1, columns=7), "there are 7 wells, and 8 are needed"),
    "one row": (plate(rows=1, columns=10), "Drift with the row: not assessable, the wells lie in"),
    "nothing inside": (plate(rows=1, columns=10), "Difference of the edge: not assessable"),
    "one plate": (plate(), "Differences between plates: not assessable, there is one plate"),
    "small plates": (
        plate(rows=1, columns=2, name="a") + plate(rows=1, columns=2, name="b"),
        "Differences between plates: not assessable, fewer than two have 4 wells",
    ),
    "no order": (plate(), "files do not say when each was taken, and no image has 8 time points"),
}


@pytest.mark.parametrize("what", UNTOLD)
def test_what_cannot_be_told_is_said(what):
    fields, why = UNTOLD[what]
    found = find_drift(fields)
    assert any(why in one for one in found.untold), found.untold
    assert all(one.endswith(".") for one in found.untold)


def test_a_measure_that_never_varies_is_not_compared():
    fields = [
        MeasuredField(image=one.image, place=one.place, t=0, times=1, numbers={"noise": 0.0})
        for one in plate()
    ]
    assert find_drift(fields).tests == 0


def test_what_is_measured_follows_focus_light_noise_and_stains():
    field = drawn_cells(1, time=False)
    plain = drift_numbers(field)
    assert plain["exposure"] == pytest.approx(8000, rel=0.05)
    assert plain["noise"] == pytest.approx(60 / 8000, rel=0.3)
    assert plain["nuclei"] == field.nuclei.max() > 5
    assert plain["brightness of DNA"] > 5 * plain["background of DNA"] / 4
    assert "distance" not in plain
    y = np.linspace(0.5, 1.5, field.shape[0])[:, None]
    uneven = drift_numbers(replace(field, planes=(field.planes * y).astype(np.float32), _kept={}))
    assert uneven["unevenness"] > plain["unevenness"] + 0.3
    brighter = drift_numbers(replace(field, planes=2 * field.planes, _kept={}))
    assert brighter["exposure"] == pytest.approx(2 * plain["exposure"])
    for name in ("focus", "noise", "unevenness"):
        assert brighter[name] == pytest.approx(plain[name], rel=1e-3, abs=0)
    far = Familiar(field=1.7, patches=0.0, where=np.zeros(field.shape, bool))
    assert drift_numbers(replace(field, familiar=far, _kept={}))["distance"] == 1.7


def test_without_a_bright_field_the_stains_are_still_followed():
    found = drift_numbers(replace(drawn_cells(1, time=False), planes=None, _kept={}))
    assert "focus" not in found
    assert "brightness of ER" in found


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_a_step_down_of_bonferroni(p):
    found = holm(p)
    assert all(one >= raw for one, raw in zip(found, p, strict=True))
    assert min(found) == pytest.approx(min(1.0, len(p) * min(p)))
    assert np.all(np.diff(np.array(found)[np.argsort(p, kind="stable")]) >= 0)


def test_no_order_of_few_wells_is_rarer_than_it_can_be():
    rows = [
        MeasuredField(
            image=str(n), place=Place(well=well_name(0, n)), t=0, times=1, numbers={"noise": n}
        )
        for n in range(8)
    ]  # fmt: skip
    (one,) = find_drift(rows).found
    assert one.effect == pytest.approx(1)
    assert one.p == pytest.approx(2 / 40320)
