"""What the readers of microscope formats have in common.

A file is opened for each of its images and closed when the last array over it
goes. Pixels are read plane by plane, and of a plane no more than the region
that is asked for where the format allows it. Whatever a library raises at a
damaged file becomes one sentence here.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import ImageFileError, VirtualStainError, from_extra
from napari_virtualstain.io.fingerprint import fingerprint
from napari_virtualstain.io.image import Channel, LazyImage, Source
from napari_virtualstain.io.pixels import DAMAGE, arrange, lazy, name_channels, one_line
from napari_virtualstain.io.tiff_file import damaged

__all__ = [
    "BROKEN",
    "Facts",
    "PlaneReader",
    "check_beginning",
    "check_room",
    "image_of",
    "library",
    "one_sentence",
    "span",
    "unique_names",
]

BROKEN = (
    *DAMAGE,
    AttributeError,
    MemoryError,
    SyntaxError,  # ElementTree.ParseError is one
    struct.error,
    zlib.error,
)
"""What libraries raise at files whose bytes are not what they should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the metadata of one image say; empty where they are silent."""

    channels: tuple[Channel, ...] = ()
    pixel_size_um: PixelSize = field(default_factory=PixelSize)
    time_interval_s: float | None = None
    z_positions_um: tuple[float, ...] | None = None
    na: float | None = None
    guesses: tuple[str, ...] = ()
    missing: tuple[tuple[int, int, int], ...] = ()


def library(module: str, *, path: Path, extra: str) -> Any:
    """Import the library of a format.

    Raises
    ------
    MissingExtraError
        If it is not installed; names the extra.
    """
    needs = f"{str(path)!r} needs the extra [{extra}] to be read."
    return from_extra(module, extra=extra, needs=needs)


@contextmanager
def one_sentence(path: Path) -> Iterator[None]:
    """Turn what libraries raise at damaged files into a sentence about the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (VirtualStainError, FileNotFoundError, PermissionError):
        raise
    except BROKEN as error:
        raise damaged(path, one_line(error)) from error


def check_beginning(path: Path, magic: Sequence[bytes], maker: str) -> None:
    """Refuse files that are empty or begin unlike their kind.

    Raises
    ------
    ImageFileError
        If so.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(16)
    if not head:
        raise ImageFileError(f"{str(path)!r} is empty (0 bytes). Copy it again from its source.")
    if not head.startswith(tuple(magic)):
        raise ImageFileError(
            f"{str(path)!r} is not a file of {maker}: it begins with {head[:8]!r}. "
            "Check what it is, or copy it again from its source."
        )


def check_room(path: Path, stated: int, held: int) -> None:
    """Refuse an image whose stated size cannot be that of the bytes which hold it.

    Raises
    ------
    ImageFileError
        If `stated` bytes of pixels exceed the `held` ones.
    """
    if stated > held:
        raise damaged(path, f"it states {stated} bytes of pixels, but has room for {held}")


def unique_names(names: Iterable[str | None], what: str) -> list[str]:
    """Return names of scenes that differ: those missing are counted, those repeated numbered.

    Examples
    --------
    >>> unique_names(["A1", None, "A1"], "position")
    ['A1', 'position 2', 'A1 (2)']
    """
    found: list[str] = []
    for number, name in enumerate(names, start=1):
        base = " ".join((name or "").split()) or f"{what} {number}"
        unique, count = base, 1
        while unique in found:
            count += 1
            unique = f"{base} ({count})"
        found.append(unique)
    return found


def span(index: Any, length: int) -> tuple[int, int, Any]:
    """Return first and last + 1 of what an index needs, and the index within that.

    Examples
    --------
    >>> span(slice(2, 8, 3), 10), span(4, 10)
    ((2, 8, slice(None, None, 3)), (4, 5, 0))
    """
    if isinstance(index, slice):
        start, stop, step = index.indices(length)
        if step > 0:
            return start, max(start, stop), slice(None, None, step)
        return 0, length, index
    if isinstance(index, (int, np.integer)):
        at = int(index) % length
        return at, at + 1, 0
    return 0, length, index


class PlaneReader:
    """Planes of a file, read when they are indexed; pickled as its place.

    Parameters
    ----------
    path
        The file, for messages.
    place
        Arguments that make the same reader in another process.
    numbers
        Which plane of the file lies where: an array over all axes but those of a plane.
    inner
        Shape of a plane.
    dtype
        Type of a pixel.
    """

    def __init__(
        self,
        path: Path,
        place: tuple[Any, ...],
        numbers: NDArray[np.intp],
        inner: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._path = path
        self._place = place
        self._numbers = numbers
        self._inner = inner
        self.shape = (*numbers.shape, *inner)
        self.dtype = np.dtype(dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._place

    def _read(self, number: int, region: tuple[Any, ...]) -> NDArray[Any]:
        """Return a region of one plane as an array of its own."""
        raise NotImplementedError

    def __getitem__(self, region: Any) -> NDArray[Any]:
        """Return the pixels of a region."""
        region = region if isinstance(region, tuple) else (region,)
        region = (*region, *(slice(None),) * (len(self.shape) - len(region)))
        outer, inner = region[: self._numbers.ndim], region[self._numbers.ndim :]
        numbers = np.asarray(self._numbers[outer])
        with one_sentence(self._path):
            planes = [np.asarray(self._read(int(n), inner)) for n in numbers.ravel()]
            if not planes:
                return np.empty((*numbers.shape, *(0 for _ in inner)), self.dtype)
            stacked = planes[0][None] if len(planes) == 1 else np.stack(planes)
            return stacked.reshape(numbers.shape + planes[0].shape).astype(self.dtype, copy=False)


def image_of(
    reader: PlaneReader,
    letters: str,
    chunks: Sequence[int],
    facts: Facts,
    *,
    path: Path,
    kind: str,
    scene: str,
    axes: str | None,
    files: Sequence[Path] = (),
) -> LazyImage:
    """Return the image of one scene.

    Parameters
    ----------
    reader
        Its pixels.
    letters, chunks
        One letter and one length an axis of `reader`.
    facts
        What its metadata say.
    path, kind, scene
        Where it comes from.
    axes
        Axes that the user stated, which outrank the file.
    files
        Those that hold the pixels, where it is not `path` alone.
    """
    data, true_axes, samples = arrange(
        lazy(reader, chunks, where=str(path), part=scene), letters, where=path.name, stated=axes
    )
    guesses = list(facts.guesses)
    data, channels = name_channels(data, samples, facts.channels, path.stem, guesses)
    z = facts.z_positions_um
    return LazyImage(
        data=data,
        channels=channels,
        pixel_size_um=facts.pixel_size_um,
        axes=true_axes,
        time_interval_s=facts.time_interval_s,
        z_positions_um=z if z is not None and len(z) == data.shape[2] else None,
        na=facts.na,
        source=Source(
            path=str(path),
            kind=kind,
            scene=scene,
            identify=partial(fingerprint, list(files) or [path], root=path.parent),
        ),
        guesses=tuple(guesses),
        missing=facts.missing,
    )
