"""Give an image, a stain or a plate to other programs and to paper.

One image becomes OME-Zarr, OME-TIFF or PNG; all images of a plate become TIFFs with a table of
them, as CellProfiler wants them.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.errors import ChannelError, OutputExistsError, SettingsError
from napari_virtualstain.io.disk import check_output
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.plate import Place
from napari_virtualstain.io.remote import is_remote, located
from napari_virtualstain.io.save import ImagePicture, write_ome_zarr
from napari_virtualstain.io.save_loaddata import write_loaddata
from napari_virtualstain.io.save_png import Shown, write_png
from napari_virtualstain.io.save_tiff import check_tiff_output, write_ome_tiff
from napari_virtualstain.io.scene import Scene, is_like, listed
from napari_virtualstain.jobs.base import JobSettings, PathText, Plane, Progress, TimePoint
from napari_virtualstain.jobs.batch_file import load_state
from napari_virtualstain.jobs.batch_items import stem_of
from napari_virtualstain.jobs.focus import FocusSettings
from napari_virtualstain.jobs.focus import run as focus
from napari_virtualstain.jobs.measured_trust import TRUST_COLUMNS, read_trust
from napari_virtualstain.jobs.picture import Planes
from napari_virtualstain.jobs.ready import focus_words
from napari_virtualstain.words import plural

__all__ = ["ExportResult", "ExportSettings", "run"]

KINDS = {
    ".zarr": "ome-zarr",
    ".tif": "ome-tiff",
    ".tiff": "ome-tiff",
    ".png": "png",
    ".csv": "loaddata",
}


class ExportSettings(JobSettings):
    """Settings of `virtualstain export`."""

    input: PathText = Field(description="image file or folder, for example a stain")
    out: PathText = Field(
        description="file to write; its ending says what: .ome.zarr, .ome.tif, .png, or .csv for a "
        "LoadData table with TIFFs of all images beside it"
    )
    scene: str | None = Field(
        default=None,
        description="which image, if the input holds several (see `info`); for a table those whose "
        "name is like this, for example B0?/*, several by commas",
    )
    channels: tuple[str, ...] | None = Field(
        default=None, description="names of the channels, in their order; all if not given"
    )
    axes: str | None = Field(default=None, description="axes of the file, if it does not say")
    pattern: str | None = Field(
        default=None,
        description="how the files of a folder are named, for example "
        "{well}_{site}_z{z}_{channel}.tif",
    )
    pixel_size: float | None = Field(
        default=None, gt=0, description="pixel size in µm, if the file does not say or is wrong"
    )
    planes: Planes = Field(
        default=None,
        description="only these z planes, from 0, for example 3,4,5; or focus: those in focus (see "
        "`focus`), without a gap",
    )
    t: TimePoint = Field(default=0, description="time point of a PNG")
    z: Plane = Field(default=0, description="z plane of a PNG, among those that are kept")
    limits: tuple[str, ...] | None = Field(
        default=None,
        description="grey values that are black and full colour in a PNG, by channel, for example "
        "DNA=100:4000; the 0.2 and 99.8 percentile of the plane if not given",
    )
    qc: PathText | None = Field(
        default=None,
        description="report of `virtualstain qc` on the same input: what it says is put into the "
        "table, or the metadata of a TIFF or PNG",
    )
    scale_bar: bool = Field(default=True, description="draw a scale bar into a PNG")
    overwrite: bool = Field(default=False, description="replace the output if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What was written.

    Parameters
    ----------
    out
        Where.
    kind
        ``"ome-zarr"``, ``"ome-tiff"``, ``"png"`` or ``"loaddata"``.
    seconds
        That it took.
    shown
        Of a PNG: limits, colours and scale bar.
    notes
        Sentences about what was guessed, or could not be kept.
    """

    out: Path
    kind: str
    seconds: float
    shown: Shown | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "out": str(self.out),
            "kind": self.kind,
            "seconds": round(self.seconds, 2),
            "shown": None if self.shown is None else asdict(self.shown),
            "notes": list(self.notes),
        }


