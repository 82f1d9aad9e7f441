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
padding              ``[low - p, high - p]``, p of it in front
nearest upsampling   ``[floor(low / s), floor(high / s)]``
linear upsampling    ``[floor((low + 1/2) / s - 1/2), floor((high + 1/2) / s - 1/2) + 1]``
cat, add             the same of every input
===================  ====================================================

The largest reach over one stride of output pixels is the halo: exact, since
rounding depends on where a pixel lies on the pooling grid. A network that cannot
be traced, or has an operation not listed, is *measured* instead: a pixel is
changed and the reach of the change is looked at. A network may say of itself how far it
looks along y and x, in ``approximate_reach``: because it takes a fixed number of planes and
sees statistics of all that it is given, or because it came as a graph that is not read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm
from typing import Any, Literal

import torch
from torch import fx, nn

from napari_virtualstain.inference.operations import (
    Traced,
    UnknownOperationError,
    in_channels_of,
    inputs_of,
    ndim_of,
    norm_names,
    trace,
)

__all__ = ["Exactness", "Reach", "has_image_statistics", "measure_reach", "scan_reach"]

Exactness = Literal["exact", "statistics", "approximate"]
"""What tiles of a network have in common with the whole image.

``exact``: everything. ``statistics``: everything once the statistics of its
normalisation layers are those of the image. ``approximate``: an operation sees
all that it is given (attention, pooling to one pixel), so that no halo makes
tiles equal to the whole.
"""
_SIZES = {1: 1024, 2: 256, 3: 64}
"""Edge of the test image of a measurement in pixels, by number of axes."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a network looks.

    Parameters
    ----------
    halo
        Half receptive field in pixels along each axis: a prediction depends on no input
        pixel further away.
    multiple_of
        The network's total stride along each axis: shifting the input by it shifts the output.
    kind
        See `Exactness`.
    how
        ``"graph"``, ``"measured"`` or ``"stated"``.
    """

    halo: tuple[int, ...]
    multiple_of: tuple[int, ...]
    kind: Exactness = "exact"
    how: str = "graph"


def has_image_statistics(module: nn.Module) -> bool:
    """Return whether a network normalises by statistics of the image that it is given."""
    return bool(norm_names(module))


def scan_reach(module: nn.Module) -> Reach:
    """Return how far a network looks.

    Parameters
    ----------
    module
        Maps (B, C, *S) to (B, C', *S).

    Notes
    -----
    Falls back on `measure_reach` where the graph cannot be read.
    """
    stated: tuple[int, int] | None = getattr(module, "approximate_reach", None)
    if stated is not None:
        (far, step), deep = stated, ndim_of(module) - 2
        return Reach(
            (*(0,) * deep, far, far), (*(1,) * deep, step, step), "approximate", how="stated"
        )
    try:
        traced = trace(module)
        found = [_walk(traced, axis) for axis in range(traced.ndim)]
    except UnknownOperationError:
        return measure_reach(module)
    halo, stride = (tuple(numbers) for numbers in zip(*found, strict=True))
    return Reach(halo, stride, "statistics" if has_image_statistics(module) else "exact")


def _walk(traced: Traced, axis: int) -> tuple[int, int]:
    """Return half receptive field and stride along an axis."""
    resolution: dict[fx.Node, Fraction] = {traced.input: Fraction(1)}
    for operation in traced.operations:
        before = {resolution[s] for s in inputs_of(operation.node, resolution)}
        if len(before) != 1:
            raise UnknownOperationError("images of different resolution are joined")
        resolution[operation.node] = operation.rule.resolution(axis, before.pop())
    if resolution[traced.output] != 1:
        raise UnknownOperationError("the output has not the resolution of the input")
    multiple_of = lcm(*(ceil(step) for step in resolution.values()))
    reach = 0
    for position in range(multiple_of):
        needed = {traced.output: (position, position)}
        for operation in reversed(traced.operations):
            if operation.node not in needed:
                continue
            low, high = operation.rule.needs(axis, needed[operation.node])
            for source in inputs_of(operation.node, resolution):
                known = needed.get(source, (low, high))
                needed[source] = (min(known[0], low), max(known[1], high))
        low, high = needed.get(traced.input, (position, position))
        reach = max(reach, position - low, high - position)
    return reach, multiple_of


def measure_reach(
    module: nn.Module, *, size: int | None = None, stride: int | Sequence[int] = 32
) -> Reach:
    """Measure how far a network looks by changing pixels and following the change.

    The stupid twin of `scan_reach`: right for any network, but blind to
    dependence that the present weights make zero.

    Parameters
    ----------
    module
        Maps (1, C, *S) to (1, C', *S).
    size
        Edge of the test image in pixels; the answer is at most half of it. `None` for 256 in
        two dimensions and 64 in three.
    stride
        Assumed total stride, a divisor of ``size``; one number, or one an axis.
    """
    ndim = ndim_of(module)
    size = size or _SIZES[ndim]
    strides = (stride,) * ndim if isinstance(stride, int) else tuple(stride)
    parameter = next(module.parameters())
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, in_channels_of(module), *(size,) * ndim, generator=generator)
    image = image.to(parameter)
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        before = module(image)
        reach = [
            _changed_by(module, image, before, 2 + axis, step) for axis, step in enumerate(strides)
        ]
    module.train(was_training)
    local = all(r < size // 2 - step for r, step in zip(reach, strides, strict=True))
    if has_image_statistics(module):
        # Whatever else it sees: without its statistics nobody can tell by changing pixels.
        kind: Exactness = "approximate"
    else:
        kind = "exact" if local else "approximate"
    return Reach(tuple(reach), strides, kind, how="measured")


def _changed_by(module: nn.Module, image: Any, before: Any, dim: int, stride: int) -> int:
    middle, reach = image.shape[dim] // 2, 0
    others = [d for d in range(image.ndim) if d != dim]
    for offset in range(0, stride, max(1, stride // 8)):
        row = middle + offset
        changed = image.clone()
        changed.narrow(dim, row, 1).add_(10.0)
        moved = (module(changed) - before).abs().amax(dim=others)
        rows = torch.nonzero(moved > 0).flatten()
        if rows.numel():
            reach = max(reach, row - int(rows.min()), int(rows.max()) - row)
    return reach
