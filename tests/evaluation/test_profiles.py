"""Rows belong together by what they are of, in whatever order they come."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.evaluation.groups import group_of
from napari_virtualstain.evaluation.profiles import Profiles, joined


def table(keys, values, names=("area", "count")):
    return Profiles(keys=tuple(keys), names=tuple(names), values=np.asarray(values, float))


WELLS = [("p", "A01"), ("p", "A02"), ("p", "A03")]


def test_a_table_in_another_order_is_the_same_table():
    values = np.arange(6.0).reshape(3, 2)
    order = [2, 0, 1]
    turned = table([WELLS[i] for i in order], values[order][:, ::-1], ("count", "area"))
    one, other = joined(turned, table(WELLS, values))
    assert one.keys == other.keys == tuple(WELLS)
    assert one.values.tolist() == other.values.tolist() == values.tolist()


def test_what_only_one_has_is_left_out():
    one, other = joined(
        table(WELLS[:2], [[1, 2], [3, 4]]), table(WELLS[1:], [[5], [6]], ("count",))
    )
    assert (one.keys, one.names) == ((WELLS[1],), ("count",))
    assert (one.values.tolist(), other.values.tolist()) == ([[4]], [[5]])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: table([WELLS[0]] * 2, [[1, 2]] * 2), "Two rows are called 'p/A01'"),
        (lambda: table(WELLS[:1], [[1, 2]], ("a", "a")), "Two columns are called 'a'"),
        (lambda: table(WELLS, [[1, 2]]), "3 rows and 2 columns are named"),
        (
            lambda: joined(table(WELLS[:1], [[1, 2]]), table(WELLS[1:2], [[1, 2]])),
            "no row in common",
        ),
        (
            lambda: joined(table(WELLS[:1], [[1]], ("a",)), table(WELLS[:1], [[1]], ("b",))),
            "no feature in common",
        ),
    ],
    ids=["rows twice", "columns twice", "too few rows", "other wells", "other features"],
)
def test_what_cannot_be_joined_is_said(make, said):
    with pytest.raises(PixelDataError, match=said):
        make()


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("median_nucleus_area", ("nucleus", "shape", "")),
        ("median_cell_form_factor", ("cell", "shape", "")),
        ("median_cell_excess_ER", ("cell", "intensity", "ER")),
        ("nucleus_sum_actin_488", ("nucleus", "intensity", "actin_488")),
        ("covered", ("field", "count", "")),
    ],
)
def test_a_name_says_compartment_type_and_channel(name, group):
    assert tuple(group_of(name)) == group
