"""What did somebody click as good and as bad? A weighted sum that tells the two apart elsewhere.

Its logit is a weighted sum of `places.place_features`, whose weights `clicked_fit` finds. What is
kept are numbers in JSON, and to apply it takes nothing but these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.errors import (
    MissingInputError,
    PixelDataError,
)
from napari_virtualstain.io.kept import read_kept
from napari_virtualstain.qc.check import Finding, State
from napari_virtualstain.qc.field import Picture, QcField
from napari_virtualstain.qc.places import (
    WindowMean,
    place_features,
    place_names,
    step_of,
)

__all__ = [
    "ARTIFACTS_FILE", "CHECK", "LEAST", "Artifacts", "Click", "Tried", "artifact_finding",
    "cell_places", "missing_clicks", "probability", "read_artifacts", "unlike",
]  # fmt: skip

ARTIFACTS_FILE = "qc_artifacts.json"
"""Name of the file beside a prediction's decisions, or beside the card of a model."""
CHECK, TITLE = "clicked", "Like what was clicked as bad"
LEAST = 5
"""Clicks of either kind that are needed."""

_BY_CHANCE = 0.05
"""Of tosses of a coin that do as well, above which nothing was learnt."""
_SHARE = 0.25
"""Of a window that is cell, from which on a place lies on one."""
_APART = 1.05
"""Ratio of pixel sizes up to which windows are of one size."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Click(_Frozen):
    """One place that somebody clicked.

    Parameters
    ----------
    path, scene, time
        Of which image, as of a decision (`datasets.review.Decision`).
    y, x
        Row and column in pixels.
    label
        What it was clicked as.
    """

    path: str = ""
    scene: str = ""
    time: int = Field(default=0, ge=0)
    y: float
    x: float
    label: Literal["good", "bad"]

    @property
    def field(self) -> tuple[str, str, int]:
        """Which field is meant."""
        return self.path, self.scene, self.time


class Tried(_Frozen):
    """What became of clicks that were left out.

    Parameters
    ----------
    good, good_right, bad, bad_right
        How many of each there are, and how many were called so.
    by_chance
        How probable it is that tosses of a coin do as well.
    """

    good: int
    good_right: int
    bad: int
    bad_right: int
    by_chance: float = Field(ge=0, le=1)

    @property
    def accuracy(self) -> float:
        """Mean of the shares of both kinds that were called right; 0.5 by chance."""
        return (self.good_right / self.good + self.bad_right / self.bad) / 2

    @property
    def learnt(self) -> bool:
        """Whether that is surely better than chance."""
        return self.by_chance <= _BY_CHANCE

    def words(self) -> str:
        """Say it.

        Examples
        --------
        >>> Tried(good=10, good_right=9, bad=8, bad_right=8, by_chance=1e-4).words()
        '9 of 10 good and 8 of 8 bad clicks were called so when left out: 95 %, by chance 50 %'
        """
        said = (
            f"{self.good_right} of {self.good} good and {self.bad_right} of {self.bad} bad clicks "
            f"were called so when left out: {100 * self.accuracy:.0f} %, by chance 50 %"
        )
        return said if self.learnt else f"{said}, which a coin does as well"


class Artifacts(_Frozen):
    """A classifier of places, and the clicks that taught it.

    Parameters
    ----------
    schema_version
        Of the file.
    model, fingerprint
        Whose predictions were clicked on, ``""`` if nobody knows.
    pixel_um
        Edge of their pixels.
    names, mean, scale, weights
        Of each number of a place (`places.place_names`).
    intercept
        Logit where all numbers have their mean.
    on_cells
        Whether nearly all clicks lie on cells: then nothing else is looked at.
    amber, red
        Share of what is looked at that is called bad, from which a field is so; may be edited.
    tried
        What became of clicks that were left out.
    clicks
        All.
    versions
        Of the programs that made it.
    """

    schema_version: Literal[1] = 1
    model: str = ""
    fingerprint: str = ""
    pixel_um: float = Field(gt=0)
    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    on_cells: bool
    amber: float = Field(gt=0)
    red: float = Field(gt=0)
    tried: Tried
    clicks: tuple[Click, ...]
    versions: dict[str, str] = {}


def missing_clicks(clicks: Sequence[Click]) -> str:
    """Say how many clicks are missing to learn from them, ``""`` for none.

    Examples
    --------
    >>> missing_clicks([Click(y=1, x=2, label="good")] * 7)
    '5 good and 5 bad clicks teach something, and there are 7 and 0: 5 bad more are missing. Click on more places.'
    """  # noqa: E501 (one sentence)
    counts = {label: sum(click.label == label for click in clicks) for label in ("good", "bad")}
    missing = [f"{LEAST - n} {label}" for label, n in counts.items() if n < LEAST]
    if not missing:
        return ""
    return (
        f"{LEAST} good and {LEAST} bad clicks teach something, and there are {counts['good']} and "
        f"{counts['bad']}: {' and '.join(missing)} more are missing. Click on more places."
    )


def probability(field: QcField, artifacts: Artifacts) -> Picture:
    """Return how probably each place is bad, (Y, X) of the field, 0 to 1, NaN where none is meant.

    Parameters
    ----------
    field
        Like those that were clicked on.
    artifacts
        What was learnt.

    Raises
    ------
    PixelDataError
        If it is not like those.
    """
    why = unlike(artifacts.pixel_um, artifacts.names, field)
    if why:
        raise PixelDataError(f"The clicks were on other fields: {why}. Click on fields like this.")
    places = _places(field, artifacts)
    return _on_pixels(field, np.where(_meant(field, artifacts), places, np.float32(np.nan)))


def artifact_finding(field: QcField, artifacts: Artifacts) -> Finding:
    """Say which part of a field looks like what was clicked as bad, as one more check.

    Parameters
    ----------
    field, artifacts
        See `probability`; a field that is not like those is not assessable.
    """
    why = unlike(artifacts.pixel_um, artifacts.names, field)
    if not why and not artifacts.tried.learnt:
        why = f"nothing was learnt from the clicks ({artifacts.tried.words()}); click on more"
    if why:
        return Finding(
            check=CHECK, title=TITLE, state="not assessable", reason=f"not assessable: {why}"
        )
    bad, meant = _places(field, artifacts) > 0.5, _meant(field, artifacts)
    if not meant.any():
        reason = "not assessable: the clicks are on cells, and there are none"
        return Finding(check=CHECK, title=TITLE, state="not assessable", reason=reason)
    what = "the cells" if artifacts.on_cells else "the field"
    share = float((bad & meant).sum() / meant.sum())
    red, amber = share > artifacts.red, share > artifacts.amber
    state: State = "red" if red else "amber" if amber else "green"
    reason = (
        f"{share:.0%} of {what} looks like the {artifacts.tried.bad} places that were clicked as "
        f"bad ({artifacts.tried.words()})"
    )
    return Finding(
        check=CHECK, title=TITLE, state=state, score=share / artifacts.amber, number="share",
        value=share, usual=f"up to {artifacts.amber:.0%}",
        reason="" if state == "green" else reason,
        advice="" if state == "green" else "Look at the marked places; reject them, or click on "
        "those that are good and learn again.",
        where=None if state == "green" else _on_pixels(field, bad & meant) > 0,
        numbers={"share": share},
    )  # fmt: skip


def read_artifacts(path: str | Path) -> Artifacts:
    """Read what was learnt from clicks.

    Raises
    ------
    MissingInputError
        If there is no such file.
    ImageFileError
        If the file is something else, or of a newer program.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingInputError(
            f"There is nothing learnt from clicks at '{file}'. Click on good and bad places on the "
            "page QC, or give them with --clicks."
        )
    return read_kept(
        file, Artifacts, it="holds nothing learnt from clicks", again="Learn again with --clicks."
    )


