"""What does a look at one thing give? Numbers, places, and whether it could be looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.qc.field import QcField

__all__ = ["CannotTell", "Found", "places"]


class CannotTell(Exception):  # noqa: N818 (an answer, and no mistake)
    """A check cannot look at this field; says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a check measured.

    Parameters
    ----------
    numbers
        By name; a name begins with the stain it is about, where it is about one.
    where
        (Y, X) of the field: the places that are meant; `None` where it is about all of it.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    where: NDArray[np.bool_] | None = None


def places(field_: QcField, coarse: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the coarse grid on the pixels of the field."""
    found: NDArray[np.bool_] = field_.on_pixels(coarse.astype(bool))
    return found
