"""How the images of a plate become files that CellProfiler finds: TIFFs, and a LoadData table.

One TIFF a channel, one row a plane of a field: ``FileName_DNA`` names a file beside the table,
``Metadata_Plate``, ``Metadata_Well`` and ``Metadata_Site`` say where it lies. There is no
``PathName`` column, so that the folder may be moved: choose it as CellProfiler's default input
folder. CellProfiler divides integers by the largest value of their type and takes
floating-point numbers as they are.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ChannelError, OutputExistsError
from napari_virtualstain.io.disk import check_free_space, disk_errors
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.save import ImagePicture
from napari_virtualstain.io.scene import Scene, listed

__all__ = ["Written", "write_loaddata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What lies beside the table.

    Parameters
    ----------
    rows
        Of the table: a plane of a field each.
    files
        TIFFs that were written.
    missing
        Planes that the images do not have: their cells are empty.
    """

    rows: int
    files: int
    missing: int


def write_loaddata(
    table: Path,
    scenes: Sequence[Scene],
    *,
    channels: Sequence[str] | None = None,
    overwrite: bool = False,
    on_field: Callable[[int, int], None] | None = None,
    about: Callable[[Scene, int], Mapping[str, str]] | None = None,
) -> Written:
    """Write the planes of images and the table that names them; the table comes last.

    Parameters
    ----------
    table
        ``load_data.csv``, for example; the files lie beside it.
    scenes
        Images, of one plate or of several.
    channels
        That are written; all of each image if `None`.
    overwrite
        Whether files that are there are replaced.
    on_field
        Told how many fields are written, and of how many; what it raises ends the writing, and
        leaves no table.
    about
        Returns more columns of an image and time point.

    Raises
    ------
    OutputExistsError
        If a file is there.
    ChannelError
        If two channels would have one column, or a channel is not there.
    DiskError
        If the disk cannot be written.
    """
    rows: list[dict[str, str]] = []
    files = missing = 0
    taken: set[str] = set()
    for number, scene in enumerate(scenes):
        if on_field is not None:
            on_field(number, len(scenes))
        image = scene.open()
        image = image if channels is None else image.select(list(channels))
        columns = _columns(image)
        stem = _unique(_stem(scene, number), taken)
        for t, z in product(range(image.shape[0]), range(image.shape[2])):
            row = _place(scene, image, t, z)
            row |= {} if about is None else about(scene, t)
            for c, column in enumerate(columns):
                if (t, c, z) in image.missing:
                    missing += 1
                    row[f"FileName_{column}"] = ""
                    continue
                file = table.with_name(_name(stem, image, t, z, column))
                _write_plane(file, image, (t, c, z), overwrite=overwrite)
                row[f"FileName_{column}"] = file.name
                files += 1
            rows.append(row)
    _write_table(table, rows)
    if on_field is not None:
        on_field(len(scenes), len(scenes))
    return Written(rows=len(rows), files=files, missing=missing)


def _columns(image: LazyImage) -> tuple[str, ...]:
    """Return a name a channel that CellProfiler takes for an image."""
    columns = tuple(
        re.sub(r"\W+", "_", name).strip("_") or "channel" for name in image.channel_names
    )
    if len({column.casefold() for column in columns}) < len(columns):
        raise ChannelError(
            f"The channels {listed(image.channel_names)} are not told apart by letters, digits and "
            "underscores alone, which is all that CellProfiler takes. Choose some with --channels."
        )
    return columns


def _stem(scene: Scene, number: int) -> str:
    place = scene.place
    parts = [] if place is None else [place.plate, place.well, place.site]
    said = "_".join(part for part in parts if part) or scene.name or f"field{number:04d}"
    return re.sub(r"[^\w.+\-]+", "_", said).strip("._") or f"field{number:04d}"


def _unique(stem: str, taken: set[str]) -> str:
    unique, number = stem, 2
    while unique.casefold() in taken:
        unique, number = f"{stem}_{number}", number + 1
    taken.add(unique.casefold())
    return unique


def _steps(image: LazyImage, t: int, z: int) -> Iterator[tuple[str, int]]:
    for letter, length, index in (("t", image.shape[0], t), ("z", image.shape[2], z)):
        if length > 1:
            yield letter, index


def _name(stem: str, image: LazyImage, t: int, z: int, column: str) -> str:
    steps = [f"{letter}{index:03d}" for letter, index in _steps(image, t, z)]
    return "_".join([stem, *steps, column]) + ".tif"


def _place(scene: Scene, image: LazyImage, t: int, z: int) -> dict[str, str]:
    place = scene.place
    row = {
        "Metadata_Plate": "" if place is None else place.plate,
        "Metadata_Well": scene.well,
        "Metadata_Site": scene.site or ("" if scene.well else scene.name),
    }
    row |= {f"Metadata_{letter.upper()}": str(index) for letter, index in _steps(image, t, z)}
    for name, value in () if place is None else place.facts:
        row[f"Metadata_{re.sub(r'[^0-9A-Za-z]+', '_', name)}"] = value
    return row


def _write_plane(
    file: Path, image: LazyImage, place: tuple[int, int, int], *, overwrite: bool
) -> None:
    import tifffile

    if file.exists() and not overwrite:
        raise OutputExistsError(
            f"{str(file)!r} exists. Choose another folder with --out, or add --overwrite to "
            "replace what is there."
        )
    t, c, z = place
    pixels: NDArray[Any] = ImagePicture(image).read(t, c, z, slice(None), slice(None))
    pixels = pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels
    size = image.pixel_size_um
    known: dict[str, Any] = {}
    if size.y and size.x:
        known = {"resolution": (1e4 / size.x, 1e4 / size.y), "resolutionunit": "CENTIMETER"}
    scratch = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with disk_errors(file, pixels.nbytes):
            file.parent.mkdir(parents=True, exist_ok=True)
            check_free_space(file, pixels.nbytes)
            tifffile.imwrite(
                scratch,
                pixels,
                compression="zlib",
                photometric="minisblack",
                metadata=None,
                **known,
            )
            scratch.replace(file)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def _write_table(table: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write rows that may have different columns; what a row lacks is empty."""
    columns = dict.fromkeys(column for row in rows for column in row)
    ordered = sorted(columns, key=lambda column: column.startswith("FileName_"))
    scratch = table.with_name(f".{table.name}.{os.getpid()}.partial")
    with disk_errors(table):
        with scratch.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ordered, restval="")
            writer.writeheader()
            writer.writerows(rows)
        scratch.replace(table)
