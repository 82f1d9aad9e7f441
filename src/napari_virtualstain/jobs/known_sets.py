"""Public sets of paired images that a recipe can learn from, each known by how its folder looks.

For `virtualstain train --recipe NAME --data FOLDER`. Each keeps its licence and how it
must be cited, which the card of a model passes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.card import VolumeInput
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.training_fields import FieldData

__all__ = ["KNOWN_SETS", "KnownSet", "as_stacks", "open_known", "single_cells"]

_CELL = 40
"""Edge of a cell in a montage of imaging flow cytometry, in pixels."""
_DEPTH = 8
"""Planes that a picture is repeated to, for a network over stacks."""
_QUADRANTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSet:
    """A public set of images.

    Parameters
    ----------
    name
        Short.
    looks
        A pattern of files (`Path.glob`) of which a folder of it has some.
    open
        Returns its fields, given the folder.
    """

    name: str
    looks: str
    open: Callable[[Path], FieldData]


def single_cells(folder: Path) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    """Return bright field and DNA of cells from montages, (N, 40, 40) each, and their phase.

    Parameters
    ----------
    folder
        With a folder a cell-cycle phase, each with montages ``Ch3_*.tif`` (bright field) and
        ``Ch4_*.tif`` (propidium iodide).
    """
    bright, dna, phases = [], [], []
    for path in sorted(folder.glob("*/Ch3_*.tif")):
        pair = [path, path.with_name(path.name.replace("Ch3_", "Ch4_"))]
        with dask.config.set(scheduler="synchronous"):
            montages = [open_image(p, axes="yx").data[0, 0, 0].compute() for p in pair]
        n = min(m.shape[0] for m in montages) // _CELL
        tiles = [
            m[: n * _CELL, : n * _CELL]
            .reshape(n, _CELL, n, _CELL)
            .swapaxes(1, 2)
            .reshape(-1, _CELL, _CELL)
            for m in montages
        ]
        # The rest of a montage is padding: its last row of pixels, repeated.
        real = np.abs(np.diff(tiles[0].astype(float), axis=1)).mean(axis=(1, 2)) > 1
        bright.append(tiles[0][real])
        dna.append(tiles[1][real])
        phases += [path.parent.name] * int(real.sum())
    return np.concatenate(bright), np.concatenate(dna), phases


def _jurkat(folder: Path) -> FieldData:
    root = next(iter(sorted(folder.glob("**/Ch3_*.tif")))).parent.parent
    bright, dna, phases = single_cells(root)
    return FieldData(
        fields=[
            PairedField(f"{phase} {n}", b[None], d[None], group=f"cell {n}", labels=(phase,))
            for n, (b, d, phase) in enumerate(zip(bright, dna, phases, strict=True))
        ],
        stains=("DNA",),
        label_names=("phase",),
        card={
            "name": "jurkat-dna",
            "title": "Jurkat cells in flow: bright field to DNA",
            "pixel_size_um": 0.5,
            "input_channel": "Brightfield",
            "z_offsets_um": (None,),
            "data": f"{len(bright)} Jurkat cells of one run of an imaging flow cytometer",
            "licence": "BSD-3-Clause (data: Blasi et al. 2016, repository minh-doan/MLCP)",
            "citation": "Blasi et al. 2016, Nat. Commun. 7, 10256, doi:10.1038/ncomms10256",
            "limits": (
                (
                    "Single cells of one line in flow, 40 x 40 px each, of one run of one "
                    "instrument: not for cells on a slide or in a dish."
                ),
                "The pixel size of the instrument is not in its files; 0.5 µm names the grid.",
            ),
        },
    )


def _neurons(folder: Path) -> FieldData:
    """One field, in quadrants that are kept apart by what is held back."""
    root = next(iter(sorted(folder.glob("**/*PHASE_CONTRAST*.png")))).parent
    stains = ("DAPI_CONFOCAL", "MAP2_CONFOCAL")
    with dask.config.set(scheduler="synchronous"):
        planes = open_image(root, channels=["PHASE_CONTRAST"]).data[0, 0].compute()
        truth = open_image(root, channels=list(stains)).select(stains).data[0, :, 0].compute()
    fields = []
    half, guard = planes.shape[-1] // _QUADRANTS, 32
    for row in range(_QUADRANTS):
        for column in range(_QUADRANTS):
            # Away from the middle, so that no quadrant sees what another one is examined on.
            y = slice(row * (half + guard), half - guard + row * (half + guard))
            x = slice(column * (half + guard), half - guard + column * (half + guard))
            fields.append(
                PairedField(
                    f"quadrant {row}{column}", planes[:, y, x], truth[:, y, x],
                    group=f"quadrant {row}{column}",
                )
            )  # fmt: skip
    return FieldData(
        fields=fields,
        stains=("DAPI", "MAP2"),
        card={
            "name": "isl-neurons",
            "title": "Neurons: phase contrast to DAPI and MAP2",
            "pixel_size_um": 1.0,
            "input_channel": "Phase contrast",
            "z_offsets_um": (None,) * planes.shape[0],
            "data": "one field of human iPSC-derived neurons, 13 planes of phase contrast",
            "licence": "CC-BY-4.0 (data: Christiansen et al. 2018)",
            "citation": "Christiansen et al. 2018, Cell 173, 792, doi:10.1016/j.cell.2018.03.040",
            "limits": (
                (
                    "Trained on one field of one culture: a starting point for fine-tuning, not a "
                    "model of neurons."
                ),
                "The pixel size is not in the files; 1 µm names the grid.",
            ),
        },
    )


def _ecoli(folder: Path) -> FieldData:
    root = next(iter(sorted(folder.glob("**/brightfield_stack.tif")))).parent
    with dask.config.set(scheduler="synchronous"):
        light, stain = (
            open_image(root / f"{name}_stack.tif", axes="tyx").data[:, 0, 0].compute()
            for name in ("brightfield", "fluorescence")
        )
    return FieldData(
        fields=[
            PairedField(f"field {n}", b[None], s[None], group=f"field {n}")
            for n, (b, s) in enumerate(zip(light, stain, strict=True))
        ],
        stains=("Membrane",),
        card={
            "name": "ecoli-membrane",
            "title": "E. coli: bright field to a fluorescent label",
            "pixel_size_um": 0.08,
            "input_channel": "Brightfield",
            "z_offsets_um": (None,),
            "data": f"{len(light)} fields of E. coli on agar",
            "licence": "MIT (data: package colicoords)",
            "citation": "Smit et al. 2019, PLoS ONE 14, e0217524, doi:10.1371/journal.pone.0217524",
            "limits": (
                (
                    "E. coli of one strain on one microscope, one plane of bright field: a "
                    "starting point for fine-tuning."
                ),
                "The pixel size is the package's, 80 nm.",
            ),
        },
    )


KNOWN_SETS: tuple[KnownSet, ...] = (
    KnownSet(name="Jurkat cells in flow", looks="**/Ch3_*.tif", open=_jurkat),
    KnownSet(name="neurons of in-silico labeling", looks="**/*PHASE_CONTRAST*.png", open=_neurons),
    KnownSet(name="E. coli of colicoords", looks="**/brightfield_stack.tif", open=_ecoli),
)
"""In the order in which a folder is compared with them."""


def open_known(path: str) -> FieldData:
    """Return the fields of a public set of images.

    Parameters
    ----------
    path
        Folder with its files, or one above.

    Raises
    ------
    SettingsError
        If the folder is not there, or is none that is known.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise SettingsError(f"--data names no folder: '{path}'. Give the folder of the images.")
    for known in KNOWN_SETS:
        if next(folder.glob(known.looks), None) is not None:
            return known.open(folder)
    names = ", ".join(known.name for known in KNOWN_SETS)
    raise SettingsError(
        f"'{path}' is none of the public sets that recipes know ({names}). For images of your own, "
        "leave out --recipe and name them with --input and --target, or write --pairs."
    )


def as_stacks(data: FieldData, *, at_least: int = 1) -> FieldData:
    """Return fields of planes as stacks, for a network over volumes.

    The planes of bright field become z; a picture and its stains are repeated over eight planes. It
    shows that a method runs on data that are at hand, and teaches nothing about z.

    Parameters
    ----------
    data
        Fields of planes.
    at_least
        Planes that the network takes, if more than eight.
    """

    def stack(field: PairedField) -> PairedField:
        planes, stains = np.asarray(field.planes), np.asarray(field.stains)
        depth = max(_DEPTH, at_least, len(planes))
        light = planes if len(planes) == depth else np.repeat(planes[:1], depth, axis=0)
        return replace(field, planes=light[None], stains=np.repeat(stains[:, None], depth, axis=1))

    note = "pictures are repeated over z: what is learnt says nothing about depth"
    card = {**data.card, "volume": VolumeInput(), "z_offsets_um": (None,)}
    card["limits"] = (*data.card.get("limits", ()), note[0].upper() + note[1:] + ".")
    return replace(
        data, fields=[stack(field) for field in data.fields], card=card, notes=(*data.notes, note)
    )
