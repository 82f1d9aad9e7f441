"""What does a layer that goes take along? Only what it had on the canvas, and no other picture.

When a layer is removed, napari deletes its shaders and textures in whatever graphics context is
current at that moment. Behind a redraw that is one of Qt's and not that of the canvas, whose state
then still names what is gone: under Mesa (llvmpipe, 22.3) the next redraw crashes where a stack is
removed and a flat layer is left, as when a stain stays and its bright field is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    import napari

__all__ = ["hold_context"]

_held: WeakSet[QWidget] = WeakSet()


def hold_context(viewer: napari.Viewer) -> None:
    """See to it that the canvas's own context is current whenever a layer of a viewer goes.

    Parameters
    ----------
    viewer
        For as long as it lives, also behind the dock; once is enough.
    """
    window: QWidget | None = getattr(getattr(viewer, "window", None), "_qt_window", None)
    if window is None or window in _held:
        return
    _held.add(window)
    known = ref(window)

    def make_current(event: Any = None) -> None:
        del event
        window = known()
        if window is None:
            return
        try:
            for canvas in window.findChildren(QOpenGLWidget):
                canvas.makeCurrent()
        except RuntimeError:
            return  # the window is gone, and the canvas with it

    # Before the layer is out of the list; what hears of it afterwards may come behind napari.
    viewer.layers.events.removing.connect(make_current)
