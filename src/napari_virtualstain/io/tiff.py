"""TIFF, BigTIFF, OME-TIFF, ImageJ hyperstacks and LSM, read strip by strip.

The file stays open as long as its pixels are needed, and is closed when the
last array over it goes. Uncompressed files are mapped into memory, since a
single strip of theirs may be as large as the file.
"""

from __future__ import annotations

import math
import struct
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.io.fingerprint import fingerprint
from napari_virtualstain.io.image import LazyImage, Source
from napari_virtualstain.io.lsm import PLACES, lsm_facts, positions_of
from napari_virtualstain.io.ome_set import (
    lost_planes,
    members,
    set_facts,
)
from napari_virtualstain.io.pixels import (
    DAMAGE,
    WANTED_CHUNK,
    arrange,
    lazy,
    name_channels,
    one_line,
)
from napari_virtualstain.io.scene import Scene, listed
from napari_virtualstain.io.tiff_file import check_tiff, damaged, open_tiff, overheard
from napari_virtualstain.io.tiff_metadata import (
    TiffFacts,
    imagej_facts,
    metaseries_facts,
    resolution_facts,
)

__all__ = ["facts_of", "scenes"]

MOST_LOST = 100_000
"""Planes of a set that may lack; a header that announces more is wrong."""


def scenes(path: Path, axes: str | None = None) -> list[Scene]:
    """Return the images of a TIFF: one a series.

    Parameters
    ----------
    path
        The file.
    axes
        Axes that the user gave for files which do not say.

    Raises
    ------
    ImageFileError
        If it is not a TIFF, is damaged or is cut short.
    """
    with overheard() as said:
        tif = open_tiff(path)
        try:
            check_tiff(path, tif, said)
            # The second series of an LSM holds the thumbnails.
            found = list(tif.series)[: 1 if tif.is_lsm else None]
            names = [str(series.name or "") for series in found]
            places = (
                [positions_of(str(s.axes).lower(), s.shape) for s in found] if (tif.is_lsm) else []
            )
            kind = _kind(tif)
            files = _files_of(path, tif)
        except VirtualStainError:
            raise
        except (*DAMAGE, struct.error) as error:
            raise damaged(path, one_line(error)) from error
        finally:
            tif.close()
    if not names:
        raise damaged(path, "it holds no image")
    if len(names) == 1:
        names = [""]
    elif len(set(names)) != len(names) or not all(names):
        names = [f"series-{i}" if not n else f"{n}-{i}" for i, n in enumerate(names)]
    if places:
        return [
            Scene(name=name, kind=kind, load=partial(_load, path, 0, name, kind, axes, place))
            for place, name in places[0]
        ]
    return [
        Scene(name=name, kind=kind, load=partial(_load, path, index, name, kind, axes), files=files)
        for index, name in enumerate(names)
    ]


def _kind(tif: Any) -> str:
    kinds = {"lsm": tif.is_lsm, "ome-tiff": tif.is_ome, "imagej-tiff": tif.is_imagej}
    return next((kind for kind, fits in kinds.items() if fits), "tiff")


def _close(store: Any, tif: Any) -> None:
    if store is not None:
        store.close()
    tif.close()


class _Series:
    """An open series; pickled as its place, so that another process opens it anew."""

    def __init__(self, path: Path, index: int) -> None:
        self._place = (path, index)
        with overheard():
            tif = open_tiff(path)
            try:
                self._start(path, tif, index)
            except BaseException:
                tif.close()
                raise

    def _start(self, path: Path, tif: Any, index: int) -> None:
        import zarr

        series = tif.series[index]
        self.letters = str(series.axes).lower()
        self.dtype = np.dtype(series.dtype)
        self.shape = tuple(int(n) for n in series.shape)
        self.facts = _facts(tif, index)
        self.files = _files_of(path, tif)
        self.lost = lost_planes(series) if tif.is_ome else None
        if self.lost is not None and np.count_nonzero(self.lost) > MOST_LOST:
            raise damaged(path, f"it lacks {np.count_nonzero(self.lost)} planes")
        # A set of files has no single offset, even if its pages seem to follow each other.
        holders = {page.parent for page in series.pages if page} if tif.is_ome else {tif}
        if series.dataoffset is not None and len(holders) == 1:
            holder = holders.pop()  # of several scenes, one may be in another file
            self._array: Any = np.memmap(
                holder.filehandle.path,
                dtype=np.dtype(holder.byteorder + self.dtype.char),
                mode="r",
                offset=series.dataoffset,
                shape=self.shape,
            )
            lengths = {"y": WANTED_CHUNK, "x": WANTED_CHUNK, "s": 16}
            self.chunks = tuple(lengths.get(letter, 1) for letter in self.letters)
            tif.close()
            return
        fill = np.nan if self.dtype.kind == "f" else 0
        store = series.aszarr(level=0, fillvalue=fill)
        self._array = zarr.open_array(store, mode="r")
        self.chunks = tuple(int(n) for n in self._array.chunks)
        weakref.finalize(self, _close, store, tif)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._place

    def __getitem__(self, region: Any) -> Any:
        with overheard():
            return np.asarray(self._array[region])


