"""How is a small result kept so that damage is noticed? As one JSON file with a checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_virtualstain.errors import DiskError, ImageFileError, MissingInputError, parse_json

__all__ = ["checksum", "damaged", "read_sealed", "write_sealed"]

_WHAT = "illumination function"


def checksum(body: Mapping[str, Any]) -> str:
    """Return the sha256 of plain values, whatever the order and the spaces of their file."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def write_sealed(path: Path | str, body: Mapping[str, Any], *, kind: str, version: int) -> None:
    """Write plain values into one file, which is whole or not there.

    Parameters
    ----------
    path
        Of the file.
    body
        Plain values.
    kind, version
        What they are, for `read_sealed`.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    target = Path(path)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    head = {"format": kind, "version": version, "sha256": checksum(body)}
    text = json.dumps({**head, **body})
    try:
        try:
            with scratch.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(
            f"{str(target)!r} cannot be written: {error.strerror or error}. "
            f"Choose another place for the {_WHAT}."
        ) from error


def read_sealed(path: Path | str, versions: Mapping[str, int]) -> tuple[str, dict[str, Any]]:
    """Return what `write_sealed` wrote, and what kind it is.

    Parameters
    ----------
    path
        Of the file.
    versions
        Kinds that are understood, and the version of each.

    Raises
    ------
    MissingInputError
        If there is no such file.
    ImageFileError
        If it is damaged, altered, of another version, or something else.
    """
    file = Path(path)
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
        kind = content.pop("format", None) if isinstance(content, dict) else None
        if not isinstance(kind, str) or kind not in versions:
            raise ImageFileError(
                f"{str(file)!r} is no {_WHAT}. Choose a file that this program wrote."
            )
        version = content.pop("version", None)
        if version != versions[kind]:
            raise ImageFileError(
                f"{str(file)!r} is an {_WHAT} of version {version!r}, this program reads "
                f"{versions[kind]}. Update napari-virtualstain, or fit the function again."
            )
        if content.pop("sha256", None) != checksum(content):
            raise damaged(file)
    except FileNotFoundError as error:
        raise MissingInputError(f"{str(file)!r} does not exist. Check the path.") from error
    except OSError as error:
        raise ImageFileError(
            f"{str(file)!r} cannot be read: {error.strerror or error}. Check the path."
        ) from error
    except ImageFileError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(file) from error
    return kind, content


def damaged(path: Path | str) -> ImageFileError:
    """Return the error of a file whose content is not what was written."""
    return ImageFileError(f"{str(path)!r} is a damaged {_WHAT}. Copy it again, or fit it anew.")
