"""By how many pixels two pictures are shifted: simulated shifts, null pairs, real pairs."""

import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.preprocessing.registration import Shift, apply_shift, estimate_shift
from napari_virtualstain.simulate import FieldSettings, simulate_field


def scene(shape=(160, 192), seed=0, border=24):
    """Blobs on a wider stage, so that what moves in from outside is true."""
    rng = np.random.default_rng(seed)
    wide = np.zeros((shape[0] + 2 * border, shape[1] + 2 * border))
    for y, x in rng.integers(0, wide.shape, (90, 2)):
        wide[y, x] += rng.uniform(200, 2000)
    return ndimage.gaussian_filter(wide, 2.0) * 10 + 100, border


def moved_pair(dy, dx, *, noise=1.0, seed=0):
    """A plane, and the same scene of which `estimate_shift` should say (dy, dx)."""
    wide, b = scene(seed=seed)
    rng = np.random.default_rng(seed + 1)
    other = ndimage.shift(wide, (-dy, -dx), order=5, mode="reflect")
    return tuple(p[b:-b, b:-b] + rng.normal(0, noise, (160, 192)) for p in (wide, other))


SHIFTS = [(0, 0), (3, -2), (0.5, 0.5), (-2.25, 1.7), (-7.4, 11.3), (0.13, -0.37)]


@pytest.mark.parametrize("shift", SHIFTS, ids=str)
@pytest.mark.parametrize("seed", [0, 5])
def test_a_subpixel_shift_is_found_within_a_tenth_of_a_pixel(shift, seed):
    found = estimate_shift(*moved_pair(*shift, seed=seed))
    assert (found.dy, found.dx) == pytest.approx(shift, abs=0.1)
    assert found.uncertainty_px < 0.3
    assert found.confidence > 0.6


def test_the_sign_is_that_of_scikit_image():
    fixed, moving = moved_pair(3.4, -5.8)
    theirs = phase_cross_correlation(fixed, moving, upsample_factor=20, normalization=None)[0]
    found = estimate_shift(fixed, moving)
    assert (found.dy, found.dx) == pytest.approx(tuple(theirs), abs=0.1)


def test_applying_what_was_found_brings_the_pictures_together():
    fixed, moving = moved_pair(2.6, -4.3, noise=0)
    found = estimate_shift(fixed, moving)
    assert found.verdict == "shifted"
    after = apply_shift(moving, found)
    left = np.nanstd(after - fixed) / np.std(fixed)
    assert left < 0.03 < np.std(moving - fixed) / np.std(fixed)
    again = estimate_shift(fixed, after)
    assert again.distance_px < 0.1
    assert again.verdict == "aligned"


def test_an_inverted_picture_with_other_light_has_the_same_shift():
    fixed, moving = moved_pair(1.5, 3.0)
    found = estimate_shift(fixed, 5000 - 0.3 * moving)
    assert (found.dy, found.dx) == pytest.approx((1.5, 3.0), abs=0.1)


@pytest.mark.parametrize("truth", [(0.0, 0.0), (2.5, -3.0)], ids=["in place", "shifted"])
def test_bright_field_and_stain_are_compared(truth):
    settings = FieldSettings(shape_px=(256, 256), focus_offsets_um=(0.0,), density_per_mm2=900)
    field = simulate_field(settings, seed=7)
    moved = ndimage.shift(
        np.squeeze(field.brightfield).astype(float), (-truth[0], -truth[1]), order=3, mode="reflect"
    )
    found = estimate_shift(field.stains[0, 3], moved)  # AGP, the outline of cells
    assert np.hypot(found.dy - truth[0], found.dx - truth[1]) < 1
    assert found.verdict == ("shifted" if any(truth) else "aligned")


def noise(seed):
    return np.random.default_rng(seed).normal(100, 5, (160, 192))


