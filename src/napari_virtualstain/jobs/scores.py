"""How good is each field of each model? Numbers of each plane, with floors and ceilings beside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.datasets.labels import label_images, read_labels
from napari_virtualstain.datasets.planes import choose_channel
from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.errors import (
    ChannelError,
    ImageFileError,
    PixelDataError,
    SettingsError,
    VirtualStainError,
)
from napari_virtualstain.io.disk import check_output
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress, stage
from napari_virtualstain.jobs.compare import compare_planes, grid_of, grid_words
from napari_virtualstain.jobs.compare_maps import write_maps
from napari_virtualstain.jobs.evaluate import planes_of_run
from napari_virtualstain.jobs.listed_images import ListedImage, listed_images, record_of
from napari_virtualstain.jobs.matched_settings import AXES, MATCH, PATTERN, SCENE
from napari_virtualstain.jobs.scores_rows import (
    COLUMNS,
    KEYS,
    Ranked,
    numbers_of,
    ranked,
    worst_first,
)
from napari_virtualstain.jobs.scores_within import Within, read_regions
from napari_virtualstain.jobs.scores_write import check_table, write_table
from napari_virtualstain.jobs.seen_before import Remembered
from napari_virtualstain.jobs.verdict import VerdictSettings
from napari_virtualstain.jobs.verdict_fields import FieldComparer
from napari_virtualstain.jobs.verdict_pairs import FieldPair, pair_fields
from napari_virtualstain.jobs.verdict_tables import plain_values
from napari_virtualstain.words import plural

__all__ = ["ScoresResult", "ScoresSettings", "run"]

_SHOWN = 5
_NO_CEILING = 1e-9
"""No two measurements are as alike as this."""


class ScoresSettings(JobSettings):
    """Settings of `virtualstain scores`."""

    prediction: PathText = Field(description="predicted stains: a plate, file or folder of images")
    target: PathText = Field(description="the true stains of the same fields")
    also: tuple[PathText, ...] = Field(
        default=(), description="the same fields predicted by other models, to be set beside"
    )
    out: PathText | None = Field(
        default=None,
        description="file to write the table to: .csv, .json, or .parquet (extra [parquet])",
    )
    replicate: PathText | None = Field(
        default=None,
        description="a second measurement of the true stains: what it scores is the ceiling",
    )
    brightfield: PathText | None = Field(
        default=None, description="bright field for the floor; that of each run if not given"
    )
    labels: PathText | None = Field(
        default=None, description="table of what was done to each well (CSV or TSV)"
    )
    label: str = Field(
        default="treatment", description="its column with the treatment; several joined by +"
    )
    foreground: bool = Field(
        default=False, description="only count pixels where the truth is above Otsu's threshold"
    )
    regions: PathText | None = Field(
        default=None,
        description='only count pixels inside these: {"regions": [[[y, x], ...]]} as JSON, in '
        "pixels",
    )
    maps: PathText | None = Field(
        default=None,
        description="OME-Zarr to write the local SSIM and absolute error to, of one field",
    )
    match: tuple[str, ...] = MATCH
    scene: str | None = SCENE
    target_scene: str | None = Field(
        default=None, description="only true images whose name is like this"
    )
    z: Plane | None = Field(default=None, description="only this z plane, from 0")
    axes: str | None = AXES
    pattern: str | None = PATTERN
    overwrite: bool = Field(default=False, description="replace what is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresResult:
    """A table of scores.

    Parameters
    ----------
    rows
        One a plane, stain and model, as `jobs.scores_rows.KEYS` and ``COLUMNS`` name them; NaN is
        not defined.
    models
        What each model comes to in each stain.
    out
        File that was written.
    seconds
        That it took.
    notes
        What was guessed or left out; a sentence each.
    """

    rows: tuple[dict[str, Any], ...]
    models: tuple[Ranked, ...]
    out: Path | None
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; what is not a number becomes `None`."""
        plain: dict[str, Any] = plain_values({
            "rows": [dict(row) for row in self.rows],
            "models": [one.to_json() for one in self.models],
            "out": None if self.out is None else str(self.out),
            "seconds": round(self.seconds, 3), "notes": list(self.notes),
        })  # fmt: skip
        return plain

    def text(self) -> str:
        """Return the same for people: means of each model, and the planes with the lowest PCC."""
        wide = max(len(one.model) for one in self.models)
        lines = [f"{'stain':<10} {'model':<{wide}} planes    PCC   SSIM   PSNR        MAE   gain"]
        for one in sorted(self.models, key=lambda m: (m.stain, m.places.get("pcc", 0))):
            means = one.means
            lines.append(
                f"{one.stain:<10} {one.model:<{wide}} {one.rows:>6} {means['pcc']:6.3f} "
                f"{means['ssim']:6.3f} {means['psnr']:6.2f} {means['mae']:10.4g} "
                f"{means['gain']:6.3f}"
            )
        worst = [
            f"{row['stain']} of {row['name']} ({row['pcc']:.3f})"
            for row in worst_first(self.rows, "pcc")[:_SHOWN]
        ]
        lines += ["", f"lowest PCC: {', '.join(worst)}"]
        where = "" if self.out is None else f" -> {self.out}"
        return "\n".join([*lines, f"{plural(len(self.rows), 'row')}{where} ({self.seconds:.1f} s)"])


