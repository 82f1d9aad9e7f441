"""Distances of z planes beside those of a model."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.z_planes import SAME_PLANE_UM, planes_around, said_apart
from napari_virtualstain.errors import ChannelError

AZ, JUMP = (0.0, 4.0, -4.0), (0.0, 5.0, -5.0)
TAKEN = {
    "AstraZeneca, 1 µm": ((6, AZ, 1.0, 13), (6, 10, 2)),
    "JUMP, 2.5 µm": ((4, JUMP, 2.5, 9), (4, 6, 2)),
    "between two planes": ((5.4, (-4.0, 0.0, 4.0), 2.0, 11), (3, 5, 7)),
    "one plane, no step": ((7, (0.0,), None, 9), (7,)),
    "one plane that says nothing": ((7, (None,), None, 9), (7,)),
}


@pytest.mark.parametrize(("given_", "expected"), TAKEN.values(), ids=TAKEN)
def test_planes_lie_at_the_offsets_in_the_order_of_the_model(given_, expected):
    focus, offsets, step, depth = given_
    found = planes_around(focus, z_offsets_um=offsets, step_um=step, depth=depth)
    assert found == expected


REFUSED = {
    "no step": ((6, AZ, None, 13), "does not state the distance of its z planes, so that those at +0, +4, -4 µm"),
    "beyond the stack": ((1, AZ, 1.0, 13), "The plane in focus is 1 of 0 to 12, 1 µm apart, so that the stack does not reach -4 µm."),
    "too coarse": ((3, AZ, 7.0, 7), "lie 7 µm apart, so that none lies within 1 µm of +4 µm from focus."),
    "twice the same": ((3, (0.0, 0.5), 2.0, 7), "lie 2 µm apart, so that none lies within"),
    "offsets unknown": ((3, (None, None), 2.0, 7), "does not state how far from focus its planes lie"),
}  # fmt: skip


@pytest.mark.parametrize(("given_", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_the_stack_cannot_give_is_refused(given_, sentence):
    focus, offsets, step, depth = given_
    with pytest.raises(ChannelError, match=f"{re.escape(sentence)}.*\\.$"):
        planes_around(focus, z_offsets_um=offsets, step_um=step, depth=depth)


@given(
    st.floats(0, 20), st.lists(st.integers(-8, 8), min_size=1, max_size=4, unique=True),
    st.floats(0.2, 5),
)  # fmt: skip
def test_taken_planes_are_never_further_off_than_what_is_called_the_same(focus, offsets, step):
    try:
        found = planes_around(focus, z_offsets_um=offsets, step_um=step, depth=21)
    except ChannelError:
        return
    for z, offset in zip(found, offsets, strict=True):
        assert abs((z - focus) * step - offset) <= SAME_PLANE_UM * (1 + 1e-9)
    assert len(set(found)) == len(found)


STEPS = {
    "as trained": ((0, 1, 2), (-4.0, 0.0, 4.0), 4.0, False),
    "upside down": ((2, 1, 0), (-4.0, 0.0, 4.0), 4.0, False),
    "a little off": ((0, 1, 2), (-4.0, 0.0, 4.0), 4.5, False),
    "too close": ((0, 1, 2), (-4.0, 0.0, 4.0), 1.0, True),
    "too far": ((0, 2, 4), (-4.0, 0.0, 4.0), 4.0, True),
    "step unknown": ((0, 1, 2), (-4.0, 0.0, 4.0), None, False),
    "offsets unknown": ((0, 1, 2), (None, None, None), 1.0, False),
    "one plane": ((3,), (0.0,), 9.0, False),
    "one plane three times": ((0, 0, 0), (-4.0, 0.0, 4.0), 1.0, False),
}


@pytest.mark.parametrize(("z", "offsets", "step", "said"), STEPS.values(), ids=STEPS)
def test_the_z_step_is_checked_like_the_pixel_size(z, offsets, step, said):
    words = said_apart(z, offsets, step)
    assert bool(words) is said
    if said:
        assert words[0].startswith("the z planes lie at +0,")
        assert "the model was trained at +0, +4, +8 µm" in words[0]
