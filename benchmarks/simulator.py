"""How hard the simulated fields are: what the simplest predictors reach, and what noise allows.

    python benchmarks/simulator.py

writes ``docs/benchmarks/simulator.md`` and ``simulator.json``.  The *floor* of a
stain is the Pearson correlation of the best of three predictors that cannot see
context (a pixel-wise linear fit, a linear filter bank of 31 x 31 px, a CNN whose
receptive field is 3 x 3 px); the *ceiling* is that of the noise-free truth.  Each
predictor is fitted twice, on all pixels and on foreground pixels, and each
region counts the better of both.  `fit_floors` and `score_field` are importable.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import scipy
import torch
from _report import processor
from numpy.typing import NDArray
from scipy import fft, ndimage

from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.simulate import (
    STAINS,
    SimulatedField,
    demo_settings,
    fingerprint,
    held_out_settings,
    simulate_field,
    training_settings,
)

__all__ = ["Floors", "fit_floors", "foreground", "score_field", "summarise", "zscore"]

Array = NDArray[np.float32]
Predictor = Callable[[Array], Array]
KINDS = ("pixel linear", "wide linear", "3x3 CNN")
REGIONS = ("whole", "foreground")
WIDTH = 31  # px, edge of the linear filters
DILATION_PX = 4  # how far beyond the cells the foreground reaches


def zscore(images: NDArray[np.generic]) -> Array:
    """Return images (C, Y, X) with mean 0 and deviation 1 a channel over the field."""
    x = np.asarray(images, np.float32)
    mean, deviation = x.mean((-2, -1), keepdims=True), x.std((-2, -1), keepdims=True)
    return np.asarray((x - mean) / np.maximum(deviation, 1e-6), np.float32)


def foreground(field: SimulatedField) -> NDArray[np.bool_]:
    """Return where cells are (Y, X) at the first time point, dilated by 4 px."""
    return np.asarray(ndimage.binary_dilation(field.cells[0] > 0, iterations=DILATION_PX), bool)


@dataclass(frozen=True)
class Floors:
    """Fitted predictors, by kind and by the region that they were fitted on.

    Each maps z-scored planes (Z, Y, X) to stains (C, Y, X), up to scale.
    """

    predictors: dict[tuple[str, str], Predictor]

    def predict(self, planes: Array) -> dict[tuple[str, str], Array]:
        """Return the prediction (C, Y, X) of every predictor."""
        return {key: predictor(planes) for key, predictor in self.predictors.items()}


def _windows(
    planes: Array, mask: NDArray[np.bool_], width: int, n: int, seed: int
) -> tuple[Array, tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return windows (n, Z, width, width) round random pixels of a mask, and the pixels."""
    rng = np.random.default_rng(seed)
    spots = np.flatnonzero(mask)
    y, x = np.unravel_index(rng.choice(spots, min(n, len(spots)), replace=False), mask.shape)
    half = width // 2
    padded = np.pad(planes, ((0, 0), (half, half), (half, half)), mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, (width, width), axis=(1, 2))
    return views[:, y, x].transpose(1, 0, 2, 3), (y, x)


class _LeastSquares:
    """A linear filter bank, fitted field by field so that no large matrix is held."""

    def __init__(self, planes: int, width: int, *, ridge: float) -> None:
        self.planes, self.width, self.ridge = planes, width, ridge
        self.size = planes * width * width + 1
        self.gram = np.zeros((self.size, self.size))
        self.cross: Any = 0.0
        self.count = 0

    def add(self, features: Array, targets: Array) -> None:
        """Take in pixels: features (N, Z * width * width), targets (N, C)."""
        x = np.concatenate([features, np.ones((len(features), 1), np.float32)], 1)
        self.gram += x.T @ x
        self.cross = self.cross + x.T @ targets
        self.count += len(x)

    def solve(self) -> Predictor:
        """Return the fitted filters as a function of whole planes."""
        gram = self.gram.copy()
        gram[np.diag_indices(self.size - 1)] += self.ridge * self.count
        weights = np.linalg.solve(gram, np.asarray(self.cross)).astype(np.float32)
        kernels = weights[:-1].T.reshape(-1, self.planes, self.width, self.width)
        half = self.width // 2

        def apply(image: Array) -> Array:
            padded = np.pad(image, ((0, 0), (half, half), (half, half)), mode="reflect")
            spectrum = fft.rfft2(padded)
            shape = padded.shape[1:]
            out = []
            for bank in kernels:
                # Correlation: the conjugate of the kernel's spectrum, and no shift.
                product = (spectrum * np.conj(fft.rfft2(bank, s=shape))).sum(0)
                out.append(fft.irfft2(product, s=shape)[: image.shape[1], : image.shape[2]])
            return np.asarray(np.stack(out), np.float32)

        return apply


