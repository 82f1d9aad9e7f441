"""Does the viewer stay smooth while a field is stained, and how soon is there something to see?

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/viewer.py [--size 4096] [--repeats 3]

Each part runs in a process of its own, in one run of this script, and measures
how long the viewer's event loop did not answer (a timer of 2 ms):

- ``idle``: the limit. The finished stain is in the viewer, and its canvas is redrawn four times a second.
- ``stain``: ours. The same field is stained and painted while it is computed.
- ``thread``: the peer. The same network and tiles in a thread of the viewer, with one redraw of the layer
  after each tile: what napari plugins do with ``thread_worker``.

and, for ours, the times from opening the widget and from the click. Writes ``docs/benchmarks/viewer.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from _report import machine, table, write

PARTS = ("idle", "stain", "thread")
TILE = 512
REDRAW_S = 0.25


class Gaps:
    """How long the event loop of this process does not answer."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.seen: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(2)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        self.seen.clear()
        self._last = time.perf_counter()
        self._timer.start()

    def stop(self) -> dict[str, float]:
        self._timer.stop()
        gaps = np.array(self.seen) * 1e3
        # The share of time, not of ticks: a user meets a long gap in proportion to its length.
        order = np.sort(gaps)[::-1]
        late = order[np.searchsorted(np.cumsum(order), 0.01 * order.sum())]
        return {
            "p50": float(np.percentile(gaps, 50)),
            "p99": float(np.percentile(gaps, 99)),
            "max": float(gaps.max()),
            "time99": float(late),
        }

    def _tick(self) -> None:
        now = time.perf_counter()
        self.seen.append(now - self._last)
        self._last = now


def pump_until(condition, seconds: float) -> float:
    """Run the event loop until a condition holds; return how long that took."""
    from qtpy.QtCore import QEventLoop, QTimer

    began = time.perf_counter()
    loop = QEventLoop()
    timer = QTimer()
    timer.setInterval(5)

    def look() -> None:
        if condition() or time.perf_counter() - began > seconds:
            loop.quit()

    timer.timeout.connect(look)
    timer.start()
    loop.exec_() if hasattr(loop, "exec_") else loop.exec()
    timer.stop()
    if not condition():
        raise SystemExit(f"error: Waited {seconds:g} s in vain.")
    return time.perf_counter() - began


def memory_mb(process: psutil.Process) -> float:
    return process.memory_info().rss / 1e6


def open_viewer(field: Path):
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    viewer.open(str(field), plugin="napari-virtualstain")
    viewer.reset_view()
    pump_until(lambda: True, 1)
    settle = time.perf_counter() + 1.5
    pump_until(lambda: time.perf_counter() > settle, 5)
    return viewer


def part_stain(field: Path, out: Path) -> dict[str, float]:
    """Ours: open the dock, wait until it is warm, press the button."""
    viewer = open_viewer(field)
    began = time.perf_counter()
    _, widget = viewer.window.add_plugin_dock_widget("napari-virtualstain", "Load, stain, compare")
    pump_until(lambda: True, 1)
    shown = time.perf_counter() - began
    up: dict[str, float] = {}

    def note(state) -> None:
        up.setdefault(state.name, time.perf_counter() - began)

    widget.jobs.state_changed.connect(note)
    widget.stain.settings["tile"].value = str(TILE)  # as Stain view does; the default is by rows
    if "--cold" not in sys.argv:
        pump_until(lambda: widget.jobs.state.name == "ready", 60)
        widget.show_page("stain")
        pump_until(lambda: "tiles" in widget.stain.plan.text(), 60)
        pump_until(lambda: not widget.jobs.runs, 120)  # grey values are measured
    widget.show_page("stain")
    widget.stain.out.setText(str(out))
    first: list[float] = []
    gaps = Gaps()
    gaps.start()
    clicked = time.perf_counter()
    widget.stain.all.click()

    def first_pixels() -> bool:
        stains = [s for s in widget.stain.stainings.all if s.painter._told]  # noqa: SLF001
        if stains and not first:
            first.append(time.perf_counter() - clicked)
        return bool(stains)

    pump_until(first_pixels, 300)
    pump_until(lambda: not widget.jobs.runs, 3600)
    took = time.perf_counter() - clicked
    found = gaps.stop()
    worker = psutil.Process(widget.jobs.state.worker["pid"])
    found |= {
        "shown": shown,
        "server": up.get("warming", float("nan")),
        "warm": up.get("ready", float("nan")),
        "first": first[0],
        "took": took,
        "viewer_mb": memory_mb(psutil.Process()),
        "worker_mb": memory_mb(worker),
    }
    viewer.close()
    widget.jobs.close()
    return found


def part_idle(field: Path, out: Path) -> dict[str, float]:
    """The limit: the same layers, finished, and a redraw four times a second."""
    viewer = open_viewer(field)
    viewer.open(str(out), plugin="napari-virtualstain")
    for layer in list(viewer.layers)[2:]:
        layer.visible = False
    from qtpy.QtCore import QTimer

    zoom = viewer.scene.camera.zoom
    steps = iter(range(10**9))
    timer = QTimer()
    timer.setInterval(int(REDRAW_S * 1000))

    def redraw() -> None:
        viewer.scene.camera.zoom = zoom * (1 + 1e-6 * (next(steps) % 2))

    timer.timeout.connect(redraw)
    timer.start()
    settle = time.perf_counter() + 2
    pump_until(lambda: time.perf_counter() > settle, 5)
    gaps = Gaps()
    gaps.start()
    until = time.perf_counter() + 10
    pump_until(lambda: time.perf_counter() > until, 20)
    found = gaps.stop() | {"took": 10.0, "viewer_mb": memory_mb(psutil.Process()), "worker_mb": 0.0}
    viewer.close()
    return found


