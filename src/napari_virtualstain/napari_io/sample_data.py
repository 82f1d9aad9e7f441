"""Sample images for *File > Open Sample*: files like any others, made when first asked for."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from napari_virtualstain.datasets.statistics import cache_folder
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.napari_io.layers import BELOW, LayerData, dimmed
from napari_virtualstain.napari_io.reader import open_layers
from napari_virtualstain.simulate import demo_settings, fingerprint, simulate_field

__all__ = ["demo_field", "sample_folder"]


def sample_folder() -> Path:
    """Return the folder of the demo field, simulated now if it is not there.

    It lies in the cache, under the fingerprint of the simulator. Where that cannot be
    written, it is made in a temporary folder.
    """
    name = "demo_field"
    folder = cache_folder() / "samples" / fingerprint()[:12] / name
    if folder.is_dir():
        return folder
    settings, seed = demo_settings()
    field = simulate_field(settings, seed=seed)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="virtualstain-sample-")) / name
        write_field(field, folder)
        return folder
    try:
        write_field(field, scratch / name)
        # Whole or not at all, also where two viewers ask at once.
        (scratch / name).rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def demo_field() -> list[LayerData]:
    """Return the demo field: three bright-field planes, and five true stains, hidden for now."""
    folder = sample_folder()
    below = open_layers(folder / "brightfield.ome.zarr")
    for _, keywords, _ in below:
        keywords["contrast_limits"] = dimmed(keywords["contrast_limits"], BELOW)
    above = open_layers(folder / "stains.ome.zarr")
    for _, keywords, _ in above:
        keywords["visible"] = False  # until they are compared with
    return [*below, *above]
