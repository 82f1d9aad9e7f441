"""Quantiles of the binned generator lie in order, and the median is what it predicts."""

from __future__ import annotations

import numpy as np

from napari_virtualstain.generators.registry import build_generator


def test_quantiles_are_in_order_and_their_middle_is_the_prediction():
    generator = build_generator("isl", in_channels=2, out_channels=3, preset="tiny")
    planes = np.random.default_rng(0).normal(size=(2, 2, 16, 16)).astype(np.float32)
    found = generator.reading((0.05, 0.95)).predict(planes)
    assert found.shape == (2, 9, 16, 16)
    middle, low, high = np.split(found, 3, axis=1)
    assert (low <= middle).all()
    assert (middle <= high).all()
    np.testing.assert_allclose(middle, generator.predict(planes), atol=1e-5)


def test_a_few_rows_at_a_time_give_the_same_medians(monkeypatch):
    from napari_virtualstain.generators import isl

    generator = build_generator("isl", in_channels=2, out_channels=3, preset="tiny")
    planes = np.random.default_rng(0).normal(size=(1, 2, 16, 16)).astype(np.float32)
    whole = generator.predict(planes)
    monkeypatch.setattr(isl, "_AT_ONCE", 16 * 3 * 64 * 5)  # five rows
    np.testing.assert_allclose(generator.predict(planes), whole, atol=1e-5)
