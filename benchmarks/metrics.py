"""Are predictions compared at the speed of the plain sums, and a plate in bounded memory?

    python benchmarks/metrics.py [--parts pixels,view,plate] [--repeats 5] [--fields 1536]

- ``pixels``: PCC, MAE and MSE of a pair of 2048 x 2048 px beside the plain NumPy sums, and SSIM
  beside ``skimage.metrics.structural_similarity``; torchmetrics and MONAI take part where they are
  installed. All in one process, interleaved, on one thread.
- ``view``: how often a second the numbers of a region of 512 x 512 px can be given.
- ``plate``: fields of 512 x 512 px with five stains, one after the other: image metrics and nuclei,
  and the memory above that of the first ten.

Writes ``docs/benchmarks/metrics.md``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from _report import machine, peak_memory_mb, table, write
from skimage.metrics import structural_similarity

from napari_virtualstain import simulate
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.jobs.compare import compare_planes
from napari_virtualstain.jobs.compare_objects import compare_objects
from napari_virtualstain.jobs.found_objects import Sought
from napari_virtualstain.metrics.multiscale import MultiScale
from napari_virtualstain.metrics.pixel import data_range
from napari_virtualstain.metrics.spectrum import SpectralAgreement
from napari_virtualstain.metrics.strips import Comparison
from napari_virtualstain.metrics.structure import local_ssim

Pair = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def pair(edge: int) -> Pair:
    rng = np.random.default_rng(0)
    truth = rng.normal(1000, 100, (edge, edge)).astype(np.float32)
    return (truth + rng.normal(0, 50, truth.shape)).astype(np.float32), truth


# --- what is compared ------------------------------------------------------------------------------


def plain(p: Any, t: Any) -> tuple[float, ...]:
    """The sums as one writes them."""
    p, t = p.astype(np.float64).ravel(), t.astype(np.float64).ravel()
    apart = p - t
    a, b = p - p.mean(), t - t.mean()
    return (
        float(a @ b / np.sqrt((a @ a) * (b @ b))),
        float(np.abs(apart).mean()),
        float(apart @ apart / apart.size),
    )


def ours(p: Any, t: Any) -> tuple[float, ...]:
    compared = Comparison()
    compared.add(p, t)
    return compared.pearson, compared.mae, compared.mse


def theirs_ssim(p: Any, t: Any) -> tuple[float, ...]:
    span = data_range(t)
    _, local = structural_similarity(
        p.astype(np.float64), t.astype(np.float64), win_size=7, data_range=span, full=True
    )
    return (float(local.mean()),)


def our_ssim(p: Any, t: Any) -> tuple[float, ...]:
    return (float(local_ssim(p, t, range_=data_range(t), fill=0.0).mean()),)


def our_scales(p: Any, t: Any) -> tuple[float, ...]:
    found = MultiScale(range_=data_range(t), fill=0.0)
    found.add(p, t)
    return (found.value,)


def our_bands(p: Any, t: Any) -> tuple[float, ...]:
    found = SpectralAgreement(t.shape)
    found.add(p, t)
    return found.correlation


def peers() -> dict[str, Callable[[Any, Any], tuple[float, ...]]]:
    found: dict[str, Callable[[Any, Any], tuple[float, ...]]] = {}
    try:
        import torch
        from torchmetrics.functional.image import structural_similarity_index_measure

        def of_torchmetrics(p: Any, t: Any) -> tuple[float, ...]:
            a, b = (torch.from_numpy(own)[None, None] for own in (p, t))
            span = float(b.max() - b.min())
            value = structural_similarity_index_measure(
                a, b, gaussian_kernel=False, kernel_size=7, data_range=span
            )
            return (float(value),)

        found["SSIM, torchmetrics"] = of_torchmetrics
    except ImportError:
        pass
    try:
        import torch
        from monai.metrics import SSIMMetric

        def of_monai(p: Any, t: Any) -> tuple[float, ...]:
            a, b = (torch.from_numpy(own)[None, None] for own in (p, t))
            measure = SSIMMetric(
                2, data_range=float(b.max() - b.min()), kernel_type="uniform", win_size=7
            )
            return (float(measure(a, b)[0, 0]),)

        found["SSIM, MONAI"] = of_monai
    except ImportError:
        pass
    return found


def pixels(options: argparse.Namespace) -> str:
    methods = {
        "PCC, MAE, MSE: plain NumPy": plain, "PCC, MAE, MSE: ours": ours,
        "SSIM, scikit-image": theirs_ssim, "SSIM, ours": our_ssim, **peers(),
        "MS-SSIM, ours": our_scales, "bands of frequency, ours": our_bands,
    }  # fmt: skip
    limits = {name: name if "NumPy" in name else "SSIM, scikit-image" for name in methods}
    limits["PCC, MAE, MSE: ours"] = "PCC, MAE, MSE: plain NumPy"
    both = pair(2048)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    values = {}
    for _ in range(options.repeats):
        for name, method in methods.items():
            began = time.perf_counter()
            values[name] = method(*both)
            seconds[name].append(time.perf_counter() - began)
    wanted = {
        "PCC, MAE, MSE: ours": "at most 1.5",
        "SSIM, ours": "at most 0.5, equal to 1e-6",
    }  # fmt: skip
    rows = []
    for name, times in seconds.items():
        beside = limits[name]
        ratios = [a / b for a, b in zip(times, seconds[beside], strict=True)]
        apart = max(abs(a - b) for a, b in zip(values[name], values[beside], strict=False))
        alike = name.split(":")[0].split(",")[0] == beside.split(":")[0].split(",")[0]
        rows.append((
            name, f"{statistics.median(times):.3f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            f"{apart:.1g}" if alike else "-", wanted.get(name, "-"),
        ))  # fmt: skip
    return f"""## A pair of 2048 x 2048 px, one stain

