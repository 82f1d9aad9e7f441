"""Run a network over an image that arrives in bands of rows, with no row computed twice.

Each operation computes the rows that it can, and keeps of its input the last
rows that it will need again: ``(k - 1) d`` of a convolution, the whole lag of
the deeper levels for a skip connection. What comes out is the forward pass of the
whole image, and memory depends on the width of the image but not on its height.
Tiles with halos compute (1 + 2 halo / edge)^2 times the pixels instead.

"Rows" are positions along one spatial axis; the other axes are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from napari_virtualstain.inference.kernels import convolve
from napari_virtualstain.inference.operations import (
    Operation,
    Traced,
    UnknownOperationError,
    inputs_of,
)
from napari_virtualstain.inference.rows import Rows

__all__ = ["RowStream", "can_stream", "stream_bytes"]

_FEW = 32
"""Rows left over that are copied in front of new ones, instead of joining both afterwards."""
_SPREAD: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d,
}  # fmt: skip
_CATS = {torch.cat, torch.concat}


def can_stream(traced: Traced) -> bool:
    """Return whether every operation of a network can be computed row by row."""
    kinds = {"window", "transposed", "nearest", "pointwise", "join"}
    return all(o.rule.kind in kinds and o.rule.zero_border for o in traced.operations)


@dataclass(slots=True, eq=False)
class _Stage:
    """An operation, the rows of its result, and who takes them."""

    operation: Operation
    rows: Rows
    total: int
    sources: list[fx.Node]
    takers: list[_Stage] = field(default_factory=list)
    in_place: bool = False  # may write over its input

    @property
    def node(self) -> fx.Node:
        return self.operation.node


class RowStream:
    """A forward pass in progress.

    Parameters
    ----------
    traced
        See `can_stream`; in evaluation mode.
    length
        Rows of the image, a multiple of the network's stride.
    axis
        Spatial axis that is streamed, from 0.
    layout
        Memory format of the bands.
    watch
        Whether to measure `peak`.

    Raises
    ------
    UnknownOperationError
        If an operation cannot be computed row by row.

    Examples
    --------
    >>> from napari_virtualstain.inference.operations import trace
    >>> convolution, pool = nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2)
    >>> net = nn.Sequential(convolution, pool, nn.Upsample(scale_factor=2))
    >>> image = torch.randn(1, 1, 12, 8)
    >>> stream = RowStream(trace(net), length=12)
    >>> with torch.inference_mode():
    ...     rows = [band for at in (0, 4, 8) for band in stream.push(image[:, :, at : at + 4])]
    ...     bool(torch.allclose(torch.cat(rows, dim=2), net(image), atol=1e-5))
    True
    """

    def __init__(
        self,
        traced: Traced,
        *,
        length: int,
        axis: int = 0,
        layout: torch.memory_format = torch.contiguous_format,
        watch: bool = False,
    ) -> None:
        if not can_stream(traced):
            raise UnknownOperationError("the network is not computed row by row")
        self._traced, self._axis, self._dim = traced, axis, axis + 2
        self._layout, self._watch = layout, watch
        self._input = Rows(self._dim)
        self._length = length
        self._stages: list[_Stage] = []
        self._by_node: dict[fx.Node, _Stage] = {}
        self._feeds: list[_Stage] = []  # that take the image itself
        self._constants = {
            node: _constant(traced.graph, str(node.target))
            for node in traced.graph.graph.nodes
            if node.op == "get_attr"
        }
        self.peak = 0
        """Most bytes held at once by what was computed so far, the operation at work included."""
        for operation in traced.operations:
            self._add(operation)

    def _add(self, operation: Operation) -> None:
        known = {self._traced.input, *self._by_node}
        sources = inputs_of(operation.node, dict.fromkeys(known))
        before = min(self._total(source) for source in sources)
        stage = _Stage(
            operation, Rows(self._dim), operation.rule.length(self._axis, before), sources
        )
        for source in sources:
            taken = self._by_node.get(source)
            (self._feeds if taken is None else taken.takers).append(stage)
        before_it = self._by_node.get(sources[0])
        stage.in_place = (
            type(operation.module) is nn.ReLU
            and before_it is not None
            and before_it.operation.rule.kind in {"window", "transposed"}  # its result is its own
            and len(sources[0].users) == 1
        )
        self._stages.append(stage)
        self._by_node[operation.node] = stage

    def _total(self, node: fx.Node) -> int:
        return self._length if node is self._traced.input else self._by_node[node].total

    def _rows(self, node: fx.Node) -> Rows:
        return self._input if node is self._traced.input else self._by_node[node].rows

    @property
    def done(self) -> int:
        """Rows of the result that were returned."""
        return self._rows(self._traced.output).high

    def push(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Take the next rows of the image and return the rows of the result that follow.

        Parameters
        ----------
        rows
            (1, C, *S), whole but along the streamed axis.

        Returns
        -------
        list of torch.Tensor
            (1, C', *S); none, or one.
        """
        self._input.append(rows)
        given: list[torch.Tensor] = []
        for stage in self._stages:
            before = stage.rows.high
            self._advance(stage)
            if stage.node is self._traced.output and stage.rows.high > before:
                given.append(stage.rows.view(before, stage.rows.high))
                self._let_go(stage.node)  # as far as no operation takes it too
            for source in stage.sources:
                self._let_go(source)
        if not self._stages:
            given.append(rows)
        return given

    def _advance(self, stage: _Stage) -> None:
        rule = stage.operation.rule
        known = min(self._rows(source).high for source in stage.sources)
        ended = all(self._rows(s).high == self._total(s) for s in stage.sources)
        stop = stage.total if ended else min(stage.total, rule.ready(self._axis, known))
        start = stage.rows.high
        if stop <= start:
            return
        if rule.kind == "join":
            computed = self._join(stage, start, stop)
        elif rule.kind == "pointwise":
            computed = self._point(stage, start, stop)
        else:
            # Some kernels return another layout, and the next would copy it to and fro.
            computed = self._window(stage, start, stop).contiguous(memory_format=self._layout)
        if self._watch:
            self._count(computed)
        if computed is not None:
            stage.rows.append(computed)

    # --- the kinds of operation -------------------------------------------------------------------

    def _window(self, stage: _Stage, start: int, stop: int) -> torch.Tensor:
        rule, axis, dim = stage.operation.rule, self._axis, self._dim
        (source,) = stage.sources
        total = self._total(source)
        low = rule.needs(axis, (start, start))[0]
        high = rule.needs(axis, (stop - 1, stop - 1))[1] + 1
        given = self._rows(source).view(max(low, 0), min(high, total))
        if rule.kind == "nearest":
            spread = self._call(stage, {source: given})
            return spread.narrow(dim, start - max(low, 0) * rule.stride[axis], stop - start)
        if rule.kind == "window":
            above, below = max(0, -low), max(0, high - total)
            if above or below:
                given = _pad(given, dim, above, below, rule.fill)
                given = given.contiguous(memory_format=self._layout)
            return _run_window(stage, given, axis)
        first = max(low, 0)
        offset = first * rule.stride[axis] - rule.padding[axis]
        spread = _run_transposed(stage, given, axis, at_end=high >= total)
        return spread.narrow(dim, start - offset, stop - start)

    def _point(self, stage: _Stage, start: int, stop: int) -> torch.Tensor | None:
        (source,) = stage.sources
        given = self._rows(source).view(start, stop)
        module = stage.operation.module
        if type(module) is nn.ReLU:
            room = self._room(stage, given.shape[1], start, stop, given)
            if room is not None:
                whole, place, low = room
                torch.clamp(given, min=0, out=place)
                stage.rows.join(whole, low)
                return None
            return given.relu_() if stage.in_place else given.relu()
        return self._call(stage, {source: given})

    def _join(self, stage: _Stage, start: int, stop: int) -> torch.Tensor | None:
        node = stage.node
        if node.target in _CATS:
            sources = [self._rows(source) for source in node.args[0]]  # type: ignore[union-attr, arg-type]
            pieces = [rows.view(start, start + 1) for rows in sources]
            channels = [piece.shape[1] for piece in pieces]
            room = self._room(stage, sum(channels), start, stop, pieces[0])
            if room is not None:
                whole, place, low = room
                at = 0
                for rows, count in zip(sources, channels, strict=True):
                    rows.copy_into(place.narrow(1, at, count), start, stop)
                    at += count
                stage.rows.join(whole, low)
                return None
        return self._call(
            stage, {source: self._rows(source).view(start, stop) for source in stage.sources}
        )

    def _call(self, stage: _Stage, given: dict[fx.Node, torch.Tensor]) -> torch.Tensor:
        """Compute an operation as the network does."""
        values = {**self._constants, **given}
        arguments = fx.node.map_arg(stage.node.args, values.__getitem__)
        keywords = fx.node.map_arg(stage.node.kwargs, values.__getitem__)
        function: Any = stage.operation.module or stage.node.target
        result: torch.Tensor = function(*arguments, **keywords)
        return result

    def _room(
        self, stage: _Stage, channels: int, start: int, stop: int, like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, int] | None:
        """Make room for new rows behind those left over, which are copied in front.

        Returns the whole, the place of the new rows, and the first row of the whole;
        `None` where joining costs nothing.
        """
        left = start - stage.rows.low
        if stage.node is self._traced.output or left > _FEW:
            return None
        if not left and not any(self._looks_back(taker) for taker in stage.takers):
            return None
        shape = list(like.shape)
        shape[1], shape[self._dim] = channels, left + stop - start
        whole = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=self._layout)
        if left:
            stage.rows.copy_into(whole.narrow(self._dim, 0, left), stage.rows.low, start)
        return whole, whole.narrow(self._dim, left, stop - start), stage.rows.low

    def _looks_back(self, taker: _Stage) -> bool:
        rule = taker.operation.rule
        return rule.kind == "window" and rule.kernel[self._axis] > rule.stride[self._axis]

    # --- what is kept -----------------------------------------------------------------------------

    def _let_go(self, node: fx.Node) -> None:
        takers = self._feeds if node is self._traced.input else self._by_node[node].takers
        rows = self._rows(node)
        wanted = [
            taker.operation.rule.needs(self._axis, (taker.rows.high, taker.rows.high))[0]
            if taker.rows.high < taker.total
            else rows.high
            for taker in takers
        ]
        rows.drop_before(max(0, min(wanted, default=rows.high)))

    def _count(self, computed: torch.Tensor | None) -> None:
        held = self._input.nbytes + sum(stage.rows.nbytes for stage in self._stages)
        self.peak = max(self.peak, held + (0 if computed is None else computed.nbytes))


