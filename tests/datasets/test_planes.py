"""Which planes a network is given: what is told counts, what cannot be told is asked."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_virtualstain.datasets.planes import choose_channel, choose_planes
from napari_virtualstain.errors import ChannelError
from napari_virtualstain.io.image import Channel, LazyImage

BF, PHASE = (
    Channel("Brightfield high", "transmitted"),
    Channel("Digital Phase Contrast", "transmitted"),
)
DNA, ODD = Channel("DNA", "fluorescence"), Channel("c1")
THREE = (-4.0, 0.0, 4.0)


def image(*channels, z=3, positions=None):
    data = da.from_array(np.arange(len(channels) * z).reshape(1, len(channels), z, 1, 1))
    return LazyImage(data=data, channels=channels, z_positions_um=positions)


CHOICES = {
    "the only channel": (image(ODD), {}, ("c1", [0, 1, 2])),
    "the only transmitted one": (image(DNA, BF), {}, ("Brightfield high", [3, 4, 5])),
    "the one that is named like the model's": (image(PHASE, BF), {}, ("Brightfield high", [3, 4, 5])),
    "the one that was said": (image(PHASE, BF), {"channel": "digital phase contrast"}, ("Digital Phase Contrast", [0, 1, 2])),
    "planes that were said": (image(BF, z=5), {"z": (4, 2, 0)}, ("Brightfield high", [4, 2, 0])),
    "one plane three times": (image(BF, z=1), {"z": (0, 0, 0)}, ("Brightfield high", [0, 0, 0])),
    "planes in the order of their positions": (
        image(BF, z=3, positions=(4.0, 0.0, -4.0)), {}, ("Brightfield high", [2, 1, 0]),
    ),
    "as many planes, though elsewhere": (
        image(BF, z=3, positions=(-9.0, 0.0, 9.0)), {}, ("Brightfield high", [0, 1, 2]),
    ),
    "planes by their positions": (
        image(BF, z=5, positions=(-8.0, -4.2, 0.0, 3.9, 8.0)), {}, ("Brightfield high", [1, 2, 3]),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "told", "expected"), CHOICES.values(), ids=CHOICES)
def test_the_planes_are(given, told, expected):
    planes = choose_planes(given, like="Brightfield", z_offsets_um=THREE, **told)
    name, values = expected
    assert planes.image.channel_names == (name,)
    assert len(planes.z) == len(values)
    assert planes.read(0, (slice(0, 1), slice(0, 1))).ravel().tolist() == values


QUESTIONS = {
    "two could be": (image(BF, Channel("bright2", "transmitted")), {}, r"2 could be \(Brightfield high, bright2\).*--channel\.$"),
    "no name says so": (image(DNA, ODD), {}, r"no name says so; the image has DNA, c1. Choose one with --channel\.$"),
    "no such channel": (image(DNA, BF), {"channel": "DNB"}, "Did you mean 'DNA'"),
    "too few planes": (image(BF, z=1), {}, r"takes 3 z planes \(at -4, \+0, \+4 µm\).*has 1. Open the whole z stack, or repeat a plane with --z 0,0,0"),
    "too many planes": (image(BF, z=13), {}, "which to take cannot be told. Choose them with --z, for example --z 3,6,9"),
    "planes too far off": (image(BF, z=4, positions=(-9.0, -6.0, 6.0, 9.0)), {}, "cannot be told"),
    "a wrong number said": (image(BF, z=5), {"z": (1, 2)}, "takes 3 z planes, --z names 2"),
    "a plane that is not there": (image(BF, z=5), {"z": (1, 2, 5)}, r"z plane 5 asked for.*0 to 4"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "told", "sentence"), QUESTIONS.values(), ids=QUESTIONS)
def test_what_cannot_be_told_is_asked(given, told, sentence):
    with pytest.raises(ChannelError, match=sentence):
        choose_planes(given, like="Brightfield", z_offsets_um=THREE, **told)


def test_planes_that_lie_elsewhere_are_said_to():
    given = image(BF, z=3, positions=(-9.0, 0.0, 9.0))
    (note,) = choose_planes(given, like="Brightfield", z_offsets_um=THREE).notes
    assert note == (
        "the z planes lie at -9, +0, +9 µm, the model was trained at -4, +0, +4 µm; "
        "expect a poorer stain"
    )


def test_one_colour_of_a_photograph_is_no_bright_field():
    photograph = image(Channel("red"), Channel("green"), Channel("blue"))
    name, note = choose_channel(photograph, channel="green", like="Brightfield")
    assert name == "green"
    assert "colour picture" in note
    assert "virtualstain qc" in note
    assert choose_channel(photograph, channel="green", like="green")[1] is None
    two = image(Channel("red"), Channel("Brightfield"))
    assert choose_channel(two, channel="red", like="Brightfield")[1] is None
