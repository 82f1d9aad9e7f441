"""What can go wrong, in one sentence that ends with what to do.

Every error that this package raises on purpose derives from
`VirtualStainError` *and* from the builtin that it stands for, so that a caller
may catch either. A message says what was received, what was needed, and the
next action, in that order, without a traceback being needed to act on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "AxesError",
    "ChannelError",
    "ComputeError",
    "DiskError",
    "DownloadError",
    "ImageFileError",
    "MissingExtraError",
    "MissingInputError",
    "ModelPackageError",
    "OutputBusyError",
    "OutputExistsError",
    "PixelDataError",
    "PixelSizeError",
    "ReplayError",
    "RunCancelled",
    "SettingsError",
    "UnknownNameError",
    "VirtualStainError",
    "did_you_mean",
    "first_fault",
    "from_extra",
    "parse_json",
    "refuse_newer",
    "sentence_of",
    "unknown_name",
]


class VirtualStainError(Exception):
    """Base of every error that the package raises on purpose."""

    def __str__(self) -> str:
        # KeyError would show the repr of its message, quotes included.
        return str(self.args[0]) if self.args else ""


class AxesError(VirtualStainError, ValueError):
    """The axes of an image cannot be told, or are not those that are needed."""


class ChannelError(VirtualStainError, ValueError):
    """A channel or z plane that is needed is not there, or cannot be told."""


class PixelSizeError(VirtualStainError, ValueError):
    """The pixel size of an image is not the one that the model was trained at."""


class PixelDataError(VirtualStainError, ValueError):
    """The pixels themselves cannot be used: NaN, infinity, constant, empty."""


class ImageFileError(VirtualStainError, ValueError):
    """A file is there, but is damaged or is not an image that can be read."""


class MissingInputError(VirtualStainError, FileNotFoundError):
    """A path does not exist."""


class OutputExistsError(VirtualStainError, FileExistsError):
    """An output is already there and nobody said that it may be replaced."""


class OutputBusyError(VirtualStainError, BlockingIOError):
    """Another run that is alive writes the output."""


class DiskError(VirtualStainError, OSError):
    """The disk is full, read-only, or otherwise refuses to be written."""


class DownloadError(VirtualStainError, ConnectionError):
    """A file of the web does not come, or is not the one that is meant."""


class ModelPackageError(VirtualStainError, ValueError):
    """A model folder is incomplete, altered, or of a kind that is not loaded."""


class SettingsError(VirtualStainError, ValueError):
    """A setting is out of its range or contradicts another."""


class ReplayError(VirtualStainError, ValueError):
    """A record cannot be repeated, or its repetition has other numbers."""


class UnknownNameError(VirtualStainError, KeyError):
    """A name is not in the registry that it was looked up in."""


class RunCancelled(VirtualStainError, InterruptedError):  # noqa: N818 (not a mistake of anybody)
    """Somebody asked a run to end; raised by a progress callback, between two tiles."""


class ComputeError(VirtualStainError, RuntimeError):
    """The process or scheduler that a run was sent to is not there, or went away."""


class MissingExtraError(VirtualStainError, ImportError):
    """An optional dependency is needed; the message names the extra."""


def did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, else ``""``.

    Examples
    --------
    >>> did_you_mean("unett", ["unet", "bbdm"])
    " Did you mean 'unet'?"
    >>> did_you_mean("zebra", ["unet", "bbdm"])
    ''
    """
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, then: str = "Choose one of these."
) -> UnknownNameError:
    """Return the error of a name that is not registered.

    Parameters
    ----------
    kind
        What is looked for, for example ``"generator"``.
    name
        What was asked for.
    known
        What there is.
    then
        What to do.

    Examples
    --------
    >>> print(unknown_name("loss", "l11", ["l1", "l2"]))
    No loss named 'l11'. Did you mean 'l1'? There are: l1, l2. Choose one of these.
    """
    names = sorted(known)
    there = ", ".join(names) or "none"
    return UnknownNameError(
        f"No {kind} named {name!r}.{did_you_mean(name, names)} There are: {there}. {then}"
    )


def from_extra(module: str, *, extra: str, needs: str) -> Any:
    """Import a package that only an extra brings.

    Parameters
    ----------
    module
        To import.
    extra
        Of this package.
    needs
        The first half of what is said where it is missing, up to "Install it".

    Raises
    ------
    MissingExtraError
        If it is not installed.

    Examples
    --------
    >>> try:
    ...     from_extra("no_such_package", extra="onnx", needs="This takes the extra [onnx].")
    ... except MissingExtraError as error:
    ...     print(error)
    This takes the extra [onnx]. Install it with: pip install 'napari-virtualstain[onnx]'.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{needs} Install it with: pip install 'napari-virtualstain[{extra}]'."
        ) from error


def parse_json(text: str | bytes) -> Any:
    """Return what a text of JSON holds, whoever wrote it.

    Parameters
    ----------
    text
        As it was read.

    Raises
    ------
    ValueError
        If it is none, or nested so deeply that Python gives up, which is no `ValueError` by itself.

    Examples
    --------
    >>> parse_json('{"a": [1]}')
    {'a': [1]}
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def first_fault(error: ValidationError, *, whole: str) -> tuple[str, str]:
    """Return where values do not fit their model, and why.

    Parameters
    ----------
    error
        Of pydantic; its first fault counts.
    whole
        What to call the place where everything is wrong.
    """
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]) or whole, first["msg"]


def refuse_newer(content: object, known: int, where: str, kind: type[VirtualStainError]) -> None:
    """Refuse what a newer version of this program wrote.

    Parameters
    ----------
    content
        Of the file: its bytes as JSON, or what they hold. Anything damaged passes: whoever reads it
        says in which way it is.
    known
        Newest schema that is understood.
    where
        The file, as the sentence names it.
    kind
        Of the error.

    Raises
    ------
    VirtualStainError
        Of that kind, if ``schema_version`` is a larger number.

    Examples
    --------
    >>> try:
    ...     refuse_newer(b'{"schema_version": 3}', 2, "'pairs.json'", ImageFileError)
    ... except ImageFileError as error:
    ...     print(error)
    'pairs.json' is of schema 3, this program knows 2. Update napari-virtualstain.
    """
    if isinstance(content, bytes):
        try:
            content = parse_json(content)
        except ValueError:
            return
    found = content.get("schema_version") if isinstance(content, Mapping) else None
    if isinstance(found, int) and found > known:
        raise kind(
            f"{where} is of schema {found}, this program knows {known}. Update napari-virtualstain."
        )


def sentence_of(error: BaseException) -> str:
    """Return what went wrong as a sentence that ends with what to do.

    Ours say it themselves; the system's and memory's errors are put into words;
    anything else is a defect, and is named as one.

    Examples
    --------
    >>> print(sentence_of(MemoryError()))
    The memory is used up. Use a smaller --tile, --patch or --batch.
    """
    if isinstance(error, VirtualStainError):
        return str(error)
    if _out_of_memory(error):
        return "The memory is used up. Use a smaller --tile, --patch or --batch."
    if isinstance(error, OSError):
        where = f" '{error.filename}'" if error.filename else ""
        return (
            f"The system refuses{where}: {error.strerror or error}. "
            "Check that the file is there, may be read or written, and that the disk has room."
        )
    return (
        f"{type(error).__name__}: {error}. This is a defect; please report it with the "
        "command and the output of --debug."
    )


def _out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out; torch, which is not imported here, says it in its own ways."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
