"""What do bright field and other stains foretell of a stain? As much as a weighted sum knows.

A weighted sum of how the bright field looks around each place, and another of how the other stains
do, fitted on fields of a good model. It is no second model: it knows little, but what a stain shows
against both is either new or wrong, and what it lacks was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.qc.field import Picture, QcField, softened

__all__ = ["Expectation", "fit_expectation", "of_light", "of_stains"]

_SIGMAS = (0.0, 1.0, 2.0, 4.0)
"""Of the Gaussians, in squares of the coarse grid."""
_ENERGY = (1.5, 4.0)
_RIDGE = 1e-3
_SAMPLE = 20_000
"""Places of a field that teach."""


class Expectation(BaseModel):
    """A stain as a sum of what is seen around each place.

    Parameters
    ----------
    weights
        One a feature, the constant last.
    r
        Correlation with the stain on fields that did not teach; NaN if there were none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    weights: tuple[float, ...]
    r: float = Field(ge=-1, le=1)

    def of(self, features: NDArray[np.float32]) -> Picture:
        """Return the stain (y, x) from features (F, y, x)."""
        weights = np.asarray(self.weights, np.float32)
        found: Picture = np.tensordot(weights[:-1], features, 1) + weights[-1]
        return found


def of_light(field: QcField) -> NDArray[np.float32] | None:
    """Return what the bright field looks like around each place, (F, y, x); `None` without one."""
    if field.light is None:
        return None

    def make() -> NDArray[np.float32]:
        found: list[Picture] = []
        for plane in field.light if field.light is not None else ():
            found += _smoothed(plane)
            square = plane * plane
            found += [np.sqrt(softened(square, sigma)) for sigma in _ENERGY]
        return np.stack(found)

    stack: NDArray[np.float32] = field.once("of light", make)
    return stack


def of_stains(field: QcField, name: str) -> NDArray[np.float32] | None:
    """Return what the other stains look like around each place; `None` if there is no other."""
    others = [other for other in field.stains if other != name]
    if not others:
        return None
    return np.concatenate(
        [field.once(f"of {one}", partial(_of_stain, field, one)) for one in others]
    )


def _of_stain(field: QcField, name: str) -> NDArray[np.float32]:
    over = field.coarse(name) - np.float32(field.dark(name))
    smooth = _smoothed(over)
    # What is ring and what is disc needs more than a sum: the bright part counts apart.
    return np.stack([*smooth, np.sqrt(np.maximum(smooth[1], 0))])


def _smoothed(picture: Picture) -> list[Picture]:
    return [softened(picture, s) if s else picture for s in _SIGMAS]


def fit_expectation(
    pairs: Iterable[tuple[NDArray[np.float32], Picture]], seed: int = 0
) -> Expectation | None:
    """Fit weights by ridge regression; every fourth field judges instead of teaching.

    Parameters
    ----------
    pairs
        Features (F, y, x) and the stain (y, x) of each field.
    seed
        Decides which places teach.

    Returns
    -------
    Expectation or None
        `None` if there are fewer than two fields.
    """
    rng = np.random.default_rng(seed)
    taught: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for features, stain in pairs:
        flat = features.reshape(len(features), -1)
        some = rng.permutation(flat.shape[1])[:_SAMPLE]
        taught.append((flat[:, some].T.astype(np.float64), stain.ravel()[some].astype(np.float64)))
    if len(taught) < 2:
        return None
    judges = taught[3::4] or taught[-1:]
    trial = _ridge([one for n, one in enumerate(taught) if n % 4 != 3] or taught[:-1])
    seen = [np.corrcoef(x @ trial[:-1] + trial[-1], y)[0, 1] for x, y in judges if y.std() > 0]
    known = [float(r) for r in seen if np.isfinite(r)]
    weights = _ridge(taught)
    return Expectation(
        weights=tuple(float(f"{w:.7g}") for w in weights),
        r=round(float(np.median(known)), 4) if known else 0.0,
    )


def _ridge(parts: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> NDArray[np.float64]:
    x = np.concatenate([part[0] for part in parts])
    y = np.concatenate([part[1] for part in parts])
    middle, wide = x.mean(axis=0), x.std(axis=0)
    wide = np.where(wide > 0, wide, 1.0)
    scaled = (x - middle) / wide
    gram = scaled.T @ scaled / len(x) + _RIDGE * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, scaled.T @ (y - y.mean()) / len(x)) / wide
    return np.append(weights, y.mean() - weights @ middle)
