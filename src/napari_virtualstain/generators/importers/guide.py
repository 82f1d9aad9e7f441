"""Weights of the classifier that guides class-guided diffusion: ``model{step}.pt``.

Dhariwal and Nichol 2021, arXiv:2105.05233, section 4: the way down of the network under the names
of guided diffusion, pooled by attention (pictures of one size alone) or by the mean. It paints
nothing by itself; it becomes a part of a model of class-guided image-to-image that it then leads.

It is told the step t of the schedule that it was trained on, which is not in its file. One of
another schedule would lead by what other noise looks like, and is refused: so is the classifier of
the public code of that method, which trains it from 5e-5 to 0.01 and its network from 1e-6 to 0.01.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

from napari_virtualstain.diffusion.noise_schedule import alphas_cumprod
from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.generators.importers.guided_sizes import encoder_sizes
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.nets.published import Content, Format, State, fill_weights, read_as

if TYPE_CHECKING:
    from napari_virtualstain.generators.base import Generator
    from napari_virtualstain.generators.card import ModelCard
    from napari_virtualstain.generators.package import Model

__all__ = ["GUIDE", "FoundGuide", "lead", "recognise_guide"]

_POSITIONS, _ASKED, _MEAN = "out.2.positional_embedding", "out.2.c_proj.weight", "out.3.weight"
_HEAD = 64
"""Channels of a head of attention, as published; shapes do not say it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundGuide:
    """A classifier that was recognised.

    Parameters
    ----------
    format
        What it looks like, for people.
    channels, classes
        Of the pictures, planes and noisy stains, and to choose from.
    image
        Edge of the only pictures that it takes in pixels; 0 for any.
    architecture
        What `generators.guided_i2i` is built with for it.
    state
        Its weights, under the names of our network.
    """

    format: str
    channels: int
    classes: int
    image: int
    architecture: Mapping[str, Any]
    state: State


def _fits(state: State) -> bool:
    whole = any(name.startswith("output_blocks.") for name in state)
    needed = "time_embed.0.weight" in state and "input_blocks.0.0.weight" in state
    return needed and not whole and (_POSITIONS in state or _MEAN in state)


def _read(content: Content) -> FoundGuide:
    state, sizes = content.state, encoder_sizes(content.state)
    image = 0
    if _POSITIONS in state:
        edge = isqrt(int(state[_POSITIONS].shape[1]) - 1)
        image = edge << (len(sizes.multipliers) - 1)
    return FoundGuide(
        format="a classifier that guides a diffusion model",
        channels=int(state["input_blocks.0.0.weight"].shape[1]),
        classes=int(state[_ASKED if image else _MEAN].shape[0]),
        image=image,
        architecture={
            "guide_width": sizes.width, "guide_multipliers": sizes.multipliers,
            "guide_blocks": sizes.blocks, "guide_head_channels": _HEAD, "guide_image": image,
            "guide_told": "step",
        },
        state=state,
    )  # fmt: skip


GUIDE = Format(name="the classifier that guides a diffusion model", fits=_fits, read=_read)


def recognise_guide(content: Content) -> FoundGuide | None:
    """Return the classifier that weights are of, `None` if they are of none.

    Raises
    ------
    ModelPackageError
        If they lack what says how large it is.
    """
    return read_as((GUIDE,), content)


def lead(
    model: Model, found: FoundGuide, *, trained_on: str | None, file: str, sha256: str
) -> tuple[ModelCard, Generator]:
    """Return a model of class-guided image-to-image with a classifier, and its card.

    Parameters
    ----------
    model
        That is led; a classifier that it has is replaced.
    found
        The classifier.
    trained_on
        Schedule of the classifier, a key of `diffusion.noise_schedule.SCHEDULES`; `None` if nobody
        says.
    file, sha256
        Of the classifier, for the card.

    Raises
    ------
    SettingsError
        If the schedule is not stated, or the model is of another method.
    UnknownNameError
        If there is no such schedule.
    ModelPackageError
        If the classifier is of other channels, classes or another schedule, or its weights are not
        whole.
    """
    card, name = model.card, model.card.name
    if card.generator != "guided_i2i":
        raise SettingsError(
            f"The model {name!r} is of {card.generator}, and a classifier guides guided_i2i alone. "
            "Name another model with --guides."
        )
    schedule = str(card.architecture.get("schedule", "palette"))
    if trained_on is None:
        raise SettingsError(
            f"'{file}' does not say on which noise the classifier was trained, and {name!r} draws "
            f"on the schedule {schedule}. If that is its own, state it: --trained-on {schedule}."
        )
    alphas_cumprod(trained_on)  # refuses a name that is none
    if trained_on != schedule:
        raise ModelPackageError(
            f"The classifier was trained on the schedule {trained_on}, and {name!r} draws on "
            f"{schedule}: it would lead by what other noise looks like. Use a classifier of the "
            "same schedule."
        )
    channels, classes = len(card.inputs) + len(card.stains), [len(k.classes) for k in card.labels]
    if (found.channels, found.classes) != (channels, sum(classes)):
        raise ModelPackageError(
            f"The classifier tells {found.classes} classes of {found.channels} channels apart, and "
            f"{name!r} has {sum(classes)} classes, and {channels} planes and stains. Use a "
            "classifier that was trained for it."
        )
    without = {k: v for k, v in card.architecture.items() if not k.startswith("guide_")}
    architecture = {**without, **found.architecture}
    led = build_generator(
        card.generator, in_channels=len(card.inputs), out_channels=len(card.stains),
        architecture=architecture,
    )  # fmt: skip
    whole = led.module()
    fill_weights(whole.get_submodule("guide"), found.state, found.format)
    net = getattr(model.generator.module(), "denoise_fn", model.generator.module())
    whole.get_submodule("denoise_fn").load_state_dict(net.state_dict())
    whole.eval()
    said = [
        (
            f"Its classifier is from the file {file} (sha256 {sha256[:12]}): that it was trained "
            f"on {schedule}, and numbers the classes as the model does, cannot be checked."
        )
    ]
    if found.image:
        said.append(
            f"Its classifier has learnt positions: with --guidance it draws pictures of "
            f"{found.image} x {found.image} px alone."
        )
    changes = {"architecture": architecture, "limits": (*card.limits, *said), "files": {}}
    return card.model_copy(update=changes), led
