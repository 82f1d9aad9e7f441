"""How the small files of a project are read and written: whole, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from napari_virtualstain.datasets.project_entries import SCHEMA_VERSION
from napari_virtualstain.errors import (
    ImageFileError,
    SettingsError,
    first_fault,
    parse_json,
    refuse_newer,
)
from napari_virtualstain.io.disk import disk_errors

__all__ = ["add_line", "read_values", "valid", "write_values"]

M = TypeVar("M", bound=BaseModel)


def valid(kind: type[M], values: Any, where: str) -> M:
    """Return values as an entry.

    Raises
    ------
    SettingsError
        If one of them does not fit.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        name, why = first_fault(error, whole="entry")
        raise SettingsError(
            f"{where!r} is not understood: {name}: {why}. Correct or delete it."
        ) from error


def read_values(file: Path) -> dict[str, Any]:
    """Return what a file holds.

    Raises
    ------
    ImageFileError
        If it cannot be read, is damaged, or of a newer program.
    """
    try:
        values = parse_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImageFileError(
            f"{str(file)!r} cannot be read: {error.strerror}. Check that you may read it."
        ) from error
    except ValueError as error:
        raise ImageFileError(
            f"{str(file)!r} is damaged: {error}. Delete it, or put a copy of it back."
        ) from error
    if not isinstance(values, dict):
        raise ImageFileError(f"{str(file)!r} is damaged: it holds no values. Delete it.")
    refuse_newer(values, SCHEMA_VERSION, repr(str(file)), ImageFileError)
    return values


def write_values(file: Path, values: dict[str, Any]) -> None:
    """Write a file in one step.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_name(f".{file.name}.{os.getpid()}.partial")
        text = json.dumps(values, indent=1, ensure_ascii=False)
        scratch.write_text(f"{text}\n", encoding="utf-8")
        scratch.replace(file)


def add_line(file: Path, values: dict[str, Any]) -> None:
    """Add a line to a file; behind one that was cut off a new one begins.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    with disk_errors(file), file.open("ab") as lines:
        broken = lines.tell() > 0 and not _ends_with_newline(file)
        line = json.dumps(values, ensure_ascii=False)
        lines.write((b"\n" if broken else b"") + line.encode() + b"\n")


def _ends_with_newline(file: Path) -> bool:
    with file.open("rb") as lines:
        lines.seek(-1, os.SEEK_END)
        return lines.read(1) == b"\n"
