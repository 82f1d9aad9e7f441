"""What were the images like that taught a model? An index of their patches, kept beside its card.

It is read by `virtualstain qc`, which says how far a field is from them, and by `virtualstain
explain`, which shows the nearest ones. `train` and `finetune` keep one by themselves; this is for
models that have none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_virtualstain.axes import Region
from napari_virtualstain.embedding.familiar import FieldPatches, TrainingIndex, fit_index
from napari_virtualstain.embedding.index_file import INDEX_FILE, write_index
from napari_virtualstain.errors import (
    ModelPackageError,
    OutputExistsError,
    SettingsError,
    VirtualStainError,
)
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.jobs.base import PathText, Progress
from napari_virtualstain.jobs.index_patches import (
    index_of_pairs,
    patches_of_field,
    short_name,
    shown_stain,
    spread_over,
)
from napari_virtualstain.jobs.index_seen import see_field, weights_file
from napari_virtualstain.jobs.listed_images import ListedImage, listed_images
from napari_virtualstain.jobs.picture import PictureSettings
from napari_virtualstain.jobs.prepare import InputSettings
from napari_virtualstain.jobs.training_fields import PairSettings
from napari_virtualstain.jobs.verdict_pairs import pair_fields
from napari_virtualstain.words import plural
from napari_virtualstain.zoo import find_model, is_own

if TYPE_CHECKING:
    from napari_virtualstain.generators.package import Model
    from napari_virtualstain.io.image import LazyImage

__all__ = ["IndexResult", "IndexSettings", "run"]


class IndexSettings(PictureSettings):
    """Settings of `virtualstain index`."""

    input: PathText = Field(
        description="bright field that taught the model: a plate, a folder of images, a file; or a "
        "pairs file (see `pairs`), whose validation fields count as not seen"
    )
    target: PathText | None = Field(
        default=None, description="true stains of the same fields, for the small pictures"
    )
    out: PathText | None = Field(
        default=None,
        description="file to write; beside the card of a model of your own if not given",
    )
    resample: bool = Field(
        default=False, description=InputSettings.model_fields["resample"].description
    )
    alarms: float = Field(
        default=0.05, gt=0, lt=0.5,
        description="share of good fields that may be called unfamiliar",
    )  # fmt: skip
    pictures: bool = Field(
        default=True, description="keep small pictures of patches, which travel with the model"
    )
    overwrite: bool = Field(default=False, description="replace the index that is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexResult:
    """What was kept.

    Parameters
    ----------
    out
        The file.
    model
        Whose it is.
    fields, held_out
        That the distances were fitted on, and that no weights have seen.
    patches
        That are kept.
    alarms
        Share of good fields that may be called unfamiliar.
    bytes
        Of the file.
    seconds
        That it took.
    notes
        What was left out or guessed; a sentence each.
    """

    out: Path
    model: str
    fields: int
    held_out: int
    patches: int
    alarms: float
    bytes: int
    seconds: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out), "model": self.model, "fields": self.fields,
            "held_out": self.held_out, "patches": self.patches, "alarms": round(self.alarms, 4),
            "bytes": self.bytes, "seconds": round(self.seconds, 3), "notes": list(self.notes),
        }  # fmt: skip

    def text(self) -> str:
        """Return the same for people."""
        held = f" and {self.held_out} held out" if self.held_out else ""
        return (
            f"index of {plural(self.fields, 'field')}{held} of the model {self.model!r}, "
            f"{self.patches} patches, {self.bytes / 1e6:.1f} MB; {self.alarms:.0%} of good fields "
            f"may be called unfamiliar\n-> {self.out} ({self.seconds:.1f} s)"
        )


def run(
    settings: IndexSettings,
    *,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> IndexResult:
    """Make the index of a model from the images that taught it.

    Parameters
    ----------
    settings
        Which model and images.
    on_progress
        Told of fields; what it raises ends the run, and nothing is written.
    on_note
        Told of each note at the end.

    Raises
    ------
    VirtualStainError
        If images and model do not fit, there are too few fields, or nobody says where to write.
    """
    began = time.monotonic()
    path = _place(settings)
    notes: list[str] = []
    is_pairs = Path(settings.input).suffix == ".json" and Path(settings.input).is_file()
    make = _of_pairs if is_pairs else _of_images
    index = make(settings, notes, on_progress)
    write_index(path, index)
    if index.fitted < 20:
        notes.append(
            f"{plural(index.fitted, 'field')} show little of what is familiar: "
            f"{index.alarms:.0%} of good fields may raise an alarm; give 50 or more"
        )
    size = path.stat().st_size
    result = IndexResult(
        out=path, model=index.model, fields=index.fitted, held_out=index.held_out,
        patches=len(index.codes), alarms=index.alarms, bytes=size,
        seconds=time.monotonic() - began, notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip
    for note in result.notes:
        if on_note is not None:
            on_note(note)
    return result


def _place(settings: IndexSettings) -> Path:
    """Return where the index is written.

    Raises
    ------
    SettingsError, OutputExistsError
        If nobody says where, or it is there.
    """
    folder = find_model(settings.model)
    name = read_card(folder).name  # before anything is read
    if settings.out is not None:
        path = Path(settings.out)
    elif is_own(settings.model) or (folder.is_dir() and Path(settings.model).is_dir()):
        path = folder / INDEX_FILE
    else:
        raise SettingsError(
            f"There is nowhere to write the index: the model {name!r} is none of your own. Say "
            f"where with --out, for example --out {INDEX_FILE}."
        )
    if path.is_dir():
        raise OutputExistsError(f"'{path}' is a folder. Give a file with --out.")
    if path.suffix != ".safetensors":
        raise SettingsError(
            f"The index is a safetensors file, and '{path}' is named otherwise. Name it "
            f"'{path.with_suffix('.safetensors').name}'."
        )
    if path.exists() and not settings.overwrite:
        raise OutputExistsError(
            f"The index '{path}' exists. Choose another with --out, or replace it with --overwrite."
        )
    return path


def _of_pairs(
    settings: IndexSettings, notes: list[str], on_progress: Progress | None
) -> TrainingIndex:
    """Return the index of the fields of a pairs file."""
    from napari_virtualstain.datasets.pairs import pair_up
    from napari_virtualstain.intensity import Rule
    from napari_virtualstain.jobs.training_pairs import open_pairs_file
    from napari_virtualstain.zoo import load_generator

    model = load_generator(settings.model)
    card = model.card
    if card.volume is not None:
        raise SettingsError(
            "A pairs file is of planes, and this model is over stacks. Give the stacks themselves."
        )
    light = () if settings.illumination is None else (settings.illumination,)
    z = settings.z if isinstance(settings.z, tuple) else None
    asked = PairSettings(
        pairs=settings.input, z=z, pixel_size=settings.pixel_size, illumination=light
    )
    data = open_pairs_file(asked, name=card.name)
    notes += data.notes
    if data.fields and data.fields[0].planes.shape[0] != len(card.inputs):
        raise ModelPackageError(
            f"The model takes {plural(len(card.inputs), 'plane')}, and these pairs have "
            f"{data.fields[0].planes.shape[0]}. Choose as many with --z."
        )
    held = [n for n, what in enumerate(data.sets or ()) if what == "validation"]
    teach = [n for n in range(len(data.fields)) if n not in held]
    rule = Rule(kind="zscore", clip_sd=None)
    typical = [plane.typical_contrast for plane in card.inputs]
    with dask.config.set(scheduler="synchronous"):
        sets = [
            pair_up(
                [data.fields[n] for n in part], input_rule=card.input_rule, output_rule=rule,
                stain_names=data.stains, typical_contrast=typical,
            )
            for part in (teach, held)
            if part
        ]  # fmt: skip
        return index_of_pairs(
            model.generator, sets[0], sets[1] if held else None, name=card.name,
            weights=weights_file(card), stains=data.stains, alarms=settings.alarms,
            pictures=settings.pictures, on_field=_told(on_progress),
        )  # fmt: skip


def _told(on_progress: Progress | None) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(done, total, "fields read")

    return tell


def _of_images(
    settings: IndexSettings, notes: list[str], on_progress: Progress | None
) -> TrainingIndex:
    """Return the index of the time points of images."""
    out = settings.out or str(Path(settings.input).parent / ".no-report")
    images = listed_images(
        settings.input, scene=settings.scene, axes=settings.axes, pattern=settings.pattern, out=out
    )
    truths: dict[tuple[str, str], ListedImage] = {}
    if settings.target is not None:
        targets = listed_images(settings.target, scene=None, axes=None, pattern=None, out=out)
        pairs, said = pair_fields(images, targets)
        notes += said
        truths = {pair.prediction.key: pair.truth for pair in pairs}
    chosen = [images[n] for n in spread_over(len(images), 64)]
    if len(chosen) < len(images):
        notes.append(f"{len(chosen)} of {len(images)} images are looked at, spread over all")
    fields: list[FieldPatches] = []
    left_out: list[str] = []
    first: VirtualStainError | None = None
    seen = _Images(settings)
    for number, one in enumerate(chosen):
        if on_progress is not None:
            on_progress(number, len(chosen), "images read")
        try:
            fields += list(seen.fields(one, truths.get(one.key)))
        except VirtualStainError as error:
            first = first or error
            left_out.append(f"{one.name}: {error}")
    if on_progress is not None:
        on_progress(len(chosen), len(chosen), "images read")
    if not fields and first is not None:
        raise first
    if left_out:
        notes.append(f"{plural(len(left_out), 'image')} left out; the first, {left_out[0]}")
    notes += seen.notes
    pictured = all(one.stain is not None for one in fields)
    model = seen.model
    return fit_index(
        fields, model=model.card.name, weights=weights_file(model.card), layer=seen.layer,
        patch=seen.patch, stain_name=seen.stain if pictured else "", alarms=settings.alarms,
    )  # fmt: skip


class _Images:
    """Reads images one after the other, with the network of the model, which is loaded once."""

    model: Model
    layer: str
    patch: tuple[int, ...]
    stain: str = ""

    def __init__(self, settings: IndexSettings) -> None:
        self._settings = settings
        self._readers: dict[str, Any] = {}
        self.notes: list[str] = []

    def fields(self, one: ListedImage, truth: ListedImage | None) -> Iterator[FieldPatches]:
        """Yield the time points of an image."""
        settings = self._settings
        image = one.scene.open()
        values = {
            name: getattr(settings, name)
            for name in (*PictureSettings.model_fields, "resample")
        }  # fmt: skip
        asked = InputSettings.model_validate({**values, "scene": None})
        seen = see_field(asked, image, known=self._readers)
        self.model, self.layer, self.patch = seen.model, seen.reader.layer, seen.reader.shape
        limits = {f"model {seen.model.card.name!r}: {limit}" for limit in seen.model.card.limits}
        self.notes += [note for note in seen.notes if note not in limits]
        stains = None if truth is None or seen.ratios is not None else truth.scene.open()
        channel = "" if stains is None else self._channel(stains)
        for t in range(image.shape[0]):

            def read(
                region: Region, t: int = t
            ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
                truth = None if stains is None else _true(stains, channel, t, region)
                return seen.read(t, region), truth

            name = short_name(one.name if image.shape[0] == 1 else f"{one.name} t{t}")
            group = "/".join(part for part in (one.place.plate, one.place.well) if part)
            yield patches_of_field(
                name, seen.grid, read, seen.reader, group=group or one.name,
                pictures=settings.pictures,
            )  # fmt: skip

    def _channel(self, stains: LazyImage) -> str:
        if not self.stain:
            self.stain = stains.channel_names[shown_stain(stains.channel_names)]
        return self.stain


def _true(stains: LazyImage, channel: str, t: int, region: Region) -> NDArray[np.float32]:
    """Return the middle plane of a stain."""
    c, z = stains.channel_index(channel), stains.shape[2] // 2
    pixels = stains.data[min(t, stains.shape[0] - 1), c, z][region].compute(scheduler="synchronous")
    return np.asarray(pixels, np.float32)
