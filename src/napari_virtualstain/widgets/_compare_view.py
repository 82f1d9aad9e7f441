"""How are prediction and truth looked at? One, the other, both, their difference, or by turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.napari_io.difference import difference_layer, unlike
from napari_virtualstain.napari_io.mixed import Pair, tile_edge
from napari_virtualstain.widgets._compare_beside import Beside
from napari_virtualstain.widgets._compare_closer import Closer
from napari_virtualstain.widgets._compare_mix import LINKED, Mixture, put_over
from napari_virtualstain.widgets._compare_pair import PairWatch
from napari_virtualstain.widgets._parts import Foldout, Wrapped, wide

if TYPE_CHECKING:
    import napari

__all__ = ["MAPS", "MODES", "CompareView"]

MODES = {
    "Predicted": "The prediction alone",
    "True": "The truth alone",
    "Both": "Predicted magenta, true green: where they agree it is white",
    "Difference": "Predicted minus true: blue too dark, orange too bright",
    "Curtain": "Predicted left, true right of an edge that can be moved",
    "Checkerboard": "Tiles of both by turns: edges that go on across tiles are in the right place",
    "Flicker": "Both by turns, twice a second, and other models in between: what jumps is wrong",
    "Side by side": "Bright field, truth and each model beside the image",
    "SSIM map": "How alike both are around each pixel: bright is alike, dark is not",
    "Error map": "The absolute difference: bright is far off, in whichever direction",
}
MAPS = {"SSIM map": "SSIM", "Error map": "absolute error"}
"""Modes that a job makes the pixels of, and what it calls them."""
_ROWS = (4, 7)
"""Numbers of the buttons that begin a new row."""
_MIXED = ("Curtain", "Checkerboard")
_BY_TURNS_MS = 500
_TILES = {"large": 4, "medium": 8, "small": 16}
"""How many lie along the shorter side of the view."""
_STEPS = 1000
"""Of the slider, which so moves the curtain by less than a pixel of the canvas or two."""
_NEAR = 8.0
"""Pixels of the canvas, within which the curtain's edge is taken hold of."""
_FLAT = (
    "Curtain and checkerboard show y and x. Switch the canvas to two dimensions, with the axes in "
    "their own order."
)
_LOOKS = ("colormap", "opacity", "blending")


