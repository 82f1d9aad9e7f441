"""What any earlier version wrote still opens; what a newer one wrote asks for an update.

The files in this folder were written by the versions that they are named after, with small pictures
and without pixels or weights. Only their paths were changed, to `/somewhere`. How one is added
stands in CONTRIBUTING.md.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from napari_virtualstain.datasets import pairing_file, project_entries
from napari_virtualstain.datasets.pairing_file import load_pairs
from napari_virtualstain.datasets.project import Project
from napari_virtualstain.datasets.review import Review, read_review
from napari_virtualstain.denoising.package import DenoiserCard, read_denoiser_card
from napari_virtualstain.embedding.index_file import _About, read_index
from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.encoders.package import read_encoder_card
from napari_virtualstain.errors import ReplayError, VirtualStainError
from napari_virtualstain.generators import card
from napari_virtualstain.generators.doubt import Doubt, read_doubt
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io import record
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import KEY, read_record
from napari_virtualstain.jobs import batch_file, replay, stain_record
from napari_virtualstain.jobs.batch_file import load_state
from napari_virtualstain.jobs.measured_trust import read_trust
from napari_virtualstain.jobs.replay import ReplaySettings
from napari_virtualstain.jobs.simulate import SimulateSettings
from napari_virtualstain.jobs.simulate import run as simulate
from napari_virtualstain.preprocessing import illumination, illumination_set
from napari_virtualstain.preprocessing.illumination import load_illumination
from napari_virtualstain.preprocessing.illumination_set import load_illumination_set
from napari_virtualstain.qc.clicked import Artifacts, read_artifacts
from napari_virtualstain.qc.reference import QcReference, read_reference
from napari_virtualstain.zoo import find_model

HERE = Path(__file__).parent
TESTS = HERE.parent
SOURCE = TESTS.parent / "src" / "napari_virtualstain"


def schema_of(kind) -> int:
    return kind.model_fields["schema_version"].default


@dataclass(frozen=True)
class Kind:
    """A kind of file with a version: where its fixtures are, how it is read, and what it says."""

    newest: int
    fixture: str
    read: Callable[[Path], Any]
    says: Callable[[Any], Any]
    expected: Any
    version_in: str = ""
    """The file below the fixture that holds the version; the fixture itself if empty."""
    field: str = "schema_version"


def project_of(path):
    """Open a project, which otherwise goes on without the entries that it cannot read."""
    project = Project(path)
    if project.damaged:
        raise VirtualStainError(str(project.damaged))
    return project


def stain_of(path):
    return replay.runs_of(read_record(path))[0]["tiles"]


KINDS = {
    "model": Kind(
        card.SCHEMA_VERSION, "model-{}", read_card,
        lambda found: (found.name, [stain.name for stain in found.stains][:2], found.pixel_size_um),
        ("tiny", ["DNA", "ER"], 0.6), "card.json",
    ),
    "encoder": Kind(
        schema_of(EncoderCard), "encoder-{}", read_encoder_card,
        lambda found: (found.encoder, found.crop_px), ("dino", (32, 32)), "encoder.json",
    ),
    "denoiser": Kind(
        schema_of(DenoiserCard), "denoiser-{}", read_denoiser_card,
        lambda found: (found.method, found.training.steps), ("noise2void", 2), "denoiser.json",
    ),
    "pairs": Kind(
        pairing_file.SCHEMA_VERSION, "pairs-{}.json", load_pairs,
        lambda found: (found.stains[0], len(found.pairs)), ("DNA", 4),
    ),
    "illumination function": Kind(
        illumination._VERSION, "illumination-{}.json", load_illumination,
        lambda found: (found.shape, found.fields), ((8, 8), 3), field="version",
    ),
    "illumination functions": Kind(
        illumination_set._VERSION, "illumination-set-{}.json", load_illumination_set,
        lambda found: [plane.channel for plane in found.planes], ["Brightfield"], field="version",
    ),
    "one function as a set": Kind(
        illumination._VERSION, "illumination-{}.json", load_illumination_set,
        lambda found: len(found.planes), 1, field="version",
    ),
    "reference": Kind(
        schema_of(QcReference), "qc-reference-{}.json", read_reference,
        lambda found: (found.fields, found.guard["DNA"].amount), (6, "amount"),
    ),
    "artifacts": Kind(
        schema_of(Artifacts), "qc-artifacts-{}.json", read_artifacts,
        lambda found: (found.model, len(found.clicks), found.tried.learnt), ("tiny", 10, True),
    ),
    "intervals": Kind(
        schema_of(Doubt), "uncertainty-{}.json", read_doubt,
        lambda found: (found.views, found.level, found.stains["DNA"].half_width(0.3) > 0),
        (8, 0.9, True),
    ),
    "index of training data": Kind(
        schema_of(_About), "training-index-{}.safetensors", read_index,
        lambda found: (found.model, found.fitted, len(found.codes)), ("tiny", 6, 12),
    ),
    "review": Kind(
        schema_of(Review), "reviewed-{}.review",
        lambda folder: read_review(folder.with_suffix(".ome.zarr")),
        lambda found: [(one.verdict, one.comment) for one in found.decisions],
        [("rejected", "a hair")], "review.json",
    ),
    "report of qc": Kind(
        1, "judged-{}", read_trust, lambda found: found.amounts.split(",")[:2], ["DNA", "ER"],
        "qc.json",
    ),
    "store of a stain": Kind(
        record.SCHEMA_VERSION, "stain-{}.ome.zarr", stain_of, lambda tiles: tiles, [[0, 0]],
        "zarr.json",
    ),
    "list of images": Kind(
        batch_file.SCHEMA_VERSION, "../jobs/states/batch-{}.json", lambda path: load_state(path.parent),
        lambda found: len(found.items) > 0, True,
    ),
    "project": Kind(
        project_entries.SCHEMA_VERSION, "../datasets/projects/v{}", project_of,
        lambda found: (found.name, found.damaged), ("Night run", ()), "project.json",
    ),
}  # fmt: skip
WRITTEN = {
    # Where a version stands in src, and the kind above; reports are read by `replay` alone.
    "generators/card.py": "model",
    "encoders/card.py": "encoder",
    "denoising/package.py": "denoiser",
    "datasets/pairing_file.py": "pairs",
    "preprocessing/illumination.py": "illumination function",
    "preprocessing/illumination_set.py": "illumination functions",
    "preprocessing/sealed.py": "illumination function",
    "qc/reference.py": "reference",
    "qc/clicked.py": "artifacts",
    "generators/doubt.py": "intervals",
    "embedding/index_file.py": "index of training data",
    "datasets/review.py": "review",
    "datasets/project.py": "project",
    "datasets/project_entries.py": "project",
    "io/sink_open.py": "store of a stain",
    "jobs/batch_file.py": "list of images",
    "jobs/stain_record.py": "run",
    "jobs/denoise_record.py": "run",
    "jobs/simulate.py": "run",
    "jobs/explain_store.py": "run",
    "jobs/scores_write.py": "run",
    "jobs/run_record.py": "report of qc",
}
"""Each module that writes a version."""
FIXTURES = [(kind, version) for kind, one in KINDS.items() for version in range(1, one.newest + 1)]


def copied(name: str, version: int, folder: Path) -> Path:
    """Return a copy of a fixture under a name that its reader knows."""
    kind = KINDS[name]
    source = (HERE / kind.fixture.format(version)).resolve()
    there = folder / ("batch.json" if name == "list of images" else source.name)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, there)
    return there


@pytest.mark.parametrize(("kind", "version"), FIXTURES, ids=lambda value: str(value))
def test_what_each_earlier_version_wrote_still_opens(kind, version, tmp_path):
    one = KINDS[kind]
    assert one.says(one.read(copied(kind, version, tmp_path))) == one.expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_newer_version_wrote_asks_for_an_update(kind, tmp_path):
    one = KINDS[kind]
    path = copied(kind, one.newest, tmp_path)
    file = path / one.version_in if one.version_in else path
    if file.suffix == ".safetensors":
        file.write_bytes(newer_tensors(file))
    else:
        write_newer(file, one)
    with pytest.raises(VirtualStainError, match="Update napari-virtualstain") as refused:
        one.read(path)
    said = str(refused.value)
    assert "99" in said
    assert said.count("\n") == 0


def newer_tensors(file):
    """Return a file of tensors whose text is of a newer version."""
    with safe_open(file, "np") as found:
        about = json.loads(found.metadata()["about"])
        tensors = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
    about |= {"schema_version": 99, "something new": {"a": 1}}
    return save(tensors, metadata={"about": json.dumps(about)})


def write_newer(file, one):
    values = json.loads(file.read_text(encoding="utf-8"))
    state = values["attributes"][KEY] if file.name == "zarr.json" else values
    state[one.field] = 99
    state["something new"] = {"a": 1}
    file.write_text(json.dumps(values), encoding="utf-8")


def test_each_version_that_is_written_has_its_fixture():
    marks = ("schema_version: Literal", '"schema_version": ', "write_sealed(")
    found = {
        file.relative_to(SOURCE).as_posix()
        for file in SOURCE.rglob("*.py")
        if any(mark in file.read_text(encoding="utf-8") for mark in marks)
    }
    assert found - {"errors.py"} == set(WRITTEN)
    for kind in set(WRITTEN.values()) - {"run"}:
        assert kind in KINDS


STORES = ["stain-1", "stain-2", "denoise-1", "simulate-1"]


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_each_earlier_version_is_an_image(name, tmp_path):
    shutil.copytree(HERE / f"{name}.ome.zarr", tmp_path / "old.ome.zarr")
    image = open_image(tmp_path / "old.ome.zarr")
    assert image.pixel_size_um.y == 0.6
    assert image.channel_names[0] in {"DNA", "DNA (denoised)", "nuclei"}
    assert image.data[0, 0].compute().shape == image.shape[2:]


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    settings = SimulateSettings(out=str(tmp_path_factory.mktemp("field")), size=96, seed=1)
    return simulate(settings)[0]


def at_hand(name: str, folder: Path, source: Path, model: Path | None = None) -> Path:
    """Return a store whose record names what is here, as if it had been made of it."""
    path = folder / f"{name}.ome.zarr"
    shutil.copytree(HERE / path.name, path)
    values = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    run = values["attributes"][KEY]["record"]
    image = open_image(source)
    run["input"] |= {"path": str(source), "shape_tczyx": list(image.shape)}
    run["settings"]["input"] = str(source)
    if model is not None:
        run["settings"]["model"] = str(model)
        run["model"] |= {"path": str(model)}
        run["model"]["fingerprint"] = replay_fingerprint(model)
    (path / "zarr.json").write_text(json.dumps(values), encoding="utf-8")
    return path


def replay_fingerprint(model: Path) -> str:
    from napari_virtualstain.inference.shared import shared_model

    return shared_model(str(model)).model.fingerprint


@pytest.mark.parametrize("version", range(1, stain_record.VERSION + 1))
def test_the_run_of_each_earlier_version_of_stain_is_repeated(version, field, tmp_path):
    bright = field / "brightfield.ome.zarr"
    store = at_hand(f"stain-{version}", tmp_path, bright, find_model("demo"))
    found = replay.run(ReplaySettings(record=str(store)))
    assert np.isfinite(open_image(found.out).data[0, 0].compute()).all()
    assert found.job == "stain"


def test_the_first_denoising_is_repeated_though_a_setting_had_another_name(tmp_path):
    settings = SimulateSettings(out=str(tmp_path), size=64, seed=0)
    store = at_hand("denoise-1", tmp_path, simulate(settings)[0] / "stains.ome.zarr")
    found = replay.run(ReplaySettings(record=str(store)))
    assert np.isfinite(open_image(found.out).data[0, 0].compute()).all()


def test_of_the_first_simulated_fields_it_is_said_how_they_are_made_again(tmp_path):
    shutil.copytree(HERE / "simulate-1.ome.zarr", tmp_path / "labels.ome.zarr")
    with pytest.raises(
        ReplayError, match="Simulate it again with `virtualstain simulate` and seed 1"
    ):
        replay.run(ReplaySettings(record=str(tmp_path / "labels.ome.zarr")))
