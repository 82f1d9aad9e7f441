"""Which fields should be stained next? Of many without a true stain, those that would help most.

A true stain costs a day at the microscope, and fields that look alike teach the same twice. What is
chosen is unlike what teaches already, doubtful to the model, and spread over wells; what a field is
worth to a tuning cannot be known before it is stained.
"""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from napari_virtualstain.datasets.leakage import same_file
from napari_virtualstain.datasets.pairing_file import load_pairs
from napari_virtualstain.embedding.next_fields import rank_next
from napari_virtualstain.errors import OutputExistsError, PixelDataError, VirtualStainError
from napari_virtualstain.io.disk import check_output, disk_errors
from napari_virtualstain.io.open import list_scenes
from napari_virtualstain.jobs.base import JobSettings, ModelText, PathText, Progress, TimePoint
from napari_virtualstain.jobs.doubt import SeveralViews
from napari_virtualstain.jobs.listed_images import ListedImage, listed_images
from napari_virtualstain.jobs.matched_settings import PIXEL_SIZE
from napari_virtualstain.jobs.picture import Planes
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.jobs.suggest_field import FieldLook

__all__ = ["SuggestResult", "SuggestSettings", "Suggestion", "run"]

_PAIRS_FILE = ".json"


class SuggestSettings(JobSettings):
    """Settings of `virtualstain suggest`."""

    input: tuple[PathText, ...] = Field(
        description="bright field to choose from: plates, images, or folders of either"
    )
    model: ModelText = Field(
        default="demo", description="name of the model that is to be tuned, or its folder or zip"
    )
    pairs: PathText | None = Field(
        default=None,
        description="fields that have a true stain already: a pairs file, or a plate or folder of "
        "their bright field; they are compared with, and not suggested",
    )
    count: int = Field(default=10, ge=1, description="fields to suggest")
    out: PathText | None = Field(default=None, description="table (CSV) to write")
    scene: str | None = Field(
        default=None,
        description="only images whose name is like this, for example B0?/f01 (see `info`); "
        "several by commas",
    )
    encoder: ModelText | None = Field(
        default=None,
        description="encoder that says what fields are like; grey values of the bright field and "
        "of what the model paints do if not given",
    )
    views: SeveralViews = Field(
        default=4,
        description="views of each part (mirrored, turned) that the model is shown, to see whether "
        "it contradicts itself; of a model that draws, draws",
    )
    most: int = Field(
        default=500,
        ge=2,
        description="fields that are looked at; of more, so many, spread over wells",
    )
    channel: str | None = Field(default=None, description="name of the bright-field channel")
    z: Planes = Field(
        default=None,
        description="z planes for the model, from 0, for example 2,6,10; or focus: those around "
        "the plane in focus, which is searched",
    )
    t: TimePoint = Field(default=0, description="time point that is looked at, from 0")
    pixel_size: float | None = PIXEL_SIZE
    resample: bool = Field(default=False, description="look at the model's pixel size")
    axes: str | None = Field(default=None, description="axes of the files, if they do not say")
    pattern: str | None = Field(
        default=None,
        description="how the files of a folder are named, for example "
        "{well}_{site}_z{z}_{channel}.tif",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="decides which fields are looked at where there are more, and what is drawn",
    )
    device: str = Field(default="auto", description="where to compute: auto, cpu, cuda or mps")
    overwrite: bool = Field(default=False, description="replace the table if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A field that should be stained.

    Parameters
    ----------
    rank
        From 1.
    name, path, scene
        Of the image.
    plate, well, site
        Where it lies; ``""`` if nothing says so.
    novelty, doubt, content, score
        As `embedding.next_fields.NextField` has them.
    why
        In words.
    """

    rank: int
    name: str
    path: str
    scene: str
    plate: str
    well: str
    site: str
    novelty: float
    doubt: float
    content: float
    score: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestResult:
    """Which fields should be stained next.

    Parameters
    ----------
    fields
        The first should be stained first.
    looked_at, known
        Fields to choose from, and those that have a true stain already.
    out
        The table, `None` if none was written.
    seconds
        That it took.
    notes
        What was left out; a sentence each.
    """

    fields: tuple[Suggestion, ...]
    looked_at: int
    known: int
    out: Path | None
    seconds: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "fields": [asdict(one) for one in self.fields], "looked_at": self.looked_at,
            "known": self.known, "out": None if self.out is None else str(self.out),
            "seconds": round(self.seconds, 3), "notes": list(self.notes),
        }  # fmt: skip

    def text(self) -> str:
        """Return the same for people."""
        width = max(len(one.name) for one in self.fields)
        lines = [f"{one.rank:>3}  {one.name:<{width}}  {one.why}" for one in self.fields]
        beside = f", beside {self.known} that have a true stain" if self.known else ""
        lines.append(f"of {plural(self.looked_at, 'field')}{beside} ({self.seconds:.0f} s)")
        return "\n".join([*lines, *([] if self.out is None else [f"-> {self.out}"])])


def run(
    settings: SuggestSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> SuggestResult:
    """Look at fields, and say which should be stained next.

    Parameters
    ----------
    settings
        Which fields, and for which model.
    on_progress
        Told of fields looked at; what it raises ends the run, and no table is left of it.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If no field can be looked at, or the table cannot be written.
    """
    began = time.monotonic()
    out = None if settings.out is None else Path(settings.out)
    if out is not None:
        check_output(out, [*settings.input, settings.pairs])
        if out.exists() and not settings.overwrite:
            raise OutputExistsError(
                f"'{out}' exists. Choose another --out, or replace it with --overwrite."
            )
    known = _known(settings)
    taken = {_key(one) for one in known}
    offered = [one for one in _listed(settings, settings.input) if _key(one) not in taken]
    if not offered:
        raise PixelDataError(
            "All of these fields have a true stain already. Name others with --input."
        )
    chosen, notes = _spread(offered, settings)
    # Imported here, since it loads torch: whoever builds a form or a command needs settings only.
    from napari_virtualstain.jobs.suggest_field import FieldLooker

    looker = FieldLooker(settings)
    left_out: list[str] = []
    first: VirtualStainError | None = None
    seen: list[tuple[ListedImage, FieldLook, bool]] = []
    total = len(known) + len(chosen)
    for number, one in enumerate([*known, *chosen]):
        if on_progress is not None:
            on_progress(number, total, "fields looked at")
        try:
            seen.append((one, looker.look(one), number < len(known)))
        except VirtualStainError as error:
            first = first or error
            left_out.append(f"{one.name}: {error}")
    if on_progress is not None:
        on_progress(total, total, "fields looked at")
    there = [(one, look) for one, look, teaches in seen if not teaches]
    if not there:
        raise first or PixelDataError("There is no field to look at. Name others with --input.")
    teach = [(one, look) for one, look, teaches in seen if teaches]
    if left_out:
        notes.append(f"{plural(len(left_out), 'image')} left out; the first, {left_out[0]}")
    if settings.pairs is None:
        notes.append(
            "nothing is known of what teaches already: name it with --pairs, or the first fields "
            "may be like it"
        )
    ranked = rank_next(
        np.stack([look.features for _, look in there]),
        np.array([look.doubt for _, look in there]),
        content=np.array([look.content for _, look in there]),
        known=np.stack([look.features for _, look in teach]) if teach else None,
        wells=[_well(one) for one, _ in there], known_wells=[_well(one) for one, _ in teach],
        count=settings.count, seed=settings.seed,
    )  # fmt: skip
    fields = []
    names = Counter(one.name for one, _ in there)
    for rank, found in enumerate(ranked, 1):
        one = there[found.index][0]
        fields.append(
            Suggestion(
                rank=rank, name=_apart(one, names), path=str(one.path), scene=one.scene.name,
                plate=one.place.plate, well=one.place.well, site=one.place.site,
                novelty=round(found.novelty, 3), doubt=round(found.doubt, 3),
                content=round(found.content, 3), score=round(found.score, 3), why=found.why,
            )
        )  # fmt: skip
    if out is not None:
        _write(out, fields)
    result = SuggestResult(
        fields=tuple(fields), looked_at=len(there), known=len(teach), out=out,
        seconds=time.monotonic() - began, notes=tuple(notes),
    )  # fmt: skip
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _listed(settings: SuggestSettings, paths: Iterable[str]) -> list[ListedImage]:
    found: dict[tuple[str, str], ListedImage] = {}
    for path in paths:
        images = listed_images(
            path, scene=settings.scene, axes=settings.axes, pattern=settings.pattern,
            out=str(Path(path).parent / ".no-output"),
        )  # fmt: skip
        found |= {_key(one): one for one in images}
    return list(found.values())


def _known(settings: SuggestSettings) -> list[ListedImage]:
    """Return the fields that have a true stain already."""
    if settings.pairs is None:
        return []
    if Path(settings.pairs).suffix != _PAIRS_FILE:
        return _listed(settings.model_copy(update={"scene": None}), [settings.pairs])
    file = load_pairs(Path(settings.pairs))
    found = []
    for pair in file.pairs:
        path = Path(pair.path)
        scenes = list_scenes(path, axes=file.axes, pattern=file.pattern)
        scene = next((one for one in scenes if one.name == pair.scene), scenes[0])
        found.append(ListedImage(path, scene, (pair.name, "")))
    return found


def _key(one: ListedImage) -> tuple[str, str]:
    return (same_file(one.path), one.scene.name)


def _well(one: ListedImage) -> str:
    place = one.place
    return f"{place.plate}/{place.well}".strip("/") if place.well else ""


def _apart(one: ListedImage, names: Counter[str]) -> str:
    """Return a name that no other field has, as far as its folder tells."""
    return one.name if names[one.name] == 1 else f"{one.path.parent.name}/{one.name}"


def _spread(
    offered: list[ListedImage], settings: SuggestSettings
) -> tuple[list[ListedImage], list[str]]:
    """Return the fields that are looked at: all, or so many, a field a well in turn."""
    if len(offered) <= settings.most:
        return offered, []
    rng = np.random.default_rng(settings.seed)
    turns: dict[str, int] = {}
    order = []
    for n in rng.permutation(len(offered)):
        well = _well(offered[n])
        turns[well] = turns.get(well, 0) + 1
        order.append((turns[well], int(n)))
    chosen = sorted(n for _, n in sorted(order, key=lambda one: one[0])[: settings.most])
    note = (
        f"{settings.most} of {len(offered)} fields were looked at, spread over wells; look at more "
        "with --most"
    )
    return [offered[n] for n in chosen], [note]


def _write(out: Path, fields: list[Suggestion]) -> None:
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, list(Suggestion.__dataclass_fields__), lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(asdict(one) for one in fields)
