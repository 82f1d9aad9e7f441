"""Which maps are there? What each needs, and how it is to be read.

Plain words and values, so that forms and commands list them without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_virtualstain.errors import SettingsError

__all__ = ["METHODS", "MethodName", "MethodSpec", "chosen_methods"]

MethodName = Literal[
    "attention", "rollout", "planes", "gradient", "smoothgrad", "integrated", "occlusion",
    "gradcam", "self-attention", "attention-received", "spade",
]  # fmt: skip
"""Names of `METHODS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSpec:
    """One kind of map.

    Parameters
    ----------
    name
        Typed on the command line and shown in menus.
    title
        For people.
    of
        What it explains: an ``"encoder"`` that looks at patches, or a ``"generator"``.
    reading
        What a high value says, and what it does not; one sentence.
    gradients
        Whether it needs derivatives of the network.
    pixel
        Whether it is of one predicted pixel.
    inside
        Layers that it looks at, of which a generator has to have one: those of ``"attention"`` or
        of ``"spade"``; ``""`` for one that asks of any.
    source
        DOI or arXiv id.
    """

    name: MethodName
    title: str
    of: Literal["encoder", "generator"]
    reading: str
    gradients: bool = False
    pixel: bool = False
    inside: Literal["", "attention", "spade"] = ""
    source: str = ""


METHODS: dict[str, MethodSpec] = {
    spec.name: spec
    for spec in (
        MethodSpec(
            name="attention",
            title="Self-attention of a block",
            of="encoder",
            reading="Bright patches give more of their content to the one that asks, in this head "
            "of this block; that is no proof that what the encoder says depends on them.",
            source="arXiv:2104.14294",
        ),
        MethodSpec(
            name="rollout",
            title="Attention rollout through all blocks",
            of="encoder",
            reading="Bright patches reach the one that asks by more ways through all blocks, if "
            "attention were all that a block does; what its other layers do is left out.",
            source="arXiv:2005.00928",
        ),
        MethodSpec(
            name="planes",
            title="Which z planes the stain depends on",
            of="generator",
            reading="Bright pixels change most when this plane is hidden; two planes that say the "
            "same can each be hidden without a change.",
            source="doi:10.1007/978-3-319-10590-1_53",
        ),
        MethodSpec(
            name="gradient",
            title="Input gradient, receptive field",
            of="generator",
            reading="The predicted pixel reacts most to small changes of bright input pixels; it "
            "is noisy, and says nothing of large changes.",
            gradients=True,
            pixel=True,
            source="arXiv:1312.6034; arXiv:1701.04128",
        ),
        MethodSpec(
            name="smoothgrad",
            title="SmoothGrad",
            of="generator",
            reading="The input gradient, averaged over pictures with a little noise: cleaner to "
            "look at, and about these pictures rather than the one that is shown.",
            gradients=True,
            pixel=True,
            source="arXiv:1706.03825",
        ),
        MethodSpec(
            name="integrated",
            title="Integrated gradients",
            of="generator",
            reading="What each input pixel adds to the value, beside a featureless field; "
            "the sum is the whole difference, but another baseline gives another map.",
            gradients=True,
            pixel=True,
            source="arXiv:1703.01365",
        ),
        MethodSpec(
            name="occlusion",
            title="Occlusion of regions",
            of="generator",
            reading="How much the predicted pixel changes when a square here is hidden; a hidden "
            "square is itself a thing that the network has never seen.",
            pixel=True,
            source="doi:10.1007/978-3-319-10590-1_53",
        ),
        MethodSpec(
            name="gradcam",
            title="Grad-CAM at a depth",
            of="generator",
            reading="Where the features that raise the predicted pixel are strong, at this depth; "
            "coarse, and only what raises it.",
            gradients=True,
            pixel=True,
            source="arXiv:1610.02391; arXiv:2002.11434",
        ),
        MethodSpec(
            name="self-attention",
            title="Whom a place asks inside",
            of="generator",
            reading="The clicked place takes more from bright ones in this attention of the model, "
            "for all stains at once; what the layers behind it make of that is not shown.",
            pixel=True,
            inside="attention",
            source="arXiv:1706.03762",
        ),
        MethodSpec(
            name="attention-received",
            title="Who is asked most inside",
            of="generator",
            reading="All places together take more from bright ones in this attention of the "
            "model; a place that is asked much need not matter for the stain.",
            inside="attention",
            source="arXiv:1706.03762",
        ),
        MethodSpec(
            name="spade",
            title="What SPADE scales and shifts",
            of="generator",
            reading="The bright field changes the features of this layer most where it is bright; "
            "whether for a brighter stain or a darker one, it does not say.",
            inside="spade",
            source="arXiv:1903.07291; arXiv:2207.00050",
        ),
    )
}
"""By name."""


def chosen_methods(
    names: tuple[str, ...], *, of: str, pixel: bool, called: str
) -> tuple[MethodSpec, ...]:
    """Return the methods that are asked for, or those that suit.

    Parameters
    ----------
    names
        Of `METHODS`; empty for what is quick and says most.
    of
        ``"encoder"`` or ``"generator"``.
    pixel
        Whether a pixel is named.
    called
        What explains, for messages.

    Raises
    ------
    SettingsError
        If one does not fit.
    """
    fitting = [spec for spec in METHODS.values() if spec.of == of]
    if not names:
        if of == "encoder":
            return (METHODS["attention"],)
        return (METHODS["planes"], METHODS["gradient"]) if pixel else (METHODS["planes"],)
    found = []
    for name in dict.fromkeys(names):
        spec = METHODS[name]
        if spec.of != of:
            there = ", ".join(one.name for one in fitting)
            more = (
                "That is of an encoder: name one with --encoder, or choose"
                if of == "generator"
                else "Leave out --encoder to explain a generator, or choose"
            )
            raise SettingsError(
                f"{called} has no {name!r}; it has {there}. {more} among these with --method."
            )
        if spec.pixel and not pixel:
            raise SettingsError(
                f"{spec.title} is of one predicted pixel, and none is named. Name its row and "
                "column with --at, for example --at 120,340."
            )
        found.append(spec)
    return tuple(found)
