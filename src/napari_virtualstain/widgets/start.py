"""Where does one begin? Open, try the sample, or find out whether this machine is up to it."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QApplication, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.compute.run import Run
from napari_virtualstain.jobs.doctor import Check, DoctorReport, DoctorSettings
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.sample_data import demo_field
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import Wrapped
from napari_virtualstain.widgets._run_bar import RunBar

__all__ = ["StartPage"]

_SLOW = "Pictures are drawn by the processor; a graphics driver draws faster."
_STEPS = (
    "<p style='margin-top:0'><b>Predict fluorescence from bright field.</b></p>"
    "<p>1. <b>Load</b> a bright-field image: drop it here or on the viewer, and confirm what was "
    "guessed.<br>2. <b>Stain</b> what you see, or all of it.<br>"
    "3. <b>Compare</b> the prediction with a true stain, if you have one.</p>"
)


class StartPage(QWidget):
    """Buttons for the first click, and the diagnosis.

    Parameters
    ----------
    viewer
        To open the sample in.
    jobs
        To diagnose with.
    run_bar
        To show the diagnosis' progress in.
    project
        Where projects are opened.
    """

    open_file = Signal()
    open_folder = Signal()
    opened = Signal()

    def __init__(self, viewer: Any, jobs: Jobs, run_bar: RunBar, project: QWidget) -> None:
        super().__init__()
        self._viewer, self._jobs, self._run_bar = viewer, jobs, run_bar
        self._background = Background(self)
        self._run: Run | None = None
        steps = Wrapped(_STEPS)
        self.file = QPushButton("Open an image…")
        self.folder = QPushButton("Open a folder or OME-Zarr…")
        self.sample = QPushButton("Open the simulated sample")
        self.sample.setToolTip("Three bright-field planes of simulated cells, and true stains")
        self.diagnose = QPushButton("Diagnose this machine")
        self.diagnose.setToolTip(
            "Look for a graphics card, versions, display and disk, and stain a small field"
        )
        self.notice = Notice(viewer)
        self.report = QPlainTextEdit()
        self.report.setReadOnly(True)
        self.report.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.report.setMinimumHeight(220)
        self.report.setStyleSheet("font-family: monospace")  # its columns line up
        self.copy = QPushButton("Copy report")
        for widget in (self.report, self.copy):
            widget.hide()
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        for widget in (
            steps, self.file, self.folder, self.sample, project, self.diagnose, self.notice,
            self.report, self.copy,
        ):  # fmt: skip
            column.addWidget(widget)
        self.file.clicked.connect(self.open_file)
        self.folder.clicked.connect(self.open_folder)
        self.sample.clicked.connect(self.open_sample)
        self.diagnose.clicked.connect(self.run_doctor)
        self.copy.clicked.connect(self._copy)
        jobs.run_changed.connect(self._show)

    def open_sample(self) -> None:
        """Add the simulated field to the viewer."""
        self.notice.hint("Simulating the sample …")
        self._background.run(
            "sample", demo_field, self._add_sample, lambda text: self.notice.fail(words_of(text))
        )

    def _add_sample(self, layers: list[LayerData]) -> None:
        self.notice.clear()
        for data in layers:
            self._viewer.add_layer(Layer.create(*data))
        self.opened.emit()

    def run_doctor(self) -> None:
        """Diagnose in the compute process, and add what only the viewer knows."""
        self.notice.clear()
        self.diagnose.setEnabled(False)
        self._run = self._jobs.submit("doctor", DoctorSettings(), urgent=True)
        self._run_bar.announce(self._run, "Diagnosing this machine")

    def _show(self, run: Run) -> None:
        if run is not self._run or run.outcome is None:
            return
        self._run = None
        self.diagnose.setEnabled(True)
        outcome = run.outcome
        if outcome.result is None:
            self.notice.fail(words_of(outcome.sentence), outcome.traceback)
            return
        report = DoctorReport.from_json(outcome.result).with_checks(
            [*display_checks(self._viewer), _process_check(self._jobs)]
        )
        self.report.setPlainText(report.text())
        doubts = sum(check.status != "ok" for check in report.checks)
        if report.problem:
            self.notice.fail(report.problem, report.text())
        elif doubts:
            lines = "1 line below says" if doubts == 1 else f"{doubts} lines below say"
            self.notice.warn(f"Everything works; {lines} what could be better.")
        else:
            self.notice.hint("Everything is in order.")
        self.report.show()
        self.copy.show()

    def _copy(self) -> None:
        QApplication.clipboard().setText(self.report.toPlainText())


def display_checks(viewer: Any) -> list[Check]:
    """Return what only the viewer knows: how it draws."""
    from napari import __version__
    from qtpy import API_NAME, QT_VERSION
    from vispy.gloo import gl

    found = f"napari {__version__}, {API_NAME} with Qt {QT_VERSION}, theme {viewer.theme}"
    checks = [Check(name="viewer", status="ok", found=found)]
    try:
        renderer = gl.glGetParameter(gl.GL_RENDERER)
        texture = gl.glGetParameter(gl.GL_MAX_TEXTURE_SIZE)
    except (RuntimeError, OSError) as error:
        advice = "Update the graphics driver."
        return [*checks, Check(name="OpenGL", status="problem", found=str(error), advice=advice)]
    slow = "llvmpipe" in str(renderer).lower()
    checks.append(
        Check(
            name="OpenGL",
            status="warning" if slow else "ok",
            found=f"{renderer}, textures up to {texture} px",
            advice=_SLOW if slow else "",
        )
    )
    return checks


def _process_check(jobs: Jobs) -> Check:
    """Return how the compute process is: it has just answered, so what is left is its state."""
    state = jobs.state
    threads = state.worker.get("threads", "?")
    found = f"{state.words}, process {state.worker.get('pid', '?')}, {threads} threads"
    return Check(name="compute process", status="ok", found=found)
