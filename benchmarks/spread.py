"""One stain shared by two workers against one process: time, processor time, throughput.

    python benchmarks/spread.py [--size 6144] [--net small] [--repetitions 3]

stains the same OME-Zarr with the same plan, in one process with one thread and on two workers of
one thread each, in turn, and writes ``docs/benchmarks/spread.md``. Each measurement is a process of
its own that has stained a small image before, so that starting is not measured with the rest but
beside it. Reading and writing have threads of their own in all of them: with no more cores than
workers, two workers cannot be twice as fast, and the report says how fast they could be.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from _report import processor, table, write
from memory import write_input

WORKERS = 2
MOST_CPU, LEAST_THROUGHPUT = 1.25, 1.7
NETS = {
    "demo": None,
    "small": {"depth": 5, "width": 16, "norm": "batch"},
    "wide": {"depth": 5, "width": 32, "norm": "batch"},
}


def write_model(folder: Path, net: str) -> str:
    """Return the model of a name: the demo's, or a larger network with random weights."""
    architecture = NETS[net]
    if architecture is None:
        return "demo"
    from napari_virtualstain.generators.package import read_card, save_package
    from napari_virtualstain.generators.registry import build_generator
    from napari_virtualstain.zoo import find_model

    card = read_card(find_model("demo"))
    generator = build_generator(
        card.generator, in_channels=3, out_channels=len(card.stains), architecture=architecture
    )
    planes = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    changed = card.model_copy(update={"architecture": architecture, "preset": None})
    save_package(folder / net, changed, generator, planes)
    return str(folder / net)


# --- one measurement, in a process of its own -------------------------------------------------------


def cpu_seconds() -> float:
    """Return the processor time of this process and of all below it that live."""
    import psutil

    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    from napari_virtualstain.compute.cluster import Crowd, workers_here
    from napari_virtualstain.compute.spread import ClusterSpread
    from napari_virtualstain.io.record import read_record
    from napari_virtualstain.jobs import stain

    marks: dict[str, tuple[float, float]] = {}

    def on_progress(done: int, total: int, what: str) -> None:
        if what == "tiles stained" and done in (0, total):
            marks.setdefault("end" if done else "begin", (time.monotonic(), cpu_seconds()))

    def settings(source: str, out: Path) -> stain.StainSettings:
        return stain.StainSettings(
            input=source, model=options.model, out=str(out), mode=options.mode, tile=options.tile,
            memory=8.0, device="cpu",
        )  # fmt: skip

    began = time.monotonic()
    with ExitStack() as stack:
        spread = None
        if options.measure == "spread":
            client = stack.enter_context(workers_here(Crowd(count=WORKERS, threads=1)))
            spread = ClusterSpread(client, where="two workers", expected=WORKERS)
        out = Path(options.out)
        stain.run(settings(options.small, out.with_name("small.ome.zarr")), spread=spread)
        started = time.monotonic() - began
        marks.clear()
        before, cpu = time.monotonic(), cpu_seconds()
        stain.run(settings(options.input, out), spread=spread, on_progress=on_progress)
        wall, cpu = time.monotonic() - before, cpu_seconds() - cpu
    record = read_record(out)["record"]
    digest = hashlib.sha256()
    for file in sorted(f for f in out.rglob("*") if f.is_file() and f.parent != out):
        digest.update(file.read_bytes())
    return {
        "start": started,
        "wall": wall,
        "cpu": cpu,
        "tiles_wall": marks["end"][0] - marks["begin"][0],
        "tiles_cpu": marks["end"][1] - marks["begin"][1],
        "threads": record["threads"],
        "plan": {k: v for k, v in record["plan"].items() if k not in ("bytes", "words")},
        "words": record["plan"]["words"],
        "pixels": digest.hexdigest(),
    }


# --- all of them ------------------------------------------------------------------------------------


