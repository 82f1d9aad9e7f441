"""A channel is written without its noise, whole, and says so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_virtualstain.api import denoise
from napari_virtualstain.errors import (
    ChannelError,
    OutputExistsError,
    PixelDataError,
    SettingsError,
)
from napari_virtualstain.io.open import open_image

QUICK = {"channel": "channel 0", "preset": "tiny", "learning_rate": 5e-3, "axes": "yx"}


def toy(shape=(128, 128), sigma=3):
    rng = np.random.default_rng(0)
    clean = gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    clean /= clean.std()
    return clean, (clean + rng.normal(0, 0.5, shape)).astype(np.float32)


def test_the_noise_of_a_toy_falls_below_its_target(tmp_path):
    clean, noisy = toy()
    noisy[5:9, 7:20] = np.nan
    options = {**QUICK, "steps": 150}
    found = denoise(
        noisy, out=tmp_path / "a.ome.zarr", keep_as=str(tmp_path / "k"),
        preview=str(tmp_path / "p.png"), **options,
    )  # fmt: skip
    pixels = found.data.compute()[0, 0, 0]
    np.testing.assert_array_equal(np.isnan(pixels), np.isnan(noisy))
    assert found.channel_names == ("channel 0 (denoised)",)
    assert np.nanmean((noisy - clean) ** 2) == pytest.approx(0.25, abs=0.01)
    assert np.nanmean((pixels - clean) ** 2) < 0.045
    assert {p.name for p in tmp_path.iterdir()} == {"a.ome.zarr", "k", "p.png"}
    tiled = denoise(
        noisy, channel="channel 0", axes="yx", out=tmp_path / "b.ome.zarr", tile=32,
        model=str(tmp_path / "k"),
    )  # fmt: skip
    np.testing.assert_allclose(tiled.data.compute()[0, 0, 0], pixels, atol=1e-5)
    with pytest.raises(OutputExistsError, match="overwrite"):
        denoise(noisy, out=tmp_path / "a.ome.zarr", **options)


BAD = {
    "no such channel": (ChannelError, {"channel": "DNA"}, np.eye(64)),
    "constant": (PixelDataError, {}, np.ones((64, 64))),
    "smaller than a patch": (SettingsError, {}, np.eye(32)),
    "no model": (Exception, {"model": "nowhere"}, np.eye(64)),
}


@pytest.mark.parametrize(("kind", "options", "pixels"), BAD.values(), ids=BAD)
def test_what_cannot_be_denoised_is_refused(tmp_path, kind, options, pixels):
    with pytest.raises(kind):
        denoise(pixels, out=tmp_path / "o.ome.zarr", **{**QUICK, "steps": 2, **options})
    assert not (tmp_path / "o.ome.zarr").exists()


def test_the_same_seed_gives_the_same_bits(tmp_path):
    _, noisy = toy((64, 64))
    found = [
        denoise(noisy, out=tmp_path / f"{n}.ome.zarr", steps=5, **QUICK).data.compute()
        for n in range(2)
    ]
    np.testing.assert_array_equal(*found)
    assert open_image(tmp_path / "0.ome.zarr").shape == (1, 1, 1, 64, 64)
