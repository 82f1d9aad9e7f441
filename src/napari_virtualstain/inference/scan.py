"""How far a network looks: half receptive field and stride, read from its graph.

The walk goes through the traced graph (torch.fx) from the output back to the
input and asks, for one output pixel, which interval of pixels of each
intermediate image it depends on. With kernel ``k``, stride ``s``, padding ``p``
and dilation ``d``, an interval ``[low, high]`` behind an operation needs before it

===================  ====================================================
operation            interval that is needed
===================  ====================================================
convolution, pool    ``[low s - p, high s - p + (k - 1) d]``
transposed conv.     ``[ceil((low + p - (k - 1) d) / s), floor((high + p) / s)]``
nearest upsampling   ``[floor(low / s), floor(high / s)]``
cat, add             the same of every input
===================  ====================================================

The largest reach over one stride of output pixels is the halo: exact, since
rounding depends on where a pixel lies on the pooling grid. A network that cannot
be traced, or has an operation not listed, is *measured* instead: a pixel is
changed and the reach of the change is looked at.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm
from typing import Any

import torch
from torch import fx, nn

__all__ = ["Reach", "measure_reach", "scan_reach"]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a network looks.

    Parameters
    ----------
    halo
        Half receptive field in pixels: a prediction depends on no input pixel
        further away.
    multiple_of
        The network's total stride: shifting the input by it shifts the output.
    exact
        False if an operation sees the whole image (or the tile it is given), so
        that no halo makes tiles equal to the whole.
    how
        ``"graph"`` or ``"measured"``.
    """

    halo: int
    multiple_of: int
    exact: bool = True
    how: str = "graph"


_Interval = tuple[int, int]


class _UnknownOperationError(Exception):
    """The graph holds something that the walk has no rule for."""


_POINTWISE_MODULES = (
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.GELU, nn.ELU, nn.Tanh, nn.Sigmoid, nn.Softplus,
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
)  # fmt: skip
_POINTWISE_FUNCTIONS = {
    torch.relu, torch.sigmoid, torch.tanh, nn.functional.relu, nn.functional.silu,
    nn.functional.gelu, nn.functional.leaky_relu,
}  # fmt: skip
_JOINS = {torch.cat, torch.add, operator.add, torch.mul, operator.mul, torch.sub, operator.sub}
_WHOLE_IMAGE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


def _each_axis(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value),)


@dataclass(frozen=True, slots=True)
class _Step:
    """What one operation does to positions."""

    kind: str  # "window", "transposed", "upsample", "pointwise"
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def needs(self, interval: _Interval) -> _Interval:
        """Return the interval needed before the operation."""
        low, high = interval
        reach = (self.kernel - 1) * self.dilation
        if self.kind == "window":
            return low * self.stride - self.padding, high * self.stride - self.padding + reach
        if self.kind == "transposed":
            return -((reach - low - self.padding) // self.stride), (
                high + self.padding
            ) // self.stride
        if self.kind == "upsample":
            return low // self.stride, high // self.stride
        return interval

    def resolution(self, step: Fraction) -> Fraction:
        """Return the step in input pixels behind the operation."""
        if self.kind == "window":
            return step * self.stride
        return step / self.stride


def _window(module: nn.Module) -> _Step:
    kernels = _each_axis(module.kernel_size)
    dilations = _each_axis(getattr(module, "dilation", 1))
    padding: Any = module.padding
    kernel, dilation = max(kernels), max(dilations)
    if isinstance(padding, str):
        if padding != "same":
            raise _UnknownOperationError(f"padding {padding!r}")
        padding = dilation * (kernel - 1) // 2
    return _Step(
        "transposed" if isinstance(module, _TRANSPOSED) else "window",
        kernel=kernel,
        stride=max(_each_axis(module.stride)),
        padding=max(_each_axis(padding)),
        dilation=dilation,
    )