# --- inside ---------------------------------------------------------------------------------------


def unlike(pixel_um: float, names: tuple[str, ...], field: QcField) -> str:
    """Say what sets a field apart from those that were clicked on, ``""`` for nothing.

    Parameters
    ----------
    pixel_um, names
        Of those, see `Artifacts`.
    field
        Another one.
    """
    ratio = field.pixel_um / pixel_um
    if max(ratio, 1 / ratio) > _APART:
        return f"pixels are of {pixel_um:g} µm and of {field.pixel_um:g} µm"
    if place_names(field) != names:
        own, other = (
            ", ".join(dict.fromkeys(name.rpartition(" ")[0] for name in some))
            for some in (place_names(field), names)
        )
        return f"they show {other}, and this one {own}"
    return ""


def cell_places(field: QcField) -> NDArray[np.bool_]:
    """Return which places lie on cells."""
    mean = WindowMean(field.pixel_um)
    found: NDArray[np.bool_] = mean(field.on_pixels(field.cells).astype(np.float32)) > _SHARE
    return found


def _meant(field: QcField, artifacts: Artifacts) -> NDArray[np.bool_]:
    """Return which places are looked at."""
    cells = cell_places(field)
    return cells if artifacts.on_cells else np.ones_like(cells)


def _places(field: QcField, artifacts: Artifacts) -> Picture:
    """Return how probably each place is bad, (y, x)."""
    weights = np.array(artifacts.weights) / np.array(artifacts.scale)
    logit = np.tensordot(weights, place_features(field), 1)
    logit += artifacts.intercept - weights @ np.array(artifacts.mean)
    found: Picture = (1 / (1 + np.exp(-np.clip(logit, -50, 50)))).astype(np.float32)
    return found


def _on_pixels(field: QcField, places: NDArray[Any]) -> Picture:
    """Return a map of places as squares around each, (Y, X) of the field."""
    step = step_of(field.pixel_um)
    height, width = field.shape
    rows, columns = ((np.arange(n) + step // 2) // step for n in (height, width))
    rows, columns = np.minimum(rows, places.shape[0] - 1), np.minimum(columns, places.shape[1] - 1)
    found: Picture = places[np.ix_(rows, columns)].astype(np.float32)
    return found
