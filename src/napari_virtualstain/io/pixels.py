"""How the pixels of a file become a dask array that fails in one sentence.

Every reader hands dask an object that reads a region when it is indexed. What
a library raises while it decodes becomes an `ImageFileError` here, in one
place, whatever the format.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import AXES, LazyArray, parse_axes
from napari_virtualstain.errors import (
    AxesError,
    ImageFileError,
    MissingExtraError,
    MissingInputError,
    VirtualStainError,
)
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.io.remote import is_remote
from napari_virtualstain.io.scene import unique_channels

__all__ = [
    "DAMAGE",
    "GuardedArray",
    "SeveralPlanesError",
    "arrange",
    "ask_for_axes",
    "lazy",
    "name_channels",
    "one_line",
    "refuse_missing_codec",
]

DAMAGE = (
    ArithmeticError,
    AssertionError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What decoders raise at damaged files, `zlib.error` and `struct.error` aside."""


_SAME_AGAIN = {
    False: "The file may be damaged or cut short; copy it again from its source.",
    True: "Check that its place answers, and try again.",
}


class SeveralPlanesError(ImageFileError):
    """A file is whole, but holds more than the one plane that its folder promises."""


RGB = ("FF0000", "00FF00", "0000FF")
"""Colours in which the samples of a colour picture are shown."""

TAKEN_APART = "A colour picture was taken apart into the channels red, green and blue."

MOST_CHUNKS = 10_000_000
"""Pieces of an image above which dask needs minutes, and a header is rather wrong than true."""

WANTED_CHUNK = 1024
"""Edge in pixels up to which small strips and tiles are read together."""


_RAW = re.compile(r"""b(['"])(?:(?!\1).)*\\x(?:(?!\1).)*(?:\1|$)""")
"""Bytes that are no letters, as Python prints them: they tell nobody anything."""


def one_line(error: BaseException) -> str:
    r"""Return what a library said, short enough for a sentence, and without its full stop.

    Examples
    --------
    >>> one_line(ValueError(r"got 0 bytes.")), one_line(ValueError(r"bad mark b'\x00\x01' here"))
    ('got 0 bytes', 'bad mark (bytes) here')
    """
    said = " ".join(str(error).split()) or type(error).__name__
    said = _RAW.sub("(bytes)", said).rstrip(" .:")
    return said if len(said) <= 160 else said[:158] + "…"


def refuse_missing_codec(where: str, error: BaseException) -> None:
    """Say so if a file is whole, but its compression needs a package that is absent.

    Raises
    ------
    MissingExtraError
        If that is what the error says.
    """
    if "imagecodecs" in str(error):
        raise MissingExtraError(
            f"{where!r} is compressed in a way that needs the package imagecodecs. "
            "Install it, for example with: pip install imagecodecs."
        ) from error


