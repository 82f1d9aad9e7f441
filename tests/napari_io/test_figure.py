"""Panels of what is in view, for paper."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.napari_io.figure import compose_figure, panels_of
from napari_virtualstain.napari_io.mixed import Pair


@pytest.fixture
def pair():
    true = np.tile(np.linspace(0, 100, 60, dtype=np.float32), (40, 1))
    predicted = true.copy()
    predicted[:20] += 30
    predicted[20:] -= 30
    predicted[0, 0] = np.nan
    return Pair(
        predicted=predicted, true=true, region=(0, 0, 40, 60), first=(0.0, 0.0), step=(1.0, 1.0)
    )


def test_panels_say_between_which_grey_values_they_are_shown(pair):
    bright = np.tile(np.arange(60.0), (40, 1))
    panels = panels_of(pair, (0.0, 100.0), bright)
    assert [(panel.title, panel.below) for panel in panels] == [
        ("Bright field", "0 to 59"),
        ("Predicted", "0 to 100"),
        ("True", "0 to 100"),
        ("Predicted magenta, true green", "0 to 100"),
        ("Predicted - true", "blue -50, black 0, orange 50"),
    ]
    assert len(panels_of(pair, (0.0, 100.0))) == 4


def test_the_difference_is_orange_where_too_bright_and_blue_where_too_dark(pair):
    signed = panels_of(pair, (0.0, 100.0))[-1].pixels
    assert signed[0, 0].tolist() == [0, 0, 0], "missing"
    assert signed[10, 30].tolist() == np.rint(255 * 0.6 * np.array([1.0, 0.6, 0.1])).tolist()
    assert signed[30, 30].tolist() == np.rint(255 * 0.6 * np.array([0.35, 0.65, 1.0])).tolist()


def test_pixels_are_repeated_and_not_smoothed(pair):
    panels = panels_of(pair, (0.0, 100.0))
    figure = np.asarray(compose_figure(panels, pixel_um=None, caption=["words " * 80]))
    times = 7  # 60 px become at least 420
    left, top = 14, 14 + 17 + 7
    panel = figure[top : top + 40 * times, left : left + 60 * times]
    np.testing.assert_array_equal(panel[::times, ::times], panels[0].pixels)
    np.testing.assert_array_equal(panel[times - 1 :: times, times - 1 :: times], panels[0].pixels)
    assert figure.shape[1] == 4 * (60 * times + 14) + 14


def test_the_bar_is_as_long_as_it_says(pair):
    panels = panels_of(pair, (0.0, 100.0))
    with_bar, without = (
        np.asarray(compose_figure(panels, pixel_um=size, caption=[])) for size in (0.5, None)
    )
    changed = (with_bar != without).any(-1)
    assert changed.any()
    # 60 px of 0.5 um are 30 um, a bar of 5 um is 10 px, 70 of the figure.
    bottom = np.flatnonzero(changed.any(-1)).max()
    line = with_bar[bottom - 8 : bottom, :440]
    white = (line == 255).all(-1) & changed[bottom - 8 : bottom, :440]
    assert 68 <= white.sum(-1).max() <= 72
