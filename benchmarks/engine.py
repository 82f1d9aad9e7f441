"""Is a plane stained at the speed of its network, in bounded memory, and exactly?

    python benchmarks/engine.py [--parts speed,large,height,exact,norms,volume,card] [--repeats 5]
                                [--device cuda] [--threads 2]

Every measurement is a process of its own: the limit, the method, the limit again. The *limit* is
the network's forward pass over the same pixels, cut into tiles of 512 x 512 without overlap that lie
in memory, in float32, by the network as it is; default and tuned malloc, the faster counts.
A method reads uint16 from a Zarr store and writes stains to another. Repetitions are
interleaved. MONAI takes part where it is installed. The part *card* wants a CUDA device and has a
limit of its own: the forward pass in bfloat16, of the network that is ready to run, of tiles that
lie in the card's memory. Writes ``docs/benchmarks/engine.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _report import REPORTS, machine, table, write

TILE = 512
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")


# --- what is measured ---------------------------------------------------------------------------


def unet(width: int, norm: str = "batch"):
    """Return a U-Net of 5 levels with random weights and statistics that do something."""
    import torch

    from napari_virtualstain.nets.unet import UNet

    torch.manual_seed(0)
    net = UNet(3, 5, depth=5, width=width, norm=norm)
    with torch.no_grad():
        for name, value in net.named_buffers():
            if "running_mean" in name:
                value.normal_(0, 0.1)
            elif "running_var" in name:
                value.uniform_(0.5, 1.5)
    return net.eval()


def write_input(path: Path, height: int, width: int, planes: int = 3) -> None:
    import zarr

    rng = np.random.default_rng(0)
    array = zarr.create_array(
        store=path, shape=(planes, height, width), chunks=(1, TILE, TILE), dtype="uint16"
    )
    for row in range(0, height, TILE):
        rows = min(TILE, height - row)
        # Smooth structure and noise, in the range of a camera.
        wave = 2000 * np.sin((row + np.arange(rows))[:, None] / 37) * np.cos(np.arange(width) / 53)
        noise = rng.normal(10_000, 400, (planes, rows, width))
        array[:, row : row + rows] = np.clip(noise + wave, 0, 65535).astype("uint16")


OFFSET, SCALE = 10_000.0, 1_100.0


def ready(net, given: Path, options: dict[str, Any]):
    """Return what predicts the picture in a store, and the plan of it."""
    import dask.array as da

    from napari_virtualstain.datasets.planes import InputPlanes
    from napari_virtualstain.inference.network import prepare_network
    from napari_virtualstain.inference.planner import plan_run
    from napari_virtualstain.inference.source import PlanesSource
    from napari_virtualstain.inference.stainer import Stainer
    from napari_virtualstain.intensity import Normalisation
    from napari_virtualstain.io.image import Channel, LazyImage

    network = prepare_network(
        net, device=options["device"], precision=options.get("precision", "float32")
    )
    image = LazyImage(data=da.from_zarr(str(given))[None, None], channels=(Channel("BF"),))
    norm = Normalisation(offset=OFFSET, scale=SCALE, low=-15, high=15)
    volume = network.ndim == 3
    source = PlanesSource(InputPlanes(image), ((norm,) * image.shape[2],), volume=volume)
    plan = plan_run(
        network, source.shape, mode=options.get("mode", "auto"), tile=options.get("tile"),
        budget=round(options.get("budget", 6) * 1e9), out_channels=len(STAINS),
    )  # fmt: skip
    stainer = Stainer(
        network=lambda t: network,
        source=source,
        outputs=(Normalisation(offset=1000.0, scale=300.0),) * len(STAINS),
    )
    return stainer, plan


def sink_for(out: Path, stainer, plan, options: dict[str, Any]):
    """Return the sink of a run, and what writes a tile to it."""
    from napari_virtualstain.io.image import Channel
    from napari_virtualstain.io.sink import OmeZarrSink

    shape, n = stainer.source.shape, len(STAINS)
    volume = len(shape) == 3
    # Tiles smaller than a chunk, as of a volume, must not share one.
    cut = [c for c, whole in zip(plan.tiles.core[-2:], shape[-2:], strict=True) if c < whole]
    sink = OmeZarrSink.create(
        out, shape=(1, n, *(shape if volume else (1, *shape))), n_tiles=len(plan.tiles),
        channels=[Channel(s) for s in STAINS], dtype=options.get("dtype", "float32"),
        levels=options.get("levels"), chunks_yx=min([TILE, *cut]),
    )  # fmt: skip

    def put(t, tile, stains):
        place = tile.write if volume else (slice(0, 1), *tile.write)
        pixels = stains[None] if volume else stains[None, :, None]
        sink.write((slice(0, 1), slice(0, n), *place), pixels, tile=tile.index)

    return sink, put


def ours(net, given: Path, out: Path, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """The engine and the sink of this package."""
    from napari_virtualstain.inference.engine import stain_tiles

    began = time.perf_counter()
    stainer, plan = ready(net, given, options)
    planned = time.perf_counter() - began
    with clock:
        sink, put = sink_for(out, stainer, plan, options)
        with sink:
            stain_tiles(stainer, plan, put)
    return {"words": plan.describe(), "planned_mb": plan.bytes / 1e6, "planned_s": planned}


def stages(net, given: Path, out: Path, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """What each part of a run takes alone, for the whole picture."""
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from napari_virtualstain.inference.pipeline import threads_beside
    from napari_virtualstain.inference.source import clipped
    from napari_virtualstain.inference.transfer import (
        Returning,
        arrived,
        normalised,
        to_host_tensor,
    )

    stainer, plan = ready(net, given, options)
    network, source = stainer.typical, stainer.source
    tiles, threads = list(plan.tiles), threads_beside(stainer, plan)
    largest = max(tiles, key=lambda tile: np.prod([s.stop - s.start for s in tile.read]))
    found: dict[str, float] = {}

    def wait() -> None:
        if network.device.type == "cuda":
            torch.cuda.synchronize()

    def timed(name: str, work: Callable[[Any], Any], at_once: int = 1) -> None:
        if at_once == 1:
            work(largest)  # what is done once is not what is asked for
        with ThreadPoolExecutor(at_once) as pool:
            wait()
            began = time.perf_counter()
            list(pool.map(work, tiles))
            wait()
            found[name] = time.perf_counter() - began

    def read(tile):
        return source.raw(0, clipped(tile.read, source.shape))

    with clock, torch.inference_mode():
        timed("read, threads: 1", read)
        timed(f"read, threads: {threads}", read, threads)
        # What follows is of the largest tile, as often as there are tiles.
        pixels, norms = read(largest)
        timed("normalise, processor, threads: 1", lambda tile: norms[0].apply(pixels))
        timed("to pinned memory, threads: 1", lambda tile: to_host_tensor(pixels))
        host = to_host_tensor(pixels)
        timed("to the card", lambda tile: host.to(network.device, non_blocking=True))
        there = host.to(network.device)
        timed("normalise, card", lambda tile: [normalised(p, norms[0]) for p in there])
        tensor = network.tensor([stainer.read(0, largest)] if stainer.on_card else pixels[None])
        timed("forward", lambda tile: network.module(tensor))
        stains = network.module(tensor)[0][(slice(None), *largest.keep)]
        timed("back from the card", lambda tile: arrived(Returning.of(stains)))
        back = arrived(Returning.of(stains))
        timed("invert, threads: 1", lambda tile: stainer.finish(0, tile, back.copy()))
        timed(
            f"invert, {threads} threads", lambda tile: stainer.finish(0, tile, back.copy()), threads
        )
        noise = np.random.default_rng(0).normal(1000, 300, back.shape).astype(np.float32)
        for at_once in sorted({1, threads}):
            sink, put = sink_for(out.with_name(f"{at_once}.ome.zarr"), stainer, plan, options)

            def write(tile, put=put):
                put(0, tile, noise[(slice(None), *(slice(s.stop - s.start) for s in tile.write))])

            with sink, ThreadPoolExecutor(at_once) as pool:
                began = time.perf_counter()
                list(pool.map(write, tiles))
                found[f"write, threads: {at_once}"] = time.perf_counter() - began
    return {"stages": found, "words": plan.describe()}


def monai(net, given: Path, out: Path, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """MONAI's sliding window, as its users call it."""
    import torch
    import zarr
    from monai.inferers import SlidingWindowInferer

    net = net.to(options["device"])
    with clock:
        pixels = zarr.open_array(store=given, mode="r")[:].astype(np.float32)
        tensor = torch.from_numpy((pixels - OFFSET) / SCALE)[None].to(options["device"])
        inferer = SlidingWindowInferer(
            roi_size=(TILE, TILE), sw_batch_size=1, overlap=0.25, mode="gaussian"
        )
        with torch.inference_mode():
            result = inferer(tensor, net.to(options["device"]))[0].float().cpu().numpy()
        array = zarr.create_array(
            store=out, shape=result.shape, chunks=(1, TILE, TILE), dtype="float32"
        )
        array[:] = result * 300 + 1000
    return {}


