"""Patches that are read while the network computes, so that it does not wait for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Prefetch"]

Patches = tuple[NDArray[np.float32], NDArray[np.float32]]


class Prefetch:
    """Draw the patches of the next step in a thread.

    Parameters
    ----------
    draw
        Returns planes and stains, given ``step``.
    first
        The step that is asked for first.

    Attributes
    ----------
    waited_s
        Seconds that the network waited for patches.
    """

    def __init__(self, draw: Callable[..., Patches], first: int) -> None:
        self._draw = draw
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="patches")
        self._next: tuple[int, Future[Patches]] = (first, self._pool.submit(draw, step=first))
        self.waited_s = 0.0

    def take(self, step: int) -> Patches:
        """Return the patches of a step, and begin with those of the one after it."""
        expected, future = self._next
        if expected != step:
            future = self._pool.submit(self._draw, step=step)
        began = time.monotonic()
        patches = future.result()
        self.waited_s += time.monotonic() - began
        self._next = (step + 1, self._pool.submit(self._draw, step=step + 1))
        return patches

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: Any) -> None:
        """Let go of the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
