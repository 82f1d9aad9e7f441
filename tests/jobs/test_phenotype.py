"""What is planted in tables of features is found, and what is kept passes."""

from __future__ import annotations

import csv
import json
import random

import numpy as np
import pytest
from feature_tables import layout, values_of, write_layout, write_table

from napari_virtualstain.api import phenotype
from napari_virtualstain.cli.main import main
from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    PixelDataError,
    RunCancelled,
    SettingsError,
    UnknownNameError,
    VirtualStainError,
)
from napari_virtualstain.jobs.phenotype_page import FILES
from napari_virtualstain.jobs.phenotype_tables import read_wells

ROWS = layout()
ASKED = {"controls": ("DMSO",), "toxic": ("poison",), "draws": 100}


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """True features, and the table of what was done."""
    root = tmp_path_factory.mktemp("plate")
    write_layout(root / "layout.csv", ROWS)
    write_table(root / "truth.csv", ROWS, values_of(ROWS))
    return root


def ask(plate, name, values, *, rows=ROWS, **settings):
    path = write_table(plate / f"{name}.csv", rows, values)
    chosen = {
        "target": plate / "truth.csv",
        "labels": str(plate / "layout.csv"),
        **ASKED,
        **settings,
    }
    return phenotype(path, out=plate / name, overwrite=True, **chosen)


@pytest.fixture(scope="module")
def perfect(plate):
    """A prediction that is as far from the truth as a second measurement of the same wells."""
    pytest.importorskip("sklearn")
    light = write_table(
        plate / "light.csv", ROWS, values_of(ROWS, seed=8, effect=4.0)[:, :20],
        names=[f"BF_{n}" for n in range(20)],
    )  # fmt: skip
    return ask(plate, "perfect", values_of(ROWS, seed=5), moa="moa", brightfield=light)


def states(result):
    return {one.question: one.state for one in result.found.findings}


def score(result, question, source, taught=""):
    return next(
        row for row in result.found.scores
        if (row["question"], row["source"]) == (question, source) and row["taught"] in ("", taught)
    )  # fmt: skip


def as_text(result):
    return [str(row) for row in result.found.scores]


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_perfect_prediction_passes_in_every_question(perfect):
    found = states(perfect)
    assert found == dict.fromkeys(
        ["hits", "ranking", "treatments", "targets", "replicates", "mechanisms", "controls or not",
         "toxicity"], "kept",
    )  # fmt: skip
    assert perfect.wells == len(ROWS)
    assert not any("nan" in one.sentence for one in perfect.found.findings)


def test_all_sources_are_asked_the_same_beside_chance(perfect):
    for question, more in (("mechanisms (F1)", 0.5), ("controls or not (F1)", 0.1)):
        for source in ("truth", "prediction", "bright field"):
            row = score(perfect, question, source, source)
            assert row["low"] > row["chance"] + more, (question, source)
    for taught, source in (("truth", "prediction"), ("prediction", "truth")):
        assert score(perfect, "mechanisms (F1)", source, taught)["value"] > 0.9
    for source in ("truth", "prediction", "bright field"):
        row = score(perfect, "replicates (mAP)", source)
        assert row["low"] > row["chance"] + 0.15
        row = score(perfect, "distance of matching targets", source)
        assert row["high"] < 0.5 < row["chance"]
        assert score(perfect, "same target among the nearest 1", source)["n"] == 6


def test_the_same_features_decide(perfect):
    assert "share" in perfect.found.remarks["mechanisms"]
    weights = {
        row["feature"]: (row["weight_mechanisms_true"], row["weight_mechanisms_predicted"])
        for row in perfect.found.features
    }
    for side in (0, 1):
        most = sorted(weights, key=lambda name: -weights[name][side])[:6]
        assert set(most) == {f"Cells_Texture_{n}_DNA" for n in range(6)}


