"""What does an encoder see on a plate? One row of features a field, then wells and treatments."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from napari_virtualstain.datasets.labelled import CHANNEL
from napari_virtualstain.datasets.labels import label_images, read_labels
from napari_virtualstain.embedding.sphering import refuse_few
from napari_virtualstain.errors import (
    OutputExistsError,
    SettingsError,
    UnknownNameError,
    did_you_mean,
)
from napari_virtualstain.io.disk import check_output
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.base import (
    JobSettings,
    ModelText,
    PathText,
    Plane,
    Progress,
    TimePoint,
)
from napari_virtualstain.jobs.embed_profiles import Match, Verdict, judge, write_profiles
from napari_virtualstain.jobs.embed_table import FIELDS, read_features
from napari_virtualstain.jobs.listed_images import ListedImage, listed_images
from napari_virtualstain.jobs.matched_settings import PIXEL_SIZE, Z

if TYPE_CHECKING:
    from napari_virtualstain.encoders.card import EncoderCard

__all__ = ["EmbedResult", "EmbedSettings", "run"]


class EmbedSettings(JobSettings):
    """Settings of `virtualstain embed`."""

    input: PathText = Field(description="plate, image, or folder of either")
    model: ModelText = Field(description="name of an encoder, or its folder or zip")
    out: PathText = Field(description="folder to write the tables into")
    scene: str | None = Field(
        default=None,
        description="only images whose name is like this, for example B0?/f01 (see `info`); "
        "several by commas",
    )
    channels: tuple[str, ...] | None = Field(
        default=None,
        description="channels that are looked at, by the encoder's names; all of the encoder's if "
        "not given, or all of the image if the encoder is of any channel",
    )
    match: tuple[str, ...] = Field(
        default=(),
        description="ENCODER=IMAGE channel names where they differ, e.g. DNA=DAPI",
    )
    z: Plane | None = Z
    t: TimePoint = Field(default=0, description="time point that is looked at, from 0")
    crop: int | None = Field(
        default=None, ge=1, description="edge of a crop in pixels; the encoder's own if not given"
    )
    crops: int = Field(
        default=2,
        ge=1,
        description="crops beside each other along each axis, around the middle; 2 as published, "
        "more to see more of a field that is larger",
    )
    pixel_size: float | None = PIXEL_SIZE
    resample: bool = Field(
        default=False, description="look at the encoder's pixel size, whatever that of the images"
    )
    labels: PathText | None = Field(
        default=None, description="table (CSV, TSV) of what was done to each well or file"
    )
    label: str | None = Field(
        default=None,
        description="its column of treatments; several joined by +, for example "
        "compound+concentration; treatment if there is one",
    )
    moa: str | None = Field(
        default=None,
        description="its column of what neighbours should share; moa if there is one",
    )
    compound: str | None = Field(
        default=None,
        description="its column of what they may not share; that of --label if not given",
    )
    batch: str | None = Field(
        default=None, description="its column of batches; the plate if not given"
    )
    controls: tuple[str, ...] = Field(
        default=(), description="treatments that are controls, for example DMSO: sphere on them"
    )
    across: Literal["median", "mean"] = Field(
        default="median", description="of a treatment over its plates"
    )
    device: str = Field(default="auto", description="where to compute: auto, cpu, cuda or mps")
    axes: str | None = Field(default=None, description="axes of the files, if they do not say")
    pattern: str | None = Field(
        default=None,
        description="how the files of a folder are named, for example "
        "{well}_{site}_z{z}_{channel}.tif",
    )
    resume: bool = Field(default=False, description="go on with the tables that are there")
    overwrite: bool = Field(default=False, description="replace the tables that are there")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedResult:
    """What was written.

    Parameters
    ----------
    out
        Folder of the tables.
    fields, of
        Rows that are there, and images that there are.
    features
        Numbers a row.
    matches
        How often neighbours share a mechanism.
    verdict
        Of a classifier with known classes.
    seconds
        That it took.
    notes
        What was guessed, left out or is missing; a sentence each.
    """

    out: Path
    fields: int
    of: int
    features: int
    matches: tuple[Match, ...] = ()
    verdict: Verdict | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out),
            "fields": self.fields,
            "of": self.of,
            "features": self.features,
            "matches": [asdict(match) for match in self.matches],
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> EmbedResult:
        """Return the result that `to_json` was called on, perhaps in another process."""
        verdict = values["verdict"]
        return cls(
            **{
                **values,
                "out": Path(values["out"]),
                "matches": tuple(Match.from_json(match) for match in values["matches"]),
                "verdict": None if verdict is None else Verdict.from_json(verdict),
                "notes": tuple(values["notes"]),
            }
        )

    def text(self) -> str:
        """Return the same for people."""
        lines = [
            f"{self.fields} of {self.of} fields -> {self.out} ({self.seconds:.1f} s)",
            f"{self.features} features each",
            *map(str, self.matches),
        ]
        if self.verdict is not None:
            within = self.verdict.macro_f1
            score = f"{self.verdict.table.macro_f1:.3f}"
            score += f" ({within.low:.3f} to {within.high:.3f})" if within else ""
            lines += [
                f"macro F1 {score}, accuracy {self.verdict.table.accuracy:.3f}",
                self.verdict.table.table(),
            ]
        return "\n".join(lines)


def run(
    settings: EmbedSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> EmbedResult:
    """Look at every field of a plate, write what is seen, and put it together.

    Fields are looked at one after the other and written at once, so that memory does not grow with
    the plate, and a run that ends early is gone on with.

    Parameters
    ----------
    settings
        Which images, encoder and labels.
    on_progress
        Told of fields; what it raises ends the run between two of them.
    on_note
        Told of each note at the end, or before an error.

    Raises
    ------
    VirtualStainError
        If images and encoder do not fit, or nothing can be looked at.
    """
    # Imported here, since they load torch: whoever builds a command needs settings only.
    from napari_virtualstain.inference.device import choose_device
    from napari_virtualstain.jobs.embed_rows import Told, write_record, write_rows
    from napari_virtualstain.zoo import load_encoder

    began = time.monotonic()
    out = Path(settings.out)
    _check(out, settings)
    device = choose_device(settings.device)
    model = load_encoder(settings.model)
    model.encoder.module().to(device)
    images = listed_images(
        settings.input, scene=settings.scene, axes=settings.axes, pattern=settings.pattern,
        out=settings.out,
    )  # fmt: skip
    told = Told(notes=[f"encoder {model.card.name!r}: {limit}" for limit in model.card.limits])
    settings, truth, columns = _labels(settings, model.card, images, told.notes)
    total = len(images)
    rows = deque(zip(images, *columns.values(), strict=True))
    del images
    looking, written, features = write_rows(
        settings, model, rows, list(columns), told, total, on_progress
    )
    fields = read_features(out / FIELDS)
    matches, more = write_profiles(out, fields, settings)
    told.notes += more
    verdict = None
    if model.card.classes:
        channels = looking.channels if model.card.per_channel else ()
        verdict = judge(fields, classes=model.card.classes, channels=channels, label=truth)
    result = EmbedResult(
        out=out, fields=written, of=total, features=features, matches=tuple(matches),
        verdict=verdict, seconds=time.monotonic() - began, notes=tuple(told.sentences()),
    )  # fmt: skip
    write_record(out, settings, looking, "complete", result)
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _check(out: Path, settings: EmbedSettings) -> None:
    """Refuse an output that would touch the input or replace what is there."""
    check_output(out, inputs=[settings.input])
    if settings.resume and settings.overwrite:
        raise SettingsError("--resume keeps what --overwrite replaces. Leave one of them out.")
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{str(out)!r} exists and is a file. Choose another --out.")
    if (out / FIELDS).exists() and not (settings.resume or settings.overwrite):
        raise OutputExistsError(
            f"'{out / FIELDS}' exists. To go on with it add --resume, to replace it --overwrite."
        )


def _labels(
    settings: EmbedSettings, card: EncoderCard, images: Sequence[ListedImage], notes: list[str]
) -> tuple[EmbedSettings, str | None, dict[str, tuple[str, ...]]]:
    """Return the settings with the labels that there are, and the label of each image by name.

    Between them the label that a classifier was taught, `CHANNEL` for that, `None` if not known.
    """
    table = None if settings.labels is None else read_labels(settings.labels)
    keys = [(one.path, one.scene.place) for one in images]

    def known(stated: str | None, usual: str) -> str | None:
        if stated is not None:
            return stated
        try:
            label_images(keys, usual, table)
        except (UnknownNameError, SettingsError):
            return None
        return usual

    label = settings.label
    if label is None:
        label = "treatment" if table is not None else known(None, "treatment")
    settings = settings.model_copy(update={"label": label, "moa": known(settings.moa, "moa")})
    truth = card.label if card.classes and card.label else None
    if truth not in (None, CHANNEL):
        truth = known(None, str(truth))
    if settings.controls and settings.label is None:
        raise SettingsError(
            "--controls names treatments, and of no image the treatment is known. Give a table "
            "with --labels, and its column with --label."
        )
    wanted = [settings.label, settings.moa, settings.compound, settings.batch]
    wanted += [] if truth == CHANNEL else [truth]
    columns = {}
    for name in dict.fromkeys(name for name in wanted if name is not None):
        labelled = label_images(keys, name, table)
        notes += labelled.notes
        columns[name] = tuple(label or "" for label in labelled.labels)
    if settings.controls and settings.label is not None:
        _refuse_controls(settings.controls, settings.label, columns[settings.label])
    return settings, truth, columns


def _refuse_controls(controls: Sequence[str], label: str, known: Sequence[str]) -> None:
    """Say before the work what sphering would say after it."""
    there = sorted({name for name in known if name})
    unknown = next((name for name in controls if name not in there), None)
    if unknown is not None:
        raise SettingsError(
            f"No image has the {label} {unknown!r}.{did_you_mean(unknown, there)} There are: "
            f"{listed(there)}. Name the controls with --controls."
        )
    refuse_few(sum(name in controls for name in known))
