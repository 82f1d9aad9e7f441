"""What do clicks teach? Asked for as soon as there are enough, and kept for other stains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QFileDialog

from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.io.folder import review_folder
from napari_virtualstain.io.kept import write_kept
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.qc import QcSettings
from napari_virtualstain.jobs.qc_clicks import write_clicks
from napari_virtualstain.napari_io.clicks import probability_of
from napari_virtualstain.qc.clicked import (
    ARTIFACTS_FILE,
    missing_clicks,
    read_artifacts,
)
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._qc_clicks import ClicksPanel
from napari_virtualstain.widgets._run_bar import RunBar

__all__ = ["Lesson"]

_AFTER_MS = 400
"""Until clicks teach: who clicks on several places wants all of them to count."""


class Lesson(QObject):
    """Learns from the clicks of a panel, beside what is judged.

    Parameters
    ----------
    panel
        Whose clicks, and where it is said what they taught.
    jobs, background, run_bar
        Of the page.
    asked
        Returns how the fields were judged, `None` if none was.
    complain
        Takes a sentence if something cannot be done.
    """

    learnt = Signal()
    """Something was learnt, and lies beside the stains."""
    failed = Signal(object)
    """A `Run` that came to nothing."""

    def __init__(
        self, panel: ClicksPanel, jobs: Jobs, background: Background, run_bar: RunBar,
        asked: Callable[[], QcSettings | None], complain: Callable[[str], None],
    ) -> None:  # fmt: skip
        super().__init__(panel)
        self._panel, self._jobs, self._background, self._run_bar = panel, jobs, background, run_bar
        self._asked, self._complain = asked, complain
        self._run: Run | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_AFTER_MS)
        self._soon.timeout.connect(self.learn)
        panel.changed.connect(self._soon.start)
        panel.save.clicked.connect(self._ask_where)
        jobs.run_changed.connect(self._follow)

    def learn(self) -> None:
        """Learn from the clicks, once there are enough; what is learnt lies beside the stains."""
        asked, clicks = self._asked(), self._panel.clicks
        if asked is None or missing_clicks(clicks):
            return
        if self._run is not None and not self._run.ended:
            self._run.cancel()
        table = self._jobs.temporary("clicks.csv")
        more = {
            "clicks": str(table), "artifacts": None, "out": str(self._jobs.temporary("learnt")),
            "maps": False, "overwrite": True,
        }  # fmt: skip
        try:
            write_clicks(table, clicks)
            settings = make_settings(QcSettings, {**asked.model_dump(), **more})
        except VirtualStainError as error:
            self._complain(str(error))
            return
        self._run = self._jobs.submit("qc", settings, urgent=True)
        self._run_bar.announce(self._run, f"Learning from {len(clicks)} clicks")

    def save(self, path: str) -> None:
        """Copy what was learnt from clicks to a file, which judges other stains.

        Parameters
        ----------
        path
            Of the file; Qt has asked whether one that is there may be replaced.
        """
        asked = self._asked()
        if asked is None:
            return
        kept = review_folder(asked.prediction) / ARTIFACTS_FILE

        def copied() -> None:
            write_kept(Path(path), read_artifacts(kept))

        self._background.run(
            "artifacts", copied, lambda _: self._panel.notice.hint(f"Kept in {path}."),
            self._complain,
        )  # fmt: skip

    def close(self) -> None:
        """Cancel what was asked for; the viewer is closing."""
        self._soon.stop()
        if self._run is not None and not self._run.ended:
            self._run.cancel()

    def _follow(self, run: Run) -> None:
        """Show what was learnt, once its maps are read."""
        if run is not self._run or run.outcome is None:
            return
        self._run = None
        result = run.outcome.result
        if result is None:
            self.failed.emit(run)
            return
        learnt = result["learnt"]
        named = {(one["path"], one["scene"], one["time"]): one["store"] for one in learnt["maps"]}

        def opened() -> dict[Any, Any]:
            return {where: probability_of(Path(store))() for where, store in named.items()}

        def take(maps: dict[Any, Any]) -> None:
            self._panel.show_learnt(learnt, maps)
            self.learnt.emit()

        self._background.run("learnt", opened, take, self._complain)

    def _ask_where(self) -> None:
        dialog = QFileDialog(self._panel, "Keep what the clicks taught")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter("Artifacts (*.json)")
        dialog.setDefaultSuffix("json")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.selectFile(ARTIFACTS_FILE)
        dialog.fileSelected.connect(self.save)
        dialog.open()
