"""Is focus where a measure is largest, or smallest? What the training planes of a model tell."""

from __future__ import annotations

from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.preprocessing.focus import MEASURES

__all__ = ["focus_direction", "focus_directions"]


def focus_directions(card: ModelCard) -> dict[str, int]:
    """Return 1 (largest) or -1 (smallest) by measure, as far as the training planes show it."""
    offsets = [plane.z_offset_um for plane in card.inputs]
    known = [abs(offset) for offset in offsets if offset is not None]
    if len(known) < len(offsets):
        return {}
    nearest = known.index(min(known))
    found = {name: focus_direction(card, nearest, name) for name in MEASURES}
    return {name: direction for name, direction in found.items() if direction}


def focus_direction(card: ModelCard, p: int, measure: str) -> int:
    """Return 1 if a measure of the training planes is largest in focus, -1 if smallest, else 0.

    Known of the plane nearest to focus, where its range and those of planes on both sides
    exclude each other's middle.
    """
    offsets = [plane.z_offset_um for plane in card.inputs]
    known = [offset for offset in offsets if offset is not None]
    here = offsets[p]
    if here is None or len(known) < len(offsets) or abs(here) > min(map(abs, known)):
        return 0
    around = [i for i in range(len(known)) if i != p]
    if not (any(known[i] < here for i in around) and any(known[i] > here for i in around)):
        return 0
    limits = [
        None if plane.ranges is None else plane.ranges.numbers.get(measure) for plane in card.inputs
    ]
    mine = limits[p]
    ways = set()
    for i in around:
        other = limits[i]
        if mine is None or other is None:
            return 0
        if sum(mine) / 2 > other[1] and sum(other) / 2 < mine[0]:
            ways.add(1)
        elif sum(mine) / 2 < other[0] and sum(other) / 2 > mine[1]:
            ways.add(-1)
        else:
            ways.add(0)
    return ways.pop() if len(ways) == 1 else 0
