"""What `doctor` looks at: versions, graphics card, display, memory, folders."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from napari_virtualstain.datasets.statistics import cache_folder
from napari_virtualstain.io.disk import free_bytes
from napari_virtualstain.jobs.doctor import Check, Examine
from napari_virtualstain.zoo import models_folder

if TYPE_CHECKING:
    from napari_virtualstain.inference.device import TorchFacts

__all__ = ["CHECKS", "graphics", "write_speed"]

_PACKAGES = ("napari-virtualstain", "torch", "numpy", "zarr", "dask", "distributed", "napari")
_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_SMALL_CARD = 2_000_000_000
"""Bytes that should be free on a card: a network, its tile, and what CUDA itself takes."""
_SMALL_MEMORY, _SMALL_DISK, _FULL_DISK = 2e9, 2e9, 1e8
_SLOW = 20e6
"""Bytes a second below which writing takes longer than staining."""
_BLOCK, _WRITTEN, _SECONDS = 8 << 20, 64 << 20, 2.0


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _python() -> Check:
    found = f"{platform.python_version()} ({platform.python_implementation()})"
    return Check(name="Python", status="ok", found=found)


def _system() -> Check:
    return Check(name="System", status="ok", found=f"{platform.platform()}, {platform.machine()}")


def _processor() -> Check:
    from napari_virtualstain.inference.device import thread_count

    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    found = f"{cores} cores, {os.cpu_count()} logical; torch uses {thread_count()} threads"
    return Check(name="Processor", status="ok", found=found)


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"
    if memory.available < _SMALL_MEMORY:
        advice = "Close other programs, or use a smaller --tile."
        return Check(name="Memory", status="warning", found=found, advice=advice)
    return Check(name="Memory", status="ok", found=found)


def _versions() -> Check:
    known = [f"{name} {_installed(name) or 'not installed'}" for name in _PACKAGES]
    known += [f"{name} {found}" for name in _BINDINGS if (found := _installed(name))]
    return Check(name="Versions", status="ok", found=", ".join(known))


def _card() -> Check:
    from napari_virtualstain.inference.device import describe_torch, wake_device

    check = graphics(describe_torch(), _driver(), built_in=_built_in())
    if check.status == "ok":
        wake_device()  # it is there; does it compute?
    return check


def graphics(torch: TorchFacts, driver: tuple[str, str] | None, *, built_in: bool = False) -> Check:
    """Say which graphics card is used, or why none.

    Parameters
    ----------
    torch
        What torch sees.
    driver
        Name of the first NVIDIA card and the CUDA version that its driver allows, `None`
        without a driver.
    built_in
        Whether an NVIDIA card is in the machine, as far as that can be seen without a driver.
    """
    name = "Graphics card"
    if torch.cuda_devices:
        found = f"{', '.join(torch.cuda_devices)} (CUDA {torch.cuda})"
        if torch.memory is None:
            return Check(name=name, status="ok", found=found)
        free, whole = torch.memory
        found += f", {free / 1e9:.1f} GB free of {whole / 1e9:.1f} GB"
        if free >= _SMALL_CARD:
            return Check(name=name, status="ok", found=found)
        advice = (
            "Close other programs that use the card (nvidia-smi lists them), or stain with "
            "--device cpu."
            if whole >= 2 * _SMALL_CARD
            else "It is small: use a smaller --tile, or stain with --device cpu."
        )
        return Check(name=name, status="warning", found=found, advice=advice)
    if torch.mps:
        return Check(name=name, status="ok", found="Apple graphics (MPS)")
    if driver is None and built_in:
        then = ", then a CUDA build of torch, as pytorch.org shows it" if torch.cuda is None else ""
        return Check(
            name=name,
            status="warning",
            found="an NVIDIA card is in this machine and is not used: its driver is missing "
            "(nvidia-smi). Staining runs on the processor",
            advice=f"Install NVIDIA's driver for this system{then}.",
        )
    if torch.cuda is None and driver is None:
        found = (
            "none used: torch is a build without CUDA, and there is no NVIDIA driver. "
            "Staining runs on the processor"
        )
        return Check(name=name, status="ok", found=found)
    if torch.cuda is None and driver is not None:
        return Check(
            name=name,
            status="warning",
            found=f"{driver[0]} is not used: torch {torch.version} is a build without CUDA",
            advice="Install a CUDA build of torch, as pytorch.org shows it for this system.",
        )
    if driver is None:
        return Check(
            name=name,
            status="warning",
            found=f"none used: torch is built for CUDA {torch.cuda}, but there is no NVIDIA driver "
            "(nvidia-smi). Staining runs on the processor",
            advice="Install the driver if the machine has an NVIDIA card; otherwise do nothing.",
        )
    if _numbers(driver[1]) < _numbers(torch.cuda or ""):
        return Check(
            name=name,
            status="warning",
            found=f"{driver[0]} is not used: torch needs CUDA {torch.cuda}, its driver allows "
            f"{driver[1]}",
            advice="Update the NVIDIA driver, or install a torch that is built for an older CUDA.",
        )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in {"", "-1"}:
        return Check(
            name=name,
            status="warning",
            found=f"{driver[0]} is not used: CUDA_VISIBLE_DEVICES={hidden!r} hides it",
            advice="Take this variable out of the environment, and start again.",
        )
    return Check(
        name=name,
        status="warning",
        found=f"{driver[0]} is not used: {torch.cuda_error or 'torch does not say why'}",
        advice="Restart the machine, see whether CUDA_VISIBLE_DEVICES hides the card, and "
        "install torch again.",
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _built_in(bus: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Return whether Linux sees a graphics card of NVIDIA; elsewhere nobody is asked."""
    for place in bus.glob("*"):
        try:
            maker, kind = ((place / name).read_text().strip() for name in ("vendor", "class"))
        except (OSError, ValueError):
            continue
        if maker == "0x10de" and kind.startswith("0x03"):
            return True
    return False


