"""How is each plane of a plate lit? Functions fitted on a sample of its fields, in one file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from napari_virtualstain.errors import (
    ChannelError,
    OutputExistsError,
    SettingsError,
)
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress
from napari_virtualstain.jobs.illumination_sample import (
    Seen,
    only_alike,
    sample_fields,
    scenes_of,
)
from napari_virtualstain.preprocessing.illumination import IlluminationSettings as FitSettings
from napari_virtualstain.preprocessing.illumination_fit import IlluminationAccumulator
from napari_virtualstain.preprocessing.illumination_set import (
    FittedOn,
    IlluminationSet,
    PlaneLight,
)

__all__ = ["IlluminationResult", "IlluminationSettings", "run"]


class IlluminationSettings(JobSettings):
    """Settings of `virtualstain illumination`."""

    input: PathText = Field(
        description="plate, file with several images, or folder of images, all under the same light"
    )
    out: PathText = Field(description="file to write, for example plate1_light.json")
    scene: str | None = Field(
        default=None,
        description="only images whose name is like this, for example B0?/f01 (see `info`); "
        "several by commas",
    )
    channels: tuple[str, ...] | None = Field(
        default=None, description="names of the channels; those of transmitted light if not given"
    )
    z: tuple[Plane, ...] | None = Field(
        default=None, description="only these z planes, from 0; all if not given"
    )
    fields: int = Field(default=32, ge=1, description="fields that are read, if there are more")
    seed: int = Field(default=0, ge=0, description="of the choice among the fields")
    smoothing: Literal["median", "gaussian"] = Field(
        default="median", description="filter over the mean of the fields"
    )
    filter_px: float | None = Field(
        default=None,
        gt=0,
        description="its size in pixels; a quarter of the longer side of the field if not given",
    )
    level: Literal["median", "minimum"] = Field(
        default="median",
        description="place where the function is 1: median keeps the level of grey values, minimum "
        "is that of CellProfiler",
    )
    dark: float = Field(default=0.0, description="grey value of the camera without light")
    axes: str | None = Field(default=None, description="axes of the files, if they do not say")
    pattern: str | None = Field(
        default=None,
        description="how the files of a folder are named, for example "
        "{well}_{site}_z{z}_{channel}.tif",
    )
    overwrite: bool = Field(default=False, description="replace the output if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class IlluminationResult:
    """What was fitted.

    Parameters
    ----------
    out
        The file.
    functions
        What is in it.
    seconds
        That it took.
    notes
        What makes it doubtful, and what was left out; one sentence each.
    """

    out: Path
    functions: IlluminationSet
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        fitted = self.functions.fitted_on
        return {
            "out": str(self.out),
            "fingerprint": self.functions.fingerprint,
            "planes": [
                {
                    "channel": plane.channel,
                    "z": plane.z,
                    "shape_yx": list(plane.function.shape),
                    "fields": plane.function.fields,
                    "unevenness_percent": round(plane.function.unevenness_percent, 3),
                    "uncertainty_percent": _rounded(plane.function.uncertainty_percent),
                }
                for plane in self.functions.planes
            ],
            "fitted_on": None if fitted is None else fitted.model_dump(mode="json"),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """Return the same for people."""
        names = [plane.channel or "" for plane in self.functions.planes]
        wide = max(len("channel"), *map(len, names))
        lines = [f"{'channel':<{wide}}   z  fields  unevenness  uncertainty"]
        for name, plane in zip(names, self.functions.planes, strict=True):
            function = plane.function
            sure = function.uncertainty_percent
            lines.append(
                f"{name:<{wide}}  {plane.z!s:>2}  {function.fields:>6}  "
                f"{function.unevenness_percent:>8.1f} %  "
                + ("not known" if sure is None else f"{sure:>9.1f} %")
            )
        return "\n".join([*lines, f"wrote {self.out}"])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def run(
    settings: IlluminationSettings, *, on_progress: Progress | None = None
) -> IlluminationResult:
    """Fit the illumination functions of a plate on a sample of its fields, and save them.

    One plane is in memory at a time, beside the sums over its fields.

    Parameters
    ----------
    settings
        Which images, and how.
    on_progress
        Told of planes read. What it raises ends the run.

    Raises
    ------
    VirtualStainError
        If there is nothing to fit, or the file cannot be written.
    """
    began = time.monotonic()
    out = Path(settings.out)
    _check_output(out, settings)
    scenes, plate, others = scenes_of(settings)
    sample, of, left_out = sample_fields(scenes, settings)
    sample, more = only_alike(sample, settings)
    channels = _channels(sample[0].image, settings)
    depth = sample[0].image.shape[2]
    planes = settings.z if settings.z is not None else tuple(range(depth))
    sample[0].image.select(z=planes)  # says so if one is not there
    total, done = len(channels) * len(planes) * len(sample), 0
    fitted: list[PlaneLight] = []
    for channel in channels:
        for z in planes:
            gather = IlluminationAccumulator(_fit_settings(settings))
            for seen in sample:
                if on_progress is not None:
                    on_progress(done, total, "planes read")
                _add(gather, seen, channel, z)
                done += 1
            fitted.append(PlaneLight(channel=channel, z=z, function=gather.result()))
    if on_progress is not None:
        on_progress(total, total, "planes read")
    functions = IlluminationSet(
        planes=tuple(fitted),
        fitted_on=FittedOn(
            input=settings.input, plate=plate, fields=tuple(seen.name for seen in sample), of=of,
            seed=settings.seed,
        ),
    )  # fmt: skip
    functions.save(out)
    return IlluminationResult(
        out=out, functions=functions, seconds=time.monotonic() - began,
        notes=tuple(_notes(fitted, others, [*left_out, *more])),
    )  # fmt: skip


def _fit_settings(settings: IlluminationSettings) -> FitSettings:
    return FitSettings(
        smoothing=settings.smoothing, filter_px=settings.filter_px, level=settings.level,
        dark=settings.dark,
    )  # fmt: skip


def _check_output(out: Path, settings: IlluminationSettings) -> None:
    source, there = Path(settings.input).resolve(), out.resolve()
    if there == source or there.is_dir():
        raise SettingsError(f"'{out}' is the input itself, or a folder. Name a file with --out.")
    if there.exists() and not settings.overwrite:
        raise OutputExistsError(
            f"'{out}' exists. Choose another --out, or add --overwrite to replace it."
        )


def _channels(image: LazyImage, settings: IlluminationSettings) -> tuple[str, ...]:
    names = image.channel_names
    if settings.channels is not None:
        return tuple(names[image.channel_index(name)] for name in settings.channels)
    lit = tuple(c.name for c in image.channels if c.modality == "transmitted")
    if lit or len(names) == 1:
        return lit or names
    raise ChannelError(
        f"Which channels are of transmitted light cannot be told; there are {', '.join(names)}. "
        "Choose some with --channels."
    )


def _add(gather: IlluminationAccumulator, seen: Seen, channel: str, z: int) -> None:
    c = seen.image.channel_index(channel)
    if (seen.t, c, z) in seen.image.missing:
        return
    region = (slice(seen.t, seen.t + 1), slice(c, c + 1), slice(z, z + 1), slice(None), slice(None))
    gather.add(seen.image.read(region)[0, 0, 0])


def _notes(fitted: list[PlaneLight], others: tuple[str, ...], left_out: list[str]) -> Iterator[str]:
    if others:
        yield f"left out, since they are no images: {listed(others)}"
    if left_out:
        count = "1 field was" if len(left_out) == 1 else f"{len(left_out)} fields were"
        yield f"{count} left out; the first, {left_out[0]}"
    by_words: dict[str, list[str]] = {}
    for plane in fitted:
        for note in plane.function.notes:
            by_words.setdefault(note, []).append(f"{plane.channel} z {plane.z}")
    for words, where in by_words.items():
        of_all = len(where) == len(fitted)
        yield words if of_all else f"{', '.join(where)}: {words}"
