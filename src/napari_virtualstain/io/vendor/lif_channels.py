"""What a Leica file knows of its channels.

The description of a channel has a look-up table and no name. Names are where
the settings of the microscope are: with a camera one entry a channel, with a
confocal the active detectors of each sequence, in the order of the channels.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.tiff_metadata import positive

__all__ = ["SETTING", "channels_of"]

COLOURS = {
    "red": "FF0000", "green": "00FF00", "blue": "0000FF", "cyan": "00FFFF",
    "magenta": "FF00FF", "yellow": "FFFF00", "gray": "FFFFFF", "grey": "FFFFFF",
}  # fmt: skip
"""Leica's look-up tables that have one colour."""

SAMPLES = {"1": "red", "2": "green", "3": "blue"}
"""Values of ChannelTag in a colour picture."""

SETTING = "./Data/Image/Attachment[@Name='HardwareSetting']"


def channels_of(element: ET.Element) -> tuple[Channel, ...]:
    """Return one channel for each description in the XML of an image."""
    described = element.findall("./Data/Image/ImageDescription/Channels/ChannelDescription")
    tags = [SAMPLES.get(d.get("ChannelTag", "")) for d in described]
    if all(tags):
        return tuple(Channel(str(tag), "unknown", COLOURS[str(tag)]) for tag in tags)
    named = _from_properties(described)
    for guess in (_from_camera(element), _from_detectors(element)):
        if named is None and len(guess) == len(described):
            named = guess
    if named is None:
        named = [Channel(f"channel {index}") for index in range(len(described))]
    return tuple(
        Channel(
            channel.name or f"channel {index}",
            channel.modality,
            COLOURS.get(d.get("LUTName", "").lower()),
            emission_nm=channel.emission_nm,
            excitation_nm=channel.excitation_nm,
        )
        for index, (channel, d) in enumerate(zip(named, described, strict=True))
    )


def _from_properties(described: list[ET.Element]) -> list[Channel] | None:
    """Return what newer programs write into the descriptions themselves."""
    found = []
    for element in described:
        pairs = {
            p.findtext("Key"): p.findtext("Value") for p in element.iterfind("ChannelProperty")
        }
        name = pairs.get("DyeName") or pairs.get("ChannelName")
        if not name:
            return None
        contrast = pairs.get("ContrastingMethod") or pairs.get("ContrastingMethodName") or ""
        found.append(_channel(name, contrast))
    return found


def _channel(
    name: str, contrast: str = "", emission: float | None = None, excitation: float | None = None
) -> Channel:
    name = name.rpartition("/")[2].strip()  # "Leica/ALEXA 488"
    # Leica names contrasts "TL-BF", "FLUO": names of channels elsewhere.
    modality = modality_of(name, wavelengths=bool(emission or excitation))
    told = modality_of(contrast) if contrast else "unknown"
    if told != "unknown" and modality_of(name) == "unknown":
        modality = told
    lit = modality != "transmitted"
    return Channel(
        name,
        modality,
        emission_nm=emission if lit else None,
        excitation_nm=excitation if lit else None,
    )


def _from_camera(element: ET.Element) -> list[Channel]:
    found = []
    for info in element.iterfind(f"{SETTING}//WideFieldChannelConfigurator/WideFieldChannelInfo"):
        contrast = info.get("ContrastingMethodName", "")
        name = info.get("UserDefName") or info.get("FluoCubeName") or contrast
        emission = positive(info.get("EmissionWavelength"))
        found.append(_channel(name, contrast, emission))
    return found


def _from_detectors(element: ET.Element) -> list[Channel]:
    sequences = element.findall(
        f"{SETTING}/LDM_Block_Sequential/LDM_Block_Sequential_List/ATLConfocalSettingDefinition"
    ) or element.findall(f"{SETTING}/ATLConfocalSettingDefinition")
    bands = {
        band.get("Channel"): band
        for band in element.iterfind(f"{SETTING}//Spectro/MultiBand")
        if band.get("DyeName")
    }
    found = []
    for sequence in sequences:
        lines = {
            line.get("LaserLine")
            for line in sequence.iterfind("AotfList/Aotf/LaserLineSetting")
            if positive(line.get("IntensityDev"))
        }
        excitation = positive(lines.pop()) if len(lines) == 1 else None
        for detector in sequence.iterfind("DetectorList/Detector"):
            if detector.get("IsActive") != "1":
                continue
            if detector.get("ScanType") == "TLD" or "Trans" in detector.get("Name", ""):
                found.append(Channel(detector.get("Name", "transmitted"), "transmitted"))
                continue
            band = bands.get(detector.get("Channel"))
            name = (band.get("DyeName") if band is not None else "") or ""
            found.append(
                _channel(name or detector.get("ChannelName", ""), "FLUO", _middle(band), excitation)
            )
    return found


def _middle(band: ET.Element | None) -> float | None:
    """Return the middle of what a detector is set to in nanometres."""
    if band is None:
        return None
    begin, end = (positive(band.get(f"TargetWaveLength{edge}")) for edge in ("Begin", "End"))
    return None if begin is None or end is None else float(round((begin + end) / 2))
