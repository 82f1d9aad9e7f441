"""How a stain appears while it is computed, without the viewer stumbling.

A thread reads the tiles that a run has committed; the viewer's thread only
redraws, one layer at a time and each at most four times a second. The layers
belong to the image that they were asked for, whatever is selected meanwhile; a
layer that the user removes stays removed.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_virtualstain.errors import sentence_of
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.napari_io.layer_axes import Place
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.painting import Painting
from napari_virtualstain.napari_io.source import source_of, tagged

if TYPE_CHECKING:
    import napari

__all__ = ["Painter", "levels_of"]

_LOOK_S = 0.02
"""Between looks at what the run has committed."""
_REDRAW_S = 0.25
"""Between two redraws of a layer."""
_ADD_S = 0.1
"""Between two layers that are added, in which the pixels of the first are drawn."""
_WAIT_S = 2.0
"""For the pixels of the first, if they do not come."""
_STEP_MS = 12
"""Between redraws of two layers, for the viewer to answer its user."""


_LEAST, _MOST, _SHARE = 256_000_000, 1_000_000_000, 0.1
"""Bytes of coarser copies in memory: a share of what is free, in bounds."""


def levels_of(store: Path, depth: int = 1) -> list[Any]:
    """Return the levels of each stain of a complete store; reads files, so not for Qt's thread.

    Parameters
    ----------
    store
        That a run has written.
    depth
        See `Painting.levels`.
    """
    painting = Painting.open(store)
    return [painting.final_levels(c, depth=depth) for c in range(len(painting.stains))]


def _budget() -> int:
    return int(min(_MOST, max(_LEAST, _SHARE * psutil.virtual_memory().available)))


@contextmanager
def _drawn_later(part: QObject) -> Iterator[None]:
    """Draw the window of a part after what the user did meanwhile, not with the change itself."""
    windows: list[weakref.ref[QWidget]] = []  # weakly: one that is closed meanwhile goes
    above: QObject | None = part
    while above is not None:  # a dock that floats is a window in a window
        if isinstance(above, QWidget) and above.isWindow():
            above.setUpdatesEnabled(False)
            windows.append(weakref.ref(above))
        above = above.parent()

    def draw() -> None:
        for reference in windows:
            window = reference()
            if window is not None:
                with suppress(RuntimeError):  # closed
                    window.setUpdatesEnabled(True)

    QTimer.singleShot(_STEP_MS, draw)
    yield


class Painter(QObject):
    """Layers of one store, from its first tile to its pyramid.

    Parameters
    ----------
    viewer
        To add layers to.
    store
        That a run writes, or has written.
    above
        Layers of the image that is stained; the stains lie over them.
    name
        Of that image, as it was when the run was asked for.
    contrast
        Limits by stain, for example those of the truth.
    place
        Where its pixels lay when the run was asked for; where the store says if `None`.
    over
        Opens that image, in a thread: where it has time points and z planes, so have the layers.
    parent
        As in Qt; the window above it is not drawn in the moment in which a layer is added.
    """

    failed = Signal(str)
    shown = Signal()
    """The first pixels are drawn."""
    added = Signal()
    """All layers are in the viewer."""
    complete = Signal()
    """The layers show the finished store."""
    _opened = Signal(object)
    _painted = Signal(bool)
    _finished = Signal(object)

    def __init__(
        self,
        viewer: napari.Viewer,
        store: Path,
        *,
        above: tuple[Image, ...],
        name: str,
        contrast: Mapping[str, tuple[float, float]],
        place: Place | None,
        over: Callable[[], LazyImage] | None,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer, self.store, self._above = viewer, store, above
        self._name, self._contrast = name, dict(contrast)
        self._at, self._over = place, over
        self._stop, self._last_look = threading.Event(), threading.Event()
        self._painting: Painting | None = None
        self.layers: dict[int, Image] = {}
        self._to_add: list[tuple[int, Any]] = []
        self._made: tuple[int, Layer] | None = None
        self._to_show: Image | None = None
        self._away: list[Image] | None = None
        self._added_at = 0.0
        self._dirty: dict[int, float] = {}
        self._final: list[tuple[int, Any]] = []
        self._drawn: dict[int, float] = {}
        self._thread: threading.Thread | None = None
        self._told = self._complete = False
        self._timer = QTimer(self)
        self._timer.setInterval(_STEP_MS)
        self._timer.timeout.connect(self._step)
        self._opened.connect(self._open)
        self._painted.connect(self._mark)
        self._finished.connect(self._take_final)

    def follow(self) -> None:
        """Look for new tiles until `rest` or `stop` is called."""
        if self._thread is not None and self._thread.is_alive():
            self._last_look.clear()
            return
        self._last_look.clear()
        self._thread = threading.Thread(target=self._look, name="virtualstain-paint", daemon=True)
        self._thread.start()

    def rest(self) -> None:
        """Look once more, then stop looking; the run has ended."""
        self._last_look.set()

    @property
    def depth(self) -> int:
        """How many z planes the layers have, all of them the same."""
        layer = next(iter(self.layers.values()), None)
        if layer is None or layer.ndim < 4:
            return 1
        return int((layer.data[0] if layer.multiscale else layer.data).shape[1])

    def missing(self, region: tuple[int, int, int, int], t: int) -> bool:
        """Return whether part of a region is not painted, as far as is known here."""
        painting = self._painting
        if painting is None:
            return not self._complete
        return painting.missing(region, t)

    def put_away(self) -> None:
        """Hide the layers, also those still to come, until `bring_back`; painting goes on."""
        if self._away is None:
            self._away = [layer for layer in self.layers.values() if layer.visible]
            for layer in self._away:
                layer.visible = False

    def bring_back(self) -> None:
        """Show again what was hidden by `put_away`."""
        away, self._away = self._away or [], None
        for layer in away:
            layer.visible = True

    def stop(self) -> None:
        """Stop at once; the thread ends by itself."""
        self._stop.set()
        self._last_look.set()
        with suppress(RuntimeError):  # gone with its window
            self._timer.stop()

    def move_to(self, store: Path, levels: list[Any]) -> None:
        """Show a copy of the complete store instead.

        Parameters
        ----------
        store
            Where the copy lies.
        levels
            What `levels_of` gives for it.
        """
        self.store = store
        for layer in self.layers.values():
            source = source_of(layer)
            if source is not None:
                layer.metadata = tagged(layer.metadata, replace(source, path=str(store)))
        self._take_final(levels)

    # --- in the thread ----------------------------------------------------------------------------

    def _look(self) -> None:
        try:
            if self._painting is None:
                painting = Painting.open(self.store, budget=_budget())
                layers = self._layers_of(painting)
                self._painting = painting
                self._emit("_opened", layers)
            painting = self._painting
            while not self._stop.is_set():
                last = self._last_look.is_set()
                new = painting.update()
                if new:
                    self._emit("_painted", True)
                if last and not new:
                    break
                if not new:
                    self._last_look.wait(_LOOK_S)
            if painting.complete and not self._stop.is_set():
                self._emit("_finished", painting.final())
                self._painting = None  # its copies in memory are no longer shown
        except Exception as error:  # noqa: BLE001 (told to the page)
            self._emit("failed", sentence_of(error))

    def _layers_of(self, painting: Painting) -> list[LayerData]:
        # Only z planes under time points matter, and to open a file again takes time.
        over = self._over() if self._over is not None and painting.image.shape[0] > 1 else None
        layers = painting.layers(name=self._name, contrast=self._contrast, over=over)
        if self._at is None:
            return layers
        # Pixel lies on pixel: where the image lies now counts, not what its file says.
        return [(data, self._at.apply(keywords), kind) for data, keywords, kind in layers]

    def _emit(self, signal: str, value: Any) -> None:
        try:
            getattr(self, signal).emit(value)
        except RuntimeError:
            self._stop.set()  # the widget is gone

    # --- in the viewer's thread -------------------------------------------------------------------

    def _open(self, layers: list[LayerData]) -> None:
        if self.layers:
            return  # opened again to go on
        self._to_add = list(enumerate(layers))
        self._timer.start()
        self._step()  # the first is waited for

    def _mark(self, new: bool) -> None:
        del new
        now = time.monotonic()
        self._dirty = {c: self._dirty.get(c, now) for c in self.layers}
        self._timer.start()

    def _take_final(self, levels: Any) -> None:
        self._final = list(enumerate(levels))
        self._timer.start()

    def _step(self) -> None:
        """Do one thing, and leave the rest for later."""
        if self._stop.is_set():
            # What the thread had sent before it was told to stop has started the timer again.
            self._timer.stop()
            return
        now = time.monotonic()
        if self._to_show is not None:
            layer, self._to_show = self._to_show, None
            if self._away is None:
                with _drawn_later(self):
                    layer.visible = True
                self._tell_first()
            else:
                self._away.append(layer)
        elif self._made is not None:
            (c, layer), self._made = self._made, None
            self._add(c, layer)
        elif self._to_add and not self.layers:
            self._make(*self._to_add.pop(0))
        elif self._dirty and self._redraw():
            pass
        elif self._to_add and now - self._added_at > (_ADD_S if self._told else _WAIT_S):
            # napari takes 50 ms and more for a layer, so that pixels of the first come before.
            self._make(*self._to_add.pop(0))
        elif self._to_add:
            pass
        elif self._final and not self._dirty:
            self._finish(*self._final.pop(0))
        elif not self._dirty:
            self._timer.stop()

    def _make(self, c: int, data: Any) -> None:
        layer = Layer.create(*data)
        # One stain at a time: five added up are white. And the first in two steps, since napari
        # takes as long to draw a layer for the first time as to add it.
        layer.visible = False
        self._made = c, layer

    def _add(self, c: int, layer: Layer) -> None:
        with _drawn_later(self):
            self._viewer.layers.insert(self._place(), layer)
        self.layers[c] = layer
        self._drawn[c] = self._added_at = time.monotonic()
        if len(self.layers) == 1:
            self._drawn[c] = 0.0  # its first pixels need not wait
            self._to_show = layer
        if not self._to_add:
            self._mark(True)
            self.added.emit()

    def _place(self) -> int:
        """Return where the next layer goes: over the image and over its own kind."""
        known = [*self._above, *self.layers.values()]
        at = [self._viewer.layers.index(one) for one in known if one in self._viewer.layers]
        return max(at) + 1 if at else len(self._viewer.layers)

    def _redraw(self) -> bool:
        """Redraw the layer that has waited longest; return whether there was one."""
        now = time.monotonic()
        for c in sorted(self._dirty, key=self._dirty.__getitem__):
            layer = self.layers[c]
            if layer not in self._viewer.layers:
                del self._dirty[c]
                continue
            if now - self._drawn.get(c, 0.0) < _REDRAW_S:
                continue
            del self._dirty[c]
            self._drawn[c] = now
            if layer.visible:
                layer.refresh(extent=False, highlight=False, thumbnail=False)
                self._tell_first()
                return True
        return False

    def _tell_first(self) -> None:
        painting = self._painting
        if not self._told and (painting is None or painting.tiles_done):
            self._told = True
            self.shown.emit()

    def _finish(self, c: int, levels: Any) -> None:
        layer = self.layers.get(c)
        if layer is not None and layer in self._viewer.layers:
            layer.data = levels if layer.multiscale else levels[0]
        if not self._final:
            self._complete = True
            self.complete.emit()