def run(
    settings: ScoresSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> ScoresResult:
    """Compare every plane of every field with its truth.

    Parameters
    ----------
    settings
        Which images, and which of their pixels.
    on_progress
        Told of fields; what it raises ends the run, and nothing is written.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If images, channels or labels do not fit, or nothing can be compared.
    """
    began = time.monotonic()
    out = None if settings.out is None else Path(settings.out)
    if out is not None:
        check_table(out, overwrite=settings.overwrite)
    if settings.maps is not None:
        inputs = [settings.prediction, settings.target]
        check_output(Path(settings.maps), inputs=inputs, overwrite=settings.overwrite)
    within = Within(
        settings.foreground, () if settings.regions is None else read_regions(settings.regions)
    )
    truths = _listed(settings.target, settings.target_scene, settings, with_axes=True)
    notes: list[str] = []
    work = [_model(path, truths, settings, notes) for path in (settings.prediction, *settings.also)]
    treatments = _treatments([pair for pairs in work for pair in pairs], settings, notes)
    beside = _Beside(settings, truths, work[0], notes)
    if settings.maps is not None and (settings.also or len(work[0]) > 1):
        raise SettingsError(
            "Maps are written of one field and one model. Choose it with --scene, and leave out "
            "--also."
        )
    total, done = sum(len(pairs) for pairs in work), 0
    by_model: list[tuple[str, list[dict[str, Any]]]] = []
    for path, pairs in zip((settings.prediction, *settings.also), work, strict=True):
        own: list[dict[str, Any]] = []
        comparer = FieldComparer(
            VerdictSettings(
                prediction=settings.prediction, target=settings.target, out=".",
                match=settings.match, z=settings.z,
            )
        )  # fmt: skip
        left: list[str] = []
        for pair in pairs:
            if on_progress is not None:
                on_progress(done, total, "fields compared")
            done += 1
            try:
                found = list(_field(pair, comparer, beside, within, settings, on_progress))
            except (ImageFileError, PixelDataError, ChannelError) as error:
                if len(pairs) == 1 or (isinstance(error, ChannelError) and not comparer.pairs):
                    raise
                left.append(f"{pair.prediction.name}: {error}")
                continue
            own += [{**row, "treatment": treatments.get(pair, "")} for row in found]
        by_model.append((path, own))
        notes += comparer.said
        if left:
            notes.append(f"{plural(len(left), 'field')} left out; the first, {left[0]}")
    if on_progress is not None:
        on_progress(total, total, "fields compared")
    if not any(own for _, own in by_model):
        raise PixelDataError(
            "No field could be compared. Give predictions and true stains of the same fields and "
            "size."
        )
    notes += [*beside.notes, *beside.remembered.notes()]
    rows = [
        {name: {**row, "model": model}[name] for name in (*KEYS, *COLUMNS)}
        for model, (_, own) in zip(_names(by_model), by_model, strict=True)
        for row in own
    ]
    result = ScoresResult(
        rows=tuple(rows), models=tuple(ranked(rows)), out=out, notes=tuple(dict.fromkeys(notes)),
        seconds=time.monotonic() - began,
    )  # fmt: skip
    if out is not None:
        write_table(out, result.to_json(), settings.absolute().model_dump(mode="json"))
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _listed(
    source: str, scene: str | None, settings: ScoresSettings, *, with_axes: bool = False
) -> list[ListedImage]:
    return listed_images(
        source, scene=scene, axes=settings.axes if with_axes else None,
        pattern=settings.pattern if with_axes else None, out=settings.out or "",
    )  # fmt: skip


def _model(
    path: str, truths: Sequence[ListedImage], settings: ScoresSettings, notes: list[str]
) -> list[FieldPair]:
    pairs, said = pair_fields(_listed(path, settings.scene, settings), truths)
    notes += said
    return pairs


def _treatments(
    pairs: Sequence[FieldPair], settings: ScoresSettings, notes: list[str]
) -> dict[FieldPair, str]:
    """Return what was done to each field, where a table or the images themselves say it."""
    table = None if settings.labels is None else read_labels(settings.labels)
    images = [(one.truth.path, one.truth.place) for one in pairs]
    try:
        found = label_images(images, settings.label, table)
    except VirtualStainError:
        if table is not None:
            raise
        return {}
    notes += found.notes
    return {one: name for one, name in zip(pairs, found.labels, strict=True) if name is not None}


class _Beside:
    """What stands beside prediction and truth: bright field for the floor, and a replicate."""

    def __init__(
        self, settings: ScoresSettings, truths: Sequence[ListedImage], pairs: Sequence[FieldPair],
        notes: list[str],
    ) -> None:  # fmt: skip
        self._lights: dict[tuple[Path, str], ListedImage] | None = None
        self._seconds: dict[tuple[Path, str], ListedImage] = {}
        self.notes: list[str] = []
        self.remembered = Remembered()
        if settings.brightfield is not None:
            light = _listed(settings.brightfield, None, settings)
            found, said = pair_fields(light, truths, what="truth")
            self._lights = {_key(one.truth): one.prediction for one in found}
            notes += [note for note in said if "predicted" not in note]
        if settings.replicate is not None:
            used = list(dict.fromkeys(one.truth for one in pairs))
            found, said = pair_fields(_listed(settings.replicate, None, settings), used)
            self._seconds = {_key(one.truth): one.prediction for one in found}
            if len(found) < len(used):
                self.notes.append(f"{len(used) - len(found)} of {len(used)} fields have no ceiling")

    def light(self, pair: FieldPair, prediction: LazyImage, record: Any) -> LazyImage | None:
        """Return the bright-field planes of a field, (T, 1, P, Y, X), `None` if there are none."""
        note: str | None = "no floor: the bright field has no such field"
        planes: LazyImage | None = None
        if self._lights is None:
            planes, note = planes_of_run(record)
        elif (one := self._lights.get(_key(pair.truth))) is not None:
            image = one.scene.open()
            like = str((record.get("input") or {}).get("channel", "bright field"))
            name, note = choose_channel(image, channel=None, like=like)
            planes = image.select([name])
        if planes is not None:
            planes = planes.with_gaps()
            fits = (prediction.shape[0], *prediction.shape[3:])
            if (planes.shape[0], *planes.shape[3:]) != fits:
                note, planes = f"no floor: the bright field has {grid_words(planes)}", None
        self.notes += [note] if note else []
        self.remembered.add(planes, record)
        return planes

    def second(
        self, pair: FieldPair, truth: LazyImage, pairs: Sequence[tuple[str, str]]
    ) -> tuple[LazyImage, dict[str, str]] | None:
        """Return a second measurement of a field, and its channel of each predicted stain."""
        one = self._seconds.get(_key(pair.truth))
        if one is None:
            return None
        image = one.scene.open().with_gaps()
        if grid_of(image) != grid_of(truth):
            raise PixelDataError(
                f"The replicate has {grid_words(image)} and the truth {grid_words(truth)}. Give a "
                "second measurement of the same field with --replicate."
            )
        found = {}
        for stain, named in pairs:
            there = find_stain(named, image.channel_names)
            if there is not None:
                found[stain] = there.channel
        return image, found


def _key(one: ListedImage) -> tuple[Path, str]:
    return one.path, one.scene.name


def _field(
    pair: FieldPair,
    comparer: FieldComparer,
    beside: _Beside,
    within: Within,
    settings: ScoresSettings,
    on_progress: Progress | None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a field."""
    prediction, truth = comparer.opened(pair)
    record = record_of(prediction)
    light = beside.light(pair, prediction, record)
    second = beside.second(pair, truth, comparer.pairs)
    n_t, _, n_z, _, _ = prediction.shape
    if settings.z is not None and settings.z >= n_z:
        raise SettingsError(
            f"Plane {settings.z} is asked for, and there are {n_z}, from 0. Choose another with "
            "--z."
        )
    place = pair.truth.place if pair.truth.place.well else pair.prediction.place
    about = {
        "model": str((record.get("model") or {}).get("name") or ""), "name": pair.prediction.name,
        "plate": place.plate, "well": place.well, "site": place.site,
        "path": str(pair.prediction.path), "scene": pair.prediction.scene.name,
        "target_path": str(pair.truth.path), "target_scene": pair.truth.scene.name,
        "within": within.words,
        "folder": Path(str((record.get("model") or {}).get("path") or "")).name,
    }  # fmt: skip
    if settings.maps is not None:
        write_maps(
            prediction, truth, [(stain, stain) for stain, _ in comparer.pairs],
            Path(settings.maps), overwrite=settings.overwrite,
            on_plane=stage(on_progress, "planes mapped"),
        )  # fmt: skip
    planes = range(n_z) if settings.z is None else [settings.z]
    for (stain, target), t, z in product(comparer.pairs, range(n_t), planes):
        counts = within.of_plane(truth, stain, t, z)
        one = compare_planes(prediction, truth, light, (stain, stain), t, z, within=counts)
        again = None
        if second is not None and stain in second[1]:
            names = (second[1][stain], stain)
            again = compare_planes(second[0], truth, None, names, t, z, within=counts)
            if again.compared.pearson > 1 - _NO_CEILING:
                beside.notes.append(
                    f"{stain}: the replicate is the truth itself, which is no ceiling; give "
                    "another measurement with --replicate"
                )
        whole = within == Within()
        numbers = numbers_of(one, again, with_floor=light is not None, whole=whole)
        yield {**about, "time": t, "z": z, "stain": stain, "target": target, **numbers}


def _names(found: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> list[str]:
    """Return a name of its own for each prediction: that of its model, folder or file."""
    own = [next((row["model"] for row in rows if row["model"]), "") for _, rows in found]
    folders = [next((row["folder"] for row in rows), "") for _, rows in found]
    files = [Path(path).name.partition(".")[0] for path, _ in found]
    names = []
    for number, (model, folder, file) in enumerate(zip(own, folders, files, strict=True)):
        tried = [(own, model), (folders, folder), (files, file)]
        name = next((one for all_, one in tried if one and all_.count(one) == 1), model or file)
        names.append(name if name not in names else f"{name} {number + 1}")
    return names
