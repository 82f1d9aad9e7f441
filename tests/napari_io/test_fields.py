"""Layers of a viewer as the images that a user means."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image, Labels, Points

from napari_virtualstain.napari_io.fields import field_of, fields_in
from napari_virtualstain.napari_io.source import LayerSource, tagged


def layer(name, path=None, *, role="brightfield", **source):
    # What is read from a file is lazy; an array in memory has taken the file's place.
    made = Image(da.zeros((4, 4)) if path else np.zeros((4, 4)), name=name)
    if path is not None or source:
        stated = LayerSource(path=path, channel=name, **source).with_role(
            role, source.get("stain", "")
        )
        made.metadata = tagged({}, stated)
    return made


def test_channels_of_one_image_are_one_field():
    layers = [
        layer("a", "/x/one.ome.zarr"),
        layer("b", "/x/one.ome.zarr"),
        layer("c", "/x/two.tif"),
    ]
    one, two = fields_in(layers)
    assert [found for found, _ in one.layers] == layers[:2]
    assert (one.name, two.name) == ("x/one", "x/two")
    assert one.key == ("/x/one.ome.zarr", "")
    assert field_of(layers[2], (one, two)) is two


def test_scenes_of_one_path_are_fields_of_their_own():
    one, two = fields_in([layer("a", "/x/p.tif", scene="A1"), layer("a", "/x/p.tif", scene="A2")])
    assert (one.name, two.name) == ("x/p A1", "x/p A2")
    assert one.key != two.key


def test_layers_of_somebody_else_are_fields_alone():
    theirs = [layer("mine"), layer("mine")]
    one, two = fields_in(theirs)
    assert (one.path, one.name) == (None, "mine")
    assert one.brightfield is theirs[0]
    assert one.key != two.key
    assert field_of(layer("other"), (one, two)) is None


def test_what_is_no_image_is_no_field():
    assert fields_in([Points(np.zeros((1, 2))), Labels(np.zeros((4, 4), int))]) == ()


def test_roles_are_asked_of_the_layers():
    layers = [
        layer("t", "/x/a.tif", role="truth"),
        layer("bf", "/x/a.tif", role="brightfield"),
        layer("o", "/x/a.tif", role="other"),
    ]
    (field,) = fields_in(layers)
    assert field.brightfield is layers[1]
    assert [found for found, _ in field.with_role("truth")] == [layers[0]]
    assert field.stains == {"t": layers[0]}
    assert not field.predicted


def test_a_field_without_bright_field_has_none():
    (field,) = fields_in([layer("t", "/x/a.tif", role="truth")])
    assert field.brightfield is None


def test_a_prediction_is_told():
    (field,) = fields_in([layer("DNA", "/x/a.ome.zarr", role="prediction")])
    assert field.predicted
    assert list(field.stains) == ["DNA"]


def test_guesses_of_all_channels_are_said_once_until_confirmed():
    guesses = ("The axes are guessed.", "The channel is guessed.")
    layers = [layer(n, "/x/a.tif", guesses=guesses) for n in "ab"]
    (field,) = fields_in(layers)
    assert field.open_guesses == guesses
    confirmed = [layer(n, "/x/a.tif", guesses=guesses, confirmed=True) for n in "ab"]
    (field,) = fields_in(confirmed)
    assert field.open_guesses == ()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/d/f/brightfield.ome.zarr", "f/brightfield"),
        ("/d/f/a.ome.tif", "f/a"),
        ("/d/f/a.tiff", "f/a"),
        ("/d/plate", "d/plate"),
    ],
)
def test_a_field_is_named_by_its_file_and_folder(path, name):
    assert fields_in([layer("a", path)])[0].name == name


def test_layers_of_the_next_image_look_as_those_before():
    import numpy as np
    from napari.layers import Image

    from napari_virtualstain.napari_io.fields import Field, alike

    source = LayerSource(channel="DNA")
    shown = Image(np.zeros((4, 4)), contrast_limits=(2, 9), gamma=0.5, visible=False, opacity=0.3)
    field = Field(name="a", path="/a", scene="", axes=None, layers=((shown, source),))
    new = [
        (
            np.ones((4, 4)),
            {"name": name, "metadata": tagged({}, LayerSource(channel=name))},
            "image",
        )
        for name in ("DNA", "ER")
    ]
    first, second = (Image(data, **keywords) for data, keywords, _ in alike(new, field))
    assert (first.contrast_limits, first.gamma, first.visible, first.opacity) == (
        [2, 9],
        0.5,
        False,
        0.3,
    )
    assert (second.gamma, second.visible, second.opacity) == (1.0, True, 1.0)
