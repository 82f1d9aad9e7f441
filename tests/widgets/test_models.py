"""The page on which models are found, read, tried, imported, downloaded and removed."""

from __future__ import annotations

import json
import os
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from file_server import serving
from qtpy.QtCore import Qt

from napari_virtualstain.generators.package import load_package, read_card, save_package
from napari_virtualstain.generators.registry import build_generator
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import evaluate, stain
from napari_virtualstain.napari_io.source import LayerSource, tagged
from napari_virtualstain.nets.resnet import ResNet
from napari_virtualstain.widgets._model_bring import asked_in
from napari_virtualstain.widgets._model_try import middle_of
from napari_virtualstain.zoo import list_encoders, list_models

SIZES = {
    "depth": 4, "stem_depth": 2, "stem": 2, "dims": [8, 12], "blocks": [1, 1], "decoder_blocks": 1
}  # fmt: skip


@pytest.fixture
def mine(tiny_model):
    """The models folder of the test run, which the compute process knows too: two models of equal
    make, of which one was given other weights."""
    folder = Path(os.environ["NVS_MODELS"])
    for name in ("one", "two"):
        shutil.copytree(tiny_model, folder / name)
        card = json.loads((folder / name / "card.json").read_text())
        card["name"], card["title"] = name, f"Model {name}"
        (folder / name / "card.json").write_text(json.dumps(card))
    yield folder
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def checkpoint(tmp_path):
    """Weights of VisCy that do not say for which pixels they are, nor what they stain."""
    made = build_generator("fcmae", in_channels=1, out_channels=2, architecture=SIZES, seed=3)
    path = tmp_path / "epoch=1.ckpt"
    torch.save(
        {"state_dict": {f"model.{k}": v for k, v in made.module().state_dict().items()}}, path
    )
    return path


@pytest.fixture
def page(mine, desk):
    desk.viewer.window.resize(1280, 800)
    desk.dock.show_page("models")
    return desk.models


def names(page):
    return [entry.name for entry in page.list.shown]


def tick(page, *wanted):
    items = [page.list.list.item(row) for row in range(page.list.list.count())]
    for name in wanted:
        item = next(item for item in items if item.text().startswith(f"{name}\n"))
        item.setCheckState(Qt.CheckState.Checked)


# --- finding one -----------------------------------------------------------------------------------


def test_the_card_of_the_chosen_one_is_shown_and_why_it_cannot_be_used(page, mine):
    page.list.choose("one")
    assert "<b>Model one</b>" in page.about.text()
    assert "3 planes of Brightfield" in page.about.text()
    page.list.choose("VSCyto3D")
    for text in ("public.czbiohub.org", "BSD-3-Clause", "Not checked", "0.1 µm"):
        assert text in page.about.text()
    page.list.choose("noisy-hedgehog")
    assert not page.download.isEnabled()
    assert "Not downloaded" in page.limits.text()

    (mine / "two" / "card.json").write_text("{}")
    page.refill(choose="two")
    assert not page.use.isEnabled()
    assert "is not valid" in page.limits.text()
    assert not page.list.list.currentItem().flags() & Qt.ItemFlag.ItemIsUserCheckable
    page.list.text.setText("no such thing")
    assert not page.use.isEnabled()
    assert not page.about_fold.isVisible()
    page.list.text.clear()


def test_use_in_stain_chooses_the_model_there(desk, page):
    page.list.choose("two")
    desk.click(page.use)
    assert desk.stain.isVisible()
    assert desk.stain.model.name == "two"
    assert desk.stain.model.card == read_card(list_models()["two"])


# --- removing --------------------------------------------------------------------------------------


def test_a_model_of_ones_own_is_removed_after_a_question(desk, page, mine):
    page.list.choose("demo")
    assert not page.remove.isVisible(), "it comes with the program"
    page.list.choose("one")
    desk.click(page.remove)
    assert page.sure.question.text() == "Delete one and its weights from this computer?"
    desk.click(page.sure.no)
    assert (mine / "one").is_dir()
    desk.click(page.remove)
    page.list.choose("two")
    assert not page.sure.isVisible(), "the question was about another"
    page.list.choose("one")
    desk.click(page.remove)
    desk.click(page.sure.yes)
    desk.wait(lambda: "one" not in names(page))
    assert not (mine / "one").exists()
    assert page.notice.text == "one is removed."
    boxes = [form.model.box for form in (desk.stain.form, desk.queue.form)]
    assert all(box.findText("one") < 0 <= box.findText("two") for box in boxes)


