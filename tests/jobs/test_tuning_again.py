"""Which fields judge in tunings that begin again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.jobs.tuning_again import folds_of


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1), st.data())
def test_every_group_judges_once(groups, data):
    held = data.draw(st.sets(st.sampled_from(sorted(set(groups))), min_size=1))
    folds = folds_of(groups, held)
    judged = [*held, *(name for fold in folds for name in fold)]
    assert sorted(judged) == sorted(set(groups))
    assert all(1 <= len(fold) <= len(held) for fold in folds)