def monai_buffered(
    net, given: Path, out: Path, options: dict[str, Any], clock: Clock
) -> dict[str, Any]:
    """MONAI's sliding window that adds up rows of tiles on the card, in bfloat16."""
    import torch
    import zarr
    from monai.inferers import SlidingWindowInferer

    net = net.to(options["device"])
    with clock:
        pixels = zarr.open_array(store=given, mode="r")[:].astype(np.float32)
        tensor = torch.from_numpy((pixels - OFFSET) / SCALE)[None]
        inferer = SlidingWindowInferer(
            roi_size=(TILE, TILE), sw_batch_size=16, overlap=0.25, mode="gaussian",
            sw_device=options["device"], device="cpu", buffer_steps=4, buffer_dim=0,
        )  # fmt: skip
        with torch.inference_mode(), torch.autocast(options["device"], torch.bfloat16):
            result = inferer(tensor, net)[0].float().numpy()
        array = zarr.create_array(
            store=out, shape=result.shape, chunks=(1, TILE, TILE), dtype="float32"
        )
        array[:] = result * 300 + 1000
    return {}


def median(net, given: Path, out: Path, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Stitching as Cross-Zamirski et al. 2022 do it, by this package's own code."""
    import torch
    import zarr

    from napari_virtualstain.inference.stitch import stitch_tiles

    net = net.to(options["device"])
    with clock:
        pixels = zarr.open_array(store=given, mode="r")[:].astype(np.float32)
        pixels = (pixels - OFFSET) / SCALE
        array = zarr.create_array(
            store=out,
            shape=(len(STAINS), *pixels.shape[1:]),
            chunks=(1, TILE, TILE),
            dtype="float32",
        )
        whole = np.empty(array.shape, np.float32)

        def predict(region):
            part = pixels[(slice(None), *region)]
            missing = [
                (0, s.stop - s.start - n) for s, n in zip(region, part.shape[1:], strict=True)
            ]
            tensor = torch.from_numpy(np.pad(part, [(0, 0), *missing]))[None]
            with torch.inference_mode():
                return net(tensor.to(options["device"]))[0].float().cpu().numpy()

        for region, stains in stitch_tiles(predict, pixels.shape[1:], method="median", tile=256):
            whole[(slice(None), *region)] = stains
        array[:] = whole * 300 + 1000
    return {}


METHODS: dict[str, Callable[..., dict[str, Any]]] = {
    "ours": ours, "monai": monai, "monai_buffered": monai_buffered, "median": median,
    "stages": stages,
}  # fmt: skip


# --- one measurement, in a process of its own ------------------------------------------------------


def limit(net, height: int, width: int, device: str) -> tuple[float, float]:
    """Return wall and CPU seconds of the forward pass of the pixels that lie in memory."""
    import torch

    tile = torch.randn(1, 3, TILE, TILE, device=device)
    count = -(-height // TILE) * -(-width // TILE)
    net = net.to(device)
    with torch.inference_mode():
        net(tile)
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            net(tile)
        if device != "cpu":
            torch.cuda.synchronize()
    return time.perf_counter() - began, time.process_time() - cpu


def resident_limit(net, height: int, width: int, device: str) -> tuple[float, float]:
    """Return seconds of the best forward pass of pixels that lie in the memory of a card."""
    import torch

    from napari_virtualstain.inference.network import prepare_network

    network = prepare_network(net, device=device, precision="bfloat16")
    count = -(-height // TILE) * -(-width // TILE)
    found = []
    for together in (1, 4, 16):
        batch = network.tensor(
            np.random.default_rng(0).normal(size=(together, 3, TILE, TILE)).astype(np.float32)
        )

        def forward(batch=batch, together=together) -> None:
            for _ in range(-(-count // together)):
                network.module(batch)
            if device != "cpu":
                torch.cuda.synchronize()

        with torch.inference_mode():
            forward()
            began, cpu = time.perf_counter(), time.process_time()
            forward()
        found.append((time.perf_counter() - began, time.process_time() - cpu))
    return min(found)


class Clock:
    """Wall and CPU seconds of a block, and the most memory above what the process had."""

    def __enter__(self) -> Clock:
        self.base = psutil.Process().memory_info().rss
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *args: object) -> None:
        self.wall = time.perf_counter() - self._began[0]
        self.cpu = time.process_time() - self._began[1]
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        high = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
        self.mb = (high - self.base) / 1e6


def one(job: dict[str, Any]) -> dict[str, Any]:
    import torch

    from napari_virtualstain.inference.memory import keep_freed_memory, release_freed_memory

    torch.set_num_threads(job["threads"])
    if not job.get("default_malloc"):
        keep_freed_memory()
    net = unet(job["net"])
    height, width, device = job["height"], job["width"], job["device"]
    found: dict[str, Any] = {}
    short = min(height, job.get("limit_rows", height))
    scale = height / short

    def measured_limit() -> tuple[float, float]:
        wall, cpu = (resident_limit if job.get("resident") else limit)(net, short, width, device)
        return wall * scale, cpu * scale

    before = measured_limit()
    if job["method"] != "limit":
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "out.ome.zarr"
            release_freed_memory()
            clock = Clock()
            found |= METHODS[job["method"]](net, Path(job["input"]), out, job, clock)
            found |= {"wall": clock.wall, "cpu": clock.cpu, "peak_mb": clock.mb}
            found["written_mb"] = sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) / 1e6
        after = measured_limit()
        found["limit_wall"], found["limit_cpu"] = (
            (a + b) / 2 for a, b in zip(before, after, strict=True)
        )
        found["limit_spread"] = abs(before[0] - after[0]) / before[0]
    else:
        found["limit_wall"], found["limit_cpu"] = before
    return found


def run(job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(
        job, {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}, flush=True
    )
    return found


# --- the parts of the report -----------------------------------------------------------------------


def has_monai() -> bool:
    from importlib.util import find_spec

    return find_spec("monai") is not None


def race(
    title: str,
    jobs: dict[str, dict[str, Any]],
    base: dict[str, Any],
    repeats: int,
    wanted: dict[str, str],
) -> str:
    """Measure methods against the limit, interleaved, and return a table."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in jobs}
    tuned: list[float] = []
    default: list[float] = []
    for _ in range(repeats):
        default.append(run({**base, "method": "limit", "default_malloc": True})["limit_wall"])
        for name, job in jobs.items():
            result = run({**base, **job})
            found[name].append(result)
            tuned.append(result["limit_wall"])
    better = min(float(np.median(tuned)), float(np.median(default)))
    rows = []
    for name, results in found.items():
        # Each repetition against the limit beside it, which has the machine's mood.
        correction = better / float(np.median(tuned))
        wall = [r["wall"] / (r["limit_wall"] * correction) for r in results]
        cpu = [r["cpu"] / (r["limit_cpu"] * correction) for r in results]
        rows.append(
            (
                name,
                f"{np.median(wall):.2f} ({min(wall):.2f} to {max(wall):.2f})",
                f"{np.median(cpu):.2f}",
                wanted.get(name, "-"),
                f"{np.median([r['wall'] for r in results]):.1f}",
                f"{np.median([r['peak_mb'] for r in results]):.0f}",
            )
        )
    header = (
        "method", "wall / limit (range)", "CPU / limit", "wanted", "wall (s)", "memory above base (MB)",
    )  # fmt: skip
    words = "\n".join(
        f"- {name}: {results[0]['words']}"
        for name, results in found.items()
        if "words" in results[0]
    )
    return (
        f"## {title}\n\nLimit: {np.median(tuned):.2f} s with tuned malloc, {np.median(default):.2f} s with "
        f"the default; {repeats} interleaved repetitions, medians.\n\n{table(header, rows)}\n\n{words}\n"
    )


def part_speed(scratch: Path, options: argparse.Namespace) -> str:
    given = scratch / "speed.zarr"
    write_input(given, 2048, 2048)
    base = {
        "net": 32, "height": 2048, "width": 2048, "input": str(given),
        "threads": options.threads, "device": options.device,
    }  # fmt: skip
    jobs: dict[str, dict[str, Any]] = {
        "ours, stream, float32": {"method": "ours", "mode": "stream"},
        "ours, halo, float32": {"method": "ours", "mode": "halo"},
        "ours, stream, bfloat16": {"method": "ours", "mode": "stream", "precision": "bfloat16"},
        "median of four (paper)": {"method": "median"},
    }
    if has_monai():
        jobs["MONAI, gaussian 25 %"] = {"method": "monai"}
    return race(
        "A plane of 2048 x 2048 px, U-Net of width 32 (7.8 M parameters)", jobs, base, options.repeats,
        {"ours, stream, float32": "0.95 (aim 0.85)", "ours, stream, bfloat16": "0.60 (aim 0.45)"},
    )  # fmt: skip


def part_large(scratch: Path, options: argparse.Namespace) -> str:
    given = scratch / "large.zarr"
    write_input(given, 8192, 8192)
    base = {
        "net": 8, "height": 8192, "width": 8192, "input": str(given), "limit_rows": 2048,
        "threads": options.threads, "device": options.device,
    }  # fmt: skip
    ours_bf16 = {"method": "ours", "mode": "stream", "precision": "bfloat16", "dtype": "float16"}
    jobs: dict[str, dict[str, Any]] = {"ours, stream, bfloat16, float16 out": ours_bf16}
    if has_monai():
        jobs["MONAI, gaussian 25 %"] = {"method": "monai"}
    return race(
        "A plane of 8192 x 8192 px, U-Net of width 8", jobs, base, max(1, options.repeats // 2),
        {"ours, stream, bfloat16, float16 out": "0.60 wall, 0.75 CPU, 700 MB"},
    )  # fmt: skip


def part_height(scratch: Path, options: argparse.Namespace) -> str:
    rows = []
    for precision, wanted in (("bfloat16", 1100), ("float32", 2000)):
        peaks = []
        for height in (1024, 4096, 16384):
            given = scratch / f"height{height}.zarr"
            if not given.exists():
                write_input(given, height, 8192)
            found = run(
                {
                    "net": 32, "height": height, "width": 8192, "input": str(given),
                    "limit_rows": 512, "threads": options.threads, "device": options.device,
                    "method": "ours", "mode": "stream", "precision": precision, "budget": wanted / 1e3,
                    "dtype": "float16",
                }
            )  # fmt: skip
            peaks.append(found["peak_mb"])
        grown = peaks[-1] / peaks[0] - 1
        rows.append((precision, *(f"{p:.0f}" for p in peaks), f"{grown:+.1%}", f"{wanted} MB, 5 %"))
    header = (
        "precision",
        "1024 rows (MB)",
        "4096 rows (MB)",
        "16384 rows (MB)",
        "growth",
        "wanted",
    )
    return (
        "## Memory against height, 8192 px wide, width 32\n\nAbove what the process had with the network "
        f"loaded; the budget given was what is wanted.\n\n{table(header, rows)}\n"
    )


def part_exact(scratch: Path, options: argparse.Namespace) -> str:
    """How far every way is from one forward pass of the whole image."""
    import torch

    from napari_virtualstain.inference.network import prepare_network
    from napari_virtualstain.inference.stitch import stitch_tiles

    net, size = unet(8), 1024
    image = structured(size)
    with torch.inference_mode():
        whole = net(torch.from_numpy(image[None]))[0].numpy()
    span = float(np.ptp(whole))
    network = prepare_network(net)
    rows = []

    def add(name: str, got: np.ndarray) -> None:
        apart = np.abs(got - whole)
        rows.append((name, f"{apart.max() / span:.1e}", f"{apart.mean() / span:.1e}"))

    for mode, tile in (("stream", None), ("halo", 128), ("halo", 256), ("halo", 512)):
        name = f"ours, {mode}" + (f", tile {tile}" if tile else "")
        add(name, through_engine(network, image, mode, tile))
    for method in ("median", "gaussian"):
        got = np.empty_like(whole)
        forward = lambda region: network.forward(cut(image, region)[None])[0]  # noqa: E731
        for region, stains in stitch_tiles(forward, (size, size), method=method, tile=256):
            got[(slice(None), *region)] = stains
        add(f"{method} of overlapping tiles of 256", got)
    header = ("way", "largest difference / range", "mean difference / range")
    return (
        "## Exactness, BatchNorm network, 1024 x 1024 px\n\nAgainst the forward pass of the whole image by "
        f"the network as it is; wanted is 1e-5 at most.\n\n{table(header, rows)}\n"
    )


def structured(size: int) -> np.ndarray:
    """Return an image whose contrast changes from side to side: (3, size, size)."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.normal(size=(3, size, size)), (0, 2, 2))
    noise = noise / noise.std() * np.linspace(0.2, 3, size)[:, None] + np.linspace(-1, 1, size)
    return noise.astype(np.float32)


def cut(image: np.ndarray, region) -> np.ndarray:
    part = image[(slice(None), *region)]
    missing = [(0, s.stop - s.start - n) for s, n in zip(region, part.shape[1:], strict=True)]
    return np.pad(part, [(0, 0), *missing])


class Plain:
    """An image in memory, normalised."""

    times = 1

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.shape = self.blocks = image.shape[1:]

    def read(self, t, region):
        return self.image[(slice(None), *region)]


def through_engine(network, image: np.ndarray, mode: str, tile: int | None) -> np.ndarray:
    from napari_virtualstain.inference.engine import stain_tiles
    from napari_virtualstain.inference.planner import plan_run
    from napari_virtualstain.inference.stainer import Stainer
    from napari_virtualstain.intensity import Normalisation

    plan = plan_run(
        network, image.shape[1:], mode=mode, tile=tile, budget=4 * 10**9, out_channels=5, chunk=128
    )
    got = np.full((len(STAINS), *image.shape[1:]), np.nan, np.float32)

    def put(t, part, stains):
        got[(slice(None), *part.write)] = stains

    stainer = Stainer(
        network=lambda t: network, source=Plain(image), outputs=(Normalisation(),) * len(STAINS)
    )
    stain_tiles(stainer, plan, put)
    return got


def part_norms(scratch: Path, options: argparse.Namespace) -> str:
    """InstanceNorm: which statistics, and what they do to values and to accuracy."""
    import torch

    from napari_virtualstain.inference.network import prepare_network
    from napari_virtualstain.inference.norms import (
        exact_statistics,
        joint_statistics,
        with_statistics,
    )
    from napari_virtualstain.tiling.plan import plan_tiles

    net, image, truth = trained_instance_norm()
    size = image.shape[-1]
    with torch.inference_mode():
        whole = net(torch.from_numpy(image[None]))[0].numpy()
    raw = prepare_network(net)
    halo, stride = raw.reach.halo, raw.reach.multiple_of
    starts = np.linspace(0, size - 128, 7).astype(int) // 16 * 16
    patches = np.stack([image[:, y : y + 128, x : x + 128] for y in starts for x in starts])
    frozen = prepare_network(with_statistics(net, joint_statistics(net, patches), 2))
    plan = plan_tiles((size, size), core=256, halo=halo, multiple_of=stride)
    exact = prepare_network(
        with_statistics(
            net,
            exact_statistics(
                net, lambda: ((image[(slice(None), *t.read)][None], t.keep) for t in plan)
            ),
            2,
        )
    )
    ways = {
        "the whole image at once": whole,
        "frozen from 49 patches (default where the whole does not fit), stream": through_engine(
            frozen, image, "stream", None
        ),
        "exact in several passes, stream": through_engine(exact, image, "stream", None),
        "each tile of 256 its own, halo": through_engine(raw, image, "halo", 256),
        "each tile of 128 its own, as in training": through_engine(raw, image, "halo", 128),
    }
    rows = []
    for name, got in ways.items():
        error = np.abs(got - whole).sum() / np.abs(whole).sum()
        accuracy = np.mean(
            [np.corrcoef(g.ravel(), t.ravel())[0, 1] for g, t in zip(got, truth, strict=True)]
        )
        rows.append((name, f"{error:.1e}", f"{accuracy:.4f}", f"{np.abs(got - truth).mean():.4f}"))
    header = (
        "statistics",
        "relative L1 from the whole",
        "PCC with the truth",
        "MAE with the truth (SD)",
    )
    return (
        "## InstanceNorm network\n\nA U-Net of width 8 with InstanceNorm, trained for 300 steps on "
        "patches of 128 x 128 px of a target that follows from the image, judged on 1024 x 1024 px whose "
        "contrast changes from side to side. Wanted: below 7 % by default, below 1e-5 exact.\n\n"
        f"{table(header, rows)}\n"
    )


def trained_instance_norm():
    import torch
    from scipy.ndimage import gaussian_filter, laplace

    net = unet(8, "instance").train()
    image = structured(1024)

    def target(picture: np.ndarray) -> np.ndarray:
        smooth = gaussian_filter(picture, (0, 3, 3))
        planes = [
            smooth[0] * smooth[1], np.maximum(smooth[0], 0), laplace(smooth[2]) * 5,
            np.abs(smooth[1] - smooth[2]), smooth.mean(axis=0),
        ]  # fmt: skip
        stack = np.stack(planes).astype(np.float32)
        return (stack - stack.mean(axis=(1, 2), keepdims=True)) / stack.std(
            axis=(1, 2), keepdims=True
        )

    truth = target(image)
    training = structured(1024)[:, ::-1, ::-1].copy()
    wanted = target(training)
    rng = np.random.default_rng(1)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(300):
        places = rng.integers(0, 1024 - 128, (4, 2))
        x = torch.from_numpy(np.stack([training[:, a : a + 128, b : b + 128] for a, b in places]))
        y = torch.from_numpy(np.stack([wanted[:, a : a + 128, b : b + 128] for a, b in places]))
        loss = (net(x) - y).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval(), image, truth


def stack_through_volume_network(job: dict[str, Any]) -> dict[str, Any]:
    """Stain a stack with the 3-D generator within a budget; statistics frozen from patches."""
    import torch

    from napari_virtualstain.inference.memory import keep_freed_memory, release_freed_memory
    from napari_virtualstain.inference.norms import joint_statistics, with_statistics
    from napari_virtualstain.nets.unet3d import UNet3d

    keep_freed_memory()
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    net = UNet3d(1, len(STAINS)).eval()
    patches = np.random.default_rng(0).normal(size=(8, 1, 32, 64, 64)).astype(np.float32)
    net = with_statistics(net, joint_statistics(net, patches), 3)
    release_freed_memory()
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        found = ours(net, Path(job["input"]), Path(scratch) / "out.ome.zarr", job, clock)
    return {**found, "wall": clock.wall, "cpu": clock.cpu, "peak_mb": clock.mb}


def part_volume(scratch: Path, options: argparse.Namespace) -> str:
    depth, edge = options.volume
    given, precision, budget = scratch / "volume.zarr", "bfloat16", 7
    write_input(given, edge, edge, planes=depth)
    found = run(
        {
            "method": "volume", "input": str(given), "threads": options.threads,
            "device": options.device, "precision": precision, "budget": budget,
            "dtype": "float16",
        }
    )  # fmt: skip
    kept = "kept" if found["peak_mb"] <= budget * 1000 else "exceeded"
    row = (
        precision, f"{budget} GB: {kept}", f"{found['peak_mb']:.0f}", f"{found['planned_mb']:.0f}",
        f"{found['wall'] / 60:.1f}", f"{found['cpu'] / 60:.1f}", found["words"],
    )  # fmt: skip
    header = (
        "precision", "budget", "memory above base (MB)", "foreseen (MB)", "wall (min)", "CPU (min)",
        "plan",
    )  # fmt: skip
    return (
        f"## A stack of {depth} x {edge} x {edge} through the 3-D generator (23.1 M parameters)\n\n"
        "One volume in, five stains out; InstanceNorm with frozen statistics, random weights.\n\n"
        f"{table(header, [row])}\n"
    )


def part_card(scratch: Path, options: argparse.Namespace) -> str:
    import torch

    title = "A plane of 8192 x 8192 px on a graphics card, U-Net of width 32"
    if not torch.cuda.is_available():
        return f"## {title}\n\nNot measured: this machine has no CUDA device.\n"
    given, edge = scratch / "card.zarr", 8192
    write_input(given, edge, edge)
    base = {
        "net": 32, "height": edge, "width": edge, "input": str(given), "threads": options.threads,
        "device": "cuda", "resident": True, "precision": "bfloat16", "budget": 20,
    }  # fmt: skip
    jobs: dict[str, dict[str, Any]] = {
        "ours, bfloat16, float16 out": {"method": "ours", "dtype": "float16"},
        "ours, bfloat16, float16 out, tiles of 1024": {
            "method": "ours",
            "dtype": "float16",
            "tile": 1024,
        },
        "ours, bfloat16, float32 out": {"method": "ours"},
    }
    if has_monai():
        jobs["MONAI, gaussian 25 %, buffered, bfloat16"] = {"method": "monai_buffered"}
    raced = race(title, jobs, base, options.repeats, {"ours, bfloat16, float16 out": "3"})
    alone = run({**base, "method": "stages", "dtype": "float16"})
    rows = [
        (name, f"{seconds:.3f}", f"{seconds / alone['limit_wall']:.2f}")
        for name, seconds in alone["stages"].items()
    ]
    name = torch.cuda.get_device_name()
    return (
        f"{raced}\nOn {name}. The limit is here the forward pass in bfloat16, folded, channels last, of "
        "tiles of 512 x 512 px that lie in the card's memory, in the best of several batches.\n\n"
        "### What bounds the rest\n\nEach part alone, for the whole picture; on the way they go on beside "
        f"each other, so that the longest one bounds the run.\n\n{table(('part', 's', 'x limit'), rows)}\n"
    )


PARTS: dict[str, Callable[[Path, argparse.Namespace], str]] = {
    "speed": part_speed, "large": part_large, "height": part_height, "exact": part_exact,
    "norms": part_norms,
    "volume": part_volume, "card": part_card,
}  # fmt: skip


MARK = "<!-- part: {part} -->"


def parts_of(name: str) -> dict[str, str]:
    """Return the parts that a page holds, so that one can be measured again alone."""
    page = REPORTS / name
    found = re.split(r"<!-- part: (\w+) -->\n", page.read_text("utf-8") if page.exists() else "")
    return {part: text.strip() + "\n" for part, text in zip(found[1::2], found[2::2], strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--volume",
        type=lambda text: [int(n) for n in text.split("x")],
        default=[64, 2048],
        help="depth and edge of the stack, for example 64x2048",
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        job = json.loads(options.one)
        measured = stack_through_volume_network(job) if job["method"] == "volume" else one(job)
        print(json.dumps(measured), flush=True)
        return
    import torch

    torch.set_num_threads(options.threads)
    name = "engine.md" if options.device == "cpu" else f"engine-{options.device}.md"
    head = (
        f"# Is a plane stained at the speed of its network?\n\nMade by `benchmarks/engine.py`. {machine()}."
        "\n\nThe *limit* is the forward pass of the same pixels in "
        "tiles of 512 x 512 without overlap that lie in memory, float32, by the network as it is, "
        "measured before and after each method in its process; default and tuned malloc, the faster "
        "counts. Methods read uint16 from Zarr and write stains to Zarr. Each part says what it was made with.\n"
    )
    chosen = options.parts.split(",")
    texts = {part: text for part, text in parts_of(name).items() if part not in chosen}
    with tempfile.TemporaryDirectory() as scratch:
        for part in chosen:
            made = f"`--parts {part} --repeats {options.repeats} --threads {options.threads}`"
            texts[part] = f"{PARTS[part](Path(scratch), options)}\n{made}\n"
            # After each part: the whole takes long.
            ordered = [f"{MARK.format(part=p)}\n{texts[p]}" for p in PARTS if p in texts]
            write(name, "\n".join([head, *ordered]))
    print(REPORTS / name)


if __name__ == "__main__":
    main()
