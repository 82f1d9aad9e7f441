"""Which trained models there are, and where: bundled ones and those of the user.

`load_generator` is the one way from a name or folder to a `Model`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from napari_virtualstain.errors import (
    DiskError,
    MissingInputError,
    SettingsError,
    unknown_name,
)

if TYPE_CHECKING:
    from napari_virtualstain.generators.package import Model

__all__ = [
    "find_model",
    "is_own",
    "list_models",
    "load_generator",
    "models_folder",
    "remove_model",
]

_BUNDLED = Path(__file__).parent / "models"


def models_folder() -> Path:
    """Return the folder in which a user's own models are found by name."""
    override = os.environ.get("NVS_MODELS")
    return (
        Path(override)
        if override
        else platformdirs.user_data_path("napari-virtualstain") / "models"
    )


def list_models() -> dict[str, Path]:
    """Return every model that has a name: bundled ones first, then the user's."""
    found: dict[str, Path] = {}
    for folder in (_BUNDLED, models_folder()):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if (path / "card.json").is_file():
                    found.setdefault(path.name, path)
    return found


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the folder or zip of a model.

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
    models = list_models()
    text = os.fspath(name_or_path)
    if text in models:
        return models[text]
    path = Path(text).expanduser()
    if path.exists():
        return path
    if path.suffix or os.sep in text or "/" in text:
        raise MissingInputError(
            f"There is no model at '{text}'. Give a model folder or zip, or one of the "
            f"names that `virtualstain models` lists: {', '.join(models) or 'none yet'}."
        )
    then = "Give one of these, or the path of a model folder."
    raise unknown_name("model", text, models, then=then)


def is_own(name: str) -> bool:
    """Return whether a model of that name lies in the user's models folder."""
    path = list_models().get(name)
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
    path = list_models()[name]
    try:
        if path.is_symlink():
            path.unlink()  # what it leads to is somebody's
            return
        # Without its card it is no model any more, however far the rest goes.
        (path / "card.json").unlink()
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
