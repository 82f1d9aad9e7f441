"""How unevenly a channel is lit: fitted, applied, kept."""

import json
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.errors import (
    DiskError,
    ImageFileError,
    MissingInputError,
    PixelDataError,
    SettingsError,
)
from napari_virtualstain.preprocessing.illumination import (
    IlluminationFunction,
    IlluminationSettings,
    load_illumination,
)
from napari_virtualstain.preprocessing.illumination_fit import (
    IlluminationAccumulator,
    fit_illumination,
)
from napari_virtualstain.simulate.camera import shading

SHAPE = (96, 128)


def light_of(shape=SHAPE, *, amplitude=0.2, seed=3):
    light = shading(shape, amplitude=amplitude, rng=np.random.default_rng(seed))
    return light / np.median(light)


def fields(n, *, shape=SHAPE, light=None, dark=100.0, seed=0):
    """Grainy fields with bright spots at random places, under one light."""
    rng = np.random.default_rng(seed)
    light = light_of(shape) if light is None else light
    for _ in range(n):
        scene = rng.normal(1000, 30, shape)
        for y, x in rng.integers(0, shape, (6, 2)):
            scene[y : y + 6, x : x + 6] += 800
        yield np.rint(dark + scene * light).astype(np.uint16)


@pytest.fixture(scope="module")
def function():
    return fit_illumination(fields(12), IlluminationSettings(dark=100.0))


@pytest.mark.parametrize(
    ("shape", "size", "radius"),
    [((998, 998), 249, 106), ((1024, 1280), 320, 136), ((512, 512), 128, 54)],
    ids=["JUMP", "BBBC021", "half"],
)
def test_the_filter_of_the_papers_is_a_quarter_of_the_longer_side(shape, size, radius):
    settings = IlluminationSettings()
    assert (settings.filter_for(shape), settings.sigma_for(shape)) == (size, radius)


@pytest.mark.parametrize("smoothing", ["median", "gaussian"])
def test_the_light_is_found(smoothing):
    settings = IlluminationSettings(smoothing=smoothing, dark=100.0)
    found = fit_illumination(fields(12), settings)
    error = found.values() / light_of()
    error /= np.median(error)
    # The filter flattens the very corners; inside it is exact.
    assert np.std(error) < 0.025
    assert np.abs(error[16:-16, 16:-16] - 1).max() < 0.04
    assert found.fields == 12
    assert found.notes == ()


def test_corrected_fields_are_flat(function):
    corrected = np.mean([function.apply(field) for field in fields(12, seed=9)], axis=0)
    before = np.mean(list(fields(12, seed=9)), axis=0)

    def spread(plane):
        blocks = plane[:96, :128].reshape(6, 16, 8, 16).mean(axis=(1, 3))
        return np.ptp(blocks[1:-1, 1:-1]) / blocks.mean()

    assert spread(corrected) < 0.3 * spread(before)
    assert np.median(corrected) == pytest.approx(np.median(before), rel=0.02)


def test_fields_are_forgotten_once_they_are_added():
    gather = IlluminationAccumulator()
    field = next(fields(1, shape=(400, 400), light=1.0))
    gather.add(field)
    tracemalloc.start()
    for _ in range(20):
        gather.add(field)
    kept, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < field.nbytes


def test_the_mean_is_that_of_numpy_whatever_is_missing():
    rng = np.random.default_rng(0)
    stack = rng.normal(100, 10, (5, 20, 30))
    stack[rng.random(stack.shape) < 0.3] = np.nan
    mask = rng.random((20, 30)) < 0.8
    mask[3, 4] = False
    gather = IlluminationAccumulator()
    for field in stack:
        gather.add(field, mask)
    stack[:, ~mask] = np.nan
    gone = np.isnan(stack).all(axis=0)
    assert gone[3, 4]
    np.testing.assert_allclose(gather.mean()[~gone], np.nanmean(stack[:, ~gone], axis=0))
    assert np.isnan(gather.mean()[gone]).all()


