"""When the user looks at something else: said once the view has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    import napari

__all__ = ["ViewWatch"]

_REST_MS = 120
"""Without a movement, after which the view counts as at rest."""
_MOST_MS = 400
"""Between two words of a view that does not come to rest."""


class ViewWatch(QObject):
    """Watches camera and sliders of a viewer, and takes word of what else changes the view.

    Parameters
    ----------
    viewer
        That is watched.
    parent
        As in Qt; with it the watching ends.
    """

    moved = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._rest, self._most = QTimer(self), QTimer(self)
        for timer, wait in ((self._rest, _REST_MS), (self._most, _MOST_MS)):
            timer.setSingleShot(True)
            timer.setInterval(wait)
            timer.timeout.connect(self._say)
        self._events = (
            viewer.scene.camera.events.center,
            viewer.scene.camera.events.zoom,
            viewer.dims.events.current_step,
        )
        for event in self._events:
            event.connect(self.note)

    def stop(self) -> None:
        """Watch no more; the viewer is closing."""
        for event in self._events:
            event.disconnect(self.note)
        self._rest.stop()
        self._most.stop()

    def note(self, event: object = None) -> None:
        """Note that something else is looked at."""
        del event
        self._rest.start()
        if not self._most.isActive():
            self._most.start()

    def _say(self) -> None:
        self._rest.stop()
        self._most.stop()
        self.moved.emit()
