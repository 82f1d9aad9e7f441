"""Pictures, their labels, and the numbers that normalise them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.datasets.labelled import (
    CHANNEL,
    LabelledPicture,
    classes_of,
    label_up,
)
from napari_virtualstain.errors import ChannelError, PixelDataError, SettingsError
from napari_virtualstain.intensity import Rule

RULE = Rule(clip_sd=None)


def pictures(labels=("x", "y", "x"), *, gain=lambda n: n + 1, edge=12):
    rng = np.random.default_rng(0)
    return [
        LabelledPicture(f"p{n}", (100 * gain(n) * rng.random((2, edge, edge)) + 5), label, f"g{n}")
        for n, label in enumerate(labels)
    ]


def labelled(of, **changed):
    told = {
        "channels": ("DNA", "ER"), "per_channel": True, "label": "treatment", "classes": ("x", "y"),
        "rule": RULE, "normalise_on": "set",
    }  # fmt: skip
    return label_up(of, **{**told, **changed})


def test_numbers_of_the_whole_set_keep_how_bright_pictures_are():
    of = pictures()
    found = labelled(of)
    together = np.concatenate([p.pixels for p in of], axis=1)
    for channel in range(2):
        assert found.stored[channel].offset == pytest.approx(together[channel].mean())
        assert found.stored[channel].scale == pytest.approx(together[channel].std())
    assert found.normalisations == (found.stored,) * 3
    means = [found.read(n, (slice(None),) * 2).mean() for n in (0, 2, 4)]
    assert means == sorted(means)


def test_numbers_of_each_picture_make_them_alike():
    found = labelled(pictures(), normalise_on="field")
    assert found.stored == ()
    for n in range(6):
        pixels = found.read(n, (slice(None),) * 2)
        assert pixels.mean() == pytest.approx(0, abs=1e-5)
        assert pixels.std() == pytest.approx(1, abs=1e-4)


def test_pictures_that_examine_take_the_numbers_of_those_that_teach():
    train = labelled(pictures())
    other = labelled(pictures(gain=lambda n: 9), stored=train.stored)
    assert other.normalisations[0] == train.stored


def test_each_channel_is_an_example_or_all_are_one():
    apart, together = labelled(pictures()), labelled(pictures(), per_channel=False)
    assert [(e.picture, e.channel, e.label) for e in apart.examples] == [
        (0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 1), (2, 0, 0), (2, 1, 0),
    ]  # fmt: skip
    assert [(e.picture, e.channel, e.label) for e in together.examples] == [
        (0, None, 0), (1, None, 1), (2, None, 0),
    ]  # fmt: skip
    part = (slice(2, 9), slice(0, 4))
    assert apart.read(1, part).shape == (1, 7, 4)
    assert together.read(0, part).shape == (2, 7, 4)
    np.testing.assert_array_equal(apart.read(1, part)[0], together.read(0, part)[1])


def test_the_channel_may_be_the_label():
    found = labelled(pictures(labels=(None,) * 3), label=CHANNEL, classes=())
    assert found.classes == ("DNA", "ER")
    assert [e.label for e in found.examples] == [0, 1] * 3
    assert found.unlabelled == 0


def test_a_picture_without_a_label_is_counted_and_not_looked_at():
    found = labelled(pictures(labels=("x", None, "y")))
    assert found.unlabelled == 1
    assert {e.picture for e in found.examples} == {0, 2}


def test_without_a_label_all_are_looked_at():
    found = labelled(pictures(labels=("x", None, "y")), label="", classes=())
    assert len(found.examples) == 6
    assert {e.label for e in found.examples} == {None}


def test_a_channel_with_missing_pixels_is_left_out_and_counted():
    of = pictures()
    of[0].pixels[1] = np.nan
    of[1].pixels[0, 3, 3] = np.nan
    apart, together = labelled(of), labelled(of, per_channel=False)
    assert apart.left_out == together.left_out == 2
    assert [(e.picture, e.channel) for e in apart.examples] == [(0, 0), (1, 1), (2, 0), (2, 1)]
    assert [e.picture for e in together.examples] == [2]
    assert np.isfinite(apart.read(0, (slice(None),) * 2)).all()


@pytest.mark.parametrize(
    ("labels", "words"), [((None, None), "have none"), (("a", "a", None), "only one, 'a'")]
)
def test_one_class_is_nothing_to_tell_apart(labels, words):
    with pytest.raises(SettingsError, match=f"{words}.*--label"):
        classes_of(labels)


def test_classes_come_in_the_order_of_the_alphabet():
    assert classes_of(["b", None, "a", "b"]) == ("a", "b")


def test_pictures_of_other_channels_are_refused():
    with pytest.raises(ChannelError, match="'p0' has 2 channels, and DNA.*same channels"):
        labelled(pictures(), channels=("DNA",))


def test_nothing_to_look_at_is_refused():
    of = pictures()
    for picture in of:
        picture.pixels[:, 0, 0] = np.nan
    with pytest.raises(PixelDataError, match="No picture is left.*Give"):
        labelled(of, normalise_on="field")


def test_a_constant_channel_is_refused_by_name():
    of = pictures()
    of[1].pixels[0] = 7
    with pytest.raises(PixelDataError, match="'DNA' of picture 'p1'"):
        labelled(of, normalise_on="field")


def test_who_waits_is_told_of_each_picture():
    told = []
    labelled(pictures(), on_picture=lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]
