"""Can the model learn my microscope? Pick pairs, watch it learn, see whether it did, decide."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.datasets.pairing_file import load_pairs
from napari_virtualstain.errors import MissingInputError, SettingsError, VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.finetune import FinetuneSettings
from napari_virtualstain.jobs.pairs import PairsSettings
from napari_virtualstain.jobs.training_run import training_folder
from napari_virtualstain.jobs.tuning_alone import go_on_alone, is_alone
from napari_virtualstain.jobs.tuning_keep import (
    drop_tuning,
    keep_tuning,
    list_tunings,
    read_result,
    tunings_folder,
)
from napari_virtualstain.jobs.tuning_run import (
    Wish,
    ask_run,
    read_settings,
    read_worst,
    write_settings,
)
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.widgets._fields import Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._model_box import ModelBox
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Foldout, Wrapped, form, wide
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._spool import Spool
from napari_virtualstain.widgets._tune_earlier import EarlierRow
from napari_virtualstain.widgets._tune_next import NextPanel
from napari_virtualstain.widgets._tune_pairs import PairList, pair_of
from napari_virtualstain.widgets._tune_result import ResultCard
from napari_virtualstain.widgets._tune_watch import WatchPanel
from napari_virtualstain.zoo import list_models

if TYPE_CHECKING:
    import napari

__all__ = ["PRESETS", "TunePage"]

PRESETS = {
    "recalibrate": (
        "Recalibrate: brightness alone",
        "The stain is right, its grey values are not; no weight moves",
    ),
    "quick": ("Quick: last layer, normalisation", "First choice; another brightness or contrast"),
    "adapter": ("Adapter: a little of every layer", "Cells look otherwise than in training"),
    "full": ("Full: all weights", "Ten images or more; models that draw"),
    "scratch": ("From scratch: nothing is kept", "Many images; takes longest"),
}
"""By the name of the job's preset: what moves, and when to take it."""
_PLAN_MS, _ALONE_MS = 400, 1000
_EMPTY = (
    "Add pairs of bright field and true stains: open some and name their channels on the page "
    "Load, or look in a folder. Three to ten fields are enough."
)
_PAIRS = "pairs.json"


