"""What an importer finds in a file of weights, and what is left to be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_virtualstain.generators.card import RELATIVE_UNIT, LabelKind, ModelCard
from napari_virtualstain.intensity import Rule
from napari_virtualstain.nets.published import State

if TYPE_CHECKING:
    from napari_virtualstain.nets.widening import Widening

__all__ = ["Defaults", "Found"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What is known of weights of a kind without being told; `None` where it has to be.

    Parameters
    ----------
    title
        For people.
    stains
        Names in the order in which they come out.
    channel
        The kind of light.
    pixel_size_um, z_step_um
        Of the training images.
    input_rule
        What normalises the bright field.
    unit
        Of what comes out.
    licence, citation, data
        Of the weights and of what they were trained on.
    limits
        Sentences for the card.
    """

    title: str = ""
    stains: tuple[str, ...] | None = None
    channel: str = "Brightfield"
    pixel_size_um: float | None = None
    z_step_um: float | None = None
    input_rule: Rule = field(default_factory=Rule)
    unit: str = RELATIVE_UNIT
    licence: str = ""
    citation: str = ""
    data: str = "not known"
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """A checkpoint that was recognised.

    Parameters
    ----------
    format
        What it looks like, for people.
    generator, architecture
        What it is built with here.
    in_channels, out_channels
        Planes (of a network over stacks: kinds of light) and stains.
    state
        Its weights, under the names of our network.
    widen
        Returns them for other numbers of planes and stains, and how (`None` as it does by itself):
        of a network that was not made for stains, which takes as many as are stated.
    volume
        Whether it takes stacks.
    steps
        Of its training, if it says so.
    content
        The file of a network that runs as it came; its ``state`` is empty.
    card
        Of the model that it was exported from, if it is one of ours.
    tensors
        Grey values (1, in_channels, *S) and what comes of them, if they came along.
    labels
        What it can be told of an image.
    defaults
        What is known of such weights.
    """

    format: str
    generator: str
    architecture: dict[str, Any]
    in_channels: int
    out_channels: int
    state: State
    widen: Callable[[int, int, Widening | None], State] | None = None
    volume: bool = False
    steps: int = 0
    content: bytes | None = None
    card: ModelCard | None = None
    tensors: tuple[NDArray[Any], NDArray[Any]] | None = None
    labels: tuple[LabelKind, ...] = ()
    defaults: Defaults = field(default_factory=Defaults)
