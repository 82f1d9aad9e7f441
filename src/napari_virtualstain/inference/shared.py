"""Which models stay loaded while a process lives.

Loading a model means reading it, repeating its test pair and following how far
it looks; a process that stains again and again does so once a model. Files that
changed are another model.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from napari_virtualstain.generators.package import Model
from napari_virtualstain.inference.scan import Reach, scan_reach
from napari_virtualstain.zoo import find_model, load_generator

__all__ = ["MOST", "SharedModel", "forget_models", "shared_model"]

MOST = 2
"""Models that are kept; the one that was not used for longest goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedModel:
    """A model that several runs of this process use: nobody may change or move it.

    Parameters
    ----------
    model
        As `zoo.load_generator` returns it, on its device.
    reach
        How far it looks.
    """

    model: Model
    reach: Reach


_Key = tuple[tuple[str, int, int], ...]
_kept: OrderedDict[tuple[str, _Key], SharedModel] = OrderedDict()
_lock = Lock()


def shared_model(name_or_path: str | os.PathLike[str], *, device: str = "cpu") -> SharedModel:
    """Return a model ready to predict, loaded once a process and device.

    Parameters
    ----------
    name_or_path
        As of `zoo.load_generator`, which gives a model of one's own, to change.
    device
        A torch device that is there.

    Raises
    ------
    UnknownNameError, MissingInputError, ModelPackageError
        See `zoo.load_generator`.
    """
    path = find_model(name_or_path)
    # Under the lock also the loading: of two that want the same model one loads it.
    with _lock:
        key = (device, _identity(path))
        found = _kept.pop(key, None)
        if found is None:
            model = load_generator(path)
            module = model.generator.module()
            found = SharedModel(model=model, reach=scan_reach(module))
            module.to(device)
        _kept[key] = found
        while len(_kept) > MOST:
            _kept.popitem(last=False)
        return found


def forget_models() -> None:
    """Let go of every model that is kept, to give their memory back."""
    with _lock:
        _kept.clear()


def _identity(path: Path) -> _Key:
    """Return name, size and time of change of the files of a model."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(str(file.resolve()), file.stat()) for file in files if file.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
