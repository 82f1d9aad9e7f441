"""How is a temporary result kept? Copied to a place of the user's, and shown from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QPushButton, QWidget

from napari_virtualstain.io.keep import keep_result
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._painter import levels_of
from napari_virtualstain.widgets._stainings import Staining, Stainings

__all__ = ["KeepButton", "ask_for_zarr"]


class KeepButton(QPushButton):
    """*Keep result…*; there while a result of the chosen image would be lost.

    Parameters
    ----------
    stainings
        Of the viewer.
    jobs
        In whose session's folder temporary stores lie.
    image
        Returns the chosen image.
    background
        In which files are copied.
    notice
        Where it is said how that went.
    """

    kept = Signal()

    def __init__(
        self,
        stainings: Stainings,
        jobs: Jobs,
        image: Callable[[], Field | None],
        background: Background,
        notice: Notice,
    ) -> None:
        super().__init__("Keep result…")
        self._stainings, self._jobs, self._image = stainings, jobs, image
        self._background, self._notice = background, notice
        self.setToolTip("Copy the finished result to a place of your own")
        self.clicked.connect(self._ask)

    def look(self) -> None:
        """Show the button where there is something to keep."""
        self.setVisible(self._staining() is not None)

    def _staining(self) -> Staining | None:
        """Return the newest finished stain of the chosen image that would be lost at the end."""
        return self._stainings.newest(self._image(), lambda s: s.temporary and s.complete)

    def _ask(self) -> None:
        staining = self._staining()
        if staining is not None:
            ask_for_zarr(self, Path(staining.settings.out).name[4:], self.keep_at)

    def keep_at(self, path: str) -> None:
        """Copy the temporary result, and show it from there.

        An input that was in memory is kept beside it, so that the run can be repeated. The
        temporary stores stay until the session ends: other layers may show them.
        """
        staining = self._staining()
        if staining is None:
            return
        target, settings = Path(path).absolute(), staining.settings
        inputs = Path(settings.input)
        spooled = inputs if inputs.is_relative_to(self._jobs.session.folder) else None
        depth = staining.painter.depth
        self._notice.hint(f"Copying the result to {target} …")

        def copy() -> list[Any]:
            keep_result(Path(settings.out), target, spooled)
            return levels_of(target, depth)

        self._background.run(
            "keep",
            copy,
            lambda levels: self._kept(staining, target, levels),
            lambda sentence: self._notice.fail(words_of(sentence)),
        )

    def _kept(self, staining: Staining, target: Path, levels: list[Any]) -> None:
        staining.painter.move_to(target, levels)
        staining.temporary = staining.unnamed = False
        staining.settings = staining.settings.model_copy(update={"out": str(target)})
        self._notice.hint(f"Kept in {target}.")
        self.kept.emit()


def ask_for_zarr(parent: QWidget, name: str, then: Callable[[str], None]) -> None:
    """Let the user choose where an OME-Zarr is written, without holding up the viewer.

    Parameters
    ----------
    parent
        As in Qt.
    name
        That is proposed.
    then
        Called with the path.
    """
    dialog = QFileDialog(parent, "Keep the stain as OME-Zarr")
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setNameFilter("OME-Zarr (*.ome.zarr)")
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.selectFile(name)
    dialog.fileSelected.connect(then)
    dialog.open()
