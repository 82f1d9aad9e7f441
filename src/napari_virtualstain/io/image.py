"""What an image is before anybody has read a pixel of it.

`LazyImage` is the one form in which pictures travel through the package: a
dask array in the order ``tczyx``, channels by name, pixel size in micrometres,
and where it came from. What a reader guessed rather than read is listed, so
that whoever shows the image can ask for confirmation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import AXES, PixelSize, Region
from napari_virtualstain.errors import AxesError, ChannelError, did_you_mean

__all__ = ["Channel", "LazyImage", "Modality", "Source"]

Modality = Literal["transmitted", "fluorescence", "unknown"]
"""How a channel was lit: light that went through, light that came back, or not told."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel, by name.

    Parameters
    ----------
    name
        As the file has it, or ``"channel 0"`` where it has none.
    modality
        How it was lit; readers fill it from metadata, else from the name.
    colour
        ``"RRGGBB"`` in hexadecimal, or `None`.
    z_offset_um
        How far its planes lie above those of the first channel, if known:
        plate readers focus each channel on its own.
    emission_nm, excitation_nm
        Wavelengths in nanometres, if the file states them; the middle of a band.
    """

    name: str
    modality: Modality = "unknown"
    colour: str | None = None
    z_offset_um: float | None = None
    emission_nm: float | None = None
    excitation_nm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an image came from.

    Parameters
    ----------
    path
        The file or folder, `None` for an array in memory.
    kind
        Name of the opener, for example ``"ome-tiff"``.
    scene
        Which of the images inside the path this is; ``""`` when there is one.
    identify
        Returns a fingerprint that changes when the pixels on disk may have
        changed; asked only when statistics or a run are about to be reused.
    """

    path: str | None = None
    kind: str = "array"
    scene: str = ""
    identify: Callable[[], str] | None = field(default=None, compare=False, repr=False)

    def identity(self) -> str | None:
        """Return the fingerprint of the pixels, `None` for an array in memory."""
        return None if self.identify is None else f"{self.kind}:{self.scene}:{self.identify()}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LazyImage:
    """A picture whose pixels are read when somebody looks at them.

    Parameters
    ----------
    data
        Dask array of shape (T, C, Z, Y, X); chunks follow those of the file.
    channels
        One entry along C; names are unique.
    pixel_size_um
        Size of a pixel in micrometres, `None` an axis where nothing says so.
    origin_um
        Position of the centre of the first pixel (z, y, x) in micrometres.
    axes
        The axes that the file really had, a subset of ``"tczyx"`` in that order.
    time_interval_s
        Seconds between time points, if known.
    z_positions_um
        Position of each z plane relative to focus in micrometres, if known.
    na
        Numerical aperture of the objective, if known.
    source
        Where the image came from.
    guesses
        Sentences, one for each thing that was guessed and should be confirmed.
    missing
        Planes (t, c, z) without data: they read as NaN, or as 0 where pixels are integers.
    """

    data: da.Array
    channels: tuple[Channel, ...]
    pixel_size_um: PixelSize = field(default_factory=PixelSize)
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axes: str = AXES
    time_interval_s: float | None = None
    z_positions_um: tuple[float, ...] | None = None
    na: float | None = None
    source: Source = Source()
    guesses: tuple[str, ...] = ()
    missing: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        """Hold readers to the form that everybody else relies on."""
        if self.data.ndim != len(AXES):
            raise AxesError(
                f"An image has the axes {AXES!r}, got an array of shape {self.data.shape}. "
                "Open it with open_image(array, axes=...)."
            )
        if len(self.channels) != self.data.shape[1]:
            raise ChannelError(
                f"{len(self.channels)} channel names for {self.data.shape[1]} channels. "
                "Give one name a channel."
            )
        names = [channel.name for channel in self.channels]
        if len(set(names)) != len(names):
            raise ChannelError(
                f"Channel names must differ, got {', '.join(names)}. Rename the repeated ones."
            )

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Length of T, C, Z, Y and X."""
        t, c, z, y, x = (int(n) for n in self.data.shape)
        return (t, c, z, y, x)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names along C."""
        return tuple(channel.name for channel in self.channels)

    @property
    def nbytes(self) -> int:
        """Size of all pixels in bytes, were they read."""
        return int(self.data.nbytes)

    def channel_index(self, name: str) -> int:
        """Return where a channel lies along C; upper and lower case are equal.

        Of channels without a name, which are called ``channel 0`` and so on, the number will do.

        Raises
        ------
        ChannelError
            If there is no such channel.
        """
        names = self.channel_names
        if name in names:
            return names.index(name)
        folded = [known.casefold() for known in names]
        if folded.count(name.casefold()) == 1:
            return folded.index(name.casefold())
        # Of a file without names a number says no more and no less than the name made of it.
        if f"channel {name}" in names:
            return names.index(f"channel {name}")
        raise ChannelError(
            f"No channel named {name!r}.{did_you_mean(name, names)} "
            f"The image has: {', '.join(names)}. Choose one of these."
        )

    def select(
        self, channels: Sequence[str] | None = None, *, z: Sequence[int] | None = None
    ) -> LazyImage:
        """Return the same image with only some channels or z planes, in the order given.

        Parameters
        ----------
        channels
            Names of the channels to keep; all if `None`.
        z
            Indices of the planes to keep, repeats allowed; all if `None`.

        Raises
        ------
        ChannelError
            If a channel or plane is not there.
        """
        image = self
        if channels is not None:
            index = [self.channel_index(name) for name in channels]
            image = replace(
                image,
                data=image.data[:, index],
                channels=tuple(self.channels[i] for i in index),
                missing=_still_missing(image.missing, 1, index),
            )
        if z is not None:
            depth = self.shape[2]
            outside = [plane for plane in z if not 0 <= plane < depth]
            if outside:
                raise ChannelError(
                    f"z plane {outside[0]} asked for, but the image has {depth} "
                    f"(0 to {depth - 1}). Choose planes in that range with --z."
                )
            positions = self.z_positions_um
            z_um, (z0, y0, x0) = self.pixel_size_um.z, self.origin_um
            image = replace(
                image,
                data=image.data[:, :, list(z)],
                origin_um=(z0 if z_um is None or not z else z0 + z[0] * z_um, y0, x0),
                z_positions_um=None if positions is None else tuple(positions[i] for i in z),
                missing=_still_missing(image.missing, 2, z),
            )
        return image

    def crop(self, rows: slice, columns: slice) -> LazyImage:
        """Return a part of the picture, which knows where in the whole it lies.

        Parameters
        ----------
        rows, columns
            In pixels, without a step; as in numpy, ends may be open or negative.

        Raises
        ------
        AxesError
            If nothing is left, or a step is given.
        """
        _, _, _, height, width = self.shape
        parts = []
        for part, length in ((rows, height), (columns, width)):
            start, stop, step = part.indices(length)
            if step != 1 or stop <= start:
                raise AxesError(
                    f"Rows {_words(rows)} and columns {_words(columns)} of an image of "
                    f"{height} x {width} px hold no pixel, or have a step. "
                    "Name a first and a last pixel inside the image."
                )
            parts.append(slice(start, stop))
        (z, y, x), size = self.origin_um, self.pixel_size_um
        return replace(
            self,
            data=self.data[..., parts[0], parts[1]],
            origin_um=(
                z,
                y + parts[0].start * (size.y or 1.0),
                x + parts[1].start * (size.x or 1.0),
            ),
        )

    def read(self, region: Region) -> NDArray[Any]:
        """Read the pixels of a region (T, C, Z, Y, X) into memory, in this thread.

        In this thread, since inside a dask worker the default scheduler would
        send the work back to the cluster (measured 24 times slower).
        """
        # Said to `compute`, not by `dask.config.set`, which changes all threads of the process.
        return np.asarray(self.data[region].compute(scheduler="synchronous"))

    def with_gaps(self) -> LazyImage:
        """Return the same image, of floats in which every missing plane is NaN.

        An image that lacks nothing, or whose pixels are floats already, is returned as it is.
        """
        if not self.missing or self.dtype.kind == "f":
            return self
        dtype = np.result_type(self.dtype, np.float32)
        gaps = np.zeros((*self.shape[:3], 1, 1), bool)
        gaps[tuple(np.array(self.missing).T)] = True
        return replace(self, data=da.where(gaps, dtype.type(np.nan), self.data.astype(dtype)))

    def with_guesses(self, guesses: Iterable[str]) -> LazyImage:
        """Return the same image with more guesses to confirm."""
        return replace(self, guesses=(*self.guesses, *guesses))


def _still_missing(
    missing: Iterable[tuple[int, int, int]], axis: int, kept: Sequence[int]
) -> tuple[tuple[int, int, int], ...]:
    """Return the planes without data among those that are kept along C or Z."""
    places = []
    for place in missing:
        for new, old in enumerate(kept):
            if place[axis] == old:
                t, c, z = (new if n == axis else value for n, value in enumerate(place))
                places.append((t, c, z))
    return tuple(sorted(places))


def _words(part: slice) -> str:
    return ":".join("" if n is None else str(n) for n in (part.start, part.stop, part.step))
