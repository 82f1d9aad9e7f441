"""Which models stay loaded while a process lives.

Loading a model means reading it, repeating its test pair and following how far
it looks; a process that stains again and again does so once a model. Files that
changed are another model.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_virtualstain.generators.package import Model
from napari_virtualstain.inference.network import (
    Network,
    Precision,
    check_precision,
    prepare_network,
)
from napari_virtualstain.inference.norms import unit_statistics, with_statistics
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
        As `zoo.load_generator` returns it, on the processor.
    device
        Where its networks compute.
    """

    model: Model
    device: str = "cpu"
    _networks: dict[tuple[str, bool], Network] = field(default_factory=dict)

    def network(self, precision: str = "float32", *, held: bool = False) -> Network:
        """Return the network ready to run, made once.

        Parameters
        ----------
        precision
            Of weights and activations.
        held
            With layers in place of those that normalise by their input, to plan with; the
            statistics of an image come with `with_statistics`.
        """
        key = (precision, held)
        if key not in self._networks:
            module = self.model.generator.module()
            if held:
                module = with_statistics(module, unit_statistics(module), self.network().ndim)
            self._networks[key] = prepare_network(
                module, device=self.device, precision=cast(Precision, precision)
            )
        return self._networks[key]

    def check_bfloat16(self) -> float:
        """Return how far bfloat16 is from float32, on the planes of the model's test pair."""
        return check_precision(
            self.network("bfloat16"), self.network(), _test_planes(self.network())
        )


_TEST_EDGE = 128
"""Of the picture with which precisions are compared, in pixels."""
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
            found = SharedModel(model=model, device=device)
        _kept[key] = found
        while len(_kept) > MOST:
            _kept.popitem(last=False)
        return found


def _test_planes(network: Network) -> NDArray[np.float32]:
    """Return smooth, structured pixels like those of a normalised image, the same every time."""
    stride = max(network.reach.multiple_of)
    edge = -(-_TEST_EDGE // stride) * stride
    noise = np.random.default_rng(0).normal(size=(network.in_channels, *(edge,) * network.ndim))
    smooth = gaussian_filter(noise, (0.5, *(2.0,) * network.ndim))
    planes: NDArray[np.float32] = (smooth / smooth.std())[None].astype(np.float32)
    return planes


def forget_models() -> None:
    """Let go of every model that is kept, to give their memory back."""
    with _lock:
        _kept.clear()


def _identity(path: Path) -> _Key:
    """Return name, size and time of change of the files of a model."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(str(file.resolve()), file.stat()) for file in files if file.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
