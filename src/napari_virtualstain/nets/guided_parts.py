"""What a guided diffusion network is made of, but for what looks at the whole image.

The blocks of P. Dhariwal and A. Nichol 2021, "Diffusion models beat GANs on image synthesis",
arXiv:2105.05233, as its code (openai/guided-diffusion, MIT) and those built on it have them:
Palette, class-guided image-to-image, the semantic diffusion model (SDM), latent diffusion and
Brownian bridges. Names of weights are theirs, so that their state dicts load with ``strict=True``.

Here is what looks as far as its kernels do; what looks everywhere is in `nets.guided_attention`.

Letters: B pictures, C channels, E numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import log
from typing import Literal, cast

import torch
from torch import nn

from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.nets.guided_attention import Attention, GroupNorm32
from napari_virtualstain.nets.spade import Spade

__all__ = [
    "Init",
    "ResBlock",
    "Step",
    "check_size",
    "check_widths",
    "embed_time",
    "embedded",
    "embedder",
    "encoder",
    "initialise",
    "run",
]

Init = Literal["zero", "kaiming"]
"""Weights before training.

``zero``: torch's own, but zero in the last convolution of each block, of each attention and of the
network, as in the paper's code: every block begins as what comes in. ``kaiming``: normal with
variance 2 / fan-in in all convolutions and linear layers, those too, and no biases. That is what
Palette and class-guided image-to-image were trained from: they call it on the finished network."""

Step = Literal["keep", "down", "up"]
"""What a block does to the size: nothing, mean of 2 x 2, or each pixel four times."""


def embed_time(time: torch.Tensor, size: int) -> torch.Tensor:
    """Return cosines, then sines, of a number at rates from 1 down to 1/10000, (B, size).

    Parameters
    ----------
    time
        (B,), a step t, or a noise level gamma from 0 to 1. Neither is scaled before, so that a
        noise level moves the slow half of the numbers hardly at all.
    size
        Even.
    """
    half = size // 2
    rates = torch.exp(-log(10000.0) / half * torch.arange(half, device=time.device))
    angles = time.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def embedder(width: int) -> nn.Sequential:
    """Return the layers from `embed_time` of ``width`` numbers to an embedding of four times."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))


def embedded(layers: nn.Sequential, time: torch.Tensor) -> torch.Tensor:
    """Return the embedding of times (B,) by the layers of `embedder`, in their precision."""
    first = cast(nn.Linear, layers[0])
    found = embed_time(time, first.in_features).to(first.weight.dtype)
    return cast(torch.Tensor, layers(found))


def initialise(net: nn.Module, last: Iterable[nn.Module], how: Init) -> None:
    """Give a network the weights of before training; see `Init`.

    Parameters
    ----------
    net
        Finished.
    last
        Its last convolution beside those of blocks and attentions.
    how
        See `Init`.
    """
    if how == "kaiming":
        for part in net.modules():
            if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        return
    ends = [part.last for part in net.modules() if isinstance(part, ResBlock | Attention)]
    for end in (*ends, *last):
        nn.init.zeros_(cast(torch.Tensor, end.weight))
        nn.init.zeros_(cast(torch.Tensor, end.bias))


