"""Which pictures an encoder is taught by, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.axes import LazyArray
from napari_virtualstain.datasets.labelled import CHANNEL, LabelledPicture
from napari_virtualstain.datasets.labels import ImageKey, label_images, read_labels
from napari_virtualstain.errors import ChannelError, PixelSizeError, SettingsError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import PathText
from napari_virtualstain.jobs.batch_items import find_images
from napari_virtualstain.jobs.training_fields import PairSettings

__all__ = ["LabelSettings", "PictureData", "open_pictures"]

_TOLERANCE = 0.20
"""Relative difference of pixel sizes up to which pictures teach one encoder."""
_VOLUME = 3


class LabelSettings(BaseModel):
    """What an encoder is, and which pictures it is taught by; beside `PairSettings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str | None = Field(
        default=None,
        description="train an encoder, which sees rather than paints: dino, wsdino, resnet or "
        "resnet3d",
    )
    channels: tuple[str, ...] = Field(
        default=(), description="of an encoder: channels of the images that it sees; all otherwise"
    )
    together: bool = Field(
        default=False,
        description="of an encoder: all channels go in at once, and not each by itself",
    )
    labels: PathText | None = Field(
        default=None, description="of an encoder: table (CSV) of what was done to each well or file"
    )
    label: str | None = Field(
        default=None,
        description="of an encoder: column of that table, treatment if not given; `channel` for "
        "which channel a picture is of",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureData:
    """Pictures to learn from, and what the card says of them.

    Parameters
    ----------
    pictures
        With the same channels.
    channels
        Their names.
    label
        What they are called by; ``""`` where nothing is known.
    card
        ``data`` and, if known, ``pixel_size_um``, ``title``, ``description``, ``licence``,
        ``citation`` and ``limits``.
    notes
        Sentences about what should be known.
    """

    pictures: Sequence[LabelledPicture]
    channels: tuple[str, ...]
    label: str
    card: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_pictures(
    settings: PairSettings, asked: LabelSettings, *, ndim: int, label: str
) -> PictureData:
    """Open a user's images: each time point of each field is a picture.

    Parameters
    ----------
    settings
        Which images.
    asked
        Which of their channels, and what they are called.
    ndim
        2 for planes, 3 for stacks.
    label
        What they are to be called by; ``""`` for nothing.

    Raises
    ------
    VirtualStainError
        If images cannot be opened, have other channels, or none is called anything.
    """
    if not settings.input:
        raise SettingsError(
            "There are no images to learn from. Name plates, images or folders with --input."
        )
    keys: list[ImageKey] = []
    opened: list[tuple[LazyImage, str]] = []
    for path in settings.input:
        for file, scenes in find_images(Path(path), axes=settings.axes).images:
            for scene in scenes:
                if settings.scene is not None and scene.name != settings.scene:
                    continue
                image = open_image(file, scene=scene.name or None, axes=settings.axes)
                opened.append((image.with_gaps(), "/".join(filter(None, (file.name, scene.name)))))
                keys.append((file, scene.place))
    if not opened:
        raise SettingsError(
            f"No image has a scene {settings.scene!r}. See their names with `virtualstain info`."
        )
    names = asked.channels or opened[0][0].channel_names
    said: tuple[str | None, ...] = (None,) * len(keys)
    notes: tuple[str, ...] = ()
    if label not in ("", CHANNEL):
        table = None if asked.labels is None else read_labels(asked.labels)
        found = label_images(keys, label, table)
        said, notes = found.labels, found.notes
    pictures: list[LabelledPicture] = []
    for (image, name), (file, place), called in zip(opened, keys, said, strict=True):
        group = {
            "field": name,
            "plate": file.name if place is None else place.plate or file.name,
            "well": name if place is None else f"{place.plate or file.name}/{place.well}",
        }[settings.split_by]
        for t, pixels in enumerate(_times(image, names, name, ndim, settings)):
            each = f"{name} t{t}" if image.shape[0] > 1 else name
            pictures.append(LabelledPicture(each, pixels, called, group))
    size, more = _pixel_size(settings, opened)
    card = {"data": f"{len(pictures)} pictures of {len(opened)} images", "pixel_size_um": size}
    return PictureData(
        pictures=pictures, channels=tuple(names), label=label, card=card, notes=(*notes, *more)
    )


def _times(
    image: LazyImage, names: Sequence[str], name: str, ndim: int, settings: PairSettings
) -> list[LazyArray]:
    """Return (C, *S) of each time point."""
    lacking = [one for one in names if one not in image.channel_names]
    if lacking:
        raise ChannelError(
            f"The image {name!r} has no channel {lacking[0]!r}; it has "
            f"{', '.join(image.channel_names)}. Name channels that all images have with "
            "--channels."
        )
    depth = image.shape[2]
    if ndim == _VOLUME:
        data = image.select(list(names)).data
        return [data[t] for t in range(image.shape[0])]
    if settings.z is not None and len(settings.z) != 1:
        raise SettingsError(
            "An encoder of planes sees one plane of a stack. Name one with --z, or train one over "
            "stacks: --encoder resnet3d."
        )
    plane = depth // 2 if settings.z is None else settings.z[0]
    data = image.select(list(names), z=[plane]).data
    return [data[t, :, 0] for t in range(image.shape[0])]


def _pixel_size(
    settings: PairSettings, opened: Sequence[tuple[LazyImage, str]]
) -> tuple[float | None, tuple[str, ...]]:
    if settings.pixel_size is not None:
        return settings.pixel_size, ()
    known = [(size, name) for image, name in opened if (size := image.pixel_size_um.y) is not None]
    if not known:
        unknown = (
            "the images do not say how large their pixels are, so that other images cannot be "
            "compared with them; state it with --pixel-size"
        )
        return None, (unknown,)
    first = known[0][0]
    for size, name in known:
        if abs(size / first - 1) > _TOLERANCE:
            raise PixelSizeError(
                f"The image {name!r} has {size:g} µm pixels, and {known[0][1]!r} {first:g} µm. "
                "Train on images of one pixel size, or correct it with --pixel-size."
            )
    return first, ()
