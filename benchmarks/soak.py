"""Memory of viewer and worker over many cycles of opening, staining, cancelling and closing.

    python benchmarks/soak.py [--cycles 100]

opens a viewer with the dock, opens a simulated field, stains it (every second
time to the end, else it is cancelled after its first tiles) and closes the
viewer, again and again in one process; then the same number of viewers that
show the same field without the dock, in another process, for comparison.
Prints the memory every tenth cycle, writes ``docs/benchmarks/soak.md``, and
ends with code 1 if viewer or worker grow by more than 5 % over the second half.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EDGE, TILE = 512, 64
LIMIT = 0.05
PATIENCE_S = 120.0
EVERY = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--part", choices=("dock", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("--field", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        (soak if options.part == "dock" else soak_bare)(options.cycles, options.field)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        from napari_virtualstain.jobs.simulate import SimulateSettings
        from napari_virtualstain.jobs.simulate import run as simulate

        (field,) = simulate(SimulateSettings(out=scratch, size=EDGE, seed=1))
        dock, bare = (_run(part, options.cycles, field) for part in ("dock", "bare"))
    return report(options.cycles, dock, bare)


def _run(part: str, cycles: int, field: Path) -> list[dict[str, Any]]:
    """Run a part in a process of its own; return what it measured."""
    line = [
        sys.executable,
        __file__,
        "--part",
        part,
        "--cycles",
        str(cycles),
        "--field",
        str(field),
    ]
    rows = []
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            print(part, text.rstrip(), flush=True)
            rows.append(json.loads(text))
    if process.returncode:
        raise SystemExit(f"error: The part {part!r} ended with code {process.returncode}.")
    return rows


# --- in the measured processes ---------------------------------------------------------------------


def wait(condition: Callable[[], object]) -> None:
    """Let the viewer live until a condition holds."""
    from qtpy.QtWidgets import QApplication

    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("error: It did not come true in time.")
        QApplication.processEvents()
        time.sleep(0.002)


def settle() -> None:
    """Delete what waits to be deleted, so that only what is kept counts."""
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QApplication

    for _ in range(3):
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        gc.collect()


def say(cycle: int, **measured: Any) -> None:
    """Print a row for the process that asked."""
    print(json.dumps({"cycle": cycle, **measured}), flush=True)


def megabytes(pid: int | None = None) -> float:
    """Return the resident memory of a process in MB."""
    import psutil

    return round(psutil.Process(pid).memory_info().rss / 1e6, 1)


def state_of_process() -> dict[str, int]:
    """Return how much of what could leak there is."""
    import threading

    from qtpy.QtWidgets import QApplication

    return {
        "threads": threading.active_count(),
        "widgets": len(QApplication.allWidgets()),
    }


def soak(cycles: int, field: Path) -> None:
    """Open, stain, cancel or complete, close."""
    import napari

    from napari_virtualstain.widgets._jobs import jobs_of_application
    from napari_virtualstain.widgets.main import MainWidget

    jobs = jobs_of_application()
    for cycle in range(1, cycles + 1):
        viewer = napari.Viewer(show=True)
        dock = MainWidget(viewer)
        viewer.window.add_dock_widget(dock, name="Virtual staining")
        one_stain(viewer, dock, jobs, field, cancel=cycle % 2 == 0)
        viewer.close()
        del viewer, dock
        settle()
        wait(lambda: not jobs.runs)
        if cycle % EVERY == 0:
            stores = [path for path in jobs.session.folder.iterdir() if path.suffix == ".zarr"]
            say(
                cycle, viewer_mb=megabytes(), worker_mb=megabytes(jobs.state.worker["pid"]),
                stores=len(stores), **state_of_process(),
            )  # fmt: skip
    jobs.close()


def one_stain(viewer: Any, dock: Any, jobs: Any, field: Path, *, cancel: bool) -> None:
    """Stain one field; a cancelled run ends after its first tiles."""
    dock.load.open_path(field / "brightfield.ome.zarr")
    wait(lambda: len(viewer.layers) > 0)
    dock.show_page("stain")
    dock.stain.settings["tile"].value = TILE
    dock.stain.all.click()
    wait(lambda: any(run.verb == "stain" for run in jobs.runs))
    (run,) = (run for run in jobs.runs if run.verb == "stain")
    if cancel:
        wait(lambda: run.ended or (run.progress or (0, 0, ""))[2] == "tiles stained")
        dock.run_bar.cancel.click()
    wait(lambda: run.ended)
    expected = ("cancelled", "done") if cancel else ("done",)
    if run.state not in expected:
        raise SystemExit(f"error: A run ended as {run.state}: {run.outcome.sentence}")
    wait(lambda: len(viewer.layers) > 1)


def soak_bare(cycles: int, field: Path) -> None:
    """Show the same field in as many viewers, without the dock."""
    import napari
    from napari.layers import Layer

    from napari_virtualstain.napari_io.reader import open_layers

    for cycle in range(1, cycles + 1):
        viewer = napari.Viewer(show=True)
        for name in ("brightfield", "stains"):
            for data in open_layers(field / f"{name}.ome.zarr"):
                viewer.add_layer(Layer.create(*data))
        wait(lambda: True)
        settle()
        viewer.close()
        del viewer
        settle()
        if cycle % EVERY == 0:
            say(cycle, viewer_mb=megabytes(), **state_of_process())


# --- the report ------------------------------------------------------------------------------------


def growth(rows: list[dict[str, Any]], name: str) -> float:
    """Return by which part something grew over the second half of the cycles."""
    half = rows[len(rows) // 2 - 1 if len(rows) > 1 else 0]
    return float(rows[-1][name]) / float(half[name]) - 1.0


def report(cycles: int, dock: list[dict[str, Any]], bare: list[dict[str, Any]]) -> int:
    """Write the report; return 1 if something of ours grew by more than the limit."""
    from _report import machine, table, write

    viewer, worker = growth(dock, "viewer_mb"), growth(dock, "worker_mb")
    alone = growth(bare, "viewer_mb")
    header = (
        "cycle", "viewer (MB)", "worker (MB)", "threads", "Qt widgets", "viewer without dock (MB)",
        "Qt widgets",
    )  # fmt: skip
    rows = [
        (
            a["cycle"], f"{a['viewer_mb']:.0f}", f"{a['worker_mb']:.0f}", a["threads"], a["widgets"],
            f"{b['viewer_mb']:.0f}", b["widgets"],
        )
        for a, b in zip(dock, bare, strict=True)
    ]  # fmt: skip
    kept = max(viewer, worker) <= LIMIT
    write(
        "soak.md",
        f"""# Memory does not grow with use

Written by `python benchmarks/soak.py --cycles {cycles}`. Each cycle opens a new viewer with the dock, opens a field of
{EDGE} x {EDGE} px, stains it with the model `demo` in tiles of {TILE} px (every second run is cancelled after its first
tiles) and closes the viewer, all in one process with one compute process beside it. The last columns are a process that
opens and closes viewers with the same field and its true stains, without the dock.

{table(header, rows)}

Over the second half of the cycles the viewer's process grew by {viewer:.1%}, the worker by {worker:.1%}, the viewer
without the dock by {alone:.1%}; at most {LIMIT:.0%} of the first two is allowed: {"kept" if kept else "**not kept**"}.

{machine()}.
""",
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
