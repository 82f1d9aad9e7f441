"""Is the noise that of a camera, and the shading of mean one?"""

import numpy as np
import pytest

from napari_virtualstain.simulate.camera import CAMERA_OFFSET, expose, shading


@pytest.mark.parametrize("electrons", [30.0, 1000.0])
def test_noise_is_shot_and_read_noise(electrons):
    light = np.full((200, 200), electrons, np.float32)
    image, expected = expose(
        light, counts_per_electron=4.0, noise=1.0, rng=np.random.default_rng(0)
    )
    np.testing.assert_allclose(expected, CAMERA_OFFSET + 4 * electrons)
    assert image.mean() == pytest.approx(expected.mean(), rel=0.01)
    assert image.std() == pytest.approx(4 * np.sqrt(electrons + 2.5**2), rel=0.03)


def test_a_camera_saturates_instead_of_wrapping_round():
    image, _ = expose(
        np.full((4, 4), 1e6, np.float32),
        counts_per_electron=1.0,
        noise=1.0,
        rng=np.random.default_rng(0),
    )
    assert (image == 65535).all()


@pytest.mark.parametrize("amplitude", [0.0, 0.2])
def test_shading_has_mean_one_and_the_amplitude_asked_for(amplitude):
    light = shading((60, 81), amplitude=amplitude, rng=np.random.default_rng(3))
    assert light.mean() == pytest.approx(1.0, abs=1e-5)
    assert np.abs(light - 1).max() == pytest.approx(amplitude, abs=0.02)
