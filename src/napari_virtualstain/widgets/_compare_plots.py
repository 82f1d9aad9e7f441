"""Two small plots: grey values along a line, and which predicted grey goes with which true one."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_virtualstain.napari_io.closer import Joint, Profile

__all__ = ["PREDICTED", "TRUE", "JointPlot", "Plot", "ProfilePlot", "joint_pixels"]

PREDICTED, TRUE = "#ff5cff", "#43d17a"
"""As the mode *Both* colours them."""
_HEIGHT = 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 8, 18


class Plot(QWidget):
    """What plots have in common: a frame with the values at its ends, in the viewer's theme.

    Parameters
    ----------
    viewer
        Whose theme it follows.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(_HEIGHT)
        viewer.events.theme.connect(self._repaint)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Ask for the width of a narrow dock."""
        return QSize(280, _HEIGHT)

    def _repaint(self, event: Any = None) -> None:
        del event
        self.update()

    def begin(self) -> tuple[QPainter, QColor, QColor]:
        """Return what paints, and the colours of words and of lines that are no data."""
        theme = get_theme(self._viewer.theme)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() - 1.5, 6.5))
        painter.setFont(font)
        return painter, QColor(theme.text.as_hex()), QColor(theme.secondary.as_hex())

    @staticmethod
    def frame(
        painter: QPainter, inner: QRectF, colours: tuple[QColor, QColor],
        sides: tuple[str, str], below: tuple[str, str, str],
    ) -> None:  # fmt: skip
        """Paint a frame, two values at its left and three words below."""
        text, faint = colours
        painter.setPen(QPen(faint, 1))
        painter.drawRect(inner)
        painter.setPen(text)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for said, y in zip(sides, (inner.bottom(), inner.top() + 6), strict=True):
            painter.drawText(QRectF(0, y - 8, inner.left() - 4, 16), right, said)
        row = QRectF(inner.left(), inner.bottom() + 1, inner.width(), _BOTTOM)
        ways = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter,
                Qt.AlignmentFlag.AlignRight)  # fmt: skip
        for said, way in zip(below, ways, strict=True):
            painter.drawText(row, way, said)


class ProfilePlot(Plot):
    """Predicted and true grey values along a line."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.profile: Profile | None = None
        self._span = (0.0, 1.0)
        self._length = ""

    def show_profile(self, profile: Profile | None, span: tuple[float, float], length: str) -> None:
        """Show other values.

        Parameters
        ----------
        profile
            What lies along the line.
        span
            Lowest and highest value of the axis: the contrast limits.
        length
            Of the line, in words.
        """
        self.profile, self._span, self._length = profile, span, length
        self.update()

    def paintEvent(self, event: Any) -> None:  # noqa: N802
        """Paint both lines."""
        del event
        painter, text, faint = self.begin()
        inner = QRectF(self.rect()).adjusted(_LEFT, _TOP, -_RIGHT, -_BOTTOM)
        low, high = self._span
        if self.profile is None:
            sides, below = ("", ""), ("", "move the mouse over the image", "")
        else:
            sides, below = (_short(low), _short(high)), ("0", "along the line", self._length)
        self.frame(painter, inner, (text, faint), sides, below)
        if self.profile is not None:
            painter.setClipRect(inner)
            far = float(self.profile.distance[-1]) or 1.0
            for values, colour in ((self.profile.true, TRUE), (self.profile.predicted, PREDICTED)):
                painter.setPen(QPen(QColor(colour), 1.6))
                painter.drawPath(self._path(inner, self.profile.distance / far, values))
        painter.end()

    def _path(
        self, inner: QRectF, share: NDArray[np.float64], values: NDArray[np.float64]
    ) -> QPainterPath:
        low, high = self._span
        heights = (values - low) / ((high - low) or 1.0)
        path, pen_is_down = QPainterPath(), False
        for along, height in zip(share, heights, strict=True):
            if not np.isfinite(height):
                pen_is_down = False
                continue
            at = QPointF(
                inner.left() + inner.width() * float(along),
                inner.bottom() - inner.height() * float(np.clip(height, -0.1, 1.1)),
            )
            (path.lineTo if pen_is_down else path.moveTo)(at)
            pen_is_down = True
        return path


class JointPlot(Plot):
    """How often which predicted grey goes with which true one; what is right is the diagonal."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.joint: Joint | None = None

    def show_joint(self, joint: Joint | None) -> None:
        """Show other counts."""
        self.joint = joint
        self.update()

    def paintEvent(self, event: Any) -> None:  # noqa: N802
        """Paint the counts and the diagonal."""
        del event
        painter, text, faint = self.begin()
        whole = QRectF(self.rect()).adjusted(_LEFT, _TOP, -_RIGHT, -_BOTTOM)
        # A square: else the diagonal would not be one.
        inner = QRectF(whole.left(), whole.top(), whole.height(), whole.height())
        if self.joint is None:
            self.frame(painter, inner, (text, faint), ("", ""), ("", "", ""))
        else:
            pixels = joint_pixels(self.joint)
            high, wide = pixels.shape
            image = QImage(pixels.tobytes(), wide, high, wide, QImage.Format.Format_Grayscale8)
            painter.drawImage(inner, image)
            ends = _short(self.joint.low), _short(self.joint.high)
            self.frame(painter, inner, (text, faint), ends, (ends[0], "true", ends[1]))
            painter.setPen(QPen(QColor(TRUE), 1, Qt.PenStyle.DashLine))
            painter.drawLine(inner.bottomLeft(), inner.topRight())
            painter.setPen(text)
            beside = QRectF(inner.right() + 12, inner.top(), whole.right() - inner.right() - 12, 90)
            wrap = Qt.TextFlag.TextWordWrap
            painter.drawText(
                beside, wrap, "Upwards: predicted. On the dashed line the prediction is right; "
                "above it is too bright, below it too dark."
            )  # fmt: skip
        painter.end()


def joint_pixels(joint: Joint) -> NDArray[np.uint8]:
    """Return the counts as grey values, the brightest prediction on top; rare pairs are seen too.

    Examples
    --------
    >>> counts = np.array([[100, 0], [0, 1]])
    >>> joint_pixels(Joint(counts=counts, low=0, high=1)).tolist()
    [[0, 38], [255, 0]]
    """
    shades = np.log1p(joint.counts) / (np.log1p(joint.counts.max()) or 1.0)
    return np.ascontiguousarray(np.round(255 * shades[::-1]).astype(np.uint8))


def _short(value: float) -> str:
    return f"{value:.4g}"
