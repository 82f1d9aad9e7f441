"""Keys press what the dock has, wherever the focus is, and are given back when the dock goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtGui import QKeySequence
from qtpy.QtTest import QTest

from napari_virtualstain.widgets._keys import SHORTCUTS, Keys

TITLES = {shortcut.title: shortcut for shortcut in SHORTCUTS}


def press(desk, title):
    """Press a key as a user does, in the window."""
    keys = QKeySequence(TITLES[title].key.replace("Control", "Ctrl").replace("-", "+"))
    pressed = keys[0]
    QTest.keyClick(desk.viewer.window._qt_window, pressed.key(), pressed.keyboardModifiers())


def bound(viewer):
    return {str(key) for key in viewer.keymap}


def test_no_key_is_one_of_napari_s_own():
    from napari.utils.key_bindings import coerce_keybinding
    from napari.utils.shortcuts import default_shortcuts

    taken = {str(coerce_keybinding(str(k))) for keys in default_shortcuts.values() for k in keys}
    ours = [str(coerce_keybinding(shortcut.key)) for shortcut in SHORTCUTS]
    assert not taken.intersection(ours)
    assert len(set(ours)) == len(ours)


def test_the_docs_list_all_keys():
    page = (Path(__file__).parents[2] / "docs" / "viewer.md").read_text(encoding="utf-8")
    rows = [
        f"| {s.key.replace('Control', 'Ctrl').replace('-', '+')} | {s.title} |" for s in SHORTCUTS
    ]
    assert "\n".join(rows) in page


def test_a_key_stains_the_whole_image_and_another_cancels(ready):
    desk = ready
    desk.wait(desk.stain.all.isEnabled)
    desk.dock.show_page("start")
    press(desk, "Stain the whole image")
    desk.wait(lambda: any(run.verb == "stain" for run in desk.jobs.runs))
    assert desk.dock.pages.currentIndex() == 2
    desk.wait(lambda: desk.run_bar.cancel.isEnabled())
    press(desk, "Cancel the run that is on")
    desk.idle()
    assert {run.outcome.state for run in desk.stain.stainings.all[0].runs} <= {"cancelled", "done"}


def test_a_key_that_cannot_be_pressed_now_does_nothing(desk):
    assert not desk.stain.all.isEnabled()
    press(desk, "Stain the whole image")
    assert [run for run in desk.jobs.runs if run.verb == "stain"] == []


def test_the_stains_blink(ready):
    desk = ready
    desk.wait(desk.stain.all.isEnabled)
    press(desk, "Stain the whole image")
    desk.wait(lambda: len(desk.predicted()) == 5)
    desk.idle()
    layers = desk.predicted()
    before = {name: layer.visible for name, layer in layers.items()}
    assert any(before.values())
    press(desk, "Hide the stains, and show them again")
    assert not any(layer.visible for layer in layers.values())
    press(desk, "Hide the stains, and show them again")
    assert {name: layer.visible for name, layer in layers.items()} == before


@pytest.mark.parametrize(("title", "steps"), [("Next page of the dock", 1), ("Page before", -1)])
def test_pages_are_turned_round_and_round(desk, title, steps):
    count = desk.dock.pages.count()
    for turn in range(1, count + 1):
        press(desk, title)
        assert desk.dock.pages.currentIndex() == steps * turn % count


def test_buttons_name_their_keys(desk):
    for shortcut in SHORTCUTS:
        if shortcut.button is not None:
            text = QKeySequence(shortcut.key.replace("Control", "Ctrl").replace("-", "+")).toString(
                QKeySequence.SequenceFormat.NativeText
            )
            assert shortcut.button(desk.dock).toolTip().endswith(f"({text})")


def test_what_a_script_has_bound_stays_and_ours_go_with_the_dock(make_napari_viewer):
    class Tip:
        def toolTip(self):  # noqa: N802
            return ""

        setToolTip = lambda self, text: None  # noqa: E731, N815

    class Anything:
        def __getattr__(self, name):
            return Tip() if name in {"view", "all", "live", "start", "pick", "cancel"} else self

    viewer = make_napari_viewer()
    viewer.bind_key("Control-Shift-A", lambda viewer: None)
    before = bound(viewer)
    keys = Keys(viewer, Anything())
    assert len(bound(viewer)) == len(SHORTCUTS)
    keys.let_go()
    assert bound(viewer) == before
