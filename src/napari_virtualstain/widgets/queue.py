"""Many images, one after the other, overnight: what is on the list, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.batch import BatchSettings
from napari_virtualstain.jobs.batch_item import Item
from napari_virtualstain.jobs.batch_items import key_of
from napari_virtualstain.jobs.batch_list import common_settings
from napari_virtualstain.jobs.batch_state import keys_of
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.reader import open_layers
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Foldout, form
from napari_virtualstain.widgets._queue_command import command_of
from napari_virtualstain.widgets._queue_images import ImagesPanel
from napari_virtualstain.widgets._queue_list import QueueList
from napari_virtualstain.widgets._queue_output import NO_OUTPUT, OutputRow
from napari_virtualstain.widgets._queue_panel import ListPanel
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._run_form import RunForm
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    import napari

__all__ = ["QueuePage"]

_EMPTY = "Add images: pick wells of a plate that is open, choose files, or drop them here."


class QueuePage(QWidget):
    """Puts images on a list, and has them stained one after the other.

    Parameters
    ----------
    viewer
        To add results to.
    fields
        What the viewer shows.
    jobs
        Where runs are asked for.
    run_bar
        Where they are shown.
    """

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._viewer, self._fields, self._jobs, self._run_bar = viewer, fields, jobs, run_bar
        self._background = Background(self)
        self.list = QueueList(self, self._background)
        self._run: Run | None = None
        self._filled: dict[str, Any] = {}
        self.form = RunForm(jobs, BatchSettings, self)
        self.images = ImagesPanel(
            fields, self._background, lambda: self.form.values().get("channel")
        )
        self.out = OutputRow(self.list)
        self.panel = ListPanel(self.list)
        self.table = self.panel.table
        self.start = QPushButton("Run")
        self.pause, self.stop = QPushButton("Pause after this"), QPushButton("Pause now")
        self.notice = Notice(viewer)
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.new = QPushButton("New list")
        self._arrange()
        self.images.added.connect(self._add)
        self.images.offered.connect(lambda: self.add_fold.heading.setChecked(True))
        self.images.said.connect(self._say)
        self.images.refused.connect(self._refuse)
        self.list.changed.connect(self._show)
        self.list.failed.connect(self._refuse)
        self.form.changed.connect(self._enable)
        self.form.doubted.connect(self.notice.hint)
        self.out.changed.connect(self._show)
        self.out.said.connect(self.notice.hint)
        self.start.clicked.connect(self.begin)
        self.pause.clicked.connect(self.list.pause)
        self.stop.clicked.connect(self.close_runs)
        self.new.clicked.connect(self._begin_anew)
        self.table.opened.connect(self.open_result)
        jobs.run_changed.connect(self._follow)
        self._show()

    # --- what is to be done -----------------------------------------------------------------------

    def add_paths(self, paths: Iterable[str | Path]) -> None:
        """Put files and folders on the list."""
        self.images.add_paths(paths)

    def _say(self, text: str) -> None:
        # Of several files that were dropped, one that is fine says nothing of one that is not.
        if text or self.notice.kind == "hint":
            self.notice.hint(text)

    def _add(self, chosen: Any, own: dict[str, Any]) -> None:
        # What comes next is below it, and a plate takes the whole page.
        self.add_fold.heading.setChecked(False)
        known = keys_of(self.list.state.items)
        new = [one for one in chosen if key_of(*one) not in known]
        if not new:
            self.notice.hint("These images are on the list already.")
        self.list.add(chosen, own)

    def command(self) -> str:
        """Return the lines that do the same in a terminal.

        Raises
        ------
        VirtualStainError
            If there is nothing to do, or a setting is not possible.
        """
        kept = self.list.out is not None
        values = {} if kept else self.form.values()
        return command_of(self.list.state.items, str(self.out.path()), values, kept=kept)

    def begin(self) -> None:
        """Keep the list in its output, and stain what waits."""
        try:
            if not self.list.state.items:
                raise MissingInputError(_EMPTY)
            out, values = self.out.path(), self.form.values()
            settings = make_settings(BatchSettings, {**values, "out": str(out)}).absolute()
        except VirtualStainError as error:
            self._refuse(str(error))
            return
        self.notice.clear()
        self.list.begin(out, common_settings(settings), values, lambda: self._submit(out))

    def _submit(self, out: Path) -> None:
        state = self.list.state
        if self._run is not None or not state.waiting:
            return
        try:
            # Those of a list that was begun may be others than the form's.
            settings = make_settings(BatchSettings, {**state.settings, "out": str(out)})
        except VirtualStainError as error:
            self._refuse(str(error))
            return
        self._run = self._jobs.submit("batch", settings)
        many = plural(len(state.waiting), "image")
        self._run_bar.announce(self._run, f"Staining {many} with {Path(settings.model).name}")
        for fold in (self.add_fold, self.form_fold):
            fold.heading.setChecked(False)
        self._show()

    def _follow(self, run: Run) -> None:
        if run is not self._run:
            return
        self.list.follow(run)
        if run.outcome is not None:
            self._run = None
            if run.outcome.state == "failed":
                self.notice.fail_run(run)
            else:
                self._say_end()
        self._show()

    def _say_end(self) -> None:
        state = self.list.state
        failed = sum(item.state == "failed" for item in state.items)
        if state.waiting:
            many = plural(len(state.waiting), "image")
            verb = "waits" if len(state.waiting) == 1 else "wait"
            self.notice.hint(f"Paused: {many} {verb}. What is done is kept, and Run goes on.")
        elif failed:
            self.notice.warn(
                f"{plural(failed, 'image')} failed, see below. Retry when that is mended."
            )
        else:
            self.notice.hint(f"All is stained. The results are in {self.list.out}.")

    def close_runs(self) -> None:
        """Stop at the next tile; the image waits, and its tiles are kept."""
        if self._run is not None:
            self._run.cancel()

    def _begin_anew(self) -> None:
        self.out.line.clear()
        self.out.forget()
        for fold in (self.add_fold, self.form_fold):
            fold.heading.setChecked(True)

    def _refuse(self, sentence: str) -> None:
        self.notice.fail(words_of(sentence))

    # --- showing ----------------------------------------------------------------------------------

    def open_result(self, item: Item) -> None:
        """Add the stain of an image as layers, over the image itself."""
        out = self.list.out
        if item.state != "done" or out is None:
            self.notice.hint(f"{item.name} is not stained yet.")
            return
        shown = any((field.path, field.scene) == item.key for field in self._fields.all)
        self.notice.hint(f"Opening {item.name} …")

        def read() -> list[LayerData]:
            below = [] if shown else open_layers(
                item.input, scene=item.scene or None, axes=item.axes, pattern=item.pattern
            )  # fmt: skip
            return [*below, *open_layers(out / item.out)]

        self._background.run("open the result", read, self._add_layers, self._refuse)

    def _add_layers(self, layers: list[LayerData]) -> None:
        self.notice.clear()
        for data in layers:
            self._viewer.add_layer(Layer.create(*data))
        self._fields.look()

    def _show(self) -> None:
        state = self.list.state
        self.panel.show_list(self._run)
        if state.begun and state.settings != self._filled:
            self._filled = state.settings
            self.form.show_values(state.settings)
        self.form.lock(state.begun)
        self._enable()

    def _enable(self) -> None:
        state, runs = self.list.state, self._run is not None
        many = len(state.waiting)
        self.start.setText(f"Run {plural(many, 'image')}" if many else "Run")
        self.start.setEnabled(many > 0 and self.out.is_there and not self.out.offers)
        self.start.setVisible(not runs)
        ending = self._run is not None and self._run.state == "cancelling"
        self.pause.setText("Pauses after this" if state.paused else "Pause after this")
        self.pause.setEnabled(not ending and not state.paused)
        self.stop.setEnabled(not ending)
        for button in (self.pause, self.stop):
            button.setVisible(runs)
        self.new.setVisible(not runs and self.list.out is not None)
        self.out.lock(runs)
        self.copy.setEnabled(bool(state.items))
        self._guide()

    def _guide(self) -> None:
        """Say what to do next, where nothing else is said."""
        wanted = ""
        if not self.list.state.items:
            wanted = _EMPTY
        elif not self.out.is_there:
            wanted = NO_OUTPUT
        if self.notice.text in ("", _EMPTY, NO_OUTPUT) and self.notice.text != wanted:
            self.notice.hint(wanted)

    def _arrange(self) -> None:
        self.start.setToolTip("Stain what waits, one image after the other")
        self.pause.setToolTip("Finish the image that is stained now, and begin no other")
        self.stop.setToolTip("Stop at the next tile; its image goes on from there")
        self.new.setToolTip("Begin another list; this one is kept in its output")
        rows = form()
        self.form.add_to(rows)
        rows.addRow("Output", self.out)
        settings = QWidget()
        inner = QVBoxLayout(settings)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addLayout(rows)
        inner.addWidget(self.form.drawing.fold)
        inner.addWidget(self.form.fold)
        self.add_fold = Foldout("Images to add", self.images, is_open=True)
        self.form_fold = Foldout("Model and output", settings, is_open=True)
        buttons = QHBoxLayout()
        for button in (self.start, self.pause, self.stop):
            buttons.addWidget(button)
        after = QHBoxLayout()
        after.addWidget(self.copy)
        after.addWidget(self.new)
        column = QVBoxLayout(self)
        column.addWidget(self.add_fold)
        column.addWidget(self.form_fold)
        column.addWidget(self.notice)
        column.addLayout(buttons)
        column.addWidget(self.panel, 1)
        column.addLayout(after)
