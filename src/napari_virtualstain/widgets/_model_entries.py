"""Which models are there to choose from? Those of this machine, and those to download."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.widgets._model_box import about_words, card_words
from napari_virtualstain.zoo import is_own, list_encoders, list_models
from napari_virtualstain.zoo.index import Download, list_downloads

__all__ = ["ModelEntry", "list_entries", "with_stain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model, here or elsewhere.

    Parameters
    ----------
    name
        By which it is chosen.
    card
        Of a model that is here and whole.
    download
        Of one that is not here.
    problem
        Why a model that is here cannot be used, a sentence.
    own
        Whether the user may remove it.
    """

    name: str
    card: ModelCard | None = None
    download: Download | None = None
    problem: str = ""
    own: bool = False

    @property
    def title(self) -> str:
        """For people."""
        known = self.card or self.download
        return "" if known is None else known.title

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
        return "" if self.download is None else self.download.over

    @property
    def takes(self) -> str:
        """What goes in, for people."""
        if self.card is not None:
            return f"{self.card.takes_words}, {self.card.pixel_size_words} pixels"
        return "" if self.download is None else self.download.takes

    @property
    def line(self) -> str:
        """What is said of it in a list."""
        if self.problem:
            return "cannot be used"
        said = f"{', '.join(self.stains) or 'no stains'} · {self.channel} {self.over}"
        if self.download is None:
            return said
        later = self.download.later
        return f"{said} · {'not downloaded' if later else f'↓ {self.download.size_words}'.strip()}"

    def fits(self, *, stain: str, channel: str, over: str, text: str) -> bool:
        """Return whether it is one of those that are looked for; ``""`` leaves a thing open."""
        said = f"{self.name} {self.title} {self.line} {self.takes}".casefold()
        return (
            (not stain or stain.casefold() in {name.casefold() for name in self.stains})
            and (not channel or channel.casefold() == self.channel.casefold())
            and (not over or over == self.over)
            and all(word in said for word in text.casefold().split())
        )

    def words(self) -> str:
        """Return all that is known of it, as rich text."""
        if self.card is not None:
            return card_words(self.card)
        if self.download is None:
            return about_words(self.name, "", [])
        entry = self.download
        pixel = (
            "not known; state it" if entry.pixel_size_um is None else f"{entry.pixel_size_um:g} µm"
        )
        rows = [
            ("Takes", entry.takes),
            *([] if entry.later else [("Pixel size", pixel)]),
            ("Predicts", ", ".join(entry.stains) or "nothing"),
            ("Size", entry.size_words or "not known"),
            ("From", urlsplit(entry.url).hostname or entry.url),
            ("Licence", entry.licence or "not stated"),
            ("Cite", entry.citation or "not stated"),
            *([("Not checked", entry.unverified)] if entry.unverified else []),
        ]
        return about_words(entry.title, "", rows)


def list_entries() -> tuple[tuple[ModelEntry, ...], str]:
    """Return all models, those that are here first, and a sentence if the index is damaged."""
    here = []
    for name, path in list_models().items():
        try:
            here.append(ModelEntry(name=name, card=read_card(path), own=is_own(name)))
        except VirtualStainError as error:
            here.append(ModelEntry(name=name, problem=str(error), own=is_own(name)))
    known = {entry.name for entry in here} | set(list_encoders())
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
