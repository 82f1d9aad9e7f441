"""Which training patches are most like a place? With pictures of them, if they were kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.index_seen import (
    NO_INDEX,
    SeenField,
    fitting_index,
    place_of_index,
)
from napari_virtualstain.jobs.verdict_pictures import png_address

if TYPE_CHECKING:
    from napari_virtualstain.embedding.familiar import TrainingIndex
    from napari_virtualstain.inference.stainer import Stainer
    from napari_virtualstain.jobs.explain import ExplainSettings
    from napari_virtualstain.jobs.prepare import PreparedStain

__all__ = ["NearPatch", "Nearest", "nearest_patches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPatch:
    """A training patch.

    Parameters
    ----------
    source
        File that it is of, and its folder.
    y, x
        First row and column there, in pixels of the network.
    distance
        From the patch that is explained; training patches vary by 1 in every direction.
    light, stain
        Small pictures as ``data:`` addresses of PNGs, ``""`` where none were kept.
    """

    source: str
    y: int
    x: int
    distance: float
    light: str = ""
    stain: str = ""

    @property
    def words(self) -> str:
        """Say which it is."""
        return f"{self.source} at {self.y},{self.x}: distance {self.distance:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The training patches that are most like a place.

    Parameters
    ----------
    words
        What that comes to, or why nobody can tell; one sentence.
    over_limit
        Distance of the place from the training data, over what 99 % of the held-out patches stay
        below; `None` if nobody can tell.
    patches
        Nearest first.
    stain_name
        Which stain the pictures show.
    """

    words: str
    over_limit: float | None = None
    patches: tuple[NearPatch, ...] = ()
    stain_name: str = ""

    def to_json(self, *, pictures: bool = True) -> dict[str, Any]:
        """Return plain values, with or without the pictures."""
        left_out = () if pictures else ("light", "stain")
        names = [n for n in NearPatch.__dataclass_fields__ if n not in left_out]
        return {
            "words": self.words,
            "over_limit": None if self.over_limit is None else round(self.over_limit, 4),
            "stain_name": self.stain_name,
            "patches": [{name: getattr(one, name) for name in names} for one in self.patches],
        }

    def text(self) -> str:
        """Return the same for people."""
        return "\n".join([self.words, *(f"    {one.words}" for one in self.patches)])


def nearest_patches(
    settings: ExplainSettings, prepared: PreparedStain, stainer: Stainer, at: tuple[int, int]
) -> Nearest:
    """Return the training patches that are most like a place, or why nobody can tell.

    Parameters
    ----------
    settings, prepared, stainer
        Of the run.
    at
        A pixel of the network's grid.
    """
    from napari_virtualstain.inference.deepest import patch_reader

    path = place_of_index(settings.index, Path(prepared.model.path))
    if path is None:
        return Nearest(words=f"No nearest training patches: {NO_INDEX}.")
    model = prepared.predicted
    try:
        reader = patch_reader(model.generator, depth=prepared.depth)
        index = fitting_index(path, model.card, reader)
        seen = SeenField(model=model, stainer=stainer, reader=reader, ratios=prepared.ratios)
        features = seen.around(settings.t, at)
    except VirtualStainError as error:
        return Nearest(words=f"No nearest training patches: {error}")
    over = float(index.distances(features[None])[0]) / index.patch_limit
    patches = tuple(
        NearPatch(
            source=index.fields[int(index.sources[n])], y=int(index.places[n, 0]),
            x=int(index.places[n, 1]), distance=round(apart, 4),
            light=_shown(index.light, n), stain=_shown(index.stain, n),
        )
        for n, apart in index.nearest(features, settings.nearest)
    )  # fmt: skip
    return Nearest(
        words=_words(over, index), over_limit=over, patches=patches,
        stain_name=index.stain_name if len(index.stain) else "",
    )  # fmt: skip


def _words(over: float, index: TrainingIndex) -> str:
    edge = index.patch[-1]
    if over > 1:
        return (
            f"The model has seen nothing like this: the distance of the {edge} px around from its "
            f"training data is {over:.1f} times the limit that 99 % of held-out patches stay "
            "below. Do not believe the stain here before you have looked at a true one."
        )
    return (
        f"The model has seen something like this: the distance of the {edge} px around from its "
        f"training data is {over:.2f} of the limit that 99 % of held-out patches stay below."
    )


def _shown(pictures: NDArray[np.uint8], number: int) -> str:
    return png_address(pictures[number]) if len(pictures) else ""
