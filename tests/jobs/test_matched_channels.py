"""The image that holds the true stains is found among a few, and named where it is not clear."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_virtualstain.jobs import matched_channels
from napari_virtualstain.jobs.matched_channels import open_truth


@pytest.fixture
def folder(monkeypatch):
    """Images by their channels, in the place of files; tells what was opened in the usual way."""
    asked = []

    def holding(*images):
        made = [SimpleNamespace(channel_names=names) for names in images]
        scenes = [SimpleNamespace(open=lambda image=image: image) for image in made]
        monkeypatch.setattr(matched_channels, "list_scenes", lambda path, **_: scenes)
        monkeypatch.setattr(
            matched_channels, "open_image", lambda path, **how: asked.append(how) or "as usual"
        )
        return asked

    return holding


def test_the_only_image_with_a_stain_is_the_truth_by_name_or_synonym(folder):
    folder(("PHASE_CONTRAST",), ("DAPI_CONFOCAL", "MAP2_CONFOCAL"))
    assert open_truth("d", ("DNA",)).channel_names == ("DAPI_CONFOCAL", "MAP2_CONFOCAL")
    assert open_truth("d", ("MAP2",)).channel_names == ("DAPI_CONFOCAL", "MAP2_CONFOCAL")


@pytest.mark.parametrize(
    ("images", "how"),
    [
        pytest.param([("DAPI",), ("Hoechst",)], {}, id="two could be meant"),
        pytest.param([("Phase",), ("ER",)], {}, id="none has it"),
        pytest.param([("Phase",), ("DAPI",)], {"scene": "b"}, id="a scene is named"),
        pytest.param([("Phase",), ("DAPI",)], {"channels": ["DAPI"]}, id="channels are named"),
        pytest.param([("DAPI",)], {}, id="one image"),
        pytest.param([("Phase",)] * 8 + [("DAPI",)], {}, id="too many to look into"),
    ],
)
def test_all_else_is_opened_as_usual(folder, images, how):
    asked = folder(*images)
    assert open_truth("d", ("DNA",), **how) == "as usual"
    assert len(asked) == 1
