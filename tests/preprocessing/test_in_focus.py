"""Which planes are in focus: simulated stacks whose focus is known, and real ones."""

import re

import numpy as np
import pytest

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.preprocessing.focus import FocusProfile, focus_profile
from napari_virtualstain.preprocessing.focus_calibration import calibrated_direction
from napari_virtualstain.preprocessing.in_focus import best_plane, in_focus_range
from napari_virtualstain.simulate import FieldSettings, simulate_field

OFFSETS_UM = tuple(float(z) for z in range(-8, 9, 2))
SLOPE = "power_log_log_slope"


def profile_of(*line, **others):
    return FocusProfile({SLOPE: tuple(map(float, line)), **others})


@pytest.fixture(scope="module", params=[-2.0, 0.0, 2.0], ids="focus error {} um".format)
def stack(request):
    """A field in planes of 2 um, and which plane is in focus."""
    settings = FieldSettings(
        shape_px=(160, 160), focus_offsets_um=OFFSETS_UM, stain_offsets_um=OFFSETS_UM,
        focus_error_um=request.param, density_per_mm2=900,
    )  # fmt: skip
    return simulate_field(settings, seed=4), 4 - request.param / 2


def test_a_stained_stack_is_in_focus_where_the_slope_is_largest(stack):
    field, truth = stack
    for stain in range(len(field.stain_names)):
        best = best_plane(focus_profile(field.stains[0, stain]))
        assert (best.direction, best.direction_from) == (1, "this stack")
        assert abs(best.position - truth) <= 1
        assert best.confidence > 0.25


def test_bright_field_is_in_focus_where_the_slope_is_smallest(stack):
    field, truth = stack
    best = best_plane(focus_profile(np.squeeze(field.brightfield)))
    assert (best.direction, best.direction_from) == (-1, "this stack")
    assert abs(best.position - truth) <= 1
    assert best.confidence > 0.25


def test_the_range_holds_the_focus_and_leaves_the_blurred_ends_out(stack):
    field, truth = stack
    kept = in_focus_range(focus_profile(np.squeeze(field.brightfield)))
    assert kept.start <= round(truth) < kept.stop
    assert 2 <= len(kept) <= 5


def test_the_direction_learnt_from_known_planes_is_that_of_the_light(stack):
    field, truth = stack
    bright, stained = (
        focus_profile(s) for s in (np.squeeze(field.brightfield), field.stains[0, 0])
    )
    assert calibrated_direction([bright], [round(truth)])[SLOPE] == -1
    assert set(calibrated_direction([stained], [round(truth)]).values()) == {1}
    assert calibrated_direction([stained, stained])[SLOPE] == 1


def test_the_position_between_the_planes_is_that_of_the_parabola():
    line = [-((z - 2.3) ** 2) for z in range(6)]
    assert best_plane(profile_of(*line)).position == pytest.approx(2.3)


def test_a_peaked_profile_is_surer_than_a_broad_one_and_agreement_than_dissent():
    peaked, broad = profile_of(1, 1, 1, 9, 1, 1, 1), profile_of(5, 6, 7, 8, 7, 6, 5)
    assert best_plane(peaked).confidence > best_plane(broad).confidence > 0
    dissent = profile_of(1, 1, 1, 9, 1, 1, 1, brenner=(9.0, 9.5, 1, 1, 1, 1, 1))
    best = best_plane(dissent)
    assert best.confidence == pytest.approx(best_plane(peaked).confidence / 2)
    assert best.notes == ("Other measures choose other planes (brenner 1).",)


