"""Fields that are shown in place of the ones before, as somebody goes through a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.QtCore import QObject

from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.napari_io.layers import LayerData
from napari_virtualstain.napari_io.reader import open_layers
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._jobs import Background

if TYPE_CHECKING:
    import napari

__all__ = ["FieldOpener", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image that is to be shown.

    Parameters
    ----------
    path, scene
        By which it is found.
    axes, pattern
        As somebody stated them.
    """

    path: str
    scene: str
    axes: str | None = None
    pattern: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """As `Field.key` has it."""
        return self.path, self.scene


class FieldOpener(QObject):
    """Opens what is not open, and takes away what it has opened before.

    Parameters
    ----------
    viewer
        To add layers to.
    fields
        What it shows.
    parent
        As in Qt.
    complain
        Takes a sentence if an image cannot be opened.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        fields: Fields,
        parent: QObject,
        complain: Callable[[str], None],
    ) -> None:
        super().__init__(parent)
        self._viewer, self._fields, self._complain = viewer, fields, complain
        self._background = Background(self)
        self._opened: dict[tuple[str, str], list[Layer]] = {}
        self._asked: tuple[Wanted, ...] = ()

    def show(self, wanted: Sequence[Wanted], then: Callable[[list[Field]], None]) -> None:
        """Show images; those that somebody else has opened stay as they are.

        Parameters
        ----------
        wanted
            From below to above.
        then
            Called with their fields when all are there, unless others have been asked for.
        """
        self._asked = asked = tuple(wanted)
        there = {field.key for field in self._fields.all}
        missing = [one for one in asked if one.key not in there]
        if not missing:
            then(self._found(asked))
            return

        def read() -> list[tuple[Wanted, list[LayerData]]]:
            return [
                (one, open_layers(one.path, scene=one.scene or None, axes=one.axes,
                                  pattern=one.pattern))
                for one in missing
            ]  # fmt: skip

        def take(found: list[tuple[Wanted, list[LayerData]]]) -> None:
            if self._asked == asked:
                self._add(found)
                then(self._found(asked))

        self._background.run("field", read, take, self._complain)

    def _found(self, asked: Sequence[Wanted]) -> list[Field]:
        fields = {field.key: field for field in self._fields.all}
        return [fields[one.key] for one in asked if one.key in fields]

    def _add(self, found: list[tuple[Wanted, list[LayerData]]]) -> None:
        keep = {one.key for one in self._asked}
        before = {key: layers for key, layers in self._opened.items() if key not in keep}
        for one, data in found:
            self._opened[one.key] = [Layer.create(*layer) for layer in data]
            for layer in self._opened[one.key]:
                self._viewer.add_layer(layer)
        # Behind the new ones: napari would forget the plane in view.
        for key, layers in before.items():
            del self._opened[key]
            for layer in layers:
                if layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)
        self._fields.look()
