"""Statistics of the whole image for networks that normalise by those of what they are given.

InstanceNorm and GroupNorm make every tile another picture: no halo and no
blending helps (relative error 0.4 where blending hides the seam). With one set
of statistics for the whole image they are an affine map a channel, as BatchNorm
in evaluation, and tiles agree. There are two ways to get them:

- `joint_statistics`: patches spread over the image go through the network as
  one batch, each layer normalising by the statistics of the batch. One forward
  pass of a few patches; close to the whole image's.
- `exact_statistics`: layer by layer, tiles over the whole image, each time with
  the layers before normalised exactly. The whole image's, at one partial pass a layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import floor
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from napari_virtualstain.axes import Region
from napari_virtualstain.inference.operations import (
    UnknownOperationError,
    inputs_of,
    norm_names,
    trace,
)

__all__ = [
    "LayerStatistics",
    "exact_statistics",
    "joint_statistics",
    "patches_over",
    "unit_statistics",
    "with_statistics",
]

_PATCH = {2: (128, 128), 3: (32, 64, 64)}
_PATCHES_AN_AXIS = {2: 7, 3: 4}
"""Patches that statistics are frozen from: 49 of 128 x 128 px were within 7 % of the whole."""
_BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@dataclass(frozen=True, slots=True, eq=False)
class LayerStatistics:
    """What a layer normalises by.

    Parameters
    ----------
    mean, variance
        By channel, float64; the channels of a group have the same.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


