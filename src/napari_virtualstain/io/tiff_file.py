"""A TIFF file on disk: whether it is one, whether it is whole, what tifffile says of it."""

from __future__ import annotations

import logging
import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.ome_set import (
    SUFFIX,
    check_metadata,
    companion,
    metadata_file,
    read_metadata,
    without_old_name,
)
from napari_virtualstain.io.pixels import DAMAGE, SeveralPlanesError, one_line
from napari_virtualstain.io.safe_xml import XmlError, refuse_document_type

__all__ = [
    "check_tiff",
    "damaged",
    "open_tiff",
    "overheard",
    "read_single_plane",
    "single_plane_header",
]

ALARMS = ("corrupt", "invalid offset", "invalid page offset", "circular", "missing data", "raised")
"""Words in tifffile's log that mean lost pixels, not merely odd metadata."""

LARGE_PIECE = 2**24
"""Pixels up to which a tile may be much larger than the plane that it belongs to."""

MANY_PAGES = 2000
"""Above this number of pages only every n-th is checked against the file's length."""


@contextmanager
def overheard(library: str = "tifffile") -> Iterator[list[str]]:
    """Collect what a library logs in this thread instead of letting it reach the terminal."""
    said: list[str] = []
    here = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if threading.get_ident() != here:
            return True
        said.append(record.getMessage())
        return False

    logger = logging.getLogger(library)
    logger.addFilter(keep)
    try:
        yield said
    finally:
        logger.removeFilter(keep)


def damaged(path: Path, why: str) -> ImageFileError:
    """Return the error of a file that is not whole."""
    return ImageFileError(
        f"{str(path)!r} is damaged or cut short: {why}. Copy it again from its source."
    )


def open_tiff(path: Path) -> Any:
    """Return an open `tifffile.TiffFile` whose OME metadata, if any, are preferred.

    Parameters
    ----------
    path
        A TIFF, or the file of metadata beside the TIFFs of a set.

    Raises
    ------
    ImageFileError
        If it is none, is damaged, or names files outside its folder.
    """
    if path.stat().st_size == 0:
        raise ImageFileError(f"{str(path)!r} is empty (0 bytes). Copy it again from its source.")
    if path.suffix.lower() == SUFFIX and not _begins_like_tiff(path):
        first, xml = companion(path)
        tif = _opened(first, xml, is_shaped=False)
        try:
            check_metadata(path, xml, _page(tif))
        except BaseException:
            tif.close()
            raise
        return tif
    tif = _opened(path)
    if not tif.is_ome:
        return tif
    try:
        xml = _metadata(path, tif)
        elsewhere = metadata_file(path, xml)
        if elsewhere is not None and elsewhere.is_file():
            tif.close()
            if _begins_like_tiff(elsewhere):  # the first file of the set, which all others name
                tif = _opened(elsewhere, is_shaped=False)
                xml = _metadata(elsewhere, tif)
            else:
                xml = read_metadata(elsewhere)
                tif = _opened(path, xml, is_shaped=False)
        elif (known := without_old_name(path, xml)) != xml:
            tif.close()
            xml = known
            tif = _opened(path, xml, is_shaped=False)
        check_metadata(path, xml, _page(tif))
        if tif.is_shaped:
            # tifffile would read its own short description and ignore the OME-XML.
            tif.close()
            tif = _opened(path, is_shaped=False)
    except BaseException:
        tif.close()
        raise
    return tif


def _page(tif: Any) -> int:
    """Return the pixels of the first page."""
    return math.prod(int(n) for n in tif.pages.first.shape)


def _metadata(path: Path, tif: Any) -> str:
    """Return the OME-XML inside a file."""
    xml = str(tif.ome_metadata or "")
    try:
        refuse_document_type(xml)
    except XmlError as error:
        raise ImageFileError(
            f"The OME-XML of {str(path)!r} is refused: {error}. "
            "Save the image again from the program that it comes from."
        ) from error
    return xml


def _begins_like_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4)[:2] in (b"II", b"MM")


def _opened(path: Path, omexml: str | None = None, *, is_shaped: bool | None = None) -> Any:
    import tifffile

    try:
        return tifffile.TiffFile(path, omexml=omexml, is_shaped=is_shaped)
    except tifffile.TiffFileError as error:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic[:2] in (b"II", b"MM"):
            raise damaged(path, one_line(error)) from error
        raise ImageFileError(
            f"{str(path)!r} is not a TIFF: it begins with {magic!r}. "
            "Check what it is, or save it as TIFF from the program that wrote it."
        ) from error
    except (*DAMAGE, struct.error) as error:
        raise damaged(path, one_line(error)) from error


def check_tiff(path: Path, tif: Any, said: list[str]) -> None:
    """Refuse files whose pixels lie beyond their end, without reading pixels."""
    all_series = list(tif.series)  # tifffile says what it found odd while it makes these
    for line in said:
        # A file of a set that is not there, or cannot be read: its planes are missing.
        if "OME series failed to read" not in line and any(alarm in line for alarm in ALARMS):
            raise damaged(path, one_line(ValueError(line.partition("> ")[2] or line)))
    for series in all_series:
        pages = series.pages
        if len(pages) == 0:
            continue
        plane, piece = (
            math.prod(shape) for shape in (series.keyframe.shape, series.keyframe.chunks)
        )
        if piece > max(LARGE_PIECE, 4 * plane):
            raise damaged(path, f"a tile of it would have {piece} pixels, a plane has {plane}")
        stated, held = math.prod(series.shape), math.prod(series.keyframe.shape) * len(pages)
        if tif.is_lsm and stated != held:
            raise damaged(path, f"it states {stated} pixels and has {held}")
        offset, size = series.dataoffset, tif.filehandle.size
        if offset is not None and not tif.is_ome and offset + series.nbytes > size:
            raise damaged(
                path, f"its pixels end at byte {offset + series.nbytes}, the file at {size}"
            )
        step = 1 + len(pages) // MANY_PAGES
        for number in {*range(0, len(pages), step), len(pages) - 1}:
            page = pages[number]
            if page is None:
                continue
            size = page.parent.filehandle.size
            ends = (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False))
            end = max(ends, default=0)
            if end > size:
                raise damaged(path, f"plane {number + 1} ends at byte {end}, the file at {size}")


def single_plane_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape (Y, X) or (Y, X, samples) and type of a TIFF that holds one plane.

    Raises
    ------
    ImageFileError
        If it is damaged or holds more.
    """
    with overheard() as said:
        tif = open_tiff(path)
        try:
            check_tiff(path, tif, said)
            series = tif.series[0]
            shape = tuple(int(n) for n in series.shape)
            letters = str(series.axes).lower()
            if len(tif.series) > 1 or letters not in ("yx", "yxs"):
                raise SeveralPlanesError(
                    f"{str(path)!r} holds more than one plane: {len(tif.series)} images, the first "
                    f"of shape {shape}. Open the file itself instead of its folder."
                )
            return shape, np.dtype(series.dtype).newbyteorder("=")
        finally:
            tif.close()


def read_single_plane(path: Path) -> Any:
    """Return the pixels of a TIFF that holds one plane."""
    with overheard():
        tif = open_tiff(path)
        try:
            return tif.series[0].asarray()
        finally:
            tif.close()
