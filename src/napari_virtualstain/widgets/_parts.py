"""Small parts that every page is made of, so that all pages look alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFormLayout,
    QFrame,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

__all__ = ["CopyCommand", "Foldout", "Page", "Wrapped", "form", "wide"]


_NARROW = 60
"""Width in pixels below which a page is not laid out yet."""


_BREAK = re.compile(r"(?<=\w)([+_,/\\])(?=\w)(?![^<]*>)")
"""Inside a word and not inside a tag."""


class Wrapped(QLabel):
    """A label whose text wraps, and that is exactly as high as its text.

    Qt's layouts ask a wrapping label for its height at another width than it gets,
    and leave gaps or cut lines off.

    Parameters
    ----------
    text
        Plain or rich.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._said = ""
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setText(text)

    def text(self) -> str:
        """Return what it was told to say."""
        return self._said

    def sizeHint(self) -> QSize:  # noqa: N802
        """Ask for little width: the text wraps into what there is."""
        return QSize(_NARROW, self._height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return the same."""
        return self.sizeHint()

    def setText(self, text: str) -> None:  # noqa: N802
        """Take another text, and its height."""
        self._said = text
        # Paths and lists of channels are long words: they may break where a reader would.
        super().setText(_BREAK.sub("\\1\u200b", text))
        self._fit()

    def clear(self) -> None:
        """Say nothing, and take no height."""
        self.setText("")

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Fit the height to the width that the layout gave."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: Any) -> None:  # noqa: N802
        """Fit the height to another font."""
        super().changeEvent(event)
        self._fit()

    def _height(self) -> int:
        return max(0, self.heightForWidth(max(self.width(), _NARROW))) if self._said else 0

    def _fit(self) -> None:
        self.setMinimumHeight(0)  # else Qt takes the height of the last text for the least
        height = self._height()
        if height != self.minimumHeight() or height != self.maximumHeight():
            self.setFixedHeight(height)


def wide(box: QComboBox) -> QComboBox:
    """Let a box take the width of its row, however short its entries are."""
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)
    return box


def form() -> QFormLayout:
    """Return rows of a label and a control, aligned as on all pages."""
    rows = QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    return rows


class Page(QScrollArea):
    """A page whose content scrolls when the window is small.

    Parameters
    ----------
    content
        What it shows.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.content = content
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)


class Foldout(QWidget):
    """A heading that shows or hides what is below it.

    Parameters
    ----------
    title
        Of the heading.
    content
        What is below.
    is_open
        Whether it shows at first.
    """

    def __init__(self, title: str, content: QWidget, *, is_open: bool = False) -> None:
        super().__init__()
        self.content = content
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setCheckable(True)
        self.heading.setChecked(is_open)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.toggled.connect(self._toggle)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.heading, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(content)
        self._toggle(is_open)

    def _toggle(self, is_open: bool) -> None:
        self.heading.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self.content.setVisible(is_open)


class CopyCommand(QPushButton):
    """Copies the command line of the same run.

    Parameters
    ----------
    command
        Returns the line, or raises a sentence.
    complain
        Takes the sentence.
    """

    def __init__(self, command: Callable[[], str], complain: Callable[[str], None]) -> None:
        super().__init__("Copy as command")
        self.setToolTip("Copy the line that does the same in a terminal, without the viewer")
        self._command, self._complain = command, complain
        self.clicked.connect(self._copy)

    def _copy(self) -> None:
        from napari_virtualstain.errors import VirtualStainError

        try:
            line = self._command()
        except VirtualStainError as error:
            self._complain(str(error))
            return
        QApplication.clipboard().setText(line)
        self.setToolTip(f"Copied: {line}")
