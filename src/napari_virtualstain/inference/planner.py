"""How an image of any size goes through a network within a budget of memory.

*whole*: one forward pass of the image. *stream*: bands of rows, no row computed
twice (`inference.stream`); images wider than the budget allows go in stripes. *halo*:
tiles that read as far beyond their core as the network looks. All three give the
forward pass of the whole image where the network allows that; they differ in
memory, in pixels computed twice, and in what can be shown first. *stitch* is for
repeating published results: overlapping tiles, put together as others did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import lcm, prod
from typing import TYPE_CHECKING, Any, Literal

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.inference.stitch import STITCH_METHODS
from napari_virtualstain.tiling.plan import Tile, TilePlan, plan_tiles

if TYPE_CHECKING:
    from napari_virtualstain.inference.network import Network

__all__ = [
    "MODES",
    "Mode",
    "RunPlan",
    "cells_of",
    "host_bytes",
    "plan_run",
    "plan_stitch",
    "recorded_plan",
]

Mode = Literal["auto", "whole", "stream", "halo"]
MODES: tuple[Mode, ...] = ("auto", "whole", "stream", "halo")
_BANDS = ((128, 64, 32), (16, 8))
"""Rows pushed at a time, the best for speed first; stripes are better than the thin ones."""
_HALO_EDGES = {"cpu": (1024, 512, 256, 128, 64), "cuda": (2048, 1024, 512, 256, 128, 64)}
_PUBLISHED_EDGE = 256
_QUEUED = 3
"""Tiles that are read ahead, and as many that wait to be written."""
_FIXED = 150_000_000
_SCRATCH, _STREAM_SCRATCH = 1.6, 3.0
"""What a run takes for each byte of activations, and beside them: buffers of the kernels and what
the allocator cannot join. Measured on networks over planes and volumes, in both precisions."""
_CONVERTED = 3
"""Copies of a tile while it is written: other numbers, coarser levels, compressed chunks."""
_MOST_ELEMENTS = 2**31 - 1
"""Of a tensor: beyond it kernels are many times slower, or refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What is computed in which pieces; a value that can be printed, recorded and repeated.

    Parameters
    ----------
    mode
        ``"whole"``, ``"stream"``, ``"halo"`` or ``"stitch"``.
    tiles
        Units that are written and committed. They partition the image.
    axis, band
        Of a stream: the axis, and rows pushed at a time.
    batch
        Tiles that go through the network together, of one size.
    stitch, edge, stride
        Of stitching: the method, edge and stride of its tiles in pixels.
    bytes
        Most memory that the run takes beyond what the process has, an estimate.
    passes
        Times that each tile goes through the network, of what is drawn in steps: a time point is
        then computed as a whole. 0 of what is not drawn.
    """

    mode: Literal["whole", "stream", "halo", "stitch"]
    tiles: TilePlan
    axis: int = 0
    band: int = 0
    batch: int = 1
    stitch: str = ""
    edge: int = 0
    stride: int = 0
    bytes: int = 0
    passes: int = 0

    @property
    def together(self) -> bool:
        """Whether the tiles of a time point are computed together, and none alone."""
        return self.mode == "stitch" or self.passes > 0

    @property
    def overhead(self) -> float:
        """Pixels forwarded over pixels of the image, at least 1."""
        if self.mode == "stitch":
            return (self.edge / self.stride) ** len(self.tiles.shape)
        if self.mode != "stream":
            return self.tiles.overhead
        # No row is computed twice; stripes are, where they look at each other.
        flat = replace(
            self.tiles,
            core=_with(self.tiles.core, self.axis, self.tiles.shape[self.axis]),
        )
        return flat.overhead

    def to_json(self) -> dict[str, Any]:
        """Return plain values, from which `recorded_plan` makes the plan again."""
        return {
            "mode": self.mode,
            "core": list(self.tiles.core),
            "halo": list(self.tiles.halo),
            "multiple_of": list(self.tiles.multiple_of),
            "axis": self.axis,
            "band": self.band,
            "batch": self.batch,
            "stitch": self.stitch,
            "edge": self.edge,
            "stride": self.stride,
            "bytes": self.bytes,
            "passes": self.passes,
            "tiles": len(self.tiles),
        }

    def describe(self) -> str:
        """Return the plan in words.

        Examples
        --------
        >>> tiles = plan_tiles((1000, 2000), core=(512, 2000), halo=44, multiple_of=16)
        >>> RunPlan(mode="stream", tiles=tiles, band=128, bytes=310_000_000).describe()
        '2 strips of up to 512 x 2000 px, computed in bands of 128 rows, \
1.01 x the pixels of the image, 310 MB of memory'
        """
        memory = f", {_size(self.bytes)} of memory" if self.bytes else ""
        count, core = len(self.tiles), " x ".join(str(c) for c in self.tiles.core)
        if self.mode == "whole":
            return f"the whole image of {core} px at once{memory}"
        if self.mode == "stream":
            strips = "1 strip" if count == 1 else f"{count} strips"
            return (
                f"{strips} of up to {core} px, computed in bands of {self.band} rows, "
                f"{self.overhead:.2f} x the pixels of the image{memory}"
            )
        if self.mode == "stitch":
            return (
                f"{self.stitch} of overlapping tiles of {self.edge} px every {self.stride} px, "
                f"{self.overhead:.2f} x the pixels of the image{memory}"
            )
        return f"{self.tiles.describe()}{memory}"


def recorded_plan(entry: dict[str, Any], shape: Sequence[int]) -> RunPlan | None:
    """Return the plan of a record, `None` if it holds none that can be repeated.

    Parameters
    ----------
    entry
        As `RunPlan.to_json` gives it.
    shape
        Of the image, spatial, in pixels.
    """
    try:
        tiles = plan_tiles(
            tuple(shape), core=entry["core"], halo=entry["halo"], multiple_of=entry["multiple_of"]
        )
        return RunPlan(
            mode=entry["mode"], tiles=tiles, axis=int(entry["axis"]), band=int(entry["band"]),
            batch=int(entry["batch"]), stitch=str(entry["stitch"]),
            edge=int(entry["edge"]), stride=int(entry["stride"]),
            bytes=int(entry["bytes"]), passes=int(entry.get("passes", 0)),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None


def plan_run(
    network: Network,
    shape: Sequence[int],
    *,
    mode: Mode = "auto",
    tile: int | None = None,
    chunk: int = 512,
    budget: int,
    out_channels: int,
    streams: bool = True,
    halo: Sequence[int] | None = None,
) -> RunPlan:
    """Choose how to run a network over an image.

    Parameters
    ----------
    network
        See `prepare_network`.
    shape
        Of the image, spatial, in pixels.
    mode
        What the user asked for; ``auto`` takes whole for a network that is not exact in tiles
        where it fits, else stream where the network allows it on a processor, else halo.
    tile
        Edge of a tile in pixels; asks for halo mode if the mode is ``auto``.
    chunk
        Edge of a chunk of the output; larger tiles are whole numbers of chunks.
    budget
        Bytes.
    out_channels
        Stains.
    streams
        False where something but the network needs tiles (resampling, drawing in steps).
    halo
        Of the network, unless another is wanted.

    Raises
    ------
    SettingsError
        If the budget does not hold the smallest piece, or the network cannot be run as asked.
    """
    planner = _Planner(
        network, tuple(shape), chunk, budget, out_channels, tuple(halo or network.reach.halo)
    )
    if mode == "stream" and not (streams and network.streams):
        why = (
            "what is resampled, or drawn in steps, needs tiles"
            if network.streams
            else "it has operations that look further than rows"
        )
        raise SettingsError(
            f"This network cannot be computed row by row: {why}. Use --mode halo or auto."
        )
    if mode == "whole":
        return planner.whole_or_not()
    if mode == "halo" or (mode == "auto" and tile is not None):
        return planner.halo(tile)
    if mode == "auto" and network.reach.kind != "exact":
        whole = planner.whole()
        if whole is not None:
            return whole
    if mode == "stream" or (streams and network.streams and network.device.type == "cpu"):
        found = planner.stream()
        if found is not None:
            return found
        if mode == "stream":
            raise planner.refused(planner.smallest_stream())
    return planner.halo(None)


def plan_stitch(
    network: Network,
    shape: Sequence[int],
    *,
    method: str,
    tile: int | None = None,
    chunk: int = 512,
    out_channels: int,
) -> RunPlan:
    """Return the plan of a run that puts overlapping tiles together as published systems did.

    Parameters
    ----------
    network, shape, chunk, out_channels
        See `plan_run`.
    method
        A key of `stitch.STITCH_METHODS`.
    tile
        Edge of the tiles in pixels; 256, as in the paper, if `None`.

    Raises
    ------
    SettingsError
        If the network's stride does not divide the tile.
    """
    edge, divisor = tile or _PUBLISHED_EDGE, lcm(*network.reach.multiple_of)
    if edge % divisor:
        raise SettingsError(
            f"Tiles of {edge} px do not divide by the network's stride of {divisor}. "
            f"Choose a multiple of {divisor} with --tile, for example {_up(edge, divisor)}."
        )
    rows = (min(chunk, shape[0]), *shape[1:])
    tiles = plan_tiles(tuple(shape), core=rows, halo=0, multiple_of=1)
    overlap = STITCH_METHODS[method].overlap
    stride = max(1, round(edge * (1 - overlap)))
    # Tiles that cover one row, and the strips that wait.
    across = prod(_up(n, stride) for n in shape[1:]) * edge * edge / stride * 2
    waiting = _QUEUED * prod(rows)
    activations = _FIXED + _SCRATCH * network.forward_bytes((edge,) * len(shape))
    return RunPlan(
        mode="stitch", tiles=tiles, stitch=method, edge=edge, stride=stride,
        bytes=round(activations + 4 * out_channels * (across + waiting)),
    )  # fmt: skip


def cells_of(plan: RunPlan, tile: Tile) -> list[Region]:
    """Return the parts of a tile that the network saw apart: all of it, unless stitched."""
    if plan.mode != "stitch":
        return [tile.write]
    lines = []
    for part in tile.write:
        cuts = range(-(-(part.start + 1) // plan.stride) * plan.stride, part.stop, plan.stride)
        lines.append([slice(a, b) for a, b in pairwise([part.start, *cuts, part.stop])])
    return list(product(*lines))


def host_bytes(plan: RunPlan, out_channels: int, in_channels: int) -> int:
    """Return the memory beside a graphics card of a thread that reads and one that writes.

    Parameters
    ----------
    plan
        What is read and written.
    out_channels, in_channels
        Of the result and the image.
    """
    # As decoded, as put together, and where the card reads it, which is rounded up.
    read = 3 * 4 * in_channels * prod(plan.tiles.largest_read)
    core = prod(min(c, n) for c, n in zip(plan.tiles.core, plan.tiles.shape, strict=True))
    return read + 4 * out_channels * core * (1 + _CONVERTED)


class _Planner:
    def __init__(
        self,
        network: Network,
        shape: tuple[int, ...],
        chunk: int,
        budget: int,
        out_channels: int,
        halo: tuple[int, ...],
    ) -> None:
        self._network, self._shape, self._chunk, self._budget = network, shape, chunk, budget
        self._out, self._halo, self._stride = out_channels, halo, network.reach.multiple_of

    def refused(self, least: int) -> SettingsError:
        """Say what would do."""
        return SettingsError(
            f"A memory budget of {self._budget / 1e9:.2g} GB does not hold the smallest piece of "
            f"this run. Give it at least {least / 1e9 + 0.05:.1f} GB with --memory."
        )

    # --- whole ------------------------------------------------------------------------------------

    def whole(self) -> RunPlan | None:
        """Return one pass over the image, `None` if the budget does not hold it."""
        tiles = self._tiles(self._shape)
        needed = self._tile_bytes(tiles)
        fits = needed <= self._budget and self._elements(tiles) <= _MOST_ELEMENTS
        return RunPlan(mode="whole", tiles=tiles, bytes=needed) if fits else None

    def whole_or_not(self) -> RunPlan:
        """Return one pass over the image, or say what it would take."""
        found = self.whole()
        if found is None:
            needed = self._tile_bytes(self._tiles(self._shape))
            raise SettingsError(
                f"The whole image at once takes about {needed / 1e9:.1f} GB, the memory budget is "
                f"{self._budget / 1e9:.2g} GB. Use --mode auto, or give more with --memory."
            )
        return found

    # --- halo -------------------------------------------------------------------------------------

    def halo(self, tile: int | None) -> RunPlan:
        edges = (
            (self._whole_chunks(tile),)
            if tile is not None
            else _HALO_EDGES.get(self._network.device.type, _HALO_EDGES["cpu"])
        )
        needed = 0
        for edge in edges:
            tiles = self._tiles(tuple(min(edge, _up(n, self._chunk)) for n in self._shape))
            needed = self._tile_bytes(tiles)
            if needed <= self._budget and self._elements(tiles) <= _MOST_ELEMENTS:
                # One at a time: kernels are chosen by the size of a batch, and a tile would have
                # other last digits in other company, as when a run is resumed.
                return RunPlan(mode="halo", tiles=tiles, bytes=needed)
        if tile is not None:
            raise SettingsError(
                f"Tiles of {edges[0]} px and their halo take about {needed / 1e9:.1f} GB, the "
                f"memory budget is {self._budget / 1e9:.2g} GB. Choose smaller ones with --tile, "
                "or give more with --memory."
            )
        raise self.refused(needed)

    def _whole_chunks(self, tile: int) -> int:
        return _up(tile, self._chunk) if tile >= self._chunk else tile

    # --- stream -----------------------------------------------------------------------------------

    def stream(self) -> RunPlan | None:
        for bands in _BANDS:
            for axis, tiles in self._strips():
                for band in self._on_stride(bands, axis):
                    needed = self._stream_bytes(tiles, axis, band)
                    if needed <= self._budget:
                        return RunPlan(
                            mode="stream", tiles=tiles, axis=axis, band=band, bytes=needed
                        )
        return None

    def smallest_stream(self) -> int:
        return min(
            self._stream_bytes(tiles, axis, self._on_stride(_BANDS[-1], axis)[-1])
            for axis, tiles in self._strips()
        )

    def _on_stride(self, bands: tuple[int, ...], axis: int) -> list[int]:
        return sorted({_up(band, self._stride[axis]) for band in bands}, reverse=True)

    def _strips(self) -> Iterator[tuple[int, TilePlan]]:
        """Yield what may be streamed: whole rows first, then stripes that get narrower."""
        # Along y, and a volume too: of its planes a chunk is written, not a row.
        axis = len(self._shape) - 2
        across = len(self._shape) - 1
        rows = min(self._chunk, self._shape[axis])
        widths = [self._shape[across]]
        width = _up(self._shape[across], self._chunk) // 2 // self._chunk * self._chunk
        while width >= self._chunk:
            widths.append(width)
            width = width // 2 // self._chunk * self._chunk
        for width in widths:
            yield axis, self._tiles((*self._shape[:axis], rows, width))

    def _stream_bytes(self, tiles: TilePlan, axis: int, band: int) -> int:
        read = list(tiles.largest_read)
        # Beyond what it looks back on, and a few bands more, a stream holds no more. Most it holds
        # at its end, when all that it kept comes out with the last band, which may be a whole one.
        lag = 2 * self._halo[axis] + 4 * band
        read[axis] = min(_up(self._shape[axis], self._stride[axis]), _up(lag, band))
        activations = self._network.stream_bytes(read, band=band, axis=axis)
        # Two slabs as high as a chunk, as they are read and normalised.
        slab = _with(tuple(read), axis, max(band, self._chunk))
        inputs = 2 * 6 * self._network.in_channels * prod(slab)
        outputs = self._output_bytes(tiles, 2)
        return _FIXED + round(_STREAM_SCRATCH * activations) + inputs + outputs

    # --- common -----------------------------------------------------------------------------------

    def _tiles(self, core: Sequence[int]) -> TilePlan:
        return plan_tiles(self._shape, core=core, halo=self._halo, multiple_of=self._stride)

    def _tile_bytes(self, tiles: TilePlan) -> int:
        read = tiles.largest_read
        activations = self._network.forward_bytes(read)
        if self._network.device.type == "cuda":
            # Of the card alone (`host_bytes` counts the rest): pixels as the file has them, a plane
            # in double precision and its copy, stains as float32 and what is kept of them.
            beside = prod(read) * (8 * self._network.in_channels + 16 + 8 * self._out)
            return _FIXED + round(_SCRATCH * activations) + beside
        inputs = min(_QUEUED, len(tiles)) * 3 * 4 * self._network.in_channels * prod(read)
        return _FIXED + round(_SCRATCH * activations) + inputs + self._output_bytes(tiles, _QUEUED)

    def _output_bytes(self, tiles: TilePlan, count: int) -> int:
        """Return the bytes of tiles that wait, and of one that is converted and made coarser."""
        one = self._out * prod(min(c, n) for c, n in zip(tiles.core, tiles.shape, strict=True))
        return 4 * one * (min(count, len(tiles)) + _CONVERTED)

    def _elements(self, tiles: TilePlan) -> int:
        return self._network.forward_bytes(tiles.largest_read) // self._network.itemsize // 3


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{max(number / 1e6, 1):.0f} MB"


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _with(lengths: tuple[int, ...], axis: int, length: int) -> tuple[int, ...]:
    return (*lengths[:axis], length, *lengths[axis + 1 :])
