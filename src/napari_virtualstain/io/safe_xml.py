"""How XML from strangers is read: as a stream, and never with a document type.

A document type can declare entities that name other files, or that grow to
gigabytes. No microscope writes one, so that a text which has one is refused
before anything of it is used. External entities are never fetched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

__all__ = ["Facts", "Record", "XmlError", "parse_xml", "records", "refuse_document_type"]

Facts = dict[str, str]
"""Text by tag, and the value of an attribute by tag and name: ``"PositionX Unit"``.

Strings only, on purpose: Python's garbage collection need not look at them, which is a third of
the time where there are millions."""
BLOCK = 1 << 20
"""Bytes that are parsed together."""


class XmlError(ET.ParseError):
    """A text is not XML, or is of a kind that is refused; a `SyntaxError`, as ElementTree's are."""


class _RootReached(Exception):  # noqa: N818 (no error: the prologue is over)
    pass


def _reached(*_: Any) -> None:
    raise _RootReached


def _refuse(*_: Any) -> None:
    raise XmlError("it declares a document type or entities, which no microscope writes")


def refuse_document_type(text: str | bytes) -> None:
    """Refuse a text with a document type; one that is damaged in other ways passes.

    Raises
    ------
    XmlError
        If it has one.
    """
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = _reached
    try:
        parser.Parse(text, True)
    except (_RootReached, expat.ExpatError):
        return  # what is damaged is said by whoever reads it


def parse_xml(text: str | bytes) -> ET.Element:
    """Return the root of a short XML text.

    Raises
    ------
    XmlError
        If it is damaged or has a document type.
    """
    refuse_document_type(text)
    try:
        return ET.fromstring(text)  # nosec B314 (no document type gets here)
    except XmlError:
        raise
    except (ET.ParseError, ValueError) as error:
        raise XmlError(str(error)) from error


@dataclass(slots=True)
class Record:
    """One element of a long list; names are without namespace.

    Parameters
    ----------
    tag
        Its name.
    attributes
        Its own.
    facts
        Text and attributes of the elements in it that were asked for; of a tag that occurs again
        the first.
    """

    tag: str
    attributes: dict[str, str]
    facts: Facts


class _Names(dict[str, str]):
    """Names without their namespace, each worked out once."""

    def __missing__(self, name: str) -> str:
        self[name] = local = name.rpartition(":")[2]
        return local


def records(path: Path, wanted: Collection[str], inside: Collection[str] = ()) -> Iterator[Record]:
    """Yield the elements of a long file that have one of some tags, in memory for one block.

    Parameters
    ----------
    path
        The file.
    wanted
        Tags, without namespace.
    inside
        Tags of the elements inside them that are needed; ``""`` is their own text.

    Raises
    ------
    XmlError
        If the file is damaged or has a document type; what came before was yielded already.
    """
    # An index has a million elements. Elements of ElementTree would take three times as long, and
    # nothing is called for text that nobody needs.
    names = _Names()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    found: list[Record] = []
    record: Record | None = None
    outer = child = ""
    attributes: dict[str, str] = {}
    said: list[str] = []

    def start(name: str, values: dict[str, str]) -> None:
        nonlocal record, outer, child, attributes
        if record is not None:
            if names[name] in inside and names[name] not in record.facts:
                child, attributes = name, values
                said.clear()
                parser.CharacterDataHandler = said.append
        elif names[name] in wanted:
            own = {names[key]: value for key, value in values.items()}
            record, outer = Record(names[name], own, {}), name
            if "" in inside:
                said.clear()
                parser.CharacterDataHandler = said.append

    def end(name: str) -> None:
        nonlocal record, child
        if child:
            if name == child and record is not None:
                tag = names[name]
                record.facts[tag] = "".join(said).strip()
                for key in attributes:
                    record.facts[f"{tag} {names[key]}"] = attributes[key]
                child = ""
                parser.CharacterDataHandler = None
        elif name == outer and record is not None:
            if "" in inside:
                record.facts[""] = "".join(said).strip()
                parser.CharacterDataHandler = None
            found.append(record)
            record = None

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    with path.open("rb") as file:
        last = False
        while not last:
            block = file.read(BLOCK)
            last = not block
            try:
                parser.Parse(block, last)
            except expat.ExpatError as error:
                raise XmlError(str(error)) from error
            yield from found
            found.clear()
