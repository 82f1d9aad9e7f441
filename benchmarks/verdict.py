"""Does the verdict find what is planted, and pass what is perfect?

    python benchmarks/verdict.py [--wells 24] [--sites 2] [--seed 0]

A simulated plate with one compound of each mechanism and a third of the wells untreated. Five generators: the truth with
camera noise drawn anew; one that loses 10 % of the cells; one that draws all stains twice as bright; one that swaps two treatments;
and one that blurs (a Gaussian of 3 px). Then, on numbers drawn at random, how often treatments that do nothing are
called hits. Writes ``docs/benchmarks/verdict.md``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from _report import machine, peak_memory_mb, table, write
from numpy.typing import NDArray
from scipy import ndimage

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.simulated_plate import (
    CONTROL,
    PlateField,
    PlateSettings,
    plate_fields,
)
from napari_virtualstain.evaluation.hits import find_hits, scale_by_controls
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import verdict
from napari_virtualstain.jobs.verdict import VerdictResult, VerdictSettings
from napari_virtualstain.simulate.camera import CAMERA_OFFSET, expose
from napari_virtualstain.simulate.field import SimulatedField

GAIN, LOST, BLUR_PX = 4.0, 0.1, 3.0
SWAPPED = ("enlarged", "bright_er")
INTRO = (
    "A simulated plate of {wells} wells with {sites} fields of {edge} x {edge} px, eight compounds with a mechanism each and {controls} untreated wells, and five "
    "generators whose failures are known. What is allowed stands on the page of the [verdict](../verdict.md); in brackets, 95 % intervals over wells."
)
BY_CHANCE = (
    "How often treatments that do nothing are hits, of those that are drawn from the same normal distribution as the controls (8 features, {tries} "
    "plates each, four treatments). The level is 0.95: 0.05 is promised. With few controls their scale is not known well, and more are."
)


def shot(light: NDArray[np.float32], seed: Sequence[int]) -> NDArray[np.uint16]:
    """Return what a camera counts of what it would count on average."""
    electrons = np.maximum(light - np.float32(CAMERA_OFFSET), 0) / np.float32(GAIN)
    return expose(electrons, counts_per_electron=GAIN, noise=1.0, rng=np.random.default_rng(seed))[
        0
    ]


def without(field: SimulatedField, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the light of a field of which some cells are lost, with their surroundings."""
    light = field.truth[0].copy()
    names = np.unique(field.nuclei)[1:]
    gone = names[rng.random(len(names)) < LOST]
    if len(gone):
        mask = np.isin(field.cells[0], gone) | np.isin(field.nuclei[0], gone)
        empty = field.cells[0] == 0
        for channel in light:
            channel[mask] = np.median(channel[empty]) if empty.any() else channel.min()
    return light


def write_field(store: PlateStore, field: PlateField, pixels: NDArray[np.uint16]) -> None:
    inner = field_path(field.row, field.column, field.site)
    found = pixels[None, :, None]
    size = PixelSize(None, *field.settings.pixel_yx_um)
    with OmeZarrSink.create(
        store.path / inner, shape=found.shape, dtype="uint16", n_tiles=1, record={}, pixel_size_um=size,
        channels=[Channel(name) for name in field.settings.stain_names],
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in found.shape), found)
        sink.commit(0)
        sink.finish({})
    store.add(field.row, field.column, field.site)


