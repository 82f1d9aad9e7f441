"""What became of models that were tried on one place: their pictures, their scores, their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.compute.run import Run
from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.errors import ChannelError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.words import duration

__all__ = ["Score", "Trial", "limits_of", "ranked", "read_crops", "true_stain"]

_DARK, _BRIGHT = 0.5, 99.8
"""Percentiles that are shown black and white."""

Region = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a stain of a model compares with the true one; `None` is not defined."""

    pcc: float | None
    floor: float | None


@dataclass(eq=False, kw_only=True)
class Trial:
    """One model on one place.

    Parameters
    ----------
    name, card
        Of the model.
    settings
        Of its stain.
    run
        That stains.
    examination
        The run that compares, once the stain is there and a true one is known.
    state
        How far it is; the runs themselves may have ended before anybody was told.
    crops
        By stain, (Y, X) float32, once they are read.
    scores
        By stain.
    why
        Why there is no stain, a sentence.
    doubt
        Why there is no score, a sentence.
    """

    name: str
    card: ModelCard
    settings: StainSettings
    run: Run
    examination: Run | None = None
    state: Literal["staining", "comparing", "over"] = "staining"
    crops: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    why: str = ""
    doubt: str = ""

    @property
    def runs(self) -> tuple[Run, ...]:
        """All that goes on for it."""
        return (self.run,) if self.examination is None else (self.run, self.examination)

    def crop(self, stain: str) -> NDArray[np.float32] | None:
        """Return its picture of a stain, `None` if there is none."""
        return next((c for n, c in self.crops.items() if n.casefold() == stain.casefold()), None)

    def score(self, stain: str) -> Score:
        """Return how it did on a stain."""
        known = (s for n, s in self.scores.items() if n.casefold() == stain.casefold())
        return next(known, Score(pcc=None, floor=None))

    def unit(self, stain: str) -> str:
        """Return the unit of a stain."""
        return next((s.unit for s in self.card.stains if s.name.casefold() == stain.casefold()), "")

    def predicts(self, stain: str) -> bool:
        """Return whether it makes that stain."""
        return any(name.casefold() == stain.casefold() for name in self.card.stain_names)

    def words(self, stain: str) -> str:
        """Return how far it is."""
        if self.why:
            return "✗ failed"
        outcome = self.run.outcome
        if outcome is None or self.state == "staining":
            progress = self.run.progress
            if progress is None or not progress[2].startswith("tiles"):
                return "waiting" if self.run.state == "waiting" else "preparing"
            return f"{progress[0]} of {progress[1]} tiles"
        if outcome.result is None:
            return "cancelled"
        if not self.predicts(stain):
            return f"no {stain}"
        if self.state == "comparing":
            return "comparing"
        return duration(outcome.result["seconds"])


def ranked(trials: Sequence[Trial], stain: str) -> list[Trial]:
    """Return models by their PCC on a stain, the best first; those without one follow as they were.

    Parameters
    ----------
    trials
        In the order in which they were ticked.
    stain
        Name of the stain.
    """

    def key(trial: Trial) -> tuple[int, float]:
        pcc = trial.score(stain).pcc
        return (1, 0.0) if pcc is None else (0, -pcc)

    return sorted(trials, key=key)


def true_stain(stain: str, true: Field | None) -> str | None:
    """Return the name under which the stain of a model is among the true ones, if it is."""
    names = [] if true is None else list(true.true_channels)
    try:
        found = find_stain(stain, names) if names else None
    except ChannelError:
        return None  # several could be meant: the page Load says which
    return None if found is None else found.channel


def read_crops(
    store: str, region: Region, *, t: int, z: int | None
) -> dict[str, NDArray[np.float32]]:
    """Return a region of a stain by the names of its channels; for a thread.

    Parameters
    ----------
    store
        That a run wrote.
    region
        In pixels.
    t, z
        Which plane; of a store of one plane that one, whatever z is.
    """
    image = open_image(store)
    top, left, bottom, right = region
    depth = image.shape[2]
    plane = min(depth // 2 if z is None else z, depth - 1)
    found: dict[str, NDArray[np.float32]] = {}
    for c, name in enumerate(image.channel_names):
        place: Any = (t, c, plane, slice(top, bottom), slice(left, right))
        found[name] = image.read(place).astype(np.float32)
    return found


def limits_of(pictures: Iterable[NDArray[Any]]) -> tuple[float, float]:
    """Return grey values that show several pictures alike, most of their pixels in between."""
    known = [pixels[np.isfinite(pixels)] for pixels in pictures]
    together = np.concatenate([np.empty(0), *known])
    if not together.size:
        return (0.0, 1.0)
    low, high = (float(v) for v in np.percentile(together, (_DARK, _BRIGHT)))
    return (low, high) if high > low else (low, low + 1.0)
