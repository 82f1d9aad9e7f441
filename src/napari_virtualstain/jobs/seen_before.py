"""Whether the fields that a prediction is judged on have taught its model.

Scores on fields that taught say how well a model remembers. Files are copied and renamed, so that
pixels are compared: the card keeps hashes of a few blocks of each field (`datasets.leakage`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_virtualstain.datasets.leakage import Footprint, block_prints
from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.image import LazyImage

__all__ = ["Remembered", "prints_of_taught"]

_FULL = 1000
"""So many fields have all their prints kept, more have one each: a card is read at every start."""


def prints_of_taught(footprints: Iterable[Footprint], names: Iterable[str]) -> tuple[str, ...]:
    """Return the prints of the fields that taught, as a card keeps them.

    Parameters
    ----------
    footprints
        Of all fields.
    names
        Of those that taught.
    """
    wanted = set(names)
    taught = [sorted(one.prints) for one in footprints if one.name in wanted]
    kept = taught if len(taught) <= _FULL else [prints[:1] for prints in taught]
    return tuple(sorted({one for prints in kept for one in prints}))


class Remembered:
    """Counts the fields that are judged, and those of them that taught their model.

    A model that is not at hand, or whose card keeps no prints, is not counted: nothing is known.
    """

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}
        self._known: dict[str, tuple[str, frozenset[str]]] = {}

    def add(
        self, planes: LazyImage | None, record: Mapping[str, Any], times: Sequence[int] = ()
    ) -> None:
        """Count a field, each time point as one.

        Parameters
        ----------
        planes
            What the model was given, (T, 1, P, Y, X); `None` if it is not at hand.
        record
            Of the run that stained them.
        times
            Those that are judged; all if empty.
        """
        path = (record.get("model") or {}).get("path")
        name, known = self._taught(str(path)) if path else ("", frozenset[str]())
        if planes is None or not known:
            return
        asked = tuple(times) or tuple(range(planes.shape[0]))
        middle = planes.shape[2] // 2
        seen = sum(bool(known & {*block_prints(planes, 0, t=t, z=middle)}) for t in asked)
        before = self._counts.get(name, (0, 0))
        self._counts[name] = (before[0] + seen, before[1] + len(asked))

    def notes(self) -> list[str]:
        """Return a sentence a model that is judged on what it learnt from."""
        return [
            f"{'this field' if of == 1 else f'{seen} of {of} fields'} taught the model {name!r}: "
            "such scores say how well it remembers. Judge fields that it has not seen"
            for name, (seen, of) in self._counts.items()
            if seen
        ]

    def _taught(self, path: str) -> tuple[str, frozenset[str]]:
        if path not in self._known:
            try:
                card = read_card(Path(path))
                self._known[path] = (card.name, frozenset(card.training.taught))
            except (VirtualStainError, OSError):
                self._known[path] = ("", frozenset())
        return self._known[path]
