"""A user's own images as pictures that teach an encoder."""

from __future__ import annotations

import numpy as np
import pytest
from labelled_plates import EDGE, TREATMENTS, pixels_of, write_image, write_plates

from napari_virtualstain.datasets.labelled import CHANNEL
from napari_virtualstain.encoders.package import read_encoder_card
from napari_virtualstain.errors import ChannelError, PixelSizeError, SettingsError, UnknownNameError
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.labelled_images import open_pictures
from napari_virtualstain.jobs.train import TrainSettings, run


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    return write_plates(tmp_path_factory.mktemp("plates"))


def told(plates, **changed):
    usual = {
        "input": (str(plates / "in"),), "labels": str(plates / "labels.csv"), "out": "m",
        "encoder": "wsdino",
    }  # fmt: skip
    return make_settings(TrainSettings, {**usual, **changed})


def opened(plates, *, ndim=2, label="treatment", **changed):
    settings = told(plates, **changed)
    return open_pictures(settings, settings, ndim=ndim, label=label)


def test_every_field_of_every_plate_is_a_picture_with_the_label_of_its_well(plates):
    data = opened(plates)
    assert len(data.pictures) == 16
    assert data.channels == ("DAPI", "ER")
    assert data.card["pixel_size_um"] == 0.6
    found = {}
    for picture in data.pictures:
        found.setdefault(picture.label, []).append(np.asarray(picture.pixels))
    assert {label: len(of) for label, of in found.items()} == {
        "DMSO": 8, "taxol": 4, "colchicine": 4,
    }  # fmt: skip
    taxol = [pixels_of(p, TREATMENTS.index("taxol"), s)[0, :, 0] for p in (1, 2) for s in (0, 1)]
    for pixels in taxol:
        assert any(np.array_equal(pixels, of) for of in found["taxol"])


@pytest.mark.parametrize(("split_by", "groups"), [("field", 16), ("well", 8), ("plate", 2)])
def test_pictures_stay_together_as_is_asked(plates, split_by, groups):
    data = opened(plates, split_by=split_by)
    assert len({picture.group for picture in data.pictures}) == groups


def test_channels_are_chosen_by_name(plates):
    data = opened(plates, channels=("ER",))
    assert data.channels == ("ER",)
    assert data.pictures[0].pixels.shape == (1, EDGE, EDGE)


def test_without_a_label_no_table_is_read(plates):
    data = opened(plates, label="", labels="/nowhere.csv")
    assert {picture.label for picture in data.pictures} == {None}
    assert {p.label for p in opened(plates, label=CHANNEL, labels=None).pictures} == {None}


def test_fields_that_the_table_does_not_know_are_counted(plates, tmp_path):
    (tmp_path / "labels.csv").write_text("well,treatment\nA1,x\nA2,y\n")
    data = opened(plates, labels=str(tmp_path / "labels.csv"))
    assert sum(picture.label is None for picture in data.pictures) == 8
    assert data.notes[0].startswith("8 of 16 images have no 'treatment'")


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"input": ()}, SettingsError, "no images.*--input"),
        ({"label": "dose"}, UnknownNameError, "dose.*--label"),
        ({"channels": ("Mito",)}, ChannelError, "no channel 'Mito'.*--channels"),
        ({"scene": "Z9"}, SettingsError, "no image.*'Z9'.*info|No image.*'Z9'.*info"),
    ],
    ids=["no images", "another label", "another channel", "another scene"],
)
def test_what_is_not_there_is_said(plates, changed, error, words):
    label = changed.pop("label", "treatment")
    with pytest.raises(error, match=words):
        opened(plates, label=label, **changed)


def test_images_of_other_pixel_sizes_do_not_teach_together(tmp_path):
    for name, size in (("a", 0.6), ("b", 1.2)):
        write_image(tmp_path / f"{name}.ome.zarr", pixels_of(0, 0, 0), size=size)
    files = tuple(str(tmp_path / f"{name}.ome.zarr") for name in "ab")
    with pytest.raises(PixelSizeError, match=r"'b.*1.2 µm.*--pixel-size"):
        opened(tmp_path, input=files, label="")
    assert opened(tmp_path, input=files, label="", pixel_size=0.6).card["pixel_size_um"] == 0.6


def test_of_a_stack_one_plane_is_seen_or_all_of_them(tmp_path):
    pixels = pixels_of(0, 0, 0, planes=5)
    write_image(tmp_path / "a.ome.zarr", pixels)
    one = {"input": (str(tmp_path / "a.ome.zarr"),), "label": ""}
    np.testing.assert_array_equal(opened(tmp_path, **one).pictures[0].pixels, pixels[0, :, 2])
    chosen = opened(tmp_path, z=(4,), **one).pictures[0].pixels
    np.testing.assert_array_equal(chosen, pixels[0, :, 4])
    whole = opened(tmp_path, ndim=3, **one).pictures[0].pixels
    np.testing.assert_array_equal(whole, pixels[0])
    with pytest.raises(SettingsError, match="one plane of a stack.*--z"):
        opened(tmp_path, z=(0, 1), **one)


def test_a_plate_teaches_by_the_command_line(plates, tmp_path):
    small = {
        "preset": "tiny", "steps": 2, "batch": 4, "patch": 32, "narrow_patch": 16,
        "narrow_views": 1, "validation": 0.25, "split_by": "field", "device": "cpu",
        "out": str(tmp_path / "m"),
    }  # fmt: skip
    assert run(told(plates, **small)).finished
    card = read_encoder_card(tmp_path / "m")
    assert card.channel_names == ("DAPI", "ER")
    assert card.label == "treatment"
    assert card.training.data == "16 pictures of 16 images"
