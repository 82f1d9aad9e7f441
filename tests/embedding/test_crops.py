"""Crops lie around the middle, inside the picture, and always in the same places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.embedding.crops import central_crops
from napari_virtualstain.errors import PixelDataError, SettingsError


@pytest.mark.parametrize(
    ("shape", "edge", "boxes"),
    [
        pytest.param((512, 512), 224, [(32, 32), (32, 256), (256, 32), (256, 256)], id="Target-2"),
        pytest.param((448, 448), 224, [(0, 0), (0, 224), (224, 0), (224, 224)], id="just enough"),
        pytest.param((300, 448), 224, [(0, 0), (0, 224), (76, 0), (76, 224)], id="overlapping"),
        pytest.param((224, 224), 224, [(0, 0)], id="one crop"),
        pytest.param((1001, 60), (100, 60), [(400, 0), (500, 0)], id="an edge an axis"),
    ],
)
def test_crops_lie_where_they_are_published_to_lie(shape, edge, boxes):
    crops = central_crops(shape, edge)
    assert [(y.start, x.start) for y, x in crops] == boxes


def test_a_volume_has_eight_crops():
    crops = central_crops((20, 100, 100), (8, 32, 32))
    assert len(crops) == 8
    assert [(one.start, one.stop) for one in crops[0]] == [(2, 10), (18, 50), (18, 50)]
    assert [(one.start, one.stop) for one in crops[-1]] == [(10, 18), (50, 82), (50, 82)]


@given(
    shape=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    edge=st.integers(1, 20),
    per_axis=st.integers(1, 4),
)
def test_crops_are_of_one_size_inside_the_picture_and_in_the_middle(shape, edge, per_axis):
    if min(shape) < edge:
        with pytest.raises(PixelDataError):
            central_crops(shape, edge, per_axis=per_axis)
        return
    crops = central_crops(shape, edge, per_axis=per_axis)
    corners = {tuple(one.start for one in crop) for crop in crops}
    assert 1 <= len(corners) == len(crops) <= per_axis ** len(shape)
    for axis, size in enumerate(shape):
        along = [crop[axis] for crop in crops]
        assert {one.stop - one.start for one in along} == {edge}
        first, last = min(one.start for one in along), max(one.stop for one in along)
        assert first >= 0
        assert abs(first - (size - last)) <= 1
        if size >= per_axis * edge:
            assert last - first == per_axis * edge


@pytest.mark.parametrize(
    ("shape", "how", "kind", "sentence"),
    [
        pytest.param(
            (200, 300), {"edge": 224}, PixelDataError,
            r"Field B03 is 200 x 300 px, smaller than the crops of 224 x 224 px .*\(--crop\)\.",
            id="smaller than a crop",
        ),
        pytest.param((9, 9), {"edge": 0}, SettingsError, "1 px or more", id="no pixels"),
        pytest.param((9, 9), {"edge": 3, "per_axis": 0}, SettingsError, "1 crop", id="no crops"),
        pytest.param((9, 9), {"edge": (3, 3, 3)}, SettingsError, "each axis", id="other axes"),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_said(shape, how, kind, sentence):
    with pytest.raises(kind, match=sentence):
        central_crops(shape, what="Field B03", **how)
