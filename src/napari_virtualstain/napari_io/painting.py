"""What a run has painted so far, as arrays that a viewer can show while it goes on.

A run writes tiles into a store and notes each in a list. `Painting.update`, called from a
background thread, reads every newly noted tile once and folds it into coarser copies in memory;
what the viewer asks for on its own thread comes from these copies, or from a bounded cache of
decoded chunks. What no tile has painted is NaN, and is never looked for on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import dask.array as da
import numpy as np

from napari_virtualstain.errors import ImageFileError, VirtualStainError
from napari_virtualstain.io.colours import stain_colours
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.ome_zarr import open_levels
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import COMMITS, read_commits, read_record
from napari_virtualstain.napari_io.layers import STAINED, LayerData, colormap_of, placement
from napari_virtualstain.napari_io.painted_arrays import PaintedLevel
from napari_virtualstain.napari_io.painted_pixels import PaintedPixels
from napari_virtualstain.napari_io.source import LayerSource, tagged
from napari_virtualstain.tiling.plan import Tile, TilePlan, plan_tiles

__all__ = ["BUDGET", "Painting"]

BUDGET = 256_000_000
"""Bytes that a painting keeps in memory."""
_DARK_SD, _BRIGHT_SD = 0.75, 5.0
"""Contrast of a stain around the mean of its training images, in their standard deviations."""


class Painting:
    """A store that a run is writing, as arrays for layers; made by `open`.

    One thread may read while another calls `update`.

    Parameters
    ----------
    store
        Where the run writes.
    record
        Of the run.
    image
        The store, opened lazily.
    plan
        Tiles over Y and X.
    budget
        Bytes to keep in memory.
    """

    def __init__(
        self,
        store: Path,
        record: dict[str, Any],
        image: LazyImage,
        plan: TilePlan,
        *,
        budget: int = BUDGET,
    ) -> None:
        self.store = store
        self.record = record
        self.image = image
        self.plan = plan
        self.complete = False
        self._depth = 1  # z planes of the layers, see `layers`
        self._stamp: tuple[int, int] | None = None  # of the list of tiles
        self._known: set[int] = set()
        self._waiting: list[int] = []
        self._pixels = PaintedPixels(store, plan, budget=budget)

    @classmethod
    def open(cls, store: Path | str, *, budget: int = BUDGET) -> Self:
        """Open a store that a stain run of this package writes or has written.

        Parameters
        ----------
        store
            Its path.
        budget
            Bytes to keep in memory.

        Raises
        ------
        MissingInputError
            If it is not there (yet).
        ImageFileError
            If another program or another job wrote it.
        """
        path = Path(store)
        record = read_record(path)["record"]
        try:
            entry = record["plan"]
            core, halo, stride = entry["core"], entry["halo"], entry["multiple_of"]
        except (KeyError, TypeError) as error:
            raise ImageFileError(
                f"{str(path)!r} holds no plan of tiles, so that no stain run wrote it. "
                "Open it as an image instead."
            ) from error
        image = open_image(path)
        plan = plan_tiles(image.shape[3:], core=core, halo=halo, multiple_of=stride)
        return cls(path, record, image, plan, budget=budget)

    @property
    def multiscale(self) -> bool:
        """Whether the layers have several levels, now and when the run is finished."""
        return bool(self._pixels.kept())

    @property
    def stains(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self.image.channel_names

    @property
    def model(self) -> str:
        """Name of the model that paints."""
        return str((self.record.get("model") or {}).get("name", ""))

    @property
    def tiles_done(self) -> int:
        """How many tiles are painted."""
        return int(np.count_nonzero(self._pixels.done[:: self._pixels.depth]))

    @property
    def tiles_total(self) -> int:
        """How many tiles there are, all time points together."""
        return int(self._pixels.done[:: self._pixels.depth].size)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept in memory now."""
        return self._pixels.nbytes

    def missing(self, region: tuple[int, int, int, int], t: int = 0) -> bool:
        """Return whether part of a region is not painted.

        Parameters
        ----------
        region
            First row, first column, last row + 1, last column + 1, inside the image.
        t
            Time point.
        """
        top, left, bottom, right = region
        tiles = self.plan.touching((slice(top, bottom), slice(left, right)))
        done = self._pixels.done[t * self._pixels.depth].ravel()
        return not all(bool(done[index]) for index in tiles)

    def update(self, *, at_most: int | None = None) -> list[tuple[int, Tile]]:
        """Fold newly written tiles into the painting; cheap when nothing is new.

        Parameters
        ----------
        at_most
            Tiles a call, for a run that is far ahead to show early; `None` for all.

        Returns
        -------
        list
            Time point and tile of each that is new. Refresh the layers if there is one.
        """
        if self.complete:
            return []
        self._waiting.extend(self._news())
        end = len(self._waiting) if at_most is None or self.complete else at_most
        now, self._waiting = self._waiting[:end], self._waiting[end:]
        if self.complete:
            self._pixels.take_whole()
        else:
            for number in now:
                self._pixels.paint(*self._where(number))
        return [self._where(number) for number in now]

    def _news(self) -> list[int]:
        """Return the tiles that were not known, in the order of the plan."""
        try:
            status = (self.store / COMMITS).stat()
            stamp = (status.st_size, status.st_mtime_ns)
            if stamp == self._stamp:
                return []
            tiles = read_commits(self.store)
            self._stamp = stamp
        except OSError:
            # There is no list before the first tile, and none once the store is complete.
            if not self._is_complete():
                return []
            tiles, self.complete = set(range(self.tiles_total)), True
        new = sorted(number for number in tiles - self._known if number < self.tiles_total)
        self._known.update(new)
        return new

    def _is_complete(self) -> bool:
        try:
            state = read_record(self.store)
        except (VirtualStainError, OSError):
            return False
        # A run that failed puts back the store that it was to replace, which is not its painting.
        return bool(
            state["status"] == "complete"
            and state["record"].get("created") == self.record.get("created")
        )

    def _where(self, number: int) -> tuple[int, Tile]:
        t, index = divmod(number, len(self._pixels.tiles))
        return t, self._pixels.tiles[index]

    def levels(self, c: int, *, depth: int = 1) -> list[Any]:
        """Return the levels of a channel, full resolution first.

        Parameters
        ----------
        c
            Index of the channel.
        depth
            Of a time-lapse over a z stack: so many z planes, all of them the same, since napari
            pairs the axes of layers from the last on.

        Returns
        -------
        list
            Array-likes (Y, X), of a time-lapse (T, Y, X) or (T, Z, Y, X), of a stack (Z, Y, X) or
            (T, Z, Y, X). One alone is for a single-scale layer.
        """
        n_t, _, n_z = self.image.shape[:3]
        outer: tuple[int, ...] = () if n_t == 1 else (n_t,)
        frame = None
        if n_z > 1:
            outer = (*outer, n_z)
            frame = partial(_frame, n_z)
        elif n_t > 1 and depth > 1:
            outer = (n_t, depth)  # all planes the same
        read = partial(self._pixels.chunks.read, c)
        found: list[Any] = [PaintedLevel(read, outer, self.image.shape[3:], frame)]
        for level, shape in self._pixels.kept():
            if outer:
                copy = partial(self._pixels.copy, level, c)
                found.append(PaintedLevel(copy, outer, shape, frame))
            else:
                # The memory itself: napari asks a flat layer for its coarsest level only once.
                found.append(self._pixels.flat_copy(level, c))
        return found

    def final_levels(self, c: int, *, depth: int = 1) -> list[da.Array]:
        """Return the levels of the finished store, to replace a layer's data.

        Parameters
        ----------
        c, depth
            As in `levels`.

        Returns
        -------
        list
            Dask arrays; several if and only if `levels` gives several, so that
            ``layer.data = levels if layer.multiscale else levels[0]``.
        """
        found = []
        for level in open_levels(self.store):
            # (T, C, Z, Y, X) -> (T, Z, Y, X), of one plane (T, Y, X)
            stack = level.shape[2] > 1
            pixels = level[:, c] if stack else level[:, c, 0]
            if pixels.shape[0] == 1:
                pixels = pixels[0]
            elif depth > 1 and not stack:
                n_t, height, width = pixels.shape
                pixels = da.broadcast_to(pixels[:, None], (n_t, depth, height, width))
            found.append(pixels)
        return found

    def final(self) -> list[list[da.Array]]:
        """Return `final_levels` of each channel."""
        return [self.final_levels(c, depth=self._depth) for c in range(len(self.stains))]

    def contrast(self, stain: str) -> tuple[float, float]:
        """Return display limits of a stain from what its model was trained on."""
        outputs = (self.record.get("normalisation") or {}).get("outputs") or {}
        norm = outputs.get(stain)
        if not norm:
            return (0.0, 1.0)
        offset, scale = float(norm["offset"]), float(norm["scale"])
        return (offset - _DARK_SD * scale, offset + _BRIGHT_SD * scale)

    def layers(
        self,
        *,
        name: str,
        contrast: Mapping[str, tuple[float, float]] | None = None,
        over: LazyImage | None = None,
        opacity: float = STAINED,
    ) -> list[LayerData]:
        """Return one layer a stain, over the image that it was asked for.

        Parameters
        ----------
        name
            Of that image; ends the name of each layer, since the list cuts long names.
        contrast
            Limits by stain, for example those of the truth.
        over
            The image below; where it has time points and z planes, the layers get its z axis.
        opacity
            Of every layer.
        """
        keep, where = placement(self.image)
        self._depth = 1
        if over is not None and keep == "tyx" and over.shape[2] > 1:
            self._depth = over.shape[2]
            _, below = placement(over)
            z = below["axis_labels"].index("z")
            where = {
                word: [values[0], below[word][z], *values[1:]] for word, values in where.items()
            }
        size = self.image.pixel_size_um
        layers: list[LayerData] = []
        colours = stain_colours(self.image.channels)
        for c, channel in enumerate(self.image.channels):
            levels = self.levels(c, depth=self._depth)
            source = LayerSource(
                path=str(self.store),
                channel=channel.name,
                pixel_size_um=(size.z, size.y, size.x),
                confirmed=True,
                kind="ome-zarr",
                model=self.model,
                title=f"{name} ({self.model})",
                shape=tuple(int(n) for n in levels[0].shape),
            ).with_role("prediction")
            keywords = {
                "name": f"{channel.name} ({self.model}) {name}",
                "colormap": colormap_of(colours[c]),
                "opacity": opacity,
                "blending": "additive",
                "contrast_limits": (contrast or {}).get(channel.name)
                or self.contrast(channel.name),
                "cache": False,  # the same chunks may be written again by another run
                **where,
                "metadata": tagged({}, source),
                "multiscale": len(levels) > 1,
            }
            layers.append((levels if len(levels) > 1 else levels[0], keywords, "image"))
        return layers


def _frame(depth: int, place: tuple[int, ...]) -> int:
    """Return the number of a plane of a stained stack, at a place (Z) or (T, Z)."""
    *t, z = place
    return (t[0] if t else 0) * depth + z
