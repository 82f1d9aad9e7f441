"""How alike are predicted and true stains, to a classifier that knows such stains.

A pixel loss asks whether each pixel is right, and a blurred picture is the best answer of whoever
is not sure. A classifier that has learnt to tell structures, or treatments, apart looks at texture
and shape: what it sees in a prediction is compared with what it sees in the truth
(`losses.perceptual`), as L. Venieri's thesis proposes (section 4.3). As a measure this is
`virtualstain evaluate --perceptual`, as something that training makes small
`virtualstain train --perceptual`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_virtualstain.encoders.base import Classifier
from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.encoders.given import channels_for
from napari_virtualstain.encoders.package import EncoderModel
from napari_virtualstain.encoders.registry import get_encoder_spec
from napari_virtualstain.errors import ChannelError, SettingsError
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.losses.perceptual import feature_distance

__all__ = [
    "Compared",
    "Perceptual",
    "PerceptualLoss",
    "check_judge",
    "judged_stains",
    "stored_normalisation",
]

Numbers = NDArray[np.float64]
_OVER = {2: "planes", 3: "volumes"}


def check_judge(card: EncoderCard, *, ndim: int | None, over: str) -> None:
    """Refuse an encoder that is none to judge by.

    Parameters
    ----------
    card
        Of the encoder.
    ndim
        Spatial axes of what it is to judge, `None` for any.
    over
        What that is, for the sentence, for example ``"this method predicts planes"``.

    Raises
    ------
    SettingsError
        If it tells no classes apart, or is over planes where volumes are judged, or the other way
        round.
    """
    if not card.classes:
        raise SettingsError(
            f"The encoder {card.name!r} tells no classes apart, and the features of a classifier "
            "are compared. Give --perceptual one that `virtualstain models` says to tell "
            "something apart."
        )
    spec = get_encoder_spec(card.encoder)
    if ndim is not None and spec.ndim != ndim:
        raise SettingsError(
            f"The encoder {card.name!r} sees {_OVER[spec.ndim]}, and {over}. Give --perceptual one "
            f"that sees {_OVER[ndim]}."
        )


def judged_stains(card: EncoderCard, stains: Sequence[str]) -> tuple[str, ...]:
    """Return which stains an encoder can judge, in the order in which it is given them.

    Raises
    ------
    ChannelError
        If it takes several together and one is missing, or knows none of them.
    """
    if not card.per_channel:
        return channels_for(card, stains)
    judged = tuple(name for name in stains if not card.channels or name in card.channel_names)
    if not judged:
        raise ChannelError(
            f"The encoder {card.name!r} was trained on {', '.join(card.channel_names)}, and none "
            f"of {', '.join(stains)} is among them. Give stains their names, or another encoder."
        )
    return judged


def stored_normalisation(card: EncoderCard, stain: str) -> Normalisation | None:
    """Return what normalises a stain in any picture, `None` where each has its own."""
    own = {channel.name: channel.normalisation for channel in card.channels}
    known = own.get(stain) or card.normalisation
    return Normalisation() if known is None and card.input_rule.kind == "none" else known


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """How pictures compare.

    Parameters
    ----------
    distance
        (B, J): of each picture and stain that is judged by itself, J = 1 where all are judged
        together; 0 where nothing is known.
    known
        (B, J): pixels that both pictures have.
    misplaced
        (B, J): of the truth from itself turned round, which has the right texture in the wrong
        places; `None` where it was not asked for.
    """

    distance: torch.Tensor
    known: torch.Tensor
    misplaced: torch.Tensor | None = None


class Perceptual:
    """Compare stains by the features of a classifier.

    Parameters
    ----------
    model
        The classifier; its weights never move.
    stains
        Names of the stains that pictures have, in order.

    Raises
    ------
    SettingsError, ChannelError
        If it is no classifier, or not of these stains.

    Notes
    -----
    An encoder that looks at single channels judges each stain by itself; one that takes several
    together is given all of them by name. Missing pixels (NaN) are zeros to it in both pictures,
    and positions count by the share of their pixels that is known.
    """

    def __init__(self, model: EncoderModel, stains: Sequence[str]) -> None:
        if not isinstance(model.encoder, Classifier):
            check_judge(model.card, ndim=None, over="")
            raise SettingsError(f"The encoder {model.card.name!r} has no features of scales.")
        self.card = model.card
        self.judged = judged_stains(model.card, stains)
        self._index = [list(stains).index(name) for name in self.judged]
        model.encoder.module().eval().requires_grad_(requires_grad=False)
        self._encoder = model.encoder
        self._on: dict[torch.device, Classifier] = {}
        self._lock = Lock()

    @property
    def together(self) -> bool:
        """Whether all stains are judged as one."""
        return not self.card.per_channel

    def compare(
        self, prediction: torch.Tensor, truth: torch.Tensor, *, misplaced: bool = False
    ) -> Compared:
        """Compare pictures; gradients pass to the prediction.

        Parameters
        ----------
        prediction, truth
            (B, stains, *S) float32 in the units of the encoder; NaN is missing.
        misplaced
            Whether to compare the truth with itself turned round, too.
        """
        chosen = [pixels[:, self._index] for pixels in (prediction, truth)]
        there = torch.isfinite(chosen[0]) & torch.isfinite(chosen[1])
        known = there.any(dim=1, keepdim=True) if self.together else there
        ours, theirs = (self._scales(torch.where(there, pixels, 0.0)) for pixels in chosen)
        # (B, J, *S) -> (B * J, 1, *S)
        counts = known.flatten(0, 1).unsqueeze(1).to(prediction.dtype)
        shape = known.shape[:2]
        turned = None
        if misplaced:
            axes = tuple(range(2, counts.ndim))
            flipped = [scale.flip(axes) for scale in theirs]
            turned = feature_distance(theirs, flipped, counts * counts.flip(axes)).reshape(shape)
        return Compared(
            distance=feature_distance(ours, theirs, counts).reshape(shape),
            known=known.flatten(2).sum(dim=2),
            misplaced=turned,
        )

    def numbers(
        self, prediction: NDArray[np.float32], truth: NDArray[np.float32], *, device: str
    ) -> tuple[Numbers, Numbers, Numbers]:
        """Return known pixels, distances and those of what is misplaced, (B, J) each.

        Parameters
        ----------
        prediction, truth
            (B, stains, *S) float32 in the units of the encoder; NaN is missing.
        device
            Where to compute.
        """
        with torch.inference_mode():
            given = (torch.from_numpy(pixels).to(device) for pixels in (prediction, truth))
            found = self.compare(*given, misplaced=True)
            assert found.misplaced is not None
            each = (found.known, found.distance, found.misplaced)
            known, distance, misplaced = (one.cpu().numpy().astype(np.float64) for one in each)
        return known, distance, misplaced

    def _scales(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return features of stains (B, J, *S), of each by itself (B * J, ...) or of all."""
        if not self.together:
            repeats = (1, self.card.in_channels, *(1,) * (pixels.ndim - 2))
            pixels = pixels.flatten(0, 1).unsqueeze(1).repeat(repeats)
        return self._there(pixels.device).scales(pixels)

    def _there(self, device: torch.device) -> Classifier:
        """Return the classifier on a device; several may ask at once."""
        with self._lock:
            if device not in self._on:
                self._on[device] = copy.deepcopy(self._encoder)
                module: nn.Module = self._on[device].module()
                module.to(device)
            return self._on[device]


