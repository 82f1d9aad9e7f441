"""What do clicks on good and bad places teach? Learns from them, and writes it beside the data."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    PixelDataError,
    first_fault,
)
from napari_virtualstain.io.disk import write_whole
from napari_virtualstain.io.folder import review_folder
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.kept import write_kept
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.base import Progress, versions
from napari_virtualstain.jobs.listed_images import ListedImage
from napari_virtualstain.jobs.qc_field import JudgedImage, open_judged
from napari_virtualstain.jobs.verdict_tables import csv_text
from napari_virtualstain.qc.clicked import (
    ARTIFACTS_FILE,
    Artifacts,
    Click,
    probability,
)
from napari_virtualstain.qc.clicked_fit import fit_artifacts
from napari_virtualstain.qc.field import QcField

if TYPE_CHECKING:
    from napari_virtualstain.jobs.qc import QcSettings

__all__ = ["MAP", "Learnt", "learn_artifacts", "place_of_artifacts", "read_clicks", "write_clicks"]

MAP = "probability of bad"
"""Channel of the maps."""
_COLUMNS = ("path", "scene", "time", "y", "x", "label")
_FOLDER = "clicked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What clicks taught.

    Parameters
    ----------
    artifacts
        What was written.
    maps
        Of each field that was clicked on: its path, scene and time, and the store of its map.
    notes
        What was guessed of the fields.
    """

    artifacts: Artifacts
    maps: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    def words(self) -> str:
        """Say it."""
        said = self.artifacts.tried.words()
        more = "" if self.artifacts.tried.learnt else " Click on more places."
        return f"{said[:1].upper()}{said[1:]}.{more}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        tried = self.artifacts.tried
        return {
            "words": self.words(), "learnt": tried.learnt, "accuracy": round(tried.accuracy, 4),
            "tried": tried.model_dump(), "chance": 0.5, "maps": [dict(one) for one in self.maps],
            "model": self.artifacts.model, "amber": self.artifacts.amber,
            "red": self.artifacts.red,
        }  # fmt: skip


def place_of_artifacts(settings: QcSettings, image: JudgedImage) -> Path | None:
    """Return where what was learnt lies: as named, beside the prediction, or beside the model."""
    if settings.artifacts is not None:
        return Path(settings.artifacts)
    model = (image.record.get("model") or {}).get("path")
    places = [review_folder(settings.prediction), *([] if model is None else [Path(model)])]
    return next((at / ARTIFACTS_FILE for at in places if (at / ARTIFACTS_FILE).is_file()), None)


def learn_artifacts(
    settings: QcSettings,
    predictions: Sequence[ListedImage],
    sources: Mapping[tuple[str, str], ListedImage],
    on_progress: Progress | None,
) -> tuple[Path, Learnt]:
    """Learn from clicks, write what was learnt, and maps if there is a folder for them.

    Parameters
    ----------
    settings
        Of the run, with ``clicks``.
    predictions
        All images; those without a click are not opened.
    sources
        Bright fields that were named, by the key of a prediction.
    on_progress
        Told of fields.

    Returns
    -------
    tuple
        The file, and what is in it.

    Raises
    ------
    VirtualStainError
        If clicks are too few or of no image, or the file exists.
    """
    assert settings.clicks is not None
    named = settings.artifacts
    path = Path(named) if named else review_folder(settings.prediction) / ARTIFACTS_FILE
    if path.is_dir():
        raise OutputExistsError(f"'{path}' is a folder. Give a file with --artifacts.")
    if path.exists() and not settings.overwrite:
        raise OutputExistsError(
            f"'{path}' exists. Choose another with --artifacts, or replace it with --overwrite."
        )
    clicks = _grouped(read_clicks(settings.clicks), predictions)
    fields: list[tuple[QcField, list[Click]]] = []
    names: list[str] = []
    models: list[dict[str, Any]] = []
    notes: list[str] = []
    for done, (one, t, own) in enumerate(clicks):
        if on_progress is not None:
            on_progress(done, len(clicks), "clicked fields looked at")
        image = open_judged(one, sources.get(one.key), settings)
        if t >= image.times:
            raise PixelDataError(
                f"A click is at time point {t} of {one.name!r}, which has {image.times}. Correct "
                "--clicks."
            )
        fields.append((image.field(t, settings.z), own))
        names.append(f"{one.name} t {t}" if image.times > 1 else one.name)
        models.append(image.record.get("model") or {})
        notes += image.notes
    prints = {str(model.get("fingerprint", "")) for model in models}
    model = models[0] if len(prints) == 1 else {}
    artifacts = fit_artifacts(
        fields, model=str(model.get("name", "")), fingerprint=str(model.get("fingerprint", "")),
        versions={**versions(), **_sklearn()},
    )  # fmt: skip
    if len(prints) > 1:
        notes.append("the clicks are on stains of several models, which may fail in other ways")
    maps = []
    for name, (one, t, _), (field, _) in zip(names, clicks, fields, strict=True):
        if settings.out is not None:
            values = probability(field, artifacts)
            store = _write_map(Path(settings.out), name, values, field, settings.overwrite)
            maps.append({"path": one.key[0], "scene": one.key[1], "time": t, "store": store})
    if on_progress is not None:
        on_progress(len(clicks), len(clicks), "clicked fields looked at")
    write_kept(path, artifacts)
    return path, Learnt(artifacts=artifacts, maps=tuple(maps), notes=tuple(dict.fromkeys(notes)))


