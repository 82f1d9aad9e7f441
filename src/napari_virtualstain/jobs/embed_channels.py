"""Which channels of an image an encoder looks at, and which of its own they are."""

from __future__ import annotations

from collections.abc import Sequence

from napari_virtualstain.datasets.planes import choose_channel
from napari_virtualstain.datasets.stain_names import find_stain, parse_matches
from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.errors import ChannelError, did_you_mean
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.modality import modality_of

__all__ = ["channel_in", "channels_of"]


def channels_of(
    card: EncoderCard, asked: Sequence[str] | None, image: LazyImage
) -> tuple[str, ...]:
    """Return which channels are looked at, by the names that the encoder has for them.

    Parameters
    ----------
    card
        Of the encoder.
    asked
        For which; all of the encoder's if `None`, or of the image if it is of any channel.
    image
        The first that is looked at.

    Raises
    ------
    ChannelError
        If the encoder does not know one, or takes all of its own or none.
    """
    if asked is None:
        return card.channel_names or image.channel_names
    if not card.channels:
        return tuple(image.channel_names[image.channel_index(one)] for one in asked)
    known = {name.casefold() for name in card.channel_names}
    unknown = next((one for one in asked if one.casefold() not in known), None)
    if unknown is not None:
        raise ChannelError(
            f"The encoder {card.name!r} takes {card.takes_words}, and no {unknown!r}."
            f"{did_you_mean(unknown, card.channel_names)} Choose among these with --channels; what "
            "they are called in the images is said by --match."
        )
    chosen = {one.casefold() for one in asked}
    if not card.per_channel and chosen != known:
        raise ChannelError(
            f"The encoder {card.name!r} takes {card.takes_words}, and not {len(chosen)} of them. "
            "Leave out --channels."
        )
    return tuple(name for name in card.channel_names if name.casefold() in chosen)


def channel_in(image: LazyImage, wanted: str, *, card: EncoderCard, match: Sequence[str]) -> str:
    """Return what a channel of an encoder is called in an image.

    Parameters
    ----------
    image
        With any channels.
    wanted
        As the encoder calls it.
    card
        Of the encoder, for the message.
    match
        ``ENCODER=IMAGE`` names; else names that mean the same are found.

    Raises
    ------
    ChannelError
        If it is not there, or several could be it.
    """
    told, there = parse_matches(match), image.channel_names
    stain = find_stain(wanted, there, told=told)
    if stain is not None:
        return stain.channel
    if modality_of(wanted) == "transmitted" and wanted.casefold() not in told:
        chosen, _ = choose_channel(image, channel=None, like=wanted)
        if image.channels[image.channel_index(chosen)].modality != "fluorescence":
            return chosen
    named = told.get(wanted.casefold(), wanted)
    raise ChannelError(
        f"The encoder {card.name!r} takes {card.takes_words}, and there is no channel {named!r} "
        f"among {', '.join(there)}.{did_you_mean(named, there)} Name it with --match, for example "
        f"--match '{wanted}={there[0]}', or choose other images."
    )
