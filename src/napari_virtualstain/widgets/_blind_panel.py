"""Which one is real? Pairs of pictures, answered with two keys; nothing here knows the key."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QPainter, QPen, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.blind_page import ShownPair, answers_text, read_page
from napari_virtualstain.jobs.verdict_tables import write_whole
from napari_virtualstain.widgets._parts import Wrapped

__all__ = ["ANSWERS", "BlindPanel"]

ANSWERS = "answers.csv"
PAGE = "review.html"
_KEYS = {
    Qt.Key.Key_Left: "left", Qt.Key.Key_A: "left", Qt.Key.Key_1: "left",
    Qt.Key.Key_Right: "right", Qt.Key.Key_B: "right", Qt.Key.Key_2: "right",
}  # fmt: skip


class _Picture(QWidget):
    """A picture in a square, as large as there is room, to click on."""

    clicked = Signal()

    def __init__(self, name: str) -> None:
        super().__init__()
        self._pixels = QPixmap()
        self.is_said = False
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(name)

    def show_picture(self, png: bytes, *, is_said: bool) -> None:
        """Show another picture."""
        self._pixels = QPixmap()
        self._pixels.loadFromData(png, "PNG")
        self.is_said = is_said
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Ask for half of a narrow dock."""
        return QSize(150, 150)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return a size at which something can still be seen."""
        return QSize(80, 80)

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        """Be a square."""
        return width

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        """Answer."""
        del event
        self.clicked.emit()

    def paintEvent(self, event: Any) -> None:  # noqa: N802
        """Paint the picture, framed if it was named."""
        del event
        painter = QPainter(self)
        edge = min(self.width(), self.height())
        left, top = (self.width() - edge) // 2, (self.height() - edge) // 2
        painter.drawPixmap(left, top, edge, edge, self._pixels)
        if self.is_said:
            painter.setPen(QPen(Qt.GlobalColor.cyan, 3))
            painter.drawRect(left + 1, top + 1, edge - 3, edge - 3)
        painter.end()


class BlindPanel(QWidget):
    """Goes through the pairs of a review, and writes down each answer at once.

    Parameters
    ----------
    complain
        Takes a sentence if an answer cannot be kept.
    """

    done = Signal()
    """The last pair that was open has been answered."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        super().__init__()
        self._complain = complain
        self._pairs: list[ShownPair] = []
        self._review = ""
        self._at = 0
        self._since = 0.0
        self.folder: Path | None = None
        self.answers: dict[int, tuple[str, float]] = {}
        self.words = Wrapped()
        self.left, self.right = _Picture("left picture"), _Picture("right picture")
        self.back = QPushButton("One back")
        self.score = QPushButton("Score")
        self._arrange()
        self.left.clicked.connect(lambda: self.answer("left"))
        self.right.clicked.connect(lambda: self.answer("right"))
        self.back.clicked.connect(self.go_back)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.hide()

    @property
    def pair(self) -> ShownPair | None:
        """The pair that is looked at."""
        return self._pairs[self._at] if self._pairs else None

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return len(self._pairs)

    def open_review(self, folder: Path) -> None:
        """Show the pairs of a review from the first; answers of before are not taken over.

        Raises
        ------
        VirtualStainError
            If the folder holds none.
        """
        self._review, self._pairs = read_page(folder / PAGE)
        self.folder, self._at = folder, 0
        self.answers = {}
        self._show()
        self.show()
        self.setFocus()

    def answer(self, side: str) -> None:
        """Name the left or the right picture as the real one, and go on."""
        if self.pair is None or self.folder is None:
            return
        seconds = time.monotonic() - self._since
        answers = {**self.answers, self.pair.number: (side, seconds)}
        try:
            write_whole(self.folder / ANSWERS, answers_text(self._review, answers))
        except VirtualStainError as error:
            self._complain(str(error))
            return
        self.answers = answers
        was_last = self._at == len(self._pairs) - 1
        self._at = min(self._at + 1, len(self._pairs) - 1)
        self._show()
        if was_last:
            self.done.emit()

    def go_back(self) -> None:
        """Look at the pair before."""
        self._at = max(self._at - 1, 0)
        self._show()
        self.setFocus()

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        """Answer with a key."""
        side = _KEYS.get(event.key())
        if side is not None:
            self.answer(side)
        elif event.key() == Qt.Key.Key_Backspace:
            self.go_back()
        else:
            super().keyPressEvent(event)

    def _show(self) -> None:
        pair = self.pair
        if pair is None:
            return
        side = self.answers.get(pair.number, ("", 0.0))[0]
        self.left.show_picture(pair.left, is_said=side == "left")
        self.right.show_picture(pair.right, is_said=side == "right")
        self.words.setText(
            f"<b>Which one is real?</b> {pair.stain}, pair {self._at + 1} of {len(self._pairs)}, "
            f"{len(self.answers)} answered. Left: ← or A. Right: → or B. Backspace goes back."
        )
        self.back.setEnabled(self._at > 0)
        self.score.setEnabled(bool(self.answers))
        self._since = time.monotonic()

    def _arrange(self) -> None:
        self.score.setToolTip(
            "How often the real one was named, beside chance; also before the end"
        )
        # Keys answer; a button that has the focus would take them.
        for button in (self.back, self.score):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        pictures = QHBoxLayout()
        pictures.setSpacing(4)
        pictures.addWidget(self.left, 1)
        pictures.addWidget(self.right, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.back)
        buttons.addWidget(self.score)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.words)
        column.addLayout(pictures)
        column.addLayout(buttons)
