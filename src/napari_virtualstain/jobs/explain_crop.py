"""How much of a field is read to explain a part of it? What the network's halo says."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.explain.probe import Planes
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.jobs.explain import ExplainSettings
from napari_virtualstain.jobs.prepare import PreparedStain
from napari_virtualstain.tiling.plan import tile_around

__all__ = ["Crop", "Crops"]

_FARTHEST = 384
"""Halo in pixels beyond which a network that looks at everything is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crop:
    """What is read around what is explained, on the grid of the network.

    Parameters
    ----------
    planes
        Normalised (P, Y, X).
    read
        Where they lie; beyond the image they are 0.
    keep
        What is explained, in the crop.
    """

    planes: Planes
    read: Region
    keep: Region

    @property
    def at(self) -> tuple[int, int]:
        """The first pixel of what is explained, in the crop."""
        return (self.keep[0].start, self.keep[1].start)

    @property
    def core(self) -> Region:
        """Where what is explained lies, on the grid of the network."""
        return tuple(
            slice(read.start + keep.start, read.start + keep.stop)
            for read, keep in zip(self.read, self.keep, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crops:
    """Reads what is explained, normalised as in a stain of the whole field.

    Parameters
    ----------
    settings, prepared, stainer
        Of the run.
    notes
        What limits the maps, a sentence each; added to.
    """

    settings: ExplainSettings
    prepared: PreparedStain
    stainer: Stainer
    notes: list[str] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """Y and X of the field on the grid of the network."""
        y, x = self.stainer.grid
        return (y, x)

    def pixel(self) -> tuple[int, int] | None:
        """Return the pixel that is explained, on the grid of the network; `None` if none is.

        Raises
        ------
        SettingsError
            If it lies outside of the image.
        """
        at = self.settings.at
        if at is None:
            return None
        shape = self.prepared.planes.image.shape[3:]
        if not all(0 <= place < n for place, n in zip(at, shape, strict=True)):
            raise SettingsError(
                f"The pixel {at[0]},{at[1]} lies outside of the image, which has {shape[0]} x "
                f"{shape[1]} px. Choose another with --at."
            )
        ratios = self.prepared.ratios or (1.0, 1.0)
        y, x = (
            min(int((place + 0.5) / ratio), n - 1)
            for place, ratio, n in zip(at, ratios, self.shape, strict=True)
        )
        return (y, x)

    def middle(self) -> tuple[int, int]:
        """Return the pixel that is explained, or the middle of where planes are hidden."""
        at = self.pixel()
        if at is not None:
            return at
        y, x = ((part.start + part.stop) // 2 for part in self.part(None))
        return (y, x)

    def part(self, at: tuple[int, int] | None) -> Region:
        """Return where planes are hidden, on the grid of the network.

        Parameters
        ----------
        at
            The pixel that is explained, if one is.

        Raises
        ------
        SettingsError
            If nothing of the image lies in the region that is asked for.
        """
        shape, region = self.shape, self.settings.region
        if region is not None:
            ratios = self.prepared.ratios or (1.0, 1.0)
            found = tuple(
                slice(max(0, round(first / ratio)), min(n, round(stop / ratio)))
                for first, stop, ratio, n in zip(region[:2], region[2:], ratios, shape, strict=True)
            )
            if any(part.start >= part.stop for part in found):
                raise SettingsError(
                    f"The part {','.join(map(str, region))} holds no pixel of the image. Choose "
                    "another with --region, or leave it out."
                )
            return found
        middle = at or tuple(n // 2 for n in shape)
        edge = self.settings.size
        starts = [max(0, min(m - edge // 2, n - edge)) for m, n in zip(middle, shape, strict=True)]
        return tuple(
            slice(start, min(start + edge, n)) for start, n in zip(starts, shape, strict=True)
        )

    def inside(self, values: Planes, region: Region) -> tuple[Planes, Region]:
        """Leave out what lies beyond the image.

        Parameters
        ----------
        values
            (N, Y, X).
        region
            Where they lie, on the grid of the network.
        """
        inside = tuple(
            slice(part.start, min(part.stop, n)) for part, n in zip(region, self.shape, strict=True)
        )
        height, width = (part.stop - part.start for part in inside)
        return values[:, :height, :width], inside

    def read(self, core: Region) -> Crop:
        """Read what a part depends on.

        Parameters
        ----------
        core
            The part, on the grid of the network.

        Raises
        ------
        PixelDataError
            If pixels are missing.
        """
        reach = self.stainer.typical.reach
        halo = tuple(min(far, _FARTHEST) for far in reach.halo)
        if reach.kind == "approximate" or halo != reach.halo:
            self.notes.append(
                f"the network looks at all of a picture: it is explained as it sees a crop of "
                f"{halo[0]} px around, and not the whole field"
            )
        return self._crop(core, halo)

    def window(self, core: Region) -> Crop:
        """Read a part and no more: all that a network is shown of the field.

        Parameters
        ----------
        core
            The part, on the grid of the network; what is read begins and ends on its stride.

        Raises
        ------
        PixelDataError
            If pixels are missing.
        """
        return self._crop(core, (0, 0))

    def _crop(self, core: Region, halo: tuple[int, ...]) -> Crop:
        reach = self.stainer.typical.reach
        tile = tile_around(core, shape=self.shape, halo=halo, multiple_of=reach.multiple_of)
        planes = self.stainer.planes(self.settings.t, tile.read)
        if not np.isfinite(planes).all():
            raise PixelDataError(
                "The picture lacks pixels (NaN) where it is explained. Choose another place with "
                "--at or --region."
            )
        return Crop(planes=planes, read=tile.read, keep=tile.keep)
