"""Keys of the viewer that press what the dock has; the others stay napari's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QKeySequence

if TYPE_CHECKING:
    import napari

__all__ = ["SHORTCUTS", "Keys", "Shortcut"]


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A key, and what it does.

    Parameters
    ----------
    key
        As napari writes it.
    title
        What it does, in words.
    press
        Does it, with the dock.
    button
        Returns the button that does the same, whose tooltip names the key.
    """

    key: str
    title: str
    press: Callable[[Any], None]
    button: Callable[[Any], Any] | None = None


def _on(page: str, button: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Return what shows a page and clicks one of its buttons, as far as it can be clicked."""

    def press(dock: Any) -> None:
        dock.show_page(page)
        button(dock).click()

    return press


def _turn(by: int) -> Callable[[Any], None]:
    def press(dock: Any) -> None:
        count = dock.pages.count()
        dock.pages.setCurrentIndex((dock.pages.currentIndex() + by) % count)

    return press


def _clicked(page: str, key: str, title: str, button: Callable[[Any], Any]) -> Shortcut:
    return Shortcut(key, title, _on(page, button), button)


SHORTCUTS = (
    _clicked("stain", "Control-Shift-V", "Stain what is in view", lambda dock: dock.stain.view),
    _clicked("stain", "Control-Shift-A", "Stain the whole image", lambda dock: dock.stain.all),
    _clicked("stain", "Control-Shift-L", "Live staining, on and off", lambda dock: dock.stain.live),
    _clicked("qc", "Control-Shift-J", "Judge the virtual stain (QC)", lambda dock: dock.qc.start),
    _clicked("measure", "Control-Shift-M", "Measure nuclei", lambda dock: dock.measure.start),
    _clicked(
        "explain", "Control-Shift-X", "Explain a pixel: then click it",
        lambda dock: dock.explain.pick,
    ),
    Shortcut(
        "Control-Shift-B", "Hide the stains, and show them again",
        lambda dock: dock.stain.switch.blink(),
    ),
    Shortcut(
        "Control-Shift-K", "Cancel the run that is on", lambda dock: dock.run_bar.cancel.click(),
        lambda dock: dock.run_bar.cancel,
    ),
    Shortcut("Control-Shift-Right", "Next page of the dock", _turn(1)),
    Shortcut("Control-Shift-Left", "Page before", _turn(-1)),
)  # fmt: skip
"""All keys; none is one of napari's own."""


class Keys:
    """The keys of one dock, bound to its viewer until they are let go.

    Parameters
    ----------
    viewer
        Whose keys they are; what it has bound already stays.
    dock
        What they press.
    """

    def __init__(self, viewer: napari.Viewer, dock: Any) -> None:
        self._viewer = viewer
        self._bound: dict[str, Callable[..., None]] = {}
        for shortcut in SHORTCUTS:
            self._bind(shortcut, dock)

    def _bind(self, shortcut: Shortcut, dock: Any) -> None:
        def press(viewer: Any) -> None:
            del viewer
            shortcut.press(dock)

        press.__doc__ = shortcut.title
        try:
            self._viewer.bind_key(shortcut.key, press)
        except ValueError:
            return  # a script or another plugin has this key, and keeps it
        self._bound[shortcut.key] = press
        if shortcut.button is not None:
            button = shortcut.button(dock)
            told = button.toolTip()
            native = QKeySequence(shortcut.key.replace("Control", "Ctrl").replace("-", "+"))
            name = native.toString(QKeySequence.SequenceFormat.NativeText)
            button.setToolTip(f"{told} ({name})" if told else f"{shortcut.title} ({name})")

    def let_go(self) -> None:
        """Unbind what is still bound to this dock."""
        from napari.utils.key_bindings import coerce_keybinding

        for key, press in self._bound.items():
            if self._viewer.keymap.get(coerce_keybinding(key)) is press:
                self._viewer.bind_key(key, None)
        self._bound.clear()
