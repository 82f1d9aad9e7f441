"""An index is made of images or pairs, kept beside the card, and read by qc and explain."""

from __future__ import annotations

import base64
import io
import json
import shutil

import numpy as np
import pytest
from drawn_cells import STAINS, drawn_cells
from drawn_models import package
from judged_stores import stains_of, write_image, write_prediction, write_source
from PIL import Image
from scipy import ndimage
from stacks import stack, train_on_stacks, write

from napari_virtualstain import api
from napari_virtualstain.cli.main import main
from napari_virtualstain.datasets.pairs import PairedField
from napari_virtualstain.embedding.index_file import INDEX_FILE, described, read_index
from napari_virtualstain.errors import RunCancelled, VirtualStainError
from napari_virtualstain.generators.package import fingerprint_of, read_card
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.index_patches import PatchGrid
from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
from napari_virtualstain.jobs.training_fields import FieldData
from napari_virtualstain.qc.reference import read_reference

FIELDS = 10
LIGHT = [Channel("Brightfield", modality="transmitted")]


def write_light(path, planes):
    write_image(path, planes[None, None], LIGHT)
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory, tiny_model):
    """Fields with their true stains, and a model with an index of them."""
    root = tmp_path_factory.mktemp("index")
    for seed in range(FIELDS):
        field = drawn_cells(seed, time=False)
        write_source(root / "bright" / f"f{seed}.ome.zarr", field)
        names = [Channel(n) for n in STAINS]
        write_image(root / "true" / f"f{seed}.ome.zarr", stains_of([field]), names)
    shutil.copytree(tiny_model, root / "model")
    (root / "model" / INDEX_FILE).unlink(missing_ok=True)
    shutil.copytree(root / "model", root / "bare")
    line = [
        "index", root / "bright", "--model", root / "model", "--target", root / "true", "--quiet",
    ]  # fmt: skip
    assert main([str(word) for word in line]) == 0
    return root


@pytest.fixture(scope="module")
def index(stores):
    return read_index(stores / "model" / INDEX_FILE)


def judged(stores, folder, planes=None, *, seed=100, model="model", **settings):
    """Return what the check says of a field whose bright field is another."""
    field = drawn_cells(seed, time=False)
    made_by = {
        "path": str(stores / model), "name": "tiny", "fingerprint": fingerprint_of(stores / model),
    }  # fmt: skip
    record = {"job": "stain", "model": made_by, "settings": {}}
    stains = write_prediction(folder / "p.ome.zarr", field, record=record)
    source = write_light(folder / "b.ome.zarr", field.planes if planes is None else planes)
    notes = []
    found = api.qc(
        stains, source=str(source), out=folder / "report", on_note=notes.append, **settings
    )
    (one,) = [f for f in found.fields[0].findings if f.check == "distance"]
    return one, found


def zoomed(planes):
    """The same field as if its pixels were larger."""
    edge = planes.shape[-1]
    return ndimage.zoom(planes, (1, 0.4, 0.4), order=1).repeat(3, 1).repeat(3, 2)[:, :edge, :edge]


def test_an_index_lies_beside_the_card_and_the_model_stays_the_same(stores, index):
    assert fingerprint_of(stores / "model") == fingerprint_of(stores / "bare")
    assert index.weights == read_card(stores / "model").files["weights.safetensors"]
    assert (index.fitted, index.held_out, index.model) == (FIELDS, 0, "tiny")
    assert index.fields == tuple(f"f{seed}.ome.zarr" for seed in range(FIELDS))
    assert (stores / "model" / INDEX_FILE).stat().st_size < 2_000_000


