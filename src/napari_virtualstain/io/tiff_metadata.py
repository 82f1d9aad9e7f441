"""What a TIFF says about its channels, its pixels and its clock.

Three dialects are trusted: OME-XML, ImageJ and MetaMorph. The resolution tags
of a plain TIFF are only believed when they give a size that a microscope has,
and are reported as a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

from napari_virtualstain.axes import PixelSize, to_micrometres
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.safe_xml import parse_xml

__all__ = [
    "TiffFacts",
    "aperture",
    "imagej_facts",
    "metaseries_facts",
    "ome_facts",
    "positive",
    "resolution_facts",
]

SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Time units met in image files, in seconds."""

RESOLUTION_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "um"}
"""Values of the tag ResolutionUnit; 1 means that there is no unit."""

SMALLEST_UM, LARGEST_UM = 0.01, 5.0
"""Pixel sizes that tags are believed to state: Harmony writes the 6.45 µm of the camera's sensor
into files whose pixels are 0.598 µm in the sample."""

LARGEST_NA = 1.8
"""That of immersion in diiodomethane is 1.7; what is larger is a magnification."""

PRINTER_DPI = {9600.0, 19200.0}
"""Settings of film scanners that would pass for pixel sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffFacts:
    """What the metadata of one series say; empty where they are silent."""

    name: str = ""
    channels: tuple[Channel, ...] = ()
    pixel_size_um: PixelSize = field(default_factory=PixelSize)
    time_interval_s: float | None = None
    na: float | None = None
    guesses: tuple[str, ...] = ()


def positive(text: Any) -> float | None:
    """Return a finite positive number, else `None`."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def aperture(text: Any) -> float | None:
    """Return a numerical aperture, `None` unless an objective can have it.

    Examples
    --------
    >>> aperture("0.75"), aperture("0"), aperture("20")
    (0.75, None, None)
    """
    number = positive(text)
    return round(number, 4) if number is not None and number <= LARGEST_NA else None


def _micrometres(value: Any, unit: str | None) -> float | None:
    number = positive(value)
    return None if number is None else to_micrometres(number, unit)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _ome_colour(text: str | None) -> str | None:
    """Return ``RRGGBB`` of OME's signed RGBA integer; -1 is white, its default."""
    try:
        value = int(text or "-1") & 0xFFFFFFFF
    except ValueError:
        return None
    return None if value == 0xFFFFFFFF else f"{value >> 8:06X}"


def _ome_channel(element: ET.Element, index: int) -> Channel:
    name = element.get("Name") or element.get("Fluor") or f"channel {index}"
    contrasts = (element.get("ContrastMethod"), element.get("IlluminationType"))
    excitation, emission = (
        _nanometres(element, f"{which}Wavelength") for which in ("Excitation", "Emission")
    )
    modality = modality_of(
        name,
        contrasts=tuple(c for c in contrasts if c),
        wavelengths=bool(excitation or emission),
    )
    return Channel(
        name,
        modality,
        _ome_colour(element.get("Color")),
        emission_nm=emission,
        excitation_nm=excitation,
    )


def _nanometres(element: ET.Element, key: str) -> float | None:
    length = _micrometres(element.get(key), element.get(f"{key}Unit", "nm"))
    return None if length is None else round(length * 1000, 3)


def ome_facts(xml: str, index: int) -> TiffFacts:
    """Return what OME-XML says about its image number `index`."""
    root = parse_xml(xml)
    images = [element for element in root if _local(element.tag) == "Image"]
    if index >= len(images):
        return TiffFacts()
    image = images[index]
    pixels = next((e for e in image if _local(e.tag) == "Pixels"), None)
    if pixels is None:
        return TiffFacts(name=image.get("Name", ""))
    size = {
        axis.lower(): _micrometres(
            pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        )
        for axis in "ZYX"
    }
    elements = [e for e in pixels if _local(e.tag) == "Channel"]
    step = positive(pixels.get("TimeIncrement"))
    unit = SECONDS.get(pixels.get("TimeIncrementUnit", "s"))
    return TiffFacts(
        name=image.get("Name", ""),
        channels=tuple(_ome_channel(e, i) for i, e in enumerate(elements)),
        pixel_size_um=PixelSize(**size),
        time_interval_s=step * unit if step and unit else None,
        na=_ome_aperture(root, image),
    )


