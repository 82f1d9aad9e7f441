"""Which trained models there are, and where: bundled ones and those of the user.

`load_generator` is the one way from a name or folder to a `Model`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from napari_virtualstain.encoders.packaged import PACKAGED
from napari_virtualstain.errors import (
    DiskError,
    MissingInputError,
    SettingsError,
    unknown_name,
)

if TYPE_CHECKING:
    from napari_virtualstain.encoders.package import EncoderModel
    from napari_virtualstain.generators.package import Model

__all__ = [
    "find_encoder",
    "find_model",
    "is_own",
    "list_encoders",
    "list_models",
    "load_encoder",
    "load_generator",
    "models_folder",
    "remove_model",
]

_BUNDLED = Path(__file__).parent / "models"
_PAINTS, _SEES = "card.json", "encoder.json"
"""What the card is called of a model that stains, and of an encoder."""


def models_folder() -> Path:
    """Return the folder in which a user's own models are found by name."""
    override = os.environ.get("NVS_MODELS")
    return (
        Path(override)
        if override
        else platformdirs.user_data_path("napari-virtualstain") / "models"
    )


def list_models() -> dict[str, Path]:
    """Return every model that stains and has a name: bundled ones first, then the user's."""
    return _listed(_PAINTS)


def list_encoders() -> dict[str, Path]:
    """Return every encoder that has a name: in the same folders, then those of extras."""
    found = _listed(_SEES)
    for name, one in PACKAGED.items():
        if one.path is not None:
            found.setdefault(name, one.path)
    return found


def _listed(card: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in (_BUNDLED, models_folder()):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if (path / card).is_file():
                    found.setdefault(path.name, path)
    return found


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the folder or zip of a model that stains.

    Parameters
    ----------
    name_or_path
        A name of `list_models`, or a path. What exists as a path and has a
        separator or a suffix is a path; otherwise names win.

    Raises
    ------
    UnknownNameError
        If it is neither; the message offers the nearest name.
    """
    text = os.fspath(name_or_path)
    if text in list_encoders() and text not in list_models():
        raise SettingsError(
            f"{text!r} is an encoder: it sees, and paints nothing. Give it to "
            f"`virtualstain embed`, and here one of: {', '.join(list_models()) or 'none yet'}."
        )
    return _found(text, list_models(), "model", "`virtualstain models` lists")


def find_encoder(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the folder or zip of an encoder; as `find_model`.

    Raises
    ------
    UnknownNameError, MissingInputError
        If there is none.
    MissingExtraError
        If an extra brings it that is not installed.
    SettingsError
        If it is a model that stains.
    """
    text = os.fspath(name_or_path)
    if text in PACKAGED and text not in list_encoders():
        raise PACKAGED[text].missing()
    if text in list_models() and text not in list_encoders():
        raise SettingsError(
            f"{text!r} is a model that stains, and gives no features. Give an encoder: "
            f"{', '.join(list_encoders()) or 'none yet; `virtualstain train --encoder` makes one'}."
        )
    return _found(text, list_encoders(), "encoder", "`virtualstain models` lists")


def _found(text: str, models: dict[str, Path], what: str, lists: str) -> Path:
    if text in models:
        return models[text]
    path = Path(text).expanduser()
    if path.exists():
        return path
    if path.suffix or os.sep in text or "/" in text:
        raise MissingInputError(
            f"There is no {what} at '{text}'. Give a model folder or zip, or one of the "
            f"names that {lists}: {', '.join(models) or 'none yet'}."
        )
    one = "an encoder" if what == "encoder" else "a model"
    then = (
        f"Give one of these, or the path of {one} folder."
        if models
        else f"Give the path of {one} folder, or make one with `virtualstain models import`."
    )
    raise unknown_name(what, text, models, then=then)


def is_own(name: str) -> bool:
    """Return whether a model of that name lies in the user's models folder."""
    path = (list_models() | list_encoders()).get(name)
    return path is not None and path.parent == models_folder()


def remove_model(name: str) -> None:
    """Delete one of the user's own models.

    Raises
    ------
    SettingsError
        If it is none of them.
    DiskError
        If the disk refuses.
    """
    if not is_own(name):
        raise SettingsError(
            f"{name!r} is none of your own models, and stays. Those lie in '{models_folder()}'."
        )
    path = (list_models() | list_encoders())[name]
    try:
        if path.is_symlink():
            path.unlink()  # what it leads to is somebody's
            return
        # Without its card it is no model any more, however far the rest goes.
        for card in (_PAINTS, _SEES):
            (path / card).unlink(missing_ok=True)
        shutil.rmtree(path)
    except OSError as error:
        raise DiskError(
            f"The model {name!r} cannot be removed: {error.strerror}. Check that you may write in "
            f"'{path}', and that no other program uses it."
        ) from error


def load_generator(name_or_path: str | os.PathLike[str]) -> Model:
    """Load a trained model by name or path, with its hashes and test pair checked.

    Parameters
    ----------
    name_or_path
        A name that `list_models` knows, for example ``"demo"``, or the path of a
        model folder or zip.

    Returns
    -------
    Model
        Card and generator.

    Raises
    ------
    UnknownNameError, MissingInputError
        If there is no such model.
    ModelPackageError
        If it is damaged, altered, a pickle, or a program that is not trusted.

    Examples
    --------
    >>> load_generator("demo").card.stain_names
    ('DNA', 'ER', 'RNA', 'AGP', 'Mito')
    """
    from napari_virtualstain.generators.package import load_package
    from napari_virtualstain.zoo.trust import is_trusted

    return load_package(find_model(name_or_path), trusted=is_trusted)


def load_encoder(name_or_path: str | os.PathLike[str]) -> EncoderModel:
    """Load an encoder by name or path, with its hashes and test pair checked.

    Parameters
    ----------
    name_or_path
        A name that `list_encoders` knows, or the path of a folder or zip.

    Raises
    ------
    UnknownNameError, MissingInputError, SettingsError
        If there is no such encoder.
    ModelPackageError
        If it is damaged, altered, or a pickle.
    """
    from napari_virtualstain.encoders.package import load_encoder_package

    return load_encoder_package(find_encoder(name_or_path))