class GuardedArray:
    """Pixels that are read region by region, with errors that name the file.

    Parameters
    ----------
    array
        What is read: a zarr array, a memory map.
    where
        The file, as it is shown in messages.
    anchor
        A folder without which there are no pixels: of a store whose disk went away every chunk
        would read as one that was never written.
    """

    def __init__(self, array: LazyArray, where: str, anchor: Path | None = None) -> None:
        self._array = array
        self._where = where
        self._anchor = anchor
        self.shape = tuple(int(n) for n in array.shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")

    def __getitem__(self, region: Any) -> NDArray[Any]:
        """Read a region into memory."""
        import struct
        import zlib

        try:
            pixels = np.asarray(self._array[region])
        except VirtualStainError:
            raise
        except FileNotFoundError as error:
            raise self._gone() from error
        except PermissionError as error:
            raise ImageFileError(
                f"{self._where!r} cannot be read: {error.strerror or one_line(error)}. Close the "
                "program that holds it, or check that you may read it."
            ) from error
        except Exception as error:
            known = (*DAMAGE, zlib.error, struct.error)
            if not isinstance(error, known) and not is_remote(self._where):
                raise  # nobody has seen it at a damaged file: a defect
            refuse_missing_codec(self._where, error)
            raise ImageFileError(
                f"{self._where!r} cannot be read to the end: {one_line(error)}. "
                f"{_SAME_AGAIN[is_remote(self._where)]}"
            ) from error
        if self._anchor is not None and not self._anchor.exists():
            raise self._gone()
        return pixels.astype(self.dtype, copy=False)

    def _gone(self) -> MissingInputError:
        return MissingInputError(
            f"{self._where!r} is not there any more. Check that its disk or share is connected, "
            "and try again."
        )


def _grown(length: int, chunk: int) -> int:
    """Return a multiple of a chunk that is at least `WANTED_CHUNK`, or everything."""
    if chunk >= length:
        return length
    return min(length, chunk * max(1, WANTED_CHUNK // chunk))


def lazy(
    array: LazyArray,
    chunks: Sequence[int],
    *,
    where: str,
    part: str = "",
    grow: Sequence[int] = (),
    anchor: Path | None = None,
) -> da.Array:
    """Return a dask array over a file.

    Parameters
    ----------
    array
        Reads a region when it is indexed.
    chunks
        Length of a stored chunk along each axis.
    where
        The file, as it is shown in messages.
    part
        Which array of the file, where it holds several: the same part of the same
        file has the same dask name, by which statistics are remembered.
    grow
        Axes along which several small chunks are read at once (strips of a TIFF).
    anchor
        See `GuardedArray`.
    """
    guarded = GuardedArray(array, where, anchor)
    sizes = [
        min(max(1, int(chunk)), max(1, n)) for chunk, n in zip(chunks, guarded.shape, strict=True)
    ]
    for axis in grow:
        sizes[axis] = _grown(guarded.shape[axis], sizes[axis])
    n_chunks = math.prod(-(-n // size) for n, size in zip(guarded.shape, sizes, strict=True))
    if n_chunks > MOST_CHUNKS:
        raise ImageFileError(
            f"{where!r} would be read in {n_chunks} pieces (shape {guarded.shape}), more than "
            f"{MOST_CHUNKS}. It may be damaged; if it is not, save it with larger chunks."
        )
    described = f"{where}|{part}|{guarded.shape}|{guarded.dtype}|{sizes}"
    wrapped: da.Array = da.from_array(
        guarded,
        chunks=tuple(sizes),
        # Not from the pixels, which would all be read for it.
        name=f"image-{hashlib.sha256(described.encode()).hexdigest()[:32]}",
        asarray=True,
        lock=False,
        meta=np.empty((0,) * guarded.ndim, guarded.dtype),
    )
    return wrapped


def ask_for_axes(where: str, shape: Sequence[int], what: str = "what they are") -> AxesError:
    """Return the error of an array whose axes nothing tells."""
    example = {
        3: "zyx (or tyx, cyx; fyx for separate fields)", 4: "czyx (or tzyx, tcyx)",
    }.get(len(shape), "tczyx")  # fmt: skip
    size = ", ".join(str(int(n)) for n in shape)
    if len(shape) == 3:
        what = "what the first is"
    return AxesError(
        f"{where!r} has {len(shape)} axes ({size}) and does not say {what}. "
        f"State it, for example --axes {example}."
    )


def arrange(
    data: da.Array, letters: str, *, where: str, stated: str | None = None
) -> tuple[da.Array, str, int]:
    """Bring an array into the order ``tczyx``.

    Parameters
    ----------
    data
        Dask array as it lies in the file.
    letters
        One letter an axis as the file has it: ``tczyx``, ``s`` for the samples
        of a colour picture, anything else for axes that nobody knows.
    where
        The file, as it is shown in messages.
    stated
        Axes that the user gave; they outrank the file.

    Returns
    -------
    tuple
        The array (T, C, Z, Y, X), its true axes, and the samples a pixel (1
        unless it is a colour picture, whose samples come last along C).
    """
    letters = letters.lower()
    if stated is not None and len(stated) == data.ndim:
        letters = parse_axes(stated, ndim=data.ndim)
    keep = [i for i, a in enumerate(letters) if a in AXES + "s" or data.shape[i] != 1]
    data = data[tuple(slice(None) if i in keep else 0 for i in range(data.ndim))]
    letters = "".join(letters[i] for i in keep)
    if stated is not None and stated.strip().lower() != letters:
        without = letters.replace("s", "")
        given = parse_axes(stated, ndim=len(without))
        letters = given if "s" not in letters else _with_samples(given, letters)
    unknown = set(letters) - set(AXES + "s")
    if unknown or len(set(letters)) != len(letters) or not {"y", "x"} <= set(letters):
        raise ask_for_axes(where, data.shape)
    samples = int(data.shape[letters.index("s")]) if "s" in letters else 1
    full = "tcszyx" if samples > 1 else AXES
    if samples == 1 and "s" in letters:
        data = data[tuple(0 if a == "s" else slice(None) for a in letters)]
        letters = letters.replace("s", "")
    # What changes nothing is not done: dask would go through all pieces of a large image for it.
    order = [a for a in full if a in letters]
    if order != list(letters):
        data = data.transpose([letters.index(a) for a in order])
    if len(order) < len(full):
        data = data[tuple(slice(None) if a in order else None for a in full)]
    if samples > 1:
        t, c, s, z, y, x = data.shape
        # (T, C, S, Z, Y, X) -> (T, C * S, Z, Y, X)
        data = data.reshape((t, c * s, z, y, x))
    true = "".join(a for a in AXES if a in letters or (a == "c" and samples > 1))
    return data, true, samples


def _with_samples(given: str, letters: str) -> str:
    """Put the sample axis back where it was among axes that the user renamed."""
    at = letters.index("s")
    return given[:at] + "s" + given[at:]


def name_channels(
    data: da.Array,
    samples: int,
    known: Sequence[Channel],
    stem: str,
    guesses: list[str],
) -> tuple[da.Array, tuple[Channel, ...]]:
    """Return an array and one channel for each entry along C; what is guessed is appended.

    Parameters
    ----------
    data
        Array (T, C, Z, Y, X).
    samples
        Samples a pixel as `arrange` counts them.
    known
        Channels that the metadata name.
    stem
        Name of the file or image, which may say how its only channel was lit.
    guesses
        Receives a sentence for everything that was not read but guessed.
    """
    count = int(data.shape[1])
    if samples > 1:
        pictures = count // samples
        if samples in (2, 4):
            keep = [i for i in range(count) if i % samples != samples - 1]
            data, samples = data[:, keep], samples - 1
            guesses.append("The last sample of each pixel was taken as transparency and left out.")
        colours = ["red", "green", "blue"] if samples == 3 else [""] * samples
        if pictures == 1 and samples == 3:
            known = [Channel(name, "unknown", rgb) for name, rgb in zip(colours, RGB, strict=True)]
            guesses.append(TAKEN_APART)
        elif pictures > 1:
            known = ()
        count = int(data.shape[1])
    if len(known) != count:
        if known:
            guesses.append(
                f"The metadata name {len(known)} channels, the file has {count}; "
                "they were numbered instead."
            )
        known = [Channel(f"channel {index}") for index in range(count)]
        says = modality_of(stem) if count == 1 else "unknown"
        if says != "unknown":
            light = "transmitted light" if says == "transmitted" else "fluorescence"
            guesses.append(f"The channel was taken for {light}, from the name {stem!r}.")
            known = [replace(known[0], modality=says)]
    return data, unique_channels(known)
