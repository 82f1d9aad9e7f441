"""Which fields a model is trained on, and which it must never have seen.

Both lists are endless and fixed: the n-th training field is the same on every
machine.  The held-out fields differ from all training fields in seed, in
density and in phenotype at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.simulate.settings import FieldSettings

__all__ = [
    "HELD_OUT",
    "TRAINING_RANGES",
    "Conditions",
    "demo_settings",
    "held_out_settings",
    "training_settings",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The ranges that fields are drawn from; bounds are included."""

    seeds: tuple[int, int]
    densities_per_mm2: tuple[tuple[float, float], ...]  # one or more ranges
    phenotypes: tuple[str, ...]
    illumination: tuple[float, float]
    focus_error_um: tuple[float, float]
    condenser_na: tuple[float, float]
    tilt_na: tuple[float, float]  # length of the tilt
    debris: tuple[float, float]
    noise: tuple[float, float]


TRAINING_RANGES: Final = Conditions(
    seeds=(0, 9_999),
    densities_per_mm2=((250.0, 700.0),),
    phenotypes=(
        "control",
        "enlarged",
        "shrunken",
        "fragmented_mito",
        "nucleolar_stress",
        "bright_er",
    ),
    illumination=(0.05, 0.25),
    focus_error_um=(-1.2, 1.2),
    condenser_na=(0.22, 0.28),
    tilt_na=(0.0, 0.12),
    debris=(0.5, 1.8),
    noise=(0.8, 1.3),
)
HELD_OUT: Final = replace(
    TRAINING_RANGES,
    seeds=(100_000, 199_999),
    densities_per_mm2=((150.0, 220.0), (760.0, 900.0)),
    phenotypes=("elongated", "hyperfused_mito", "dispersed_golgi"),
)
_DEMO_SEED: Final = 200_000


def training_settings(index: int) -> tuple[FieldSettings, int]:
    """Return settings and seed of the n-th training field (512 x 512 px).

    Raises
    ------
    SettingsError
        If the index is not within 0 to 9999.

    Examples
    --------
    >>> settings, seed = training_settings(7)
    >>> seed, settings.phenotype in TRAINING_RANGES.phenotypes
    (7, True)
    """
    return _draw(TRAINING_RANGES, index)


def held_out_settings(index: int) -> tuple[FieldSettings, int]:
    """Return settings and seed of the n-th held-out field (512 x 512 px).

    Raises
    ------
    SettingsError
        If the index is not within 0 to 99999.

    Examples
    --------
    >>> settings, seed = held_out_settings(0)
    >>> seed, settings.phenotype in TRAINING_RANGES.phenotypes
    (100000, False)
    """
    return _draw(HELD_OUT, index)


def demo_settings() -> tuple[FieldSettings, int]:
    """Return settings and seed of the field that the demo shows (512 x 512 px)."""
    return FieldSettings(density_per_mm2=480.0, tilt_na=(0.02, -0.03)), _DEMO_SEED


def _draw(conditions: Conditions, index: int) -> tuple[FieldSettings, int]:
    first, last = conditions.seeds
    if not 0 <= index <= last - first:
        raise SettingsError(
            f"There is no field {index} in this list; it holds fields 0 to {last - first}. "
            "Use an index in that range."
        )
    seed = first + index
    rng = np.random.default_rng([seed, 77])
    phenotypes, ranges = conditions.phenotypes, conditions.densities_per_mm2
    # Phenotypes and density ranges take turns, so that a short list holds them all.
    density = rng.uniform(*ranges[index % len(ranges)])
    length, angle = rng.uniform(*conditions.tilt_na), rng.uniform(0, 2 * np.pi)
    settings = FieldSettings(
        phenotype=phenotypes[index % len(phenotypes)],
        density_per_mm2=float(density),
        illumination=float(rng.uniform(*conditions.illumination)),
        focus_error_um=float(rng.uniform(*conditions.focus_error_um)),
        condenser_na=float(rng.uniform(*conditions.condenser_na)),
        tilt_na=(float(length * np.sin(angle)), float(length * np.cos(angle))),
        debris=float(rng.uniform(*conditions.debris)),
        noise=float(rng.uniform(*conditions.noise)),
    )
    return settings, seed
