"""Opera Phenix and Operetta: ``Index.idx.xml`` says where each file belongs.

The index of a full plate has some hundred thousand entries and as many
megabytes, so it is read as a stream. Up to version 5 every entry repeats the
facts of its channel; version 6 states them once, in the maps before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from napari_virtualstain.axes import PixelSize, to_micrometres
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Plane
from napari_virtualstain.io.modality import modality_of

__all__ = ["read_index"]

Facts = dict[str, tuple[str, str]]
"""Tag to (text, unit)."""


def _facts(element: ET.Element) -> Facts:
    return {
        child.tag.rpartition("}")[2]: ((child.text or "").strip(), child.get("Unit", ""))
        for child in element
    }


def _entries(index: Path) -> Iterator[Facts]:
    """Yield the facts of each image in the index, those of its channel included."""
    channels: dict[str, Facts] = {}
    stack: list[ET.Element] = []
    for event, element in ET.iterparse(index, events=("start", "end")):
        if event == "start":
            stack.append(element)
            continue
        stack.pop()
        tag = element.tag.rpartition("}")[2]
        if tag == "Entry" and element.get("ChannelID"):
            channels.setdefault(element.get("ChannelID", ""), {}).update(_facts(element))
        elif tag == "Image" and len(element):
            facts = _facts(element)
            yield {**channels.get(facts.get("ChannelID", ("", ""))[0], {}), **facts}
        else:
            continue
        element.clear()
        if stack:
            stack[-1].remove(element)


def _um(facts: Facts, tag: str) -> float | None:
    text, unit = facts.get(tag, ("", ""))
    try:
        return to_micrometres(float(text), unit)
    except ValueError:
        return None


def _number(facts: Facts, *tags: str) -> int:
    for tag in tags:
        if facts.get(tag, ("",))[0]:
            return int(facts[tag][0])
    return 0


def _channel(facts: Facts) -> Channel:
    name = facts.get("ChannelName", ("", ""))[0] or f"ch{facts['ChannelID'][0]}"
    contrasts = tuple(facts.get(tag, ("", ""))[0] for tag in ("ChannelType", "IlluminationType"))
    return Channel(name, modality_of(name, contrasts=contrasts))


def _scene(facts: Facts) -> str:
    row, column = _number(facts, "Row"), _number(facts, "Col")
    letters = chr(64 + row) if row <= 26 else "A" + chr(64 + row - 26)
    return f"{letters}{column:02d}/f{_number(facts, 'FieldID'):02d}"


def read_index(index: Path) -> FolderPlan:
    """Return where each file of a measurement belongs; files need not exist.

    Raises
    ------
    ImageFileError
        If the index is damaged or of a kind that is not known.
    """
    planes: list[Plane] = []
    channels: dict[str, Channel] = {}
    z_um: dict[tuple[str, str, int], float] = {}
    size = PixelSize()
    try:
        for facts in _entries(index):
            if not facts.get("URL", ("",))[0]:
                continue
            number = facts["ChannelID"][0]
            if number not in channels:
                new = _channel(facts)
                if new.name in {known.name for known in channels.values()}:
                    new = replace(new, name=f"{new.name} (ch{number})")
                channels[number] = new
            if size.yx is None:
                size = PixelSize(y=_um(facts, "ImageResolutionY"), x=_um(facts, "ImageResolutionX"))
            plane = Plane(
                path=index.parent / Path(facts["URL"][0]).name,
                channel=channels[number].name,
                scene=_scene(facts),
                t=_number(facts, "TimepointID"),
                z=_number(facts, "PlaneID"),
                has_t=True,
                has_z=True,
            )
            planes.append(plane)
            height = _um(facts, "PositionZ")
            if height is not None:
                z_um[plane.scene, plane.channel, plane.z] = height
    except (ET.ParseError, KeyError, ValueError) as error:
        raise ImageFileError(
            f"{str(index)!r} is damaged or of a version that is not known "
            f"({type(error).__name__}: {error}). Export the measurement again."
        ) from error
    if not planes:
        raise ImageFileError(f"{str(index)!r} lists no image. Export the measurement again.")
    ordered = tuple(channels[number] for number in sorted(channels, key=lambda n: (len(n), n)))
    return FolderPlan(planes=tuple(planes), channels=ordered, pixel_size_um=size, z_um=z_um)
