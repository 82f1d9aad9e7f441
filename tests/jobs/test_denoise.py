"""A channel is written without its noise, whole, and says so."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_virtualstain.api import denoise
from napari_virtualstain.denoising.package import read_denoiser_card
from napari_virtualstain.errors import (
    ChannelError,
    OutputExistsError,
    PixelDataError,
    ReplayError,
    RunCancelled,
    SettingsError,
)
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import denoise as job
from napari_virtualstain.jobs import replay
from napari_virtualstain.jobs.denoise import DenoiseSettings
from napari_virtualstain.jobs.replay import ReplaySettings

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


TAUGHT = {"channel": "DNA", "preset": "tiny", "steps": 6, "batch": 2, "patch": 16, "tile": 32}


def write(path, pixels):
    """An OME-TIFF of one channel, (T, Z, Y, X)."""
    tifffile.imwrite(
        path, np.asarray(pixels, np.float32), ome=True,
        metadata={
            "axes": "TZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0,
            "Channel": {"Name": "DNA"},
        },
    )  # fmt: skip
    return str(path)


@pytest.fixture
def stack(tmp_path):
    """Two time points of three planes, each brighter than the last."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 5, (2, 3, 64, 48)) + 100 * np.arange(1, 7).reshape(2, 3, 1, 1)
    return write(tmp_path / "stack.ome.tif", pixels)


def denoised(stack, out, *, stop_at=None, **changed):
    """Run the job; stop where it asks for the n-th time whether to."""
    asked = iter(range(1000))

    def should_stop():
        return next(asked) + 1 == stop_at

    settings = DenoiseSettings(input=stack, out=str(out), **{**TAUGHT, **changed})
    return job.run(settings, should_stop=should_stop)


def pixels_of(path):
    return open_image(path).data.compute()


def test_all_planes_of_a_stack_are_denoised_each_by_itself(stack, tmp_path):
    found = denoised(stack, tmp_path / "all.ome.zarr", keep_as=str(tmp_path / "kept"))
    image = open_image(found.out)
    assert image.shape == (2, 1, 3, 64, 48)
    assert (image.pixel_size_um.z, image.pixel_size_um.x) == (2.0, 0.5)
    noisy = open_image(stack).data.compute()
    one = write(tmp_path / "one.ome.tif", noisy[1:, 0, 2:])
    alone = denoised(one, tmp_path / "one.ome.zarr", model=str(tmp_path / "kept"))
    np.testing.assert_array_equal(pixels_of(alone.out)[0, 0, 0], pixels_of(found.out)[1, 0, 2])


STOPS = {"its training": 3, "its tiles": 9}


@pytest.mark.parametrize("at", STOPS.values(), ids=STOPS)
def test_what_was_stopped_goes_on_and_ends_with_the_same_bits(at, stack, tmp_path):
    wanted = denoised(stack, tmp_path / "wanted.ome.zarr", keep_as=str(tmp_path / "wanted"))
    out, kept = tmp_path / "o.ome.zarr", str(tmp_path / "kept")
    with pytest.raises(RunCancelled, match="--resume"):
        denoised(stack, out, stop_at=at, keep_as=kept)
    if at > TAUGHT["steps"]:
        assert read_record(out)["status"] == "partial"
        assert 0 < read_record(out)["tiles_done"] < read_record(out)["tiles_total"]
    else:
        assert not out.exists()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        denoised(stack, out)
    found = denoised(stack, out, resume=True, keep_as=kept)
    assert read_record(out)["status"] == "complete"
    np.testing.assert_array_equal(pixels_of(out), pixels_of(wanted.out))
    assert found.steps == TAUGHT["steps"]
    again = denoised(stack, out, resume=True, keep_as=kept)
    assert any("complete already" in note for note in again.notes)
    assert not list(tmp_path.glob("*.training"))


OTHERWISE = {
    "another tile": ({"tile": 16}, "another --tile"),
    "another denoiser": ({"model": "other"}, "another denoiser"),
    "another seed": ({"seed": 1, "keep_as": "kept"}, "taught with other settings"),
    "both": ({"overwrite": True}, "not both"),
}


@pytest.mark.parametrize(("changed", "words"), OTHERWISE.values(), ids=OTHERWISE)
def test_a_store_is_not_gone_on_with_otherwise(changed, words, stack, tmp_path):
    out = tmp_path / "o.ome.zarr"
    with pytest.raises(RunCancelled):
        denoised(stack, out, stop_at=9, keep_as=str(tmp_path / "kept"))
    if "model" in changed:
        denoised(stack, tmp_path / "x.ome.zarr", seed=1, keep_as=str(tmp_path / "other"))
    given = {"model": None, "keep_as": None} | changed
    paths = {k: v and str(tmp_path / v) for k, v in given.items() if k in {"model", "keep_as"}}
    if "tile" in changed:
        paths["model"] = str(tmp_path / "kept")
    with pytest.raises(SettingsError, match=words):
        denoised(stack, out, resume=True, **{**changed, **paths})