def _files_of(path: Path, tif: Any) -> tuple[Path, ...]:
    """Return the files that an image is read from: of most a single one."""
    if not tif.is_ome:
        return (path,)
    opened = Path(tif.filehandle.path)  # the first of a set, where another was named
    more = () if opened.samefile(path) else (opened,)
    return (path, *more, *members(path, str(tif.ome_metadata or "")))


def facts_of(path: Path) -> TiffFacts:
    """Return what the metadata of the first image of a TIFF say."""
    with overheard():
        tif = open_tiff(path)
        try:
            return _facts(tif, 0)
        except (*DAMAGE, struct.error) as error:
            raise damaged(path, one_line(error)) from error
        finally:
            tif.close()


def _facts(tif: Any, index: int) -> TiffFacts:
    """Ask the dialects that the file speaks; what the first leaves open the tags may tell."""
    series = tif.series[index]
    page = series.keyframe
    resolution = (_ratio(page, "XResolution"), _ratio(page, "YResolution"))
    unit = page.tags.get("ResolutionUnit")
    facts = TiffFacts()
    if tif.is_ome:
        try:
            facts = set_facts(str(tif.ome_metadata or ""), tif.series, index)
        except SyntaxError:  # ElementTree.ParseError is one
            facts = TiffFacts(guesses=("The OME-XML of the file is damaged and was not used.",))
    elif tif.is_imagej:
        n_channels = dict(zip(series.axes, series.shape, strict=True)).get("C", 1)
        facts = imagej_facts(tif.imagej_metadata or {}, resolution, n_channels)
    elif tif.is_lsm:
        n_channels = dict(zip(series.axes, series.shape, strict=True)).get("C", 1)
        facts = lsm_facts(tif.lsm_metadata or {}, n_channels)
    elif tif.is_metaseries:
        try:
            facts = metaseries_facts(tif.metaseries_metadata or {})
        except SyntaxError:
            facts = TiffFacts(guesses=("The XML of the file is damaged and was not used.",))
    if facts.pixel_size_um.yx is None:
        tags = resolution_facts(resolution, 0 if unit is None else int(unit.value))
        size = replace(tags.pixel_size_um, z=facts.pixel_size_um.z)
        facts = replace(facts, pixel_size_um=size, guesses=facts.guesses + tags.guesses)
    return facts


def _ratio(page: Any, tag: str) -> float:
    """Return the value of a resolution tag, 0 when it is missing or malformed."""
    value = page.tags.get(tag)
    try:
        numerator, denominator = value.value
        return float(numerator) / float(denominator)
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):
        return 0.0


def _load(
    path: Path, index: int, name: str, kind: str, axes: str | None, place: tuple[int, ...] = ()
) -> LazyImage:
    """Open one series as an image, or one place of a series that holds several."""
    try:
        series = _Series(path, index)
    except VirtualStainError:
        raise
    except (*DAMAGE, struct.error) as error:
        raise damaged(path, one_line(error)) from error
    facts = series.facts
    where = str(path)
    grow = tuple(i for i, letter in enumerate(series.letters) if letter in "yx")
    data, letters = (
        lazy(series, series.chunks, where=where, part=str(index), grow=grow),
        (series.letters),
    )
    if place:
        at = iter(place)
        data = data[tuple(next(at) if a in PLACES else slice(None) for a in letters)]
        letters = "".join(a for a in letters if a not in PLACES)
    data, true_axes, samples = arrange(
        data,
        letters,
        where=path.name,
        stated=axes,
    )
    guesses = list(facts.guesses)
    missing = _missing(series, axes, path, guesses)
    data, channels = name_channels(data, samples, facts.channels, path.stem, guesses)
    return LazyImage(
        data=data,
        channels=channels,
        pixel_size_um=facts.pixel_size_um,
        axes=true_axes,
        time_interval_s=facts.time_interval_s,
        na=facts.na,
        source=Source(
            path=where,
            kind=kind,
            scene=name,
            # Files that could not be read are watched too: they may be copied again.
            identify=partial(fingerprint, series.files, root=path.parent),
        ),
        guesses=tuple(guesses),
        missing=missing,
    )


def _missing(
    series: _Series, axes: str | None, path: Path, guesses: list[str]
) -> tuple[tuple[int, int, int], ...]:
    """Return the planes (t, c, z) without a page, and say so."""
    if series.lost is None:
        return ()
    known, _, samples = arrange(
        da.from_array(series.lost), series.letters, where=path.name, stated=axes
    )
    known, _ = name_channels(known, samples, (), "", [])
    lost = np.argwhere(known[..., 0, 0].compute(scheduler="synchronous"))
    away = [file.name for file in series.files if not file.is_file()]
    if away:
        what = "file is" if len(away) == 1 else "files are"
        why = f"{len(away)} {what} not there ({listed(away, 3)}). Put all files into one folder."
    else:
        why = "no file of the set holds them, or it cannot be read."
    are = "plane is" if len(lost) == 1 else "planes are"
    guesses.append(f"{len(lost)} of {math.prod(known.shape[:3])} {are} missing, not dark: {why}")
    return tuple((int(t), int(c), int(z)) for t, c, z in lost)
