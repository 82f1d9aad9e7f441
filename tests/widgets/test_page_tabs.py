"""Pages chosen by buttons in rows."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_virtualstain.widgets._page_tabs import PageTabs

TITLES = ("Start", "Load", "Stain", "Compare", "Explain")


@pytest.fixture
def tabs(qtbot):
    made = PageTabs(3)
    for title in TITLES:
        made.addTab(QLabel(title), title)
    qtbot.addWidget(made)
    made.resize(260, 200)
    made.show()
    return made


def test_the_first_page_shows_at_first(tabs):
    assert [tabs.tabText(n) for n in range(tabs.count())] == list(TITLES)
    assert (tabs.currentIndex(), tabs.currentWidget().text()) == (0, "Start")
    assert tabs.tab(0).isChecked()


def test_a_click_shows_its_page_and_no_other_tab_stays_down(tabs, qtbot):
    with qtbot.waitSignal(tabs.currentChanged) as said:
        qtbot.mouseClick(tabs.tab(3), Qt.MouseButton.LeftButton)
    assert said.args == [3]
    assert tabs.currentWidget().text() == "Compare"
    assert [tabs.tab(n).isChecked() for n in range(5)] == [False, False, False, True, False]
    qtbot.mouseClick(tabs.tab(3), Qt.MouseButton.LeftButton)
    assert tabs.tab(3).isChecked(), "the page that shows stays chosen"


def test_a_page_is_shown_by_number_too(tabs):
    tabs.setCurrentIndex(4)
    assert tabs.currentWidget() is tabs.widget(4)
    assert tabs.tab(4).isChecked()


def test_all_tabs_are_in_sight_in_a_narrow_dock(tabs):
    for number in range(tabs.count()):
        tab = tabs.tab(number)
        assert tabs.rect().contains(tab.geometry())
        assert tab.fontMetrics().horizontalAdvance(tab.text()) < tab.width()
    assert tabs.tab(0).y() == tabs.tab(2).y() < tabs.tab(3).y()
