"""Where what can be made again is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["cache_folder", "keep_file"]


def cache_folder() -> Path:
    """Return the user's cache folder; `NVS_CACHE` overrides it."""
    override = os.environ.get("NVS_CACHE")
    return Path(override) if override else platformdirs.user_cache_path("napari-virtualstain")


def keep_file(path: Path, content: bytes) -> None:
    """Write a file of the cache in one step; a cache that cannot be written costs time only."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError:
        return