class _JointNorm(nn.Module):
    """Normalises by the statistics of the batch, and remembers them."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.seen: LayerStatistics | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        space = [0, *range(2, x.ndim)]
        mean = x.double().mean(dim=space)
        square = x.double().square().mean(dim=space)
        first, second = mean.cpu().numpy(), square.cpu().numpy()
        self.seen = _grouped_about(self.norm, np.zeros_like(first), first, second)
        layer = _affine(self.norm, self.seen, x.ndim - 2).to(x.device, x.dtype)
        return cast(torch.Tensor, layer(x))


def _affine(norm: nn.Module, statistics: LayerStatistics, ndim: int) -> nn.Module:
    """Return the BatchNorm that does what a norm does with given statistics."""
    part = cast(Any, norm)
    layer = _BATCH_NORMS[ndim](statistics.mean.size, eps=part.eps, affine=part.weight is not None)
    with torch.no_grad():
        cast(torch.Tensor, layer.running_mean).copy_(torch.from_numpy(statistics.mean))
        cast(torch.Tensor, layer.running_var).copy_(torch.from_numpy(statistics.variance))
        if part.weight is not None:
            layer.weight.copy_(part.weight)
            if part.bias is not None:
                layer.bias.copy_(part.bias)
    return layer.eval()


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, new)


def with_statistics(
    module: nn.Module, statistics: dict[str, LayerStatistics], ndim: int
) -> nn.Module:
    """Return a copy of a network whose norms have these statistics, as BatchNorm in evaluation.

    Parameters
    ----------
    module
        Left as it is.
    statistics
        By name of the layer; other norms stay.
    ndim
        Number of spatial axes.
    """
    fixed = copy.deepcopy(module).eval()
    for name, found in statistics.items():
        norm = fixed.get_submodule(name)
        parameter = next(fixed.parameters())
        _replace(fixed, name, _affine(norm, found, ndim).to(parameter.device, parameter.dtype))
    return fixed


def unit_statistics(module: nn.Module) -> dict[str, LayerStatistics]:
    """Return mean 0 and variance 1 for every norm, to plan with before an image is read."""
    found = {}
    for name in norm_names(module):
        norm = cast(Any, module.get_submodule(name))
        size = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features
        found[name] = LayerStatistics(np.zeros(size), np.ones(size))
    return found


def patches_over(
    shape: Sequence[int],
    multiple_of: Sequence[int],
    *,
    bytes_of: Callable[[Sequence[int]], int],
    budget: int,
) -> list[Region]:
    """Return patches spread over an image, as many as memory allows, to freeze statistics from.

    Parameters
    ----------
    shape, multiple_of
        Of the image in pixels, and the network's stride.
    bytes_of
        Returns what a forward pass over a patch of given edges takes.
    budget
        Bytes. All patches are in memory at once, in double precision where they are summed up.
    """
    n = len(shape)
    edges = [
        max(step, min(-(-edge // step) * step, -(-length // step) * step))
        for edge, length, step in zip(_PATCH[n], shape, multiple_of, strict=True)
    ]
    room = budget / (3 * bytes_of(edges))
    most = max(1, min(_PATCHES_AN_AXIS[n], floor(room ** (1 / n))))
    starts = [
        np.linspace(0, max(0, length - edge), min(most, max(1, length // edge))).astype(int)
        // step
        * step
        for length, edge, step in zip(shape, edges, multiple_of, strict=True)
    ]
    return [
        tuple(slice(int(a), int(a) + edge) for a, edge in zip(place, edges, strict=True))
        for place in product(*starts)
    ]


def joint_statistics(
    module: nn.Module, patches: NDArray[np.float32], *, device: str = "cpu"
) -> dict[str, LayerStatistics]:
    """Return statistics of patches that go through a network together.

    Parameters
    ----------
    module
        With norms; left as it is.
    patches
        (N, C, *S) normalised, spread over the image; edges divisible by the stride.
    device
        Where to compute.
    """
    joint = copy.deepcopy(module).eval().to(device)
    places = {}
    for name in norm_names(joint):
        place = _JointNorm(joint.get_submodule(name))
        _replace(joint, name, place)
        places[name] = place
    with torch.inference_mode():
        joint(torch.from_numpy(np.ascontiguousarray(patches)).to(device))
    # A layer that was not used has nothing to normalise by, and needs nothing.
    return {name: place.seen for name, place in places.items() if place.seen is not None}


def exact_statistics(
    module: nn.Module,
    tiles: Callable[[], Iterable[tuple[NDArray[np.float32], Sequence[slice]]]],
    *,
    device: str = "cpu",
    on_layer: Callable[[int, int], None] | None = None,
) -> dict[str, LayerStatistics]:
    """Return the statistics that the layers have in a forward pass of the whole image.

    Parameters
    ----------
    module
        With norms; left as it is.
    tiles
        Called once a layer: pixels (1, C, *S) with halo, and which of them (core, in pixels of
        the tile, on multiples of the stride) are the tile's own. Cores partition the padded image.
    device
        Where to compute.
    on_layer
        Called with layers done and layers in all.

    Raises
    ------
    UnknownOperationError
        If the graph of the network cannot be read.
    """
    names = norm_names(module)
    found: dict[str, LayerStatistics] = {}
    ndim = trace(module).ndim
    order = [str(o.node.target) for o in trace(copy.deepcopy(module).eval()).operations]
    names.sort(key=order.index)
    for done, name in enumerate(names):
        if on_layer is not None:
            on_layer(done, len(names))
        fixed = with_statistics(module, found, ndim).to(device)
        found[name] = _layer_statistics(fixed, name, tiles, device)
    return found


def _layer_statistics(
    module: nn.Module,
    name: str,
    tiles: Callable[[], Iterable[tuple[NDArray[np.float32], Sequence[slice]]]],
    device: str,
) -> LayerStatistics:
    traced = trace(module)
    place = next(o for o in traced.operations if str(o.node.target) == name)
    (source,) = place.node.all_input_nodes
    steps: dict[fx.Node, tuple[Fraction, ...]] = {traced.input: (Fraction(1),) * traced.ndim}
    for operation in traced.operations:
        before = steps[inputs_of(operation.node, steps)[0]]
        steps[operation.node] = tuple(
            operation.rule.resolution(axis, step) for axis, step in enumerate(before)
        )
    if source is traced.input:
        prefix: Any = nn.Identity()
    else:
        prefix = _prefix(traced.graph, source)
    count, mean, square, pilot = 0, None, None, None
    for pixels, core in tiles():
        with torch.inference_mode():
            values = prefix(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))
        for axis, (part, step) in enumerate(zip(core, steps[source], strict=True)):
            start, stop = Fraction(part.start) / step, Fraction(part.stop) / step
            if start.denominator != 1 or stop.denominator != 1:
                raise UnknownOperationError("a tile does not lie on the grid of a layer")
            values = values.narrow(2 + axis, int(start), int(stop - start))
        space = [0, *range(2, values.ndim)]
        double = values.double()
        if pilot is None:
            # Moments about a value near the mean: a square of a large mean loses digits.
            pilot = double.mean(dim=space, keepdim=True)
            mean, square = torch.zeros_like(pilot.flatten()), torch.zeros_like(pilot.flatten())
        double = double - pilot
        mean, square = mean + double.sum(dim=space), square + double.square().sum(dim=space)
        count += values.numel() // values.shape[1]
    if pilot is None or mean is None or square is None:
        raise ValueError("no tiles")
    shift, first, second = (
        v.flatten().cpu().numpy() for v in (pilot, mean / count, square / count)
    )
    return _grouped_about(module.get_submodule(name), shift, first, second)


def _grouped_about(
    norm: nn.Module,
    pilot: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
) -> LayerStatistics:
    """Return mean and variance by channel from moments about a pilot value by channel."""
    mean, variance = pilot + first, second - first**2
    if isinstance(norm, nn.GroupNorm):
        size = mean.size // norm.num_groups
        by_group, spread = mean.reshape(-1, size), variance.reshape(-1, size)
        middle = by_group.mean(axis=1, keepdims=True)
        # Variance within the channels and between them.
        whole = (spread + (by_group - middle) ** 2).mean(axis=1)
        return LayerStatistics(np.repeat(middle[:, 0], size), np.repeat(whole, size))
    return LayerStatistics(mean, np.maximum(variance, 0.0))


def _prefix(graph: fx.GraphModule, end: fx.Node) -> fx.GraphModule:
    """Return the part of a network up to an intermediate image."""
    part = copy.deepcopy(graph)
    node = next(n for n in part.graph.nodes if n.name == end.name)
    for output in [n for n in part.graph.nodes if n.op == "output"]:
        part.graph.erase_node(output)
    with part.graph.inserting_after(node):
        part.graph.output(node)
    for other in reversed(list(part.graph.nodes)):
        if other.op not in {"output", "placeholder"} and not other.users:
            part.graph.erase_node(other)
    part.graph.lint()
    part.recompile()
    return part
