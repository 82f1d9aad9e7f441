"""Write simulated fields with known truth, as files like any others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import unknown_name
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink, check_output
from napari_virtualstain.jobs.base import JobSettings, PathText, Progress, versions
from napari_virtualstain.simulate import (
    PHENOTYPES,
    FieldSettings,
    SimulatedField,
    fingerprint,
    simulate_field,
)

__all__ = ["CONTENTS", "SimulateSettings", "run", "write_field"]

_STACK_UM = tuple(float(z) for z in range(-6, 7, 2))
"""Planes of a 3-D field relative to focus in micrometres."""
CONTENTS = ("brightfield", "stains", "labels")
"""The stores of a field."""


class SimulateSettings(JobSettings):
    """Settings of `virtualstain simulate`."""

    out: PathText = Field(description="folder to write the OME-Zarr stores into")
    size: int = Field(default=512, ge=16, description="edge of the field in pixels")
    fields: int = Field(default=1, ge=1, description="number of fields, one seed each")
    seed: int = Field(
        default=0, ge=0, description="random seed of the first field; each further one has the next"
    )
    phenotype: str = Field(
        default="control", description=f"treatment of the cells: {', '.join(PHENOTYPES)}"
    )
    density: float = Field(default=480.0, ge=0, description="cells per mm²; 0 for an empty field")
    timepoints: int = Field(default=1, ge=1, description="length of the time-lapse")
    mode: Literal["planes", "stack"] = Field(
        default="planes", description="five stains in one plane, or six stains in 3-D"
    )
    plate: int | None = Field(
        default=None,
        ge=1,
        le=1536,
        description="instead of fields, write plates of so many wells with planted phenotypes, and "
        "a table of what was done to each well",
    )
    plates: int = Field(default=1, ge=1, description="of --plate: how many, each with its own lamp")
    sites: int = Field(default=2, ge=1, description="of --plate: fields of a well")
    compounds: int = Field(default=2, ge=1, description="of --plate: compounds of a mechanism")
    overwrite: bool = Field(default=False, description="replace stores that exist")


def run(settings: SimulateSettings, *, on_progress: Progress | None = None) -> list[Path]:
    """Simulate fields; return the folder of each, or the plates and the table of their labels.

    Raises
    ------
    SettingsError
        If settings of fields are stated for plates, or the compounds do not fit onto a plate.
    UnknownNameError
        If the phenotype does not exist.
    OutputExistsError
        If a store exists and may not be replaced.
    """
    if settings.plate is not None:
        from napari_virtualstain.jobs.simulate_plate import write_plates

        return write_plates(settings, on_progress)
    if settings.phenotype not in PHENOTYPES:
        then = "Choose one of these with --phenotype."
        raise unknown_name("phenotype", settings.phenotype, PHENOTYPES, then=then)
    folders = []
    if on_progress is not None:
        on_progress(0, settings.fields, "fields simulated")
    for index in range(settings.fields):
        seed = settings.seed + index
        folder = Path(settings.out) / f"field_{seed:06d}"
        for name in CONTENTS:
            check_output(folder / f"{name}.ome.zarr", inputs=[], overwrite=settings.overwrite)
        field = simulate_field(_field_settings(settings), seed=seed)
        write_field(field, folder, overwrite=settings.overwrite)
        folders.append(folder)
        if on_progress is not None:
            on_progress(index + 1, settings.fields, "fields simulated")
    return folders


def _field_settings(settings: SimulateSettings) -> FieldSettings:
    plain = FieldSettings(
        shape_px=(settings.size, settings.size),
        phenotype=settings.phenotype,
        density_per_mm2=settings.density,
        timepoints=settings.timepoints,
    )
    if settings.mode == "planes":
        return plain
    return replace(plain, stain_offsets_um=_STACK_UM, focus_offsets_um=_STACK_UM, six_stains=True)


def write_field(
    field: SimulatedField,
    folder: Path,
    *,
    overwrite: bool = False,
    only: Mapping[str, Path] | None = None,
    of_plate: Mapping[str, Any] | None = None,
) -> None:
    """Write bright field, stains and labels of a field as three OME-Zarr stores.

    Parameters
    ----------
    field
        As `simulate_field` returns it.
    folder
        Takes ``brightfield.ome.zarr``, ``stains.ome.zarr`` and ``labels.ome.zarr``.
    overwrite
        Replace stores that exist.
    only
        Where to write some of the three, by their names; all into the folder if `None`.
    of_plate
        What the record says of a field of a plate, whose lamp and staining are its own.
    """
    only = only or {name: folder / f"{name}.ome.zarr" for name in CONTENTS}
    record = {
        "schema_version": 1,
        "job": "simulate",
        "seed": field.seed,
        **({"plate": dict(of_plate)} if of_plate else {"settings": asdict(field.settings)}),
        "simulator": fingerprint(),
        "versions": versions(),
    }
    stains = field.stains if field.stains.ndim == 5 else field.stains[:, :, None]
    labels = np.stack([field.nuclei, field.cells], axis=1)[:, :, None]
    stack_um = field.settings.stain_offsets_um or (0.0,)
    names = [Channel(name, "fluorescence") for name in field.stain_names]
    contents: list[tuple[str, NDArray[Any], list[Channel], tuple[float, ...]]] = [
        (
            "brightfield",
            field.brightfield[:, None],
            [Channel("Brightfield", "transmitted")],
            field.focus_offsets_um,
        ),
        ("stains", stains, names, stack_um),
        ("labels", labels, [Channel("nuclei"), Channel("cells")], (0.0,)),
    ]
    y_um, x_um = field.settings.pixel_yx_um
    for name, pixels, channels, offsets in contents:
        if name not in only:
            continue
        step = offsets[1] - offsets[0] if len(offsets) > 1 else None
        sink = OmeZarrSink.create(
            only[name],
            shape=pixels.shape,
            channels=channels,
            pixel_size_um=PixelSize(step, y_um, x_um),
            origin_um=(offsets[0], 0.0, 0.0),
            z_positions_um=offsets,
            dtype=str(pixels.dtype),
            record={**record, "content": name},
            n_tiles=1,
            overwrite=overwrite,
            name=name,
        )
        with sink:
            sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
            sink.commit(0)
            sink.finish()
