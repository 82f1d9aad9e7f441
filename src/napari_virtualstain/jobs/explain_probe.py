"""What of a model is asked? Its network, ready for crops; or its draws, where there are such."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.explain.probe import Planes, Probe, network_probe
from napari_virtualstain.explain.sanity import randomise_weights
from napari_virtualstain.generators.sampled import SampledGenerator, draw_sample
from napari_virtualstain.inference.device import choose_device
from napari_virtualstain.inference.sampled import SampledStainer
from napari_virtualstain.inference.shared import shared_model
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.prepare import InputSettings, PreparedStain, prepare

__all__ = ["prepared_for_crops", "probe_of"]

_EXAMPLE = 4
"""Strides of the network that are enough to see whether it has derivatives."""


def prepared_for_crops(
    settings: InputSettings, image: LazyImage | None, notes: list[str]
) -> PreparedStain:
    """Prepare a stain whose network may be given crops.

    Parameters
    ----------
    settings, image
        Of the run.
    notes
        What that changes, a sentence each; added to.
    """
    shared = shared_model(
        settings.model, device=choose_device(settings.device), quantiles=settings.quantiles
    )
    if not isinstance(shared.model.generator, SampledGenerator):
        # In tiles, as crops are: no other way has to be planned, and what normalises a network by
        # its input is that of the whole field.
        held = "exact" if settings.statistics == "exact" else "frozen"
        tiles = {"mode": "halo", "statistics": held, "stitch": "none"}
        settings = settings.model_copy(update=tiles)
    prepared = prepare(settings, image=image)
    if prepared.sampling is not None:
        notes.append(
            "each map is of one draw of a crop, with the same noise whatever is hidden; the stain "
            "of the whole field is another draw"
        )
    return prepared


def probe_of(stainer: Stainer, index: int, t: int, planes: Planes) -> Probe:
    """Return what is asked of one stain.

    Parameters
    ----------
    stainer
        Of the run.
    index
        Number of the stain among what the network predicts.
    t
        Time point.
    planes
        A crop, of which a corner shows whether the network has derivatives.
    """
    if isinstance(stainer, SampledStainer):
        return _drawn_probe(stainer, index)
    small = (slice(None), *(slice(0, _EXAMPLE * n) for n in stainer.typical.reach.multiple_of))
    return network_probe(stainer.network(t).module, stain=index, example=planes[small])


def _drawn_probe(stainer: SampledStainer, index: int) -> Probe:
    """Return the probe of a model that draws: the same noise each time, whatever is hidden."""
    generator = stainer.generator
    how, seed = stainer.how, stainer.seed

    def predict(planes: Planes) -> NDArray[np.float32]:
        stain: NDArray[np.float32] = draw_sample(generator, planes[None], how, seed=seed)[0, index]
        return stain

    def blind(other_seed: int) -> Probe:
        other = copy.deepcopy(generator)
        randomise_weights(other.module(), other_seed)
        return _drawn_probe(replace(stainer, generator=other), index)

    return Probe(
        predict=predict, stain=index, blind=blind,
        without="The model draws its stains in many steps",
    )  # fmt: skip
