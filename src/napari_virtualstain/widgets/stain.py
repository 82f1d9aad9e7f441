"""Which image, which model, which part of it: and the stain appears while it is computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.plan import PlanSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import SettingsForm, words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._model_box import ModelBox
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._painter import Painter
from napari_virtualstain.widgets._parts import CopyCommand, Foldout, Wrapped, form, wide
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._spool import Spool
from napari_virtualstain.widgets._stain_switch import StainSwitch
from napari_virtualstain.widgets._view import shown_region, shown_time

if TYPE_CHECKING:
    import napari

__all__ = ["StainPage"]

_ADVANCED = ("channel", "z", "pixel_size", "resample", "tile", "seed", "overwrite")
_OPEN = {
    "channel": "as the page Load has it",
    "z": "by their positions",
    "pixel_size": "from the file",
}
_PLAN_MS = 300
_MEASURE_MB = 2000
"""Of pixels that are read without having been asked to, to know their grey values."""
_EMPTY = "Open a bright-field image first, on the page Load or by dropping it on the viewer."


@dataclass(eq=False)
class _Stain:
    """One stain of one image: its settings without a region, its store, its layers."""

    image: Field
    settings: StainSettings
    painter: Painter
    temporary: bool
    runs: list[Run] = field(default_factory=list)
    complete: bool = False


class StainPage(QWidget):
    """Plans and asks for stains, and paints them.

    Parameters
    ----------
    viewer
        To add layers to.
    fields
        What the viewer shows.
    jobs
        Where runs are asked for.
    run_bar
        Where they are shown.
    """

    stained = Signal(object)
    """The path of a store that is complete."""

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._viewer, self._fields, self._jobs, self._run_bar = viewer, fields, jobs, run_bar
        self._background = Background(self)
        self._spool = Spool(self, jobs, self._background)
        self._stains: dict[str, _Stain] = {}
        self._plan: Run | None = None
        self._planned: PlanSettings | None = None
        self.box = FieldBox(fields, _can_be_stained, "no bright field is open yet")
        self.model = ModelBox()
        self.device = wide(QComboBox())
        self.out = QLineEdit()
        self.choose = QPushButton("Choose…")
        self.settings = SettingsForm(StainSettings, _ADVANCED, placeholders=_OPEN)
        self.plan = Wrapped()
        self.doubts = Notice(viewer)
        self.notice = Notice(viewer)
        self.view = QPushButton("Stain view")
        self.all = QPushButton("Stain all")
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.keep = QPushButton("Keep result…")
        self.switch = StainSwitch()
        self._arrange()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_PLAN_MS)
        self._soon.timeout.connect(self._ask_for_plan)
        self.box.chosen.connect(self._changed)
        self.model.chosen.connect(self._changed)
        self.device.currentIndexChanged.connect(self._changed)
        self.out.editingFinished.connect(self._changed)
        self.settings.changed.connect(self._changed)
        self.view.clicked.connect(self.stain_view)
        self.all.clicked.connect(self.stain_all)
        self.keep.clicked.connect(self._ask_where_to_keep)
        self.choose.clicked.connect(self._ask_for_output)
        jobs.run_changed.connect(self._follow)
        jobs.state_changed.connect(self._offer_devices)
        self._offer_devices()
        self._changed()

    # --- what would be done -----------------------------------------------------------------------

    def values(self, image: Field) -> dict[str, Any]:
        """Return the settings of a run over an image, without output and region."""
        layer = image.brightfield
        source = None if layer is None else source_of(layer)
        candidates = [one for _, one in image.with_role("brightfield")]
        found: dict[str, Any] = {
            "input": image.path,
            "model": self.model.name,
            "scene": image.scene or None,
            "axes": image.axes,
            # Of several the model's own kind is taken, or the job asks.
            "channel": candidates[0].channel if len(candidates) == 1 else None,
            "device": self.device.currentData() or "auto",
        }
        if source is not None and source.pixel_size_stated:
            found["pixel_size"] = source.pixel_size_um[1]
        found.update(self.settings.values())
        return {key: value for key, value in found.items() if value is not None}

    def command(self) -> str:
        """Return the line that stains all of the chosen image.

        Raises
        ------
        VirtualStainError
            If there is nothing to stain, or it lies in memory only.
        """
        image = self._chosen()
        if image.path is None:
            raise MissingInputError(
                "This image lies in memory, so no command can open it. Save it as OME-Zarr first."
            )
        out = self.out.text().strip() or f"{_stem(image)}-{_plain(self.model.name)}.ome.zarr"
        settings = make_settings(StainSettings, {**self.values(image), "out": out})
        settings = settings.model_copy(update={"input": settings.absolute().input})
        return to_command("stain", settings, positional=("input",))

    def _chosen(self) -> Field:
        image = self.box.field
        if image is None:
            raise MissingInputError(_EMPTY)
        return image

    def _changed(self) -> None:
        image = self.box.field
        for button in (self.view, self.all, self.copy):
            button.setEnabled(image is not None and self.model.card is not None)
        self.keep.setVisible(self._kept_candidate() is not None)
        self._offer_stains()
        if image is None or self.model.problem or image.path is None:
            self._planned = None
            self.doubts.clear()
        if image is None:
            self.plan.setText("")
            self.notice.hint(_EMPTY)
        elif self.model.problem:
            self.plan.setText("")
            self.notice.fail(words_of(self.model.problem))
        elif image.path is None:
            self.plan.setText(self._spool.describe(image))
            self.notice.clear()
        else:
            if self.notice.text == _EMPTY:
                self.notice.clear()
            self._soon.start()

    def _ask_for_plan(self) -> None:
        """Ask the compute process, which may open models, what a run would do."""
        image = self.box.field
        if image is None or image.path is None or self.model.card is None:
            return
        wanted = {k: v for k, v in self.values(image).items() if k in PlanSettings.model_fields}
        try:
            settings = make_settings(PlanSettings, wanted)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        if settings == self._planned:
            return
        if self._plan is not None:
            self._plan.cancel()
        self._planned = settings
        self.plan.setText("Planning …")
        self.doubts.clear()
        self.notice.clear()
        self._plan = self._jobs.submit("plan", settings, urgent=True)

    def _show_plan(self, run: Run) -> None:
        assert run.outcome is not None
        self._plan = None
        if run.outcome.result is None:
            self._planned = None
            self.plan.setText("")
            if run.outcome.state == "failed":
                self._fail(run)
            return
        result = run.outcome.result
        self.plan.setText(words_of(" ".join(_sentence(s) for s in result["words"].splitlines())))
        if not result["statistics_ready"] and result["measure_mb"] < _MEASURE_MB:
            # While the user reads on: then the first tile does not wait for it.
            measuring = run.settings.model_copy(update={"measure": True})
            self._plan = self._jobs.submit("plan", measuring, urgent=True)
        card = self.model.card
        limits = () if card is None else tuple(card.limits)
        doubts = [n for n in result["notes"] if not any(n.endswith(limit) for limit in limits)]
        self.doubts.warn(words_of(" ".join(_sentence(doubt) for doubt in doubts)))

    # --- doing it ---------------------------------------------------------------------------------

    def stain_all(self) -> None:
        """Stain the whole image, all time points."""
        self._begin({})

    def stain_view(self) -> None:
        """Stain the tiles that the canvas shows, the middle first; as *Stain all* would."""
        image = self.box.field
        layer = None if image is None else image.brightfield
        if layer is None:
            self.notice.hint(_EMPTY)
            return
        region = shown_region(self._viewer, layer)
        if region is None:
            self.notice.warn("Nothing of this image is in view. Move it into view, or stain all.")
            return
        time = shown_time(self._viewer, layer)
        self._begin({"region": region} | ({} if time is None else {"times": (time,)}))

    def _begin(self, part: dict[str, Any]) -> None:
        try:
            image = self._chosen()
        except VirtualStainError as error:
            self.notice.hint(str(error))
            return
        if self._soon.isActive():
            # Else the plan would wipe out what the run says.
            self._soon.stop()
            self._ask_for_plan()
        values = self.values(image)
        if image.path is not None:
            self._submit(image, values, part)
            return
        self.notice.hint(self._spool.describe(image))
        self._spool.write(
            image,
            lambda spooled: self._submit(image, {**values, **spooled}, part),
            lambda sentence: self.notice.fail(words_of(sentence)),
        )

    def _submit(self, image: Field, values: dict[str, Any], part: dict[str, Any]) -> None:
        typed = self.out.text().strip()
        try:
            wanted = make_settings(StainSettings, {**values, "out": typed or "temporary"})
            stain = self._known(wanted, temporary=not typed) or self._new(image, wanted, typed)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        begun = bool(stain.runs)
        update = {**part, "resume": begun, "overwrite": wanted.overwrite and not begun}
        if stain.complete:
            self.notice.hint("This image is stained already; its layers are in the viewer.")
            return
        settings = make_settings(StainSettings, {**stain.settings.model_dump(), **update})
        run = self._jobs.submit("stain", settings)
        stain.runs.append(run)
        self._stains[run.id] = stain
        what = "the view of " if "region" in part else ""
        self.notice.clear()
        self._run_bar.announce(run, f"Staining {what}{image.name} with {self.model.name}")

    def _known(self, wanted: StainSettings, *, temporary: bool) -> _Stain | None:
        """Return the stain that these settings would go on with."""
        for stain in reversed(list(self._stains.values())):
            same = wanted.model_copy(update={"out": stain.settings.out})
            alive = not stain.painter.layers or any(
                layer in self._viewer.layers for layer in stain.painter.layers.values()
            )
            if (
                stain.temporary == temporary
                and (temporary or Path(wanted.out).absolute() == Path(stain.settings.out))
                and same.model_copy(update={"overwrite": stain.settings.overwrite})
                == stain.settings
                and alive
                and Path(stain.settings.out).exists()
            ):
                return stain
        return None

    def _new(self, image: Field, wanted: StainSettings, typed: str) -> _Stain:
        if typed:
            out = str(Path(typed).expanduser().absolute())
        else:
            out = str(self._jobs.temporary(f"{_stem(image)}-{_plain(wanted.model)}.ome.zarr"))
        painter = Painter(
            self._viewer,
            Path(out),
            above=tuple(layer for layer, _ in image.layers),
            name=image.name,
            contrast=_contrast_of_truth(self._fields),
            over=_opener(image),
            parent=self,
        )
        painter.failed.connect(lambda sentence: self.notice.fail(words_of(sentence)))
        painter.complete.connect(self._fields.look)
        painter.added.connect(self._offer_stains)
        settings = wanted.model_copy(update={"out": out}).absolute()
        return _Stain(image, settings, painter, temporary=not typed)

    def _follow(self, run: Run) -> None:
        if run is self._plan:
            if run.ended:
                self._show_plan(run)
            return
        stain = self._stains.get(run.id)
        if stain is None:
            return
        if run.store is not None and not run.ended:
            stain.painter.follow()
        if not run.ended:
            return
        stain.painter.rest()
        assert run.outcome is not None
        if run.outcome.state == "done":
            self._say_done(stain, run.outcome.result or {})
        elif run.outcome.state == "failed":
            self._fail(run)

    def _say_done(self, stain: _Stain, result: dict[str, Any]) -> None:
        stain.complete = result["tiles_done"] == result["tiles_total"]
        where = "temporary until it is kept" if stain.temporary else f"in {stain.settings.out}"
        part = (
            "" if stain.complete else f", {result['tiles_done']} of {result['tiles_total']} tiles"
        )
        self.notice.hint(
            f"Stained {', '.join(result['stains'])} in {result['seconds']:.1f} s{part}; {where}."
        )
        self.keep.setVisible(self._kept_candidate() is not None)
        if stain.complete:
            self.stained.emit(stain.settings.out)

    def _fail(self, run: Run) -> None:
        assert run.outcome is not None
        report = "\n".join(
            [
                run.outcome.sentence,
                f"verb: {run.verb}",
                f"settings: {run.settings.model_dump_json()}",
                f"worker: {self._jobs.state.worker}",
                run.outcome.traceback,
            ]
        )
        self.notice.fail(words_of(run.outcome.sentence), report)

    def _offer_stains(self) -> None:
        """Offer the stains of the chosen image that are in the viewer."""
        image = self.box.field
        for stain in reversed(list(self._stains.values())):
            if image is not None and stain.image.key == image.key and stain.painter.layers:
                found = ((source_of(one), one) for one in stain.painter.layers.values())
                self.switch.offer(
                    {s.stain: one for s, one in found if s and one in self._viewer.layers}
                )
                return
        self.switch.offer({})

    # --- keeping ----------------------------------------------------------------------------------

    def _kept_candidate(self) -> _Stain | None:
        """Return the newest finished stain of the chosen image that would be lost at the end."""
        image = self.box.field
        for stain in reversed(list(self._stains.values())):
            kept = not stain.temporary or not stain.complete
            if not kept and image is not None and stain.image.key == image.key:
                return stain
        return None

    def _ask_where_to_keep(self) -> None:
        stain = self._kept_candidate()
        if stain is not None:
            self._ask_path(f"{Path(stain.settings.out).name[4:]}", lambda path: self.keep_at(path))

    def keep_at(self, path: str) -> None:
        """Copy the temporary result to a place of the user's, and show it from there."""
        stain = self._kept_candidate()
        if stain is None:
            return
        target, source = Path(path), Path(stain.settings.out)
        self.notice.hint(f"Copying the result to {target} …")
        self._background.run(
            "keep",
            lambda: keep_store(source, target),
            lambda _: self._kept(stain, target),
            lambda sentence: self.notice.fail(words_of(sentence)),
        )

    def _kept(self, stain: _Stain, target: Path) -> None:
        source = Path(stain.settings.out)
        stain.painter.move_to(target)
        stain.temporary = False
        stain.settings = stain.settings.model_copy(update={"out": str(target)})
        shutil.rmtree(source, ignore_errors=True)
        self.notice.hint(f"Kept in {target}.")
        self._changed()
        self._fields.look()

    def _ask_for_output(self) -> None:
        image = self.box.field
        name = "stain" if image is None else f"{_stem(image)}-{_plain(self.model.name)}"

        def take(path: str) -> None:
            self.out.setText(path)
            self._changed()

        self._ask_path(f"{name}.ome.zarr", take)

    def _ask_path(self, name: str, then: Any) -> None:
        dialog = QFileDialog(self, "Keep the stain as OME-Zarr")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter("OME-Zarr (*.ome.zarr)")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.selectFile(name)
        dialog.fileSelected.connect(then)
        dialog.open()

    # --- the rest ---------------------------------------------------------------------------------

    def close_runs(self) -> None:
        """Cancel what this viewer asked for, and stop painting: the viewer is going."""
        if self._plan is not None:
            self._plan.cancel()
        for stain in set(self._stains.values()):
            for run in stain.runs:
                if not run.ended:
                    run.cancel()
            stain.painter.stop()

    def _offer_devices(self, state: Any = None) -> None:
        del state
        worker = self._jobs.state.worker
        names = worker.get("devices", {})
        default = names.get(worker.get("device", ""), "")
        wanted = [("auto", f"automatic{': ' + default if default else ''}")]
        wanted += [(key, f"{key}: {text}") for key, text in names.items()]
        now = self.device.currentData()
        shown = range(self.device.count())
        if [(self.device.itemData(i), self.device.itemText(i)) for i in shown] == wanted:
            return
        self.device.blockSignals(True)
        self.device.clear()
        for key, text in wanted:
            self.device.addItem(text, key)
        keys = [key for key, _ in wanted]
        self.device.setCurrentIndex(keys.index(now) if now in keys else 0)
        self.device.blockSignals(False)

    def _arrange(self) -> None:
        self.out.setPlaceholderText("temporary, until you keep it")
        self.out.setToolTip("OME-Zarr to write; left empty, the result goes when the viewer closes")
        self.device.setToolTip("Where the network runs")
        self.view.setToolTip(
            "Stain the tiles in view, the middle first; the numbers are those of Stain all"
        )
        self.all.setToolTip("Stain the whole image, all time points")
        self.keep.setToolTip("Copy the finished result to a place of your own")
        out = QHBoxLayout()
        out.addWidget(self.out, 1)
        out.addWidget(self.choose)
        rows = form()
        rows.addRow("Image", self.box)
        rows.addRow("Model", self.model)
        rows.addRow("Device", self.device)
        rows.addRow("Output", out)
        buttons = QHBoxLayout()
        buttons.addWidget(self.view)
        buttons.addWidget(self.all)
        after = QHBoxLayout()
        after.addWidget(self.copy)
        after.addWidget(self.keep)
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addLayout(rows)
        column.addWidget(Foldout("More settings", self.settings.native))
        column.addWidget(self.plan)
        column.addWidget(self.doubts)
        column.addWidget(self.notice)
        column.addLayout(buttons)
        column.addWidget(self.switch)
        column.addLayout(after)
        column.addStretch(1)


