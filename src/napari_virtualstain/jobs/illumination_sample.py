"""Which fields of a plate teach how it is lit? A sample by seed, opened lazily."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtualstain.errors import PixelDataError, SettingsError, VirtualStainError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.plate import plates_of
from napari_virtualstain.io.scene import Scene, listed
from napari_virtualstain.jobs.batch_items import find_images

if TYPE_CHECKING:
    from napari_virtualstain.jobs.illumination import IlluminationSettings

__all__ = ["Seen", "only_alike", "sample_fields", "scenes_of"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One field of the sample: an image at a time point.

    Parameters
    ----------
    name
        Of the field.
    image
        With all channels and z planes.
    t
        Time point.
    """

    name: str
    image: LazyImage
    t: int


def scenes_of(settings: IlluminationSettings) -> tuple[list[Scene], str, tuple[str, ...]]:
    """Return the images of one plate, or of none, its name, and names of what is no image.

    Raises
    ------
    SettingsError
        If there is none, or they lie on several plates.
    """
    found = find_images(Path(settings.input), axes=settings.axes, pattern=settings.pattern)
    patterns = [part.strip() for part in (settings.scene or "*").split(",")]
    scenes = [
        scene
        for path, there in found.images
        for scene in there
        if any(fnmatchcase(scene.name or path.name, pattern) for pattern in patterns)
    ]
    if not scenes:
        raise SettingsError(
            f"No image in {settings.input!r} is named like {settings.scene!r}. See the names with "
            "`virtualstain info`, and choose others with --scene."
        )
    scenes = [scene for scene in scenes if _may_hold(scene, settings.channels)] or scenes
    plates = plates_of(scenes)
    if len(plates) > 1:
        names = listed([plate.name for plate in plates])
        raise SettingsError(
            f"{settings.input!r} holds {len(plates)} plates ({names}), and a function belongs to "
            "one. Choose the images of one plate with --scene."
        )
    return scenes, plates[0].name if plates else "", found.others


def _may_hold(scene: Scene, channels: tuple[str, ...] | None) -> bool:
    """Return whether a scene has the channels, as far as it says before it is opened."""
    if scene.announced is None:
        return True
    if channels is None:
        return any(channel.modality != "fluorescence" for channel in scene.announced)
    names = {channel.name.casefold() for channel in scene.announced}
    return all(name.casefold() in names for name in channels)


def sample_fields(
    scenes: list[Scene], settings: IlluminationSettings
) -> tuple[list[Seen], int, list[str]]:
    """Open the fields that are read; return how many there are, and those that do not open.

    Of more images than are read each gives one time point, so that no other is opened.

    Raises
    ------
    PixelDataError
        If none can be opened.
    """
    rng = np.random.default_rng(settings.seed)
    left_out: list[str] = []
    order = [scenes[int(i)] for i in rng.permutation(len(scenes))]
    few = len(scenes) < settings.fields
    seen: list[Seen] = []
    for scene in order:
        if len(seen) == settings.fields and not few:
            break
        try:
            image = scene.open()
        except VirtualStainError as error:
            left_out.append(f"{scene.name or settings.input!r}: {error}")
            continue
        times = image.shape[0]
        chosen = range(times) if few else [int(rng.integers(times))]
        seen += [Seen(_name(scene, image, t), image, t) for t in chosen]
    if not seen:
        raise PixelDataError(f"No field can be opened. The first is {left_out[0]}")
    of = len(seen) if few else len(scenes)
    if len(seen) > settings.fields:
        seen = [seen[int(i)] for i in sorted(rng.permutation(len(seen))[: settings.fields])]
    return seen, of, left_out


def _name(scene: Scene, image: LazyImage, t: int) -> str:
    shown = scene.name or Path(image.source.path or "").name
    return f"{shown} t{t}" if image.shape[0] > 1 else shown


def only_alike(sample: list[Seen], settings: IlluminationSettings) -> tuple[list[Seen], list[str]]:
    """Leave out fields of another size or with other channels than most."""
    wanted = settings.channels

    def form(seen: Seen) -> tuple[Any, ...]:
        names = seen.image.channel_names if wanted is None else wanted
        return (*seen.image.shape[2:], *names)

    def has(seen: Seen) -> bool:
        folded = [name.casefold() for name in seen.image.channel_names]
        return wanted is None or all(name.casefold() in folded for name in wanted)

    there = [seen for seen in sample if has(seen)]
    if not there:
        sample[0].image.select(wanted)  # says which channel is not there
    forms = [form(seen) for seen in there]
    most = max(forms, key=forms.count)
    kept = [seen for seen, one in zip(there, forms, strict=True) if one == most]
    gone = [seen.name for seen in sample if seen not in kept]
    return kept, [f"{name}: another size, or without the channel" for name in gone]
