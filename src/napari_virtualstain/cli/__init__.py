"""The command line: `virtualstain VERB ...`, without Qt and without napari.

Progress and notes go to standard error, results to standard output; the exit
code is 0 only if the verb did what was asked.
"""

from __future__ import annotations

from napari_virtualstain.cli.main import main

__all__ = ["main"]
