"""How far does a network look that came as a graph and does not say so? It is measured once."""

from __future__ import annotations

from dataclasses import replace

from napari_virtualstain.generators.base import Graph
from napari_virtualstain.generators.importers.base import Found
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.inference.scan import measure_reach
from napari_virtualstain.inference.stack import as_planes

__all__ = ["with_reach"]

_EDGE = 256
"""Of the picture that is measured with, where the network takes any size."""
_FAR = (
    "It looks further around a pixel than could be measured ({halo} px): in tiles its stains are "
    "approximate."
)


def with_reach(found: Found) -> Found:
    """Measure how far a network looks along y and x, if nobody said so.

    Parameters
    ----------
    found
        What is being imported; as it is if it is no graph, or says it.
    """
    architecture = found.architecture
    if found.content is None or architecture["halo"] is not None:
        return found
    generator = build_generator(
        found.generator, in_channels=found.in_channels, out_channels=found.out_channels,
        architecture={**architecture, "halo": 0},
    )  # fmt: skip
    assert isinstance(generator, Graph)
    generator.open_graph(found.content)
    module = generator.module()
    *deep, (least, step), _ = architecture["sizes"]
    if deep:
        planes, more = deep[0]
        module = as_planes(module, depth=planes if more == 0 else planes + more)
    edge = least if step == 0 else max(_EDGE, least)
    halo = measure_reach(module, size=edge, stride=min(architecture["multiple_of"], edge)).halo[-1]
    limits = found.defaults.limits
    # A network of one size goes over a picture in windows, which must not be all border.
    if halo >= edge // 4 and (step == 0 or halo >= edge // 2 - architecture["multiple_of"]):
        halo = edge // 4 if step == 0 else halo
        limits = (*limits, _FAR.format(halo=halo))
    return replace(
        found, architecture={**architecture, "halo": halo},
        defaults=replace(found.defaults, limits=limits),
    )  # fmt: skip
