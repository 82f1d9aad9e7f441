"""Which places are good, and which are bad? Clicks on a judged field, and what they teach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from napari.layers import Image, Points
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.io.folder import review_folder
from napari_virtualstain.napari_io.clicks import points_over, probability_over
from napari_virtualstain.qc.clicked import (
    ARTIFACTS_FILE,
    Artifacts,
    Click,
    missing_clicks,
    read_artifacts,
)
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import Wrapped

if TYPE_CHECKING:
    import napari

__all__ = ["ClicksPanel"]

Label = Literal["good", "bad"]
Where = tuple[str, str, int]
"""Path, scene and time point of a field."""


class ClicksPanel(QWidget):
    """Two layers to click into, and what came of it.

    Parameters
    ----------
    viewer
        To add the layers to.
    """

    changed = Signal()
    """There are other clicks than before."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._prediction = ""
        self._over: Image | None = None
        self._where: Where | None = None
        self._places: dict[Where, dict[Label, NDArray[np.float64]]] = {}
        self._maps: dict[Where, NDArray[np.float32]] = {}
        self.layers: dict[Label, Points] = {}
        self.map: Image | None = None
        self.buttons: dict[Label, QPushButton] = {
            label: QPushButton(f"Click {label}") for label in get_args(Label)
        }
        self.forget_all = QPushButton("Forget all")
        self.save = QPushButton("Save what was learnt…")
        self.count = Wrapped()
        self.notice = Notice(viewer)
        self._arrange()
        for label, button in self.buttons.items():
            button.toggled.connect(lambda on, label=label: self._listen(label, on))
        self.forget_all.clicked.connect(self.clear)
        self._tell()

    @property
    def clicks(self) -> list[Click]:
        """All of them."""
        self._keep()
        return [
            Click(path=path, scene=scene, time=t, y=float(y), x=float(x), label=label)
            for (path, scene, t), own in self._places.items()
            for label, places in own.items() for y, x in places
        ]  # fmt: skip

    def begin(self, prediction: str) -> str:
        """Show what was learnt of a prediction before; forget another one's.

        Parameters
        ----------
        prediction
            What is judged.

        Returns
        -------
        str
            What is wrong with the file that is there, ``""`` for nothing.
        """
        self.leave()
        if prediction == self._prediction and self.clicks:
            return ""  # those of the same stains, judged again
        self._prediction, self._places, self._maps = prediction, {}, {}
        self.save.setEnabled(False)
        self.notice.clear()
        problem = ""
        try:
            artifacts = read_artifacts(review_folder(prediction) / ARTIFACTS_FILE)
            self._take_back(artifacts)
        except MissingInputError:
            pass
        except VirtualStainError as error:
            problem = str(error)
        self._tell()
        return problem

    def show_field(self, over: Image, where: Where) -> None:
        """Take clicks on a field that is shown now.

        Parameters
        ----------
        over
            Layer of it.
        where
            Which it is.
        """
        self.leave()
        self._over, self._where = over, where
        for button in self.buttons.values():
            button.setEnabled(True)
        if where in self._places:
            self._lay()
        self._show_map()

    def leave(self) -> None:
        """Take the layers of a field away; its clicks are kept."""
        self._keep()
        for button in self.buttons.values():
            button.setChecked(False)
            button.setEnabled(False)
        for layer in [*self.layers.values(), self.map]:
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self.layers, self.map = {}, None
        self._over = self._where = None

    def clear(self) -> None:
        """Forget all clicks; what was learnt from them stays in its file until there are others."""
        over, where = self._over, self._where
        self.leave()
        self._places, self._maps = {}, {}
        self.notice.clear()
        if over is not None and where is not None:
            self.show_field(over, where)
        self._tell()

    def show_learnt(self, learnt: dict[str, Any], maps: dict[Where, NDArray[np.float32]]) -> None:
        """Say what clicks taught, and show it over the field.

        Parameters
        ----------
        learnt
            See `jobs.qc_clicks.Learnt.to_json`.
        maps
            Of the fields that were clicked on.
        """
        self._maps = maps
        self._say(str(learnt["words"]), bool(learnt["learnt"]))
        self.save.setEnabled(True)
        self._show_map()

    # --- inside -----------------------------------------------------------------------------------

    def _take_back(self, artifacts: Artifacts) -> None:
        for click in artifacts.clicks:
            own = self._places.setdefault(click.field, {})
            before = own.get(click.label, np.empty((0, 2)))
            own[click.label] = np.vstack([before, [click.y, click.x]])
        said = artifacts.tried.words()
        self._say(f"{said[:1].upper()}{said[1:]}.", artifacts.tried.learnt)
        self.save.setEnabled(True)

    def _say(self, words: str, learnt: bool) -> None:
        (self.notice.hint if learnt else self.notice.warn)(words)

    def _listen(self, label: Label, on: bool) -> None:
        """Let clicks in the viewer become places; the other kind takes none then."""
        if on:
            for other, button in self.buttons.items():
                if other != label:
                    button.setChecked(False)
            if set(self.layers) != set(self.buttons):
                self._lay()
            layer = self.layers[label]
            self._viewer.layers.selection = [layer]
            layer.mode = "add"
        elif label in self.layers:
            self.layers[label].mode = "pan_zoom"

    def _lay(self) -> None:
        """Add the layers of the field, with the clicks that are there."""
        if self._over is None or self._where is None:
            return
        selected = list(self._viewer.layers.selection)
        own = self._places.get(self._where, {})
        for label in self.buttons:
            layer = Points(own.get(label, np.empty((0, 2))), **points_over(self._over, label))
            self._viewer.add_layer(layer)
            self.layers[label] = layer
            layer.events.data.connect(lambda event: self._noted(event))
        self._viewer.layers.selection = selected

    def _noted(self, event: Any) -> None:
        if str(getattr(event, "action", "")).endswith(("added", "removed", "changed")):
            self._keep()
            self._tell()
            self.changed.emit()

    def _keep(self) -> None:
        """Keep what the layers hold; one that somebody has deleted holds nothing."""
        if self._where is None or not self.layers:
            return
        found = {
            label: np.asarray(layer.data, float).copy()
            for label, layer in self.layers.items() if layer in self._viewer.layers
        }  # fmt: skip
        self._places[self._where] = found

    def _tell(self) -> None:
        clicks = self.clicks
        self.forget_all.setEnabled(bool(clicks))
        good = sum(click.label == "good" for click in clicks)
        missing = missing_clicks(clicks)
        fields = len({click.field for click in clicks})
        on = f" on {fields} fields" if fields > 1 else ""
        self.count.setText(missing or f"{good} good and {len(clicks) - good} bad clicks{on}.")

    def _show_map(self) -> None:
        """Show how probably each place of the field is bad, below the points."""
        if self.map is not None and self.map in self._viewer.layers:
            self._viewer.layers.remove(self.map)
        self.map = None
        values = None if self._where is None else self._maps.get(self._where)
        if values is None or self._over is None or self._over not in self._viewer.layers:
            return
        selected = list(self._viewer.layers.selection)
        self.map = Image(values, **probability_over(self._over))
        self._viewer.add_layer(self.map)
        places = [self._viewer.layers.index(one) for one in self.layers.values()
                  if one in self._viewer.layers]  # fmt: skip
        if places:
            self._viewer.layers.move(len(self._viewer.layers) - 1, min(places))
        self._viewer.layers.selection = selected

    def _arrange(self) -> None:
        self.buttons["good"].setToolTip("Then click in the viewer on places that look right")
        self.buttons["bad"].setToolTip("Then click in the viewer on places that look wrong")
        for button in self.buttons.values():
            button.setCheckable(True)
            button.setEnabled(False)
        self.forget_all.setToolTip("Begin anew; what was learnt stays in its file until then")
        self.save.setToolTip("A file that judges stains of other images, too")
        self.save.setEnabled(False)
        above, below = QHBoxLayout(), QHBoxLayout()
        for button in self.buttons.values():
            above.addWidget(button)
        below.addWidget(self.forget_all)
        below.addWidget(self.save)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(above)
        column.addWidget(self.count)
        column.addWidget(self.notice)
        column.addLayout(below)
