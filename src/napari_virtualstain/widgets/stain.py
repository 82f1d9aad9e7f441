"""Which image, which model, which part of it: and the stain appears while it is computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.jobs.base import JobSettings, make_settings
from napari_virtualstain.jobs.passport import PassportSettings
from napari_virtualstain.jobs.plan import PlanSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.napari_io.fields import Field, picture_of
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._keep import KeepButton, ask_for_zarr
from napari_virtualstain.widgets._live import ViewWatch
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Wrapped, form
from napari_virtualstain.widgets._passport_card import PassportCard
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._run_form import RunForm
from napari_virtualstain.widgets._spool import Spool
from napari_virtualstain.widgets._stain_switch import StainSwitch
from napari_virtualstain.widgets._stainings import TEMPORARY, Staining, Stainings, file_name
from napari_virtualstain.widgets._view import shown_region, shown_time

if TYPE_CHECKING:
    import napari

__all__ = ["StainPage"]

_PLAN_MS = 300
_MEASURE_MB = 2000
"""Of pixels that are read without having been asked to, to know their grey values."""
_VIEW_TILE = 512
"""Edge of the tiles of a view in pixels, if the user does not choose."""
_AGAIN_MS = 250
"""After a run, for its last tiles to be painted, before the view is looked at again."""
_EMPTY = "Open a bright-field image first, on the page Load or by dropping it on the viewer."
_NO_LIGHT = (
    "What is open is taken for true stains. If some of it is bright field, say so on the page "
    "Load, in the column Is."
)


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
        self.stainings = Stainings(viewer, fields, jobs, self)
        self._plan: Run | None = None
        self._planned: PlanSettings | None = None
        self._looked_at: tuple[str, str] | None = None
        self._over = False
        self.box = FieldBox(fields, lambda f: f.can_be_stained, "no bright field is open yet")
        self.form = RunForm(jobs, StainSettings, self)
        self.model, self.settings = self.form.model, self.form.settings
        self.device, self.compute = self.form.device, self.form.compute
        self.out = QLineEdit()
        self.choose = QPushButton("Choose…")
        self.passport = PassportCard(viewer, jobs)
        self.plan = Wrapped()
        self.doubts = Notice(viewer)
        self.notice = Notice(viewer)
        self.view = QPushButton("Stain view")
        self.all = QPushButton("Stain all")
        self.live = QCheckBox("Live")
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.keep = KeepButton(
            self.stainings, jobs, lambda: self.box.field, self._background, self.notice
        )
        self.switch = StainSwitch()
        self._arrange()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_PLAN_MS)
        self._soon.timeout.connect(self._ask_for_plan)
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(_AGAIN_MS)
        self._again.timeout.connect(self._turn)
        self.box.chosen.connect(self._changed)
        self.box.chosen.connect(self._look_elsewhere)
        fields.changed.connect(self._look_for_light)
        self.form.changed.connect(self._changed)
        self.form.doubted.connect(self.notice.hint)
        self.form.moved.connect(self._plan_anew)
        self.out.editingFinished.connect(self._changed)
        self.view.clicked.connect(self.stain_view)
        self.all.clicked.connect(self.stain_all)
        self.live.toggled.connect(self._turn)
        self.passport.asked.connect(self._check_picture)
        self._watch = ViewWatch(viewer, self)
        self._watch.moved.connect(self._turn)
        self.keep.kept.connect(self._after_keeping)
        self.choose.clicked.connect(self._ask_for_output)
        jobs.run_changed.connect(self._follow)
        self._changed()

    # --- a project --------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what stands in the form, for a project."""
        return {**self.form.values(), "out": self.out.text().strip()}

    def show_state(self, state: Mapping[str, Any]) -> None:
        """Fill the form with what `state` returned, perhaps of another version."""
        self.out.setText(str(state.get("out", "")))
        self.form.show_values(state)

    def live_in(self, home: Path | None) -> None:
        """Write results for which no place is named into a folder, or to temporary ones again."""
        self.stainings.home = home
        self.out.setPlaceholderText(
            "temporary, until you keep it" if home is None else f"in the project: {home.name}/"
        )

    # --- what would be done -----------------------------------------------------------------------

    def values(self, image: Field) -> dict[str, Any]:
        """Return the settings of a run over an image, without output and region."""
        found = {**picture_of(image), **self.form.values()}
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
        out = (
            self.out.text().strip()
            or f"{file_name(image.name)}-{file_name(self.model.name)}.ome.zarr"
        )
        settings = make_settings(StainSettings, {**self.values(image), "out": out})
        settings = settings.model_copy(update={"input": settings.absolute().input})
        line = to_command("stain", settings, positional=("input",))
        elsewhere = self._jobs.address
        return line if elsewhere is None else f"{line} --scheduler {elsewhere}"

    def _plan_anew(self) -> None:
        """Plan for the scheduler that runs go to now."""
        self._planned = None
        self.notice.clear()
        self._changed()

    def _chosen(self) -> Field:
        image = self.box.field
        if image is None:
            raise MissingInputError(self._nothing)
        return image

    @property
    def _nothing(self) -> str:
        """Why there is nothing to stain."""
        return _NO_LIGHT if any(f.with_role("truth") for f in self._fields.all) else _EMPTY

    def _look_for_light(self) -> None:
        """Say why there is nothing to stain, which may be another reason now."""
        if self.box.field is None and self.notice.text in (_EMPTY, _NO_LIGHT):
            self.notice.hint(self._nothing)

    def _changed(self) -> None:
        image = self.box.field
        for button in (self.view, self.all, self.live, self.copy):
            button.setEnabled(image is not None and self.model.card is not None)
        self.keep.look()
        self._offer_stains()
        self.passport.offer(self._about())
        if image is None or self.model.problem or image.path is None:
            if self._plan is not None:
                self._plan.cancel()
            self._plan = self._planned = None
            self.doubts.clear()
        if image is None:
            self.plan.setText("")
            self.notice.hint(self._nothing)
        elif self.model.problem:
            self.plan.setText("")
            self.notice.fail(words_of(self.model.problem), aloud=False)
        elif image.path is None:
            self.plan.setText(self._spool.describe(image))
            if self.notice.text in (_EMPTY, _NO_LIGHT):
                self.notice.clear()
        else:
            if self.notice.text in (_EMPTY, _NO_LIGHT):
                self.notice.clear()
            self._soon.start()

    def _ask_for_plan(self) -> None:
        """Ask the compute process, which may open models, what a run would do."""
        image = self.box.field
        if image is None or image.path is None or self.model.card is None:
            return
        try:
            settings = make_settings(PlanSettings, _of(PlanSettings, self.values(image)))
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
                self.notice.fail_run(run, f"worker: {self._jobs.state.worker}", aloud=False)
            return
        result = run.outcome.result
        self.plan.setText(words_of(" ".join(_sentence(s) for s in result["words"].splitlines())))
        untimed = result["drawn"] and result["seconds"] is None
        unready = not result["statistics_ready"]
        if (untimed or unready) and result["measure_mb"] < _MEASURE_MB:
            # While the user reads on: then the first tile does not wait for it.
            measuring = run.settings.model_copy(update={"measure": True})
            self._plan = self._jobs.submit("plan", measuring, urgent=True)
        card = self.model.card
        limits = () if card is None else tuple(card.limits)
        doubts = [n for n in result["notes"] if not any(n.endswith(limit) for limit in limits)]
        self.doubts.warn(words_of(" ".join(_sentence(doubt) for doubt in doubts)))

    # --- whether it makes sense -------------------------------------------------------------------

    def _about(self) -> str:
        """Return what a passport would be about, ``""`` if there is nothing to check."""
        image = self.box.field
        if image is None or self.model.card is None:
            return ""
        return json.dumps({"image": image.key, **_of(PassportSettings, self.values(image))})

    def _check_picture(self) -> None:
        """Ask for the passport of the chosen image; one in memory is written first."""
        image, about = self.box.field, self._about()
        if image is None or image.brightfield is None:
            return
        values = _of(PassportSettings, self.values(image))
        values["t"] = shown_time(self._viewer, image.brightfield) or 0

        def check(path: str) -> None:
            try:
                settings = make_settings(PassportSettings, {**values, "input": path})
            except VirtualStainError as error:
                self.passport.refuse(about, str(error))
                return
            self.passport.check(about, settings)

        if image.path is not None:
            check(image.path)
        else:
            self._spool.write(image, check, lambda text: self.passport.refuse(about, text))

    # --- doing it ---------------------------------------------------------------------------------

    def stain_all(self) -> None:
        """Stain the whole image, all time points."""
        self._begin({})

    def stain_view(self) -> None:
        """Stain the tiles that the canvas shows, the middle first; as *Stain all* would."""
        image = self.box.field
        layer = None if image is None else image.brightfield
        if layer is None:
            self.notice.hint(self._nothing)
            return
        region = shown_region(self._viewer, layer)
        if region is None:
            self.notice.warn("Nothing of this image is in view. Move it into view, or stain all.")
            return
        time = shown_time(self._viewer, layer)
        self._begin({"region": region} | ({} if time is None else {"times": (time,)}))

    def _look_elsewhere(self) -> None:
        """Take another image, such as the next well, for a turn of the view."""
        key = None if self.box.field is None else self.box.field.key
        if key != self._looked_at:
            self._looked_at = key
            self._watch.note()

    def _turn(self) -> None:
        """Stain first what is in view now; in live mode, begin with it where nothing goes on."""
        image = self.box.field
        layer = None if image is None else image.brightfield
        if self._over or image is None or layer is None or self.model.card is None:
            return
        region = shown_region(self._viewer, layer)
        if region is None:
            return
        time = shown_time(self._viewer, layer)
        going = self.stainings.going(image)
        if going is not None:
            going.turn_to(region, () if time is None else (time,))
        elif self.live.isChecked() and not self._jobs.runs:
            newest = self.stainings.newest(image, lambda s: s.begun and not s.complete)
            if newest is None or newest.painter.missing(region, time or 0):
                self.stain_view()

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
            lambda path: self._submit(image, {**values, "input": path}, part),
            lambda sentence: self.notice.fail(words_of(sentence)),
            beside=self._typed(),
        )

    def _typed(self) -> str | None:
        """Return where the user wants the output, absolute, `None` for a temporary one."""
        text = self.out.text().strip()
        return str(Path(text).expanduser().absolute()) if text else None

    def _submit(self, image: Field, values: dict[str, Any], part: dict[str, Any]) -> None:
        out = self._typed() or TEMPORARY
        if "region" in part and values.get("mode", "auto") == "auto":
            # Small ones: the first shall be there at once.
            values = {"tile": _VIEW_TILE, **values}
        try:
            wanted = make_settings(StainSettings, {**values, "out": out}).absolute()
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        wanted = wanted.model_copy(update={"out": out})
        staining = self.stainings.find(wanted)
        if staining is not None and staining.complete:
            if not wanted.overwrite:
                self.notice.hint("This image is stained already; its layers are in the viewer.")
                return
            staining = None
        if staining is None:
            staining = self.stainings.make(image, wanted)
            staining.painter.failed.connect(lambda text: self.notice.fail(words_of(text)))
            staining.painter.complete.connect(self._fields.look)
            staining.painter.added.connect(self._offer_stains)
        update = {**part, "resume": staining.begun}
        if staining.begun:
            update["overwrite"] = False
        settings = make_settings(StainSettings, {**staining.settings.model_dump(), **update})
        run = self._jobs.submit("stain", settings)
        staining.runs.append(run)
        what = "the view of " if "region" in part else ""
        self.notice.clear()
        self._run_bar.announce(run, f"Staining {what}{image.name} with {self.model.name}")

    def _follow(self, run: Run) -> None:
        staining = self.stainings.of_run(run)
        ended_well = run.outcome is not None and (staining is None or run.outcome.state == "done")
        if ended_well and not self._over and self.live.isChecked():
            # The view may have turned meanwhile, and waited for this run whatever it was.
            self._again.start()
        if run is self._plan:
            if run.ended:
                self._show_plan(run)
            return
        if staining is None:
            return
        if run.store is not None:
            # Also of a run that has ended meanwhile: the viewer may have been busy.
            staining.painter.follow()
        if run.outcome is None:
            return
        staining.painter.rest()
        if run.outcome.state == "done":
            self._say_done(staining, run.outcome.result or {})
            return
        if run.settings.model_dump()["overwrite"]:
            # The store that was there before has been put back: these layers are not its own.
            self.stainings.forget(staining)
        if run.outcome.state == "failed":
            self.notice.fail_run(run, f"worker: {self._jobs.state.worker}")
        else:
            self.notice.hint(
                "Cancelled. What was done is kept: stain again to go on."
                if staining.begun
                else run.outcome.sentence
            )

    def _say_done(self, staining: Staining, result: dict[str, Any]) -> None:
        done, total = result["tiles_done"], result["tiles_total"]
        staining.complete = done == total
        where = "temporary until it is kept" if staining.temporary else f"in {result['out']}"
        part = "" if staining.complete else f", {done} of {total} tiles"
        self.notice.hint(
            f"Stained {', '.join(result['stains'])} in {result['seconds']:.1f} s{part}; {where}."
        )
        self.keep.look()
        if staining.complete:
            self.stained.emit(staining.settings.out)

    def _offer_stains(self) -> None:
        """Offer the stains of the chosen image that are in the viewer."""
        staining = self.stainings.newest(self.box.field, lambda s: bool(s.painter.layers))
        layers = () if staining is None else staining.painter.layers.values()
        found = ((source_of(one), one) for one in layers if one in self._viewer.layers)
        self.switch.offer({s.stain: one for s, one in found if s is not None})

    # --- keeping ----------------------------------------------------------------------------------

    def keep_at(self, path: str) -> None:
        """See `KeepButton.keep_at`."""
        self.keep.keep_at(path)

    def _after_keeping(self) -> None:
        self._changed()
        self._fields.look()

    def _ask_for_output(self) -> None:
        image = self.box.field
        name = "stain" if image is None else f"{file_name(image.name)}-{file_name(self.model.name)}"

        def take(path: str) -> None:
            self.out.setText(path)
            self._changed()

        ask_for_zarr(self, f"{name}.ome.zarr", take)

    # --- the rest ---------------------------------------------------------------------------------

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Look at what another page has chosen meanwhile."""
        super().showEvent(event)
        self.form.show_address()

    def close_runs(self) -> None:
        """Cancel what this viewer asked for, and stop painting: the viewer is going."""
        self._over = True
        if self._plan is not None:
            self._plan.cancel()
        self.passport.stop()
        self._watch.stop()
        self.stainings.close()

    def _arrange(self) -> None:
        self.out.setPlaceholderText("temporary, until you keep it")
        self.out.setToolTip("OME-Zarr to write; left empty, the result goes when the viewer closes")
        self.view.setToolTip(
            "Stain the tiles in view, the middle first; the numbers are those of Stain all"
        )
        self.live.setToolTip(
            "Keep staining what comes into view, other time points and wells too, in tiles of "
            f"{_VIEW_TILE} px"
        )
        self.all.setToolTip("Stain the whole image, all time points")
        out = QHBoxLayout()
        out.addWidget(self.out, 1)
        out.addWidget(self.choose)
        rows = form()
        rows.addRow("Image", self.box)
        self.form.add_to(rows)
        rows.addRow("Output", out)
        buttons = QHBoxLayout()
        buttons.addWidget(self.view)
        buttons.addWidget(self.live)
        buttons.addWidget(self.all)
        after = QHBoxLayout()
        after.addWidget(self.copy)
        after.addWidget(self.keep)
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addLayout(rows)
        column.addWidget(self.form.drawing.fold)
        column.addWidget(self.form.fold)
        column.addWidget(self.passport)
        column.addWidget(self.plan)
        column.addWidget(self.doubts)
        column.addWidget(self.notice)
        column.addLayout(buttons)
        column.addWidget(self.switch)
        column.addLayout(after)
        column.addStretch(1)


def _of(kind: type[JobSettings], values: dict[str, Any]) -> dict[str, Any]:
    """Return those of some settings that a verb has."""
    return {name: value for name, value in values.items() if name in kind.model_fields}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"
