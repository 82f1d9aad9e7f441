"""Layers of one store while somebody writes it; here the test is the run."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.tiling.plan import plan_tiles
from napari_virtualstain.widgets import _painter
from napari_virtualstain.widgets._painter import Painter, levels_of

EDGE, CORE = 128, 32


class Writer:
    """A run that writes when it is told to."""

    def __init__(self, path):
        self.plan = list(plan_tiles((EDGE, EDGE), core=CORE, halo=8, multiple_of=16))
        self.sink = OmeZarrSink.create(
            path, shape=(1, 2, 1, EDGE, EDGE), n_tiles=len(self.plan), chunks_yx=CORE,
            channels=[Channel("DNA", "fluorescence"), Channel("ER", "fluorescence")],
            pixel_size_um=PixelSize(None, 0.5, 0.5), origin_um=(0.0, 4.0, 2.0),
            record={
                "job": "stain", "created": "now", "model": {"name": "tiny"},
                "plan": {"core": [CORE, CORE], "halo": 8, "multiple_of": 16},
            },
        )  # fmt: skip

    def write(self, *numbers):
        for number in numbers:
            tile = self.plan[number]
            region = (slice(0, 1), slice(0, 2), slice(0, 1), *tile.write)
            self.sink.write(region, np.full((1, 2, 1, CORE, CORE), number + 1, np.float32))
            self.sink.commit(tile.index)


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((EDGE, EDGE)), name="below", contrast_limits=(0, 1))
    viewer.add_points(np.zeros((1, 2)), name="above")
    return viewer


@pytest.fixture
def run(tmp_path):
    return Writer(tmp_path / "run.ome.zarr")


@pytest.fixture
def painter(viewer, run, qtbot):
    from qtpy.QtCore import QObject

    parent = QObject()
    painter = Painter(
        viewer, run.sink.path, above=(viewer.layers["below"],), name="field",
        contrast={"DNA": (0.0, 9.0)}, place=None, over=None, parent=parent,
    )  # fmt: skip
    painter.parent_kept = parent
    yield painter
    painter.stop()


def test_a_window_is_drawn_again_after_layers_came(viewer, run, qtbot):
    from qtpy.QtWidgets import QWidget

    window = QWidget()
    qtbot.addWidget(window)
    painter = Painter(
        viewer, run.sink.path, above=(), name="field", contrast={}, place=None, over=None,
        parent=window,
    )  # fmt: skip
    held = []
    viewer.layers.events.inserted.connect(lambda _: held.append(not window.updatesEnabled()))
    run.write(0)
    painter.follow()
    qtbot.waitUntil(lambda: len(painter.layers) == 2)
    qtbot.waitUntil(window.updatesEnabled)
    assert held == [True, True]
    painter.stop()


def finest(layer):
    return layer.data[0] if layer.multiscale else layer.data


def test_layers_come_with_the_first_tile_and_follow_the_others(painter, run, viewer, qtbot):
    run.write(0)
    painter.follow()
    qtbot.waitUntil(lambda: len(painter.layers) == 2)
    dna = painter.layers[0]
    assert [layer.name for layer in viewer.layers] == [
        "below", dna.name, painter.layers[1].name, "above",
    ]  # fmt: skip
    assert dna.contrast_limits == [0.0, 9.0]
    assert (dna.visible, painter.layers[1].visible) == (True, False)
    np.testing.assert_allclose(dna.translate, [4, 2])
    run.write(1, 2)
    last = run.plan[2].write
    qtbot.waitUntil(lambda: bool((np.asarray(finest(dna)[last]) == 3).all()))
    assert np.isnan(np.asarray(finest(dna)[run.plan[5].write])).all()


def test_all_layers_come_while_tiles_keep_coming(painter, run, qtbot):
    """A run that is always ahead must not keep the other stains away with its redraws."""
    run.write(0)
    painter.follow()
    painter._timer.timeout.connect(lambda: painter._mark(True))
    qtbot.waitUntil(lambda: len(painter.layers) == 2, timeout=3000)


def test_the_end_of_a_run_shows_the_finished_store(painter, run, qtbot):
    run.write(0)
    painter.follow()
    qtbot.waitUntil(lambda: len(painter.layers) == 2)
    run.write(*range(1, len(run.plan)))
    with qtbot.waitSignal(painter.complete, timeout=10_000):
        run.sink.finish()
        painter.rest()
    written = open_image(run.sink.path).data.compute()
    for c, layer in painter.layers.items():
        np.testing.assert_array_equal(np.asarray(finest(layer)), written[0, c, 0])


def test_a_layer_is_redrawn_at_most_four_times_a_second(painter, run, qtbot, monkeypatch):
    run.write(0)
    painter.follow()
    qtbot.waitUntil(lambda: len(painter.layers) == 2)
    drawn = []
    layer = painter.layers[0]
    monkeypatch.setattr(
        type(layer), "refresh", lambda self, *_, **__: drawn.append(_painter.time.monotonic())
    )
    for number in range(1, 16):
        run.write(number)
        qtbot.wait(40)
    gaps = np.diff(drawn)
    assert len(drawn) >= 2
    assert gaps.min() >= 0.9 * _painter._REDRAW_S


def test_a_layer_that_is_removed_stays_removed(painter, run, viewer, qtbot):
    run.write(0)
    painter.follow()
    qtbot.waitUntil(lambda: len(painter.layers) == 2)
    gone = painter.layers[1]
    viewer.layers.remove(gone)
    run.write(*range(1, len(run.plan)))
    with qtbot.waitSignal(painter.complete, timeout=10_000):
        run.sink.finish()
        painter.rest()
    assert gone not in viewer.layers
    assert len(viewer.layers) == 3


@pytest.mark.parametrize("when", ["before_they_come", "after"])
def test_layers_that_are_put_away_are_painted_on_and_come_back_as_they_were(
    painter, run, qtbot, when
):
    run.write(0)
    if when == "before_they_come":
        painter.put_away()
    painter.follow()
    qtbot.waitUntil(lambda: len(painter.layers) == 2)
    qtbot.waitUntil(lambda: painter._to_show is None)
    painter.put_away()
    assert not any(layer.visible for layer in painter.layers.values())
    run.write(*range(1, len(run.plan)))
    with qtbot.waitSignal(painter.complete, timeout=10_000):
        run.sink.finish()
        painter.rest()
    assert not any(layer.visible for layer in painter.layers.values())
    painter.bring_back()
    assert [layer.visible for layer in painter.layers.values()] == [True, False]
    assert np.isfinite(np.asarray(finest(painter.layers[0]))).all()


def test_a_store_that_is_not_there_is_one_sentence(painter, run, qtbot):
    shutil.rmtree(run.sink.path)
    with qtbot.waitSignal(painter.failed, timeout=5000) as said:
        painter.follow()
    assert "Traceback" not in said.args[0]
    assert str(run.sink.path) in said.args[0]


def test_stop_ends_the_thread_and_the_redrawing(painter, run, qtbot):
    run.write(0)
    painter.follow()
    qtbot.waitUntil(lambda: len(painter.layers) == 2)
    painter.stop()
    assert not painter._timer.isActive()
    qtbot.waitUntil(lambda: not painter._thread.is_alive())


def test_a_painter_that_is_deleted_by_qt_ends_its_thread(painter, run, qtbot):
    run.write(0)
    painter.follow()
    qtbot.waitUntil(lambda: len(painter.layers) == 2)
    painter.parent_kept.deleteLater()
    thread = painter._thread
    qtbot.waitUntil(lambda: not _is_alive(painter))
    run.write(1)
    qtbot.waitUntil(lambda: not thread.is_alive())


def _is_alive(painter):
    try:
        painter.objectName()
    except RuntimeError:
        return False
    return True


def test_a_kept_copy_takes_the_place_of_the_store(painter, run, qtbot, tmp_path):
    run.write(*range(len(run.plan)))
    painter.follow()
    qtbot.waitUntil(lambda: len(painter.layers) == 2)
    with qtbot.waitSignal(painter.complete, timeout=10_000):
        run.sink.finish()
        painter.rest()
    copy = tmp_path / "kept.ome.zarr"
    shutil.copytree(run.sink.path, copy)
    with qtbot.waitSignal(painter.complete, timeout=10_000):
        painter.move_to(copy, levels_of(copy))
    shutil.rmtree(run.sink.path)
    for layer in painter.layers.values():
        assert source_of(layer).path == str(copy)
        assert np.isfinite(np.asarray(finest(layer))).all()
