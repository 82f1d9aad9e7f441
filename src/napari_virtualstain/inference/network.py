"""A generator's network, made ready to run: folded, laid out, cast, and read by its graph.

Nothing here changes what is predicted beyond float rounding; reduced precision
is asked for by name, and checked against float32 before it is used.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_virtualstain.axes import Region
from napari_virtualstain.inference.fold import fold_norms
from napari_virtualstain.inference.kernels import use_good_kernels
from napari_virtualstain.inference.operations import (
    Traced,
    UnknownOperationError,
    in_channels_of,
    trace,
)
from napari_virtualstain.inference.scan import Reach, has_image_statistics, scan_reach
from napari_virtualstain.inference.stream import RowStream, can_stream, stream_bytes
from napari_virtualstain.inference.transfer import Grey, Returning, Stains, stacked

__all__ = ["PRECISIONS", "TOLERANCE", "Network", "Precision", "check_precision", "prepare_network"]

Precision = Literal["float32", "bfloat16"]
PRECISIONS: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TOLERANCE = 0.02
"""Largest difference from float32, as a share of the range of a tile, that bfloat16 may make."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Network:
    """A network for evaluation on one device; made by `prepare_network`.

    Parameters
    ----------
    module
        Maps (B, C, *S) to (B, C', *S) in its own precision.
    traced
        Its graph, `None` if it cannot be read.
    outline
        The same without weights, to find out sizes without computing.
    blank
        Where the graph cannot be read: the network on the meta device, to find out what it holds.
    reach
        How far it looks.
    device, precision
        Where and in what it computes.
    in_channels
        Of the image.
    """

    module: nn.Module
    traced: Traced | None
    outline: Traced | None
    reach: Reach
    device: torch.device
    precision: Precision
    in_channels: int
    blank: nn.Module | None = None

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.reach.halo)

    @property
    def has_image_statistics(self) -> bool:
        """Whether it normalises by statistics of what it is given."""
        return has_image_statistics(self.module)

    @property
    def streams(self) -> bool:
        """Whether it can be computed row by row."""
        return self.traced is not None and can_stream(self.traced)

    @property
    def layout(self) -> torch.memory_format:
        """How pixels lie in memory: the channels of a pixel together."""
        if self.ndim == 2:
            return torch.channels_last
        return torch.channels_last_3d if self.ndim == 3 else torch.contiguous_format

    def tensor(self, planes: NDArray[np.float32] | Sequence[Grey]) -> torch.Tensor:
        """Bring (B, C, *S) to the device, in the network's precision and layout."""
        if not isinstance(planes, np.ndarray):
            return stacked(planes, device=self.device, dtype=self.dtype, layout=self.layout)
        given = torch.from_numpy(np.ascontiguousarray(planes))
        if self.device.type == "cuda":
            given = given.pin_memory()
        return given.to(self.device, PRECISIONS[self.precision], non_blocking=True).contiguous(
            memory_format=self.layout
        )

    def forward(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict (B, C, *S) -> (B, C', *S), every edge of S divisible by the stride."""
        with torch.inference_mode(), self._exactly():
            return _to_numpy(self.module(self.tensor(planes)))

    def predict(
        self, planes: NDArray[np.float32] | Sequence[Grey], keeps: Sequence[Region]
    ) -> list[Stains]:
        """Predict parts of tiles, without waiting for a graphics card.

        Parameters
        ----------
        planes
            As of `forward`; or tiles of one size, normalised on the device.
        keeps
            What is wanted of each tile, in its pixels.
        """
        with torch.inference_mode(), self._exactly():
            stains = self.module(self.tensor(planes))
            return [
                Returning.of(one[(slice(None), *keep)])
                for one, keep in zip(stains, keeps, strict=True)
            ]

    def _exactly(self) -> AbstractContextManager[Any]:
        """Compute in what was asked for: by default CUDA rounds float32 convolutions to TF32."""
        if self.device.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False)

    def stream(self, length: int, *, axis: int = 0) -> BandStream:
        """Begin a forward pass over ``length`` rows along an axis; see `RowStream`."""
        if self.traced is None:
            raise UnknownOperationError("the network is not computed row by row")
        return BandStream(
            self, RowStream(self.traced, length=length, axis=axis, layout=self.layout)
        )

    def forward_bytes(self, shape: Sequence[int]) -> int:
        """Return the most bytes of activations that one forward pass holds at once.

        Parameters
        ----------
        shape
            Spatial, of what it is given.
        """
        given = torch.empty((1, self.in_channels, *shape), device="meta", dtype=self.dtype)
        if self.outline is None:
            held = _Held()
            try:
                with torch.inference_mode(), held:
                    assert self.blank is not None
                    self.blank(given)
            except Exception:  # noqa: BLE001 (whatever a network does that meta tensors cannot)
                # The widest layers of an unknown network: a guess that errs on the large side.
                widest = max(
                    (p.shape[0] for p in self.module.parameters() if p.ndim > 1), default=1
                )
                return 6 * widest * int(np.prod(shape, dtype=np.int64)) * self.itemsize
            return held.peak + given.nbytes
        watcher = _Watcher(self.outline.graph)
        with torch.inference_mode():
            watcher.run(given)
        return watcher.peak

    def stream_bytes(self, shape: Sequence[int], *, band: int, axis: int = 0) -> int:
        """Return the most bytes that a stream over an image of this shape holds at once."""
        if self.outline is None:
            raise UnknownOperationError("the network is not computed row by row")
        return stream_bytes(
            self.outline, band=band, shape=shape, channels=self.in_channels, axis=axis
        )

    def on_processor(self) -> Network:
        """Return a copy that computes on the processor."""
        if self.traced is None:
            module: nn.Module = copy.deepcopy(self.module).to("cpu")
            use_good_kernels(module)
            return replace(self, module=module, device=torch.device("cpu"))
        graph = copy.deepcopy(self.traced.graph).to("cpu")
        use_good_kernels(graph)  # a copied network would call the convolutions of the original
        return replace(self, module=graph, traced=trace(graph), device=torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Type of its numbers."""
        return PRECISIONS[self.precision]

    @property
    def itemsize(self) -> int:
        """Bytes of one of them."""
        return self.dtype.itemsize


class BandStream:
    """A `RowStream` from numpy to numpy.

    Parameters
    ----------
    network, stream
        See `Network.stream`.
    """

    def __init__(self, network: Network, stream: RowStream) -> None:
        self._network, self._stream = network, stream

    def push(self, rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Take the next rows (C, *S), return those of the result (C', *S) that follow."""
        with torch.inference_mode(), self._network._exactly():  # noqa: SLF001 (its own)
            return [_to_numpy(b)[0] for b in self._stream.push(self._network.tensor(rows[None]))]


def _to_numpy(values: torch.Tensor) -> NDArray[np.float32]:
    # Planes first again: what follows works plane by plane.
    planes = values.to(torch.float32).contiguous(memory_format=torch.contiguous_format)
    result: NDArray[np.float32] = planes.cpu().numpy()
    return result


class _Watcher(fx.Interpreter):
    """Runs a graph and adds up what is alive."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=True)
        self.peak = 0

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        alive = {id(v): v.nbytes for v in self.env.values() if isinstance(v, torch.Tensor)}
        if isinstance(result, torch.Tensor):
            alive[id(result)] = result.nbytes
        self.peak = max(self.peak, sum(alive.values()))
        return result


class _Held(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what is alive of all that is computed, operation by operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._alive: dict[int, tuple[int, int]] = {}
        self._now = self.peak = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self._take(value)
        return result

    def _take(self, value: torch.Tensor) -> None:
        # Views share their memory, which is free once the last of them is gone.
        storage = value.untyped_storage()
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001 (its only identity)
        users, _ = self._alive.get(key, (0, size))
        self._alive[key] = (users + 1, size)
        if users == 0:
            self._now += size
            self.peak = max(self.peak, self._now)
        weakref.finalize(value, self._drop, key)

    def _drop(self, key: int) -> None:
        users, size = self._alive[key]
        if users > 1:
            self._alive[key] = (users - 1, size)
            return
        del self._alive[key]
        self._now -= size


def prepare_network(
    module: nn.Module, *, device: str = "cpu", precision: Precision = "float32"
) -> Network:
    """Make a network ready to run.

    Parameters
    ----------
    module
        Maps (B, C, *S) to (B, C', *S); left as it is, its weights are copied.
    device
        A torch device that is there.
    precision
        Of weights and activations.
    """
    private = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)
    reach = scan_reach(private)
    traced: Traced | None
    outline: Traced | None
    blank: nn.Module | None = None
    try:
        folded = fold_norms(trace(private).graph)
        ready: nn.Module = folded.to(device, PRECISIONS[precision])
        traced = trace(ready)
        outline = trace(copy.deepcopy(ready).to("meta"))
    except UnknownOperationError:
        ready, traced, outline = private.to(device, PRECISIONS[precision]), None, None
        blank = copy.deepcopy(ready).to("meta")
    for part in ready.modules():  # what a band is computed from may be needed again
        if hasattr(part, "inplace"):
            setattr(part, "inplace", False)  # noqa: B010 (unknown to type checkers)
    network = Network(
        module=ready,
        traced=traced,
        outline=outline,
        reach=reach,
        device=torch.device(device),
        precision=precision,
        in_channels=in_channels_of(private),
        blank=blank,
    )
    _lay_out(ready)
    use_good_kernels(ready)
    return network


def _lay_out(module: nn.Module) -> None:
    """Let the channels of a kernel's position lie together, in planes and in volumes."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for weight in module.parameters():
        if weight.ndim in formats:
            weight.data = weight.data.contiguous(memory_format=formats[weight.ndim])


def check_precision(reduced: Network, full: Network, planes: NDArray[np.float32]) -> float:
    """Return how far reduced precision is from full, as a share of the range of the result.

    Parameters
    ----------
    reduced, full
        The same network in two precisions.
    planes
        (1, C, *S), a typical tile.
    """
    wanted, got = full.forward(planes), reduced.forward(planes)
    span = float(np.ptp(wanted)) or 1.0
    return float(np.abs(wanted - got).max() / span)
