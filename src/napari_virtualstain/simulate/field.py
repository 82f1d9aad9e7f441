"""One paired field: the bright field and the stains of the same simulated cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.simulate.camera import expose, shading
from napari_virtualstain.simulate.cells import CellMaps, Grid, place_cells, shape_cells
from napari_virtualstain.simulate.debris import Debris, draw_debris
from napari_virtualstain.simulate.optics import bright_field, fluorescence
from napari_virtualstain.simulate.organelles import fill_cells
from napari_virtualstain.simulate.phenotypes import get_phenotype
from napari_virtualstain.simulate.settings import FieldSettings
from napari_virtualstain.simulate.walks import SLICE_UM

__all__ = ["SimulatedField", "simulate_field"]

_EMISSION_UM: Final = {
    "DNA": 0.445,
    "ER": 0.525,
    "RNA": 0.600,
    "AGP": 0.600,
    "Mito": 0.676,
    "Tubulin": 0.710,
}
# Photoelectrons of a voxel full of emitters; the exposure suits the pixel size.
_ELECTRONS: Final = {
    "DNA": 220.0,
    "ER": 420.0,
    "RNA": 330.0,
    "AGP": 700.0,
    "Mito": 1000.0,
    "Tubulin": 900.0,
}
_BACKGROUND: Final = 30.0  # photoelectrons of an empty stained pixel
_LAMP: Final = 4000.0  # photoelectrons of an empty bright-field pixel
_FOCUS_UM: Final = 2.0  # height above the substrate of focus offset 0
_MARGIN_UM: Final = 14.4


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedField:
    """A bright field, its stains, and the truth behind both.

    Attributes
    ----------
    brightfield : ndarray of uint16 (T, Z, Y, X)
        Camera images, one plane a focus offset.
    stains : ndarray of uint16 (T, C, Y, X) or (T, C, Z, Y, X)
        Camera images, one channel a stain.
    truth : ndarray of float32
        What the camera would count on average in `stains`; same shape.
    nuclei, cells : ndarray of int32 (T, Y, X)
        Labels, 0 outside; a nucleus has the number of its cell, at all times.
    stain_names : tuple of str
        Names of the channels.
    pixel_size_um : tuple of float
        (y, x).
    focus_offsets_um : tuple of float
        Offsets of the planes of `brightfield`.
    settings : FieldSettings
        What was asked for.
    seed : int
        Together with the settings it decides every pixel.
    """

    brightfield: NDArray[np.uint16]
    stains: NDArray[np.uint16]
    truth: NDArray[np.float32]
    nuclei: NDArray[np.int32]
    cells: NDArray[np.int32]
    stain_names: tuple[str, ...]
    pixel_size_um: tuple[float, float]
    focus_offsets_um: tuple[float, ...]
    settings: FieldSettings
    seed: int

    @property
    def z_step_um(self) -> float | None:
        """The spacing of the bright-field planes, or None where it is not even."""
        steps = np.diff(self.focus_offsets_um)
        return float(steps[0]) if len(steps) and np.allclose(steps, steps[0]) else None


def _stream(seed: int, name: str) -> np.random.Generator:
    """Return the child stream of a subject: noise never moves a cell."""
    subjects = ("cells", "organelles", "debris", "lamp", "stain noise", "bright-field noise")
    return np.random.default_rng([seed, subjects.index(name)])


def _grid(settings: FieldSettings) -> Grid:
    pixel = settings.pixel_yx_um
    margin = tuple(int(np.ceil(_MARGIN_UM / p)) for p in pixel)
    sizes = [fft.next_fast_len(n + 2 * m) for n, m in zip(settings.shape_px, margin, strict=True)]
    return Grid(
        shape=(sizes[0], sizes[1]),
        margin=(margin[0], margin[1]),
        field=settings.shape_px,
        pixel_um=pixel,
    )


def simulate_field(settings: FieldSettings | None = None, *, seed: int) -> SimulatedField:
    """Simulate one field of adherent cells, in bright field and in five stains.

    Use it for demos, tests and sanity checks, where the truth must be known. It
    does not tell how a model does on real cells.

    Parameters
    ----------
    settings : FieldSettings, optional
        Size, cells, optics, camera; the defaults when left out.
    seed : int
        0 or more; decides everything that is random.

    Returns
    -------
    SimulatedField
        Bright field, stains, noise-free stains, labels.

    Raises
    ------
    SettingsError
        If the seed is negative.

    Examples
    --------
    >>> field = simulate_field(FieldSettings(shape_px=(48, 40), n_cells=1), seed=3)
    >>> field.brightfield.shape, field.stains.shape
    ((1, 3, 48, 40), (1, 5, 48, 40))
    """
    settings = FieldSettings() if settings is None else settings
    if seed < 0:
        raise SettingsError(f"A seed must be 0 or more; got {seed}. Use any whole number from 0.")
    grid = _grid(settings)
    phenotype = get_phenotype(settings.phenotype)
    table = place_cells(
        grid,
        phenotype=phenotype,
        rng=_stream(seed, "cells"),
        n_cells=settings.n_cells,
        density_per_mm2=settings.density_per_mm2,
    )
    debris = draw_debris(grid, amount=settings.debris, rng=_stream(seed, "debris"))
    planes, stains, nuclei, owners = [], [], [], []
    for time in range(settings.timepoints):
        maps = shape_cells(table, grid, time=time)
        contents = fill_cells(
            table,
            maps,
            grid,
            phenotype=phenotype,
            rng=_stream(seed, "organelles"),
            time=time,
            tubulin=settings.six_stains,
        )
        planes.append(_transmitted(contents.index, debris, grid, settings))
        stains.append(_emitted(contents.emission, grid, settings))
        del contents
        label, nucleus = _labels(maps, grid)
        owners.append(label)
        nuclei.append(nucleus)
    lamp = _stream(seed, "lamp")
    light = shading(settings.shape_px, amplitude=settings.illumination, rng=lamp)
    brightfield, _ = expose(
        np.stack(planes) * (_LAMP * light),
        counts_per_electron=2.0,
        noise=settings.noise,
        rng=_stream(seed, "bright-field noise"),
    )
    beam = shading(settings.shape_px, amplitude=settings.illumination / 3, rng=lamp)
    stained = (np.stack(stains) + np.float32(_BACKGROUND)) * beam
    if settings.stain_offsets_um is None:
        stained = stained[:, :, 0]
    images, truth = expose(
        stained, counts_per_electron=4.0, noise=settings.noise, rng=_stream(seed, "stain noise")
    )
    return SimulatedField(
        brightfield=brightfield,
        stains=images,
        truth=truth,
        nuclei=np.stack(nuclei),
        cells=np.stack(owners),
        stain_names=settings.stain_names,
        pixel_size_um=settings.pixel_yx_um,
        focus_offsets_um=settings.focus_offsets_um,
        settings=settings,
        seed=seed,
    )


def _transmitted(
    index: NDArray[np.float32], debris: Debris, grid: Grid, settings: FieldSettings
) -> NDArray[np.float32]:
    """Return the bright field (Z, Y, X) of one time point, 1 being the bare lamp."""
    focus = _FOCUS_UM + settings.focus_error_um
    image = bright_field(
        np.add(index, debris.index, out=index),
        slice_um=SLICE_UM,
        pixel_um=grid.pixel_um,
        focus_um=[focus + offset for offset in settings.focus_offsets_um],
        condenser_na=settings.condenser_na,
        tilt_na=settings.tilt_na,
        screen=debris.screen,
    )
    return image[:, *grid.crop]


def _emitted(
    emission: dict[str, NDArray[np.float32]], grid: Grid, settings: FieldSettings
) -> NDArray[np.float32]:
    """Return the photoelectrons (C, Z, Y, X) of the stains at one time point."""
    focus = _FOCUS_UM + settings.focus_error_um
    offsets = settings.stain_offsets_um or (0.0,)
    images = []
    for name in settings.stain_names:
        light = fluorescence(
            emission.pop(name),
            slice_um=SLICE_UM,
            pixel_um=grid.pixel_um,
            focus_um=[focus + offset for offset in offsets],
            wavelength_um=_EMISSION_UM[name],
        )
        images.append(light[:, *grid.crop] * np.float32(_ELECTRONS[name]))
    return np.stack(images)


def _labels(maps: CellMaps, grid: Grid) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return cell and nucleus labels (Y, X) of the kept field."""
    label = maps.owner[grid.crop] + np.int32(1)
    nucleus = np.where(maps.nucleus[grid.crop] < 1.0, label, np.int32(0))
    return label, nucleus
