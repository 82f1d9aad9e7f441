"""The guided U-Net at one time of a diffusion: what can be read for halos, norms and tiles."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from napari_virtualstain.nets.guided_attention import Attention
from napari_virtualstain.nets.guided_parts import ResBlock
from napari_virtualstain.nets.guided_unet import GuidedUNet

__all__ = ["GuidedStep"]


class _Channels(nn.Module):
    """Take some channels of a picture, in an order."""

    pointwise = True

    def __init__(self, *parts: slice) -> None:
        super().__init__()
        self._parts = parts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, part] for part in self._parts], dim=1)


class GuidedStep(nn.Module):
    """A `GuidedUNet` at one time and with one set of labels, as a network of one input.

    What reads a network's graph (its halo, its norms) wants one that maps (B, C, Y, X) to
    (B, C', Y, X). This one takes (B, map_channels + in_channels, Y, X), the map first where there
    is one; and of all that depends on time and labels it keeps a scale and a shift a channel. It
    shares the weights of the network, and does not follow when those of the embeddings change.

    Parameters
    ----------
    net
        Left as it is.
    time, labels
        Of one picture: see `GuidedUNet.embed`.
    takes
        Which channels of what it is given the network sees, one part behind the other; all, in
        their order, if `None`. Not of a network with a map.
    in_channels
        Of what it is given, where it does not take all.
    """

    def __init__(
        self,
        net: GuidedUNet,
        time: float,
        labels: Sequence[int] | None = None,
        *,
        takes: Sequence[slice] | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        # A copy of all but the weights.
        self.net = copy.deepcopy(net, {id(p): p for p in net.parameters()})
        device = next(net.parameters()).device
        with torch.no_grad():
            given = None if labels is None else torch.tensor([labels], device=device)
            embedding = net.embed(torch.tensor([time], device=device), given)
            for part in self.net.modules():
                if isinstance(part, ResBlock):
                    part.fix(embedding)
        maps = net.map_channels or 0
        self.in_channels, self.spatial_axes = in_channels or maps + net.in_channels, 2
        self.map: _Channels | None = _Channels(slice(0, maps)) if maps else None
        takes = [slice(maps, self.in_channels)] if maps else takes
        self.noisy: nn.Module = _Channels(*takes) if takes else nn.Identity()
        attends = any(isinstance(part, Attention) for part in net.modules())
        self.approximate_reach = (net.local_reach, net.multiple_of) if attends else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict; see the class for shapes."""
        return self.net.through(self.noisy(x), None, None if self.map is None else self.map(x))
