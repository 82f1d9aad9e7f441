"""A spread is worth what held-out pairs say; intervals are written, found again, and refused."""

from __future__ import annotations

import json
import shutil

import dask.array as da
import numpy as np
import pytest
from judged_stores import write_image

from napari_virtualstain.api import uncertainty as uncertainty_here
from napari_virtualstain.cli.main import main
from napari_virtualstain.datasets.stain_names import is_doubt
from napari_virtualstain.errors import (
    ChannelError,
    ModelPackageError,
    OutputExistsError,
    PixelDataError,
    RunCancelled,
    SettingsError,
)
from napari_virtualstain.generators.doubt import DOUBT_FILE, read_doubt
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import plan, stain
from napari_virtualstain.jobs.plan import PlanSettings
from napari_virtualstain.jobs.stain import StainSettings
from napari_virtualstain.jobs.uncertainty import FILES, _half
from napari_virtualstain.napari_io.layers import image_layers
from napari_virtualstain.zoo import find_model, load_generator

EDGE = 96


def light(seed):
    pixels = np.random.default_rng(seed).normal(1000, 100, (1, 1, 3, 40, 48)).astype(np.float32)
    return LazyImage(data=da.from_array(pixels), channels=(Channel("Brightfield", "transmitted"),))


def stained(model, given, out, **settings):
    chosen = {"input": "array", "model": str(model), "out": str(out), "pixel_size": 0.6, **settings}
    stain.run(StainSettings(**chosen), image=given)
    return open_image(out)


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture
def fields(tmp_path):
    """Return a function that writes predictions with spread, and truths that lie off by it."""

    def write(folder, n=6, *, factor=1.0, record=None, names=("DNA", "DNA spread"), honest=True):
        for number in range(n):
            rng = np.random.default_rng(number)
            truth = np.zeros((EDGE, EDGE), np.float32)
            truth[24:72, 24:72] = rng.uniform(50, 60, (48, 48))
            spread = rng.uniform(0.5, 4, truth.shape).astype(np.float32)
            off = factor * rng.normal(size=truth.shape) * (spread if honest else 1)
            pixels = np.stack([truth + off, spread])[None, : len(names), None]
            name = f"field{number}.ome.zarr"
            write_image(folder / "predicted" / name, pixels, [Channel(n) for n in names], record)
            write_image(folder / "true" / name, truth[None, None, None], [Channel("DNA")])
        return str(folder / "predicted"), str(folder / "true")

    return write


# --- what a spread is worth ---------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.3, 1.0, 5.0])
def test_intervals_hold_however_far_off_the_spread_is(fields, tmp_path, factor):
    predicted, true = fields(tmp_path, factor=factor)
    found = uncertainty_here(predicted, target=true, out=tmp_path / "out")
    (dna,) = found.stains
    assert dna.holds
    assert dna.coverage.value == pytest.approx(0.9, abs=0.02)
    assert dna.width == pytest.approx(factor * 1.645 * 2.25, rel=0.2)
    assert dna.orders
    assert "error is" in found.text()
    assert (found.fitted, found.held_back) == (3, 3)


def test_a_spread_that_finds_no_errors_is_called_so(fields, tmp_path):
    predicted, true = fields(tmp_path, honest=False)
    found = uncertainty_here(predicted, target=true, out=tmp_path / "out")
    assert found.stains[0].holds
    assert not found.stains[0].orders
    assert "do not use it to choose where to look" in found.text()


def test_the_page_and_the_table_say_the_same_as_the_result(fields, tmp_path):
    predicted, true = fields(tmp_path)
    found = uncertainty_here(predicted, target=true, out=tmp_path / "out", level=0.8)
    page, table, report = ((tmp_path / "out" / name).read_text(encoding="utf-8") for name in FILES)
    told = json.loads(report)
    wanted = json.loads(json.dumps(found.to_json()))
    assert told["result"] == {key: value for key, value in wanted.items() if key != "kept"}
    assert told["settings"]["level"] == 0.8
    assert len(table.splitlines()) == 11
    assert "intervals of 80% hold" in page
    assert "nothing of another microscope" in page


def test_calibrating_writes_the_intervals_into_the_report_of_a_model_of_others(fields, tmp_path):
    made = {"job": "stain", "model": {"name": "demo", "fingerprint": "abc", "path": "x"},
            "settings": {"views": 8}}  # fmt: skip
    predicted, true = fields(tmp_path, record=made)
    found = uncertainty_here(predicted, target=true, out=tmp_path / "out", calibrate=True)
    assert found.kept == tmp_path / "out" / DOUBT_FILE
    doubt = read_doubt(found.kept)
    assert (doubt.views, doubt.draws, doubt.fingerprint, doubt.fields) == (8, 1, "abc", 3)
    assert doubt.stains["DNA"] == found.stains[0].interval


