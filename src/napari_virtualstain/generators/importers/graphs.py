"""Networks of others that run as they came: an ONNX file, or a TorchScript file.

Such a file says how many planes go in and, sometimes, which sizes; what it leaves open is tried
with zeros. It does not say what it stains, from what and at which pixel size: a bioimage.io
package around it does (`importers.bioimageio`), an ONNX file that we wrote holds its card, and
otherwise it has to be stated.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from napari_virtualstain.errors import (
    MissingInputError,
    ModelPackageError,
    VirtualStainError,
    parse_json,
)
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.exporters.onnx_file import CARD_KEY
from napari_virtualstain.generators.graphs import GraphGenerator
from napari_virtualstain.generators.importers.base import Defaults, Found
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.nets.onnx_graph import OnnxNetwork

__all__ = ["Described", "found_graph", "is_torchscript", "read_graph"]

_FORMATS = {"onnx": "ONNX graph", "torchscript": "TorchScript module"}
_STRIDES = (32, 64, 128)
"""That are tried where nothing is said of sizes."""
_UNIT = "as the network gives it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What is said of a network beside its file; `None` where nothing is.

    Parameters
    ----------
    sizes
        By axis, see `napari_virtualstain.nets.any_size.AnySize`.
    in_channels
        Planes; of a network over stacks, kinds of light.
    halo
        How far it looks along y and x, in pixels.
    before, after
        Steps before and after it, see `AnySize`.
    complete
        Whether these are all of them.
    defaults
        For the card.
    """

    sizes: tuple[tuple[int, int], ...] | None = None
    in_channels: int | None = None
    halo: int | None = None
    before: tuple[Any, ...] = ()
    after: tuple[Any, ...] = ()
    complete: bool = True
    defaults: Defaults = field(default_factory=lambda: Defaults(unit=_UNIT))


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a program of torch and not weights by name."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
    return any("/code/" in n for n in names) and any(n.endswith("/constants.pkl") for n in names)


def read_graph(path: Path) -> Found:
    """Read an ONNX or TorchScript file, which is run once to see what comes out.

    Raises
    ------
    MissingInputError
        If it is not there.
    ModelPackageError
        If it is no network over planes or stacks.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no file '{path}'. Give the file that is to be imported.")
    kind = "onnx" if path.suffix.lower() == ".onnx" else "torchscript"
    content = path.read_bytes()
    return found_graph(kind, content, Described())


def found_graph(kind: str, content: bytes, described: Described) -> Found:
    """Find out what was not said of a network, by running it on zeros.

    Parameters
    ----------
    kind
        A key of `registry.GRAPHS`.
    content
        Of its file; that of a TorchScript module runs.
    described
        What is known; what an export of ours says of itself counts more.

    Raises
    ------
    ModelPackageError
        If it cannot be run, or does not give pictures of the size that it takes.
    """
    probe = _opened(kind, content, ((1, 1), (1, 1)), 1)
    assert probe.opened is not None
    card, described = _own(probe.opened, described)
    takes: tuple[int | str | None, ...] = probe.opened.takes
    if len(takes) not in {0, 4, 5}:
        raise ModelPackageError(
            f"The {_FORMATS[kind]} takes {len(takes)} axes; this version runs networks over planes "
            "(batch, channel, y, x) or stacks (batch, channel, z, y, x). Import another model."
        )
    channels = described.in_channels or (takes[1] if len(takes) > 1 else None)
    if not isinstance(channels, int):
        raise ModelPackageError(
            f"The {_FORMATS[kind]} does not say how many planes it takes. Import the bioimage.io "
            "package that it belongs to, or ask for a file with a fixed number."
        )
    if described.sizes is not None:
        choices: Sequence[tuple[tuple[int, int], ...]] = [described.sizes]
    else:
        spatial = takes[2:] or (None, None)
        choices = [
            tuple((n, 0) if isinstance(n, int) else (stride, stride) for n in spatial)
            for stride in _STRIDES
        ]
    sizes, out = _first_that_runs(kind, content, choices, channels)
    stride = gcd(*(step or gcd(least, _STRIDES[0]) for least, step in sizes[-2:]))
    return Found(
        format=_FORMATS[kind],
        generator=kind,
        architecture={
            "sizes": [list(size) for size in sizes], "halo": described.halo,
            "multiple_of": stride, "before": [list(s) for s in described.before],
            "after": [list(s) for s in described.after],
        },
        in_channels=channels,
        out_channels=out,
        state={},
        content=content,
        card=card,
        volume=len(sizes) == len("zyx"),
        defaults=described.defaults,
    )  # fmt: skip


def _opened(
    kind: str, content: bytes, sizes: Sequence[Sequence[int]], channels: int
) -> GraphGenerator:
    generator = build_generator(
        kind, in_channels=channels, out_channels=1,
        architecture={"sizes": sizes, "halo": 0, "multiple_of": 1},
    )  # fmt: skip
    assert isinstance(generator, GraphGenerator)
    generator.open_graph(content)
    return generator


def _first_that_runs(
    kind: str, content: bytes, choices: Sequence[tuple[tuple[int, int], ...]], channels: int
) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return the first sizes that go through the network, and how many stains come out."""
    said = ""
    for sizes in choices:
        lengths = [least + step for least, step in sizes]
        try:
            stains = _opened(kind, content, sizes, channels).predict(
                np.zeros((1, channels, *lengths), np.float32)
            )
        except VirtualStainError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever a network of others does)
            said = said or str(error).strip().splitlines()[0].rstrip(".")
            continue
        if stains.ndim != 2 + len(sizes) or stains.shape[2:] != tuple(lengths):
            raise ModelPackageError(
                f"The {_FORMATS[kind]} makes {stains.shape[2:]} of {tuple(lengths)} pixels; this "
                "version runs networks whose stains have the size of their planes. Import another "
                "model."
            )
        return sizes, int(stains.shape[1])
    raise ModelPackageError(
        f"The {_FORMATS[kind]} does not run on pictures of {lengths[-1]} px: {said}. Import the "
        "bioimage.io package that it belongs to, which says what sizes it takes."
    )


def _own(network: nn.Module, described: Described) -> tuple[ModelCard | None, Described]:
    """Return what an export of ours keeps beside its graph, nothing of others'."""
    if not isinstance(network, OnnxNetwork) or CARD_KEY not in network.metadata:
        return None, described
    try:
        kept = parse_json(network.metadata[CARD_KEY])
        card, stride = ModelCard.model_validate(kept["card"]), int(kept["multiple_of"])
        window = None if card.volume is None else card.volume.window
        sizes = [(stride, stride)] * (2 if card.volume is None else 3)
        if window is not None:
            sizes[0] = (window, 0)
        own = Described(sizes=tuple(sizes), in_channels=len(card.inputs), halo=int(kept["halo"]))
    except (ValueError, KeyError, TypeError):
        return None, described  # of another version: as a graph of others
    return card, own
