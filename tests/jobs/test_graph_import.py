"""Networks of others are imported as they came, and stain pictures of any size."""

from __future__ import annotations

import json
import shutil
import zipfile

import dask.array as da
import numpy as np
import pytest
import torch
from torch import nn

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import MissingInputError, ModelPackageError, SettingsError
from napari_virtualstain.generators.package import load_package, read_card
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.models import ModelsSettings, run
from napari_virtualstain.zoo import load_generator

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("bioimageio.spec")
yaml = pytest.importorskip("ruamel.yaml")


# The library of bioimage.io leaves the files open that it reads.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(autouse=True)
def models_here(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def package(tiny_model, tmp_path_factory):
    """The tiny model as a bioimage.io package; read-only."""
    out = tmp_path_factory.mktemp("package") / "tiny.zip"
    run(ModelsSettings(action="export", file=str(tiny_model), out=str(out)))
    return out


def take(file, out="theirs", **more):
    return run(ModelsSettings(action="import", file=str(file), out=out, **more))


def light(planes=3, edges=(70, 101), seed=0):
    pixels = np.random.default_rng(seed).normal(1000, 100, (1, 1, planes, *edges))
    return LazyImage(
        data=da.from_array(pixels.astype(np.float32), chunks=(1, 1, 1, 64, 64)),
        channels=(Channel("Brightfield", "transmitted"),), pixel_size_um=PixelSize(4.0, 0.6, 0.6),
    )  # fmt: skip


def stained(model, image, folder, **settings):
    out = folder / f"{len(list(folder.iterdir()))}.ome.zarr"
    chosen = stain.StainSettings(input="array", model=str(model), out=str(out), **settings)
    stain.run(chosen, image=image)
    return open_image(out).data.compute()


def changed(package, folder, change):
    """Unpack a package, change its description (a dictionary) and return the folder."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    (path,) = [p for p in folder.iterdir() if p.suffix == ".yaml"]
    reader = yaml.YAML(typ="safe")
    described = reader.load(path.read_text())
    change(described, folder)
    with path.open("w") as file:
        yaml.YAML(typ="safe", pure=True).dump(described, file)
    return folder


def foreign(described, folder):
    """As another program would have written it: without our card."""
    graph = onnx.load(folder / "weights.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, folder / "weights.onnx")
    del described["weights"]["onnx"]["sha256"]


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.std())


# Our own exports come back.


@pytest.mark.parametrize("kind", ["zip", "onnx"])
def test_a_model_that_was_exported_stains_as_before(kind, tiny_model, package, tmp_path):
    file = package
    if kind == "onnx":
        file = tmp_path / "tiny.onnx"
        run(ModelsSettings(action="export", file=str(tiny_model), out=str(file)))
    take(file, licence="MIT")
    card, before = read_card(tmp_path / "models" / "theirs"), read_card(tiny_model)
    assert (card.generator, card.licence, card.name) == ("onnx", "MIT", "theirs")
    kept = ("inputs", "stains", "pixel_size_um", "input_rule", "limits", "training")
    assert all(getattr(card, entry) == getattr(before, entry) for entry in kept)
    (tmp_path / "out").mkdir()
    wanted = stained(tiny_model, light(), tmp_path / "out", mode="whole")
    close(stained("theirs", light(), tmp_path / "out"), wanted)
    # In tiles too, since it looks as far as the network that it was made of.
    close(stained("theirs", light(), tmp_path / "out", tile=32), wanted)
    with pytest.raises(SettingsError, match=r"was a model of this program.*Leave out --pixel-size"):
        take(file, "other", pixel_size=0.5)


@pytest.mark.parametrize("method", ["fnet", pytest.param("fcmae", marks=pytest.mark.slow)])
def test_a_model_over_stacks_comes_back_too(method, tmp_path):
    from stacks import DEPTH, EDGE, train_on_stacks

    from napari_virtualstain.generators.importers.convert import test_planes_of
    from napari_virtualstain.generators.package import save_package
    from napari_virtualstain.generators.registry import GENERATORS, build_generator

    model = train_on_stacks(tmp_path)
    if method == "fcmae":
        generator = build_generator("fcmae", in_channels=1, out_channels=2, preset="tiny")
        card = read_card(model)
        card = card.model_copy(
            update={"generator": "fcmae", "architecture": dict(GENERATORS["fcmae"].presets["tiny"]),
                    "volume": card.volume.model_copy(update={"window": 4})}
        )  # fmt: skip
        model = str(tmp_path / "fcmae")
        save_package(model, card, generator, test_planes_of(generator))
    file = tmp_path / "m.zip"
    run(ModelsSettings(action="export", file=model, out=str(file), licence="MIT"))
    take(file)
    (tmp_path / "out").mkdir()
    bright = LazyImage(
        data=open_image(tmp_path / "light1.ome.zarr").data[..., :50],
        channels=(Channel("Brightfield", "transmitted"),), pixel_size_um=PixelSize(1.5, 0.5, 0.5),
    )  # fmt: skip
    wanted = stained(model, bright, tmp_path / "out", mode="whole")
    found = stained("theirs", bright, tmp_path / "out", mode="whole")
    assert found.shape == (1, 2, DEPTH, EDGE, 50)
    close(found, wanted)


# Packages of others.


def test_a_package_of_others_is_read_by_its_description(tiny_model, package, tmp_path):
    folder = changed(package, tmp_path / "package", foreign)
    made = take(folder, z_offsets=(-4, 0, 4), channel="Brightfield")
    card = made.card
    before = read_card(tiny_model)
    assert card.stain_names == before.stain_names
    assert card.pixel_size_um == before.pixel_size_um
    assert (card.input_rule.kind, card.licence) == ("zscore", "BSD-3-Clause")
    assert "10.1038/s41598-022-12914-x" in card.citation
    assert (
        take(changed(package, tmp_path / "newer", altered_card), "newer").card.imported is not None
    )
    assert card.imported is not None
    assert card.imported.format == "ONNX graph"
    (tmp_path / "out").mkdir()
    # Large enough that nothing is filled up: there zeros are all there is to see.
    image = light(edges=(96, 112))
    wanted = stained(tiny_model, image, tmp_path / "out", mode="whole")
    close(stained("theirs", image, tmp_path / "out"), wanted)


def test_a_description_of_format_0_4_is_upgraded(package, tmp_path):
    """Written by hand, since nobody writes it any more: z-score, scale, fixed size."""
    folder = changed(package, tmp_path / "old", foreign)
    with (folder / "rdf.yaml").open() as file:
        new = yaml.YAML(typ="safe").load(file)
    given = np.load(folder / "test_input.npy")
    edge = given.shape[-1]
    old = {
        "format_version": "0.4.10", "type": "model", "name": "An old model",
        "description": "old", "authors": [{"name": "A"}], "license": "MIT",
        "cite": [{"text": "A", "doi": "10.1038/s41598-022-12914-x"}], "tags": ["old"],
        "timestamp": "2022-01-01T00:00:00", "documentation": "README.md", "covers": [],
        "test_inputs": ["test_input.npy"], "test_outputs": ["test_output.npy"],
        "inputs": [{
            "name": "light", "axes": "bcyx", "data_type": "float32", "shape": [1, 3, edge, edge],
            "preprocessing": [
                {"name": "zero_mean_unit_variance", "kwargs": {"axes": "yx", "mode": "per_sample"}},
                {"name": "clip", "kwargs": {"min": -15, "max": 15}},
            ],
        }],
        "outputs": [{
            "name": "stain", "axes": "bcyx", "data_type": "float32", "shape": [1, 5, edge, edge],
        }],
        "weights": {"onnx": {"source": "weights.onnx", "opset_version": 18}},
    }  # fmt: skip
    # What the test output is without the scales behind the network.
    scale = next(p for p in new["outputs"][0]["postprocessing"] if p["id"] == "scale_linear")[
        "kwargs"
    ]
    gain, offset = (np.reshape(scale[n], (1, -1, 1, 1)) for n in ("gain", "offset"))
    stains = (np.load(folder / "test_output.npy") - offset) / gain
    np.save(folder / "test_output.npy", stains.astype(np.float32))
    with (folder / "rdf.yaml").open("w") as file:
        yaml.YAML(typ="safe", pure=True).dump(old, file)
    made = take(folder / "rdf.yaml", stains=("A", "B", "C", "D", "E"), pixel_size=0.6)
    assert made.card.architecture["sizes"] == [[edge, 0], [edge, 0]]
    assert made.card.input_rule.kind == "zscore"
    assert {plane.channel for plane in made.card.inputs} == {"Brightfield"}  # none is named
    (tmp_path / "out").mkdir()
    assert np.isfinite(stained("theirs", light(), tmp_path / "out")).all()


def keras(described, folder):
    foreign(described, folder)
    described["weights"] = {
        "keras_hdf5": {"source": "weights.onnx", "tensorflow_version": "2.10.0"}
    }
    del folder


def source_code(described, folder):
    foreign(described, folder)
    (folder / "net.py").write_text("raise SystemExit('it ran')")
    described["weights"] = {
        "pytorch_state_dict": {
            "source": "weights.onnx", "pytorch_version": "2.0.0",
            "architecture": {"source": "net.py", "callable": "Net"},
        }
    }  # fmt: skip


def two_inputs(described, folder):
    foreign(described, folder)
    second = json.loads(json.dumps(described["inputs"][0], default=str))
    described["inputs"].append({**second, "id": "second"})


def altered_card(described, folder):
    """Of a version that nobody knows: as a package of others."""
    graph = onnx.load(folder / "weights.onnx")
    graph.metadata_props[0].value = '{"card": {"schema_version": 9}}'
    onnx.save(graph, folder / "weights.onnx")
    del described["weights"]["onnx"]["sha256"]


def lost_weights(described, folder):
    del described
    (folder / "weights.onnx").unlink()


def altered_weights(described, folder):
    del described
    path = folder / "weights.onnx"
    path.write_bytes(path.read_bytes()[:-10])


def remote_weights(described, folder):
    del folder
    described["weights"]["onnx"]["source"] = "https://example.com/weights.onnx"


def other_output(described, folder):
    result = np.load(folder / "test_output.npy")
    np.save(folder / "test_output.npy", result * 1.1)
    del described["outputs"][0]["test_tensor"]["sha256"]


def softmax_before(described, folder):
    foreign(described, folder)
    described["inputs"][0]["preprocessing"].insert(
        0, {"id": "softmax", "kwargs": {"axis": "channel"}}
    )


def last_channels(described, folder):
    foreign(described, folder)
    for tensor in (described["inputs"][0], described["outputs"][0]):
        tensor["axes"].append(tensor["axes"].pop(1))


def a_dataset(described, folder):
    del folder
    described["type"], described["format_version"] = "dataset", "0.3.0"


BAD = {
    "keras only": (keras, r"has weights for keras_hdf5 only.*Ask its author for ONNX"),
    "python source": (source_code, r"is Python source.*never run here.*Ask its author"),
    "two inputs": (two_inputs, r"takes 2 pictures and gives 1.*Import another model"),
    "weights that are not there": (lost_weights, r"lacks its file weights\.onnx.*again"),
    "altered weights": (altered_weights, r"sha256 differs.*again"),
    "weights elsewhere": (remote_weights, r"at https://example.com.*nothing is fetched.*Download"),
    "another output": (other_output, r"does not give its own test output here.*Ask its author"),
    "softmax before it": (softmax_before, r"asks for softmax before its network.*Import another"),
    "channels last": (last_channels, r"batch, y, x, channel; this version runs"),
    "a data set": (a_dataset, r"is no valid description of a bioimage.io model.*Ask its author"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_a_package_that_cannot_be_run_is_refused(change, words, package, tmp_path, models_here):
    folder = changed(package, tmp_path / "package", change)
    with pytest.raises(ModelPackageError, match=words):
        take(folder)
    assert not (models_here / "theirs").exists()


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "rdf.yaml").write_text("a: [")
    (tmp_path / "w.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelPackageError, match=r"is (not read|no valid).*(again|Ask its author)"):
        take(tmp_path / "rdf.yaml")
    with pytest.raises(ModelPackageError, match=r"The ONNX graph cannot be run.*again"):
        take(tmp_path / "w.onnx")
    with pytest.raises(MissingInputError, match="There is no"):
        take(tmp_path / "lost.onnx")


# TorchScript.


class Net(nn.Module):
    """Takes 48 x 48 px and nothing else; looks 2 px around a pixel."""

    def __init__(self, edge: int = 48):
        super().__init__()
        self.edge = edge
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.edge > 0 and (x.shape[2] != self.edge or x.shape[3] != self.edge):
            raise ValueError("another size")
        return self.last(torch.relu(self.first(x)))


def scripted(path, edge=48):
    torch.manual_seed(0)
    net = Net(edge).eval()
    torch.jit.script(net).save(str(path))
    return net


def whole(net, pixels, stride=16):
    """The stupid twin: at any size, filled up with zeros to the stride as the engine does it."""
    net.edge = 0
    normal = (pixels - pixels.mean()) / pixels.std()
    given = np.pad(normal, [(0, -n % stride) for n in pixels.shape]).astype(np.float32)
    with torch.no_grad():
        stains = net(torch.from_numpy(given)[None, None])[0].numpy()
    return stains[:, : pixels.shape[0], : pixels.shape[1]]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
class TestTorchScript:
    def described(self, package, folder, edge):
        """A package whose only weights are a TorchScript module of one size."""
        net = scripted(folder / "weights.pt", edge)
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)

        def change(described, folder):
            foreign(described, folder)
            given, result = described["inputs"][0], described["outputs"][0]
            given["preprocessing"] = [
                {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"]}}
            ]
            result["postprocessing"] = []
            given["axes"][1]["channel_names"], result["axes"][1]["channel_names"] = (
                ["bf"],
                ["H2B", "Actin"],
            )
            for tensor in (given, result):
                del tensor["test_tensor"]
                for axis in tensor["axes"][2:]:
                    axis["size"] = edge
                    axis.pop("halo", None)
            described["weights"] = {
                "torchscript": {"source": "weights.pt", "pytorch_version": "2.4.0"}
            }
            described.pop("covers", None)

        return net, changed(package, folder, change)

    def test_a_module_of_one_size_stains_pictures_of_any(self, package, tmp_path):
        (tmp_path / "package").mkdir()
        net, folder = self.described(package, tmp_path / "package", 48)
        with pytest.raises(ModelPackageError, match=r"may read and write files.*add --trust"):
            take(folder)
        card = take(folder, trust=True).card
        assert card.stain_names == ("H2B", "Actin")
        assert card.inputs[0].channel == "Brightfield"
        assert (card.architecture["halo"], card.architecture["multiple_of"]) == (2, 16)
        image = light(1)
        wanted = whole(net, image.data[0, 0, 0].compute())
        (tmp_path / "out").mkdir()
        for settings in ({}, {"tile": 64}):
            found = stained("theirs", image, tmp_path / "out", **settings)[0, :, 0]
            close(found, wanted)

    def test_a_program_runs_only_for_who_trusts_it(self, tmp_path, models_here, monkeypatch):
        scripted(tmp_path / "net.pt", 0)
        stated = {"stains": ("A", "B"), "pixel_size": 0.6}
        opened = []
        monkeypatch.setattr(torch.jit, "load", lambda *a, **k: opened.append(a))
        with pytest.raises(ModelPackageError, match=r"may read and write files.*add --trust"):
            take(tmp_path / "net.pt", **stated)
        assert opened == []
        monkeypatch.undo()
        monkeypatch.setenv("NVS_MODELS", str(models_here))
        made = take(tmp_path / "net.pt", trust=True, **stated)
        assert load_generator("theirs").card == made.card
        # Somebody else has the folder, but never said so.
        monkeypatch.setenv("NVS_MODELS", str(tmp_path / "elsewhere"))
        shutil.copytree(made.out, tmp_path / "copied")
        for load in (load_generator, load_package):
            with pytest.raises(ModelPackageError, match=r"a program that may.*--trust\.$"):
                load(tmp_path / "copied")
        with pytest.raises(ModelPackageError, match=r"a program that may"):
            take(tmp_path / "copied", "again")
        take(tmp_path / "copied", "again", trust=True)
        load_generator(tmp_path / "copied")

    def test_an_altered_program_is_another_one(self, tmp_path, models_here):
        scripted(tmp_path / "net.pt", 0)
        made = take(tmp_path / "net.pt", trust=True, stains=("A", "B"), pixel_size=0.6)
        file = made.out / "weights.pt"
        file.write_bytes(file.read_bytes() + b" ")
        with pytest.raises(ModelPackageError, match="altered or cut short"):
            load_generator("theirs")


def test_a_graph_is_not_trained_on_and_not_exported_again(package, tmp_path):
    from napari_virtualstain.generators.learning import LearningSettings

    take(package)
    model = load_generator("theirs")
    with pytest.raises(SettingsError, match=r"stained with and not trained"):
        model.generator.learner(LearningSettings())
    with pytest.raises(ModelPackageError, match=r"is itself a graph.*Give away the file"):
        run(ModelsSettings(action="export", file="theirs", out=str(tmp_path / "again.zip")))


def test_a_plain_graph_needs_to_be_told_what_it_stains(package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        graph = onnx.load_model_from_string(archive.read("weights.onnx"))
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "plain.onnx")
    with pytest.raises(SettingsError, match=r"Name its 5 stains with --stains"):
        take(tmp_path / "plain.onnx")
    with pytest.raises(SettingsError, match=r"for which pixel size"):
        take(tmp_path / "plain.onnx", stains=("A", "B", "C", "D", "E"))
    made = take(tmp_path / "plain.onnx", stains=("A", "B", "C", "D", "E"), pixel_size=0.6)
    assert len(made.card.inputs) == 3
    assert made.card.architecture["multiple_of"] == 32
