"""Where did the tuning make it worse? The blocks that lost most, before, after and as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

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
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._shown = QWidget()
        self._column.addWidget(self._shown)
        self.words: list[str] = []
        self.pictures: list[QLabel] = []
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
        self.words = [
            f"{b['stain']} {b['pcc_before']:.2f} to {b['pcc_after']:.2f}, {b['field']}"
            for b in blocks
        ]
        self.setVisible(len(pictures) > 0)
        self.pictures = []
        before, self._shown = self._shown, QWidget()
        column = QVBoxLayout(self._shown)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(Wrapped(f"<b>Where it lost most</b> ({', '.join(_HEADS)})"))
        for words, four in zip(self.words, pictures, strict=False):
            said = QLabel(words)
            # Names of fields may be long: what has no room is in the tooltip.
            said.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            said.setToolTip(words)
            column.addWidget(said)
            row = QHBoxLayout()
            limits = limits_of([four[-1]])
            for place, pixels in enumerate(four):
                label = QLabel()
                own = limits_of([pixels]) if place == 0 else limits
                label.setPixmap(_picture(grey_of(pixels, own)))
                label.setToolTip(_HEADS[place])
                row.addWidget(label)
                self.pictures.append(label)
            row.addStretch(1)
            column.addLayout(row)
        self._column.replaceWidget(before, self._shown)
        before.deleteLater()


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