class TunePage(QWidget):
    """Tunes a model on pairs of the user.

    Parameters
    ----------
    viewer
        To show crops in.
    fields
        What it shows.
    jobs
        Where the tuning runs.
    run_bar
        Where that is shown.
    """

    kept = Signal(str)
    """The name of a tuned model that is among the user's models now."""

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._jobs, self._run_bar = jobs, run_bar
        self._background = Background(self)
        self._spool = Spool(self, jobs, self._background)
        self._plan: Run | None = None
        self._search: Run | None = None
        self._run: Run | None = None
        self._discarding = False
        self._out: Path | None = None
        self.model = ModelBox()
        self.pairs = PairList(viewer, fields)
        self.preset = wide(QComboBox())
        for key, (title, when) in PRESETS.items():
            self.preset.addItem(title, key)
            self.preset.setItemData(self.preset.count() - 1, when, 3)
        self.preset.setCurrentIndex(list(PRESETS).index("quick"))
        self.preset.setToolTip("What of the model moves; the less, the fewer images it takes")
        self.name = QLineEdit()
        self.name.setToolTip("Name of the tuned model; the old one stays as it is")
        self.earlier = EarlierRow()
        self.plan = Wrapped()
        self.doubts = Notice(viewer)
        self.notice = Notice(viewer)
        self.alone = QCheckBox("Go on when the viewer is closed")
        self.alone.setToolTip(
            "Else the tuning writes a checkpoint and stops, and can be gone on with. Pairs of "
            "layers that lie in memory go with the viewer"
        )
        self.curve = QCheckBox("Say what more fields would bring")
        self.curve.setToolTip(
            "Tune on fewer of the fields as well, and see how that goes on; takes several times as "
            "long"
        )
        self.each = QCheckBox("Let each field judge once")
        self.each.setToolTip(
            "Tune again without each of the fields, so that what is said of the gain does not hang "
            "on which was held back; takes as many times as long"
        )
        self.start = QPushButton("Start")
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.pick = QWidget()
        self.pick_fold = Foldout("Pick", self.pick, is_open=True)
        self.watch = WatchPanel(viewer, self._background)
        self.result = ResultCard(viewer)
        self.next = NextPanel(
            viewer, fields, jobs, run_bar, self._background, model=self._tuned_model,
            write_pairs=self._write_known,
        )  # fmt: skip
        self.next_fold = Foldout("Stain these next", self.next)
        self._arrange()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_PLAN_MS)
        self._soon.timeout.connect(self._ask_for_plan)
        self._others = QTimer(self)
        self._others.setInterval(_ALONE_MS)
        self._others.timeout.connect(self._look_again)
        self.model.chosen.connect(self._name_model)
        self.model.chosen.connect(self._changed)
        self.preset.currentIndexChanged.connect(self._changed)
        self.curve.toggled.connect(self._changed)
        self.each.toggled.connect(self._changed)
        self.name.editingFinished.connect(self._changed)
        self.pairs.changed.connect(self._changed)
        self.pairs.wanted.connect(self._add_pairs)
        self.pairs.searched.connect(self.search)
        self.pairs.refused.connect(lambda text: self.notice.fail(words_of(text)))
        self.start.clicked.connect(self.begin)
        self.watch.asked.connect(self._ask)
        self.result.kept.connect(self._keep)
        self.result.reverted.connect(self._revert)
        self.earlier.opened.connect(self.look_at)
        self.earlier.dropped.connect(self._drop)
        jobs.run_changed.connect(self._follow)
        self._name_model()
        self._changed()

    # --- what would be done -----------------------------------------------------------------------

    def settings(self, pairs: Path) -> FinetuneSettings:
        """Return the settings of the tuning of what is chosen.

        Parameters
        ----------
        pairs
            Where the pairs file lies, or will.

        Raises
        ------
        VirtualStainError
            If something is missing.
        """
        if not self.pairs.pairs:
            raise MissingInputError(_EMPTY)
        if self.model.problem:
            raise SettingsError(self.model.problem)
        name = self.name.text().strip()
        if not re.fullmatch(r"\w[\w. -]*", name) or name.endswith(".training"):
            raise SettingsError(
                f"{name!r} is no name for a model. Use letters, digits, dots and dashes."
            )
        if name in list_models():
            raise SettingsError(f"There is a model named {name!r} already. Choose another name.")
        if name in [one.out.name for one in list_tunings()]:
            raise SettingsError(
                f"A tuning named {name!r} was begun before. Open or delete it above, or choose "
                "another name."
            )
        values = {
            "model": self.model.name, "out": str(tunings_folder() / name), "pairs": str(pairs),
            "preset": self.preset.currentData(), "watch": True, "curve": self.curve.isChecked(),
            "judge_each": self.each.isChecked(),
        }  # fmt: skip
        return make_settings(FinetuneSettings, values)

    def command(self) -> str:
        """Return the line that does the same; the pairs file is written for it.

        Raises
        ------
        VirtualStainError
            If something is missing.
        """
        place = self._own_pairs(tunings_folder() / self.name.text().strip())
        settings = self.settings(place)
        self.pairs.written(place)
        return to_command("finetune", settings.absolute())

    def _tuned_model(self) -> str:
        if self.model.problem:
            raise SettingsError(self.model.problem)
        return self.model.name

    def _write_known(self, place: Path) -> bool:
        """Write the pairs that teach already; return whether there are any."""
        if self.pairs.pairs:
            self.pairs.written(place)
        return bool(self.pairs.pairs)

    def _own_pairs(self, out: Path) -> Path:
        return training_folder(str(out)) / _PAIRS

    def _name_model(self) -> None:
        """Propose a name that no model has."""
        base = Path(self.model.name).name or "model"
        taken = {*list_models(), *(one.out.name for one in list_tunings())}
        names = (f"{base}-tuned{n if n > 1 else ''}" for n in range(1, 1000))
        self.name.setText(next((name for name in names if name not in taken), f"{base}-tuned"))

    def _changed(self) -> None:
        some = bool(self.pairs.pairs)
        self.start.setEnabled(some and not self.model.problem and self._run is None)
        self.copy.setEnabled(some and not self.model.problem)
        if self._plan is not None:
            self._plan.cancel()
            self._plan = None
        self.plan.clear()
        self.doubts.clear()
        if not some:
            self.notice.hint(_EMPTY)
            return
        if self.notice.kind != "error" or self.notice.text == _EMPTY:
            self.notice.clear()
        try:
            self.settings(Path(_PAIRS))
        except VirtualStainError as error:
            self.start.setEnabled(False)
            self.notice.fail(words_of(str(error)), aloud=False)
            return
        self.notice.clear()
        self._soon.start()

    def _ask_for_plan(self) -> None:
        """Ask the compute process who would teach, and how long it takes here."""
        if self._run is not None:
            return
        place = self._jobs.temporary("plan") / _PAIRS
        try:
            settings = self.settings(place)
            self.pairs.written(place)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)), aloud=False)
            return
        self.plan.setText("Looking at the pairs …")
        asked = settings.model_copy(update={"plan": True})
        self._plan = self._jobs.submit("finetune", asked, urgent=True)

    def _show_plan(self, run: Run) -> None:
        assert run.outcome is not None
        self._plan = None
        self.plan.clear()
        if run.outcome.result is None:
            self.start.setEnabled(False)
            if run.outcome.state == "failed":
                self.notice.fail_run(run)
            return
        result = run.outcome.result
        self.pairs.show_plan(result["fields"])
        self.plan.setText(result["words"])
        notes = [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in result["notes"]]
        self.doubts.warn(words_of(" ".join(notes)))

    # --- pairs ------------------------------------------------------------------------------------

    def _add_pairs(self, wanted: list[tuple[Field, Field]]) -> None:
        """Add pairs of the viewer; what lies in memory is written first."""
        known = {(one.path, one.scene) for one in self.pairs.pairs}
        new = [
            one for one in wanted if len(wanted) == 1 or (one[0].path, one[0].scene) not in known
        ]
        if not new:
            further = "further " if self.pairs.pairs else ""
            self.notice.hint(
                f"No {further}bright field is open with true stains in the same file or folder, or "
                "under the same name in a folder beside it. Choose both above, and add the pair."
            )
            return
        for brightfield, true in new:
            self._add(brightfield, true)

    def _add(self, brightfield: Field, true: Field) -> None:
        def fail(sentence: str) -> None:
            self.notice.fail(words_of(sentence))

        def put(light: str, stained: str) -> None:
            card = self.model.card
            if card is None:
                fail(self.model.problem)
                return
            try:
                self.pairs.put(*pair_of(brightfield, true, card, paths=(light, stained)))
            except VirtualStainError as error:
                fail(str(error))

        def then_true(light: str) -> None:
            if true.path is not None:
                put(light, true.path)
            else:
                self._spool.write(true, lambda path: put(light, path), fail)

        if brightfield.path is not None:
            then_true(brightfield.path)
        else:
            self._spool.write(brightfield, then_true, fail)

    def search(self, path: str) -> None:
        """Take a pairs file, or look for pairs in a folder, plate or table."""
        if Path(path).suffix == ".json":
            self._background.run(
                "pairs", lambda: load_pairs(Path(path)), self.pairs.put_file,
                lambda sentence: self.notice.fail(words_of(sentence)),
            )  # fmt: skip
            return
        card = self.model.card
        values: dict[str, Any] = {
            "input": path, "out": str(self._jobs.temporary("found.json")),
            "stains": () if card is None else card.stain_names,
        }  # fmt: skip
        self._search = self._jobs.submit("pairs", make_settings(PairsSettings, values))
        self._run_bar.announce(self._search, f"Looking for pairs in {Path(path).name}")
        self.notice.hint(f"Looking for pairs in {path} …")

    def _found(self, run: Run) -> None:
        assert run.outcome is not None
        assert isinstance(run.settings, PairsSettings)
        self._search = None
        self.notice.clear()
        if run.outcome.result is None:
            settings = run.settings
            if run.outcome.state == "failed" and settings.target is None:
                # Bright field and stains may be images of their own, side by side.
                beside = settings.model_copy(update={"target": settings.input})
                self._search = self._jobs.submit("pairs", beside)
                self._run_bar.announce(self._search, "Looking for pairs, image by image")
            elif run.outcome.state == "failed":
                self.notice.fail_run(run)
            return
        self.pairs.put_file(load_pairs(Path(str(run.settings.out))))

    # --- doing it ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the tuning of what is chosen."""
        out = tunings_folder() / self.name.text().strip()
        place = self._own_pairs(out)
        try:
            settings = self.settings(place)
            drop_tuning(out)  # what is left of one that failed before its first checkpoint
            self.pairs.written(place)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        self._submit(settings)

    def _submit(self, settings: FinetuneSettings) -> None:
        if self._plan is not None:
            self._plan.cancel()
            self._plan = None
        self._soon.stop()
        self.notice.clear()
        self.doubts.clear()
        self.plan.clear()
        self.result.forget()
        self._out, self._discarding = Path(settings.out), False
        try:
            # Now, so that another process can do all of it if this one is closed at once.
            write_settings(training_folder(settings.out), settings.model_dump(mode="json"))
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        self._run = self._jobs.submit("finetune", settings)
        self._run_bar.announce(self._run, f"Tuning {Path(settings.model).name}")
        self.start.setEnabled(False)
        self.pick_fold.heading.setChecked(False)
        self.earlier.hide()
        self.watch.state.setText("Opening the pairs …")
        self.watch.follow(training_folder(settings.out), going=True)

    def _ask(self, what: str) -> None:
        """Do what a button of the panel asks for."""
        folder = self.watch.folder
        if folder is None or self._out is None:
            return
        if what == "resume":
            self.go_on(self._out)
        elif what == "cancel":
            self._discarding = True
            if self._run is not None:
                self._run.cancel()
            else:
                self._drop(self._out)
        else:
            wish: Wish = "pause" if what == "pause" else "end"
            self.watch.wait_for(wish)
            try:
                ask_run(folder, wish)
            except VirtualStainError as error:
                self.notice.fail(words_of(str(error)))

    def go_on(self, out: Path) -> None:
        """Go on with a tuning that was stopped, here or elsewhere."""
        try:
            values = {**read_settings(training_folder(str(out))), "resume": True}
            settings = make_settings(FinetuneSettings, values)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        self._submit(settings)

    def look_at(self, out: Path) -> None:
        """Show a tuning about which nobody has decided yet."""
        self._out = out
        self.notice.clear()
        self.watch.follow(training_folder(str(out)), going=False)
        if is_alone(training_folder(str(out))):
            self.watch.show_state(going=True, alone=True)
            self.notice.hint(f"{out.name} goes on by itself, also when this viewer is closed.")
            self._others.start()
            self.pick_fold.heading.setChecked(False)
            return
        result = read_result(out)
        done = (out / "card.json").is_file() and result is not None
        self.watch.show_state(going=False, ended=done)
        if done and result is not None:
            self._show_result(out, result)
        else:
            self.result.forget()
            self.notice.hint(f"{out.name} was stopped. Resume it, or discard it.")
        self.pick_fold.heading.setChecked(False)

    def _look_again(self) -> None:
        """See whether a tuning without a viewer has come to its end."""
        out = self._out
        if out is None or self._run is not None:
            self._others.stop()
        elif not is_alone(training_folder(str(out))):
            self._others.stop()
            self.look_at(out)

    def _follow(self, run: Run) -> None:
        if run.outcome is None:
            return
        if run is self._plan:
            self._show_plan(run)
        elif run is self._search:
            self._found(run)
        elif run is self._run:
            self._run = None
            self._ended(run)

    def _ended(self, run: Run) -> None:
        assert run.outcome is not None
        assert self._out is not None
        result = run.outcome.result
        if self._discarding:
            self._drop(self._out)
            self.notice.hint("Cancelled: nothing was changed.")
        elif result is None:
            self.watch.show_state(going=False)
            if not any(one.out == self._out for one in list_tunings()):
                self._drop(self._out)
            if run.outcome.state == "failed":
                self.notice.fail_run(run)
            elif self._out is not None:
                self.notice.hint("Stopped. Resume it from its last checkpoint, or discard it.")
        elif result["finished"]:
            self.watch.show_state(going=False, ended=True)
            self._show_result(self._out, result)
        else:
            said = f"Paused after {result['steps']} steps."
            self.watch.show_state(going=False, said=said)
        self.start.setEnabled(bool(self.pairs.pairs) and self._run is None)

    def _show_result(self, out: Path, result: dict[str, Any]) -> None:
        self.result.show_result(out.name, result, read_worst(training_folder(str(out))))

    # --- deciding ---------------------------------------------------------------------------------

    def _keep(self) -> None:
        out = self._out
        if out is None:
            return

        def done(name: str) -> None:
            self._close_run()
            self.notice.hint(f"{name} is among your models, and chosen on the page Stain.")
            self.kept.emit(name)

        self._background.run(
            "keep", lambda: keep_tuning(out), done,
            lambda sentence: self.notice.fail(words_of(sentence)),
        )  # fmt: skip

    def _revert(self) -> None:
        if self._out is not None:
            self._drop(self._out)
            self.notice.hint("Reverted: the tuned model is deleted, the old one is as it was.")

    def _drop(self, out: Path) -> None:
        drop_tuning(out)
        if out == self._out:
            self._close_run()
        self._look_for_earlier()

    def _close_run(self) -> None:
        """Show the first step again."""
        self._out = None
        self.watch.forget()
        self.result.forget()
        self.pick_fold.heading.setChecked(True)
        self._name_model()
        self._changed()
        self._look_for_earlier()

    def _look_for_earlier(self) -> None:
        going = None if self._run is None else self._out
        shown = [one for one in list_tunings() if one.out not in (going, self._out)]
        self.earlier.offer(shown)

    # --- Qt's own ---------------------------------------------------------------------------------

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Show the crops of a run again, and what was stopped elsewhere."""
        super().showEvent(event)
        self._look_for_earlier()
        self.watch.come_back()

    def hideEvent(self, event: Any) -> None:  # noqa: N802
        """Take the crops out of the viewer: it is used for something else."""
        self.watch.leave()
        super().hideEvent(event)

    def close_runs(self) -> None:
        """Let a tuning write a checkpoint and stop; the viewer is closing."""
        self.watch.stop()
        self.next.stop()
        self._soon.stop()
        self._others.stop()
        for run in (self._plan, self._search):
            if run is not None and not run.ended:
                run.cancel()
        if self._run is not None and not self._run.ended and self.watch.folder is not None:
            try:
                ask_run(self.watch.folder, "pause")
            except VirtualStainError:
                self._run.cancel()
            if self._run.state == "waiting":
                self._run.cancel()
            if self.alone.isChecked():
                go_on_alone(self.watch.folder, self._run.pid)

    def _arrange(self) -> None:
        rows = form()
        rows.addRow("Model", self.model)
        after = form()
        after.addRow("What moves", self.preset)
        after.addRow("Name", self.name)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.copy)
        inside = QVBoxLayout(self.pick)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addLayout(rows)
        inside.addWidget(self.pairs)
        inside.addLayout(after)
        inside.addWidget(self.plan)
        inside.addWidget(self.doubts)
        inside.addWidget(self.each)
        inside.addWidget(self.curve)
        inside.addWidget(self.alone)
        inside.addLayout(buttons)
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        for part in (
            self.earlier, self.pick_fold, self.notice, self.result, self.watch, self.next_fold,
        ):  # fmt: skip
            column.addWidget(part)
        column.addStretch(1)