@given(st.integers(0, 95), st.integers(0, 127), st.integers(1, 96), st.integers(1, 128))
def test_a_region_has_the_bits_of_the_whole_plane(function, top, left, height, width):
    field = next(fields(1, seed=5))
    region = (slice(top, min(96, top + height)), slice(left, min(128, left + width)))
    part = function.apply(field[region], region)
    np.testing.assert_array_equal(part, function.apply(field)[region])
    assert part.dtype == np.float32


def test_planes_of_a_stack_are_corrected_alike_and_nan_stays(function):
    stack = np.stack(list(fields(3))).astype(np.float32)
    stack[1, 5, 6] = np.nan
    corrected = function.apply(stack)
    np.testing.assert_array_equal(corrected[2], function.apply(stack[2]))
    assert np.isnan(corrected[1, 5, 6])
    assert np.isnan(corrected).sum() == 1


def test_the_level_of_cellprofiler_makes_nothing_brighter_and_differs_by_a_factor():
    usual, minimum = (
        fit_illumination(fields(12), IlluminationSettings(level=level)).values()
        for level in ("median", "minimum")
    )
    assert minimum.min() == pytest.approx(1, abs=0.01)
    ratio = (minimum / usual)[minimum > 1.05]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)


def test_unevenness_is_the_range_in_percent():
    flat = fit_illumination(fields(10, light=np.ones(SHAPE)))
    assert flat.unevenness_percent < 2
    light = light_of()
    found = fit_illumination(fields(10), IlluminationSettings(dark=100.0)).unevenness_percent
    # Smoothing takes the tips of the corners.
    assert 0.7 * 100 * np.ptp(light) < found < 1.02 * 100 * np.ptp(light)


def test_few_fields_and_fields_without_a_picture_are_notes():
    gather = IlluminationAccumulator()
    for field in fields(2):
        assert gather.add(field)
    assert not gather.add(np.zeros(SHAPE, np.uint16))
    assert not gather.add(np.full(SHAPE, np.nan))
    found = gather.result()
    assert (found.fields, found.left_out) == (2, 2)
    assert found.notes == (
        "Fitted on 2 fields only: cells may have left their traces. Use 10 or more fields of the plate.",
        "2 of 4 fields had no picture (all pixels alike or missing) and were left out.",
    )


def test_halves_that_disagree_are_a_note():
    sparse = []
    for seed in range(12):
        field = np.full(SHAPE, 10.0) + np.random.default_rng(seed).random(SHAPE)
        top = 48 * (seed % 2)  # every other field has its cells in the other half
        field[top : top + 48] += 500
        sparse.append(field)
    found = fit_illumination(sparse)
    assert found.uncertainty_percent > 20
    assert found.notes[0].startswith("Halves of the fields disagree: the function is sure to")
    assert fit_illumination(fields(12)).uncertainty_percent < 2
    assert fit_illumination(fields(1)).uncertainty_percent is None


def test_where_no_field_has_pixels_the_function_goes_on():
    gather = IlluminationAccumulator()
    mask = np.ones(SHAPE, bool)
    mask[:, 64:] = False
    for field in fields(10):
        gather.add(field, mask)
    found = gather.result()
    assert np.isfinite(found.values()).all()
    assert found.notes[0].startswith("No field has pixels in 39 %")


BAD_FIELDS = [
    (np.zeros((2, 96, 128)), "A field must be one plane (Y, X), got shape (2, 96, 128)."),
    (np.zeros((96, 0)), "A field must be one plane (Y, X), got shape (96, 0)."),
    (np.zeros((96, 96)), "The fields before were 96 x 128 px, this field is 96 x 96."),
]


