"""A model is given away as an ONNX graph or a bioimage.io package, whole or not at all."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from napari_virtualstain.cli.main import main
from napari_virtualstain.errors import (
    MissingExtraError,
    ModelPackageError,
    OutputExistsError,
    SettingsError,
    UnknownNameError,
)
from napari_virtualstain.generators.exporters import onnx_file
from napari_virtualstain.generators.package import load_package, read_card, read_test_pair
from napari_virtualstain.jobs.models import ModelsSettings, run
from napari_virtualstain.nets.onnx_graph import OnnxNetwork

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

# The library of bioimage.io leaves the files open that it reads.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


def export(model, out, **more):
    return run(ModelsSettings(action="export", file=str(model), out=str(out), **more))


def described(package, spec):
    folder = package.parent.parent / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.unpack_archive(package, folder)  # the library leaves a zip open
    return spec.load_model_description(next(folder.glob("*.yaml")))


def test_the_command_line_writes_a_package_that_its_format_takes(tiny_model, tmp_path, capsys):
    spec = pytest.importorskip("bioimageio.spec")
    out = tmp_path / "new" / "tiny.zip"
    line = ["models", "export", str(tiny_model), "--out", str(out), "--authors", "A. Maker"]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert f"tiny as bioimage.io package: {out}" in said
    descr = described(out, spec)
    assert not descr.validation_summary.errors
    assert str(descr.license) == "BSD-3-Clause"
    assert [p.name for p in out.parent.iterdir()] == ["tiny.zip"]
    assert main(line) == 1
    assert "exists. Choose another --out, or add --overwrite." in capsys.readouterr().err
    assert main([*line, "--overwrite", "--licence", "CC0-1.0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] < 1e-4
    assert str(described(out, spec).license) == "CC0-1.0"


def test_a_graph_alone_gives_the_stains_of_the_test_pair(tiny_model, tmp_path):
    out = tmp_path / "tiny.onnx"
    made = export(tiny_model, out)
    assert "normalised planes" in made.notes[0]
    planes, expected = read_test_pair(tiny_model)
    found = OnnxNetwork(out.read_bytes())(torch.from_numpy(planes)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std())


def test_a_graph_that_differs_is_not_written(tiny_model, tmp_path, monkeypatch):
    """As a fault of the exporter would: it writes a network with other weights."""
    plain = onnx_file._plain

    def other(module):
        net = plain(module)
        with torch.no_grad():
            next(net.parameters()).mul_(1.05)
        return net

    monkeypatch.setattr(onnx_file, "_plain", other)
    with pytest.raises(ModelPackageError, match="does not compute what the network does"):
        export(tiny_model, tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_onnx_cannot_hold_is_one_sentence(tiny_model, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no such operation\nand a page more")

    monkeypatch.setattr(torch.onnx, "export", broken)
    with pytest.raises(
        ModelPackageError, match=r"cannot be written as ONNX: no such operation\. Give"
    ):
        export(tiny_model, tmp_path / "tiny.onnx")


REFUSED = {
    "nothing": ({"action": "export"}, SettingsError, "name the model and the file to write"),
    "no file": ({"action": "export", "file": "demo"}, SettingsError, "name the model and the file"),
    "another ending": (
        {"action": "export", "file": "demo", "out": "demo.pt"}, SettingsError,
        r"does not say what to write\. Let --out end in \.zip",
    ),
    "no such model": (
        {"action": "export", "file": "dema", "out": "d.zip"}, UnknownNameError, "Did you mean 'demo'",
    ),
    "something for an import": (
        {"action": "export", "file": "demo", "out": "d.zip", "stains": ("DNA",)}, SettingsError,
        "as its card describes it. Leave out --stains",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_one_sentence(name):
    settings, kind, words = REFUSED[name]
    with pytest.raises(kind, match=words):
        run(ModelsSettings(**settings))


def edited(model, out, **changes):
    """Copy a model with another card."""
    shutil.copytree(model, out)
    card = json.loads((out / "card.json").read_text())
    (out / "card.json").write_text(json.dumps({**card, **changes}))
    return out


def test_a_package_needs_a_licence_and_says_how_to_state_one(tiny_model, tmp_path):
    bare = edited(tiny_model, tmp_path / "bare", licence="")
    out = tmp_path / "bare.zip"
    with pytest.raises(SettingsError, match=r"states no licence.*--licence CC-BY-4\.0\.$"):
        export(bare, out)
    assert not out.exists()
    export(bare, out, licence="MIT")
    assert read_card(bare).licence == ""


@pytest.mark.parametrize(("module", "extra"), [("onnx", "onnx"), ("bioimageio.spec", "bioimageio")])
def test_without_the_libraries_a_sentence_names_the_extra(module, extra, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n == module or n.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingExtraError, match=rf"pip install 'napari-virtualstain\[{extra}\]'\.$"
    ):
        export("demo", tmp_path / "demo.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_and_a_place_inside_the_model_are_refused(tiny_model, tmp_path):
    out = tmp_path / "tiny.onnx"
    out.write_text("mine")
    with pytest.raises(OutputExistsError, match="exists"):
        export(tiny_model, out)
    assert out.read_text() == "mine"
    with pytest.raises(SettingsError, match="lies inside the input"):
        export(tiny_model, tiny_model / "tiny.onnx")


def test_a_method_that_draws_is_refused(tiny_model, tmp_path, monkeypatch):
    from dataclasses import replace

    from napari_virtualstain.generators.registry import GENERATORS

    monkeypatch.setitem(GENERATORS, "unet", replace(GENERATORS["unet"], stochastic=True))
    with pytest.raises(
        ModelPackageError, match=r"at random in many steps.*Give away the model folder"
    ):
        export(tiny_model, tmp_path / "tiny.onnx")
    load_package(tiny_model)
