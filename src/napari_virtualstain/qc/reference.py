"""What are good predictions of a model like? The yardstick of the checks, kept as one JSON file.

It is fitted on predictions of fields that the model was not trained on and that somebody believes.
Every number has a middle and two ends (5 % and 95 % of the fields); a score counts how often the
distance from middle to end fits between middle and value. Amber begins at the score that no more
than a stated share of good *fields* exceeds in any check, and everything may be edited.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.errors import MissingInputError
from napari_virtualstain.io.kept import read_kept
from napari_virtualstain.qc.expectation import Expectation
from napari_virtualstain.qc.guard import Guard

__all__ = [
    "REFERENCE_FILE",
    "Likeness",
    "Limits",
    "QcReference",
    "Side",
    "StainUsual",
    "Usual",
    "read_reference",
]

REFERENCE_FILE = "qc_reference.json"
"""Name of the file beside the card of a model."""
Side = Literal["high", "low", "both"]
"""Which values are bad."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Usual(_Frozen):
    """Where a number of good fields lies: median, and 5 % and 95 % of the fields."""

    middle: float
    low: float
    high: float

    def score(self, value: float, side: Side, least: float) -> float:
        """Return how far out a value is: 1 at the end of the range, 0 at its middle or better.

        Parameters
        ----------
        value
            Of a field; NaN has no score.
        side
            Which values are bad.
        least
            Smallest distance from middle to end that is believed.

        Examples
        --------
        >>> Usual(middle=2, low=1, high=4).score(8, "high", 0.1)
        3.0
        """
        up = (value - self.middle) / max(self.high - self.middle, least)
        down = (self.middle - value) / max(self.middle - self.low, least)
        score = up if side == "high" else down if side == "low" else max(up, down)
        return max(float(score), 0.0)


class Limits(_Frozen):
    """Scores from which a check is amber and red."""

    amber: float = Field(gt=0)
    red: float = Field(gt=0)


class StainUsual(_Frozen):
    """What one stain of good fields is like.

    Parameters
    ----------
    dark, bright
        Level of empty places, and by how much the foreground stands above it.
    grain
        Median and SD over places of the log of fine over coarse brightness in cells, and how it
        follows the log of the brightness: (at brightness 1, slope, SD).
    """

    dark: float
    bright: float
    grain: tuple[float, float, float] | None = None


class Likeness(_Frozen):
    """Numbers of the bright field of good fields: means, and the inverse of their covariance."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]

    def distance(self, numbers: dict[str, float]) -> float:
        """Return the Mahalanobis distance over the root of how many numbers there are."""
        off = np.array([numbers[n] for n in self.names]) - np.array(self.mean)
        return float(np.sqrt(max(off @ np.array(self.precision) @ off, 0) / len(off)))


class QcReference(_Frozen):
    """What the checks hold a field against.

    Parameters
    ----------
    schema_version
        Of the file.
    model, fingerprint
        Whose predictions were looked at, ``""`` if nobody knows.
    fields
        How many.
    alarms
        Share of good fields that any check may call amber or worse.
    pixel_um
        Edge of their pixels.
    planes
        Of the bright field beside them, 0 if there was none.
    usual
        By check and number, ``"blur/DNA 4-8 px"``.
    limits
        By check; edit them to make a check stricter.
    stains
        By name.
    light, others
        What bright field, and what the other stains foretell of a stain.
    nucleus
        Area in µm² that 98 % of good nuclei stay below, solidity that 98 % stay above, and the
        median area and contrast; `None` without a DNA stain.
    beyond
        By kind: what nearly all places of good fields stay below; see `qc.cells`.
    likeness
        `None` without a bright field or with fewer than 8 fields.
    guard
        By stain, whether intensity may be read as amount; empty without a truth.
    """

    schema_version: Literal[1] = 1
    model: str = ""
    fingerprint: str = ""
    fields: int = Field(ge=1)
    alarms: float = Field(gt=0, lt=1)
    pixel_um: float = Field(gt=0)
    planes: int = Field(ge=0)
    usual: dict[str, Usual] = {}
    limits: dict[str, Limits] = {}
    stains: dict[str, StainUsual]
    light: dict[str, Expectation] = {}
    others: dict[str, Expectation] = {}
    nucleus: tuple[float, float, float, float] | None = None
    beyond: dict[str, float] = {}
    likeness: Likeness | None = None
    guard: dict[str, Guard] = {}


def read_reference(path: str | Path) -> QcReference:
    """Read a reference.

    Raises
    ------
    MissingInputError
        If there is none.
    ImageFileError
        If the file is none.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingInputError(
            f"There is no reference at '{file}'. Make one of good predictions with "
            "`virtualstain qc --calibrate`."
        )
    return read_kept(
        file, QcReference, it="is no reference of good predictions",
        again="Make it again with `virtualstain qc --calibrate`.",
    )  # fmt: skip
