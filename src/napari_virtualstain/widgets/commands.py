"""What the command palette can do: open the dock, and press one of its buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtualstain.widgets.main import MainWidget

if TYPE_CHECKING:
    import napari

__all__ = [
    "DOCK",
    "diagnose",
    "explain_pixel",
    "judge_stain",
    "measure_stain",
    "open_dock",
    "stain_all",
    "stain_view",
    "tune_model",
]

DOCK = "Load, stain, compare"
"""Name of the dock in the manifest."""


def open_dock(napari_viewer: napari.Viewer) -> MainWidget:
    """Return the viewer's dock, made if it is not there."""
    dock, widget = napari_viewer.window.add_plugin_dock_widget("napari-virtualstain", DOCK)
    dock.show()
    dock.raise_()
    assert isinstance(widget, MainWidget)
    return widget


def diagnose(napari_viewer: napari.Viewer) -> None:
    """Look for a graphics card, versions, display and disk, and stain a small field."""
    widget = open_dock(napari_viewer)
    widget.show_page("start")
    widget.start.run_doctor()


def stain_view(napari_viewer: napari.Viewer) -> None:
    """Stain what the canvas shows of the chosen image."""
    widget = open_dock(napari_viewer)
    widget.show_page("stain")
    widget.stain.stain_view()


def stain_all(napari_viewer: napari.Viewer) -> None:
    """Stain the whole of the chosen image."""
    widget = open_dock(napari_viewer)
    widget.show_page("stain")
    widget.stain.stain_all()


def judge_stain(napari_viewer: napari.Viewer) -> None:
    """Say whether the chosen prediction can be trusted."""
    widget = open_dock(napari_viewer)
    widget.show_page("qc")
    widget.qc.start.click()


def measure_stain(napari_viewer: napari.Viewer) -> None:
    """Count and measure the nuclei of the chosen stain."""
    widget = open_dock(napari_viewer)
    widget.show_page("measure")
    widget.measure.start.click()


def explain_pixel(napari_viewer: napari.Viewer) -> None:
    """Wait for a click in the viewer, and show what the pixel there depends on."""
    widget = open_dock(napari_viewer)
    widget.show_page("explain")
    widget.explain.pick.setChecked(widget.explain.pick.isEnabled())


def tune_model(napari_viewer: napari.Viewer) -> None:
    """Tune a model on the pairs that are open."""
    widget = open_dock(napari_viewer)
    widget.show_page("tune")
    widget.tune.pairs.add_open.click()
