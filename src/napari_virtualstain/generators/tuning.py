"""Which weights of a trained generator move, when it is tuned? Few, on a handful of images.

=============  ==============================================================
``quick``      the last layer, and what follows every normalisation
``adapter``    besides, a change of low rank of every other layer (LoRA)
``full``       all
``scratch``    all, of another network that knows nothing yet
=============  ==============================================================

Few images say little, and what may not move cannot be spoilt. An adapter is a change ``B A`` of a
layer's weights, of few ranks, that begins as nothing; when the tuning ends it is added to the
weights, so that the tuned model is a model like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import parametrize

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.base import Generator

__all__ = ["Tuned", "TuningPreset", "hold_weights", "tune_weights"]

TuningPreset = Literal["quick", "adapter", "full", "scratch"]

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm,
    nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What of a network moves.

    Parameters
    ----------
    moving, of
        Numbers that move, and that there are.
    finish
        Adds what was learnt beside the weights to them; the network is then as it was built.
    """

    moving: int
    of: int
    finish: Callable[[], None]


class _LowRank(nn.Module):
    """Adds a change of low rank to the weights of a layer.

    References
    ----------
    Hu et al. 2021, arXiv:2106.09685; of convolutions, over outputs and everything else.
    """

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        inner = torch.randn(rank, columns, generator=generator) / columns**0.5
        self.inner = nn.Parameter(inner.to(weight))
        self.outer = nn.Parameter(torch.zeros(rows, rank).to(weight))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + (self.outer @ self.inner).reshape(weight.shape)


def hold_weights(generator: Generator) -> Tuned:
    """Let nothing of a generator move."""
    module = generator.module().requires_grad_(False)
    return Tuned(
        moving=0, of=sum(weights.numel() for weights in module.parameters()), finish=lambda: None
    )


def tune_weights(
    generator: Generator, preset: TuningPreset, *, rank: int = 4, seed: int = 0
) -> Tuned:
    """Let some of the weights of a generator move, and hold all others.

    Parameters
    ----------
    generator
        Trained.
    preset
        See the table above.
    rank
        Of the change of a layer by an adapter.
    seed
        Decides where adapters begin.

    Raises
    ------
    SettingsError
        If the network has several parts of which one prepares for the other, as bridges do, and not
        all of it is to move; or if it cannot be trained.
    """
    module = generator.module()
    total = sum(weight.numel() for weight in module.parameters())
    if not total:
        raise SettingsError(
            "This model is a graph of another program, whose weights cannot be moved. Tune a model "
            "that was trained or imported here."
        )
    if preset in ("full", "scratch"):
        return Tuned(moving=total, of=total, finish=lambda: None)
    if getattr(generator, "rule", None) is not None:
        raise SettingsError(
            "A model that draws has no last layer that makes its stains, so that --preset "
            f"{preset} would move the wrong one. Use --preset full."
        )
    for weight in module.parameters():
        weight.requires_grad_(False)
    layers = [layer for layer in module.modules() if isinstance(layer, _LAYERS)]
    last = next(
        layer for layer in reversed(layers) if layer.weight.shape[0] % generator.out_channels == 0
    )
    for layer in (last, *(one for one in module.modules() if isinstance(one, _NORMS))):
        for weight in layer.parameters(recurse=False):
            weight.requires_grad_(True)
    changed: list[nn.Module] = []
    if preset == "adapter":
        draws = torch.Generator().manual_seed(seed)
        for layer in layers:
            if layer is not last:
                parametrize.register_parametrization(
                    layer, "weight", _LowRank(layer.weight, rank, draws)
                )
                changed.append(layer)

    def finish() -> None:
        for layer in changed:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        for weight in module.parameters():
            weight.requires_grad_(True)

    moving = sum(w.numel() for w in module.parameters() if w.requires_grad)
    return Tuned(moving=moving, of=total, finish=finish)
