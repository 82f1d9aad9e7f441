"""Say what a stain would do, without doing it."""

from __future__ import annotations

from typing import Any

from napari_virtualstain.jobs.prepare import InputSettings, PreparedStain, prepare

__all__ = ["PlanSettings", "describe", "run"]


class PlanSettings(InputSettings):
    """Settings of `virtualstain plan`."""


def run(settings: PlanSettings) -> PreparedStain:
    """Return the run that `virtualstain stain` would begin.

    Raises
    ------
    VirtualStainError
        If input and model do not fit.
    """
    return prepare(settings)


def describe(prepared: PreparedStain) -> dict[str, Any]:
    """Return a plan as plain values for ``--json``."""
    card, plan = prepared.model.card, prepared.plan
    return {
        "plan": prepared.describe(),
        "model": card.name,
        "stains": list(card.stain_names),
        "channel": prepared.planes.image.channel_names[0],
        "planes": len(prepared.planes),
        "tiles": len(plan) * prepared.planes.image.shape[0],
        "core_yx": list(plan.core),
        "halo": prepared.halo,
        "largest_read_yx": list(plan.largest_read),
        "overhead": round(plan.overhead, 4),
        "exact": prepared.exact,
        "resample_ratios_yx": None if prepared.ratios is None else list(prepared.ratios),
        "notes": list(prepared.notes),
    }
