"""Files of one value that are kept beside data and models, and one sentence if they are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from napari_virtualstain.errors import (
    ImageFileError,
    VirtualStainError,
    first_fault,
    refuse_newer,
)
from napari_virtualstain.io.disk import disk_errors, write_whole

__all__ = ["read_kept", "write_kept"]

M = TypeVar("M", bound=BaseModel)


def read_kept(
    path: Path,
    kind: type[M],
    *,
    it: str,
    again: str,
    error: type[VirtualStainError] = ImageFileError,
) -> M:
    """Return what a JSON file with a ``schema_version`` holds.

    Parameters
    ----------
    path
        Of the file, which is there.
    kind
        What it should hold.
    it
        What is said of a file that does not hold it, such as ``"is no reference"``.
    again
        How to make it again, as a sentence.
    error
        What is raised.

    Raises
    ------
    VirtualStainError
        Of that kind, if it holds something else, or is of a newer version of this program.
    """
    content = path.read_bytes()
    refuse_newer(content, kind.model_fields["schema_version"].default, f"'{path}'", error)
    try:
        return kind.model_validate_json(content)
    except ValidationError as wrong:
        where, why = first_fault(wrong, whole="file")
        raise error(f"'{path}' {it}, at '{where}': {why}. {again}") from wrong


def write_kept(path: Path, value: BaseModel) -> None:
    """Write a value in one step.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, value.model_dump_json(indent=1) + "\n")
