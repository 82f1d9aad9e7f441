"""What do encoders see, and what does it take?

    python benchmarks/embedding.py [--parts attention,stream,plate,jurkat] [--data FOLDER]
                                   [--wells 384] [--steps 800] [--seeds 3] [--device cuda]

- ``attention``: to what the token of a 1024 x 1024 px picture attends in the last block of a
  ViT-S/8, exactly: time and memory.
- ``stream``: `virtualstain embed` over a plate of ``--wells`` wells with four fields: memory while
  it goes on.
- ``plate``: on simulated plates with planted mechanisms, WS-DINO taught by the treatment, DINO, raw
  pixels and statistics of them, scored by NSC and NSCB on plates that none has been taught on.
- ``jurkat``: cell-cycle phase of single cells in flow (Blasi et al. 2016,
  doi:10.1038/ncomms10256) from bright field, grouped folds, DNA as the ceiling.

Each part is a process of its own. What was measured is kept in ``docs/benchmarks/embedding.json``;
``embedding.md`` is written from it, so that the parts may be run one after the other. ``--report``
writes the page only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _report import REPORTS, data_root, machine, peak_memory_mb, table, write
from numpy.typing import NDArray

from napari_virtualstain.datasets.labelled import LabelledPicture, LabelledSet, label_up
from napari_virtualstain.datasets.simulated_plate import PlateField, PlateSettings, plate_fields
from napari_virtualstain.embedding.crops import central_crops
from napari_virtualstain.embedding.intervals import Interval, bootstrap, of_difference, of_mean
from napari_virtualstain.embedding.pixel_statistics import pixel_statistics
from napari_virtualstain.embedding.profiles import (
    aggregate,
    median_of_crops,
    treatment_profiles,
    unit_length,
)
from napari_virtualstain.embedding.retrieval import retrieve
from napari_virtualstain.embedding.sphering import fit_sphering, sphere
from napari_virtualstain.encoders.base import Encoder
from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.intensity import Rule
from napari_virtualstain.jobs.encoder_recipes import ENCODER_RECIPES
from napari_virtualstain.metrics.classification import confusion
from napari_virtualstain.training.loop import learn
from napari_virtualstain.training.seeing import Classifying, Viewing
from napari_virtualstain.training.settings import LoopSettings, ViewSettings

RESULTS = REPORTS / "embedding.json"
PARTS = ("attention", "stream", "plate", "jurkat")
FOLDS = 5
RAW = 16  # edge of the blocks that raw pixels are put together to
CELL = 40  # edge of the picture of a Jurkat cell
CELL_PATCHES = {"patch": 8, "image": CELL}
CELL_VIEWS = {"narrow_patch": 24, "wide_share": (0.5, 1.0), "narrow_share": (0.2, 0.5)}
BLOCK = 40  # Jurkat cells that were taken one after the other stay in one fold
Found = dict[str, Any]


def attention(options: argparse.Namespace) -> Found:
    edge = options.size
    encoder: Any = build_encoder("dino", in_channels=3, preset="paper")
    encoder.module().to(options.device)
    before = peak_memory_mb()
    picture = np.random.default_rng(0).normal(size=(1, 3, edge, edge)).astype(np.float32)
    began = time.monotonic()
    found = encoder.attention(picture)
    tokens = (edge // encoder.patch) ** 2 + 1
    return {
        "edge": edge, "tokens": tokens, "seconds": time.monotonic() - began,
        "before_mb": before, "peak_mb": peak_memory_mb(), "row_sum": float(found.sum(axis=-1).mean()),
        "whole_gb": found.shape[1] * tokens**2 * 4 / 1e9, "heads": found.shape[1],
    }  # fmt: skip


def stream(options: argparse.Namespace) -> Found:
    """Embed a plate; a few simulated fields are written again and again, since pixels cost no memory."""
    from napari_virtualstain.jobs import embed
    from napari_virtualstain.jobs.simulate import SimulateSettings
    from napari_virtualstain.jobs.simulate import run as simulate

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        simulate(SimulateSettings(out=str(scratch / "s"), size=options.stream_px, fields=4))
        stores = sorted(scratch.glob("s/*/stains.ome.zarr"))
        copy_plate(stores, scratch / "plate.ome.zarr", options.wells)
        encoder = save_random(scratch / "encoder", options.stream_preset)
        process, seen = psutil.Process(), []

        def note(done: int, total: int, what: str) -> None:
            seen.append((done, process.memory_info().rss / 2**20))

        began = time.monotonic()
        result = embed.run(
            embed.EmbedSettings(
                input=str(scratch / "plate.ome.zarr"), model=str(encoder), out=str(scratch / "out"),
                device=options.device,
            ),
            on_progress=note,
        )  # fmt: skip
        seconds = time.monotonic() - began
        size = sum(path.stat().st_size for path in (scratch / "out").iterdir()) / 1e6
    total = result.fields
    at = {
        share: next(mb for done, mb in seen if done >= share * total)
        for share in (0.02, 0.25, 0.5, 1.0)
    }
    return {
        "wells": options.wells, "fields": total, "px": options.stream_px, "features": result.features,
        "preset": options.stream_preset, "seconds": seconds, "table_mb": size, "peak_mb": peak_memory_mb(),
        "rss_mb": {f"{share:.0%}": mb for share, mb in at.items()},
    }  # fmt: skip


def copy_plate(stores: Sequence[Path], plate: Path, wells: int) -> None:
    from napari_virtualstain.io.plate_write import PlateStore, field_path

    rows, columns = PlateSettings(
        wells=wells, mechanisms=("enlarged",), compounds=1, controls=0.0
    ).plate_shape
    store = PlateStore(plate, name="plate", rows=rows, columns=columns)
    for well in range(wells):
        row, column = divmod(well, columns)
        for site, source in enumerate(stores):
            shutil.copytree(source, plate / field_path(row, column, str(site)))
            store.add(row, column, str(site))


def save_random(folder: Path, preset: str) -> Path:
    from napari_virtualstain.encoders.card import EncoderCard
    from napari_virtualstain.encoders.package import save_encoder
    from napari_virtualstain.encoders.registry import get_encoder_spec
    from napari_virtualstain.io.origin import TrainingReport

    sizes = dict(get_encoder_spec("dino").presets[preset])
    encoder = build_encoder("dino", in_channels=1, preset=preset)
    crop = (int(sizes["image"]),) * 2
    none = TrainingReport(
        recipe="none", data="none", n_fields=1, n_validation_fields=0, steps=0, seed=0, loss=""
    )
    card = EncoderCard(
        name="random", encoder="dino", architecture=sizes, in_channels=1, per_channel=True,
        crop_px=crop, training=none,
    )  # fmt: skip
    save_encoder(folder, card, encoder, np.zeros((1, 1, *crop), np.float32))
    return folder


def picture_of(field: PlateField) -> NDArray[np.uint16]:
    return field.picture()


def plate(options: argparse.Namespace) -> Found:
    plan = PlateSettings(
        wells=options.plate_wells, plates=options.plates, sites=options.sites,
        compounds=options.compounds, shape_px=(options.plate_px,) * 2, seed=options.seed,
    )  # fmt: skip
    fields = list(plate_fields(plan))
    with ProcessPoolExecutor(options.processes) as pool:
        pictures = list(pool.map(picture_of, fields, chunksize=8))
    names = fields[0].channel_names
    chosen = [names.index(name) for name in options.channels.split(",")]
    kept = [np.ascontiguousarray(p[chosen]) for p in pictures]
    taught = {f"plate{n + 1}" for n in range(options.plates // 2)}
    teach = [n for n, field in enumerate(fields) if field.plate in taught]
    examine = [n for n, field in enumerate(fields) if field.plate not in taught]
    features: dict[str, list[NDArray[np.float64]]] = {
        "statistics of pixels": [
            standardised(np.stack([pixel_statistics(kept[n]) for n in examine]))
        ],
        "raw pixels": [standardised(np.stack([raw_pixels(kept[n]) for n in examine]))],
    }
    seconds: dict[str, float] = {}
    for method in ("dino", "wsdino"):
        for seed in range(options.seeds):
            began = time.monotonic()
            given = labelled([kept[n] for n in teach], [fields[n].treatment for n in teach],
                             options.channels.split(","), "treatment")  # fmt: skip
            encoder = taught_by(method, given, options, seed)
            seconds[method] = time.monotonic() - began
            edge = ENCODER_RECIPES[method].settings["patch"]
            seen = [features_of(encoder, kept[n], given, edge) for n in examine]
            features.setdefault(method, []).append(np.stack(seen))
    return {
        "plan": asdict(plan), "channels": options.channels, "taught_on": len(teach), "seconds": seconds,
        "examined_on": len(examine), "steps": options.steps, "seeds": options.seeds,
        **scored(features, [fields[n] for n in examine], options),
    }  # fmt: skip


def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return features of mean 0 and SD 1, without which the largest unit decides a cosine."""
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-12)