# --- importing -------------------------------------------------------------------------------------


def test_a_dropped_checkpoint_is_asked_for_what_it_does_not_say(desk, page, mine, checkpoint):
    desk.drop(checkpoint)
    panel = page.bring
    assert panel.source.text() == "epoch=1.ckpt"
    panel.name.setText("cyto")
    desk.click(panel.start)
    desk.wait(lambda: panel.asked.names)
    assert panel.asked.names == ("stains",)
    assert "“Stains”" in page.notice.text
    assert page.notice.kind == "warning"
    panel.asked.form["stains"].value = "Nucleus, Membrane"
    desk.click(panel.start)
    desk.wait(lambda: panel.asked.names == ("stains", "pixel_size"))
    assert panel.asked.form["stains"].value == "Nucleus, Membrane", "what was typed stays"
    panel.asked.form["pixel_size"].value = "0.3"
    desk.click(panel.start)
    desk.wait(lambda: "cyto" in names(page))
    card = read_card(mine / "cyto")
    assert card.stain_names == ("Nucleus", "Membrane")
    assert card.pixel_size_um == 0.3
    assert page.list.current.name == "cyto"
    assert not panel.source.isVisible()
    assert desk.stain.model.box.findText("cyto") >= 0


def test_a_classifier_is_asked_for_its_classes_and_is_no_model_to_stain_with(desk, page, tmp_path):
    net = ResNet(1, 2, blocks=(1,), width=4, bottleneck=False)
    torch.save(net.state_dict(), tmp_path / "which.pt")
    desk.drop(tmp_path / "which.pt")
    desk.click(page.bring.start)
    desk.wait(lambda: page.bring.asked.names)
    assert page.bring.asked.names == ("classes",)
    page.bring.asked.form["classes"].value = "DNA, ER"
    desk.click(page.bring.start)
    desk.wait(lambda: "which" in list_encoders())
    desk.wait(lambda: "is here" in page.notice.text)
    assert "It sees, and paints nothing" in page.notice.text
    assert desk.stain.model.box.findText("which") < 0
    assert page.list.current.name == "which"
    assert "ResNet" in page.about.text()
    assert "neither trained nor examined here" in page.limits.text()
    assert page.use.text() == "Use in Compare"
    desk.click(page.use)
    assert desk.compare.isVisible()
    assert desk.compare.features.settings == {"perceptual": "which"}


def test_a_folder_is_taken_over_and_a_name_that_is_taken_is_asked_for(desk, page, tiny_model):
    desk.drop(tiny_model)
    panel = page.bring
    assert panel.name.text() == "tiny"
    panel.name.setText("two")
    desk.click(panel.start)
    desk.wait(lambda: panel.asked.names == ("overwrite",))
    assert "“Name”" in page.notice.text
    panel.name.setText("three")
    desk.click(panel.start)
    desk.wait(lambda: "three" in names(page))


def test_what_is_no_model_is_one_sentence(desk, page, tmp_path):
    (tmp_path / "notes.ckpt").write_text("words")
    desk.drop(tmp_path / "notes.ckpt")
    desk.click(page.bring.start)
    desk.wait(lambda: page.notice.kind == "error" and page.notice.text)
    assert "holds more than weights, or is none" in page.notice.text
    assert page.bring.isVisible()
    desk.click(page.bring.leave)
    assert not page.bring.source.isVisible()


def test_only_settings_of_an_import_are_asked_for():
    assert asked_in("Name 2 stains with --stains, or --out, or --tile; x--z-step") == ("stains",)


# --- downloading -----------------------------------------------------------------------------------


@pytest.fixture
def server(mine, checkpoint):
    with serving(checkpoint.read_bytes()) as found:
        entry = {
            "name": "Cyto", "title": "A small one", "url": f"{found.url}/a.ckpt", "format": "viscy",
            "stains": ["Nucleus", "Membrane"], "channel": "Phase3D", "over": "stacks", "takes": "a stack",
            "ask": ["pixel_size"], "about_mb": 1,
        }  # fmt: skip
        (mine / "index.json").write_text(json.dumps([entry]))
        yield found


