"""How good is the prediction? Numbers a stain beside the floor, and the pixels they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QButtonGroup,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.cli.arguments import to_command
from napari_virtualstain.compute.run import Run
from napari_virtualstain.errors import ChannelError, MissingInputError, VirtualStainError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.napari_io.difference import difference_layer
from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.widgets._feature_box import FeatureBox
from napari_virtualstain.widgets._fields import FieldBox, Fields
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._jobs import Background, Jobs
from napari_virtualstain.widgets._notice import Notice
from napari_virtualstain.widgets._parts import CopyCommand, Wrapped, form
from napari_virtualstain.widgets._run_bar import RunBar
from napari_virtualstain.widgets._spool import Spool

if TYPE_CHECKING:
    import napari

__all__ = ["ComparePage"]

_COLUMNS = {
    "stain": ("Stain", "Name of the predicted channel"),
    "pcc": ("PCC", "Pearson correlation with the truth; 1 is perfect, 0 is chance"),
    "floor_pcc": (
        "Floor",
        (
            "PCC that the best linear filter of the bright field reaches on the same pixels: "
            "a model that is not above it has learnt nothing"
        ),
    ),
    "ssim": ("SSIM", "Mean structural similarity, relative to the range of the truth"),
    "psnr": ("PSNR", "Peak signal-to-noise ratio in dB, relative to the range of the truth"),
    "mae": ("MAE", "Mean absolute error in the unit of the truth"),
    "mse": ("MSE", "Mean squared error in the squared unit of the truth"),
}
_SEEN = {
    "perceptual": (
        "Seen",
        (
            "How far apart what the classifier sees of prediction and truth is, place by place; 0 "
            "is alike"
        ),
    ),
    "perceptual_misplaced": (
        "Flip",
        (
            "The same of the truth from itself flipped: what the right texture in the wrong "
            "places would have. A good prediction lies well below it"
        ),
    ),
    "fid": (
        "FID",
        (
            "Fréchet distance between the features of all crops and those of the truth, wherever "
            "they lie; 0 is alike. Only where there are more crops than features"
        ),
    ),
    "kid": ("KID", "Kernel distance between the same; around 0 is alike"),
}
"""Columns that are there where they were asked for."""
_SHOWN = ("Predicted", "True", "Both", "Difference")
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
        self._viewer, self._fields, self._jobs, self._run_bar = viewer, fields, jobs, run_bar
        self._spool = Spool(self, jobs, Background(self))
        self._run: Run | None = None
        self._asked: dict[str, tuple[Image, Image]] = {}
        self._pairs: dict[str, tuple[Image, Image]] = {}
        self._linked: list[Image] = []
        self._visible: dict[Image, bool] = {}
        self._differences: dict[str, Image] = {}
        self._colours: dict[Image, tuple[Any, float]] = {}
        self._columns = dict(_COLUMNS)
        self.prediction = FieldBox(fields, lambda f: f.predicted, "nothing is stained yet")
        self.truth = FieldBox(fields, lambda f: bool(f.with_role("truth")), "no true stain is open")
        self.features = FeatureBox()
        self.start = QPushButton("Compare")
        self.copy = CopyCommand(self.command, lambda text: self.notice.fail(words_of(text)))
        self.copy_table = QPushButton("Copy table")
        self.notice = Notice(viewer)
        self.table = _score_table()
        self.modes = QButtonGroup(self)
        self.key = Wrapped()
        self._arrange()
        self.prediction.chosen.connect(self._changed)
        self.truth.chosen.connect(self._changed)
        self.start.clicked.connect(self.compare)
        self.copy_table.clicked.connect(self._copy_table)
        self.table.itemSelectionChanged.connect(self._show_row)
        self.modes.idClicked.connect(lambda _: self._show_row())
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
        return _settings(self.prediction.field, self.truth.field, None, self.features.settings)

    def command(self) -> str:
        """Return the line that gives the same table."""
        return to_command("evaluate", self.settings().absolute(), positional=("prediction",))

    def _changed(self) -> None:
        ready = self.prediction.field is not None and self.truth.field is not None
        self.start.setEnabled(ready)
        self.copy.setEnabled(ready)
        if self.prediction.field is None:
            self.notice.hint(_NO_PREDICTION)
        elif self.truth.field is None:
            self.notice.hint(_NO_TRUTH)
        elif self.notice.text in (_NO_PREDICTION, _NO_TRUTH):
            self.notice.clear()

    # --- comparing --------------------------------------------------------------------------------

    def compare(self) -> None:
        """Compute the table; what is compared is what is chosen now, whatever is chosen later."""
        predicted, true, seen = self.prediction.field, self.truth.field, self.features.settings
        if true is not None and predicted is not None and true.path is None:
            self._spool.write(
                true,
                lambda path: self._submit(predicted, true, path, seen),
                lambda sentence: self.notice.fail(words_of(sentence)),
            )
            return
        self._submit(predicted, true, None, seen)

    def _submit(
        self, predicted: Field | None, true: Field | None, target: str | None, seen: dict[str, Any]
    ) -> None:
        try:
            settings = _settings(predicted, true, target, seen)
        except VirtualStainError as error:
            self.notice.fail(words_of(str(error)))
            return
        assert predicted is not None
        assert true is not None
        self.notice.clear()
        self._run = self._jobs.submit("evaluate", settings)
        self._asked = _pairs(predicted, true)
        self._run_bar.announce(self._run, f"Comparing {predicted.name} with {true.name}")

    def _follow(self, run: Run) -> None:
        if run is not self._run or run.outcome is None:
            return
        self._run = None
        if run.outcome.result is None:
            if run.outcome.state == "failed":
                report = f"{run.settings.model_dump_json()}\n{run.outcome.traceback}"
                self.notice.fail(words_of(run.outcome.sentence), report)
            return
        self._pairs = self._asked
        self._show_scores(run.outcome.result)

    def _show_scores(self, result: dict[str, Any]) -> None:
        rows = result["channels"]
        there = {name for row in rows for name in _SEEN if row[name] is not None}
        self._columns = {**_COLUMNS, **{n: said for n, said in _SEEN.items() if n in there}}
        _head(self.table, self._columns)
        # PSNR says the same, and a dock is narrow; it is copied with the others.
        self.table.setColumnHidden(list(_COLUMNS).index("mse"), bool(there))
        self.table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, name in enumerate(self._columns):
                item = QTableWidgetItem(_number(name, row[name]))
                if name != "stain":
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                item.setToolTip(self._columns[name][1])
                self.table.setItem(number, column, item)
        height = self.table.horizontalHeader().height() + 4
        height += sum(self.table.rowHeight(row) for row in range(len(rows)))
        self.table.setFixedHeight(min(height, 300))
        self._forget_differences()
        if result["notes"]:
            self.notice.warn(words_of(" ".join(f"{note.rstrip('.')}." for note in result["notes"])))
        if rows:
            self.table.selectRow(0)

    def _difference(self, stain: str) -> Image | None:
        """Return the layer of a stain's difference, made when it is first looked at."""
        known = self._differences.get(stain)
        if known is not None and known in self._viewer.layers:
            return known
        predicted, true = self._pairs[stain]
        try:
            data = difference_layer(predicted, true, name=f"{stain} predicted - true")
        except VirtualStainError as error:
            self.notice.warn(str(error))
            return None
        self._differences[stain] = self._viewer.add_layer(Layer.create(*data))
        return self._differences[stain]

    # --- showing ----------------------------------------------------------------------------------

    def _show_row(self) -> None:
        """Show one stain in the chosen way; everything else of the comparison hides."""
        chosen = self.table.selectedItems()
        if not chosen:
            return
        stain = self.table.item(chosen[0].row(), 0).text()
        mode = _SHOWN[max(self.modes.checkedId(), 0)]
        predicted, true = self._pairs[stain]
        if predicted not in self._viewer.layers or true not in self._viewer.layers:
            self.notice.warn(f"A layer of {stain} is gone. Open it again, and compare again.")
            return
        difference = self._difference(stain) if mode == "Difference" else None
        colours = {
            "Predicted": {predicted: "gray"},
            "True": {true: "gray"},
            "Both": {true: "green", predicted: "magenta"},
            "Difference": {},
        }[mode]
        for layer in self._viewer.layers:
            if isinstance(layer, Image):
                self._visible.setdefault(layer, layer is not difference and layer.visible)
                layer.visible = layer in colours or layer is difference
        self._link(predicted, true)
        self._own_colours()
        for layer, colour in colours.items():
            # Detail is seen best in grey; the colours come back when the page is left.
            self._colours[layer] = (layer.colormap, layer.opacity)
            layer.colormap, layer.opacity = colour, 1.0
        self.key.setText(_key(mode, true))

    def hideEvent(self, event: Any) -> None:  # noqa: N802
        """Give the layers their own colours back when the page is left, and show what was shown."""
        self._own_colours()
        for layer, visible in self._visible.items():
            layer.visible = visible
        self._visible.clear()
        super().hideEvent(event)

    def _own_colours(self) -> None:
        for layer, (colormap, opacity) in self._colours.items():
            layer.colormap, layer.opacity = colormap, opacity
        self._colours.clear()

    def _forget_differences(self) -> None:
        """Drop layers that show the differences of an older comparison."""
        for layer in self._differences.values():
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._differences.clear()

    def _link(self, predicted: Image, true: Image) -> None:
        """Show equal numbers as equal grey, and keep it so when either is changed."""
        if self._linked != [predicted, true]:
            still = [layer for layer in self._linked if layer in self._viewer.layers]
            if still:
                self._viewer.layers.unlink_layers(still, ("contrast_limits", "gamma"))
            self._linked = [predicted, true]
        predicted.contrast_limits_range = true.contrast_limits_range
        predicted.contrast_limits = true.contrast_limits
        self._viewer.layers.link_layers([predicted, true], ("contrast_limits", "gamma"))

    def _copy_table(self) -> None:
        rows = [
            [title for title, _ in self._columns.values()],
            *(
                [self.table.item(row, column).text() for column in range(len(self._columns))]
                for row in range(self.table.rowCount())
            ),
        ]
        QApplication.clipboard().setText("\n".join("\t".join(row) for row in rows))

    def _arrange(self) -> None:
        rows = form()
        rows.addRow("Predicted", self.prediction)
        rows.addRow("True", self.truth)
        rows.addRow("Seen by", self.features)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.copy)
        buttons.addWidget(self.copy_table)
        modes = QHBoxLayout()
        modes.setSpacing(2)
        for number, name in enumerate(_SHOWN):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setChecked(number == 0)
            self.modes.addButton(button, number)
            modes.addWidget(button)
        column = QVBoxLayout(self)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addLayout(rows)
        column.addLayout(buttons)
        column.addWidget(self.notice)
        column.addWidget(self.table)
        column.addLayout(modes)
        column.addWidget(self.key)
        column.addStretch(1)


