"""Yokogawa CV7000 and CV8000: ``MeasurementData.mlf`` says where each file belongs.

Pixel size and plate come from ``MeasurementDetail.mrf``, the names of the
channels from the ``.mes`` that it names. Both may be missing.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.image import Channel, Modality
from napari_virtualstain.io.layouts.base import FolderPlan, Plane
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.plate import Place, well_name
from napari_virtualstain.io.safe_xml import XmlError, parse_xml, records
from napari_virtualstain.io.tiff_metadata import positive

__all__ = ["MLF", "read_cv8000"]

MLF, MRF = "MeasurementData.mlf", "MeasurementDetail.mrf"
LARGEST = 64 * 2**20
"""Bytes of a settings file; those that exist have some thousand."""
BAND = re.compile(r"[BL]P(\d{3})(?:/|$|\s)")


def read_cv8000(mlf: Path) -> FolderPlan:
    """Return where each file of a measurement belongs; files need not exist.

    Raises
    ------
    ImageFileError
        If a file of the measurement is damaged.
    """
    detail = _elements(mlf.parent / MRF, "MeasurementDetail", "MeasurementChannel")
    plate = detail.get("MeasurementDetail", [{}])[0]
    stated = [plate.get(key, "") for key in ("RowCount", "ColumnCount")]
    shape = [int(text) if text.isdecimal() and len(text) < 4 else 0 for text in stated]
    settings = plate.get("MeasurementSettingFileName", "")
    channels = _channels(mlf.parent / Path(settings).name) if settings else {}
    planes: list[Plane] = []
    places: dict[str, Place] = {}
    heights: dict[tuple[str, str, int], float] = {}
    failed = 0
    try:
        for record in records(mlf, ("MeasurementRecord",), ("",)):
            said = record.attributes
            if said.get("Type", "IMG") not in ("IMG", "ERR"):
                continue
            plane, place = _plane(said, record.facts[""], mlf.parent, channels)
            failed += plane.path is None
            planes.append(plane)
            if plane.scene not in places:
                places[plane.scene] = replace(
                    place, plate_shape=(shape[0], shape[1]) if all(shape) else None
                )
            height = float(said.get("Z", "nan"))
            if math.isfinite(height):
                heights[plane.scene, plane.channel, plane.z] = height
    except (XmlError, KeyError, ValueError) as error:
        raise ImageFileError(
            f"{str(mlf)!r} is damaged or of a version that is not known "
            f"({type(error).__name__}: {error}). Copy the measurement again."
        ) from error
    if not planes:
        raise ImageFileError(f"{str(mlf)!r} lists no image. Copy the measurement again.")
    used = {plane.channel for plane in planes}
    known = [channel for _, channel in sorted(channels.items()) if channel.name in used]
    names = {channel.name for channel in known}
    known += [Channel(name) for name in sorted(used - names)]
    plan = FolderPlan(
        planes=tuple(planes),
        channels=tuple(known),
        pixel_size_um=_size(detail.get("MeasurementChannel", []), heights),
        places=places,
    )
    if failed:
        plan = plan.with_guess(f"{failed} images failed when they were taken, and are missing.")
    return plan


def _plane(
    said: dict[str, str], text: str, folder: Path, channels: dict[int, Channel]
) -> tuple[Plane, Place]:
    number = int(said["Ch"])
    channel = channels.setdefault(number, Channel(f"C{number:02d}"))
    place = Place(
        well=well_name(int(said["Row"]) - 1, int(said["Column"]) - 1),
        site=f"f{int(said['FieldIndex']):02d}",
        # Y points up on the instrument.
        position_um=(-float(said["Y"]), float(said["X"])) if {"X", "Y"} <= set(said) else None,
    )
    # A name, never a path: nothing outside the folder is read.
    name = text.strip().replace("\\", "/").rpartition("/")[2]
    projected = said.get("Action", "3D").upper() not in ("2D", "3D")
    # A recorded failure has words where others have a file.
    is_file = said.get("Type", "IMG") == "IMG" and bool(name)
    return (
        Plane(
            path=folder / name if is_file else None,
            channel=channel.name,
            scene=f"{place.well}/{place.site}" + ("/projection" if projected else ""),
            t=int(said["TimePoint"]),
            z=int(said.get("ZIndex") or 1),
            has_t=True,
            has_z=not projected,
        ),
        place,
    )


def _elements(path: Path, *tags: str) -> dict[str, list[dict[str, str]]]:
    """Return the attributes of some elements of a short XML file, none if it is not there."""
    if not path.is_file():
        return {}
    found: dict[str, list[dict[str, str]]] = {}
    try:
        if path.stat().st_size > LARGEST:
            raise XmlError(f"it is larger than {LARGEST >> 20} MB")
        for element in parse_xml(path.read_bytes()).iter():
            tag = element.tag.rpartition("}")[2]
            if tag in tags:
                local = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
                light = next((e.text for e in element if e.tag.endswith("LightSourceName")), "")
                found.setdefault(tag, []).append({**local, "light": light or ""})
    except XmlError as error:
        raise ImageFileError(
            f"{str(path)!r} is damaged: {error}. Copy the measurement again, or take the file out "
            "of the folder to do without what it says."
        ) from error
    return found


def _channels(settings: Path) -> dict[int, Channel]:
    """Return the channels of a ``.mes`` by number."""
    found = _elements(settings, "Channel", "LightSource")
    lights = {light.get("Name", ""): light for light in found.get("LightSource", [])}
    channels: dict[int, Channel] = {}
    for said in found.get("Channel", []):
        number = said.get("Ch", "")
        if not number.isdecimal():
            continue
        name = said.get("Fluorophore") or said.get("Acquisition") or f"C{int(number):02d}"
        if name in {channel.name for channel in channels.values()}:
            name = f"{name} (C{int(number):02d})"
        lit = _modality(name, said.get("Kind", ""), said.get("Method", ""))
        wave = lights.get(said.get("light", ""), {}).get("WaveLength", "0")
        band = BAND.search(said.get("Acquisition", ""))
        shines = lit == "fluorescence"
        channels[int(number)] = Channel(
            name,
            lit,
            said.get("Color", "")[-6:].upper() or None,
            emission_nm=float(band[1]) if band and shines else None,
            excitation_nm=(float(wave) or None) if shines and wave.isdecimal() else None,
        )
    return channels


def _modality(name: str, kind: str, method: str) -> Modality:
    """Tell the light from the kind of channel: it is chosen from a list, not typed."""
    said = f"{kind} {method}".lower()
    if "fluorescence" in said:
        return "fluorescence"
    if any(word in said for word in ("bright", "phase", "transmi", "dpc")):
        return "transmitted"
    return modality_of(name)


def _size(channels: list[dict[str, str]], heights: dict[tuple[str, str, int], float]) -> PixelSize:
    """Return the pixel size; Z is counted from the first plane, so that only its step is used."""
    first = channels[0] if channels else {}
    y, x = (positive(first.get(f"{way}PixelDimension")) for way in ("Vertical", "Horizontal"))
    steps = {
        round(abs(height - heights[scene, channel, z - 1]), 3)
        for (scene, channel, z), height in heights.items()
        if (scene, channel, z - 1) in heights
    }
    step = steps.pop() if len(steps) == 1 else None
    return PixelSize(z=step or None, y=y, x=x)
