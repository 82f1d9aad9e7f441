"""What each operation of a network does to positions, read from its traced graph.

The one place that knows kernels, strides and paddings of torch's layers. `scan`
asks it how far a network looks, `stream` which rows an operation can give.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any, Literal

import torch
from torch import fx, nn

from napari_virtualstain.inference.device import wake_meta

__all__ = [
    "NORMS",
    "Operation",
    "Rule",
    "Traced",
    "UnknownOperationError",
    "in_channels_of",
    "ndim_of",
    "norm_names",
    "trace",
]

_Interval = tuple[int, int]
Kind = Literal["window", "transposed", "nearest", "linear", "pointwise", "join"]


class UnknownOperationError(Exception):
    """The graph holds something that there is no rule for."""


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_MEAN_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm)
"""Layers whose statistics are those of the whole image they are given."""
_POINTWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.GELU, nn.ELU, nn.Tanh, nn.Sigmoid,
    nn.Softplus, nn.Hardtanh, nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
)  # fmt: skip
_POINTWISE_FUNCTIONS = {
    torch.relu, torch.sigmoid, torch.tanh, nn.functional.relu, nn.functional.silu,
    nn.functional.gelu, nn.functional.leaky_relu, nn.functional.elu, nn.functional.softplus,
}  # fmt: skip
_JOINS = {torch.add, operator.add, torch.mul, operator.mul, torch.sub, operator.sub}


@dataclass(frozen=True, slots=True)
class Rule:
    """What an operation does to positions, by axis where it says so.

    Parameters
    ----------
    kind
        Its family.
    kernel, stride, padding, dilation
        By axis.
    extra
        Output padding of a transposed convolution, or what padding has more behind than in front,
        by axis.
    fill
        Value of its padding.
    zero_border
        Whether the border of an image is padded with that value, and not with pixels of it.
    """

    kind: Kind
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    fill: float = 0.0
    zero_border: bool = True

    def needs(self, axis: int, interval: _Interval) -> _Interval:
        """Return first and last position that are needed before the operation.

        Parameters
        ----------
        axis
            Spatial, from 0.
        interval
            First and last position behind it.
        """
        low, high = interval
        if self.kind in {"pointwise", "join"}:
            return interval
        step = self.stride[axis]
        if self.kind == "nearest":
            return low // step, high // step
        if self.kind == "linear":
            return floor((low + 0.5) / step - 0.5), floor((high + 0.5) / step - 0.5) + 1
        pad = self.padding[axis]
        reach = (self.kernel[axis] - 1) * self.dilation[axis]
        if self.kind == "window":
            return low * step - pad, high * step - pad + reach
        return -((reach - low - pad) // step), (high + pad) // step

    def resolution(self, axis: int, step: Fraction) -> Fraction:
        """Return the step in input pixels behind the operation, from that before it."""
        if self.kind in {"pointwise", "join"}:
            return step
        return step * self.stride[axis] if self.kind == "window" else step / self.stride[axis]

    def length(self, axis: int, before: int) -> int:
        """Return how many positions there are behind the operation, from those before it."""
        if self.kind in {"pointwise", "join"}:
            return before
        step = self.stride[axis]
        if self.kind in {"nearest", "linear"}:
            return before * step
        reach, pad = (self.kernel[axis] - 1) * self.dilation[axis], self.padding[axis]
        if self.kind == "window":
            return (before + 2 * pad + self.extra[axis] - reach - 1) // step + 1
        return (before - 1) * step - 2 * pad + reach + self.extra[axis] + 1

    def ready(self, axis: int, known: int) -> int:
        """Return how many positions can be computed when only the first ``known`` are there."""
        if self.kind in {"pointwise", "join"} or not known:
            return known  # padding alone is nothing to begin with
        step = self.stride[axis]
        if self.kind == "nearest":
            return known * step
        if self.kind == "linear":
            raise UnknownOperationError("linear upsampling is not computed row by row")
        pad = self.padding[axis]
        if self.kind == "window":
            reach = (self.kernel[axis] - 1) * self.dilation[axis]
            return max(0, (known - 1 + pad - reach) // step + 1)
        return max(0, known * step - pad)


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """A node of a graph and its rule."""

    node: fx.Node
    rule: Rule
    module: nn.Module | None


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A network as a list of operations, in the order in which they are computed.

    Parameters
    ----------
    graph
        The traced module.
    operations
        Without input and output.
    ndim
        Number of spatial axes.
    """

    graph: fx.GraphModule
    operations: tuple[Operation, ...]
    ndim: int

    @property
    def input(self) -> fx.Node:
        """The node of the image."""
        first: fx.Node = next(n for n in self.graph.graph.nodes if n.op == "placeholder")
        return first

    @property
    def output(self) -> fx.Node:
        """The node whose value is returned."""
        end: fx.Node = next(n for n in self.graph.graph.nodes if n.op == "output")
        (value,) = end.all_input_nodes
        return value


