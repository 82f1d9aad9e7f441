"""What an encoder is given of an image: which channels, normalised how, alone or together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.errors import ChannelError, did_you_mean
from napari_virtualstain.intensity import Normalisation, PixelStatistics

__all__ = ["channels_for", "normalisations_for", "pictures_for", "repeated"]


def channels_for(card: EncoderCard, names: Sequence[str]) -> tuple[str, ...]:
    """Return which channels of an image an encoder is given, in its order.

    Parameters
    ----------
    card
        Of the encoder.
    names
        Channels that the image has.

    Raises
    ------
    ChannelError
        If one that it was trained on is missing.
    """
    wanted = card.channel_names or tuple(names)
    for name in wanted:
        if name not in names:
            raise ChannelError(
                f"The encoder {card.name!r} was trained on {', '.join(wanted)}, and there is no "
                f"channel {name!r} among {', '.join(names)}.{did_you_mean(name, list(names))} "
                "Give images with these channels, or another encoder."
            )
    return wanted


def normalisations_for(
    card: EncoderCard, names: Sequence[str], statistics: Sequence[PixelStatistics]
) -> tuple[Normalisation, ...]:
    """Return what normalises each channel of an image.

    Parameters
    ----------
    card
        Of the encoder.
    names
        Of the channels, as `channels_for` gives them.
    statistics
        Of each over the whole image, with the quantiles of the card's rule; looked at only where
        no normalisation is stored.

    Raises
    ------
    PixelDataError
        If the rule cannot be fitted, for example on a constant channel.
    """
    stored = {channel.name: channel.normalisation for channel in card.channels}
    found = []
    for name, seen in zip(names, statistics, strict=True):
        known = stored.get(name) or card.normalisation
        found.append(known or card.input_rule.fit(seen, what=f"Channel {name!r}"))
    return tuple(found)


def pictures_for(card: EncoderCard, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the pictures of an encoder that show channels.

    Parameters
    ----------
    card
        Of the encoder.
    pixels
        Normalised channels (C, *S), in its order.

    Returns
    -------
    numpy.ndarray
        (C, in_channels, *S) where each goes through by itself, else (1, C, *S).
    """
    if not card.per_channel:
        return pixels[None]
    return repeated(pixels[:, None], card.in_channels)


def repeated(pictures: NDArray[np.float32], in_channels: int) -> NDArray[np.float32]:
    """Return pictures (N, 1 or in_channels, *S) with as many channels as an encoder takes."""
    if pictures.shape[1] == in_channels:
        return pictures
    return np.repeat(pictures, in_channels, axis=1)
