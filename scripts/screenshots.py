"""How do pictures of the window get into the documentation, and who notices when they are old?

    python scripts/screenshots.py            make those that are missing or old (needs a display)
    python scripts/screenshots.py NAME ...   make these in any case; --all makes all
    python scripts/screenshots.py --check    say whether all are there and new; needs neither napari nor a display

A shot is a function in `SHOTS` that drives the real widgets in a real viewer. It is taken in both themes, each in a
process of its own, and saved as ``docs/images/NAME-dark.png`` and ``NAME-light.png``. Beside each stands a JSON file with
the hash of what it shows: the sources of the widgets and this script. Pages name the light picture; the site shows
the one that fits (docs/conf.py).

Only simulated fields appear in pictures: anyone may print them, and anyone can make them again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import napari
    from PIL import Image
    from qtpy.QtWidgets import QWidget

    from napari_virtualstain.widgets.main import MainWidget

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
WIDGETS = ROOT / "src" / "napari_virtualstain" / "widgets"

THEMES = ("dark", "light")
SIZE = (1280, 800)
MOST_BYTES = 300_000
COLOURS = (256, 128, 64)  # tried in turn until a picture is small enough
KEPT = ("#3fa34d",)  # a few pixels that say something: the dot of a compute process that is ready
PATIENCE_S = 60.0
ONE_SHOT_S = 300.0


class Stage:
    """A viewer of the right size and theme, and what a shot does with it.

    `wait` for what must have happened instead of sleeping: a picture is then the same on a slow machine.
    """

    def __init__(self, theme: str) -> None:
        import napari
        from napari.settings import get_settings

        get_settings().appearance.theme = theme
        self.viewer: napari.Viewer = napari.Viewer(title="napari", show=True)
        self.viewer.theme = theme
        self.resize(*SIZE)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window in pixels."""
        self.viewer.window.resize(width, height)
        self.pump(0.2)

    def dock(self, widget: QWidget, name: str = "Virtual staining", area: str = "right") -> None:
        """Put a widget beside the canvas, as the plugin menu does."""
        self.viewer.window.add_dock_widget(widget, name=name, area=area)
        self.pump(0.2)

    def sample(self) -> None:
        """Open the simulated field of *File > Open Sample > Virtual staining*."""
        self.viewer.open_sample("napari-virtualstain", "demo_field")
        self.viewer.reset_view()

    def pump(self, seconds: float) -> None:
        """Let the window work for a while."""
        from qtpy.QtWidgets import QApplication

        until = time.monotonic() + seconds
        while time.monotonic() < until:
            QApplication.processEvents()
            time.sleep(0.01)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> None:
        """Let the window work until a condition holds; `what` completes "waited in vain for"."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError(f"Waited {seconds:g} s in vain for {what}.")
            self.pump(0.05)

    def photograph(self, part: QWidget | None = None) -> Image.Image:
        """Return the window, or a part of it, once it is drawn."""
        import numpy as np
        from PIL import Image

        self.pump(1.5)  # a software renderer takes its time
        canvas = self.viewer.screenshot(canvas_only=True, flash=False)[..., :3]
        if len(self.viewer.layers) and canvas.std() < 1:
            raise RuntimeError("The canvas is empty: this display draws no OpenGL. Use xvfb-run.")
        if part is None:
            shown = self.viewer.screenshot(canvas_only=False, flash=False)[..., :3]
            size = SIZE
        else:
            from qtpy.QtCore import QBuffer, QIODevice

            buffer = QBuffer()
            buffer.open(QIODevice.OpenModeFlag.WriteOnly)
            part.grab().save(buffer, "PNG")
            shown = np.asarray(Image.open(io.BytesIO(bytes(buffer.data()))).convert("RGB"))
            size = (part.width(), part.height())
        picture = Image.fromarray(np.ascontiguousarray(shown))
        # On a screen of double resolution a pixel of the window is four of the picture.
        return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


# --- the shots --------------------------------------------------------------------------------------------------------


def opened(stage: Stage) -> MainWidget:
    """The dock, as the plugin menu opens it, with a compute process that is ready."""
    from napari_virtualstain.widgets.commands import open_dock

    widget = open_dock(stage.viewer)
    stage.wait(lambda: widget.jobs.state.name == "ready", "the compute process")
    return widget


def loaded(stage: Stage) -> MainWidget:
    """The dock after a click on the sample."""
    widget = opened(stage)
    widget.start.sample.click()
    stage.wait(lambda: len(stage.viewer.layers) == 6, "the sample")
    stage.viewer.reset_view()
    return widget


def stained(stage: Stage) -> MainWidget:
    """The dock after a click on *Stain all*."""
    widget = loaded(stage)
    widget.show_page("stain")
    stage.wait(lambda: "starts at once" in widget.stain.plan.text(), "the plan")
    widget.stain.all.click()
    stage.wait(lambda: "Stained" in widget.stain.notice.text, "the stain")
    stage.wait(lambda: len(stage.viewer.layers) == 11, "the layers of the stain")
    return widget


def start(stage: Stage) -> QWidget | None:
    """The page Start, in a viewer that is empty."""
    return opened(stage)


def load(stage: Stage) -> QWidget | None:
    """The page Load, with the sample's bright field."""
    widget = loaded(stage)

    def brightfields() -> list[Any]:
        return [field for field in widget.fields.all if field.brightfield is not None]

    stage.wait(brightfields, "the bright field")
    widget.load.box.choose(brightfields()[0].key)
    return widget


