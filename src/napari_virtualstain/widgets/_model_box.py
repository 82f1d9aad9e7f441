"""Which model is used, and what it says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.widgets._parts import Foldout, Wrapped, wide
from napari_virtualstain.zoo import find_model, list_models

__all__ = ["ModelBox", "about_words", "card_words"]


class ModelBox(QWidget):
    """A box with the trained models of this machine, and the card of the chosen one."""

    chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.box = wide(QComboBox())
        self.box.setEditable(True)
        self.box.setToolTip("A model of this machine, or the path of a model folder or zip")
        self.limits = Wrapped()
        self.limits.setObjectName("limits")
        self.about = Wrapped()
        self.fold = Foldout("About this model", self.about)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.box)
        column.addWidget(self.limits)
        column.addWidget(self.fold)
        self.card: ModelCard | None = None
        self.problem = ""
        self.box.addItems(list(list_models()))
        self.box.currentTextChanged.connect(self._read)
        self._read()

    @property
    def name(self) -> str:
        """Name or path, as typed."""
        return str(self.box.currentText()).strip()

    def refill(self) -> None:
        """Offer the models that there are now; what is typed stays."""
        text = self.box.currentText()
        self.box.blockSignals(True)
        self.box.clear()
        self.box.addItems(list(list_models()))
        self.box.setEditText(text)
        self.box.blockSignals(False)
        self._read()

    def _read(self) -> None:
        """Show the card; weights are opened in the compute process only."""
        self.card, self.problem = None, ""
        try:
            self.card = read_card(find_model(self.name))
        except VirtualStainError as error:
            self.problem = str(error)
        card = self.card
        limits = () if card is None else card.limits
        self.limits.setText("<br>".join(f"⚠ {escape(limit)}" for limit in limits))
        self.limits.setVisible(bool(limits))
        self.about.setText("" if card is None else card_words(card))
        self.fold.setVisible(card is not None)
        self.chosen.emit()


def card_words(card: ModelCard) -> str:
    """Return what a card says, as rich text.

    Parameters
    ----------
    card
        Of a model.
    """
    stains = [
        s.name if s.expected_pcc is None else f"{s.name} ({s.expected_pcc:.2f})"
        for s in card.stains
    ]
    trained, validated = card.training, card.training.n_validation_fields
    rows = [
        ("Takes", card.takes_words),
        ("Pixel size", card.pixel_size_words),
        ("Predicts", f"{', '.join(stains)}; in brackets: correlation on validation fields"),
        ("Trained on", f"{trained.data}: {trained.n_fields} fields, {validated} more to validate"),
        ("Method", f"{card.generator}, loss {trained.loss}"),
        ("Licence", card.licence or "not stated"),
        ("Cite", card.citation or "not stated"),
    ]  # fmt: skip
    return about_words(card.title or card.name, card.description, rows)


def about_words(title: str, text: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return a title, a text, and rows of what is known, as rich text."""
    lines = [f"<tr><td><b>{name}</b>&nbsp;</td><td>{escape(said)}</td></tr>" for name, said in rows]
    below = f"<br>{escape(text)}" if text else ""
    return f"<b>{escape(title)}</b>{below}<table>{''.join(lines)}</table>"
