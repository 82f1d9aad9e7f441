"""A checkpoint is of one training; what was not a setting yet when it was made had its default."""

from __future__ import annotations

import pytest
import torch

from napari_virtualstain.errors import ModelPackageError, SettingsError
from napari_virtualstain.training.checkpoint import load_checkpoint, save_checkpoint
from napari_virtualstain.training.settings import LoopSettings

NOW = {"seed": 1, "foreground": 0.0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.pt"


def test_what_was_saved_is_there_again(path):
    save_checkpoint(path, {"weights": torch.arange(3)}, settings=NOW)
    assert load_checkpoint(path, settings=NOW)["weights"].tolist() == [0, 1, 2]


def test_another_setting_is_named(path):
    save_checkpoint(path, {}, settings=NOW)
    with pytest.raises(SettingsError, match="seed = 1, this training has 2"):
        load_checkpoint(path, settings={**NOW, "seed": 2})


def test_a_setting_that_is_younger_than_the_checkpoint_had_its_default(path):
    assert LoopSettings.model_fields["foreground"].default == 0.0
    save_checkpoint(path, {}, settings={"seed": 1})
    load_checkpoint(path, settings=NOW)
    with pytest.raises(SettingsError, match=r"foreground = 0.0, this training has 0.5"):
        load_checkpoint(path, settings={**NOW, "foreground": 0.5})


@pytest.mark.parametrize("content", [b"", b"words", b"PK\x03\x04"])
def test_what_is_none_is_told_in_a_sentence(path, content):
    path.write_bytes(content)
    with pytest.raises(ModelPackageError, match="cannot be read"):
        load_checkpoint(path, settings=NOW)