def test_pictures_show_bright_field_and_dna_of_the_same_place(stores, index):
    assert index.stain_name == "DNA"
    assert index.light.shape == index.stain.shape == (160, 32, 32)
    number = 5
    field = drawn_cells(int(index.sources[number]), time=False)
    y, x = (int(n) for n in index.places[number])
    true = field.stains["DNA"][y : y + 64, x : x + 64].reshape(32, 2, 32, 2).mean(axis=(1, 3))
    light = field.planes[1, y : y + 64, x : x + 64].reshape(32, 2, 32, 2).mean(axis=(1, 3))
    assert np.corrcoef(true.ravel(), index.stain[number].ravel())[0, 1] > 0.95
    assert np.corrcoef(light.ravel(), index.light[number].ravel())[0, 1] > 0.95


def test_a_field_like_the_training_fields_is_green(stores, tmp_path):
    one, _ = judged(stores, tmp_path)
    assert one.state == "green", one.reason
    assert 0 < one.numbers["bright field"] < 1


def test_a_brighter_lamp_is_no_other_field(stores, tmp_path):
    planes = drawn_cells(100, time=False).planes
    plain, _ = judged(stores, tmp_path / "a", planes)
    brighter, _ = judged(stores, tmp_path / "b", 3 * planes)
    assert brighter.numbers["bright field"] == pytest.approx(
        plain.numbers["bright field"], rel=1e-3
    )


def test_another_magnification_is_red_with_the_reason_and_what_to_do(stores, tmp_path):
    planes = zoomed(drawn_cells(100, time=False).planes)
    one, found = judged(stores, tmp_path, planes, maps=True)
    assert one.state == "red"
    assert "unlike the images that taught it" in one.reason
    assert one.advice.endswith("`virtualstain finetune`.")
    assert found.fields[0].state == "red"
    page = (tmp_path / "report" / "qc.html").read_text(encoding="utf-8")
    assert "Distance from the training data" in page


def test_a_strange_part_is_marked_on_its_patches(stores, tmp_path):
    planes = drawn_cells(100, time=False).planes.copy()
    rng = np.random.default_rng(0)
    planes[:, 64:192, 128:256] = rng.normal(8000, 3000, (3, 128, 128))
    one, found = judged(stores, tmp_path, planes, maps=True)
    assert one.state != "green"
    image = open_image(tmp_path / "report" / found.fields[0].maps)
    where = image.data[0, image.channel_index("distance"), 0].compute()
    assert where[64:192, 128:].all()
    assert where.sum() < 7 * 64 * 64


UNTOLD = {
    "without an index": ({"model": "bare"}, "add one with `virtualstain index`"),
    "without the passport": ({"no_passport": True}, "left out by --no-passport"),
}


@pytest.mark.parametrize("what", UNTOLD)
def test_what_cannot_be_told_is_said(what, stores, tmp_path):
    settings, why = UNTOLD[what]
    one, found = judged(stores, tmp_path, **settings)
    assert one.state == "not assessable"
    assert why in one.reason
    assert found.fields[0].state != "not assessable"


def test_an_index_of_other_weights_is_not_believed(stores, tmp_path, index):
    from dataclasses import replace

    from napari_virtualstain.embedding.index_file import write_index

    path = tmp_path / "other.safetensors"
    write_index(path, replace(index, weights="b" * 64, model="another"))
    one, _ = judged(stores, tmp_path, index=str(path))
    assert one.state == "not assessable"
    assert "is of other weights (another)" in one.reason
    assert "`virtualstain index`" in one.reason


def test_a_prediction_without_its_bright_field_is_not_assessable(stores, tmp_path):
    made_by = {"path": str(stores / "model"), "name": "tiny", "fingerprint": "f"}
    record = {"job": "stain", "model": made_by}
    stains = write_prediction(tmp_path / "p.ome.zarr", drawn_cells(3, time=False), record=record)
    found = api.qc(stains, out=tmp_path / "report")
    (one,) = [f for f in found.fields[0].findings if f.check == "distance"]
    assert one.state == "not assessable"
    assert "--source" in one.reason