def _small_cnn(windows: Array, targets: Array, *, steps: int) -> Predictor:
    """Return a CNN with a 3 x 3 receptive field, trained on windows (N, Z, 3, 3)."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(windows.shape[1], 48, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(48, 48, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(48, targets.shape[1], 1),
    )
    x = torch.from_numpy(windows)
    y = torch.from_numpy(targets)[:, :, None, None]
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-2, total_steps=steps)
    for _ in range(steps):
        pick = torch.randint(0, len(x), (4096,))
        loss = torch.nn.functional.mse_loss(net(x[pick]), y[pick])
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        rate.step()

    def apply(image: Array) -> Array:
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="reflect")
        with torch.no_grad():
            return np.asarray(net(torch.from_numpy(padded)[None])[0].numpy(), np.float32)

    return apply


def fit_floors(
    fields: Sequence[SimulatedField], *, pixels_per_field: int = 2500, cnn_steps: int = 1500
) -> Floors:
    """Fit the context-free predictors on training fields.

    Parameters
    ----------
    fields : sequence of SimulatedField
        Training fields, first time point, 2-D stains.
    pixels_per_field : int
        Pixels drawn from each field, for each region.
    cnn_steps : int
        Adam steps of the small CNN, 4096 pixels each.

    Returns
    -------
    Floors
        Three predictors for each region of `REGIONS`.
    """
    predictors: dict[tuple[str, str], Predictor] = {}
    planes, half = fields[0].brightfield.shape[1], WIDTH // 2
    near = slice(half - 1, half + 2)
    for region in REGIONS:
        pixel = _LeastSquares(planes, 1, ridge=1e-6)
        wide = _LeastSquares(planes, WIDTH, ridge=1e-3)
        windows, values = [], []
        for i, field in enumerate(fields):
            image, stains = zscore(field.brightfield[0]), zscore(field.stains[0])
            mask = foreground(field) if region == "foreground" else np.ones(image.shape[1:], bool)
            if not mask.any():
                continue
            features, (y, x) = _windows(image, mask, WIDTH, pixels_per_field, i)
            targets = np.ascontiguousarray(stains[:, y, x].T)
            wide.add(features.reshape(len(y), -1), targets)
            pixel.add(features[:, :, half, half], targets)
            windows.append(features[:, :, near, near].copy())
            values.append(targets)
        predictors["pixel linear", region] = pixel.solve()
        predictors["wide linear", region] = wide.solve()
        predictors["3x3 CNN", region] = _small_cnn(
            np.concatenate(windows), np.concatenate(values), steps=cnn_steps
        )
    return Floors(predictors)


def score_field(floors: Floors, field: SimulatedField) -> dict[str, dict[str, list[float]]]:
    """Return the correlations of one field: region -> predictor or "ceiling" -> a value a stain."""
    guesses = floors.predict(zscore(field.brightfield[0]))
    stains, truth = field.stains[0], field.truth[0]
    masks = {"whole": np.ones(stains.shape[1:], bool), "foreground": foreground(field)}
    scores: dict[str, dict[str, list[float]]] = {}
    for region, mask in masks.items():
        rows: dict[str, list[float]] = {
            f"{kind} ({fitted})": [
                pearson(g[mask], s[mask])
                for g, s in zip(guesses[kind, fitted], stains, strict=True)
            ]
            for kind, fitted in guesses
        }
        rows["ceiling"] = [pearson(t[mask], s[mask]) for t, s in zip(truth, stains, strict=True)]
        scores[region] = rows
    return scores


def summarise(
    scores: Iterable[dict[str, dict[str, list[float]]]],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return region -> row -> stain -> mean over fields; a kind counts its better fit."""
    scores = list(scores)
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for region in REGIONS:
        mean = {
            row: np.mean([score[region][row] for score in scores], axis=0)
            for row in scores[0][region]
        }
        best = {kind: np.maximum(*(mean[f"{kind} ({r})"] for r in REGIONS)) for kind in KINDS}
        best["floor"] = np.max([best[kind] for kind in KINDS], axis=0)
        best["ceiling"] = mean["ceiling"]
        summary[region] = {
            row: {name: round(float(v), 4) for name, v in zip(STAINS, values, strict=True)}
            for row, values in best.items()
        }
    return summary


