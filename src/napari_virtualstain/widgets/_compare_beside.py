"""Truth and all predictions of one place, side by side beside the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QObject

from napari_virtualstain.napari_io.difference import levels_of, same_pixels, unlike
from napari_virtualstain.napari_io.mixed import read_pair
from napari_virtualstain.widgets._compare_figure import brightfield_like
from napari_virtualstain.widgets._contact_sheet import ContactSheet, Crop
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._view import shown_place, shown_region

if TYPE_CHECKING:
    import napari

__all__ = ["Beside"]

_EDGE = 1024
"""Longest edge of what is set side by side: crops are shown in full resolution."""


class Beside(QObject):
    """Sets what is in view of several layers side by side.

    Parameters
    ----------
    viewer
        That shows them.
    parent
        As in Qt.
    complain
        Takes a sentence.
    """

    def __init__(
        self, viewer: napari.Viewer, parent: QObject, complain: Callable[[str], None]
    ) -> None:
        super().__init__(parent)
        self._viewer, self._complain = viewer, complain
        self._background = Background(self)
        self._asked: object = None
        self.sheet = ContactSheet(viewer, self)

    def show(self, predicted: Mapping[str, Image], true: Image) -> None:
        """Show the bright field if it is open, the truth, and each prediction.

        Parameters
        ----------
        predicted
            By name of the model.
        true
            Of the same pixels.
        """
        first = next(iter(predicted.values()))
        other = next((one for one in predicted.values() if not same_pixels(one, true)), None)
        if other is not None:
            self._complain(unlike(other, true))
            return
        region = shown_region(self._viewer, first)
        if region is None:
            self._complain("Nothing is in view. Show the image, in two dimensions, and try again.")
            return
        region = _middle(region)
        light = brightfield_like(self._viewer, first)
        pictures = {"true": true, **predicted}
        pictures = pictures if light is None else {"bright field": light, **pictures}
        places = [
            (name, levels_of(one), shown_place(self._viewer, one), one)
            for name, one in pictures.items()
        ]
        limits = {name: _limits(one if one is light else true) for name, _, _, one in places}
        self._asked = asked = object()

        def read() -> list[Crop]:
            return [
                Crop(
                    name=name, limits=limits[name],
                    pixels=read_pair(levels, levels, at, region).predicted,
                )
                for name, levels, at, _ in places
            ]  # fmt: skip

        def take(crops: list[Crop]) -> None:
            if self._asked is asked and first in self._viewer.layers:
                self.sheet.lay(first, region)
                self.sheet.show(crops, len(crops))

        self._background.run("beside", read, take, self._complain)

    def clear(self) -> None:
        """Take it away, and look where one looked before."""
        self._asked = None
        if self.sheet.layers:
            self.sheet.clear(look_back=self.sheet.is_looked_at)

    def stop(self) -> None:
        """Add nothing more; the viewer is going."""
        self._asked = None
        self.sheet.stop()


def _limits(layer: Image) -> tuple[float, float]:
    low, high = layer.contrast_limits
    return float(low), float(high)


def _middle(region: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Return the middle of a region that is too large."""
    top, left, bottom, right = region
    high, wide = min(bottom - top, _EDGE), min(right - left, _EDGE)
    y, x = (top + bottom - high) // 2, (left + right - wide) // 2
    return y, x, y + high, x + wide
