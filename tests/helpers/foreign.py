"""Parsers of what comes from outside, each with a sound file of its kind and ways to damage it.

Pictures of microscopes are damaged by `mutate`, since opening one takes a folder and pixels; here
is everything else that is read: cards, projects, tables, weights. What a parser may do is return,
or raise an error of the package that is one sentence.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from mutate import contradicted, damaged

UPGRADE = Path(__file__).parents[1] / "upgrade"
PROJECT = Path(__file__).parents[1] / "datasets" / "projects" / "v1"
STATES = Path(__file__).parents[1] / "jobs" / "states"
ODD = (
    None, True, -1, 0, 2**63, 1e308, float("nan"), "", "x", "../../x", "\0", "9" * 5000, [], {}, [[]],
    {"a": None}, [None], "1e999", "NaN",
)  # fmt: skip
"""Values that stand where others are expected."""


def odd_json(raw: bytes, chance: random.Random) -> bytes:
    """Return JSON in which a value is another one, is lost, stands twice or is nested deeply."""
    whole = json.loads(raw)
    places = list(_places(whole))
    if not places:
        return raw
    for _ in range(chance.choice((1, 1, 2, 4))):
        inside, key = chance.choice(places)
        how = chance.random()
        try:
            if how < 0.2:
                del inside[key]
            elif how < 0.25:
                inside[key] = _deep(chance.choice((10, 3000)))
            else:
                inside[key] = chance.choice(ODD)
        except (KeyError, IndexError):
            continue  # another change has taken it away
    try:
        return json.dumps(whole).encode()
    except RecursionError:
        return b"[" * 100_000


def _deep(depth: int) -> Any:
    found: Any = 0
    for _ in range(depth):
        found = [found]
    return found


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):  # fmt: skip
        yield value, key
        yield from _places(inner)


@dataclass(frozen=True)
class Parser:
    """What reads one kind of file.

    Parameters
    ----------
    name
        Of the file, and perhaps its folder.
    sound
        What a sound one holds.
    read
        Given the path.
    beside
        Writes what a sound one needs beside it.
    refused
        What is said of a sound one, where the parser takes no such file.
    """

    name: str
    sound: Callable[[], bytes]
    read: Callable[[Path], Any]
    beside: Callable[[Path], None] = lambda path: None
    refused: str = ""

    def try_one(self, folder: Path, seed: int) -> Path:
        """Write a damaged file and read it; return its path."""
        chance = random.Random(seed)
        raw = self.sound()
        how = chance.random()
        if self.name.endswith((".json", ".jsonl")) and how < 0.6:
            raw = odd_json(raw, chance)
        elif self.name.endswith((".csv", ".xml", ".json", ".yaml")) and how < 0.8:
            raw = contradicted(raw, chance)
        else:
            raw = damaged(raw, chance, chance.choice(("cut", "flip", "flip", "zero")))
        return self.read_one(folder, raw)

    def read_one(self, folder: Path, raw: bytes) -> Path:
        """Write a file and read it; return its path."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.beside(path)
        path.write_bytes(raw)
        self.read(path)
        return path


def _fixture(name: str) -> Callable[[], bytes]:
    return lambda: (UPGRADE / name).read_bytes()


@cache
def _network() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 1))


@cache
def safetensors() -> bytes:
    from napari_virtualstain.nets.weights import weights_of

    return weights_of(_network())


@cache
def pickled() -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save({"state_dict": _network().state_dict(), "epoch": 3}, buffer)
    return buffer.getvalue()