def test_a_reference_knows_the_usual_distance_of_good_predictions(stores, tmp_path):
    made_by = {
        "path": str(stores / "model"), "name": "tiny", "fingerprint": fingerprint_of(stores / "model"),
    }  # fmt: skip
    for seed in range(50, 56):
        field = drawn_cells(seed, time=False)
        record = {"job": "stain", "model": made_by, "settings": {}}
        write_prediction(tmp_path / "good" / f"f{seed}.ome.zarr", field, record=record)
        write_source(tmp_path / "bright" / f"f{seed}.ome.zarr", field)
    path = tmp_path / "reference.json"
    api.qc(tmp_path / "good", source=str(tmp_path / "bright"), calibrate=True, reference=str(path))
    known = read_reference(path)
    assert known.usual["distance/bright field"].high > 0
    assert known.limits["distance"].amber > 0
    one, _ = judged(
        stores, tmp_path, zoomed(drawn_cells(100, time=False).planes), reference=str(path)
    )
    plain, _ = judged(stores, tmp_path / "plain", reference=str(path))
    assert plain.usual.startswith("up to ")
    assert one.usual.startswith("up to ")
    assert one.score > 2 > plain.score


# --- explain ------------------------------------------------------------------------------------------


def explained(stores, folder, planes, *, model="model", **settings):
    source = write_light(folder / "b.ome.zarr", planes)
    return api.explain(
        source, out=folder / "why.ome.zarr", model=stores / model, method=("planes",), size=64,
        sanity=False, **{"at": (100, 120), **settings},
    )  # fmt: skip


def test_the_nearest_training_patches_are_shown_with_their_source(stores, tmp_path):
    taught = drawn_cells(4, time=False).planes  # of the index itself
    found = explained(stores, tmp_path, taught, at=(96, 160), nearest=3).nearest
    assert len(found.patches) == 3
    assert found.patches[0].source == "f4.ome.zarr"
    assert (found.patches[0].y, found.patches[0].x) == (64, 128)
    assert found.patches[0].distance == pytest.approx(0, abs=1e-2)
    assert found.patches[1].distance > found.patches[0].distance
    assert found.over_limit < 1
    assert found.words.startswith("The model has seen something like this")
    for address in (found.patches[0].light, found.patches[0].stain):
        picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert picture.size == (32, 32)


def test_where_the_model_has_seen_nothing_like_it_it_says_so(stores, tmp_path):
    noise = np.random.default_rng(0).normal(8000, 900, (3, 256, 256)).astype(np.float32)
    found = explained(stores, tmp_path, noise).nearest
    assert found.over_limit > 1
    assert found.words.startswith("The model has seen nothing like this")


def test_the_answer_and_the_record_name_the_patches_and_the_record_holds_no_pictures(
    stores, tmp_path
):
    result = explained(stores, tmp_path, drawn_cells(4, time=False).planes, nearest=2)
    said = json.loads(json.dumps(result.to_json()))["nearest"]
    assert [len(one["light"]) > 100 for one in said["patches"]] == [True, True]
    assert said["stain_name"] == "DNA"
    assert said["patches"][0]["source"] in result.text()
    kept = read_record(result.out)["record"]["nearest"]
    assert kept["words"] == said["words"]
    assert set(kept["patches"][0]) == {"source", "y", "x", "distance"}


def test_without_an_index_explain_says_how_to_add_one(stores, tmp_path):
    found = explained(stores, tmp_path, drawn_cells(4, time=False).planes, model="bare").nearest
    assert found.patches == ()
    assert found.words == (
        "No nearest training patches: the model carries no index of its training data; add one "
        "with `virtualstain index`."
    )


def test_none_are_looked_for_if_none_are_asked_for(stores, tmp_path):
    result = explained(stores, tmp_path, drawn_cells(4, time=False).planes, nearest=0)
    assert result.nearest is None
    assert result.to_json()["nearest"] is None


# --- training -----------------------------------------------------------------------------------------


