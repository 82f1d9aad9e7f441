"""What predicts the tiles of a run: one network, or one with the statistics of each time point."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.generators.sampled import SampledGenerator, Sampling
from napari_virtualstain.inference.network import Network, prepare_network
from napari_virtualstain.inference.norms import (
    LayerStatistics,
    exact_statistics,
    joint_statistics,
    patches_over,
    with_statistics,
)
from napari_virtualstain.inference.sampled import SampledStainer
from napari_virtualstain.inference.source import PlanesSource, Source, padded
from napari_virtualstain.inference.stack import StackNetwork, stack_network
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.inference.views import seen_from_all_sides
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.jobs.prepare import CHUNK, PreparedStain
from napari_virtualstain.tiling.plan import plan_tiles

__all__ = ["measure_layers", "stainer_of"]

_CORE = {2: CHUNK, 3: CHUNK // 4}
"""Edge of the tiles of a pass over the whole image, in pixels."""


def stainer_of(
    prepared: PreparedStain,
    inputs: tuple[tuple[Normalisation, ...], ...],
    *,
    seed: int = 0,
    on_layer: Callable[[int, int], None] | None = None,
    on_step: Callable[[str], None] | None = None,
    layers: Callable[[int], dict[str, LayerStatistics]] | None = None,
) -> Stainer:
    """Return what predicts the tiles of a run.

    Parameters
    ----------
    prepared
        The run.
    inputs
        Normalisation by time point, then plane.
    seed
        Of what is drawn.
    on_layer
        Told of layers whose statistics are measured in passes of their own.
    on_step
        Told what a model that draws does differently when memory runs out.
    layers
        By time point: statistics that were measured before, where they are needed.
    """
    source = PlanesSource(planes=prepared.planes, inputs=inputs)
    predicted = prepared.predicted.card.stains
    # Of a stack, the planes of the first stain come first, then those of the second.
    outputs = tuple(stain.normalisation for stain in predicted for _ in range(prepared.depth or 1))

    def same(t: int) -> Network:
        del t
        return prepared.network

    # Two, since the next time point is read while the last tiles of the one before are computed.
    @lru_cache(maxsize=2)
    def of_time(t: int) -> Network:
        known = _measured(prepared, inputs, t, on_layer) if layers is None else layers(t)
        module, planned = prepared.model.generator.module(), prepared.network
        stack = planned if isinstance(planned, StackNetwork) else None
        fixed = with_statistics(module, known, stack.inner.ndim if stack else planned.ndim)
        ready = seen_from_all_sides(
            prepare_network(fixed, device=prepared.device, precision=planned.precision),
            prepared.views,
        )
        if stack is None:
            return ready
        return stack_network(ready, depth=stack.depth, windows=stack.windows)

    if prepared.sampling is not None:
        return SampledStainer(
            network=same, source=source, outputs=outputs, ratios=prepared.ratios,
            generator=_generator_on(prepared), how=Sampling(
                sampler=prepared.sampling.sampler, steps=prepared.sampling.steps,
                labels=prepared.sampling.labels, guidance=prepared.sampling.guidance,
            ),
            seed=seed, draws=prepared.sampling.draws, statistics=prepared.statistics,
            budget=prepared.budget, on_step=on_step, intervals=prepared.intervals,
        )  # fmt: skip
    held = prepared.statistics in {"frozen", "exact"}
    return Stainer(
        network=of_time if held else same, source=source, outputs=outputs, ratios=prepared.ratios,
        planned=prepared.network, intervals=prepared.intervals,
    )  # fmt: skip


def _generator_on(prepared: PreparedStain) -> SampledGenerator:
    """Return the generator where it computes: that of the processor is shared by all runs."""
    generator = cast(SampledGenerator, prepared.model.generator)
    if prepared.device == "cpu":
        return generator
    moved = copy.deepcopy(generator)
    moved.module().to(prepared.device)
    return moved


def measure_layers(
    prepared: PreparedStain, inputs: tuple[tuple[Normalisation, ...], ...], t: int
) -> dict[str, LayerStatistics]:
    """Return the statistics of one time point that `stainer_of` would measure by itself.

    Parameters
    ----------
    prepared
        A run whose statistics are frozen or exact.
    inputs
        As of `stainer_of`.
    t
        Time point.
    """
    return _measured(prepared, inputs, t, None)


def _measured(
    prepared: PreparedStain,
    inputs: tuple[tuple[Normalisation, ...], ...],
    t: int,
    on_layer: Callable[[int, int], None] | None,
) -> dict[str, LayerStatistics]:
    """Measure what takes the place of the network's own normalisation, from one image."""
    module, planned = prepared.model.generator.module(), prepared.network
    volume = isinstance(planned, StackNetwork)
    source = PlanesSource(planes=prepared.planes, inputs=inputs, volume=volume)
    planned = planned.inner if isinstance(planned, StackNetwork) else planned
    if prepared.statistics == "exact":
        return exact_statistics(
            module,
            lambda: _tiles(source, t, planned),
            device=prepared.device,
            on_layer=on_layer,
        )
    return joint_statistics(
        module, _patches(source, t, planned, prepared.budget), device=prepared.device
    )


def _tiles(
    source: Source, t: int, network: Network
) -> Iterator[tuple[NDArray[np.float32], Sequence[slice]]]:
    """Yield tiles of the padded image, with what each has of its own."""
    stride, reach = network.reach.multiple_of, network.reach
    shape = tuple(-(-n // s) * s for n, s in zip(source.shape, stride, strict=True))
    core = [-(-_CORE[len(shape)] // s) * s for s in stride]
    for tile in plan_tiles(shape, core=core, halo=reach.halo, multiple_of=stride):
        yield padded(source, t, tile.read)[None], tile.keep


def _patches(source: Source, t: int, network: Network, budget: int) -> NDArray[np.float32]:
    """Return patches spread over the image, as many as memory allows: (N, C, *S)."""
    regions = patches_over(
        source.shape, network.reach.multiple_of, bytes_of=network.forward_bytes, budget=budget
    )
    return np.stack([padded(source, t, region) for region in regions])
