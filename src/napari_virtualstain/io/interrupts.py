"""Ctrl-C waits while something happens that must be whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

__all__ = ["interrupts_held"]


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let an interrupt wait until the block is done, then raise it.

    For short blocks: metadata that zarr writes in a thread of its own, which an
    interrupt of this one would not stop, or an import that cannot be cut short.
    Elsewhere than in the main thread, and where somebody else handles Ctrl-C,
    nothing changes.

    Raises
    ------
    KeyboardInterrupt
        At the end of the block, if Ctrl-C was pressed in it.
    """
    held = signal.getsignal(signal.SIGINT)
    if held is not signal.default_int_handler or current_thread() is not main_thread():
        yield
        return
    asked: list[bool] = []
    signal.signal(signal.SIGINT, lambda *_: asked.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, held)
    if asked:
        raise KeyboardInterrupt
