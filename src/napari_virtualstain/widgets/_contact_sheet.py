"""How are pictures of one place compared by eye? Side by side, as layers beside the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer, Points
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from napari_virtualstain.napari_io.source import LayerSource, tagged

if TYPE_CHECKING:
    import napari

__all__ = ["ContactSheet", "Crop"]

_GAP, _LINE = 0.05, 0.13
"""Between two crops, and for the names above a row, in edges of a crop."""
_AROUND = 0.9
"""Share of the canvas that the sheet takes."""
_STEP_MS = 30
_GREY = "#8c8c8c"
"""Of the names: to be read on black and on white."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crop:
    """One picture of the place.

    Parameters
    ----------
    name
        Of its layer, and written above it.
    pixels
        (Y, X); all crops of a sheet have one size.
    limits
        Grey values that are shown black and white.
    """

    name: str
    pixels: NDArray[Any]
    limits: tuple[float, float]


class ContactSheet(QObject):
    """Rows of crops on the right of an image.

    Parameters
    ----------
    viewer
        To add layers to.
    parent
        As in Qt.
    """

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.layers: list[Image] = []
        self._names: Points | None = None
        self._wanted: list[Crop] = []
        self._columns = 1
        self._at: dict[str, Any] = {}
        self._first = self._size = np.zeros(2)
        self._camera: tuple[tuple[float, ...], float] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_STEP_MS)
        self._timer.timeout.connect(self._add_one)

    def lay(self, image: Image | None, region: tuple[int, int, int, int]) -> None:
        """Choose the place: beside an image, as high as the region of it that is shown.

        Parameters
        ----------
        image
            Layer that the region is of; without one, the crops lie alone.
        region
            First row, first column, last row + 1, last column + 1.
        """
        self.clear()
        if image is None:
            self._first = np.zeros(2)
            self._size = np.array([region[2] - region[0], region[3] - region[1]], float)
            self._at = {"scale": np.ones(2)}
            return
        finest = image.data[0] if image.multiscale else image.data
        top, left, bottom, right = region
        scale = np.asarray(image.scale[-2:], float)
        height, width = (bottom - top, right - left) * scale
        corners = [
            np.asarray(image.data_to_world((0,) * (image.ndim - 2) + corner))[-2:]
            for corner in ((top, left), (top, finest.shape[-1]))
        ]
        self._first = corners[0].copy()
        self._first[1] = max(corner[1] for corner in corners) + _LINE * width
        self._size = np.array([height, width])
        self._at = {
            "scale": scale, "units": [str(unit) for unit in image.units[-2:]],
            "axis_labels": list(image.axis_labels[-2:]),
        }  # fmt: skip

    def show(self, crops: Sequence[Crop], room: int) -> None:
        """Show these crops as one reads; those that are shown already change in place.

        Parameters
        ----------
        crops
            What is there by now.
        room
            For how many crops there is to be room in view.
        """
        if [_key(crop) for crop in crops] == [_key(crop) for crop in self._wanted]:
            return
        self._wanted = list(crops)
        if self._camera is None:
            self._look(max(room, len(crops)))
        there = [layer for layer in self.layers if layer in self._viewer.layers]
        for layer in there[len(crops) :]:
            self._viewer.layers.remove(layer)
        self.layers = there[: len(crops)]
        for layer, crop in zip(self.layers, crops, strict=False):
            if layer.data is not crop.pixels:
                layer.data = crop.pixels
            _limit(layer, crop.limits)
            layer.name = crop.name
        self._write_names()
        # One layer a turn: napari takes 50 ms for it.
        self._timer.start()

    @property
    def is_looked_at(self) -> bool:
        """Whether the middle of the view is on the sheet."""
        if not self.layers:
            return False
        middle = np.asarray(self._viewer.scene.camera.center, float)[-2:]
        box = self._box(len(self.layers))
        return bool(np.all(middle >= self._first) and np.all(middle <= self._first + box))

    def clear(self, *, look_back: bool = True) -> None:
        """Take the sheet away, and look where one looked before.

        Parameters
        ----------
        look_back
            Else the view stays.
        """
        self._timer.stop()
        self._wanted = []
        for layer in (*self.layers, *(() if self._names is None else (self._names,))):
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self.layers, self._names = [], None
        if self._camera is not None and look_back:
            camera = self._viewer.scene.camera
            camera.center, camera.zoom = self._camera
        self._camera = None

    def stop(self) -> None:
        """Add nothing more: the viewer is going."""
        with suppress(RuntimeError):  # gone with its window
            self._timer.stop()

    def _add_one(self) -> None:
        number = len(self.layers)
        if number >= len(self._wanted):
            self._timer.stop()
            return
        crop = self._wanted[number]
        data = (
            crop.pixels,
            {
                "name": crop.name, "contrast_limits": crop.limits, "colormap": "gray",
                "metadata": tagged({}, LayerSource(role="other")),
                "translate": self._place(number), **self._at,
            },
            "image",
        )  # fmt: skip
        layer = Layer.create(*data)
        assert isinstance(layer, Image)
        self.layers.append(layer)
        with self._same_choice():
            self._viewer.add_layer(layer)
        if len(self.layers) == len(self._wanted):
            self._write_names()

    def _write_names(self) -> None:
        """Write above each crop what it is."""
        if self._names is not None and self._names in self._viewer.layers:
            self._viewer.layers.remove(self._names)
        self._names = None
        if not self.layers:
            return
        places = [self._place(number) for number in range(len(self.layers))]
        with self._same_choice():
            self._names = self._viewer.add_points(
                np.array(places), name="names of the crops", size=0.01,
                face_color=[0, 0, 0, 0], border_color=[0, 0, 0, 0], **self._at_points(),
                text={
                    "string": [layer.name for layer in self.layers], "color": _GREY, "size": 9,
                    "anchor": "upper_left",
                },
            )  # fmt: skip

    def _at_points(self) -> dict[str, Any]:
        return {name: value for name, value in self._at.items() if name != "scale"}

    @contextmanager
    def _same_choice(self) -> Iterator[None]:
        """Let the layer stay chosen that the user has chosen."""
        active = self._viewer.layers.selection.active
        yield
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _place(self, number: int) -> NDArray[np.float64]:
        """Return where a crop begins (y, x)."""
        row, column = divmod(number, self._columns)
        place: NDArray[np.float64] = self._first + np.array([row, column]) * self._step
        return place

    @property
    def _step(self) -> NDArray[np.float64]:
        step: NDArray[np.float64] = self._size + np.array([_LINE, _GAP]) * self._size.max()
        return step

    def _box(self, number: int) -> NDArray[np.float64]:
        """Return the height and width that so many crops take."""
        columns = min(number, self._columns)
        rows = -(-number // self._columns)
        box: NDArray[np.float64] = np.array([rows, columns]) * self._step
        return box

    def _look(self, room: int) -> None:
        """Look at the sheet, in as many columns as show the crops largest."""
        camera = self._viewer.scene.camera
        self._camera = (tuple(float(v) for v in camera.center), float(camera.zoom))
        canvas = np.asarray(self._viewer.canvas.size, float)
        zooms = {}
        for columns in range(1, room + 1):
            self._columns = columns
            zooms[columns] = float(min(canvas / self._box(room)))
        self._columns = max(zooms, key=zooms.__getitem__)
        line = np.array([_LINE * self._size.max(), 0.0])  # the names of the first row
        middle = self._first - line / 2 + self._box(room) / 2
        camera.center = (*camera.center[:-2], float(middle[0]), float(middle[1]))
        camera.zoom = _AROUND * zooms[self._columns]


def _key(crop: Crop) -> tuple[str, int, tuple[float, float]]:
    return (crop.name, id(crop.pixels), crop.limits)


def _limit(layer: Image, limits: tuple[float, float]) -> None:
    low, high = layer.contrast_limits_range
    layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
    layer.contrast_limits = limits
