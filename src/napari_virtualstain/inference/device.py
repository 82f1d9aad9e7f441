"""On which device a network runs, and with how many threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from napari_virtualstain.errors import SettingsError

__all__ = [
    "TorchFacts",
    "choose_device",
    "describe_torch",
    "has_bfloat16",
    "processors",
    "thread_count",
    "threads_set_to",
    "wake_device",
    "wake_meta",
]


def choose_device(wanted: str = "auto") -> str:
    """Return a torch device that is there.

    Parameters
    ----------
    wanted
        ``"auto"`` (CUDA, else Apple MPS, else CPU), ``"cpu"``, ``"cuda"``,
        ``"cuda:1"`` or ``"mps"``.

    Raises
    ------
    SettingsError
        If the device is unknown or not there.
    """
    has_mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, index = wanted.partition(":")
    if kind == "cpu" and not index:
        return wanted
    if kind == "mps" and not index and has_mps:
        return wanted
    if kind == "cuda" and (not index or index.isdigit()):
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) < found:
            return wanted
        raise SettingsError(
            f"Device {wanted!r} is not there: torch {torch.__version__} sees {found} CUDA "
            "device(s). Use --device cpu, or install a CUDA build of torch."
        )
    raise SettingsError(
        f"Device {wanted!r} is not known or not there. Use --device auto, cpu, cuda or mps."
    )


def has_bfloat16(device: str) -> bool:
    """Return whether a device computes in bfloat16 faster than in float32."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def processors() -> int:
    """Return on how many processors this process may run."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def thread_count() -> int:
    """Return the threads of a CPU operation; the last bits of a result depend on it."""
    return torch.get_num_threads()


@contextmanager
def threads_set_to(count: int | None) -> Iterator[None]:
    """Compute with so many threads in the block, to repeat what was computed with them.

    Parameters
    ----------
    count
        `None` to leave them as they are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_WAKING = threading.Lock()


def wake_meta() -> None:
    """Do the first operation on torch's meta device, on which plans are worked out: most of 1 s.

    It imports ``torch._dynamo``, which other threads may find half imported: whoever
    needs the device calls this before, and waits here for whoever is at it.
    """
    with _WAKING:
        torch.relu(torch.empty(1, device="meta"))


def wake_device() -> dict[str, Any]:
    """Compute something small on the device that ``auto`` means, and say what there is.

    The first operation on a device takes up to seconds (its context, its libraries).

    Returns
    -------
    dict
        ``device`` that ``auto`` means, ``devices`` from the name for a setting to
        that for people, ``threads`` and ``torch``.
    """
    device = choose_device()
    layer = torch.nn.Conv2d(1, 1, 3).to(device)
    with torch.inference_mode():
        layer(torch.zeros(1, 1, 16, 16, device=device)).sum().item()
    threads = thread_count()
    names = {"cpu": f"processor, {threads} thread{'s' * (threads > 1)}"}
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            names[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        names["mps"] = "Apple graphics"
    return {
        "device": device,
        "devices": names,
        "threads": thread_count(),
        "torch": str(torch.__version__),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchFacts:
    """What torch is and sees on this machine.

    Parameters
    ----------
    version
        Of torch.
    cuda
        Version of CUDA that it was built for, `None` for a build without.
    cuda_devices
        Names of the graphics cards that it can use.
    cuda_error
        Why it can use none although it was built for them, in its own words.
    mps
        Whether it can use Apple's graphics.
    threads
        Of an operation on the processor.
    memory
        Free and whole bytes of the first card, `None` where nobody can tell.
    """

    version: str
    cuda: str | None
    cuda_devices: tuple[str, ...]
    cuda_error: str
    mps: bool
    threads: int
    memory: tuple[int, int] | None = None


def describe_torch() -> TorchFacts:
    """Return what torch sees, without computing anything."""
    names: tuple[str, ...] = ()
    error = ""
    memory = None
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        names = tuple(torch.cuda.get_device_name(index) for index in range(count))
        with suppress(RuntimeError):
            memory = torch.cuda.mem_get_info(0)
    elif torch.version.cuda is not None:
        try:
            torch.zeros(1, device="cuda")
        except (RuntimeError, AssertionError) as problem:
            error = str(problem).strip().partition("\n")[0]
    return TorchFacts(
        version=str(torch.__version__),
        cuda=torch.version.cuda,
        cuda_devices=names,
        cuda_error=error,
        mps=torch.backends.mps.is_available(),
        threads=torch.get_num_threads(),
        memory=memory,
    )
