"""Which files an OME-TIFF is made of, and which of its planes have none.

One image may be spread over files: each then names the others, or all name a
file of metadata beside them (``.companion.ome``, or the first of the set).
What such a name leads to is opened without asking, so that a name that leads
out of the folder is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ImageFileError, MissingInputError
from napari_virtualstain.io.safe_xml import XmlError, parse_xml, refuse_document_type
from napari_virtualstain.io.scene import listed
from napari_virtualstain.io.tiff_metadata import TiffFacts, ome_facts

__all__ = [
    "SUFFIX",
    "check_metadata",
    "companion",
    "lost_planes",
    "members",
    "metadata_file",
    "read_metadata",
    "set_facts",
    "without_old_name",
]

SUFFIX = ".ome"
"""Of a file that holds metadata alone."""
_IMAGE = re.compile(r"<(?:\w+:)?Image[\s>]")
MOST_PAGES = 2_000_000
"""Planes that OME-XML may announce; a film of a week with a frame a second has fewer."""
LARGEST = 2**29
"""Bytes of such a file above which it is something else."""


def members(path: Path, xml: str) -> tuple[Path, ...]:
    """Return the other files that OME-XML says the images of a file lie in, there or not.

    Raises
    ------
    ImageFileError
        If a name leads out of the folder.
    """
    if "FileName" not in xml:  # most files are alone, and their XML may be long
        return ()
    root = _parsed(xml)
    own = None if root is None else root.get("UUID")
    found: dict[Path, None] = {}
    for element in () if root is None else root.iter():
        name = element.get("FileName")
        # A file that was renamed still calls itself by its old name.
        if _local(element) == "UUID" and name and (own is None or element.text != own):
            found[_beside(path, name)] = None
    return tuple(file for file in found if file != path)


def without_old_name(path: Path, xml: str) -> str:
    """Return OME-XML without the name by which a file that was renamed calls itself.

    Some programs write that name and no number of the file itself, so that its images would be
    looked for in a file that is not there. Where all of them lie in one file, it is this one.

    Parameters
    ----------
    path
        The file that holds the OME-XML.
    xml
        As it is in there; returned as it is where the file is told, or several are named.
    """
    if "FileName" not in xml:
        return xml
    root = _parsed(xml)
    if root is None or root.get("UUID"):
        return xml
    named = [(e, uuid) for e in root.iter() for uuid in e if _local(uuid) == "UUID"]
    files = {(uuid.get("FileName", "").casefold(), uuid.text) for _, uuid in named}
    if len(files) != 1 or path.name.casefold() in files.pop():
        return xml
    for element, uuid in named:
        element.remove(uuid)
    return ET.tostring(root, encoding="unicode")


def check_metadata(path: Path, xml: str, page: int) -> None:
    """Refuse OME-XML that names files outside the folder, or announces more than can be.

    Parameters
    ----------
    path
        The file that was opened.
    xml
        What it says, or the file that holds its metadata.
    page
        Pixels of a page: tifffile makes a list of as many as would fill all images.

    Raises
    ------
    ImageFileError
        If it does so.
    """
    members(path, xml)
    root = _parsed(xml)
    for element in () if root is None else root.iter():
        lengths = [_count(element, f"Size{axis}", 1) for axis in "XYZCT"]
        stated = [_count(element, name, 0) for name in ("PlaneCount", "NumPlanes")]
        announced = max(math.prod(lengths) // max(1, page), *stated)
        if announced > MOST_PAGES:
            raise ImageFileError(
                f"{str(path)!r} is damaged or cut short: its OME-XML announces {announced} planes. "
                "Copy it again from its source."
            )


def _count(element: ET.Element, name: str, other: int) -> int:
    text = element.get(name, "")[:20]
    return int(text) if text.isdecimal() else other


def metadata_file(path: Path, xml: str) -> Path | None:
    """Return the file that holds the metadata of a member, `None` if it holds them itself.

    Raises
    ------
    ImageFileError
        If its name leads out of the folder.
    """
    if "BinaryOnly" not in xml:
        return None
    root = _parsed(xml)
    for element in () if root is None else root:
        name = element.get("MetadataFile")
        if _local(element) == "BinaryOnly" and name:
            return _beside(path, name)
    return None


def read_metadata(file: Path) -> str:
    """Return the OME-XML of a file that holds nothing else.

    Raises
    ------
    ImageFileError
        If it is empty, no OME-XML, or has a document type.
    """
    if file.stat().st_size == 0:
        raise ImageFileError(f"{str(file)!r} is empty (0 bytes). Copy it again from its source.")
    if file.stat().st_size > LARGEST:
        raise _no_metadata(file, f"it has {file.stat().st_size} bytes")
    try:
        text = file.read_text(encoding="utf-8").strip().strip("\0")
        refuse_document_type(text)
        root = parse_xml(text)
    except (UnicodeDecodeError, SyntaxError) as error:  # XmlError is one
        raise _no_metadata(file, " ".join(str(error).split())[:160]) from error
    if _local(root) != "OME" or not text.endswith("OME>"):
        raise _no_metadata(file, "it holds something else")
    return text


def companion(path: Path) -> tuple[Path, str]:
    """Return the first file of the set that a file of metadata is of, and the OME-XML.

    Raises
    ------
    ImageFileError
        If it is no OME-XML, or a name in it leads out of the folder.
    MissingInputError
        If none of its files is there.
    """
    xml = read_metadata(path)
    named = members(path, xml)
    there = [file for file in named if file.is_file()]
    if not there:
        raise MissingInputError(
            f"{str(path)!r} describes images in {len(named)} other files, of which none is there. "
            "Put all files of the set into one folder."
        )
    return there[0], xml


def set_facts(xml: str, series: Sequence[Any], index: int) -> TiffFacts:
    """Return what the OME-XML says of a series, and what it announces that is not there."""
    facts = ome_facts(xml, _image_numbers(xml, series)[index])
    elsewhere = metadata_file(Path(), xml)
    if elsewhere is not None:
        said = (
            f"The file states that its metadata lie in {elsewhere.name!r}, which is not there. "
            "Put it beside the file to have axes, names and sizes."
        )
        return replace(facts, guesses=(*facts.guesses, said))
    lost = _lost_images(xml, series)
    if lost:
        are = "image of the set is" if len(lost) == 1 else "images of the set are"
        said = f"{len(lost)} {are} missing ({listed(lost)}). Put all files into one folder."
        return replace(facts, guesses=(*facts.guesses, said))
    return facts


def lost_planes(series: Any) -> NDArray[np.bool_] | None:
    """Return which planes of a series have no page; `None` if all have one.

    Returns
    -------
    numpy.ndarray
        Of the shape of the series, but for one pixel along Y and X.
    """
    lost = np.array([page is None for page in series.pages])
    if not lost.any():
        return None
    shape = tuple(int(n) for n in series.shape)
    outer = shape[: len(shape) - len(series.keyframe.shape)]
    inner = [
        1 if letter in "YX" else n
        for letter, n in zip(str(series.axes)[len(outer) :], shape[len(outer) :], strict=True)
    ]
    planes = lost.reshape(outer)[(..., *(None for _ in inner))]
    return np.broadcast_to(planes, (*outer, *inner))


def _image_numbers(xml: str, series: Sequence[Any]) -> list[int]:
    """Return which image of the OME-XML each series is: those without any file have none."""
    if len(_IMAGE.findall(xml)) == len(series):
        return list(range(len(series)))
    numbers = []
    images = list(enumerate(_images(xml)))
    for position, one in enumerate(series):
        lengths = dict(zip(one.axes, one.shape, strict=True))
        told = (str(one.name or ""), lengths.get("Y", 1), lengths.get("X", 1))
        at = next((n for n, (_, image) in enumerate(images) if image == told), None)
        numbers.append(position if at is None else images[at][0])
        images = images if at is None else images[at + 1 :]
    return numbers


def _lost_images(xml: str, series: Sequence[Any]) -> list[str]:
    """Return the names of the images in the OME-XML of which no file is there."""
    there = set(_image_numbers(xml, series))
    return [
        name or f"image {number}"
        for number, (name, _, _) in enumerate(_images(xml))
        if number not in there
    ]


def _images(xml: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, height and width of each image."""
    root = _parsed(xml)
    for element in () if root is None else root:
        pixels = next((e for e in element if _local(e) == "Pixels"), None)
        if _local(element) == "Image" and pixels is not None:
            sizes = [str(pixels.get(f"Size{axis}", "")) for axis in "YX"]
            height, width = (int(size) if size.isdecimal() else 1 for size in sizes)
            yield element.get("Name", ""), height, width


