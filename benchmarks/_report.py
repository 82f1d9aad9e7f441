"""What every benchmark writes down: where and with what it ran, and a table."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

REPORTS = Path(__file__).parent.parent / "docs" / "benchmarks"


def data_root(given: str | None) -> Path:
    """Return the folder of real images, named by --data or NVS_REALDATA."""
    named = given or os.environ.get("NVS_REALDATA")
    if not named:
        raise SystemExit("error: Name the folder of real images by --data or NVS_REALDATA.")
    return Path(named)


def processor() -> str:
    """Return the model of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def arithmetic() -> str:
    """Return what the processor computes with, on which figures depend as much as on its name."""
    import torch

    kind = torch.backends.cpu.get_cpu_capability()
    flags = Path("/proc/cpuinfo")
    known = flags.read_text(encoding="utf-8") if flags.exists() else ""
    return f"{kind}{' with bfloat16' if 'avx512_bf16' in known or 'amx_bf16' in known else ''}"


def pace() -> float:
    """Return how long this machine takes to add up ten million numbers in Python, in seconds."""
    began = time.perf_counter()
    total = 0
    for number in range(10_000_000):
        total += number
    return time.perf_counter() - began


def machine() -> str:
    """Return processor, threads and versions in a sentence."""
    import torch

    found = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-image"))
    return (
        f"{processor()} ({arithmetic()}; ten million additions in Python take {pace():.2g} s), "
        f"{os.cpu_count()} cores, {torch.get_num_threads()} torch thread(s), {platform.system()}, Python {platform.python_version()}, {found}"
    )


def peak_memory_mb() -> float:
    """Return the largest memory of this process so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def write(name: str, text: str) -> None:
    """Print a report and keep it in the documentation."""
    print(text)
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / name).write_text(text.rstrip() + "\n", encoding="utf-8")