def _run_window(stage: _Stage, given: torch.Tensor, axis: int) -> torch.Tensor:
    """Convolve, pool or pad rows whose border along the axis is there already."""
    rule, module = stage.operation.rule, stage.operation.module
    padding = tuple(0 if a == axis else p for a, p in enumerate(rule.padding))
    ndim = len(rule.kernel)
    result: torch.Tensor
    if module is None:  # what the network pads with, where no convolution does it
        sides = [
            n
            for a in reversed(range(ndim))
            for n in ((0, 0) if a == axis else (rule.padding[a], rule.padding[a] + rule.extra[a]))
        ]
        result = functional.pad(given, sides, value=rule.fill)
    elif isinstance(module, nn.PixelUnshuffle):
        result = module(given)
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        result = convolve(module, given, padding)
    elif isinstance(module, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d):
        pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[ndim - 1]
        result = pool(given, rule.kernel, rule.stride, padding, rule.dilation)
    elif isinstance(module, nn.AvgPool2d | nn.AvgPool3d):
        mean = functional.avg_pool2d if ndim == 2 else functional.avg_pool3d
        result = mean(
            given, rule.kernel, rule.stride, padding, divisor_override=module.divisor_override
        )
    else:
        result = functional.avg_pool1d(given, rule.kernel, rule.stride, padding)
    return result


