"""What the attributes of an OME-Zarr group say, whatever version and spelling they have.

Versions 0.1 to 0.5 differ in where the attributes lie and in how axes are
written; programs differ in upper and lower case, and in whether they know the
size of a pixel. All of that ends here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_virtualstain.axes import AXES, PixelSize, to_micrometres
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import FORMATS, Place, parse_well

__all__ = ["Multiscales", "channels_of", "multiscales_of", "ome_block", "places_of"]

SECONDS = {
    "second": 1.0,
    "millisecond": 1e-3,
    "microsecond": 1e-6,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}
"""Time units of the specification, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiscales:
    """One image of the store.

    Parameters
    ----------
    name
        As it is written, may be empty.
    paths
        Where the arrays lie below the group, the finest first.
    axes
        One lower-case name an axis; ``"t"``, ``"c"``, ... or longer names.
    pixel_size_um, origin_um, time_interval_s
        As in `LazyImage`.
    guesses
        What is missing or odd.
    """

    name: str
    paths: tuple[str, ...]
    axes: tuple[str, ...]
    pixel_size_um: PixelSize
    origin_um: tuple[float, float, float]
    time_interval_s: float | None
    guesses: tuple[str, ...]


def ome_block(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes of the specification: under ``ome`` since 0.5, bare before."""
    block = attributes.get("ome")
    return block if isinstance(block, Mapping) else attributes


def _axes(entry: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return name, type and unit an axis; before 0.3 they were always ``tczyx``."""
    axes = entry.get("axes", list(AXES))
    return [
        {"name": axis.lower()}
        if isinstance(axis, str)
        else {
            "name": str(axis["name"]).lower(),
            "unit": str(axis.get("unit") or ""),
        }
        for axis in axes
    ]


def _step(
    transformations: Any, scale: list[float], origin: list[float]
) -> tuple[list[float], list[float], bool]:
    """Apply transformations to a scale and an origin; the last value says if any scaled."""
    scaled = False
    for one in transformations or ():
        kind = one.get("type")
        if kind == "scale" and isinstance(one.get("scale"), list):
            factors = [float(f) for f in one["scale"]]
            scale = [s * f for s, f in zip(scale, factors, strict=True)]
            origin = [o * f for o, f in zip(origin, factors, strict=True)]
            scaled = True
        elif kind == "translation" and isinstance(one.get("translation"), list):
            shift = [float(f) for f in one["translation"]]
            origin = [o + f for o, f in zip(origin, shift, strict=True)]
    return scale, origin, scaled


def multiscales_of(attributes: Mapping[str, Any], *, where: str) -> list[Multiscales]:
    """Return the images that a group describes, none if it is not an image.

    Raises
    ------
    ImageFileError
        If the description contradicts itself.
    """
    entries = ome_block(attributes).get("multiscales") or []
    try:
        return [_one(entry) for entry in entries]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ImageFileError(
            f"The multiscales metadata of {where!r} are damaged ({type(error).__name__}: {error}). "
            "Write the store again with the program that made it."
        ) from error


def _one(entry: Mapping[str, Any]) -> Multiscales:
    axes = _axes(entry)
    names = tuple(axis["name"] for axis in axes)
    datasets = entry["datasets"]
    scale, origin, fine = _step(
        datasets[0].get("coordinateTransformations"), [1.0] * len(axes), [0.0] * len(axes)
    )
    scale, origin, coarse = _step(entry.get("coordinateTransformations"), scale, origin)
    scaled = fine or coarse
    size: dict[str, float | None] = dict.fromkeys("zyx")
    place = dict.fromkeys("zyx", 0.0)
    interval = None
    for axis, step, start in zip(axes, scale, origin, strict=True):
        letter, unit = axis["name"], axis.get("unit")
        if letter in size and scaled and step > 0 and math.isfinite(step):
            size[letter] = to_micrometres(step, unit)
            place[letter] = to_micrometres(start, unit) or 0.0
        seconds = SECONDS.get(unit or "")
        if letter == "t" and scaled and seconds and step > 0:
            interval = step * seconds
    guesses = []
    if size["y"] is None or size["x"] is None:
        why = "it gives a scale without a unit of length" if scaled else "it gives no scale"
        guesses.append(
            f"The pixel size is not known: the OME-Zarr is readable, but {why}. "
            "State it with --pixel-size."
        )
    elif scale[names.index("y")] == scale[names.index("x")] == 1.0:
        guesses.append(
            "The pixel size is exactly 1, which some programs write when they do not know it. "
            "Confirm it, or state it with --pixel-size."
        )
    return Multiscales(
        name=str(entry.get("name") or ""),
        paths=tuple(str(dataset["path"]) for dataset in datasets),
        axes=names,
        pixel_size_um=PixelSize(**size),
        origin_um=(place["z"], place["y"], place["x"]),
        time_interval_s=interval,
        guesses=tuple(guesses),
    )


def places_of(attributes: Mapping[str, Any]) -> Callable[[str], Place | None]:
    """Return the function that tells where in a plate the image at a path below it lies.

    Rows and columns may have any name; wells are called by them, ``"B03"`` where that is usual.
    """
    plate = ome_block(attributes).get("plate")
    wells: dict[str, str] = {}
    shape: tuple[int, int] | None = None
    name = ""
    sites = _ours(attributes).get("sites")
    if isinstance(plate, Mapping):
        try:
            rows, columns = (
                [str(one["name"]) for one in plate[axis]] for axis in ("rows", "columns")
            )
            name = str(plate.get("name") or "")
            wells = {
                str(well["path"]): str(well["path"]).replace("/", "") for well in plate["wells"]
            }
            # A plate that lists only the rows it uses is as large as its last well.
            named = [parse_well(f"{rows[-1]}{column}") for column in columns[-1:]]
            if named and named[0] is not None:
                shape = (named[0][0] + 1, named[0][1] + 1)
            shape = None if shape is not None and shape not in FORMATS else shape
        except (KeyError, TypeError, ValueError, IndexError):
            wells = wells or {}

    def place(path: str) -> Place | None:
        well, _, site = path.rpartition("/")
        if well not in wells:
            return None
        # What a site is called elsewhere, where a path may not be called so.
        told = sites.get(path, site) if isinstance(sites, Mapping) else site
        return Place(plate=name, well=wells[well], site=str(told), plate_shape=shape)

    return place


def _ours(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    block = attributes.get("napari_virtualstain")
    return block if isinstance(block, Mapping) else {}


def channels_of(attributes: Mapping[str, Any]) -> Sequence[Channel]:
    """Return the channels that the ``omero`` block names, none if it is missing or odd."""
    omero = ome_block(attributes).get("omero") or attributes.get("omero") or {}
    try:
        entries = omero.get("channels") or []
        names = [str(e.get("label") or f"channel {i}") for i, e in enumerate(entries)]
        colours = [str(e.get("color") or "").lstrip("#").upper()[:6] or None for e in entries]
    except (AttributeError, TypeError):
        return []
    return [Channel(n, modality_of(n), c) for n, c in zip(names, colours, strict=True)]
