"""Which encoder judges stains? Looked at before any picture is read."""

from __future__ import annotations

from collections.abc import Sequence

from napari_virtualstain.encoders.package import EncoderModel, read_encoder_card
from napari_virtualstain.encoders.perceptual import (
    Perceptual,
    PerceptualLoss,
    check_judge,
    judged_stains,
)
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.training.settings import LoopSettings
from napari_virtualstain.zoo import find_encoder, load_encoder

__all__ = ["check_term", "judge_for", "term_for"]


def judge_for(name: str, stains: Sequence[str], *, ndim: int | None, over: str) -> EncoderModel:
    """Load an encoder that is to judge stains.

    Parameters
    ----------
    name
        Of the encoder, or its path.
    stains
        Names of those that there are; none if they are not known yet.
    ndim, over
        See `encoders.perceptual.check_judge`.

    Raises
    ------
    VirtualStainError
        If there is none, or it cannot judge these.
    """
    card = read_encoder_card(find_encoder(name))
    check_judge(card, ndim=ndim, over=over)
    if stains:
        judged_stains(card, stains)
    return load_encoder(name)


def check_term(name: str, patch: Sequence[int], stains: Sequence[str] = ()) -> EncoderModel:
    """Return the encoder of ``--perceptual``, if it fits the training.

    Parameters
    ----------
    name
        Of the encoder, or its path.
    patch
        Edges of what it is to see, in pixels.
    stains
        That are predicted; none if they are not known yet.

    Raises
    ------
    VirtualStainError
        See `judge_for`, or if patches are too small.
    """
    over = "this method predicts " + ("planes" if len(patch) == 2 else "volumes")
    model = judge_for(name, stains, ndim=len(patch), over=over)
    edge, step = model.encoder.smallest, model.encoder.multiple_of
    if min(patch[-2:]) < edge or any(n % step for n in patch):
        raise SettingsError(
            f"The encoder {model.card.name!r} cannot be given patches of "
            f"{' x '.join(map(str, patch))} px: it sees edges from {edge} px on"
            f"{f', in steps of {step} px' if step > 1 else ''}. Choose another --patch."
        )
    return model


def term_for(
    model: EncoderModel | None,
    settings: LoopSettings,
    stains: Sequence[str],
    outputs: Sequence[Normalisation] | None,
) -> PerceptualLoss | None:
    """Return what is made small beside the loss of the method.

    Parameters
    ----------
    model
        Of `check_term`.
    settings
        Of the training.
    stains, outputs
        Names and normalisations of what is predicted; see `encoders.perceptual.PerceptualLoss`.
    """
    if model is None:
        return None
    return PerceptualLoss(
        Perceptual(model, stains), stains, outputs, weight=settings.perceptual_weight
    )
