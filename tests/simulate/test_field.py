"""Does a field hold what it says, and does the seed alone decide it?"""

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from scipy import ndimage

from napari_virtualstain.errors import SettingsError, UnknownNameError, VirtualStainError
from napari_virtualstain.simulate import STAINS, FieldSettings, simulate_field
from napari_virtualstain.simulate.field import _stream

SMALL = FieldSettings(shape_px=(150, 131), density_per_mm2=500)


@pytest.fixture(scope="module")
def field():
    return simulate_field(SMALL, seed=11)


def same(a, b, *names):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_the_seed_decides_every_pixel(field):
    again, other = simulate_field(SMALL, seed=11), simulate_field(SMALL, seed=12)
    images = ("brightfield", "stains", "truth", "nuclei", "cells")
    assert same(field, again, *images)
    assert not any(same(field, other, name) for name in images)


def test_noise_moves_no_cell(field):
    quiet = simulate_field(replace(SMALL, noise=0.0), seed=11)
    assert same(field, quiet, "truth", "nuclei", "cells")
    assert not same(field, quiet, "stains")
    assert np.abs(quiet.stains - quiet.truth).max() <= 0.5


def test_every_subject_has_a_stream_of_its_own():
    subjects = ("cells", "organelles", "debris", "lamp", "stain noise", "bright-field noise")
    drawn = [_stream(seed, name).random() for seed in (0, 1) for name in subjects]
    assert len(set(drawn)) == 2 * len(subjects)


def test_debris_and_optics_leave_the_stains_alone(field):
    dirty = simulate_field(replace(SMALL, debris=3.0, tilt_na=(0.05, 0.0)), seed=11)
    assert same(field, dirty, "truth", "stains", "nuclei", "cells")
    assert not same(field, dirty, "brightfield")


@pytest.mark.parametrize("shape", [(16, 16), (61, 40), (33, 200)], ids=str)
def test_any_size_comes_out_as_asked(shape):
    field = simulate_field(FieldSettings(shape_px=shape, focus_offsets_um=(-2.0, 2.0)), seed=0)
    assert field.brightfield.shape == (1, 2, *shape)
    assert field.stains.shape == field.truth.shape == (1, 5, *shape)
    assert field.nuclei.shape == field.cells.shape == (1, *shape)
    assert (field.brightfield.dtype, field.stains.dtype) == (np.uint16, np.uint16)
    assert (field.truth.dtype, field.nuclei.dtype) == (np.float32, np.int32)


def test_the_record_travels_with_the_pixels(field):
    assert field.stain_names == STAINS == ("DNA", "ER", "RNA", "AGP", "Mito")
    assert (field.pixel_size_um, field.focus_offsets_um) == ((0.6, 0.6), (-4.0, 0.0, 4.0))
    assert (field.settings, field.seed, field.z_step_um) == (SMALL, 11, 4.0)
    with pytest.raises(FrozenInstanceError):
        field.seed = 12


def test_each_nucleus_lies_in_the_cell_of_its_number(field):
    inside = field.nuclei > 0
    np.testing.assert_array_equal(field.nuclei[inside], field.cells[inside])
    assert 0.03 < inside.mean() < field.cells.astype(bool).mean()


def test_dna_is_where_the_nuclei_are(field):
    dna, inside = field.truth[0, 0], field.nuclei[0] > 0
    assert np.median(dna[inside]) > 5 * np.median(dna[~inside])
    assert np.corrcoef(dna.ravel(), inside.ravel())[0, 1] > 0.85


def test_organelles_are_where_they_belong(field):
    nucleus = ndimage.binary_erosion(field.nuclei[0] > 0, iterations=3)
    cytoplasm = (field.cells[0] > 0) & (field.nuclei[0] == 0)
    truth = dict(zip(STAINS, field.truth[0], strict=True))
    ring = cytoplasm & ndimage.binary_dilation(field.nuclei[0] > 0, iterations=5)
    for name in ("ER", "Mito"):
        assert truth[name][ring].mean() > 1.2 * truth[name][nucleus].mean(), name
    assert np.percentile(truth["RNA"][nucleus], 98) > 2 * np.median(truth["RNA"][nucleus])
    border = (field.cells[0] > 0) & ~ndimage.binary_erosion(field.cells[0] > 0, iterations=2)
    assert truth["AGP"][border].mean() > 1.3 * np.median(truth["AGP"][cytoplasm])


def test_a_field_without_cells_has_only_background():
    empty = simulate_field(FieldSettings(shape_px=(70, 64), n_cells=0), seed=4)
    assert not empty.nuclei.any()
    assert not empty.cells.any()
    assert empty.truth.max() < 1.2 * empty.truth.min()
    assert empty.stains.std() < 40
    bare = simulate_field(
        FieldSettings(shape_px=(70, 64), n_cells=0, debris=0, noise=0, illumination=0), seed=4
    )
    assert np.ptp(bare.brightfield.astype(int)) <= 1
    assert np.ptp(bare.stains.astype(int)) == 0


def test_so_many_cells_as_asked():
    field = simulate_field(FieldSettings(shape_px=(220, 220), n_cells=4), seed=1)
    assert len(np.unique(field.cells)) - 1 == 4


def test_bright_field_has_low_contrast_that_turns_round(field):
    below, focus, above = field.brightfield[0].astype(float)
    cells = field.cells[0] > 0
    level = [plane / ndimage.gaussian_filter(plane, 12) for plane in (below, focus, above)]
    assert all(0.01 < plane[cells].std() < 0.2 for plane in level)
    smooth = [ndimage.gaussian_filter(plane, 1.5)[cells] for plane in level]
    assert np.corrcoef(smooth[0], smooth[2])[0, 1] < -0.4


