"""Which images does this viewer show now? One watcher for all pages, and the box to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QComboBox

from napari_virtualstain.napari_io.fields import Field, fields_in
from napari_virtualstain.widgets._parts import wide

if TYPE_CHECKING:
    import napari

__all__ = ["FieldBox", "Fields"]


class Fields(QObject):
    """The images of a viewer, looked for again whenever its layers change.

    Parameters
    ----------
    viewer
        To watch.
    parent
        As in Qt.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.all: tuple[Field, ...] = ()
        # Ten layers of one image are one change.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self.look)
        events = viewer.layers.events
        self._watched = (events.inserted, events.removed, events.reordered)
        for event in self._watched:
            event.connect(self._later)
        self.look()

    def look(self) -> None:
        """Look again now, for example after a role has changed."""
        self.all = fields_in(self._viewer.layers)
        self.changed.emit()

    def close(self) -> None:
        """Stop watching."""
        self._soon.stop()
        for event in self._watched:
            event.disconnect(self._later)

    def _later(self, event: Any = None) -> None:
        del event
        self._soon.start()


class FieldBox(QComboBox):
    """A box to choose one of the viewer's images; what is new is chosen by itself.

    Parameters
    ----------
    fields
        To choose from.
    offers
        Which of them are offered.
    empty
        What the box says while there is none.
    follows
        Which of those that are new are chosen by themselves; others only if there is none yet.
    nothing
        Name of an entry that stands for none of them, `None` if one has to be chosen.
    """

    chosen = Signal()

    def __init__(
        self,
        fields: Fields,
        offers: Callable[[Field], bool],
        empty: str,
        *,
        follows: Callable[[Field], bool] = lambda field: True,
        nothing: str | None = None,
    ) -> None:
        super().__init__()
        self._fields, self._offers, self._empty, self._follows = fields, offers, empty, follows
        self._nothing = nothing
        self._offered: list[Field] = []
        wide(self)
        fields.changed.connect(self.refill)
        self.currentIndexChanged.connect(lambda _: self.chosen.emit())
        self.refill()

    @property
    def field(self) -> Field | None:
        """The image that is chosen."""
        index = self.currentIndex() - (self._nothing is not None)
        return self._offered[index] if 0 <= index < len(self._offered) else None

    def choose(self, key: tuple[str, str]) -> bool:
        """Choose an image by its key; return whether it is there."""
        keys = [field.key for field in self._offered]
        if key not in keys:
            return False
        self.setCurrentIndex(keys.index(key) + (self._nothing is not None))
        return True

    def refill(self) -> None:
        """Offer what there is now, and keep the choice where it is still there."""
        before = self.field
        known = {field.key for field in self._offered}
        self._offered = [field for field in self._fields.all if self._offers(field)]
        keys = [field.key for field in self._offered]
        new = [f.key for f in self._offered if f.key not in known and self._follows(f)]
        wanted = new[-1] if new else None if before is None else before.key
        self.blockSignals(True)
        self.clear()
        if self._nothing is not None:
            self.addItem(self._nothing)
        for field in self._offered:
            self.addItem(field.name)
            self.setItemData(self.count() - 1, field.path or "a layer in memory", 3)
        self.setPlaceholderText(self._empty)
        if self._nothing is not None:
            self.setCurrentIndex(1 + keys.index(wanted) if wanted in keys else 0)
        else:
            self.setCurrentIndex(keys.index(wanted) if wanted in keys else len(keys) - 1)
        self.blockSignals(False)
        self.setEnabled(bool(keys) or self._nothing is not None)
        self.chosen.emit()
