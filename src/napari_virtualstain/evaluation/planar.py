"""How do wells or cells lie to each other, on paper? Their features brought down to two numbers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError, from_extra
from napari_virtualstain.evaluation.actives import principal_components

__all__ = ["Planar", "check_planar", "on_paper"]

Planar = Literal["pca", "tsne", "umap"]
"""How."""
FEWEST = 4
"""Wells without which there is no neighbourhood."""
_COMPONENTS = 50


def on_paper(values: NDArray[np.float64], how: Planar, *, seed: int = 0) -> NDArray[np.float64]:
    """Return (N, 2) places of wells or cells, all of one picture together.

    Parameters
    ----------
    values
        (N, D), nothing missing; each feature is brought to mean 0 and variance 1.
    how
        ``"pca"``: the first two principal components, in which distances can be read. ``"tsne"``
        and ``"umap"`` show who is whose neighbour; sizes of groups and distances between them mean
        nothing.
    seed
        Of the last two.

    Raises
    ------
    MissingExtraError
        If scikit-learn (t-SNE) or umap-learn is not installed.
    PixelDataError
        If there are fewer than four wells.

    References
    ----------
    van der Maaten and Hinton 2008 (t-SNE, of 50 principal components as there); McInnes et al.
    2018, arXiv:1802.03426 (UMAP), with a least distance of 0.8 as in the published code of
    label-free Cell Painting.
    """
    n = len(values)
    if n < FEWEST:
        raise PixelDataError(
            f"{n} wells have no neighbourhood to be drawn. Compare {FEWEST} wells or more."
        )
    scale = values.std(axis=0)
    kept = values[:, scale > 0] / scale[scale > 0]
    found = principal_components(kept, _COMPONENTS)
    if how == "pca":
        return np.pad(found[:, :2], ((0, 0), (0, max(0, 2 - found.shape[1]))))
    package = check_planar(how)
    if how == "tsne":
        perplexity = max(1.0, min(30.0, (n - 1) / 3))
        return np.asarray(
            package.TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(found)
        )
    return np.asarray(
        package.UMAP(
            n_neighbors=min(15, n - 1), min_dist=0.8, random_state=seed, n_jobs=1
        ).fit_transform(kept)
    )


def check_planar(how: Planar) -> Any:
    """Return the package that draws so, `None` where none is needed: found out before the work.

    Raises
    ------
    MissingExtraError
        If scikit-learn (t-SNE) or umap-learn is not installed.
    """
    if how == "tsne":
        return from_extra(
            "sklearn.manifold", extra="phenotype",
            needs="--scatter tsne takes scikit-learn, of the extra [phenotype].",
        )  # fmt: skip
    if how == "umap":
        return from_extra(
            "umap", extra="umap", needs="--scatter umap takes umap-learn, of the extra [umap]."
        )
    return None
