"""Has the model seen anything like this? The nearest training patches, beside each other."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import Wrapped

if TYPE_CHECKING:
    import napari

__all__ = ["NearestPatches"]

_EDGE = 54
"""Of a small picture in pixels: five of them beside each other fit into the dock."""


class NearestPatches(QWidget):
    """The training patches that are most like the place that was explained.

    Parameters
    ----------
    viewer
        Whose theme the sentence follows.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.words = Notice(viewer)
        self.caption = Wrapped()
        self.sources = Wrapped()
        self.pictures: list[QLabel] = []
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(4)
        self._grid.setAlignment(Qt.AlignmentFlag.AlignLeft)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.words)
        column.addWidget(self.caption)
        column.addLayout(self._grid)
        column.addWidget(self.sources)
        self.hide()

    def show_nearest(self, found: dict[str, Any] | None) -> None:
        """Show the patches, or why there are none.

        Parameters
        ----------
        found
            See `jobs.explain_nearest.Nearest.to_json`; `None` where none were looked for.
        """
        self.forget()
        if found is None:
            return
        over = found["over_limit"]
        tell = self.words.warn if over is not None and over > 1 else self.words.hint
        tell(words_of(found["words"]))
        for column, patch in enumerate(found["patches"]):
            for row, what in enumerate(("light", "stain")):
                if patch[what]:
                    told = "bright field" if what == "light" else found["stain_name"]
                    self._add(row, column, patch[what], f"{told}: {_source(patch)}")
            name = QLabel(f"{column + 1}: {patch['distance']:.2f}")
            name.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            name.setToolTip(_source(patch))
            self._grid.addWidget(name, 2, column)
        self.caption.setText(_caption(found))
        self.caption.setVisible(bool(found["patches"]))
        lines = [f"{n + 1}: {escape(_source(one))}" for n, one in enumerate(found["patches"])]
        self.sources.setText("<br>".join(lines))
        self.sources.setVisible(bool(lines))
        self.show()

    def forget(self) -> None:
        """Show nothing."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.pictures = []
        self.sources.setText("")
        self.hide()

    def _add(self, row: int, column: int, address: str, told: str) -> None:
        pixmap = QPixmap()
        pixmap.loadFromData(base64.b64decode(address.partition(",")[2]))
        picture = QLabel()
        picture.setPixmap(pixmap.scaled(_EDGE, _EDGE, Qt.AspectRatioMode.KeepAspectRatio))
        picture.setToolTip(told)
        self.pictures.append(picture)
        self._grid.addWidget(picture, row, column)


def _caption(found: dict[str, Any]) -> str:
    """Say what the rows of pictures are."""
    if not any(one["light"] for one in found["patches"]):
        return "Nearest training patches; no pictures of them were kept."
    below = f" above, {found['stain_name']} below" if found["stain_name"] else ""
    return f"Nearest training patches, bright field{below}, with their distance:"


def _source(patch: dict[str, Any]) -> str:
    return f"{patch['source']} at {patch['y']}, {patch['x']}"