_PROBE = """
import resource
from time import perf_counter, process_time
from napari_virtualstain.simulate import FieldSettings, simulate_field
simulate_field(FieldSettings(shape_px=(64, 64)), seed=0)
start, begin = perf_counter(), process_time()
for seed in range(3):
    simulate_field(seed=seed)
wall, cpu = (perf_counter() - start) / 3, (process_time() - begin) / 3
print(wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _cost_of_a_field() -> tuple[float, float, float]:
    """Return seconds, seconds of the processor, and peak memory (MB) of a default field, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True
    )
    wall, cpu, peak = map(float, done.stdout.split())
    return wall, cpu, peak / (1024**2 if sys.platform == "darwin" else 1024)


def _table(summary: dict[str, dict[str, float]]) -> str:
    """Return one region as a Markdown table."""
    lines = [f"| predictor | {' | '.join(STAINS)} | mean |", "|---|" + "---:|" * (len(STAINS) + 1)]
    for row, values in summary.items():
        cells = [f"{values[name]:.3f}" for name in STAINS]
        mean = f"{np.mean([values[name] for name in STAINS]):.3f}"
        label = f"**{row}**" if row in ("floor", "ceiling") else row
        lines.append(f"| {label} | {' | '.join(cells)} | {mean} |")
    return "\n".join(lines)


def _page(report: dict[str, Any]) -> str:
    """Return the report as a Markdown page."""
    parts = [
        "# How hard the simulated fields are",
        (
            "Pearson correlation with the camera image of each stain, mean over held-out fields. "
            "The *floor* is the best of three predictors that see no context; each is fitted on all "
            "pixels and on foreground pixels, and each region counts the better of both fits. The "
            "*ceiling* is the noise-free stain. Foreground is the cells, dilated by "
            f"{DILATION_PX} px. Written by `python benchmarks/simulator.py`."
        ),
        (
            f"Fitted on {report['training_fields']} training fields (seeds 0 to "
            f"{report['training_fields'] - 1}), tested on {report['held_out_fields']} held-out fields "
            f"(seeds 100000 to {100_000 + report['held_out_fields'] - 1}: phenotypes and densities "
            "outside training)."
        ),
    ]
    for title, key in (("Held-out fields", "held_out"), ("The demo field", "demo")):
        for region in REGIONS:
            name = "whole field" if region == "whole" else "foreground"
            parts += [f"## {title}, {name}", _table(report[key][region])]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    parts += [
        "## Cost and provenance",
        (
            f"- One field of 512 x 512 px, 3 planes, 5 stains: {report['seconds_per_field']:.2f} s "
            f"({report['cpu_seconds_per_field']:.2f} s of one core), {report['peak_memory_mb']:.0f} MB at its peak, the interpreter included.\n"
            f"- This report: {report['seconds']:.0f} s. Processor: {report['cpu']}.\n"
            f"- Versions: {versions}.\n"
            f"- Simulator: `{report['fingerprint']}`."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Fit, score, and write the two reports."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    docs = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
    parser.add_argument("--training", type=int, default=36, help="training fields")
    parser.add_argument("--held-out", type=int, default=18, help="held-out fields")
    parser.add_argument("--out", type=Path, default=docs, help="folder of the reports")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = perf_counter()
    wall, cpu_seconds, peak = _cost_of_a_field()
    training = map(training_settings, range(arguments.training))
    floors = fit_floors([simulate_field(settings, seed=seed) for settings, seed in training])
    held_out = map(held_out_settings, range(arguments.held_out))
    scores = [
        score_field(floors, simulate_field(settings, seed=seed)) for settings, seed in held_out
    ]
    demo, demo_seed = demo_settings()
    report: dict[str, Any] = {
        "fingerprint": fingerprint(),
        "training_fields": arguments.training,
        "held_out_fields": arguments.held_out,
        "held_out": summarise(scores),
        "demo": summarise([score_field(floors, simulate_field(demo, seed=demo_seed))]),
        "seconds_per_field": round(wall, 3),
        "cpu_seconds_per_field": round(cpu_seconds, 3),
        "peak_memory_mb": round(peak),
        "seconds": round(perf_counter() - start),
        "cpu": processor(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "torch": torch.__version__,
        },
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2) + "\n"
    (arguments.out / "simulator.json").write_text(text, encoding="utf-8")
    page = _page(report)
    (arguments.out / "simulator.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
