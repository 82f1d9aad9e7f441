"""Whether focus is where a measure is largest or smallest, learnt from stacks of one kind.

One stack may mislead: of thirteen planes of phase contrast, the power-spectrum
slope has its maximum four planes away from focus and a smaller minimum in it. A
few stacks whose focus somebody has seen settle it for a microscope and a stain.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.preprocessing.focus import FocusProfile

__all__ = ["calibrated_direction"]


def calibrated_direction(
    profiles: Sequence[FocusProfile], known: Sequence[int | None] | None = None
) -> dict[str, int]:
    """Return the direction of each measure, learnt from stacks of one kind.

    Parameters
    ----------
    profiles
        Of stacks with the same stain or light, objective and camera.
    known
        Of each stack the plane that somebody saw in focus, `None` where nobody
        did; without any, each stack votes with the direction found in it, by how
        far its focus stands out.

    Returns
    -------
    dict
        1 or -1 by measure; a measure that the stacks do not agree on is left out.

    Raises
    ------
    SettingsError
        If a known plane is not in its stack, or the lengths differ.
    """
    planes = [None] * len(profiles) if known is None else list(known)
    if len(planes) != len(profiles):
        raise SettingsError(
            f"{len(profiles)} profiles and {len(planes)} known planes were given. Give one plane a "
            "profile, or None."
        )
    votes: dict[str, float] = {}
    for profile, plane in zip(profiles, planes, strict=True):
        if plane is not None and not 0 <= plane < len(profile):
            raise SettingsError(
                f"Plane {plane} is not in a stack of {len(profile)}. Count planes from 0."
            )
        for name in profile.values:
            line = profile.line(name)
            finite = line[np.isfinite(line)]
            if finite.size < 3 or np.ptp(finite) == 0:
                continue
            if plane is None:
                vote = float(profile.direction(name))
            else:
                # +1 at the largest value, -1 at the smallest, 0 half way.
                vote = 2 * float((line[plane] - finite.min()) / np.ptp(finite)) - 1
            if np.isfinite(vote):
                votes[name] = votes.get(name, 0.0) + vote
    least = 0.2 * len(profiles)
    return {name: 1 if vote > 0 else -1 for name, vote in votes.items() if abs(vote) > least}
