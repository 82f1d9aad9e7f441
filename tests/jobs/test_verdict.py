"""A verdict finds what is planted, passes what is perfect, and says what it cannot tell."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pytest
from drawn_plates import DOING, STAINS, camera, drawn_plate, write_labels, write_plate

from napari_virtualstain.api import verdict as verdict_here
from napari_virtualstain.cli.main import main
from napari_virtualstain.errors import (
    ChannelError,
    MissingExtraError,
    OutputExistsError,
    PixelDataError,
    RunCancelled,
    SettingsError,
    UnknownNameError,
    VirtualStainError,
)
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import verdict
from napari_virtualstain.jobs.listed_images import listed_images
from napari_virtualstain.jobs.verdict import VerdictSettings
from napari_virtualstain.jobs.verdict_answers import answer
from napari_virtualstain.jobs.verdict_cells import CellSample
from napari_virtualstain.jobs.verdict_fields import FieldComparer
from napari_virtualstain.jobs.verdict_pairs import pair_fields
from napari_virtualstain.jobs.verdict_pictures import _small
from napari_virtualstain.jobs.verdict_tables import FILES


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """True stains of a plate, and the table of what was done."""
    root = tmp_path_factory.mktemp("plate")
    fields = drawn_plate()
    shot = camera(1)
    truth = write_plate(root / "truth.ome.zarr", fields, lambda f: shot(f.light()))
    return root, fields, truth, write_labels(root / "labels.csv", fields)


def predicted(plate, name, pixels, names=STAINS, fields=None):
    path = plate[0] / f"{name}.ome.zarr"
    if not path.exists():
        write_plate(path, plate[1] if fields is None else fields, pixels, names)
    return path


@pytest.fixture(scope="module")
def perfect(plate):
    """A prediction that differs from the truth in the noise of the camera alone."""
    shot = camera(2)
    return predicted(plate, "perfect", lambda f: shot(f.light()))


@pytest.fixture(scope="module")
def passed(plate, perfect):
    """What the command line says of it, as JSON."""
    words = [
        "verdict", perfect, "--target", plate[2], "--labels", plate[3], "--controls", "DMSO",
        "--draws", "200", "--out", plate[0] / "passed", "--json", "--quiet",
    ]  # fmt: skip
    with redirect_stdout(io.StringIO()) as said:
        assert main([str(word) for word in words]) == 0
    return json.loads(said.getvalue())


def asked(plate, **settings):
    return {"labels": str(plate[3]), "controls": ("DMSO",), "draws": 200, **settings}


def ask(plate, prediction, out, **settings):
    chosen = {"target": str(plate[2]), **asked(plate, **settings)}
    return verdict.run(VerdictSettings(prediction=str(prediction), out=str(out), **chosen))


def states(result):
    return {one.question: one.state for one in result.answers.findings}


def rows(out, name):
    with (out / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# What is planted.


def test_a_perfect_generator_with_noise_of_its_own_passes(plate, passed):
    assert {one["state"] for one in passed["findings"]} == {"kept"}, passed["findings"]
    assert passed["state"] == "kept"
    assert [row["trust"] for row in passed["channels"]] == ["trust"] * len(STAINS)
    hits = {row["treatment"]: (row["hit_true"], row["hit_predicted"])
            for row in rows(plate[0] / "passed", "treatments.csv")}  # fmt: skip
    assert hits.pop("nothing") == ("0", "0")
    assert set(hits.values()) == {("1", "1")}


def test_the_single_cells_of_a_perfect_generator_are_distributed_as_halves_of_the_truth(
    plate, passed
):
    whole, *groups = passed["distributions"]
    assert whole["group"] == "all features"
    assert [row["group"] for row in groups] == [
        "nucleus shape", "nucleus intensity DNA", "nucleus intensity ER",
    ]  # fmt: skip
    assert whole["wasserstein"] == pytest.approx(whole["halves"], rel=0.1)
    assert whole["excess_low"] < 0 < whole["excess_high"]
    assert whole["replicates"] > whole["halves"], "wells differ more than halves of a well"
    assert whole["auroc"] == pytest.approx(0.5, abs=0.1)
    few = {field.well for field in plate[1] if len(field.places) < 10}
    assert whole["wells"] == len(plate[1]) - len(few)
    features = [row for row in rows(plate[0] / "passed", "distributions.csv") if row["feature"]]
    assert len(features) == whole["features"]
    cells = rows(plate[0] / "passed", "cells.csv")
    assert {row["side"] for row in cells} == {"truth", "prediction"}
    assert {row["well"] for row in cells} == {field.well for field in plate[1]} - few
    assert "<h2>Single cells</h2>" in (plate[0] / "passed" / "verdict.html").read_text("utf-8")


def test_a_generator_whose_cells_are_all_alike_is_found_by_their_distribution(plate, tmp_path):
    """The medians of each well are right: what is lost is how single cells differ."""
    shot = camera(5)

    def alike(field):
        middle = np.median(field.bright, axis=0)
        usual = np.broadcast_to(middle, field.bright.shape)
        return shot(replace(field, bright=usual).light())

    out = tmp_path / "o"
    result = ask(plate, predicted(plate, "alike", alike), out)
    assert {states(result)[f"amounts of {stain}"] for stain in STAINS} == {"kept"}
    found = {row["feature"] or row["group"]: row for row in result.cells.rows}
    assert found["nucleus_mean_ER"]["excess_low"] > 0.1
    assert found["nucleus_area"]["excess_low"] < 0.1
    assert found["nucleus shape"]["auroc"] < 0.6 < found["nucleus intensity ER"]["auroc"]
    assert result.cells.sentence() in result.text()


def test_wells_with_few_cells_are_no_distribution_and_that_is_said(plate, tmp_path):
    rng, shot = np.random.default_rng(6), camera(6)
    path = predicted(plate, "empty", lambda f: shot(f.without(0.8, rng).light()))
    result = ask(plate, path, tmp_path / "o")
    assert result.cells.rows == ()
    assert any("distributions of single cells are not compared" in one for one in result.notes)
    assert not (tmp_path / "o" / "distributions.csv").exists()
    assert "<h2>Single cells" not in (tmp_path / "o" / "verdict.html").read_text("utf-8")


def test_what_cells_are_drawn_by_is_looked_for_before_the_work(
    plate, perfect, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"napari-virtualstain\[umap\]"):
        ask(plate, perfect, tmp_path / "o", scatter="umap")
    assert not (tmp_path / "o").exists()


def test_a_sample_of_cells_holds_all_fields_of_a_well_alike():
    sample = CellSample(most=100, seed=0)
    for number in range(4):
        table = {
            "object": np.arange(200), "y": np.linspace(0, 199, 200), "x": np.zeros(200),
            "nucleus_area": np.full(200, float(number)),
        }  # fmt: skip
        sample.add(("", "A01"), table, {name: column[:30] for name, column in table.items()})
    cells = sample.cells
    assert cells.names == ("nucleus_area",)
    assert cells.truth["", "A01"].shape == (100, 1)
    counts = np.unique(cells.truth["", "A01"], return_counts=True)[1]
    assert counts.min() > 12
    assert len(cells.prediction["", "A01"]) == 100
    # Parts of 50 um of four fields, which both sides call alike.
    assert len(set(cells.true_places["", "A01"])) == 4 * 4
    assert set(cells.predicted_places["", "A01"]) <= set(cells.true_places["", "A01"])


def test_a_generator_that_loses_nuclei_is_found_by_its_counts_alone(plate, tmp_path):
    rng, shot = np.random.default_rng(3), camera(3)
    path = predicted(plate, "loses", lambda f: shot(f.without(0.15, rng).light()))
    result = ask(plate, path, tmp_path / "o")
    found = states(result)
    assert found.pop("counts") == "changed"
    assert all(found.pop(f"amounts of {stain}") == "kept" for stain in STAINS)
    counts = result.answers.findings[0]
    assert counts.value == pytest.approx(0.85, abs=0.04)
    assert re.search(
        r"1\d % of the true ones have no match, and 0 % of the predicted", counts.sentence
    )
    assert "counts" in result.sentence
    fewest = max(rows(tmp_path / "o", "wells.csv"), key=lambda row: int(row["missed"]))
    assert fewest["well"] in [row["well"] for row in result.answers.wells[:6]]


def test_a_generator_that_doubles_one_stain_is_found_by_its_amounts_alone(plate, tmp_path):
    shot = camera(4)

    def doubled(field):
        bright = field.bright * (1, 2)
        return shot(replace(field, bright=bright).light())

    result = ask(plate, predicted(plate, "doubles", doubled), tmp_path / "o")
    found = states(result)
    assert [name for name, state in found.items() if state != "kept"] == ["amounts of ER"]
    amount = next(one for one in result.answers.findings if one.question == "amounts of ER")
    assert amount.value == pytest.approx(2, abs=0.05)
    assert result.sentence == "The conclusion would have been another one: amounts of ER."


def test_a_generator_that_swaps_two_treatments_is_found_and_both_are_named(plate, tmp_path):
    shot, wells = camera(5), {}
    for one in plate[1]:
        wells.setdefault(one.treatment, []).append(one)
    other = {f.well: g for a, b in (("large", "bright"), ("bright", "large"))
             for f, g in zip(wells[a], wells[b], strict=True)}  # fmt: skip
    path = predicted(plate, "swaps", lambda f: shot(other.get(f.well, f).light()))
    result = ask(plate, path, tmp_path / "o")
    found = states(result)
    assert found["treatments"] == "changed"
    assert found["hits"] == "kept"
    said = next(one.sentence for one in result.answers.findings if one.question == "treatments")
    assert said.startswith("Swapped: bright and large.")
    worst = {row["treatment"] for row in result.answers.wells[:4]}
    assert worst == {"large", "bright"}
    looks = {row["treatment"]: row["looks_like"] for row in rows(tmp_path / "o", "treatments.csv")}
    assert (looks["large"], looks["bright"], looks["few"]) == ("bright", "large", "few")


# What is written.


def test_page_tables_and_answers_stand_in_the_folder(plate, passed):
    out = plate[0] / "passed"
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    whole = json.loads((out / "verdict.json").read_text(encoding="utf-8"))
    assert whole["settings"]["seed"] == 0
    assert "numpy" in whole["versions"]
    assert whole["result"]["findings"] == passed["findings"]
    assert len(rows(out, "fields.csv")) == len(rows(out, "wells.csv")) == len(plate[1])
    assert len(rows(out, "treatments.csv")) == len(DOING) - 1
    features = rows(out, "features.csv")
    assert {row["compartment"] for row in features} == {"field", "nucleus"}
    assert {row["kept"] for row in features} == {"0", "1"}
    assert all(row["why_not"] for row in features if row["kept"] == "0")
    by_well = {row["well"]: row for row in rows(out, "wells.csv")}
    for one in plate[1]:
        assert by_well[one.well]["treatment"] == one.treatment
        assert int(by_well[one.well]["true"]) == pytest.approx(len(one.places), abs=1)
    page = (out / "verdict.html").read_text(encoding="utf-8")
    assert passed["sentence"] in page
    assert all(one["sentence"] in page for one in passed["findings"])
    assert page.count("<svg") == 5
    assert page.count("data:image/png") == 9  # of three wells


def test_mechanisms_are_matched_and_no_name_becomes_a_part_of_the_page(plate, perfect, tmp_path):
    nasty = "<script>alert('x')</script>"
    labels = write_labels(tmp_path / "l.csv", plate[1], {"bright": "a", "large": "a", "few": "b"})
    text = labels.read_text(encoding="utf-8").replace("large", nasty)
    labels.write_text(f"{text}\nH12,other,", encoding="utf-8")
    result = verdict_here(
        perfect, target=plate[2], out=tmp_path / "o", moa="moa",
        **asked(plate, labels=str(labels)),
    )  # fmt: skip
    assert states(result)["targets"] == "kept"
    by_name = {row["treatment"]: row["target"] for row in rows(tmp_path / "o", "treatments.csv")}
    assert (by_name[nasty], by_name["nothing"]) == ("a", "")
    assert any("without an image: H12" in note for note in result.notes)
    page = (tmp_path / "o" / "verdict.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    addresses = re.findall(r'(?:src|href)="([^"]{,20})', page)
    assert addresses
    assert all(address.startswith("data:image/png") for address in addresses)


def test_the_seed_decides_intervals_and_no_number(plate, perfect):
    comparer = FieldComparer(
        VerdictSettings(prediction=str(perfect), target=str(plate[2]), out=str(plate[0] / "x"))
    )
    images = [listed_images(str(p), scene=None, axes=None, pattern=None, out="x")
              for p in (perfect, plate[2])]  # fmt: skip
    fields = list(comparer.compare(pair_fields(*images)[0][:6], lambda _n: None))
    one, two, three = (
        answer(
            fields, STAINS, cells=False, labels={}, targets={}, controls=(), relative=(),
            level=0.95, draws=100, seed=seed,
        ).channels
        for seed in (0, 0, 7)
    )  # fmt: skip
    assert one == two
    assert [row["pcc"] for row in one] == [row["pcc"] for row in three]
    assert [row["pcc_low"] for row in one] != [row["pcc_low"] for row in three]


# What is given.


def test_fields_are_put_together_by_well_and_not_by_their_order(plate, tmp_path):
    shot = camera(7)
    few = predicted(plate, "few", lambda f: shot(f.light()), fields=plate[1][::-1][:5])
    notes = []
    settings = VerdictSettings(
        prediction=str(few), target=str(plate[2]), out=str(tmp_path / "o"), draws=100
    )
    result = verdict.run(settings, on_note=notes.append)
    assert result.fields == 5
    assert states(result)["counts"] == "kept"
    assert min(row["agreement"] for row in result.answers.wells) > 0.9
    left = len(plate[1]) - 5
    assert any(f"{left} true fields without a prediction, left out" in note for note in notes)
    assert any("not asked: no controls" in note for note in notes)
    assert not (tmp_path / "o" / "treatments.csv").exists()


def test_images_in_no_plate_are_paired_by_name(plate, tmp_path):
    shot = camera(8)
    for side in ("p", "t"):
        for number, field in enumerate(plate[1][:4]):
            write_plate(tmp_path / side / f"x{number}.ome.zarr", [field], lambda f: shot(f.light()))
            inner = tmp_path / side / f"x{number}.ome.zarr"
            (inner / "zarr.json").unlink()
            image = next(inner.rglob("1/zarr.json")).parent
            image.rename(tmp_path / side / f"cells{number}.ome.zarr")
            shutil.rmtree(inner)
    result = ask(
        plate, tmp_path / "p", tmp_path / "o", target=str(tmp_path / "t"), labels=None, controls=()
    )
    assert (result.fields, result.wells) == (4, 4)
    assert result.answers.wells[0]["agreement"] > 0.9


def test_other_names_of_channels_are_matched(plate, tmp_path):
    shot = camera(9)
    path = predicted(plate, "names", lambda f: shot(f.light()), ("nuc", "ER"), fields=plate[1][:3])
    result = ask(
        plate, path, tmp_path / "o", match=("nuc=DNA",), nuclei="nuc", labels=None, controls=()
    )
    assert [row["stain"] for row in result.answers.channels] == ["nuc"]
    assert states(result)["amounts of nuc"] == "kept"


def test_cells_are_measured_where_they_are_asked_for(plate, perfect, tmp_path):
    result = ask(plate, perfect, tmp_path / "o", cells="ER", labels=None, controls=(), scene="A/*")
    assert {one.group.compartment for one in result.answers.groups} == {"field", "nucleus", "cell"}


def test_a_field_of_another_size_is_left_out_and_said(plate, tmp_path):
    shot = camera(10)
    cut = plate[1][0].well
    path = predicted(
        plate, "cut", lambda f: shot(f.light())[:, : 100 if f.well == cut else None],
        fields=plate[1][:3],
    )  # fmt: skip
    result = ask(plate, path, tmp_path / "o", labels=None, controls=())
    assert result.fields == 2
    assert any("1 field left out" in note and "100 x 160 px" in note for note in result.notes)


def lines(plate, change):
    return "\n".join(change(plate[3].read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize(
    ("table", "settings", "error", "said"),
    [
        (lambda t: [*t, f"{t[1].split(',')[0]},other,"], {}, SettingsError, "two things of A01"),
        (lambda t: ["well,treatment", *(f"H{n},x" for n in range(10, 13))], {}, SettingsError,
         "No image has one 'treatment'"),
        (lambda t: [row.split(",")[0] + ",DMSO," if n else row for n, row in enumerate(t)], {},
         SettingsError, "All wells are controls"),
        (lambda t: t, {"controls": ("dmso2",)}, UnknownNameError, "No treatment named 'dmso2'"),
        (lambda t: t, {"label": "drugs"}, UnknownNameError, "No label named 'drugs'"),
        (lambda t: t, {"controls": ("few",)}, PixelDataError, "There are 2 control wells"),
        (lambda t: t, {"scene": "A/1/*"}, PixelDataError, "All fields lie in one well"),
        (lambda t: t, {"scene": "Q*"}, SettingsError, "named like 'Q*'"),
        (lambda t: t, {"nuclei": "Mito"}, ChannelError, "No channel is 'Mito'"),
        (lambda t: t, {"match": ("DNA=DAPI",)}, ChannelError, "DAPI"),
    ],
    ids=["a well twice", "other wells", "one class", "unknown control", "no such column",
         "few controls", "one well", "no field", "no nuclei", "no such truth"],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_in_a_sentence(
    plate, perfect, tmp_path, table, settings, error, said
):
    labels = tmp_path / "labels.csv"
    labels.write_text(lines(plate, table), encoding="utf-8")
    settings = {"labels": str(labels), **settings}
    if "scene" in settings and settings["scene"].startswith("A"):
        settings |= {"labels": None, "controls": ()}
    with pytest.raises(error) as raised:
        ask(plate, perfect, tmp_path / "o", **settings)
    assert said in str(raised.value)
    assert not (tmp_path / "o").exists()


def test_where_no_field_has_a_truth_that_is_said(plate, tmp_path):
    shot = camera(11)
    moved = [replace(f, row=3, column=5, well="D06") for f in plate[1][:1]]
    path = predicted(plate, "elsewhere", lambda f: shot(f.light()), fields=[*moved])
    path2 = predicted(plate, "there", lambda f: shot(f.light()), fields=plate[1][1:3])
    with pytest.raises(PixelDataError, match="No predicted field .* has a truth"):
        ask(plate, path, tmp_path / "o", target=str(path2))


def test_a_verdict_that_is_there_is_not_replaced_unasked(plate, perfect, tmp_path):
    out = tmp_path / "o"
    out.mkdir()
    for name in ("verdict.json", "treatments.csv"):
        (out / name).write_text("of another run", encoding="utf-8")
    few = {"scene": "A/*", "labels": None, "controls": ()}
    with pytest.raises(OutputExistsError, match="--overwrite"):
        ask(plate, perfect, out, **few)
    ask(plate, perfect, out, overwrite=True, **few)
    assert not (out / "treatments.csv").exists()
    assert json.loads((out / "verdict.json").read_text(encoding="utf-8"))["job"] == "verdict"


def test_a_run_that_is_ended_leaves_nothing(plate, perfect, tmp_path):
    def stop(done, total, what):
        if done == 3:
            raise RunCancelled("enough")

    settings = VerdictSettings(
        prediction=str(perfect), target=str(plate[2]), out=str(tmp_path / "o")
    )
    with pytest.raises(VirtualStainError, match="enough"):
        verdict.run(settings, on_progress=stop)
    assert not (tmp_path / "o").exists()


# Pictures of the worst.


@pytest.mark.parametrize("shape", [(40, 30), (700, 513), (2, 2000), (1030, 1030)])
def test_a_small_picture_is_the_mean_of_blocks_of_what_is_known(shape):
    pixels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    pixels[: shape[0] // 2, :3] = np.nan
    image = open_image(pixels, axes="YX")
    small = _small(image, image.channel_names[0], 0, 0)
    block = min(-(-max(shape) // 256), *shape)
    height, width = (n // block for n in shape)
    blocks = pixels[: height * block, : width * block].reshape(height, block, width, block)
    assert max(small.shape) <= 256 or block == min(shape)
    expected = np.full((height, width), np.nan)
    for y in range(height):
        for x in range(width):
            known = blocks[y, :, x][np.isfinite(blocks[y, :, x])]
            expected[y, x] = known.mean() if known.size else np.nan
    assert small == pytest.approx(expected, abs=1e-6, nan_ok=True)
