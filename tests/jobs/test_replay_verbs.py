"""Every verb is repeated from its record with equal numbers, or a sentence says what to do instead."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
from drawn_cells import drawn_cells
from drawn_plates import camera, drawn_plate, write_labels
from drawn_plates import write_plate as write_drawn
from feature_tables import layout, values_of, write_layout, write_table
from judged_stores import write_image, write_prediction, write_source
from labelled_plates import write_plates
from little_encoders import write_encoder

from napari_virtualstain import api
from napari_virtualstain.cli import main
from napari_virtualstain.cli.main import VERBS
from napari_virtualstain.errors import ReplayError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.jobs import denoise, replay
from napari_virtualstain.jobs.denoise import DenoiseSettings
from napari_virtualstain.jobs.replay import ReplaySettings
from napari_virtualstain.jobs.replay_instead import INSTEAD
from napari_virtualstain.jobs.replay_report import REPORTS


class Runs:
    """A small run of each verb that is repeated; each returns where its record is."""

    def __init__(self, root, field, model):
        self.root, self.field, self.model = root, field, model

    def stain(self):
        bright = self.field / "brightfield.ome.zarr"
        api.stain(bright, out=self.root / "stain.ome.zarr", model=self.model)
        return self.root / "stain.ome.zarr"

    def denoise(self):
        out = self.root / "denoised.ome.zarr"
        settings = DenoiseSettings(
            input=str(self.field / "stains.ome.zarr"), channel="DNA", out=str(out), steps=2,
            patch=32, batch=1,
        )  # fmt: skip
        denoise.run(settings)
        return out

    def explain(self):
        return api.explain(
            self.field / "brightfield.ome.zarr", out=self.root / "why.ome.zarr", model=self.model,
            method=("planes", "gradient"), at=(40, 40), size=32,
        ).out  # fmt: skip

    def simulate(self):
        out = self.root / "simulated"
        assert main(["simulate", "--out", str(out), "--size", "48", "--seed", "4", "--quiet"]) == 0
        return next(out.rglob("stains.ome.zarr"))

    def measure(self):
        stains = write_prediction(self.root / "measured.ome.zarr", drawn_cells(1, time=False))
        return api.measure(stains, out=self.root / "measured").out

    def embed(self):
        plates = write_plates(self.root / "plates")
        encoder = write_encoder(self.root / "encoder")
        return api.embed(plates / "in", out=self.root / "embedded", model=encoder).out

    def qc(self):
        field = drawn_cells(3, time=False)
        stains = write_prediction(self.root / "judged.ome.zarr", field)
        source = write_source(self.root / "judged_bf.ome.zarr", field)
        return api.qc(stains, source=str(source), out=self.root / "judged").out

    def verdict(self):
        fields = drawn_plate(controls=5, replicates=2)
        shots = {name: camera(seed) for seed, name in enumerate(("true", "predicted"), 1)}
        true, predicted = (
            write_drawn(
                self.root / f"{name}.ome.zarr", fields, lambda f, shot=shot: shot(f.light())
            )
            for name, shot in shots.items()
        )
        return api.verdict(
            predicted, target=true, labels=str(write_labels(self.root / "labels.csv", fields)),
            controls=("DMSO",), draws=50, out=self.root / "verdict",
        ).out  # fmt: skip

    def phenotype(self):
        rows = layout()
        write_layout(self.root / "layout.csv", rows)
        true, predicted = (
            write_table(self.root / f"{name}.csv", rows, values_of(rows, seed=seed))
            for seed, name in enumerate(("true_features", "predicted_features"))
        )
        return api.phenotype(
            predicted, target=true, labels=str(self.root / "layout.csv"), controls=("DMSO",),
            draws=50, out=self.root / "phenotype",
        ).out  # fmt: skip

    def recognise(self):
        fields = drawn_plate(controls=4, replicates=4, doing={"DMSO": {}, "large": {"radius": 1.3}})
        shots = {"true": camera(1), "predicted": camera(2)}
        true, predicted = (
            write_drawn(
                self.root / f"{name}_learnt.ome.zarr", fields, lambda f, shot=shot: shot(f.light())
            )
            for name, shot in shots.items()
        )
        return api.recognise(
            predicted, target=true, labels=write_labels(self.root / "learnt.csv", fields),
            preset="tiny", steps=3, batch=4, patch=32, folds=2, device="cpu", draws=50,
            out=self.root / "recognise",
        ).out  # fmt: skip

    def uncertainty(self):
        rng = np.random.default_rng(0)
        made = {"job": "stain", "model": {"name": "m", "fingerprint": "f"}}
        for n in range(4):
            truth = np.zeros((1, 1, 1, 64, 64), np.float32)
            truth[..., 16:48, 16:48] = 50
            spread = rng.uniform(1, 3, truth.shape)
            said = truth + spread * rng.normal(size=truth.shape)
            both = np.concatenate([said, spread], axis=1)
            names = [Channel("DNA"), Channel("DNA spread")]
            write_image(self.root / "sure" / f"f{n}.ome.zarr", both, names, made)
            write_image(self.root / "sure_true" / f"f{n}.ome.zarr", truth, names[:1])
        return api.uncertainty(
            self.root / "sure", target=self.root / "sure_true", out=self.root / "worth", draws=50,
            calibrate=True,
        ).out  # fmt: skip

    def generalise(self):
        rng = np.random.default_rng(0)
        listed = []
        for train in "ab":
            for test in "ab":
                folder = self.root / "results" / f"{train}{test}"
                folder.mkdir(parents=True)
                rows = [
                    {"plate": "p", "well": f"A{n:02d}", "site": 1, "time": 0, "true": 30,
                     "predicted": 30, "pcc_DNA": float(rng.uniform(0.5, 1))}
                    for n in range(8)
                ]  # fmt: skip
                write_rows(folder / "fields.csv", rows)
                listed.append({"Train": train, "Test": test, "Result": str(folder)})
        table = write_rows(self.root / "matrix.csv", listed)
        return api.generalise(table, out=self.root / "generalise", draws=50).out

    def blind(self):
        for kind, seed in (("prediction", 5), ("truth", 6)):
            for n in range(2):
                write_prediction(
                    self.root / kind / f"f{n}.ome.zarr", drawn_cells(seed + 10 * n, time=False)
                )
        return api.blind(
            self.root / "prediction", target=self.root / "truth", out=self.root / "review",
            count=4, edge=48,
        ).out  # fmt: skip


def write_rows(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


REPEATED = [name for name in vars(Runs) if not name.startswith("_")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, field_folder, tiny_model):
    return Runs(tmp_path_factory.mktemp("runs"), field_folder, tiny_model)


@pytest.fixture
def generalised(tmp_path, runs):
    return Runs(tmp_path, runs.field, runs.model).generalise()


def test_each_verb_is_repeated_or_it_is_said_what_to_do_instead():
    assert set(REPEATED) | set(INSTEAD) == set(VERBS)
    assert set(REPEATED).isdisjoint(INSTEAD)
    assert set(REPEATED) == {*replay._REPEATED, *REPORTS}
    for sentence in INSTEAD.values():
        assert sentence.count(": ") == 1
        assert sentence.endswith(".")


@pytest.mark.parametrize("verb", REPEATED)
def test_every_run_is_repeated_without_napari_and_qt(verb, runs, monkeypatch, capsys, tmp_path):
    for name in ("napari", "qtpy", "PyQt6", "magicgui", "vispy"):
        monkeypatch.setitem(sys.modules, name, None)
    record = getattr(runs, verb)()
    monkeypatch.chdir(tmp_path)  # paths of a record hold in any folder
    capsys.readouterr()
    assert main(["replay", str(record), "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["job"], said["equal"], said["problem"]) == (verb, True, None)
    assert said["notes"] == []
    assert said.get("pixels_compared", 0) + said.get("values_compared", 0) > 3


@pytest.mark.parametrize("name", ["", "generalise.json"], ids=["the folder", "the record in it"])
def test_a_report_is_repeated_beside_itself(name, generalised):
    found = replay.run(ReplaySettings(record=str(generalised / name)))
    assert found.out == generalised.with_name("generalise-replay")
    assert (found.out / "generalise.html").is_file()
    assert "values of both" in found.text()


def test_an_altered_cell_of_a_table_is_found(generalised):
    table = generalised / "matrix.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    column = next(name for name, value in rows[0].items() if "." in value)
    rows[0][column] = str(float(rows[0][column]) + 0.25)
    write_rows(table, rows)
    found = replay.run(ReplaySettings(record=str(generalised)))
    assert not found.likeness.agrees
    assert found.likeness.worst == f"matrix.csv: {column}"
    assert found.problem.startswith(f"The repetition of {str(generalised)!r} has other numbers: in")


def test_a_word_that_differs_is_another_number_too(generalised):
    table = generalised / "matrix.csv"
    table.write_text(table.read_text().replace("pcc", "ssim"))
    assert replay.run(ReplaySettings(record=str(generalised))).problem is not None


def test_a_table_with_other_rows_cannot_be_compared(generalised):
    table = generalised / "matrix.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(ReplayError, match="have other rows or columns. Compare both before you tr"):
        replay.run(ReplaySettings(record=str(generalised)))


def test_a_report_of_a_newer_version_asks_for_an_update(generalised):
    record = generalised / "generalise.json"
    record.write_text(record.read_text().replace('"schema_version": 1', '"schema_version": 7'))
    with pytest.raises(ReplayError, match="is of schema 7, this version reads up to 1. Update nap"):
        replay.run(ReplaySettings(record=str(generalised)))
    assert not generalised.with_name("generalise-replay").exists()


def damaged(folder):
    (folder / "qc.json").write_text("{")
    return folder, "is damaged: .*Run the command that wrote it again"


def without_settings(folder):
    (folder / "qc.json").write_text('{"job": "qc", "schema_version": 1}')
    return folder, "does not hold the settings of the run. Run `virtualstain qc` again"


def begun(folder):
    record = {"job": "embed", "schema_version": 1, "settings": {}, "status": "partial"}
    (folder / "record.json").write_text(json.dumps(record))
    return folder, "has not ended. Go on with it by `virtualstain embed --resume`, and repeat it"


def pairs(folder):
    (folder / "p.json").write_text('{"schema_version": 1, "pairs": [], "stains": []}')
    return folder / "p.json", "is not repeated. A pairs file holds decisions"


def illumination(folder):
    (folder / "l.json").write_text('{"format": "napari-virtualstain illumination functions"}')
    return folder / "l.json", "is not repeated. Functions of light name the images"


def a_list_of_images(folder):
    (folder / "batch.json").write_text("{}")
    return folder, "is not repeated. Each stain that it wrote has a record of its own"


def a_project(folder):
    (folder / "project.json").write_text("{}")
    return folder, "is not repeated. A project lists runs"


def something(folder):
    (folder / "x.json").write_text("[" * 100_000)
    return folder / "x.json", "(is damaged|holds no record of a run)"


def maps(folder):
    write_prediction(folder / "m.ome.zarr", drawn_cells(0, time=False), record={"job": "qc"})
    return folder / "m.ome.zarr", "is not repeated. These are maps, which were written with a rep"


@pytest.mark.parametrize(
    "make",
    [damaged, without_settings, begun, pairs, illumination, a_list_of_images, a_project, something,
     maps],
)  # fmt: skip
def test_what_is_not_repeated_says_what_to_do(make, tmp_path):
    path, sentence = make(tmp_path)
    with pytest.raises(ReplayError, match=sentence):
        replay.run(ReplaySettings(record=str(path)))
