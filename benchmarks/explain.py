"""How long does an explanation take, and is it one?

    python benchmarks/explain.py [--parts attention,click,sanity] [--size 1024] [--clicks 12]

- ``attention``: the token of a picture by ViT-S/8, exactly: the row of the last block (as in
  `embedding.py`), and the rollout through all blocks; time and memory, each in a process of its own.
- ``click``: how long `virtualstain explain` takes for a pixel with the demo model, in a process
  where the model is loaded and the field's grey values are known, as in the viewer: map by map, and
  in front of it the first click.
- ``sanity``: on simulated fields that the demo model has not seen, at pixels of nuclei: how alike
  each map is to that of random weights and of a shuffled picture, and on which planes stains depend.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _report import machine, peak_memory_mb, table, write

from embedding import attention
from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.explain.methods import METHODS
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.explain import ExplainSettings
from napari_virtualstain.jobs.explain import run as explain

PIXEL = tuple(name for name, spec in METHODS.items() if spec.of == "generator" and spec.pixel)


def row(options: argparse.Namespace) -> dict[str, Any]:
    return attention(options)


def rollout(options: argparse.Namespace) -> dict[str, Any]:
    edge = options.size
    encoder: Any = build_encoder("dino", in_channels=3, preset="paper")
    encoder.module().to(options.device)
    before = peak_memory_mb()
    picture = np.random.default_rng(0).normal(size=(1, 3, edge, edge)).astype(np.float32)
    began = time.monotonic()
    found = encoder.rollout(picture)
    return {
        "seconds": time.monotonic() - began, "before_mb": before, "peak_mb": peak_memory_mb(),
        "row_sum": float(found.sum(axis=-1).mean()),
    }  # fmt: skip


def attentions(options: argparse.Namespace) -> str:
    rows = []
    for worker, title in (("row", "row of the last block"), ("rollout", "rollout, all blocks")):
        words = ["--size", str(options.size), "--device", options.device, "--worker", worker]
        done = subprocess.run(
            [sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        rows.append(
            (
                title, f"{found['seconds']:.1f}", f"{found['before_mb']:.0f}",
                f"{found['peak_mb']:.0f}", f"{found['row_sum']:.6f}",
            )
        )  # fmt: skip
    header = ("map", "s", "memory before (MB)", "at most (MB)", "sum of the row")
    return f"""## Attention of {options.size} x {options.size} px by ViT-S/8

{table(header, rows)}

Random weights, which take as long as any. On `{options.device}`.
"""


def click(options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as name:
        (field,) = fields(Path(name), 1, options.field_px, seed=31)
        places = nuclei(field, options.clicks)
        out = str(Path(name) / "why.ome.zarr")

        def seconds(at: tuple[int, int], method: str, *, sanity: bool) -> float:
            began = time.perf_counter()
            explain(
                ExplainSettings(
                    input=str(field / "brightfield.ome.zarr"), out=out, at=at, method=(method,),
                    sanity=sanity, overwrite=True,
                )
            )  # fmt: skip
            return time.perf_counter() - began

        first = seconds(places[0], "gradient", sanity=True)
        rows = []
        for method in ("planes", *PIXEL):
            taken = {
                sanity: [seconds(at, method, sanity=sanity) for at in places]
                for sanity in (True, False)
            }
            rows.append(
                (
                    f"`{method}`", f"{statistics.median(taken[True]):.2f}", f"{max(taken[True]):.2f}",
                    f"{statistics.median(taken[False]):.2f}", f"{max(taken[False]):.2f}",
                )
            )  # fmt: skip
    header = (
        "map", "median (s)", "longest (s)", "without its sanity check: median (s)", "longest (s)",
    )  # fmt: skip
    return f"""## A click with the demo model

{options.clicks} pixels of a simulated field of {options.field_px} x {options.field_px} px, one after the other. The first of all took {first:.1f} s: the model is loaded, and the field's grey values
are measured.