DOUBTFUL = {
    "flat": (
        profile_of(1.0, 1.001, 1.002, 1.001, 1.0),
        {},
        "is flat: all planes are about equally sharp.",
    ),
    "rim": (
        profile_of(1, 2, 4, 8, 16),
        {"direction": 1},
        "The best plane, 4, is the last of the stack;",
    ),
    "first": (
        profile_of(9, 7, 4, 2, 1),
        {"direction": 1},
        "The best plane, 0, is the first of the stack;",
    ),
    "monotone": (
        profile_of(1, 2, 4, 8, 16),
        {},
        "The stack does not tell whether power_log_log_slope is",
    ),
    "two planes": (profile_of(1, 2), {}, "Fewer than three planes: there is no focus"),
    "a higher end": (
        profile_of(9, 5, 1, 6, 2),
        {"direction": 1},
        "An end of the stack has a more extreme",
    ),
}


@pytest.mark.parametrize(("profile", "settings", "sentence"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_doubtful_focus_says_so_and_is_not_sure(profile, settings, sentence):
    best = best_plane(profile, **settings)
    assert any(sentence in note for note in best.notes)
    assert best.confidence <= 0.5


def test_the_range_is_grown_without_gaps():
    kept = in_focus_range(profile_of(0, 6, 0, 7, 9, 6, 1), direction=1)
    assert (kept.start, kept.stop) == (3, 6)
    assert kept.notes[-1] == "Beyond a gap, 1 more plane would be in focus; left out."
    assert len(in_focus_range(profile_of(0, 6, 0, 7, 9, 6, 1), direction=1, keep=0.9)) == 1


def test_a_plane_without_a_value_ends_the_range():
    kept = in_focus_range(profile_of(1, 8, float("nan"), 8, 9, 8, 1), direction=1)
    assert (kept.start, kept.stop) == (3, 6)


def test_stacks_vote_and_contradiction_leaves_a_measure_out():
    up, down = profile_of(1, 5, 1), profile_of(5, 1, 5)
    assert calibrated_direction([up, up, down]) == {SLOPE: 1}
    assert calibrated_direction([up, down]) == {}
    assert calibrated_direction([up, down], [1, None]) == {}
    assert calibrated_direction([down, down], [1, None]) == {SLOPE: -1}
    assert calibrated_direction([profile_of(1, 1, 1)]) == {}


BAD = {
    "direction": (
        lambda: best_plane(profile_of(1, 2, 1), direction=0),
        "A direction of focus is 1 (largest) or -1",
    ),
    "constant": (
        lambda: best_plane(profile_of(float("nan"), float("nan"))),
        "power_log_log_slope has no value on any",
    ),
    "keep": (
        lambda: in_focus_range(profile_of(1, 2, 1), keep=1.0),
        "keep must lie between 0 and 1, got 1.",
    ),
    "plane": (
        lambda: calibrated_direction([profile_of(1, 2, 1)], [3]),
        "Plane 3 is not in a stack of 3.",
    ),
    "lengths": (
        lambda: calibrated_direction([profile_of(1, 2, 1)], []),
        "1 profiles and 0 known planes were given.",
    ),
}


@pytest.mark.parametrize(("call", "sentence"), BAD.values(), ids=BAD)
def test_bad_settings_are_one_sentence(call, sentence):
    with pytest.raises(SettingsError, match="^" + re.escape(sentence)):
        call()


@pytest.mark.realdata
def test_phase_contrast_of_neurons_needs_the_calibration_and_then_finds_its_plane(realdata):
    from skimage.io import imread

    found = {
        int(re.search(r"z_depth-(\d+),", path.name).group(1)): path
        for path in (realdata / "isl_neurons").glob("*z_depth-*PHASE_CONTRAST*.png")
    }
    profile = focus_profile([imread(found[z]) for z in range(13)])
    known = 9
    # Left alone, the largest slope of this stack stands out more, four planes away: the trap.
    assert profile.direction(SLOPE) == 1
    learnt = calibrated_direction([profile], [known])
    assert learnt[SLOPE] == learnt["normalised_variance"] == learnt["laplacian_energy"] == -1
    for measure in (SLOPE, "normalised_variance", "laplacian_energy"):
        assert abs(best_plane(profile, measure=measure, direction=learnt).index - known) <= 1