@pytest.mark.parametrize("name", STAINS)
def test_a_stain_is_no_blurred_copy_of_the_bright_field(field, name):
    stain = field.truth[0, STAINS.index(name)].ravel().astype(float)
    for sigma in (0.0, 1.5, 4.0):
        planes = [ndimage.gaussian_filter(p.astype(float), sigma) for p in field.brightfield[0]]
        design = np.stack([p.ravel() for p in planes] + [np.ones(stain.size)], 1)
        fitted = design @ np.linalg.lstsq(design, stain, rcond=None)[0]
        assert np.corrcoef(fitted, stain)[0, 1] < 0.55, sigma


def test_cells_drift_and_keep_their_number():
    settings = FieldSettings(shape_px=(110, 100), timepoints=4)
    film = simulate_field(settings, seed=2)
    still = simulate_field(replace(settings, timepoints=1), seed=2)
    assert film.stains.shape == (4, 5, 110, 100)
    np.testing.assert_array_equal(film.truth[0], still.truth[0])
    dna = film.truth[:, 0].reshape(4, -1)
    near, far = np.corrcoef(dna)[0, 1], np.corrcoef(dna)[0, 3]
    assert far < near < 0.9999
    assert near > 0.85
    both = (film.nuclei[0] > 0) & (film.nuclei[1] > 0)
    assert (film.nuclei[0] == film.nuclei[1])[both].mean() > 0.98


def test_a_stack_of_six_stains_is_sharpest_near_its_focus():
    settings = FieldSettings(
        shape_px=(90, 100), six_stains=True, stain_offsets_um=(-8.0, -4.0, 0.0, 4.0, 8.0)
    )
    stack = simulate_field(settings, seed=6)
    assert stack.stain_names == (*STAINS, "Tubulin")
    assert stack.stains.shape == stack.truth.shape == (1, 6, 5, 90, 100)
    assert stack.brightfield.shape == (1, 3, 90, 100)
    for name, planes in zip(stack.stain_names, stack.truth[0], strict=True):
        sharp = [ndimage.laplace(plane).std() for plane in planes]
        assert int(np.argmax(sharp)) in (2, 3), name
    flat = simulate_field(replace(settings, stain_offsets_um=None, six_stains=False), seed=6)
    np.testing.assert_allclose(stack.truth[:, :5, 2], flat.truth, rtol=1e-4)


@pytest.mark.parametrize("pixel_um", [0.3, (0.5, 0.7), 1.2], ids=str)
def test_other_pixel_sizes_keep_the_sizes_in_micrometres(pixel_um):
    def one_cell(pixel_um):
        yx = pixel_um if isinstance(pixel_um, tuple) else (pixel_um,) * 2
        shape = tuple(round(80 / p) for p in yx)
        settings = FieldSettings(shape_px=shape, pixel_size_um=pixel_um, n_cells=1)
        field = simulate_field(settings, seed=3)
        assert field.pixel_size_um == yx
        return field, np.prod(yx)

    (usual, pixel_area), (other, other_area) = one_cell(0.6), one_cell(pixel_um)
    assert not usual.nuclei[0, [0, -1]].any(), "the field must not cut the nucleus"
    area = (usual.nuclei > 0).sum() * pixel_area
    assert 100 < area < 400
    assert (other.nuclei > 0).sum() * other_area == pytest.approx(area, rel=0.1)
    dna, other_dna = (f.truth[0, 0][f.nuclei[0] > 0].mean() for f in (usual, other))
    assert other_dna == pytest.approx(dna, rel=0.25)


WRONG = [
    ({"shape_px": (8, 64)}, "shape_px=(8, 64)"),
    ({"pixel_size_um": 0.0}, "pixel_size_um=0.0"),
    ({"focus_offsets_um": ()}, "focus_offsets_um=()"),
    ({"n_cells": -1}, "n_cells=-1"),
    ({"timepoints": 0}, "timepoints=0"),
    ({"noise": -0.1}, "noise=-0.1"),
    ({"tilt_na": (0.5, 0.0)}, "tilt_na=(0.5, 0.0)"),
]


@pytest.mark.parametrize(("wrong", "named"), WRONG, ids=[named for _, named in WRONG])
def test_a_setting_out_of_range_is_named_with_what_to_do(wrong, named):
    with pytest.raises(SettingsError) as caught:
        FieldSettings(**wrong)
    assert isinstance(caught.value, VirtualStainError)
    assert str(caught.value).startswith(f"FieldSettings({named}) is out of range; needed ")
    assert str(caught.value).endswith(f"or leave {next(iter(wrong))} out for the default.")


def test_an_unknown_phenotype_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"^No phenotype named 'enlargd'\. Did you mean"):
        FieldSettings(phenotype="enlargd")


def test_a_negative_seed_is_refused():
    with pytest.raises(SettingsError, match=r"^A seed must be 0 or more; got -1\. Use any whole"):
        simulate_field(SMALL, seed=-1)


def test_settings_are_frozen_and_named():
    with pytest.raises(TypeError):
        FieldSettings((64, 64))
    with pytest.raises(FrozenInstanceError):
        SMALL.noise = 2.0
    assert all(f.name == f.name.lower() for f in fields(FieldSettings))
