"""What an importer finds in a file of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from napari_virtualstain.intensity import Normalisation, Rule
from napari_virtualstain.nets.published import State

__all__ = ["FoundEncoder", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundEncoder:
    """A checkpoint of an encoder that was recognised.

    Parameters
    ----------
    format
        What it looks like, for people.
    encoder, architecture
        What it is built with here.
    in_channels
        That go in at once.
    state
        Its weights, under the names of our network.
    first
        Name of the weights of its first layer, (out, in_channels, *kernel).
    crop_px
        Edges of the crops that it is to see.
    classes
        How many it tells apart.
    repeated
        Whether its makers gave it single channels, repeated to as many as it takes.
    title
        For people.
    normalisation
        Of any channel, as published; `None` where `input_rule` is fitted on each picture.
    input_rule
        See `encoders.card.EncoderCard`.
    label
        What taught it.
    data
        It was trained on.
    citation
        Of its method.
    limits
        Sentences for the card.
    grey_values
        Another one, of how they are normalised unless somebody states it.
    """

    format: str
    encoder: str
    architecture: dict[str, Any]
    in_channels: int
    state: State
    first: str
    crop_px: tuple[int, ...]
    classes: int = 0
    repeated: bool = False
    title: str = ""
    normalisation: Normalisation | None = None
    input_rule: Rule = field(default_factory=Rule)
    label: str = ""
    data: str = "not known"
    citation: str = ""
    limits: tuple[str, ...] = ()
    grey_values: str = ""


def plain(state: State, prefixes: Sequence[str], without: str = "") -> State:
    """Return the weights of a network without what is in front of their names.

    Parameters
    ----------
    state
        By name.
    prefixes
        Taken off one after the other, where some names have them; names without are dropped.
    without
        Names that begin with this are dropped.
    """
    for prefix in prefixes:
        if any(name.startswith(prefix) for name in state):
            state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return {k: v for k, v in state.items() if not (without and k.startswith(without))}
