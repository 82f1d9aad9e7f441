"""Keep glibc from giving memory back that the next layer needs again.

By default every tensor above 32 MB is mapped and unmapped anew, and each of its
pages is faulted in and zeroed by the kernel at every layer. Raising the
threshold avoids that. Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_freed_memory", "release_freed_memory"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Tune malloc for large, short-lived arrays; return whether it was possible."""
    libc = _glibc()
    if libc is None:
        return False
    settings = (
        (_M_MMAP_THRESHOLD, 1 << 30),
        (_M_TRIM_THRESHOLD, 2**31 - 1),
        (_M_TOP_PAD, 64 << 20),
    )
    return all(libc.mallopt(name, value) == 1 for name, value in settings)


def release_freed_memory() -> None:
    """Give freed memory back to the system, at the end of a job."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None
