"""What tells whether two images are of one field: place, position of the stage, and name."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot

from napari_virtualstain.datasets.stain_names import SYNONYMS
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.modality import FLUORESCENCE, TRANSMITTED, name_tokens
from napari_virtualstain.io.plate import Place

__all__ = [
    "TIME",
    "Half",
    "at_one_position",
    "place_key",
    "role_words",
    "site_key",
    "stains_of",
    "where_of",
]

_SAME_PLACE_UM = 5.0
"""Stages come back to a position within a few micrometres; fields lie hundreds apart."""

# fmt: off
_ROLES = frozenset({
    "stain", "stains", "stained", "target", "targets", "truth", "input", "inputs", "contrast",
    "confocal", "light", "white", "label", "free", "max", "maxproject", "proj", "projection", "mip",
})
# fmt: on
"""Words that say what a file is for, besides those that name light and dyes."""

TIME = re.compile(r"(?:t|tp|time|frame)\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One image that may be half of a pair.

    Parameters
    ----------
    path, scene
        Where it is.
    channels
        As announced or opened.
    words
        Of its name, below the folder that was searched; see `io.modality.name_tokens`.
    place
        Where in a plate it lies, if anything says so.
    """

    path: str
    scene: str
    channels: tuple[Channel, ...]
    words: tuple[str, ...] = ()
    place: Place | None = None

    @property
    def key(self) -> tuple[str, str]:
        """By which it is one image."""
        return (self.path, self.scene)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.path} {self.scene}".strip()


def stains_of(halves: Iterable[Half]) -> tuple[str, ...]:
    """Return the names of all fluorescence channels, in order; the same in other case counts once.

    A channel that is only numbered is called after its file: ``dapi`` in ``A01_dapi.tif``.
    """
    names: dict[str, str] = {}
    for half in halves:
        for channel in half.channels:
            if channel.modality != "fluorescence":
                continue
            name = channel.name
            if len(half.channels) == 1 and re.fullmatch(r"channel \d+", name):
                name = " ".join(w for w in half.words if w in FLUORESCENCE) or name
            names.setdefault(name.casefold(), name)
    return tuple(names.values())


def role_words(stains: Sequence[str], told: Mapping[str, str]) -> frozenset[str]:
    """Return the words that tell bright field and stains of one field apart."""
    given = {word for name in (*stains, *told.values()) for word in name_tokens(name)}
    known = {word for some in SYNONYMS.values() for name in some for word in name_tokens(name)}
    # The "a" of "con a" and the 14 of "syto 14" tell fields apart elsewhere.
    words = {word for word in known if not word.isdecimal()} | given
    return TRANSMITTED | FLUORESCENCE | _ROLES | {word for word in words if len(word) > 1}


def site_key(site: str) -> str:
    """Return how sites are compared: ``"f01"``, ``"s1"`` and ``"1"`` are one.

    Examples
    --------
    >>> site_key("f01"), site_key("Site 12"), site_key("centre")
    ('1', '12', 'centre')
    """
    found = re.fullmatch(r"(?:s|f|xy|site|field|fov|pos)?[ _\-]?0*(\d+)", site.strip().casefold())
    return found[1] if found else site.strip().casefold()


def place_key(half: Half, *, plates: bool) -> Hashable | None:
    """Return by what two images lie at one place, `None` if nothing tells the well."""
    place = half.place
    if place is None or not place.well:
        return None
    return (place.plate.casefold() if plates else "", place.well, site_key(place.site))


def where_of(half: Half) -> str:
    """Return where an image lies, in words."""
    place = half.place
    if place is None or not place.well:
        return ""
    parts = [f"plate {place.plate}"] if place.plate else []
    parts += [f"well {place.well}", *([f"site {place.site}"] if place.site else [])]
    return f"at {', '.join(parts)}"


def at_one_position(a: Half, b: Half) -> bool:
    """Say whether the stage stood at one position of one well, within 5 µm."""
    if a.place is None or b.place is None or a.place.well != b.place.well:
        return False
    if a.place.plate and b.place.plate and a.place.plate.casefold() != b.place.plate.casefold():
        return False
    here, there = a.place.position_um, b.place.position_um
    if here is None or there is None:
        return False
    return hypot(here[0] - there[0], here[1] - there[1]) <= _SAME_PLACE_UM
