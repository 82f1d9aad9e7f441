"""Which channel of an image is the stain that is meant, though each lab names it in its own way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from napari_virtualstain.errors import ChannelError
from napari_virtualstain.io.modality import name_tokens

__all__ = [
    "SYNONYMS",
    "StainChannel",
    "find_stain",
    "is_doubt",
    "parse_matches",
    "quantile_name",
    "spread_name",
]

SYNONYMS: dict[str, tuple[str, ...]] = {
    "DNA": (
        "dna", "dapi", "hoechst", "draq5", "nucleus", "nuclei", "nuclear", "propidium iodide",
    ),
    "ER": ("er", "concanavalin", "con a", "cona", "endoplasmic reticulum"),
    "RNA": ("rna", "syto 14", "syto14", "nucleoli"),
    "AGP": ("agp", "actin golgi", "phalloidin wga", "wga phalloidin"),
    "Actin": ("actin", "phalloidin", "lifeact"),
    "Mito": ("mito", "mitotracker", "mitochondria", "mitochondrion", "tmrm"),
    "Tubulin": ("tubulin", "microtubules"),
    "Membrane": ("membrane", "cellmask", "wga"),
    "GFP": ("gfp", "egfp"),
}  # fmt: skip
"""What is stained, and words that people write for it. A dye that binds to several things (SYTOX)
and names of filters (FITC) say nothing of what was stained and are not here."""

By = Literal["told", "name", "synonym", "file name"]
"""How a channel was found: by ``--match``, its own name, a synonym, or the name of its file."""

_ORDER: tuple[By, ...] = ("told", "name", "file name", "synonym")


@dataclass(frozen=True, slots=True)
class StainChannel:
    """A channel that holds a stain.

    Parameters
    ----------
    channel
        Its name in the image.
    by
        How it was found.
    """

    channel: str
    by: By

    @property
    def rank(self) -> int:
        """0 for the surest way to find a channel."""
        return _ORDER.index(self.by)


def quantile_name(stain: str, level: float) -> str:
    """Return the name of the channel that the truth is below with a probability.

    Examples
    --------
    >>> quantile_name("DNA", 0.05), is_doubt("DNA 5 %"), is_doubt("DNA")
    ('DNA 5 %', True, False)
    """
    return f"{stain} {100 * level:g} %"


def spread_name(stain: str) -> str:
    """Return the name of the channel that says how much draws of a stain differ.

    Examples
    --------
    >>> spread_name("DNA"), is_doubt("DNA spread")
    ('DNA spread', True)
    """
    return f"{stain} spread"


def is_doubt(name: str) -> bool:
    """Return whether a channel says how sure a stain is (a quantile, a spread), and is no stain."""
    return re.search(r"\S ((\d+(\.\d+)? %)|spread)$", name) is not None


def parse_matches(texts: Iterable[str]) -> dict[str, str]:
    """Return the channel of each stain from texts ``STAIN=CHANNEL``, stains in small letters.

    Raises
    ------
    ChannelError
        If a text does not say that, or a stain is named twice.

    Examples
    --------
    >>> parse_matches(["DNA=Hoechst 33342"])
    {'dna': 'Hoechst 33342'}
    """
    found: dict[str, str] = {}
    for text in texts:
        stain, sign, channel = (part.strip() for part in text.partition("="))
        if not (sign and stain and channel) or stain.casefold() in found:
            why = "names a stain twice" if sign and channel and stain else "is no STAIN=CHANNEL"
            raise ChannelError(
                f"--match {text!r} {why}. Write one pair a stain, for example --match DNA=Hoechst."
            )
        found[stain.casefold()] = channel
    return found


def find_stain(
    stain: str,
    channels: Sequence[str],
    *,
    told: Mapping[str, str] | None = None,
    file_words: Sequence[str] = (),
) -> StainChannel | None:
    """Return the channel that holds a stain, `None` if no channel does.

    Parameters
    ----------
    stain
        For example ``"DNA"``.
    channels
        Names of the channels of an image.
    told
        What `parse_matches` returned: then nothing else counts for that stain.
    file_words
        Words of the name of the file, asked where its only channel has no name of its own.

    Raises
    ------
    ChannelError
        If several channels could be meant.

    Examples
    --------
    >>> find_stain("DNA", ["Hoechst 33342", "ER"])
    StainChannel(channel='Hoechst 33342', by='synonym')
    >>> find_stain("er", ["Hoechst 33342", "ER"])
    StainChannel(channel='ER', by='name')
    >>> find_stain("DNA", ["channel 0"], file_words=["a01", "dapi"]).by
    'file name'
    """
    named = (told or {}).get(stain.casefold())
    wanted = named or stain
    same = [name for name in channels if _plain(name) == _plain(wanted)]
    exact = [name for name in same if name.casefold() == wanted.casefold()]
    if len(exact or same) == 1:
        return StainChannel((exact or same)[0], "name" if named is None else "told")
    if named is not None:
        return None
    if len(channels) == 1 and _is_numbered(channels[0]):
        says = _means(stain, file_words)
        return StainChannel(channels[0], "file name") if says else None
    alike = [name for name in channels if _means(stain, name_tokens(name))]
    if len(alike) > 1:
        raise ChannelError(
            f"{len(alike)} channels could be {stain} ({', '.join(alike)}). "
            f"Say which with --match, for example --match {stain}={alike[0]}."
        )
    return StainChannel(alike[0], "synonym") if alike else None


def _plain(name: str) -> str:
    return "".join(name_tokens(name)) or name.casefold()


def _is_numbered(name: str) -> bool:
    """Say whether a name is only a number: ``channel 0``."""
    return name.startswith("channel ") and name[8:].isdecimal()


def _means(stain: str, words: Sequence[str]) -> bool:
    """Say whether words hold the stain, or one of its synonyms."""
    own = tuple(name_tokens(stain))
    forms = {own} if own else set()
    for names in SYNONYMS.values():
        if _plain(stain) in {_plain(name) for name in names} or any(
            _holds(own, tuple(name.split())) for name in names
        ):
            forms |= {tuple(name.split()) for name in names}
    return any(_holds(words, form) for form in forms)


def _holds(words: Sequence[str], form: tuple[str, ...]) -> bool:
    """Say whether words follow each other somewhere; a number may hang on: ``hoechst33342``."""
    if not form:
        return False
    bare = [word.rstrip("0123456789") or word for word in words]
    n = len(form)
    return any(
        tuple(some[i : i + n]) == form for some in (list(words), bare) for i in range(len(some))
    )
