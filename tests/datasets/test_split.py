"""Fields of one group never end on both sides of a split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.split import split_by_group, split_in_sets
from napari_virtualstain.errors import SettingsError

groups = st.lists(st.sampled_from("abcdefg"), min_size=2).filter(lambda g: len(set(g)) > 1)


@given(groups, st.floats(0, 0.8), st.integers(0, 99))
def test_every_item_is_on_one_side_and_no_group_on_both(names, share, seed):
    try:
        train, held = split_by_group(names, validation=share, seed=seed)
    except SettingsError:
        return
    assert sorted(train + held) == list(range(len(names)))
    assert not {names[i] for i in train} & {names[i] for i in held}
    assert train
    assert bool(held) is (share > 0)


@given(groups, st.integers(0, 9))
def test_the_seed_decides(names, seed):
    assert split_by_group(names, validation=0.3, seed=seed) == split_by_group(
        names, validation=0.3, seed=seed
    )


def test_one_field_cannot_be_split():
    with pytest.raises(SettingsError, match="Give more fields, or use --validation 0"):
        split_by_group(["a", "a"], validation=0.1, seed=0)


def test_a_share_of_one_is_refused():
    with pytest.raises(SettingsError, match="from 0 to below 1"):
        split_by_group(["a", "b"], validation=1.0, seed=0)


shares = st.floats(0, 0.6)


@given(groups, shares, shares, st.integers(0, 99))
def test_three_sets_never_share_a_group_and_every_item_lands_in_one(names, validation, test, seed):
    try:
        sets = split_in_sets(names, validation=validation, test=test, seed=seed)
    except SettingsError:
        return
    assert len(sets) == len(names)
    homes = {}
    for group, name in zip(names, sets, strict=True):
        assert homes.setdefault(group, name) == name
    assert "train" in sets
    assert ("validation" in sets) is (validation > 0)
    assert ("test" in sets) is (test > 0)


@given(groups, st.floats(0.01, 0.4), st.integers(0, 9))
def test_a_test_set_takes_nothing_from_what_validates(names, share, seed):
    try:
        with_test = split_in_sets(names, validation=share, test=0.2, seed=seed)
    except SettingsError:
        return
    without = split_in_sets(names, validation=share, seed=seed)
    assert [s == "validation" for s in with_test] == [s == "validation" for s in without]


def test_a_share_of_test_fields_is_named_where_it_is_wrong():
    with pytest.raises(SettingsError, match="share of test fields must be from 0 to below 1"):
        split_in_sets(["a", "b"], validation=0.1, test=1.0, seed=0)
    with pytest.raises(SettingsError, match="split into training, validation and test"):
        split_in_sets(["a", "b"], validation=0.1, test=0.1, seed=0)