def stain(stage: Stage) -> QWidget | None:
    """The window with a stained sample."""
    stained(stage)
    return None


def compare(stage: Stage) -> QWidget | None:
    """The window with the table, and the difference of one stain."""
    widget = stained(stage)
    widget.show_page("compare")
    stage.pump(1)  # the fields follow the last layer in a turn of their own
    widget.compare.start.click()
    stage.wait(lambda: bool(widget.compare.view.key.text()), "the table")
    widget.compare.view.modes.button(3).click()
    return None


def closer(stage: Stage) -> QWidget | None:
    """The window with both in one picture, and what the pixels under the cursor say."""
    compare(stage)
    widget = opened(stage)
    view = widget.compare.view
    view.modes.button(2).click()
    view.close_up.heading.click()
    stage.viewer.scene.camera.zoom *= 2
    stage.wait(lambda: "PCC" in view.closer.numbers.text(), "the numbers in view")
    predicted = view.watch.of[0]
    top, left, bottom, right = view.watch.pair.region
    middle = ((top + bottom) / 2, (left + right) / 2)
    position = predicted.data_to_world((*(0,) * (predicted.ndim - 2), *middle))
    event = SimpleNamespace(position=(*(0,) * (stage.viewer.dims.ndim - len(position)), *position))
    for call in stage.viewer.mouse_move_callbacks:
        call(stage.viewer, event)
    stage.pump(0.3)
    page = widget.pages.currentWidget()
    page.verticalScrollBar().setValue(page.verticalScrollBar().maximum())
    return None


def first_model() -> Path:
    """A model of one's own to compare with: trained for a moment, which shows."""
    from napari_virtualstain.jobs.train import TrainSettings
    from napari_virtualstain.jobs.train import run as train

    path = Path(os.environ["NVS_MODELS"]) / "my-first"
    quick = {"recipe": "demo", "preset": "tiny", "fields": 2, "steps": 40, "validation": 0.5}
    train(TrainSettings(out=str(path), device="cpu", **quick))
    return path


