"""Where a layer comes from, what it shows, and what nobody has confirmed yet.

This travels with the layer, as plain values under one key of its metadata, so that it
survives renaming, copying and saving, and so that a job can open the same channel again from
disk instead of being sent its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast, get_args

import numpy as np

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.record import record_of_scene

__all__ = [
    "KEY",
    "LayerSource",
    "Role",
    "default_role",
    "job_of",
    "source_of",
    "tagged",
]

KEY = "napari_virtualstain"
"""Under which a layer's metadata hold the source."""

Role = Literal["brightfield", "truth", "prediction", "other"]
"""What a channel is to a virtual stain: what goes in, what should come out, what did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSource:
    """One channel of one image, as it can be opened again.

    Parameters
    ----------
    path
        File or folder, `None` for an array in memory.
    scene
        Which image inside the path; ``""`` when there is one.
    axes
        Axes that the user stated, `None` if the file's own were used.
    pattern
        How the files of the folder are named, as the user stated it, `None` if a layout told.
    channel
        Name as the file has it.
    role
        What the channel is to a virtual stain.
    stain
        Under which name truth and prediction are paired; ``""`` for other roles.
    pixel_size_um
        (z, y, x) in micrometres, `None` where not known.
    pixel_size_stated
        Whether the user stated it, so that a job must be told.
    guesses
        What the reader guessed rather than read, a sentence each.
    confirmed
        Whether somebody has looked at the guesses.
    kind
        Name of the opener, for example ``"ome-tiff"``.
    model
        Name of the model that made a prediction, else ``""``.
    title
        Name of the image for people where the path says little, else ``""``.
    shape
        Of the layer's data; a copy of another shape (a projection, a crop) is not the file.
    """

    path: str | None = None
    scene: str = ""
    axes: str | None = None
    pattern: str | None = None
    channel: str = ""
    role: Role = "other"
    stain: str = ""
    pixel_size_um: tuple[float | None, float | None, float | None] = (None, None, None)
    pixel_size_stated: bool = False
    guesses: tuple[str, ...] = ()
    confirmed: bool = False
    kind: str = "array"
    model: str = ""
    title: str = ""
    shape: tuple[int, ...] = ()

    @property
    def open_guesses(self) -> tuple[str, ...]:
        """What is still to be confirmed."""
        return () if self.confirmed else self.guesses

    def pixel_size(self) -> PixelSize:
        """Return the pixel size as `open_image` takes it."""
        return PixelSize(*self.pixel_size_um)

    def with_role(self, role: Role, stain: str = "") -> LayerSource:
        """Return the same channel in another role.

        Parameters
        ----------
        role
            What it is.
        stain
            Name for pairing; of truth and prediction the channel's own name if left empty.
        """
        paired = role in ("truth", "prediction")
        return replace(self, role=role, stain=(stain or self.channel) if paired else "")

    def as_confirmed(self) -> LayerSource:
        """Return the same channel, its guesses confirmed by somebody."""
        return replace(self, confirmed=True)

    def same_image(self, other: LayerSource) -> bool:
        """Return whether two channels lie in one image on disk."""
        return self.path is not None and (self.path, self.scene) == (other.path, other.scene)


def tagged(metadata: Mapping[str, Any], source: LayerSource) -> dict[str, Any]:
    """Return metadata of a layer that hold its source, as values that JSON can hold."""
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(source).items()
    }
    return {**metadata, KEY: values}


def source_of(layer: Any) -> LayerSource | None:
    """Return where a layer came from, `None` if it is not from here.

    Parameters
    ----------
    layer
        A layer, or its metadata.

    Examples
    --------
    >>> source_of(tagged({}, LayerSource(path="a.tif", channel="DNA"))).channel
    'DNA'
    >>> source_of({"somebody": "else"}) is None
    True
    """
    metadata = layer if isinstance(layer, Mapping) else getattr(layer, "metadata", None)
    values = metadata.get(KEY) if isinstance(metadata, Mapping) else None
    if not isinstance(values, Mapping):
        return None
    known = {field.name for field in fields(LayerSource)}
    given: dict[str, Any] = {
        str(name): tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name in known  # a newer version may have written more
    }
    if given.get("role", "other") not in get_args(Role):
        return None
    size = given.get("pixel_size_um", (None, None, None))
    if not isinstance(size, tuple) or len(size) != 3:
        return None
    texts = (
        given.get(name, "") for name in ("scene", "channel", "stain", "kind", "model", "title")
    )
    optional = (given.get(name) for name in ("path", "axes", "pattern"))
    if not all(isinstance(text, str) for text in texts) or not all(
        text is None or isinstance(text, str) for text in optional
    ):
        return None
    source = LayerSource(**given)
    return source if isinstance(layer, Mapping) or _shows_the_file(layer, source) else None


def _shows_the_file(layer: Any, source: LayerSource) -> bool:
    """Return whether a layer still holds what was read.

    napari copies metadata to projections and crops, and a user may give a layer other pixels:
    ours are lazy, and an array in memory has taken their place.
    """
    if source.path is None or not hasattr(layer, "data"):
        return True
    finest = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    if isinstance(finest, np.ndarray):
        return False
    return not source.shape or tuple(finest.shape) == source.shape


def default_role(channel: Channel, job: str | None, *, alone: bool = False) -> Role:
    """Return what a channel is taken for until somebody says otherwise.

    Parameters
    ----------
    channel
        With its modality.
    job
        Which job of this package wrote the store, see `job_of`.
    alone
        Whether it is the only channel: then, as in a run, it is the bright field if no name
        says otherwise.
    """
    if job == "stain":
        return "prediction"
    if alone and channel.modality == "unknown":
        return "brightfield"
    known: Mapping[str, Role] = {"transmitted": "brightfield", "fluorescence": "truth"}
    return known.get(channel.modality, "other")


def job_of(path: str | None, kind: str, scene: str = "") -> tuple[str | None, str]:
    """Return which job wrote an image and with which model, (`None`, ``""``) if none of ours did.

    Parameters
    ----------
    path, scene
        Of the image; the fields of a plate have a record each.
    kind
        Name of its opener.
    """
    if path is None or kind != "ome-zarr":
        return None, ""
    record = record_of_scene(path, scene)
    model = record.get("model")
    name = model.get("name", "") if isinstance(model, Mapping) else ""
    return cast("str | None", record.get("job")), str(name)
