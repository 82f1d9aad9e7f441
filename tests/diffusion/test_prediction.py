"""What a network answers and what the clean picture is follow from each other."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.diffusion.prediction import clean_weights, target_weights
from napari_virtualstain.errors import SettingsError

LEVELS = st.floats(1e-5, 1 - 1e-5)
NUMBERS = st.floats(-3, 3)


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
@given(level=LEVELS, clean=NUMBERS, eps=NUMBERS)
def test_the_clean_picture_comes_back_from_the_target(predicts, level, clean, eps):
    x = sqrt(level) * clean + sqrt(1 - level) * eps
    of_clean, of_eps = target_weights(predicts, level)
    of_x, of_prediction = clean_weights(predicts, level)
    target = of_clean * clean + of_eps * eps
    assert of_x * x + of_prediction * target == pytest.approx(clean, abs=1e-9)


@pytest.mark.parametrize("predicts", ["eps", "v"])
@pytest.mark.parametrize("weights", [clean_weights, target_weights])
def test_levels_of_a_batch_are_those_of_each_sample(predicts, weights):
    levels = [1 - 1e-6, 0.5, 1e-4]
    batch = weights(predicts, torch.tensor(levels, dtype=torch.float64))
    for place, level in enumerate(levels):
        for found, single in zip(batch, weights(predicts, level), strict=True):
            found = found[place].item() if isinstance(found, torch.Tensor) else found
            assert found == pytest.approx(single, rel=1e-12)


@pytest.mark.parametrize("weights", [clean_weights, target_weights])
def test_what_no_network_predicts_is_refused(weights):
    with pytest.raises(SettingsError, match="predicts eps, x0, v, got 'score'. Choose what it was"):
        weights("score", 0.5)
