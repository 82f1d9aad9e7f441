"""Can these stains be trusted? Fields green, amber or red, and what somebody decides of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import Qt, QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.datasets.review import Decision
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.io.disk import check_output, disk_errors
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.qc import QcSettings
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.napari_io.marks import marks_of
from napari_virtualstain.widgets._field_opener import FieldOpener, Wanted
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Foldout
from napari_virtualstain.widgets._qc_clicks import ClicksPanel
from napari_virtualstain.widgets._qc_lesson import Lesson
from napari_virtualstain.widgets._qc_review import ReviewPanel
from napari_virtualstain.widgets._qc_source import JudgedSource
from napari_virtualstain.widgets._qc_words import Row, flagged
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._view import go_to, shown_plane

if TYPE_CHECKING:
    import napari

__all__ = ["QcPage"]

_SOON_MS = 120
"""Until a field is opened: who holds an arrow key down wants the one at which it is let go."""
_TEMPORARY = (
    "This stain is temporary, and what is decided and learnt goes with it. Keep the result on the "
    "page Stain."
)


class QcPage(QWidget):
    """Judges predictions, and goes through them.

    Parameters
    ----------
    viewer
        In which the fields are shown.
    fields
        What it shows.
    jobs
        Where fields are judged.
    run_bar
        Where that is shown.
    """

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._viewer, self._fields, self._jobs, self._run_bar = viewer, fields, jobs, run_bar
        self._background = Background(self)
        self._run: Run | None = None
        self._asked: QcSettings | None = None
        self._named = ""
        self._result: dict[str, Any] | None = None
        self._opener = FieldOpener(viewer, fields, self, self._refuse)
        self.source = JudgedSource(fields)
        self.fold = Foldout("What is judged", self.source, is_open=True)
        self.start = QPushButton("Judge")
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.calibrate = QPushButton("These are good…")
        self.notice = Notice(viewer)
        self.panel = ReviewPanel(viewer, self.notice.fail)
        self.clicks = ClicksPanel(viewer)
        self.learn_fold = Foldout("Learn from clicks", self.clicks)
        self.lesson = Lesson(
            self.clicks, jobs, self._background, run_bar, lambda: self._asked, self._refuse
        )
        self.report = QPushButton("Open report")
        self.save = QPushButton("Save report…")
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._arrange()
        self.lesson.learnt.connect(self._tell_if_temporary)
        self.lesson.failed.connect(self.notice.fail_run)
        self._soon.timeout.connect(self._open_row)
        self.source.changed.connect(self._changed)
        self.start.clicked.connect(self.judge)
        self.calibrate.clicked.connect(self._ask_for_reference)
        self.panel.chosen.connect(self._soon.start)
        self.panel.decided.connect(self._tell_if_temporary)
        self.report.clicked.connect(self._open_report)
        self.save.clicked.connect(self._ask_for_report)
        jobs.run_changed.connect(self._follow)
        self._changed()

    # --- what would be judged ---------------------------------------------------------------------

    def settings(self, out: str) -> QcSettings:
        """Return the settings of what is chosen.

        Parameters
        ----------
        out
            Folder of the report.

        Raises
        ------
        VirtualStainError
            If there is nothing to judge.
        """
        found = {**self.source.values(), "out": out, "maps": True}
        field = self.source.field
        if field is not None:
            plane = shown_plane(self._viewer, field.layers[0][0])
            found |= {} if plane is None else {"z": plane}
        return make_settings(QcSettings, found)

    def command(self) -> str:
        """Return the line that judges the same."""
        settings = self.settings("report").absolute()
        return to_command(
            "qc", settings.model_copy(update={"out": "report"}), positional=("prediction",)
        )

    def _changed(self) -> None:
        problem = self.source.problem
        for button in (self.start, self.copy, self.calibrate):
            button.setEnabled(not problem)
        if problem:
            self.notice.hint(problem)
            self._empty = problem
        elif self.notice.text == self._empty:
            self.notice.clear()

    _empty = ""

    # --- judging ----------------------------------------------------------------------------------

    def judge(self) -> None:
        """Judge what is chosen now; of another prediction, what was judged before goes at once."""
        shown = None if self._result is None else self._asked
        self._submit({}, f"Judging {self.source.name}")
        asked = self._asked
        if shown is not None and asked is not None:
            other = (shown.prediction, shown.scene) != (asked.prediction, asked.scene)
            if other:
                self._forget()

    def _forget(self) -> None:
        """Show no verdict: there is none about what is judged now."""
        self._result = None
        self.clicks.leave()
        self.panel.marks.forget()
        for part in (self.panel, self.report, self.save):
            part.hide()

    def make_reference(self, path: str) -> None:
        """Write what good predictions are like, from what is chosen.

        Parameters
        ----------
        path
            Of the file.
        """
        values = {"calibrate": True, "reference": path, "out": None, "maps": False}
        # Qt has asked whether a file that is there may be replaced.
        self._submit({**values, "overwrite": True}, f"Learning from {self.source.name}")

    def _submit(self, more: dict[str, Any], title: str) -> None:
        try:
            settings = self.settings(str(self._jobs.temporary("qc")))
            settings = make_settings(QcSettings, {**settings.model_dump(), **more})
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        if self._run is not None and not self._run.ended:
            self._run.cancel()
        self.notice.clear()
        self._asked, self._named = settings, self.source.name
        self._run = self._jobs.submit("qc", settings)
        self._run_bar.announce(self._run, title)

    def _follow(self, run: Run) -> None:
        if run is not self._run or run.outcome is None:
            return
        self._run = None
        if run.outcome.result is None:
            self.notice.fail_run(run)
            return
        assert self._asked is not None
        self._take(run.outcome.result, self._asked)

    def _take(self, result: dict[str, Any], asked: QcSettings) -> None:
        notes = [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in result["notes"]]
        if asked.calibrate:
            self.source.set_reference(result["out"])
            self.notice.hint(
                words_of(" ".join([f"Learnt what is usual, kept in {result['out']}.", *notes]))
            )
            return
        self._result = result
        for button in (self.report, self.save):
            button.show()
        problem = self.clicks.begin(asked.prediction)
        self.panel.show_result(result, asked.prediction, self._named)
        self.fold.heading.setChecked(False)  # what was found is what somebody looks at now
        if problem:
            self._refuse(problem)
        else:
            self.notice.hint(words_of(" ".join(notes)))

    # --- looking ----------------------------------------------------------------------------------

    def _open_row(self) -> None:
        """Show the field that is chosen, in place of the one that this page has opened before."""
        row = self.panel.row
        if row is None:
            return
        self.panel.marks.forget()
        self.clicks.leave()
        wanted = Wanted(*_key(row))
        path, scene = row["source"]
        is_there = any(field.key == wanted.key for field in self._fields.all)
        below = [] if is_there or not path else [Wanted(path, scene)]

        def take(found: list[Field]) -> None:
            field = next((one for one in found if one.key == wanted.key), None)
            if row is self.panel.row and field is not None:
                self._look_at(row, field)

        self._opener.show([*below, wanted], take)

    def _look_at(self, row: Row, field: Field) -> None:
        """Show a field that is open, its time, and the stain that the worst check is about."""
        stains = field.with_role("prediction")
        worst = next(iter(flagged(row)), None)
        number = "" if worst is None else str(worst["number"])
        if any(number.startswith(source.channel) for _, source in stains):
            for layer, source in stains:
                layer.visible = number.startswith(source.channel)
        over = next((layer for layer, _ in stains if layer.visible), field.layers[0][0])
        go_to(self._viewer, over, {"t": int(row["time"])})
        self._show_marks(row, over)
        self.clicks.show_field(over, (row["path"], row["scene"], int(row["time"])))

    def _show_marks(self, row: Row, over: Image) -> None:
        if self._result is None or not row["maps"]:
            self.panel.show_marks(over, {})
            return
        order = {one["check"]: n for n, one in enumerate(flagged(row))}

        def take(marks: dict[str, Any]) -> None:
            if row is self.panel.row and over in self._viewer.layers:
                names = sorted(marks, key=lambda name: order.get(name, len(order)))
                self.panel.show_marks(over, {name: marks[name] for name in names})

        store = Path(self._result["out"]) / row["maps"]
        self._background.run("marks", marks_of(store), take, self._refuse)

    def _refuse(self, sentence: str) -> None:
        self.notice.fail(words_of(sentence))

    def _tell_if_temporary(self, _decision: Decision | None = None) -> None:
        if self._asked is not None:
            prediction = Path(self._asked.prediction)
            if prediction.is_relative_to(self._jobs.session.folder):
                self.notice.warn(_TEMPORARY)

    # --- keeping ----------------------------------------------------------------------------------

    def _open_report(self) -> None:
        if self._result is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(Path(self._result["out"]) / "qc.html")))

    def save_report(self, folder: str) -> None:
        """Copy page, tables and maps to a place of the user's.

        Parameters
        ----------
        folder
            That is not there yet.
        """
        if self._result is None:
            return
        report, target = Path(self._result["out"]), Path(folder)

        def copied() -> None:
            check_output(target, inputs=[str(report)], overwrite=False)
            with disk_errors(target):
                shutil.copytree(report, target)

        self._background.run(
            "report", copied, lambda _: self.notice.hint(f"Kept in {target}."), self._refuse
        )

    def _ask_for_report(self) -> None:
        dialog = QFileDialog(self, "A folder for the report")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.selectFile("qc-report")
        dialog.fileSelected.connect(self.save_report)
        dialog.open()

    def _ask_for_reference(self) -> None:
        dialog = QFileDialog(self, "Keep what these good predictions are like")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter("Reference (*.json)")
        dialog.setDefaultSuffix("json")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.selectFile("qc_reference.json")
        dialog.fileSelected.connect(self.make_reference)
        dialog.open()

    def close_runs(self) -> None:
        """Cancel what was asked for; the viewer is closing."""
        self._soon.stop()
        self.lesson.close()
        if self._run is not None and not self._run.ended:
            self._run.cancel()

    def _arrange(self) -> None:
        self.calibrate.setToolTip(
            "Learn from these predictions what is usual of their model. Take many, of several days "
            "and plates, that did not teach it and that you believe"
        )
        self.report.setToolTip("The page that can be sent to others, in the browser")
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.calibrate)
        below = QHBoxLayout()
        below.addWidget(self.report)
        below.addWidget(self.save)
        for button in (self.report, self.save):
            button.hide()
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addWidget(self.fold)
        column.addLayout(buttons)
        column.addWidget(self.notice)
        column.addWidget(self.panel)
        self.panel.insert(self.learn_fold)
        column.addLayout(below)
        column.addWidget(self.copy)
        column.addStretch(1)


def _key(row: Row) -> tuple[str, str]:
    return row["image"], row["scene"]
