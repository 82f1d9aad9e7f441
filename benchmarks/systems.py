"""Which method predicts best, at equal cost?

    python benchmarks/systems.py --data FOLDER [--sets isl,simulated] [--systems unet,pix2pix]
                                 [--budget 2min] [--patience 0] [--seeds 3] [--device cuda]

trains every paired generator (its preset ``little``, or ``--preset``) on sets of fields whose truth
is known, and examines it on others:

- ``isl``: phase contrast of neurons to DAPI and MAP2 (Christiansen et al. 2018,
  doi:10.1016/j.cell.2018.03.040), each quadrant of the field once, 64 px away from what is taught.
- ``simulated``: three planes of bright field to five stains, held-out densities and phenotypes, and
  a field without cells.
- ``jurkat``: single cells in flow (Blasi et al. 2016, doi:10.1038/ncomms10256), judged by L1 and by
  DNA per cell.
- ``stacks``: simulated stacks of 32 x 128 x 128 with six stains, of which three are measured.

What draws is judged by one draw of 25 steps, as a user gets it; no label is told.

Two budgets: ``--budget``, the same time for all on the same device (a generator that starts from a
U-Net shares it with that U-Net), or, with ``--patience N``, until N validations in a row were no
better. Each training is a process of its own. What was measured is kept in
``docs/benchmarks/systems.json`` and not measured again unless ``--anew``; ``systems.md`` is written
from it, so that a long comparison may be made in parts. ``--report`` writes the page only.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _report import REPORTS, data_root, machine, peak_memory_mb, table, write
from isl import CORNERS, GUARD, NAMES, STAINS, training_parts

RESULTS = REPORTS / "systems.json"
PLANES = (
    "unet", "wgan_gp", "pix2pix", "spade", "isl", "fnet2d",
    "palette", "guided_i2i", "spade_diffusion", "bbdm", "lbbdm", "vae_gan",
)  # fmt: skip
VOLUMES = ("wgan_gp_3d", "fnet")
SETS = ("isl", "simulated", "jurkat", "stacks")
FOLDS = {"isl": tuple(CORNERS)}
WARM = {"wgan_gp": "unet"}
CROP = 64
SHALLOW = 3  # levels of a network for cells of 40 px


@dataclass(frozen=True, kw_only=True)
class Data:
    """What teaches, what examines, and what the card says."""

    teach: list[Any]
    examine: list[Any]
    stains: tuple[str, ...]
    card: dict[str, Any]
    validate: tuple[Any, ...] = ()
    empty: Any = None
    groups: tuple[str, ...] = ()


# --- fields -----------------------------------------------------------------------------------------


def isl(job: dict[str, Any]) -> Data:
    from napari_virtualstain import open_image
    from napari_virtualstain.datasets.pairs import PairedField

    folder = data_root(job["data"]) / "isl_neurons"
    light = open_image(folder, channels=["PHASE_CONTRAST"]).data[0, 0].compute()
    truth = open_image(folder, channels=list(STAINS)).select(STAINS).data[0, :, 0].compute()
    corner = CORNERS[job["fold"]]
    half = light.shape[-1] // 2

    def field(name: str, y: slice, x: slice) -> PairedField:
        return PairedField(name, light[:, y, x], truth[:, y, x])

    first, second = training_parts(corner, light.shape[-1])
    place = tuple(slice(k * half, (k + 1) * half) for k in corner)
    # The smaller of the two parts validates, and keeps its distance from the larger one.
    rows = second[0]
    away = (
        slice(rows.start, rows.stop - GUARD)
        if not rows.start
        else slice(rows.start + GUARD, rows.stop)
    )
    return Data(
        teach=[field("rows", *first)] + ([] if job["patience"] else [field("beside", *second)]),
        validate=(field("validation", away, second[1]),) if job["patience"] else (),
        examine=[field("test", *place)],
        stains=NAMES,
        card={"z_offsets_um": (None,) * len(light), "input_channel": "Phase contrast", "pixel_size_um": 1.0},
    )  # fmt: skip


def simulated(job: dict[str, Any]) -> Data:
    from napari_virtualstain import simulate
    from napari_virtualstain.datasets.pairs import PairedField

    def field(settings: Any, seed: int) -> PairedField:
        made = simulate.simulate_field(replace(settings, shape_px=(256, 256)), seed=seed)
        return PairedField(f"simulated {seed}", made.brightfield[0], made.stains[0])

    empty, seed = simulate.held_out_settings(50)
    return Data(
        teach=[field(*simulate.training_settings(n)) for n in range(32)],
        validate=tuple(field(*simulate.training_settings(n)) for n in range(32, 36)),
        examine=[field(*simulate.held_out_settings(n)) for n in range(6)],
        empty=field(replace(empty, n_cells=0), seed),
        stains=simulate.STAINS,
        card={"z_offsets_um": (-4.0, 0.0, 4.0), "input_channel": "Brightfield", "pixel_size_um": 0.6},
    )  # fmt: skip


def jurkat(job: dict[str, Any]) -> Data:
    from napari_virtualstain.datasets.pairs import PairedField
    from napari_virtualstain.jobs.known_sets import single_cells

    bright, dna, phases = single_cells(data_root(job["data"]) / "jurkat_ifc" / "Experiment_1")
    order = np.random.default_rng(0).permutation(len(bright))
    fields = [PairedField(f"cell {n}", bright[n][None], dna[n][None]) for n in order]
    test, validate = len(order) // 5, len(order) // 20
    return Data(
        examine=fields[:test],
        validate=tuple(fields[test : test + validate]),
        teach=fields[test + validate :],
        stains=("DNA",),
        card={"z_offsets_um": (None,), "input_channel": "Brightfield", "pixel_size_um": 0.5},
        groups=tuple(phases[n] for n in order[:test]),
    )


def stacks(job: dict[str, Any]) -> Data:
    """Six stains, of which each field that teaches has three, as in the data of the paper."""
    from napari_virtualstain.datasets.pairs import PairedField
    from napari_virtualstain.generators.card import VolumeInput
    from napari_virtualstain.simulate import held_out_settings, simulate_field, training_settings

    depths = tuple(float(z) for z in np.arange(-8, 8, 0.5))
    rng = np.random.default_rng(0)
    names: tuple[str, ...] = ()

    def field(settings: Any, seed: int, measured: int | None) -> PairedField:
        nonlocal names
        asked = replace(
            settings, shape_px=(128, 128), focus_offsets_um=depths, stain_offsets_um=depths,
            six_stains=True,
        )  # fmt: skip
        made = simulate_field(asked, seed=seed)
        names = made.stain_names
        stains = made.stains[0].astype(np.float32)
        if measured is not None:
            stains[rng.permutation(len(names))[measured:]] = np.nan
        return PairedField(f"stack {seed}", made.brightfield[0][None], stains)

    teach = [field(*training_settings(n), 3) for n in range(16)]
    return Data(
        teach=teach,
        validate=tuple(field(*training_settings(n), 3) for n in range(16, 18)),
        examine=[field(*held_out_settings(n), None) for n in range(3)],
        stains=names,
        card={
            "z_offsets_um": (None,), "input_channel": "Brightfield", "pixel_size_um": 0.6,
            "volume": VolumeInput(z_step_um=0.5),
        },
    )  # fmt: skip


DATA: dict[str, Callable[[dict[str, Any]], Data]] = {
    "isl": isl, "simulated": simulated, "jurkat": jurkat, "stacks": stacks,
}  # fmt: skip
# Patches of a step, their edge and depth, by set; rates of methods that play against a critic.
STEPS: dict[str, dict[str, Any]] = {
    "isl": {"batch": 8, "patch": 128},
    "simulated": {"batch": 8, "patch": 128},
    "jurkat": {"batch": 64, "patch": 40},
    "stacks": {"batch": 2, "patch": 64, "patch_z": 16},
}
ADVERSARIAL = {"wgan_gp", "pix2pix", "spade", "vae_gan", "wgan_gp_3d"}
DRAWN_STEPS, DRAWN_PATCH = 25, 64


# --- one training, in a process of its own ----------------------------------------------------------


def one(job: dict[str, Any]) -> dict[str, Any]:
    import torch

    from napari_virtualstain import load_generator
    from napari_virtualstain.datasets.pairs import pair_up
    from napari_virtualstain.generators.sampled import SampledGenerator, Sampling, draw_sample
    from napari_virtualstain.intensity import Rule

    data = DATA[job["set"]](job)
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        before = peak_memory_mb()
        seconds, share = 0.0, 1.0
        if job["system"] in WARM:
            share = 0.5
            start = Path(scratch) / "start"
            seconds = trained(WARM[job["system"]], data, job, start, share=share).seconds
        result = trained(
            job["system"], data, job, model, share=share,
            start=Path(scratch) / "start" if share < 1 else None,
        )  # fmt: skip
        seconds += result.seconds
        memory = (
            torch.cuda.max_memory_allocated() / 2**20
            if job["device"].startswith("cuda")
            else peak_memory_mb() - before
        )
        loaded = load_generator(model)
        size = sum(f.stat().st_size for f in model.glob("*.safetensors")) / 2**20
    card, generator = loaded.card, loaded.generator
    parameters = sum(p.numel() for p in generator.module().parameters())
    usual = [plane.typical_contrast for plane in card.inputs]
    outputs = [stain.normalisation for stain in card.stains]

    def painted(planes: np.ndarray) -> np.ndarray:
        if isinstance(generator, SampledGenerator):
            return draw_sample(generator, planes, Sampling(steps=DRAWN_STEPS), seed=0)
        return generator.predict(planes)

    def predicted(fields: Sequence[Any]) -> list[np.ndarray]:
        pairs = pair_up(
            fields, input_rule=card.input_rule, output_rule=Rule(kind="zscore", clip_sd=None),
            stain_names=data.stains, outputs=outputs, typical_contrast=usual,
        )  # fmt: skip
        found = []
        for n, field in enumerate(fields):
            planes, _ = pairs.read(n, tuple(slice(0, size) for size in field.shape))
            stains = painted(planes[None])[0]
            found.append(np.stack([o.invert(s) for o, s in zip(outputs, stains, strict=True)]))
        return found

    began = time.monotonic()
    got = predicted(data.examine)
    each = (time.monotonic() - began) / len(data.examine)
    cost = {
        "seconds": round(seconds, 1), "steps": result.steps, "memory_mb": round(memory), "image_s": round(each, 3),
        "parameters": parameters, "file_mb": round(size, 2), "machine": machine(),
    }  # fmt: skip
    if job["set"] == "jurkat":
        return {"cost": cost, "cells": cells(got, data)}
    extra = (
        {"empty": phantoms(got, predicted([data.empty])[0], data)} if data.empty is not None else {}
    )
    return {"cost": cost, **examined(got, data), **extra}


def trained(
    system: str,
    data: Data,
    job: dict[str, Any],
    out: Path,
    *,
    share: float,
    start: Path | None = None,
) -> Any:
    from napari_virtualstain.generators.registry import GENERATORS
    from napari_virtualstain.jobs.train import TrainSettings, train_on_fields
    from napari_virtualstain.jobs.training_fields import FieldData

    until = (
        {
            "steps": job["steps"],
            "patience": job["patience"],
            "validate_every": max(job["steps"] // 60, 10),
        }
        if job["patience"]
        else {"steps": 10**6, "budget": job["budget"] * share, "validate_every": 10**6}
    )
    drawn = GENERATORS[system].stochastic
    gentle = (
        {"learning_rate": 1e-3, "clip": 1.0}
        if drawn or system in ADVERSARIAL
        else {"learning_rate": 2e-3}
    )
    how = dict(STEPS[job["set"]])
    if drawn:  # many noise levels are to be learnt, on small patches
        how["patch"] = min(how["patch"], DRAWN_PATCH)
    settings = TrainSettings(
        out=str(out), generator=system, preset=job["preset"], seed=job["seed"], device=job["device"],
        precision=job["precision"], start=None if start is None else str(start), **how, **gentle, **until,
    )  # fmt: skip
    held = data.validate if job["patience"] else ()
    return train_on_fields(
        FieldData(
            fields=[*data.teach, *held],
            stains=data.stains,
            card={"name": system, "data": job["set"], **data.card},
            sets=("train",) * len(data.teach) + ("validation",) * len(held),
        ),
        settings,
    )


# --- what is measured -------------------------------------------------------------------------------


def flat(stain: np.ndarray) -> Iterable[np.ndarray]:
    """Return the planes of a picture or a stack."""
    return stain.reshape(-1, *stain.shape[-2:])


def crops(stain: np.ndarray) -> np.ndarray:
    """Return crops of 64 x 64 px, of stacks from every eighth plane."""
    planes = list(flat(stain))[:: 8 if stain.ndim > 2 else 1]
    return np.stack(
        [
            plane[y : y + CROP, x : x + CROP]
            for plane in planes
            for y in range(0, plane.shape[0] - CROP + 1, CROP)
            for x in range(0, plane.shape[1] - CROP + 1, CROP)
        ]
    )


def linear(planes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the best per-pixel regression on the planes, fitted to the very truth it is judged by."""
    from napari_virtualstain.metrics.floor import linear_prediction

    # Pixel by pixel, a stack is a picture whose rows are those of all its planes.
    rows = planes.reshape(len(planes), -1, planes.shape[-1])
    return linear_prediction(rows, truth.reshape(rows.shape[1:]), reach=0).reshape(truth.shape)


