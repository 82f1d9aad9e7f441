"""Whether files have changed since they were last looked at, and which file is which."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["files_below", "fingerprint", "sha256_of"]


def fingerprint(files: Iterable[Path], *, root: Path) -> str:
    """Return a hash over relative name, size and time of change of each file.

    The pixels are not read: a plate of a terabyte takes seconds. A file that
    vanished counts as a change.
    """
    digest = hashlib.sha256()
    for path in sorted(set(files)):
        name = os.path.relpath(path, root).replace(os.sep, "/")
        try:
            stat = path.stat()
            line = f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
        except FileNotFoundError:
            line = f"{name}\0missing\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def files_below(root: Path) -> list[Path]:
    """Return every file in a folder and the folders below it."""
    return [Path(folder) / name for folder, _, names in os.walk(root) for name in names]


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