def test_files_are_whole_and_the_page_needs_nothing_else(plate, perfect):
    out = plate / "perfect"
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    page = (out / FILES[0]).read_text("utf-8")
    assert page.count("<svg") == page.count("</svg>") == 5
    assert "http" not in page.replace("http-equiv", "")
    assert all(one.question in page for one in perfect.found.findings)
    whole = json.loads((out / FILES[1]).read_text("utf-8"))
    assert whole["result"]["state"] == perfect.state
    assert whole["settings"]["seed"] == 0
    wells = rows_of(out / "wells.csv")
    assert len(wells) == len(ROWS)
    named = [w for w in wells if w["mechanisms_predicted"]]
    assert sum(w["mechanisms_predicted"] == w["target"] for w in named) > 0.9 * len(named)
    assert {w["treatment"] for w in wells if w["toxic_true"] == ""} == {"DMSO", "poison"}
    treatments = rows_of(out / "treatments.csv")
    assert {"map_true", "map_brightfield", "active_predicted"} <= set(treatments[0])


def test_two_treatments_that_are_swapped_are_found(plate):
    swap = {"one-a": "two-a", "two-a": "one-a"}
    found = ask(plate, "swapped", values_of(ROWS, seed=5, see=lambda t: swap.get(t, t)))
    assert states(found)["treatments"] == "changed"
    assert any("Swapped: one-a and two-a" in one.sentence for one in found.found.findings)


def test_two_mechanisms_that_are_swapped_are_seen_across_sources_alone(plate):
    pytest.importorskip("sklearn")
    swap = {f"{a}-{d}": f"{b}-{d}" for a, b in (("one", "two"), ("two", "one")) for d in "ab"}
    found = ask(
        plate, "mechanisms", values_of(ROWS, seed=5, see=lambda t: swap.get(t, t)), moa="moa"
    )
    same = score(found, "mechanisms (F1)", "prediction", "prediction")["value"]
    across = score(found, "mechanisms (F1)", "prediction", "truth")["value"]
    assert same > 0.9
    assert across < 0.5
    assert states(found)["treatments"] == "changed"


def test_a_prediction_without_the_phenotype_is_changed(plate):
    pytest.importorskip("sklearn")
    found = ask(plate, "absent", values_of(ROWS, seed=5, effect=0.0), moa="moa")
    assert {"hits", "mechanisms", "replicates", "toxicity"} <= {
        name for name, state in states(found).items() if state == "changed"
    }
    row = score(found, "mechanisms (F1)", "prediction", "prediction")
    assert row["low"] < row["chance"] + 0.1


def test_where_truth_tells_nothing_apart_nothing_can_be_lost(plate, tmp_path):
    pytest.importorskip("sklearn")
    kinds = dict(zip(sorted({row[2] for row in ROWS} - {"DMSO"}), "xyyxyxxyxyxy", strict=False))
    mixed = [(p, w, t, kinds.get(t, "")) for p, w, t, _ in ROWS]
    labels = write_layout(tmp_path / "mixed.csv", mixed)
    found = ask(
        plate, "nothing", values_of(ROWS, seed=5), moa="moa", labels=str(labels), group="treatment"
    )
    assert states(found)["mechanisms"] == "unsure"
    assert any("nothing that could be lost" in one.sentence for one in found.found.findings)


def test_shuffled_labels_leave_chance(plate, tmp_path):
    """The same tables under labels that mean nothing: no score is far above chance."""
    pytest.importorskip("sklearn")
    order = list(range(len(ROWS)))
    random.Random(3).shuffle(order)
    mixed = [(*ROWS[n][:2], *ROWS[m][2:]) for n, m in enumerate(order)]
    labels = write_layout(tmp_path / "mixed.csv", mixed)
    found = ask(plate, "shuffled", values_of(ROWS, seed=5), moa="moa", labels=str(labels), toxic=())
    for question in ("mechanisms (F1)", "replicates (mAP)", "same target among the nearest 1"):
        for source in ("truth", "prediction"):
            row = score(found, question, source, source)
            assert row["low"] < row["chance"] + 0.15, (question, source)


