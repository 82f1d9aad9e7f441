"""What changes when something is hidden? Squares, z planes and input channels.

Occlusion after Zeiler & Fergus 2014, doi:10.1007/978-3-319-10590-1_53. What is hidden gets the
mean grey value of its plane in the crop. No derivatives are needed, so that this is what can be
asked of any generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.explain.gradients import Told, flat_baseline
from napari_virtualstain.explain.probe import Pixel, Planes, Probe
from napari_virtualstain.metrics.pixel import pearson

__all__ = ["NEEDED", "PlaneDependence", "hidden_planes", "occlusion_map", "plane_changes",
           "plane_dependence"]  # fmt: skip

NEEDED = 0.05
"""Of the correlation that is lost without a plane, from which on a stain depends on it."""
Stain = NDArray[np.float32]


def occlusion_map(
    probe: Probe,
    planes: Planes,
    at: Pixel,
    *,
    edge: int = 16,
    step: int | None = None,
    on_step: Told | None = None,
) -> Stain:
    """Return how much the value of a pixel falls when a square is hidden: (Y, X), signed.

    Parameters
    ----------
    probe
        Stain of a generator.
    planes
        Normalised crop (P, Y, X).
    at
        The pixel, in the crop.
    edge
        Of a square in pixels, hidden in all planes at once.
    step
        Between two squares in pixels; an edge if `None`. Where several cover a pixel it has their
        mean.
    on_step
        Told of squares done.
    """
    height, width = planes.shape[1:]
    step = edge if step is None else step
    flat, value = flat_baseline(planes), probe.value(planes, at)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    corners = list(product(_starts(height, edge, step), _starts(width, edge, step)))
    for done, (top, left) in enumerate(corners):
        square = (slice(top, top + edge), slice(left, left + edge))
        hidden = planes.copy()
        hidden[(slice(None), *square)] = flat[(slice(None), *square)]
        total[square] += value - probe.value(hidden, at)
        count[square] += 1
        if on_step is not None:
            on_step(done + 1, len(corners))
    return (total / count).astype(np.float32)


def _starts(length: int, edge: int, step: int) -> list[int]:
    """Return where squares begin, so that each pixel is in one."""
    last = max(0, length - edge)
    return sorted({*range(0, last, step), last})


def hidden_planes(planes: Planes, which: Sequence[int]) -> Planes:
    """Return planes of which some are featureless."""
    found = planes.copy()
    found[list(which)] = flat_baseline(planes)[list(which)]
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaneDependence:
    """On which planes a stain depends, over a part of a field.

    Parameters
    ----------
    whole
        Correlation with the truth, or 1 where the prediction is its own yardstick.
    without
        By plane: the same with this plane hidden.
    alone
        By plane: with all others hidden.
    needed
        Planes without any of which at least `NEEDED` is lost; the strongest first.
    without_needed
        The correlation with all of these hidden, `None` if there are none.
    changes
        (P, Y, X): how much the stain changes, in absolute values, when a plane is hidden.
    has_truth
        Whether there was a truth.
    spread
        Standard deviation of the stain, over that of the training stain.
    """

    whole: float
    without: tuple[float, ...]
    alone: tuple[float, ...]
    needed: tuple[int, ...]
    without_needed: float | None
    changes: Planes
    has_truth: bool
    spread: float

    def words(self, stain: str, names: Sequence[str]) -> str:
        """Say it.

        Parameters
        ----------
        stain
            What is predicted.
        names
            Of the planes, for example ``"-4 µm"``.
        """
        of = "with the truth" if self.has_truth else "with the prediction of all planes"
        if not np.isfinite(self.whole):
            return f"Whether {stain} depends on its planes cannot be told: it is constant here."
        if len(self.without) == 1:
            left = _number(self.without[0])
            return (
                f"{stain} has one input plane; with it hidden, the correlation {of} is {left} "
                f"and not {_number(self.whole)}."
            )
        if not self.needed or self.without_needed is None:
            least = _number(min(self.without, key=lambda r: r if np.isfinite(r) else 0.0))
            return (
                f"{stain} depends on no single plane: with any one of them hidden, the correlation "
                f"{of} is still {least} (from {_number(self.whole)})."
            )
        listed = [names[n] for n in sorted(self.needed)]
        planes = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
        which, they = ("plane", "it") if len(listed) == 1 else ("planes", "them")
        return (
            f"{stain} depends on {which} {planes}; without {they} the correlation {of} falls from "
            f"{_number(self.whole)} to {_number(self.without_needed)}."
        )


def plane_changes(
    predict: Callable[[Planes], Stain], planes: Planes, *, keep: Region
) -> NDArray[np.float32]:
    """Return how much a stain changes when each plane is hidden: (P, Y, X), not negative.

    Parameters
    ----------
    predict, planes, keep
        See `plane_dependence`, which says more and takes more predictions.
    """
    full = predict(planes)[keep]
    hidden = (predict(hidden_planes(planes, [plane]))[keep] for plane in range(len(planes)))
    return np.stack([np.abs(found - full) for found in hidden])


def plane_dependence(
    predict: Callable[[Planes], Stain],
    planes: Planes,
    *,
    keep: Region,
    truth: Stain | None = None,
    on_step: Told | None = None,
) -> PlaneDependence:
    """Hide each plane, and all but each, and see what is left of a stain.

    Parameters
    ----------
    predict
        See `Probe.predict`.
    planes
        Normalised (P, Y, X), with what the network looks at beyond the part.
    keep
        The part, in the crop.
    truth
        Of the part (Y, X); NaN counts for nothing. The prediction itself if `None`.
    on_step
        Told of predictions done.
    """
    n = len(planes)
    total = 2 * n + 2 if n > 1 else 2
    done = 0

    def stain(hidden: Sequence[int]) -> Stain:
        nonlocal done
        found = predict(hidden_planes(planes, hidden) if hidden else planes)[keep]
        done += 1
        if on_step is not None:
            on_step(min(done, total), total)
        return found

    full = stain(())
    like = full if truth is None else truth
    whole = pearson(full, like)
    changes, without, alone = [], [], []
    for plane in range(n):
        found = stain((plane,))
        changes.append(np.abs(found - full))
        without.append(pearson(found, like))
        if n > 1:
            alone.append(pearson(stain([p for p in range(n) if p != plane]), like))
    lost = [whole - _or_zero(r) for r in without]
    needed = sorted((p for p in range(n) if lost[p] >= NEEDED), key=lambda p: -lost[p])
    left = None
    if needed:
        left = without[needed[0]] if len(needed) == 1 else pearson(stain(needed), like)
    return PlaneDependence(
        whole=whole, without=tuple(without), alone=tuple(alone), needed=tuple(needed),
        without_needed=left, changes=np.stack(changes), has_truth=truth is not None,
        spread=float(full.std()),
    )  # fmt: skip


def _or_zero(r: float) -> float:
    """Return a correlation, 0 of a picture that has become constant."""
    return r if np.isfinite(r) else 0.0


def _number(r: float) -> str:
    return f"{_or_zero(r):.2f}"