def _settings(
    predicted: Field | None, true: Field | None, target: str | None, seen: dict[str, Any]
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
        "target": target or true.path,
        "match": _match(predicted, true),
        **seen,
    }
    if not in_memory:
        values |= {"scene": true.scene or None, "axes": true.axes, "pattern": true.pattern}
    return make_settings(EvaluateSettings, values)


def _match(predicted: Field, true: Field) -> tuple[str, ...]:
    """Return PREDICTED=TRUE by the names of stains, where channels are named otherwise."""
    channels = {stain.casefold(): channel for stain, channel in true.true_channels.items()}
    pairs = [
        (source.channel, channels[source.stain.casefold()])
        for _, source in predicted.with_role("prediction")
        if source.stain.casefold() in channels
    ]
    if not pairs:
        names = ", ".join(s.stain for _, s in true.with_role("truth"))
        wanted = ", ".join(s.stain for _, s in predicted.with_role("prediction"))
        raise ChannelError(
            f"None of the true stains ({names}) has the name of a predicted one ({wanted}). "
            "Name the true channels on the page Load."
        )
    return tuple(f"{a}={b}" for a, b in pairs)


def _pairs(predicted: Field, true: Field) -> dict[str, tuple[Image, Image]]:
    """Return the layers of each predicted channel and of its truth."""
    truths = {s.stain.casefold(): layer for layer, s in true.with_role("truth")}
    return {
        source.channel: (layer, truths[source.stain.casefold()])
        for layer, source in predicted.with_role("prediction")
        if source.stain.casefold() in truths
    }


