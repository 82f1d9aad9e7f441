"""Which simulator this is: one hash over its source files."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["fingerprint"]


def fingerprint() -> str:
    """Return the sha256 of the simulator's source, the same on every platform.

    Reports and trained models carry it: another value means another simulator,
    and measured difficulties no longer hold.

    Examples
    --------
    >>> len(fingerprint())
    64
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py"), key=lambda path: path.name):
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
        digest.update(f"{path.name}\n{len(text)}\n{text}".encode())
    return digest.hexdigest()
