"""How sure is the network? Other quantiles than the median, as stains of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from napari_virtualstain.datasets.stain_names import quantile_name
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.package import Model

__all__ = ["Distribution", "with_quantiles"]


@runtime_checkable
class Distribution(Protocol):
    """A generator that predicts a distribution of intensities a pixel."""

    def reading(self, levels: Sequence[float]) -> Generator:
        """Return the generator of the medians of all stains, then each level of all stains."""


def with_quantiles(model: Model, levels: Sequence[float]) -> Model:
    """Return a model that also predicts what the truth is below with given probabilities.

    Parameters
    ----------
    model
        Whose generator is a `Distribution`.
    levels
        Probabilities between 0 and 1.

    Returns
    -------
    Model
        With the stains of the model, then one for each level and stain, named like ``"DNA 5 %"``,
        in the same units; the same weights and fingerprint.

    Raises
    ------
    SettingsError
        If the generator predicts one number a pixel.
    """
    if not isinstance(model.generator, Distribution):
        raise SettingsError(
            f"The model {model.card.name!r} predicts one intensity a pixel, and knows no others. "
            "Leave out --quantiles, or train a model with --generator isl."
        )
    more = [
        stain.model_copy(update={"name": quantile_name(stain.name, level), "expected_pcc": None})
        for level in levels
        for stain in model.card.stains
    ]
    card = model.card.model_copy(update={"stains": (*model.card.stains, *more)})
    return replace(model, card=card, generator=model.generator.reading(levels))
