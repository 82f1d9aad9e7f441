"""Do the intervals that are made of a spread hold, and does the spread find errors?

    python benchmarks/uncertainty.py [--fields 40] [--far 8] [--keep FOLDER] [--reference FILE]

Held-out simulated fields are stained by the demo model with the spread of eight views. Half of them
say which interval goes with which spread (`virtualstain uncertainty`), the other half whether it
holds: of the foreground, by stain and by tenth of the spread. Fields under conditions that the
model has not seen are judged by the same intervals. Writes ``docs/benchmarks/uncertainty.md``;
``--keep`` keeps the stains for the next time, and ``--reference`` writes the intervals.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from _report import machine, table, write

from napari_virtualstain.api import stain, uncertainty
from napari_virtualstain.generators.doubt import DOUBT_FILE
from napari_virtualstain.jobs.listed_images import listed_images
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.jobs.uncertainty import UncertaintyResult, UncertaintySettings
from napari_virtualstain.jobs.uncertainty_fields import look_at_pair
from napari_virtualstain.jobs.verdict_pairs import pair_fields
from napari_virtualstain.metrics.intervals import coverage, retention
from napari_virtualstain.simulate import held_out_settings, simulate_field

FIRST = 1600
"""Held-out fields before this were looked at elsewhere."""
FAR_FIRST = 6400
FAR: dict[str, dict[str, float]] = {
    "as in training": {},
    "focus off by a further 1.5 µm": {"focus_error_um": 1.5},
    "focus off by a further 3 µm": {"focus_error_um": 3.0},
    "a lamp four times as uneven": {"illumination": 0.6},
    "four times the noise": {"noise": 4.0},
    "three times the cells": {"density_per_mm2": 2400.0},
}
LEVEL = 0.9
NEAR = 0.05


def made(folder: Path, number: int, changes: dict[str, float], views: int) -> None:
    """Simulate and stain one field, unless that has been done."""
    done = folder / "predicted" / f"field{number:05d}.ome.zarr"
    if done.exists():
        return
    scratch, truth = folder / "scratch", folder / "true" / done.name
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(truth, ignore_errors=True)
    settings, seed = held_out_settings(number)
    changed = dict(changes)
    if "focus_error_um" in changed:
        sign = 1 if settings.focus_error_um >= 0 else -1
        changed["focus_error_um"] = settings.focus_error_um + sign * changed["focus_error_um"]
    field = simulate_field(replace(settings, **changed), seed=seed)
    scratch.mkdir(parents=True)
    truth.parent.mkdir(parents=True, exist_ok=True)
    light = scratch / "brightfield.ome.zarr"
    write_field(field, scratch, only={"brightfield": light, "stains": truth})
    stain(str(light), out=str(scratch / "out.ome.zarr"), views=views)
    done.parent.mkdir(parents=True, exist_ok=True)
    (scratch / "out.ome.zarr").rename(done)
    shutil.rmtree(scratch)


def far_rows(folder: Path, args: argparse.Namespace, known: UncertaintyResult) -> list[list[str]]:
    """Return coverage and order of errors on fields under other conditions."""
    intervals = {one.name: one.interval for one in known.stains}
    rows = []
    for place, (name, changes) in enumerate(FAR.items()):
        here = folder / f"far{place}"
        for number in range(args.far):
            made(here, FAR_FIRST + number, changes, args.views)
        settings = UncertaintySettings(
            prediction=str(here / "predicted"), target=str(here / "true"), out=str(here / "report")
        )
        images = [
            listed_images(path, scene=None, axes=None, pattern=None, out=settings.out)
            for path in (settings.prediction, settings.target)
        ]
        fields = [look_at_pair(pair, settings) for pair in pair_fields(*images)[0]]
        shown = [name]
        for stain_name, interval in intervals.items():
            own = [one.stains[stain_name] for one in fields if stain_name in one.stains]
            spread, error = (
                np.concatenate([getattr(one, part) for one in own]) for part in ("spread", "error")
            )
            inside = coverage(interval, spread, error)
            shown.append(f"{inside:.0%} ({retention(spread, error).area:.2f})")
        rows.append(shown)
        print(*shown, sep=" | ", flush=True)
    return rows


def report(found: UncertaintyResult, far: list[list[str]], args: argparse.Namespace) -> None:
    names = [one.name for one in found.stains]
    within = [
        [one.name, f"{one.coverage.value:.0%} ({one.coverage.low:.0%} to {one.coverage.high:.0%})",
         *(f"{share:.0%}" for share in one.parts),
         "yes" if all(abs(s - LEVEL) <= NEAR for s in (one.coverage.value, *one.parts)) else "no"]
        for one in found.stains
    ]  # fmt: skip
    order = [
        [one.name, f"{one.spread.area:.2f}", f"{one.brightness.area:.2f}", "1.00",
         f"{one.spread.error[10] / one.spread.error[0]:.0%}", "yes" if one.orders else "no"]
        for one in found.stains
    ]  # fmt: skip
    write(
        "uncertainty.md",
        "\n\n".join([
            "# Is the model as sure as it says?",
            ("Written by `python benchmarks/uncertainty.py`. The demo model stains held-out fields of the simulator "
             f"(512 x 512 px, numbers from {FIRST}) as the mean of {args.views} views of each, mirrored and turned, and says how far they lie apart: the *spread*. "
             f"{found.fitted} fields say which interval of {LEVEL:.0%} goes with which spread, {found.held_back} others whether it holds. "
             "Pixels of the foreground only: where truth or prediction are above Otsu's threshold of the truth."),
            "## Do intervals of 90 % hold 90 %?",
            ("Share of the truth within; in brackets 95 %, fields drawn with replacement. Tenths of the pixels from the smallest spread to the largest. "
             "Wanted: 85 to 95 %, of all and of each tenth."),
            table(["stain", "all", *map(str, range(1, 11)), "reached"], within),
            "## Does the spread find errors?",
            ("Mean of the error-retention curve over that of leaving out pixels at random (1.00, what a constant says): the lower, the better the least sure pixels are the wrong ones. "
             "Beside it that of leaving out the brightest. *Half* is the error that is left without the less sure half. Wanted: better than both."),
            table(["stain", "spread", "brightness", "constant", "half", "reached"], order),
            "## Where the model was not trained",
            (f"{args.far} fields each under conditions outside of those of the training: share of the truth within the same intervals, and in brackets the area of the curve. "
             "Intervals hold on fields like those that they were fitted on; how far they are off elsewhere is shown, not promised."),
            table(["condition", *names], far),
            machine() + ".",
        ]) + "\n",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--far", type=int, default=8, help="fields of each other condition")
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--reference", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        for number in range(args.fields):
            made(folder, FIRST + number, {}, args.views)
        found = uncertainty(
            folder / "predicted", target=folder / "true", out=Path(scratch) / "report",
            calibrate=True, level=LEVEL,
        )  # fmt: skip
        print(found.text(), flush=True)
        if args.reference is not None:
            shutil.copy(Path(scratch) / "report" / DOUBT_FILE, args.reference)
        report(found, far_rows(folder, args, found), args)


if __name__ == "__main__":
    main()
