"""How much do draws differ? Of a generator that draws, the spread as stains of their own."""

from __future__ import annotations

from dataclasses import replace

from napari_virtualstain.datasets.stain_names import spread_name
from napari_virtualstain.generators.card import Stain
from napari_virtualstain.generators.package import Model

__all__ = ["with_spread"]


def with_spread(model: Model) -> Model:
    """Return a model whose stains are means of draws, followed by their standard deviations.

    Parameters
    ----------
    model
        Whose generator is a `generators.sampled.SampledGenerator`.

    Returns
    -------
    Model
        With the stains of the model, then one for each named like ``"DNA spread"``, in the same
        units; the same generator and fingerprint.
    """
    stains = model.card.stains
    card = model.card.model_copy(update={"stains": (*stains, *(map(_spread_of, stains)))})
    return replace(model, card=card)


def _spread_of(stain: Stain) -> Stain:
    # A difference of two values: what is taken off first has no place in it.
    norm = stain.normalisation.model_copy(update={"offset": 0.0, "low": None, "high": None})
    update = {"name": spread_name(stain.name), "expected_pcc": None, "normalisation": norm}
    return stain.model_copy(update=update)
