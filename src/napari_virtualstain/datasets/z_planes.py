"""Where do z planes lie, beside where a model wants them? Distances in micrometres."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from napari_virtualstain.errors import ChannelError

__all__ = [
    "SAME_PLANE_UM",
    "STEP_TOLERANCE",
    "listed_um",
    "planes_around",
    "said_apart",
    "said_beyond",
]

SAME_PLANE_UM = 1.0
"""Planes within this distance of the wanted position are taken without asking."""
STEP_TOLERANCE = 0.20
"""Part of the distance of the outer planes by which planes may lie elsewhere; as of pixel sizes."""


def planes_around(
    focus: float, *, z_offsets_um: Sequence[float | None], step_um: float | None, depth: int
) -> tuple[int, ...]:
    """Return the planes at a model's offsets from the plane in focus.

    Parameters
    ----------
    focus
        Position of the focus in planes, also between two of them.
    z_offsets_um
        See `choose_planes`.
    step_um
        Distance of two planes, `None` if unknown.
    depth
        Number of planes of the stack.

    Raises
    ------
    ChannelError
        If the offsets or the step are not known, or no plane lies there.
    """
    # One plane that does not say where it lay is as good as any other in focus.
    known = [0.0] if list(z_offsets_um) == [None] else [o for o in z_offsets_um if o is not None]
    if len(known) < len(z_offsets_um):
        raise ChannelError(
            "The model does not state how far from focus its planes lie, so that the plane in "
            "focus does not tell which to take. Name them with --z."
        )
    if step_um is None and any(known):
        raise ChannelError(
            f"The image does not state the distance of its z planes, so that those at "
            f"{listed_um(known)} µm from focus cannot be told. State it with --z-step, for example "
            "--z-step 2."
        )
    places = [focus + offset / (step_um or 1.0) for offset in known]
    nearest = [round(place) for place in places]
    for offset, place, at in zip(known, places, nearest, strict=True):
        if not 0 <= at < depth:
            raise ChannelError(
                f"The plane in focus is {focus:.3g} of 0 to {depth - 1}, {step_um:g} µm apart, so "
                f"that the stack does not reach {offset:+g} µm. Record a deeper stack, or name "
                "planes with --z and expect a poorer stain."
            )
        if step_um is not None and abs(place - at) * step_um > SAME_PLANE_UM:
            raise ChannelError(_too_coarse(step_um, offset))
    if len(set(nearest)) < len(nearest):
        raise ChannelError(_too_coarse(step_um or 0.0, known[-1]))
    return tuple(nearest)


def _too_coarse(step_um: float, offset: float) -> str:
    return (
        f"The z planes lie {step_um:g} µm apart, so that none lies within {SAME_PLANE_UM:g} µm of "
        f"{offset:+g} µm from focus. Record the planes that the model takes, or name others with "
        "--z and expect a poorer stain."
    )


def said_apart(
    z: Sequence[int], z_offsets_um: Sequence[float | None], step: float | None
) -> list[str]:
    """Say that planes lie further apart, or closer together, than in training."""
    if step is None or len(z) < 2 or None in z_offsets_um or len(set(z)) < len(z):
        return []
    wanted = np.array(z_offsets_um, float)
    lies = np.array(z) * step
    off = float(np.abs((lies - lies[0]) - (wanted - wanted[0])).max())
    # Which end of the stack is up is not known without positions.
    off = min(off, float(np.abs((lies[0] - lies) - (wanted - wanted[0])).max()))
    if off <= STEP_TOLERANCE * np.ptp(wanted):
        return []
    words = (
        f"the z planes lie at {listed_um(lies - lies[0])} µm from the first, the model was trained "
        f"at {listed_um(wanted - wanted[0])} µm; expect a poorer stain, or choose others with --z"
    )
    return [words]


def said_beyond(positions: Sequence[float] | None, z_offsets_um: Sequence[float | None]) -> str:
    """Say which plane is not there, where positions are known."""
    offsets = [offset for offset in z_offsets_um if offset is not None]
    if positions is None or len(offsets) < len(z_offsets_um):
        return ""
    apart = [min(abs(offset - at) for at in positions) for offset in offsets]
    worst = int(np.argmax(apart))
    if apart[worst] <= SAME_PLANE_UM:
        return ""
    return f" (none lies within {SAME_PLANE_UM:g} µm of {offsets[worst]:+g} µm from focus)"


def listed_um(offsets: Iterable[float | None]) -> str:
    """Return positions in words, for example ``"-4, +0, +4"``."""
    return ", ".join(f"{offset:+g}" for offset in offsets if offset is not None)
