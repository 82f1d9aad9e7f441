"""Which of several models suits my picture? All stain the same place, side by side, in an order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.napari_io.fields import Field, picture_of
from napari_virtualstain.widgets._contact_sheet import ContactSheet, Crop
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._model_entries import ModelEntry
from napari_virtualstain.widgets._model_trials import (
    Region,
    Score,
    Trial,
    limits_of,
    ranked,
    read_crops,
    true_stain,
)
from napari_virtualstain.widgets._parts import Wrapped, form, plural, wide
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._spool import Spool
from napari_virtualstain.widgets._stainings import file_name
from napari_virtualstain.widgets._view import (
    shown_place,
    shown_plane,
    shown_region,
    shown_time,
)

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["TryPanel", "middle_of"]

_MOST = 1024
"""Edge in pixels of the place that is tried, in the middle of what is in view."""
_TILE = 512
_COUNTS = "camera counts"
_COLUMNS = {
    "": "Place in the order",
    "Model": "Choose a row to look at its card and layer",
    "PCC": "Pearson correlation with the true stain on this place; 1 is perfect, 0 is chance",
    "Floor": (
        "PCC that the best linear filter of the bright field reaches on the same pixels: a model "
        "that is not above it has learnt nothing of use here"
    ),
    "Time": "What it took to stain this place",
}
_NO_IMAGE = "Open a bright-field image first, on the page Load or by dropping it on the viewer."
_NO_TICK = "Tick one or more models above."
_ORDER = {
    True: "Ranked by PCC with the true {stain}, on this place alone.",
    False: "No true {stain} of this image is open: in the order in which they were ticked.",
}


class TryPanel(QWidget):
    """Asks for stains of one place with several models, and sets them side by side.

    Parameters
    ----------
    viewer
        To add layers to.
    fields
        What the viewer shows.
    jobs
        Where they are computed.
    run_bar
        Where that is shown.
    """

    picked = Signal(str)
    """The name of a model whose row was chosen."""
    said = Signal(str)
    """What to do, in a sentence."""
    refused = Signal(str)
    """What went wrong, in a sentence."""

    def __init__(self, viewer: napari.Viewer, fields: Fields, jobs: Jobs, run_bar: RunBar) -> None:
        super().__init__()
        self._viewer, self._jobs, self._run_bar = viewer, jobs, run_bar
        self._background = Background(self)
        self._spool = Spool(self, jobs, self._background)
        self.sheet = ContactSheet(viewer, self)
        self.trials: list[Trial] = []
        self._ticked: tuple[ModelEntry, ...] = ()
        self._true: Field | None = None
        self._around: dict[str, NDArray[Any]] = {}
        self._place: tuple[Region, int, int | None] = ((0, 0, 0, 0), 0, None)
        self.image = FieldBox(fields, lambda f: f.can_be_stained, "no bright field is open yet")
        self.truth = FieldBox(fields, self._may_be_truth, "no true stain of this image is open")
        self.truth.setToolTip("With these true stains the models are ranked")
        self.start = QPushButton("Try on this view")
        self.stain = wide(QComboBox())
        self.stain.setToolTip("Which stain is shown and ranked")
        self.order = Wrapped()
        self.table = _table()
        self.problems = Wrapped()
        self.problems.setTextFormat(Qt.TextFormat.PlainText)
        self.key = Wrapped()
        self.back = QPushButton("Back to the image")
        self.back.setToolTip("Take the side-by-side layers away, and show the view from before")
        self.results = QWidget()
        self._arrange()
        self.image.chosen.connect(self.truth.refill)
        self.image.chosen.connect(self.look)
        self.start.clicked.connect(self.begin)
        self.stain.currentIndexChanged.connect(lambda _: self._show())
        self.table.itemSelectionChanged.connect(self._pick)
        self.back.clicked.connect(lambda: self.leave())
        jobs.run_changed.connect(self._follow)
        self.look()

    # --- beginning --------------------------------------------------------------------------------

    def offer(self, ticked: Sequence[ModelEntry]) -> None:
        """Take the models that are ticked, in their order."""
        self._ticked = tuple(ticked)
        self.look()

    def look(self) -> None:
        """Say what the button would do, and whether it can."""
        many = len(self._ticked)
        self.start.setText(
            f"Try {plural(many, 'model')} on this view" if many else "Try on this view"
        )
        image = self.image.field
        self.start.setEnabled(bool(many) and image is not None and not self._going())
        self.start.setToolTip(
            _NO_IMAGE if image is None else _NO_TICK if not many else
            f"Stain the middle of the view, at most {_MOST} x {_MOST} px, with each of them; "
            "nothing is kept"
        )  # fmt: skip

    def begin(self) -> None:
        """Stain what is in view with each model that is ticked."""
        image, true = self.image.field, self.truth.field
        layer = None if image is None else image.brightfield
        if image is None or layer is None or not self._ticked:
            self.said.emit(_NO_IMAGE if layer is None else _NO_TICK)
            return
        # Whoever looks at the last ones means the place that they are of.
        self.leave(look_back=self.sheet.is_looked_at)
        region = shown_region(self._viewer, layer)
        if region is None:
            self.refused.emit("Nothing of this image is in view. Move it into view, and try again.")
            return
        region = middle_of(region, _MOST)
        self._place = (
            region,
            shown_time(self._viewer, layer) or 0,
            shown_plane(self._viewer, layer),
        )
        self._true, self._around = true, {}
        self.sheet.lay(layer, region)
        self._read_around(layer, true)
        models = self._ticked
        self._on_disk(
            image,
            lambda path: self._submit(image, path, models),
            lambda text: self.refused.emit(words_of(text)),
        )

    def _on_disk(
        self, image: Field, then: Callable[[str], None], otherwise: Callable[[str], None]
    ) -> None:
        """Hand on where an image lies; one in memory is written first."""
        if image.path is not None:
            then(image.path)
        else:
            self._spool.write(image, then, otherwise)

    def _submit(self, image: Field, path: str, models: Sequence[ModelEntry]) -> None:
        region, t, _ = self._place
        for entry in models:
            assert entry.card is not None
            out = self._jobs.temporary(f"try-{file_name(entry.name)}.ome.zarr")
            values = {
                **picture_of(image), "input": path, "model": entry.name, "out": str(out),
                "region": region, "times": (t,), "tile": _TILE, "resample": True,
            }  # fmt: skip
            try:
                settings = make_settings(StainSettings, values)
            except VirtualStainError as error:
                self.refused.emit(words_of(str(error)))
                return
            run = self._jobs.submit("stain", settings)
            self.trials.append(Trial(name=entry.name, card=entry.card, settings=settings, run=run))
            self._run_bar.announce(run, f"Trying {entry.name} on {image.name}")
        self._offer_stains()
        self._show()

    def _read_around(self, layer: Image, true: Field | None) -> None:
        """Read the bright field and the true stains of the place, in a thread."""
        layers = {"": layer} if true is None else {"": layer, **true.stains}
        pictures = {
            name: _crop_of(one, shown_place(self._viewer, one), self._place[0])
            for name, one in layers.items()
        }

        def read() -> dict[str, NDArray[Any]]:
            return {name: picture() for name, picture in pictures.items()}

        def take(found: dict[str, NDArray[Any]]) -> None:
            self._around = found
            self._show()

        self._background.run("around", read, take, lambda text: self.refused.emit(words_of(text)))

    # --- following --------------------------------------------------------------------------------

    def _going(self) -> bool:
        return any(trial.state != "over" for trial in self.trials)

    def _follow(self, run: Run) -> None:
        trial = next((one for one in self.trials if run in one.runs), None)
        if trial is None:
            return
        if run.outcome is None:
            self._fill()
            return
        if trial.state != ("staining" if run is trial.run else "comparing"):
            return  # told before: what it said on its way comes after its end
        result = run.outcome.result
        trial.state = "over"
        if run is trial.run and result is not None:
            self._read(trial)
            self._examine(trial)
        elif run is trial.run and run.outcome.state == "failed":
            trial.why = run.outcome.sentence
        elif result is not None:
            trial.scores = {
                row["stain"]: Score(pcc=row["pcc"], floor=row["floor_pcc"])
                for row in result["channels"]
            }
        elif run.outcome.state == "failed":
            trial.doubt = run.outcome.sentence
        self._show()

    def _read(self, trial: Trial) -> None:
        region, t, z = self._place

        def take(crops: dict[str, NDArray[np.float32]]) -> None:
            trial.crops = crops
            self._show()

        def fail(sentence: str) -> None:
            trial.why = sentence
            self._show()

        read = partial(read_crops, trial.settings.out, region, t=t, z=z)
        self._background.run(f"crops {trial.settings.out}", read, take, fail)

    def _examine(self, trial: Trial) -> None:
        """Compare what a model made with the true stains, as far as there are any."""
        true = self._true
        pairs = {s: found for s in trial.card.stain_names if (found := true_stain(s, true))}
        if true is None or not pairs:
            return
        trial.state = "comparing"
        channels = true.true_channels
        region, t, _ = self._place

        def submit(path: str) -> None:
            if trial not in self.trials:
                return
            values: dict[str, Any] = {
                "prediction": trial.settings.out, "target": path, "region": region,
                "match": tuple(f"{stain}={channels[name]}" for stain, name in pairs.items()),
            }  # fmt: skip
            if true.path is not None:
                values |= {"scene": true.scene or None, "axes": true.axes, "pattern": true.pattern}
            if true.has_times:
                values["times"] = (t,)
            settings = make_settings(EvaluateSettings, values)
            trial.examination = self._jobs.submit("evaluate", settings, urgent=True)
            self._run_bar.announce(trial.examination, f"Comparing {trial.name} with the truth")

        def refuse(sentence: str) -> None:
            trial.state, trial.doubt = "over", sentence
            self._show()

        self._on_disk(true, submit, refuse)

    # --- showing ----------------------------------------------------------------------------------

    def _offer_stains(self) -> None:
        """Offer what the models predict; first what there is a truth of."""
        names: dict[str, str] = {}
        for trial in self.trials:
            for stain in trial.card.stain_names:
                names.setdefault(stain.casefold(), stain)
        first = next((n for n in names.values() if true_stain(n, self._true)), None)
        now = self.stain.currentText()
        self.stain.blockSignals(True)
        self.stain.clear()
        self.stain.addItems(list(names.values()))
        wanted = now if now in names.values() else first
        self.stain.setCurrentIndex(max(self.stain.findText(wanted or ""), 0))
        self.stain.blockSignals(False)

    def _show(self) -> None:
        """Show what is known by now."""
        self.look()
        self.results.setVisible(bool(self.trials))
        if not self.trials:
            return
        stain = self.stain.currentText()
        known = true_stain(stain, self._true)
        self.order.setText(_ORDER[known is not None].format(stain=stain))
        self._fill()
        said = [(trial.name, trial.why or trial.doubt) for trial in self.trials]
        wrong = [f"{name}: {words_of(sentence)}" for name, sentence in said if sentence]
        self.problems.setText("\n".join(wrong))
        self.problems.setVisible(bool(wrong))
        if self._around:
            self._lay_out(ranked(self.trials, stain), stain, known)

    def _fill(self) -> None:
        """Fill the table; also while a run goes on, since it says how far that is."""
        stain = self.stain.currentText()
        trials = ranked(self.trials, stain)
        scored = any(trial.score(stain).pcc is not None for trial in trials)
        chosen = {item.text() for item in self.table.selectedItems() if item.column() == 1}
        self.table.blockSignals(True)
        self.table.setRowCount(len(trials))
        for row, trial in enumerate(trials):
            score = trial.score(stain)
            place = f"{row + 1}" if not scored or score.pcc is not None else ""
            cells = (
                place,
                trial.name,
                _number(score.pcc),
                _number(score.floor),
                trial.words(stain),
            )
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                if column in (2, 3):
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                item.setToolTip(words_of(trial.why or trial.doubt) or trial.name)
                self.table.setItem(row, column, item)
            if trial.name in chosen:
                self.table.selectRow(row)
        self.table.blockSignals(False)
        height = self.table.horizontalHeader().height() + 4
        height += sum(self.table.rowHeight(row) for row in range(len(trials)))
        self.table.setFixedHeight(min(height, 220))

    def _lay_out(self, trials: Sequence[Trial], stain: str, known: str | None) -> None:
        """Set bright field, truth and predictions side by side, those of one unit in equal grey."""
        made = [(t, pixels) for t in trials if (pixels := t.crop(stain)) is not None]
        crops = [_crop("bright field", self._around[""])]
        alike: dict[str, tuple[float, float]] = {}
        truth = None if known is None else self._around.get(known)
        if truth is not None:
            alike[_COUNTS] = limits_of([truth])
            crops.append(Crop(name=f"true {stain}", pixels=truth, limits=alike[_COUNTS]))
        for trial, _ in made:
            unit = trial.unit(stain)
            if unit not in alike:
                alike[unit] = limits_of(p for t, p in made if t.unit(stain) == unit)
        for trial, pixels in made:
            crops.append(Crop(name=trial.name, pixels=pixels, limits=alike[trial.unit(stain)]))
        going = sum(trial.predicts(stain) and not trial.why for trial in trials)
        self.sheet.show(crops, room=len(crops) - len(made) + going)
        units = {trial.unit(stain) for trial, _ in made}
        own = "" if len(units) < 2 else (
            " Models whose numbers have another unit are shown in a range of their own."
        )  # fmt: skip
        equal = "as the truth is" if truth is not None else "all alike"
        self.key.setText(
            f"In the order of the table, on the right of the image; {equal}, in grey.{own}"
            if made else ""
        )  # fmt: skip

    def _pick(self) -> None:
        row = self.table.currentRow()
        if not self.table.selectedItems() or row < 0:
            return
        name = self.table.item(row, 1).text()
        self.picked.emit(name)
        layer = next((one for one in self.sheet.layers if one.name == name), None)
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.selection.active = layer

    def leave(self, *, look_back: bool = True) -> None:
        """Cancel what is tried, and take away what was made of it; look where one looked before."""
        self._cancel()
        self.sheet.clear(look_back=look_back)
        self._show()

    def stop(self) -> None:
        """Cancel what is tried: the viewer is going."""
        self.sheet.stop()
        self._cancel()

    def _cancel(self) -> None:
        trials, self.trials = self.trials, []
        for trial in trials:
            for run in trial.runs:
                run.cancel()

    def _may_be_truth(self, field: Field) -> bool:
        """Return whether true stains may be those of the image: they have its size."""
        image = self.image.field
        layer = None if image is None else image.brightfield
        true = field.with_role("truth")
        return layer is not None and bool(true) and _size(true[0][0]) == _size(layer)

    def _arrange(self) -> None:
        self.image.setToolTip("Its part in view is tried")
        rows = form()
        rows.addRow("Image", self.image)
        rows.addRow("True", self.truth)
        found = form()
        found.addRow("Stain", self.stain)
        after = QHBoxLayout()
        after.addStretch(1)
        after.addWidget(self.back)
        inner = QVBoxLayout(self.results)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addLayout(found)
        inner.addWidget(self.order)
        inner.addWidget(self.table)
        inner.addWidget(self.problems)
        inner.addWidget(self.key)
        inner.addLayout(after)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(rows)
        column.addWidget(self.start)
        column.addWidget(self.results)
        self.results.hide()


def middle_of(region: Region, most: int) -> Region:
    """Return the middle of a region, at most so many pixels high and wide.

    Examples
    --------
    >>> middle_of((0, 100, 2000, 400), 1000)
    (500, 100, 1500, 400)
    """
    top, left, bottom, right = region
    down, along = max(0, bottom - top - most), max(0, right - left - most)
    top, left = top + down // 2, left + along // 2
    return (top, left, min(bottom, top + most), min(right, left + most))


def _crop(name: str, pixels: NDArray[Any]) -> Crop:
    return Crop(name=name, pixels=pixels, limits=limits_of([pixels]))


def _crop_of(layer: Image, at: tuple[int, ...], region: Region) -> Any:
    finest = layer.data[0] if layer.multiscale else layer.data
    top, left, bottom, right = region
    return lambda: np.asarray(finest[at][top:bottom, left:right])


def _size(layer: Image) -> tuple[int, ...]:
    finest = layer.data[0] if layer.multiscale else layer.data
    return tuple(finest.shape[-2:])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _table() -> QTableWidget:
    table = QTableWidget(0, len(_COLUMNS))
    table.setHorizontalHeaderLabels(list(_COLUMNS))
    for column, about in enumerate(_COLUMNS.values()):
        table.horizontalHeaderItem(column).setToolTip(about)
    table.verticalHeader().hide()
    table.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    header = table.horizontalHeader()
    header.setMinimumSectionSize(20)
    for column, width in ((0, 24), (2, 56), (3, 56), (4, 92)):
        header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
        table.setColumnWidth(column, width)
    header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
    return table
