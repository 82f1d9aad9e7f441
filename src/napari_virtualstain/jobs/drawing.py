"""How does a model draw its stains, if it draws them step by step? What can be set of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from napari_virtualstain.diffusion.choice import SamplerName
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.labels import read_stated
from napari_virtualstain.generators.package import Model

__all__ = ["LED", "DrawingSettings", "DrawnStain", "check_led", "sampling_of"]

LED = ("guided_i2i", "spade_diffusion")
"""Generators that can be led."""


class DrawingSettings(BaseModel):
    """What can be set about a model that draws."""

    sampler: SamplerName = Field(
        default="auto",
        description="of a model that draws its stains step by step: how it walks; auto is the "
        "model's own",
    )
    sampling_steps: int | None = Field(
        default=None,
        ge=1,
        description="of a model that draws: steps to the stain; 25 if not given, 200 of lbbdm; "
        "fewer are faster and less exact",
    )
    draws: int = Field(
        default=1,
        ge=1,
        description="of a model that draws: stains drawn of each image; with 2 or more, the output "
        "is their mean, and their spread as channels of their own",
    )
    seed: int = Field(
        default=0, ge=0, description="random seed of a model that draws: another, other stains"
    )
    told: tuple[str, ...] = Field(
        default=(),
        description="of a model that is told what was done to an image (guided_i2i): NAME=CLASS, "
        "for example treatment=taxol; unknown if not given",
    )
    guidance: float = Field(
        default=0.0,
        ge=0,
        description="of a model that can be led: how far, towards what it is told (guided_i2i) or "
        "shown (spade_diffusion); 0 for not at all",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnStain:
    """How the stains of a run are drawn; plain values, for its record.

    Parameters
    ----------
    sampler
        Name of the rule, as it was asked for.
    steps
        From noise to stain.
    draws
        Of each image.
    labels
        What the network is told, by number; `None` if it is told nothing.
    told
        The same as it was stated.
    guidance
        How far it is led.
    notes
        What should be known of it.
    """

    sampler: str
    steps: int
    draws: int
    labels: tuple[int, ...] | None = None
    told: tuple[str, ...] = ()
    guidance: float = 0.0
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Say it in words.

        Examples
        --------
        >>> DrawnStain(sampler="auto", steps=25, draws=4).describe()
        'drawn in 25 steps, the mean of 4 draws'
        """
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        told = f", told {', '.join(self.told)}" if self.told else ""
        led = f", led by {self.guidance:g}" if self.guidance else ""
        mean = f", the mean of {self.draws} draws" * (self.draws > 1)
        return f"drawn in {steps}{told}{led}{mean}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "sampler": self.sampler, "steps": self.steps, "draws": self.draws,
            "told": list(self.told), "guidance": self.guidance,
        }  # fmt: skip


def sampling_of(settings: DrawingSettings, model: Model) -> DrawnStain | None:
    """Return how a model draws, `None` for one that does not.

    Parameters
    ----------
    settings
        Of the run.
    model
        Loaded.

    Raises
    ------
    SettingsError
        If something is asked for that only a model that draws can do, or more steps than it has.
    UnknownNameError
        If there is no such sampler.
    """
    from napari_virtualstain.generators.sampled import SampledGenerator, Sampling

    generator = model.generator
    if not isinstance(generator, SampledGenerator):
        asked = [
            f"--{name.replace('_', '-')}"
            for name, field in DrawingSettings.model_fields.items()
            if name != "seed" and getattr(settings, name) != field.default
        ]
        if asked:
            raise SettingsError(
                f"The model {model.card.name!r} gives the same stain every time and draws none. "
                f"Leave out {' and '.join(asked)}, or choose a model that draws (palette)."
            )
        return None
    card = model.card
    numbers = read_stated(card.labels, settings.told, card.name)
    labels = numbers if settings.told else None
    if settings.guidance and card.generator not in LED:
        raise SettingsError(
            f"The model {card.name!r} cannot be led. Leave out --guidance, or choose a model of "
            f"{' or '.join(LED)}."
        )
    how = Sampling(
        sampler=settings.sampler, steps=settings.sampling_steps, labels=labels,
        guidance=settings.guidance,
    )  # fmt: skip
    return DrawnStain(
        sampler=settings.sampler, steps=generator.rule(how).steps, draws=settings.draws,
        labels=labels, told=settings.told, guidance=settings.guidance,
        notes=tuple(_notes(model, settings)),
    )  # fmt: skip


def check_led(sampling: DrawnStain, card: ModelCard, shape: Sequence[int], *, whole: bool) -> None:
    """Refuse to lead a stain that would not fit, or whose classifier knows one size alone.

    Parameters
    ----------
    sampling, card
        Of the stain and its model.
    shape
        Of the image on the model's grid.
    whole
        Whether all of it is drawn at once.

    Raises
    ------
    SettingsError
        If so.
    """
    if not sampling.guidance:
        return
    if not whole:
        raise SettingsError(
            "A stain that is led is drawn of the whole image at once, and that takes more than "
            "the memory budget. Leave out --guidance, or give more with --memory."
        )
    edge = card.architecture.get("guide_image")
    if edge and tuple(shape[-2:]) != (edge, edge):
        raise SettingsError(
            f"The classifier of {card.name!r} has learnt positions of images of {edge} x {edge} "
            f"px, and this one is {shape[-2]} x {shape[-1]} px. Leave out --guidance, or crop it."
        )


def _notes(model: Model, settings: DrawingSettings) -> Iterator[str]:
    """Say what a label means for what may be concluded."""
    kinds = model.card.labels
    if settings.told:
        yield (
            f"drawn knowing {', '.join(settings.told)}: what a model is told it does not find out. "
            "Do not use these stains to show an effect of it"
        )
    if kinds and not settings.told:
        hidden = model.card.training.settings.get("label_dropout", 0.0)
        names = " and ".join(kind.name for kind in kinds)
        yield f"drawn without knowing {names}" + (
            ""
            if hidden
            else ", which never was hidden in its training: of that it has learnt "
            "nothing. State it with --told, or train with a label_dropout above 0"
        )