NULLS = {
    "noise": (lambda k: noise(k), lambda k: noise(k + 100)),
    "other fields": (
        lambda k: moved_pair(0, 0, seed=k)[0],
        lambda k: moved_pair(0, 0, seed=k + 50)[0],
    ),
    "nothing in one": (lambda k: moved_pair(0, 0, seed=k)[0], lambda k: noise(k)),
}


@pytest.mark.parametrize(("first", "second"), NULLS.values(), ids=NULLS)
def test_pictures_that_share_nothing_are_ambiguous(first, second):
    found = [estimate_shift(first(k), second(k)) for k in range(8)]
    assert {shift.verdict for shift in found} == {"ambiguous"}
    assert max(shift.confidence for shift in found) < 0.15
    assert all(shift.notes for shift in found)


@pytest.mark.parametrize(
    "empty",
    [np.zeros((64, 64)), np.full((64, 64), 1e9), np.full((64, 64), np.nan)],
    ids=["zero", "constant", "NaN"],
)
def test_an_empty_picture_tells_nothing(empty):
    found = estimate_shift(noise(0)[:64, :64], empty)
    assert (found.dy, found.dx, found.confidence, found.verdict) == (0, 0, 0, "ambiguous")
    assert found.notes == ("One of the pictures is empty, so that nothing can be compared.",)


def test_a_repeating_pattern_is_not_believed():
    x = np.indices((160, 192))[1]
    stripes = 100 + 50 * np.sin(x / 1.5)
    found = estimate_shift(stripes + noise(1), stripes + noise(2))
    assert found.verdict == "ambiguous"


def test_a_shift_beyond_the_limit_is_not_believed():
    found = estimate_shift(*moved_pair(15.0, 0.0), max_shift_px=10)
    assert found.verdict == "ambiguous"


def test_missing_pixels_take_no_part():
    fixed, moving = moved_pair(2.0, -3.0)
    fixed[:40, :60] = np.nan
    moving[100:, 150:] = np.nan
    found = estimate_shift(fixed, moving)
    assert (found.dy, found.dx) == pytest.approx((2.0, -3.0), abs=0.1)


def test_the_verdict_minds_the_uncertainty_and_micrometres_the_pixel_size():
    def shift(dy, dx, uncertainty, confidence=0.9):
        return Shift(dy, dx, uncertainty, confidence, 0.9, 1.5)

    assert shift(3, 4, 0.1).distance_um((0.5, 0.25)) == pytest.approx(np.hypot(1.5, 1))
    assert shift(3, 0, 0.1).verdict == "shifted"
    assert shift(3, 0, 1.0).verdict == "aligned"
    assert shift(1, 0, 0.0).verdict == "aligned"
    assert shift(3, 0, 0.1, 0.2).verdict == "ambiguous"


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_whole_pixels_are_copied_and_the_rim_is_missing(dy, dx):
    plane = np.random.default_rng(0).integers(0, 65536, (2, 12, 14)).astype(np.uint16)
    moved = apply_shift(plane, (dy, dx))
    twin = np.full(plane.shape, np.nan, np.float32)
    for y in range(12):
        for x in range(14):
            if 0 <= y - dy < 12 and 0 <= x - dx < 14:
                twin[:, y, x] = plane[:, y - dy, x - dx]
    np.testing.assert_array_equal(moved, twin)
    assert moved.dtype == np.float32


def test_between_pixels_a_smooth_picture_is_met_and_the_rim_is_missing():
    y, x = np.mgrid[:40, :50].astype(float)

    def picture(y, x):
        return 100 + 20 * np.sin(y / 4) + 10 * np.cos(x / 5)

    moved = apply_shift(picture(y, x), (1.3, -2.6))
    known = np.isfinite(moved)
    assert np.abs(moved - picture(y - 1.3, x + 2.6))[known].max() < 0.05
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (3, 39, 0, 45)
    assert known[3:40, :46].all()


