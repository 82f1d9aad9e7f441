"""What a gain and an offset explain, before anything is tuned."""

from __future__ import annotations

import numpy as np
import pytest
from little_pairs import field, pairs

from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.jobs.tuning_lines import explained_by_line, recalibrated

PLAIN = (Normalisation(), Normalisation())


class Painter:
    """Predicts a stain from the first plane, as it is told, and noise as the second."""

    multiple_of = 1

    def __init__(self, stain):
        self._stain = stain

    def predict(self, planes):
        noise = np.random.default_rng(0).normal(size=planes[:, 0].shape)
        return np.stack([self._stain(planes[:, 0]), noise], axis=1).astype(np.float32)


def test_a_gain_and_an_offset_are_found_and_noise_is_not_made_flat():
    train, held = pairs(field(1), field(2)), pairs(field(3))
    painter = Painter(lambda plane: 7 * plane - 2)
    first, second = explained_by_line(painter, train, held, PLAIN)
    assert first == pytest.approx(1, abs=0.05)  # each field is normalised by itself
    assert np.isnan(second)
    norm, _ = recalibrated(painter, train, PLAIN)
    _, truth = train.read(0, (slice(0, 40), slice(0, 48)))
    planes, _ = train.read(0, (slice(0, 40), slice(0, 48)))
    grey = train.outputs[0].invert(truth[0])
    error = np.abs(norm.invert(painter.predict(planes[None])[0, 0]) - grey).mean()
    assert error < 0.05 * np.abs(grey - grey.mean()).mean()


def test_a_stain_that_falls_where_truth_rises_keeps_its_grey_values():
    train = pairs(field(1), field(2))
    upside_down, _ = recalibrated(Painter(lambda plane: -plane), train, PLAIN)
    assert upside_down == PLAIN[0]