def test_a_gain_of_a_whole_plate_changes_no_phenotype(plate):
    plain, bright = (
        ask(plate, f"gain{gain}", values_of(ROWS, seed=5, gain=gain)) for gain in (1, 3)
    )
    assert states(plain) == states(bright)
    values = [[row["value"] for row in one.found.scores] for one in (plain, bright)]
    assert values[0] == pytest.approx(values[1], nan_ok=True)


def test_the_order_of_rows_changes_nothing(plate):
    order = np.random.default_rng(2).permutation(len(ROWS))
    values = values_of(ROWS, seed=5)
    one = ask(plate, "ordered", values)
    other = ask(plate, "mixed", values[order], rows=[ROWS[n] for n in order])
    assert as_text(one) == as_text(other)


def test_labels_may_stand_in_the_tables_and_rows_be_sites(plate, tmp_path):
    values = values_of(ROWS, seed=5)
    from_layout = ask(plate, "one", values)
    own = write_table(tmp_path / "own.csv", ROWS, values, about=True, sites=3)
    truth = write_table(tmp_path / "truth.csv", ROWS, values_of(ROWS), about=True, sites=2)
    found = phenotype(own, target=truth, out=tmp_path / "out", **ASKED)
    assert as_text(found) == as_text(from_layout)


def test_missing_features_are_left_out_and_missing_values_filled(plate):
    values = values_of(ROWS, seed=5)
    values[:, 20] = np.nan
    values[3, 7] = np.nan
    found = ask(plate, "missing", values)
    assert found.state == "kept"
    assert any("missing everywhere" in note and "_20_" in note for note in found.notes)


def test_without_controls_only_correlation_is_asked_and_that_is_said(plate):
    found = ask(plate, "bare", values_of(ROWS, seed=5), controls=(), toxic=())
    assert [row["question"] for row in found.found.scores] == ["feature correlation"]
    assert "--controls" in found.sentence
    assert "--controls" in " ".join(found.notes)


def test_the_tables_of_measure_and_embed_are_read(tmp_path):
    path = tmp_path / "wells.csv"
    path.write_text(
        "Metadata_Plate,Metadata_Well,Metadata_Time,fields,count,median_nucleus_area,Image_Name\n"
        "p,b3,0,2,10,50.5,a\np,B04,0,2,12,,b\n"
    )
    found = read_wells(path)
    assert found.profiles.names == ("count", "median_nucleus_area")
    assert found.profiles.keys[1] == ("p", "B04")
    assert np.isnan(found.profiles.values[1, 1])
    assert found.notes == ("1 column of wells.csv without numbers, left out: Image_Name",)


