"""Pixels inside polygons, against a count of crossings, pixel by pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.objects.polygons import inside

# Corners between pixels, so that no pixel lies on an edge.
CORNER = st.tuples(st.integers(-3, 12), st.integers(-3, 14)).map(
    lambda c: (c[0] + 0.37, c[1] + 0.29)
)


def crossings(shape, corners):
    found = np.zeros(shape, bool)
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    for y in range(shape[0]):
        for x in range(shape[1]):
            count = 0
            for (y1, x1), (y2, x2) in edges:
                if (y1 > y) != (y2 > y):
                    count += x < x1 + (y - y1) / (y2 - y1) * (x2 - x1)
            found[y, x] = count % 2
    return found


@given(st.lists(st.lists(CORNER, min_size=3, max_size=5), max_size=3))
def test_a_pixel_is_inside_if_a_ray_from_it_leaves_once_more_than_it_enters(polygons):
    shape = (9, 11)
    expected = np.zeros(shape, bool)
    for corners in polygons:
        expected |= crossings(shape, corners)
    np.testing.assert_array_equal(inside(shape, polygons), expected)
