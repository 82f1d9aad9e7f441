"""What is to be explained: a stain that a model predicts, or the attention of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QSlider, QSpinBox, QVBoxLayout, QWidget

from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.encoders.package import read_encoder_card
from napari_virtualstain.encoders.registry import get_encoder_spec
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.explain.methods import METHODS
from napari_virtualstain.widgets._model_box import ModelBox
from napari_virtualstain.widgets._parts import form, wide
from napari_virtualstain.zoo import list_encoders

__all__ = ["ExplainForm"]

_STAIN, _ATTENTION = "A stain that a model predicts", "Where an encoder looks"
_ALL_CHANNELS = "all that it takes"
_DEPTH = 12
"""Blocks of an encoder whose card does not say: that of the published ones."""


class ExplainForm(QWidget):
    """Two forms, of which one shows."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.what = wide(QComboBox())
        self.what.addItems([_STAIN, _ATTENTION])
        self.model = ModelBox()
        self.stain = wide(QComboBox())
        self.method = wide(QComboBox())
        self.depth = QSpinBox()
        self.encoder = wide(QComboBox())
        self.channel = wide(QComboBox())
        self.through = wide(QComboBox())
        self.block = QSlider(Qt.Orientation.Horizontal)
        self.block_name = QLabel()
        self.only_view = QCheckBox("Only what is in view")
        self.sanity = QCheckBox("Check against random weights")
        self.cards: dict[str, EncoderCard] = {}
        self._arrange()
        self._fill()
        self.refill_encoders()
        self._offer_stains()
        self._switch()
        self.what.currentIndexChanged.connect(self._switch)
        self.model.chosen.connect(self._offer_stains)
        self.encoder.currentIndexChanged.connect(self._offer_blocks)
        self.through.currentIndexChanged.connect(self._offer_blocks)
        self.block.valueChanged.connect(self._name_block)
        self.method.currentIndexChanged.connect(self._offer_depths)
        self._offer_depths()

    @property
    def of_model(self) -> bool:
        """Whether a stain is explained, and not the attention of an encoder."""
        return bool(self.what.currentText() == _STAIN)

    @property
    def problem(self) -> str:
        """What is missing to ask anything, ``""`` for nothing."""
        if self.of_model:
            return self.model.problem
        if not self.cards:
            return (
                "No encoder of this machine looks at patches. Download DINO-ViT-S8 on the page "
                "Models, or train one."
            )
        return ""

    @property
    def needs_pixel(self) -> bool:
        """Whether what is asked for is of one pixel."""
        return self.of_model and METHODS[str(self.method.currentData())].pixel

    @property
    def _has_depths(self) -> bool:
        """Whether what is asked for is of one layer of the model."""
        spec = METHODS[str(self.method.currentData())]
        return bool(spec.inside) or spec.name == "gradcam"

    @property
    def name(self) -> str:
        """Of the network that is asked about."""
        return self.model.name if self.of_model else str(self.encoder.currentData() or "")

    def values(self, *, at: tuple[int, int] | None) -> dict[str, Any]:
        """Return the settings that are chosen here, for a pixel or for none."""
        found: dict[str, Any] = {"sanity": self.sanity.isChecked(), "at": at}
        if self.of_model:
            method = str(self.method.currentData())
            # 0 is no number, but what suits the map.
            depth = self.depth.value() - 1 if self._has_depths else -1
            return found | {
                "model": self.model.name, "stain": self.stain.currentText() or None,
                "method": (method,),
                "depth": depth if depth >= 0 else None,
            }  # fmt: skip
        channel = self.channel.currentData()
        return found | {
            "encoder": self.name, "method": (str(self.through.currentData()),),
            "block": self.block.value() - 1, "channels": None if channel is None else (channel,),
        }  # fmt: skip

    def choose_stain(self, stain: str) -> None:
        """Choose a stain, if the model predicts it."""
        found = self.stain.findText(stain)
        if found >= 0:
            self.stain.setCurrentIndex(found)

    def offer_channels(self, names: Sequence[str]) -> None:
        """Offer the channels of another image to the encoder; what is chosen stays if it can."""
        card = self.cards.get(self.name) if not self.of_model else None
        offers = card.channel_names if card is not None and card.channels else tuple(names)
        known = [self.channel.itemData(n) for n in range(self.channel.count())]
        alone = card is None or card.per_channel
        wanted = [*(offers if alone else ()), None]
        if known == wanted:
            return
        now = self.channel.currentData()
        self.channel.clear()
        for name in wanted:
            self.channel.addItem(_ALL_CHANNELS if name is None else name, name)
        self.channel.setCurrentIndex(max(0, self.channel.findData(now)))

    def refill_encoders(self) -> None:
        """Offer the encoders that look at patches; what is chosen stays where it is there."""
        now = self.encoder.currentData()
        self.cards = {}
        for name, path in list_encoders().items():
            try:
                card = read_encoder_card(path)
                if get_encoder_spec(card.encoder).learns != "classes":
                    self.cards[name] = card
            except VirtualStainError:
                continue  # the page Models says what is wrong with it
        self.encoder.blockSignals(True)
        self.encoder.clear()
        for name in self.cards:
            self.encoder.addItem(name, name)
        self.encoder.setPlaceholderText("none that looks at patches")
        self.encoder.setCurrentIndex(max(0, self.encoder.findData(now)) if self.cards else -1)
        self.encoder.setEnabled(bool(self.cards))
        self.encoder.blockSignals(False)
        self._offer_blocks()

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Look what a download or a training has brought meanwhile."""
        self.refill_encoders()
        super().showEvent(event)

    # --- what there is ----------------------------------------------------------------------------

    def _offer_stains(self) -> None:
        card, now = self.model.card, self.stain.currentText()
        names = () if card is None else card.stain_names
        self.stain.clear()
        self.stain.addItems(list(names))
        self.stain.setCurrentIndex(max(0, self.stain.findText(now)) if names else -1)
        self.changed.emit()

    def _offer_depths(self) -> None:
        self._model_rows.setRowVisible(self.depth, self._has_depths)
        self.changed.emit()

    def _offer_blocks(self) -> None:
        card = self.cards.get(str(self.encoder.currentData() or ""))
        depth = _DEPTH if card is None else int(card.architecture.get("depth", _DEPTH))
        last = self.block.value() == self.block.maximum()
        self.block.blockSignals(True)
        self.block.setRange(1, depth)
        if last:
            self.block.setValue(depth)
        self.block.blockSignals(False)
        self.block.setEnabled(card is not None and self.through.currentData() == "attention")
        self._name_block()

    def _name_block(self) -> None:
        all_of_them = self.through.currentData() == "rollout"
        number, depth = self.block.value(), self.block.maximum()
        last = ", the last" if number == depth else ""
        self.block_name.setText(f"all {depth}" if all_of_them else f"{number} of {depth}{last}")
        self.changed.emit()

    def _switch(self) -> None:
        self._model_sheet.setVisible(self.of_model)
        self._encoder_sheet.setVisible(not self.of_model)
        self.changed.emit()

    def _fill(self) -> None:
        for spec in METHODS.values():
            box = self.method if spec.of == "generator" else self.through
            box.addItem(spec.title, spec.name)
            box.setItemData(box.count() - 1, spec.reading, Qt.ItemDataRole.ToolTipRole)
        self.sanity.setChecked(True)
        self.block.setRange(1, 1)
        self.block.setValue(1)

    def _arrange(self) -> None:
        self.what.setToolTip("What the maps are about")
        self.method.setToolTip("Which map; those of a pixel are asked for by a click in the viewer")
        self.depth.setToolTip(
            "Which of the model's layers is looked at; the sentence below the map says how many "
            "there are"
        )
        self.depth.setRange(0, 100)
        self.depth.setSpecialValueText("as suits the map")
        self.block.setToolTip("Which block of the encoder; early ones look at edges and neighbours")
        self.only_view.setToolTip(
            "The encoder sees only this part: quicker, and another map, since every patch then has "
            "others to attend to"
        )
        self.sanity.setToolTip(
            "Also make the map with random weights and of a shuffled picture: one that does not "
            "change says nothing of what was learnt"
        )
        self._model_sheet, self._encoder_sheet = QWidget(), QWidget()
        of_model = form()
        of_model.addRow("Model", self.model)
        of_model.addRow("Stain", self.stain)
        of_model.addRow("Map", self.method)
        of_model.addRow("Depth", self.depth)
        self._model_rows = of_model
        self._model_sheet.setLayout(of_model)
        of_encoder = form()
        of_encoder.addRow("Encoder", self.encoder)
        of_encoder.addRow("Channel", self.channel)
        of_encoder.addRow("Map", self.through)
        of_encoder.addRow("Block", self.block)
        of_encoder.addRow("", self.block_name)
        of_encoder.addRow("", self.only_view)
        self._encoder_sheet.setLayout(of_encoder)
        top = form()
        top.addRow("What", self.what)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(top)
        column.addWidget(self._model_sheet)
        column.addWidget(self._encoder_sheet)
        column.addWidget(self.sanity)
