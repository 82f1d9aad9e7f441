"""What is in the folder or zip of a model? How is one written, whole or not at all.

Of any kind of model: a card, which says what the model is and holds the sha256 of the files beside
it. What else stands in a card, and what the files mean, is the business of whoever asks.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from napari_virtualstain.errors import (
    MissingInputError,
    ModelPackageError,
    OutputExistsError,
    VirtualStainError,
    first_fault,
    refuse_newer,
)
from napari_virtualstain.io.disk import disk_errors

__all__ = [
    "DENOISES",
    "PAINTS",
    "SEES",
    "TEST_PAIR",
    "WEIGHTS",
    "ModelFiles",
    "check_place",
    "member_of_zip",
    "pack_pair",
    "sha256_of",
    "write_model",
]

PAINTS, SEES, DENOISES = "card.json", "encoder.json", "denoiser.json"
"""Names of the cards, one a kind of model, so that none is taken for another."""
_KINDS = {
    PAINTS: ("a model that stains", "stain", "train"),
    SEES: ("an encoder", "embed", "train --encoder"),
    DENOISES: ("a denoiser", "denoise", "denoise --keep-as"),
}
"""What each is, which command takes it, and which writes it."""
WEIGHTS = "weights.safetensors"
TEST_PAIR = "test_pair.npz"
_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")
_LARGEST = {".json": 2**24, ".npz": 2**30}
_LARGEST_WEIGHTS = 2**34
"""Bytes of a member of a zip, which may unfold to a thousand times its size."""
_TOLERANCE = 1e-2
"""Largest difference from the test pair, in standard deviations of its output."""

Card = TypeVar("Card", bound=BaseModel)
Pixels = NDArray[np.float32]


def sha256_of(content: bytes) -> str:
    """Return the sha256 of a file, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


class ModelFiles:
    """Read the members of a model.

    Parameters
    ----------
    path
        Folder or zip.
    card
        Name of the file that the card is in.
    weights
        Names that the file of weights may have.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If it is no folder or zip, or a pickle.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, card: str, weights: Sequence[str] = (WEIGHTS,)
    ) -> None:
        self.path, self._card = Path(path), card
        self._read = self._reader(tuple(weights))
        self.content = self._read(card)
        """Of the card, `None` where there is none."""

    @property
    def fingerprint(self) -> str:
        """The sha256 of the card, which holds those of the other files."""
        return sha256_of(self.content or b"")

    def card(self, kind: type[Card]) -> Card:
        """Return the card.

        Raises
        ------
        ModelPackageError
            If there is none, perhaps as it is another kind of model, or it is not valid.
        """
        if self.content is None:
            wanted, _, written_by = _KINDS[self._card]
            for name, (what, taken_by, _) in _KINDS.items():
                if self._read(name) is not None:
                    raise ModelPackageError(
                        f"'{self.path}' is {what}. Give it to `virtualstain {taken_by}`, and here "
                        f"{wanted}, which `virtualstain {written_by}` writes."
                    )
            raise ModelPackageError(
                f"'{self.path}' holds no {self._card}, so nobody can tell what the model expects. "
                f"Give the folder that `virtualstain {written_by}` wrote."
            )
        known = kind.model_fields["schema_version"].default
        where = f"The {self._card} of '{self.path}'"
        refuse_newer(self.content, known, where, ModelPackageError)
        try:
            return kind.model_validate_json(self.content)
        except ValidationError as error:
            where, why = first_fault(error, whole="card")
            raise ModelPackageError(
                f"The {self._card} of '{self.path}' is not valid at '{where}': {why}. "
                "Download the model again, or update napari-virtualstain if the model is newer."
            ) from error

    def verified(self, name: str, files: Mapping[str, str]) -> bytes:
        """Return a member whose sha256 is the one that the card states.

        Parameters
        ----------
        name
            Of the member.
        files
            The sha256 of each, by name.

        Raises
        ------
        ModelPackageError
            If it is not there, or another one.
        """
        content = self._read(name)
        if content is None:
            raise ModelPackageError(
                f"The model '{self.path}' lacks its file {name}. "
                "Copy or download the whole folder again."
            )
        if sha256_of(content) != files.get(name):
            raise ModelPackageError(
                f"The file {name} of the model '{self.path}' is not the one that its card "
                "describes (sha256 differs): it was altered or cut short. "
                "Copy or download the model again."
            )
        return content

    def test_pair(self, files: Mapping[str, str]) -> tuple[Pixels, Pixels]:
        """Return what goes in, and what came out where the model was made.

        Raises
        ------
        ModelPackageError
            See `verified`.
        """
        return _arrays_of(self.verified(TEST_PAIR, files), self.path)

    def check_test_pair(self, expected: Pixels, found: Pixels) -> None:
        """Refuse a model that does not compute here what it computed there.

        Raises
        ------
        ModelPackageError
            If the difference is more than a hundredth of a standard deviation.
        """
        spread = max(float(expected.std()), 1e-6)
        difference = float(np.abs(found - expected).max()) / spread
        if not difference <= _TOLERANCE:
            raise ModelPackageError(
                f"The model '{self.path}' does not reproduce its own test pair on this machine "
                f"(largest difference {difference:.3g} standard deviations, allowed "
                f"{_TOLERANCE:g}). Do not trust it here; report the machine and torch version."
            )

    def _reader(self, weights: tuple[str, ...]) -> Callable[[str], bytes | None]:
        """Return a function that reads a member, `None` if missing."""
        path = self.path
        if not path.exists():
            raise MissingInputError(
                f"There is no model at '{path}'. Give the folder or zip that holds its "
                f"{self._card}, or one of the names that `virtualstain models` lists."
            )
        if path.is_dir():
            pickles = sorted(p.name for p in path.iterdir() if p.suffix.lower() in _PICKLES)
            if pickles and not any((path / name).exists() for name in weights):
                _refuse_pickle(path / pickles[0])

            def from_folder(name: str) -> bytes | None:
                member = path / name
                return member.read_bytes() if member.is_file() else None

            return from_folder
        if path.suffix.lower() in _PICKLES:
            _refuse_pickle(path)
        if not zipfile.is_zipfile(path):
            raise ModelPackageError(
                f"'{path}' is neither a model folder nor a zip of one. "
                f"Give the folder that holds {self._card} and {WEIGHTS}."
            )
        return lambda name: member_of_zip(path, name)


def member_of_zip(path: Path, name: str) -> bytes | None:
    """Return a member of a zip, wherever in it; `None` if there is none.

    A member is never written to disk under its name, and at most as many bytes of it are unpacked
    as a file of its kind can have.

    Raises
    ------
    ModelPackageError
        If the zip is damaged, locked, or unfolds to more than that.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                m
                for m in archive.infolist()
                if m.filename == name or m.filename.endswith(f"/{name}")
            ]
            largest = _LARGEST.get(Path(name).suffix, _LARGEST_WEIGHTS)
            if members and members[0].file_size > largest:
                raise ModelPackageError(
                    f"'{path}' holds a {name} of {members[0].file_size / 1e9:.1f} GB, which no "
                    "model has. Ask its author for another one."
                )
            return archive.read(members[0]) if members else None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, VirtualStainError):
            raise
        raise ModelPackageError(
            f"The zip '{path}' is damaged ({error}). Copy or download the model again."
        ) from error