def test_a_missing_pixel_stays_near_where_it_is():
    plane = np.ones((20, 20))
    plane[10, 10] = np.nan
    assert np.isnan(apply_shift(plane, (0.5, 0))[3:19, :]).sum() == 4


BAD = {
    "shapes": (
        lambda: estimate_shift(np.ones((40, 40)), np.ones((40, 41))),
        PixelDataError,
        "A shift is found between two planes of one shape, got (40, 40) and (40, 41).",
    ),
    "stack": (
        lambda: estimate_shift(np.ones((2, 40, 40)), np.ones((2, 40, 40))),
        PixelDataError,
        "A shift is found between two planes",
    ),
    "small": (
        lambda: estimate_shift(np.ones((8, 40)), np.ones((8, 40))),
        PixelDataError,
        "A plane of 8 x 40 px is too small",
    ),
    "reach": (
        lambda: estimate_shift(np.ones((40, 40)), np.ones((40, 40)), max_shift_px=0),
        SettingsError,
        "max_shift_px must be 1 or more",
    ),
    "NaN": (
        lambda: apply_shift(np.ones((4, 4)), (float("nan"), 0)),
        SettingsError,
        "A shift must be two numbers of pixels",
    ),
}


@pytest.mark.parametrize(("call", "kind", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence(call, kind, sentence):
    with pytest.raises(kind, match="^" + re.escape(sentence)):
        call()


@pytest.mark.realdata
@pytest.mark.parametrize("t", [1, 5])
def test_the_third_channel_of_the_yeast_is_shifted_and_the_second_is_not(realdata, t):
    from tifffile import imread

    folder = realdata / "yeast_timelapse" / "SL_180519_2_GR"
    bright, mito, gfp = (imread(folder / f"t{t}xy0401c{c}.tif") for c in (1, 2, 3))
    assert estimate_shift(bright, mito).verdict == "aligned"
    for fixed in (bright, mito):
        found = estimate_shift(fixed, gfp)
        assert found.verdict == "shifted"
        assert 2 < found.distance_px < 4


@pytest.mark.realdata
def test_bacteria_are_aligned_wherever_there_are_enough_of_them(realdata):
    from tifffile import imread

    bright, stain = (
        imread(realdata / f"ecoli_bf/02/{kind}_stack.tif")
        for kind in ("brightfield", "fluorescence")
    )
    verdicts = [estimate_shift(f, m).verdict for f, m in zip(bright, stain, strict=True)]
    assert verdicts.count("aligned") >= 16
    assert "shifted" not in verdicts
    others = [estimate_shift(bright[0], m).verdict for m in stain[1:7]]
    assert set(others) == {"ambiguous"}


@pytest.mark.realdata
def test_neurons_are_never_called_shifted(realdata):
    from skimage.io import imread

    folder = realdata / "isl_neurons"
    phase = imread(next(folder.glob("*z_depth-9,channel-PHASE*")))
    for stain in ("DAPI", "MAP2", "NFH"):
        fluorescence = imread(next(folder.glob(f"*channel-{stain}*")))
        fluorescence = fluorescence if fluorescence.ndim == 2 else fluorescence[..., 0]
        assert estimate_shift(phase, fluorescence).verdict != "shifted"


@pytest.mark.realdata
def test_fission_yeast_out_of_focus_is_ambiguous(realdata):
    content = (realdata / "formats/nd2/nikon_fissionyeast_TL_488_561.nd2").read_bytes()
    # The one image chunk of the file: header, name, eight bytes of time, then y, x, channel.
    start = content.index(b"ImageDataSeq|0!") - 16
    magic, name, length = struct.unpack("<IIQ", content[start : start + 16])
    assert magic == 0x0ABECEDA
    data = content[start + 16 + name + 8 : start + 16 + name + length]
    pixels = np.frombuffer(data, "<u2").reshape(2044, 2048, 3)
    for channel in (0, 1):
        assert estimate_shift(pixels[..., 2], pixels[..., channel]).verdict == "ambiguous"
