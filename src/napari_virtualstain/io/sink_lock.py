"""Whether somebody is writing a store at this moment.

A file in the store names the process that writes it. It is made in one step
that only one of two can take, removed when the run ends, and worth nothing
once that process is dead, so that a crash locks nobody out.

Locks of the operating system would need no such file, but are not to be relied
on across network disks, and do not say who holds them.
"""

from __future__ import annotations

import json
import os
import platform
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from napari_virtualstain.errors import OutputBusyError, parse_json

__all__ = ["LOCK", "StoreLock", "check_unlocked"]

LOCK = "0/lock"
"""Below the finest array, for the reason that `io.record.COMMITS` is."""

_OURS: weakref.WeakValueDictionary[str, StoreLock] = weakref.WeakValueDictionary()
"""Locks of this process by their token: one whose sink is gone locks nobody out either."""
_SECONDS_TO_FILL = 10.0
"""A lock that is empty for longer was left by a crash between making and filling it."""


class StoreLock:
    """The right to write a store; made by `take`, given back by `release`."""

    def __init__(self, path: Path, token: str) -> None:
        self._path = path
        self._token = token

    @classmethod
    def take(cls, store: Path) -> StoreLock:
        """Take the lock of a store whose array folder exists.

        Raises
        ------
        OutputBusyError
            If a run that is alive holds it.
        OSError
            If the disk refuses.
        """
        path = store / LOCK
        lock = cls(path, uuid4().hex)
        _OURS[lock._token] = lock  # known before anybody can read of it
        if not lock._make():
            with _right_to_remove(store):
                check_unlocked(store)
                path.unlink(missing_ok=True)
                if not lock._make():  # somebody who saw no lock at all was faster
                    raise OutputBusyError(_sentence(store, _read(path)))
        return lock

    def _make(self) -> bool:
        """Make the file unless it is there; say whether it was made."""
        entry = {"pid": os.getpid(), "host": platform.node(), "at": time.time()}
        try:
            number = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump({**entry, "token": self._token}, file)
        return True

    def moved_to(self, store: Path) -> None:
        """Follow a store that got another name."""
        self._path = store / LOCK

    def release(self) -> None:
        """Remove the lock, if it is still this one."""
        _OURS.pop(self._token, None)
        found = _read(self._path)
        if found is not None and found.get("token") == self._token:
            self._path.unlink(missing_ok=True)


def check_unlocked(store: Path) -> None:
    """Refuse a store that a run which is alive is writing.

    Raises
    ------
    OutputBusyError
        If so.
    """
    found = _read(store / LOCK)
    if found is not None and not _is_stale(store / LOCK, found):
        raise OutputBusyError(_sentence(store, found))


def _read(path: Path) -> dict[str, Any] | None:
    """Return what a lock says, empty if it says nothing readable, `None` if there is none."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_stale(path: Path, entry: dict[str, Any]) -> bool:
    """Say whether nobody who is alive holds a lock."""
    pid, host, at, token = (entry.get(key) for key in ("pid", "host", "at", "token"))
    if not isinstance(pid, int) or not isinstance(at, int | float):
        try:
            return time.time() - path.stat().st_mtime > _SECONDS_TO_FILL
        except OSError:
            return False
    if host != platform.node():
        return False  # nobody here can tell
    if pid == os.getpid():
        return token not in _OURS
    try:
        # A process that began after the lock was taken has only got the same number.
        return bool(psutil.Process(pid).create_time() > at + 1.0)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@contextmanager
def _right_to_remove(store: Path) -> Iterator[None]:
    """Hold what only one of several that find the same stale lock can hold.

    Without it the second would remove the new lock of the first.
    """
    path = store / f"{LOCK}.removal"
    try:
        if time.time() - path.stat().st_mtime > _SECONDS_TO_FILL:
            path.unlink(missing_ok=True)  # of a crash in between
    except FileNotFoundError:
        pass
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        raise OutputBusyError(_sentence(store, None)) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _sentence(store: Path, entry: dict[str, Any] | None) -> str:
    who = f"process {entry['pid']}" if entry and "pid" in entry else "another run"
    host = (entry or {}).get("host")
    if host and host != platform.node():
        return (
            f"{str(store)!r} is being written by {who} on {host!r}. Wait until it is done, choose "
            f"another --out, or delete {str(store / LOCK)!r} if that computer no longer runs it."
        )
    return (
        f"{str(store)!r} is being written by {who}. Wait until it is done, stop it, or choose "
        "another --out."
    )
