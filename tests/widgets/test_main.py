"""The dock as a whole: opened by napari, dropped on, closed, and shared by two viewers."""

from __future__ import annotations

import gc

import numpy as np
import psutil
import pytest
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QWidget,
)

from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets.main import MainWidget

PAGES = (
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


def test_napari_opens_the_dock_of_the_manifest(make_napari_viewer, jobs, qtbot, monkeypatch):
    monkeypatch.setattr("napari_virtualstain.widgets.main.jobs_of_application", lambda: jobs)
    viewer = make_napari_viewer(show=True)
    dock, widget = viewer.window.add_plugin_dock_widget(
        "napari-virtualstain", "Load, stain, compare"
    )
    assert isinstance(widget, MainWidget)
    assert widget.viewer is viewer or widget.viewer == viewer
    qtbot.waitUntil(dock.isVisible)
    titles = [widget.pages.tabText(n) for n in range(widget.pages.count())]
    assert titles == [
        "Start", "Load", "Stain", "Compare", "Verdict", "QC", "Measure", "Explain", "Tune", "Queue", "Models",
    ]  # fmt: skip


def test_an_image_is_stained_within_three_clicks_of_its_drop(desk, field_folder, tiny_model):
    desk.drop(field_folder / "brightfield.ome.zarr")
    desk.wait(lambda: len(desk.viewer.layers) == 1)
    desk.choose_model(tiny_model, tile=64)  # in place of the model that the box shows by itself
    desk.click(desk.load.go)
    assert desk.stain.isVisible()
    desk.click(desk.stain.view)
    desk.wait(lambda: len(desk.predicted()) == 5)
    assert desk.clicks <= 3
    desk.idle()


def test_a_drop_opens_lazily_with_axes_names_and_pixel_size(desk, field_folder):
    desk.drop(field_folder / "brightfield.ome.zarr", field_folder / "stains.ome.zarr")
    desk.wait(lambda: len(desk.viewer.layers) == 6)
    brightfield, *stains = sorted(desk.viewer.layers, key=lambda one: one.ndim, reverse=True)
    assert [layer.name for layer in stains] == ["DNA", "ER", "RNA", "AGP", "Mito"]
    assert brightfield.axis_labels == ("z", "y", "x")
    assert brightfield.scale.tolist() == pytest.approx([4.0, 0.6, 0.6])
    assert {str(unit) for unit in brightfield.units} == {"micrometer"}
    finest = brightfield.data[0] if brightfield.multiscale else brightfield.data
    assert hasattr(finest, "dask"), "no pixels in memory"
    assert source_of(brightfield).path == str(field_folder / "brightfield.ome.zarr")
    shown = desk.canvas()
    assert shown.max() > 40


def test_what_is_no_file_is_not_taken(desk):
    from qtpy.QtCore import QMimeData, QPoint, Qt
    from qtpy.QtGui import QDragEnterEvent

    mime = QMimeData()
    mime.setText("words")
    enter = QDragEnterEvent(
        QPoint(40, 40), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    enter.ignore()
    desk.dock.dragEnterEvent(enter)
    assert not enter.isAccepted()


def test_napari_s_own_way_of_opening_gives_the_same_layers(desk, field_folder):
    path = field_folder / "brightfield.ome.zarr"
    (theirs,) = desk.viewer.open(path, plugin="napari-virtualstain")
    desk.wait(lambda: desk.load.box.field is not None)
    (ours,) = desk.open(path)
    assert theirs.scale.tolist() == ours.scale.tolist()
    assert source_of(theirs) == source_of(ours)
    assert desk.load.box.field.path == str(path)


# --- how it looks ----------------------------------------------------------------------------------


@pytest.fixture
def filled(desk, field_folder, tiny_model):
    """Every page with something on it."""
    desk.viewer.window.resize(1280, 800)
    desk.open(field_folder / "brightfield.ome.zarr")
    desk.open(field_folder / "stains.ome.zarr", page="stain")
    desk.choose_model(tiny_model, tile=128)
    desk.stain.box.choose((str(field_folder / "brightfield.ome.zarr"), ""))
    desk.click(desk.stain.all)
    desk.idle()
    desk.wait(lambda: desk.compare.start.isEnabled())
    desk.dock.show_page("compare")
    desk.click(desk.compare.start)
    desk.wait(lambda: desk.compare.table.rowCount() == 5)
    desk.compare.fold.heading.setChecked(True)
    desk.compare.scores.start.click()
    desk.wait(lambda: desk.compare.scores.results.isVisible(), 40)
    return desk


def test_nothing_is_cut_off_in_a_window_of_1280_by_800(filled):
    desk, cut = filled, []
    for number, name in enumerate(PAGES):
        desk.dock.show_page(name)
        QApplication.processEvents()
        page = desk.dock.pages.widget(number)
        assert page.content.width() <= page.viewport().width(), f"{name} needs scrolling sideways"
        for widget in desk.dock.findChildren(QWidget):
            if not widget.isVisible():
                continue
            right = widget.mapTo(desk.dock, widget.rect().topRight()).x()
            if right > desk.dock.width():
                cut.append((name, type(widget).__name__, widget.objectName(), right))
            if isinstance(widget, (QPushButton, QToolButton)) and widget.text():
                needed = widget.minimumSizeHint()
                if widget.width() < needed.width() or widget.height() < needed.height():
                    cut.append((name, widget.text(), widget.width(), needed.width()))
            wraps = isinstance(widget, QLabel) and widget.wordWrap() and widget.text()
            if wraps and widget.height() < widget.heightForWidth(widget.width()):
                cut.append((name, widget.text()[:40], widget.height()))
            if isinstance(widget, (QComboBox, QLineEdit)) and widget.width() < 40:
                cut.append((name, type(widget).__name__, widget.width()))
    assert cut == []
    assert desk.viewer.window._qt_window.width() <= 1280
    assert desk.viewer.window._qt_window.height() <= 800


def test_both_themes_suit_while_the_dock_is_open(filled):
    desk = filled
    seen = {}
    desk.stain.notice.warn("Something is doubtful.")
    desk.dock.show_page("stain")
    for theme in ("light", "dark", "light"):
        desk.viewer.theme = theme
        QApplication.processEvents()
        picture = desk.dock.grab().toImage()
        grey = [
            picture.pixelColor(x, y).lightness()
            for x in range(5, picture.width(), 9)
            for y in range(5, picture.height(), 9)
        ]
        seen.setdefault(theme, []).append((float(np.median(grey)), desk.stain.notice.styleSheet()))
    assert seen["light"][0][0] > 150 > 100 > seen["dark"][0][0]
    assert seen["light"][0][1] == seen["light"][1][1] != seen["dark"][0][1]


# --- the end ---------------------------------------------------------------------------------------


def test_closing_the_viewer_cancels_its_run_and_leaves_nothing(desk, jobs, large_field, tiny_model):
    me = psutil.Process()
    processes = {child.pid for child in me.children(recursive=True)}
    desk.open(large_field, page="stain")
    desk.choose_model(tiny_model, tile=32)
    desk.click(desk.stain.all)
    run = desk.running()
    desk.close()
    desk.wait(lambda: run.ended)
    assert run.outcome.state == "cancelled"
    gc.collect()
    desk.wait(lambda: not [w for w in QApplication.topLevelWidgets() if isinstance(w, MainWidget)])
    assert {child.pid for child in me.children(recursive=True)} <= processes
    assert jobs.state.name == "ready", "the session is there for the next viewer"


def test_taking_the_dock_away_cancels_its_run_and_the_viewer_lives(desk, large_field, tiny_model):
    desk.open(large_field, page="stain")
    desk.choose_model(tiny_model, tile=32)
    desk.click(desk.stain.all)
    run = desk.running()
    desk.viewer.window.remove_dock_widget(desk.dock)
    desk.dock.close()
    desk.wait(lambda: run.ended)
    assert run.outcome.state == "cancelled"
    desk.viewer.add_image(np.zeros((4, 4)))


@pytest.mark.slow
def test_two_viewers_share_one_compute_process(
    desk, jobs, make_napari_viewer, qtbot, field_folder, tiny_model, tmp_path
):
    other = type(desk)(make_napari_viewer(show=True), jobs, qtbot)
    pids = []
    for one, name in ((desk, "a"), (other, "b")):
        one.open(field_folder / "brightfield.ome.zarr", page="stain")
        one.choose_model(tiny_model, tile=64)
        one.stain.out.setText(str(tmp_path / f"{name}.ome.zarr"))
        one.stain.stain_all()
        run = one.stain.stainings.all[0].runs[-1]
        one.idle()
        assert run.outcome.state == "done", run.outcome
        pids.append(run.pid)
    assert pids[0] == pids[1]
    assert len(desk.predicted()) == len(other.predicted()) == 5
    other.close()


def test_one_session_serves_the_application_until_it_is_closed(qapp, monkeypatch):
    from napari_virtualstain.widgets import _jobs

    registered = []
    monkeypatch.setattr(_jobs, "_of_application", [])
    monkeypatch.setattr(_jobs.atexit, "register", registered.append)
    first = _jobs.jobs_of_application()
    assert _jobs.jobs_of_application() is first
    assert registered == [first.close]
    first.close()
    second = _jobs.jobs_of_application()
    assert second is not first
    second.close()
