"""Which row of the prediction belongs to which of the truth? That of the same plate, well and site.

Never by position: tables that are sorted otherwise, or of which one lacks a field, would be
compared with their neighbours, and nobody would see it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError

__all__ = ["Key", "Profiles", "joined"]

Key = tuple[str, ...]
"""What a row is of: plate, well, site, or plate and well."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profiles:
    """A table of features whose rows and columns have names.

    Parameters
    ----------
    keys
        Of each row.
    names
        Of each column.
    values
        (rows, columns); NaN is missing.

    Raises
    ------
    PixelDataError
        If two rows or columns have one name, or there are not as many names as rows and columns.
    """

    keys: tuple[Key, ...]
    names: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what could be joined in two ways."""
        if self.values.shape != (len(self.keys), len(self.names)):
            raise PixelDataError(
                f"{len(self.keys)} rows and {len(self.names)} columns are named, and the table is "
                f"{self.values.shape}. Name each of them."
            )
        for what, names in (("rows are", self.keys), ("columns are", self.names)):
            twice = [name for name, count in Counter[Any](names).items() if count > 1]
            if twice:
                one = twice[0] if isinstance(twice[0], str) else "/".join(filter(None, twice[0]))
                raise PixelDataError(f"Two {what} called {one!r}. Give each a name of its own.")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    def rows(self, keys: Sequence[Key]) -> Profiles:
        """Return the rows of these names, in this order."""
        at = {key: row for row, key in enumerate(self.keys)}
        kept = self.values[[at[key] for key in keys]].reshape(len(keys), len(self.names))
        return Profiles(keys=tuple(keys), names=self.names, values=kept)

    def columns(self, names: Sequence[str]) -> Profiles:
        """Return the columns of these names, in this order."""
        at = {name: column for column, name in enumerate(self.names)}
        kept = self.values[:, [at[name] for name in names]].reshape(len(self.keys), len(names))
        return Profiles(keys=self.keys, names=tuple(names), values=kept)


def joined(prediction: Profiles, truth: Profiles) -> tuple[Profiles, Profiles]:
    """Return the rows and columns that both have, in the order of the truth.

    Raises
    ------
    PixelDataError
        If they have none in common.

    Examples
    --------
    >>> one = Profiles(keys=(("A01",), ("A02",)), names=("area",), values=np.array([[1.0], [2.0]]))
    >>> other = Profiles(keys=(("A02",), ("A03",)), names=("area",), values=np.array([[5.0], [6]]))
    >>> [both.values.tolist() for both in joined(one, other)]
    [[[2.0]], [[5.0]]]
    """
    rows = [key for key in truth.keys if key in set(prediction.keys)]
    names = [name for name in truth.names if name in set(prediction.names)]
    if not rows or not names:
        what = "row" if not rows else "feature"
        raise PixelDataError(
            f"Prediction and truth have no {what} in common. Compare tables of the same fields and "
            "channels."
        )
    return prediction.rows(rows).columns(names), truth.rows(rows).columns(names)
