"""What does Ctrl-C mean while something is trained? Stop after this step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["stop_on_interrupt"]


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Make the first Ctrl-C ask for a stop after the step, the second interrupt at once.

    Only from the first step on: before it there is nothing to write a checkpoint of.
    """
    asked = False
    before: Any = None

    def ask(number: int, frame: object) -> None:
        del number, frame
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def should_stop() -> bool:
        nonlocal before
        # Signals belong to the main thread; elsewhere somebody else decides when to stop.
        if before is None and threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, ask) or signal.SIG_DFL
        return asked

    try:
        yield should_stop
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
