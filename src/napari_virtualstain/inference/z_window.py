"""How a network that maps a few z planes to as many predicts a stack of any depth.

A window of planes slides along z; a plane is the weighted mean of all windows that
hold it. The weights of a plane add up to 1 wherever it lies and whatever the step
is, so that a constant stays a constant. (VisCy [1]_ blends with a running mean
whose factors are those of step 1; with ``weights="mean"`` and ``step=1`` the
result is the same, and for other steps this departs from it.)

References
----------
.. [1] Liu, Hirata-Miyasaki et al., "Robust virtual staining of landmark organelles", bioRxiv
   (2024), doi:10.1101/2024.05.31.596901; ``_blend_in`` of the prediction writer of its code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ChannelError, SettingsError

__all__ = ["ZWindows", "blend_windows"]

Weights = Literal["mean", "triangular"]


@dataclass(frozen=True)
class ZWindows:
    """Where windows lie along z, and what each counts for a plane.

    Parameters
    ----------
    depth
        Planes of the stack.
    window
        Planes that the network takes and gives.
    step
        Planes from one window to the next; the last one ends with the stack.
    weights
        ``"mean"``: every window that holds a plane counts alike. ``"triangular"``: the more, the
        nearer the plane is to the middle of the window, where the network sees most around it.

    Raises
    ------
    ChannelError
        If the stack has fewer planes than the window.
    SettingsError
        If a step would leave planes out.

    Examples
    --------
    >>> windows = ZWindows(depth=7, window=3, step=2)
    >>> windows.starts
    (0, 2, 4)
    >>> ZWindows(depth=6, window=3, step=2).starts
    (0, 2, 3)
    """

    depth: int
    window: int
    step: int = 1
    weights: Weights = "mean"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.depth < self.window:
            raise ChannelError(
                f"The network takes {self.window} z planes at a time, the stack has {self.depth}. "
                "Open the whole stack."
            )
        if not 1 <= self.step <= self.window:
            raise SettingsError(
                f"Windows of {self.window} planes cannot be {self.step} planes apart: some planes "
                f"would be in none, or all in one. Choose a step from 1 to {self.window}."
            )

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First plane of each window."""
        last = self.depth - self.window
        return tuple(dict.fromkeys((*range(0, last, self.step), last)))

    @cached_property
    def profile(self) -> NDArray[np.float64]:
        """What each plane of a window counts before the weights of a plane are made to add up."""
        if self.weights == "mean":
            return np.ones(self.window)
        place = np.arange(self.window)
        return np.minimum(place + 1, self.window - place).astype(np.float64)

    def share(self, start: int) -> NDArray[np.float64]:
        """Return the weights of the planes of a window; those of a plane add up to 1.

        Parameters
        ----------
        start
            One of `starts`.
        """
        planes = np.arange(start, start + self.window)
        total = np.zeros(self.window)
        for other in self.starts:
            inside = planes - other
            held = (inside >= 0) & (inside < self.window)
            total[held] += self.profile[inside[held]]
        return np.asarray(self.profile / total)


def blend_windows(
    predict: Callable[[slice], NDArray[np.float32]], windows: ZWindows
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Predict a stack window by window, and give each plane once nothing is added to it any more.

    Parameters
    ----------
    predict
        Returns the stains (C, window, *S) of some planes of the stack, which it is told.
    windows
        Where they lie.

    Yields
    ------
    tuple
        Index of a plane, in order, and its stains (C, *S). No more than ``window`` planes are
        held at a time, however deep the stack is.
    """
    waiting: dict[int, NDArray[np.float64]] = {}
    ends = (*windows.starts[1:], windows.depth)
    for start, end in zip(windows.starts, ends, strict=True):
        stains = predict(slice(start, start + windows.window))
        for index, weight in enumerate(windows.share(start)):
            part = weight * stains[:, index].astype(np.float64)
            plane = start + index
            waiting[plane] = part if plane not in waiting else waiting[plane] + part
        for plane in range(start, end):
            yield plane, waiting.pop(plane).astype(np.float32)
