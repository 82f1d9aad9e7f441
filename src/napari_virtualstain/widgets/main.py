"""The dock: pages for each step, one bar for all runs, and an end that leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._jobs import Jobs, jobs_of_application
from napari_virtualstain.widgets._parts import Page
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets.compare import ComparePage
from napari_virtualstain.widgets.load import LoadPage
from napari_virtualstain.widgets.stain import StainPage
from napari_virtualstain.widgets.start import StartPage

if TYPE_CHECKING:
    import napari

__all__ = ["MainWidget"]

_WIDTH = 380


class MainWidget(QWidget):
    """*Plugins > Virtual staining*.

    Parameters
    ----------
    napari_viewer
        The viewer that it is docked to; napari fills it in by this name.
    jobs
        Where runs are asked for; those of the application if `None`.
    """

    def __init__(self, napari_viewer: napari.Viewer, *, jobs: Jobs | None = None) -> None:
        super().__init__()
        # napari's menu hands over a proxy, whose layers are other proxies at every look: a layer
        # of ours could not be told from another.
        napari_viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.viewer = napari_viewer
        self.jobs = jobs or jobs_of_application()
        self.fields = Fields(napari_viewer, self)
        self.run_bar = RunBar(napari_viewer, self.jobs)
        self.start = StartPage(napari_viewer, self.jobs, self.run_bar)
        self.load = LoadPage(napari_viewer, self.fields)
        self.stain = StainPage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.compare = ComparePage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.pages = QTabWidget()
        self.pages.setDocumentMode(True)
        self.pages.tabBar().setDrawBase(False)
        for title, page in (
            ("Start", self.start),
            ("Load", self.load),
            ("Stain", self.stain),
            ("Compare", self.compare),
        ):
            self.pages.addTab(Page(page), title)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self.pages, 1)
        column.addWidget(self.run_bar)
        self.setMinimumWidth(_WIDTH)
        self.setAcceptDrops(True)
        self.start.open_file.connect(lambda: self._load_then(self.load.ask_for_file))
        self.start.open_folder.connect(lambda: self._load_then(self.load.ask_for_folder))
        self.start.opened.connect(lambda: self.show_page("load"))
        self.load.proceed.connect(lambda: self.show_page("stain"))
        # Docks do not hear that their window closes; by then only what is Python is left of them.
        page = self.stain
        self.destroyed.connect(lambda: page.close_runs())
        # The networks' library is loaded while the user looks around.
        self.jobs.open()

    def show_page(self, name: str) -> None:
        """Show ``"start"``, ``"load"``, ``"stain"`` or ``"compare"``."""
        self.pages.setCurrentIndex(("start", "load", "stain", "compare").index(name))

    def _load_then(self, ask: Any) -> None:
        self.show_page("load")
        ask()

    # --- Qt's own ---------------------------------------------------------------------------------

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802
        """Take files; anything else is for the viewer."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802
        """Open what was dropped, with our own readers and without asking which."""
        self.show_page("load")
        for url in event.mimeData().urls():
            if url.isLocalFile():
                self.load.open_path(url.toLocalFile())
        event.acceptProposedAction()

    def closeEvent(self, event: Any) -> None:  # noqa: N802
        """End what this viewer asked for."""
        self.end()
        super().closeEvent(event)

    def end(self) -> None:
        """Cancel this viewer's runs and stop watching it; the session lives on for others."""
        self.stain.close_runs()
        self.fields.close()
