"""How does a model that draws do it? Draws, steps, and what it is told of the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.registry import get_spec
from napari_virtualstain.jobs.drawing import LED
from napari_virtualstain.widgets._form import SettingsForm
from napari_virtualstain.widgets._parts import Foldout, form, wide

__all__ = ["DrawingBox"]

_FIELDS = ("draws", "sampling_steps", "sampler", "seed", "guidance")
"""Settings that have a row whatever the model can be told."""
_UNKNOWN = "unknown"
_MOST_DRAWS = 16
"""At the end of the slider; more are possible on the command line."""


class DrawingBox(QObject):
    """What can be set of a model that draws: `fold`, which is hidden for all others.

    Parameters
    ----------
    kind
        Settings model of the verb.
    parent
        As in Qt.
    """

    changed = Signal()
    """Something is chosen otherwise."""

    def __init__(self, kind: type[BaseModel], parent: QObject) -> None:
        super().__init__(parent)
        self.settings = SettingsForm(
            kind, _FIELDS, placeholders={"sampling_steps": "as the method has it"},
            sliders={"draws": _MOST_DRAWS},
        )  # fmt: skip
        self._labels: dict[str, QComboBox] = {}
        self._stated: tuple[str, ...] = ()
        self._rows = form()
        told = QWidget()
        told.setLayout(self._rows)
        sheet = QWidget()
        column = QVBoxLayout(sheet)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(told)
        column.addWidget(self.settings.sheet)
        self._told, self._draws = told, False
        self.fold = Foldout("How it is drawn", sheet, is_open=True)
        self.fold.setVisible(False)
        self.settings.changed.connect(self._say)

    def show_card(self, card: ModelCard | None) -> None:
        """Ask for what a model can be told; nothing of one that does not draw."""
        self._draws = card is not None and _draws(card)
        self.fold.setVisible(self._draws)
        if card is None or not self._draws:
            return
        led = card.generator in LED
        self.settings.show_row("guidance", led)
        stated = self._read_labels() or self._stated
        while self._rows.rowCount():
            self._rows.removeRow(0)
        self._labels = {}
        for kind in card.labels:
            box = wide(QComboBox())
            box.addItem(_UNKNOWN, None)
            for name in kind.classes:
                box.addItem(name, name)
            box.setToolTip(
                f"What the model is told of the image ({kind.name}); what it is told, it does not "
                "find out.\nOn the command line: --told"
            )
            box.currentIndexChanged.connect(self._say)
            self._labels[kind.name] = box
            self._rows.addRow(kind.name.replace("_", " ").capitalize(), box)
        self._told.setVisible(bool(self._labels))
        self._show_labels(stated)

    def values(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, nothing of a model that draws none."""
        if not self._draws:
            return {}
        told = self._read_labels()
        return {**self.settings.values(), **({"told": told} if told else {})}

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Fill the form; what has no value goes back to its default."""
        self.settings.show_values(values)
        self._stated = tuple(values.get("told", ()))
        self._show_labels(self._stated)

    def lock(self, locked: bool) -> None:
        """Keep it from being changed, or allow it again."""
        self.fold.content.setEnabled(not locked)

    def _say(self) -> None:
        self.changed.emit()

    def _read_labels(self) -> tuple[str, ...]:
        chosen = ((name, box.currentData()) for name, box in self._labels.items())
        return tuple(f"{name}={label}" for name, label in chosen if label is not None)

    def _show_labels(self, stated: tuple[str, ...]) -> None:
        told = dict(text.split("=", 1) for text in stated if "=" in text)
        for name, box in self._labels.items():
            box.blockSignals(True)
            box.setCurrentIndex(max(box.findData(told.get(name)), 0))
            box.blockSignals(False)


def _draws(card: ModelCard) -> bool:
    try:
        return get_spec(card.generator).stochastic
    except VirtualStainError:  # of a plug-in that is not installed: said elsewhere
        return False