def ndim_of(module: nn.Module) -> int:
    """Return the number of spatial axes of a network, 2 if nothing in it tells."""
    stated: int | None = getattr(module, "spatial_axes", None)
    if stated is not None:
        return stated
    for part in module.modules():
        if isinstance(part, _CONVOLUTIONS + _TRANSPOSED):
            return len(part.kernel_size)
    return 2


def in_channels_of(module: nn.Module) -> int:
    """Return the channels that a network is given, 1 if nothing in it tells."""
    stated: int | None = getattr(module, "in_channels", None)
    if stated is not None and hasattr(module, "spatial_axes"):  # not a lone convolution
        return stated
    for part in module.modules():
        if isinstance(part, _CONVOLUTIONS):
            return int(part.in_channels)
    return 1


def norm_names(module: nn.Module) -> list[str]:
    """Return the layers of a network that normalise by what they are given, in its own order."""
    return [
        name
        for name, part in module.named_modules()
        if isinstance(part, NORMS)
        and not (getattr(part, "track_running_stats", False) and part.running_mean is not None)
    ]


def trace(module: nn.Module) -> Traced:
    """Read a network's graph.

    Parameters
    ----------
    module
        Maps (B, C, *S) to (B, C', *S).

    Raises
    ------
    UnknownOperationError
        If it cannot be traced, or holds an operation without a rule.
    """
    ndim = ndim_of(module)
    try:
        graph = _graph_of(module)
    except Exception as error:
        # Whatever a network's own code raises when it is given a symbol instead of pixels.
        raise UnknownOperationError(f"the network cannot be traced: {error}") from error
    parts = dict(graph.named_modules())
    operations = []
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            _check_constant(graph, str(node.target), ndim)
        elif node.op not in {"placeholder", "output"}:
            part = parts[str(node.target)] if node.op == "call_module" else None
            operations.append(Operation(node, _rule_of(node, part, ndim), part))
    traced = Traced(graph, tuple(operations), ndim)
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    ends = [node for node in graph.graph.nodes if node.op == "output"]
    if len(inputs) != 1 or len(ends[0].all_input_nodes) != 1:
        raise UnknownOperationError("the network has more than one input or output")
    return traced


