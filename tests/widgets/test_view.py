"""Which pixels the canvas shows."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_virtualstain.widgets._view import shown_region, shown_time


@pytest.fixture
def viewer(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(800, 600)
    return viewer


def look_at(viewer, qtbot, centre, zoom):
    viewer.scene.camera.center = (0.0, *centre)
    viewer.scene.camera.zoom = zoom
    qtbot.wait_exposed(viewer.window._qt_window)
    viewer.screenshot(flash=False)


def test_the_whole_image_is_in_view_at_first(viewer, qtbot):
    layer = viewer.add_image(np.zeros((200, 300)), scale=(0.5, 0.5))
    viewer.reset_view()
    viewer.screenshot(flash=False)
    assert shown_region(viewer, layer) == (0, 0, 200, 300)


@pytest.mark.parametrize("multiscale", [False, True], ids=["flat", "pyramid"])
def test_a_part_in_view_is_given_in_pixels_of_the_finest_level(viewer, qtbot, multiscale):
    finest = da.zeros((2048, 2048), chunks=512)
    data = [finest, finest[::2, ::2], finest[::4, ::4]] if multiscale else finest
    layer = viewer.add_image(
        data, scale=(0.5, 0.5), translate=(10, 20), multiscale=multiscale, contrast_limits=(0, 1)
    )
    look_at(viewer, qtbot, (10 + 0.5 * 1024, 20 + 0.5 * 512), zoom=4.0)

    def shown():
        y0, x0, y1, x1 = shown_region(viewer, layer)
        middle = ((y0 + y1) / 2, (x0 + x1) / 2)
        return np.allclose(middle, (1024, 512), atol=3) and y1 - y0 < 700 and x1 - x0 < 900

    qtbot.waitUntil(shown)
    height, width = viewer.screenshot(flash=False).shape[:2]
    y0, x0, y1, x1 = shown_region(viewer, layer)
    # 4 canvas pixels a micrometre, 2 image pixels a micrometre
    assert y1 - y0 == pytest.approx(height / 2, abs=3)
    assert x1 - x0 == pytest.approx(width / 2, abs=3)


def test_an_image_that_is_not_in_view_has_no_region(viewer, qtbot):
    layer = viewer.add_image(np.zeros((100, 100)))
    look_at(viewer, qtbot, (5000.0, 5000.0), zoom=4.0)
    qtbot.waitUntil(lambda: shown_region(viewer, layer) is None)


def test_other_axes_of_the_viewer_do_not_matter(viewer, qtbot):
    viewer.add_image(np.zeros((4, 3, 100, 100)))
    layer = viewer.add_image(np.zeros((3, 100, 100)), scale=(4.0, 2.0, 2.0), name="stack")
    viewer.dims.set_point(0, 2)
    look_at(viewer, qtbot, (100.0, 60.0), zoom=40.0)
    y0, x0, y1, x1 = shown_region(viewer, layer)
    np.testing.assert_allclose(((y0 + y1) / 2, (x0 + x1) / 2), (50, 30), atol=1.5)


def test_in_three_dimensions_everything_counts_as_shown(viewer):
    layer = viewer.add_image(np.zeros((4, 50, 60)))
    viewer.dims.ndisplay = 3
    assert shown_region(viewer, layer) == (0, 0, 50, 60)


def test_the_time_in_view_follows_the_slider(viewer):
    layer = viewer.add_image(
        np.zeros((5, 8, 8)), axis_labels=("t", "y", "x"), scale=(30.0, 1, 1), name="movie"
    )
    still = viewer.add_image(np.zeros((3, 8, 8)), axis_labels=("z", "y", "x"))
    for t in (0, 3):
        viewer.dims.set_point(0, 30.0 * t)
        assert shown_time(viewer, layer) == t
    assert shown_time(viewer, still) is None
