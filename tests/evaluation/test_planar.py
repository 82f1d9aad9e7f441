"""What is alike lies together on paper."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from napari_virtualstain.errors import MissingExtraError, PixelDataError
from napari_virtualstain.evaluation.planar import on_paper


def two_groups():
    values = np.random.default_rng(0).normal(size=(40, 12))
    values[20:] += 6
    return values


@pytest.mark.parametrize(
    ("how", "needs"), [("pca", "numpy"), ("tsne", "sklearn"), ("umap", "umap")]
)
def test_neighbours_on_paper_are_of_one_group(how, needs):
    pytest.importorskip(needs)
    places = on_paper(two_groups(), how, seed=1)
    assert places.shape == (40, 2)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(40)
    nearest = apart.argmin(axis=1)
    assert ((nearest < 20) == (np.arange(40) < 20)).all()


def test_constant_features_and_few_wells():
    values = np.ones((5, 3))
    values[:, 0] = range(5)
    assert (on_paper(values, "pca")[:, 1] == 0).all()
    with pytest.raises(PixelDataError, match="3 wells have no neighbourhood"):
        on_paper(values[:3], "pca")


@pytest.mark.parametrize(
    ("how", "module", "extra"),
    [("tsne", "sklearn.manifold", "phenotype"), ("umap", "umap", "umap")],
)
def test_a_missing_library_names_the_extra(monkeypatch, how, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"virtualstain\[{extra}\]"):
        on_paper(two_groups(), how)
