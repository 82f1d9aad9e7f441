"""A network over volumes, run as one over planes: the planes of a stack are its channels.

A stack is tens of planes deep and thousands of pixels wide. So a tile holds the
whole depth, is cut along y and x only, and everything that is known of tiles of
pictures holds for those of stacks. Along z the network sees what it would see of the
whole volume, or windows of a few planes that are blended (`inference.z_window`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from napari_virtualstain.inference.network import BandStream, Network
from napari_virtualstain.inference.scan import Reach
from napari_virtualstain.inference.z_window import ZWindows

__all__ = ["StackNetwork", "as_planes", "stack_network"]


class _Stack(nn.Module):
    """Map the planes of a stack (B, Z, Y, X) to the planes of its stains (B, stains * Z, Y, X)."""

    def __init__(
        self, volume: nn.Module, *, depth: int, multiple_of: int, windows: ZWindows | None
    ) -> None:
        super().__init__()
        self.volume, self.depth, self.windows = volume, depth, windows
        self.spatial_axes, self.in_channels = 2, depth
        self._short = -depth % multiple_of

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        if self.windows is None:
            # (B, Z, Y, X) -> (B, 1, Z', Y, X), with zeros below the stack as beyond any border
            given = functional.pad(planes[:, None], (0, 0, 0, 0, 0, self._short))
            stains = self.volume(given.contiguous(memory_format=torch.channels_last_3d))
            return torch.flatten(stains[:, :, : self.depth], 1, 2)
        return torch.flatten(self._blended(planes, self.windows), 1, 2)

    def _blended(self, planes: torch.Tensor, windows: ZWindows) -> torch.Tensor:
        total: torch.Tensor | None = None
        for start in windows.starts:
            part = slice(start, start + windows.window)
            stains = self.volume(planes[:, None, part])
            share = torch.from_numpy(windows.share(start)).to(stains)[:, None, None]
            if total is None:
                shape = (*stains.shape[:2], self.depth, *stains.shape[3:])
                total = stains.new_zeros(shape)
            total[:, :, part] += share * stains
        assert total is not None
        return total


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StackNetwork(Network):
    """A network over volumes as a network over planes; made by `stack_network`.

    Parameters
    ----------
    inner
        Maps (B, 1, Z, Y, X) to (B, stains, Z, Y, X).
    depth
        Planes of the stack.
    windows
        How it goes along z, `None` if it takes any number of planes.
    """

    inner: Network
    depth: int
    windows: ZWindows | None = None

    @property
    def streams(self) -> bool:
        """Whether it can be computed row by row."""
        return self.windows is None and self.inner.streams

    @property
    def layout(self) -> torch.memory_format:
        """How pixels lie in memory: planes one after the other."""
        return torch.contiguous_format

    @property
    def _shape_z(self) -> int:
        if self.windows is not None:
            return self.windows.window
        return self.depth + -self.depth % self.inner.reach.multiple_of[0]

    def forward_bytes(self, shape: Sequence[int]) -> int:
        """Return the most bytes that one forward pass over (Y, X) holds at once."""
        stacks = 2 if self.windows is None else 2 + self.windows.window
        beside = stacks * self.depth * int(np.prod(shape, dtype=np.int64)) * self.itemsize
        return self.inner.forward_bytes((self._shape_z, *shape)) + beside

    def stream_bytes(self, shape: Sequence[int], *, band: int, axis: int = 0) -> int:
        """Return the most bytes that a stream over (Y, X) holds at once."""
        return self.inner.stream_bytes((self._shape_z, *shape), band=band, axis=axis + 1)

    def stream(self, length: int, *, axis: int = 0) -> BandStream:
        """Begin a forward pass over ``length`` rows along an axis of (Y, X)."""
        return _StackStream(self, self.inner.stream(length, axis=axis + 1))

    def on_processor(self) -> Network:
        """Return a copy that computes on the processor."""
        return stack_network(self.inner.on_processor(), depth=self.depth, windows=self.windows)


class _StackStream(BandStream):
    """Rows of a stack, planes as channels on both sides."""

    def __init__(self, network: StackNetwork, inner: BandStream) -> None:
        self._stack, self._inner = network, inner

    def push(self, rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Take the next rows (Z, *S), return those of the result (stains * Z, *S) that follow."""
        depth = self._stack.depth
        short = self._stack._shape_z - depth  # noqa: SLF001 (its own)
        given = np.pad(rows, [(0, short), (0, 0), (0, 0)])[None]
        # (stains, Z', *S) -> (stains * Z, *S)
        return [bands[:, :depth].reshape(-1, *bands.shape[2:]) for bands in self._inner.push(given)]


def stack_network(inner: Network, *, depth: int, windows: ZWindows | None = None) -> StackNetwork:
    """Return a network over volumes as one over the planes of a stack.

    Parameters
    ----------
    inner
        Over volumes of one kind of light.
    depth
        Planes of the stack.
    windows
        How it goes along z, `None` if it takes any number of planes.
    """
    reach = inner.reach
    module = _Stack(inner.module, depth=depth, multiple_of=reach.multiple_of[0], windows=windows)
    return StackNetwork(
        module=module, traced=None, outline=None,
        reach=Reach(reach.halo[1:], reach.multiple_of[1:], reach.kind, reach.how),
        device=inner.device, precision=inner.precision, in_channels=depth,
        inner=inner, depth=depth, windows=windows,
    )  # fmt: skip


def as_planes(volume: nn.Module, *, depth: int) -> nn.Module:
    """Return a network over volumes of one kind of light, with the planes of a stack as channels.

    Parameters
    ----------
    volume
        Maps (B, 1, Z, Y, X) to (B, stains, Z, Y, X).
    depth
        Z.
    """
    return _Stack(volume, depth=depth, multiple_of=1, windows=None)
