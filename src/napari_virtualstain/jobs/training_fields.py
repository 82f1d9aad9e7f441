"""Which images a training is given by name, and how they become matched fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
from pydantic import Field

from napari_virtualstain.datasets.excluded import leave_out
from napari_virtualstain.datasets.labels import ImageKey
from napari_virtualstain.datasets.leakage import Footprint, block_prints, same_file
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.datasets.planes import InputPlanes, choose_channel
from napari_virtualstain.datasets.split import SetName, SplitBy
from napari_virtualstain.errors import ChannelError, PixelSizeError, SettingsError
from napari_virtualstain.generators.card import VolumeInput
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.plate import Place, parse_well, place_of_name
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane
from napari_virtualstain.jobs.pair_images import Images, Opening
from napari_virtualstain.jobs.training_denoised import denoised_truths
from napari_virtualstain.jobs.training_light import TrainingLight

__all__ = [
    "FieldData",
    "PairSettings",
    "card_of",
    "check_alike",
    "fields_of",
    "group_of",
    "open_pairs",
]

_TOLERANCE = 0.20
"""Relative difference of pixel sizes up to which images teach one model."""


class PairSettings(JobSettings):
    """Which images are matched, and which of their channels and planes."""

    pairs: PathText | None = Field(
        default=None,
        description="pairs file (see `pairs`) in the place of input and target; its validation "
        "fields examine, its test fields are not touched",
    )
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
    exclude: tuple[PathText, ...] = Field(
        default=(),
        description="pictures that are not 0 where a field is left out, one an input: artifacts "
        "that shall not teach",
    )
    pixel_size: float | None = Field(
        default=None, gt=0, description="pixel size in µm, if the files do not say"
    )
    illumination: tuple[PathText, ...] = Field(
        default=(),
        description="files of `virtualstain illumination`, one for all images or one a plate: the "
        "bright field is corrected for uneven light as it is read",
    )
    split_by: SplitBy = Field(
        default="field", description="what stays together when fields are kept back to validate on"
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
        ``citation``, ``limits``, ``na`` and ``illumination_corrected``.
    sets
        What each field is for, if that is decided: ``"train"`` or ``"validation"``.
    footprints
        What tells the fields from each other, to find those that would leak; may be left out.
    record
        What the card says of the pairs file.
    light
        Fingerprints of the functions that correct the planes for uneven light.
    notes
        Sentences about what should be known.
    label_names
        What the fields are labelled by.
    images
        File and place of each field, by which a table of labels finds it; may be left out.
    """

    fields: Sequence[PairedField]
    stains: tuple[str, ...]
    card: dict[str, Any]
    sets: tuple[SetName, ...] | None = None
    footprints: tuple[Footprint, ...] = ()
    record: Mapping[str, Any] | None = None
    light: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    images: tuple[ImageKey, ...] = ()


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


