"""Where did the tuning make it worse? The blocks that lost most, before, after and as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_virtualstain.widgets._model_trials import limits_of
from napari_virtualstain.widgets._parts import Wrapped

__all__ = ["WorstBlocks", "grey_of"]

_EDGE = 78
"""Of a picture in pixels."""
_HEADS = ("bright field", "before", "after", "true")


class WorstBlocks(QWidget):
    """A row of four pictures for each block, with a line above; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = QGridLayout(self)
        self.rows.setContentsMargins(0, 0, 0, 0)
        self.rows.setSpacing(4)
        self.words: list[str] = []
        self.show_blocks((), ())

    def show_blocks(
        self, blocks: Sequence[Mapping[str, Any]], pictures: Sequence[NDArray[np.float32]]
    ) -> None:
        """Show some blocks.

        Parameters
        ----------
        blocks
            As `jobs.tuning_judge.WorseBlock.to_json` has them, the worst first.
        pictures
            Of each, (4, Y, X); the stains are shown in equal grey.
        """
        while (item := self.rows.takeAt(0)) is not None:
            if item.widget() is not None:
                item.widget().deleteLater()
        self.words = [
            f"{b['stain']} in {b['field']}: {b['pcc_before']:.2f} before, "
            f"{b['pcc_after']:.2f} after"
            for b in blocks
        ]
        self.setVisible(len(pictures) > 0)
        if not len(pictures):
            return
        self.rows.addWidget(Wrapped("<b>Where it lost most</b>"), 0, 0, 1, len(_HEADS))
        for column, head in enumerate(_HEADS):
            self.rows.addWidget(QLabel(head), 1, column)
        for number, (words, four) in enumerate(zip(self.words, pictures, strict=False)):
            self.rows.addWidget(Wrapped(words), 2 + 2 * number, 0, 1, len(_HEADS))
            limits = limits_of([four[-1]])
            for column, pixels in enumerate(four):
                label = QLabel()
                own = limits_of([pixels]) if column == 0 else limits
                label.setPixmap(_picture(grey_of(pixels, own)))
                self.rows.addWidget(label, 3 + 2 * number, column)


def grey_of(pixels: NDArray[np.float32], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Return pixels as grey values; what is missing is black.

    Examples
    --------
    >>> grey_of(np.array([[0.0, 5.0, 20.0, np.nan]]), (0, 10))
    array([[  0, 127, 255,   0]], dtype=uint8)
    """
    low, high = limits
    share = (np.nan_to_num(pixels, nan=low) - low) / (high - low or 1.0)
    grey: NDArray[np.uint8] = (255 * np.clip(share, 0, 1)).astype(np.uint8)
    return grey


def _picture(grey: NDArray[np.uint8]) -> QPixmap:
    height, width = grey.shape
    data = np.ascontiguousarray(grey).tobytes()
    image = QImage(data, width, height, width, QImage.Format.Format_Grayscale8)
    return QPixmap.fromImage(image).scaled(
        _EDGE, _EDGE, Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )  # fmt: skip
