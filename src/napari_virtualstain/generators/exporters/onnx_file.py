"""What is a network as an ONNX graph, and does that compute the same? Both are run and compared.

The graph takes and gives what the network does: normalised planes in, normalised stains
out, of any size that its stride divides. What a graph cannot say lies in the metadata of its file,
under `CARD_KEY`: the model's card, and how far the network looks.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.errors import ModelPackageError, from_extra
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.nets.onnx_graph import OnnxNetwork

__all__ = ["CARD_KEY", "TOLERANCE", "check_graph", "graph_of"]

CARD_KEY = "napari-virtualstain"
"""Where graphs of ours keep what only we understand."""
TOLERANCE = 1e-4
"""Largest difference from the network, in standard deviations of its output."""
_NEEDS = "To export a model needs the extra [onnx]."
_AXES = {2: ("height", "width"), 3: ("depth", "height", "width")}


def graph_of(card: ModelCard, generator: Generator, *, halo: int, multiple_of: int) -> bytes:
    """Return the network of a model as an ONNX file.

    Parameters
    ----------
    card
        Of the model.
    generator
        Of one forward pass.
    halo, multiple_of
        How far the network looks along y and x, and its stride, in pixels. They are kept in
        the metadata of the file, with the card.

    Raises
    ------
    MissingExtraError
        If the libraries of ONNX are not installed.
    ModelPackageError
        If the network has an operation that ONNX has not.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        from_extra(module, extra="onnx", needs=_NEEDS)
    net = _plain(generator.module())
    # Other lengths an axis, and none of them 1: torch takes equal ones for the same number.
    names, stride = _AXES[generator.ndim], generator.multiple_of
    lengths = [stride * (2 + n) for n in range(generator.ndim)]
    free = {2 + n: stride * torch.export.Dim(name) for n, name in enumerate(names)}
    if generator.window is not None:
        lengths[0] = generator.window
        del free[2]
    example = torch.zeros(2, generator.in_channels, *lengths)
    try:
        with _silence():
            program: Any = torch.onnx.export(
                net, (example,), dynamo=True, verbose=False, external_data=False,
                input_names=["planes"], output_names=["stains"],
                dynamic_shapes=({0: torch.export.Dim("batch"), **free},),
            )  # fmt: skip
        proto = program.model_proto
    except Exception as error:
        # Whatever the exporter meets in a network.
        said = str(error).strip().splitlines()[0].rstrip(".")
        raise ModelPackageError(
            f"The network of {card.name!r} cannot be written as ONNX: {said}. Give away the model "
            "folder itself, and report this with the versions of torch and onnxscript."
        ) from error
    entry = proto.metadata_props.add()
    kept = {"card": card.model_dump(mode="json"), "halo": halo, "multiple_of": multiple_of}
    entry.key, entry.value = CARD_KEY, json.dumps(kept)
    content: bytes = proto.SerializeToString()
    return content


@contextmanager
def _silence() -> Iterator[None]:
    """Keep to ourselves what torch says of operations that no network here has."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _plain(module: nn.Module) -> nn.Module:
    """Return a copy for evaluation."""
    return copy.deepcopy(module).cpu().eval().requires_grad_(requires_grad=False)


def check_graph(graph: bytes, generator: Generator, planes: NDArray[np.float32]) -> float:
    """Compare a graph with its network, and return the largest difference.

    Parameters
    ----------
    graph
        As `graph_of` gives it.
    generator
        The network.
    planes
        Normalised (B, in_channels, *S).

    Returns
    -------
    float
        In standard deviations of the output.

    Raises
    ------
    ModelPackageError
        If they differ by more than `TOLERANCE`.
    """
    wanted = generator.predict(planes)
    found = OnnxNetwork(graph)(torch.from_numpy(planes)).numpy()
    difference = float(np.abs(found - wanted).max()) / max(float(wanted.std()), 1e-6)
    if not difference <= TOLERANCE:
        raise ModelPackageError(
            "The ONNX graph does not compute what the network does: they differ by "
            f"{difference:.2g} standard deviations of the stain (allowed {TOLERANCE:g}). Nothing "
            "was written; report this with the versions of torch, onnxscript and onnxruntime."
        )
    return difference
