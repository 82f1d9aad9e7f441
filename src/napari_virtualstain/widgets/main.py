"""The dock: pages for each step, one bar for all runs, and an end that leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_virtualstain.datasets.project import Project
from napari_virtualstain.io.remote import is_remote
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.widgets._canvas import hold_context
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._jobs import Jobs, jobs_of_application
from napari_virtualstain.widgets._keys import Keys
from napari_virtualstain.widgets._page_tabs import PageTabs
from napari_virtualstain.widgets._parts import Page
from napari_virtualstain.widgets._preferences import prefer, read_preferences
from napari_virtualstain.widgets._project import ProjectPanel
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets.compare import ComparePage
from napari_virtualstain.widgets.explain import ExplainPage
from napari_virtualstain.widgets.load import LoadPage
from napari_virtualstain.widgets.measure import MeasurePage
from napari_virtualstain.widgets.models import ModelsPage
from napari_virtualstain.widgets.qc import QcPage
from napari_virtualstain.widgets.queue import QueuePage
from napari_virtualstain.widgets.stain import StainPage
from napari_virtualstain.widgets.start import StartPage
from napari_virtualstain.widgets.tune import TunePage
from napari_virtualstain.widgets.verdict import VerdictPage

if TYPE_CHECKING:
    import napari

__all__ = ["MainWidget"]

_PAGES = (
    "start", "load", "stain", "compare", "verdict", "qc", "measure", "explain", "tune", "queue",
    "models",
)  # fmt: skip
_TITLES = {"qc": "QC"}
_TABS_IN_A_ROW = 4
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
        hold_context(napari_viewer)
        self.fields = Fields(napari_viewer, self)
        self.run_bar = RunBar(napari_viewer, self.jobs)
        self.project = ProjectPanel(napari_viewer, self._state, self._is_passing)
        self.start = StartPage(napari_viewer, self.jobs, self.run_bar, self.project)
        self.load = LoadPage(napari_viewer, self.fields)
        self.stain = StainPage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.compare = ComparePage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.verdict = VerdictPage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.qc = QcPage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.measure = MeasurePage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.explain = ExplainPage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.tune = TunePage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.queue = QueuePage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.models = ModelsPage(napari_viewer, self.fields, self.jobs, self.run_bar)
        self.pages = PageTabs(_TABS_IN_A_ROW)
        for name in _PAGES:
            self.pages.addTab(Page(getattr(self, name)), _TITLES.get(name, name.capitalize()))
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self.pages, 1)
        column.addWidget(self.run_bar)
        self.setMinimumWidth(_WIDTH)
        self.setAcceptDrops(True)
        self.start.open_file.connect(lambda: self._load_then(self.load.ask_for_file))
        self.start.open_folder.connect(lambda: self._load_then(self.load.ask_for_folder))
        self.start.opened.connect(lambda: self.show_page("load"))
        self.project.opened.connect(self._show_project)
        self.project.changed.connect(self._live_in)
        self.stain.stained.connect(self.project.note)
        self.load.proceed.connect(lambda: self.show_page("stain"))
        self.load.replaced.connect(self._change_stains)
        self.models.used.connect(self._use)
        self.models.compares.connect(self._compare_by)
        self.models.changed.connect(self._offer_models)
        self.tune.kept.connect(self._take_tuned)
        # Docks do not hear that their window closes; by then only what is Python is left of them.
        self._busy = (
            self.stain, self.compare, self.verdict, self.qc, self.measure, self.explain, self.tune,
            self.queue, self.models,
        )  # fmt: skip
        wanted = read_preferences()
        prefer(wanted, (self.stain.form, self.queue.form))
        self._keys = Keys(napari_viewer, self) if wanted.keys else None
        pages = self._busy
        self.destroyed.connect(lambda: [page.close_runs() for page in pages])
        # The networks' library is loaded while the user looks around.
        self.jobs.open()

    def show_page(self, name: str) -> None:
        """Show a page by its name, such as ``"stain"`` or ``"explain"``."""
        self.pages.setCurrentIndex(_PAGES.index(name))

    def _use(self, model: str) -> None:
        self.stain.model.box.setEditText(model)
        self.show_page("stain")

    def _compare_by(self, encoder: str) -> None:
        self.show_page("compare")
        self.compare.features.choose(encoder)

    def _offer_models(self) -> None:
        """Offer models that have come or gone wherever one is chosen."""
        for page in (self.stain, self.queue, self.explain):
            page.form.model.refill()
        self.explain.form.refill_encoders()
        self.tune.model.refill()

    def _take_tuned(self, model: str) -> None:
        self._offer_models()
        self._use(model)

    def _change_stains(self, old: Field, new: tuple[str, str]) -> None:
        """Hide the stains of an image that another one has replaced; they come back with it."""
        if self.stain.stainings.change(old.key, new):
            self.load.notice.hint(f"The stains of {old.name} are hidden until it is shown again.")

    # --- a project --------------------------------------------------------------------------------

    def _state(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """Return the page that shows, and what stands in the forms."""
        queue = {"out": self.queue.out.line.text().strip()}
        return _PAGES[self.pages.currentIndex()], {"stain": self.stain.state(), "queue": queue}

    def _show_project(self, project: Project) -> None:
        """Fill the forms of a project, and show the page that showed."""
        view = project.view
        if "stain" in view.forms:
            self.stain.show_state(view.forms["stain"])
        if (out := view.forms.get("queue", {}).get("out")) and not self.queue.out.is_there:
            self.queue.out.set_path(str(out))
        if view.page in _PAGES:
            self.show_page(view.page)

    def _live_in(self, project: Project | None) -> None:
        self.stain.live_in(None if project is None else project.folder / "stains")

    def _is_passing(self, path: str) -> bool:
        """Return whether what lies at a path goes with the session."""
        return not is_remote(path) and Path(path).is_relative_to(self.jobs.session.folder)

    def _load_then(self, ask: Any) -> None:
        self.show_page("load")
        ask()

    # --- Qt's own ---------------------------------------------------------------------------------

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802
        """Take files; anything else is for the viewer."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802
        """Open what was dropped with our own readers, or queue it, or import it as a model."""
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        page = _PAGES[self.pages.currentIndex()]
        if page == "queue":
            self.queue.add_paths(paths)
        elif page == "models":
            self.models.import_paths(paths)
        else:
            self.show_page("load")
            self.load.open_paths(paths)
        event.acceptProposedAction()

    def closeEvent(self, event: Any) -> None:  # noqa: N802
        """End what this viewer asked for."""
        self.end()
        super().closeEvent(event)

    def end(self) -> None:
        """Cancel this viewer's runs and stop watching it; the session lives on for others."""
        for page in self._busy:
            page.close_runs()
        if self._keys is not None:
            self._keys.let_go()
        self.fields.close()