def part_thread(field: Path, out: Path) -> dict[str, float]:
    """The peer: torch in a thread of the viewer, a layer in memory, a redraw a tile."""
    from napari.qt.threading import thread_worker

    from napari_virtualstain.jobs.stain import StainSettings, run

    del out
    viewer = open_viewer(field)
    done: list[bool] = []
    shape = (
        viewer.layers[0].data[0].shape
        if viewer.layers[0].multiscale
        else viewer.layers[0].data.shape
    )
    picture = np.zeros(shape[-2:], np.float32)
    layer = viewer.add_image(picture, contrast_limits=(0, 3000), blending="additive")

    with tempfile.TemporaryDirectory() as scratch:
        settings = StainSettings(input=str(field), out=f"{scratch}/o.ome.zarr", tile=TILE)

        @thread_worker
        def work():
            import queue
            import threading

            told: queue.Queue[object] = queue.Queue()
            thread = threading.Thread(
                target=lambda: (run(settings, on_progress=lambda *p: told.put(p)), told.put(None))
            )
            thread.start()
            while (said := told.get()) is not None:
                yield said

        worker = work()
        worker.yielded.connect(lambda _: layer.refresh())
        worker.finished.connect(lambda: done.append(True))
        gaps = Gaps()
        gaps.start()
        began = time.perf_counter()
        worker.start()
        pump_until(lambda: bool(done), 3600)
        took = time.perf_counter() - began
        found = gaps.stop()
    found |= {"took": took, "viewer_mb": memory_mb(psutil.Process()), "worker_mb": 0.0}
    viewer.close()
    return found


def measure(part: str, field: Path, out: Path, *more: str) -> dict[str, float]:
    command = [
        sys.executable,
        __file__,
        "--part",
        part,
        "--field",
        str(field),
        "--out",
        str(out),
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--field")
    parser.add_argument("--out")
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    if options.part:
        found = globals()[f"part_{options.part}"](Path(options.field), Path(options.out))
        print(json.dumps(found), flush=True)
        os._exit(0)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NVS_CACHE"] = f"{scratch}/cache"
        os.environ["NAPARI_CONFIG"] = f"{scratch}/napari.yaml"
        report(Path(scratch), options.size, options.repeats)


def report(scratch: Path, size: int, repeats: int) -> None:
    from memory import write_input

    field = scratch / "field.ome.zarr"
    write_input(field, size)
    cold = measure("stain", field, scratch / "cold.ome.zarr", "--cold")
    runs: dict[str, list[dict[str, float]]] = {part: [] for part in PARTS}
    for n in range(repeats):
        out = scratch / f"out{n}.ome.zarr"
        # One after the other, so that a busy machine is busy for all of them.
        runs["stain"].append(measure("stain", field, out))
        runs["idle"].append(measure("idle", field, out))
        runs["thread"].append(measure("thread", field, out))
    middle = {
        part: {key: float(np.median([r[key] for r in found])) for key in found[0]}
        for part, found in runs.items()
    }
    worst = {part: max(r["max"] for r in found) for part, found in runs.items()}
    ours, idle, thread = (middle[part] for part in ("stain", "idle", "thread"))
    words = {
        "idle": "idle redraw (the limit)",
        "stain": "ours",
        "thread": "torch in a thread (the peer)",
    }
    rows = [
        (
            words[part],
            f"{middle[part]['p50']:.0f}", f"{middle[part]['p99']:.0f}", f"{middle[part]['max']:.0f}",
            f"{worst[part]:.0f}", f"{middle[part]['took']:.1f}",
            f"{middle[part]['viewer_mb']:.0f}", f"{middle[part]['worker_mb']:.0f}",
        )
        for part in PARTS
    ]  # fmt: skip
    above99, above = ours["p99"] - idle["p99"], ours["max"] - idle["max"]
    times = [
        ("dock shown after", f"{ours['shown']:.2f} s", "1 s"),
        ("server up after", f"{ours['server']:.2f} s", "1 s"),
        ("library loaded after", f"{ours['warm']:.2f} s", "3 s"),
        (
            "first pixels after the click, warm, grey values known",
            f"{ours['first']:.2f} s",
            "0.5 s",
        ),
        ("first pixels after the click, cold, nothing known", f"{cold['first']:.2f} s", "-"),
        ("gaps above idle, 99th percentile", f"{above99:.0f} ms", "25 ms"),
        ("gaps above idle, longest", f"{above:.0f} ms", "50 ms"),
    ]
    text = f"""# Is the viewer smooth while it stains?

Made by `benchmarks/viewer.py --size {size} --repeats {repeats}`; medians of {repeats} runs. {machine()}. Display: Xvfb, drawn by
the processor (llvmpipe), 1280 x 800.

A field of {size} x {size} px, three planes, is stained with the bundled model into five stains, tiles of {TILE} px. A gap is a
time in which the viewer's event loop did not answer. *Idle* shows the same layers, finished, and redraws them four times a
second. *A thread* runs the same network on the same tiles in a thread of the viewer's process, as napari plugins commonly
do, and redraws one layer after each tile.

{table(("", "gap p50 (ms)", "gap p99 (ms)", "longest gap (ms)", "longest of all runs (ms)", "time (s)", "viewer (MB)", "worker (MB)"), rows)}

The peer's longest gap is {thread["max"] / ours["max"]:.1f} times ours, its 99th percentile {thread["p99"] / max(ours["p99"], 1e-9):.1f} times.

{table(("", "measured", "wanted"), times)}
"""
    write("viewer.md", text)


if __name__ == "__main__":
    main()
