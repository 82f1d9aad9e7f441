"""What is a check, and what does it say? The form of both; `checks` lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.qc.field import QcField
from napari_virtualstain.qc.found import Found
from napari_virtualstain.qc.reference import QcReference, Side

__all__ = ["RANK", "Check", "Finding", "State"]

State = Literal["green", "amber", "red", "not assessable"]
RANK: dict[State, int] = {"not assessable": 0, "green": 1, "amber": 2, "red": 3}

Measure = Callable[[QcField, QcReference | None], Found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that is looked at.

    Parameters
    ----------
    name
        Of the registry.
    title
        For people.
    of
        ``"output"`` or ``"input"``: what is at fault.
    measure
        Returns the numbers, or raises `CannotTell`.
    side
        Which values are bad.
    least
        Smallest distance from the middle to the end of the usual range that is believed.
    limits
        Of the numbers, where no reference knows them: amber, red; on the bad side, of a check with
        two sides of the size of the number. `None`: then it is not assessable.
    reason
        What is wrong if a number is high, and if it is low; ``{name}`` is what the number is about.
    advice
        What to do.
    shown
        How a number is written.
    """

    name: str
    title: str
    of: Literal["input", "output"]
    measure: Measure
    side: Side = "high"
    least: float
    limits: tuple[float, float] | None = None
    reason: tuple[str, str] = ("", "")
    advice: str
    shown: Callable[[float], str] = lambda value: f"{value:.2g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check says of a field.

    Parameters
    ----------
    check
        Its name.
    title
        For people.
    state
        Green, amber, red, or not assessable.
    score
        How far out of the usual the worst number lies, 1 at the end of the usual range; over the
        amber limit where there is no reference; NaN if not assessable.
    number, value
        The worst number: its name, and what it is.
    usual
        Its usual range in words, ``""`` if no reference knows it.
    reason
        In words, with numbers; why it is not assessable.
    advice
        What to do, ``""`` for nothing.
    where
        (Y, X) the places that are meant, `None` for all or none.
    numbers
        All that was measured.
    """

    check: str
    title: str
    state: State
    score: float = float("nan")
    number: str = ""
    value: float = float("nan")
    usual: str = ""
    reason: str = ""
    advice: str = ""
    where: NDArray[np.bool_] | None = None
    numbers: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the map."""
        plain: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("check", "title", "state", "score", "number", "value", "usual", "reason",
                         "advice")
        }  # fmt: skip
        plain["numbers"] = self.numbers or {}
        return plain