def test_a_download_asks_for_what_is_not_published_and_appears(server, desk, page, mine):
    page.refill(choose="Cyto")
    page.list.choose("Cyto")
    assert page.download.text() == "Download (1 MB)"
    desk.click(page.download)
    desk.wait(lambda: page.notice.kind == "error" and page.notice.text)
    assert page.notice.text.endswith("State “Pixel size (µm)”, as its training images had it.")
    assert server.asked == []
    page.asked.form["pixel_size"].value = "0.2"
    desk.click(page.download)
    desk.wait(lambda: "Cyto" in list_models())
    desk.wait(lambda: page.list.current.card is not None)
    assert page.notice.text == "Cyto is here. Tick it to try it on a view, or use it in Stain."
    assert "Downloading Cyto: done" in desk.run_bar.log.toPlainText()
    assert read_card(mine / "Cyto").pixel_size_um == 0.2


def test_a_download_is_cancelled_in_the_bar_and_gone_on_with(server, desk, page, mine):
    server.content += bytes(40_000_000)  # behind the archive, which torch refuses afterwards
    server.slow = 0.01
    page.refill(choose="Cyto")
    page.list.choose("Cyto")
    page.asked.form["pixel_size"].value = "0.2"
    desk.click(page.download)
    desk.wait(lambda: "MB downloaded" in desk.run_bar.details.text())
    assert page.download.text() == "Downloading …"
    assert not page.download.isEnabled()
    desk.click(desk.run_bar.cancel)
    desk.wait(lambda: not desk.jobs.runs and page.notice.text)
    assert page.notice.text == "Cancelled. What came is kept: download again to go on."
    assert "Cyto" not in list_models()
    assert next(mine.glob(".downloads/*/a.ckpt.part")).stat().st_size > 0
    desk.wait(lambda: page.download.isEnabled())
    desk.click(page.download)
    desk.wait(lambda: len(server.asked) == 2)
    assert server.asked[-1][1].startswith("bytes=")
    desk.click(desk.run_bar.cancel)
    desk.wait(lambda: not desk.jobs.runs)


# --- trying ----------------------------------------------------------------------------------------


@pytest.fixture
def tried(desk, page, field_folder, mine):
    """Two models on a view of the field; the second knows it by heart."""
    desk.open(field_folder / "stains.ome.zarr")
    desk.open(field_folder / "brightfield.ome.zarr", page="models")
    desk.viewer.reset_view()
    desk.wait(lambda: page.trying.image.field is not None and page.trying.truth.field is not None)
    return page.trying


def column(trying, number):
    return [
        trying.results.table.item(row, number).text()
        for row in range(trying.results.table.rowCount())
    ]


def begin(desk, trying):
    desk.click(trying.start)
    desk.wait(lambda: trying.trials, 5)
    desk.wait(lambda: not trying._going(), 60)
    desk.wait(lambda: all(trial.crops for trial in trying.trials if not trial.why))


def test_it_says_what_is_missing(desk, page):
    assert page.trying.start.text() == "Try on this view"
    assert not page.trying.start.isEnabled()
    tick(page, "one")
    assert page.trying.start.text() == "Try 1 model on this view"
    assert "Open a bright-field image first" in page.trying.start.toolTip()


def score_of(settings, model, truth, out):
    """Return what the command line's jobs say of a model on the same place."""
    stain.run(settings.model_copy(update={"out": str(out), "model": str(model)}))
    wanted = {"prediction": str(out), "target": str(truth), "match": ("DNA=DNA",)}
    found = evaluate.run(evaluate.EvaluateSettings(**wanted, region=settings.region))
    return found.scores[0]


