"""How exactly a shift between bright field and stain is found, and what real pairs are said to be.

    python benchmarks/registration.py [--fields 12] [--data FOLDER]

Held-out simulated fields from number 100 up (lower ones are used elsewhere), 256 x 256 px, cut out of larger ones so that what
moves in is true. Each stain is moved by a shift drawn from -8 to 8 px along y and x (spline of order 5; the program
itself uses cubic convolution), its camera noise drawn anew where a picture is compared with itself. Real pairs (--data
or NVS_REALDATA) are measured as they are, and moved by a known shift on top. Writes
``docs/benchmarks/registration.md``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from _report import machine, table, write
from scipy import ndimage

from napari_virtualstain.jobs import pairs
from napari_virtualstain.jobs.pair_check import open_planes
from napari_virtualstain.jobs.pair_images import Images, Opening, StainPlace, join_stains
from napari_virtualstain.preprocessing.registration import apply_shift, estimate_shift
from napari_virtualstain.simulate import held_out_settings, simulate_field

FIRST, EDGE, BORDER = 100, 256, 16
MORE = (3.4, -2.7)
REAL = {
    "Phenix, dense monolayer": ("phenix/Version5", {}),
    "neurons, phase contrast": ("isl_neurons", {"stains": ("DAPI", "MAP2", "NFH"), "z": (9,)}),
    "budding yeast, 5 hours": (
        "yeast_timelapse/SL_180519_2_GR",
        {"channel": "c1", "stains": ("Mito", "GFP"), "match": ("Mito=c2", "GFP=c3")},
    ),
    "fission yeast, out of focus": ("formats/nd2", {}),
    "blood cells, 256 px": ("formats/ome_tiff", {}),
}
SIMULATED = (
    "Held-out fields {first} to {last} of the simulator, {edge} x {edge} px of 0.6 µm, of various density, focus, noise and obliqueness of "
    "the light; five stains, each as it is and moved by up to 8 px along y and x. The surest of three bright-field planes "
    "counts, as in `virtualstain pairs`. Errors are those of pairs that are not called ambiguous; *wrong* is aligned for "
    "shifted, or shifted for aligned. Shifts up to 1.5 px count as none, and one that is hardly larger is called a shift only where the error leaves no doubt."
)
MEASURED = (
    f"As they are, then moved by ({MORE[0]}, {MORE[1]}) px on top: the error is what the two measurements differ by beyond "
    "that. The truth is not known, but for the third channel of the budding yeast (GFP), which is shifted by 2 to 4 px."
)


def moved(picture: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """Return a picture that has to be moved by the shift to lie where it was."""
    return ndimage.shift(picture.astype(float), (-shift[0], -shift[1]), order=5, mode="reflect")


def inner(picture: np.ndarray) -> np.ndarray:
    return picture[BORDER:-BORDER, BORDER:-BORDER]


def row(name: str, errors: list[float], verdicts: list[str], wanted: list[str]) -> list[str]:
    right = sum(v == w for v, w in zip(verdicts, wanted, strict=True))
    unclear = verdicts.count("ambiguous")
    sure = [e for e, v in zip(errors, verdicts, strict=True) if v != "ambiguous"]
    shown = (
        [f"{np.median(sure):.2f}", f"{np.percentile(sure, 95):.2f}", f"{max(sure):.2f}"]
        if sure
        else ["-"] * 3
    )
    n = len(errors)
    return [name, n, *shown, f"{right} of {n}", unclear, n - right - unclear]


def simulated(n_fields: int) -> str:
    """Return the table of simulated fields."""
    rng = np.random.default_rng(FIRST)
    found: dict[str, list[tuple[float, str, str]]] = defaultdict(list)
    for index in range(FIRST, FIRST + n_fields):
        settings, seed = held_out_settings(index)
        field = simulate_field(replace(settings, shape_px=(EDGE + 2 * BORDER,) * 2), seed=seed)
        for c, stain in enumerate(field.stain_names):
            picture = field.stains[0, c]
            for size in (0.0, 8.0):
                true = tuple(rng.uniform(-size, size, 2)) if size else (0.0, 0.0)
                other = inner(moved(picture, true))
                # Without a shift both would hold the same noise: a second exposure is drawn.
                noise = np.sqrt(np.maximum(other - other.min(), 1.0)) * 0.5
                noisy = other + rng.normal(0, 1, other.shape) * noise
                wanted = "aligned" if np.hypot(*true) <= 1.5 else "shifted"
                for kind, fixed in (
                    ("the stain itself", [picture]),
                    (f"bright field, {stain}", list(field.brightfield[0])),
                ):
                    best = max(
                        (estimate_shift(inner(f), noisy) for f in fixed), key=lambda s: s.confidence
                    )
                    error = float(np.hypot(best.dy - true[0], best.dx - true[1]))
                    found[kind].append((error, best.verdict, wanted))
    rows = [row(kind, *map(list, zip(*some, strict=True))) for kind, some in found.items()]
    head = [
        "compared with",
        "pairs",
        "median error, px",
        "95 %, px",
        "largest, px",
        "verdict right",
        "ambiguous",
        "wrong",
    ]
    return table(head, rows)


def real(root: Path) -> str:
    """Return the table of real pairs: what they are said to be, and the error of a known shift on top."""
    rows = []
    for name, (where, told) in REAL.items():
        file = pairs.run(pairs.PairsSettings(input=str(root / where), **told)).file
        (pair,) = file.pairs
        images, how = Images(), Opening()
        planes = open_planes(
            pair.path,
            pair.scene,
            pair.channel,
            z=file.z,
            pixel_size_um=None,
            how=how,
            images=images,
        )
        stains = join_stains(
            {
                s: StainPlace(one.path, one.scene, one.channel, one.z)
                for s, one in pair.stains.items()
            },
            planes,
            how,
            images,
        )
        for c, stain in enumerate(pair.stains):
            shifts = [s for s in pair.registration if s.stain == stain]
            first = shifts[0]
            plane = file.z.index(first.plane) if file.z else first.plane
            fixed, picture = planes.data[0, 0, plane].compute(), stains.data[0, c, 0].compute()
            # Moved away, so that it has to be moved by MORE besides.
            again = estimate_shift(fixed, apply_shift(picture, (-MORE[0], -MORE[1])))
            error = np.hypot(again.dy - first.dy_px - MORE[0], again.dx - first.dx_px - MORE[1])
            lengths = [np.hypot(s.dy_px, s.dx_px) for s in shifts]
            verdicts = sorted({s.verdict for s in shifts})
            rows.append([
                name, stain, f"{min(lengths):.1f}" + (f" to {max(lengths):.1f}" if len(lengths) > 1 else ""),
                f"{first.confidence:.2f}", ", ".join(verdicts), f"{error:.2f}" if again.verdict != "ambiguous" else "-", again.verdict,
            ])  # fmt: skip
    head = [
        "pair",
        "stain",
        "shift, px",
        "confidence",
        "verdict",
        "error of the known shift, px",
        "verdict then",
    ]
    return table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=12)
    parser.add_argument("--data", default=os.environ.get("NVS_REALDATA"))
    chosen = parser.parse_args()
    began = time.monotonic()
    parts = [
        "# How exactly shifts are found",
        f"`python benchmarks/registration.py`: `estimate_shift` on pairs with a known shift, and on real pairs. {machine()}.",
        "## Simulated fields",
        SIMULATED.format(first=FIRST, last=FIRST + chosen.fields - 1, edge=EDGE),
        simulated(chosen.fields),
    ]
    if chosen.data:
        parts += [
            "## Real pairs",
            MEASURED,
            real(Path(chosen.data)),
        ]
    parts.append(f"Took {time.monotonic() - began:.0f} s.")
    write("registration.md", "\n\n".join(parts))


if __name__ == "__main__":
    main()