def scores(stage: Stage) -> QWidget | None:
    """The page Compare with two models of the sample: the worst first, ranks and the plot."""
    from napari_virtualstain.jobs.stain import StainSettings

    model = first_model()
    widget = stained(stage)
    stage.pump(1)
    light = next(f for f in widget.fields.all if f.can_be_stained)
    out = widget.jobs.session.folder / "my-first.ome.zarr"
    run = widget.jobs.submit(
        "stain", StainSettings(input=light.path, model=str(model), out=str(out))
    )
    stage.wait(lambda: run.ended, "the other stain", 120)
    before = len(stage.viewer.layers)
    widget.load.open_path(str(out))
    stage.wait(lambda: len(stage.viewer.layers) >= before + 5, "its layers")
    widget.show_page("compare")
    page, panel = widget.compare, widget.compare.scores
    stage.wait(panel.start.isEnabled, "the pair")
    demo = next(f for f in widget.fields.all if f.predicted and f.path != str(out))
    page.prediction.choose(demo.key)
    page.fold.heading.setChecked(True)
    panel.source.tick((str(out), ""))
    panel.start.click()
    stage.wait(lambda: page.view.pair is not None and panel.results.isVisible(), "the scores", 120)
    page.view.modes.button(7).click()
    stage.wait(lambda: len(page.view.beside.sheet.layers) == 4, "the crops")
    stage.pump(0.3)
    scroll = widget.pages.currentWidget().verticalScrollBar()
    scroll.setValue(scroll.maximum())
    return None


def treated_plate(root: Path) -> tuple[Path, Path, Path]:
    """Bright field and true stains of a small simulated plate, and its layout."""
    from dataclasses import replace

    from napari_virtualstain.io.plate_write import PlateStore, field_path
    from napari_virtualstain.jobs.simulate import write_field
    from napari_virtualstain.simulate import held_out_settings, simulate_field

    paths = root / "brightfield.ome.zarr", root / "stains.ome.zarr"
    plates = [PlateStore(path, name="plate", rows=3, columns=4) for path in paths]
    lines = ["well,treatment"]
    for number in range(12):
        row, column = divmod(number, 4)
        settings, seed = held_out_settings(9100 + number)
        field = simulate_field(replace(settings, shape_px=(320, 320)), seed=seed)
        at = field_path(row, column, "0")
        only = {
            name: path / at for name, path in zip(("brightfield", "stains"), paths, strict=True)
        }
        write_field(field, (paths[0] / at).parent, only=only)
        for plate in plates:
            plate.add(row, column, "0")
        lines.append(f"{'ABC'[row]}{column + 1:02d},{'DMSO' if number % 2 else f'drug {row + 1}'}")
    layout = root / "layout.csv"
    layout.write_text("\n".join(lines), encoding="utf-8")
    return (*paths, layout)


def verdict(stage: Stage) -> QWidget | None:
    """The page Verdict: what was concluded of a simulated plate."""
    from napari_virtualstain.jobs.batch import BatchSettings

    widget = opened(stage)
    scratch = widget.jobs.session.folder / "plate"
    light, true, layout = treated_plate(scratch)
    out = scratch / "predicted.ome.zarr"
    run = widget.jobs.submit("batch", BatchSettings(input=str(light), out=str(out)))
    stage.wait(lambda: run.ended, "the stains", 240)
    widget.show_page("verdict")
    page = widget.verdict
    page.prediction.set_path(str(out))
    page.truth.set_path(str(true))
    page.layout_table.set_path(str(layout))
    page.controls.setText("DMSO")
    page.start.click()
    stage.wait(lambda: bool(page.words.text()), "the verdict", 240)
    return widget


def diagnose(stage: Stage) -> QWidget | None:
    """The page Start, with the report of this machine."""
    widget = opened(stage)
    widget.start.diagnose.click()
    stage.wait(lambda: bool(widget.start.report.toPlainText()), "the report")
    return widget


def plate_of(field: Path, at: Path) -> Path:
    """A plate whose wells hold copies of a simulated field; made without napari."""
    import shutil

    from napari_virtualstain.io.plate_write import PlateStore, field_path

    plate = PlateStore(at, name="simulated", rows=4, columns=6)
    for row in range(4):
        for column in range(6):
            if (row + 2 * column) % 5:
                shutil.copytree(field, at / field_path(row, column, "0"))
                plate.add(row, column, "0")
    return at


