"""A figure of what is in view, for a paper or a mail: copied, or saved as PNG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image
from PIL import Image as Pictures
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_virtualstain import __version__
from napari_virtualstain.axes import to_micrometres
from napari_virtualstain.io.save_png import save_png
from napari_virtualstain.napari_io.closer import numbers_in_view
from napari_virtualstain.napari_io.difference import levels_of
from napari_virtualstain.napari_io.figure import compose_figure, panels_of
from napari_virtualstain.napari_io.mixed import Pair, read_pair
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._compare_pair import PairWatch
from napari_virtualstain.widgets._jobs import Background
from napari_virtualstain.widgets._view import shown_place

if TYPE_CHECKING:
    import napari

__all__ = ["FigureButtons", "brightfield_like"]


class FigureButtons(QWidget):
    """Makes a figure of prediction, truth and bright field in view.

    Parameters
    ----------
    viewer
        That shows them.
    watch
        That has what is in view.
    tell
        Takes a sentence: where the figure is.
    complain
        Takes a sentence: why there is none.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        watch: PairWatch,
        tell: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._viewer, self._watch = viewer, watch
        self._tell, self._complain = tell, complain
        self._background = Background(self)
        self.copy = QPushButton("Copy figure")
        self.copy.setToolTip(
            "Copy bright field, prediction, truth, both and difference of what is in view, with "
            "scale bar and limits"
        )
        self.save = QPushButton("Save figure...")
        self.save.setToolTip("Save the same as PNG")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.copy)
        row.addWidget(self.save)
        self.copy.clicked.connect(lambda: self._make(self._to_clipboard))
        self.save.clicked.connect(self._ask)

    def save_to(self, path: str | Path) -> None:
        """Save the figure; a sentence says so when it is there."""
        where = Path(path)
        if where.suffix.casefold() != ".png":
            where = where.with_name(f"{where.name}.png")

        def write(figure: Pictures.Image) -> str:
            save_png(figure, where, {})
            return f"The figure is saved as '{where}'."

        self._make(write, in_thread=True)

    def _make(self, use: Callable[[Pictures.Image], str], *, in_thread: bool = False) -> None:
        of, pair = self._watch.of, self._watch.pair
        if of is None or pair is None:
            self._complain("Nothing is in view. Show the image, in two dimensions, and try again.")
            return
        predicted, true = of
        low, high = (float(v) for v in true.contrast_limits)
        bright = brightfield_like(self._viewer, predicted)
        levels = None if bright is None else levels_of(bright)
        at = () if bright is None else shown_place(self._viewer, bright)
        size = _pixel_um(predicted)
        caption = self._caption(predicted, true, pair)

        def compose() -> Pictures.Image | str:
            seen = None
            if levels is not None:
                seen = read_pair(levels, levels, at, pair.region, max(pair.step)).predicted
                if seen.shape != pair.true.shape:
                    seen = None  # its coarser copies are of other sizes
            figure = compose_figure(
                panels_of(pair, (low, high), seen),
                pixel_um=None if size is None else size * pair.step[1],
                caption=caption,
            )
            return use(figure) if in_thread else figure

        def then(made: Pictures.Image | str) -> None:
            self._tell(made if isinstance(made, str) else use(made))

        self._background.run("figure", compose, then, self._complain)

    def _to_clipboard(self, figure: Pictures.Image) -> str:
        pixels = figure.tobytes()
        image = QImage(
            pixels, figure.width, figure.height, 3 * figure.width, QImage.Format.Format_RGB888
        )
        QApplication.clipboard().setImage(image.copy())
        return f"The figure is on the clipboard, {figure.width} x {figure.height} px."

    def _caption(self, predicted: Image, true: Image, pair: Pair) -> list[str]:
        top, left, bottom, right = pair.region
        numbers = numbers_in_view(pair)
        source = source_of(predicted)
        model = f", model {source.model}" if source is not None and source.model else ""
        coarse = f", one pixel for {max(pair.step):.3g}" if max(pair.step) > 1 else ""
        said = (
            f"{predicted.name} beside {true.name}{model}. Rows {top} to {bottom - 1}, columns "
            f"{left} to {right - 1}{coarse}. PCC {numbers.pcc:.3f}, MAE {numbers.mae:.4g}, gain "
            f"{numbers.gain:.2f} of these pixels."
        )
        return [
            said,
            f"Virtual stain: predicted, not measured. napari-virtualstain {__version__}.",
        ]

    def _ask(self) -> None:
        dialog = QFileDialog(self, "Save the figure")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter("PNG (*.png)")
        dialog.setDefaultSuffix("png")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.save_to)
        dialog.open()


def brightfield_like(viewer: napari.Viewer, predicted: Image) -> Image | None:
    """Return the bright field of the same pixels as a prediction, if it is open."""
    wanted = levels_of(predicted)[0].shape[-2:]
    for layer in viewer.layers:
        source = source_of(layer) if isinstance(layer, Image) and not layer.rgb else None
        alike = source is not None and source.role == "brightfield"
        if alike and levels_of(layer)[0].shape[-2:] == wanted:
            return layer
    return None


def _pixel_um(layer: Image) -> float | None:
    """Return the edge of a pixel in micrometres, `None` where the layer has no length."""
    return to_micrometres(float(abs(layer.scale[-1])), str(layer.units[-1]))
