"""Bright field at several heights is one stack, as the metadata say, whatever the channels' order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jump import COLUMNS, HEIGHTS_UM, value_of, write_jump, write_load_data

from napari_virtualstain.datasets.planes import choose_planes
from napari_virtualstain.errors import ChannelError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import list_scenes, open_image

JUMP = (0.0, 5.0, -5.0)
WANTED = ("Brightfield", "Brightfield High", "Brightfield Low")
OTHER = (
    "Brightfield Low", "HOECHST 33342", "Brightfield High", "Alexa 488", "488 long", "Alexa 568",
    "Brightfield", "Alexa 647",
)  # fmt: skip
"""An order in which no channel has its usual number."""


def chosen(image, offsets=JUMP, **keywords):
    return choose_planes(image, like="Brightfield", z_offsets_um=offsets, **keywords)


def values(planes):
    """The channels that the planes are, told by their grey values."""
    whole = planes.image.data.compute(scheduler="synchronous")[0, 0]
    return [int(np.median(plane)) // 10 * 10 for plane in whole]


@pytest.mark.parametrize("index", ["Index.idx.xml", "Index.xml"])
@pytest.mark.parametrize("order", [tuple(HEIGHTS_UM), OTHER], ids=["usual", "another"])
def test_planes_go_by_their_heights_and_stains_by_their_number(order, index, tmp_path):
    plate = write_jump(tmp_path, order, index=index)
    (scene,) = list_scenes(plate)
    assert (scene.place.well, scene.place.site) == ("B03", "f01")
    image = scene.open()
    assert image.channel_names == tuple(order)
    assert (image.shape, image.missing) == ((1, 8, 1, 48, 40), ())
    for name, pixels in zip(order, image.data.compute()[0, :, 0], strict=True):
        assert np.median(pixels) // 10 * 10 == value_of(name)
    planes = chosen(image)
    assert planes.channels == WANTED
    assert values(planes) == [value_of(name) for name in WANTED]
    assert planes.image.z_positions_um == pytest.approx(JUMP)
    assert planes.image.channel_names == ("Brightfield",)
    assert planes.notes == (
        (
            "channel 'Brightfield' taken as the Brightfield, the middle one of 3 at different "
            "heights; choose another with --channel"
        ),
        "channels Brightfield, Brightfield High, Brightfield Low taken as z planes, by their heights",
    )
    assert planes.image.read(np.s_[:1, :1, 1:3, 5:9, 2:4]).shape == (1, 1, 2, 4, 2)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(list(HEIGHTS_UM)), offsets=st.permutations(JUMP))
def test_no_order_of_channels_changes_what_a_model_sees(order, offsets, tmp_path_factory):
    image = open_image(write_jump(tmp_path_factory.mktemp("jump"), order))
    by_offset = dict(zip(JUMP, WANTED, strict=True))
    assert values(chosen(image, tuple(offsets))) == [value_of(by_offset[o]) for o in offsets]


def test_names_that_contradict_the_heights_are_not_believed(tmp_path):
    swapped = {**HEIGHTS_UM, "Brightfield High": -11.0, "Brightfield Low": -1.0}
    planes = chosen(open_image(write_jump(tmp_path, heights=swapped)))
    assert planes.channels == ("Brightfield", "Brightfield Low", "Brightfield High")


def test_a_model_of_one_plane_is_given_the_middle_one(tmp_path):
    image = open_image(write_jump(tmp_path, OTHER))
    planes = chosen(image, (0.0,))
    assert values(planes) == [value_of("Brightfield")]
    assert "the middle one of 3" in planes.notes[0]
    named = chosen(image, (0.0,), channel="brightfield low")
    assert (values(named), named.notes) == ([value_of("Brightfield Low")], ())


REFUSED = {
    "heights that do not fit": {**HEIGHTS_UM, "Brightfield High": -3.0},
    "one height twice": {**HEIGHTS_UM, "Brightfield High": -6.0},
}


@pytest.mark.parametrize("heights", REFUSED.values(), ids=REFUSED)
def test_channels_that_do_not_lie_as_the_model_wants_are_not_joined(heights, tmp_path):
    with pytest.raises(ChannelError):
        chosen(open_image(write_jump(tmp_path, heights=heights)))


def test_without_an_index_nothing_tells_which_plane_is_which(tmp_path):
    plate = write_jump(tmp_path, OTHER, index=None)
    image = open_image(plate / "Images")
    assert image.source.kind == "phenix-names"
    assert image.channel_names == tuple(f"ch{n}" for n in range(1, 9))
    with pytest.raises(ChannelError, match="Choose one with --channel"):
        chosen(image)


@pytest.mark.parametrize("heights", [True, False], ids=["heights stated", "heights not stated"])
def test_a_load_data_table_names_the_channels(heights, tmp_path):
    plate = write_jump(tmp_path, OTHER, index=None)
    file = write_load_data(plate, OTHER, heights=heights)
    image = open_image(file)
    assert image.channel_names == tuple(COLUMNS)
    for short, pixels in zip(COLUMNS, image.data.compute()[0, :, 0], strict=True):
        assert np.median(pixels) // 10 * 10 == value_of(COLUMNS[short])
    lit = {c.name for c in image.channels if c.modality == "transmitted"}
    assert lit == {"Brightfield", "HighZBF", "LowZBF"}
    if not heights:  # names are not believed
        with pytest.raises(ChannelError, match="The model takes 3 z planes"):
            chosen(image)
        return
    planes = chosen(image)
    assert planes.channels == ("Brightfield", "HighZBF", "LowZBF")
    assert values(planes) == [value_of(name) for name in WANTED]


def test_planes_that_lack_are_missing_where_they_belong(tmp_path):
    plate = write_jump(tmp_path)
    (plate / "Images" / "r02c03f01p01-ch7sk1fk1fl1.tiff").unlink()
    planes = chosen(open_image(plate))
    assert planes.image.missing == ((0, 0, 1),)
    assert isinstance(planes.image, LazyImage)
