"""Planes are corrected where they are read: to the bits of the whole plane, and lazily."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.light import corrected_planes
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.datasets.statistics import image_statistics
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.preprocessing.illumination_fit import fit_illumination

SHAPE = (2, 1, 3, 40, 52)
PIXELS = np.random.default_rng(0).integers(100, 60_000, SHAPE).astype(np.uint16)


def light(seed):
    rng = np.random.default_rng(seed)
    ramp = np.linspace(1, 1.1 + seed / 10, SHAPE[3])[:, None]
    return fit_illumination(rng.normal(1000, 10, SHAPE[3:]) * ramp for _ in range(10))


FUNCTIONS = [light(seed) for seed in range(3)]
TRUTH = np.stack(
    [np.stack([f.apply(PIXELS[t, 0, z]) for z, f in enumerate(FUNCTIONS)])[None] for t in range(2)]
)


def planes(chunks=(1, 1, 2, 16, 32), pixels=PIXELS):
    image = LazyImage(data=da.from_array(pixels, chunks=chunks), channels=(Channel("BF"),))
    return InputPlanes(image, (0, 1, 2))


@pytest.mark.parametrize("chunks", [(1, 1, 1, 40, 52), (2, 1, 3, 7, 9), (1, 1, 2, 16, 32)], ids=str)
def test_the_lazy_correction_is_that_of_the_whole_array(chunks):
    found = corrected_planes(planes(chunks), FUNCTIONS)
    assert found.image.data.chunks == planes(chunks).image.data.chunks
    assert found.image.dtype == np.float32
    np.testing.assert_array_equal(found.image.data.compute(), TRUTH)


def inside(length):
    return st.tuples(st.integers(0, length - 1), st.integers(1, length)).map(
        lambda pair: slice(pair[0], min(length, pair[0] + pair[1]))
    )


@given(st.integers(0, 1), inside(3), inside(40), inside(52))
def test_any_region_has_the_bits_of_the_whole(t, z, y, x):
    region = (slice(t, t + 1), slice(0, 1), z, y, x)
    found = corrected_planes(planes(), FUNCTIONS).image.read(region)
    np.testing.assert_array_equal(found, TRUTH[region])


def test_single_planes_and_steps_are_read_as_numpy_would():
    data = corrected_planes(planes(), FUNCTIONS).image.data
    for key in [(1, 0, 2), (slice(None), 0, -1, slice(3, 30, 4)), (0, 0, slice(None, None, 2), 5)]:
        np.testing.assert_array_equal(data[key].compute(), TRUTH[key])


def test_no_more_is_read_than_the_region_needs(monkeypatch):
    read = []
    original = LazyImage.read
    found = corrected_planes(planes(chunks=SHAPE), FUNCTIONS)
    monkeypatch.setattr(LazyImage, "read", lambda self, r: read.append(r) or original(self, r))
    found.read(1, (slice(2, 5), slice(1, 4)))
    assert [r[3:] for r in read] == [(slice(2, 5), slice(1, 4))]


def test_a_part_of_a_corrected_image_is_that_part():
    found = corrected_planes(planes(), FUNCTIONS).image
    part = found.select(z=[2]).crop(slice(3, 20), slice(5, 9))
    whole = tuple(slice(0, n) for n in part.shape)
    np.testing.assert_array_equal(part.read(whole), TRUTH[:, :, 2:, 3:20, 5:9])


def test_statistics_are_those_of_the_corrected_pixels():
    found = image_statistics(corrected_planes(planes(), FUNCTIONS).image)
    means = [[s.mean for s in rows[0]] for rows in found]
    np.testing.assert_allclose(means, TRUTH.mean(axis=(1, 3, 4), dtype=float), rtol=1e-6)


def test_another_light_is_another_array_and_the_same_light_the_same():
    first, again = (corrected_planes(planes(), FUNCTIONS).image.data.name for _ in range(2))
    other = corrected_planes(planes(), FUNCTIONS[::-1]).image.data.name
    assert first == again != other
    assert first != corrected_planes(planes(pixels=PIXELS + 1), FUNCTIONS).image.data.name


def test_every_plane_needs_a_function():
    with pytest.raises(SettingsError, match=r"^2 illumination functions for 3 planes\. Give one"):
        corrected_planes(planes(), FUNCTIONS[:2])
