"""One image of a batch: where it is, what is stated of it, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.plate import FORMATS, Plate

__all__ = [
    "ITEM_SETTINGS",
    "Item",
    "ItemState",
    "Key",
    "PlateShape",
    "failures_of",
    "shape_of_plates",
]

ItemState = Literal["waiting", "running", "done", "failed"]

Key = tuple[str, str]
"""Path of an image and its scene: by which it is found again."""

ITEM_SETTINGS = ("axes", "pattern", "channel", "pixel_size", "z_step")
"""Settings that say what one image is like, while the others hold for all of a batch."""

_MOST_TOLD = 400
"""Letters of a sentence that is told on; the whole one stands in the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image of a batch.

    Parameters
    ----------
    input
        Its file or folder.
    scene
        Which image in there, ``""`` if it holds one.
    out
        Where its stain goes, relative to the output of the batch.
    field
        Of a plate: row and column from 0, and the name of the field in its well.
    plate, well, site
        Where the image lies, as far as it is known.
    state
        ``"waiting"``, also if it was begun; ``"done"``; or ``"failed"``. ``"running"`` is told
        of the one that is stained, and never written.
    sentence
        Why it failed, or what is waited for.
    seconds
        That it took.
    axes, pattern, channel, pixel_size, z_step
        As in `PictureSettings`: what is stated of this image.
    times
        Only these time points; all if empty.
    """

    input: str
    scene: str
    out: str
    field: tuple[int, int, str] | None = None
    plate: str = ""
    well: str = ""
    site: str = ""
    state: ItemState = "waiting"
    sentence: str = ""
    seconds: float = 0.0
    axes: str | None = None
    pattern: str | None = None
    channel: str | None = None
    pixel_size: float | None = None
    z_step: float | None = None
    times: tuple[int, ...] = ()

    @property
    def key(self) -> Key:
        """By which it is found again."""
        return (self.input, self.scene)

    @property
    def name(self) -> str:
        """For people."""
        stem = Path(self.input).name
        return f"{stem} {self.scene}" if self.scene else stem

    def own(self) -> dict[str, Any]:
        """Return what is stated of this image alone."""
        return {name: getattr(self, name) for name in ITEM_SETTINGS}

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        values = asdict(self)
        return values | {
            "field": None if self.field is None else list(self.field),
            "times": list(self.times),
        }

    def told(self) -> dict[str, Any]:
        """Return in few words what became of it, for whoever follows a run."""
        return {
            "input": self.input,
            "scene": self.scene,
            "state": self.state,
            "sentence": self.sentence[:_MOST_TOLD],
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Item:
        """Return the item of `to_json`; raises `TypeError` for other values."""
        field, times = values.get("field"), values.get("times", ())
        return cls(
            **{
                **values,
                # Of version 2 a number, with which the path ends as well.
                "field": None if field is None else (int(field[0]), int(field[1]), str(field[2])),
                "times": tuple(times),
            }
        )


def failures_of(items: Iterable[Item]) -> dict[str, list[str]]:
    """Return the names of images that failed, by the sentence that says why.

    Of a sentence that says the same of several images, their own names are left out.

    Examples
    --------
    >>> one, other = (
    ...     Item(input=f"/{n}", scene="", out="", state="failed", sentence=f"'/{n}' is damaged.")
    ...     for n in "ab"
    ... )
    >>> failures_of([one]), failures_of([one, other])
    ({"'/a' is damaged.": ['a']}, {"'…' is damaged.": ['a', 'b']})
    """
    found: dict[str, list[Item]] = {}
    for item in items:
        if item.state == "failed":
            found.setdefault(_in_general(item), []).append(item)
    return {
        (same[0].sentence if len(same) == 1 else general): [item.name for item in same]
        for general, same in found.items()
    }


def _in_general(item: Item) -> str:
    """Return why an image failed as it may be true of others."""
    general = re.sub(r" Did you mean [^?]*\?", "", item.sentence)
    for name in (item.input, item.scene):
        general = general.replace(f"'{name}'", "'…'") if name else general
    return general


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateShape:
    """Name, rows and columns of a plate that results are written to."""

    name: str
    rows: int
    columns: int

    @classmethod
    def sold(cls, rows: int, columns: int) -> PlateShape:
        """Return the smallest plate on sale that has so many rows and columns."""
        fits = (one for one in FORMATS if one[0] >= rows and one[1] >= columns)
        rows, columns = next(fits, (rows, columns))
        return cls(name="", rows=rows, columns=columns)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def shape_of_plates(plates: Sequence[Plate], known: PlateShape | None) -> PlateShape | None:
    """Return the plate that holds what is known of it and what comes.

    Raises
    ------
    SettingsError
        If the images lie on several.
    """
    names = dict.fromkeys([plate.name for plate in plates])
    if known is not None and known.name:
        names = dict.fromkeys([known.name, *names])
    if len(names) > 1:
        raise SettingsError(
            f"The images lie on {len(names)} plates. Stain one after the other, or give a folder "
            "with --out, which does not end in .zarr."
        )
    shapes = [known] if known is not None else []
    shapes += [PlateShape(name=p.name, rows=p.rows, columns=p.columns) for p in plates]
    if not shapes:
        return None
    return PlateShape(
        name=next(iter(names), ""),
        rows=max(shape.rows for shape in shapes),
        columns=max(shape.columns for shape in shapes),
    )