class _Tracer(fx.Tracer):
    """Reads what its own thread calls, and lets the other threads compute.

    While it reads, fx replaces ``Module.__call__`` and ``Module.__getattr__`` for the
    whole process: a run beside would find its own network "not installed as a submodule".
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # A module that says of itself that no position looks at another one is not looked into.
        return getattr(m, "pointwise", False) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


_TRACING = threading.Lock()
"""Two at once would each put back what the other had replaced."""


def _graph_of(module: nn.Module) -> fx.GraphModule:
    wake_meta()  # imports half of torch, which another thread must not see half done
    with _TRACING:
        tracer = _Tracer()
        graph = tracer.trace(module)
        return fx.GraphModule(tracer.root, graph, type(module).__name__)


def _check_constant(graph: fx.GraphModule, name: str, ndim: int) -> None:
    value: Any = graph
    for part in name.split("."):
        value = getattr(value, part)
    if value.ndim >= ndim and any(n != 1 for n in value.shape[-ndim:]):
        raise UnknownOperationError(f"{name} is a constant with a place in the image")


def _rule_of(node: fx.Node, part: nn.Module | None, ndim: int) -> Rule:
    if part is not None:
        return _rule_of_module(part, ndim)
    if node.op == "call_function":
        if node.target in _POINTWISE_FUNCTIONS:
            return Rule("pointwise")
        if node.target in _JOINS:
            return Rule("join")
        if node.target in {torch.cat, torch.concat} and _argument(node, 1, "dim", 0) == 1:
            return Rule("join")
        if node.target is nn.functional.pad:
            return _rule_of_padding(
                _argument(node, 1, "pad", ()),
                _argument(node, 2, "mode", "constant"),
                _argument(node, 3, "value", None),
                ndim,
            )
        if node.target is nn.functional.interpolate:
            return _rule_of_interpolation(
                _argument(node, 2, "scale_factor", None),
                _argument(node, 3, "mode", "nearest"),
                _argument(node, 4, "align_corners", None),
                ndim,
            )
    raise UnknownOperationError(str(node.target))


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _rule_of_module(part: nn.Module, ndim: int) -> Rule:
    if isinstance(part, _CONVOLUTIONS + _TRANSPOSED + _MAX_POOLS + _MEAN_POOLS):
        return _rule_of_window(part, ndim)
    if isinstance(part, nn.PixelUnshuffle):
        edge, none = (part.downscale_factor,) * ndim, (0,) * ndim
        return Rule(
            "window", kernel=edge, stride=edge, padding=none, dilation=(1,) * ndim, extra=none
        )
    if isinstance(part, nn.Upsample):
        return _rule_of_interpolation(part.scale_factor, part.mode, part.align_corners, ndim)
    if isinstance(part, nn.Softmax) and part.dim == 1:
        return Rule("pointwise")
    if isinstance(part, _POINTWISE_MODULES + NORMS) or getattr(part, "pointwise", False):
        return Rule("pointwise")
    raise UnknownOperationError(type(part).__name__)


def _rule_of_window(part: Any, ndim: int) -> Rule:
    kernel, stride = _by_axis(part.kernel_size, ndim), _by_axis(part.stride, ndim)
    dilation = _by_axis(getattr(part, "dilation", 1), ndim)
    padding: Any = part.padding
    if padding == "same":
        if any(d * (k - 1) % 2 for d, k in zip(dilation, kernel, strict=True)):
            raise UnknownOperationError("uneven padding")
        padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    elif padding == "valid":
        padding = 0
    if getattr(part, "ceil_mode", False) or getattr(part, "return_indices", False):
        raise UnknownOperationError("pooling that rounds up, or returns positions")
    pads = _by_axis(padding, ndim)
    if isinstance(part, _MEAN_POOLS) and any(pads) and not part.count_include_pad:
        raise UnknownOperationError("a mean that counts its pixels at the border")
    return Rule(
        "transposed" if isinstance(part, _TRANSPOSED) else "window",
        kernel=kernel,
        stride=stride,
        padding=pads,
        dilation=dilation,
        extra=_by_axis(getattr(part, "output_padding", 0), ndim),
        fill=float("-inf") if isinstance(part, _MAX_POOLS) else 0.0,
        zero_border=getattr(part, "padding_mode", "zeros") == "zeros",
    )


def _rule_of_padding(pads: Any, mode: str, value: float | None, ndim: int) -> Rule:
    """A window of one pixel, which may be beyond the border: in front, behind, or both."""
    if mode != "constant" or len(pads) > 2 * ndim or any(type(n) is not int or n < 0 for n in pads):
        raise UnknownOperationError("padding that is not with a constant along axes of the image")
    missing = [0] * (2 * ndim - len(pads))
    sides = [*pads, *missing]  # of the last axis first
    front, behind = tuple(sides[-2::-2]), tuple(sides[::-2])
    return Rule(
        "window", kernel=(1,) * ndim, stride=(1,) * ndim, padding=front, dilation=(1,) * ndim,
        extra=tuple(b - f for f, b in zip(front, behind, strict=True)), fill=value or 0.0,
    )  # fmt: skip


def _rule_of_interpolation(factor: Any, mode: str, align: bool | None, ndim: int) -> Rule:
    if factor is None or align:
        raise UnknownOperationError("interpolation to a size, or from corner to corner")
    factors = _by_axis(factor, ndim)
    if any(f != int(f) or f < 1 for f in factors):
        raise UnknownOperationError("interpolation by a fraction")
    if mode not in {"nearest", "linear", "bilinear", "trilinear"}:
        raise UnknownOperationError(f"{mode} interpolation")
    kind: Kind = "nearest" if mode == "nearest" else "linear"
    return Rule(kind, stride=tuple(int(f) for f in factors))


def _by_axis(value: Any, ndim: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * ndim


def inputs_of(node: fx.Node, known: Mapping[fx.Node, Any]) -> list[fx.Node]:
    """Return the images that an operation takes, constants left out."""
    return [source for source in node.all_input_nodes if source in known]
