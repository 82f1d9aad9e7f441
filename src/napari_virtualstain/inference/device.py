"""On which device a network runs, and with how many threads."""

from __future__ import annotations

import torch

from napari_virtualstain.errors import SettingsError

__all__ = ["choose_device", "thread_count"]


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


def thread_count() -> int:
    """Return the threads of a CPU operation; the last bits of a result depend on it."""
    return torch.get_num_threads()
