"""How does the program start? ``virtualstain``, or ``python -m napari_virtualstain``."""

from __future__ import annotations

import os
import signal
from typing import Any

__all__ = ["start"]


def start() -> None:
    """Run the command of this process; Ctrl-C ends it in one sentence, during the imports too.

    Raises
    ------
    SystemExit
        Always, with the exit code.
    """
    # An exception may come at any step of an import: lost in a callback, or with a lock of the
    # import system held for ever.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)
    from napari_virtualstain.cli.main import main

    raise SystemExit(main())


def _end_at_once(*_: Any) -> None:
    os.write(2, b"error: Interrupted before anything began. Run the command again.\n")
    os._exit(130)


if __name__ == "__main__":
    start()