def bad_plate(at: Path) -> Path:
    """A plate of simulated fields, three of which were photographed badly; made without napari."""
    from dataclasses import replace

    from napari_virtualstain.io.plate_write import PlateStore, field_path
    from napari_virtualstain.jobs.simulate import write_field
    from napari_virtualstain.simulate import held_out_settings, simulate_field

    wrong: dict[tuple[int, int], dict[str, float]] = {
        (0, 2): {"debris": 10.0}, (1, 1): {"noise": 4.0}, (2, 3): {"illumination": 0.6},
    }  # fmt: skip
    plate = PlateStore(at, name="plate", rows=4, columns=6)
    for number in range(12):
        row, column = divmod(number, 4)
        settings, seed = held_out_settings(9000 + number)
        settings = replace(settings, shape_px=(320, 320), **wrong.get((row, column), {}))
        path = at / field_path(row, column, "0")
        write_field(simulate_field(settings, seed=seed), path.parent, only={"brightfield": path})
        plate.add(row, column, "0")
    return at


def qc(stage: Stage) -> QWidget | None:
    """The window with the page QC: a plate of which three wells were photographed badly."""
    from napari_virtualstain.datasets.review import Decision, Review, write_review
    from napari_virtualstain.jobs.batch import BatchSettings

    widget = opened(stage)
    scratch = widget.jobs.session.folder / "judged"
    light, stained = scratch / "light.ome.zarr", scratch / "plate.ome.zarr"
    bad_plate(light)
    run = widget.jobs.submit("batch", BatchSettings(input=str(light), out=str(stained)))
    stage.wait(lambda: run.ended, "the stains", 240)
    good = Decision(path="plate.ome.zarr", scene="A/1/0", verdict="accepted")
    write_review(stained, Review(decisions=(good,)))
    widget.show_page("qc")
    widget.qc.source.set_folder(str(stained))
    widget.qc.start.click()
    stage.wait(widget.qc.panel.isVisible, "the judgement", 240)
    stage.wait(widget.qc.panel.marks.isEnabled, "the worst field")
    stage.viewer.reset_view()
    return None


def measure(stage: Stage) -> QWidget | None:
    """The window with the page Measure: nuclei and cells of the stained sample."""
    widget = stained(stage)
    widget.show_page("measure")
    page = widget.measure
    stage.wait(lambda: page.start.isEnabled(), "the stain")
    page.cells.setCurrentText("AGP")
    page.start.click()
    stage.wait(page.view.isVisible, "the numbers")
    stage.wait(lambda: len(page.outlines) == 2, "the outlines")
    stage.viewer.scene.camera.zoom *= 2
    return None


def explain(stage: Stage) -> QWidget | None:
    """The window with the page Explain: on which pixels a nucleus of the sample depends."""
    widget = loaded(stage)
    widget.show_page("explain")
    page = widget.explain
    stage.wait(lambda: page.pick.isEnabled(), "the bright field")
    page.form.method.setCurrentIndex(page.form.method.findData("gradient"))
    light = page.box.field.brightfield
    dna = next(layer for layer in stage.viewer.layers if layer.name == "DNA")
    for layer in stage.viewer.layers:
        layer.visible = layer is light
    pixels = dna.data[0] if dna.multiscale else dna.data
    y, x = brightest(pixels)
    page.explain_at(y, x)
    stage.wait(lambda: page.maps.isVisible(), "the maps")
    world = light.data_to_world((0,) * (light.ndim - 2) + (y, x))
    stage.viewer.scene.camera.center = (0.0, *world[-2:])
    stage.viewer.scene.camera.zoom *= 6
    return None


