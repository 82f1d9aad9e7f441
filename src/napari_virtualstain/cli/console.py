"""What the terminal shows: progress and notes on standard error."""

from __future__ import annotations

import sys
import time

from napari_virtualstain.jobs.base import Pace

__all__ = ["Console"]


class Console:
    """Show progress on one line in a terminal, or now and then in a log.

    Parameters
    ----------
    quiet
        Show nothing but errors.
    scheduler
        Address of a dask scheduler on which the job runs; in this process if `None`.
    workers
        Processes of this machine that share the job: their number, or ``"gpus"``.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        scheduler: str | None = None,
        workers: str | None = None,
    ) -> None:
        self._quiet, self.scheduler, self.workers = quiet, scheduler, workers
        self._live = sys.stderr.isatty()
        self._pace = Pace()
        self._shown = 0.0
        self._open = False

    def progress(self, done: int, total: int, what: str) -> None:
        """Show how far a stage is, at most ten times a second (a log: every 10 s).

        What stands behind a comma in ``what`` may change from call to call.
        """
        now = time.monotonic()
        last = done >= total
        left = self._pace.seconds_left(done, total, what, now=now)
        if not self._live and not done:
            return  # a log needs no line for what has just begun
        if self._quiet or (not last and now - self._shown < (0.1 if self._live else 10.0)):
            return
        self._shown = now
        text = f"{done} of {total} {what}"
        if left is not None:
            text += f", {left:.0f} s left"
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