def test_fields_without_cells_are_left_out_and_said(fields, tmp_path):
    predicted, true = fields(tmp_path, 5)
    empty = np.zeros((1, 1, 1, EDGE, EDGE), np.float32)
    path = tmp_path / "true" / "field1.ome.zarr"
    shutil.rmtree(path)
    write_image(path, empty, [Channel("DNA")])
    notes = []
    predicted_fields = tmp_path / "predicted"
    fields(tmp_path / "more", 8)
    for number in (5, 6, 7):
        name = f"field{number}.ome.zarr"
        shutil.copytree(tmp_path / "more" / "predicted" / name, predicted_fields / name)
        shutil.copytree(tmp_path / "more" / "true" / name, tmp_path / "true" / name)
    uncertainty_here(predicted, target=true, out=tmp_path / "out", on_note=notes.append)
    assert any("field1" in note and "no foreground of DNA" in note for note in notes)


# --- bad input ------------------------------------------------------------------------------------------


def test_three_fields_are_too_few(fields, tmp_path):
    predicted, true = fields(tmp_path, 3)
    with pytest.raises(PixelDataError, match="at least 4"):
        uncertainty_here(predicted, target=true, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_predictions_without_a_spread_say_how_to_get_one(fields, tmp_path):
    predicted, true = fields(tmp_path, names=("DNA",))
    with pytest.raises(ChannelError, match="--views 8, or with --draws 8"):
        uncertainty_here(predicted, target=true, out=tmp_path / "out")


def test_a_truth_of_another_size_is_refused(fields, tmp_path):
    predicted, true = fields(tmp_path)
    path = tmp_path / "true" / "field2.ome.zarr"
    shutil.rmtree(path)
    write_image(path, np.ones((1, 1, 1, 40, 40), np.float32), [Channel("DNA")])
    with pytest.raises(PixelDataError, match=r"field2.*96 x 96 px and its truth 40 x 40 px"):
        uncertainty_here(predicted, target=true, out=tmp_path / "out")


def test_predictions_of_unknown_make_are_not_calibrated_on(fields, tmp_path):
    predicted, true = fields(tmp_path)
    with pytest.raises(SettingsError, match="which model made them"):
        uncertainty_here(predicted, target=true, out=tmp_path / "out", calibrate=True)


def test_predictions_of_two_kinds_are_refused(fields, tmp_path):
    made = {"job": "stain", "model": {"name": "m", "fingerprint": "a"}, "settings": {"views": 8}}
    predicted, true = fields(tmp_path, 4, record=made)
    other = {**made, "settings": {"views": 4}}
    fields(tmp_path / "more", 6, record=other)
    name = "field5.ome.zarr"
    for side in ("predicted", "true"):
        shutil.copytree(tmp_path / "more" / side / name, tmp_path / side / name)
    with pytest.raises(SettingsError, match="several models, or with another --views"):
        uncertainty_here(predicted, target=true, out=tmp_path / "out")


def test_empty_fields_alone_are_refused(fields, tmp_path):
    predicted, true = fields(tmp_path, 4)
    for number in range(4):
        path = tmp_path / "true" / f"field{number}.ome.zarr"
        shutil.rmtree(path)
        write_image(path, np.zeros((1, 1, 1, EDGE, EDGE), np.float32), [Channel("DNA")])
    with pytest.raises(PixelDataError, match="Give fields with cells"):
        uncertainty_here(predicted, target=true, out=tmp_path / "out")


def test_a_report_that_is_there_and_a_cancelled_one_leave_all_as_it_was(fields, tmp_path):
    predicted, true = fields(tmp_path)

    def stop(done, total, what):
        raise RunCancelled

    with pytest.raises(RunCancelled):
        uncertainty_here(predicted, target=true, out=tmp_path / "out", on_progress=stop)
    assert not (tmp_path / "out").exists()
    uncertainty_here(predicted, target=true, out=tmp_path / "out")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        uncertainty_here(predicted, target=true, out=tmp_path / "out")


def test_the_command_says_it_in_a_sentence_a_stain(fields, tmp_path, capsys):
    predicted, true = fields(tmp_path)
    code = main(["uncertainty", predicted, "--target", true, "--out", str(tmp_path / "out")])
    assert code == 0
    assert "DNA: intervals of 90% hold" in capsys.readouterr().out


# --- stains with their doubt ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["whole", "halo", "auto"])
def test_views_are_means_beside_their_spread_whatever_the_tiles(model, tmp_path, mode):
    whole = stained(model, light(1), tmp_path / "a.ome.zarr", mode="whole", views=8)
    image = stained(model, light(1), tmp_path / "b.ome.zarr", mode=mode, views=8)
    names = [name for name in image.channel_names if not is_doubt(name)]
    assert image.channel_names == (*names, *(f"{name} spread" for name in names))
    pixels, wanted = image.data.compute(), whole.data.compute()
    assert pixels == pytest.approx(wanted, abs=1e-4 * float(np.ptp(wanted)))
    plain = stained(model, light(1), tmp_path / "c.ome.zarr").data.compute()
    assert not np.allclose(pixels[:, : len(names)], plain)
    assert (pixels[:, len(names) :] >= 0).all()
    for _, keywords, _ in image_layers(image):
        assert keywords["visible"] is not is_doubt(keywords["name"])


def with_intervals(model, **changes):
    """Put intervals beside a model: twice the spread."""
    loaded = load_generator(model)
    interval = {"level": 0.9, "spreads": [1.0], "widths": [2.0]}
    doubt = {
        "model": loaded.card.name, "fingerprint": loaded.fingerprint, "views": 8, "draws": 1,
        "level": 0.9, "fields": 4, "stains": dict.fromkeys(loaded.card.stain_names, interval),
        **changes,
    }  # fmt: skip
    (model / DOUBT_FILE).write_text(json.dumps(doubt), encoding="utf-8")


def test_an_interval_takes_the_place_of_the_spread(model, tmp_path):
    with_intervals(model)
    spread = stained(model, light(1), tmp_path / "a.ome.zarr", views=8)
    image = stained(model, light(1), tmp_path / "b.ome.zarr", views=8, interval=True)
    names = [name for name in spread.channel_names if not is_doubt(name)]
    n = len(names)
    wanted = (*names, *(f"{name} 5 %" for name in names), *(f"{name} 95 %" for name in names))
    assert image.channel_names == wanted
    said, doubt = image.data.compute()[0, :, 0], spread.data.compute()[0, n:, 0]
    half = np.where(doubt > 1, 2 * doubt, 2.0)
    assert said[n : 2 * n] == pytest.approx(said[:n] - half, rel=1e-4, abs=1e-3)
    assert said[2 * n :] == pytest.approx(said[:n] + half, rel=1e-4, abs=1e-3)
    assert read_record(tmp_path / "b.ome.zarr")["record"]["settings"]["interval"] is True


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"views": 4}, "measured with --views 4"),
        ({"views": 1, "draws": 8}, "measured with --draws 8"),
        ({"fingerprint": "other"}, "of other weights"),
        ({"stains": {}}, "are not known"),
    ],
)
def test_intervals_of_something_else_are_refused(model, tmp_path, changes, said):
    with_intervals(model, **changes)
    with pytest.raises(SettingsError, match=said):
        stained(model, light(1), tmp_path / "o.ome.zarr", views=8, interval=True)
    assert not (tmp_path / "o.ome.zarr").exists()


