"""How does a model draw its stains, if it draws them step by step? What can be set of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from napari_virtualstain.diffusion.choice import SamplerName
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.package import Model

__all__ = ["DrawingSettings", "DrawnStain", "sampling_of"]


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
        description="of a model that draws: steps from noise to stain, 25 if not given; fewer are "
        "faster and less exact",
    )
    draws: int = Field(
        default=1,
        ge=1,
        description="of a model that draws: stains drawn of each image; with 2 or more, the output "
        "is their mean, and their spread as channels of their own",
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
    """

    sampler: str
    steps: int
    draws: int

    def describe(self) -> str:
        """Say it in words.

        Examples
        --------
        >>> DrawnStain(sampler="auto", steps=25, draws=4).describe()
        'drawn in 25 steps, the mean of 4 draws'
        """
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        return f"drawn in {steps}" + (f", the mean of {self.draws} draws" * (self.draws > 1))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"sampler": self.sampler, "steps": self.steps, "draws": self.draws}


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
            if getattr(settings, name) != field.default
        ]
        if asked:
            raise SettingsError(
                f"The model {model.card.name!r} gives the same stain every time and draws none. "
                f"Leave out {' and '.join(asked)}, or choose a model that draws (palette)."
            )
        return None
    rule = generator.rule(Sampling(sampler=settings.sampler, steps=settings.sampling_steps))
    return DrawnStain(sampler=settings.sampler, steps=rule.steps, draws=settings.draws)
