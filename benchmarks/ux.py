"""How many clicks and seconds is it from a drop to a stain, to a verdict, to a tuned model?

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/ux.py [--size 512] [--fields 3]

Opens napari with the dock as a user has it, drops simulated fields of another microscope and their
true stains, and clicks the buttons that a user clicks, with the mouse, in a window of 1280 x 800.
Each click is counted where it falls, tabs and buttons alike; nothing is typed and no setting is
changed. Then the same is done with keys. Writes ``docs/benchmarks/ux.md``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from _report import machine, table, write

WANTED = {"drop to stain": 3, "stain to verdict": 3, "verdict to a tuned model": 5}


class User:
    """Drops, clicks and waits; counts and times what it did.

    Parameters
    ----------
    viewer, dock
        What is used.
    """

    def __init__(self, viewer: Any, dock: Any) -> None:
        self.viewer, self.dock = viewer, dock
        self.clicks, self.keys = 0, 0
        self.steps: list[tuple[str, str]] = []
        self._began = time.perf_counter()

    def begin(self) -> None:
        self.clicks = self.keys = 0
        self.steps.clear()
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def until(self, condition: Callable[[], Any], seconds: float = 900) -> None:
        from qtpy.QtTest import QTest

        ends = time.perf_counter() + seconds
        while not condition():
            if time.perf_counter() > ends:
                said = {
                    n: getattr(self.dock, n).notice.text for n in ("load", "stain", "qc", "tune")
                }
                raise TimeoutError(f"It did not come true. Said: {said}")
            QTest.qWait(10)

    def click(self, button: Any, what: str) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        self.until(lambda: button.isVisible() and button.isEnabled())
        self.clicks += 1
        self.steps.append((what, f"{self.seconds:.1f}"))
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def tab(self, page: str) -> None:
        number = [self.dock.pages.tabText(n).lower() for n in range(self.dock.pages.count())].index(
            page
        )
        self.click(self.dock.pages.tab(number), f"tab *{self.dock.pages.tabText(number)}*")

    def press(self, title: str) -> None:
        from qtpy.QtGui import QKeySequence
        from qtpy.QtTest import QTest

        from napari_virtualstain.widgets._keys import SHORTCUTS

        (found,) = (s for s in SHORTCUTS if s.title == title)
        key = QKeySequence(found.key.replace("Control", "Ctrl").replace("-", "+"))[0]
        self.keys += 1
        self.steps.append((f"key *{title}*", f"{self.seconds:.1f}"))
        QTest.keyClick(self.dock.window(), key.key(), key.keyboardModifiers())

    def drop(self, *paths: Path) -> None:
        from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
        from qtpy.QtGui import QDragEnterEvent, QDropEvent
        from qtpy.QtWidgets import QApplication

        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        held = (
            Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        # Qt delivers a drop only where something has entered before.
        for event in (QDragEnterEvent(QPoint(40, 40), *held), QDropEvent(QPointF(40, 40), *held)):
            QApplication.sendEvent(self.dock, event)

    def idle(self) -> None:
        self.until(lambda: not self.dock.jobs.runs)

    def layers_of(self, *paths: Path) -> int:
        from napari_virtualstain.napari_io.source import source_of

        found = [source_of(layer) for layer in self.viewer.layers]
        return sum(s is not None and s.path in map(str, paths) for s in found)

    def predicted(self) -> list[Any]:
        from napari_virtualstain.napari_io.source import source_of

        found = [source_of(layer) for layer in self.viewer.layers]
        return [s for s in found if s is not None and s.role == "prediction"]


def simulate(folder: Path, count: int, size: int) -> list[tuple[Path, Path]]:
    from napari_virtualstain import simulate
    from napari_virtualstain.jobs.simulate import write_field

    made = []
    for n in range(count):
        settings, seed = simulate.held_out_settings(n)
        field = simulate.simulate_field(replace(settings, shape_px=(size, size)), seed=seed)
        place = folder / f"field-{n + 1}"
        write_field(field, place)
        made.append((place / "brightfield.ome.zarr", place / "stains.ome.zarr"))
    return made


def opened() -> User:
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtualstain", "Load, stain, compare")
    user = User(viewer, dock)
    # A user looks around meanwhile; how long that takes is measured by benchmarks/viewer.py.
    user.until(lambda: dock.jobs.state.name == "ready")
    return user


def by_mouse(user: User, fields: list[tuple[Path, Path]]) -> list[dict[str, Any]]:
    dock, found = user.dock, []

    def ended(path: str) -> None:
        found.append({
            "path": path, "clicks": user.clicks, "seconds": user.seconds, "steps": list(user.steps),
        })  # fmt: skip

    user.begin()
    user.drop(*fields[0])
    user.until(lambda: user.layers_of(*fields[0]) == 6)
    user.click(dock.load.go, f"*{dock.load.go.text()}* on the page Load")
    user.click(dock.stain.all, "*Stain all*")
    user.until(lambda: len(user.predicted()) == 5)
    user.idle()
    ended("drop to stain")

    user.begin()
    user.tab("qc")
    user.click(dock.qc.start, f"*{dock.qc.start.text()}*")
    user.idle()
    ended("stain to verdict")

    # Pairs of further fields, which are to teach.
    for pair in fields[1:]:
        user.drop(*pair)
        user.until(lambda pair=pair: user.layers_of(*pair) == 6)
    user.until(lambda: not dock.load.notice.text.startswith("Opening"))
    user.begin()
    user.tab("tune")
    user.click(dock.tune.pairs.add_open, f"*{dock.tune.pairs.add_open.text()}*")
    user.click(dock.tune.start, f"*{dock.tune.start.text()}*")
    user.click(dock.tune.result.keep, f"*{dock.tune.result.keep.text()}*")
    user.until(lambda: dock.stain.model.name != "demo")
    ended("verdict to a tuned model")
    user.idle()
    return found


def by_keys(user: User, field: tuple[Path, Path]) -> list[dict[str, Any]]:
    dock, found = user.dock, []
    user.begin()
    user.drop(field[0])
    user.until(lambda: dock.stain.all.isEnabled())
    user.press("Stain the whole image")
    user.until(lambda: len(user.predicted()) == 5)
    user.idle()
    found.append(
        {
            "path": "drop to stain",
            "clicks": user.keys,
            "seconds": user.seconds,
            "steps": list(user.steps),
        }
    )
    user.begin()
    user.press("Judge the virtual stain (QC)")
    user.until(lambda: any(run.verb == "qc" for run in dock.jobs.runs))
    user.idle()
    found.append(
        {
            "path": "stain to verdict",
            "clicks": user.keys,
            "seconds": user.seconds,
            "steps": list(user.steps),
        }
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--fields", type=int, default=3)
    options = parser.parse_args()
    code = 1
    try:
        measure(options)
        code = 0
    except Exception:  # noqa: BLE001 (said, and then the process is ended)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)  # napari leaves threads of its own behind


def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NVS_CACHE"] = f"{scratch}/cache"
        os.environ["NVS_MODELS"] = f"{scratch}/models"
        os.environ["NAPARI_CONFIG"] = f"{scratch}/napari.yaml"
        fields = simulate(Path(scratch), options.fields, options.size)
        user = opened()
        mouse = by_mouse(user, fields)
        user.viewer.close()
        user = opened()
        keys = by_keys(user, fields[0])
        user.viewer.close()
        report(mouse, keys, options)


def report(mouse: list[dict[str, Any]], keys: list[dict[str, Any]], options: Any) -> None:
    counts = [
        (row["path"], row["clicks"], WANTED[row["path"]], f"{row['seconds']:.1f}") for row in mouse
    ]
    walks = "\n\n".join(
        f"*{row['path'].capitalize()}*:\n\n"
        + "\n".join(f"{n}. {what} (after {at} s)" for n, (what, at) in enumerate(row["steps"], 1))
        for row in mouse
    )
    keyed = [(row["path"], row["clicks"], f"{row['seconds']:.1f}") for row in keys]
    write(
        "ux.md",
        f"""# How many clicks is it?

Made by `benchmarks/ux.py --size {options.size} --fields {options.fields}`. {machine()}. Display: Xvfb, drawn by the processor
(llvmpipe), 1280 x 800.

A field of {options.size} x {options.size} px and its true stains are dropped on the dock, stained whole with the bundled model, and judged; then {options.fields - 1}
further fields are dropped with theirs, and the model is tuned on all {options.fields} with what the page proposes. The mouse clicks the middle of each button;
nothing is typed, and no setting is changed. Seconds are those until the end of the step, computing included.

{table(("from", "clicks", "at most wanted", "seconds"), counts)}

{walks}

With the [keys of the viewer](../viewer.md#keys) in place of the mouse:

{table(("from", "keys", "seconds"), keyed)}

How soon the dock is there and the first pixels are painted is measured in [viewer](viewer.md); what a newcomer stumbled over
stands in [The first hour](first-hour.md).
""",
    )


if __name__ == "__main__":
    main()
