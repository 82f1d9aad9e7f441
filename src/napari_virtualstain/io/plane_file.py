"""One file that holds one plane: how large it is, and its pixels.

PNG, JPEG and BMP are read by imageio, TIFF by tifffile. Decoded planes are
kept for a while, since neighbouring tiles of an image ask for the same plane.
"""

from __future__ import annotations

import struct
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ImageFileError, MissingInputError, VirtualStainError
from napari_virtualstain.io.pixels import (
    DAMAGE,
    SeveralPlanesError,
    one_line,
    refuse_missing_codec,
)

__all__ = ["PlaneGrid", "plane_header", "read_plane"]

TIFF = (".tif", ".tiff")
KEPT_BYTES = 128 * 2**20
"""Decoded planes that are kept; two large stacks of a camera with 4 megapixels."""


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn what decoders raise into a sentence about the file."""
    try:
        yield
    except VirtualStainError:
        raise
    except FileNotFoundError as error:
        raise MissingInputError(
            f"{str(path)!r} does not exist any more. Put it back, or open the folder again."
        ) from error
    except (*DAMAGE, struct.error, SyntaxError) as error:
        refuse_missing_codec(str(path), error)
        raise ImageFileError(
            f"{str(path)!r} is damaged or not an image: {one_line(error)}. "
            "Copy it again from its source."
        ) from error


def plane_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape (Y, X) or (Y, X, samples) and type of a plane without decoding it.

    Raises
    ------
    ImageFileError
        If the file is damaged, empty, or holds more than one plane.
    """
    with _one_sentence(path):
        if path.stat().st_size == 0:
            raise ImageFileError(
                f"{str(path)!r} is empty (0 bytes). Copy it again from its source."
            )
        if path.suffix.lower() in TIFF:
            from napari_virtualstain.io.tiff_file import single_plane_header

            return single_plane_header(path)
        import imageio.v3 as iio

        # The file is opened here, since imageio leaves it open when it is damaged.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow about very large pictures
            props = iio.improps(file, plugin="pillow")
        shape = tuple(int(n) for n in props.shape)
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[-1] > 4):
            raise SeveralPlanesError(
                f"{str(path)!r} holds several pictures (shape {shape}), one was expected. "
                "Save them as a TIFF stack."
            )
        return shape, np.dtype(props.dtype)


def read_plane(path: Path) -> NDArray[Any]:
    """Return the pixels of a plane, (Y, X) or (Y, X, samples)."""
    with _one_sentence(path):
        if path.suffix.lower() in TIFF:
            from napari_virtualstain.io.tiff_file import read_single_plane

            return np.asarray(read_single_plane(path))
        import imageio.v3 as iio

        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(iio.imread(file, plugin="pillow"))


class PlaneGrid:
    """Files arranged along T, C and Z, read when they are indexed.

    Parameters
    ----------
    files
        Object array of paths of shape (T, C, Z); `None` where there is no plane, which reads as
        NaN, or 0 where pixels are integers.
    plane_shape
        Shape (Y, X) of every plane.
    dtype
        Type of a pixel; planes of smaller types are widened.
    """

    def __init__(self, files: NDArray[Any], plane_shape: tuple[int, ...], dtype: Any) -> None:
        self.files = files
        self.shape = (*files.shape, *plane_shape)
        self.dtype = np.dtype(dtype)
        self._kept: OrderedDict[Path, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.files, self.shape[self.files.ndim :], self.dtype)

    def _plane(self, path: Path | None) -> NDArray[Any]:
        if path is None:
            empty = np.nan if self.dtype.kind == "f" else 0
            return np.broadcast_to(self.dtype.type(empty), self.shape[self.files.ndim :])
        with self._lock:
            if path in self._kept:
                self._kept.move_to_end(path)
                return self._kept[path]
        plane = read_plane(path)
        if plane.shape != self.shape[self.files.ndim :]:
            raise ImageFileError(
                f"{str(path)!r} has changed since it was opened: it has the shape {plane.shape}. "
                "Open the image again."
            )
        with self._lock:
            self._kept[path] = plane
            while len(self._kept) > 1 and sum(p.nbytes for p in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return plane

    def __getitem__(self, region: Any) -> NDArray[Any]:
        """Return the pixels of a region; one slice an axis."""
        region = tuple(region) + (slice(None),) * (len(self.shape) - len(region))
        outer, inner = region[: self.files.ndim], region[self.files.ndim :]
        files = np.asarray(self.files[outer], dtype=object)
        planes = [self._plane(path)[inner].astype(self.dtype, copy=False) for path in files.flat]
        if not planes:  # dask asks for nothing when it looks for the type
            return np.empty((*files.shape, *(0 for _ in inner)), self.dtype)
        return np.stack(planes).reshape(files.shape + planes[0].shape)
