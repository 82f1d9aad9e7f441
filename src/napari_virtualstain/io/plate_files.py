"""Measurements that come with an index, a table or a pattern, as images.

An index may be that of a whole plate of which somebody copied a few wells: of
fields without any file nothing is shown. Of a field that has some of its
files, the others are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.io.claims import PHENIX_INDEX, find_table
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.layouts.allen import is_allen, read_allen
from napari_virtualstain.io.layouts.base import FolderPlan
from napari_virtualstain.io.layouts.cellprofiler import is_loaddata, read_loaddata
from napari_virtualstain.io.layouts.cv8000 import MLF, read_cv8000
from napari_virtualstain.io.layouts.harmony import read_index
from napari_virtualstain.io.layouts.imagexpress import read_imagexpress
from napari_virtualstain.io.layouts.index_cache import remembered_plan
from napari_virtualstain.io.layouts.manifest import WholeFile, read_manifest
from napari_virtualstain.io.layouts.pattern import pattern_plan
from napari_virtualstain.io.layouts.tables import read_table
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.open import find_opener
from napari_virtualstain.io.plane_grid import names_in
from napari_virtualstain.io.plane_image import scenes_of
from napari_virtualstain.io.scene import Scene, choose_scene

__all__ = [
    "cv8000_scenes",
    "harmony_scenes",
    "imagexpress_scenes",
    "pattern_scenes",
    "table_scenes",
]


def harmony_scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the fields of an Opera Phenix or Operetta measurement, as ``"A01/f01"``."""
    places = [path] if path.is_file() else []
    places += [path / sub / name for sub in ("", "images", "Images") for name in PHENIX_INDEX]
    index = next(place for place in places if place.is_file())
    return _indexed(path, index, remembered_plan(index, read_index), "harmony")


def cv8000_scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the fields of a Yokogawa measurement, as ``"D08/f01"``."""
    if path.is_file():
        path = path.parent
    index = next(
        file
        for file in (path / MLF, *(entry / MLF for entry in sorted(path.iterdir())))
        if file.is_file()
    )
    return _indexed(path, index, read_cv8000(index), "cv8000")


def imagexpress_scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the sites of an ImageXpress plate, as ``"B02/s1"``."""
    plan = read_imagexpress(path)
    return scenes_of(path, plan, plan.planes, "imagexpress", keep_name=True)


def _indexed(path: Path, index: Path, plan: FolderPlan, kind: str) -> list[Scene]:
    """Return the fields of which some file lies beside the index."""
    there = names_in(index.parent)
    here = {p.scene for p in plan.planes if p.path is not None and p.path.name in there}
    if not here:
        first = next((p.path.name for p in plan.planes if p.path is not None), "")
        raise ImageFileError(
            f"{str(index)!r} lists {len(plan.planes)} files, of which none is in the folder. "
            f"Put the images beside it, for example {first!r}."
        )
    planes = [plane for plane in plan.planes if plane.scene in here]
    return scenes_of(path, plan, planes, kind, keep_name=True)


def pattern_scenes(path: Path, pattern: str) -> list[Scene]:
    """Return the images of a folder whose files follow a pattern.

    Raises
    ------
    ImageFileError
        If it is no folder.
    """
    if not path.is_dir():
        raise ImageFileError(
            f"{str(path)!r} is a file; a pattern tells the files of a folder apart. "
            "Open its folder, or leave --pattern out."
        )
    plan = pattern_plan(path, pattern)
    return scenes_of(path, plan, plan.planes, "pattern", keep_name=False)


def table_scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images that a table names: a manifest, LoadData, BBBC021, Allen hiPSC."""
    file = find_table(path)
    assert file is not None  # the opener claimed it
    table = read_table(file)
    if is_allen(table.columns):
        return [_whole(file, one, "allen", axes) for one in read_allen(table)]
    if is_loaddata(table.columns):
        plan = read_loaddata(table)
        return scenes_of(path, plan, plan.planes, "loaddata", keep_name=True)
    plan, whole = read_manifest(table)
    found = scenes_of(path, plan, plan.planes, "manifest", keep_name=True) if plan.planes else []
    return [*found, *(_whole(file, one, "manifest", axes, plan.guesses) for one in whole)]


def _whole(
    table: Path, one: WholeFile, kind: str, axes: str | None, guesses: Sequence[str] = ()
) -> Scene:
    return Scene(
        name=one.scene,
        kind=kind,
        load=partial(_open_whole, table, one, kind, axes, tuple(guesses)),
        place=one.place,
    )


def _open_whole(
    table: Path, one: WholeFile, kind: str, axes: str | None, guesses: tuple[str, ...]
) -> LazyImage:
    """Open a file that is an image by itself, under the names that the table has."""
    inner = find_opener(one.path).scenes(one.path, axes)
    image = choose_scene(inner, where=str(one.path))
    # Whoever opens it again needs the table, which has the names.
    source = replace(image.source, path=str(table), kind=kind, scene=one.scene)
    return replace(_renamed(image, dict(one.names)), source=source).with_guesses(guesses)


def _renamed(image: LazyImage, names: Mapping[str, str]) -> LazyImage:
    """Name channels by their number or old name; a name that another has already is not given."""
    channels = list(image.channels)
    taken = {channel.name for channel in channels}
    for index, channel in enumerate(channels):
        new = names.get(str(index)) or names.get(channel.name.casefold())
        if new and new not in taken:
            taken.add(new)
            says = modality_of(new)
            modality = channel.modality if says == "unknown" else says
            channels[index] = replace(channel, name=new, modality=modality)
    return replace(image, channels=tuple(channels))
