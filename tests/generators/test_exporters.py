"""An exported graph computes what the network does, at any size, and a description says how."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from napari_virtualstain.errors import MissingExtraError, ModelPackageError, SettingsError
from napari_virtualstain.generators.card import InputPlane, ModelCard, Stain, VolumeInput
from napari_virtualstain.generators.exporters.onnx_file import CARD_KEY, check_graph, graph_of
from napari_virtualstain.generators.registry import GENERATORS, build_generator
from napari_virtualstain.intensity import Normalisation, Rule
from napari_virtualstain.io.origin import TrainingReport
from napari_virtualstain.nets.onnx_graph import OnnxNetwork

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

# The library of bioimage.io leaves the files open that it reads.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

QUICK = ("unet", "fnet")
"""Of the kinds of networks one each, over planes and over stacks: writing a graph takes seconds."""


def built(name):
    """A tiny network whose statistics and competing channels have a say."""
    volume = GENERATORS[name].ndim == (3,)
    generator = build_generator(name, in_channels=1 if volume else 3, out_channels=2, preset="tiny")
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part, value in generator.module().state_dict().items():
            if part.endswith("running_var"):
                value.uniform_(0.5, 2.0, generator=draw)
            elif part.endswith("running_mean") or ".grn." in part:
                value.normal_(0, 0.5, generator=draw)
    return generator


def card_of(name, generator, **more):
    volume = generator.ndim == 3
    return ModelCard(
        name="shown", title="Shown", generator=name, architecture=dict(GENERATORS[name].presets["tiny"]),
        inputs=[InputPlane(channel="Brightfield")] if volume
        else [InputPlane(channel="Brightfield", z_offset_um=z) for z in (-4.0, 0.0, 4.0)],
        stains=[Stain(name="DNA", normalisation=Normalisation(offset=500, scale=80)),
                Stain(name="α-tubulin", normalisation=Normalisation(offset=90, scale=7))],
        volume=VolumeInput(window=generator.window, z_step_um=0.3) if volume else None,
        training=TrainingReport(recipe="r", data="simulated", n_fields=1, n_validation_fields=0,
                                steps=1, seed=0, loss="l1"),
        **{"licence": "CC-BY-4.0", "pixel_size_um": (0.6, 0.5), **more},
    )  # fmt: skip


def graph(name, generator):
    stride = generator.multiple_of
    return graph_of(card_of(name, generator), generator, halo=10, multiple_of=stride)


def planes_of(generator, *times):
    """Normalised planes of so many strides along y and x."""
    edges = [generator.multiple_of * n for n in times]
    if generator.ndim == 3:
        edges = [generator.window or 2 * generator.multiple_of, *edges]
    shape = (1, generator.in_channels, *edges)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name, spec in sorted(GENERATORS.items())
        if not spec.stochastic  # walks in many passes, of which no graph is made
    ],
)
def test_a_graph_computes_what_its_network_does(name):
    generator = built(name)
    made = graph(name, generator)
    for times in ((4, 4), (3, 7)):
        planes = planes_of(generator, *times)
        assert check_graph(made, generator, planes) < 1e-4
        assert check_graph(made, generator, planes.repeat(3, axis=0)) < 1e-4
        wanted = generator.predict(planes)
        found = OnnxNetwork(made)(torch.from_numpy(planes)).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.std())


@pytest.fixture(scope="module")
def shown():
    generator = built("unet")
    return generator, graph("unet", generator)


def test_a_graph_of_other_weights_is_refused(shown):
    generator, content = shown
    other = built("unet")
    with torch.no_grad():
        next(other.module().parameters()).mul_(1.01)
    assert check_graph(content, generator, planes_of(generator, 8, 8)) < 1e-4
    with pytest.raises(
        ModelPackageError, match=r"does not compute what the network does.*Nothing was"
    ):
        check_graph(content, other, planes_of(generator, 8, 8))


def test_a_graph_holds_the_card_of_its_model(shown):
    generator, content = shown
    kept = json.loads(OnnxNetwork(content).metadata[CARD_KEY])
    assert (kept["halo"], kept["multiple_of"]) == (10, 2)
    assert ModelCard.model_validate(kept["card"]) == card_of("unet", generator)


def test_the_memory_of_a_graph_is_told_without_running_it(shown):
    """On the meta device it holds what it would hold, and gives the shape that it would give."""
    generator, content = shown
    from napari_virtualstain.inference.network import prepare_network

    net = OnnxNetwork(content)
    net.spatial_axes, net.in_channels, net.approximate_reach = 2, 3, (8, 2)
    network, plain = prepare_network(net), prepare_network(generator.module())
    assert network.traced is None
    told, known = (n.forward_bytes((64, 96)) for n in (network, plain))
    assert 0.5 * known < told < 3 * known
    assert net(torch.empty(1, 3, 64, 96, device="meta")).shape == (1, 2, 64, 96)


def test_without_the_libraries_a_sentence_names_the_extra(shown, monkeypatch):
    generator, _ = shown
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'napari-virtualstain\[onnx\]'\.$"):
        graph("unet", generator)


# The description.


def packed(tmp_path, shown, *, name="unet", halo=10, **more):
    from napari_virtualstain.generators.exporters.bioimageio import Packed, pack, planes_for_package

    generator, content = shown
    path = tmp_path / "shown.zip"
    made = tmp_path / "shown"
    planes = planes_for_package(
        planes_of(generator, 4, 4), halo=halo, multiple_of=generator.multiple_of
    )
    pack(
        path,
        Packed(
            card=card_of(name, generator, **more), generator=generator, graph=content, halo=halo,
            multiple_of=generator.multiple_of, planes=planes, authors=("A. Maker",),
        ),
    )  # fmt: skip
    # Unpacked, since the library leaves a zip open.
    shutil.unpack_archive(path, made)
    return next(made.glob("*.yaml"))


def described(path):
    spec = pytest.importorskip("bioimageio.spec")
    descr = spec.load_model_description(path)
    assert descr.validation_summary.status in {"passed", "valid-format"}
    assert not descr.validation_summary.errors
    return descr


def test_a_package_says_what_the_card_says(tmp_path, shown):
    descr = described(packed(tmp_path, shown))
    assert descr.format_version.startswith("0.5.")
    assert [a.name for a in descr.authors] == ["A. Maker"]
    assert str(descr.license) == "CC-BY-4.0"
    assert [str(c.doi) for c in descr.cite] == ["10.1038/s41598-022-12914-x"]
    planes, stains = descr.inputs[0], descr.outputs[0]
    assert [str(a.id) for a in planes.axes] == ["batch", "channel", "y", "x"]
    assert planes.axes[1].channel_names == [
        "Brightfield_minus_4_um", "Brightfield_plus_0_um", "Brightfield_plus_4_um",
    ]  # fmt: skip
    assert stains.axes[1].channel_names == ["DNA", "α_tubulin"]
    y, x = planes.axes[2:]
    assert (y.unit, y.scale, x.scale) == ("micrometer", pytest.approx(0.6), 0.5)
    # The smallest that leaves a pixel beside a halo of 10 on both sides, in steps of the stride.
    assert (y.size.min, y.size.step) == (22, 2)
    assert [a.halo for a in stains.axes[2:]] == [10, 10]
    assert [p.id for p in planes.preprocessing if p.id != "ensure_dtype"] == [
        "zero_mean_unit_variance", "clip",
    ]  # fmt: skip
    (scaled,) = [p for p in stains.postprocessing if p.id != "ensure_dtype"]
    assert (scaled.kwargs.gain, scaled.kwargs.offset) == ([80, 7], [500, 90])
    assert "DNA, α-tubulin from 3 planes of Brightfield" in descr.description


@pytest.mark.parametrize("name", ["fnet", pytest.param("fcmae", marks=pytest.mark.slow)])
def test_a_package_over_stacks_has_a_z_axis(name, tmp_path):
    generator = built(name)
    made = generator, graph(name, generator)
    descr = described(packed(tmp_path, made, name=name))
    planes, stains = descr.inputs[0], descr.outputs[0]
    assert [str(a.id) for a in planes.axes] == ["batch", "channel", "z", "y", "x"]
    z = planes.axes[2]
    assert (z.unit, z.scale) == ("micrometer", pytest.approx(0.3))
    assert z.size == 4 if name == "fcmae" else (z.size.min, z.size.step) == (2, 2)
    assert not hasattr(stains.axes[2], "halo")


@pytest.mark.parametrize("pixel", [0.6, 0.1, 0.325, 1 / 3])
def test_a_halo_survives_the_arithmetic_of_the_format(pixel, tmp_path, shown):
    """107 * 0.6 / 0.6 is not 107, and the format asks for a whole number."""
    descr = described(packed(tmp_path, shown, halo=107, pixel_size_um=pixel))
    assert [a.halo for a in descr.outputs[0].axes[2:]] == [107, 107]
    assert descr.outputs[0].axes[2].scale == pytest.approx(pixel)


RULES = {
    "zscore without clip": (Rule(clip_sd=None), ["zero_mean_unit_variance"], "of a tile"),
    "percentile": (Rule(kind="percentile", low=0.02, high=0.998), ["scale_range"], "of a tile"),
    "minmax": (Rule(kind="minmax"), ["scale_range"], "of a tile"),
    "none": (Rule(kind="none"), [], "as they are"),
    "robust": (Rule(kind="robust"), [], "subtract the median"),
}


@pytest.mark.parametrize(("rule", "steps", "words"), RULES.values(), ids=RULES)
def test_each_rule_is_a_step_of_the_format_or_a_sentence(rule, steps, words, tmp_path, shown):
    descr = described(packed(tmp_path, shown, input_rule=rule))
    found = [p for p in descr.inputs[0].preprocessing if p.id != "ensure_dtype"]
    assert [p.id for p in found] == steps
    assert words in descr.description
    if rule.kind == "percentile":
        assert (found[0].kwargs.min_percentile, found[0].kwargs.max_percentile) == (2.0, 99.8)


@pytest.mark.parametrize("rule", [rule for rule, *_ in RULES.values()], ids=RULES)
def test_another_program_makes_the_test_output_of_the_test_input(rule, tmp_path, shown):
    core = pytest.importorskip("bioimageio.core")
    summary = core.test_model(packed(tmp_path, shown, input_rule=rule), weight_format="onnx")
    assert summary.status == "passed", summary.format()


LICENCES = {
    "none": ("", "states no licence"),
    "words": ("ask me", "'ask me'.*is no SPDX identifier"),
}


@pytest.mark.parametrize(("licence", "words"), LICENCES.values(), ids=LICENCES)
def test_a_package_needs_a_licence_with_a_name(licence, words, tmp_path, shown):
    with pytest.raises(SettingsError, match=rf"{words}.*for example --licence CC-BY-4.0"):
        packed(tmp_path, shown, licence=licence)
