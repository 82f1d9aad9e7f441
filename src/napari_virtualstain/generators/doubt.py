"""How far may the truth lie from what a model says? Kept beside its card, as one JSON file.

`metrics.intervals` fits it on held-out pairs, from the spread of views or of draws. It holds for
the model, the kind of spread and the kind of images that it was fitted on, and says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.datasets.stain_names import quantile_name
from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.generators.card import Stain
from napari_virtualstain.generators.package import Model
from napari_virtualstain.io.kept import read_kept
from napari_virtualstain.metrics.intervals import SpreadInterval

__all__ = [
    "DOUBT_FILE",
    "Doubt",
    "intervals_of",
    "read_doubt",
    "with_ends",
]

DOUBT_FILE = "uncertainty.json"
"""Name of the file beside the card of a model."""


class Doubt(BaseModel):
    """What the spread of a model's stains is worth.

    Parameters
    ----------
    schema_version
        Of the file.
    model, fingerprint
        Whose predictions were looked at.
    views, draws
        How the spread was made; one of them is 1.
    level
        Share of the truth that lies within the intervals.
    fields
        How many they were fitted on.
    stains
        By name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    schema_version: Literal[1] = 1
    model: str
    fingerprint: str
    views: int = Field(ge=1)
    draws: int = Field(ge=1)
    level: float = Field(gt=0, lt=1)
    fields: int = Field(ge=1)
    stains: dict[str, SpreadInterval]


def read_doubt(path: Path) -> Doubt:
    """Read the file.

    Raises
    ------
    ModelPackageError
        If it is none.
    """
    return read_kept(
        path, Doubt, it="does not say what a spread is worth", error=ModelPackageError,
        again="Make it again with `virtualstain uncertainty --calibrate`.",
    )  # fmt: skip


def intervals_of(model: Model, *, views: int, draws: int) -> tuple[SpreadInterval, ...]:
    """Return the interval of each stain of a model, from the file beside its card.

    Parameters
    ----------
    model
        Loaded from a folder, with its stains and their spreads.
    views, draws
        How its spread is made now.

    Raises
    ------
    SettingsError
        If there is no such file, or it is of another spread or model.
    ModelPackageError
        If it cannot be read.
    """
    path, name = model.path / DOUBT_FILE, model.card.name
    how = "`virtualstain uncertainty --calibrate`, from predictions of fields with a true stain"
    if not path.is_file():
        raise SettingsError(
            f"Nobody has measured what the spread of the model {name!r} is worth. Leave out "
            f"--interval, or measure it with {how}."
        )
    doubt = read_doubt(path)
    if (doubt.views, doubt.draws) != (views, draws):
        made = f"--views {doubt.views}" if doubt.views > 1 else f"--draws {doubt.draws}"
        raise SettingsError(
            f"The intervals of the model {name!r} were measured with {made}. Ask for that beside "
            f"--interval, or measure them anew with {how}."
        )
    names = [stain.name for stain in _own(model)]
    lacking = [stain for stain in names if stain not in doubt.stains]
    if lacking or doubt.fingerprint != model.fingerprint:
        what = f"of {', '.join(lacking)} are not known" if lacking else "are of other weights"
        raise SettingsError(
            f"The intervals of the model {name!r} {what}. Measure them anew with {how}."
        )
    return tuple(doubt.stains[stain] for stain in names)


def _own(model: Model) -> tuple[Stain, ...]:
    """Return the stains of a model that also has their spreads."""
    return model.card.stains[: len(model.card.stains) // 2]


def with_ends(model: Model, intervals: Sequence[SpreadInterval]) -> Model:
    """Return a model whose stains are followed by the ends of their intervals.

    Parameters
    ----------
    model
        With its stains and their spreads.
    intervals
        Of each.

    Returns
    -------
    Model
        With the stains, then their lower ends (``"DNA 5 %"``), then their upper ones.
    """
    stains, level = _own(model), intervals[0].level
    ends = [
        stain.model_copy(
            update={"name": quantile_name(stain.name, round(end, 6)), "expected_pcc": None}
        )
        for end in ((1 - level) / 2, (1 + level) / 2)
        for stain in stains
    ]
    card = model.card.model_copy(update={"stains": (*stains, *ends)})
    return replace(model, card=card)