def train(folder, fields=8, **settings):
    card = {
        "name": "taught", "title": "", "pixel_size_um": 0.6, "input_channel": "Brightfield",
        "z_offsets_um": (-4.0, 0.0, 4.0), "data": "drawn", "licence": "",
    }  # fmt: skip
    drawn = [drawn_cells(seed, time=False) for seed in range(fields)]
    data = FieldData(
        fields=[
            PairedField(
                f"/home/me/plate/f{n}.tif t0", one.planes, np.stack(list(one.stains.values()))
            )
            for n, one in enumerate(drawn)
        ],
        stains=STAINS, card=card,
    )  # fmt: skip
    asked = {"preset": "tiny", "steps": 2, "batch": 2, "patch": 32, "validation": 0.2}
    return train_on_fields(
        data, TrainSettings(out=str(folder / "m"), validate_every=2, **asked, **settings)
    )


def test_a_training_keeps_an_index_and_its_card_says_so(tmp_path):
    result = train(tmp_path)
    found = read_index(tmp_path / "m" / INDEX_FILE)
    card = read_card(tmp_path / "m")
    assert result.notes == ()
    assert found.weights == card.files["weights.safetensors"]
    assert (found.fitted, found.held_out) == (6, 2)
    assert card.patch_index == described(found)
    assert all(name.startswith("plate/f") for name in found.fields)  # and not where on the disk
    assert len(found.light) == len(found.stain) == 96


@pytest.mark.parametrize(("kept", "pictures"), [("numbers", 0), ("none", None)])
def test_a_training_keeps_no_more_than_it_is_told(kept, pictures, tmp_path):
    train(tmp_path, training_index=kept)
    path = tmp_path / "m" / INDEX_FILE
    assert path.exists() == (pictures is not None)
    if pictures is not None:
        assert len(read_index(path).light) == pictures
    assert (read_card(tmp_path / "m").patch_index is None) == (pictures is None)


def test_a_training_on_few_fields_says_why_it_keeps_none(tmp_path):
    result = train(tmp_path, fields=5)
    assert not (tmp_path / "m" / INDEX_FILE).exists()
    assert result.finished
    assert "no index of the training data: 4 fields do not tell" in result.notes[-1]


def test_a_tuning_keeps_an_index_of_the_fields_that_tuned_and_judged(stores, tmp_path):
    found = api.finetune(
        input=[str(stores / "bright" / f"f{n}.ome.zarr") for n in range(FIELDS)],
        target=[str(stores / "true" / f"f{n}.ome.zarr") for n in range(FIELDS)],
        model=str(stores / "bare"), out=str(tmp_path / "tuned"), steps=2, patch=32, batch=2,
        validate_every=2,
    )  # fmt: skip
    assert not any("index" in note for note in found.notes)
    kept = read_index(tmp_path / "tuned" / INDEX_FILE)
    card = read_card(tmp_path / "tuned")
    assert card.patch_index == described(kept)
    assert kept.weights == card.files["weights.safetensors"]
    assert kept.fitted >= 6
    assert kept.held_out >= 1


def test_a_model_over_stacks_has_an_index_and_its_stacks_are_held_against_it(tmp_path):
    model = train_on_stacks(tmp_path)
    for seed in range(6):
        (tmp_path / "bright").mkdir(exist_ok=True)
        write(tmp_path / "bright" / f"s{seed}.ome.zarr", stack(seed)[0], ["Brightfield"])
    api.index(tmp_path / "bright", model=model)
    kept = read_index(tmp_path / "model" / INDEX_FILE)
    assert kept.patch[1:] == (64, 64)
    assert kept.patch[0] in (2, 4)
    near = api.explain(
        tmp_path / "bright" / "s3.ome.zarr", out=tmp_path / "why.ome.zarr", model=model,
        method=("planes",), sanity=False, at=(32, 32), size=32, nearest=2,
    ).nearest  # fmt: skip
    assert near.patches[0].source == "s3.ome.zarr"
    assert near.patches[0].distance == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("method", ["palette", "bbdm", "lbbdm"])