def examined(got: list[np.ndarray], data: Data) -> dict[str, Any]:
    from napari_virtualstain.metrics.frechet import frechet_distance, texture_features
    from napari_virtualstain.metrics.pixel import mae, mse, pearson, psnr
    from napari_virtualstain.metrics.structure import ssim

    found: dict[str, Any] = {"stains": {}}
    rng = np.random.default_rng(0)
    for c, name in enumerate(data.stains):
        truths = [np.asarray(f.stains)[c].astype(np.float32) for f in data.examine]
        guesses = [p[c] for p in got]
        floors = [
            linear(np.asarray(f.planes), t) for f, t in zip(data.examine, truths, strict=True)
        ]
        spread = float(np.std(np.concatenate([t.ravel() for t in truths])))
        fields = list(zip(guesses, truths, strict=True))
        span = float(np.ptp(np.concatenate([t.ravel() for t in truths])))
        features = [
            np.concatenate([texture_features(crops(s) / spread) for s in stains])
            for stains in (guesses, truths)
        ]
        gain = np.concatenate(
            [
                [pearson(a, t) - pearson(b, t) for a, b, t in zip(*map(crops, trio), strict=True) if t.std() > 0]
                for trio in zip(guesses, floors, truths, strict=True)
            ]
        )  # fmt: skip
        again = [rng.choice(gain, len(gain)).mean() for _ in range(2000)]
        found["stains"][name] = {
            "pcc": np.mean([pearson(p, t) for p, t in fields]),
            "ssim": np.mean([ssim(a, b, range_=span) for p, t in fields for a, b in zip(flat(p), flat(t), strict=True)]),
            "psnr": np.mean([psnr(p, t, range_=span) for p, t in fields]),
            "mae": np.mean([mae(p, t) for p, t in fields]) / spread,
            "mse": np.mean([mse(p, t) for p, t in fields]) / spread**2,
            "fid": frechet_distance(*features),
            "floor": np.mean([pearson(f, t) for f, t in zip(floors, truths, strict=True)]),
            "gain": [np.quantile(again, 0.025), np.quantile(again, 0.975)],
            "swap": swapped(guesses, truths),
        }  # fmt: skip
    return found