{table(header, rows)}
"""


def sanity(options: argparse.Namespace) -> str:
    found: dict[str, list[tuple[float, float, str]]] = {name: [] for name in ("planes", *PIXEL)}
    needed: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        folders = fields(Path(name), options.fields, 256, seed=71)
        for folder in folders:
            for at in nuclei(folder, options.pixels):
                result = explain(
                    ExplainSettings(
                        input=str(folder / "brightfield.ome.zarr"), at=at, size=96,
                        out=str(Path(name) / "why.ome.zarr"), method=tuple(found), overwrite=True,
                        target=str(folder / "stains.ome.zarr"),
                    )
                )  # fmt: skip
                for one in result.maps:
                    if one.sanity:
                        found[one.method].append((*likenesses(one.sanity), one.verdict))
                    for plane in one.numbers.get("needed", ()):
                        needed[plane] = needed.get(plane, 0) + 1
    n = options.fields * options.pixels
    rows = []
    for method, seen in found.items():
        weights, picture, verdicts = zip(*seen, strict=True)
        rows.append(
            (
                f"`{method}`", f"{np.nanmedian(weights):.2f}", f"{np.nanmax(weights):.2f}",
                f"{np.nanmedian(picture):.2f}", f"{np.nanmax(picture):.2f}",
                *(sum(v == verdict for v in verdicts) for verdict in
                  ("depends", "partly", "same", "unknown")),
            )
        )  # fmt: skip
    header = (
        "map", "random weights: median", "highest", "shuffled picture: median", "highest",
        "depends", "with care", "do not read", "cannot be told",
    )  # fmt: skip
    said = ", ".join(f"{plane} at {count}" for plane, count in sorted(needed.items())) or "none"
    return f"""## Do maps of the demo model depend on what it learnt?

Spearman of each map with that of random weights and of a shuffled picture, at {n} pixels of nuclei of {options.fields} simulated fields that it was not trained on.

{table(header, rows)}

Planes that DNA needs, with the true stain as the yardstick: {said} of {n} places.
"""


def likenesses(said: str) -> tuple[float, float]:
    """Read both numbers off a sentence such as "... (Spearman 0.12 with random weights, ...)."."""
    numbers = [float(part.split()[0]) for part in said.split("Spearman ")[1:]]
    return (numbers[0], numbers[1])


def fields(folder: Path, n: int, px: int, *, seed: int) -> list[Path]:
    from napari_virtualstain.jobs.simulate import SimulateSettings, run

    return sorted(run(SimulateSettings(out=str(folder), size=px, fields=n, seed=seed)))


def nuclei(folder: Path, n: int) -> list[tuple[int, int]]:
    """Return pixels where the true DNA is among the brightest, spread over a field."""
    image = open_image(folder / "stains.ome.zarr")
    dna = image.data[0, image.channel_index("DNA"), 0].compute()
    y, x = np.nonzero(dna > np.quantile(dna, 0.95))
    inside = (np.minimum(y, x) > 32) & (np.maximum(y, x) < dna.shape[0] - 32)
    chosen = np.random.default_rng(0).choice(np.flatnonzero(inside), n, replace=False)
    return [(int(y[i]), int(x[i])) for i in chosen]


PARTS = {"attention": attentions, "click": click, "sanity": sanity}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--size", type=int, default=1024, help="edge of the picture of attention")
    parser.add_argument("--field-px", type=int, default=1024)
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--pixels", type=int, default=5, help="of each field")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--worker", choices=("row", "rollout"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps({"row": row, "rollout": rollout}[options.worker](options)))
        return
    text = [PARTS[name](options) for name in options.parts.split(",")]
    write(
        "explain.md",
        f"""# How long does an explanation take, and is it one?

Written by `python benchmarks/explain.py --parts {options.parts} --size {options.size} --clicks {options.clicks} --fields {options.fields} --pixels {options.pixels}`.
How to read the maps is on [their page](../explain.md).

{chr(10).join(text)}
{machine()}.
""",
    )


if __name__ == "__main__":
    main()
