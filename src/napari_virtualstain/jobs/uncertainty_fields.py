"""Spread and error of the foreground of one field, stain by stain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from napari_virtualstain.datasets.stain_names import is_doubt, spread_name
from napari_virtualstain.errors import ChannelError, PixelDataError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.compare import grid_of, grid_words, read_rows
from napari_virtualstain.jobs.matched_channels import match_channels, read_match
from napari_virtualstain.jobs.verdict_pairs import FieldPair

if TYPE_CHECKING:
    from napari_virtualstain.jobs.uncertainty import UncertaintySettings

__all__ = ["DoubtfulField", "StainPixels", "look_at_pair"]


@dataclass(frozen=True, slots=True)
class StainPixels:
    """Pixels of the foreground of one stain: (pixels,) each, in the stain's units."""

    spread: NDArray[np.float32]
    error: NDArray[np.float32]
    predicted: NDArray[np.float32]


@dataclass(slots=True)
class DoubtfulField:
    """One field: its name, its stains, and what to know of it."""

    name: str
    stains: dict[str, StainPixels] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def look_at_pair(pair: FieldPair, settings: UncertaintySettings) -> DoubtfulField:
    """Return spread and error of each stain of a field, of all its time points together.

    Raises
    ------
    ChannelError
        If the prediction has no spread, or no channel of the truth is a predicted stain.
    PixelDataError
        If the truth is of another size.
    """
    prediction, truth = pair.prediction.scene.open(), pair.truth.scene.open().with_gaps()
    if grid_of(prediction) != grid_of(truth):
        raise PixelDataError(
            f"The prediction of {pair.prediction.name!r} is {grid_words(prediction)} and its truth "
            f"{grid_words(truth)}. Give the truth of the same field and size."
        )
    names = prediction.channel_names
    doubtful = [name for name in names if not is_doubt(name) and spread_name(name) in names]
    if not doubtful:
        raise ChannelError(
            f"The prediction of {pair.prediction.name!r} has no spread beside its stains "
            f"({', '.join(names)}). Stain it with --views 8, or with --draws 8 if its model draws."
        )
    matched = match_channels(prediction, truth, read_match(names, settings.match))
    found = DoubtfulField(pair.prediction.name)
    z = prediction.shape[2] // 2 if settings.z is None else settings.z
    for stain, name in matched:
        if stain not in doubtful:
            continue
        pixels = _foreground(prediction, truth, stain, name, z, settings.pixels)
        if pixels is None:
            found.notes.append(f"{found.name!r} has no foreground of {stain}: left out of it")
        else:
            found.stains[stain] = pixels
    return found


def _foreground(
    prediction: LazyImage, truth: LazyImage, stain: str, name: str, z: int, most: int
) -> StainPixels | None:
    """Return pixels where prediction or truth are above Otsu's threshold of the truth.

    Of the truth alone would be blind to what was invented; evenly spread where there are more.
    """
    parts = []
    spread_of = prediction.channel_index(spread_name(stain))
    for t in range(prediction.shape[0]):
        said = read_rows(prediction, t, prediction.channel_index(stain), z, slice(None))
        true = read_rows(truth, t, truth.channel_index(name), z, slice(None))
        spread = read_rows(prediction, t, spread_of, z, slice(None))
        known = np.isfinite(said) & np.isfinite(true) & np.isfinite(spread)
        if not known.any() or np.ptp(true[known]) == 0:
            continue
        level = threshold_otsu(true[known])
        chosen = known & ((true > level) | (said > level))
        parts.append(np.stack([spread[chosen], (said - true)[chosen], said[chosen]]))
    if not parts or not sum(part.shape[1] for part in parts):
        return None
    pixels = np.concatenate(parts, axis=1)
    every = -(-pixels.shape[1] // most)
    return StainPixels(*pixels[:, ::every])
