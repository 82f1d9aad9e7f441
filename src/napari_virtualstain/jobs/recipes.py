"""Trainings that anyone can repeat by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.errors import unknown_name
from napari_virtualstain.generators.registry import GENERATORS
from napari_virtualstain.jobs.encoder_recipes import ENCODER_RECIPES, EncoderRecipe
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
    fits
        Returns what changes in the settings for fields of a shape and a network of a stride; for
        recipes that learn from any images (``--data``).
    """

    name: str
    description: str
    settings: Mapping[str, Any]
    fields: Callable[[int, Callable[[int, int], None]], list[PairedField]]
    stains: tuple[str, ...]
    card: Mapping[str, Any] = field(default_factory=dict)
    fits: Callable[[tuple[int, ...], int], dict[str, Any]] | None = None


def _simulated(n: int, on_field: Callable[[int, int], None]) -> list[PairedField]:
    """Return the first ``n`` training fields of the simulator."""

    def one(index: int) -> PairedField:
        settings, seed = training_settings(index)
        made = simulate_field(settings, seed=seed)
        # (T, Z, Y, X) -> (Z, Y, X); (T, C, Y, X) -> (C, Y, X)
        return PairedField(
            f"simulated {seed}", made.brightfield[0], made.stains[0], labels=(settings.phenotype,)
        )

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


_PATCHES = (256, 128, 64, 40, 32, 24, 16)
"""Edges of patches in pixels, of which a recipe takes the largest that fits its fields."""

_PAPERS: dict[str, dict[str, Any]] = {
    "unet": {"preset": "labelfree", "batch": 20, "patch": 256, "steps": 15_000,
             "learning_rate": 2e-4, "weight_decay": 0.0, "method": ("optimiser=adam",)},
    "wgan_gp": {"preset": "labelfree", "batch": 20, "patch": 256, "steps": 15_000},
    "pix2pix": {"preset": "large", "batch": 1, "patch": 256, "steps": 100_000},
    "spade": {"preset": "paper", "batch": 1, "patch": 256, "steps": 100_000},
    # 60 epochs of 3174 pictures, from weights of photographs; what the discriminator waits for is
    # the method's.
    "vae_gan": {"preset": "paper", "batch": 4, "patch": 256, "steps": 47_610},
    "isl": {"preset": "small", "batch": 16, "patch": 256, "steps": 50_000,
            "learning_rate": 1e-4},
    "palette": {"preset": "paper", "batch": 8, "at_once": 4, "patch": 256, "steps": 300_000,
                "ema": 0.9999},
    "guided_i2i": {"preset": "paper", "batch": 8, "at_once": 4, "patch": 256, "steps": 300_000,
                   "ema": 0.9999},
    "spade_diffusion": {"preset": "paper", "batch": 4, "at_once": 1, "patch": 256,
                        "steps": 300_000, "ema": 0.9999},
    # Published: the average follows every eighth step, from step 30,000 on.
    "bbdm": {"preset": "paper", "batch": 8, "at_once": 4, "patch": 256, "steps": 200_000,
             "ema": 0.9994},
    # 100 epochs of 3174 pictures for the bridge, and as many steps for the autoencoders, whose
    # number is not stated.
    "lbbdm": {"preset": "paper", "batch": 16, "at_once": 4, "patch": 256, "steps": 39_675,
              "ema": 0.9994},
    "fnet": {"preset": "paper", "batch": 24, "at_once": 4, "patch": 64, "patch_z": 32,
             "steps": 50_000, "loss": "l2"},
    "fnet2d": {"preset": "paper", "batch": 24, "patch": 64, "steps": 50_000, "loss": "l2"},
    "wgan_gp_3d": {"preset": "paper", "batch": 16, "at_once": 2, "patch": 64, "patch_z": 32,
                   "steps": 15_000},
    # Published with half of the loss from structural similarity; steps are those in the names of
    # the published files.
    "fcmae": {"preset": "vscyto3d", "batch": 32, "at_once": 1, "patch": 384, "patch_z": 15,
              "steps": 14_532,
              "learning_rate": 2e-4, "schedule": "cosine"},
    "unext2": {"preset": "vscyto3d-2024", "batch": 32, "at_once": 1, "patch": 384, "patch_z": 5,
               "steps": 18_130, "learning_rate": 2e-4, "schedule": "cosine"},
}  # fmt: skip
"""What the papers state, by method, as far as they do; rates and losses are the methods' own."""


def _of_method(name: str, *, paper: bool) -> Recipe:
    """Return the recipe of a method: a small one for a processor, or the paper's."""
    spec = GENERATORS[name]
    volume = spec.ndim == (3,)
    if paper:
        settings = {"generator": name, "schedule": "constant", **_PAPERS[name]}
        how = "as published"
    else:
        settings = {
            "generator": name, "preset": "little", "batch": 4 if volume else 8, "patch": 128,
            "patch_z": 8, "steps": 1500, "validate_every": 250, "fields": 24,
        }  # fmt: skip
        # At the papers' rates these would need days; gradients are kept in bounds instead.
        settings |= {"learning_rate": 1e-3, "clip": 1.0} if name in _ADVERSARIAL else {}
        settings |= _DRAWN if spec.stochastic else {}
        settings |= {"schedule": "constant"} if name in _IN_PARTS else {}
        how = "small, minutes on a processor"

    def fits(shape: tuple[int, ...], stride: int) -> dict[str, Any]:
        most = min(settings["patch"], *shape[-2:])
        edges = [edge for edge in _PATCHES if edge <= most and edge % stride == 0]
        found: dict[str, Any] = {"patch": edges[0]} if edges else {}
        if len(shape) > len("yx"):
            found["patch_z"] = max(stride, min(settings["patch_z"], shape[0]) // stride * stride)
        return found

    plain, called = _demo(), f"{name}-paper" if paper else name
    card = {**plain.card, "name": called, "title": f"{spec.title} on simulated Cell Painting"}
    return replace(
        plain, name=called, description=f"{spec.title}, {how}", settings=settings, fits=fits,
        card=card,
    )  # fmt: skip


_DRAWN: dict[str, Any] = {"patch": 64, "steps": 6000, "learning_rate": 1e-3, "clip": 1.0}
"""Of what draws: many noise levels are to be learnt, on small patches."""
_IN_PARTS = ("lbbdm",)
"""Of which a rate that sinks over the whole training would leave little to the last part."""
_ADVERSARIAL = ("wgan_gp", "pix2pix", "spade", "vae_gan", "wgan_gp_3d")

RECIPES: dict[str, Callable[[], Recipe | EncoderRecipe]] = {
    "demo": _demo,
    **{name: partial(_of_method, name, paper=False) for name in _PAPERS},
    **{f"{name}-paper": partial(_of_method, name, paper=True) for name in _PAPERS},
    **{name: partial(ENCODER_RECIPES.__getitem__, name) for name in ENCODER_RECIPES},
}
"""Recipes by name, made when asked for."""


def get_recipe(name: str) -> Recipe | EncoderRecipe:
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
