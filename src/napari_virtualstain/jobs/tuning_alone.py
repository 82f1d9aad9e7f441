"""How does a tuning go on when its viewer is closed? In a process of its own, from the checkpoint.

``python -m napari_virtualstain.jobs.tuning_alone FOLDER PID`` waits until the process that has
computed so far has written its checkpoint or is gone, and does the rest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from napari_virtualstain.datasets.project_files import read_values, write_values
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.tuning_run import read_settings, wish_in

__all__ = ["go_on_alone", "is_alone", "main"]

_ALONE, _LOG = "alone.json", "alone.log"
_LOOK_S = 0.1
_begun: list[subprocess.Popen[bytes]] = []
"""Held, since Python warns of a process that nobody holds and that still runs."""


def go_on_alone(folder: Path, pid: int | None) -> subprocess.Popen[bytes]:
    """Start the process; it lives on when this one ends.

    Parameters
    ----------
    folder
        Of a training that was asked to pause.
    pid
        Of the process that computes until it has done so.
    """
    line = [sys.executable, "-m", __name__, str(folder), str(pid or 0)]
    # On Windows a group of its own, or a Ctrl-C of the viewer's console would end it.
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    _begun[:] = [one for one in _begun if one.poll() is None]
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            creationflags=flags,
        )  # fmt: skip
    _begun.append(process)
    return process


def is_alone(folder: Path) -> bool:
    """Return whether such a process computes now."""
    try:
        return psutil.pid_exists(int(read_values(folder / _ALONE)["pid"]))
    except (VirtualStainError, KeyError, TypeError, ValueError):
        return False


def main(words: Sequence[str]) -> int:
    """Wait, and do the rest of a tuning."""
    folder, pid = Path(words[0]), int(words[1])
    write_values(folder / _ALONE, {"pid": os.getpid()})
    try:
        while pid and wish_in(folder) is not None and psutil.pid_exists(pid):
            time.sleep(_LOOK_S)
        from napari_virtualstain.jobs import finetune

        begun = (folder / "checkpoint.pt").exists()
        values = {**read_settings(folder), "resume": begun}
        finetune.run(make_settings(finetune.FinetuneSettings, values))
    finally:
        (folder / _ALONE).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
