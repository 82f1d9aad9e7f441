"""How much memory there is, and keep glibc from giving memory back that the next layer needs again.

By default every tensor above 32 MB is mapped and unmapped anew, and each of its
pages is faulted in and zeroed by the kernel at every layer. Raising the
threshold avoids that. Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import platform

import psutil
import torch

__all__ = ["MemoryUse", "free_memory", "keep_freed_memory", "release_freed_memory"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8


def free_memory(device: str) -> int:
    """Return the bytes that are free where a network computes."""
    if device.startswith("cuda"):
        card = torch.device(device)
        # What torch holds and does not use is free for whoever asks torch.
        held = torch.cuda.memory_reserved(card) - torch.cuda.memory_allocated(card)
        return int(torch.cuda.mem_get_info(card)[0]) + held
    return int(psutil.virtual_memory().available)


class MemoryUse:
    """How much memory something takes where a network computes, from now on.

    Parameters
    ----------
    device
        Of torch. On a processor what was freed counts only while it is kept, see
        `keep_freed_memory`.
    """

    def __init__(self, device: str) -> None:
        self._card = torch.device(device) if device.startswith("cuda") else None
        if self._card is not None:
            torch.cuda.reset_peak_memory_stats(self._card)
        self._before = self._held()

    @property
    def taken(self) -> int:
        """Bytes at most since then."""
        return max(self._held() - self._before, 0)

    def _held(self) -> int:
        if self._card is not None:
            return int(torch.cuda.max_memory_allocated(self._card))
        return int(psutil.Process().memory_info().rss)


def keep_freed_memory() -> bool:
    """Tune malloc for large, short-lived arrays; return whether it was possible."""
    libc = _glibc()
    if libc is None:
        return False
    settings = (
        (_M_MMAP_THRESHOLD, 1 << 30),
        (_M_TRIM_THRESHOLD, 2**31 - 1),
        (_M_TOP_PAD, 64 << 20),
        # Threads that read and write would keep what they freed in arenas of their own.
        (_M_ARENA_MAX, 1),
    )
    return all(libc.mallopt(name, value) == 1 for name, value in settings)


def release_freed_memory() -> None:
    """Give freed memory back to the system and to the graphics card, at the end of a job."""
    if torch.cuda.is_available() and torch.cuda.memory_reserved():
        torch.cuda.empty_cache()
        if hasattr(torch.accelerator, "empty_host_cache"):  # not in every torch
            torch.accelerator.empty_host_cache()
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
