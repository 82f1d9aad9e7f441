"""ViT: a transformer over patches of a picture, whose attention can be looked at.

The small vision transformer of DINO, Caron et al. 2021, "Emerging Properties in
Self-Supervised Vision Transformers", arXiv:2104.14294, after Dosovitskiy et al. 2021,
arXiv:2010.11929: pre-norm blocks, one token for the whole picture before those of its
patches, learnt positions. Names of weights are those of DINO's code, which timm has too,
so that published state dicts load with ``strict=True``.

Letters: B pictures, C channels, N patches, D features, H heads, d = D / H.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, sqrt
from typing import Literal, cast

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Positions", "VisionTransformer"]

Positions = Literal["dino", "timm"]
"""How learnt positions are brought to another grid of patches: as DINO does it, or as timm does."""
_EPS = 1e-6
_HELD_BYTES = 1 << 26
"""Of the rows of a matrix of attention that are in memory at a time."""


class _Attention(nn.Module):
    """Every token asks all others."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def _asked(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # (B, N, 3D) -> 3 x (B, H, N, d)
        parts = torch.unflatten(self.qkv(x), 2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        return query, key, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Without the matrix of all pairs, which of a field of 1024 x 1024 px would take 6 GB.
        found = functional.scaled_dot_product_attention(*self._asked(x))
        return cast(torch.Tensor, self.proj(found.transpose(1, 2).flatten(2)))

    def rows(self, x: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Return to what some tokens attend, (B, H, rows, N), each row summing to 1."""
        query, key, _ = self._asked(x)
        query = query[:, :, list(rows)] * query.shape[-1] ** -0.5
        weights: torch.Tensor = (query @ key.transpose(2, 3)).softmax(dim=-1)
        return weights

    def passed_back(self, x: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Return shares (B, R, N) of tokens, handed on to the tokens that each attends to.

        That is ``shares @ A``, with A the matrix of all pairs, its heads averaged, of which only
        some rows are held at a time.
        """
        query, key, _ = self._asked(x)
        query = query * query.shape[-1] ** -0.5
        batch, heads, n, _ = key.shape
        some = max(1, _HELD_BYTES // (4 * batch * heads * n))
        found = torch.zeros_like(shares)
        for start in range(0, n, some):
            rows = slice(start, start + some)
            weights = (query[:, :, rows] @ key.transpose(2, 3)).softmax(dim=-1).mean(dim=1)
            found += shares[:, :, rows] @ weights
        return found


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.fc2(functional.gelu(self.fc1(x))))


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.attn = _Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = _Mlp(dim, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return cast(torch.Tensor, x + self.mlp(self.norm2(x)))


class _PatchEmbed(nn.Module):
    """One token a patch: a convolution that does not overlap."""

    def __init__(self, in_channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, patch, stride=patch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.proj(x))


class VisionTransformer(nn.Module):
    """Map pictures (B, C, Y, X) to features (B, D) of the whole picture.

    Parameters
    ----------
    in_channels
        Of the pictures.
    patch
        Edge of a patch in pixels; Y and X must be multiples of it.
    dim, depth, heads
        Features of a token, blocks, and heads of each.
    image
        Edge of the pictures whose positions are learnt, in pixels; others interpolate them.
    positions
        How; see `Positions`. DINO asks for a tenth of a patch more than there is, without
        anti-aliasing; timm for the exact size, with it. At ``image`` both are the same, at
        256 x 320 px features differ by some 2e-3.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     small = VisionTransformer(3), VisionTransformer(5)
    >>> [sum(p.numel() for p in net.parameters()) for net in small]
    [21670272, 21719424]
    """

    def __init__(
        self,
        in_channels: int,
        *,
        patch: int = 8,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        image: int = 224,
        positions: Positions = "dino",
    ) -> None:
        super().__init__()
        if dim % heads or image % patch:
            raise ValueError(f"{dim} features in {heads} heads, {image} px in patches of {patch}")
        self.patch, self.dim, self.heads, self._how = patch, dim, heads, positions
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (image // patch) ** 2, dim))
        self.patch_embed = _PatchEmbed(in_channels, dim, patch)
        self.blocks = nn.ModuleList(_Block(dim, heads, 4 * dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=_EPS)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        # What DINO has at 384 features. In a narrower network the same number would leave the
        # picture's token nearly blind to the picture, and there is nothing to learn from.
        std = 0.02 * sqrt(384 / dim)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=std)
                nn.init.zeros_(module.bias)

    def grid(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return rows and columns of patches of a picture (Y, X).

        Raises
        ------
        ValueError
            If an edge is no multiple of the patch.
        """
        height, width = shape
        if height % self.patch or width % self.patch or not height or not width:
            raise ValueError(f"{height} x {width} px are not made of patches of {self.patch} px")
        return height // self.patch, width // self.patch

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Return what goes into the blocks, (B, 1 + N, D): the picture's token, then patches."""
        rows, columns = self.grid(x.shape[2:])
        patches = self.patch_embed(x).flatten(2).transpose(1, 2)
        whole = self.cls_token.expand(len(x), -1, -1)
        return torch.cat([whole, patches], dim=1) + self._positions(rows, columns)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised token of the picture."""
        x = self.tokens(x)
        for block in self.blocks:
            x = block(x)
        return cast(torch.Tensor, self.norm(x[:, 0]))

    def attention(
        self, x: torch.Tensor, *, block: int = -1, rows: Sequence[int] = (0,)
    ) -> torch.Tensor:
        """Return to what tokens attend in a block.

        Parameters
        ----------
        x
            Pictures (B, C, Y, X).
        block
            Which, from 0; negative from the last.
        rows
            Tokens that ask: 0 is the picture's own, 1 + n the n-th patch, row by row.

        Returns
        -------
        torch.Tensor
            (B, H, len(rows), 1 + N), each row summing to 1; only these rows are computed.
        """
        chosen = range(len(self.blocks))[block]
        x = self.tokens(x)
        for before in self.blocks[:chosen]:
            x = before(x)
        last = cast(_Block, self.blocks[chosen])
        return last.attn.rows(last.norm1(x), rows)

    def rollout(self, x: torch.Tensor, *, rows: Sequence[int] = (0,)) -> torch.Tensor:
        """Return from which tokens of the picture some tokens come, through all blocks.

        Attention rollout, Abnar & Zuidema 2020, arXiv:2005.00928: the product of all blocks'
        matrices, their heads averaged, each with half of the identity for what goes past it. It is
        taken from the left, row by row, so that no matrix of all pairs is ever held.

        Parameters
        ----------
        x
            Pictures (B, C, Y, X).
        rows
            See `attention`.

        Returns
        -------
        torch.Tensor
            (B, len(rows), 1 + N), each row summing to 1.
        """
        x = self.tokens(x)
        seen = []
        for block in self.blocks:
            seen.append(cast(_Block, block).norm1(x))
            if len(seen) < len(self.blocks):
                x = block(x)
        shares = x.new_zeros(len(x), len(rows), x.shape[1])
        shares[:, range(len(rows)), list(rows)] = 1
        for block, given in zip(reversed(self.blocks), reversed(seen), strict=True):
            shares = (shares + cast(_Block, block).attn.passed_back(given, shares)) / 2
        return shares

    def _positions(self, rows: int, columns: int) -> torch.Tensor:
        learnt = self.pos_embed
        edge = isqrt(learnt.shape[1] - 1)
        if (rows, columns) == (edge, edge):
            return learnt
        grid = torch.unflatten(learnt[:, 1:], 1, (edge, edge)).permute(0, 3, 1, 2)
        if self._how == "dino":
            # The tenth keeps the size from being rounded down.
            scale = ((rows + 0.1) / edge, (columns + 0.1) / edge)
            grid = functional.interpolate(grid, scale_factor=scale, mode="bicubic")
        else:
            grid = functional.interpolate(
                grid, size=(rows, columns), mode="bicubic", antialias=True
            )
        return torch.cat([learnt[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
