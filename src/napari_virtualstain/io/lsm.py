"""What the LSM files of Zeiss, which are TIFFs, say about their channels and pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.tiff_metadata import TiffFacts, positive

__all__ = ["PLACES", "lsm_facts", "positions_of"]

PLACES = "mp"
"""Axes of LSM that are places on the stage: tiles of a mosaic, positions."""


def positions_of(letters: str, shape: Sequence[int]) -> list[tuple[tuple[int, ...], str]]:
    """Return index and name of each place that a series holds.

    Examples
    --------
    >>> positions_of("pzyx", (2, 5, 8, 8))
    [((0,), 'position 1'), ((1,), 'position 2')]
    >>> positions_of("zyx", (5, 8, 8))
    [((), '')]
    """
    found: list[tuple[tuple[int, ...], str]] = [((), "")]
    for letter, length in zip(letters, shape, strict=True):
        if letter in PLACES:
            word = "position" if letter == "p" else "tile"
            found = [
                ((*index, i), " ".join(filter(None, (name, f"{word} {i + 1}" * (length > 1)))))
                for index, name in found
                for i in range(length)
            ]
    return found


def lsm_facts(metadata: Mapping[str, Any], n_channels: int) -> TiffFacts:
    """Return what the metadata say.

    Parameters
    ----------
    metadata
        As tifffile reads them; lengths are metres, times seconds.
    n_channels
        How many names are needed.
    """
    size = {}
    for axis in "zyx":
        metres = positive(metadata.get(f"VoxelSize{axis.upper()}"))
        deep = axis != "z" or int(metadata.get("DimensionZ", 1)) > 1
        size[axis] = metres * 1e6 if metres and deep else None
    colours = metadata.get("ChannelColors") or {}
    names = [str(name) for name in colours.get("ColorNames", [])]
    shades = list(colours.get("Colors", []))
    tracks = list(_detectors(metadata))
    waves = list(metadata.get("ChannelWavelength", ()))
    channels = []
    for index, name in enumerate(names[:n_channels]):
        seen = tracks[index] if len(tracks) == n_channels else {}
        emission = None
        if len(waves) == n_channels and (edges := [positive(nm) for nm in waves[index]])[0]:
            emission = round((edges[0] + (edges[1] or edges[0])) / 2 * 1e9)
        dye = str(seen.get("DyeName", "")).strip("\0 ")
        modality = modality_of(name)
        if modality == "unknown":
            modality = modality_of(dye, wavelengths=bool(emission))
        channels.append(
            Channel(
                name,
                modality,
                "{:02X}{:02X}{:02X}".format(*shades[index][:3]) if index < len(shades) else None,
                emission_nm=emission if modality != "transmitted" else None,
            )
        )
    interval = positive(metadata.get("TimeIntervall"))
    return TiffFacts(
        channels=tuple(channels) if len(channels) == n_channels else (),
        pixel_size_um=PixelSize(**size),
        time_interval_s=interval if int(metadata.get("DimensionTime", 1)) > 1 else None,
    )


def _detectors(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the settings of the detectors that were on, in the order of the channels."""
    scan = metadata.get("ScanInformation")
    for track in (scan.get("Tracks") or []) if isinstance(scan, Mapping) else []:
        for detector in track.get("DetectionChannels") or []:
            if detector.get("Acquire"):
                yield detector
