"""A file of weights becomes an encoder with a name, which is listed and loaded."""

from __future__ import annotations

import argparse
import hashlib
import json
import zipfile

import numpy as np
import pytest
import torch

from napari_virtualstain.cli.main import main
from napari_virtualstain.encoders.package import read_encoder_card
from napari_virtualstain.encoders.packaged import PACKAGED
from napari_virtualstain.errors import ModelPackageError, OutputExistsError, SettingsError
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.io.model_files import SEES
from napari_virtualstain.jobs.models import ModelsSettings, describe, listing, run
from napari_virtualstain.nets.resnet import ResNet
from napari_virtualstain.nets.vit import VisionTransformer
from napari_virtualstain.zoo import list_encoders, list_models, load_encoder


@pytest.fixture(autouse=True)
def models_here(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def vit(channels=3):
    torch.manual_seed(0)
    return VisionTransformer(channels, patch=8, dim=64, depth=1, heads=1, image=32).eval()


@pytest.fixture
def weak(tmp_path):
    """A checkpoint of WS-DINO."""
    path = tmp_path / "checkpoint0200.pth"
    teacher = {f"backbone.{k}": v for k, v in vit().state_dict().items()}
    args = argparse.Namespace(weak_label_header="Unique_Compounds")
    torch.save({"student": {}, "teacher": teacher, "epoch": 200, "args": args}, path)
    return path


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "classifier.pt"
    net = ResNet(1, 2, blocks=(1,), width=4, bottleneck=False)
    torch.save(net.state_dict(), path)
    return path


def bring(path, out="theirs", **settings):
    return run(ModelsSettings(action="import", file=str(path), out=str(out), **settings))


def brought():
    """Return the names of encoders here, without those that an extra brings."""
    return [name for name in list_encoders() if name not in PACKAGED]


def test_an_encoder_gets_a_name_and_sees_what_it_saw(weak, models_here):
    made = bring(weak, licence="asked for")
    assert (made.out, made.name) == (models_here / "theirs", "theirs")
    assert (models_here / "theirs" / SEES).is_file()
    assert brought() == ["theirs"]
    assert "theirs" not in list_models()
    model = load_encoder("theirs")
    given = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_array_equal(
            model.encoder.features(given), vit()(torch.from_numpy(given)).numpy()
        )
    assert model.card.imported.sha256 == hashlib.sha256(weak.read_bytes()).hexdigest()
    assert model.card.licence == "asked for"


def test_it_is_said_and_listed_what_it_is(weak, classifier, capsys):
    assert main(["models", "import", str(weak), "--out", "theirs"]) == 0
    said = capsys.readouterr().out
    assert "WS-DINO (ViT-64/8), imported as the encoder" in said
    assert "takes any channel, each by itself, crops of 32 x 32 px" in said
    words = ["models", "import", str(classifier), "--out", "which", "--classes", "DNA,ER"]
    assert main([*words, "--pixel-size", "0.65", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["encoder"], found["classes"], found["name"]) == ("resnet", ["DNA", "ER"], "which")
    assert main(["models", "--all"]) == 0
    said = capsys.readouterr().out
    part = said[said.index("Encoders (") : said.index("To download")]
    for words in (
        "theirs: WS-DINO, ViT-64/8", "learnt from: not known; epoch 200, by Unique_Compounds",
        "tells apart DNA, ER", "of 0.65 µm", "licence: not stated", "note: Grey values above 10000",
    ):  # fmt: skip
        assert words in part
    encoders = listing()["encoders"]
    assert [one["name"] for one in encoders if one["name"] not in PACKAGED] == ["theirs", "which"]
    assert {"title", "takes", "learnt_from", "licence", "limits"} <= encoders[0].keys()


def test_a_damaged_encoder_is_listed_with_what_is_wrong(weak, models_here, capsys):
    bring(weak)
    (models_here / "theirs" / SEES).write_text("{}")
    assert main(["models"]) == 0
    assert "theirs: The encoder.json of" in capsys.readouterr().out


def test_an_encoder_of_ours_is_taken_over_from_folder_zip_or_weights(weak, tmp_path):
    first = bring(weak, tmp_path / "first").out
    packed = tmp_path / "first.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in first.iterdir():
            archive.write(file, f"first/{file.name}")
    before = read_encoder_card(first)
    for number, own in enumerate((first, packed, first / "weights.safetensors")):
        made = bring(own, f"copy {number}", citation="ours")
        assert made.format == "an encoder of napari-virtualstain"
        after = read_encoder_card(made.out)
        assert (after.name, after.citation) == (f"copy {number}", "ours")
        assert after.files["weights.safetensors"] == before.files["weights.safetensors"]
    with pytest.raises(SettingsError, match="an encoder already.*Leave out --stains"):
        bring(first, "copy 3", stains=("DNA",))


def test_nothing_is_replaced_that_is_another_kind_of_model(weak, tmp_path):
    bring(weak)
    with pytest.raises(OutputExistsError, match="The encoder folder .* exists.*--overwrite"):
        bring(weak)
    bring(weak, overwrite=True)
    state = build_generator(
        "unet", in_channels=1, out_channels=1, architecture={"depth": 2, "width": 2, "norm": "none"}
    ).module().state_dict()  # fmt: skip
    torch.save(state, tmp_path / "unet.pth")
    stated = {"stains": ("DNA",), "pixel_size": 0.5}
    with pytest.raises(OutputExistsError, match="exists and is not a model folder"):
        bring(tmp_path / "unet.pth", **stated, overwrite=True)
    bring(tmp_path / "unet.pth", "paints", **stated)
    with pytest.raises(OutputExistsError, match="exists and is not an encoder folder"):
        bring(weak, "paints", overwrite=True)
    with pytest.raises(SettingsError, match="which stains. Leave out --classes"):
        bring(tmp_path / "unet.pth", "other", **stated, classes=("a",))


def test_what_only_stains_is_refused_of_an_encoder(weak):
    for settings, option in (({"z_step": 1.0}, "--z-step"), ({"channel": "DNA"}, "--channel")):
        with pytest.raises(SettingsError, match=f"paints nothing. Leave out {option}"):
            bring(weak, **settings)
    assert brought() == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-3000])


def other(path):
    torch.save({"teacher": {"backbone.cls_token": torch.zeros(1)}}, path)


def text(path):
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [(cut, "Copy or download it again"), (other, "look like no method"), (text, "Git LFS pointer")],
    ids=["cut short", "no transformer", "a pointer"],
)
def test_a_file_that_is_no_encoder_leaves_nothing_behind(weak, models_here, damage, words):
    damage(weak)
    with pytest.raises(ModelPackageError, match=words):
        bring(weak)
    assert not (models_here / "theirs").exists()


def test_json_of_an_import_says_what_to_know(weak):
    found = describe(bring(weak))
    assert found["sha256"] == hashlib.sha256(weak.read_bytes()).hexdigest()
    assert found["limits"]
