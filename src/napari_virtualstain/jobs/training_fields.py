"""Which images a training is given, and how they become matched fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
from pydantic import Field

from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.datasets.planes import InputPlanes, choose_channel
from napari_virtualstain.errors import ChannelError, PixelSizeError, SettingsError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane

__all__ = ["FieldData", "PairSettings", "check_alike", "open_pairs"]

_TOLERANCE = 0.20
"""Relative difference of pixel sizes up to which images teach one model."""


class PairSettings(JobSettings):
    """Which images are matched, and which of their channels and planes."""

    input: tuple[PathText, ...] = Field(default=(), description="images with the bright field")
    target: tuple[PathText, ...] = Field(
        default=(), description="images with the stains, one an input; the inputs if not given"
    )
    stains: tuple[str, ...] = Field(default=(), description="channels of the targets to learn")
    channel: str | None = Field(default=None, description="name of the bright-field channel")
    z: tuple[Plane, ...] | None = Field(default=None, description="z planes to learn from")
    scene: str | None = Field(
        default=None, description="which image of each input, if it holds several (see `info`)"
    )
    axes: str | None = Field(default=None, description="axes of the inputs, if they do not say")
    target_scene: str | None = Field(default=None, description="which image of each target")
    target_axes: str | None = Field(
        default=None, description="axes of the targets, if they do not say"
    )
    pixel_size: float | None = Field(
        default=None, gt=0, description="pixel size in µm, if the files do not say"
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldData:
    """Fields to learn from, and what the card says of them.

    Parameters
    ----------
    fields
        Matched planes and stains.
    stains
        Names of the stains.
    card
        ``name``, ``pixel_size_um``, ``input_channel``, ``z_offsets_um``,
        ``data`` and, if known, ``title``, ``description``, ``licence``,
        ``citation`` and ``limits``.
    """

    fields: Sequence[PairedField]
    stains: tuple[str, ...]
    card: dict[str, Any]


def check_alike(data: FieldData) -> None:
    """Refuse fields that one network cannot learn from.

    Raises
    ------
    SettingsError, ChannelError
        If there are none, or they have different numbers of planes.
    """
    if not data.fields:
        raise SettingsError("There are no fields to train on. Give at least one.")
    first = data.fields[0]
    for other in data.fields:
        if other.planes.shape[0] != first.planes.shape[0]:
            raise ChannelError(
                f"Field {first.name!r} has {first.planes.shape[0]} bright-field planes, "
                f"{other.name!r} has {other.planes.shape[0]}. Choose equally many of each with --z."
            )


def open_pairs(settings: PairSettings, *, name: str) -> FieldData:
    """Open a user's pairs: each time point of each pair is a field.

    Parameters
    ----------
    settings
        Which images.
    name
        Of the model, for its card.

    Raises
    ------
    VirtualStainError
        If images cannot be opened or do not match.
    """
    if not settings.input:
        raise SettingsError(
            "Nothing to train on. Name images with --input and --target, or a --recipe."
        )
    targets = settings.target or settings.input
    if len(targets) != len(settings.input):
        raise SettingsError(
            f"{len(settings.input)} inputs and {len(targets)} targets were named. "
            "Name one --target an --input, in the same order."
        )
    if not settings.stains:
        raise SettingsError("Say which channels of the targets to learn, e.g. --stains DNA,ER.")
    fields: list[PairedField] = []
    sizes: list[float] = []
    offsets: set[tuple[float, ...] | None] = set()
    label = ""
    for source, truth in zip(settings.input, targets, strict=True):
        image = open_image(
            source,
            scene=settings.scene,
            axes=settings.axes,
            channels=[settings.channel] if settings.channel else None,
        )
        label, _ = choose_channel(image, channel=settings.channel, like="bright field")
        planes = image.select([label], z=settings.z)
        same = source == truth  # what was said of the input holds for the target
        stains = open_image(
            truth,
            scene=settings.target_scene or (settings.scene if same else None),
            axes=settings.target_axes or (settings.axes if same else None),
            channels=list(settings.stains),
        ).with_gaps()
        InputPlanes(planes, settings.z or ()).refuse_missing(range(planes.shape[0]))
        if planes.shape[0] != stains.shape[0] or stains.shape[2] != 1:
            raise SettingsError(
                f"'{source}' has {planes.shape[0]} time points, '{truth}' {stains.shape[0]} and "
                f"{stains.shape[2]} z planes. Give targets of one plane for the same time points."
            )
        size = settings.pixel_size or planes.pixel_size_um.yx
        if size is not None:
            sizes.append(size)
        offsets.add(planes.z_positions_um)
        fits = planes.nbytes + stains.nbytes < psutil.virtual_memory().available / 8
        for t in range(planes.shape[0]):
            below, above = planes.data[t, 0], stains.data[t, :, 0]
            if fits:
                with dask.config.set(scheduler="synchronous"):
                    below, above = below.compute(), above.compute()
            fields.append(PairedField(f"{source} t{t}", below, above, group=source))
    if not sizes:
        raise PixelSizeError(
            "The inputs do not state their pixel size, without which nobody could use the model "
            "safely. State it with --pixel-size, for example --pixel-size 0.65."
        )
    if max(sizes) > (1 + _TOLERANCE) * min(sizes):
        raise PixelSizeError(
            f"The inputs have pixels of {min(sizes):g} to {max(sizes):g} µm, and one model is for "
            "one size. Leave out those that differ, or resample them first."
        )
    n_planes = fields[0].planes.shape[0]
    # Known only if all inputs say the same.
    positions = offsets.pop() if len(offsets) == 1 else None
    return FieldData(
        fields=fields,
        stains=settings.stains,
        card={
            "name": name,
            "pixel_size_um": float(np.median(sizes)),
            "input_channel": label,
            "z_offsets_um": positions or (None,) * n_planes,
            "data": ", ".join(Path(source).name for source in settings.input),
            "limits": ("Judge it on fields that were not trained on before you trust it.",),
        },
    )
