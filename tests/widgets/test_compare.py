"""The page that sets a prediction beside its truth."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from little_encoders import write_encoder
from PIL import Image as Pictures
from qtpy.QtWidgets import QApplication
from scipy.ndimage import binary_dilation

from napari_virtualstain.intensity import Rule
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import evaluate
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.napari_io.compared_objects import KIND_COLOURS
from napari_virtualstain.napari_io.mixed import tile_edge
from napari_virtualstain.napari_io.source import LayerSource, source_of, tagged
from napari_virtualstain.objects.match import KINDS
from napari_virtualstain.objects.segment import segment_nuclei
from napari_virtualstain.widgets._compare_view import MODES

TITLES = ["PCC", "Floor", "SSIM", "PSNR", "MAE", "Gain", "Detail", "MSE"]


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
    desk.compare.table.choose(stain)
    desk.click(desk.compare.view.modes.button(list(MODES).index(mode)))


def titles(desk):
    table = desk.compare.table
    return [table.horizontalHeaderItem(n).text() for n in range(table.columnCount())]


def cells(desk, stain):
    """Return the numbers of a row by the title of their column."""
    table = desk.compare.table
    row = table.stains.index(stain)
    return {title: table.item(row, n).text() for n, title in enumerate(titles(desk))}


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
    assert titles(compared) == TITLES
    assert compared.compare.table.stains == list(scores)
    for name, score in scores.items():
        wanted = {
            "PCC": score.pcc, "Floor": score.floor_pcc, "SSIM": score.ssim, "PSNR": score.psnr,
            "MAE": score.mae, "Gain": score.gain, "Detail": score.band_power[-1], "MSE": score.mse,
        }  # fmt: skip
        for title, cell in cells(compared, name).items():
            near = {"rel": 6e-3, "abs": 6e-3 if title in ("Gain", "Detail") else 6e-4}
            assert float(cell) == pytest.approx(wanted[title], **near), title
        assert score.floor_pcc is not None
    assert compared.compare.table.stain == next(iter(scores))


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
@pytest.mark.parametrize(("name", "setting", "asked"), CHOSEN.values(), ids=CHOSEN)
def test_what_an_encoder_sees_stands_beside_the_scores(
    both, stained, field_folder, name, setting, asked
):
    both.compare.features.choose(name)
    both.click(both.compare.start)
    both.wait(lambda: both.compare.table.columnCount() == len(TITLES) + len(asked), 180)
    assert titles(both) == [*TITLES[:2], *asked, *TITLES[2:]]
    found = evaluate.run(
        EvaluateSettings(
            prediction=str(stained), target=str(field_folder / "stains.ome.zarr"), **{setting: name}
        )
    )
    fields = {"Seen": "perceptual", "Flip": "perceptual_misplaced", "KID": "kid"}
    for score in found.scores:
        for title in asked:
            wanted, cell = getattr(score, fields[title]), cells(both, score.stain)[title]
            assert (
                cell == "-"
                if wanted is None
                else float(cell) == pytest.approx(wanted, rel=6e-3, abs=6e-4)
            )
    assert repr(name) in both.compare.notice.text
    both.compare.copy_table.click()
    assert QApplication.clipboard().text().splitlines()[0].split("\t")[1:] == titles(both)
    both.compare.features.setCurrentIndex(0)
    both.click(both.compare.start)
    both.wait(lambda: titles(both) == TITLES, 60)


def test_names_of_stains_stay_while_the_numbers_scroll(compared):
    table = compared.compare.table
    table.setFixedWidth(260)  # narrower than its numbers, however wide the window came out
    bar = table.horizontalScrollBar()
    grabs = []

    def scrolls():
        """Look at both ends of the bar; while the window is still being laid out there may be none."""
        grabs.clear()
        for end in (0, bar.maximum()):
            bar.setValue(end)
            grabs.append(table.grab().toImage())
        return bar.maximum() > 0 and grabs[0] != grabs[1]

    compared.wait(scrolls)
    names = table.verticalHeader()
    corner = names.mapTo(table, names.rect().topLeft())
    size = names.width(), table.viewport().height()
    same = [grab.copy(corner.x(), corner.y(), *size) for grab in grabs]
    assert same[0] == same[1]
    bottom = table.rowViewportPosition(4) + table.rowHeight(4)
    assert bottom <= table.viewport().height(), "the bar hides no row"


def test_a_click_on_a_row_shows_that_stain(compared):
    for stain in ("ER", "Mito"):
        show(compared, stain, "Predicted")
        assert visible(compared) == {compared.pairs[stain][0]}
        show(compared, stain, "True")
        assert visible(compared) == {compared.pairs[stain][1]}
        show(compared, stain, "Both")
        assert visible(compared) == set(compared.pairs[stain])
        assert compared.compare.meaning.text().startswith(f"{stain}: ")
        assert compared.compare.meaning.isVisible()


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


def test_coming_back_to_the_page_shows_the_comparison_again(compared):
    show(compared, "RNA", "True")
    compared.dock.show_page("stain")
    assert visible(compared) != {compared.pairs["RNA"][1]}
    compared.dock.show_page("compare")
    assert visible(compared) == {compared.pairs["RNA"][1]}


# --- nuclei ---------------------------------------------------------------------------------------


@pytest.fixture
def counted(desk, field_folder, tmp_path):
    """A comparison of nuclei: the prediction is the truth with one of its nuclei moved away."""
    pixels, stains = open_image(field_folder / "stains.ome.zarr"), tmp_path / "made.ome.zarr"
    made = pixels.data.compute().astype(np.float32)
    dna = made[0, pixels.channel_index("DNA"), 0]
    labels = segment_nuclei(dna, diameter_px=(8 / 0.6, 30 / 0.6))
    inside = np.bincount(labels.ravel(), minlength=labels.max() + 1)
    gone = int(np.argmax(inside[1:])) + 1
    rows, columns = np.nonzero(binary_dilation(labels == gone, iterations=12))
    dna[rows, columns] = np.median(dna[labels == 0])
    with OmeZarrSink.create(
        stains, shape=made.shape, channels=list(pixels.channels), n_tiles=1, dtype="float32",
        pixel_size_um=pixels.pixel_size_um, origin_um=pixels.origin_um, record={"job": "stain"},
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in made.shape), made)
        sink.commit(0)
    desk.open(field_folder / "stains.ome.zarr")
    desk.open(stains, page="compare")
    desk.wait(lambda: desk.compare.start.isEnabled())
    desk.gone = labels == gone
    desk.stains = stains
    return desk


def count(desk):
    desk.compare.objects.nuclei.choose("DNA")
    desk.click(desk.compare.start)
    desk.wait(lambda: desk.compare.compared_objects.layer is not None, 60)
    return desk.compare.compared_objects.layer


def test_nuclei_are_counted_and_coloured_by_what_became_of_them(counted, field_folder):
    assert counted.compare.objects.nuclei.stain is None
    predicted = next(
        layer for layer in counted.viewer.layers
        if source_of(layer).role == "prediction" and source_of(layer).channel == "DNA"
    )  # fmt: skip
    predicted.translate = (20.0, 30.0)
    layer = count(counted)
    found = evaluate.run(
        EvaluateSettings(
            prediction=str(counted.stains), target=str(field_folder / "stains.ome.zarr"),
            objects="DNA",
        )
    ).objects  # fmt: skip
    assert found.counts["missed"] == 1
    assert found.counts["matched"] >= 3
    line = counted.compare.compared_objects
    assert line.isVisible()
    plain = re.sub("<span[^>]*>■</span>.", "", line.text()).replace("\u00a0", " ")
    assert plain.casefold() == f"{found.words()}. nuclei are 8 to 30 µm wide.".casefold()
    assert "Nucleus" not in counted.compare.notice.text, "the page has no such row"
    for colour in KIND_COLOURS.values():
        assert colour in line.text()
    # It lies on the prediction, wherever that has been moved to, and shows what it says.
    assert layer.name == "nuclei compared"
    for pixel in ((0, 0), (100, 50)):
        np.testing.assert_allclose(layer.data_to_world(pixel), predicted.data_to_world(pixel))
    assert list(layer.units) == list(predicted.units)
    kinds = np.asarray(layer.data)
    assert KINDS[kinds[counted.gone].max() - 1] == "missed"
    assert (kinds[counted.gone] == KINDS.index("missed") + 1).mean() > 0.95
    assert ((kinds == KINDS.index("matched") + 1) & ~counted.gone).any()
    assert counted.compare.table.stain == "DNA"
    counted.viewer.reset_view()
    y, x = (int(np.median(place)) for place in np.nonzero(counted.gone))
    red, _, blue = counted.at(counted.canvas(), layer, (y, x))
    assert blue > 80
    assert blue > 2 * red


def test_nuclei_show_over_their_own_stain_and_go_with_the_page_and_the_comparison(counted):
    layer = count(counted)
    assert layer.visible
    show(counted, "ER", "Predicted")
    assert not layer.visible
    show(counted, "DNA", "Predicted")
    assert layer.visible
    layer.visible = False
    show(counted, "DNA", "True")
    assert not layer.visible, "as the user has it"
    counted.dock.show_page("stain")
    counted.dock.show_page("compare")
    assert layer.visible
    counted.dock.show_page("stain")
    assert not layer.visible
    counted.dock.show_page("compare")
    store = next(Path(counted.jobs.session.folder).glob("*-objects.ome.zarr"))
    assert "--objects DNA" in counted.compare.command()
    assert store.name not in counted.compare.command()
    counted.compare.objects.nuclei.setCurrentIndex(0)
    counted.click(counted.compare.start)
    counted.wait(lambda: layer not in counted.viewer.layers, 60)
    assert not counted.compare.compared_objects.isVisible()
    assert "--objects" not in counted.compare.command()


def test_cells_are_offered_for_nuclei_alone_and_compared_in_the_stain_that_is_chosen(counted):
    nuclei, cells = counted.compare.objects.nuclei, counted.compare.objects.cells
    assert not cells.isEnabled()
    assert cells.toolTip().endswith("Choose the stain of the nuclei first.")
    nuclei.choose("DNA")
    assert cells.isEnabled()
    offered = [cells.itemData(n) for n in range(cells.count())]
    assert offered[0] is None
    assert "AGP" in offered
    assert "DNA" not in offered
    cells.choose("AGP")
    layer = count(counted)
    assert layer.name == "cells compared"
    line = counted.compare.compared_objects.text().replace("\u00a0", " ")
    assert line.startswith("Cells of AGP: ")
    assert line.endswith("Nuclei are 8 to 30 µm wide, and cells reach up to 25 µm from them.")
    assert "--objects DNA --cells AGP" in counted.compare.command()
    assert counted.compare.table.stain == "AGP"
    kinds = np.asarray(layer.data)
    assert (kinds[counted.gone] == KINDS.index("missed") + 1).mean() > 0.95
    # Without nuclei there is nothing to find cells from.
    nuclei.setCurrentIndex(0)
    assert cells.stain is None
    assert "--cells" not in counted.compare.command()


# --- two in one -----------------------------------------------------------------------------------


def mixed(desk, stain, mode):
    """Show a pair in one layer; return the layer once it is on the canvas."""
    show(desk, stain, mode)
    mixture = desk.compare.view.mixture
    desk.wait(lambda: mixture.layer is not None and visible(desk) == {mixture.layer})
    return mixture.layer


def alone(desk, stain):
    """Return the canvas with the prediction, and with the truth."""
    found = []
    for mode in ("Predicted", "True"):
        show(desk, stain, mode)
        found.append(desk.canvas())
    return found


def places_of(desk, layer, canvas):
    """Return which row of a layer each row of the canvas shows, and which column each column."""
    camera, found = desk.viewer.scene.camera, []
    for axis in (0, 1):
        n = canvas.shape[axis]
        world = camera.center[axis - 2] + (np.arange(n) + 0.5 - n / 2) / camera.zoom
        found.append((world - layer.translate[axis - 2]) / layer.scale[axis - 2])
    return found


def well_inside(places, edge, margin):
    """Return where places keep away from the edges between pixels, or tiles, of that size."""
    return np.all([np.abs((p + 0.5 + edge / 2) % edge - edge / 2) > margin for p in places], axis=0)


def near(one, other):
    return np.abs(one - other).max(-1) <= 2


@pytest.mark.parametrize("percent", [0, 30, 100])
def test_left_of_the_curtain_the_canvas_shows_the_prediction_and_right_of_it_the_truth(
    compared, percent
):
    predicted, true = alone(compared, "ER")
    assert not near(predicted, true).all()
    layer = mixed(compared, "ER", "Curtain")
    compared.compare.view.curtain.setValue(10 * percent)
    canvas = compared.canvas()
    at = np.meshgrid(*places_of(compared, compared.pairs["ER"][0], canvas), indexing="ij")
    _, first, _, last = compared.compare.view.watch.pair.region
    line = first - 0.5 + (last - first) * percent / 100
    # A canvas pixel on the edge between two pixels may show either; a pixel is cut by no curtain.
    clear = well_inside(at, 1, 0.15)
    left, right = clear & (at[1] < line - 1), clear & (at[1] > line + 1)
    assert left.any() == (percent > 0)
    assert right.any() == (percent < 100)
    assert near(canvas, predicted)[left].all()
    assert near(canvas, true)[right].all()
    assert not near(predicted, true)[left | right].all()
    assert layer.name == "ER predicted and true"
    over = compared.viewer.layers.index(layer)
    assert over == 1 + max(map(compared.viewer.layers.index, compared.pairs["ER"]))


@pytest.mark.parametrize(("tiles", "edge"), {"large": 64, "medium": 32, "small": 16}.items())
def test_the_checkerboard_shows_both_by_turns_on_the_canvas(compared, tiles, edge):
    compared.viewer.window.resize(1280, 800)
    compared.viewer.reset_view()
    predicted, true = alone(compared, "ER")
    mixed(compared, "ER", "Checkerboard")
    compared.compare.view.tiles.setCurrentText(tiles)
    canvas = compared.canvas()
    assert f"Tiles of {edge} px" in compared.compare.view.key.text()
    places = places_of(compared, compared.pairs["ER"][0], canvas)
    at = np.meshgrid(*places, indexing="ij")
    inside = np.all([(place >= 0) & (place <= 255) for place in at], axis=0)
    # Pixels of the canvas on an edge between tiles are left out.
    inside &= np.all(
        [np.abs((place + 0.5 + edge / 2) % edge - edge / 2) > 1 for place in at], axis=0
    )
    first = sum(np.floor((place + 0.5) / edge) for place in at) % 2 == 0
    assert near(canvas, predicted)[inside & first].all()
    assert near(canvas, true)[inside & ~first].all()
    assert not near(predicted, true)[inside & first].all()


def test_the_curtain_hangs_in_what_is_in_view(compared):
    layer = mixed(compared, "ER", "Curtain")
    camera = compared.viewer.scene.camera
    camera.zoom *= 4
    compared.wait(lambda: layer.data.shape[1] < 128)
    predicted = compared.pairs["ER"][0]
    # The first pixel of what is read lies where that of the image lies.
    first = np.round(predicted.world_to_data(layer.data_to_world((0, 0)))).astype(int)
    whole = np.asarray(predicted.data[0] if predicted.multiscale else predicted.data)
    np.testing.assert_array_equal(layer.data[:, 0], whole[first[0] :, first[1]][: len(layer.data)])
    line = compared.compare.view.watch.pair.line(0.5)
    middle = predicted.world_to_data(camera.center[-2:])[1]
    assert line == pytest.approx(middle, abs=1)


def test_the_curtain_is_dragged_at_its_edge_and_nowhere_else(compared):
    mixed(compared, "ER", "Curtain")
    view = compared.compare.view
    view.curtain.setValue(500)
    pair, predicted = view.watch.pair, compared.pairs["ER"][0]

    class Event:
        type = "mouse_press"
        position = ()

        def to(self, share):
            self.position = predicted.data_to_world((100, pair.line(share)))
            return self

    event = Event().to(0.8)
    assert list(view._drag(compared.viewer, event)) == [], "too far away"
    event.to(0.5)
    drag = view._drag(compared.viewer, event)
    next(drag)
    assert not compared.viewer.scene.camera.mouse_pan
    event.type = "mouse_move"
    event.to(0.25)
    next(drag)
    assert view.curtain.value() == 250
    assert view._percent.text() == "25 %"
    event.type = "mouse_release"
    assert list(drag) == []
    assert compared.viewer.scene.camera.mouse_pan


def test_contrast_of_what_is_two_in_one_is_that_of_both(compared):
    layer = mixed(compared, "DNA", "Curtain")
    predicted, true = compared.pairs["DNA"]
    assert layer.contrast_limits == true.contrast_limits
    layer.contrast_limits = (5.0, 50.0)
    assert predicted.contrast_limits == true.contrast_limits == [5.0, 50.0]
    true.gamma = 0.5
    assert layer.gamma == 0.5


@pytest.mark.parametrize("mode", ["Curtain", "Checkerboard"])
def test_the_layer_of_two_in_one_goes_with_its_mode_and_with_the_page(compared, mode):
    before = len(compared.viewer.layers)
    mixed(compared, "DNA", mode)
    show(compared, "DNA", "Predicted")
    assert len(compared.viewer.layers) == before
    mixed(compared, "DNA", mode)
    compared.dock.show_page("stain")
    assert len(compared.viewer.layers) == before
    assert compared.compare.view._drag not in compared.viewer.mouse_drag_callbacks
    compared.viewer.scene.camera.zoom *= 2
    compared.qtbot.wait(300)
    assert len(compared.viewer.layers) == before, "nothing follows the view any more"


def test_flicker_shows_both_by_turns_and_says_which(compared):
    predicted, true = alone(compared, "ER")
    overlay = compared.viewer.canvas.overlays.text
    show(compared, "ER", "Flicker")
    view = compared.compare.view
    assert view._by_turns.interval() == 500
    said = []
    compared.wait(lambda: said.append(overlay.text) or len(set(said)) == 2, 5)
    view._by_turns.stop()
    for _ in range(2):
        view._turn()
        wanted, other = (predicted, true) if overlay.text == "predicted" else (true, predicted)
        canvas = compared.canvas()[100:-100]  # the word stands at the edge
        assert near(canvas, wanted[100:-100]).all()
        assert not near(canvas, other[100:-100]).all()
    view._by_turns.start()
    compared.dock.show_page("stain")
    assert not view._by_turns.isActive()
    assert not overlay.visible
    assert all(layer.opacity == pytest.approx(0.75) for layer in compared.pairs["ER"])


@pytest.fixture
def stack(desk, tmp_path):
    """A comparison of layers with time points and planes, made without a run."""
    rng = np.random.default_rng(0)
    pair = [
        desk.viewer.add_image(
            rng.random((3, 2, 40, 40)).astype(np.float32), name=name, scale=(5, 2, 0.5, 0.5),
            axis_labels=("t", "z", "y", "x"), contrast_limits=(0, 1),
        )
        for name in ("predicted", "true")
    ]  # fmt: skip
    desk.viewer.reset_view()
    desk.dock.show_page("compare")
    desk.pairs = {"DNA": tuple(pair)}
    return desk


@pytest.mark.parametrize("mode", ["Curtain", "Checkerboard"])
def test_time_and_plane_are_those_in_view(stack, mode):
    view, (predicted, true) = stack.compare.view, stack.pairs["DNA"]
    view.modes.button(list(MODES).index(mode)).setChecked(True)
    view.look_at("DNA", predicted, true)
    stack.wait(lambda: view.mixture.layer is not None)
    for t, z in ((0, 0), (2, 1), (1, 0)):
        stack.viewer.dims.current_step = (t, z, 0, 0)
        region = view.watch.pair.region
        planes = predicted.data[t, z], true.data[t, z]
        wanted = planes[0].copy()
        if mode == "Curtain":
            middle = (region[1] + region[3]) // 2
            wanted[:, middle:] = planes[1][:, middle:]
            wanted[:2, middle] = wanted[-2:, middle] = 1.0  # the marks
        else:
            edge = tile_edge(region, 8)
            for row in range(40):
                for column in range(40):
                    if (row // edge + column // edge) % 2:
                        wanted[row, column] = planes[1][row, column]
        wanted = wanted[region[0] : region[2], region[1] : region[3]]
        stack.wait(lambda wanted=wanted: np.array_equal(view.mixture.layer.data, wanted), 5)


def test_two_in_one_needs_two_dimensions_and_says_so_once(stack):
    view = stack.compare.view
    stack.viewer.dims.ndisplay = 3
    view.modes.button(list(MODES).index("Curtain")).setChecked(True)
    view.look_at("DNA", *stack.pairs["DNA"])
    assert stack.compare.notice.text == (
        "Curtain and checkerboard show y and x. Switch the canvas to two dimensions, with the "
        "axes in their own order."
    )
    assert view.mixture.layer is None
    stack.viewer.dims.ndisplay = 2
    stack.viewer.reset_view()
    stack.wait(lambda: view.mixture.layer is not None)


# --- look closer ----------------------------------------------------------------------------------


@pytest.fixture
def close(compared):
    """DNA looked at, with the numbers of what is in view."""
    show(compared, "DNA", "Both")
    compared.click(compared.compare.view.close_up.heading)
    compared.wait(lambda: "PCC" in compared.compare.view.closer.numbers.text())
    return compared


def plane_of(layer):
    pixels = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    return pixels.reshape(pixels.shape[-2:])


def point_at(desk, row, column):
    """Move the mouse over a pixel of the prediction."""
    layer, viewer = desk.compare.view.watch.of[0], desk.viewer
    world = np.asarray(viewer.dims.point, dtype=float)
    world[-2:] = layer.data_to_world((*(0,) * (layer.ndim - 2), row, column))[-2:]
    event = type("Event", (), {"position": tuple(world)})()
    for call in viewer.mouse_move_callbacks:
        call(viewer, event)


def test_the_whole_field_in_view_has_the_numbers_of_the_table_and_a_part_has_its_own(close, scores):
    closer, view = close.compare.view.closer, close.compare.view
    close.viewer.reset_view()
    close.wait(lambda: view.watch.pair.step == (1.0, 1.0))
    close.wait(lambda: f"({256 * 256:,} px)" in closer.numbers.text())
    said = closer.numbers.text()
    assert f"PCC {scores['DNA'].pcc:.3f}, SSIM {scores['DNA'].ssim:.3f}" in said
    close.viewer.scene.camera.zoom *= 4
    close.wait(lambda: closer.numbers.text() not in ("", said))
    top, left, bottom, right = view.watch.pair.region
    assert f"({(bottom - top) * (right - left):,} px)" in closer.numbers.text()
    show(close, "ER", "Curtain")
    close.wait(lambda: closer.joint.joint is not None and "PCC" in closer.numbers.text())


def test_the_cursor_reads_both_pictures_and_their_row(close):
    closer, view = close.compare.view.closer, close.compare.view
    close.viewer.reset_view()
    close.wait(lambda: view.watch.pair.region[0] == 0 and view.watch.pair.region[2] == 256)
    point_at(close, 100, 40)
    predicted, true = (float(plane_of(layer)[100, 40]) for layer in view.watch.of)
    said = re.sub("<[^>]*>", "", closer.cursor.text())
    assert said == (
        f"Row 100, column 40: predicted {predicted:.4g}, true {true:.4g}, "
        f"difference {predicted - true:+.4g}."
    )
    profile, left = closer.profile.profile, view.watch.pair.region[1]
    assert profile.true[40 - left] == pytest.approx(true)
    assert profile.predicted[40 - left] == pytest.approx(predicted)
    point_at(close, -50, -50)
    assert closer.cursor.text() == "Cursor: move the mouse over the image."
    close.dock.show_page("stain")
    assert closer.numbers.text() == ""
    assert not close.viewer.mouse_move_callbacks


def test_a_line_that_is_drawn_is_the_profile(close):
    view, watch = close.compare.view, close.compare.view.watch
    layer = watch.of[0]
    close.viewer.reset_view()
    close.wait(lambda: watch.pair.region[0] == 0 and watch.pair.region[2] == 256)
    ends = [layer.data_to_world((*(0,) * (layer.ndim - 2), *p))[-2:] for p in ((10, 20), (90, 20))]
    shapes = close.viewer.add_shapes([np.asarray(ends)], shape_type="line", name="line")
    close.viewer.layers.selection = [shapes]
    point_at(close, 100, 40)
    assert len(view.closer.profile.profile.distance) == 81
    wanted = plane_of(watch.of[1])[10:91, 20]
    np.testing.assert_allclose(view.closer.profile.profile.true, wanted, rtol=1e-5)


def test_a_figure_of_what_is_in_view_is_saved_and_copied(close, tmp_path):
    figure, notice = close.compare.view.closer.figure, close.compare.notice
    figure.save_to(tmp_path / "dna")
    close.wait(lambda: notice.text == f"The figure is saved as '{tmp_path / 'dna.png'}'.")
    saved = np.asarray(Pictures.open(tmp_path / "dna.png").convert("RGB"))
    assert saved.shape[1] > 4 * 420
    close.click(figure.copy)
    close.wait(lambda: notice.text.startswith("The figure is on the clipboard"))
    assert QApplication.clipboard().image().width() == saved.shape[1]
    figure.save_to("/proc/nowhere/dna.png")
    close.wait(lambda: "/proc/nowhere" in notice.text)


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
    assert desk.compare.table.stains == ["DNA"]
    assert float(cells(desk, "DNA")["PCC"]) == pytest.approx(scores["DNA"].pcc, abs=6e-4)
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
    assert rows[0] == ["Stain", *TITLES]
    assert [row[0] for row in rows[1:]] == list(compared.pairs)
