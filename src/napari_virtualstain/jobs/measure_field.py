"""What is there to measure in one field? Nuclei, their cells, and each stain in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_virtualstain.datasets.stain_names import find_stain, is_doubt
from napari_virtualstain.errors import (
    AxesError,
    ChannelError,
    PixelDataError,
    did_you_mean,
)
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.compare import read_rows
from napari_virtualstain.jobs.listed_images import pixel_of, record_of
from napari_virtualstain.objects.measure import SHAPE_COLUMNS, measure_objects
from napari_virtualstain.objects.segment import segment_cells, segment_nuclei

if TYPE_CHECKING:
    from napari_virtualstain.jobs.measure import MeasureSettings

__all__ = ["PLACE", "FieldMeasurer", "Measured", "over_fields"]

_TEXTURE_UM = 1.0
"""Over how much bright field is taken to vary: cells do, background does not."""
_LARGEST = 1 << 28
PLACE = ("object", "y", "x", "touches_border")
"""Columns that say where an object is, and nothing of what it is like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One time point of a field.

    Parameters
    ----------
    t
        Time point.
    table
        Columns of one length, a row a nucleus.
    covered
        Share of the field in cells, or in nuclei if no cells are looked for; 0 to 1.
    missing
        Share of the pixels that are not there.
    nuclei
        (Y, X) labels; a row of the table each.
    cells
        The same of their cells, `None` if none are looked for.
    """

    t: int
    table: dict[str, NDArray[Any]]
    covered: float
    missing: float
    nuclei: NDArray[np.int32]
    cells: NDArray[np.int32] | None = None

    def summary(self) -> dict[str, float]:
        """Return how many there are, how much they cover, and the median of each column."""
        found = {
            "count": float(len(self.table["object"])), "covered": self.covered,
            "missing": self.missing,
        }  # fmt: skip
        for name, column in self.table.items():
            if name in PLACE:
                continue
            known = column[np.isfinite(column)]
            found[f"median_{name}"] = float(np.median(known)) if len(known) else float("nan")
        return found


@dataclass(slots=True, kw_only=True)
class FieldMeasurer:
    """Measures fields that have the channels of the first.

    Parameters
    ----------
    settings
        Of the run.
    nuclei, cells
        Channels that they are looked for in.
    stains
        Channels that are measured.
    notes
        What was taken for what.
    """

    settings: MeasureSettings
    nuclei: str
    cells: str | None
    stains: tuple[str, ...]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def for_image(cls, settings: MeasureSettings, image: LazyImage) -> FieldMeasurer:
        """Choose channels by the first field.

        Raises
        ------
        ChannelError
            If it has no such channel.
        """
        names = image.channel_names
        notes: list[str] = []
        nuclei = _channel(settings.nuclei, names, "--nuclei", notes)
        cells = (
            None if settings.cells is None else _channel(settings.cells, names, "--cells", notes)
        )
        if settings.stains is None:
            light = {c.name for c in image.channels if c.modality == "transmitted"}
            stains = tuple(n for n in names if n not in light and not is_doubt(n)) or (nuclei,)
        else:
            stains = tuple(_channel(one, names, "--stains", notes) for one in settings.stains)
        return cls(settings=settings, nuclei=nuclei, cells=cells, stains=stains, notes=notes)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of every table."""
        parts = ("nucleus", "cell") if self.cells else ("nucleus",)
        own = [name for name in SHAPE_COLUMNS if name not in PLACE]
        own += [f"{kind}_{s}" for s in self.stains for kind in ("mean", "sum", "excess")]
        return (*PLACE, *(f"{part}_{name}" for part in parts for name in own))

    def measure(self, image: LazyImage) -> Iterator[Measured]:
        """Yield the time points of a field.

        Raises
        ------
        ChannelError
            If the field lacks a channel of the first.
        PixelSizeError
            If nothing says how large a pixel is.
        PixelDataError
            If a plane is too large to be looked at as a whole.
        """
        image = image.with_gaps()
        for name in (self.nuclei, self.cells, *self.stains):
            if name is not None and name not in image.channel_names:
                raise ChannelError(
                    f"It has no channel {name!r}, but {', '.join(image.channel_names)}. Measure "
                    "fields with the same channels, chosen with --scene."
                )
        pixel = pixel_of(image, record_of(image), self.settings.pixel_size, self.notes)
        n_t, _, n_z, height, width = image.shape
        if height * width > _LARGEST:
            raise PixelDataError(
                f"A plane of {height} x {width} px is too large to be looked at as a whole. Save "
                "parts of it with `virtualstain export`, and measure these."
            )
        z = n_z // 2 if self.settings.z is None else self.settings.z
        if z >= n_z:
            raise AxesError(
                f"Plane {z} is asked for, and there are {n_z}, from 0. Choose another with --z."
            )
        for t in range(n_t):
            yield self._time(image, t, z, pixel)

    def _time(self, image: LazyImage, t: int, z: int, pixel: float) -> Measured:
        settings = self.settings

        def plane(name: str) -> NDArray[np.float32]:
            return read_rows(image, t, image.channel_index(name), z, slice(None))

        def looked_at(name: str) -> NDArray[np.float32]:
            lit = image.channels[image.channel_index(name)].modality == "transmitted"
            return _texture(plane(name), _TEXTURE_UM / pixel) if lit else plane(name)

        least, most = (edge / pixel for edge in settings.nucleus)
        nuclei = segment_nuclei(
            looked_at(self.nuclei), diameter_px=(least, most), classes=settings.classes,
            keep_border=not settings.whole_only,
        )  # fmt: skip
        stains = {name: plane(name) for name in self.stains}
        parts = {"nucleus": nuclei}
        if self.cells is not None:
            parts["cell"] = segment_cells(
                nuclei, looked_at(self.cells), reach_px=settings.reach / pixel,
                classes=settings.classes,
            )  # fmt: skip
        tables = {
            part: measure_objects(labels, stains, pixel_um=pixel) for part, labels in parts.items()
        }
        table = {name: tables["nucleus"][name] for name in PLACE}
        for part, own in tables.items():
            # Cells have the numbers of their nuclei, and every nucleus lies in one.
            table |= {f"{part}_{name}": column for name, column in own.items() if name not in PLACE}
        there = [np.isfinite(picture).mean() for picture in stains.values()]
        return Measured(
            t=t,
            table={name: table[name] for name in self.columns},
            covered=float((list(parts.values())[-1] > 0).mean()),
            missing=1.0 - float(min(there)),
            nuclei=nuclei,
            cells=parts.get("cell"),
        )