{options.repeats} interleaved repetitions, median (smallest to largest); float32 pictures. The ratio is to the plain NumPy sums for PCC, MAE and MSE,
to scikit-image for all others.

{table(("method", "time (s)", "ratio", "largest difference", "wanted"), rows)}
"""


def image(stains: Any, names: tuple[str, ...]) -> LazyImage:
    """Return (C, Y, X) as an image."""
    return LazyImage(data=da.from_array(stains[None, :, None]), channels=tuple(map(Channel, names)))


def view(options: argparse.Namespace) -> str:
    p, t = pair(512)
    times = []
    for _ in range(max(options.repeats, 5)):
        began = time.perf_counter()
        ours(p, t)
        our_ssim(p, t)
        times.append(time.perf_counter() - began)
    rate = 1 / statistics.median(times)
    whole = []
    for _ in range(max(options.repeats, 5)):
        began = time.perf_counter()
        compare_planes(
            image(p[None], ("DNA",)), image(t[None], ("DNA",)), None, ("DNA", "DNA"), 0, 0
        )
        whole.append(time.perf_counter() - began)
    rows = [
        ("PCC, MAE, MSE, PSNR, SSIM", f"{rate:.0f}", "20"),
        ("all that `evaluate` says of a stain", f"{1 / statistics.median(whole):.0f}", "-"),
    ]
    return f"""## A region of 512 x 512 px, one stain

{table(("numbers", "times a second", "wanted"), rows)}
"""


def plate(options: argparse.Namespace) -> str:
    names = simulate.STAINS
    made = simulate.simulate_field(simulate.held_out_settings(1)[0], seed=1)
    truth = np.asarray(made.stains[0], np.float32)
    base, times = 0.0, []
    rng = np.random.default_rng(0)
    for number in range(options.fields):
        # Every field has pixels of its own, as it would from a disk.
        true = truth + rng.normal(0, 20, truth.shape).astype(np.float32)
        predicted = true + rng.normal(0, 40, truth.shape).astype(np.float32)
        began = time.perf_counter()
        both = image(predicted, names), image(true, names)
        for name in names:
            compare_planes(*both, None, (name, name), 0, 0)
        compare_objects(*both, Sought(nuclei=("DNA", "DNA"), diameter_px=(8 / 0.6, 30 / 0.6)))
        times.append(time.perf_counter() - began)
        if number == 9:
            base = peak_memory_mb()
    rows = [
        (
            options.fields, f"{truth.shape[1]} x {truth.shape[2]}", f"{statistics.median(times):.2f}",
            f"{sum(times) / 60:.1f}", f"{base:.0f}", f"{peak_memory_mb() - base:.0f}",
        )
    ]  # fmt: skip
    header = (
        "fields", "px", "s a field", "minutes in all", "memory after 10 (MB)", "above that (MB)"
    )  # fmt: skip
    return f"""## A plate: image metrics of five stains and nuclei, field by field

{table(header, rows)}
"""


PARTS = {"pixels": pixels, "view": view, "plate": plate}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fields", type=int, default=384 * 4)
    options = parser.parse_args()
    text = [PARTS[name](options) for name in options.parts.split(",")]
    write(
        "metrics.md",
        f"""# Are predictions compared fast, and plates in bounded memory?

Written by `python benchmarks/metrics.py --parts {options.parts} --repeats {options.repeats} --fields {options.fields}`.

{chr(10).join(text)}
{machine()}.
""",
    )


if __name__ == "__main__":
    main()
