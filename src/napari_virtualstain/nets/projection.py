"""Where DINO compares two views: features projected onto very many prototypes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Projection"]


class _Prototypes(nn.Module):
    """A linear layer whose rows have the length ``weight_g``, and the direction of ``weight_v``."""

    def __init__(self, dim: int, count: int, *, fixed_length: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(count, 1), requires_grad=not fixed_length)
        self.weight_v = nn.Parameter(torch.empty(count, dim))
        nn.init.trunc_normal_(self.weight_v, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        direction = self.weight_v / self.weight_v.norm(dim=1, keepdim=True)
        return functional.linear(x, self.weight_g * direction)


class Projection(nn.Module):
    """Map features (B, D) to scores (B, prototypes).

    Three layers to a bottleneck, its length made 1, then a linear layer of normalised weights;
    Caron et al. 2021, arXiv:2104.14294, section 3.1 and appendix C. Weights have the names of
    DINO's code, without their prefix ``head.``.

    Parameters
    ----------
    dim
        Features.
    prototypes
        Scores.
    hidden, bottleneck
        Widths of the layers between.
    fixed_length
        Whether all prototypes keep the length 1, as DINO has it.
    batch_norm
        Whether the layers between are normalised over the batch, an option of DINO's code. Without
        it, pictures that look much alike begin with scores that are all but equal, and a short
        training of a small network ends where it began.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     head = Projection(384)
    >>> sum(p.numel() for p in head.parameters())
    22352128
    """

    def __init__(
        self,
        dim: int,
        prototypes: int = 65536,
        *,
        hidden: int = 2048,
        bottleneck: int = 256,
        fixed_length: bool = True,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (dim, hidden):
            layers.append(nn.Linear(width, hidden))
            layers += [nn.BatchNorm1d(hidden)] if batch_norm else []
            layers.append(nn.GELU())
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        self.last_layer = _Prototypes(bottleneck, prototypes, fixed_length=fixed_length)
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores; see the class."""
        scores: torch.Tensor = self.last_layer(functional.normalize(self.mlp(x), dim=-1))
        return scores