def test_a_model_that_draws_has_an_index_of_its_first_step(method, stores, tiny_model, tmp_path):
    model = package(method, tiny_model, tmp_path)
    found = api.index(stores / "bright", model=model, scene="f[0-5]*")
    kept = read_index(model / INDEX_FILE)
    assert found.fields == 6
    features = kept.codes @ kept.codes.T
    assert np.isfinite(features).all()
    assert kept.codes.std(axis=0).min() > 0.3


# --- the verb -----------------------------------------------------------------------------------------


def test_a_pairs_file_says_which_fields_taught_and_which_did_not(stores, tmp_path):
    pairs = tmp_path / "pairs.json"
    api.pairs(
        stores / "bright", target=stores / "true", stains=["DNA", "ER"], out=str(pairs),
        split="field", validation=0.2, test=0,
    )  # fmt: skip
    out = tmp_path / "i.safetensors"
    found = api.index(pairs, model=stores / "model", out=str(out))
    assert (found.fields, found.held_out) == (8, 2)
    kept = read_index(out)
    assert kept.stain_name == "DNA"
    assert found.bytes == out.stat().st_size


def test_the_command_says_how_much_may_be_alarmed_in_vain(stores, tmp_path, capsys):
    out = tmp_path / "i.safetensors"
    line = ["index", stores / "bright", "--model", stores / "model", "--out", out, "--no-pictures"]
    assert main([str(word) for word in line]) == 0
    said = capsys.readouterr()
    assert "18% of good fields may be called unfamiliar" in said.out
    assert "give 50 or more" in said.err
    assert read_index(out).light.size == 0


REFUSED = {
    "no place": (
        {"model": "demo"}, "nowhere to write the index.*--out training_index.safetensors"
    ),
    "there already": ({}, "exists.*--overwrite"),
    "a folder": ({"out": "."}, "is a folder. Give a file with --out"),
    "another name": ({"out": "i.json"}, "Name it 'i.safetensors'"),
    "too few": ({"scene": "f[0-3]*", "out": "i.safetensors"}, "4 fields do not tell"),
    "no image": ({"scene": "nothing", "out": "i.safetensors"}, "choose others with --scene"),
    "no such model": ({"model": "nobody", "out": "i.safetensors"}, "nobody"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(
    what, stores, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    changes, why = REFUSED[what]
    settings = {"model": stores / "model", **changes}
    before = (stores / "model" / INDEX_FILE).read_bytes()
    with pytest.raises(VirtualStainError, match=why) as said:
        api.index(stores / "bright", **settings)
    assert "\n" not in str(said.value)
    assert (stores / "model" / INDEX_FILE).read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_cancelled_leaves_nothing(stores, tmp_path):
    def stop(done, total, what):
        if done == 2:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        api.index(
            stores / "bright", model=stores / "model", out=str(tmp_path / "i.safetensors"),
            on_progress=stop,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_images_that_do_not_fit_are_left_out_and_named(stores, tmp_path):
    mixed = tmp_path / "bright"
    shutil.copytree(stores / "bright", mixed)
    write_light(mixed / "a_little.ome.zarr", np.ones((3, 80, 40), np.float32))
    holed = drawn_cells(70, time=False).planes.copy()
    holed[1, 5, 5] = np.nan
    write_light(mixed / "holed.ome.zarr", holed)
    notes = []
    found = api.index(
        mixed, model=stores / "model", out=str(tmp_path / "i.safetensors"), on_note=notes.append
    )
    assert found.fields == FIELDS
    assert any(note.startswith("2 images left out; the first, a_little") for note in notes)


@pytest.mark.parametrize("shape", [(64, 64), (256, 300), (130, 65), (4096, 3000)])
def test_patches_cover_a_field_and_their_values_lie_on_it(shape):
    grid = PatchGrid(shape, 64)
    places = grid.places
    assert len(places) <= 1024
    assert places.min() == 0
    assert (places.max(axis=0) == np.array(shape) - 64).all()
    spread = grid.on_pixels(np.arange(len(places)))
    assert spread.shape == shape
    for number in (0, len(places) // 2, len(places) - 1):
        y, x = places[number]
        assert spread[y + 32, x + 32] == number
