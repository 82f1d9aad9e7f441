"""What a project folder holds, entry by entry: plain values with a version.

Each entry is a JSON file of its own, so that two programs that write different
ones do not touch each other's. What an entry of a newer minor program holds
beyond what is known here is kept when the entry is written again.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.io.remote import absolute, is_remote

__all__ = [
    "SCHEMA_VERSION",
    "Decision",
    "Entry",
    "InputEntry",
    "ModelEntry",
    "Place",
    "Region",
    "RunEntry",
    "View",
    "now",
    "short_id",
]

SCHEMA_VERSION = 1
"""Of every file of a project; raised when an older program would misread a newer file."""


def now() -> str:
    """Return this moment in UTC, as it is written down."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def short_id(text: str, *parts: str) -> str:
    """Return a name for files that is the same for the same thing.

    Parameters
    ----------
    text
        Readable beginning.
    parts
        What decides.

    Examples
    --------
    >>> short_id("My field.tif", "/data/My field.tif", "").startswith("my-field-tif-")
    True
    """
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "entry"
    digest = hashlib.blake2s("\0".join(parts).encode(), digest_size=4).hexdigest()
    return f"{words}-{digest}"


class Place(BaseModel):
    """Where something lies: found again when the project is moved with it, or without it.

    Parameters
    ----------
    absolute
        In full, or a URL.
    relative
        From the project folder, with ``/``; `None` if it lies on another drive or behind a URL.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    absolute: str
    relative: str | None = None

    @classmethod
    def of(cls, path: str | Path, folder: Path) -> Self:
        """Return the place of a path as seen from a project folder."""
        full = absolute(str(path))
        if is_remote(full):
            return cls(absolute=full)
        try:
            relative = os.path.relpath(full, folder.absolute())
        except ValueError:  # another drive
            return cls(absolute=full)
        return cls(absolute=full, relative=relative.replace(os.sep, "/"))

    def path(self, folder: Path) -> str:
        """Return where it is now, the absolute path if it is nowhere."""
        if self.relative is not None:
            beside = Path(os.path.normpath(folder.absolute() / self.relative))
            if beside.exists():
                return str(beside)
        return self.absolute

    def exists(self, folder: Path) -> bool:
        """Return whether it is there; a URL is not asked."""
        return is_remote(self.absolute) or Path(self.path(folder)).exists()


class Entry(BaseModel):
    """One file of a project.

    Parameters
    ----------
    id
        Name of the file, without its ending.
    added
        When, in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    folder: ClassVar[str] = ""

    schema_version: Literal[1] = 1
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    added: str = Field(default_factory=now)


class InputEntry(Entry):
    """An image of the project.

    Parameters
    ----------
    place
        File, folder or URL.
    scene
        Which image inside it, ``""`` if there is one.
    axes, pattern
        What the user stated of the file, or of how the files of the folder are named.
    pixel_size_um
        Along y and x, if the user stated it.
    roles
        What channels are, by name: ``"brightfield"``, ``"truth"``, ...
    stains
        Under which name a channel is paired, by name of the channel.
    partner
        Entry of the image that holds the other half of a pair.
    """

    folder: ClassVar[str] = "inputs"

    place: Place
    scene: str = ""
    axes: str | None = None
    pattern: str | None = None
    pixel_size_um: float | None = Field(default=None, gt=0)
    roles: dict[str, str] = {}
    stains: dict[str, str] = {}
    partner: str | None = None


class RunEntry(Entry):
    """Something that was computed.

    Parameters
    ----------
    verb
        Of the command line, for example ``"stain"``.
    out
        What it wrote. Of a store of this package the record in there has all the rest.
    settings
        Of the run, as plain values.
    input, model
        Entries, where they are known.
    status
        How it ended.
    sentence
        Why it failed.
    """

    folder: ClassVar[str] = "runs"

    verb: str
    out: Place
    settings: dict[str, Any] = {}
    input: str | None = None
    model: str | None = None
    status: Literal["complete", "partial", "failed", "cancelled"] = "complete"
    sentence: str = ""


class ModelEntry(Entry):
    """A model that the project uses.

    Parameters
    ----------
    name
        By which it is asked for; a name of `zoo.list_models`, or that on the card.
    place
        Folder or zip; `None` for a model that comes with the package.
    fingerprint
        Of its files: a model of the same name with another one is another model.
    """

    folder: ClassVar[str] = "models"

    name: str
    place: Place | None = None
    fingerprint: str = ""


class Region(Entry):
    """A part of an image that somebody drew.

    Parameters
    ----------
    input
        Entry of the image.
    purpose
        What it is for: ``"exclude"`` keeps its pixels out of training and scores, ``"train"``
        keeps training in it, ``"note"`` only points.
    vertices_px
        Corners (y, x) in pixels of the image, the centre of the first pixel being (0, 0).
    t, z
        Of which planes; all if `None`.
    channels
        Of which channels; all if empty.
    text
        Whatever there is to say.
    """

    folder: ClassVar[str] = "regions"

    input: str
    purpose: Literal["exclude", "train", "note"]
    vertices_px: tuple[tuple[float, float], ...] = Field(min_length=3)
    t: int | None = Field(default=None, ge=0)
    z: int | None = Field(default=None, ge=0)
    channels: tuple[str, ...] = ()
    text: str = ""


class Decision(BaseModel):
    """What somebody decided; decisions are added, never changed: the last one counts.

    Parameters
    ----------
    kind
        What was decided on, for example ``"qc"`` or ``"review"``.
    about
        Entries and places by name, for example ``{"run": "...", "channel": "DNA"}``.
    verdict
        For example ``"accept"`` or ``"reject"``.
    reason
        In words.
    by
        Who, as they want to be called; nothing is filled in by itself.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    schema_version: Literal[1] = 1
    at: str = Field(default_factory=now)
    kind: str
    about: Mapping[str, str | int]
    verdict: str
    reason: str = ""
    by: str = ""


class View(BaseModel):
    """Where the user stopped, so that the viewer shows it again.

    Parameters
    ----------
    page
        Of the dock.
    layers
        What is shown of each channel: ``input`` or ``run`` (an entry), ``channel``, and how:
        ``visible``, ``contrast_limits``, ``colormap``, ``opacity``, ``gamma``, ``blending``.
    camera
        ``center`` (y, x) in µm or pixels of the world, and ``zoom``.
    step
        Along the axes that have no slider of their own position otherwise.
    forms
        Settings that stand in the forms, by page.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    schema_version: Literal[1] = 1
    page: str = ""
    layers: tuple[dict[str, Any], ...] = ()
    camera: dict[str, Any] = {}
    step: tuple[int, ...] = ()
    forms: dict[str, dict[str, Any]] = {}