def _ome_aperture(root: ET.Element, image: ET.Element) -> float | None:
    """Return the aperture of the objective that an image was taken with."""
    settings = next((e for e in image if _local(e.tag) == "ObjectiveSettings"), None)
    if settings is None:
        return None
    objectives = (e for e in root.iter() if _local(e.tag) == "Objective")
    used = next((e for e in objectives if e.get("ID") == settings.get("ID")), None)
    return None if used is None else aperture(used.get("LensNA"))


def imagej_facts(
    metadata: Mapping[str, Any], resolution: tuple[float, float], n_channels: int
) -> TiffFacts:
    """Return what the ImageJ metadata say.

    Parameters
    ----------
    metadata
        As tifffile reads them: ``unit``, ``spacing``, ``finterval``, ``Labels``.
    resolution
        Pixels a unit along x and y.
    n_channels
        How many names are needed.
    """
    unit = str(metadata.get("unit", ""))
    x, y = (1 / r if r and math.isfinite(r) else None for r in resolution)
    labels = metadata.get("Labels") or []
    labels = [labels] if isinstance(labels, str) else [str(label) for label in labels]
    # One label a plane, channels fastest. ImageJ writes "c:1/3 z:2/9 - name", others the name.
    labels = [label.rpartition(" - ")[2] for label in labels]
    sets = [set(labels[channel::n_channels]) for channel in range(n_channels)]
    names = [named.pop() for named in sets if len(named) == 1]  # else they name planes
    return TiffFacts(
        channels=tuple(Channel(name, modality_of(name)) for name in names)
        if len(names) == n_channels
        else (),
        pixel_size_um=PixelSize(
            z=_micrometres(metadata.get("spacing"), unit),
            y=_micrometres(y, unit),
            x=_micrometres(x, unit),
        ),
        time_interval_s=positive(metadata.get("finterval")),
    )


def metaseries_facts(metadata: Mapping[str, Any]) -> TiffFacts:
    """Return what MetaMorph and MetaXpress write into the description of a plane."""
    plane = metadata.get("PlaneInfo") or {}
    if not isinstance(plane, Mapping):
        return TiffFacts()
    unit = str(plane.get("spatial-calibration-units", ""))
    calibrated = plane.get("spatial-calibration-state") in (True, "on")
    y, x = (
        _micrometres(plane.get(f"spatial-calibration-{axis}"), unit) if calibrated else None
        for axis in "yx"
    )
    name = str(plane.get("_IllumSetting_") or plane.get("image-name") or "")
    channels = (Channel(name, modality_of(name)),) if name else ()
    na = aperture(plane.get("_MagNA_"))
    return TiffFacts(channels=channels, pixel_size_um=PixelSize(y=y, x=x), na=na)


def resolution_facts(resolution: tuple[float, float], unit: int) -> TiffFacts:
    """Return the pixel size that the resolution tags give, if a microscope has it.

    Examples
    --------
    >>> resolution_facts((16723.0, 16723.0), 3).pixel_size_um.x
    0.597...
    >>> resolution_facts((72.0, 72.0), 2).pixel_size_um.x is None
    True
    """
    name = RESOLUTION_UNITS.get(int(unit))
    if name is None or (name == "inch" and round(resolution[0], 6) in PRINTER_DPI):
        return TiffFacts()
    sizes = [_micrometres(1 / r if r else None, name) for r in resolution]
    x, y = sizes
    if x is None or y is None or not all(SMALLEST_UM <= size <= LARGEST_UM for size in (x, y)):
        return TiffFacts()
    guess = (
        f"The pixel size, {x:.4g} µm, is from the resolution tags of the TIFF, which some "
        "programs fill at will. Confirm it, or state it with --pixel-size."
    )
    return TiffFacts(pixel_size_um=PixelSize(y=y, x=x), guesses=(guess,))
