"""Write simulated plates with planted phenotypes, as plates like any others, and their labels."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtualstain.datasets.simulated_plate import PlateField, PlateSettings, plate_fields
from napari_virtualstain.errors import OutputExistsError, SettingsError
from napari_virtualstain.io.disk import check_output, disk_errors
from napari_virtualstain.io.plate_write import PlateStore, field_name, field_path
from napari_virtualstain.jobs.base import Progress

if TYPE_CHECKING:
    from napari_virtualstain.jobs.simulate import SimulateSettings

__all__ = ["LABELS", "write_plates"]

LABELS = "labels.csv"
"""What was done to each field."""
_CONTENTS = ("brightfield", "stains")
_OF_FIELDS = ("fields", "phenotype", "density", "timepoints", "mode")


def write_plates(settings: SimulateSettings, on_progress: Progress | None = None) -> list[Path]:
    """Simulate plates; return their stores, and the table of labels last.

    ``brightfield/plate1.ome.zarr`` and ``stains/plate1.ome.zarr`` are the same fields seen twice.

    Raises
    ------
    SettingsError
        If settings of single fields are stated, or the compounds do not fit onto a plate.
    OutputExistsError
        If a plate or the table exists and may not be replaced.
    """
    stated = [name for name in _OF_FIELDS if name in settings.model_fields_set]
    if stated:
        raise SettingsError(
            f"--{stated[0]} is of single fields, and a plate has its own. Leave it out, or --plate."
        )
    plan = PlateSettings(
        wells=settings.plate or 0,
        plates=settings.plates,
        sites=settings.sites,
        compounds=settings.compounds,
        shape_px=(settings.size, settings.size),
        seed=settings.seed,
    )
    out = Path(settings.out)
    names = [f"plate{number + 1}" for number in range(plan.plates)]
    paths = {(kind, one): out / kind / f"{one}.ome.zarr" for kind in _CONTENTS for one in names}
    for path in paths.values():
        check_output(path, inputs=[], overwrite=settings.overwrite)
    if (out / LABELS).exists() and not settings.overwrite:
        raise OutputExistsError(
            f"{str(out / LABELS)!r} exists. To go on, choose another --out or add --overwrite."
        )
    rows, columns = plan.plate_shape
    stores = {
        (kind, one): PlateStore(path, name=one, rows=rows, columns=columns)
        for (kind, one), path in paths.items()
    }
    fields = list(plate_fields(plan))
    _write_labels(out / LABELS, fields)
    total = len(fields)
    if on_progress is not None:
        on_progress(0, total, "fields simulated")
    for number, field in enumerate(fields):
        _write(field, plan, {kind: stores[kind, field.plate] for kind in _CONTENTS}, settings)
        if on_progress is not None:
            on_progress(number + 1, total, "fields simulated")
    return [*paths.values(), out / LABELS]


def _write(
    field: PlateField,
    plan: PlateSettings,
    stores: dict[str, PlateStore],
    settings: SimulateSettings,
) -> None:
    from napari_virtualstain.jobs.simulate import write_field

    name = field_name(field.site)
    inner = field_path(field.row, field.column, name)
    write_field(
        field.simulate(),
        Path(settings.out),
        overwrite=settings.overwrite,
        only={kind: store.path / inner for kind, store in stores.items()},
        of_plate={"settings": asdict(plan), "field": asdict(field)},
    )
    for store in stores.values():
        store.add(field.row, field.column, name)


def _write_labels(path: Path, fields: list[PlateField]) -> None:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, fields[0].labels, lineterminator="\n")
            table.writeheader()
            table.writerows(field.labels for field in fields)