def _driver() -> tuple[str, str] | None:
    """Ask the driver, not torch; see `graphics`."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        shown, listed = (
            subprocess.run(
                [program, *more], capture_output=True, text=True, timeout=10, check=True,
                creationflags=flags,
            ).stdout
            for more in ([], ["-L"])
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    allowed = re.search(r"CUDA Version:\s*([\d.]+)", shown)
    card = re.search(r"GPU 0: (.*?)(?: \(UUID|$)", listed, re.MULTILINE)
    if card is None:
        return None
    return card[1], allowed[1] if allowed else ""


def _display() -> Check:
    bindings = [f"{name} {found}" for name in _BINDINGS if (found := _installed(name))]
    missing = [n for n, there in (("napari", _installed("napari")), ("Qt", bindings)) if not there]
    if missing:
        return Check(
            name="Display",
            status="warning",
            found=f"{' and '.join(missing)} not installed: only the command line works",
            advice='To have a viewer, `pip install "napari[pyqt6]"`.',
        )
    if sys.platform in ("win32", "darwin"):
        return Check(name="Display", status="ok", found=f"{sys.platform}, {', '.join(bindings)}")
    known = {n: os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    found = ", ".join(f"{name}={value}" for name, value in known.items() if value)
    if not known["DISPLAY"] and not known["WAYLAND_DISPLAY"]:
        return Check(
            name="Display",
            status="warning",
            found="neither DISPLAY nor WAYLAND_DISPLAY is set: no window can open",
            advice="Log in with a desktop or `ssh -X`, or use the command line.",
        )
    return Check(name="Display", status="ok", found=f"{found}; {', '.join(bindings)}")


def _folders() -> Iterator[Check]:
    """Look at the folders that runs write to; the speed of a disk is measured once."""
    speeds: dict[int, float] = {}
    places = {
        "Cache folder": cache_folder(),
        "Models folder": models_folder(),
        "Temporary folder": Path(tempfile.gettempdir()),
    }
    for name, folder in places.items():
        yield _folder(name, folder, speeds)


def _folder(name: str, folder: Path, speeds: dict[int, float]) -> Check:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        disk = there.stat().st_dev
        # Whether it may be written is asked of each folder, the speed once a disk.
        speed = write_speed(there, _BLOCK if disk in speeds else _WRITTEN)
        speed = speeds.setdefault(disk, speed)
    except OSError as error:
        return Check(
            name=name,
            status="problem",
            found=f"{folder}: cannot be written ({error.strerror or error})",
            advice=f"Give yourself the right to write there, or set {_override(name)}.",
        )
    free = free_bytes(there)
    found = f"{folder}: {free / 1e9:.1f} GB free, {speed / 1e6:.0f} MB/s"
    if free < _FULL_DISK:
        return Check(name=name, status="problem", found=found, advice="Make room on this disk.")
    if free < _SMALL_DISK:
        return Check(name=name, status="warning", found=found, advice="Make room on this disk.")
    if speed < _SLOW:
        advice = "Writing will take longer than staining; use a faster disk."
        return Check(name=name, status="warning", found=found, advice=advice)
    return Check(name=name, status="ok", found=found)


def _override(name: str) -> str:
    known = {"Cache folder": "NVS_CACHE", "Models folder": "NVS_MODELS"}
    return f"{known.get(name, 'TMPDIR')} to another folder"


def write_speed(folder: Path, size: int = _WRITTEN, *, seconds: float = _SECONDS) -> float:
    """Return how many bytes a second reach the disk.

    Parameters
    ----------
    folder
        Where a file is written and removed.
    size
        Bytes to write.
    seconds
        After which no more is written.

    Raises
    ------
    OSError
        If nothing can be written there.
    """
    block = os.urandom(_BLOCK)  # zeros would be left out by a disk that compresses
    written = 0
    began = time.perf_counter()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".virtualstain-") as file:
        while written < size and time.perf_counter() - began < seconds:
            written += file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return written / max(time.perf_counter() - began, 1e-9)


CHECKS: dict[str, Examine] = {
    "Python": _python,
    "System": _system,
    "Versions": _versions,
    "Processor": _processor,
    "Memory": _memory,
    "Graphics card": _card,
    "Display": _display,
    "Folders": _folders,
}
"""What is looked at, by name, in order."""
