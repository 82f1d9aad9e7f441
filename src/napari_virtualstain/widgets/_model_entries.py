"""Which models and encoders are there to choose from? Those of this machine, and to download."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.encoders.package import read_encoder_card
from napari_virtualstain.encoders.registry import get_encoder_spec
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.widgets._model_box import about_words, card_words
from napari_virtualstain.zoo import is_own, list_encoders, list_models
from napari_virtualstain.zoo.index import Download, list_downloads

__all__ = ["ModelEntry", "list_entries", "with_stain"]

_SEEING = ("vit",)
"""Formats of downloads that are encoders."""
_SHOWN = 12
"""Classes that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model, here or elsewhere.

    Parameters
    ----------
    name
        By which it is chosen.
    card
        Of a model that is here and whole.
    encoder
        Of an encoder that is.
    download
        Of one that is not here.
    problem
        Why a model that is here cannot be used, a sentence.
    own
        Whether the user may remove it.
    """

    name: str
    card: ModelCard | None = None
    encoder: EncoderCard | None = None
    download: Download | None = None
    problem: str = ""
    own: bool = False

    @property
    def title(self) -> str:
        """For people."""
        known = self.card or self.encoder or self.download
        return "" if known is None else known.title

    @property
    def does(self) -> str:
        """``"paints"`` stains, or ``"sees"``; ``""`` of one whose card cannot be read."""
        if self.problem:
            return ""
        sees = self.download is not None and self.download.format in _SEEING
        return "sees" if sees or self.encoder is not None else "paints"

    @property
    def stains(self) -> tuple[str, ...]:
        """What comes out."""
        if self.card is not None:
            return self.card.stain_names
        return () if self.download is None else self.download.stains

    @property
    def channel(self) -> str:
        """Kind of light that goes in."""
        if self.card is not None:
            return self.card.inputs[0].channel
        return "" if self.download is None else self.download.channel

    @property
    def over(self) -> str:
        """``"planes"`` or ``"stacks"``, ``""`` if nobody knows."""
        if self.card is not None:
            return "planes" if self.card.volume is None else "stacks"
        if self.encoder is not None:
            return "planes" if get_encoder_spec(self.encoder.encoder).ndim == 2 else "stacks"
        return "" if self.download is None else self.download.over

    @property
    def takes(self) -> str:
        """What goes in, for people."""
        if self.card is not None:
            return f"{self.card.takes_words}, {self.card.pixel_size_words} pixels"
        if self.encoder is not None:
            return f"{self.encoder.takes_words}, {_crops(self.encoder)}"
        return "" if self.download is None else self.download.takes

    @property
    def line(self) -> str:
        """What is said of it in a list."""
        if self.problem:
            return "cannot be used"
        if self.encoder is not None:
            return f"sees {self.encoder.takes_words} · {self.over}"
        what = "sees" if self.does == "sees" else ", ".join(self.stains) or "no stains"
        said = f"{what} · {self.channel} {self.over}"
        if self.download is None:
            return said
        later = self.download.later
        return f"{said} · {'not downloaded' if later else f'↓ {self.download.size_words}'.strip()}"

    def fits(self, *, does: str, stain: str, channel: str, over: str, text: str) -> bool:
        """Return whether it is one of those that are looked for; ``""`` leaves a thing open."""
        said = f"{self.name} {self.title} {self.line} {self.takes}".casefold()
        return (
            (not does or does == self.does)
            and (not stain or stain.casefold() in {name.casefold() for name in self.stains})
            and (not channel or channel.casefold() == self.channel.casefold())
            and (not over or over == self.over)
            and all(word in said for word in text.casefold().split())
        )

    def words(self) -> str:
        """Return all that is known of it, as rich text."""
        if self.card is not None:
            return card_words(self.card)
        if self.encoder is not None:
            return _encoder_words(self.encoder)
        if self.download is None:
            return about_words(self.name, "", [])
        entry = self.download
        pixel = (
            "not known; state it" if entry.pixel_size_um is None else f"{entry.pixel_size_um:g} µm"
        )
        rows = [
            ("Takes", entry.takes),
            *([] if entry.later else [("Pixel size", pixel)]),
            ("Predicts", ", ".join(entry.stains) or "nothing; it sees"),
            ("Size", entry.size_words or "not known"),
            ("From", urlsplit(entry.url).hostname or entry.url),
            ("Licence", entry.licence or "not stated"),
            ("Cite", entry.citation or "not stated"),
            *([("Not checked", entry.unverified)] if entry.unverified else []),
        ]
        return about_words(entry.title, "", rows)


def list_entries() -> tuple[tuple[ModelEntry, ...], str]:
    """Return models that are here, encoders, others; and a sentence if the index is damaged."""
    here = []
    for name, path in list_models().items():
        try:
            here.append(ModelEntry(name=name, card=read_card(path), own=is_own(name)))
        except VirtualStainError as error:
            here.append(ModelEntry(name=name, problem=str(error), own=is_own(name)))
    for name, path in list_encoders().items():
        try:
            here.append(ModelEntry(name=name, encoder=read_encoder_card(path), own=is_own(name)))
        except VirtualStainError as error:
            here.append(ModelEntry(name=name, problem=str(error), own=is_own(name)))
    known = {entry.name for entry in here}
    try:
        found, problem = list_downloads(), ""
    except VirtualStainError as error:
        found, problem = {}, str(error)
    there = [
        ModelEntry(name=name, download=entry) for name, entry in found.items() if name not in known
    ]
    there.sort(key=lambda entry: entry.download is not None and bool(entry.download.later))
    return (*here, *there), problem


def with_stain(entries: Iterable[ModelEntry]) -> tuple[str, ...]:
    """Return the stains that some models predict, each once, in the order of the models."""
    found: dict[str, str] = {}
    for entry in entries:
        for stain in entry.stains:
            found.setdefault(stain.casefold(), stain)
    return tuple(found.values())


def _crops(card: EncoderCard) -> str:
    return f"crops of {' x '.join(map(str, card.crop_px))} px"


def _encoder_words(card: EncoderCard) -> str:
    """Return what the card of an encoder says, as rich text."""
    pixel = "not known" if card.pixel_size_um is None else f"{card.pixel_size_um:g} µm"
    taught = f", by {card.label}" if card.label else ""
    more = f" and {len(card.classes) - _SHOWN} more" if len(card.classes) > _SHOWN else ""
    rows = [
        ("Takes", card.takes_words),
        ("Looks at", _crops(card)),
        ("Pixel size", pixel),
        ("Learnt from", f"{card.training.data}{taught}"),
        *([("Tells apart", ", ".join(card.classes[:_SHOWN]) + more)] if card.classes else []),
        ("Method", get_encoder_spec(card.encoder).title),
        ("Licence", card.licence or "not stated"),
        ("Cite", card.citation or "not stated"),
    ]
    return about_words(card.title or card.name, card.description, rows)
