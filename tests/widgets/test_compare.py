"""The page that sets a prediction beside its truth."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from little_encoders import write_encoder
from qtpy.QtWidgets import QApplication

from napari_virtualstain.intensity import Rule
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import evaluate
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.napari_io.source import LayerSource, source_of, tagged

SHOWN = {"Predicted": 0, "True": 1, "Both": 2, "Difference": 3}


@pytest.fixture(scope="module")
def stained(tmp_path_factory, field_folder, tiny_model):
    """A finished prediction of the field; read-only."""
    from napari_virtualstain.jobs import stain
    from napari_virtualstain.jobs.stain import StainSettings

    out = tmp_path_factory.mktemp("stained") / "predicted.ome.zarr"
    stain.run(
        StainSettings(
            input=str(field_folder / "brightfield.ome.zarr"), model=str(tiny_model), out=str(out)
        )
    )
    return out


@pytest.fixture(scope="module")
def scores(stained, field_folder):
    found = evaluate.run(
        EvaluateSettings(prediction=str(stained), target=str(field_folder / "stains.ome.zarr"))
    )
    return {score.stain: score for score in found.scores}


@pytest.fixture
def both(desk, stained, field_folder):
    """Prediction and truth side by side."""
    desk.open(field_folder / "stains.ome.zarr")
    desk.open(stained, page="compare")
    desk.wait(lambda: desk.compare.start.isEnabled())
    return desk


@pytest.fixture
def compared(both):
    both.click(both.compare.start)
    both.wait(lambda: both.compare.table.rowCount() == 5)
    both.wait(lambda: not both.jobs.runs)
    both.pairs = both.compare._pairs
    return both


def show(desk, stain, mode):
    table = desk.compare.table
    row = next(r for r in range(table.rowCount()) if table.item(r, 0).text() == stain)
    table.selectRow(row)
    desk.click(desk.compare.modes.button(SHOWN[mode]))


def visible(desk):
    return {layer for layer in desk.viewer.layers if layer.visible}


def test_what_is_missing_is_said(desk, stained):
    desk.dock.show_page("compare")
    assert desk.compare.notice.text == ("Stain an image first, or open a store that a run wrote.")
    desk.open(stained, page="compare")
    desk.wait(lambda: desk.compare.prediction.field is not None)
    assert desk.compare.notice.text == (
        "Open the true stain of the same field, and name its channels on the page Load."
    )
    assert not desk.compare.start.isEnabled()


def test_the_table_holds_the_numbers_of_evaluate_with_the_floor_beside(compared, scores):
    table = compared.compare.table
    titles = [table.horizontalHeaderItem(n).text() for n in range(7)]
    assert titles == ["Stain", "PCC", "Floor", "SSIM", "PSNR", "MAE", "MSE"]
    for row in range(5):
        name, *cells = (table.item(row, n).text() for n in range(7))
        score = scores[name]
        wanted = [score.pcc, score.floor_pcc, score.ssim, score.psnr, score.mae, score.mse]
        np.testing.assert_allclose([float(cell) for cell in cells], wanted, rtol=6e-3, atol=6e-4)
        assert score.floor_pcc is not None
    assert table.selectedItems()[0].row() == 0


@pytest.fixture
def seers():
    """A classifier of the stains, and an encoder of any channel, in the folder of the test run."""
    folder = Path(os.environ["NVS_MODELS"])
    write_encoder(
        folder / "which", encoder="resnet", channels=("DNA", "ER", "RNA", "AGP"), crop=64,
        classes=("DNA", "ER", "RNA", "AGP"),
    )  # fmt: skip
    write_encoder(folder / "eye", channels=(), crop=64, input_rule=Rule(clip_sd=None))
    write_encoder(folder / "all", channels=("DNA", "ER"), in_channels=2, per_channel=False)
    yield
    for name in ("which", "eye", "all"):
        shutil.rmtree(folder / name)


def offers(desk):
    box = desk.compare.features
    return [box.itemText(n) for n in range(box.count())]


@pytest.mark.usefixtures("seers")
def test_encoders_of_this_machine_are_offered_by_how_they_compare(both):
    both.compare.features.refill()
    wanted = ["no features", "eye · sets of crops", "which · likeness", "texture · sets of crops"]
    assert [title for title in offers(both) if "efficientnet" not in title] == wanted
    both.compare.features.choose("which")
    assert both.compare.settings().perceptual == "which"
    assert "--perceptual which" in both.compare.command()
    shutil.rmtree(Path(os.environ["NVS_MODELS"]) / "which")
    both.compare.features.refill()
    assert both.compare.settings().perceptual is None, "it has gone"
    write_encoder(Path(os.environ["NVS_MODELS"]) / "which")


CHOSEN = {
    "a classifier": ("which", "perceptual", ["Seen", "Flip"]),
    "another encoder": ("eye", "fid_features", ["KID"]),
}


@pytest.mark.usefixtures("seers")
@pytest.mark.parametrize(("name", "setting", "titles"), CHOSEN.values(), ids=CHOSEN)
def test_what_an_encoder_sees_stands_beside_the_scores(
    both, stained, field_folder, name, setting, titles
):
    both.compare.features.choose(name)
    both.click(both.compare.start)
    both.wait(lambda: both.compare.table.columnCount() == 7 + len(titles), 60)
    table = both.compare.table
    assert [table.horizontalHeaderItem(n).text() for n in range(7, 7 + len(titles))] == titles
    found = evaluate.run(
        EvaluateSettings(
            prediction=str(stained), target=str(field_folder / "stains.ome.zarr"), **{setting: name}
        )
    )
    fields = {"Seen": "perceptual", "Flip": "perceptual_misplaced", "KID": "kid"}
    for row, score in enumerate(found.scores):
        assert table.item(row, 0).text() == score.stain
        for n, title in enumerate(titles):
            wanted, cell = getattr(score, fields[title]), table.item(row, 7 + n).text()
            assert (
                cell == "-"
                if wanted is None
                else float(cell) == pytest.approx(wanted, rel=6e-3, abs=6e-4)
            )
    assert repr(name) in both.compare.notice.text
    both.compare.copy_table.click()
    assert QApplication.clipboard().text().splitlines()[0].split("\t")[7:] == titles
    both.compare.features.setCurrentIndex(0)
    both.click(both.compare.start)
    both.wait(lambda: table.columnCount() == 7, 60)
    assert not table.isColumnHidden(6)


def test_a_click_on_a_row_shows_that_stain(compared):
    for stain in ("ER", "Mito"):
        show(compared, stain, "Predicted")
        assert visible(compared) == {compared.pairs[stain][0]}
        show(compared, stain, "True")
        assert visible(compared) == {compared.pairs[stain][1]}
        show(compared, stain, "Both")
        assert visible(compared) == set(compared.pairs[stain])


def test_contrast_of_prediction_and_truth_is_linked_both_ways(compared):
    show(compared, "DNA", "Both")
    predicted, true = compared.pairs["DNA"]
    assert predicted.contrast_limits == true.contrast_limits
    true.contrast_limits = (10.0, 20.0)
    assert predicted.contrast_limits == [10.0, 20.0]
    predicted.contrast_limits = (5.0, 50.0)
    assert true.contrast_limits == [5.0, 50.0]
    predicted.gamma = 0.5
    assert true.gamma == 0.5


def test_both_are_green_and_magenta_on_the_canvas(compared):
    show(compared, "DNA", "Both")
    predicted, true = compared.pairs["DNA"]
    assert (predicted.colormap.name, true.colormap.name) == ("magenta", "green")
    true.contrast_limits_range = predicted.contrast_limits_range = (-1e9, 1e9)
    true.contrast_limits = (-1e6, -1e5)
    predicted.visible = False
    compared.viewer.reset_view()
    colour = compared.at(compared.canvas(), true, (100, 100))
    assert colour[1] > 100 > 20 > colour[0]
    predicted.visible = True
    assert compared.at(compared.canvas(), true, (100, 100)).min() > 100, "added up they are white"


def test_the_difference_is_prediction_minus_truth_centred_on_zero(compared):
    show(compared, "ER", "Difference")
    (shown,) = visible(compared)
    assert shown.name == "ER predicted - true"
    low, high = shown.contrast_limits
    assert low == -high < 0
    colours = shown.colormap.map(np.array([0.0, 0.5, 1.0]))[:, :3]
    np.testing.assert_allclose(colours[1], 0, atol=1e-3)
    assert colours[0][2] > colours[0][0]  # blue is too dark
    assert colours[2][0] > colours[2][2]  # orange is too bright
    predicted, true = (
        np.asarray(layer.data[0] if layer.multiscale else layer.data)
        for layer in compared.pairs["ER"]
    )
    finest = shown.data[0] if shown.multiscale else shown.data
    np.testing.assert_allclose(
        np.asarray(finest), predicted.astype(np.float32) - true.astype(np.float32)
    )


def test_leaving_the_page_gives_the_layers_their_colours_back(compared):
    show(compared, "RNA", "Both")
    predicted, true = compared.pairs["RNA"]
    compared.dock.show_page("stain")
    assert predicted.colormap.name not in ("magenta", "gray")
    assert true.colormap.name not in ("green", "gray")
    assert predicted.opacity < 1.0
    assert true.opacity < 1.0


@pytest.mark.slow
def test_a_second_comparison_leaves_no_old_difference(compared):
    show(compared, "ER", "Difference")
    compared.click(compared.compare.start)
    compared.wait(lambda: not compared.jobs.runs)
    compared.wait(
        lambda: sum("predicted - true" in layer.name for layer in compared.viewer.layers) <= 1
    )


def test_a_layer_that_is_gone_is_said(compared):
    compared.viewer.layers.remove(compared.pairs["AGP"][0])
    show(compared, "AGP", "Predicted")
    assert compared.compare.notice.text == (
        "A layer of AGP is gone. Open it again, and compare again."
    )


def test_truth_in_memory_is_written_once_and_compared(desk, stained, field_folder, scores):
    pixels = open_image(field_folder / "stains.ome.zarr").data[0, 0, 0].compute()
    desk.open(stained, page="compare")
    layer = desk.viewer.add_image(pixels, name="mine", scale=(0.6, 0.6), units=["um", "um"])
    source = LayerSource(channel="mine").with_role("truth", "DNA")
    layer.metadata = tagged(layer.metadata, source)
    desk.fields.look()
    desk.wait(lambda: desk.compare.start.isEnabled())
    desk.click(desk.compare.copy)
    assert desk.compare.notice.text == (
        "The true stain lies in memory, so no command can open it. Save it as OME-Zarr first."
    )
    desk.click(desk.compare.start)
    desk.wait(lambda: desk.compare.table.rowCount() == 1)
    assert desk.compare.table.item(0, 0).text() == "DNA"
    assert float(desk.compare.table.item(0, 1).text()) == pytest.approx(scores["DNA"].pcc, abs=6e-4)
    assert layer.data is pixels


@pytest.mark.slow
def test_channels_of_other_names_are_paired_by_stain(both):
    truth = next(
        layer for layer in both.viewer.layers
        if source_of(layer).role == "truth" and source_of(layer).channel == "DNA"
    )  # fmt: skip
    source = source_of(truth)
    truth.metadata = tagged(truth.metadata, source.with_role("truth", "Mito"))
    both.fields.look()
    settings = both.compare.settings()
    assert "Mito=Mito" in settings.match or "Mito=DNA" in settings.match
    assert not any(pair.startswith("DNA=") for pair in settings.match)


def test_stains_without_a_common_name_are_one_sentence(both):
    for layer in both.viewer.layers:
        source = source_of(layer)
        if source.role == "truth":
            layer.metadata = tagged(layer.metadata, source.with_role("truth", f"my {source.stain}"))
    both.fields.look()
    both.click(both.compare.start)
    assert both.compare.notice.text == (
        "None of the true stains (my DNA, my ER, my RNA, my AGP, my Mito) has the name of a "
        "predicted one (DNA, ER, RNA, AGP, Mito). Name the true channels on the page Load."
    )


def test_truth_of_another_size_is_one_sentence(desk, stained, tmp_path):
    from napari_virtualstain.jobs.simulate import write_field
    from napari_virtualstain.simulate import FieldSettings, simulate_field

    write_field(simulate_field(FieldSettings(shape_px=(96, 96), n_cells=4), seed=1), tmp_path)
    desk.open(tmp_path / "stains.ome.zarr")
    desk.open(stained, page="compare")
    desk.wait(lambda: desk.compare.start.isEnabled())
    desk.click(desk.compare.start)
    desk.wait(lambda: desk.compare.notice.kind == "error" and desk.compare.notice.text)
    assert desk.compare.notice.text == (
        "The prediction has 256 x 256 px and the target 96 x 96 px. Choose the target of the same "
        "field, or another “Scene”; project or select z planes first."
    )


def test_the_copied_command_prints_the_same_numbers(both, scores, tmp_path):
    both.click(both.compare.copy)
    line = QApplication.clipboard().text()
    assert shlex.split(line)[:2] == ["virtualstain", "evaluate"]
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", f"{line} --json"], cwd=tmp_path, env=here, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for row in json.loads(done.stdout)["channels"]:
        assert row["pcc"] == pytest.approx(scores[row["stain"]].pcc, rel=1e-9)


@pytest.mark.slow
def test_the_table_is_copied_for_a_spreadsheet(compared):
    compared.click(compared.compare.copy_table)
    rows = [line.split("\t") for line in QApplication.clipboard().text().splitlines()]
    assert rows[0] == ["Stain", "PCC", "Floor", "SSIM", "PSNR", "MAE", "MSE"]
    assert [row[0] for row in rows[1:]] == list(compared.pairs)
