"""What grows over many rounds of opening, staining, panning, cancelling, tuning, switching and closing?

    python benchmarks/soak.py [--rounds 500]

Each round opens a viewer with the dock, opens a simulated field, stains it (every second time to the
end, else it is cancelled after its first tiles) while the view is moved, goes through all pages, closes
the layers and closes the viewer, again and again in one process; every tenth round a model is
tuned, too. Then the same number of viewers that show the same field without the dock, in another
process, for comparison. Prints memory, widgets, threads, processes and open files ten times,
writes ``docs/benchmarks/soak.md``, and ends with code 1 if viewer or worker grow by more than 5 % over the
second half, or if something that is counted grows by more than `MORE` allows.
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
TUNE_EVERY = 10
MORE = {"widgets": 0, "layers": 0, "processes": 0, "threads": 3, "files": 5}
"""By how much counts may differ between the middle and the end: pools of threads, and the files
that these have open, are made and given back as they like."""
TUNING = {"steps": 4, "validate_every": 2, "batch": 2, "patch": 32}
"""What nobody sets on the page: a tuning that takes a moment."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--part", choices=("dock", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("--field", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        (soak if options.part == "dock" else soak_bare)(options.rounds, options.field)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        from napari_virtualstain.jobs.simulate import SimulateSettings
        from napari_virtualstain.jobs.simulate import run as simulate

        (field,) = simulate(SimulateSettings(out=scratch, size=EDGE, seed=1))
        simulate(SimulateSettings(out=f"{scratch}/pairs", size=96, seed=50, fields=2))
        dock, bare = (_run(part, options.rounds, field) for part in ("dock", "bare"))
    return report(options.rounds, dock, bare)


def _run(part: str, rounds: int, field: Path) -> list[dict[str, Any]]:
    """Run a part in a process of its own; return what it measured."""
    line = [
        sys.executable,
        __file__,
        "--part",
        part,
        "--rounds",
        str(rounds),
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


def say(number: int, **measured: Any) -> None:
    """Print a row for the process that asked."""
    print(json.dumps({"round": number, **measured}), flush=True)


def megabytes(pid: int | None = None) -> float:
    """Return the resident memory of a process in MB."""
    import psutil

    return round(psutil.Process(pid).memory_info().rss / 1e6, 1)


def state_of_process() -> dict[str, int]:
    """Return how much of what could leak there is, in this process and those that it started."""
    import threading

    import psutil
    from qtpy.QtWidgets import QApplication

    own = psutil.Process()
    return {
        "threads": threading.active_count(),
        "widgets": len(QApplication.allWidgets()),
        "processes": len(own.children(recursive=True)),
        "files": own.num_fds() if hasattr(own, "num_fds") else own.num_handles(),
    }


def layers_alive() -> int:
    """Return how many layers of napari somebody still holds."""
    from napari.layers import Layer

    return sum(isinstance(one, Layer) for one in gc.get_objects())


def rows_at(rounds: int) -> set[int]:
    """Return after which rounds a row is printed: ten of them, the last among them."""
    return {round(rounds * part / 10) for part in range(1, 11)} - {0}


def soak(rounds: int, field: Path) -> None:
    """Open, stain, pan, cancel or complete, switch, tune, close."""
    import napari

    from napari_virtualstain.widgets._jobs import jobs_of_application
    from napari_virtualstain.widgets.main import MainWidget

    jobs = jobs_of_application()
    for number in range(1, rounds + 1):
        viewer = napari.Viewer(show=True)
        dock = MainWidget(viewer)
        viewer.window.add_dock_widget(dock, name="Virtual staining")
        one_stain(viewer, dock, jobs, field, cancel=number % 2 == 0)
        switch(viewer, dock)
        if number % TUNE_EVERY == 0 or number == rounds:
            one_tuning(viewer, dock, jobs, field.parent / "pairs")
        viewer.layers.clear()
        settle()
        viewer.close()
        del viewer, dock
        settle()
        wait(lambda: not jobs.runs)
        if number in rows_at(rounds):
            stores = [path for path in jobs.session.folder.iterdir() if path.suffix == ".zarr"]
            say(
                number, viewer_mb=megabytes(), worker_mb=megabytes(jobs.state.worker["pid"]),
                stores=len(stores), layers=layers_alive(), **state_of_process(),
            )  # fmt: skip
    jobs.close()


def one_stain(viewer: Any, dock: Any, jobs: Any, field: Path, *, cancel: bool) -> None:
    """Stain one field while it is looked at; a cancelled run ends after its first tiles."""
    dock.load.open_path(field / "brightfield.ome.zarr")
    wait(lambda: len(viewer.layers) > 0)
    dock.show_page("stain")
    dock.stain.settings["tile"].value = TILE
    dock.stain.all.click()
    wait(lambda: any(run.verb == "stain" for run in jobs.runs))
    (run,) = (run for run in jobs.runs if run.verb == "stain")
    pan(viewer)
    if cancel:
        wait(lambda: run.ended or (run.progress or (0, 0, ""))[2] == "tiles stained")
        dock.run_bar.cancel.click()
    wait(lambda: run.ended)
    expected = ("cancelled", "done") if cancel else ("done",)
    if run.state not in expected:
        raise SystemExit(f"error: A run ended as {run.state}: {run.outcome.sentence}")
    wait(lambda: len(viewer.layers) > 1)
    pan(viewer)


def pan(viewer: Any) -> None:
    """Move the view and zoom, a step each turn of Qt's loop."""
    from qtpy.QtWidgets import QApplication

    camera = viewer.scene.camera
    *_, y, x = camera.center
    for step in range(8):
        camera.center = (0, y + 10 * (step % 4), x - 10 * (step % 3))
        camera.zoom *= 1.1 if step % 2 else 1 / 1.1
        QApplication.processEvents()


def switch(viewer: Any, dock: Any) -> None:
    """Show every page, and both themes."""
    for number in range(dock.pages.count()):
        dock.pages.setCurrentIndex(number)
        settle()
    viewer.theme = "light" if viewer.theme == "dark" else "dark"
    settle()


def one_tuning(viewer: Any, dock: Any, jobs: Any, pairs: Path) -> None:
    """Tune the demo model on two small fields, look at the result, and put it away."""
    viewer.layers.clear()
    for field in sorted(path for path in pairs.iterdir() if path.is_dir()):
        for name in ("brightfield", "stains"):
            before = len(viewer.layers)
            dock.load.open_path(field / f"{name}.ome.zarr")
            wait(lambda before=before: len(viewer.layers) > before)
    dock.show_page("tune")
    page = dock.tune
    made = page.settings
    page.settings = lambda pairs: made(pairs).model_copy(update=TUNING)
    page.model.box.setEditText("demo")
    wait(page.pairs.add_open.isEnabled)
    page.pairs.add_open.click()
    wait(page.start.isEnabled)
    page.start.click()
    wait(page.result.isVisible)
    page.result.revert.click()
    wait(lambda: not jobs.runs)
    del page.settings


def soak_bare(rounds: int, field: Path) -> None:
    """Show the same field in as many viewers, without the dock."""
    import napari
    from napari.layers import Layer

    from napari_virtualstain.napari_io.reader import open_layers

    for number in range(1, rounds + 1):
        viewer = napari.Viewer(show=True)
        for name in ("brightfield", "stains"):
            for data in open_layers(field / f"{name}.ome.zarr"):
                viewer.add_layer(Layer.create(*data))
        wait(lambda: True)
        settle()
        viewer.close()
        del viewer
        settle()
        if number in rows_at(rounds):
            say(number, viewer_mb=megabytes(), **state_of_process())


# --- the report ------------------------------------------------------------------------------------


def growth(rows: list[dict[str, Any]], name: str) -> float:
    """Return by which part something grew over the second half of the cycles."""
    half = rows[len(rows) // 2 - 1 if len(rows) > 1 else 0]
    return float(rows[-1][name]) / float(half[name]) - 1.0


def grown(rows: list[dict[str, Any]]) -> list[str]:
    """Say which counts grew between the middle and the end by more than is allowed."""
    half, last = rows[len(rows) // 2 - 1 if len(rows) > 1 else 0], rows[-1]
    return [
        f"{name} from {half[name]} to {last[name]}"
        for name, most in MORE.items()
        if last[name] - half[name] > most
    ]


def report(rounds: int, dock: list[dict[str, Any]], bare: list[dict[str, Any]]) -> int:
    """Write the report; return 1 if something of ours grew by more than the limit."""
    from _report import machine, table, write

    viewer, worker = growth(dock, "viewer_mb"), growth(dock, "worker_mb")
    alone, more = growth(bare, "viewer_mb"), grown(dock)
    header = (
        "round", "viewer (MB)", "worker (MB)", "threads", "processes", "open files", "Qt widgets", "layers",
        "viewer without dock (MB)",
    )  # fmt: skip
    rows = [
        (
            a["round"], f"{a['viewer_mb']:.0f}", f"{a['worker_mb']:.0f}", a["threads"], a["processes"],
            a["files"], a["widgets"], a["layers"], f"{b['viewer_mb']:.0f}",
        )
        for a, b in zip(dock, bare, strict=True)
    ]  # fmt: skip
    kept = max(viewer, worker) <= LIMIT
    allowed = ", ".join(f"{name} {most}" for name, most in MORE.items())
    write(
        "soak.md",
        f"""# Nothing grows with use

Written by `python benchmarks/soak.py --rounds {rounds}`. Each round opens a new viewer with the dock, opens a field of
{EDGE} x {EDGE} px, stains it with the model `demo` in tiles of {TILE} px (every second run is cancelled after its first
tiles) while the view is moved, goes through all pages and both themes, closes the layers and closes the viewer, all in one process with one
compute process beside it. Every tenth round, and in the last, the model is tuned on two fields of 96 px as well. The last column is a process that
opens and closes viewers with the same field and its true stains, without the dock. Counted after each round are what the viewer's process
and those that it started hold.

{table(header, rows)}

Over the second half of the rounds the viewer's process grew by {viewer:.1%}, the worker by {worker:.1%}, the viewer
without the dock by {alone:.1%}; at most {LIMIT:.0%} of the first two is allowed: {"kept" if kept else "**not kept**"}. Counts may grow by
{allowed}: {"kept" if not more else "**not kept**, " + "; ".join(more)}.

{machine()}.
""",
    )
    return 0 if kept and not more else 1


if __name__ == "__main__":
    sys.exit(main())
