"""A model on disk: a folder or zip with a card, weights, and a test pair.

=====================  ======================================================
``card.json``          `ModelCard`; holds the sha256 of the other two
``weights.safetensors``  tensors only, nothing that could run
``test_pair.npz``      planes and the stains that the weights made of them
=====================  ======================================================

A network of others that runs as it came (`registry.GRAPHS`) has its own file in the place of
the weights: ``weights.onnx``, or ``weights.pt`` of TorchScript, which is a program and is not
opened unless the caller trusts that very file.

Loading checks the hashes and repeats the test pair, so that a model that was
altered, cut short, or does not compute here what it computed there is refused
before anybody looks at its stains.
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from napari_virtualstain.errors import (
    MissingInputError,
    ModelPackageError,
    OutputExistsError,
    VirtualStainError,
)
from napari_virtualstain.generators.base import Generator, Graph
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.registry import GRAPHS, build_generator, get_spec
from napari_virtualstain.io.disk import disk_errors

__all__ = ["Model", "fingerprint_of", "load_package", "read_card", "read_test_pair", "save_package"]

CARD = "card.json"
WEIGHTS = "weights.safetensors"
TEST_PAIR = "test_pair.npz"
_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")
_WEIGHTS = tuple(dict.fromkeys([WEIGHTS, *(spec.weights for spec in GRAPHS.values())]))
_PROGRAM = "weights.pt"
_LARGEST = {CARD: 2**24, TEST_PAIR: 2**30, **dict.fromkeys(_WEIGHTS, 2**34)}
"""Bytes of a member of a zip, which may unfold to a thousand times its size."""
_TOLERANCE = 1e-2
"""Largest difference from the test pair, in standard deviations of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A generator with weights, and the card that says what it is for.

    Parameters
    ----------
    card
        What the model says of itself.
    generator
        Ready to predict.
    path
        Where it was loaded from.
    fingerprint
        sha256 of the card, which holds those of the weights: equal
        fingerprints predict the same stains.
    """

    card: ModelCard
    generator: Generator
    path: Path
    fingerprint: str


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _reader(path: Path) -> Callable[[str], bytes | None]:
    """Return a function that reads a member of a folder or zip, `None` if missing."""
    if not path.exists():
        raise MissingInputError(
            f"There is no model at '{path}'. Give the folder or zip that holds its {CARD}, "
            "or one of the names that `virtualstain models` lists."
        )
    if path.is_dir():
        pickles = sorted(p.name for p in path.iterdir() if p.suffix.lower() in _PICKLES)
        if pickles and not any((path / name).exists() for name in _WEIGHTS):
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
            f"Give the folder that holds {CARD} and {WEIGHTS}."
        )

    def from_zip(name: str) -> bytes | None:
        try:
            with zipfile.ZipFile(path) as archive:
                members = [
                    m
                    for m in archive.infolist()
                    if m.filename == name or m.filename.endswith(f"/{name}")
                ]
                if members and members[0].file_size > _LARGEST[name]:
                    raise ModelPackageError(
                        f"'{path}' holds a {name} of {members[0].file_size / 1e9:.1f} GB, which no "
                        "model has. Ask its author for another one."
                    )
                return archive.read(members[0]) if members else None
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ModelPackageError(
                f"The zip '{path}' is damaged ({error}). Copy or download the model again."
            ) from error

    return from_zip


def _refuse_pickle(path: Path) -> None:
    raise ModelPackageError(
        f"'{path}' is a pickle, which can run any code when it is opened, and is not loaded. "
        "If it holds the weights of a known method, make a model of it with "
        "`virtualstain models import`, which reads numbers and runs nothing."
    )


def _parse_card(content: bytes | None, path: Path) -> ModelCard:
    if content is None:
        raise ModelPackageError(
            f"'{path}' holds no {CARD}, so nobody can tell what the model expects. "
            "Give the folder that `virtualstain train` wrote."
        )
    try:
        return ModelCard.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "card"
        raise ModelPackageError(
            f"The {CARD} of '{path}' is not valid at '{where}': {first['msg']}. "
            "Download the model again, or update napari-virtualstain if the model is newer."
        ) from error


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read the card of a model without its weights and without torch.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If it is not a model folder or zip, or its card is not valid.
    """
    path = Path(path)
    return _parse_card(_reader(path)(CARD), path)


def fingerprint_of(path: str | os.PathLike[str]) -> str:
    """Return the fingerprint that a model has once it is loaded; see `Model`.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If it is not a model folder or zip.
    """
    return _sha256(_reader(Path(path))(CARD) or b"")


def _nothing(sha256: str) -> bool:
    del sha256
    return False


