"""Which of the models that were tried did best? A table in order, and pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

from napari_virtualstain.napari_io.fields import Field
from napari_virtualstain.widgets._contact_sheet import ContactSheet, Crop
from napari_virtualstain.widgets._form import words_of
from napari_virtualstain.widgets._model_trials import Trial, limits_of, ranked, true_stain
from napari_virtualstain.widgets._parts import Wrapped, form, wide

if TYPE_CHECKING:
    import napari

__all__ = ["Results"]

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
_ORDER = {
    True: "Ranked by PCC with the true {stain}, on this place alone.",
    False: "No true {stain} of this image is open: in the order in which they were ticked.",
}


class Results(QWidget):
    """What became of models that were tried, for one stain at a time; hidden while there are none.

    Parameters
    ----------
    viewer
        To add pictures to.
    """

    picked = Signal(str)
    """The name of a model whose row was chosen."""
    left = Signal()
    """Nobody wants to see them any more."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._trials: Sequence[Trial] = ()
        self._true: Field | None = None
        self._around: Mapping[str, NDArray[Any]] = {}
        self.sheet = ContactSheet(viewer, self)
        self.stain = wide(QComboBox())
        self.stain.setToolTip("Which stain is shown and ranked")
        self.order = Wrapped()
        self.table = _table()
        self.problems = Wrapped()
        self.problems.setTextFormat(Qt.TextFormat.PlainText)
        self.key = Wrapped()
        self.back = QPushButton("Back to the image")
        self.back.setToolTip("Take the side-by-side layers away, and show the view from before")
        found = form()
        found.addRow("Stain", self.stain)
        after = QHBoxLayout()
        after.addStretch(1)
        after.addWidget(self.back)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(found)
        for part in (self.order, self.table, self.problems, self.key):
            column.addWidget(part)
        column.addLayout(after)
        self.hide()
        self.stain.currentIndexChanged.connect(lambda _: self._show())
        self.table.itemSelectionChanged.connect(self._pick)
        self.back.clicked.connect(self.left)

    def show_trials(
        self, trials: Sequence[Trial], true: Field | None, around: Mapping[str, NDArray[Any]]
    ) -> None:
        """Show what is known by now.

        Parameters
        ----------
        trials
            In the order in which they were ticked.
        true
            With the true stains, if they are open.
        around
            Pictures of the place by the name of the true stain; ``""`` is the bright field.
        """
        self._trials, self._true, self._around = trials, true, around
        self.setVisible(bool(trials))
        if trials:
            self._offer_stains()
            self._show()

    def _offer_stains(self) -> None:
        """Offer what the models predict; first what there is a truth of."""
        names: dict[str, str] = {}
        for trial in self._trials:
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
        """Show what is known of the chosen stain."""
        stain = self.stain.currentText()
        known = true_stain(stain, self._true)
        self.order.setText(_ORDER[known is not None].format(stain=stain))
        self.fill()
        said = [(trial.name, trial.why or trial.doubt) for trial in self._trials]
        wrong = [f"{name}: {words_of(sentence)}" for name, sentence in said if sentence]
        self.problems.setText("\n".join(wrong))
        self.problems.setVisible(bool(wrong))
        if self._around:
            self._lay_out(ranked(self._trials, stain), stain, known)

    def fill(self) -> None:
        """Fill the table; also while a run goes on, since it says how far that is."""
        stain = self.stain.currentText()
        trials = ranked(self._trials, stain)
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


def _crop(name: str, pixels: NDArray[Any]) -> Crop:
    return Crop(name=name, pixels=pixels, limits=limits_of([pixels]))


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