def test_models_are_ranked_by_their_numbers_on_that_place(
    desk, page, tried, field_folder, mine, tmp_path
):
    truth = field_folder / "stains.ome.zarr"
    spoil(mine / "two")  # the better one of the two is the better one still, or is not any more
    whole = stain.StainSettings(input=str(field_folder / "brightfield.ome.zarr"), out="-")
    known = {
        name: score_of(whole, mine / name, truth, tmp_path / f"{name}.ome.zarr").pcc
        for name in ("one", "two")
    }
    best, worst = sorted(known, key=known.__getitem__, reverse=True)
    page.refill()
    tick(page, worst, best)
    begin(desk, tried)
    assert tried.results.order.text() == "Ranked by PCC with the true DNA, on this place alone."
    assert column(tried, 0) == ["1", "2"]
    assert column(tried, 1) == [best, worst]
    first, second = (float(text) for text in column(tried, 2))
    assert first > second
    settings = tried.trials[1].settings
    assert settings.model == best
    score = score_of(settings, mine / best, truth, tmp_path / "o.ome.zarr")
    assert first == pytest.approx(score.pcc, abs=6e-4)
    assert float(column(tried, 3)[0]) == pytest.approx(score.floor_pcc, abs=6e-4)
    desk.wait(lambda: len(tried.results.sheet.layers) == 4)
    tried.results.table.selectRow(1)
    assert page.list.current.name == worst
    assert desk.viewer.layers.selection.active.name == worst


def spoil(folder):
    """Give a model weights that stain dark what is bright."""
    model = load_package(folder)
    with torch.no_grad():
        [weight for weight in model.generator.module().parameters() if weight.ndim > 1][-1].neg_()
    planes = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    save_package(folder, model.card, model.generator, planes, overwrite=True)


def test_crops_lie_side_by_side_on_the_right_of_the_image(
    desk, page, bystander, tried, field_folder
):
    tick(page, "one", "two")
    before = [*desk.viewer.scene.camera.center, desk.viewer.scene.camera.zoom]
    begin(desk, tried)
    sheet = tried.results.sheet
    desk.wait(lambda: len(sheet.layers) == 4)
    assert [layer.name for layer in sheet.layers] == ["bright field", "true DNA", *column(tried, 1)]
    corners = [tuple(float(v) for v in layer.translate) for layer in sheet.layers]
    (size,) = {tuple(np.array(layer.data.shape) * layer.scale) for layer in sheet.layers}
    for one, other in combinations(corners, 2):
        apart = np.abs(np.subtract(one, other)) > size
        assert apart.any(), "none overlap"
    assert min(corner[1] for corner in corners) > 256 * 0.6
    top, first, bottom, last = tried.trials[0].settings.region
    truth = open_image(field_folder / "stains.ome.zarr").data[0, 0, 0, top:bottom, first:last]
    np.testing.assert_array_equal(sheet.layers[1].data, truth.compute())
    one = next(t for t in tried.trials if t.name == "one")
    made = open_image(one.settings.out).data[0, 0, 0, top:bottom, first:last].compute()
    shown = next(layer for layer in sheet.layers if layer.name == "one")
    np.testing.assert_array_equal(shown.data, made)
    limits = {tuple(layer.contrast_limits) for layer in sheet.layers[1:]}
    assert len(limits) == 1, "equal grey, equal number"
    assert desk.canvas().std() > 5
    offered = [field.name for field in desk.fields.all if field.can_be_stained and not field.path]
    assert offered == ["theirs"], "no crop is offered"
    assert desk.load.box.field.path == str(field_folder / "brightfield.ome.zarr"), "nor chosen"
    # Another stain in the same places.
    tried.results.stain.setCurrentText("Mito")
    desk.wait(lambda: sheet.layers[1].name == "true Mito")
    mito = open_image(field_folder / "stains.ome.zarr").data[0, 4, 0, top:bottom, first:last]
    np.testing.assert_array_equal(sheet.layers[1].data, mito.compute())
    desk.click(tried.results.back)
    assert not any(layer in desk.viewer.layers for layer in sheet.layers)
    after = [*desk.viewer.scene.camera.center, desk.viewer.scene.camera.zoom]
    assert after == pytest.approx(before)
    assert not tried.results.isVisible()


def test_without_a_truth_the_order_is_that_of_the_ticks_and_it_says_so(desk, page, field_folder):
    desk.open(field_folder / "brightfield.ome.zarr", page="models")
    trying = page.trying
    desk.wait(lambda: trying.image.field is not None)
    assert trying.truth.field is None
    tick(page, "two", "one")
    begin(desk, trying)
    assert trying.results.order.text() == (
        "No true DNA of this image is open: in the order in which they were ticked."
    )
    assert column(trying, 1) == ["two", "one"]
    assert column(trying, 2) == ["–", "–"]