def swapped(guesses: list[np.ndarray], truths: list[np.ndarray]) -> float:
    """Return by how much a prediction is more like its own truth than like another field's (PCC)."""
    from napari_virtualstain.metrics.pixel import pearson

    if len(guesses) == 1:  # the halves of one field
        guesses, truths = ([*np.array_split(one[0], 2, axis=-1)] for one in (guesses, truths))
    others = [*range(1, len(truths)), 0]
    return float(
        np.mean([pearson(p, truths[n]) - pearson(p, truths[o]) for n, (p, o) in enumerate(zip(guesses, others, strict=True))])
    )  # fmt: skip


def phantoms(got: list[np.ndarray], empty: np.ndarray, data: Data) -> float:
    """Return the foreground on a field without cells over that of a median field, worst stain."""
    from skimage.filters import threshold_otsu

    worst = 0.0
    for c in range(len(data.stains)):
        truths = np.concatenate([np.asarray(f.stains)[c].ravel() for f in data.examine])
        bright = threshold_otsu(truths)
        usual = np.median([(p[c] > bright).mean() for p in got])
        worst = max(worst, float((empty[c] > bright).mean() / max(usual, 1e-9)))
    return worst


def cells(got: list[np.ndarray], data: Data) -> dict[str, Any]:
    """Return L1, DNA per cell and how far the phase can be told from it."""
    predicted = np.stack([p[0] for p in got])
    truth = np.stack([np.asarray(f.stains)[0].astype(np.float32) for f in data.examine])
    amounts, wanted = predicted.sum(axis=(1, 2)), truth.sum(axis=(1, 2))
    span = float(np.percentile(truth, 99.9) - np.percentile(truth, 0.1))
    phases = np.array(data.groups)
    g1, g2 = phases == "G1", phases == "G2"
    # Area under the curve: how often a cell of G2 has more DNA than one of G1.
    auc = [float((a[g2][:, None] > a[g1][None, :]).mean()) for a in (amounts, wanted)]
    return {
        "l1": float(np.abs(predicted - truth).mean() / span),
        "l1_mean_image": float(
            np.abs(
                np.median([np.asarray(f.stains)[0] for f in data.teach], axis=0)[None] - truth
            ).mean()
            / span
        ),
        "dna_r": float(np.corrcoef(amounts, wanted)[0, 1]),
        "dna_error": float(np.abs(amounts - wanted).mean() / wanted.mean()),
        "g2_over_g1": auc[0],
        "g2_over_g1_truth": auc[1],
    }


