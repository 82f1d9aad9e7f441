"""A real viewer with the dock in it, driven as a user drives it: clicks, drops, and eyes on the canvas."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

_REASON = ""
if find_spec("napari") is None or find_spec("pytestqt") is None:
    _REASON = "napari and pytest-qt are needed"
elif os.environ.get("NVS_NO_DISPLAY") == "1":
    _REASON = "NVS_NO_DISPLAY=1: no window can be opened here"
elif sys.platform.startswith("linux") and not (
    os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
):
    _REASON = "a window needs a display: run under xvfb-run"
elif os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    _REASON = "offscreen Qt has no OpenGL: run under xvfb-run"

OURS = ("virtualstain", "compute")
"""How the names of our threads begin."""


def pytest_ignore_collect(collection_path):
    """Say once why nothing here can run, instead of failing at the first import."""
    if _REASON and collection_path.parent == Path(__file__).parent:
        return collection_path.name.startswith("test_") or None
    return None


@pytest.fixture(scope="session")
def jobs(qapp, compute_session):
    """The one compute process of the test run, in the terms of Qt.

    napari collects garbage whenever layers go, which looks at every object of the test run:
    half a second for each viewer. What is there before the first one is left out.
    """
    from napari_virtualstain.widgets._jobs import Jobs

    jobs = Jobs(compute_session)
    until = time.monotonic() + 60
    while jobs.state.name != "ready" and time.monotonic() < until:
        time.sleep(0.02)
    gc.collect()
    gc.freeze()
    yield jobs
    gc.unfreeze()
    compute_session.on_state = lambda state: None


@pytest.fixture(scope="session")
def large_field(field_folder, tmp_path_factory):
    """A bright field of 1024 x 1024 px, so that a run over small tiles takes a while; read-only."""
    from napari_virtualstain.axes import PixelSize
    from napari_virtualstain.io.open import open_image
    from napari_virtualstain.io.sink import OmeZarrSink

    small = open_image(field_folder / "brightfield.ome.zarr")
    pixels = np.tile(small.data.compute(), (1, 1, 1, 4, 4))
    path = tmp_path_factory.mktemp("large") / "large.ome.zarr"
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=list(small.channels), n_tiles=1,
        dtype=str(pixels.dtype), pixel_size_um=PixelSize(4.0, 0.6, 0.6), chunks_yx=256,
        origin_um=(-4.0, 30.0, 12.0),
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
    return path


class Desk:
    """A viewer, our dock in it, and what a user does with them."""

    def __init__(self, viewer, jobs, qtbot):
        from napari_virtualstain.widgets.main import MainWidget

        self.viewer, self.jobs, self.qtbot = viewer, jobs, qtbot
        self.clicks = 0
        self.dock = MainWidget(viewer, jobs=jobs)
        self.window_dock = viewer.window.add_dock_widget(self.dock, name="Virtual staining")
        self.closed = False

    def __getattr__(self, name):
        parts = (
            "start",
            "load",
            "stain",
            "compare",
            "verdict",
            "qc",
            "measure",
            "explain",
            "tune",
            "queue",
            "models",
        )
        if name in (*parts, "run_bar", "fields"):
            return getattr(self.dock, name)
        raise AttributeError(name)

    def wait(self, condition, seconds=20.0):
        try:
            self.qtbot.waitUntil(lambda: bool(condition()), timeout=int(seconds * 1000))
        except self.qtbot.TimeoutError:
            pages = (
                "load",
                "stain",
                "compare",
                "verdict",
                "qc",
                "measure",
                "explain",
                "tune",
                "queue",
                "models",
            )
            said = {name: getattr(self, name).notice.text for name in pages}
            raise AssertionError(
                f"It did not come true. Said: {said}. Runs: {self.jobs.runs}. "
                f"Log: {self.run_bar.log.toPlainText()}"
            ) from None

    def click(self, button):
        """Click the middle of a button that a user could click."""
        from qtpy.QtCore import Qt

        self.wait(button.isVisible, 5)
        assert button.isEnabled(), button.text()
        self.clicks += 1
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def open(self, path, *, page=None):
        """Open a path in the dock, and wait for its layers; return them."""
        before = set(self.viewer.layers)
        self.load.open_path(str(path))
        self.wait(lambda: set(self.viewer.layers) - before)
        # Layers are added one by one, so that the viewer answers between them.
        self.wait(lambda: not self.load.notice.text.startswith("Opening"))
        if page is not None:
            self.dock.show_page(page)
        return [layer for layer in self.viewer.layers if layer not in before]

    def drop(self, *paths):
        """Drop files on the dock, as the window system does."""
        from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
        from qtpy.QtGui import QDragEnterEvent, QDropEvent
        from qtpy.QtWidgets import QApplication

        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        with_what = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton)
        keys = Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(QPoint(40, 40), *with_what, keys)
        QApplication.sendEvent(self.dock, enter)
        assert enter.isAccepted()
        drop = QDropEvent(QPointF(40, 40), *with_what, keys)
        QApplication.sendEvent(self.dock, drop)

    def choose_model(self, model, **settings):
        self.stain.model.box.setEditText(str(model))
        for name, value in settings.items():
            self.stain.settings[name].value = value

    def planned(self):
        """Wait until the plan stands there in words, also the measuring behind it; return it."""
        self.wait(lambda: "tile" in self.stain.plan.text())
        self.wait(lambda: not self.jobs.runs)
        return self.stain.plan.text()

    def idle(self, seconds=40.0):
        """Wait until nothing runs and everything that was painted is drawn."""
        self.wait(lambda: not self.jobs.runs, seconds)
        painters = {stain.painter for stain in self.stain.stainings.all}
        self.wait(lambda: not any(p._thread and p._thread.is_alive() for p in painters))
        self.wait(lambda: not any(p._timer.isActive() for p in painters))

    def painters(self):
        return [stain.painter for stain in self.stain.stainings.all]

    def predicted(self):
        """Return the layers that we painted, by stain."""
        from napari_virtualstain.napari_io.source import source_of

        found = ((source_of(layer), layer) for layer in self.viewer.layers)
        return {s.stain: layer for s, layer in found if s is not None and s.role == "prediction"}

    def running(self, verb="stain"):
        """Wait until a run has stained some tiles and has many to go; return it."""

        def begun():
            return [
                r for r in self.jobs.runs
                if r.verb == verb and r.progress is not None and r.progress[2].startswith("tiles stained")
                and r.progress[0] > 0
            ]  # fmt: skip

        self.wait(begun)
        return begun()[0]

    def canvas(self):
        """Return what the canvas shows, (Y, X, 3)."""
        from qtpy.QtWidgets import QApplication

        for _ in range(3):
            QApplication.processEvents()
        return self.viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)

    def at(self, canvas, layer, pixel_yx):
        """Return the colour of the canvas where a pixel of a layer lies."""
        world = layer.data_to_world((0,) * (layer.ndim - 2) + tuple(pixel_yx))[-2:]
        camera = self.viewer.scene.camera
        at = (np.asarray(world) - np.asarray(camera.center)[-2:]) * camera.zoom
        y, x = np.round(at + np.array(canvas.shape[:2]) / 2).astype(int)
        return canvas[y, x]

    def close(self):
        if not self.closed:
            self.closed = True
            self.viewer.close()


def our_threads():
    """Return the names of our threads but those of the one session."""
    known = ("compute-session", "compute-watch")
    return [
        t.name for t in threading.enumerate()
        if t.name.startswith(OURS) and t.name not in known
    ]  # fmt: skip


@pytest.fixture
def desk(make_napari_viewer, jobs, qtbot):
    """One desk; behind it nothing is left."""
    desk = Desk(make_napari_viewer(show=True), jobs, qtbot)
    yield desk
    desk.close()
    qtbot.waitUntil(lambda: not jobs.runs, timeout=20_000)
    qtbot.waitUntil(lambda: not our_threads(), timeout=10_000)


@pytest.fixture
def ready(desk, field_folder, tiny_model):
    """A field of 256 px over a plan of 16 tiles."""
    desk.open(field_folder / "brightfield.ome.zarr", page="stain")
    desk.choose_model(tiny_model, tile=64)
    return desk


@pytest.fixture
def bystander(desk):
    """Layers of somebody else, which nothing may touch."""
    layers = [
        desk.viewer.add_image(np.eye(32, dtype=np.uint8), name="theirs", scale=(2, 3)),
        desk.viewer.add_points(np.array([[1.0, 2.0], [9.0, 4.0]]), name="their points"),
        desk.viewer.add_labels(np.ones((8, 8), int), name="their labels", visible=False),
    ]
    before = [
        (layer, layer.data, layer.scale.tolist(), layer.visible, layer.name) for layer in layers
    ]
    desk.wait(lambda: desk.fields.all)
    yield layers
    for layer, data, scale, visible, name in before:
        assert layer in desk.viewer.layers or desk.closed
        assert layer.data is data
        assert (layer.scale.tolist(), layer.visible, layer.name) == (scale, visible, name)
