"""Fields of one group never end on both sides of a split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.split import split_by_group
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