BAD = {
    "no file": (lambda d: {"prediction": d / "none.csv"}, MissingInputError, "does not exist. Name a"),
    "a folder": (lambda d: {"prediction": d, "out": d.parent / "elsewhere"}, MissingInputError, "is a folder. Name a table"),
    "no well": (
        lambda d: {"prediction": (d / "a.csv", "Metadata_Plate,area\np,1\n")},
        ImageFileError, "does not say which well .* Name one of them Metadata_Well",
    ),
    "plates without a name in common": (
        lambda d: {"prediction": (d / "a.csv", "Metadata_Plate,Metadata_Well,area\nq,A01,1\n")},
        PixelDataError, "has the well 'A01' on several plates, and the tables share no name",
    ),
    "empty well": (
        lambda d: {"prediction": (d / "a.csv", "Metadata_Well,area\nA01,1\n,2\n")},
        ImageFileError, "1 row of .* lies in no well. Fill in Metadata_Well",
    ),
    "no number": (
        lambda d: {"prediction": (d / "a.csv", "Metadata_Well,name\nA01,x\n")},
        ImageFileError, "has no column of numbers",
    ),
    "other wells": (
        lambda d: {"prediction": (d / "a.csv", "Metadata_Plate,Metadata_Well,area\np0,P24,1\n")},
        PixelDataError, "have no well in common; the first are 'p0/A01' in 'truth.csv', 'p0/P24'",
    ),
    "other features": (
        lambda d: {"prediction": write_table(d / "a.csv", ROWS, values_of(ROWS)[:, :3], names=list("abc"))},
        PixelDataError, "no feature in common that tells anything. Measure both",
    ),
    "a constant prediction": (
        lambda d: {"prediction": write_table(d / "a.csv", ROWS, np.ones((len(ROWS), 24)))},
        PixelDataError, "The prediction is the same in all wells",
    ),
    "one well": (
        lambda d: {"prediction": write_table(d / "a.csv", ROWS[:1], values_of(ROWS)[:1])},
        PixelDataError, "share one well, 'p0/A01', and nothing",
    ),
    "no such control": (lambda _: {"controls": ("DMS",)}, UnknownNameError, "Did you mean 'DMSO'"),
    "no such toxic": (lambda _: {"toxic": ("poisn",)}, UnknownNameError, "Did you mean 'poison'"),
    "no such column": (lambda _: {"moa": "target"}, UnknownNameError, "No label named 'target'"),
    "toxic without controls": (lambda _: {"controls": ()}, SettingsError, "Name them with --controls"),
    "toxic controls": (lambda _: {"toxic": ("DMSO",)}, SettingsError, "by --controls and by --toxic"),
    "two plates, five folds": (
        lambda _: {"moa": "moa", "group": "plate"}, PixelDataError, "Ask with --folds 2",
    ),
    "one class": (
        lambda d: {"moa": "moa", "labels": str(write_layout(d / "l.csv", [(*r[:3], "same") for r in ROWS]))},
        PixelDataError, "Only 1 of 1 classes .* Name more than one",
    ),
    "two mechanisms of one treatment": (
        lambda d: {"moa": "moa", "labels": str(write_layout(d / "l.csv", [
            (p, w, t, m and (m if p == "p0" else "other")) for p, w, t, m in ROWS]))},
        SettingsError, "'one-a' has two values of 'moa', 'one' and 'other'. Give each",
    ),
    "two controls": (
        lambda d: {"labels": str(write_layout(d / "l.csv", [
            (p, w, t if t != "DMSO" or w == "A01" else "x", m) for p, w, t, m in ROWS]))},
        PixelDataError, "There are 2 control wells, and 5 are needed",
    ),
    "out is a file": (lambda d: {"out": (d / "o", "x")}, OutputExistsError, "exists and is a file"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "kind", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence(plate, tmp_path, change, kind, sentence):
    values = {
        "prediction": plate / "truth.csv", "target": plate / "truth.csv", "out": tmp_path / "out",
        "labels": str(plate / "layout.csv"), **ASKED, **change(tmp_path),
    }  # fmt: skip
    for name, value in values.items():
        if isinstance(value, tuple) and len(value) == 2 and hasattr(value[0], "write_text"):
            value[0].write_text(value[1])
            values[name] = value[0]
    with pytest.raises(kind, match=sentence) as caught:
        phenotype(values.pop("prediction"), **values)
    assert isinstance(caught.value, VirtualStainError)
    assert str(caught.value).endswith((".", "?"))
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_replaced_only_if_said_and_a_cancel_leaves_nothing(plate, tmp_path):
    how = {"target": plate / "truth.csv", "out": tmp_path / "out"}

    def stop(done, *_):
        if done == 2:
            raise RunCancelled("stopped")

    with pytest.raises(RunCancelled):
        phenotype(plate / "truth.csv", on_progress=stop, **how)
    assert not (tmp_path / "out").exists()
    phenotype(plate / "truth.csv", **how)
    with pytest.raises(OutputExistsError, match="replace it with --overwrite"):
        phenotype(plate / "truth.csv", **how)


def test_the_command_line_says_the_same(plate, capsys):
    words = ["phenotype", str(plate / "truth.csv"), "--target", str(plate / "truth.csv"), "--labels",
             str(plate / "layout.csv"), "--controls", "DMSO", "--out", str(plate / "cli"),
             "--draws", "50", "--quiet"]  # fmt: skip
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("The conclusion would have been the same")
    assert "replicates (mAP)" in said
    assert "by chance" in said
