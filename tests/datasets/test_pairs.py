"""Fields are normalised by their own numbers, stains by those of the set."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_virtualstain.datasets.pairs import PairedField, gather_statistics, pair_up
from napari_virtualstain.errors import ChannelError, PixelDataError
from napari_virtualstain.intensity import Rule


def field(seed, gain=1.0):
    rng = np.random.default_rng(seed)
    return PairedField(
        f"field {seed}",
        rng.normal(100, 10 * gain, (2, 30, 20)),
        rng.normal(50, 5, (1, 30, 20)) * gain,
    )


def together(*fields):
    return pair_up(fields, input_rule=Rule(), output_rule=Rule(), stain_names=("DNA",))


def test_each_plane_of_each_field_has_mean_zero_and_sd_one():
    pairs = together(field(0), field(1, gain=3))
    for index in (0, 1):
        planes, _ = pairs.read(index, (slice(None), slice(None)))
        np.testing.assert_allclose(planes.mean(axis=(1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(planes.std(axis=(1, 2)), 1, atol=1e-5)


def test_a_brighter_field_keeps_a_brighter_stain():
    pairs = together(field(0), field(1, gain=3))
    means = [pairs.read(i, (slice(None), slice(None)))[1].mean() for i in (0, 1)]
    assert means[1] > means[0] + 1


def test_a_patch_has_the_numbers_of_its_field_not_its_own():
    pairs = together(field(0))
    whole, _ = pairs.read(0, (slice(None), slice(None)))
    part, _ = pairs.read(0, (slice(3, 9), slice(5, 9)))
    np.testing.assert_array_equal(part, whole[:, 3:9, 5:9])


def test_lazy_fields_are_read_by_slices():
    plain = field(0)
    lazy = PairedField("lazy", da.from_array(plain.planes), da.from_array(plain.stains))
    np.testing.assert_array_equal(
        together(plain).read(0, (slice(2, 9), slice(1, 5)))[0],
        together(lazy).read(0, (slice(2, 9), slice(1, 5)))[0],
    )


def test_statistics_of_a_set_are_those_of_all_its_pixels():
    images = [field(s, gain=s + 1).stains for s in range(3)]
    found = gather_statistics(images)[0]
    pixels = np.concatenate([image.ravel() for image in images])
    assert found.mean == pytest.approx(pixels.mean())
    assert found.std == pytest.approx(pixels.std())


def test_fields_of_two_sizes_are_no_pair():
    with pytest.raises(PixelDataError, match="Crop or resample one of them"):
        PairedField("x", np.zeros((1, 4, 5)), np.zeros((1, 4, 6)))


def test_fields_with_other_channels_are_refused():
    with pytest.raises(ChannelError, match="Give every field the same channels"):
        gather_statistics([np.zeros((1, 4, 5)), np.zeros((2, 4, 5))])


def test_a_constant_stain_is_refused_by_name():
    flat = PairedField("x", field(0).planes, np.ones((1, 30, 20)))
    with pytest.raises(PixelDataError, match="Stain 'DNA' is constant"):
        together(flat)
