"""A file of weights becomes a model with a name, and stains as it was published."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.cli.main import main
from napari_virtualstain.errors import ModelPackageError, OutputExistsError, SettingsError
from napari_virtualstain.generators.package import load_package, read_card
from napari_virtualstain.generators.registry import GENERATORS, build_generator
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import plan, stain, train
from napari_virtualstain.jobs.models import ModelsSettings, run

DEPTH, WINDOW = 7, 4
SIZES = {
    "fcmae": {"depth": WINDOW, "stem_depth": 2, "stem": 2, "dims": [8, 12], "blocks": [1, 1],
              "decoder_blocks": 1},
    "unext2": {"depth": WINDOW, "stem_depth": 2, "dims": [8, 12], "blocks": [1, 1],
               "decoder_blocks": 1, "expansion": 2},
}  # fmt: skip


@pytest.fixture(autouse=True)
def models_here(tmp_path, monkeypatch):
    monkeypatch.setenv("NVS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def network(name):
    made = build_generator(name, in_channels=1, out_channels=2, architecture=SIZES[name], seed=3)
    with torch.no_grad():  # else the channels that compete have no say
        for part, value in made.module().state_dict().items():
            if ".grn." in part:
                value.normal_(generator=torch.Generator().manual_seed(len(part)))
    return made


def checkpoint(folder, name):
    state = {f"model.{k}": v for k, v in network(name).module().state_dict().items()}
    path = folder / "epoch=1-step=2.ckpt"
    torch.save({"state_dict": state, "global_step": 2, "epoch": 1}, path)
    return path


def stack(folder, edges):
    """Write a stack whose planes differ in brightness, so that it matters whose statistics count."""
    rng = np.random.default_rng(0)
    pixels = rng.gamma(2.0, 20.0, (DEPTH, *edges)) + 15 * np.arange(DEPTH)[:, None, None]
    pixels = pixels.astype(np.float32)
    path, shape = folder / "phase.ome.zarr", (1, 1, DEPTH, *edges)
    with OmeZarrSink.create(
        path, shape=shape, channels=[Channel("Phase3D")], n_tiles=1,
        pixel_size_um=PixelSize(0.2, 0.1, 0.1), chunks_yx=32,
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in shape), pixels[None, None])
        sink.commit(0)
    return str(path), pixels


def as_published(generator, pixels):
    """Median and quartiles of the stack, windows one plane apart, blended by running factors."""
    first, median, third = np.percentile(pixels, (25, 50, 75))
    given = ((pixels - median) / (third - first + 1e-8)).astype(np.float32)
    stride = generator.multiple_of
    pad = [(0, 0), *((0, -n % stride) for n in pixels.shape[1:])]
    given = np.pad(given, pad)
    result = np.zeros((2, *given.shape))
    for start in range(DEPTH - WINDOW + 1):
        new = generator.predict(given[None, None, start : start + WINDOW])[0]
        for k in range(WINDOW):
            plane = start + k
            if start == 0:
                result[:, plane] = new[:, k]
                continue
            factor = min(WINDOW - k, start + 1)
            result[:, plane] = result[:, plane] * (factor - 1) / factor + new[:, k] / factor
    return result[..., : pixels.shape[1], : pixels.shape[2]]


@pytest.mark.parametrize("edges", [(32, 48), (29, 43)], ids=["whole cells", "padded"])
@pytest.mark.parametrize("name", SIZES)
def test_a_viscy_checkpoint_stains_as_it_was_published(name, edges, tmp_path, models_here):
    path = checkpoint(tmp_path, name)
    made = run(
        ModelsSettings(
            action="import", file=str(path), out="cyto", stains=("Nucleus", "Membrane"),
            pixel_size=0.1, z_step=0.2, normalise="robust",
        )
    )  # fmt: skip
    assert made.out == models_here / "cyto"
    card = read_card(made.out)
    assert card.volume is not None
    assert (card.volume.window, card.volume.z_step_um) == (WINDOW, 0.2)
    assert card.imported is not None
    assert card.imported.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card.training.steps == 2
    image, pixels = stack(tmp_path, edges)
    out = tmp_path / "stained.ome.zarr"
    result = stain.run(stain.StainSettings(input=image, model="cyto", out=str(out)))
    assert result.shape == (1, 2, DEPTH, *edges)
    found = open_image(out).data[0].compute()
    expected = as_published(network(name), pixels)
    # Quantiles are counted in steps of half a thousandth, and not interpolated.
    assert np.abs(found - expected).max() < 5e-3 * np.ptp(expected)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99999


def test_whole_is_said_to_be_exact_and_tiles_are_said_not_to_be(tmp_path):
    run(ModelsSettings(action="import", file=str(checkpoint(tmp_path, "fcmae")), out="cyto",
                       stains=("a", "b"), pixel_size=0.1))  # fmt: skip
    image, _ = stack(tmp_path, (64, 64))
    said = {
        mode: plan.run(plan.PlanSettings(input=image, model="cyto", mode=mode, tile=tile)).prepared
        for mode, tile in (("auto", None), ("halo", 32))
    }
    assert said["auto"].run_plan.mode == "whole"
    assert said["auto"].exact
    assert not said["halo"].exact
    assert said["halo"].describe().endswith("approximate: the network sees only its tile")


def test_a_stack_that_is_too_shallow_is_refused(tmp_path):
    run(ModelsSettings(action="import", file=str(checkpoint(tmp_path, "fcmae")), out="cyto",
                       stains=("a", "b"), pixel_size=0.1))  # fmt: skip
    image, _ = stack(tmp_path, (32, 32))
    with pytest.raises(Exception, match="takes 4 z planes at a time, and there are 3"):
        stain.run(
            stain.StainSettings(input=image, model="cyto", out=str(tmp_path / "o.zarr"),
                                z=(0, 1, 2))
        )  # fmt: skip


def test_a_window_network_is_trained_on_windows_and_its_card_says_so(tmp_path):
    image, pixels = stack(tmp_path, (48, 48))
    stains = tmp_path / "stains.ome.zarr"
    shape = (1, 1, DEPTH, 48, 48)
    with OmeZarrSink.create(
        stains, shape=shape, channels=[Channel("DNA")], n_tiles=1,
        pixel_size_um=PixelSize(0.2, 0.1, 0.1), chunks_yx=48,
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in shape), pixels[None, None] * 2)
        sink.commit(0)
    out = tmp_path / "trained"
    settings = {
        "input": (image,), "target": (str(stains),), "stains": ("DNA",), "out": str(out),
        "generator": "fcmae", "preset": "tiny", "steps": 3, "batch": 2, "patch": 16,
        "validation": 0, "validate_every": 3,
    }  # fmt: skip
    train.run(train.TrainSettings(**settings))
    card = read_card(out)
    assert card.volume is not None
    assert (card.volume.window, card.volume.z_step_um) == (4, 0.2)
    load_package(out)
    with pytest.raises(SettingsError, match=r"must be a multiple of 4 px; got 18"):
        train.run(train.TrainSettings(**{**settings, "patch": 18, "overwrite": True}))
    deep = {**settings, "preset": "vscyto3d", "patch": 32, "overwrite": True}
    with pytest.raises(SettingsError, match=r"has 7 z planes, and the network takes 15 at a time"):
        train.run(train.TrainSettings(**deep))


def test_the_command_line_imports_a_label_free_generator(tmp_path, models_here, capsys):
    made = build_generator(
        "unet", in_channels=3, out_channels=5, architecture={"depth": 2, "width": 3, "norm": "none"}
    )
    path = tmp_path / "cell_epoch_30_GEN.pth"
    torch.save({"epoch": 30, "model_dict": made.module().state_dict()}, path)
    line = ["models", "import", str(path), "--out", "cell", "--pixel-size", "0.65",
            "--z-offsets=-4,0,4", "--licence", "asked for"]  # fmt: skip
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "label-free U-Net (model_dict), imported as" in said
    assert "3 planes of Brightfield at -4, +0, +4 µm" in said
    assert "predicts DNA, ER, RNA, AGP, Mito" in said
    assert "Use it with --model cell" in said
    assert main(["models", "list", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["models"]}
    assert listed["cell"]["licence"] == "asked for"
    assert main(line) == 1
    assert "exists" in capsys.readouterr().err
    assert main([*line, "--overwrite", "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["sha256"]
        == hashlib.sha256(path.read_bytes()).hexdigest()
    )


def test_a_model_folder_of_ours_is_taken_over_under_another_name(tiny_model, models_here):
    for number, file in enumerate((tiny_model, tiny_model / "weights.safetensors")):
        made = run(ModelsSettings(action="import", file=str(file), out=f"mine{number}"))
        card, before = read_card(models_here / f"mine{number}"), read_card(tiny_model)
        assert card.name == f"mine{number}"
        assert card.stains == before.stains
        assert made.card.files["weights.safetensors"] == before.files["weights.safetensors"]
    with pytest.raises(SettingsError, match=r"is a model already.*Leave out --stains"):
        run(ModelsSettings(action="import", file=str(tiny_model), out="m", stains=("a",)))


def test_safetensors_of_other_networks_are_imported_too(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(network("unext2").module().state_dict(), path)
    made = run(
        ModelsSettings(action="import", file=str(path), out=str(tmp_path / "somewhere" / "m"),
                       stains=("a", "b"), pixel_size=0.1, channel="DIC")
    )  # fmt: skip
    assert made.name == str(tmp_path / "somewhere" / "m")
    assert read_card(made.out).inputs[0].channel == "DIC"


REFUSED = {
    "no file": ({"action": "import", "out": "m"}, SettingsError, "name the file and the model"),
    "no name": ({"action": "import", "file": "w.pth"}, SettingsError, "name the file and the model"),
    "bundled": ({"action": "import", "file": "w.pth", "out": "demo"}, SettingsError,
                "comes with the program is named 'demo'"),
    "list": ({"action": "list", "file": "w.pth"}, SettingsError, "A list takes no settings"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_one_sentence(name):
    settings, kind, words = REFUSED[name]
    with pytest.raises(kind, match=words):
        run(ModelsSettings(**settings))


def test_a_critic_and_something_that_is_in_the_way_leave_nothing_behind(tmp_path, models_here):
    path = tmp_path / "cell_DISC.pth"
    torch.save({"model_dict": {"model.0.weight": torch.zeros(64, 8, 4, 4)}}, path)
    with pytest.raises(ModelPackageError, match="looks like a critic"):
        run(ModelsSettings(action="import", file=str(path), out="critic"))
    assert not (models_here / "critic").exists()
    (models_here / "notes").mkdir(parents=True)
    with pytest.raises(OutputExistsError, match="is not a model folder"):
        run(ModelsSettings(action="import", file=str(path), out="notes"))


PHOTOGRAPHS = {"width": 32, "multipliers": (1, 2), "blocks": 1, "latent": 3, "groups": 32}


def seen_twice(folder):
    """Write bright field of two planes, and two stains of the same field."""
    rng = np.random.default_rng(0)
    below = rng.normal(500, 50, (1, 1, 2, 32, 32)).astype(np.float32)
    above = np.stack([below[:, 0, 0], below[:, 0, 1]], axis=1)[:, :, None]
    paths = []
    for name, pixels, channels in (
        ("b", below, [Channel("Brightfield", "transmitted")]),
        ("s", above, [Channel("DNA"), Channel("ER")]),
    ):
        paths.append(str(folder / f"{name}.ome.zarr"))
        with OmeZarrSink.create(
            paths[-1], shape=pixels.shape, channels=channels, n_tiles=1,
            pixel_size_um=PixelSize(4.0, 0.6, 0.6),
        ) as sink:  # fmt: skip
            sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
            sink.commit(0)
    return paths


def test_an_autoencoder_for_photographs_is_imported_trained_on_and_stains(
    tmp_path, models_here, monkeypatch
):
    """From the file to a stain, through the command line alone."""
    monkeypatch.setitem(GENERATORS["vae_gan"].presets, "photographs", PHOTOGRAPHS)
    published = build_generator(
        "vae_gan", in_channels=3, out_channels=3, preset="photographs", seed=5
    )
    state = {**published.module().state_dict(), "loss.logvar": torch.zeros(())}
    torch.save({"state_dict": state, "global_step": 9}, tmp_path / "kl-f8.ckpt")
    light, stains = seen_twice(tmp_path)
    assert not main(["models", "import", str(tmp_path / "kl-f8.ckpt"), "--out", "photographs",
                     "--stains", "DNA,ER", "--z-offsets=-2,2", "--pixel-size", "0.6"])  # fmt: skip
    begun = load_package(models_here / "photographs")
    assert any("has never seen a stain" in limit for limit in begun.card.limits)
    train_it = [
        "train", "--generator", "vae_gan", "--preset", "photographs", "--input", light,
        "--target", stains, "--stains", "DNA,ER", "--steps", "2", "--patch", "32", "--batch", "2",
        "--validation", "0", "--device", "cpu", "--ema", "0",
    ]  # fmt: skip

    def trained(name, *options):
        assert not main([*train_it, "--out", str(tmp_path / name), *options])
        return load_package(tmp_path / name)

    def moved(model):
        """How far its weights are from those of the file, in their own standard deviations."""
        ours, theirs = (
            torch.cat([v.flatten() for k, v in m.generator.module().state_dict().items()])
            for m in (model, begun)
        )
        return float((ours - theirs).std() / theirs.std())

    hardly = ["--learning-rate", "1e-8"]
    assert moved(trained("still", "--start", "photographs", *hardly)) < 1e-4
    assert moved(trained("anew", *hardly)) > 0.5
    model = trained("mine", "--start", "photographs")
    assert 1e-4 < moved(model) < 0.5
    assert not any("never seen a stain" in limit for limit in model.card.limits)
    assert (model.card.training.recipe, model.card.training.steps) == ("own images", 2)
    out = str(tmp_path / "o.ome.zarr")
    assert not main(["stain", light, "--model", str(tmp_path / "mine"), "--out", out])
    image = open_image(out)
    assert image.channel_names == ("DNA", "ER")
    assert np.isfinite(image.data.compute()).all()
