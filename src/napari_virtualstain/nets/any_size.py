"""How does a network of certain sizes see a picture of any size? Filled up, or window by window.

Networks of others may take pictures of one size, or of sizes in steps. A picture that has
none of them is filled up with zeros at its far end. Where the size is fixed and the picture
larger, windows of that size go over it, each of which keeps what lies further from its own
border than the network looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["AnySize"]

_STEPS = ("linear", "clip", "sigmoid")


class AnySize(nn.Module):
    """Map (B, in_channels, *S) to (B, out_channels, *S) with a network that takes certain sizes.

    Parameters
    ----------
    inner
        The network.
    in_channels
        That it takes.
    sizes
        By axis: the smallest length that it takes, and the steps in which others follow; a step of
        0 for no other.
    halo
        How far it looks along y and x, in pixels.
    multiple_of
        Its stride along y and x, in pixels.
    before, after
        What is done to each pixel before and after it, in this order: ``("linear", gain, offset)``
        with a number or a list of one a channel, ``("clip", low, high)`` with `None` for no limit,
        or ``("sigmoid",)``.

    Notes
    -----
    Zeros that stand for what is beyond the picture go through ``before`` like its pixels.
    """

    def __init__(
        self,
        inner: nn.Module,
        *,
        in_channels: int,
        sizes: Sequence[Sequence[int]],
        halo: int,
        multiple_of: int,
        before: Sequence[Sequence[Any]] = (),
        after: Sequence[Sequence[Any]] = (),
    ) -> None:
        super().__init__()
        unknown = [name for name, *_ in (*before, *after) if name not in _STEPS]
        if unknown:
            raise ValueError(f"nothing is known of {unknown[0]!r}")
        self.inner = inner
        self.in_channels, self.spatial_axes = in_channels, len(sizes)
        self.approximate_reach = (halo, multiple_of)
        self._sizes = tuple((least, step) for least, step in sizes)
        self._halo, self._stride = halo, multiple_of
        self._before, self._after = list(before), list(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict; see the class for shapes."""
        x = _each_pixel(x, self._before)
        shape = x.shape[2:]
        wanted = [_up(n, *size) for n, size in zip(shape, self._sizes, strict=True)]
        if tuple(wanted) != tuple(shape):
            missing = [(0, w - n) for w, n in zip(wanted, shape, strict=True)]
            x = functional.pad(x, [n for pair in reversed(missing) for n in pair])
        lines = [self._windows(n, *size) for n, size in zip(wanted, self._sizes, strict=True)]
        y = self.inner(x) if all(len(line) == 1 for line in lines) else self._over(x, lines)
        return _each_pixel(y[_region(slice(0, n) for n in shape)], self._after)

    def _windows(self, length: int, least: int, step: int) -> list[tuple[int, int, int]]:
        """Return where windows begin along an axis, and from where to where each is kept."""
        if step or length == least:
            return [(0, 0, length)]
        apart = max(1, least - 2 * self._halo)
        if apart > self._stride:
            apart -= apart % self._stride
        last = length - least
        starts = [*range(0, last, apart), last]
        # Half of what two windows share is kept of each.
        cuts = [
            0,
            *((a + least + b) // 2 for a, b in pairwise(starts)),
            length,
        ]
        return [
            (start, low, high) for start, (low, high) in zip(starts, pairwise(cuts), strict=True)
        ]

    def _over(self, x: torch.Tensor, lines: list[list[tuple[int, int, int]]]) -> torch.Tensor:
        total: torch.Tensor | None = None
        for place in product(*lines):
            ends = [
                start + (least if step == 0 else n)
                for (start, _, _), (least, step), n in zip(
                    place, self._sizes, x.shape[2:], strict=True
                )
            ]
            part = [slice(start, end) for (start, _, _), end in zip(place, ends, strict=True)]
            stains = self.inner(x[_region(part)])
            if total is None:
                total = stains.new_empty((*stains.shape[:2], *x.shape[2:]))
            kept = [slice(low, high) for _, low, high in place]
            own = [slice(low - start, high - start) for start, low, high in place]
            total[_region(kept)] = stains[_region(own)]
        assert total is not None
        return total


def _region(parts: Iterable[slice]) -> tuple[slice, ...]:
    """Return what cuts the axes of space, all pictures and channels kept."""
    return (slice(None), slice(None), *parts)


def _up(length: int, least: int, step: int) -> int:
    """Return the smallest length that is taken and not below this; any above a fixed one."""
    if step == 0 or length <= least:
        return max(length, least)
    return least + -(-(length - least) // step) * step


def _each_pixel(x: torch.Tensor, steps: Sequence[Sequence[Any]]) -> torch.Tensor:
    for name, *numbers in steps:
        if name == "linear":
            gain, offset = (
                torch.as_tensor(n, dtype=x.dtype, device=x.device).reshape(-1, *(1,) * (x.ndim - 2))
                for n in numbers
            )
            x = x * gain + offset
        elif name == "clip":
            x = x.clamp(*numbers)
        else:
            x = torch.sigmoid(x)
    return x
