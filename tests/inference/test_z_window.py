"""Windows along z leave no trace: constant in, constant out, whatever the step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtualstain.errors import ChannelError, SettingsError
from napari_virtualstain.inference.z_window import ZWindows, blend_windows


@st.composite
def places(draw) -> ZWindows:
    window = draw(st.integers(1, 8))
    return ZWindows(
        depth=window + draw(st.integers(0, 20)),
        window=window,
        step=draw(st.integers(1, window)),
        weights=draw(st.sampled_from(["mean", "triangular"])),
    )


def blended(predict, windows):
    planes = list(blend_windows(predict, windows))
    assert [z for z, _ in planes] == list(range(windows.depth))
    return np.stack([plane for _, plane in planes], axis=1)


@given(places(), st.floats(-1e6, 1e6, width=32))
def test_a_constant_stays_a_constant(windows, value):
    def predict(part):
        return np.full((2, part.stop - part.start, 3, 4), value, np.float32)

    np.testing.assert_allclose(blended(predict, windows), value, rtol=1e-6)


@given(places())
def test_the_weights_of_a_plane_add_up_to_one_and_no_window_is_left_out(windows):
    total = np.zeros(windows.depth)
    for start in windows.starts:
        assert (windows.share(start) > 0).all()
        total[start : start + windows.window] += windows.share(start)
    np.testing.assert_allclose(total, 1)


@settings(max_examples=50)
@given(places())
def test_planes_are_those_of_the_stupid_way(windows):
    """All windows at once, added up and divided."""

    def predict(part):
        # Depends on the window and on the place in it.
        return (
            np.random.default_rng(part.start)
            .normal(size=(1, part.stop - part.start, 5))
            .astype(np.float32)
        )

    sums, weights = np.zeros((1, windows.depth, 5)), np.zeros(windows.depth)
    for start in windows.starts:
        part = slice(start, start + windows.window)
        sums[:, part] += windows.profile[:, None] * predict(part)
        weights[part] += windows.profile
    expected = sums / weights[:, None]
    np.testing.assert_allclose(blended(predict, windows), expected, rtol=1e-5, atol=1e-6)


def test_with_step_one_it_is_the_running_mean_that_was_published():
    windows = ZWindows(depth=9, window=4)
    rng = np.random.default_rng(0)
    stains = {start: rng.normal(size=(1, 4, 3)).astype(np.float32) for start in windows.starts}
    running, seen = np.zeros((1, 9, 3)), np.zeros(9)
    for start in windows.starts:
        for index in range(4):
            plane = start + index
            seen[plane] += 1
            running[:, plane] += (stains[start][:, index] - running[:, plane]) / seen[plane]
    found = blended(lambda part: stains[part.start], windows)
    np.testing.assert_allclose(found, running, rtol=1e-5, atol=1e-6)


@given(places())
def test_planes_come_as_soon_as_they_are_done(windows):
    predicted = []

    def predict(part):
        predicted.append(part.start)
        return np.zeros((1, windows.window, 1), np.float32)

    for plane, _ in blend_windows(predict, windows):
        # No window that begins at or before it is still to come, and none too many is computed.
        later = [start for start in windows.starts if start > predicted[-1]]
        assert all(start > plane for start in later)
        assert plane >= predicted[-1]


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"depth": 3, "window": 5}, ChannelError, r"Open the whole stack\.$"),
        ({"depth": 9, "window": 3, "step": 4}, SettingsError, r"from 1 to 3\.$"),
        ({"depth": 9, "window": 3, "step": 0}, SettingsError, r"from 1 to 3\.$"),
    ],
    ids=["too few planes", "planes between windows", "no step"],
)
def test_what_cannot_be_is_one_sentence(values, kind, words):
    with pytest.raises(kind, match=words):
        ZWindows(**values)
