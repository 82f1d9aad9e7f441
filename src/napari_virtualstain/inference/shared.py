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

from napari_virtualstain.generators.draws import with_spread
from napari_virtualstain.generators.package import Model
from napari_virtualstain.generators.quantiles import with_quantiles
from napari_virtualstain.generators.sampled import first_network
from napari_virtualstain.inference.network import (
    Network,
    Precision,
    check_precision,
    prepare_network,
)
from napari_virtualstain.inference.norms import unit_statistics, with_statistics
from napari_virtualstain.inference.stack import stack_network
from napari_virtualstain.inference.views import seen_from_all_sides
from napari_virtualstain.inference.z_window import ZWindows
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
    views
        Of the image, whose mean and spread are predicted; see `inference.views`.
    """

    model: Model
    device: str = "cpu"
    views: int = 1
    _networks: dict[tuple[str, bool], Network] = field(default_factory=dict)

    def network(
        self, precision: str = "float32", *, held: bool = False, depth: int | None = None
    ) -> Network:
        """Return the network ready to run, made once.

        Parameters
        ----------
        precision
            Of weights and activations.
        held
            With layers in place of those that normalise by their input, to plan with; the
            statistics of an image come with `with_statistics`.
        depth
            Planes of the stack, of a model over volumes: as a network over planes. `None` for
            the network as it is.
        """
        if depth is not None:
            return stack_network(
                self.network(precision, held=held), depth=depth, windows=self._windows(depth)
            )
        key = (precision, held)
        if key not in self._networks:
            module = first_network(self.model.generator)
            if held:
                module = with_statistics(module, unit_statistics(module), self.network().ndim)
            ready = prepare_network(
                module, device=self.device, precision=cast(Precision, precision)
            )
            self._networks[key] = seen_from_all_sides(ready, self.views)
        return self._networks[key]

    def _windows(self, depth: int) -> ZWindows | None:
        volume = self.model.card.volume
        if volume is None or volume.window is None:
            return None
        return ZWindows(depth=depth, window=volume.window)

    def check_bfloat16(self) -> float:
        """Return how far bfloat16 is from float32, on the planes of the model's test pair."""
        return check_precision(self.network("bfloat16"), self.network(), self._test_planes())

    def _test_planes(self) -> NDArray[np.float32]:
        """Return smooth, structured pixels like a normalised image, the same every time."""
        network, volume = self.network(), self.model.card.volume
        stride = max(network.reach.multiple_of)
        edges = [-(-_TEST_EDGE[network.ndim] // stride) * stride] * network.ndim
        if volume is not None and volume.window is not None:
            edges[0] = volume.window
        noise = np.random.default_rng(0).normal(size=(network.in_channels, *edges))
        smooth = gaussian_filter(noise, (0.5, *(2.0,) * network.ndim))
        planes: NDArray[np.float32] = (smooth / smooth.std())[None].astype(np.float32)
        return planes


_TEST_EDGE = {2: 128, 3: 48}
"""Of the picture with which precisions are compared, in pixels, by spatial axes."""
_Key = tuple[tuple[str, int, int], ...]
_kept: OrderedDict[tuple[str, tuple[float, ...], bool, int, _Key], SharedModel] = OrderedDict()
_lock = Lock()


def shared_model(
    name_or_path: str | os.PathLike[str],
    *,
    device: str = "cpu",
    quantiles: tuple[float, ...] = (),
    spread: bool = False,
    views: int = 1,
) -> SharedModel:
    """Return a model ready to predict, loaded once a process and device.

    Parameters
    ----------
    name_or_path
        As of `zoo.load_generator`, which gives a model of one's own, to change.
    device
        A torch device that is there.
    quantiles
        Predicted beside the stains; see `generators.quantiles.with_quantiles`.
    spread
        Whether that of several draws is, too; see `generators.draws.with_spread`.
    views
        Of the image, with their spread.

    Raises
    ------
    UnknownNameError, MissingInputError, ModelPackageError, SettingsError
        See `zoo.load_generator` and `generators.quantiles.with_quantiles`.
    """
    path = find_model(name_or_path)
    # Under the lock also the loading: of two that want the same model one loads it.
    with _lock:
        key = (device, quantiles, spread, views, _identity(path))
        found = _kept.pop(key, None)
        if found is None:
            model = load_generator(path)
            if quantiles:
                model = with_quantiles(model, quantiles)
            if spread or views > 1:
                model = with_spread(model)
            found = SharedModel(model=model, device=device, views=views)
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
