"""Whose weights a network begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtualstain.errors import ModelPackageError

if TYPE_CHECKING:
    from napari_virtualstain.generators.base import Generator
    from napari_virtualstain.generators.package import Model

__all__ = ["start_from"]

_SHOWN = 3


def start_from(generator: Generator, model: Model, stains: tuple[str, ...]) -> None:
    """Give a generator the weights of a trained one, whatever methods they were trained by.

    A GAN whose generator is a U-Net starts from a U-Net that was trained by regression, as
    Cross-Zamirski et al. 2022 (doi:10.1038/s41598-022-12914-x) start theirs.

    Parameters
    ----------
    generator
        Whose weights are replaced.
    model
        Trained for as many planes.
    stains
        What the generator is to predict.

    Raises
    ------
    ModelPackageError
        If stains or networks differ; names up to three layers that do.
    """
    card = model.card
    if card.stain_names != stains:
        raise ModelPackageError(
            f"The model {card.name!r} predicts {', '.join(card.stain_names)}, this training is for "
            f"{', '.join(stains)}. Name the same --stains in the same order, or start from another."
        )
    theirs, ours = model.generator.module().state_dict(), generator.module().state_dict()
    apart = [
        name
        for name in dict.fromkeys([*ours, *theirs])
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape
    ]
    if apart:
        raise ModelPackageError(
            f"The model {card.name!r} has another network: {len(apart)} of its parts differ, for "
            f"example {', '.join(apart[:_SHOWN])}. Use a --generator and --preset of the same "
            "network, as many planes, or start from another model."
        )
    generator.module().load_state_dict(theirs)