@cache
def package() -> bytes:
    """The zip of a model, whose hashes hold."""
    import hashlib

    from napari_virtualstain.io.model_files import pack_pair

    pair = pack_pair(np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 2, 8, 8), np.float32))
    card = json.loads((UPGRADE / "model-1" / "card.json").read_text(encoding="utf-8"))
    members = {"weights.safetensors": safetensors(), "test_pair.npz": pair}
    card["files"] = {name: hashlib.sha256(raw).hexdigest() for name, raw in members.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, raw in {**members, "card.json": json.dumps(card).encode()}.items():
            archive.writestr(name, raw)
    return buffer.getvalue()


def read_package(path: Path) -> Any:
    from napari_virtualstain.generators.card import ModelCard
    from napari_virtualstain.io.model_files import ModelFiles

    files = ModelFiles(path, card="card.json")
    card = files.card(ModelCard)
    return files.verified("weights.safetensors", card.files), files.test_pair(card.files)


def read_weights(path: Path) -> Any:
    from napari_virtualstain.generators.importers import recognise
    from napari_virtualstain.nets.published import read_checkpoint

    return recognise(read_checkpoint(path))


def read_into_network(path: Path) -> None:
    import copy

    from napari_virtualstain.nets.weights import load_weights

    load_weights(copy.deepcopy(_network()), path.read_bytes(), path)


def _checkpoint(path: Path) -> Any:
    from napari_virtualstain.training.checkpoint import load_checkpoint

    return load_checkpoint(path, settings={"steps": 3})


def downloads() -> bytes:
    """The first two entries of our own list."""
    import napari_virtualstain.zoo as zoo

    whole = json.loads((Path(zoo.__file__).parent / "downloads.json").read_text(encoding="utf-8"))
    return json.dumps(whole[:2]).encode()


def _of_module(module: str, function: str, *, folder: bool = False) -> Callable[[Path], Any]:
    """Return a reader that is imported when it is used; some take the folder of the file."""

    def read(path: Path) -> Any:
        from importlib import import_module

        name = f"napari_virtualstain.{module}"
        return getattr(import_module(name), function)(path.parent if folder else path)

    return read


def read_decided(path: Path) -> Any:
    from napari_virtualstain.datasets.review import read_review

    return read_review(path.parent.with_suffix(".ome.zarr"))


def pictures(*names: str) -> Callable[[Path], None]:
    """Return what writes small TIFFs beside a file."""

    def write(path: Path) -> None:
        for name in names:
            tifffile.imwrite(path.parent / name, np.zeros((8, 8), np.uint16), metadata=None)

    return write


def first_level(path: Path) -> None:
    (path.parent / "0").mkdir()
    level = UPGRADE / path.parent.with_name("stain-2.ome.zarr").name / "0" / "zarr.json"
    (path.parent / "0" / "zarr.json").write_bytes(level.read_bytes())


def its_project(path: Path) -> None:
    """Write the whole project of which an entry is damaged afterwards."""
    shutil.copytree(PROJECT, next(p for p in path.parents if p.name == "p"), dirs_exist_ok=True)


def results(path: Path) -> None:
    for name in ("one", "two"):
        (path.parent / f"{name}.csv").write_bytes(FIELDS)


def read_project(path: Path) -> Any:
    from napari_virtualstain.datasets.project import Project

    project = Project(path.parent)
    return project.name, project.runs, project.inputs, project.decisions, project.damaged


def replayed(path: Path) -> Any:
    from napari_virtualstain.jobs.replay import ReplaySettings, run

    return run(ReplaySettings(record=str(path.parent), out=str(path.parent.with_name("again"))))


def opened(path: Path) -> Any:
    from napari_virtualstain.io.open import open_image

    return open_image(path.parent).shape


def scenes(path: Path) -> Any:
    from napari_virtualstain.io.open import list_scenes

    return [scene.open().shape for scene in list_scenes(path)]


def answers(path: Path) -> Any:
    from napari_virtualstain.jobs.blind import _read_answers

    return _read_answers(path, "abc", {1, 2, 3})


XML = b"""<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Image ID="Image:0" Name="a"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8"
SizeY="8" SizeZ="1" SizeC="2" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.5"><Channel ID="Channel:0:0"
Name="DNA"/><TiffData FirstC="0" IFD="0"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData></Pixels>
</Image></OME>"""
LABELS = b"plate,well,site,treatment,dose\np1,A01,1,DMSO,0\np1,A02,1,taxol,3.5\np1,B01,2,DMSO,0\n"
FEATURES = (
    b"Metadata_Plate,Metadata_Well,Metadata_Site,Metadata_Path,Metadata_Scene,DNA_000,DNA_001\n"
    b"p1,A01,1,a.zarr,,0.5,1.5\np1,A02,1,b.zarr,,0.25,-1\np1,A03,1,c.zarr,,1e3,2\n"
)
FIELDS = (
    b"plate,well,site,time,true,predicted,pcc_DNA,ssim_DNA,psnr_DNA,mae_DNA,mse_DNA,gain_DNA,"
    b"true_median_nucleus_mean_DNA\np,A01,1,0,30,31,0.5,0.25,30,10,200,1,5\n"
)
ANSWERS = b"review,pair,answer\nabc,1,left\nabc,2,right\nabc,3,left\n"
SETTINGS = b"""{"input": ["a.ome.zarr"], "target": ["b.ome.zarr"], "model": "demo", "out": "x", "steps": 10}"""
CURVES = b"""{"steps": [1, 2, 3], "loss": [1.0, 0.5, 0.25], "points": [], "total": 3}"""
PAIRS_TABLE = b"input,target,set\na.ome.zarr,b.ome.zarr,train\nc.ome.zarr,d.ome.zarr,test\n"
RESULTS = b"train,test,result\na,a,one.csv\na,b,two.csv\n"

PARSERS: dict[str, Parser] = {
    "card": Parser("m/card.json", _fixture("model-1/card.json"),
                   _of_module("generators.package", "read_card", folder=True)),
    "encoder card": Parser("m/encoder.json", _fixture("encoder-1/encoder.json"),
                           _of_module("encoders.package", "read_encoder_card", folder=True)),
    "denoiser card": Parser("m/denoiser.json", _fixture("denoiser-1/denoiser.json"),
                            _of_module("denoising.package", "read_denoiser_card", folder=True)),
    "zip of a model": Parser("m.zip", package, read_package),
    "safetensors": Parser("w.safetensors", safetensors, read_weights, refused="look like no method that is known here"),
    "safetensors for a network": Parser("w.safetensors", safetensors, read_into_network),
    "checkpoint": Parser("w.pt", pickled, read_weights, refused="look like no method that is known here"),
    "training checkpoint": Parser("checkpoint.pt", pickled,
                                  _checkpoint, refused="is of another program or version"),
    "pairs": Parser("pairs.json", _fixture("pairs-1.json"),
                    _of_module("datasets.pairing_file", "load_pairs")),
    "illumination": Parser("light.json", _fixture("illumination-1.json"),
                           _of_module("preprocessing.illumination", "load_illumination")),
    "illumination set": Parser(
        "light.json", _fixture("illumination-set-1.json"),
        _of_module("preprocessing.illumination_set", "load_illumination_set")),
    "reference": Parser("reference.json", _fixture("qc-reference-1.json"),
                        _of_module("qc.reference", "read_reference")),
    "review": Parser("stain.review/review.json", _fixture("reviewed-1.review/review.json"),
                     read_decided),
    "report of qc": Parser("judged/qc.json", _fixture("judged-1/qc.json"),
                           _of_module("jobs.measured_trust", "read_trust")),
    "record of a report": Parser("judged/qc.json", _fixture("judged-1/qc.json"), replayed,
                                 refused="does not exist"),
    "record of a store": Parser("s.ome.zarr/zarr.json", _fixture("stain-1.ome.zarr/zarr.json"),
                                _of_module("io.record", "read_record", folder=True)),
    "run of a store": Parser("s.ome.zarr/zarr.json", _fixture("stain-2.ome.zarr/zarr.json"), replayed,
                             refused="does not exist"),
    "metadata of a store": Parser("s.ome.zarr/zarr.json", _fixture("stain-2.ome.zarr/zarr.json"), opened,
                                  first_level),
    "list of images": Parser("batch.json", lambda: (STATES / "batch-3.json").read_bytes(),
                             _of_module("jobs.batch_file", "load_state", folder=True)),
    "old list of images": Parser("batch.json", lambda: (STATES / "batch-1.json").read_bytes(),
                                 _of_module("jobs.batch_file", "load_state", folder=True)),
    "project": Parser("p/project.json", lambda: (PROJECT / "project.json").read_bytes(), read_project,
                      its_project),
    "entry of a project": Parser(
        "p/runs/stain-stain-ome-zarr-d69943d7.json", lambda: next((PROJECT / "runs").iterdir()).read_bytes(),
        lambda path: read_project(path.parent), its_project),
    "decisions of a project": Parser(
        "p/decisions.jsonl", lambda: (PROJECT / "decisions.jsonl").read_bytes(), read_project,
        its_project),
    "labels": Parser("labels.csv", lambda: LABELS, _of_module("datasets.labels", "read_labels")),
    "features": Parser("fields.csv", lambda: FEATURES,
                       _of_module("jobs.embed_table", "read_features")),
    "features of wells": Parser("wells.csv", lambda: FEATURES,
                                _of_module("jobs.phenotype_tables", "read_wells")),
    "table of pairs": Parser("pairs.csv", lambda: PAIRS_TABLE,
                             _of_module("jobs.pair_table", "is_pairs_table")),
    "table of results": Parser("matrix.csv", lambda: RESULTS,
                               _of_module("jobs.generalise_results", "read_results"), results),
    "manifest": Parser("manifest.csv", lambda: b"path,well,site\na.tif,A01,1\nb.tif,A02,1\n",
                       scenes, pictures("a.tif", "b.tif")),
    "answers of a reviewer": Parser("answers.csv", lambda: ANSWERS, answers),
    "list of downloads": Parser("downloads.json", downloads, _of_module("zoo.index", "_parse")),
    "settings of a tuning": Parser("t/settings.json", lambda: SETTINGS,
                                   _of_module("jobs.tuning_run", "read_settings", folder=True)),
    "curves of a tuning": Parser("t/watch.json", lambda: CURVES,
                                 _of_module("jobs.tuning_run", "read_curves", folder=True)),
    "wish for a tuning": Parser("t/asked.json", lambda: b'{"wish": "pause"}',
                                _of_module("jobs.tuning_run", "wish_in", folder=True)),
    "companion of an OME-TIFF": Parser("a.companion.ome", lambda: XML,
                                       _of_module("io.open", "open_image"), pictures("a.ome.tif")),
    "index of a plate": Parser("plate/Index.idx.xml", lambda: INDEX, lambda path: scenes(path.parent),
                               pictures("r01c01f01p01-ch1sk1fk1fl1.tiff")),
}  # fmt: skip
"""Every parser, by what it reads."""
INDEX = b"""<EvaluationInputData xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5"><Plates><Plate>
<PlateID>p</PlateID><PlateRows>8</PlateRows><PlateColumns>12</PlateColumns><Well id="0101"/></Plate></Plates>
<Images><Image Version="1"><id>0101K1F1P1R1</id><URL>r01c01f01p01-ch1sk1fk1fl1.tiff</URL><Row>1</Row>
<Col>1</Col><FieldID>1</FieldID><PlaneID>1</PlaneID><TimepointID>0</TimepointID><ChannelID>1</ChannelID>
<ChannelName>DNA</ChannelName><ImageResolutionX Unit="m">5E-07</ImageResolutionX><ImageResolutionY Unit="m">
5E-07</ImageResolutionY><ImageSizeX>8</ImageSizeX><ImageSizeY>8</ImageSizeY><PositionZ Unit="m">0</PositionZ>
</Image></Images></EvaluationInputData>"""
