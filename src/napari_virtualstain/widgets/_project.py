"""Which project is open: what the viewer shows goes into it, and comes back from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.datasets.project import Project, is_project
from napari_virtualstain.datasets.project_entries import View
from napari_virtualstain.errors import VirtualStainError, parse_json
from napari_virtualstain.io.cache import cache_folder, keep_file
from napari_virtualstain.jobs.project import note_stain
from napari_virtualstain.napari_io.project_view import Reopened, apply_camera, reopen, view_of
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import Wrapped

if TYPE_CHECKING:
    import napari

__all__ = ["ProjectPanel", "recent_projects"]

_LOOK_MS = 1500
_MANY = 3
_WHY = "A project keeps images, stains and settings together: go on tomorrow where you stop today."


class ProjectPanel(QWidget):
    """Opens and makes projects, and writes down what the viewer shows while one is open.

    Parameters
    ----------
    viewer
        Whose layers belong to it.
    state
        Returns the name of the page and the values of the forms, by page.
    passing
        Whether what lies at a path goes with the session.
    """

    opened = Signal(object)
    """The project whose layers are in the viewer now."""
    changed = Signal(object)
    """The project that is open, or `None`."""

    def __init__(
        self,
        viewer: napari.Viewer,
        state: Callable[[], tuple[str, dict[str, dict[str, Any]]]],
        passing: Callable[[str], bool],
    ) -> None:
        super().__init__()
        self._viewer, self._state, self._passing = viewer, state, passing
        self._background = Background(self)
        self.project: Project | None = None
        self._unseen: tuple[dict[str, Any], ...] = ()
        self._seen: View | None = None
        self._written: View | None = None
        self._opening = False
        self.words = Wrapped()
        self.notice = Notice(viewer)
        self.new = QPushButton("New project…")
        self.new.setToolTip("Make a project in a folder, with what the viewer shows")
        self.open = QPushButton("Open project…")
        self.open.setToolTip("Show again what a project showed when you stopped")
        self.leave = QPushButton("Close project")
        self.leave.setToolTip("Write down what the viewer shows; its layers stay")
        self.recent = QVBoxLayout()
        row = QHBoxLayout()
        for button in (self.new, self.open, self.leave):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.words)
        column.addLayout(self.recent)
        column.addLayout(row)
        column.addWidget(self.notice)
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK_MS)
        self._timer.timeout.connect(self.look)
        self.new.clicked.connect(lambda: self._ask("Make a project in this folder", self.make))
        self.open.clicked.connect(lambda: self._ask("Open a project", self.open_at))
        self.leave.clicked.connect(self.close_project)
        self._show()

    # --- opening ----------------------------------------------------------------------------------

    def make(self, folder: str) -> None:
        """Make a project of what the viewer shows."""
        try:
            project = Project.create(folder)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        self.close_project()
        self._take(project)
        self.look()
        self.save()

    def open_at(self, folder: str) -> None:
        """Show what a project showed; what another project showed goes."""
        try:
            project = Project(folder)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        if self.project is not None:
            self.close_project()
            self._remove_layers()
        self._opening = True
        self.notice.hint(f"Opening {project.name} …")
        self._background.run(
            "project",
            lambda: reopen(project),
            lambda found: self._add(project, found),
            lambda sentence: self._refuse(words_of(sentence)),
        )

    def _refuse(self, sentence: str) -> None:
        self._opening = False
        self.notice.fail(sentence)

    def _add(self, project: Project, found: Reopened) -> None:
        self._opening = False
        for layer in found.layers:
            self._viewer.add_layer(Layer.create(*layer))
        if found.layers:
            apply_camera(self._viewer, project.view)
        self._take(project, found.unseen)
        if found.lost:
            others = len(found.lost) - 1
            more = f" {others} more are not shown either." if others else ""
            self.notice.warn(words_of(found.lost[0]) + more)
        self.opened.emit(project)

    def _take(self, project: Project, unseen: tuple[dict[str, Any], ...] = ()) -> None:
        self.project, self._unseen = project, unseen
        self._seen = self._written = None
        self.notice.clear()
        _remember(project)
        self._timer.start()
        self._show()
        self.changed.emit(project)

    def _remove_layers(self) -> None:
        for layer in list(self._viewer.layers):
            if (source := source_of(layer)) is not None and source.path is not None:
                self._viewer.layers.remove(layer)

    # --- keeping ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Write down what is shown once it has stayed so for a moment."""
        if self.project is None or self._opening:
            return
        page, forms = self._state()
        try:
            view = view_of(
                self._viewer, self.project, page=page, forms=forms, passing=self._passing,
                unseen=self._unseen,
            )  # fmt: skip
            if view == self._seen and view != self._written:
                self._write(view)
        except VirtualStainError as error:
            self._timer.stop()
            self.notice.fail(words_of(str(error)))
            return
        self._seen = view

    def note(self, out: str) -> None:
        """Note a stain that is complete, if it stays."""
        project = self.project
        if project is not None and not self._passing(out):
            self._background.run(
                f"note {out}",
                lambda: note_stain(project, out),
                lambda _: None,
                lambda sentence: self.notice.warn(words_of(sentence)),
            )

    def save(self) -> None:
        """Write down now what was seen last."""
        if self.project is None or self._seen is None or self._seen == self._written:
            return
        try:
            self._write(self._seen)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))

    def _write(self, view: View) -> None:
        assert self.project is not None
        self.project.set_view(view)
        self._written = view

    def close_project(self) -> None:
        """Write down what is shown, and leave the project."""
        if self.project is None:
            return
        self.look()
        self.save()
        self._timer.stop()
        self.project = None
        self.notice.clear()
        self._show()
        self.changed.emit(None)

    # --- what it looks like -----------------------------------------------------------------------

    def _show(self) -> None:
        project = self.project
        self.leave.setVisible(project is not None)
        if project is None:
            self.words.setText(_WHY)
        else:
            self.words.setText(
                f"<b>{escape(project.name)}</b> is open.<br>{escape(str(project.folder))}"
            )
        while (item := self.recent.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        for folder, name in recent_projects():
            if project is not None or not is_project(folder):
                continue
            button = QPushButton(f"Go on with {name}")
            button.setToolTip(folder)
            button.clicked.connect(lambda _=False, folder=folder: self.open_at(folder))
            self.recent.addWidget(button)

    def _ask(self, title: str, then: Callable[[str], None]) -> None:
        """Let the user choose a folder, without holding up the viewer."""
        dialog = QFileDialog(self, title)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly, on=True)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(then)
        dialog.open()


def _file() -> Path:
    return cache_folder() / "recent_projects.json"


def recent_projects() -> tuple[tuple[str, str], ...]:
    """Return folder and name of the projects that were open last, the newest first."""
    try:
        found = parse_json(_file().read_text(encoding="utf-8"))
        return tuple((str(folder), str(name)) for folder, name in found)[:_MANY]
    except (OSError, ValueError, TypeError):
        return ()


def _remember(project: Project) -> None:
    folder = str(project.folder)
    others: Iterable[tuple[str, str]] = (one for one in recent_projects() if one[0] != folder)
    keep_file(_file(), json.dumps([(folder, project.name), *others][:_MANY]).encode())
