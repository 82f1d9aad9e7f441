import numpy as np
import pytest
from scipy import linalg

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.metrics import frechet
from napari_virtualstain.metrics.frechet import (
    frechet_distance,
    kernel_distance,
    texture_features,
)

RNG = np.random.default_rng(3)


def twin(one, other):
    """By the matrix square root of the product, as it is printed."""
    s1, s2 = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = linalg.sqrtm(s1 @ s2)
    return ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * np.real(root))


def test_a_set_is_at_no_distance_from_itself():
    features = RNG.normal(size=(40, 5))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)


def test_shifted_sets_are_the_square_of_the_shift_apart():
    features = RNG.normal(size=(40, 3))
    assert frechet_distance(features, features + np.array([3, 0, 4])) == pytest.approx(25, rel=1e-6)


def test_the_distance_is_that_of_the_printed_formula():
    one = RNG.normal(size=(60, 4)) @ RNG.normal(size=(4, 4))
    other = RNG.normal(size=(50, 4)) @ RNG.normal(size=(4, 4)) + 1
    assert frechet_distance(one, other) == pytest.approx(twin(one, other), rel=1e-6)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-6)


def test_fewer_pictures_than_features_still_give_a_distance():
    one, other = RNG.normal(size=(3, 15)), RNG.normal(size=(4, 15))
    assert np.isfinite(frechet_distance(one, other))


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize("shapes", [((1, 4), (9, 4)), ((9, 4), (9, 5))], ids=["one", "others"])
def test_sets_that_cannot_be_compared_are_refused(shapes, distance):
    with pytest.raises(PixelDataError, match="at least two pictures"):
        distance(*(np.zeros(shape) for shape in shapes))


def kernel_twin(one, other):
    """Pair by pair, as it is printed."""

    def mean(a, b, same=False):
        pairs = [(x @ y / len(x) + 1) ** 3 for i, x in enumerate(a) for j, y in enumerate(b)
                 if not (same and i == j)]  # fmt: skip
        return np.mean(pairs)

    return mean(one, one, True) + mean(other, other, True) - 2 * mean(one, other)


@pytest.mark.parametrize("rows", [3, 7, 256])
def test_the_kernel_distance_is_that_of_the_printed_formula(monkeypatch, rows):
    monkeypatch.setattr(frechet, "_ROWS", rows)
    one, other = RNG.normal(size=(10, 4)), RNG.normal(size=(8, 4)) + 1
    assert kernel_distance(one, other) == pytest.approx(kernel_twin(one, other), rel=1e-9)
    assert kernel_distance(other, one) == pytest.approx(kernel_distance(one, other), rel=1e-9)


def test_few_pictures_move_the_frechet_distance_and_not_the_kernel_distance():
    """Sets of one kind: the first is larger the fewer there are, the second lies around 0."""
    found = [[], []]
    for _ in range(40):
        one, other = RNG.normal(size=(2, 20, 8))
        found[0].append(frechet_distance(one, other))
        found[1].append(kernel_distance(one, other))
    assert min(found[0]) > 1
    assert abs(np.mean(found[1])) < 3 * np.std(found[1]) / np.sqrt(40)
    assert min(found[1]) < 0 < max(found[1])


def test_blur_moves_textures_and_a_flip_does_not():
    crops = RNG.normal(size=(8, 32, 32))
    blurred = (crops + np.roll(crops, 1, 1) + np.roll(crops, 1, 2)) / 3
    sharp, flipped = texture_features(crops), texture_features(crops[:, ::-1])
    np.testing.assert_allclose(sharp, flipped)
    assert frechet_distance(sharp, texture_features(blurred)) > 1


def test_the_powers_of_all_rings_are_the_variance():
    crops = RNG.normal(size=(3, 20, 24))
    powers = np.exp(texture_features(crops)[:, -8:]).sum(axis=1)
    np.testing.assert_allclose(powers, crops.var(axis=(1, 2)), rtol=1e-6)
