"""Which true stain is whose prediction? Fields that are open, put together by names of stains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtualstain.errors import ChannelError
from napari_virtualstain.napari_io.fields import Field

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["matched_layers", "matched_names"]


def matched_names(predicted: Field, true: Field) -> tuple[str, ...]:
    """Return PREDICTED=TRUE by the names of stains, where channels are named otherwise.

    Raises
    ------
    ChannelError
        If they have no stain in common.
    """
    channels = {stain.casefold(): channel for stain, channel in true.true_channels.items()}
    pairs = [
        (source.channel, channels[source.stain.casefold()])
        for _, source in predicted.with_role("prediction")
        if source.stain.casefold() in channels
    ]
    if not pairs:
        names = ", ".join(s.stain for _, s in true.with_role("truth"))
        wanted = ", ".join(s.stain for _, s in predicted.with_role("prediction"))
        raise ChannelError(
            f"None of the true stains ({names}) has the name of a predicted one ({wanted}). "
            "Name the true channels on the page Load."
        )
    return tuple(f"{a}={b}" for a, b in pairs)


def matched_layers(predicted: Field, true: Field) -> dict[str, tuple[Image, Image]]:
    """Return the layers of each predicted channel and of its truth."""
    truths = {s.stain.casefold(): layer for layer, s in true.with_role("truth")}
    return {
        source.channel: (layer, truths[source.stain.casefold()])
        for layer, source in predicted.with_role("prediction")
        if source.stain.casefold() in truths
    }
