"""How does a model that others publish get here? Fetched, compared with what came before, imported.

The sha256 of each file is kept in the models folder when a model was made of it for the first
time, and a file that differs from it is refused ever after. One that the index states is compared
from the first time on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.errors import DownloadError, ModelPackageError, SettingsError, parse_json
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.io.fetch import Fetched, OtherFileError, fetch
from napari_virtualstain.jobs.base import Progress
from napari_virtualstain.jobs.encoder_import import ImportedEncoder
from napari_virtualstain.jobs.model_import import ImportedModel, check_out, import_model, place_of
from napari_virtualstain.zoo import list_encoders, list_models, models_folder
from napari_virtualstain.zoo.index import Download, find_download, list_downloads

if TYPE_CHECKING:
    from napari_virtualstain.jobs.models import ModelsSettings

__all__ = ["HASHES", "download_model", "downloads_listing", "downloads_text"]

HASHES = "hashes.json"
"""In the models folder: by address, sha256 and size of what came the first time."""
_FOLDER = ".downloads"
"""Beside the model that is made: what is not whole yet."""
_MEGA = 1_000_000


def download_model(
    settings: ModelsSettings, *, on_progress: Progress | None = None
) -> ImportedModel | ImportedEncoder:
    """Fetch a model of the index, and import it.

    Parameters
    ----------
    settings
        ``file`` is its name in the index; what is stated besides wins over what the index says.
    on_progress
        Told of megabytes that are here, then of the model that is made of them.

    Returns
    -------
    ImportedModel or ImportedEncoder
        As from a file of one's own.

    Raises
    ------
    VirtualStainError
        If the file does not come, is another one, or no model can be made of it.
    """
    if settings.file is None:
        raise SettingsError(
            "Name the model to download, for example virtualstain models download VSCyto3D; "
            "`virtualstain models --all` lists them."
        )
    entry = find_download(settings.file)
    _check_format(entry)
    wanted = _stated(settings, entry)
    assert wanted.out is not None
    out, _ = place_of(wanted.out)
    check_out(out, overwrite=wanted.overwrite)
    known = _hashes().get(entry.url, {})
    folder = out.parent / _FOLDER / hashlib.sha256(entry.url.encode()).hexdigest()[:16]
    told = on_progress or (lambda _done, _total, _what: None)
    fetched = _fetch(entry, folder, known, told)
    told(0, 1, "models made")
    try:
        made = import_model(wanted.model_copy(update={"file": str(fetched.path)}))
    except ModelPackageError:
        shutil.rmtree(folder, ignore_errors=True)  # next time another one may come
        raise
    if not known:
        _remember(entry, fetched)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()  # unless others are being fetched
    told(1, 1, "models made")
    return made


def _check_format(entry: Download) -> None:
    if entry.later:
        raise SettingsError(
            f"{entry.name!r} is not downloaded: {entry.later}. Nothing was "
            f"downloaded; it lies at {entry.url}. Choose another model, see `virtualstain models`."
        )


def _stated(settings: ModelsSettings, entry: Download) -> ModelsSettings:
    """Return the settings of the import: what is stated, else what the index knows."""
    lacks = [name for name in entry.ask if not getattr(settings, name)]
    if lacks:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in lacks)
        raise SettingsError(
            f"{entry.name!r} takes {entry.takes}, and its authors do not say all that has to be "
            f"known of it. Nothing was downloaded. State {options}, as its training images had it."
        )
    own = entry.format == "package"  # says all of it itself
    given: dict[str, Any] = {
        "out": settings.out or entry.name,
        "stains": settings.stains or (() if own else entry.stains),
        "pixel_size": settings.pixel_size or entry.pixel_size_um,
        "z_step": settings.z_step or entry.z_step_um,
        "licence": settings.licence if settings.licence is not None else entry.licence or None,
        "citation": settings.citation if settings.citation is not None else entry.citation or None,
    }
    return settings.model_copy(update=given)


def _fetch(entry: Download, folder: Path, known: dict[str, Any], told: Progress) -> Fetched:
    shown = entry.about_mb and int(entry.about_mb * _MEGA)

    def on_bytes(done: int, total: int | None) -> None:
        of = ceil(max(total or shown or done, done) / _MEGA)
        told(of if done == total else done // _MEGA, of, "MB downloaded")

    size, sha256 = entry.size or known.get("size"), entry.sha256 or known.get("sha256")
    try:
        return fetch(entry.url, folder, size=size, sha256=sha256, on_bytes=on_bytes)
    except OtherFileError as error:
        if not known:
            raise
        raise OtherFileError(
            f"{error} If they did, and you trust it, delete its entry in "
            f"'{models_folder() / HASHES}' and download again."
        ) from error


def _hashes() -> dict[str, dict[str, Any]]:
    file = models_folder() / HASHES
    try:
        found = parse_json(file.read_text(encoding="utf-8"))
        return {str(url): dict(what) for url, what in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DownloadError(
            f"'{file}', which says what came before, cannot be read ({error}). Put a copy of it "
            "back, or delete it if you trust what comes now."
        ) from error


def _remember(entry: Download, fetched: Fetched) -> None:
    file = models_folder() / HASHES
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        known = {**_hashes(), entry.url: {"size": fetched.size, "sha256": fetched.sha256}}
        scratch = file.with_name(f".{HASHES}.{os.getpid()}.partial")
        scratch.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        scratch.replace(file)


def downloads_listing() -> list[dict[str, Any]]:
    """Return what can be downloaded, as plain values."""
    here = list_models() | list_encoders()
    return [
        {
            **entry.model_dump(mode="json"),
            "importable": not entry.later,
            "is_here": entry.name in here,
        }
        for entry in list_downloads().values()
    ]


def downloads_text(found: list[dict[str, Any]]) -> list[str]:
    """Return the same in lines for people."""
    lines = ["To download (models download NAME):"]
    for values in found:
        entry = Download(**{k: values[k] for k in Download.model_fields})
        about = [entry.size_words, entry.licence or "licence not stated"]
        lines.append(f"  {entry.name}: {entry.title} ({', '.join(part for part in about if part)})")
        if entry.later:
            lines.append(f"    not downloaded: {entry.later}")
            continue
        gives = f"predicts {', '.join(entry.stains)}" if entry.stains else "an encoder"
        lines.append(f"    takes {entry.takes}, {gives}")
        if entry.ask:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in entry.ask)
            lines.append(f"    needs {options}")
    return lines