def brightest(pixels: Any) -> tuple[int, int]:
    """A pixel in the middle of the sample's brightest nuclei."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    plane = gaussian_filter(np.asarray(pixels, float).reshape(pixels.shape[-2:]), 8)
    inner = plane[64:-64, 64:-64]
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(y) + 64, int(x) + 64


def queue(stage: Stage) -> QWidget | None:
    """The page Queue, with some wells of a plate on the list, the first of them stained."""
    from napari_virtualstain.jobs.simulate import SimulateSettings
    from napari_virtualstain.jobs.simulate import run as simulate

    widget = opened(stage)
    scratch = widget.jobs.session.folder / "queue"
    (field,) = simulate(SimulateSettings(out=str(scratch / "field"), size=512, seed=1))
    path = plate_of(field / "brightfield.ome.zarr", scratch / "simulated.ome.zarr")
    widget.load.open_path(path)
    stage.wait(lambda: len(stage.viewer.layers) == 1, "the plate")
    stage.viewer.reset_view()
    widget.show_page("queue")
    page = widget.queue
    stage.wait(lambda: page.images.add.text() == "Add 19 images", "the wells")
    page.images.map.pick({(row, column) for row in range(1, 3) for column in range(1, 4)})
    page.images.add.click()
    page.out.set_path(str(scratch / "stained.ome.zarr"))
    page.start.click()
    stage.wait(lambda: any(item.state == "done" for item in page.list.state.items), "a stain")
    page.pause.click()
    stage.wait(lambda: not widget.jobs.runs and page.start.isVisible(), "the pause")
    page.open_result(next(item for item in page.list.state.items if item.state == "done"))
    stage.wait(lambda: len(stage.viewer.layers) >= 6, "the layers of the stain")
    page.add_fold.heading.setChecked(True)
    return widget


def passport(stage: Stage) -> QWidget | None:
    """The page Stain, with the passport of a picture whose pixels are too coarse."""
    widget = loaded(stage)
    widget.show_page("stain")
    stage.wait(lambda: "starts at once" in widget.stain.plan.text(), "the plan")
    widget.stain.settings["pixel_size"].value = "0.9"
    stage.wait(lambda: widget.stain.passport.state == "unchecked", "the card")
    widget.stain.passport.button.click()
    stage.wait(lambda: widget.stain.passport.state == "checked", "the passport")
    return widget


def models(stage: Stage) -> QWidget | None:
    """The window with the page Models: two models tried on a part of the sample, ranked."""
    from qtpy.QtCore import Qt

    widget = loaded(stage)
    first_model()
    widget.show_page("models")
    page = widget.models
    stage.wait(lambda: page.trying.truth.field is not None, "the true stains")
    page.list.choose("demo")
    for row in range(page.list.list.count()):
        item = page.list.list.item(row)
        if item.text().split("\n")[0] in ("demo", "my-first"):
            item.setCheckState(Qt.CheckState.Checked)
    stage.viewer.scene.camera.zoom *= 3
    stage.pump(0.3)
    page.trying.start.click()
    scored = lambda: all(trial.score("DNA").pcc is not None for trial in page.trying.trials)  # noqa: E731
    stage.wait(lambda: page.trying.trials and scored(), "the scores")
    stage.wait(lambda: len(page.trying.results.sheet.layers) == 4, "the crops")
    return None


def tunable(stage: Stage) -> MainWidget:
    """The dock with four pairs of another microscope on the page Tune."""
    from dataclasses import replace

    from napari_virtualstain.jobs.simulate import write_field
    from napari_virtualstain.simulate import simulate_field, training_settings

    widget = opened(stage)
    scratch = widget.jobs.session.folder / "pairs"
    for n in range(4):
        settings, seed = training_settings(n)
        other = replace(
            settings, shape_px=(384, 384), focus_error_um=2.0, noise=2.5, condenser_na=0.15
        )
        made = simulate_field(other, seed=seed)
        write_field(replace(made, stains=2.5 * made.stains), scratch / f"field {n + 1}")
        for name in ("brightfield", "stains"):
            before = len(stage.viewer.layers)
            widget.load.open_path(scratch / f"field {n + 1}" / f"{name}.ome.zarr")
            stage.wait(lambda before=before: len(stage.viewer.layers) > before, "the layers")
            stage.wait(lambda: not widget.load.notice.text.startswith("Opening"), "the image")
    for layer in list(stage.viewer.layers)[:-6]:
        layer.visible = False
    stage.viewer.reset_view()
    widget.show_page("tune")
    stage.wait(widget.tune.pairs.add_open.isEnabled, "the pairs")
    widget.tune.pairs.add_open.click()
    stage.wait(lambda: "may move" in widget.tune.plan.text(), "the plan", 120)
    return widget


def tune_pick(stage: Stage) -> QWidget | None:
    """The page Tune, with who teaches and who judges."""
    return tunable(stage)


def tune(stage: Stage) -> QWidget | None:
    """The window while a model is tuned: curves, and the held-back crop."""
    widget = tunable(stage)
    widget.tune.start.click()
    curves = lambda: widget.tune.watch.plot.curves  # noqa: E731
    stage.wait(lambda: curves() is not None and len(curves().points) > 8, "the curves", 200)
    stage.wait(lambda: len(widget.tune.watch.sheet.layers) == 4, "the crops")
    return None


def tuned(stage: Stage) -> QWidget | None:
    """The page Tune, with what came of it."""
    widget = tunable(stage)
    widget.tune.start.click()
    stage.wait(lambda: widget.tune.watch.plot.curves is not None, "the curves", 120)
    stage.wait(lambda: len(widget.tune.watch.plot.curves.points) > 6, "some steps", 200)
    widget.tune.watch.end.click()
    stage.wait(widget.tune.result.isVisible, "the result", 120)
    return widget


def tune_next(stage: Stage) -> QWidget | None:
    """The page Tune, with the fields that should be stained next."""
    widget = tunable(stage)
    widget.tune.pick_fold.heading.setChecked(False)
    widget.tune.pairs.list.topLevelItem(0).setSelected(True)
    widget.tune.pairs.list.topLevelItem(1).setSelected(True)
    widget.tune.pairs.remove.click()
    stage.wait(lambda: "may move" in widget.tune.plan.text(), "the plan", 120)
    widget.tune.next_fold.heading.setChecked(True)
    widget.tune.next.find.click()
    stage.wait(lambda: widget.tune.next.list.topLevelItemCount() > 0, "the fields", 200)
    return widget


Shot = Callable[[Stage], "QWidget | None"]
SHOTS: dict[str, Shot] = {
    shot.__name__: shot
    for shot in (
        start,
        load,
        stain,
        compare,
        closer,
        scores,
        verdict,
        qc,
        measure,
        explain,
        tune_pick,
        tune,
        tuned,
        tune_next,
        diagnose,
        queue,
        passport,
        models,
    )
}
"""By the name of the picture. A shot returns the widget to be shown, or None for the whole window."""


# --- old or new -------------------------------------------------------------------------------------------------------


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sources() -> list[Path]:
    return [*sorted(WIDGETS.rglob("*.py")), Path(__file__).resolve()]


def hash_of(files: Iterable[Path]) -> str:
    """Hash names and contents; where a line ends differently (Windows), nothing else is shown."""
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{file.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def picture_of(name: str, theme: str) -> Path:
    return IMAGES / f"{name}-{theme}.png"


def sidecar_of(picture: Path) -> Path:
    return picture.with_name(picture.name + ".json")


def wrong_with(name: str, theme: str, current: str) -> str | None:
    """Say what is wrong with a picture, or None."""
    picture = picture_of(name, theme)
    if not picture.is_file() or not sidecar_of(picture).is_file():
        return "is missing"
    facts = json.loads(sidecar_of(picture).read_text(encoding="utf-8"))
    if facts.get("sources_sha256") != current:
        return "is older than the widgets"
    if facts.get("png_sha256") != sha256(picture.read_bytes()):
        return "was not made by its script"
    return None


def stale() -> dict[tuple[str, str], str]:
    """Return what is wrong, by name and theme."""
    current = hash_of(sources())
    found = {(n, t): wrong_with(n, t, current) for n in SHOTS for t in THEMES}
    return {key: what for key, what in found.items() if what}


def orphans() -> list[Path]:
    """Return pictures with a sidecar that no shot makes any more."""
    made = {sidecar_of(picture_of(n, t)) for n in SHOTS for t in THEMES}
    return sorted(set(IMAGES.glob("*.png.json")) - made)


def check() -> int:
    wrong = [f"{picture_of(*key).name} {what}" for key, what in stale().items()]
    wrong += [f"{path.name} belongs to no shot" for path in orphans()]
    if wrong:
        print(f"Pictures in docs/images: {'; '.join(wrong)}. Run make docs.", file=sys.stderr)
        return 1
    print(f"{len(SHOTS) * len(THEMES)} pictures show the widgets as they are.")
    return 0


# --- saving -----------------------------------------------------------------------------------------------------------


def small_png(picture: Image.Image) -> bytes:
    """Return a PNG of fewer colours if all of them take more than `MOST_BYTES`."""
    for colours in (None, *COLOURS):
        smaller = picture if colours is None else fewer_colours(picture, colours)
        buffer = io.BytesIO()
        smaller.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MOST_BYTES:
            return buffer.getvalue()
    raise ValueError(
        f"With {COLOURS[-1]} colours the picture still has {buffer.tell():,} bytes, and {MOST_BYTES:,} are allowed. "
        "Show a smaller part of the window, or less noise."
    )


def fewer_colours(picture: Image.Image, colours: int) -> Image.Image:
    """Return a picture of so many colours, `KEPT` among them however few pixels have them."""
    from PIL import Image, ImageColor

    common = picture.quantize(colours - len(KEPT), dither=Image.Dither.NONE)
    chosen = (common.getpalette() or [])[: 3 * (colours - len(KEPT))]
    for colour in KEPT:
        chosen.extend(ImageColor.getrgb(colour))
    palette = Image.new("P", (1, 1))
    palette.putpalette(chosen)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def save(picture: Image.Image, name: str, theme: str) -> Path:
    """Write a picture and what it was made from; return its path."""
    path = picture_of(name, theme)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = small_png(picture)
    facts = {
        "shot": name,
        "theme": theme,
        "size": list(picture.size),
        "sources_sha256": hash_of(sources()),
        "png_sha256": sha256(content),
    }
    path.write_bytes(content)
    sidecar_of(path).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8", newline="\n")
    return path


def take(name: str, theme: str) -> None:
    """Take one shot; for a process of its own, see `take_alone`."""
    stage = Stage(theme)
    path = save(stage.photograph(SHOTS[name](stage)), name, theme)
    stage.viewer.close()
    stage.pump(0.2)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


def take_alone(name: str, theme: str) -> int:
    """Take one shot in a process of its own, with nobody's settings, models or remembered windows."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = {
            **os.environ,
            "NAPARI_CONFIG": str(Path(scratch) / "settings.yaml"),
            "NVS_MODELS": str(Path(scratch) / "models"),
            "NVS_CACHE": str(Path(scratch) / "cache"),
            "QT_SCALE_FACTOR": "1",
        }
        line = [sys.executable, __file__, "--take", name, theme]
        try:
            return subprocess.run(line, env=environment, timeout=ONE_SHOT_S, check=False).returncode
        except subprocess.TimeoutExpired:
            print(f"{name}-{theme} was not done after {ONE_SHOT_S:g} s.", file=sys.stderr)
            return 1


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(SHOTS)}")
    parser.add_argument("--all", action="store_true", help="make all, old or not")
    parser.add_argument("--check", action="store_true", help="only say whether all are new")
    parser.add_argument("--take", nargs=2, metavar=("NAME", "THEME"), help=argparse.SUPPRESS)
    wanted = parser.parse_args(words)
    if wanted.check:
        return check()
    if wanted.take:
        take(*wanted.take)
        return 0
    unknown = sorted(set(wanted.names) - SHOTS.keys())
    if unknown:
        parser.error(f"there is no shot {', '.join(unknown)}. Known: {', '.join(SHOTS)}.")
    for path in orphans():
        path.unlink()
        path.with_suffix("").unlink(missing_ok=True)
    names = list(SHOTS) if wanted.all else wanted.names
    shots = [(n, t) for n in names for t in THEMES] or list(stale())
    failed = [f"{name}-{theme}" for name, theme in shots if take_alone(name, theme)]
    if failed:
        print(f"Not made: {', '.join(failed)}. The lines above say why.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