@pytest.mark.parametrize(("field", "sentence"), BAD_FIELDS, ids=["stack", "nothing", "other size"])
def test_fields_that_do_not_fit_are_refused(field, sentence):
    gather = IlluminationAccumulator()
    gather.add(next(fields(1)))
    with pytest.raises(PixelDataError) as said:
        gather.add(field)
    assert str(said.value).startswith(sentence)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(PixelDataError, match=r"^The mask is 3 x 4 px, this field is 96 x 128\. "):
        IlluminationAccumulator().add(next(fields(1)), np.ones((3, 4), bool))


@pytest.mark.parametrize(
    ("given_fields", "dark", "sentence"),
    [
        ([], 0.0, "No illumination function can be fitted: no field was given."),
        ([np.zeros(SHAPE)] * 3, 0.0, "No illumination function can be fitted: all 3 fields are"),
        (list(fields(2)), 5000.0, "No illumination function can be fitted: half of the field is"),
    ],
    ids=["none", "dark", "all below the dark value"],
)
def test_nothing_to_fit_is_one_sentence(given_fields, dark, sentence):
    with pytest.raises(PixelDataError) as said:
        fit_illumination(given_fields, IlluminationSettings(dark=dark))
    assert str(said.value).startswith(sentence)


def test_pixels_of_another_size_or_place_are_refused(function):
    with pytest.raises(
        SettingsError, match=r"cannot correct pixels of shape \(5, 5\): the fields of"
    ):
        function.apply(np.zeros((5, 5)))
    with pytest.raises(SettingsError, match=r"this region is 2 x 3 px"):
        function.apply(np.zeros((5, 5)), (slice(0, 2), slice(0, 3)))
    with pytest.raises(SettingsError, match=r"is not inside a plane of 96 x 128 px"):
        function.values((slice(0, 97), slice(0, 3)))


def test_what_is_saved_is_loaded_to_the_bit(function, tmp_path):
    path = tmp_path / "plate 1 ÜK.json"
    function.save(path)
    loaded = load_illumination(path)
    assert loaded == function
    np.testing.assert_array_equal(loaded.values(), function.values())
    assert path.stat().st_size < 60_000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(function, tmp_path, monkeypatch):
    path = tmp_path / "plate.json"
    function.save(path)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskError, match=r"cannot be written: No space left on device\. Choose"):
        function.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["plate.json"]


def outcome(path):
    try:
        return load_illumination(path)
    except ImageFileError as error:
        return str(error)


def test_damaged_files_are_one_sentence(function, tmp_path):
    path = tmp_path / "plate.json"
    function.save(path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(150):
        bad = bytearray(good)
        if trial % 2:
            bad = bad[: rng.integers(0, len(good) - 1)]
        else:
            bad[rng.integers(0, len(good))] ^= 1 << rng.integers(0, 8)
        path.write_bytes(bytes(bad))
        got = outcome(path)
        # The same numbers, where only a blank or the last of too many digits changed.
        assert got == function or re.search(r"(damaged|no) illumination function\. .*\.$", got)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "other"}, "is no illumination function. Choose a file"),
        ({"version": 99}, "is an illumination function of version 99, this program reads 1."),
        ({"fields": 1}, "is a damaged illumination function. Copy it again"),
        ({"nodes": [[float("nan")]]}, "is a damaged illumination function. Copy it again"),
    ],
    ids=["other file", "newer", "altered", "NaN"],
)
def test_altered_files_are_refused(function, tmp_path, change, sentence):
    path = tmp_path / "plate.json"
    function.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ImageFileError) as said:
        load_illumination(path)
    assert sentence in str(said.value)


def test_a_file_that_is_not_there_or_a_folder_is_said(tmp_path):
    with pytest.raises(MissingInputError, match=r"does not exist\. Check the path\.$"):
        load_illumination(tmp_path / "none.json")
    with pytest.raises(ImageFileError, match=r"cannot be read: "):
        load_illumination(tmp_path)


def test_a_function_without_light_is_never_made(function):
    with pytest.raises(ValueError, match="positive"):
        IlluminationFunction.model_validate(function.model_dump() | {"nodes": ((1.0, 0.0),)})