def test_a_network_learns_from_the_images_that_are_named(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "plate"
    folder.mkdir()
    levels = {"a": 100, "b1": 200, "b2": 300}
    for name, level in levels.items():
        write(folder / f"{name}.ome.tif", rng.normal(level, 5, (1, 1, 32, 32)))
    scenes = [s.name for s in list_scenes(folder)]
    mine = next(s for s in scenes if s.startswith("a"))
    options = {"scene": mine, "keep_as": str(tmp_path / "kept")}
    denoised(str(folder), tmp_path / "o.ome.zarr", learn_from="b*", **options)
    card = read_denoiser_card(tmp_path / "kept")
    assert card.normalisation.offset == pytest.approx(250, abs=2)
    assert (card.training.n_fields, card.training.data) == (2, "plate (b*)")
    assert pixels_of(tmp_path / "o.ome.zarr").shape == (1, 1, 1, 32, 32)
    with pytest.raises(SettingsError, match=r"named like 'z\*'.*--learn-from"):
        denoised(str(folder), tmp_path / "p.ome.zarr", learn_from="z*", scene=mine)


def test_a_preview_shows_noisy_denoised_and_what_was_taken_away(tmp_path):
    place, file = tmp_path / "p.png", write(tmp_path / "f.ome.tif", toy((64, 64))[1][None, None])
    options = {"steps": 80, "batch": 4, "learning_rate": 5e-3}
    denoised(file, tmp_path / "o.ome.zarr", preview=str(place), **options)
    with Image.open(place) as picture:
        grey = np.asarray(picture.convert("L"), float)
    assert grey.shape == (64, 3 * 64 + 2 * 4)
    above = slice(0, 40)  # of the scale bar
    shown = [grey[above, start : start + 64] for start in (0, 68, 136)]
    noisy, clean = (pixels_of(path)[0, 0, 0, above] for path in (file, tmp_path / "o.ome.zarr"))
    for picture, pixels in zip(shown, (noisy, clean, noisy - clean), strict=True):
        assert np.corrcoef(picture.ravel(), pixels.ravel())[0, 1] > 0.98
    with pytest.raises(OutputExistsError, match="--preview"):
        denoised(file, tmp_path / "q.ome.zarr", preview=str(place))
    assert not (tmp_path / "q.ome.zarr").exists()


def repeated(store, **changed):
    return replay.run(ReplaySettings(record=str(store), **changed))


KEPT = {"kept nowhere": {}, "kept": {"keep_as": "kept"}, "given": {"model": "given"}}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_a_denoising_is_repeated_bit_for_bit(kept, stack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "model" in kept:
        denoised(stack, tmp_path / "x.ome.zarr", keep_as="given")
    out = denoised("stack.ome.tif", tmp_path / "o.ome.zarr", **kept).out
    before = sorted(p.name for p in tmp_path.iterdir())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = repeated(out)
    assert (found.likeness.equal, found.notes, found.problem) == (True, (), None)
    after = sorted(p.name for p in tmp_path.iterdir())
    assert after == sorted([*before, "elsewhere", "o-replay.ome.zarr"])


def test_a_denoiser_that_is_gone_is_taught_again_and_another_one_is_not_taken(stack, tmp_path):
    kept, out = tmp_path / "kept", tmp_path / "o.ome.zarr"
    denoised(stack, out, keep_as=str(kept))
    denoised(stack, tmp_path / "given.ome.zarr", model=str(kept))
    shutil.rmtree(kept)
    assert repeated(out).likeness.equal
    denoised(stack, tmp_path / "x.ome.zarr", keep_as=str(kept), seed=5)
    assert repeated(out, overwrite=True).likeness.equal
    with pytest.raises(ReplayError, match="fingerprint is another. Put the denoiser of the run b"):
        repeated(tmp_path / "given.ome.zarr")


def test_a_denoiser_taught_otherwise_is_said_and_fails(stack, tmp_path):
    out = denoised(stack, tmp_path / "o.ome.zarr").out
    path = out / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["napari_virtualstain"]["record"]["settings"]["seed"] = 9
    path.write_text(json.dumps(content))
    found = repeated(out)
    assert "gave other weights" in found.notes[0]
    assert found.problem is not None
    assert "has other numbers" in found.problem


def test_an_array_that_was_denoised_is_not_repeated(tmp_path):
    denoise(toy((64, 64))[1], out=tmp_path / "o.ome.zarr", steps=2, **QUICK)
    with pytest.raises(ReplayError, match="an array in memory.*and denoise that file"):
        repeated(tmp_path / "o.ome.zarr")