def over_fields(name: str, values: Sequence[float]) -> float:
    """Return the mean over fields of what is counted, the median of what is a median already.

    Parameters
    ----------
    name
        A key of `Measured.summary`.
    values
        Of each field; NaN is not known.
    """
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return float("nan")
    return float(np.median(known) if name.startswith("median_") else np.mean(known))


def _channel(wanted: str, names: Sequence[str], option: str, notes: list[str]) -> str:
    if wanted in names:
        return wanted
    found = find_stain(wanted, names)
    if found is None:
        raise ChannelError(
            f"No channel is {wanted!r}.{did_you_mean(wanted, list(names))} There are: "
            f"{', '.join(names)}. Choose one of them with {option}."
        )
    if found.channel.casefold() != wanted.casefold():
        notes.append(f"{wanted} is taken to be the channel {found.channel!r}")
    return found.channel


def _texture(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return how much a picture varies around each pixel."""
    known = np.isfinite(picture)
    filled = np.where(known, picture, np.median(picture[known]) if known.any() else 0)
    filled = (filled - filled.mean()).astype(np.float32)
    mean = ndimage.gaussian_filter(filled, sigma)
    square = ndimage.gaussian_filter(filled * filled, sigma)
    varies: NDArray[np.float32] = np.sqrt(np.maximum(square - mean * mean, 0))
    return np.where(known, varies, np.float32("nan"))
