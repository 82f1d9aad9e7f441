"""Note which programs among the weights of others this user trusts.

A TorchScript module is a program. Whoever imports one says that its maker is trusted, and that is
noted here by the sha256 of the file, beside the user's models and not in the card: a card
travels with the file that it would vouch for.
"""

from __future__ import annotations

from pathlib import Path

from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.zoo import models_folder

__all__ = ["is_trusted", "trust"]


def _noted() -> Path:
    return models_folder() / "trusted.txt"


def is_trusted(sha256: str) -> bool:
    """Return whether a file was said to be trusted by this user.

    Parameters
    ----------
    sha256
        Of the file.
    """
    path = _noted()
    return path.is_file() and sha256 in path.read_text(encoding="utf-8").split()


def trust(sha256: str) -> None:
    """Note that a file is trusted."""
    path = _noted()
    if is_trusted(sha256):
        return
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{sha256}\n")
