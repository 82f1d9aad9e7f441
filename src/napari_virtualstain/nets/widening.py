"""How an autoencoder that was published for photographs takes and paints other channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from napari_virtualstain.errors import ModelPackageError

__all__ = ["Widening", "widen_channels"]

Widening = Literal["repeat", "mean", "zero"]
"""What channels beyond the published ones begin with; see `widen_channels`."""


def widen_channels(
    state: Mapping[str, torch.Tensor],
    in_channels: int,
    out_channels: int,
    *,
    how: Widening = "mean",
) -> dict[str, torch.Tensor]:
    """Return weights of an autoencoder for other numbers of channels.

    Only the first and the last convolution change; which channel is which is for training to find
    out.

    Parameters
    ----------
    state
        Of an `AutoencoderKL`, for example the published one of three channels; left as it is.
    in_channels, out_channels
        Wanted.
    how
        ``mean``: every channel has the mean of the published ones, so that grey photographs and
        stains that are all alike are coded as before. ``repeat``: the published ones in turn (0, 1,
        2, 0, 1, ...). ``zero``: the published ones as they are, and zero beyond, or only the first
        of them where fewer are wanted. With ``mean`` and ``repeat``, weights of the first
        convolution are scaled by published / wanted channels, so that features keep their size.

    Raises
    ------
    ModelPackageError
        If these are no weights of an autoencoder.
    """
    first, last, offset = (
        "encoder.conv_in.weight",
        "decoder.conv_out.weight",
        "decoder.conv_out.bias",
    )
    missing = [name for name in (first, last, offset) if name not in state]
    if missing:
        raise ModelPackageError(
            f"The weights have no '{missing[0]}', so they are not those of a KL autoencoder of "
            "latent diffusion. Choose its checkpoint."
        )
    found = dict(state)
    found[first] = _widened(state[first], 1, in_channels, how)
    if how != "zero":
        found[first] = found[first] * (state[first].shape[1] / in_channels)
    found[last] = _widened(state[last], 0, out_channels, how)
    found[offset] = _widened(state[offset], 0, out_channels, how)
    return found


def _widened(weight: torch.Tensor, dim: int, count: int, how: Widening) -> torch.Tensor:
    """Return a weight whose channels along an axis are another number."""
    have = weight.shape[dim]
    if how == "mean":
        return weight.mean(dim=dim, keepdim=True).repeat_interleave(count, dim=dim)
    taken = weight.index_select(dim, torch.arange(count, device=weight.device) % have)
    if how == "zero" and count > have:
        taken.narrow(dim, have, count - have).zero_()
    return taken