# --- all of them ------------------------------------------------------------------------------------


def key_of(job: dict[str, Any]) -> str:
    until = f"patience {job['patience']}" if job["patience"] else f"{job['budget']:g} s"
    return " | ".join([job["set"], until, job["device"].split(":")[0], job["preset"], job["system"],
                       job["fold"], f"seed {job['seed']}"])  # fmt: skip


def jobs_of(options: argparse.Namespace) -> list[dict[str, Any]]:
    from napari_virtualstain.training.settings import LoopSettings

    budget = LoopSettings(budget=options.budget).budget
    found = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in options.sets.split(","):
            systems = VOLUMES if name == "stacks" else PLANES
            wanted = options.systems.split(",") if options.systems else systems
            folds = FOLDS.get(name, ("",))
            for fold in [f for f in folds if not (f and options.folds) or f in options.folds]:
                found += [
                    {
                        "set": name, "fold": fold, "system": system, "seed": seed, "budget": budget,
                        "patience": options.patience, "steps": options.steps, "preset": options.preset,
                        "device": options.device, "precision": options.precision, "data": options.data,
                    }
                    for system in wanted
                    if system in systems
                ]  # fmt: skip
    return found


def numbers(value: Any) -> Any:
    """Return plain numbers of four figures, which is what is kept."""
    if isinstance(value, dict):
        return {name: numbers(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [numbers(entry) for entry in value]
    return float(f"{value:.4g}") if isinstance(value, float | np.floating) else value


def read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def keep(results: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def measured(job: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(job)], stdout=subprocess.PIPE, text=True, check=True
    )  # fmt: skip
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def across(
    runs: list[dict[str, Any]], read_one: Callable[[dict[str, Any]], float], form: str
) -> str:
    values = [read_one(run) for run in runs]
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{middle:{form}}"
    return f"{middle:{form}} ({min(values):{form}} to {max(values):{form}})"


def mean_of(name: str) -> Callable[[dict[str, Any]], float]:
    return lambda run: statistics.mean(stain[name] for stain in run["stains"].values())


def verdict(runs: list[dict[str, Any]], unet: float | None) -> str:
    """Return which of (a) to (d) hold in all runs: what *works* means."""
    stains = [stain for run in runs for stain in run["stains"].values()]
    pcc = statistics.median(mean_of("pcc")(run) for run in runs)
    empty = [run["empty"] for run in runs if "empty" in run]
    said = [
        f"a {'yes' if all(s['gain'][0] > 0 for s in stains) else 'no'}",
        f"b {'yes' if all(s['swap'] >= 0.3 for s in stains) else 'no'} ({min(s['swap'] for s in stains):.2f})",
    ]
    if empty:
        said.append(f"c {'yes' if max(empty) <= 0.01 else 'no'} ({_share(max(empty))})")
    if unet is not None:
        said.append(f"d {'yes' if pcc >= unet - 0.05 else 'no'} ({pcc - unet:+.2f})")
    return ", ".join(said)


def _share(value: float) -> str:
    """Return a share in per cent; beyond ten times the number says nothing but that it is large."""
    return f"{value:.1%}" if value <= 10 else "above 1000 %"


def section(name: str, runs: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table of one set, budget, device and preset."""
    cost = (
        "trainings",
        "steps",
        "training (s)",
        "memory (MB)",
        "s an image",
        "parameters",
        "file (MB)",
    )

    def costs(found: list[dict[str, Any]]) -> tuple[str, ...]:
        def of(entry: str, form: str) -> str:
            return f"{statistics.median(run['cost'][entry] for run in found):{form}}"

        return (str(len(found)), of("steps", ".0f"), of("seconds", ".0f"), of("memory_mb", ".0f"),
                of("image_s", ".2f"), of("parameters", ",.0f"), of("file_mb", ".1f"))  # fmt: skip

    if name == "jurkat":
        header = ("system", "L1 / range", "of the median cell", "r of DNA per cell", "error of DNA per cell",
                  "G2 above G1 (by the truth)", *cost)  # fmt: skip

        def of(found: list[dict[str, Any]], entry: str, form: str) -> str:
            return across(found, lambda run: run["cells"][entry], form)

        rows = [
            (
                system, of(found, "l1", ".4f"), of(found, "l1_mean_image", ".4f"), of(found, "dna_r", ".3f"),
                of(found, "dna_error", ".1%"), f"{of(found, 'g2_over_g1', '.3f')} ({found[0]['cells']['g2_over_g1_truth']:.3f})",
                *costs(found),
            )
            for system, found in runs.items()
        ]  # fmt: skip
        return table(header, rows)
    unet = (
        statistics.median(mean_of("pcc")(run) for run in runs["unet"]) if "unet" in runs else None
    )
    header = (
        "system",
        "PCC",
        "floor",
        "SSIM",
        "PSNR (dB)",
        "MAE (SD)",
        "MSE (SD²)",
        "FID",
        "works",
        *cost,
    )
    rows = [
        (
            system, *(across(found, mean_of(entry), form) for entry, form in (
                ("pcc", ".3f"), ("floor", ".3f"), ("ssim", ".3f"), ("psnr", ".1f"), ("mae", ".3f"), ("mse", ".3f"), ("fid", ".2f"))),
            verdict(found, unet), *costs(found),
        )
        for system, found in runs.items()
    ]  # fmt: skip
    by_stain = [
        (system, *(f"{statistics.median(run['stains'][stain]['pcc'] for run in found):.3f}" for stain in found[0]["stains"]))
        for system, found in runs.items()
    ]  # fmt: skip
    stains = next(iter(runs.values()))[0]["stains"]
    return table(header, rows) + "\n\nPCC by stain:\n\n" + table(("system", *stains), by_stain)


ABOUT = {
    "isl": "Neurons: 13 planes of phase contrast to DAPI and MAP2, quadrants of one field",
    "simulated": "Simulated Cell Painting: three planes to five stains, 32 fields of 256 x 256 px, six held out",
    "jurkat": "Jurkat cells in flow: bright field to DNA, 40 x 40 px",
    "stacks": "Simulated stacks of 32 x 128 x 128: six stains, three measured in each of 16 fields",
}

PUBLISHED = """## What the papers report

On other images, with other networks and at other cost: nothing here can be set against a number above.

Bright field to fluorescence, latent diffusion against a VAE-GAN (thesis, table 5.1):

| system | SSIM | FID | PSNR (dB) | PCC | MAE | MSE | accuracy (%) |
|---|---|---|---|---|---|---|---|
| VAE-GAN | 0.978 | 0.014 | 34.22 | 0.719 | 0.011 | 0.001 | 62.33 |
| latent Brownian bridge | 0.969 | 0.052 | 31.25 | 0.421 | 0.019 | 0.002 | 51.10 |
| Brownian bridge | 0.963 | 1.296 | 25.06 | 0.448 | 0.077 | 0.011 | 16.41 |

An SSIM of .978 goes with a PCC of .72 there: dark background is easily alike, and SSIM counts it. The scale and the
features of the FID are not stated.

Bright field to Cell Painting (five methods compared, table 4; image quality is given as a figure only, in which pix2pix is
best in SSIM, PSNR and MSE in every channel):

| system | training of 10 epochs | GPU memory, one 512 x 512 image (GB) | s an image | checkpoint (MB) |
|---|---|---|---|---|
| CNN (U-Net) | 69 h 34 min | 3.31 | 0.06 | 134.98 |
| pix2pix | 10 h 7 min | 4.78 | 0.07 | 712.72 (21.64) |
| SPADE | 19 h 30 min | 6.50 | 0.10 | 360.14 (21.71) |
| Palette | 32 h 33 min | 6.24 | 40 | 98.29 |
| SPADE-Diffusion | 30 h 17 min | 17.79 | 240 | 657.85 |
"""


def report(results: dict[str, Any]) -> None:
    from napari_virtualstain.metrics.frechet import FEATURES

    parts: dict[tuple[str, ...], dict[str, list[dict[str, Any]]]] = {}
    order = [*PLANES, *VOLUMES]
    for key in sorted(results, key=lambda k: order.index(k.split(" | ")[4])):
        name, until, device, preset, system, *_ = key.split(" | ")
        parts.setdefault((name, until, device, preset), {}).setdefault(system, []).append(
            results[key]
        )
    text = []
    for place, runs in sorted(
        parts.items(), key=lambda item: (SETS.index(item[0][0]), item[0][1:])
    ):
        name, until, device, preset = place
        how = (
            f"trained until {until.split()[1]} validations in a row were no better"
            if until.startswith("patience")
            else f"{until} of training each"
        )
        where = sorted(
            {
                re.sub(r"; ten million[^)]*", "", run["cost"]["machine"])
                for found in runs.values()
                for run in found
            }
        )
        folds = sorted({k.split(" | ")[5] for k in results if tuple(k.split(" | ")[:4]) == place})
        examined = f" Examined: {', '.join(folds)}." if any(folds) else ""
        text.append(
            f"## {ABOUT[name]}\n\nPreset `{preset}`, {how}, on {device}.{examined}\n\n{section(name, runs)}\n\n{'; '.join(where)}."
        )
    write(
        "systems.md",
        f"""# Which method predicts best, at equal cost?

Written by `python benchmarks/systems.py`; what each training came to is in `systems.json`. Numbers are means over stains;
where there were several trainings (folds, seeds) the median, and from the smallest to the largest. *Floor* is the
correlation of a linear regression on the planes, pixel by pixel, that was fitted to the very truth it is judged by. MAE
and MSE are in standard deviations of the truth, SSIM (windows of 7 px) and PSNR with its range. *FID* is the Fréchet
distance over {FEATURES} of 64 x 64 px in standard deviations of the truth: no number of another paper can be set beside it.

*Works* asks of what was held out: (a) better than the linear regression in every stain, the 95 % interval over crops
excluding zero; (b) a prediction is more like its own truth than like another field's by a PCC of at least 0.3 in every
stain (the least is shown); (c) on a field without cells the foreground is at most 1 % of a median field's; (d) the PCC is
at most 0.05 below the U-Net's.

WGAN-GP starts from a U-Net, and shares its time with it. What draws (Palette and what comes after it, but not the VAE-GAN) is
judged by one draw of {DRAWN_STEPS} steps, with no label told: a draw is not the mean, and pays for it in PCC and MSE. Where the column *steps* has few hundreds, a table says what learns
fastest, and not what ends best: the papers train for tens of thousands.

{(2 * chr(10)).join(text)}

{PUBLISHED}
""",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of real images")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--systems", default="", help="comma-separated; all by default")
    parser.add_argument("--folds", default="", help="comma-separated, of isl; all by default")
    parser.add_argument("--budget", default="2min")
    parser.add_argument("--patience", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6000, help="at most, with --patience")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--preset", default="little")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--anew", action="store_true", help="measure again what was measured")
    parser.add_argument("--report", action="store_true", help="write the page only")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(numbers(one(json.loads(options.one)))), flush=True)
        return
    results = read()
    for job in [] if options.report else jobs_of(options):
        if options.anew or key_of(job) not in results:
            print(key_of(job), file=sys.stderr, flush=True)
            results[key_of(job)] = measured(job)
            keep(results)
    report(results)


if __name__ == "__main__":
    main()
