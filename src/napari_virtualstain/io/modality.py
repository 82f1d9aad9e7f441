"""Whether a channel was lit from behind or shone by itself.

The name of a channel is asked first and its metadata second: acquisition
programs call every channel fluorescence, the bright field too, whereas a
person who writes "Brightfield" into a channel name means it.
"""

from __future__ import annotations

import re
from itertools import pairwise

from napari_virtualstain.io.image import Modality

__all__ = ["modality_of", "name_tokens"]

# fmt: off
TRANSMITTED = frozenset({
    "bf", "bfield", "brightfield", "bright", "phase", "dic", "dpc", "pc", "ph1", "ph2", "ph3",
    "phl", "tl", "trans", "transmitted", "transmission", "transillumination", "dia",
    "diascopic", "tpmt", "esid", "nomarski", "hoffman", "oblique", "retardance", "qpi",
    "labelfree", "phasecontrast", "zernike", "chd", "tld", "highzbf", "lowzbf", "bfhigh", "bflow",
})
# fmt: on
"""Words that mean light which went through the sample."""

# fmt: off
FLUORESCENCE = frozenset({
    "dapi", "hoechst", "gfp", "egfp", "yfp", "eyfp", "cfp", "ecfp", "rfp", "bfp", "mcherry",
    "tdtomato", "mscarlet", "mkate", "venus", "dsred", "mneongreen", "mruby", "halotag",
    "snaptag", "fitc", "tritc", "cy2", "cy3", "cy5", "cy7", "alexa", "af", "atto", "dylight",
    "mitotracker", "lysotracker", "mito", "dna", "rna", "er", "agp", "map2", "nfh", "tuj1",
    "tubulin", "actin", "phalloidin", "cona", "concanavalin", "wga", "syto", "sytox", "draq5",
    "propidium", "texasred", "cellmask", "bodipy", "calcein", "lamin", "golgi", "nuclei",
    "nucleus", "nuclear", "nucleoli", "fluorescence", "fluorescent", "fluor", "fluo",
    "epifluorescence", "confocal", "fm464", "nilered", "rhodamine", "cellrox", "tmrm",
    "ethidium",
})
# fmt: on
"""Words that mean light which came back from a dye, a stain or an antibody."""

PREFIXES: tuple[tuple[str, Modality], ...] = (
    ("brightfield", "transmitted"),
    ("transmit", "transmitted"),
    ("phasecontrast", "transmitted"),
    ("hoechst", "fluorescence"),
    ("alexa", "fluorescence"),
    ("mitotracker", "fluorescence"),
    ("propidium", "fluorescence"),
    ("phalloidin", "fluorescence"),
    ("concanavalin", "fluorescence"),
    ("syto", "fluorescence"),
    ("fluo", "fluorescence"),
)
"""Beginnings of words, for names that run on: "Hoechst33342", "AlexaFluor488"."""

PAIRS: dict[tuple[str, str], Modality] = {
    ("bright", "field"): "transmitted",
    ("label", "free"): "transmitted",
    ("white", "light"): "transmitted",
    ("t", "pmt"): "transmitted",
    ("texas", "red"): "fluorescence",
    ("nile", "red"): "fluorescence",
    ("con", "a"): "fluorescence",
}
"""Two words that mean something only together."""

CONTRASTS: dict[str, Modality] = {
    "brightfield": "transmitted",
    "phase": "transmitted",
    "phasecontrast": "transmitted",
    "dic": "transmitted",
    "dicontrast": "transmitted",
    "transmitdetector": "transmitted",
    "hoffmanmodulation": "transmitted",
    "obliqueillumination": "transmitted",
    "polarizedlight": "transmitted",
    "transmitted": "transmitted",
    "oblique": "transmitted",
    "fluorescence": "fluorescence",
    "epifluorescence": "fluorescence",
}
"""``ContrastMethod`` and ``IlluminationType`` of OME, ``ChannelType`` of Harmony, Nikon's flags."""


def name_tokens(name: str) -> list[str]:
    """Return the words of a channel name in lower case.

    Examples
    --------
    >>> name_tokens("PHASE_CONTRAST"), name_tokens("MitoTracker-Deep Red")
    (['phase', 'contrast'], ['mitotracker', 'deep', 'red'])
    """
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def _of_word(word: str) -> Modality | None:
    """What one word says; a number at its end may be a counter ("bf1")."""
    for form in (word, word.rstrip("0123456789")):
        if form in TRANSMITTED:
            return "transmitted"
        if form in FLUORESCENCE:
            return "fluorescence"
    return next((says for start, says in PREFIXES if word.startswith(start)), None)


def _of_name(name: str) -> Modality | None:
    words = name_tokens(name)
    said = {_of_word(word) for word in words}
    said |= {PAIRS.get(pair) for pair in pairwise(words)}
    said.discard(None)
    if len(said) == 1:
        return said.pop()
    if len(said) == 2:  # "DIC Alexa 488": the name contradicts itself
        return "unknown"
    numbers = [int(word) for word in words if word.isdigit()]
    if words and len(numbers) == len(words) and all(350 <= n <= 850 for n in numbers):
        return "fluorescence"  # "488 650": excitation and emission in nm
    return None


def modality_of(
    name: str, *, contrasts: tuple[str, ...] = (), wavelengths: bool = False
) -> Modality:
    """Tell how a channel was lit, from its name first and its metadata second.

    Parameters
    ----------
    name
        Name of the channel.
    contrasts
        What the metadata call it: ``ContrastMethod``, ``IlluminationType``, ...
    wavelengths
        Whether the metadata state an excitation or emission wavelength.

    Examples
    --------
    >>> modality_of("Brightfield high", contrasts=("Fluorescence",))
    'transmitted'
    >>> modality_of("Mono", contrasts=("Fluorescence",)), modality_of("channel 0")
    ('transmitted', 'unknown')
    """
    named = _of_name(name)
    if named is not None:
        return named
    words = name_tokens(name)
    if "mono" in words and not wavelengths:
        # A monochrome camera without a filter: Nikon's name of its bright field.
        return "transmitted"
    said = [CONTRASTS.get(re.sub(r"[^a-z]", "", contrast.lower())) for contrast in contrasts]
    if "transmitted" in said:
        return "transmitted"
    if "fluorescence" in said or wavelengths:
        return "fluorescence"
    return "unknown"