def _step_of(node: fx.Node, modules: dict[str, nn.Module]) -> _Step:
    if node.op == "call_module":
        part = modules[str(node.target)]
        if isinstance(part, _CONVOLUTIONS + _TRANSPOSED + _POOLS):
            return _window(part)
        if isinstance(part, nn.Upsample) and part.mode == "nearest":
            return _Step("upsample", stride=int(max(_each_axis(part.scale_factor))))
        if isinstance(part, _POINTWISE_MODULES + _WHOLE_IMAGE):
            return _Step("pointwise")
        raise _UnknownOperationError(type(part).__name__)
    if node.op == "call_function" and node.target in _JOINS | _POINTWISE_FUNCTIONS:
        return _Step("pointwise")
    raise _UnknownOperationError(str(node.target))


def scan_reach(module: nn.Module) -> Reach:
    """Return how far a network looks.

    Parameters
    ----------
    module
        Maps (B, C, *S) to (B, C', *S).

    Notes
    -----
    Axes are treated alike: of unequal kernels the largest counts. Falls back on
    `measure_reach` where the graph cannot be read.
    """
    try:
        graph = fx.symbolic_trace(module).graph
        return _walk(graph, dict(module.named_modules()))
    except (_UnknownOperationError, fx.proxy.TraceError, TypeError):
        return measure_reach(module)


def _walk(graph: fx.Graph, modules: dict[str, nn.Module]) -> Reach:
    inner = [node for node in graph.nodes if node.op not in {"placeholder", "output", "get_attr"}]
    steps = {node: _step_of(node, modules) for node in inner}
    resolution = {node: Fraction(1) for node in graph.nodes if node.op == "placeholder"}
    for node in inner:
        before = {resolution[source] for source in node.all_input_nodes if source in resolution}
        if len(before) != 1:
            raise _UnknownOperationError("images of different resolution are joined")
        resolution[node] = steps[node].resolution(before.pop())
    output = next(node for node in graph.nodes if node.op == "output")
    if any(resolution[source] != 1 for source in output.all_input_nodes):
        raise _UnknownOperationError("the output has not the resolution of the input")
    multiple_of = lcm(*(ceil(step) for step in resolution.values()))
    reach = 0
    for position in range(multiple_of):
        needed: dict[fx.Node, _Interval] = dict.fromkeys(
            output.all_input_nodes, (position, position)
        )
        for node in reversed(inner):
            if node not in needed:
                continue
            low, high = steps[node].needs(needed[node])
            for source in node.all_input_nodes:
                known = needed.get(source, (low, high))
                needed[source] = (min(known[0], low), max(known[1], high))
        for node in graph.nodes:
            if node.op == "placeholder" and node in needed:
                low, high = needed[node]
                reach = max(reach, position - low, high - position)
    exact = not any(isinstance(part, _WHOLE_IMAGE) for part in modules.values())
    return Reach(reach, multiple_of, exact)


def measure_reach(module: nn.Module, *, size: int = 256, stride: int = 32) -> Reach:
    """Measure how far a network looks by changing pixels and following the change.

    The stupid twin of `scan_reach`: right for any network, but blind to
    dependence that the present weights make zero.

    Parameters
    ----------
    module
        Maps (1, C, size, size) to the same size.
    size
        Edge of the test image in pixels; the answer is at most half of it.
    stride
        Assumed total stride, a divisor of ``size``.
    """
    parameter = next(module.parameters())
    channels = _input_channels(module)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels, size, size, generator=generator).to(parameter)
    was_training = module.training
    module.eval()
    reach = 0
    with torch.inference_mode():
        before = module(image)
        for offset in range(0, stride, max(1, stride // 8)):
            row = size // 2 + offset
            changed = image.clone()
            changed[:, :, row] += 10.0
            moved = (module(changed) - before).abs().amax(dim=(0, 1, 3))
            rows = torch.nonzero(moved > 0).flatten()
            if rows.numel():
                reach = max(reach, row - int(rows.min()), int(rows.max()) - row)
    module.train(was_training)
    exact = reach < size // 2 - stride
    return Reach(halo=reach, multiple_of=stride, exact=exact, how="measured")


def _input_channels(module: nn.Module) -> int:
    for part in module.modules():
        if isinstance(part, _CONVOLUTIONS):
            return int(part.in_channels)
    return 1
