"""By whose features are stains compared, too? A box of the encoders of this machine."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QComboBox

from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.encoders.package import read_encoder_card
from napari_virtualstain.encoders.registry import get_encoder_spec
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.widgets._parts import wide
from napari_virtualstain.zoo import list_encoders

__all__ = ["FeatureBox", "comparing"]

_NONE = "no features"
_TEXTURE = "texture · sets of crops"
_FLAT = 2


class FeatureBox(QComboBox):
    """None, texture, and every encoder that can compare; fills itself when it is shown."""

    def __init__(self) -> None:
        super().__init__()
        wide(self)
        self.setToolTip(
            "Also compare what a network sees. A classifier of your stains says how alike "
            "prediction and truth are, place by place; any other encoder, and texture, whether all "
            "crops together look like those of the truth, wherever they lie"
        )
        self.refill()

    @property
    def settings(self) -> dict[str, Any]:
        """What it adds to the settings of a comparison."""
        found: dict[str, Any] | None = self.currentData()
        return dict(found or {})

    def refill(self) -> None:
        """Offer the encoders that there are now; what is chosen stays where it is still there."""
        now = self.settings
        offers: list[tuple[str, dict[str, Any]]] = [(_NONE, {})]
        for name, path in list_encoders().items():
            try:
                found = comparing(name, read_encoder_card(path))
            except VirtualStainError:
                continue  # the page Models says what is wrong with it
            if found is not None:
                how = "likeness" if "perceptual" in found else "sets of crops"
                offers.append((f"{name} · {how}", found))
        offers.append((_TEXTURE, {"fid_features": "texture"}))
        self.clear()
        for title, settings in offers:
            self.addItem(title, settings)
        self._choose(now)

    def choose(self, name: str) -> None:
        """Choose an encoder by name, if it is offered."""
        self.refill()
        for settings in ({"perceptual": name}, {"fid_features": name}):
            self._choose(settings, otherwise=self.currentIndex())

    def _choose(self, settings: dict[str, Any], *, otherwise: int = 0) -> None:
        rows = range(self.count())
        self.setCurrentIndex(next((n for n in rows if self.itemData(n) == settings), otherwise))

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Look what a training or another page has made meanwhile."""
        self.refill()
        super().showEvent(event)


def comparing(name: str, card: EncoderCard) -> dict[str, Any] | None:
    """Return the settings by which an encoder compares stains, `None` if it cannot.

    Parameters
    ----------
    name
        Of the encoder.
    card
        What it says of itself.
    """
    if card.classes:
        return {"perceptual": name}
    if card.per_channel and get_encoder_spec(card.encoder).ndim == _FLAT:
        return {"fid_features": name}
    return None
