"""Paired bright-field and fluorescence fields with known truth.

For demos, tests and benchmarks: cells are drawn in three dimensions, the bright
field is formed by partially coherent light through their refractive index, and
the stains by their emitters through a point-spread function.
"""

from __future__ import annotations

from napari_virtualstain.simulate.field import SimulatedField, simulate_field
from napari_virtualstain.simulate.freeze import fingerprint
from napari_virtualstain.simulate.phenotypes import PHENOTYPES, Phenotype
from napari_virtualstain.simulate.recipes import (
    HELD_OUT,
    TRAINING_RANGES,
    Conditions,
    demo_settings,
    held_out_settings,
    training_settings,
)
from napari_virtualstain.simulate.settings import STAINS, FieldSettings

__all__ = [
    "HELD_OUT",
    "PHENOTYPES",
    "STAINS",
    "TRAINING_RANGES",
    "Conditions",
    "FieldSettings",
    "Phenotype",
    "SimulatedField",
    "demo_settings",
    "fingerprint",
    "held_out_settings",
    "simulate_field",
    "training_settings",
]