def _score_table() -> QTableWidget:
    table = QTableWidget()
    _head(table, _COLUMNS)
    table.verticalHeader().hide()
    table.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.horizontalHeader().setMinimumSectionSize(20)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    return table


def _head(table: QTableWidget, columns: dict[str, tuple[str, str]]) -> None:
    """Give a table these columns, with what they mean."""
    table.setColumnCount(len(columns))
    table.setHorizontalHeaderLabels([title for title, _ in columns.values()])
    for column, (_, about) in enumerate(columns.values()):
        table.horizontalHeaderItem(column).setToolTip(about)


def _number(name: str, value: Any) -> str:
    """Return a score with as many digits as mean something."""
    if name == "stain":
        return str(value)
    if value is None:
        return "-"
    if name in ("pcc", "floor_pcc", "ssim", "perceptual", "perceptual_misplaced"):
        return f"{value:.3f}"
    if name == "psnr":
        return f"{value:.1f}"
    return f"{value:.3g}".replace("e+0", "e").replace("e+", "e")


def _key(mode: str, true: Image) -> str:
    """Say what colours and limits mean."""
    low, high = (float(v) for v in true.contrast_limits)
    span = f"{low:.4g} to {high:.4g}"
    return {
        "Predicted": f"Shown in grey from {span}, as the truth is; the limits of both are linked.",
        "True": f"Shown in grey from {span}; the limits of prediction and truth are linked.",
        "Both": f"Predicted magenta, true green, agreement white; both from {span}.",
        "Difference": f"Predicted minus true: blue too dark, orange too bright, black right; "
        f"from -{(high - low) / 2:.4g} to {(high - low) / 2:.4g}.",
    }[mode]
