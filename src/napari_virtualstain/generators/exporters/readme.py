"""What does a package tell people? Its name, a description, a page about it, and its tags."""

from __future__ import annotations

import re

from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.registry import get_spec

__all__ = ["description_of", "documentation_of", "name_of", "tags_of"]

_LONGEST = 1024
"""Letters of a description."""


def name_of(card: ModelCard) -> str:
    """Return a name of letters, digits and a few signs, at least 5 of them."""
    plain = re.sub(r"[^\w+\- ()]", " ", card.title or card.name, flags=re.ASCII).strip()
    plain = re.sub(r" +", " ", plain)[:100]
    return plain if len(plain) >= 5 else f"{plain} (virtual staining)".strip()


def _rule_words(card: ModelCard) -> str:
    rule = card.input_rule
    where = "of the whole stack" if card.volume is not None else "of each plane of the whole field"
    if rule.kind == "robust":
        return (
            f"Not in the preprocessing, since the format has no word for it: subtract the median "
            f"{where} and divide by its interquartile range before the network."
        )
    if rule.kind == "none":
        return "Grey values go into the network as they are."
    return (
        f"The preprocessing is meant for statistics {where}: those of a tile make another picture "
        "of it."
    )


def description_of(card: ModelCard) -> str:
    """Return in a few sentences what a model does and what must be done to grey values."""
    what = (
        f"Predicts {', '.join(card.stain_names)} from {card.takes_words} "
        f"({card.pixel_size_words} pixels)."
    )
    text = ""
    for sentence in (what, _rule_words(card), *card.limits):  # whole sentences only
        longer = f"{text} {sentence}".strip()
        if len(longer) <= _LONGEST:
            text = longer
    return text


def documentation_of(card: ModelCard, *, halo: int, multiple_of: int) -> str:
    """Return a page about a model, as Markdown.

    Parameters
    ----------
    card
        Of the model.
    halo, multiple_of
        How far its network looks along y and x, and its stride, in pixels.
    """
    training = card.training
    planes = "\n".join(
        f"- {plane.channel}"
        + ("" if plane.z_offset_um is None else f", {plane.z_offset_um:+g} µm from focus")
        for plane in card.inputs
    )
    stains = "\n".join(
        f"- {stain.name}, in {stain.unit}"
        + ("" if stain.expected_pcc is None else f"; PCC {stain.expected_pcc:.3f} on validation")
        for stain in card.stains
    )
    limits = "\n".join(f"- {limit}" for limit in card.limits) or "- none stated"
    empty = any(plane.typical_contrast is not None for plane in card.inputs)
    return f"""# {card.title or card.name}

{card.description or description_of(card)}

## Input

{card.takes_words}, {card.pixel_size_words} pixels:

{planes}

{_rule_words(card)}
{_EMPTY_FIELDS if empty and card.input_rule.kind == "zscore" else ""}
The network looks {halo} px around a pixel: cut that much off each tile but at the border of
the image. Edges are multiples of {multiple_of} px; fill up with zeros after normalisation.

## Output

{stains}

## Training

Method: {get_spec(card.generator).title}. Data: {training.data}. {training.n_fields} fields taught,
{training.n_validation_fields} examined; {training.steps} steps; loss {training.loss}.

## Limits

{limits}

## Validation

Stain images that took no part in the training and whose fluorescence was recorded, and
compare both: Pearson correlation, SSIM and errors a stain, beside what a linear filter of the
bright field reaches (`virtualstain evaluate`). Look at a field without cells too: what is
stained there is invented.
"""


_EMPTY_FIELDS = """
Fields with far less contrast than those of the training (nearly empty ones) should be divided by a
usual standard deviation instead of their own, which the format has no word for.
"""


def tags_of(card: ModelCard, ndim: int) -> list[str]:
    """Return what a model over so many axes of space is found by."""
    kinds = sorted({plane.channel.lower() for plane in card.inputs})
    return [
        "virtual-staining", "label-free", "fluorescence-light-microscopy",
        f"{ndim}d", *kinds, *(name.lower() for name in card.stain_names),
    ]  # fmt: skip