class PerceptualLoss:
    """What makes predicted stains look true to a classifier, as a part of any training.

    Parameters
    ----------
    perceptual
        Who compares.
    stains
        Names, in the order of predictions.
    outputs
        What normalises each of them in the training; `None` where each field has its own.
    weight
        What the mean distance counts beside the loss of the method.

    Raises
    ------
    SettingsError
        If the encoder scales each picture by itself in another way than the training does.

    Notes
    -----
    Where the encoder has numbers for a stain that hold for all pictures, predictions are brought
    to grey values by those of the training, and from there to what it knows, limits included.
    Where it fits a z-score on each picture, which a patch has not got, or where each field of the
    training has its own numbers, stains are given as they are in the training: with mean 0 and SD 1
    over the training set, or over their field.

    A stain that is missing in a patch does not count in the mean, over patches and stains.
    """

    name = "perceptual"

    def __init__(
        self,
        perceptual: Perceptual,
        stains: Sequence[str],
        outputs: Sequence[Normalisation] | None,
        *,
        weight: float,
    ) -> None:
        self._perceptual, self._weight = perceptual, weight
        card = perceptual.card
        stored = {stain: stored_normalisation(card, stain) for stain in stains}
        unknown = any(stored[stain] is None for stain in perceptual.judged)
        if unknown and card.input_rule.kind != "zscore":
            raise SettingsError(
                f"The encoder {card.name!r} scales each picture by {card.input_rule.kind}, and in "
                "a training stains are normalised over all of them. Give --perceptual one that was "
                "trained with numbers of its whole training set."
            )
        firsts = [None] * len(stains) if outputs is None else outputs
        self._steps = [
            Normalisation() if own is None or first is None else _after(first, own)
            for own, first in zip(stored.values(), firsts, strict=True)
        ]

    def __call__(self, predicted: torch.Tensor, stains: torch.Tensor) -> torch.Tensor:
        """Return what is added to the loss; see `generators.learning.Further`."""
        found = self._perceptual.compare(self._seen(predicted), self._seen(stains))
        there = found.known > 0
        mean = torch.where(there, found.distance, 0.0).sum() / there.sum().clamp(min=1)
        return self._weight * mean

    def _seen(self, stains: torch.Tensor) -> torch.Tensor:
        """Bring stains (B, C, *S) of the training to the units of the encoder."""
        each = []
        for stain, step in zip(stains.unbind(dim=1), self._steps, strict=True):
            seen = (stain - step.offset) / step.scale
            if step.low is not None or step.high is not None:
                seen = seen.clamp(step.low, step.high)
            each.append(seen)
        return torch.stack(each, dim=1)


def _after(first: Normalisation, then: Normalisation) -> Normalisation:
    """Return what maps values that one normalised to what another makes of their grey values."""
    return Normalisation(
        offset=(then.offset - first.offset) / first.scale,
        scale=then.scale / first.scale,
        low=then.low,
        high=then.high,
    )