def run(settings: ExportSettings, *, on_progress: Progress | None = None) -> ExportResult:
    """Write an image in another form.

    Raises
    ------
    VirtualStainError
        If input and output do not fit; the sentence says what to do.
    """
    began = time.monotonic()
    out = Path(settings.out)
    kind = _kind(out)
    if kind == "loaddata":
        return _run_table(settings, out, began, on_progress)
    image = open_image(
        settings.input,
        scene=settings.scene,
        channels=settings.channels,
        axes=settings.axes,
        pixel_size_um=settings.pixel_size,
        pattern=settings.pattern,
    )
    image, words = _kept(settings, image)
    _check(settings, out, kind, image)
    picture, notes, shown = ImagePicture(image), list(dict.fromkeys([*image.guesses, *words])), None
    about = _about(settings, image, kind)
    notes += [f"{about}."] if about else []

    def tell(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(done, total, "parts written")

    if kind == "ome-zarr":
        write_ome_zarr(str(out), picture, overwrite=settings.overwrite, on_block=tell)
    elif kind == "ome-tiff":
        write_ome_tiff(out, picture, on_tile=tell, about=about)
        if any(image.origin_um):
            notes.append("OME-TIFF has no place for where the image lies; it was not kept.")
    else:
        shown = write_png(
            out, picture, t=settings.t, z=settings.z, limits=_limits(settings, image),
            bar=settings.scale_bar, about=about,
        )  # fmt: skip
        if settings.scale_bar and shown.bar_um is None:
            known = image.pixel_size_um.x is not None
            notes.append(
                "There is no scale bar: the picture is too small for one."
                if known
                else "There is no scale bar: the pixel size is not known; state it with "
                "--pixel-size."
            )
    return ExportResult(
        out=out, kind=kind, seconds=time.monotonic() - began, shown=shown, notes=tuple(notes)
    )


def _run_table(
    settings: ExportSettings, out: Path, began: float, on_progress: Progress | None
) -> ExportResult:
    """Write all images that are meant, and the table of them."""
    _check_apart(settings, out)
    scenes = _scenes(settings)
    wanted = [s for s in scenes if settings.scene is None or is_like(s.name, settings.scene)]
    if not wanted:
        raise SettingsError(
            f"No image is named like {settings.scene!r}; there are "
            f"{listed([scene.name for scene in scenes])}. Choose others with --scene."
        )
    if settings.pixel_size is not None:
        raise SettingsError(
            "The pixel size of many images is not stated at once. Leave out --pixel-size."
        )

    def tell(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(done, total, "fields written")

    trust = None if settings.qc is None else read_trust(settings.qc)
    root = Path(settings.input).name

    def about(scene: Scene, t: int) -> dict[str, str]:
        said = () if trust is None else trust.of((root, scene.name), t)
        return dict(zip(TRUST_COLUMNS, said, strict=False))

    written = write_loaddata(
        out, wanted, channels=settings.channels, overwrite=settings.overwrite, on_field=tell,
        about=about,
    )  # fmt: skip
    rows, files = plural(written.rows, "row"), plural(written.files, "TIFF")
    notes = [f"{rows} for {files} in '{out.parent}'."]
    if written.missing:
        notes.append(
            f"{written.missing} planes are missing: their cells are empty, and CellProfiler stops "
            "there; leave those rows out."
        )
    return ExportResult(
        out=out, kind="loaddata", seconds=time.monotonic() - began, shown=None, notes=tuple(notes)
    )


def _about(settings: ExportSettings, image: LazyImage, kind: str) -> str:
    """Return what quality control said of an image, ``""`` if that was not asked for."""
    if settings.qc is None:
        return ""
    if kind == "ome-zarr":
        raise SettingsError(
            "An OME-Zarr keeps its decisions beside it. Leave out --qc, or write another kind."
        )
    trust, key = read_trust(settings.qc), (Path(settings.input).name, image.source.scene)
    times = [settings.t] if kind == "png" else range(image.shape[0])
    if not any(trust.knows(key, t) for t in times):
        raise SettingsError(
            f"The report in --qc says nothing of {'/'.join(part for part in key if part)!r}. Name "
            "the report of this very image or plate."
        )
    return trust.words(key, times)


def _scenes(settings: ExportSettings) -> list[Scene]:
    """Return the images of the input, as far as possible with plate, well and site.

    Stains of a batch lie where their inputs do, so that both tables can be joined; a plate without
    a name goes by that of its file.
    """
    found = list_scenes(settings.input, axes=settings.axes, pattern=settings.pattern)
    source = located(settings.input)
    batch = None if is_remote(source) else load_state(source)
    stained = {item.out: item for item in (() if batch is None else batch.items) if item.well}
    placed = []
    for scene in found:
        item, place = stained.get(scene.name), scene.place
        if item is not None:
            place = Place(
                plate=item.plate or stem_of(Path(item.input)), well=item.well, site=item.site
            )
        elif place is not None and place.well and not place.plate:
            place = replace(place, plate=stem_of(source))
        placed.append(replace(scene, place=place))
    return placed


def _kept(settings: ExportSettings, image: LazyImage) -> tuple[LazyImage, list[str]]:
    """Return an image of the planes that are asked for, and what was found of their focus."""
    if settings.planes is None:
        return image, []
    if settings.planes != "focus":
        return image.select(z=settings.planes), []
    asked = FocusSettings(input=settings.input, t=min(settings.t, image.shape[0] - 1))
    found = focus(asked, image=image)
    kept = range(found.range.start, found.range.stop)
    words = f"z planes {kept[0]} to {kept[-1]} are in focus: {focus_words(found.range.best)}"
    return image.select(z=kept), [words, *found.notes]


def _kind(out: Path) -> str:
    kind = KINDS.get(out.suffix.lower())
    if kind is None:
        raise SettingsError(
            f"The ending {out.suffix!r} of the output is none of .ome.zarr, .ome.tif, .png and "
            ".csv. "
            f"Name it for example '{out.with_suffix('.ome.tif').name}' with --out."
        )
    return kind


def _check(settings: ExportSettings, out: Path, kind: str, image: LazyImage) -> None:
    if kind == "ome-zarr":
        check_output(out, [settings.input], overwrite=settings.overwrite)
        return
    if kind == "ome-tiff":
        check_tiff_output(out, ImagePicture(image).dtype)
    _check_apart(settings, out)
    for name, index, length in (("time point", settings.t, 0), ("z plane", settings.z, 2)):
        if kind == "png" and index >= image.shape[length]:
            option = "--t" if length == 0 else "--z"
            raise SettingsError(
                f"There is no {name} {index}: the image has {image.shape[length]}, from 0. "
                f"Choose another with {option}."
            )


def _check_apart(settings: ExportSettings, out: Path) -> None:
    """Refuse an output that is there, or that is the input."""
    if not is_remote(settings.input):
        source, there = Path(settings.input).resolve(), out.resolve()
        if there == source or source in there.parents:
            raise SettingsError(
                f"The output '{out}' is the input itself, or lies in it. Choose another --out."
            )
    if out.exists() and not settings.overwrite:
        raise OutputExistsError(
            f"'{out}' exists. Choose another --out, or add --overwrite to replace it."
        )


def _limits(settings: ExportSettings, image: LazyImage) -> dict[str, tuple[float, float]]:
    """Read ``DNA=100:4000`` and the like."""
    found = {}
    for text in settings.limits or ():
        name, equals, values = text.rpartition("=")
        low, colon, high = values.partition(":")
        try:
            pair = (float(low), float(high))
        except ValueError:
            pair = (0.0, 0.0)
        if not (equals and colon) or not pair[0] < pair[1]:
            raise SettingsError(
                f"The limits {text!r} are not understood. Give a channel and two grey values, the "
                "lower one first, for example --limits DNA=100:4000."
            )
        try:
            found[image.channel_names[image.channel_index(name)]] = pair
        except ChannelError as error:
            raise SettingsError(str(error)) from error
    return found
