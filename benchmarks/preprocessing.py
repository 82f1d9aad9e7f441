"""Light, focus, quality of planes and the passport against simulated truth, and a real stack.

Run: ``python benchmarks/preprocessing.py [--data FOLDER]``. The folder of real images, also
named by NVS_REALDATA, is optional.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
from _report import processor, table, write

from napari_virtualstain import open_image, passport
from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.focused import stack_profile
from napari_virtualstain.datasets.light import corrected_planes
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.preprocessing.focus import MEASURES, FocusProfile, focus_profile
from napari_virtualstain.preprocessing.focus_calibration import calibrated_direction
from napari_virtualstain.preprocessing.illumination_fit import fit_illumination
from napari_virtualstain.preprocessing.in_focus import best_plane, in_focus_range
from napari_virtualstain.preprocessing.quality import noise_level, plane_quality
from napari_virtualstain.simulate import FieldSettings, held_out_settings, simulate_field
from napari_virtualstain.simulate.camera import shading

FIELD = (256, 256)
COUNTS = (1, 4, 16, 32)
PLANES_UM = tuple(float(z) for z in range(-8, 9, 2))
ERRORS_UM = (-2.0, 0.0, 2.0)
SEEDS = 4
DENSITIES = (100, 600, 1200, 2400)
"""Cells a mm², from sparse to one beside the other."""
PASSPORTS = 8
DEFECTS: dict[str, dict[str, float]] = {
    "as in training": {},
    "three times the noise": {"noise": 3.0},
    "without noise": {"noise": 0.0},
    "light that falls by 60 %": {"illumination": 0.6},
    "8 µm out of focus": {"focus_error_um": 8.0},
    "few cells": {"density_per_mm2": 20.0},
}
"""What is changed in simulated fields."""
SEEN = 9
"""Plane of the real stack whose edges lie best on those of its stains."""


def fields(count: int) -> dict[str, list[np.ndarray]]:
    """Return bright field in focus and the nuclear stain of simulated fields, evenly lit."""
    found: dict[str, list[np.ndarray]] = {"bright field": [], "nuclear stain": []}
    for seed in range(count):
        settings = FieldSettings(
            shape_px=FIELD, focus_offsets_um=(0.0,), illumination=0.0, density_per_mm2=600
        )
        field = simulate_field(settings, seed=1000 + seed)
        found["bright field"].append(np.squeeze(field.brightfield).astype(float))
        found["nuclear stain"].append(np.squeeze(field.stains[0, 0]).astype(float))
    return found


def light_error(planes: list[np.ndarray], light: np.ndarray) -> tuple[float, float, float | None]:
    """Return error inside and in the corners in percent, and what the function says of itself."""
    function = fit_illumination(plane * light for plane in planes)
    off = function.values() / light
    off = 100 * (off / np.median(off) - 1)
    rim = FIELD[0] // 8
    inside = off[rim:-rim, rim:-rim]
    corners = np.array([off[0, 0], off[0, -1], off[-1, 0], off[-1, -1]])
    return float(inside.std()), float(np.abs(corners).max()), function.uncertainty_percent


def light_table() -> str:
    light = shading(FIELD, amplitude=0.2, rng=np.random.default_rng(3))
    rows = []
    for kind, planes in fields(max(COUNTS)).items():
        for count in COUNTS:
            inside, corner, says = light_error(planes[:count], light)
            said = "" if says is None else f"{says:.1f} %"
            rows.append((kind, count, f"{inside:.1f} %", f"{corner:.1f} %", said))
    header = ("planes", "fields", "error (SD), without the rim", "worst corner", "says of itself")
    return table(header, rows)


def stacks() -> list[tuple[str, int, FocusProfile]]:
    """Return kind of light, plane in focus and profile of simulated stacks."""
    found = []
    for seed in range(SEEDS):
        for error in ERRORS_UM:
            settings = FieldSettings(
                shape_px=(160, 160), focus_offsets_um=PLANES_UM, stain_offsets_um=PLANES_UM,
                focus_error_um=error, density_per_mm2=900,
            )  # fmt: skip
            field = simulate_field(settings, seed=2000 + seed)
            truth = round(4 - error / 2)
            found.append(("bright field", truth, focus_profile(np.squeeze(field.brightfield))))
            found += [("five stains", truth, focus_profile(stack)) for stack in field.stains[0]]
    return found


def focus_tables(found: list[tuple[str, int, FocusProfile]]) -> tuple[str, str]:
    rows, ranges = [], []
    for kind in dict.fromkeys(one for one, *_ in found):
        mine = [(truth, profile) for one, truth, profile in found if one == kind]
        learnt = calibrated_direction([mine[0][1]], [mine[0][0]])
        for measure in MEASURES:
            alone = [best_plane(p, measure=measure).index for _, p in mine]
            taught = [best_plane(p, measure=measure, direction=learnt).index for _, p in mine[1:]]
            rows.append(
                (
                    kind, measure, {1: "largest", -1: "smallest"}.get(learnt.get(measure, 0), "not told"),
                    hits(alone, [t for t, _ in mine]), hits(taught, [t for t, _ in mine[1:]]),
                )
            )  # fmt: skip
        kept = [in_focus_range(p, direction=learnt) for _, p in mine]
        holds = sum(r.start <= t < r.stop for r, (t, _) in zip(kept, mine, strict=True))
        lengths = [len(r) for r in kept]
        ranges.append((kind, f"{holds} of {len(mine)}", f"{min(lengths)} to {max(lengths)}"))
    header = (
        "stack",
        "measure",
        "in focus it is",
        "within one plane, stack alone",
        "direction learnt",
    )
    return table(header, rows), table(
        ("stack", "holds the plane in focus", "planes kept of 9"), ranges
    )


def hits(found: list[int], truth: list[int]) -> str:
    good = sum(abs(a - b) <= 1 for a, b in zip(found, truth, strict=True))
    return f"{good} of {len(truth)}"


def real_table(folder: Path) -> str:
    stack = open_image(folder / "isl_neurons", channels=["PHASE_CONTRAST"])
    profile = stack_profile(stack)
    learnt = calibrated_direction([profile], [SEEN])
    rows = []
    for measure in MEASURES:
        alone, taught = (best_plane(profile, measure=measure, direction=d) for d in (None, learnt))
        rows.append(
            (
                measure, f"{alone.index} ({alone.direction_from}, {alone.confidence:.2f})",
                f"{taught.index} ({taught.confidence:.2f})" if measure in learnt else "teaches nothing",
            )
        )  # fmt: skip
    kept = in_focus_range(profile, direction=learnt)
    text = table(("measure", "stack alone (confidence)", f"plane {SEEN} named"), rows)
    return f"{text}\n\nIn focus by the slope, plane {SEEN} named: {kept.start} to {kept.stop - 1}."


def quality_tables() -> tuple[str, str]:
    """Return noise and the empty part beside what is known of simulated fields."""
    noise, empty = [], []
    for density in DENSITIES:
        found: dict[str, list[tuple[float, float]]] = {"noise": [], "bright field": [], "AGP": []}
        for seed in range(SEEDS):
            settings = FieldSettings(
                shape_px=FIELD, focus_offsets_um=(0.0,), density_per_mm2=density
            )
            field = simulate_field(settings, seed=3000 + seed)
            still = simulate_field(replace(settings, noise=0.0), seed=3000 + seed)
            plane = np.squeeze(field.brightfield)
            spread = plane.astype(float) - np.squeeze(still.brightfield)
            found["noise"].append((noise_level(plane), float(spread.std())))
            squares = np.squeeze(field.cells).reshape(FIELD[0] // 16, 16, FIELD[1] // 16, 16)
            bare = float((squares == 0).all(axis=(1, 3)).mean())
            agp = field.stains[0, settings.stain_names.index("AGP")]
            found["bright field"].append((plane_quality(plane).empty_fraction, bare))
            found["AGP"].append((plane_quality(np.squeeze(agp)).empty_fraction, bare))
        ratios = [measured / truth for measured, truth in found["noise"]]
        noise.append((density, f"{min(ratios):.2f} to {max(ratios):.2f}"))
        bare = np.mean([truth for _, truth in found["AGP"]])
        parts = (np.mean([measured for measured, _ in found[n]]) for n in ("bright field", "AGP"))
        empty.append((density, f"{bare:.0%}", *(f"{part:.0%}" for part in parts)))
    return table(("cells a mm²", "noise found / true"), noise), table(
        ("cells a mm²", "squares without a cell", "empty in bright field", "empty in AGP"), empty
    )


def passport_table() -> str:
    """Return what the passport of the demo model says of held-out fields with known defects."""
    rows = []
    for words, changed in DEFECTS.items():
        said: Counter[str] = Counter()
        verdicts: Counter[str] = Counter()
        for n in range(PASSPORTS):
            settings, seed = held_out_settings(n)
            planes = simulate_field(replace(settings, **changed), seed=seed).brightfield[0]
            um = settings.pixel_yx_um
            found = passport(
                LazyImage(
                    data=da.from_array(planes[None, None]),
                    channels=(Channel("Brightfield", "transmitted"),),
                    pixel_size_um=PixelSize(4.0, *um), z_positions_um=settings.focus_offsets_um,
                ),
                model="demo",
            )  # fmt: skip
            verdicts[found.status] += 1
            said.update(f"{c.name} {c.status}" for c in found.checks if c.status != "green")
        colours = ", ".join(f"{verdicts[c]} {c}" for c in ("green", "amber", "red") if verdicts[c])
        why = ", ".join(f"{name} ({count})" for name, count in said.most_common())
        rows.append((words, colours, why))
    return table(("fields", "verdict", "not green"), rows)


def seconds_table() -> str:
    """Return how long it takes to read a tile of three planes, as recorded and corrected."""
    pixels = np.random.default_rng(0).integers(500, 4000, (1, 1, 3, 2160, 2160)).astype(np.uint16)
    image = LazyImage(
        data=da.from_array(pixels, chunks=(1, 1, 1, 512, 512)), channels=(Channel("a"),)
    )
    function = fit_illumination([pixels[0, 0, 0].astype(float)])
    planes = InputPlanes(image, (0, 1, 2))
    even = corrected_planes(planes, [function] * 3)
    rows = []
    for edge in (512, 1024, 2048):
        region = (slice(40, 40 + edge), slice(60, 60 + edge))
        rows.append(
            (f"{edge} x {edge}", *(f"{1e3 * best_of(p, region):.0f} ms" for p in (planes, even)))
        )
    return table(("tile of 3 planes", "as recorded", "corrected"), rows)


def best_of(planes: InputPlanes, region: tuple[slice, slice]) -> float:
    def once() -> float:
        began = time.perf_counter()
        planes.read(0, region)
        return time.perf_counter() - began

    return min(once() for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of real images")
    named = parser.parse_args().data or os.environ.get("NVS_REALDATA")
    began = time.monotonic()
    light = light_table()
    simulated = stacks()
    focus, ranges = focus_tables(simulated)
    parts = [
        "# Light, focus and quality",
        "",
        f"`python benchmarks/preprocessing.py`; {processor()}.",
        "",
        "## Uneven light",
        "",
        f"Simulated fields of {FIELD[0]} px under one light that falls by 20 %, which is known.",
        "",
        light,
        "",
        "Correcting while a tile is read, from memory:",
        "",
        seconds_table(),
        "",
        "## The plane in focus",
        "",
        f"{SEEDS * len(ERRORS_UM)} simulated fields of 160 px in 9 planes, 2 µm apart, focus in one of",
        "the three middle planes. *Direction learnt*: from the first stack, whose focus was named.",
        "",
        focus,
        "",
        "## Planes in focus",
        "",
        "By the slope, with the direction learnt.",
        "",
        ranges,
    ]
    noise, empty = quality_tables()
    parts += [
        "",
        "## What a plane is like",
        "",
        f"{SEEDS} simulated bright fields of {FIELD[0]} px in focus for each density, against the same without noise:",
        "",
        noise,
        "",
        "Squares of 16 px without structure, beside those without any cell:",
        "",
        empty,
        "",
        "## The passport of known defects",
        "",
        f"{PASSPORTS} simulated fields that the demo model was not trained on, each changed in one way.",
        "",
        passport_table(),
    ]
    if named:
        parts += [
            "",
            "## Real phase contrast",
            "",
            "13 planes of neurons (in-silico labeling).",
            "",
        ]
        parts.append(real_table(Path(named)))
    parts += ["", f"All of it took {time.monotonic() - began:.0f} s."]
    write("preprocessing.md", "\n".join(parts))


if __name__ == "__main__":
    main()
