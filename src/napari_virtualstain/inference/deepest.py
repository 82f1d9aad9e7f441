"""What does a network make of a patch? Its deepest features, pooled.

A network is asked for the features of its last convolution at the coarsest resolution, where one
of them stands for most of the picture, and their mean over the patch is kept. A network that does
not change resolution is asked where it has most features. What draws in many steps is asked at its
first step, where there is nothing yet but the planes: without noise, or with what a bridge begins
from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.base import Generator, Graph
from napari_virtualstain.generators.sampled import SampledGenerator, Sampling

__all__ = ["Depth", "PatchReader", "coarsest", "depths_in", "patch_reader"]

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_EDGE = 64
"""Of a patch in pixels, at least."""
_DEEP = 16
"""Planes of a stack that are looked at, at most."""
_TOGETHER = 1 << 18
"""Pixels of the patches that go through the network together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """A layer that can be looked at.

    Parameters
    ----------
    layer
        Its name in the network.
    shrink
        Pixels of the input along an edge that one of its own stands for.
    channels
        Features.
    """

    layer: str
    shrink: float
    channels: int

    def words(self) -> str:
        """Say it."""
        return f"{self.layer}: {self.channels} features, each of {self.shrink:g} px"


def depths_in(module: nn.Module, run: Callable[[], Any], width: int) -> tuple[Depth, ...]:
    """Return the last convolution before each change of resolution, in the order of computing.

    Parameters
    ----------
    module
        The network.
    run
        Lets it compute a picture.
    width
        Of that picture in pixels.
    """
    seen: list[Depth] = []

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _given: Any, found: torch.Tensor) -> None:
            depth = Depth(layer=name, shrink=width / found.shape[-1], channels=found.shape[1])
            if seen and seen[-1].shrink == depth.shrink:
                seen[-1] = depth
            else:
                seen.append(depth)

        return hook

    hooks = [
        part.register_forward_hook(note(name))
        for name, part in module.named_modules()
        if isinstance(part, _CONVOLUTIONS)
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(seen)


def coarsest(depths: Sequence[Depth]) -> Depth:
    """Return the coarsest depth; of several that are as coarse, that with most features."""
    return max(depths, key=lambda depth: (depth.shrink, depth.channels))


class _Seen(Exception):  # noqa: N818 (an answer, and no mistake)
    """The features are there: the rest of the network need not be computed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchReader:
    """Reads patches by the deepest features of a generator.

    Parameters
    ----------
    generator
        With weights, as it is asked for stains.
    layer
        Name of the layer.
    features
        How many numbers a patch has.
    shape
        Of a patch in pixels: (Y, X), or (Z, Y, X).
    """

    generator: Generator
    layer: str
    features: int
    shape: tuple[int, ...]

    @property
    def edge(self) -> int:
        """Of a patch along y and x, in pixels of the network."""
        return self.shape[-1]

    def read(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network makes of patches.

        Parameters
        ----------
        patches
            Normalised (N, P, *S), S as `shape` says.

        Returns
        -------
        numpy.ndarray
            (N, features) float32.
        """
        together = max(1, _TOGETHER // int(np.prod(self.shape)))
        found = [
            self._features(patches[start : start + together])
            for start in range(0, len(patches), together)
        ]
        if not found:
            return np.zeros((0, self.features), np.float32)
        return np.concatenate(found)

    def _features(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        kept: list[torch.Tensor] = []

        def hook(_module: nn.Module, _given: Any, found: torch.Tensor) -> None:
            kept.append(found.detach().float().mean(dim=tuple(range(2, found.ndim))))
            raise _Seen

        part = dict(self.generator.module().named_modules())[self.layer]
        handle = part.register_forward_hook(hook)
        try:
            _asked(self.generator, patches)()
        except _Seen:
            pass
        finally:
            handle.remove()
        features: NDArray[np.float32] = kept[0].cpu().numpy()
        return features


def patch_reader(generator: Generator, *, depth: int | None = None) -> PatchReader:
    """Return what reads patches by the deepest features of a generator.

    Parameters
    ----------
    generator
        With weights.
    depth
        Planes of the stacks, of a generator over volumes.

    Raises
    ------
    SettingsError
        If its network came as a graph, which shows no features; or a stack is too thin.
    """
    if isinstance(generator, Graph):
        raise SettingsError(
            "This model came as a graph that runs in another library and shows no features, so "
            "that nothing can be compared with its training images. Use a model of this program, "
            "or look at `virtualstain passport`."
        )
    # Others may stain with the network meanwhile, and what is asked here ends in its midst.
    generator = copy.deepcopy(generator)
    shape = _patch(generator, depth)
    example = np.zeros((1, generator.in_channels, *shape), np.float32)
    run = _asked(generator, example)
    depths = depths_in(generator.module(), run, shape[-1])
    if not depths:
        raise SettingsError(
            "The network of this model has no convolution, so that it has no deepest features. "
            "Look at `virtualstain passport` instead."
        )
    chosen = coarsest(depths)
    return PatchReader(
        generator=generator, layer=chosen.layer, features=chosen.channels, shape=shape
    )


def _patch(generator: Generator, depth: int | None) -> tuple[int, ...]:
    step = generator.multiple_of
    edge = -(-_EDGE // step) * step
    if generator.ndim == 2:
        return (edge, edge)
    if generator.window is not None:
        return (generator.window, edge, edge)
    deep = min(depth or _DEEP, max(_DEEP, step)) // step * step
    if not deep:
        raise SettingsError(
            f"The stack has {depth} planes, and the network makes one of {step}. Give a deeper "
            "stack."
        )
    return (deep, edge, edge)


def _asked(generator: Generator, patches: NDArray[np.float32]) -> Callable[[], Any]:
    """Return what lets the network see patches; of what draws, its first step without noise."""
    if not isinstance(generator, SampledGenerator):
        return lambda: generator.predict(patches)
    module, how = generator.module().eval(), Sampling()
    device = next(module.parameters()).device
    with torch.inference_mode():
        given = generator.given(torch.from_numpy(np.ascontiguousarray(patches)).to(device))
    time = generator.rule(how).prepare(0)

    def first_step() -> Any:
        if generator.begins_with is not None:
            x = given[:, generator.begins_with]
        else:
            x = given.new_zeros((len(given), generator.x_channels, *given.shape[2:]))
        with torch.inference_mode():
            return generator.denoise(x, given, time, how)

    return first_step
