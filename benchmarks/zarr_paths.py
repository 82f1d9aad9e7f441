"""Which way into and out of an OME-Zarr is quickest, and what do types and codecs cost?

Five stains of a simulated field are written and read in the layout of the sink, through
zarr-python, through zarr-python with the codecs of zarrs, and through tensorstore, with a copy
in memory as the limit. Then the sink itself, with all that it does besides.

    python benchmarks/zarr_paths.py --size 4096 --repeats 5

zarrs and tensorstore are not needed by the package; what is not installed is left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from _report import machine, table, write
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from napari_virtualstain.io import sink_store, tile_log
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.scale import Scale
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.simulate import FieldSettings, simulate_field

TILE = 1024
PIPELINES = {
    "zarr": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}
CODECS = {
    "none": (),
    "zstd 1": (ZstdCodec(level=1),),
    "lz4": (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),),
    "lz4 crc32c": (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()),
    "blosc zstd 1": (BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),),
}
TYPES = {"float32": np.float32, "float16": np.float16, "uint16": np.uint16}


@dataclass(frozen=True)
class Way:
    """One cell of the comparison."""

    path: str = "zarr"
    dtype: str = "float32"
    codec: str = "zstd 1"
    chunk: int = 512
    shard: int = 0
    writers: int = 1


@dataclass
class Figures:
    """What repetitions of one cell came to."""

    write_s: list[float]
    write_cpu: list[float]
    read_s: list[float]
    read_cpu: list[float]
    ratio: float = 1.0
    memory_mb: float = 0.0


def ways() -> list[Way]:
    """Every path with every type and codec, and around the first choice what else may be set."""
    paths = ["zarr", *(p for p in ("zarrs", "tensorstore") if find_spec(p))]
    found = [Way(p, d, c) for p, d, c in product(paths, TYPES, CODECS)]
    for path, codec in product(paths, ("zstd 1", "lz4 crc32c")):
        base = Way(path, codec=codec)
        found += [
            replace(base, chunk=1024), replace(base, shard=1024),
            replace(base, writers=2), replace(base, shard=1024, writers=2),
        ]  # fmt: skip
    return found


def stains(size: int) -> NDArray[np.float32]:
    """Return five noise-free stains (1, 5, 1, Y, X) as a network returns them, in camera counts."""
    edge = min(size, 1024)
    field = simulate_field(FieldSettings(shape_px=(edge, edge), noise=0.0), seed=0)
    one = np.asarray(field.stains[0], np.float32)
    times = -(-size // edge)
    whole = np.tile(one, (1, times, times))[:, :size, :size]
    # A network's last bits are random; without them lossless codecs look better than they are.
    rng = np.random.default_rng(0)
    whole *= 1 + rng.normal(0, 1e-3, whole.shape).astype(np.float32)
    return whole[None, :, None]


def as_type(pixels: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    return np.rint(pixels).astype(dtype) if dtype == "uint16" else pixels.astype(dtype)


@contextmanager
def clock(seconds: list[float], cpu: list[float]) -> Iterator[None]:
    began, used = time.perf_counter(), time.process_time()
    yield
    seconds.append(time.perf_counter() - began)
    cpu.append(time.process_time() - used)


@contextmanager
def peak(figures: Figures) -> Iterator[None]:
    """Note how far memory rose above where it was; Linux only."""
    status = Path("/proc/self/status")

    def field(name: str) -> float:
        line = next(row for row in status.read_text().splitlines() if row.startswith(name))
        return int(line.split()[1]) / 1024

    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        before = field("VmRSS")
    yield
    with suppress(OSError):
        figures.memory_mb = max(figures.memory_mb, field("VmHWM") - before)


def tiles(size: int) -> list[tuple[slice, ...]]:
    whole = (slice(0, 1), slice(0, 5), slice(0, 1))
    edges = range(0, size, TILE)
    return [
        (*whole, slice(y, min(y + TILE, size)), slice(x, min(x + TILE, size)))
        for y, x in product(edges, edges)
    ]


def opened(way: Way, place: Path, pixels: NDArray[Any]) -> tuple[Callable, Callable]:
    """Create an array; return what writes a region of it and what reads one."""
    zarr.config.set({"codec_pipeline.path": PIPELINES.get(way.path, PIPELINES["zarr"])})
    array = zarr.create_array(
        str(place), shape=pixels.shape, dtype=way.dtype,
        chunks=(1, 1, 1, way.chunk, way.chunk),
        shards=(1, 1, 1, way.shard, way.shard) if way.shard else None,
        fill_value=np.nan if pixels.dtype.kind == "f" else 0, compressors=CODECS[way.codec],
    )  # fmt: skip
    if way.path != "tensorstore":
        return array.__setitem__, array.__getitem__
    import tensorstore

    store = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(place)}}
    ).result()
    return (
        lambda region, values: store[region].write(values).result(),
        lambda region: store[region].read().result(),
    )


def measure(way: Way, pixels: NDArray[Any], figures: Figures, scratch: Path) -> None:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        place = Path(folder) / "a"
        put, get = opened(way, place, pixels)
        regions = tiles(pixels.shape[-1])
        with peak(figures), clock(figures.write_s, figures.write_cpu):
            if way.writers == 1:
                for region in regions:
                    put(region, pixels[region])
            else:
                with ThreadPoolExecutor(way.writers) as pool:
                    list(pool.map(lambda region: put(region, pixels[region]), regions))
        stored = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        figures.ratio = pixels.nbytes / stored
        with clock(figures.read_s, figures.read_cpu):
            for region in regions:
                found = get(region)
        if not np.array_equal(found, pixels[regions[-1]], equal_nan=True):
            raise SystemExit(f"error: {way} reads something else than was written.")


def copies(pixels: NDArray[Any]) -> float:
    """Return how long a copy in memory takes, into pages that are there."""
    into = np.ones_like(pixels)
    began = time.perf_counter()
    np.copyto(into, pixels)
    return time.perf_counter() - began


def sink_run(
    pixels: NDArray[np.float32],
    scratch: Path,
    *,
    dtype: str,
    pipeline: str,
    codec: str,
    sync_s: float,
) -> tuple[float, float, float, float]:
    """Write all tiles by the sink and read them by our reader: seconds and processor seconds."""
    zarr.config.set({"codec_pipeline.path": PIPELINES[pipeline]})
    tile_log.SYNC_S = sync_s
    sink_store.compressor = lambda: CODECS[codec]
    times: tuple[list[float], ...] = ([], [], [], [])
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        place = Path(folder) / "out.ome.zarr"
        regions = tiles(pixels.shape[-1])
        scales = [Scale.for_range(0, 65000, dtype)] * 5 if dtype == "uint16" else None
        with clock(times[0], times[1]), OmeZarrSink.create(
            place, shape=pixels.shape, channels=[Channel(name) for name in "abcde"],
            n_tiles=len(regions), dtype=dtype, scales=scales,
        ) as sink:  # fmt: skip
            for number, region in enumerate(regions):
                sink.write(region, pixels[region])
                sink.commit(number)
        with clock(times[2], times[3]):
            image = open_image(place)
            for region in regions:
                image.read(region)
    return tuple(one[0] for one in times)


def spread(values: list[float], scale: float) -> str:
    """Return the median of a rate, and between what it lay."""
    rates = sorted(scale / value for value in values)
    return f"{statistics.median(rates):.2f} ({rates[0]:.2f} to {rates[-1]:.2f})"


def row(way: Way, figures: Figures, nbytes: float, n_px: float) -> list[str]:
    return [
        way.path, way.dtype, way.codec, str(way.chunk), str(way.shard or "-"), str(way.writers),
        spread(figures.write_s, nbytes / 1e9), spread(figures.read_s, nbytes / 1e9),
        f"{statistics.median(figures.write_cpu) / n_px * 1e9:.1f}",
        f"{statistics.median(figures.read_cpu) / n_px * 1e9:.1f}",
        f"{figures.ratio:.2f}", f"{figures.memory_mb:.0f}",
    ]  # fmt: skip


SINK_NAMES = ("dtype", "pipeline", "codec", "sync_s")
SINKS = [
    *(
        (dtype, pipeline, codec, 5.0)
        for dtype in TYPES
        for pipeline in PIPELINES
        for codec in ("zstd 1", "lz4 crc32c")
    ),
    ("float32", "zarr", "lz4 crc32c", 1e9),
    ("float32", "zarr", "lz4 crc32c", 0.0),
]


def versions() -> str:
    found = []
    for name in ("zarr", "numcodecs", "zarrs", "tensorstore"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4096, help="edge of the planes in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    grey = stains(options.size)
    typed = {dtype: as_type(grey, dtype) for dtype in TYPES}
    cells = {way: Figures([], [], [], []) for way in ways()}
    chosen = [s for s in SINKS if s[1] != "zarrs" or find_spec("zarrs")]
    sinks: dict[tuple, list[tuple[float, ...]]] = {s: [] for s in chosen}
    copied: dict[str, list[float]] = {dtype: [] for dtype in TYPES}
    # What is loaded at the first run counts for none.
    sink_run(grey[..., :256, :256], options.scratch, **dict(zip(SINK_NAMES, SINKS[0], strict=True)))
    for repeat in range(options.repeats):
        for dtype, pixels in typed.items():
            copied[dtype].append(copies(pixels))
        # Another order each time, so that what others do on the machine hits no cell always.
        order = np.random.default_rng(repeat).permutation(len(cells))
        for way in (list(cells)[k] for k in order):
            measure(way, typed[way.dtype], cells[way], options.scratch)
        for key in chosen[:: 1 if repeat % 2 else -1]:
            sinks[key].append(
                sink_run(grey, options.scratch, **dict(zip(SINK_NAMES, key, strict=True)))
            )
        print(f"repeat {repeat + 1} of {options.repeats}", flush=True)
    report(options, cells, sinks, copied, typed)


def times_as(
    sinks: dict[tuple, list[tuple[float, ...]]], one: tuple, other: tuple, which: int
) -> str:
    """Return how many times as long one way took as another, the median over repetitions."""
    ratios = sorted(a[which] / b[which] for a, b in zip(sinks[one], sinks[other], strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def reading(sinks: dict[tuple, list[tuple[float, ...]]]) -> str:
    """Return what was chosen, with the figures that it was chosen by."""
    lines = []
    for dtype in TYPES:
        base = (dtype, "zarr", "zstd 1", 5.0)
        lz4 = (dtype, "zarr", "lz4 crc32c", 5.0)
        wall, cpu, back = (times_as(sinks, base, lz4, k) for k in (0, 1, 2))
        lines.append(
            f"- {dtype}, zstd 1 against lz4 with crc32c: writing takes {wall} times as long, {cpu} times the "
            f"processor time, and reading {back} times as long."
        )
        fast = (dtype, "zarrs", "lz4 crc32c", 5.0)
        if fast in sinks:
            wall, cpu, back = (times_as(sinks, lz4, fast, k) for k in (0, 1, 2))
            lines.append(
                f"- {dtype}, lz4 with crc32c by zarr against the same by zarrs: times as long in writing {wall}, processor time {cpu}, reading {back}."
            )
    usual, end, always = (("float32", "zarr", "lz4 crc32c", sync) for sync in (5.0, 1e9, 0.0))
    lines.append(
        f"- Handing files to the disk every 5 s instead of at the end: writing takes {times_as(sinks, usual, end, 0)} "
        f"times as long; before every tile is listed: {times_as(sinks, always, end, 0)}."
    )
    return "\n".join(lines)


CHOSEN = """Chosen: zarr-python, without another library, and chunks of 512 px without shards. A second path has to be
tested with every type, codec and platform, and was to be taken only if the sink as a whole became half as quick again
by it, with five float32 stains. Whoever has zarrs may switch it on by zarr's own setting, as was done here:
`ZARR_CODEC_PIPELINE__PATH=zarrs.ZarrsCodecPipeline`. Chunks of 1024 px are a little quicker, but a viewer that shows a
corner would read four times as much, and tiles would have to be multiples of 1024 px, as with shards, which only one
process may write at a time. Blosc with LZ4 and bit shuffle makes floats smaller than Zstandard does and reads them
more quickly, and takes less processor time to write small types; only uint16 become larger. It is followed by CRC32C,
since Blosc alone reads beyond the end of a chunk that was cut off, and the process ends there; Zstandard finds such
damage by itself."""


def report(
    options: argparse.Namespace,
    cells: dict[Way, Figures],
    sinks: dict[tuple, list[tuple[float, ...]]],
    copied: dict[str, list[float]],
    typed: dict[str, NDArray[Any]],
) -> None:
    n_px = typed["float32"].size
    rows = [row(way, f, typed[way.dtype].nbytes, n_px) for way, f in cells.items()]
    limits = ", ".join(
        f"{dtype} {spread(times, typed[dtype].nbytes / 1e9)}" for dtype, times in copied.items()
    )
    sync = {5.0: "every 5 s", 1e9: "at the end", 0.0: "before every tile is listed"}
    nbytes = 4 * n_px
    ends = [
        [
            dtype, pipeline, codec, sync[sync_s], spread([t[0] for t in times], nbytes / 1e9),
            spread([t[2] for t in times], nbytes / 1e9),
            f"{statistics.median(t[1] for t in times) / n_px * 1e9:.1f}",
            f"{statistics.median(t[3] for t in times) / n_px * 1e9:.1f}",
        ]
        for (dtype, pipeline, codec, sync_s), times in sinks.items()
    ]  # fmt: skip
    header = (
        "path", "type", "codec", "chunk", "shard", "writers", "write GB/s", "read GB/s",
        "write CPU ns/px", "read CPU ns/px", "ratio", "memory (MB)",
    )  # fmt: skip
    end_header = (
        "type", "codecs by", "codec", "handed to the disk", "write GB/s of float32",
        "read GB/s of float32", "write CPU ns/px", "read CPU ns/px",
    )  # fmt: skip
    write(
        "zarr_paths.md",
        f"""# Ways into an OME-Zarr

Written by `python benchmarks/zarr_paths.py --size {options.size} --repeats {options.repeats}`. Five stains of
{options.size} x {options.size} px of a simulated field, with a relative noise of 0.001, written in tiles of {TILE} px and read
again from the system's cache: median of {options.repeats} repetitions in mixed order, smallest and largest in brackets. A GB/s
counts pixels before they are compressed. Processor time is of all threads together, and is the steadier figure where
other work runs on the machine. Memory is what writing took beside the pixels.

{CHOSEN}

## The sink, with scale, windows and pyramid

{table(end_header, ends)}

{reading(sinks)}

## Arrays alone

A copy in memory, the limit (GB/s): {limits}.

{table(header, rows)}

{machine()}; {versions()}.
""",
    )


if __name__ == "__main__":
    main()
