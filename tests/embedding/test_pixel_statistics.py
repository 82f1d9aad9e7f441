"""The baseline measures grey values and gradients, and no shapes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.embedding.pixel_statistics import STATISTICS, pixel_statistics

RNG = np.random.default_rng(0)
PICTURE = RNG.gamma(2, 50, (2, 40, 50))


def by_name(picture, channel=0):
    values = pixel_statistics(picture).reshape(len(picture), -1)[channel]
    return dict(zip(STATISTICS, values, strict=True))


def test_a_ramp_has_the_statistics_that_one_writes_down():
    ramp = np.broadcast_to(3.0 * np.arange(101), (1, 20, 101))
    found = by_name(ramp)
    assert found["mean"] == found["q50"] == 150
    assert (found["q01"], found["q99"]) == (3, 297)
    assert found["sd"] == pytest.approx(3 * np.sqrt((101**2 - 1) / 12))
    assert (found["gradient"], found["gradient_sd"], found["gradient_q95"]) == (3, 0, 3)


def test_gain_scales_and_an_offset_moves_them():
    before, gained = by_name(PICTURE), by_name(2 * PICTURE)
    moved = by_name(PICTURE + 7)
    for name in STATISTICS:
        assert gained[name] == pytest.approx(2 * before[name])
        shift = 7 if name == "mean" or name.startswith("q") else 0
        assert moved[name] == pytest.approx(before[name] + shift)


def test_it_is_blind_to_where_things_are():
    turned = PICTURE[:, ::-1, ::-1]
    np.testing.assert_allclose(pixel_statistics(turned), pixel_statistics(PICTURE))


def test_channels_stand_beside_each_other():
    both = pixel_statistics(PICTURE)
    one, other = (pixel_statistics(PICTURE[c : c + 1]) for c in (0, 1))
    np.testing.assert_array_equal(both, np.concatenate([one, other]))


def test_a_volume_has_as_many():
    volume = RNG.normal(size=(1, 5, 20, 20))
    assert pixel_statistics(volume).shape == (len(STATISTICS),)
    slope = np.broadcast_to(np.arange(5.0)[:, None, None], (1, 5, 20, 20))
    assert by_name(slope)["gradient"] == 1  # along z


def test_a_channel_with_nan_is_missing_and_the_other_is_not():
    broken = PICTURE.copy()
    broken[0, 3, 3] = np.nan
    missing = np.isnan(pixel_statistics(broken)).reshape(2, -1)
    assert missing[0].all()
    assert not missing[1].any()