def test_a_model_that_cannot_stain_the_picture_says_why_and_the_others_go_on(
    desk, page, tried, mine, checkpoint
):
    desk.drop(checkpoint)
    page.bring.name.setText("deep")
    page.bring.asked.ask(("stains", "pixel_size"))
    page.bring.asked.form["stains"].value = "DNA, Membrane"
    page.bring.asked.form["pixel_size"].value = "0.6"
    desk.click(page.bring.start)
    desk.wait(lambda: "deep" in names(page))
    (mine / "deep" / "weights.safetensors").write_bytes(b"damaged")
    tick(page, "deep", "one")
    begin(desk, tried)
    assert column(tried, 1) == ["one", "deep"]
    assert column(tried, 4)[1] == "✗ failed"
    assert tried.results.problems.text().startswith(
        "deep: The file weights.safetensors of the model"
    )
    assert float(column(tried, 2)[0]) == pytest.approx(tried.trials[1].score("DNA").pcc, abs=6e-4)


@pytest.mark.slow
def test_layers_in_memory_are_written_once_and_tried(desk, page, field_folder):
    stack = open_image(field_folder / "brightfield.ome.zarr").data[0, 0].compute()
    truth = open_image(field_folder / "stains.ome.zarr").data[0, 0, 0].compute()
    desk.viewer.add_image(
        stack, name="mine", scale=(4.0, 0.6, 0.6), units=["um"] * 3, axis_labels=["z", "y", "x"]
    )
    layer = desk.viewer.add_image(truth, name="true one", scale=(0.6, 0.6), units=["um"] * 2)
    source = LayerSource(channel="true one").with_role("truth", "DNA")
    layer.metadata = tagged(layer.metadata, source)
    desk.fields.look()
    desk.viewer.reset_view()
    trying = page.trying
    desk.wait(lambda: trying.truth.field is not None)
    trying.image.choose(("layer", str(id(desk.viewer.layers["mine"]))))
    tick(page, "one")
    begin(desk, trying)
    assert trying.results.problems.text() == ""
    assert trying.trials[0].score("DNA").pcc is not None


@pytest.mark.slow
def test_trying_again_from_the_sheet_means_the_same_place(desk, page, tried):
    tick(page, "one")
    begin(desk, tried)
    desk.wait(lambda: len(tried.results.sheet.layers) == 3)
    before = tried.trials[0].settings.region
    assert tried.results.sheet.is_looked_at
    tick(page, "two")
    begin(desk, tried)
    assert [trial.settings.region for trial in tried.trials] == [before, before]
    assert sum(layer.name == "bright field" for layer in desk.viewer.layers) <= 1


def test_a_place_that_is_not_in_view_is_one_sentence(desk, page, tried):
    tick(page, "one")
    desk.viewer.scene.camera.center = (0.0, 9000.0, 9000.0)
    desk.click(tried.start)
    assert page.notice.text == "Nothing of this image is in view. Move it into view, and try again."
    assert tried.trials == []


def test_closing_the_viewer_cancels_what_is_tried(desk, page, large_field):
    desk.open(large_field, page="models")
    desk.viewer.reset_view()
    desk.wait(lambda: page.trying.image.field is not None)
    tick(page, "one", "two")
    desk.click(page.trying.start)
    runs = [trial.run for trial in page.trying.trials]
    desk.close()
    desk.wait(lambda: all(run.ended for run in runs))
    assert {run.outcome.state for run in runs} <= {"cancelled", "done"}


REGIONS = {
    "a small view is tried whole": ((3, 4, 90, 80), (3, 4, 90, 80)),
    "of a large one the middle": ((0, 0, 3000, 500), (988, 0, 2012, 500)),
    "an odd one": ((1, 1, 1026, 1028), (1, 2, 1025, 1026)),
}


@pytest.mark.parametrize(("region", "expected"), REGIONS.values(), ids=REGIONS)
def test_the_middle_of_the_view_is_tried(region, expected):
    assert middle_of(region, 1024) == expected
