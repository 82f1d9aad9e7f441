"""How do weights of others become an encoder of ours? Adapted, built, filled, and described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.encoders.base import Encoder
from napari_virtualstain.encoders.card import EncoderCard, EncoderChannel
from napari_virtualstain.encoders.importers.base import FoundEncoder
from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.intensity import Rule
from napari_virtualstain.io.origin import ImportedFrom, TrainingReport
from napari_virtualstain.nets.published import State, fill_weights

__all__ = ["Adapt", "StatedOfEncoder", "convert_encoder", "pictures_for_test"]

Adapt = Literal["repeat", "sum", "mean"]
"""How a network takes another number of channels than it was made for.

``repeat``: each channel by itself, as often as the network takes channels. ``sum``: the same
features, computed with the sum of the first layer over its channels. ``mean``: all channels
together, each with the mean of the first layer, scaled so that the sum of its weights stays.
"""
_RGB = 3
_EDGES = {2: (64, 64), 3: (16, 32, 32)}
"""Of the pictures of the test pair, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedOfEncoder:
    """What the user says of the weights of an encoder; nothing where nothing is said.

    Parameters
    ----------
    channels
        Names of the channels that it is given, in their order.
    classes
        Names of those that it tells apart, in the order of its scores.
    adapt
        See `Adapt`.
    pixel_size_um
        Of the images that it was trained on.
    normalise
        Kind of `intensity.Rule`, fitted on each picture.
    licence, citation
        Of the weights.
    """

    channels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    adapt: Adapt | None = None
    pixel_size_um: float | None = None
    normalise: str | None = None
    licence: str | None = None
    citation: str | None = None


def convert_encoder(
    found: FoundEncoder, stated: StatedOfEncoder, *, name: str, file: str, sha256: str
) -> tuple[EncoderCard, Encoder]:
    """Build the encoder that weights are of, and describe it.

    Parameters
    ----------
    found
        What was recognised.
    stated
        What the user says.
    name
        Of the encoder.
    file, sha256
        Where the weights come from, for the card.

    Raises
    ------
    SettingsError
        If something that a card needs is neither known nor stated, or does not fit.
    ModelPackageError
        If the weights are not those of the network that they look like, or are no numbers.
    """
    _check_classes(found, stated, file)
    per_channel = _each_by_itself(found, stated, file)
    in_channels, state, said = _adapted(found, stated, per_channel=per_channel)
    encoder = build_encoder(
        found.encoder, in_channels=in_channels, classes=found.classes,
        architecture=found.architecture,
    )  # fmt: skip
    fill_weights(encoder.module(), state, found.format)
    rule = found.input_rule
    if stated.normalise is not None:
        rule = Rule.model_validate({"kind": stated.normalise, "clip_sd": None})
    card = EncoderCard(
        name=name,
        title=found.title,
        encoder=found.encoder,
        architecture=found.architecture,
        in_channels=in_channels,
        per_channel=per_channel,
        channels=tuple(EncoderChannel(name=channel) for channel in stated.channels),
        normalisation=found.normalisation if stated.normalise is None else None,
        input_rule=rule,
        crop_px=found.crop_px,
        pixel_size_um=stated.pixel_size_um,
        label=found.label,
        classes=stated.classes,
        training=TrainingReport(
            recipe="imported", data=found.data, n_fields=0, n_validation_fields=0, steps=0, seed=0,
            loss="not known",
        ),
        limits=(
            *found.limits,
            *((found.grey_values,) if found.grey_values and stated.normalise is None else ()),
            *said,
            "Imported: it was neither trained nor examined here; judge it on your own pictures.",
        ),
        licence=stated.licence or "",
        citation=found.citation if stated.citation is None else stated.citation,
        imported=ImportedFrom(file=file, sha256=sha256, format=found.format),
    )  # fmt: skip
    return card, encoder


def pictures_for_test(encoder: Encoder) -> NDArray[np.float32]:
    """Return normalised pictures for the test pair of an encoder: (2, in_channels, *S)."""
    step = encoder.multiple_of
    edges = [-(-max(edge, encoder.smallest) // step) * step for edge in _EDGES[encoder.ndim]]
    shape = (2, encoder.in_channels, *edges)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _check_classes(found: FoundEncoder, stated: StatedOfEncoder, file: str) -> None:
    n, named = found.classes, stated.classes
    if not n and named:
        raise SettingsError(
            f"'{file}' looks like {found.format}, which tells no classes apart. Leave out "
            "--classes."
        )
    if n and not named:
        raise SettingsError(
            f"'{file}' looks like {found.format} and tells {n} classes apart, without saying "
            "which. Name them with --classes, in the order of its scores."
        )
    if n != len(set(named)) or len(set(named)) != len(named):
        raise SettingsError(
            f"'{file}' tells {n} classes apart, and --classes names {len(named)}. Name each once, "
            "in the order of its scores."
        )


def _each_by_itself(found: FoundEncoder, stated: StatedOfEncoder, file: str) -> bool:
    """Return whether channels go through one by one; refuse what is not clear."""
    takes, named = found.in_channels, stated.channels
    if len(set(named)) != len(named):
        raise SettingsError(f"--stains names one twice ({', '.join(named)}). Name each once.")
    if stated.adapt == "mean":
        if not named:
            raise SettingsError(
                "--adapt mean makes a network that takes several channels together. Name them "
                "with --stains, in their order."
            )
        return False
    if stated.adapt is not None or takes == 1 or found.repeated:
        return True
    if not named and takes == _RGB:
        return True  # made for photographs, and nobody says otherwise
    if not named:
        raise SettingsError(
            f"'{file}' looks like {found.format} and takes {takes} channels together, without "
            "saying which. Name them with --stains, in their order."
        )
    if len(named) != takes:
        raise SettingsError(
            f"'{file}' takes {takes} channels, and --stains names {len(named)} "
            f"({', '.join(named)}). Name {takes}, or say with --adapt how others go in: repeat or "
            "sum for each by itself, mean for all together."
        )
    return False


def _adapted(
    found: FoundEncoder, stated: StatedOfEncoder, *, per_channel: bool
) -> tuple[int, State, tuple[str, ...]]:
    """Return how many channels go in, the weights, and what to say of that."""
    takes, first = found.in_channels, found.state[found.first]
    if stated.adapt == "mean":
        n = len(stated.channels)
        mean = first.mean(dim=1, keepdim=True) * (takes / n)
        shape = (len(first), n, *first.shape[2:])
        state = {**found.state, found.first: mean.expand(shape).contiguous()}
        said = (
            f"Its first layer is the mean of that for {takes} channels, for each of {n} channels "
            f"times {takes}/{n}: it cannot tell them apart until it is trained further."
        )
        return n, state, (said,)
    if not per_channel or takes == 1:
        return takes, found.state, ()
    if stated.adapt == "sum":
        state = {**found.state, found.first: first.sum(dim=1, keepdim=True)}
        said = (
            f"Its first layer is the sum of that for {takes} channels: a channel is seen as if it "
            f"were given {takes} times."
        )
        return 1, state, (said,)
    return takes, found.state, (f"A channel is given to it {takes} times.",)