def raw_pixels(picture: NDArray[Any]) -> NDArray[np.float64]:
    """Return a picture (C, Y, X) itself, in blocks of `RAW` x `RAW` px."""
    c, y, x = picture.shape
    blocks = picture[:, : y // RAW * RAW, : x // RAW * RAW].astype(np.float64)
    return blocks.reshape(c, y // RAW, RAW, x // RAW, RAW).mean(axis=(2, 4)).ravel()


def labelled(
    pictures: Sequence[NDArray[Any]],
    labels: Sequence[str],
    channels: Sequence[str],
    label: str,
) -> LabelledSet:
    named = zip(pictures, labels, strict=True)
    return label_up(
        [LabelledPicture(f"{n}", pixels, one) for n, (pixels, one) in enumerate(named)],
        channels=channels, per_channel=False, label=label, classes=sorted(set(labels)),
        rule=Rule(), normalise_on="set",
    )  # fmt: skip


def taught_by(
    method: str, given: LabelledSet, options: argparse.Namespace, seed: int, *, cells: bool = False
) -> Encoder:
    """Train by the small recipe of a method, for so many steps; single cells are small pictures."""
    encoder = build_encoder(
        method, in_channels=len(given.channels), preset="little", seed=seed,
        classes=len(given.classes) if method == "resnet" else 0,
        architecture=CELL_PATCHES if cells and method != "resnet" else None,
    )  # fmt: skip
    recipe = ENCODER_RECIPES[{"resnet": "treatment"}.get(method, method)].settings
    told = {name: recipe[name] for name in LoopSettings.model_fields if name in recipe}
    told |= {"steps": options.steps, "seed": seed, "validate_every": options.steps, "ema": 0.0}
    told |= {"patch": CELL} if cells else {}
    settings = LoopSettings.model_validate(told)
    crop = (settings.patch,) * 2
    task: Any
    if method == "resnet":
        task = Classifying(encoder, given, settings, validation=None, crop=crop)  # type: ignore[arg-type]
    else:
        seen = {name: recipe[name] for name in ViewSettings.model_fields if name in recipe}
        seen |= CELL_VIEWS if cells else {}
        # As large a part of the training as in the recipe.
        seen["own_steps"] = seen.get("own_steps", 0) * options.steps // recipe["steps"]
        task = Viewing(
            encoder, given, settings, validation=None, crop=crop,
            views=ViewSettings.model_validate(seen), weak=method == "wsdino",
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        learn(task, settings, folder=Path(scratch), devices=(options.device,))
    return encoder


def features_of(
    encoder: Encoder, picture: NDArray[Any], given: LabelledSet, edge: int
) -> NDArray[np.float64]:
    """Return the median over crops that together are the field, as statistics see all of it, too."""
    seen = np.stack([n.apply(p) for n, p in zip(given.stored, picture, strict=True)])
    across = picture.shape[-1] // edge
    crops = [seen[:, y, x] for y, x in central_crops(picture.shape[1:], edge, per_axis=across)]
    return median_of_crops(encoder.features(np.stack(crops)))


def scored(
    features: dict[str, list[NDArray[np.float64]]],
    fields: Sequence[PlateField],
    options: argparse.Namespace,
) -> Found:
    """Score each method by NSC and NSCB, sphered on controls; hits are means over seeds."""
    hits: dict[str, dict[str, NDArray[np.float64]]] = {"NSC": {}, "NSCB": {}}
    groups: dict[str, list[str]] = {}
    chance: dict[str, float] = {}
    for method, runs in features.items():
        found: dict[str, list[NDArray[np.float64]]] = {"NSC": [], "NSCB": []}
        for values in runs:
            profiles, _ = sphere(values, [f.control for f in fields], [slice(None)])
            for name, (kept, classes, compounds, batches) in {
                "NSC": of_treatments(profiles, fields), "NSCB": of_batches(profiles, fields),
            }.items():  # fmt: skip
                other = () if name == "NSC" else (batches,)
                one = retrieve(kept, classes, compounds, *other)
                if not one.asked.any():
                    continue  # NSCB of one plate
                found[name].append(one.hits[one.asked].astype(float))
                groups[name] = [c for c, asked in zip(compounds, one.asked, strict=True) if asked]
                chance[name] = one.chance
        for name, of_seeds in found.items():
            if of_seeds:
                hits[name][method] = np.mean(of_seeds, axis=0)
    return {
        "scores": {
            name: {m: asdict(of_mean(h, groups[name])) for m, h in of.items()} for name, of in hits.items()
        },
        "differences": {
            name: {
                f"wsdino over {m}": asdict(of_difference(of["wsdino"], of[m], groups[name]))
                for m in of if m != "wsdino"
            }
            for name, of in hits.items()
        },
        "chance": chance,
        "profiles": {name: len(of) for name, of in groups.items()},
    }  # fmt: skip


Profiles = tuple[NDArray[np.float64], list[str], list[str], list[str]]


def of_treatments(values: NDArray[np.float64], fields: Sequence[PlateField]) -> Profiles:
    treated = [n for n, f in enumerate(fields) if not f.control]
    names, profiles = treatment_profiles(
        values[treated], [fields[n].treatment for n in treated], [fields[n].plate for n in treated]
    )
    of = {f.treatment: f.mechanism for f in fields}
    return unit_length(profiles), [of[n] for n in names], names, [""] * len(names)


def of_batches(values: NDArray[np.float64], fields: Sequence[PlateField]) -> Profiles:
    treated = [n for n, f in enumerate(fields) if not f.control]
    keys, profiles = aggregate(
        values[treated], [(fields[n].treatment, fields[n].plate) for n in treated], "mean"
    )
    of = {f.treatment: f.mechanism for f in fields}
    return profiles, [of[t] for t, _ in keys], [t for t, _ in keys], [p for _, p in keys]


def jurkat(options: argparse.Namespace) -> Found:
    from napari_virtualstain.jobs.known_sets import single_cells

    bright, dna, phases = single_cells(data_root(options.data) / "jurkat_ifc" / "Experiment_1")
    named = np.array(phases)
    # Cells of a phase stand in the order in which they were taken: blocks of them stay together.
    within = np.concatenate([np.arange(n) for n in np.unique(named, return_counts=True)[1]])
    order = np.argsort(named, kind="stable")
    block = np.empty(len(named), object)
    for place, number in zip(order, within, strict=True):
        share = max(1, min(BLOCK, int((named == named[place]).sum()) // FOLDS))
        block[place] = f"{named[place]} {number // share}"
    fold = np.array([int(one.rsplit(" ", 1)[1]) % FOLDS for one in block])
    taken: dict[str, NDArray[Any]] = {}
    statistics = {name: np.stack([pixel_statistics(p[None]) for p in of])
                  for name, of in (("bright field", bright), ("DNA", dna))}  # fmt: skip
    for name in statistics:
        taken[f"statistics of pixels, {name}"] = np.empty(len(named), object)
        taken[f"ResNet, {name}"] = np.empty(len(named), object)
        taken[f"features of the ResNet, {name}"] = np.empty(len(named), object)
    blind = "features of DINO, bright field"
    taken[blind] = np.empty(len(named), object)
    for held in range(options.folds):
        teach, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        for name, of in (("bright field", bright), ("DNA", dna)):
            simple = statistics[name]
            taken[f"statistics of pixels, {name}"][test] = linear(simple, named, teach, test)
            given = labelled([of[n][None] for n in teach], named[teach].tolist(), [name], "phase")
            seen = given.stored[0].apply(of)[:, None]  # of one run: grey values can be compared
            network: Any = taught_by("resnet", given, options, held, cells=True)
            scores, features = network.scores(seen[test]), network.features(seen)
            taken[f"ResNet, {name}"][test] = np.array(given.classes)[scores.argmax(axis=1)]
            taken[f"features of the ResNet, {name}"][test] = linear(features, named, teach, test)
            if name == "bright field":
                features = taught_by("dino", given, options, held, cells=True).features(seen)
                taken[blind][test] = linear(features, named, teach, test)
    done = np.flatnonzero(fold < options.folds)
    groups = [block[n] for n in done]
    classes = sorted(set(phases))

    def f1(method: str) -> Callable[[NDArray[np.int64]], float]:
        return lambda drawn: (
            confusion(
                named[done][drawn].tolist(), taken[method][done][drawn].tolist(), classes
            ).macro_f1
        )

    baseline = "statistics of pixels, bright field"

    def less(method: str) -> Interval:
        return bootstrap(lambda d: f1(method)(d) - f1(baseline)(d), groups, draws=options.draws)

    return {
        "cells": len(done), "folds": options.folds, "steps": options.steps, "classes": classes,
        "scores": {m: asdict(bootstrap(f1(m), groups, draws=options.draws)) for m in taken},
        "over_statistics": {m: asdict(less(m)) for m in taken if m != baseline},
        "tables": {m: confusion(named[done].tolist(), t[done].tolist(), classes).table() for m, t in taken.items()},
    }  # fmt: skip


def linear(
    features: NDArray[Any], classes: NDArray[Any], teach: NDArray[np.int64], test: NDArray[np.int64]
) -> NDArray[Any]:
    """Return the class of the nearest mean, where classes vary alike (linear discriminant)."""
    values = standardised(np.asarray(features, np.float64))
    names = np.unique(classes[teach])
    means = np.stack([values[teach][classes[teach] == name].mean(axis=0) for name in names])
    own = means[np.searchsorted(names, classes[teach])]
    fitted = fit_sphering(values[teach] - own)
    to = fitted.apply(values[test])[:, None] - fitted.apply(means)[None]
    return names[(to**2).sum(axis=2).argmin(axis=1)]


def report(found: Found) -> str:
    text = ["# Encoders\n", "Written by `python benchmarks/embedding.py`; each part says how.\n"]
    if one := found.get("attention"):
        text.append(f"""## Attention

To what the token of a picture of {one["edge"]} x {one["edge"]} px attends, in the last block of a ViT-S/8 (random weights),
{one["heads"]} heads over {one["tokens"]} tokens, exactly: {one["seconds"]:.0f} s, peak memory of the process {one["peak_mb"]:.0f} MB, of which
{one["before_mb"]:.0f} MB are libraries and weights. The matrices of one block, each token with each, would take {one["whole_gb"]:.1f} GB.
Rows sum to {one["row_sum"]:.6f}. {one["machine"]}.
""")
    if one := found.get("stream"):
        memory = table(
            ("fields done", "memory of the process (MB)"),
            [(share, f"{mb:.0f}") for share, mb in one["rss_mb"].items()],
        )
        text.append(f"""## A plate, field by field

`virtualstain embed` over {one["wells"]} wells with four fields of {one["px"]} px and five stains, {one["fields"]} fields; four simulated fields are
repeated. Preset `{one["preset"]}` of DINO, {one["features"]} features a field. {one["seconds"]:.0f} s, {one["seconds"] / one["fields"]:.2f} s a field; tables of {one["table_mb"]:.1f} MB;
peak {one["peak_mb"]:.0f} MB.

{memory}

{one["machine"]}.
""")
    if one := found.get("plate"):
        plan = one["plan"]
        rows = []
        for name, scores in one["scores"].items():
            for method, s in scores.items():
                less = one["differences"][name].get(f"wsdino over {method}")
                rows.append(
                    (
                        name,
                        method,
                        span(s),
                        span(less) if less else "",
                        f"{one['chance'][name]:.3f}",
                        one["profiles"][name],
                    )
                )
        text.append(f"""## Planted mechanisms

Simulated plates (`datasets.simulated_plate`, seed {plan["seed"]}): {plan["plates"]} plates of {plan["wells"]} wells with {plan["sites"]} fields of {plan["shape_px"][0]} px;
{len(plan["mechanisms"])} mechanisms, {plan["compounds"]} compounds of each, strengths {plan["strengths"][0]} to {plan["strengths"][1]}. Channels: {one["channels"]}, together.
Taught on the {one["taught_on"]} fields of the first half of the plates ({one["steps"]} steps, {one["seeds"]} seed(s), {one["seconds"]["wsdino"]:.0f} s a training), scored on
the {one["examined_on"]} fields of the others, which have other lamps, focus and staining; mechanisms are never told. All profiles are
sphered on controls. Brackets: 95 % interval, bootstrap over compounds, of the mean over seeds.

{table(("score", "method", "accuracy", "WS-DINO is better by", "chance", "profiles"), rows)}

{one["machine"]}.
""")
    if one := found.get("jurkat"):
        rows = [
            (m, span(s), span(one["over_statistics"][m]) if m in one["over_statistics"] else "")
            for m, s in one["scores"].items()
        ]
        tables = "\n\n".join(f"{m}:\n\n```\n{t}\n```" for m, t in one["tables"].items())
        text.append(f"""## Phases of the cell cycle

{one["cells"]} Jurkat cells in flow (Blasi et al. 2016, BSD-3), {len(one["classes"])} phases, {one["folds"]} folds in which cells that were taken one after
the other stay together; all of one run of one instrument. {one["steps"]} steps a network; nothing is taught on a fold that it is scored
on. Statistics and features go into a linear discriminant. The DNA stain, which defines most phases, is the ceiling. Macro F1 with its 95 % interval (bootstrap over blocks of cells).

{table(("method", "macro F1", "over statistics of bright-field pixels"), rows)}

{tables}

{one["machine"]}.
""")
    return "\n".join(text)


def span(one: Found) -> str:
    return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"


def measured() -> Found:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--data", help="folder of real images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=1024, help="edge of the picture of attention")
    parser.add_argument("--wells", type=int, default=384, help="of the plate that is streamed")
    parser.add_argument("--stream-px", type=int, default=512)
    parser.add_argument("--stream-preset", default="little")
    parser.add_argument("--plates", type=int, default=4)
    parser.add_argument("--plate-wells", type=int, default=48)
    parser.add_argument("--plate-px", type=int, default=256)
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--compounds", type=int, default=4)
    parser.add_argument("--channels", default="DNA,ER,RNA,AGP,Mito")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=11, help="of the plates")
    parser.add_argument(
        "--folds", type=int, default=FOLDS, help="of the Jurkat cells that are done"
    )
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--report", action="store_true", help="write the page only")
    options = parser.parse_args()
    if options.worker:
        found = {"attention": attention, "stream": stream, "plate": plate, "jurkat": jurkat}[
            options.parts
        ](options)
        print(json.dumps({**found, "machine": machine()}))
        return
    kept = measured()
    for part in () if options.report else options.parts.split(","):
        words = [*sys.argv[1:], "--parts", part, "--worker"]
        done = subprocess.run(
            [sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True
        )
        # Read again: another part may have been measured meanwhile.
        kept = {**measured(), part: json.loads(done.stdout.splitlines()[-1])}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    write("embedding.md", report(kept))


if __name__ == "__main__":
    main()