class ResBlock(nn.Module):
    """Add to what comes in what two convolutions make of it, told the embedding between them.

    Maps (B, in_channels, Y, X) to (B, out_channels, Y', X'), given an embedding (B, E): behind the
    second norm, channels are scaled by 1 + a and shifted by b that a linear layer reads from it
    ("AdaGN", the paper's section 3).

    Parameters
    ----------
    in_channels, out_channels
        Before and after; where they differ what comes in goes through a 1 x 1 convolution.
    embedding
        E.
    groups
        Of the norms.
    dropout
        Share of numbers dropped in front of the second convolution.
    step
        See `Step`; between norm and first convolution, and of what is added to.
    map_channels
        If not `None`, both norms are SPADE (`nets.spade`), as in W. Wang et al. 2022,
        arXiv:2207.00050: group norm without parameters, then a scale and an offset at each pixel,
        which two convolutions read from a map. The embedding's scale and shift come behind it.
    map_hidden
        Channels between these two; 128 in the paper.
    level
        How often the map has been halved to have the size of what comes in.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding: int,
        *,
        groups: int = 32,
        dropout: float = 0.0,
        step: Step = "keep",
        map_channels: int | None = None,
        map_hidden: int = 128,
        level: int = 0,
    ) -> None:
        super().__init__()
        self._spade = map_channels is not None
        self._levels = (level, level + {"keep": 0, "down": 1, "up": -1}[step])
        first = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        last = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.resize = _RESIZE[step]()
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out_channels))
        self.skip_connection: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.skip_connection = nn.Conv2d(in_channels, out_channels, 1)
        if map_channels is None:
            norms: list[nn.Module] = [GroupNorm32(groups, n) for n in (in_channels, out_channels)]
            self.in_layers = nn.Sequential(norms[0], nn.SiLU(), first)
            self.out_layers = nn.Sequential(norms[1], nn.SiLU(), nn.Dropout(dropout), last)
        else:
            bare = [GroupNorm32(groups, n, affine=False) for n in (in_channels, out_channels)]
            self.in_norm = Spade(in_channels, map_channels, hidden=map_hidden, norm=bare[0])
            self.in_layers = nn.Sequential(nn.SiLU(), first)
            self.out_norm = Spade(out_channels, map_channels, hidden=map_hidden, norm=bare[1])
            self.out_layers = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), last)
        self._scale: torch.Tensor | None
        self._shift: torch.Tensor | None
        self.register_buffer("_scale", None, persistent=False)
        self.register_buffer("_shift", None, persistent=False)

    @property
    def last(self) -> nn.Module:
        """The convolution that begins at zero."""
        return self.out_layers[-1]

    def fix(self, embedding: torch.Tensor) -> None:
        """Keep the scale and shift of an embedding (1, E), which `forward` need not be told."""
        self._scale, self._shift = (part.detach() for part in self._read(embedding))

    def _read(self, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale, shift = self.emb_layers(embedding)[..., None, None].chunk(2, dim=1)
        return 1 + scale, shift

    def forward(
        self, x: torch.Tensor, embedding: torch.Tensor | None, maps: Sequence[torch.Tensor] = ()
    ) -> torch.Tensor:
        """Convolve; see the class for shapes. Maps are at each size, from the finest."""
        before, after = self._levels
        h = self.in_norm(x, maps[before]) if self._spade else self.in_layers[0](x)
        h = self.in_layers[-1](self.resize(self.in_layers[-2](h)))
        h = self.out_norm(h, maps[after]) if self._spade else self.out_layers[0](h)
        if self._scale is not None and self._shift is not None:
            scale, shift = self._scale, self._shift
        else:
            scale, shift = self._read(cast(torch.Tensor, embedding))
        h = h * scale + shift
        for layer in list(self.out_layers)[-3:]:
            h = layer(h)
        return cast(torch.Tensor, self.skip_connection(self.resize(x)) + h)


def run(
    layers: nn.ModuleList,
    x: torch.Tensor,
    embedding: torch.Tensor | None,
    maps: Sequence[torch.Tensor] = (),
) -> torch.Tensor:
    """Go through layers, of which blocks alone are told embedding and maps."""
    for layer in layers:
        x = layer(x, embedding, maps) if isinstance(layer, ResBlock) else layer(x)
    return x


def encoder(
    in_channels: int,
    widths: Sequence[int],
    blocks: int,
    *,
    block: Callable[..., ResBlock],
    attend: Callable[[int], Attention],
    attention: Sequence[int],
) -> tuple[nn.ModuleList, list[int]]:
    """Return the layers of a network on the way down, and the channels behind each.

    Parameters
    ----------
    in_channels
        Of the pictures.
    widths
        Channels of each size, from the finest.
    blocks
        Of each size.
    block, attend
        Make a block of channels before and after, and an attention of channels.
    attention
        Behind the blocks of which sizes, as how many pixels of the picture are one along an axis.
    """
    layers = nn.ModuleList([nn.ModuleList([nn.Conv2d(in_channels, widths[0], 3, padding=1)])])
    channels = [widths[0]]
    for level, width in enumerate(widths):
        if level:
            layers.append(nn.ModuleList([block(channels[-1], channels[-1], step="down")]))
            channels.append(channels[-1])
        for _ in range(blocks):
            stage = nn.ModuleList([block(channels[-1], width)])
            if 2**level in attention:
                stage.append(attend(width))
            layers.append(stage)
            channels.append(width)
    return layers, channels


def check_widths(widths: Sequence[int], *, groups: int, head_channels: int) -> None:
    """Refuse numbers of channels that are not made of groups and heads.

    Raises
    ------
    SettingsError
        If one is not.
    """
    if any(width % groups or width % head_channels for width in widths):
        raise SettingsError(
            f"Channels {', '.join(map(str, widths))} are not all made of {groups} groups and of "
            f"heads of {head_channels}. Choose a width that is a multiple of both."
        )


def check_size(x: torch.Tensor, multiple_of: int) -> None:
    """Refuse pictures that cannot be halved as often as a network does.

    Raises
    ------
    PixelDataError
        If an edge of (B, C, Y, X) is no multiple.
    """
    height, width = x.shape[2:]
    if height % multiple_of or width % multiple_of or not height or not width:
        raise PixelDataError(
            f"The network halves its input until {multiple_of} px become one, and {height} x "
            f"{width} px cannot be halved so. Pad or crop both edges to multiples of "
            f"{multiple_of} px."
        )


_RESIZE: dict[Step, Callable[[], nn.Module]] = {
    "keep": nn.Identity,
    "down": lambda: nn.AvgPool2d(2),
    "up": lambda: nn.Upsample(scale_factor=2),
}
