"""One model a stain: each is the one that a training of its own gives, and none is trained twice."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_virtualstain.cli import main
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.errors import OutputExistsError, SettingsError
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import train
from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
from napari_virtualstain.jobs.train_apart import train_apart
from napari_virtualstain.jobs.training_fields import FieldData

QUICK = {
    "preset": "tiny", "steps": 4, "patch": 16, "batch": 2, "validate_every": 2, "device": "cpu",
}  # fmt: skip
CARD = {
    "name": "m", "pixel_size_um": 0.6, "input_channel": "Brightfield", "z_offsets_um": (0.0,),
    "data": "noise",
}  # fmt: skip


def data(*stains):
    """Three fields; each stain is the bright field times another number."""
    wanted = stains or ("DNA", "ER", "AGP/Mito")
    fields = []
    for seed in range(3):
        below = np.random.default_rng(seed).normal(500, 50, (1, 32, 32)).astype(np.float32)
        above = {s: below * n + n for n, s in enumerate(("DNA", "ER", "AGP/Mito"), start=1)}
        above = np.concatenate([above.get(s, below) for s in wanted])
        fields.append(PairedField(f"field {seed}", below, above))
    return FieldData(fields=fields, stains=wanted, card=dict(CARD))


def settings(out, **more):
    return TrainSettings(out=str(out), one_model_a_stain=True, **{**QUICK, **more})


def weights(path):
    return (path / "weights.safetensors").read_bytes()


def test_each_model_is_the_one_that_its_stain_alone_gives(tmp_path):
    told = []
    result = train_apart(
        data(),
        settings(tmp_path / "all"),
        train_on_fields,
        on_progress=lambda *one: told.append(one),
    )
    folders = sorted(p.name for p in (tmp_path / "all").iterdir() if (p / "card.json").exists())
    assert folders == ["AGP_Mito", "DNA", "ER"]
    assert (result.finished, result.steps, set(result.validation_pcc)) == (
        True, 12, {"DNA", "ER", "AGP/Mito"},
    )  # fmt: skip
    alone = TrainSettings(out=str(tmp_path / "er"), **QUICK)
    train_on_fields(data("ER"), alone)
    assert weights(tmp_path / "all" / "ER") == weights(tmp_path / "er")
    card = read_card(tmp_path / "all" / "ER")
    assert (card.name, card.stain_names) == ("m-ER", ("ER",))
    assert any(what.endswith("for ER, model 2 of 3") for _, _, what in told)


def test_what_was_stopped_goes_on_and_what_is_finished_stays(tmp_path):
    train_apart(data(), settings(tmp_path / "whole"), train_on_fields)
    asked = iter(range(99))
    out = tmp_path / "m"
    found = train_apart(
        data(), settings(out), train_on_fields, should_stop=lambda: next(asked) == 5
    )
    assert (found.finished, found.steps) == (False, 6)
    assert not (out / "ER").exists()
    written = (out / "DNA" / "card.json").stat().st_mtime_ns
    with pytest.raises(OutputExistsError, match="Go on with --resume"):
        train_apart(data(), settings(out), train_on_fields)
    with pytest.raises(SettingsError, match="trained with another seed"):
        train_apart(data(), settings(out, resume=True, seed=1), train_on_fields)
    found = train_apart(data(), settings(out, resume=True), train_on_fields)
    assert found.finished
    assert found.notes[0] == "DNA: finished before, and left as they are"
    assert (out / "DNA" / "card.json").stat().st_mtime_ns == written
    for name in ("DNA", "ER", "AGP_Mito"):
        assert weights(out / name) == weights(tmp_path / "whole" / name)
    again = train_apart(data(), settings(out, resume=True), train_on_fields)
    assert (again.finished, again.steps) == (True, 0)


REFUSED = {
    "to be replaced": ({"overwrite": True}, SettingsError, "Leave out --overwrite"),
    "a start": ({"start": "demo"}, SettingsError, "Leave out --start"),
    "a model": ({"out": "model"}, OutputExistsError, "is a model, and --one-model-a-stain"),
    "an encoder": ({"encoder": "resnet", "stains": ()}, SettingsError, "--one-model-a-stain"),
}


@pytest.mark.parametrize(("changed", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_apart_is_refused(changed, kind, words, tmp_path, tiny_model):
    stated = {"out": str(tmp_path / "m"), "input": ("nowhere.tif",), "stains": ("DNA",), **QUICK}
    stated |= {**changed, "out": str(tiny_model)} if "out" in changed else changed
    stated = {name: value for name, value in stated.items() if value != ()}
    with pytest.raises(kind, match=words):
        train.run(TrainSettings(one_model_a_stain=True, **stated))


def test_stains_whose_folders_would_have_one_name_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="folders of one name"):
        train_apart(data("A/B", "A B"), settings(tmp_path / "m"), train_on_fields)


def test_the_command_line_trains_a_model_a_stain_and_each_stains(tmp_path, capsys):
    rng = np.random.default_rng(0)
    paths = {}
    for name, channels in (
        ("b", [Channel("Brightfield", "transmitted")]), ("s", [Channel("DNA"), Channel("ER")])
    ):  # fmt: skip
        paths[name] = str(tmp_path / f"{name}.ome.zarr")
        shape = (1, len(channels), 1, 32, 32)
        with OmeZarrSink.create(paths[name], shape=shape, channels=channels, n_tiles=1) as sink:
            sink.write(tuple(slice(0, n) for n in shape), rng.normal(9, 1, shape).astype("f4"))
            sink.commit(0)
    options = [
        "train", "--input", paths["b"], "--target", paths["s"], "--stains", "DNA,ER", "--steps",
        "2", "--pixel-size", "0.6", "--preset", "tiny", "--patch", "16", "--batch", "2",
        "--validation", "0", "--device", "cpu", "--out", str(tmp_path / "m"), "--json",
        "--one-model-a-stain",
    ]  # fmt: skip
    assert main(options) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4
    for stain in ("DNA", "ER"):
        out = str(tmp_path / f"{stain}.ome.zarr")
        model = str(tmp_path / "m" / stain)
        assert main(["stain", paths["b"], "--model", model, "--out", out, "--pixel-size", "0.6",
                     "--json"]) == 0  # fmt: skip
        assert json.loads(capsys.readouterr().out)["stains"] == [stain]
