"""What the terminal shows: progress and notes on standard error."""

from __future__ import annotations

import sys
import time

__all__ = ["Console"]


class Console:
    """Show progress on one line in a terminal, or now and then in a log.

    Parameters
    ----------
    quiet
        Show nothing but errors.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._began: dict[str, tuple[float, int]] = {}
        self._shown = 0.0
        self._open = False

    def progress(self, done: int, total: int, what: str) -> None:
        """Show how far a stage is, at most ten times a second (a log: every 10 s).

        What stands behind a comma in ``what`` may change from call to call.
        """
        now = time.monotonic()
        stage = what.partition(",")[0]
        began, first = self._began.setdefault(stage, (now, done))
        last = done >= total
        if last:
            del self._began[stage]
        if not self._live and not done:
            return  # a log needs no line for what has just begun
        if self._quiet or (not last and now - self._shown < (0.1 if self._live else 10.0)):
            return
        self._shown = now
        text = f"{done} of {total} {what}"
        if not last and done > first:  # one report says nothing of the pace
            text += f", {(now - began) / (done - first) * (total - done):.0f} s left"
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text}" + ("\n" if last else ""))
            self._open = not last
        else:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """Show a sentence."""
        if not self._quiet:
            self._close()
            sys.stderr.write(f"note: {text}\n")

    def error(self, text: str) -> None:
        """Show what went wrong, always."""
        self._close()
        sys.stderr.write(f"error: {text}\n")

    def _close(self) -> None:
        if self._open:
            sys.stderr.write("\n")
            self._open = False
