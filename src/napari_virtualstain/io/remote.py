"""Where an image lies that is no file here: ``https://``, ``s3://`` and what else fsspec opens.

Only OME-Zarr is read from afar, since its chunks are fetched one by one as
they are looked at; nothing is written there, and nothing fetched is executed.
A bucket is opened with the credentials that the system holds for it, else as
anybody may; what a place needs beyond that stands in fsspec's own configuration.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from napari_virtualstain.errors import ImageFileError, MissingExtraError, SettingsError

__all__ = ["absolute", "is_remote", "located", "read_text", "refuse_secrets", "remote_store"]

_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.\-]+)://", re.IGNORECASE)
_SECRET = re.compile(r"token|sig|key|secret|passw|credential|auth", re.IGNORECASE)
"""In the name of what a URL asks with, where it opens what is not open to all."""
_NEEDS = {"http": "http", "https": "http", "s3": "s3", "s3a": "s3"}
"""Extra that brings what a protocol needs; of any other, fsspec's sentence names the package."""


def is_remote(source: object) -> bool:
    r"""Return whether a path is a URL, or was made from one.

    Examples
    --------
    >>> is_remote("s3://bucket/plate.zarr"), is_remote("plate.zarr"), is_remote(r"C:\plate")
    (True, False, False)
    """
    if isinstance(source, Path):
        return False
    found = _URL.match(str(source))
    return found is not None and found["protocol"].lower() != "file"


def refuse_secrets(url: str) -> None:
    """Refuse a URL that holds a password or key: it would be kept in records and shown in pages.

    Raises
    ------
    SettingsError
        If it does; the sentence does not repeat it.

    Examples
    --------
    >>> refuse_secrets("https://example.org/plate.ome.zarr?version=2")
    """
    parts = urlsplit(url)
    asked = any(_SECRET.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    if parts.password is not None or asked:
        raise SettingsError(
            f"The address at {parts.hostname!r} holds a password or key, which records of runs "
            "would keep. Leave it out, and put it into fsspec's configuration."
        )


def located(source: str | os.PathLike[str]) -> Path:
    """Return the path of a source: of this computer, or one that behaves alike for a URL.

    Parameters
    ----------
    source
        A path or a URL; ``~`` is the home folder.

    Raises
    ------
    MissingExtraError
        If a package for such URLs is not installed.
    SettingsError
        If no such protocol is known, or the URL holds a password.
    """
    if not is_remote(source):
        return Path(os.fspath(source).removeprefix("file://")).expanduser()
    if not isinstance(source, str):
        return cast(Path, source)  # located already
    refuse_secrets(source)
    protocol = source.partition("://")[0].lower()
    try:
        upath = import_module("upath")
        # It behaves like a path of the standard library, without being one.
        return cast(Path, upath.UPath(source.rstrip("/"), **_options(protocol)))
    except ImportError as error:
        extra = _NEEDS.get(protocol)
        how = f"pip install 'napari-virtualstain[{extra}]'" if extra else "pip"
        raise MissingExtraError(
            f"Opening {source!r} needs a package that is not installed ({error}). Install it with "
            f"{how}."
        ) from error
    except ValueError as error:
        raise SettingsError(
            f"{source!r} is at a kind of place that is not known ({error}). Give a path, or a URL "
            "that begins with https:// or s3://."
        ) from error


def _options(protocol: str) -> dict[str, Any]:
    """Return how a protocol is opened, as far as it is not left to fsspec's configuration."""
    fsspec = import_module("fsspec")
    fsspec.get_filesystem_class(protocol)  # its sentence names the package that lacks
    if protocol in {"s3", "s3a"} and not fsspec.config.conf.get(protocol):
        held = import_module("botocore.session").get_session().get_credentials()
        return {"anon": held is None}
    return {}


def absolute(source: str) -> str:
    """Return a path in full; a URL is so already."""
    return source if is_remote(source) else str(Path(source).expanduser().absolute())


def read_text(file: Path) -> str | None:
    """Return what a small file holds, `None` if there is none.

    Raises
    ------
    ImageFileError
        If it is there and cannot be read, or its place does not answer.
    """
    try:
        if is_remote(file):  # one request; a path would first ask whether it is there
            place: Any = file
            return str(place.fs.cat_file(place.path).decode("utf-8"))
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise ImageFileError(
            f"{str(file)!r} is damaged: it is no text. Copy the store again from its source, or "
            "write it again."
        ) from error
    except Exception as error:
        if not is_remote(file) and not isinstance(error, OSError):
            raise
        # Each protocol has errors of its own.
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        what = "that its place answers" if is_remote(file) else "that you may read it"
        raise ImageFileError(
            f"{str(file)!r} cannot be read: {why or type(error).__name__}. Check {what}."
        ) from error


def remote_store(place: Path) -> Any:
    """Return a place as zarr opens it: it reads the chunks of a URL without blocking."""
    if not is_remote(place):
        return place
    storage = import_module("zarr.storage")
    options = dict(getattr(place, "storage_options", {}))
    return storage.FsspecStore.from_url(str(place), storage_options=options, read_only=True)
