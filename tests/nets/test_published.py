"""A file of weights is opened without running anything in it, or refused in a sentence."""

from __future__ import annotations

import argparse
import os
import pickle

import pytest
import torch
from torch import nn

from napari_virtualstain.errors import MissingInputError, ModelPackageError
from napari_virtualstain.nets.published import fill_weights, read_checkpoint


def weights():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)).state_dict()


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "how", ["pickle", "torch", "torch of old", "among weights", "in a namespace"]
)
def test_a_malicious_pickle_is_never_run(how, tmp_path):
    proof, path = tmp_path / "it ran", tmp_path / "weights.pth"
    bad = {"model_dict": Malicious(proof)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(bad, protocol=2))
    elif how == "in a namespace":
        torch.save({"teacher": weights(), "args": argparse.Namespace(x=Malicious(proof))}, path)
    elif how == "among weights":
        torch.save({"model_dict": weights(), "note": Malicious(proof)}, path)
    else:
        torch.save(bad, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(ModelPackageError, match=r"can run any code when it is opened, and is not"):
        read_checkpoint(path)
    assert not proof.exists()
    # The proof proves something: opened carelessly, it runs.
    if how == "pickle":
        pickle.loads(path.read_bytes())
        assert proof.exists()


def test_a_namespace_beside_the_weights_is_no_danger(tmp_path):
    path = tmp_path / "dino.pth"
    state = {"module.backbone.cls_token": torch.zeros(1), "module.backbone.patch_embed.proj.weight":
             torch.zeros(1)}  # fmt: skip
    torch.save({"teacher": state, "args": argparse.Namespace(lr=1e-3)}, path)
    content = read_checkpoint(path)
    assert content.under == "teacher"
    assert "backbone.cls_token" in content.state
    assert content.beside["args"].lr == 1e-3


FILES = {
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 373164277\n",
                "w.pth", r"Git LFS pointer.*git lfs pull"),
    "text": (b"not weights at all", "w.pth", r"holds more than weights, or is none"),
    "empty": (b"", "w.pth", r"is not read as weights"),
    "a text": (b"hello", "w.ckpt", r"is not read as weights: it is another kind of file\. Copy or"),
    "no safetensors": (b"not weights at all", "w.safetensors", r"is not a safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_weights_are_refused_in_a_sentence(name, tmp_path):
    content, called, words = FILES[name]
    path = tmp_path / called
    path.write_bytes(content)
    with pytest.raises(ModelPackageError, match=words) as caught:
        read_checkpoint(path)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"model_dict": weights()}, path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ModelPackageError, match="Copy or download it again"):
        read_checkpoint(path)


def test_a_file_that_is_not_there_or_holds_no_weights_is_refused(tmp_path):
    with pytest.raises(MissingInputError, match="There is no file"):
        read_checkpoint(tmp_path / "none.pth")
    for held, words in (({"epoch": 3}, "a dictionary of epoch"), ([1, 2], "a list")):
        torch.save(held, tmp_path / "w.pth")
        with pytest.raises(ModelPackageError, match=f"holds no weights by name: {words}"):
            read_checkpoint(tmp_path / "w.pth")


def test_a_huge_file_is_not_opened(tmp_path):
    path = tmp_path / "w.pth"
    with path.open("wb") as file:
        file.truncate(20 * 2**30)  # holes take no room
    with pytest.raises(ModelPackageError, match="has 21 GB, which no network"):
        read_checkpoint(path)


LAYOUTS = {
    "alone": lambda s: s,
    "under a key": lambda s: {"state_dict": s, "epoch": 3},
    "of several cards": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
    "the teacher rather than the student": lambda s: {
        "student": {"other": torch.zeros(1)}, "teacher": s,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_are_found_wherever_they_lie(name, tmp_path):
    state = weights()
    torch.save(LAYOUTS[name](state), tmp_path / "w.pth")
    content = read_checkpoint(tmp_path / "w.pth")
    assert content.state.keys() == state.keys()
    assert all(torch.equal(content.state[k], v) for k, v in state.items())
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3))
    fill_weights(net, content.state, "two layers")
    assert all(torch.equal(net.state_dict()[k], v) for k, v in state.items())