def keep_store(source: Path, target: Path) -> None:
    """Copy a store so that it is whole or not there.

    Raises
    ------
    OutputExistsError, DiskError
        If something is in the way, or the disk is full.
    """
    from napari_virtualstain.io.disk import check_output, disk_errors

    check_output(target, inputs=[str(source)], overwrite=False)
    scratch = target.with_name(f".{target.name}.partial")
    with disk_errors(target):
        try:
            shutil.copytree(source, scratch)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _can_be_stained(image: Field) -> bool:
    return image.brightfield is not None and not image.predicted


def _opener(image: Field) -> Callable[[], LazyImage] | None:
    """Return what opens an image again, `None` for one in memory."""
    path, scene, axes = image.path, image.scene or None, image.axes
    return None if path is None else lambda: open_image(path, scene=scene, axes=axes)


def _contrast_of_truth(fields: Fields) -> dict[str, tuple[float, float]]:
    """Return the limits in which true stains are shown, so that equal grey is an equal number."""
    found = {}
    for image in fields.all:
        for layer, source in image.with_role("truth"):
            low, high = layer.contrast_limits
            found[source.stain] = (float(low), float(high))
    return found


def _stem(image: Field) -> str:
    return _plain(image.name)


def _plain(text: str) -> str:
    """Return a text that may be a file name."""
    name = Path(text).name if "/" in text and Path(text).exists() else text
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-") or "image"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"
