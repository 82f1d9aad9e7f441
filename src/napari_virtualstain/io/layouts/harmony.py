"""Opera Phenix and Operetta: ``Index.idx.xml`` says where each file belongs.

The index of a full plate has some hundred thousand entries and as many
megabytes, so it is read as a stream. Up to version 5 every entry repeats the
facts of its channel; version 6 states them once, in the maps before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_virtualstain.axes import PixelSize, to_micrometres
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Plane
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import Place, well_name
from napari_virtualstain.io.safe_xml import Facts, XmlError, records
from napari_virtualstain.io.tiff_metadata import aperture

__all__ = ["read_index"]


NEEDED = frozenset(
    {
        "URL", "Row", "Col", "FieldID", "PlaneID", "TimepointID", "ChannelID", "ChannelName",
        "ChannelType", "IlluminationType", "ImageResolutionX", "ImageResolutionY", "PositionX",
        "PositionY", "PositionZ", "MainExcitationWavelength", "MainEmissionWavelength",
        "PlateRows", "PlateColumns", "ObjectiveNA", "Name", "PlateID",
    }
)  # fmt: skip
"""What is read of an image, of the three times as many facts that there are."""


def _entries(index: Path) -> Iterator[Facts]:
    """Yield the facts of each image in the index, those of its channel included."""
    channels: dict[str, Facts] = {}
    for record in records(index, ("Image", "Entry", "Plate"), NEEDED):
        facts = record.facts
        if not facts:
            continue  # of the lists that only name images and plates
        if record.tag == "Image":
            known = channels.get(facts.get("ChannelID", ""), {})
            yield {**channels.get("", {}), **known, **facts}
        elif record.tag == "Plate":
            channels.setdefault("", {}).update(facts)  # of all of them
        elif record.attributes.get("ChannelID"):
            channels.setdefault(record.attributes["ChannelID"], {}).update(facts)


def _um(facts: Facts, tag: str) -> float | None:
    try:
        return to_micrometres(float(facts.get(tag, "")), facts.get(f"{tag} Unit", ""))
    except ValueError:
        return None


def _nanometres(facts: Facts, tag: str) -> float | None:
    try:
        value = float(facts.get(tag, ""))
    except ValueError:
        return None
    return value if value > 0 else None


def _number(facts: Facts, *tags: str) -> int:
    for tag in tags:
        if facts.get(tag):
            return int(facts[tag])
    return 0


def _channel(facts: Facts) -> Channel:
    name = facts.get("ChannelName") or f"ch{facts['ChannelID']}"
    contrasts = tuple(facts.get(tag, "") for tag in ("ChannelType", "IlluminationType"))
    lit = modality_of(name, contrasts=contrasts)
    if lit != "fluorescence":  # bright field has a lamp and a filter too, which say nothing
        return Channel(name, lit)
    waves = [_nanometres(facts, f"Main{which}Wavelength") for which in ("Emission", "Excitation")]
    return Channel(name, lit, emission_nm=waves[0], excitation_nm=waves[1])


@dataclass(slots=True)
class _Reading:
    """What has been read of an index so far."""

    planes: list[Plane] = field(default_factory=list)
    channels: dict[str, Channel] = field(default_factory=dict)
    z_um: dict[tuple[str, str, int], float] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    size: PixelSize = field(default_factory=PixelSize)
    na: float | None = None

    def take(self, facts: Facts, folder: Path) -> None:
        """Take in one entry."""
        number = facts["ChannelID"]
        if number not in self.channels:
            new = _channel(facts)
            if new.name in {known.name for known in self.channels.values()}:
                new = replace(new, name=f"{new.name} (ch{number})")
            self.channels[number] = new
        if self.size.yx is None:
            self.size = PixelSize(
                y=_um(facts, "ImageResolutionY"), x=_um(facts, "ImageResolutionX")
            )
        self.na = self.na or aperture(facts.get("ObjectiveNA"))
        well = well_name(_number(facts, "Row") - 1, _number(facts, "Col") - 1)
        site = f"f{_number(facts, 'FieldID'):02d}"
        scene = f"{well}/{site}"
        if scene not in self.places:
            self.places[scene] = _place(facts, well, site)
        name, z = self.channels[number].name, _number(facts, "PlaneID")
        self.planes.append(
            Plane(
                # A name, never a path: nothing outside the folder is read.
                path=folder / facts["URL"].replace("\\", "/").rpartition("/")[2],
                channel=name,
                scene=scene,
                t=_number(facts, "TimepointID"),
                z=z,
                has_t=True,
                has_z=True,
            )
        )
        height = _um(facts, "PositionZ")
        if height is not None:
            self.z_um[scene, name, z] = height


def _place(facts: Facts, well: str, site: str) -> Place:
    y, x = _um(facts, "PositionY"), _um(facts, "PositionX")
    shape = (_number(facts, "PlateRows"), _number(facts, "PlateColumns"))
    return Place(
        plate=facts.get("Name") or facts.get("PlateID") or "",
        well=well,
        site=site,
        position_um=None if y is None or x is None else (y, x),
        plate_shape=shape if all(shape) else None,
    )


def read_index(index: Path) -> FolderPlan:
    """Return where each file of a measurement belongs; files need not exist.

    Raises
    ------
    ImageFileError
        If the index is damaged or of a kind that is not known.
    """
    reading = _Reading()
    try:
        for facts in _entries(index):
            if facts.get("URL"):
                reading.take(facts, index.parent)
    except (XmlError, KeyError, ValueError) as error:
        raise ImageFileError(
            f"{str(index)!r} is damaged or of a version that is not known "
            f"({type(error).__name__}: {error}). Export the measurement again."
        ) from error
    if not reading.planes:
        raise ImageFileError(f"{str(index)!r} lists no image. Export the measurement again.")
    channels = reading.channels
    return FolderPlan(
        planes=tuple(reading.planes),
        channels=tuple(channels[n] for n in sorted(channels, key=lambda n: (len(n), n))),
        pixel_size_um=reading.size,
        z_um=reading.z_um,
        places=reading.places,
        na=reading.na,
    )
