"""Pages of which one shows, chosen by buttons in rows: a dock is too narrow for a row of tabs."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

__all__ = ["PageTabs"]


class PageTabs(QWidget):
    """What `QTabWidget` is, with its tabs in rows of equal width, all of them in sight.

    Parameters
    ----------
    columns
        Tabs in a row.
    """

    currentChanged = Signal(int)  # noqa: N815 (as in Qt)

    def __init__(self, columns: int) -> None:
        super().__init__()
        self._columns = columns
        self._tabs = QButtonGroup(self)
        self._stack = QStackedWidget()
        self._grid = QGridLayout()
        self._grid.setSpacing(2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._grid)
        column.addWidget(self._stack, 1)
        self._tabs.idClicked.connect(self.setCurrentIndex)

    def addTab(self, page: QWidget, title: str) -> int:  # noqa: N802
        """Add a page behind the others; return its number."""
        number = self.count()
        tab = QPushButton(title)
        tab.setCheckable(True)
        tab.setChecked(number == 0)
        tab.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        tab.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        tab.setAccessibleName(f"Page {title}")
        self._tabs.addButton(tab, number)
        self._grid.addWidget(tab, number // self._columns, number % self._columns)
        self._stack.addWidget(page)
        return number

    def count(self) -> int:
        """Return how many pages there are."""
        return int(self._stack.count())

    def tab(self, number: int) -> QPushButton:
        """Return the button of a page."""
        return self._tabs.button(number)

    def tabText(self, number: int) -> str:  # noqa: N802
        """Return the title of a page."""
        return str(self.tab(number).text())

    def widget(self, number: int) -> QWidget:
        """Return a page."""
        return self._stack.widget(number)

    def currentIndex(self) -> int:  # noqa: N802
        """Return which page shows."""
        return int(self._stack.currentIndex())

    def currentWidget(self) -> QWidget:  # noqa: N802
        """Return the page that shows."""
        return self._stack.currentWidget()

    def setCurrentIndex(self, number: int) -> None:  # noqa: N802
        """Show a page."""
        self.tab(number).setChecked(True)
        if number != self.currentIndex():
            self._stack.setCurrentIndex(number)
            self.currentChanged.emit(number)