class CompareView(QWidget):
    """Buttons for the ways of looking at a prediction and its truth, and what they do with them.

    Everything else is hidden meanwhile; `leave` brings it back.

    Parameters
    ----------
    viewer
        Whose layers are shown and hidden.
    tell, complain
        Take a sentence: what was done, and what could not be.
    """

    wants_maps = Signal()
    """Maps of the pair are asked for, and nobody has made them yet; see `show_maps`."""

    def __init__(
        self,
        viewer: napari.Viewer,
        tell: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._viewer, self._complain = viewer, complain
        self._now: tuple[str, Image, Image] | None = None
        self._linked: list[Image] = []
        self._visible: dict[Image, bool] = {}
        self._own: dict[Image, dict[str, Any]] = {}
        self._differences: dict[str, Image] = {}
        self._maps: dict[str, Image] = {}
        self._models: dict[str, Image] = {}
        self._turns: list[tuple[str, Image]] = []
        self._title: tuple[bool, str] | None = None
        self._range: float | None = None
        self.watch = PairWatch(viewer, self)
        self.mixture = Mixture(viewer, self.watch)
        self.beside = Beside(viewer, self, complain)
        self.modes = QButtonGroup(self)
        self.curtain = QSlider(Qt.Orientation.Horizontal)
        self.tiles = wide(QComboBox())
        self.key = Wrapped()
        self.closer = Closer(viewer, self.watch, tell, complain)
        self.close_up = Foldout("Look closer", self.closer)
        self._by_turns = QTimer(self)
        self._by_turns.setInterval(_BY_TURNS_MS)
        self._arrange()
        self.modes.idClicked.connect(lambda _: self.look_again())
        self.curtain.valueChanged.connect(self._recompose)
        self.tiles.currentIndexChanged.connect(self._recompose)
        self._by_turns.timeout.connect(self._turn)
        self.mixture.shown.connect(self._hide_below)
        self.watch.failed.connect(complain)
        self.watch.flat.connect(self._say_flat)
        self.close_up.heading.toggled.connect(lambda _: self.look_again())

    @property
    def mode(self) -> str:
        """Which way is chosen."""
        number: int = self.modes.checkedId()
        return list(MODES)[max(number, 0)]

    # --- showing ----------------------------------------------------------------------------------

    @property
    def pair(self) -> tuple[str, Image, Image] | None:
        """What is looked at: name of the stain, prediction and truth."""
        return self._now

    def look_at(
        self,
        stain: str,
        predicted: Image,
        true: Image,
        range_: float | None = None,
        *,
        model: str = "",
        others: Mapping[str, Image] | None = None,
    ) -> None:
        """Show a pair of layers in the chosen way; everything else hides.

        Parameters
        ----------
        stain
            Name of the pair.
        predicted, true
            Its layers.
        range_
            Largest minus smallest value of the truth, to which SSIM is relative, where it is known.
        model
            Name of what predicted it.
        others
            Predictions of the same field and stain by other models, by their names.
        """
        now = stain, predicted, true
        if self._now != now:
            self._drop(self._maps)
        self._now, self._range = now, range_
        self._models = {model or "predicted": predicted, **(others or {})}
        self.look_again()

    def look_again(self) -> None:
        """Show the same pair, perhaps in another way."""
        if self._now is None:
            return
        stain, predicted, true = self._now
        if predicted not in self._viewer.layers or true not in self._viewer.layers:
            self.rest()
            self._complain(f"A layer of {stain} is gone. Open it again, and compare again.")
            return
        mode = self.mode
        self.rest(but_mixture=mode in _MIXED)
        difference = self._difference() if mode == "Difference" else None
        if mode in MAPS:
            difference = self._map(MAPS[mode])
        models = [one for one in self._models.values() if one in self._viewer.layers]
        self._link(true, models)
        closer = self.close_up.heading.isChecked()
        if mode in _MIXED or closer:
            self._follow(stain, predicted, true)
        else:
            self.watch.stop()
        mixed = self.mixture.layer
        colours: dict[Image, str] = {
            "Predicted": {predicted: "gray"},
            "True": {true: "gray"},
            "Both": {true: "green", predicted: "magenta"},
            "Difference": {},
            # Until what is in view has been read, the prediction fills the canvas.
            **dict.fromkeys(_MIXED, {predicted: "gray"} if mixed is None else {}),
            "Flicker": {true: "gray", **dict.fromkeys(models, "gray")},
            "Side by side": {},
            # Until the map is there, the prediction stays.
            **dict.fromkeys(MAPS, {predicted: "gray"} if difference is None else {}),
        }[mode]
        for layer in self._viewer.layers:
            if isinstance(layer, Image) and layer is not mixed:
                self._visible.setdefault(layer, layer is not difference and layer.visible)
                layer.visible = layer in colours or layer is difference
        for layer, colour in colours.items():
            # Detail is seen best in grey; the colours come back when the page is left.
            self._own[layer] = {name: getattr(layer, name) for name in _LOOKS}
            layer.colormap, layer.opacity, layer.blending = colour, 1.0, "additive"
        active = self._viewer.layers.selection.active
        if active is None or isinstance(active, Image):
            # The controls of the viewer are those of what is looked at.
            looked_at = true if mode == "True" else difference or predicted
            self._viewer.layers.selection.active = looked_at
        if mode == "Flicker":
            overlay = self._viewer.canvas.overlays.text
            self._title = (overlay.visible, overlay.text)
            overlay.visible = True
            self._turns = [*((n, one) for n, one in self._models.items() if one in models),
                           ("true", true)]  # fmt: skip
            self._turn()
            self._by_turns.start()
        if mode == "Side by side":
            named = {name: one for name, one in self._models.items() if one in models}
            self.beside.show(named, true)
        if mode == "Curtain" and self._drag not in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.append(self._drag)
        self._curtain_row.setVisible(mode == "Curtain")
        self._tiles_row.setVisible(mode == "Checkerboard")
        self._tell()

    def rest(self, *, but_mixture: bool = False) -> None:
        """Give layers their own colours back, and move nothing any more."""
        self._by_turns.stop()
        if self._title is not None:
            overlay = self._viewer.canvas.overlays.text
            overlay.visible, overlay.text = self._title
            self._title = None
        if self._drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._drag)
        if not but_mixture:
            self.mixture.stop()
        self.beside.clear()
        self.closer.leave()
        for layer, own in self._own.items():
            for name, value in own.items():
                setattr(layer, name, value)
        self._own.clear()

    def leave(self) -> None:
        """Show what was shown before, as it was."""
        self.rest()
        self.watch.stop()
        for layer, visible in self._visible.items():
            layer.visible = visible
        self._visible.clear()

    def forget(self) -> None:
        """Drop the pair, and layers that were made of an older comparison."""
        self._now = None
        self._by_turns.stop()
        self.mixture.stop()
        self.beside.clear()
        self.closer.leave()
        self.watch.stop()
        for made in (self._differences, self._maps):
            self._drop(made)

    def show_maps(self, maps: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> None:
        """Take the maps of the pair that is looked at.

        Parameters
        ----------
        maps
            Data and keywords of ``Image`` by `MAPS`; see `napari_io.error_maps.map_layers`.
        """
        if self._now is None:
            return
        self._drop(self._maps)
        for kind, (data, keywords) in maps.items():
            self._maps[kind] = Image(data, **keywords)
            put_over(self._viewer, self._maps[kind], self._now[1:])
        self.look_again()

    def _drop(self, made: dict[str, Image]) -> None:
        for layer in made.values():
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        made.clear()

    def close_view(self) -> None:
        """Move nothing any more; the viewer is closing."""
        self._by_turns.stop()
        self.beside.stop()
        self.closer.leave()
        self.watch.stop()

    def _map(self, kind: str) -> Image | None:
        """Return the layer of a map, `None` while nobody has made it."""
        known = self._maps.get(kind)
        if known is not None and known in self._viewer.layers:
            return known
        self.wants_maps.emit()
        return None

    def _difference(self) -> Image | None:
        """Return the layer of a stain's difference, made when it is first looked at."""
        assert self._now is not None
        stain, predicted, true = self._now
        known = self._differences.get(stain)
        if known is not None and known in self._viewer.layers:
            return known
        try:
            data = difference_layer(predicted, true, name=f"{stain} predicted - true")
        except VirtualStainError as error:
            self._complain(str(error))
            return None
        self._differences[stain] = Layer.create(*data)
        put_over(self._viewer, self._differences[stain], (predicted, true))
        return self._differences[stain]

    def _link(self, true: Image, models: list[Image]) -> None:
        """Show equal numbers as equal grey, and keep it so when any is changed."""
        if self._linked != [*models, true]:
            still = [layer for layer in self._linked if layer in self._viewer.layers]
            if still:
                self._viewer.layers.unlink_layers(still, LINKED)
            self._linked = [*models, true]
        for layer in models:
            layer.contrast_limits_range = true.contrast_limits_range
            layer.contrast_limits = true.contrast_limits
        self._viewer.layers.link_layers([*models, true], LINKED)

    # --- what is in view --------------------------------------------------------------------------

    def _follow(self, stain: str, predicted: Image, true: Image) -> None:
        """Read what is in view of a pair, now and whenever that changes."""
        if not self.watch.follow(predicted, true):
            self._complain(unlike(predicted, true))
            return
        if self.watch.is_flat:
            self._say_flat()
        if self.mode in _MIXED:
            self.mixture.show(f"{stain} predicted and true", self._mixed)
        if self.close_up.heading.isChecked():
            self.closer.look_at(self._range)

    def _say_flat(self) -> None:
        if self.mode in _MIXED:
            self._complain(_FLAT)

    # --- curtain, checkerboard, flicker -----------------------------------------------------------

    def _mixed(self, pair: Pair) -> NDArray[np.float32]:
        if self.mode == "Curtain":
            bright = float(self._now[2].contrast_limits[1]) if self._now else None
            return pair.curtain(self.curtain.value() / _STEPS, bright)
        return pair.checkerboard(self._edge(pair))

    def _edge(self, pair: Pair) -> int:
        return tile_edge(pair.region, self.tiles.currentData())

    def _recompose(self) -> None:
        self._percent.setText(f"{100 * self.curtain.value() / _STEPS:.0f} %")
        self.mixture.compose()

    def _hide_below(self) -> None:
        """Take away what filled the canvas until the mixture came: it would shine through gaps."""
        if self._now is not None and self.mode in _MIXED:
            self._now[1].visible = False
            self._tell()

    def _drag(self, viewer: napari.Viewer, event: Any) -> Iterator[None]:
        """Move the curtain with the mouse, if it is taken hold of at its edge."""
        pair = self.watch.pair
        if pair is None or self._now is None:
            return
        predicted, camera = self._now[1], viewer.scene.camera

        def column() -> float:
            return float(predicted.world_to_data(event.position[-predicted.ndim :])[-1])

        away = abs(column() - pair.line(self.curtain.value() / _STEPS))
        if away * camera.zoom * abs(float(predicted.scale[-1])) > _NEAR:
            return
        pans, camera.mouse_pan = camera.mouse_pan, False
        try:
            yield
            while event.type == "mouse_move":
                self.curtain.setValue(round(_STEPS * pair.share(column())))
                yield
        finally:
            camera.mouse_pan = pans

    def _turn(self) -> None:
        """Show the other of the two."""
        if self._now is None or any(one not in self._viewer.layers for one in self._now[1:]):
            self.rest()
            return
        shown = [number for number, (_, layer) in enumerate(self._turns) if layer.opacity == 1]
        number = (shown[0] + 1) % len(self._turns) if len(shown) == 1 else 0
        # Not by `visible`, for which napari reads a layer anew.
        for other, (_, layer) in enumerate(self._turns):
            layer.opacity = float(other == number)
        self._viewer.canvas.overlays.text.text = self._turns[number][0]

    # --- words ------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Say what colours and limits mean."""
        assert self._now is not None
        low, high = (float(v) for v in self._now[2].contrast_limits)
        span, half = f"{low:.4g} to {high:.4g}", (high - low) / 2
        pair = self.watch.pair
        models = "Predicted" if len(self._models) < 2 else ", ".join(self._models)
        tiles = "Tiles" if pair is None else f"Tiles of {self._edge(pair)} px"
        self.key.setText(
            {
                "Predicted": f"Shown in grey from {span}, as the truth is; the limits of both are "
                "linked.",
                "True": f"Shown in grey from {span}, as the prediction is; the limits of both are "
                "linked.",
                "Both": f"Predicted magenta, true green, agreement white; both from {span}.",
                "Difference": f"Predicted minus true: blue too dark, orange too bright, black "
                f"right; from -{half:.4g} to {half:.4g}.",
                "Curtain": f"Predicted left of the curtain, true right of it; both in grey from "
                f"{span}. Drag it by its edge, which two marks show, or by the slider.",
                "Checkerboard": f"{tiles}, predicted and true by turns, the first of the image "
                f"predicted; both in grey from {span}.",
                "Flicker": f"{models} and true by turns, twice a second; the canvas says which. "
                f"All in grey from {span}.",
                "Side by side": f"What was in view, beside the image: {models} and true in grey "
                f"from {span}. Another mode goes back.",
                "SSIM map": "Likeness of 7 x 7 px around each pixel: 1, bright, is alike, 0, dark, "
                "is not. In an empty background noise alone makes it low.",
                "Error map": f"Absolute difference, black 0, bright {half:.4g} or more.",
            }[self.mode]
        )

    def _arrange(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        rows = [QHBoxLayout() for _ in range(len(_ROWS) + 1)]
        for row in rows:
            row.setSpacing(2)
            column.addLayout(row)
        for number, (name, about) in enumerate(MODES.items()):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setChecked(number == 0)
            button.setToolTip(about)
            self.modes.addButton(button, number)
            rows[sum(number >= first for first in _ROWS)].addWidget(button)
        self.curtain.setRange(0, _STEPS)
        self.curtain.setValue(_STEPS // 2)
        self.curtain.setToolTip("Where the curtain hangs, as a share of the width in view")
        self._percent = QLabel("50 %")
        self._percent.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._percent.setMinimumWidth(self._percent.fontMetrics().horizontalAdvance("100 % "))
        for title, number in _TILES.items():
            self.tiles.addItem(title, number)
        self.tiles.setCurrentText("medium")
        self.tiles.setToolTip("How large tiles are, beside the view; they lie fast on the image")
        self._curtain_row = _row("Curtain", self.curtain, self._percent)
        self._tiles_row = _row("Tiles", self.tiles)
        column.addWidget(self._curtain_row)
        column.addWidget(self._tiles_row)
        column.addWidget(self.key)
        column.addWidget(self.close_up)


def _row(title: str, *widgets: QWidget) -> QWidget:
    """Return a row that is not there until its mode is chosen."""
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(QLabel(title))
    for number, widget in enumerate(widgets):
        row.addWidget(widget, not number)
    holder.hide()
    return holder
