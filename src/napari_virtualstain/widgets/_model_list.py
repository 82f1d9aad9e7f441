"""Which of many models is meant? A list with filters; what is ticked is tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_virtualstain.widgets._model_entries import ModelEntry, with_stain
from napari_virtualstain.widgets._parts import wide
from napari_virtualstain.words import plural

__all__ = ["ModelList"]

_LEAST, _MOST = 96, 196
_OVER = ("planes", "stacks")
_DOES = {"paints": "paints stains", "sees": "sees (encoder)"}


class ModelList(QWidget):
    """Models and encoders as cards of two lines; filters above, and how many there are below."""

    chosen = Signal()
    """Another model is looked at."""
    ticked = Signal()
    """Other models are ticked."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: tuple[ModelEntry, ...] = ()
        self._ticks: dict[str, None] = {}
        self.text = QLineEdit()
        self.text.setPlaceholderText("Search")
        self.text.setClearButtonEnabled(True)
        self.text.setToolTip("Words of a name, a title, a stain or what a model takes")
        self.does, self.stain, self.channel, self.over = (wide(QComboBox()) for _ in range(4))
        self.does.setToolTip(
            "Only models that paint stains, or only encoders, which see and paint nothing: they "
            "compare stains, and make profiles"
        )
        self.stain.setToolTip("Only models that predict this stain")
        self.channel.setToolTip("Only models for this kind of light")
        self.over.setToolTip("Only models over single planes, or over stacks of them")
        self.list = QListWidget()
        self.list.setToolTip("Tick models to try them side by side; choose one to read its card")
        self.list.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setSpacing(1)
        self.count = QLabel()
        filters = QGridLayout()
        for place, box in enumerate((self.does, self.over, self.stain, self.channel)):
            filters.addWidget(box, *divmod(place, 2))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.text)
        column.addLayout(filters)
        column.addWidget(self.list)
        column.addWidget(self.count)
        for box in (self.does, self.stain, self.channel, self.over):
            box.currentIndexChanged.connect(lambda _: self._filter())
        self.text.textChanged.connect(lambda _: self._filter())
        self.list.currentItemChanged.connect(lambda *_: self.chosen.emit())
        self.list.itemChanged.connect(self._tick)

    @property
    def current(self) -> ModelEntry | None:
        """The model that is looked at."""
        item = self.list.currentItem()
        return None if item is None else self._entry(item)

    @property
    def ticks(self) -> tuple[ModelEntry, ...]:
        """The models that are ticked and shown, in the order in which they were ticked."""
        shown = {entry.name: entry for entry in self.shown}
        return tuple(shown[name] for name in self._ticks if name in shown)

    @property
    def shown(self) -> tuple[ModelEntry, ...]:
        """The models that the filters leave."""
        return tuple(self._entry(self.list.item(row)) for row in range(self.list.count()))

    def show_entries(self, entries: Sequence[ModelEntry], *, choose: str | None = None) -> None:
        """Show these models; what was ticked and looked at stays so where it is still there.

        Parameters
        ----------
        entries
            In order.
        choose
            Name of the one to look at.
        """
        self.entries = tuple(entries)
        usable = {entry.name for entry in entries if entry.card is not None}
        self._ticks = {name: None for name in self._ticks if name in usable}
        _offer(self.does, "paints or sees", _DOES)
        _offer(self.stain, "any stain", with_stain(entries))
        _offer(self.channel, "any light", sorted({e.channel for e in entries if e.channel}))
        _offer(self.over, "planes or stacks", _OVER)
        self._filter(choose)

    def choose(self, name: str) -> None:
        """Look at a model, if it is shown."""
        for row in range(self.list.count()):
            if self._entry(self.list.item(row)).name == name:
                self.list.setCurrentRow(row)

    def _entry(self, item: QListWidgetItem) -> ModelEntry:
        entry: ModelEntry = item.data(Qt.ItemDataRole.UserRole)
        return entry

    def _filter(self, choose: str | None = None) -> None:
        before = choose or (None if self.current is None else self.current.name)
        wanted = {
            "does": self.does.currentData() or "",
            "stain": self.stain.currentData() or "",
            "channel": self.channel.currentData() or "",
            "over": self.over.currentData() or "",
            "text": self.text.text(),
        }
        shown = [entry for entry in self.entries if entry.fits(**wanted)]
        self.list.blockSignals(True)
        self.list.clear()
        for entry in shown:
            self.list.addItem(self._item(entry))
        names = [entry.name for entry in shown]
        self.list.setCurrentRow(names.index(before) if before in names else 0 if names else -1)
        self.list.blockSignals(False)
        self._fit()
        away = sum(entry.download is not None for entry in shown)
        seeing = sum(entry.encoder is not None for entry in shown)
        counts = ((len(shown) - away - seeing, "model"), (seeing, "encoder"))
        here = " and ".join(plural(n, what) for n, what in counts if n) or "none"
        said = f"{here} here, {away} to download" if away else here
        self.count.setText(said if shown else "No model is like that. Open a filter again.")
        self.chosen.emit()
        self.ticked.emit()

    def _item(self, entry: ModelEntry) -> QListWidgetItem:
        item = QListWidgetItem(f"{entry.name}\n{entry.line}")
        item.setData(Qt.ItemDataRole.UserRole, entry)
        item.setToolTip(entry.problem or "\n".join(p for p in (entry.title, entry.takes) if p))
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if entry.card is not None:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        item.setFlags(flags)
        if entry.card is not None:
            on = entry.name in self._ticks
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        height = 2 * self.list.fontMetrics().height() + 6
        item.setSizeHint(QSize(0, height))
        return item

    def _fit(self) -> None:
        rows = self.list.count()
        one = 0 if not rows else self.list.sizeHintForRow(0) + 2 * self.list.spacing()
        self.list.setFixedHeight(min(max(rows * one + 6, _LEAST), _MOST))

    def _tick(self, item: QListWidgetItem) -> None:
        name = self._entry(item).name
        if item.checkState() == Qt.CheckState.Checked:
            self._ticks[name] = None
        else:
            self._ticks.pop(name, None)
        self.ticked.emit()


def _offer(box: QComboBox, everything: str, names: Iterable[str] | Mapping[str, str]) -> None:
    """Offer names, or titles of names, below what leaves it open; the choice stays if it can."""
    now = box.currentData()
    box.blockSignals(True)
    box.clear()
    box.addItem(everything, "")
    titles = names if isinstance(names, Mapping) else {name: name for name in names}
    for name, title in titles.items():
        box.addItem(title, name)
    box.setCurrentIndex(max(box.findData(now), 0) if now else 0)
    box.blockSignals(False)
