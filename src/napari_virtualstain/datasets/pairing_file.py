"""What a pairs file says: which bright field belongs to which stains, how they lie, who examines.

Plain JSON with a version. Paths inside are relative to the file where they can
be, so that a folder with its pairs file may be moved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_virtualstain.datasets.split import SetName, SplitBy
from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    first_fault,
    parse_json,
)
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.io.remote import is_remote

__all__ = [
    "SCHEMA_VERSION",
    "FilePair",
    "FileShift",
    "FileSplit",
    "FileStain",
    "FileUnmatched",
    "PairsFile",
    "load_pairs",
    "save_pairs",
]

SCHEMA_VERSION = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileStain(_Frozen):
    """Where one stain of a field is."""

    path: str
    scene: str = ""
    channel: str
    by: str = Field(default="name", description="how its channel was found")
    z: int | None = Field(default=None, description="plane, if the image has several")


class FileShift(_Frozen):
    """How one stain lies on the bright field at one time point."""

    stain: str
    t: int
    dy_px: float
    dx_px: float
    uncertainty_px: float | None = None
    confidence: float
    verdict: Literal["aligned", "shifted", "ambiguous"]
    distance_um: float | None = None
    plane: int = 0
    measured_on: str = ""


class FilePair(_Frozen):
    """One bright field with its stains."""

    name: str
    plate: str = ""
    well: str = ""
    field: str = ""
    set: SetName | None = None
    matched_by: str
    path: str = Field(description="image with the bright field")
    scene: str = ""
    channel: str
    stains: dict[str, FileStain]
    exclude: str | None = Field(
        default=None, description="picture that is not 0 where the field is left out"
    )
    registration: tuple[FileShift, ...] = ()


class FileUnmatched(_Frozen):
    """An image that is in no pair."""

    path: str
    scene: str = ""
    reason: str


class FileSplit(_Frozen):
    """How the sets came about."""

    by: SplitBy | Literal["table"]
    validation: float = 0.0
    test: float = 0.0
    seed: int = 0


class PairsFile(_Frozen):
    """Everything that `virtualstain pairs` found out."""

    schema_version: Literal[1] = 1
    created: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    stains: tuple[str, ...]
    z: tuple[int, ...] | None = Field(default=None, description="planes of the bright field")
    axes: str | None = None
    target_axes: str | None = None
    pattern: str | None = None
    target_pattern: str | None = None
    pixel_size_um: float | None = None
    tolerance_px: float = 1.5
    correct: bool = Field(default=False, description="whether stains that are shifted are moved")
    split: FileSplit | None = None
    pairs: tuple[FilePair, ...]
    unmatched: tuple[FileUnmatched, ...] = ()
    notes: tuple[str, ...] = ()

    def corrections(self, pair: FilePair) -> dict[tuple[str, int], tuple[float, float]]:
        """Return what stains of a pair are moved by, by stain and time point: (dy, dx) in pixels.

        Only what is surely shifted is moved, and only if that was asked for.
        """
        if not self.correct:
            return {}
        return {
            (shift.stain, shift.t): (shift.dy_px, shift.dx_px)
            for shift in pair.registration
            if shift.verdict == "shifted"
        }

    def with_paths(self, change: Callable[[str], str]) -> PairsFile:
        """Return the same with every path changed."""
        pairs = tuple(
            pair.model_copy(
                update={
                    "path": change(pair.path),
                    "exclude": None if pair.exclude is None else change(pair.exclude),
                    "stains": {
                        name: stain.model_copy(update={"path": change(stain.path)})
                        for name, stain in pair.stains.items()
                    },
                }
            )
            for pair in self.pairs
        )
        lost = tuple(one.model_copy(update={"path": change(one.path)}) for one in self.unmatched)
        return self.model_copy(update={"pairs": pairs, "unmatched": lost})


def save_pairs(path: Path, pairs: PairsFile, *, overwrite: bool = False) -> None:
    """Write a pairs file in one step.

    Raises
    ------
    OutputExistsError
        If it is there and may not be replaced.
    DiskError
        If it cannot be written.
    """
    check_pairs_output(path, overwrite=overwrite)
    folder = path.absolute().parent
    values = pairs.with_paths(lambda text: _relative(text, folder)).model_dump(mode="json")
    for pair in values["pairs"]:
        if pair["exclude"] is None:  # which older versions do not know
            del pair["exclude"]
    with disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{os.getpid()}.partial")
        scratch.write_text(json.dumps(values, indent=1), encoding="utf-8")
        scratch.replace(path)


def check_pairs_output(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace what is not a pairs file, or may not be replaced.

    Raises
    ------
    OutputExistsError
        If something is in the way.
    """
    if not path.exists():
        return
    if not overwrite:
        raise OutputExistsError(
            f"'{path}' exists. To go on, choose another --out or add --overwrite."
        )
    try:
        load_pairs(path)
    except (ImageFileError, MissingInputError) as error:
        raise OutputExistsError(
            f"'{path}' is no pairs file, which is never replaced. Choose another --out."
        ) from error


def load_pairs(path: Path) -> PairsFile:
    """Return a pairs file, its paths in full.

    Raises
    ------
    MissingInputError
        If there is none.
    ImageFileError
        If it is damaged, of a newer version, or something else.
    """
    try:
        values: Any = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingInputError(
            f"{str(path)!r} does not exist. Write it with `virtualstain pairs`."
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(values, dict) or "schema_version" not in values:
        raise _damaged(path, "it has no schema_version")
    if values["schema_version"] != SCHEMA_VERSION:
        raise ImageFileError(
            f"{str(path)!r} is of schema {values['schema_version']}, this program knows "
            f"{SCHEMA_VERSION}. Update napari-virtualstain."
        )
    try:
        pairs = PairsFile.model_validate(values)
    except ValidationError as error:
        raise _damaged(path, ": ".join(first_fault(error, whole="file"))) from error
    folder = path.absolute().parent
    return pairs.with_paths(
        lambda text: text if is_remote(text) else os.path.normpath(folder / text)
    )


def _damaged(path: Path, why: str) -> ImageFileError:
    return ImageFileError(
        f"{str(path)!r} is no pairs file, or is damaged ({why}). "
        "Write it anew with `virtualstain pairs`."
    )


def _relative(text: str, folder: Path) -> str:
    """Return a path as seen from a folder; in full where only the root is shared."""
    if is_remote(text):
        return text
    whole = os.path.normpath(Path(text).absolute())
    try:
        shared = os.path.commonpath([whole, folder])
    except ValueError:  # another drive
        return whole
    if Path(shared) == Path(shared).parent:
        return whole
    return os.path.relpath(whole, folder).replace(os.sep, "/")
