"""The parts of a guided diffusion network that look at the whole image.

Of `nets.guided_parts`, which has the source and the rest. A tile with a halo is the middle of the
whole image

===============  =====================================  ===========================================
part             names of its weights                   if
===============  =====================================  ===========================================
`GroupNorm32`                                           its statistics are those of the whole image
                                                        (`inference.norms`)
`Attention`      ``norm, qkv, proj_out``                never: tiles are an approximation
`AttentionPool`  ``positional_embedding, qkv_proj,      there are no tiles: one answer a picture
                 c_proj``
===============  =====================================  ===========================================

Letters: B pictures, C channels, N pixels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Asked", "Attention", "AttentionPool", "GroupNorm32", "SelfAttention"]

Asked = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Questions, keys and values."""


class GroupNorm32(nn.GroupNorm):
    """Group norm that computes in float32, whatever it is given."""

    # Its graph is not looked into, as that of torch's own norm is not. It does look at all
    # pixels: `inference.operations.NORMS` has it among what normalises by the whole image.
    pointwise = True

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (torch's name)
        """Normalise (B, C, *S)."""
        weight, bias = (self.weight.float(), self.bias.float()) if self.affine else (None, None)
        found = functional.group_norm(input.float(), self.num_groups, weight, bias, self.eps)
        return found.to(input.dtype)


class SelfAttention(nn.Module):
    """What lets each pixel of (B, C, *S) ask all others, in heads; `explain.inside` looks at it."""

    def asked(self, x: torch.Tensor) -> Asked:
        """Return questions, keys and values, each (B, heads, N, C / heads).

        The attention of pixel i is softmax(questions[i] . keys / sqrt(C / heads)).
        """
        raise NotImplementedError


class Attention(SelfAttention):
    """Add to each pixel of (B, C, *S) what all others answer it, in several heads.

    No halo makes a tile the middle of the whole image here.

    Parameters
    ----------
    channels
        C.
    heads
        A divisor of C. The 3 C numbers that are read of a pixel are question, key and value of the
        first head, then those of the second: the order that the code names legacy, in which all
        systems named above were published.
    groups
        Of the norm.
    """

    def __init__(self, channels: int, heads: int, *, groups: int = 32) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm32(groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    @property
    def last(self) -> nn.Module:
        """The convolution that begins at zero."""
        return self.proj_out

    def asked(self, x: torch.Tensor) -> Asked:
        """Return questions, keys and values; see `SelfAttention`."""
        asked = self.qkv(self.norm(x).flatten(2)).transpose(1, 2)  # (B, N, 3C)
        parts = asked.unflatten(2, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        query, key, value = parts.unbind(0)
        return query, key, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Ask; see the class for shapes."""
        found = functional.scaled_dot_product_attention(*self.asked(x))  # (B, heads, N, C/heads)
        joined = found.transpose(2, 3).flatten(1, 2)
        return cast(torch.Tensor, x + self.proj_out(joined).reshape(x.shape))


class AttentionPool(nn.Module):
    """Let the mean of (B, C, Y, X) ask all its pixels, with learnt positions: (B, out_channels).

    Parameters
    ----------
    channels, out_channels
        Before and after.
    heads
        A divisor of C. Questions of all heads come first here, then keys, then values.
    edge
        Y and X, which positions are learnt of; no other size is taken.
    """

    def __init__(self, channels: int, out_channels: int, *, heads: int, edge: int) -> None:
        super().__init__()
        self.heads = heads
        positions = torch.randn(channels, edge**2 + 1) / channels**0.5
        self.positional_embedding = nn.Parameter(positions)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Ask; see the class for shapes."""
        x = x.flatten(2)
        x = torch.cat([x.mean(dim=2, keepdim=True), x], dim=2) + self.positional_embedding
        parts = self.qkv_proj(x).unflatten(1, (3, self.heads, -1)).transpose(3, 4)
        query, key, value = parts.unbind(1)  # each (B, heads, 1 + N, C/heads)
        found = functional.scaled_dot_product_attention(query[:, :, :1], key, value)
        return cast(torch.Tensor, self.c_proj(found.transpose(2, 3).flatten(1, 2))[..., 0])