def open_pairs(settings: PairSettings, *, name: str, volume: bool = False) -> FieldData:
    """Open a user's pairs: each time point of each pair is a field.

    Parameters
    ----------
    settings
        Which images.
    name
        Of the model, for its card.
    volume
        Whether planes stay planes: a stack of bright field to stacks of stains.

    Raises
    ------
    VirtualStainError
        If images cannot be opened or do not match.
    """
    if not settings.input:
        raise SettingsError(
            "Nothing to train on. Name images with --input and --target, a file of --pairs, or a "
            "--recipe."
        )
    targets = settings.target or settings.input
    if len(targets) != len(settings.input):
        raise SettingsError(
            f"{len(settings.input)} inputs and {len(targets)} targets were named. "
            "Name one --target an --input, in the same order."
        )
    if len(settings.exclude) not in (0, len(settings.input)):
        raise SettingsError(
            f"{len(settings.input)} inputs and {len(settings.exclude)} pictures of what is left "
            "out were named. Name one --exclude an --input, in the same order."
        )
    if not settings.stains:
        raise SettingsError("Say which channels of the targets to learn, e.g. --stains DNA,ER.")
    fields: list[PairedField] = []
    prints: list[Footprint] = []
    opened: list[LazyImage] = []
    keys: list[ImageKey] = []
    images = Images()
    light = TrainingLight(settings.illumination)
    painted = settings.exclude or (None,) * len(settings.input)
    for source, truth, out in zip(settings.input, targets, painted, strict=True):
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
        if volume and settings.z is not None:
            stains = stains.select(z=settings.z)
        if out is not None:
            stains = leave_out(stains, out)
        fits = (planes.shape[0], planes.shape[2] if volume else 1)
        if (stains.shape[0], stains.shape[2]) != fits:
            raise SettingsError(
                f"'{source}' has {planes.shape[0]} time points, '{truth}' {stains.shape[0]} and "
                f"{stains.shape[2]} z planes. {_targets_wanted(planes, volume)}"
            )
        opened.append(planes)
        group = group_of(source, image, settings, images)
        files = {(same_file(source), planes.source.scene), (same_file(truth), stains.source.scene)}
        place = _stated_place(source, image, settings, images) if settings.illumination else None
        even = light.corrected(
            planes, settings.z, path=source, plate=place.plate if place is not None else ""
        )
        found = fields_of(even, stains, name=source, group=group, volume=volume)
        fields += found
        where = (Path(same_file(source)), _place(source, image, settings, images))
        keys += [where] * len(found)
        prints += [
            Footprint(
                name=field.name,
                files=frozenset(files),
                prints=frozenset(block_prints(planes, 0, t=t, z=planes.shape[2] // 2)),
            )
            for t, field in enumerate(found)
        ]
    return FieldData(
        fields=fields,
        stains=settings.stains,
        card=card_of(
            opened,
            name=name,
            label=label,
            sources=settings.input,
            settings=settings,
            volume=volume,
        ),
        footprints=tuple(prints),
        light=light.fingerprints,
        notes=(
            *light.notes,
            *denoised_truths({s: [(path, s) for path in targets] for s in settings.stains}),
        ),
        images=tuple(keys),
    )


def _targets_wanted(planes: LazyImage, volume: bool) -> str:
    if not volume:
        return "Give targets of one plane for the same time points."
    return (
        f"A network over stacks needs targets of the same {planes.shape[2]} z planes for the same "
        "time points; for targets of one plane choose a --generator over planes."
    )


def fields_of(
    planes: LazyImage, stains: LazyImage, *, name: str, group: str, volume: bool = False
) -> list[PairedField]:
    """Return one field a time point, in memory where there is room.

    Parameters
    ----------
    planes, stains
        (T, 1, P, Y, X) and (T, C, 1, Y, X); of volumes (T, 1, Z, Y, X) and (T, C, Z, Y, X).
    name, group
        See `PairedField`.
    volume
        Whether planes stay planes.
    """
    fits = planes.nbytes + stains.nbytes < psutil.virtual_memory().available / 8
    fields = []
    for t in range(planes.shape[0]):
        below = planes.data[t] if volume else planes.data[t, 0]
        above = stains.data[t] if volume else stains.data[t, :, 0]
        if fits:
            with dask.config.set(scheduler="synchronous"):
                below, above = below.compute(), above.compute()
        fields.append(PairedField(f"{name} t{t}", below, above, group=group))
    return fields


def card_of(
    opened: Sequence[LazyImage],
    *,
    name: str,
    label: str,
    sources: Sequence[str],
    settings: PairSettings,
    volume: bool = False,
) -> dict[str, Any]:
    """Return what a card says of bright-field images.

    Raises
    ------
    PixelSizeError
        If their pixel size is not known, or differs.
    """
    known = (settings.pixel_size or planes.pixel_size_um.yx for planes in opened)
    sizes = [size for size in known if size is not None]
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
    # Known only if all inputs say the same.
    offsets = {planes.z_positions_um for planes in opened}
    positions = offsets.pop() if len(offsets) == 1 else None
    steps = {planes.pixel_size_um.z for planes in opened}
    stack = VolumeInput(z_step_um=steps.pop() if len(steps) == 1 else None)
    apertures = {planes.na for planes in opened}
    return {
        **({"volume": stack} if volume else {}),
        "name": name,
        "pixel_size_um": float(np.median(sizes)),
        "input_channel": label,
        "z_offsets_um": (None,) if volume else positions or (None,) * opened[0].shape[2],
        "na": apertures.pop() if len(apertures) == 1 else None,
        "illumination_corrected": bool(settings.illumination),
        "data": ", ".join(Path(source).name for source in sources),
        "limits": ("Judge it on fields that were not trained on before you trust it.",),
    }


def group_of(source: str, image: LazyImage, settings: PairSettings, images: Images) -> str:
    """Return what has to stay on one side of a split together with an image.

    Raises
    ------
    SettingsError
        If its well or plate is asked for and not known.
    """
    if settings.split_by == "field":
        return same_file(source)
    place = _place(source, image, settings, images)
    if place is None or not place.well:
        raise SettingsError(
            f"No well is known of '{source}', so that the fields cannot be split by "
            f"{settings.split_by}. Use --split-by field, or `virtualstain pairs` with a table that "
            "has the columns plate and well."
        )
    return place.plate if settings.split_by == "plate" else f"{place.plate}/{place.well}"


def _place(source: str, image: LazyImage, settings: PairSettings, images: Images) -> Place | None:
    """Return where an image lies, by its scene, its name, or its place in an OME-Zarr plate."""
    path = Path(same_file(source))
    place = _stated_place(source, image, settings, images)
    if place is not None:
        return place if place.plate else replace(place, plate=str(path))
    row, column = path.parts[-3:-1] if len(path.parts) > 3 else ("", "")
    if parse_well(row + column) is not None and path.parent.parent.parent.suffix == ".zarr":
        return Place(plate=str(path.parent.parent.parent), well=row + column)
    named = place_of_name(image.source.scene) or place_of_name(path.name.partition(".")[0])
    return None if named is None else replace(named, plate=str(path.parent))


def _stated_place(
    source: str, image: LazyImage, settings: PairSettings, images: Images
) -> Place | None:
    scenes = images.scenes(source, Opening(settings.axes))
    return next((one.place for one in scenes if one.name == image.source.scene), None)
