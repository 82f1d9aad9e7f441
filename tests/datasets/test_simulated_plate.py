"""What was planted on a plate is there, and what plates add says nothing of treatments."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtualstain.datasets.simulated_plate import (
    CONTROL,
    MECHANISMS,
    PlateSettings,
    diluted,
    plate_fields,
)
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.simulate import PHENOTYPES, fingerprint, simulate_field

SMALL = PlateSettings(
    wells=12, plates=2, sites=2, mechanisms=("enlarged", "shrunken"), shape_px=(64, 64), seed=4
)


def test_every_plate_has_every_compound_and_its_controls():
    fields = list(plate_fields(SMALL))
    assert len(fields) == 2 * 12 * 2
    for plate in ("plate1", "plate2"):
        wells = {f.well: f.treatment for f in fields if f.plate == plate}
        counts = Counter(wells.values())
        assert counts.pop(CONTROL) == 3
        assert set(counts) == {"cpd-01", "cpd-02", "cpd-03", "cpd-04"}
        assert max(counts.values()) - min(counts.values()) <= 1
    of = {f.treatment: (f.mechanism, f.strength) for f in fields}
    assert of[CONTROL] == ("control", 0.0)
    assert sorted(of.values()) == [
        ("control", 0.0), ("enlarged", 0.6), ("enlarged", 1.2), ("shrunken", 0.6), ("shrunken", 1.2)
    ]  # fmt: skip
    assert len({f.seed for f in fields}) == len(fields)


def test_wells_are_drawn_anew_on_each_plate_and_the_same_with_the_same_seed():
    fields = list(plate_fields(SMALL))
    first, second = (
        [f.treatment for f in fields if f.plate == p and f.site == "1"]
        for p in ("plate1", "plate2")
    )
    assert first != second
    assert fields == list(plate_fields(SMALL))


def test_what_a_plate_adds_is_the_same_in_all_its_wells():
    fields = list(plate_fields(SMALL))
    gains = {(f.plate, f.lamp, f.stain, f.settings.tilt_na) for f in fields}
    assert len(gains) == 2
    focus = [f.settings.focus_error_um for f in fields]
    for plate in ("plate1", "plate2"):
        inside = [e for e, f in zip(focus, fields, strict=True) if f.plate == plate]
        assert np.ptp(inside) <= 0.4


def test_without_nuisance_plates_are_alike():
    alike = [*plate_fields(PlateSettings(wells=24, compounds=1, nuisance=0))]
    assert {(f.lamp, *f.stain) for f in alike} == {(1.0,) * 6}
    assert len({f.settings.illumination for f in alike}) == 1


@given(
    wells=st.integers(1, 400),
    compounds=st.integers(1, 5),
    controls=st.floats(0, 0.9),
    seed=st.integers(0, 9),
)
@settings(max_examples=20)
def test_a_plate_is_as_asked_or_refused(wells, compounds, controls, seed):
    try:
        plan = PlateSettings(
            wells=wells, plates=1, sites=1, compounds=compounds, controls=controls, seed=seed
        )
    except SettingsError as error:
        assert "do not fit onto a plate" in str(error)  # noqa: PT017
        return
    fields = list(plate_fields(plan))
    assert len({f.well for f in fields}) == wells
    assert sum(f.control for f in fields) == plan.control_wells
    assert {f.mechanism for f in fields} - {"control"} == set(MECHANISMS)
    rows, columns = plan.plate_shape
    assert max(f.row for f in fields) < rows
    assert max(f.column for f in fields) < columns


@pytest.mark.parametrize(("wells", "shape"), [(6, (2, 3)), (24, (4, 6)), (96, (8, 12)), (384, (16, 24)), (1536, (32, 48))])  # fmt: skip
def test_plates_that_are_sold_have_their_shape(wells, shape):
    plan = PlateSettings(wells=wells, mechanisms=("enlarged",), compounds=1)
    assert plan.plate_shape == shape


def test_a_field_is_that_of_the_simulator_in_other_light():
    field = next(f for f in plate_fields(SMALL) if not f.control)
    plain = simulate_field(field.settings, seed=field.seed)
    seen = field.simulate()
    assert field.lamp != 1
    np.testing.assert_allclose(
        seen.brightfield, 100 + (plain.brightfield - 100.0) * field.lamp, atol=0.51
    )
    for c, gain in enumerate(field.stain):
        np.testing.assert_allclose(
            seen.stains[0, c], 100 + (plain.stains[0, c] - 100.0) * gain, atol=0.51
        )
        np.testing.assert_allclose(
            seen.truth[0, c], 100 + (plain.truth[0, c] - 100.0) * gain, rtol=1e-5
        )
    np.testing.assert_array_equal(seen.cells, plain.cells)
    picture = field.picture()
    assert picture.shape == (8, 64, 64)
    assert len(field.channel_names) == 8
    np.testing.assert_array_equal(picture[:3], seen.brightfield[0])


def test_a_stronger_compound_does_more():
    weak, strong = (PHENOTYPES[diluted("fragmented_mito", s)] for s in (0.5, 1.2))
    assert weak.mito_count == pytest.approx(1 + 0.5 * 1.4)
    assert strong.mito_length == pytest.approx(1 - 1.2 * 0.65)
    assert weak.cell_radius == strong.cell_radius == 1
    assert diluted("enlarged", 1.0) == "enlarged"


def test_the_simulator_stays_as_it_is_frozen():
    before = fingerprint()
    next(plate_fields(SMALL)).simulate()
    assert fingerprint() == before


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        pytest.param({"sites": 0}, "1 or more sites, got 0", id="no sites"),
        pytest.param({"mechanisms": ("poison",)}, "'poison' is none. Choose mechanisms among enlarged", id="mechanism"),
        pytest.param({"mechanisms": ()}, "Without a mechanism .* Choose", id="no mechanism"),
        pytest.param({"strengths": (0.5, 3.0)}, "at most 1.5", id="too strong"),
        pytest.param({"controls": 1.0}, "below 1", id="controls only"),
        pytest.param({"wells": 12}, "16 compounds and 3 controls do not fit .* fewer compounds", id="no room"),
        pytest.param({"wells": 2000}, "up to 1536 wells", id="too many"),
    ],
)  # fmt: skip
def test_plates_that_cannot_be_are_refused(how, sentence):
    with pytest.raises(SettingsError, match=sentence):
        PlateSettings(**how)
