"""Trainings that anyone can repeat by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.errors import unknown_name
from napari_virtualstain.simulate import (
    STAINS,
    FieldSettings,
    fingerprint,
    simulate_field,
    training_settings,
)

__all__ = ["RECIPES", "Recipe", "get_recipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Where fields come from, and the settings that go with them.

    Parameters
    ----------
    name, description
        For the command line.
    settings
        Take the place of defaults; what the user states wins.
    fields
        Returns ``n`` fields, given ``n`` and a function told of each one made.
    stains
        Names of the stains.
    card
        Entries of the model card.
    """

    name: str
    description: str
    settings: Mapping[str, Any]
    fields: Callable[[int, Callable[[int, int], None]], list[PairedField]]
    stains: tuple[str, ...]
    card: Mapping[str, Any] = field(default_factory=dict)


def _simulated(n: int, on_field: Callable[[int, int], None]) -> list[PairedField]:
    """Return the first ``n`` training fields of the simulator."""

    def one(index: int) -> PairedField:
        settings, seed = training_settings(index)
        made = simulate_field(settings, seed=seed)
        # (T, Z, Y, X) -> (Z, Y, X); (T, C, Y, X) -> (C, Y, X)
        return PairedField(f"simulated {seed}", made.brightfield[0], made.stains[0])

    fields: list[PairedField] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        try:
            for made in pool.map(one, range(n)):
                fields.append(made)
                on_field(len(fields), n)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # do not simulate the rest before giving up
            raise
    return fields


def _demo() -> Recipe:
    plain = FieldSettings()
    return Recipe(
        name="demo",
        description="the bundled demo model: U-Net, simulated bright field to Cell Painting",
        settings={
            "generator": "unet",
            "preset": "small",
            "fields": 240,
            "validation": 0.05,
            "loss": "l2",
            "steps": 12_000,
            "batch": 8,
            "patch": 128,
            "learning_rate": 2e-3,
            "precision": "bf16",
            "validate_every": 500,
        },
        fields=_simulated,
        stains=STAINS,
        card={
            "name": "demo",
            "title": "Demo: simulated bright field to Cell Painting",
            "description": (
                "Predicts DNA, ER, RNA, AGP and Mito from three bright-field planes of "
                "simulated adherent cells."
            ),
            "z_offsets_um": plain.focus_offsets_um,
            "pixel_size_um": plain.pixel_yx_um[0],
            "input_channel": "Brightfield",
            "data": f"simulate.training_settings, simulator {fingerprint()[:16]}",
            "licence": "BSD-3-Clause",
            "limits": (
                (
                    "Trained on simulated cells only: on a real microscope image it shows that the "
                    "software works, not where the stain is."
                ),
                "Cannot replace fluorescent staining.",
            ),
        },
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"demo": _demo}
"""Recipes by name, made when asked for."""


def get_recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    if name in RECIPES:
        return RECIPES[name]()
    then = "Choose one of these, or give --input and --target."
    raise unknown_name("recipe", name, RECIPES, then=then)