def load_package(
    path: str | os.PathLike[str], *, trusted: Callable[[str], bool] = _nothing
) -> Model:
    """Load a model, check its hashes, and repeat its test pair.

    Parameters
    ----------
    path
        Folder or zip as `save_package` writes it.
    trusted
        Told the sha256 of a file of weights that is a program, returns whether it may run;
        none may if not given.

    Raises
    ------
    MissingInputError
        If the path does not exist.
    ModelPackageError
        If a file is missing or altered, is a pickle or a program that is not trusted, does not
        fit the architecture, or if the test pair is not reproduced.
    """
    path = Path(path)
    read = _reader(path)
    content = read(CARD)
    card = _parse_card(content, path)
    file = get_spec(card.generator).weights
    weights = _verified(read, file, card, path)
    if file == _PROGRAM and not trusted(card.files[file]):
        raise ModelPackageError(
            f"'{path}' is a TorchScript module, a program that may read and write files, and is "
            "not opened. If you trust who made it, say so once: virtualstain models import "
            f"'{path}' --out NAME --trust."
        )
    pair = _verified(read, TEST_PAIR, card, path)
    generator = build_generator(
        card.generator,
        in_channels=len(card.inputs),
        out_channels=len(card.stains),
        architecture=card.architecture,
    )
    _load_weights(generator, weights, path)
    _repeat_test_pair(generator, pair, path)
    return Model(card=card, generator=generator, path=path, fingerprint=_sha256(content or b""))


def _verified(read: Callable[[str], bytes | None], name: str, card: ModelCard, path: Path) -> bytes:
    content = read(name)
    if content is None:
        raise ModelPackageError(
            f"The model '{path}' lacks its file {name}. Copy or download the whole folder again."
        )
    if _sha256(content) != card.files.get(name):
        raise ModelPackageError(
            f"The file {name} of the model '{path}' is not the one that its card describes "
            "(sha256 differs): it was altered or cut short. Copy or download the model again."
        )
    return content


def _load_weights(generator: Generator, content: bytes, path: Path) -> None:
    if isinstance(generator, Graph):
        generator.open_graph(content)
        return
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        generator.module().load_state_dict(load(content), strict=True)
    except SafetensorError as error:
        raise ModelPackageError(
            f"The {WEIGHTS} of '{path}' is not a safetensors file ({error}). "
            "Ask for the model in safetensors; other formats are not opened."
        ) from error
    except RuntimeError as error:
        raise ModelPackageError(
            f"The weights of '{path}' do not fit the architecture in its card: "
            f"{str(error).splitlines()[-1].strip()} Download the model again."
        ) from error


def read_test_pair(
    path: str | os.PathLike[str],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the test pair of a model: normalised planes, and the stains of its weights.

    Raises
    ------
    MissingInputError, ModelPackageError
        See `load_package`.
    """
    path = Path(path)
    read = _reader(path)
    return _pair(_verified(read, TEST_PAIR, _parse_card(read(CARD), path), path))


def _pair(content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as pair:
        return pair["planes"], pair["expected"]


def _repeat_test_pair(generator: Generator, content: bytes, path: Path) -> None:
    planes, expected = _pair(content)
    found = generator.predict(planes, seed=0)
    spread = max(float(expected.std()), 1e-6)
    difference = float(np.abs(found - expected).max()) / spread
    if not difference <= _TOLERANCE:
        raise ModelPackageError(
            f"The model '{path}' does not reproduce its own test pair on this machine "
            f"(largest difference {difference:.3g} standard deviations, allowed {_TOLERANCE:g}). "
            "Do not trust it here; report the machine and torch version."
        )


def save_package(
    path: str | os.PathLike[str],
    card: ModelCard,
    generator: Generator,
    test_planes: NDArray[np.float32],
    *,
    overwrite: bool = False,
) -> ModelCard:
    """Write a model folder, whole or not at all.

    Parameters
    ----------
    path
        Folder to make.
    card
        Its ``files`` are filled in.
    generator
        Whose weights are stored.
    test_planes
        Normalised planes (B, in_channels, *S) of the test pair.
    overwrite
        Replace a model folder that is there.

    Returns
    -------
    ModelCard
        The card as written.

    Raises
    ------
    OutputExistsError
        If the folder exists and may not be replaced.
    DiskError
        If the disk is full or cannot be written.
    """
    path = Path(path)
    check_model_output(path, overwrite=overwrite)
    expected = generator.predict(test_planes, seed=0)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, planes=test_planes, expected=expected)
    files = {
        get_spec(card.generator).weights: _weights_of(generator), TEST_PAIR: buffer.getvalue(),
    }  # fmt: skip
    card = card.model_copy(update={"files": {name: _sha256(c) for name, c in files.items()}})
    with disk_errors(path):
        _write_whole(path, card, files)
    return card


def _weights_of(generator: Generator) -> bytes:
    if isinstance(generator, Graph):
        return generator.content
    from safetensors.torch import save

    tensors = {k: v.detach().cpu().contiguous() for k, v in generator.module().state_dict().items()}
    # One entry: safetensors writes several in any order, and equal weights are equal files.
    return save(tensors, metadata={"format": "pt"})


def _write_whole(path: Path, card: ModelCard, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        for name, content in files.items():
            (scratch / name).write_bytes(content)
        text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (scratch / CARD).write_text(text + "\n", encoding="utf-8")
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


def check_model_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a model folder that may not be written, before the training and not after.

    Raises
    ------
    OutputExistsError
        If something is there that is not a model, or is one and may not be replaced.
    """
    if not path.exists():
        return
    try:
        read_card(path)
    except VirtualStainError:
        raise OutputExistsError(
            f"'{path}' exists and is not a model folder, so it is never replaced. "
            "Choose another --out."
        ) from None
    if not overwrite:
        raise OutputExistsError(
            f"The model folder '{path}' exists. Choose another --out, or add --overwrite."
        )