def child(options: argparse.Namespace, kind: str, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [
            sys.executable, __file__, "--measure", kind, "--input", str(folder / "in.ome.zarr"),
            "--small", str(folder / "small.ome.zarr"), "--model", options.model,
            "--out", str(Path(scratch) / "out.ome.zarr"), "--mode", options.mode,
        ]  # fmt: skip
        if options.tile:
            command += ["--tile", str(options.tile)]
        # Grey values are measured each time, and kept nowhere.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NVS_CACHE": str(Path(scratch) / "c")}
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=environment,
        )
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def spread_of(values: list[float], form: str = ".2f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=6144)
    parser.add_argument("--net", choices=NETS, default="small")
    parser.add_argument("--mode", default="stream")
    parser.add_argument("--tile", type=int, default=None)
    parser.add_argument("--repetitions", type=int, default=3)
    for hidden in ("measure", "input", "small", "model", "out"):
        parser.add_argument(f"--{hidden}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)), flush=True)
        return
    runs: dict[str, list[dict[str, Any]]] = {"process": [], "spread": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_input(folder / "in.ome.zarr", options.size)
        write_input(folder / "small.ome.zarr", 600)
        options.model = write_model(folder, options.net)
        for _ in range(options.repetitions):
            for kind, found in runs.items():
                found.append(child(options, kind, folder))
                print(kind, {k: v for k, v in found[-1].items() if k != "plan"}, file=sys.stderr)
    report(options, runs)


def report(options: argparse.Namespace, runs: dict[str, list[dict[str, Any]]]) -> None:
    alone, shared = runs["process"], runs["spread"]
    everything = [*alone, *shared]
    if any(r["threads"] != 1 or r["plan"] != alone[0]["plan"] for r in everything):
        raise SystemExit(
            "error: The runs did not have the same plan. Give --mode halo --tile 1024."
        )
    same = len({r["pixels"] for r in everything}) == 1
    megapixels = options.size**2 / 1e6
    rows = []
    for name, prefix in (("tiles", "tiles_"), ("the whole run", "")):
        for kind, found in (("one process, one thread", alone), ("two workers", shared)):
            walls, cpus = ([r[f"{prefix}{k}"] for r in found] for k in ("wall", "cpu"))
            speed = [megapixels / wall for wall in walls]
            rows.append((name, kind, spread_of(walls), spread_of(cpus), spread_of(speed)))

    def ratios(key: str, up: list[dict[str, Any]], down: list[dict[str, Any]]) -> list[float]:
        return [a[key] / b[key] for a, b in zip(up, down, strict=True)]

    cpu, faster = ratios("tiles_cpu", shared, alone), ratios("tiles_wall", alone, shared)
    whole_cpu, whole_faster = ratios("cpu", shared, alone), ratios("wall", alone, shared)
    cores = len(os.sched_getaffinity(0))
    # What one process does in threads beside the network's has no core of its own here.
    most = min(
        float(WORKERS), statistics.median(cores * a["tiles_wall"] / a["tiles_cpu"] for a in alone)
    )
    met = [
        "reached" if good else "not reached"
        for good in (
            statistics.median(cpu) <= MOST_CPU,
            statistics.median(faster) >= LEAST_THROUGHPUT,
        )
    ]
    targets = [
        ("processor time", spread_of(cpu), spread_of(whole_cpu), f"at most {MOST_CPU}", met[0]),
        ("throughput", spread_of(faster), spread_of(whole_faster), f"at least {LEAST_THROUGHPUT}",
         met[1]),
    ]  # fmt: skip
    starts = " and ".join(
        spread_of([r["start"] for r in found]) + " s" for found in (alone, shared)
    )
    write(
        "spread.md",
        f"""# One stain on two workers

Written by `python benchmarks/spread.py --size {options.size} --net {options.net} --mode {options.mode} \
--repetitions {options.repetitions}`.
A plane of {options.size} x {options.size} px, three z planes (uint16) to five stains (float32), OME-Zarr to OME-Zarr, network
`{options.net}`: {alone[0]["words"]}. The same plan in one process with one thread, and on two workers of one
thread each (`--workers {WORKERS}`) with the process that shares out, in turn;
{options.repetitions} repetitions, median (smallest to largest). Processor time is that of all processes, the ones
that share out included. *Tiles* is what is shared; *the whole run* also measures the grey values and ends the store, which
one process does. The pixels were {"equal bit for bit" if same else "NOT equal"} in all runs.

{table(("stage", "where", "time (s)", "processor time (s)", "megapixels a second"), rows)}

| two workers over one process | tiles | the whole run | target for tiles | |
|---|---|---|---|---|
{chr(10).join("| " + " | ".join(row) + " |" for row in targets)}

These {cores} cores allow a throughput of {most:.2f} at most, since one process with one thread for its network keeps
{statistics.median(a["tiles_cpu"] / a["tiles_wall"] for a in alone):.2f} cores busy: reading, unpacking, packing and writing have threads of their own.
Not in these times: starting, loading the networks' library and a first small image, {starts}.
A stream that begins in the middle of an image computes some rows twice: with few strips that is most of what sharing costs.

{processor()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}.
""",
    )


if __name__ == "__main__":
    main()