def _arrays_of(content: bytes, path: Path) -> tuple[Pixels, Pixels]:
    """Return the two arrays of a test pair, which may not unfold to more than a file may have."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unfolded = sum(member.file_size for member in archive.infolist())
        if unfolded > _LARGEST[".npz"]:
            raise ModelPackageError(
                f"The {TEST_PAIR} of '{path}' unfolds to {unfolded / 1e9:.1f} GB, which no test "
                "pair has. Ask its author for another model."
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as pair:
            return pair["planes"], pair["expected"]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, LookupError) as error:
        if isinstance(error, VirtualStainError):
            raise
        raise ModelPackageError(
            f"The {TEST_PAIR} of '{path}' is damaged ({error}). Copy or download the model again."
        ) from error


def _refuse_pickle(path: Path) -> None:
    raise ModelPackageError(
        f"'{path}' is a pickle, which can run any code when it is opened, and is not loaded. "
        "If it holds the weights of a known method, make a model of it with "
        "`virtualstain models import`, which reads numbers and runs nothing."
    )


def pack_pair(planes: Pixels, expected: Pixels) -> bytes:
    """Return the file of a test pair; see `ModelFiles.test_pair`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, planes=planes, expected=expected)
    return buffer.getvalue()


def check_place(
    path: Path, read_card: Callable[[Path], BaseModel], *, what: str, overwrite: bool
) -> None:
    """Refuse a folder that may not be written, before the training and not after.

    Parameters
    ----------
    path
        Of the model that is to be made.
    read_card
        Raises where there is no such model.
    what
        Kind of model, for example ``"model"``.
    overwrite
        Whether one that is there may be replaced.

    Raises
    ------
    OutputExistsError
        If something is there that is not such a model, or is one and may not be replaced.
    """
    if not path.exists():
        return
    try:
        read_card(path)
    except VirtualStainError:
        raise OutputExistsError(
            f"'{path}' exists and is not {'an' if what[0] in 'aeiou' else 'a'} {what} folder, so "
            "it is never replaced. Choose another --out."
        ) from None
    if not overwrite:
        raise OutputExistsError(
            f"The {what} folder '{path}' exists. Choose another --out, or add --overwrite."
        )


def write_model(path: Path, card: Card, files: Mapping[str, bytes], *, card_file: str) -> Card:
    """Write a model folder, whole or not at all.

    Parameters
    ----------
    path
        Folder to make, or to replace.
    card
        Its ``files`` are filled in.
    files
        Contents, by name.
    card_file
        Name of the file that the card goes into.

    Returns
    -------
    pydantic.BaseModel
        The card as written.

    Raises
    ------
    DiskError
        If the disk is full or cannot be written.
    """
    card = card.model_copy(update={"files": {name: sha256_of(c) for name, c in files.items()}})
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    with disk_errors(path):
        _write_whole(path, {**files, card_file: text.encode()})
    return card


def _write_whole(path: Path, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        for name, content in files.items():
            (scratch / name).write_bytes(content)
        scratch.chmod(0o755)
        _take_place(scratch, path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _take_place(scratch: Path, path: Path) -> None:
    """Move a finished folder to its place; what is there is deleted last, or put back."""
    if not path.exists():
        scratch.rename(path)
        return
    # Under a name of the new folder, which nobody else has: a crash in between leaves both.
    aside = scratch.with_name(f"{scratch.name}.previous")
    path.rename(aside)
    try:
        scratch.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)
