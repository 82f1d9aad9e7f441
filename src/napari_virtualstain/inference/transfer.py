"""How pixels get to a graphics card and back, so that the card waits for no processor.

Tiles go there as the file has them (16 bit is half the bytes of float32), from memory
that the card reads by itself, and are normalised there with the arithmetic of
`Normalisation.apply`: in double precision, to the same bits. Results come back
while the next tiles are computed; whoever wants one waits for it.

A processor has nothing to gain from it, and Apple's graphics have no double precision:
there pixels are normalised in the thread that reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from napari_virtualstain.intensity import Normalisation

__all__ = ["Grey", "Returning", "Stains", "arrived", "normalised", "stacked", "to_host_tensor"]

_TYPES = {
    "b1": torch.bool,
    "u1": torch.uint8, "u2": torch.uint16, "u4": torch.uint32, "u8": torch.uint64,
    "i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64,
    "f2": torch.float16, "f4": torch.float32, "f8": torch.float64,
}  # fmt: skip


def to_host_tensor(pixels: NDArray[Any]) -> torch.Tensor:
    """Copy pixels of any type, byte order and layout to where a graphics card reads them.

    Without a card that is any memory. What torch has no type for becomes float64.
    """
    kind = f"{pixels.dtype.kind}{pixels.dtype.itemsize}"
    host = torch.empty(
        pixels.shape,
        dtype=_TYPES.get(kind, torch.float64),
        pin_memory=torch.cuda.is_available(),
    )
    host.numpy()[...] = pixels
    return host


def normalised(pixels: torch.Tensor, norm: Normalisation) -> torch.Tensor:
    """Do what `Normalisation.apply` does, on the device where the pixels are, to the same bits.

    Only a zero at a limit of 0 may have either sign, there and here.

    Parameters
    ----------
    pixels
        Grey values of any type and shape, on a device with double precision.
    norm
        What to apply.
    """

    # Numbers as tensors of the device: CUDA divides by any other as it multiplies by 1 / x.
    def number(value: float) -> torch.Tensor:
        return torch.full((), value, dtype=torch.float64, device=pixels.device)

    scaled = pixels.to(torch.float64)
    scaled = (scaled - number(norm.offset)) / number(norm.scale)
    if norm.low is not None or norm.high is not None:
        scaled = scaled.clamp(norm.low, norm.high)  # NaN stays
    return scaled.to(torch.float32)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Grey:
    """Pixels of a tile as the file has them, and what makes them what a network takes.

    Parameters
    ----------
    pixels
        (P, *S), of the part of the tile that lies in the image; see `to_host_tensor`.
    norms
        One a plane.
    shape
        (C, *S) of what the network is given, with zeros beyond the image. Planes are
        channels, or the first spatial axis of one channel.
    """

    pixels: torch.Tensor
    norms: tuple[Normalisation, ...]
    shape: tuple[int, ...]

    def put(self, target: torch.Tensor) -> None:
        """Write the normalised pixels into a tensor of zeros (C, *S) of any type and device."""
        planes = target if target.ndim == self.pixels.ndim else target[0]
        # Over the bus at once, and converted one by one: in double precision they are large.
        there = self.pixels.to(target.device, non_blocking=True)
        for plane, pixels, norm in zip(planes, there, self.norms, strict=False):
            plane[tuple(slice(n) for n in pixels.shape)] = normalised(pixels, norm)


@dataclass(frozen=True, slots=True, eq=False)
class Returning:
    """Numbers on their way back from a graphics card.

    Parameters
    ----------
    values
        In memory of the processor; complete after the event.
    event
        The end of the copy.
    """

    values: torch.Tensor
    event: Any

    @classmethod
    def of(cls, values: torch.Tensor) -> Returning | NDArray[np.float32]:
        """Begin to bring a tensor back as float32; it is there at once if it was never away."""
        planes = values.to(torch.float32).contiguous(memory_format=torch.contiguous_format)
        if planes.device.type != "cuda":
            return cast("NDArray[np.float32]", planes.cpu().numpy())
        host = torch.empty(planes.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(planes, non_blocking=True)
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(planes.device))
        return cls(host, event)

    def wait(self) -> NDArray[np.float32]:
        """Return the numbers once they are there."""
        self.event.synchronize()
        return cast("NDArray[np.float32]", self.values.numpy())


Stains = NDArray[np.float32] | Returning
"""What a network gives: there already, or on its way."""


def arrived(stains: Stains) -> NDArray[np.float32]:
    """Return stains as numbers, which may take a moment."""
    return stains.wait() if isinstance(stains, Returning) else stains


def stacked(
    tiles: Sequence[Grey], *, device: torch.device, dtype: torch.dtype, layout: torch.memory_format
) -> torch.Tensor:
    """Return tiles of one size as (B, C, *S), normalised on a device, zeros beyond the image."""
    batch = torch.zeros((len(tiles), *tiles[0].shape), dtype=dtype, device=device)
    for index, tile in enumerate(tiles):
        tile.put(batch[index])
    return batch.contiguous(memory_format=layout)