def _local(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _parsed(xml: str) -> ET.Element | None:
    """Return OME-XML, `None` if it is damaged, which is said by whoever needs what is in it."""
    try:
        return parse_xml(xml)
    except XmlError:
        return None


def _beside(path: Path, name: str) -> Path:
    r"""Return the file that another one names.

    Examples
    --------
    >>> _beside(Path("set/a.ome.tif"), "b.ome.tif").as_posix()
    'set/b.ome.tif'
    >>> _beside(Path("set/a.ome.tif"), r"..\b.ome.tif")
    Traceback (most recent call last):
    napari_virtualstain.errors.ImageFileError: 'set/a.ome.tif' names '..\\b.ome.tif' as ...
    """
    inner = PurePosixPath(name.replace("\\", "/"))
    if inner.is_absolute() or ".." in inner.parts or re.match("[A-Za-z]:", name) or "\0" in name:
        raise ImageFileError(
            f"{str(path)!r} names {name!r} as a file of its set, which lies outside its folder and "
            "is not opened. Put all files of the set into one folder, and save it again from the "
            "program that it comes from."
        )
    return path.parent / inner


def _no_metadata(file: Path, why: str) -> ImageFileError:
    return ImageFileError(
        f"{str(file)!r} is no OME-XML, or is damaged: {why}. Copy it again from its source, or "
        "open the TIFFs beside it."
    )