def _run_transposed(stage: _Stage, given: torch.Tensor, axis: int, *, at_end: bool) -> torch.Tensor:
    """Spread rows, the border along the axis included."""
    rule, module = stage.operation.rule, stage.operation.module
    padding = tuple(0 if a == axis else p for a, p in enumerate(rule.padding))
    extra = tuple(e if at_end or a != axis else 0 for a, e in enumerate(rule.extra))
    part: Any = module
    return _SPREAD[len(rule.kernel)](
        given, part.weight, part.bias, rule.stride, padding, extra, part.groups, rule.dilation
    )


def _pad(rows: torch.Tensor, dim: int, above: int, below: int, fill: float) -> torch.Tensor:
    sides = [0, 0] * (rows.ndim - 1 - dim) + [above, below]
    return functional.pad(rows, sides, value=fill)


def _constant(graph: fx.GraphModule, name: str) -> torch.Tensor:
    value: Any = graph
    for part in name.split("."):
        value = getattr(value, part)
    tensor: torch.Tensor = value
    return tensor


def stream_bytes(
    traced: Traced, *, band: int, shape: Sequence[int], channels: int, axis: int = 0
) -> int:
    """Return the most bytes that a stream holds at once, found without computing.

    Parameters
    ----------
    traced
        See `can_stream`; on the meta device, where nothing is computed.
    band
        Rows that are pushed at a time.
    shape
        Of the image, spatial axes.
    channels
        Of the image.
    axis
        That is streamed.
    """
    length, dtype = shape[axis], next(traced.graph.parameters()).dtype
    stream = RowStream(traced, length=length, axis=axis, watch=True)
    with torch.inference_mode():
        for start in range(0, length, band):
            size = [1, channels, *shape]
            size[axis + 2] = min(band, length - start)
            stream.push(torch.empty(size, device="meta", dtype=dtype))
    return stream.peak