def planted(root: Path, plan: PlateSettings) -> dict[str, Path]:
    """Write the true plate and the predictions; return their stores."""
    names = ("truth", "perfect", "loses cells", "twice as bright", "swaps two", "blurs")
    rows, columns = plan.plate_shape
    stores = {
        name: PlateStore(root / name.replace(" ", "_") / "plate1.ome.zarr", name="plate1", rows=rows, columns=columns)
        for name in names
    }  # fmt: skip
    fields = list(plate_fields(plan))
    labels = ["well,treatment,moa"]
    labels += [f"{f.well},{f.treatment},{f.mechanism}" for f in fields if f.site == "1"]
    (root / "labels.csv").write_text("\n".join(labels), encoding="utf-8")
    held: dict[tuple[str, int, str], NDArray[np.float32]] = {}
    order = {}
    for f in fields:
        wells = order.setdefault(f.mechanism, [])
        if f.well not in wells:
            wells.append(f.well)
    rng = np.random.default_rng(plan.seed)
    for number, f in enumerate(fields):
        made = f.simulate()
        light = made.truth[0]
        of_generator: dict[str, Callable[[], NDArray[np.float32]]] = {
            "perfect": lambda light=light: light,
            "loses cells": lambda made=made: without(made, rng),
            "twice as bright": lambda light=light: (light - CAMERA_OFFSET) * 2 + CAMERA_OFFSET,
            "blurs": lambda light=light: ndimage.gaussian_filter(light, (0, BLUR_PX, BLUR_PX)),
        }
        write_field(stores["truth"], f, made.stains[0])
        for kind, (name, draw) in enumerate(of_generator.items()):
            write_field(stores[name], f, shot(draw(), [plan.seed, number, kind]))
        if f.mechanism in SWAPPED:
            held[f.mechanism, order[f.mechanism].index(f.well), f.site] = light
        else:
            write_field(stores["swaps two"], f, shot(light, [plan.seed, number, 9]))
    for number, f in enumerate(fields):
        if f.mechanism in SWAPPED:
            other = SWAPPED[1 - SWAPPED.index(f.mechanism)]
            light = held[other, order[f.mechanism].index(f.well), f.site]
            write_field(stores["swaps two"], f, shot(light, [plan.seed, number, 9]))
    return {name: store.path for name, store in stores.items()}


def judged(root: Path, paths: dict[str, Path], name: str) -> VerdictResult:
    return verdict.run(
        VerdictSettings(
            prediction=str(paths[name]), target=str(paths["truth"]), labels=str(root / "labels.csv"),
            controls=(CONTROL,), cells="RNA", out=str(root / "out" / name.replace(" ", "_")),
        )
    )  # fmt: skip


def rows_of(result: VerdictResult) -> list[list[str]]:
    rows = []
    for one in result.answers.findings:
        number = "" if one.value is None else f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
        rows.append([one.question, {"unsure": "not known"}.get(one.state, one.state), number])
    return rows


def by_chance(tries: int) -> str:
    rows = []
    for controls, wells, plates in [(6, 1, 1), (6, 3, 1), (16, 2, 1), (32, 4, 1), (8, 2, 3)]:
        rates = []
        for seed in range(tries):
            rng = np.random.default_rng([seed, controls, wells, plates])
            names = (["c"] * controls + [t for t in "abde" for _ in range(wells)]) * plates
            which = [str(p) for p in range(plates) for _ in range(controls + 4 * wells)]
            untreated = [name == "c" for name in names]
            scaled = scale_by_controls(rng.normal(size=(len(names), 8)), untreated, which)
            rates.append(
                find_hits(scaled, names, untreated, which, draws=500, seed=seed).hits.mean()
            )
        rows.append([controls, wells, plates, f"{np.mean(rates):.2f}"])
    return table(["controls of a plate", "wells of a treatment and plate", "plates", "hits"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wells", type=int, default=24)
    parser.add_argument("--sites", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tries", type=int, default=100)
    args = parser.parse_args()
    plan = PlateSettings(
        wells=args.wells, plates=1, sites=args.sites, compounds=1, strengths=(1.0, 1.0), controls=1 / 3,
        seed=args.seed,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = planted(root, plan)
        parts = [
            "# The verdict on planted failures",
            INTRO.format(wells=args.wells, sites=args.sites, edge=plan.shape_px[0], controls=plan.control_wells),
        ]  # fmt: skip
        seconds = []
        for name in list(paths)[1:]:
            began = time.perf_counter()
            result = judged(root, paths, name)
            seconds.append(time.perf_counter() - began)
            parts += [
                f"## {name.capitalize()}",
                result.sentence,
                table(["question", "answer", "number"], rows_of(result)),
            ]
            if result.answers.hits is not None and result.answers.hits.swapped:
                pairs = ", ".join(" and ".join(pair) for pair in result.answers.hits.swapped)
                parts.append(f"Swapped: {pairs}.")
            kept = ", ".join(f"{row['stain']} {row['pcc']:.2f}" for row in result.answers.channels)
            parts.append(f"PCC of the pictures: {kept}.")
            print("\n\n".join(parts[-4:]), flush=True)
        fields = args.wells * args.sites
        parts += [
            "## By chance", BY_CHANCE.format(tries=args.tries), by_chance(args.tries), "## Cost",
            f"{np.median(seconds) / fields:.2f} s a field of five stains, nuclei and cells, all in; peak memory {peak_memory_mb():.0f} MB. On {machine()}.",
        ]  # fmt: skip
    write("verdict.md", "\n\n".join(parts))


if __name__ == "__main__":
    main()
