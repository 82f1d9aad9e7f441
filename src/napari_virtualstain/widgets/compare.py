"""How good is the prediction? Numbers a stain beside the floor, and the pixels they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import MissingInputError, VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.batch_items import scene_pattern
from napari_virtualstain.jobs.compare_objects import ObjectScore
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.evaluation import meaning_of
from napari_virtualstain.jobs.scores import ScoresSettings
from napari_virtualstain.napari_io.error_maps import map_layers
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.napari_io.matched import matched_layers, matched_names
from napari_virtualstain.napari_io.source import source_of
from napari_virtualstain.widgets._compare_objects import ObjectChoice, ObjectView
from napari_virtualstain.widgets._compare_table import ScoreTable
from napari_virtualstain.widgets._compare_view import CompareView
from napari_virtualstain.widgets._feature_box import FeatureBox
from napari_virtualstain.widgets._field_opener import FieldOpener, Wanted
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Foldout, Wrapped, form
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._scores_panel import ScoresPanel
from napari_virtualstain.widgets._scores_table import Row
from napari_virtualstain.widgets._spool import Spool
from napari_virtualstain.widgets._view import go_to

if TYPE_CHECKING:
    import napari

__all__ = ["ComparePage"]

_NO_PREDICTION = "Stain an image first, or open a store that a run wrote."
_NO_TRUTH = "Open the true stain of the same field, and name its channels on the page Load."


class ComparePage(QWidget):
    """Compares predicted with true stains.

    Parameters
    ----------
    viewer
        Whose layers are shown and hidden.
    fields
        What the viewer shows.
    jobs
        Where the numbers are computed.
    run_bar
        Where that is shown.
    """

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._jobs, self._run_bar = jobs, run_bar
        self._background = Background(self)
        self._spool = Spool(self, jobs, self._background)
        self._run: Run | None = None
        self._maps: Run | None = None
        self._maps_of: tuple[str, Image, Image] | None = None
        self._asked: dict[str, tuple[Image, Image]] = {}
        self._opener = FieldOpener(viewer, fields, self, self._refuse)
        self._pairs: dict[str, tuple[Image, Image]] = {}
        self._ranges: dict[str, float] = {}
        self._meanings: dict[str, str] = {}
        self.prediction = FieldBox(fields, lambda f: f.predicted, "nothing is stained yet")
        self.truth = FieldBox(fields, lambda f: bool(f.with_role("truth")), "no true stain is open")
        self.features = FeatureBox()
        self.objects = ObjectChoice()
        self.start = QPushButton("Compare")
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.copy_table = QPushButton("Copy table")
        self.notice = Notice(viewer)
        self.table = ScoreTable()
        self.meaning = Wrapped()
        self.meaning.hide()
        self.compared_objects = ObjectView(viewer, self.notice.warn)
        self.view = CompareView(viewer, self.notice.hint, self.notice.warn)
        self.scores = ScoresPanel(viewer, fields, jobs, run_bar, self._pair)
        self.fold = Foldout("Every field, and other models", self.scores)
        self._viewer = viewer
        self._arrange()
        self.scores.chosen.connect(self._go_to)
        self.view.wants_maps.connect(self._make_maps)
        self.prediction.chosen.connect(self._changed)
        self.truth.chosen.connect(self._changed)
        self.start.clicked.connect(self.compare)
        self.copy_table.clicked.connect(
            lambda: QApplication.clipboard().setText(self.table.as_text())
        )
        self.table.itemSelectionChanged.connect(self._show_row)
        jobs.run_changed.connect(self._follow)
        self._changed()

    # --- what would be compared -------------------------------------------------------------------

    def settings(self) -> EvaluateSettings:
        """Return the settings of the comparison of what is chosen.

        Raises
        ------
        VirtualStainError
            If there is nothing to compare.
        """
        return _settings(self.prediction.field, self.truth.field, None, self._more())

    def command(self) -> str:
        """Return the line that gives the same table."""
        return to_command("evaluate", self.settings().absolute(), positional=("prediction",))

    def _pair(self) -> tuple[Field | None, Field | None, tuple[str, ...]]:
        """Return what is chosen, and which channel is whose."""
        predicted, true = self.prediction.field, self.truth.field
        match = () if predicted is None or true is None else matched_names(predicted, true)
        return predicted, true, match

    def _more(self) -> dict[str, Any]:
        """Return what is asked besides the scores."""
        return {**self.features.settings, **self.objects.settings}

    def _changed(self) -> None:
        predicted, true = self.prediction.field, self.truth.field
        both = predicted is not None and true is not None
        self.objects.offer(
            () if predicted is None or true is None else matched_layers(predicted, true)
        )
        self.scores.offer(possible=both)
        self.start.setEnabled(both)
        self.copy.setEnabled(both)
        if predicted is None:
            self.notice.hint(_NO_PREDICTION)
        elif true is None:
            self.notice.hint(_NO_TRUTH)
        elif self.notice.text in (_NO_PREDICTION, _NO_TRUTH):
            self.notice.clear()

    # --- comparing --------------------------------------------------------------------------------

    def compare(self) -> None:
        """Compute the table; what is compared is what is chosen now, whatever is chosen later."""
        predicted, true, more = self.prediction.field, self.truth.field, self._more()
        if more["objects"] is not None:
            more["out"] = str(self._jobs.temporary("objects.ome.zarr"))
        if true is not None and predicted is not None and true.path is None:
            self._spool.write(
                true,
                lambda path: self._submit(predicted, true, path, more),
                lambda sentence: self.notice.fail(words_of(sentence)),
            )
            return
        self._submit(predicted, true, None, more)

    def _submit(
        self, predicted: Field | None, true: Field | None, target: str | None, more: dict[str, Any]
    ) -> None:
        try:
            settings = _settings(predicted, true, target, more)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        assert predicted is not None
        assert true is not None
        self.notice.clear()
        self._run = self._jobs.submit("evaluate", settings)
        self._asked = matched_layers(predicted, true)
        self._run_bar.announce(self._run, f"Comparing {predicted.name} with {true.name}")

    def _follow(self, run: Run) -> None:
        if run is self._maps and run.outcome is not None:
            self._take_maps(run)
        if run is not self._run or run.outcome is None:
            return
        self._run = None
        if run.outcome.result is None:
            self.notice.fail_run(run)
            return
        self._pairs = self._asked
        self._show_scores(run.outcome.result, getattr(run.settings, "out", None))

    def _show_scores(self, result: dict[str, Any], store: str | None) -> None:
        self.view.forget()
        self.compared_objects.forget()
        self._ranges = {one["stain"]: one["data_range"] for one in result["channels"]}
        self._meanings = {one["stain"]: meaning_of(one) for one in result["channels"]}
        self.table.show_scores(result["channels"])
        score = ObjectScore.from_json(result["objects"]) if "objects" in result else None
        # How they were found is said beside their number, without options that the page lacks.
        beside = () if score is None else score.notes
        notes = [note for note in result["notes"] if not note.startswith(beside)]
        if notes:
            self.notice.warn(words_of(" ".join(f"{note.rstrip('.')}." for note in notes)))
        stain = ""
        if store is not None and score is not None:
            stain = score.stain
            self.compared_objects.show_score(score, Path(store), self._pairs[stain][0])
        if result["channels"]:
            self.table.choose(stain)

    # --- showing ----------------------------------------------------------------------------------

    def _show_row(self) -> None:
        """Show the stain that is chosen, if somebody looks."""
        stain = self.table.stain
        self.meaning.setText(self._meanings.get(stain or "", ""))
        self.meaning.setVisible(bool(self.meaning.text()))
        if stain is not None and self.isVisible():
            self.view.look_at(stain, *self._pairs[stain], self._ranges.get(stain))
            self.compared_objects.look_at(stain)

    def _go_to(self, row: Row) -> None:
        """Show the field, the time and the stain of a row, and all models that are there of it."""
        settings = self.scores.settings_of_result
        axes, pattern = (None, None) if settings is None else (settings.axes, settings.pattern)
        same = [
            one
            for one in self.scores.rows
            if all(one[name] == row[name] for name in ("target_path", "target_scene", "time", "z"))
            and one["stain"] == row["stain"]
        ]
        same.sort(key=lambda one: one is not row)
        true = Wanted(row["target_path"], row["target_scene"], axes, pattern)
        wanted = [true, *(Wanted(one["path"], one["scene"]) for one in same)]

        def take(found: list[Field]) -> None:
            if row is not self.scores.row or not self.isVisible():
                return
            fields = {field.key: field for field in found}
            truth = _layer_of(fields.get(true.key), row["target"])
            layers = {
                str(one["model"]): layer for one in same
                if (layer := _layer_of(fields.get((one["path"], one["scene"])), row["stain"]))
            }  # fmt: skip
            if truth is None or row["model"] not in layers:
                self.notice.fail(f"{row['stain']} of {row['name']} is not there any more.")
                return
            predicted = layers.pop(row["model"])
            go_to(self._viewer, predicted, {"t": row["time"], "z": row["z"]})
            self.table.clearSelection()
            self.compared_objects.look_at(None)
            self.view.forget()
            self.view.look_at(
                row["stain"], predicted, truth, row["data_range"], model=row["model"], others=layers
            )

        self._opener.show(wanted, take)

    # --- maps -------------------------------------------------------------------------------------

    def _make_maps(self) -> None:
        """Ask for the maps of the pair that is looked at; once, until it is another one."""
        pair = self.view.pair
        if pair is None or (self._maps is not None and self._maps_of == pair):
            return
        stain, predicted, true = pair
        made_of, seen_in = source_of(predicted), source_of(true)
        if made_of is None or seen_in is None or made_of.path is None or seen_in.path is None:
            self.notice.fail(
                "Maps are made of files, and one of these lies in memory. Save it as OME-Zarr "
                "first."
            )
            return
        out = str(self._jobs.temporary("maps.ome.zarr"))
        scenes = {
            name: scene_pattern([one.scene])
            for name, one in (("scene", made_of), ("target_scene", seen_in)) if one.scene
        }  # fmt: skip
        try:
            settings = make_settings(
                ScoresSettings,
                {
                    "prediction": made_of.path, "target": seen_in.path, "maps": out,
                    "match": (f"{made_of.channel}={seen_in.channel}",), "axes": seen_in.axes,
                    "pattern": seen_in.pattern, **scenes,
                },
            )  # fmt: skip
        except VirtualStainError as error:
            self._refuse(str(error))
            return
        if self._maps is not None:
            self._maps.cancel()
        self._maps_of, self._maps = pair, self._jobs.submit("scores", settings)
        self._run_bar.announce(self._maps, f"Mapping where {stain} is wrong")

    def _take_maps(self, run: Run) -> None:
        pair, self._maps = self._maps_of, None
        if run.outcome is None or run.outcome.result is None:
            self.notice.fail_run(run)
            return
        if pair is None or pair != self.view.pair:
            return
        stain, predicted, true = pair
        store = Path(str(getattr(run.settings, "maps", "")))

        def take(maps: dict[str, Any]) -> None:
            if pair == self.view.pair and self.isVisible():
                self.view.show_maps(maps)

        channel = source_of(predicted)
        name = stain if channel is None else channel.channel
        self._background.run("maps", map_layers(store, predicted, true, name), take, self._refuse)

    def _refuse(self, sentence: str) -> None:
        self.notice.fail(words_of(sentence))

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Show what was compared, as it was when the page was left."""
        super().showEvent(event)
        self._show_row()
        if self.table.stain is None and self.scores.row is not None:
            self._go_to(self.scores.row)

    def hideEvent(self, event: Any) -> None:  # noqa: N802
        """Give the layers their own colours back when the page is left, and show what was shown."""
        self.view.leave()
        self.compared_objects.look_at(None)
        super().hideEvent(event)

    def close_runs(self) -> None:
        """Cancel the comparison and follow the viewer no more; it is closing."""
        for run in (self._run, self._maps):
            if run is not None and not run.ended:
                run.cancel()
        self.scores.close_runs()
        self.view.close_view()

    def _arrange(self) -> None:
        rows = form()
        rows.addRow("Predicted", self.prediction)
        rows.addRow("True", self.truth)
        rows.addRow("Seen by", self.features)
        rows.addRow("Nuclei in", self.objects.nuclei)
        rows.addRow("Cells in", self.objects.cells)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.copy)
        buttons.addWidget(self.copy_table)
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addLayout(rows)
        column.addLayout(buttons)
        column.addWidget(self.notice)
        column.addWidget(self.table)
        column.addWidget(self.meaning)
        column.addWidget(self.compared_objects)
        column.addWidget(self.view)
        column.addWidget(self.fold)
        column.addStretch(1)


def _settings(
    predicted: Field | None, true: Field | None, target: str | None, more: dict[str, Any]
) -> EvaluateSettings:
    """Return the settings of a comparison; `target` is where a truth in memory was written."""
    if predicted is None or predicted.path is None:
        raise MissingInputError(_NO_PREDICTION)
    if true is None:
        raise MissingInputError(_NO_TRUTH)
    if target is None and true.path is None:
        raise MissingInputError(
            "The true stain lies in memory, so no command can open it. Save it as OME-Zarr first."
        )
    in_memory = true.path is None
    values: dict[str, Any] = {
        "prediction": predicted.path,
        "prediction_scene": predicted.scene or None,
        "target": target or true.path,
        "match": matched_names(predicted, true),
        **more,
    }
    if not in_memory:
        values |= {"scene": true.scene or None, "axes": true.axes, "pattern": true.pattern}
    return make_settings(EvaluateSettings, values)


def _layer_of(field: Field | None, channel: str) -> Image | None:
    """Return the layer of a channel."""
    if field is None:
        return None
    return next(
        (layer for layer, s in field.layers if s is not None and s.channel == channel), None
    )
