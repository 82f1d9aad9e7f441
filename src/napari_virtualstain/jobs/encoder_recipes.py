"""Trainings of encoders that anyone can repeat by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtualstain.datasets.labelled import CHANNEL, LabelledPicture
from napari_virtualstain.datasets.simulated_plate import MECHANISMS, PlateSettings, plate_fields
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.jobs.known_sets import single_cells
from napari_virtualstain.jobs.labelled_images import PictureData
from napari_virtualstain.simulate import STAINS, FieldSettings, fingerprint, simulate_field

__all__ = ["ENCODER_RECIPES", "EncoderRecipe", "known_pictures", "simulated_pictures"]

Told = Callable[[int, int], None]
_PLATES, _FEWEST_WELLS, _COMPOUNDS = 3, 4, 3
_CONTROLS = 0.25
_EDGE = 256
_SHALLOW = (-4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
_STACK_EDGE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRecipe:
    """Settings of a training, and the simulated pictures that it learns from if not told others.

    Parameters
    ----------
    name, description
        For the command line.
    settings
        Take the place of defaults; what the user states wins.
    """

    name: str
    description: str
    settings: Mapping[str, Any] = field(default_factory=dict)


_SMALL: dict[str, Any] = {
    "preset": "little", "patch": 128, "narrow_patch": 64, "narrow_views": 4, "batch": 16,
    "steps": 800, "validate_every": 100, "fields": 144, "clip": 3.0, "learning_rate": 1e-3,
    "wide_share": (0.2, 0.3), "narrow_share": (0.05, 0.08), "ema": 0.0,
    "split_by": "well", "method": ("teacher_momentum=0.98",),
}  # fmt: skip
_DINO_PAPER: dict[str, Any] = {
    "preset": "paper", "patch": 224, "narrow_patch": 96, "steps": 400_000, "fields": 144,
    "ema": 0.0, "split_by": "well",
}  # fmt: skip
_CLASSIFIER: dict[str, Any] = {
    "preset": "little", "patch": 128, "batch": 16, "steps": 800, "validate_every": 100,
    "learning_rate": 1e-3, "fields": 144, "split_by": "well",
}  # fmt: skip

ENCODER_RECIPES: dict[str, EncoderRecipe] = {
    recipe.name: recipe
    for recipe in (
        EncoderRecipe(
            name="dino",
            description="DINO, each channel by itself, small, minutes on a processor",
            settings={**_SMALL, "encoder": "dino"},
        ),
        EncoderRecipe(
            name="wsdino",
            description="WS-DINO by the treatment, small, minutes on a processor",
            settings={**_SMALL, "encoder": "wsdino", "own_steps": 300},
        ),
        EncoderRecipe(
            name="mcdino",
            description="DINO with all channels together, small, minutes on a processor",
            settings={**_SMALL, "encoder": "dino", "together": True},
        ),
        EncoderRecipe(
            name="treatment",
            description="a ResNet that tells treatments apart, small, minutes on a processor",
            settings={
                **_CLASSIFIER, "encoder": "resnet", "together": True, "label": "treatment",
            },
        ),
        EncoderRecipe(
            name="structure",
            description="a ResNet that tells stains apart, small, minutes on a processor",
            settings={**_CLASSIFIER, "encoder": "resnet", "label": CHANNEL, "fields": 48,
                      "steps": 300},
        ),
        EncoderRecipe(
            name="structure3d",
            description="the same over stacks",
            settings={
                **_CLASSIFIER, "encoder": "resnet3d", "label": CHANNEL, "fields": 12, "batch": 8,
                "patch": 64, "patch_z": 8, "steps": 200, "validate_every": 50,
            },
        ),
        EncoderRecipe(
            name="dino-paper",
            description="DINO, ViT-S/8, as its code has it",
            settings={
                **_DINO_PAPER, "encoder": "dino", "batch": 64, "learning_rate": 5e-4, "clip": 3.0,
                "wide_share": (0.4, 1.0), "narrow_share": (0.05, 0.4),
            },
        ),
        EncoderRecipe(
            name="wsdino-paper",
            description="WS-DINO, ViT-S/8, as published",
            settings={
                **_DINO_PAPER, "encoder": "wsdino", "batch": 16, "learning_rate": 4e-6,
                "wide_share": (0.1, 0.2), "narrow_share": (0.04, 0.08),
            },
        ),
        EncoderRecipe(
            name="mcdino-paper",
            description="multi-channel DINO, ViT-S/8, as published",
            settings={
                **_DINO_PAPER, "encoder": "dino", "together": True, "batch": 256,
                "learning_rate": 5e-4, "clip": 3.0, "wide_share": (0.4, 1.0),
                "narrow_share": (0.05, 0.4),
            },
        ),
        EncoderRecipe(
            name="treatment-paper",
            description="ResNet-50 that tells treatments apart",
            settings={
                **_CLASSIFIER, "encoder": "resnet", "preset": "resnet50", "together": True,
                "label": "treatment", "patch": 224, "batch": 32, "steps": 20_000,
                "validate_every": 500, "learning_rate": 1e-4,
            },
        ),
    )
}  # fmt: skip
"""Recipes by name."""


def simulated_pictures(
    n: int, *, label: str, ndim: int, channels: tuple[str, ...], split_by: str, told: Told
) -> PictureData:
    """Return the first fields of simulated plates, or stacks of simulated cells.

    Parameters
    ----------
    n
        How many at least.
    label
        One of those of a simulated plate (``treatment``, ``moa``, ``plate``, ``well``), or
        `CHANNEL`; ``""`` for none.
    ndim
        2 for fields of plates, 3 for stacks, which have no labels but `CHANNEL`.
    channels
        Of the stains; all if empty.
    split_by
        ``"field"``, ``"well"`` or ``"plate"``.
    told
        Of each field made.

    Raises
    ------
    SettingsError
        If there is no such label or channel.
    """
    card = {
        "pixel_size_um": 0.6,
        "licence": "BSD-3-Clause",
        "limits": ("Trained on simulated cells only: it shows that the software works.",),
    }
    names = channels or STAINS
    unknown = [name for name in names if name not in STAINS]
    if unknown:
        raise SettingsError(
            f"Simulated cells have no {unknown[0]!r}. Choose --channels among {', '.join(STAINS)}."
        )
    which = [STAINS.index(name) for name in names]
    if ndim == len("zyx"):
        return _stacks(n, which, names, label, card, told)
    fields = list(plate_fields(_plates_of(n)))
    if label not in ("", CHANNEL) and label not in fields[0].labels:
        raise SettingsError(
            f"Simulated plates have no label {label!r}. Choose --label among "
            f"{', '.join([*fields[0].labels, CHANNEL])}."
        )
    pictures = []
    for number, one in enumerate(fields):
        at = one.labels
        name = "/".join((at["plate"], at["well"], at["site"]))
        group = {"field": name, "plate": at["plate"]}.get(split_by, f"{at['plate']}/{at['well']}")
        pixels = one.picture()[len(one.settings.focus_offsets_um) :][which]
        pictures.append(LabelledPicture(name, pixels, at.get(label), group))
        told(number + 1, len(fields))
    card["data"] = f"{len(fields)} fields of simulated plates, simulator {fingerprint()[:16]}"
    return PictureData(pictures=pictures, channels=tuple(names), label=label, card=card)


def _plates_of(n: int) -> PlateSettings:
    """Return plates with so many fields, on each of which every compound is."""
    wells = max(_FEWEST_WELLS, -(-n // _PLATES))
    treated = wells - max(1, round(wells * _CONTROLS))
    mechanisms = MECHANISMS[:treated]
    compounds = min(_COMPOUNDS, treated // len(mechanisms))
    return PlateSettings(
        wells=wells, plates=_PLATES, sites=1, mechanisms=mechanisms, compounds=compounds,
        controls=_CONTROLS, shape_px=(_EDGE, _EDGE),
    )  # fmt: skip


def _stacks(
    n: int,
    which: list[int],
    names: tuple[str, ...],
    label: str,
    card: dict[str, Any],
    told: Told,
) -> PictureData:
    if label != CHANNEL:
        raise SettingsError(
            f"Simulated stacks have no label {label!r}. Use --label {CHANNEL}, or name stacks of "
            "your own with --input and --labels."
        )
    pictures = []
    for number in range(n):
        settings = FieldSettings(
            shape_px=(_STACK_EDGE, _STACK_EDGE), stain_offsets_um=_SHALLOW,
            focus_offsets_um=(0.0,),
        )  # fmt: skip
        stack = simulate_field(settings, seed=2_000_000 + number).stains[0]
        pictures.append(LabelledPicture(f"stack {number}", stack[which], None, f"stack {number}"))
        told(number + 1, n)
    card["data"] = f"{n} stacks of simulated cells, simulator {fingerprint()[:16]}"
    return PictureData(pictures=pictures, channels=names, label=label, card=card)


def known_pictures(path: str, *, channels: tuple[str, ...], label: str) -> PictureData:
    """Return the pictures of a public set that has labels: cells in flow, by their phase.

    Parameters
    ----------
    path
        Folder with its files, or one above.
    channels
        Of ``Brightfield`` and ``DNA``; the bright field if empty.
    label
        ``phase``, or `CHANNEL`, or ``""``.

    Raises
    ------
    SettingsError
        If it is no such set, or has no such channel or label.
    """
    folder = Path(path)
    first = next(iter(sorted(folder.glob("**/Ch3_*.tif"))), None) if folder.is_dir() else None
    if first is None:
        raise SettingsError(
            f"'{path}' is no public set with labels that is known here (Jurkat cells in flow, "
            "folders of Ch3_*.tif a phase). Name images of your own with --input and --labels."
        )
    if label not in ("phase", CHANNEL, ""):
        raise SettingsError(
            f"These cells have no label {label!r}. Use --label phase, their phase of the cell "
            "cycle."
        )
    bright, dna, phases = single_cells(first.parent.parent)
    there = {"Brightfield": bright, "DNA": dna}
    names = channels or ("Brightfield",)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise SettingsError(
            f"These cells have no channel {unknown[0]!r}. Choose --channels among "
            f"{', '.join(there)}."
        )
    pixels = np.stack([there[name] for name in names], axis=1)
    return PictureData(
        pictures=[
            LabelledPicture(f"cell {n}", one, phase, f"cell {n}")
            for n, (one, phase) in enumerate(zip(pixels, phases, strict=True))
        ],
        channels=names,
        label=label,
        card={
            "data": f"{len(pixels)} Jurkat cells of one run of an imaging flow cytometer",
            "licence": "BSD-3-Clause (data: Blasi et al. 2016, repository minh-doan/MLCP)",
            "citation": "Blasi et al. 2016, Nat. Commun. 7, 10256, doi:10.1038/ncomms10256",
            "limits": ("Single cells of one line in flow, 40 x 40 px each, of one instrument.",),
        },
    )
