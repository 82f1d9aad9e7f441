"""How does an ONNX graph run as a torch module? Through onnxruntime, on the processor.

The graph is data: onnxruntime knows the operations of the standard and nothing else, so that a
file of others can be run without running code of theirs.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from napari_virtualstain.errors import ModelPackageError, from_extra

__all__ = ["OnnxNetwork"]

_NEEDS = "An ONNX graph needs the extra [onnx] to run."
_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


class Port(NamedTuple):
    """What a graph takes or gives."""

    name: str
    shape: tuple[int | str | None, ...]
    type: str


class _Session:
    """A graph that is ready to run; copies of a network share it, since it never changes."""

    def __init__(self, content: bytes) -> None:
        onnxruntime = from_extra("onnxruntime", extra="onnx", needs=_NEEDS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # what a large tile took is given back
        try:
            self.session: Any = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # One exception a kind of fault, all of the C++ library.
            raise ModelPackageError(
                f"The ONNX graph cannot be run: {_first(error)}. Copy or download it again, or ask "
                "for one whose weights are inside the file and whose operations are standard."
            ) from error
        self.content = content
        self.inputs = [Port(p.name, tuple(p.shape), p.type) for p in self.session.get_inputs()]
        self.outputs = [Port(p.name, tuple(p.shape), p.type) for p in self.session.get_outputs()]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Session:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _Session, (self.content,)


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


class OnnxNetwork(nn.Module):
    """Map (B, C, *S) to (B, C', *S) with a graph, one picture of a batch after the other.

    Parameters
    ----------
    content
        Of an ``.onnx`` file whose weights are in it.

    Attributes
    ----------
    takes
        Lengths of the axes that the graph takes; a name or `None` where any does.
    metadata
        What its maker noted in the file.

    Raises
    ------
    MissingExtraError
        If onnxruntime is not installed.
    ModelPackageError
        If it is no graph with one input and one output of real numbers.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._graph = _Session(content)
        inputs, outputs = self._graph.inputs, self._graph.outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelPackageError(
                f"The ONNX graph takes {len(inputs)} pictures and gives {len(outputs)}; this "
                "version runs those that take one and give one. Import another model."
            )
        self._type = _TYPES.get(inputs[0].type)
        if self._type is None or outputs[0].type not in _TYPES:
            raise ModelPackageError(
                f"The ONNX graph takes {inputs[0].type} and gives {outputs[0].type}; this version "
                "runs graphs over real numbers. Import another model."
            )
        self.takes = inputs[0].shape
        self.metadata: dict[str, str] = dict(
            self._graph.session.get_modelmeta().custom_metadata_map
        )
        # Says on which device the network is said to be; the weights are in the graph.
        self.place = nn.Parameter(torch.zeros(0), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the graph; see the class for shapes."""
        if x.is_meta:
            return self._outline(x)
        given = (
            x.detach().to("cpu").to(torch.float64 if self._type is np.float64 else torch.float32)
        )
        name = self._graph.inputs[0].name
        found = [
            self._graph.session.run(None, {name: one[None].astype(self._type, copy=False)})[0]
            for one in np.ascontiguousarray(given.numpy())
        ]
        return torch.from_numpy(np.concatenate(found)).to(x.device, x.dtype)

    def _outline(self, x: torch.Tensor) -> torch.Tensor:
        """Hold as many bytes as running would, and give the shape that it would give."""
        shape, most = _held(self._graph.content, (1, *x.shape[1:]))
        beside = x.new_empty(most, dtype=torch.uint8)
        given = x.new_empty((x.shape[0], *shape[1:]))
        del beside
        return given


@lru_cache(maxsize=32)
def _held(content: bytes, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Return the shape of what comes out, and the most bytes that are alive on the way."""
    onnx = from_extra("onnx", extra="onnx", needs=_NEEDS)
    model = onnx.load_model_from_string(content)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for dim, length in zip(dims, shape, strict=True):
        dim.dim_value = length
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    sizes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    users = Counter(name for node in graph.node for name in node.input if name in sizes)
    alive, most = 0, 0
    for node in graph.node:
        alive += sum(_bytes(sizes[name]) for name in node.output if name in sizes)
        most = max(most, alive)
        for name in node.input:
            if name in users:
                users[name] -= 1
                alive -= _bytes(sizes[name]) if users[name] == 0 else 0
    return tuple(sizes[graph.output[0].name]), most


def _bytes(shape: list[int]) -> int:
    return 4 * int(np.prod(shape, dtype=np.int64))
