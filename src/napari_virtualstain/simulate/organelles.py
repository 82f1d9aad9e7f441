"""What fills the cells: refractive index and emission of every voxel.

Long organelles are walks of points, a few tenths of a micrometre apart, that
are spread onto the voxels around them; compartments are slabs between two
height maps.  Both the index and the light of a stain are sums over the *same*
organelles, which is why one can be predicted from the other.

Indices, in a medium of 1.337: cytoplasm 1.357 and nucleoplasm 1.355, lower than
the cytoplasm [1]_; nucleoli 1.374, mitochondria 1.391, vesicles and droplets
1.412 (a mixture of both), within the ranges measured in live cells [2]_.
Stress fibres, Golgi stacks and the cortex (1.375 to 1.393) are set by hand.

References
----------
.. [1] Schuermann et al., "Cell nuclei have lower refractive index and mass
   density than cytoplasm", J. Biophotonics 9, 1068 (2016),
   doi:10.1002/jbio.201500273.
.. [2] Liu et al., "Cell refractive index for cell biology and disease
   diagnosis: past, present and future", Lab Chip 16, 634 (2016),
   doi:10.1039/C5LC01445J (tables of organelle indices).
.. [3] Bray et al., "Cell Painting", Nat. Protoc. 11, 1757 (2016),
   doi:10.1038/nprot.2016.105 (which stain labels which organelle).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.simulate.cells import CellMaps, CellTable, Grid
from napari_virtualstain.simulate.phenotypes import Phenotype
from napari_virtualstain.simulate.walks import SLICE_UM, SLICES, Texture, Walks

__all__ = ["Contents", "fill_cells"]

FloatArray = NDArray[np.float32]

# Index above the medium (cytoplasm, nucleus) or above the cytoplasm (the rest).
_CYTOPLASM, _NUCLEUS, _NUCLEOLUS = 0.020, 0.018, 0.037
_MITO, _VESICLE, _ACTIN, _GOLGI, _ER, _EDGE = 0.034, 0.055, 0.036, 0.034, 0.0035, 0.018
_CHROMATIN = 0.0025  # deviation within the nucleus


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Volumes (Z, Y, X) on the padded grid, lowest slice first."""

    index: FloatArray  # refractive index minus that of the medium
    emission: dict[str, FloatArray]  # emitters a voxel, by stain


def fill_cells(
    cells: CellTable,
    maps: CellMaps,
    grid: Grid,
    *,
    phenotype: Phenotype,
    rng: np.random.Generator,
    time: int = 0,
    tubulin: bool = False,
) -> Contents:
    """Fill the cells with organelles.

    Parameters
    ----------
    cells, maps, grid
        From `place_cells` and `shape_cells`, at the same time point.
    phenotype : Phenotype
        Factors on the amounts.
    rng : numpy.random.Generator
        The stream of the organelles; a fresh one of the same seed at each time
        point gives the same organelles, carried along with their cell.
    time : int
        Time point.
    tubulin : bool
        Whether to also make the sixth stain.

    Returns
    -------
    Contents
        Index and emission of each voxel.
    """
    shape = (SLICES, *grid.shape)
    names = ("DNA", "ER", "RNA", "AGP", "Mito") + (("Tubulin",) if tubulin else ())
    if not len(cells):
        return Contents(
            index=np.zeros(shape, np.float32),
            emission={name: np.zeros(shape, np.float32) for name in names},
        )
    walks = Walks(cells, maps, grid, time)
    mito = walks.mitochondria(rng, phenotype)
    golgi = walks.golgi(rng, phenotype)
    actin = walks.stress_fibres(rng, phenotype)
    vesicles = walks.vesicles(rng, phenotype)
    nucleoli_low, nucleoli_high = walks.nucleoli(rng, phenotype)
    row = np.maximum(maps.owner, 0)
    inside = maps.owner >= 0
    shift = cells.centre_at(time) - cells.centre_at(0)
    texture = Texture(grid, rng, shift[row] if time else None)
    network = np.exp(-((texture.smooth(1.1) / 0.55) ** 2))
    chromatin = np.clip(texture.smooth(0.8), -2, 2)
    express = cells.expression.astype(np.float32)
    away = maps.nucleus_distance(cells)
    er = phenotype.er_amount * np.exp(-away / np.float32(6.5)) * (0.65 + 0.55 * network)
    ribosomes = 0.3 + 0.7 * np.exp(-away / np.float32(9.0))
    rim = np.exp(-((maps.depth / np.float32(0.9)) ** 2)) * inside
    envelope = np.exp(-(((maps.nucleus - 0.93) / 0.07) ** 2))
    clumps = chromatin + 1.5 * envelope
    condensed = 1.0 + 0.14 * clumps
    potential = 0.3 + 1.0 * np.exp(-away / np.float32(7.0))
    genome = cells.dna / cells.nucleus_radius**2 / cells.nucleus_half_height
    dna_level = (genome / 0.021 * express[:, 0]).astype(np.float32)[row]
    level = {name: express[:, i][row] for i, name in enumerate(names)}
    index = np.empty(shape, np.float32)
    emission = {name: np.empty(shape, np.float32) for name in names}
    for k in range(SLICES):
        cell = _overlap(k, 0.0, maps.height)
        nucleus = _overlap(k, maps.nucleus_low, maps.nucleus_high)
        nucleolus = np.minimum(_overlap(k, nucleoli_low, nucleoli_high), nucleus)
        cytoplasm = cell - nucleus
        plasm = nucleus - nucleolus
        membrane = _overlap(k, maps.height - 0.35, maps.height) + _overlap(k, 0.0, 0.3 * inside)
        edge = rim * _overlap(k, 0.0, np.maximum(maps.height, 1.2 * inside))
        index[k] = (
            cytoplasm * (_CYTOPLASM + _ER * er)
            + plasm * (_NUCLEUS + _CHROMATIN * clumps)
            + nucleolus * _NUCLEOLUS
            + mito[k] * _MITO
            + vesicles[k] * _VESICLE
            + actin[k] * _ACTIN
            + golgi[k] * _GOLGI
            + edge * _EDGE
        )
        emission["DNA"][k] = (plasm * condensed + 0.25 * nucleolus) * dna_level
        emission["ER"][k] = (cytoplasm * er + 0.04 * cell) * level["ER"]
        emission["RNA"][k] = (
            0.75 * cytoplasm * ribosomes + 2.4 * nucleolus + 0.12 * plasm
        ) * level["RNA"]
        emission["AGP"][k] = (
            0.5 * membrane + 1.1 * edge + 1.5 * actin[k] + 1.5 * golgi[k] + 0.05 * cytoplasm
        ) * level["AGP"]
        emission["Mito"][k] = (mito[k] + 0.03 * cytoplasm) * potential * level["Mito"]
    if tubulin:
        emission["Tubulin"] = walks.microtubules(rng) * level["Tubulin"]
    return Contents(index=index, emission=emission)


def _overlap(k: int, low: FloatArray | float, high: FloatArray) -> FloatArray:
    """Return which part of slice `k` lies between two heights (micrometres)."""
    bottom, top = np.float32(k * SLICE_UM), np.float32((k + 1) * SLICE_UM)
    part = np.minimum(high, top) - np.maximum(low, bottom)
    return np.asarray(np.maximum(part, 0.0) * np.float32(1.0 / SLICE_UM), np.float32)