def read_clicks(path: str | Path) -> list[Click]:
    """Read a table of clicks.

    Raises
    ------
    MissingInputError
        If there is none.
    ImageFileError
        If a row is no click.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingInputError(f"There is no table of clicks at '{file}'. Correct --clicks.")
    found = []
    with file.open(encoding="utf-8-sig", newline="") as table:
        for number, row in enumerate(csv.DictReader(table), 2):
            # What is left out is the only image, and its first time point.
            known = {name: row[name] for name in _COLUMNS if row.get(name) not in (None, "")}
            try:
                found.append(Click.model_validate(known))
            except ValidationError as error:
                where, why = first_fault(error, whole="line")
                raise ImageFileError(
                    f"Line {number} of '{file}' is no click, at {where!r}: {why}. Give "
                    f"the columns {', '.join(_COLUMNS)}, with good or bad as label."
                ) from error
    return found


def write_clicks(path: Path, clicks: Iterable[Click]) -> None:
    """Write a table of clicks, of which there is one at least, in one step.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    rows = [{name: getattr(click, name) for name in _COLUMNS} for click in clicks]
    write_whole(path, csv_text(rows))


def _grouped(
    clicks: Sequence[Click], predictions: Sequence[ListedImage]
) -> list[tuple[ListedImage, int, list[Click]]]:
    """Return the images and time points that were clicked on, with the clicks on each."""
    found: dict[tuple[tuple[str, str], int], tuple[ListedImage, int, list[Click]]] = {}
    by_key = {one.key: one for one in predictions}
    for click in clicks:
        key = (click.path, click.scene)
        if key == ("", "") and len(predictions) == 1:
            key = predictions[0].key
        if key not in by_key:
            name = "/".join(part for part in key if part) or "no image"
            raise PixelDataError(
                f"A click is on {name!r}, which is none of the predictions. Name path and scene as "
                "fields.csv of a report does, in --clicks."
            )
        found.setdefault((key, click.time), (by_key[key], click.time, []))[2].append(click)
    return list(found.values())


def _write_map(
    out: Path, name: str, values: NDArray[np.float32], field: QcField, overwrite: bool
) -> str:
    safe = re.sub(r"[^\w.-]+", "_", re.sub(r"(\.ome)?\.zarr", "", name)).strip("_")
    path = out / _FOLDER / f"{safe}.ome.zarr"
    size = PixelSize(None, field.pixel_um, field.pixel_um)
    with OmeZarrSink.create(
        path, shape=(1, 1, 1, *values.shape), dtype="float32", n_tiles=1,
        record={"job": "qc", "field": name}, pixel_size_um=size, overwrite=overwrite,
        channels=[Channel(MAP)],
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in (1, 1, 1, *values.shape)), values[None, None, None])
        sink.commit(0)
        sink.finish({})
    return str(path)


def _sklearn() -> dict[str, str]:
    try:
        return {"scikit-learn": version("scikit-learn")}
    except PackageNotFoundError:  # what is learnt with it says so
        return {}
