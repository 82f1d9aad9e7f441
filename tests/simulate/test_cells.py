"""Are cells apart, inside themselves, and filled as their maps say?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtualstain.simulate.cells import Grid, place_cells, shape_cells
from napari_virtualstain.simulate.debris import draw_debris
from napari_virtualstain.simulate.organelles import fill_cells
from napari_virtualstain.simulate.phenotypes import get_phenotype
from napari_virtualstain.simulate.walks import SLICE_UM, SLICES, Walks

GRID = Grid(shape=(120, 108), margin=(24, 24), field=(72, 60), pixel_um=(0.6, 0.6))


def placed(seed=0, grid=GRID, **how):
    control = get_phenotype("control")
    return place_cells(grid, phenotype=control, rng=np.random.default_rng(seed), **how)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), density=st.floats(0, 1500))
def test_no_two_cells_are_closer_than_their_nuclei_allow(seed, density):
    centre = placed(seed, density_per_mm2=density).centre
    apart = np.hypot(*(centre[:, None] - centre[None]).transpose(2, 0, 1))
    assert (apart[~np.eye(len(centre), dtype=bool)] > 18.0).all()


def test_a_given_number_of_cells_lies_in_the_kept_field():
    centre = placed(n_cells=2).centre / 0.6
    assert len(centre) == 2
    assert (centre >= GRID.margin).all()
    assert (centre <= np.add(GRID.margin, GRID.field)).all()


def test_dna_runs_from_two_to_four_copies_and_grows_the_nucleus():
    wide = Grid(shape=(900, 900), margin=(0, 0), field=(900, 900), pixel_um=(0.6, 0.6))
    cells = placed(grid=wide, density_per_mm2=900)
    assert 2.0 <= cells.dna.min() < 2.4 < 3.6 < cells.dna.max() <= 4.0
    assert np.corrcoef(cells.dna, cells.nucleus_radius)[0, 1] > 0.6


def test_the_nucleus_lies_within_the_height_of_its_cell():
    maps = shape_cells(placed(density_per_mm2=700), GRID)
    outside = maps.owner < 0
    assert (maps.height[outside] == 0).all()
    assert (maps.depth[outside] == 0).all()
    thick = maps.nucleus_high > maps.nucleus_low
    assert thick.any()
    assert not (thick & outside).any()
    assert (maps.nucleus_high[thick] < maps.height[thick]).all()
    assert maps.height.max() < SLICES * SLICE_UM


def test_organelles_stay_in_their_cells_and_out_of_the_medium():
    cells = placed(density_per_mm2=400)
    maps = shape_cells(cells, GRID)
    contents = fill_cells(
        cells,
        maps,
        GRID,
        phenotype=get_phenotype("control"),
        rng=np.random.default_rng(1),
        tubulin=True,
    )
    beyond = maps.owner < 0
    # Spreading a point onto its neighbours may cross the border by one pixel.
    beyond[1:-1, 1:-1] &= (
        (maps.owner[:-2, 1:-1] < 0)
        & (maps.owner[2:, 1:-1] < 0)
        & (maps.owner[1:-1, :-2] < 0)
        & (maps.owner[1:-1, 2:] < 0)
    )
    for name, emission in contents.emission.items():
        assert emission.min() >= 0, name
        assert emission[:, beyond].max() == pytest.approx(0.0, abs=1e-6), name
    assert np.abs(contents.index[:, beyond]).max() == pytest.approx(0.0, abs=1e-6)
    assert 0.02 < contents.index.max() < 0.3
    assert list(contents.emission) == ["DNA", "ER", "RNA", "AGP", "Mito", "Tubulin"]


def test_no_debris_is_an_empty_light_path():
    clean = draw_debris(GRID, amount=0.0, rng=np.random.default_rng(0))
    assert clean.screen is None
    assert not clean.index.any()
    dirty = draw_debris(GRID, amount=20.0, rng=np.random.default_rng(0))
    assert dirty.screen is not None
    assert np.abs(dirty.screen).max() <= 1.0 + 1e-6


def test_cells_drift_by_their_velocity():
    cells = placed(density_per_mm2=900)
    moved = cells.centre_at(10) - cells.centre_at(0)
    # Beside the drift there is a wobble of a micrometre or so.
    assert np.hypot(*(moved - 10 * cells.velocity).T).max() < 4.0
    assert np.hypot(*moved.T).mean() > 4.0


def test_a_point_is_kept_only_in_its_own_cell():
    cells = placed(density_per_mm2=900)
    maps = shape_cells(cells, GRID)
    first = maps.owner[60, 54]
    y, x = (a.ravel() * 0.6 for a in np.indices(GRID.shape))
    owner = np.full(y.size, first)
    ones = np.ones(y.size)
    filled = Walks(cells, maps, GRID, 0)._spread(owner, y, x, 0.5 * ones, ones, bare=False).sum(0)
    assert first >= 0
    assert filled[maps.owner == first].any()
    assert not filled[maps.owner != first].any()