def test_a_damaged_file_is_told_and_how_to_make_it_again(model, tmp_path):
    (model / DOUBT_FILE).write_text('{"views": "many"}', encoding="utf-8")
    with pytest.raises(ModelPackageError, match="uncertainty --calibrate"):
        stained(model, light(1), tmp_path / "o.ome.zarr", views=8, interval=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"interval": True}, "Add --views 8"),
        ({"interval": True, "views": 8}, "Nobody has measured"),
        ({"views": 8, "quantiles": (0.1,)}, "--quantiles"),
        ({"draws": 4}, "draws none"),
    ],
)
def test_doubt_that_cannot_be_had_is_refused_in_one_sentence(model, tmp_path, settings, said):
    with pytest.raises(SettingsError, match=said):
        stained(model, light(1), tmp_path / "o.ome.zarr", **settings)


def test_three_views_are_no_set_of_views(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "x.tif", "--views", "3"])
    assert "choose from '1', '2', '4', '8'" in capsys.readouterr().err


def test_a_run_is_not_gone_on_with_under_other_views(model, field_folder, tmp_path):
    path = str(field_folder / "brightfield.ome.zarr")
    settings = {"input": path, "model": str(model), "out": str(tmp_path / "o.ome.zarr")}
    stain.run(StainSettings(**settings, views=2))
    with pytest.raises(SettingsError, match="other --views"):
        stain.run(StainSettings(**settings, views=4, resume=True))


def test_the_plan_says_that_it_is_a_mean_of_views(model, field_folder):
    path = str(field_folder / "brightfield.ome.zarr")
    told = plan.run(PlanSettings(input=path, model=str(model), views=8))
    assert "the mean of 8 views" in plan.to_text(told)


def test_the_demo_model_knows_its_intervals(tmp_path):
    doubt = read_doubt(find_model("demo") / DOUBT_FILE)
    loaded = load_generator("demo")
    assert doubt.fingerprint == loaded.fingerprint
    assert set(doubt.stains) == set(loaded.card.stain_names)
    assert (doubt.views, doubt.level) == (8, 0.9)


def test_fields_of_one_well_are_on_one_side_and_an_alternating_layout_does_not_matter():
    keys = [("p", f"A{1 + n // 3:02}", str(n % 3)) for n in range(36)]
    first, notes = _half(keys, 0)
    assert not notes
    sides = {(key[1], side) for key, side in zip(keys, first, strict=True)}
    assert len(sides) == 12
    assert sum(first) == 18
    odd = [side for key, side in zip(keys, first, strict=True) if int(key[1][1:]) % 2]
    assert 0 < sum(odd) < len(odd)
    assert _half(keys, 0)[0] == first
    assert _half(keys, 1)[0] != first


def test_where_there_are_few_wells_fields_are_drawn_and_it_is_said():
    first, notes = _half([("p", "A01", str(n)) for n in range(5)], 0)
    assert sum(first) == 3
    assert "on both sides" in notes[0]
