"""Whether the demo model still predicts what it should, and a stain works from end to end."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from napari_virtualstain.io.image import Source
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs import stain
from napari_virtualstain.jobs.doctor import Check
from napari_virtualstain.jobs.replay_compare import TOLERANCE, compare_stores
from napari_virtualstain.jobs.simulate import write_field
from napari_virtualstain.simulate import FieldSettings, simulate_field
from napari_virtualstain.zoo import load_generator

__all__ = ["self_test"]

_EDGE, _TILE = 256, 128


def self_test() -> Check:
    """Repeat the test pair of the demo model, stain a field as one tile and as four, and compare.

    Raises
    ------
    VirtualStainError
        If the model or the stain does not work; the sentence is the finding.
    """
    began = time.perf_counter()
    load_generator("demo")  # repeats its test pair
    with tempfile.TemporaryDirectory(prefix="virtualstain-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        field = simulate_field(FieldSettings(shape_px=(_EDGE, _EDGE), n_cells=12), seed=1)
        write_field(field, place, only={"brightfield": place / "brightfield.ome.zarr"})
        image = open_image(place / "brightfield.ome.zarr")
        # Without an identity: nothing of it is worth remembering.
        image = replace(image, source=Source(path=image.source.path, kind=image.source.kind))
        seconds = {}
        for tile in (_TILE, _EDGE):
            settings = stain.StainSettings(
                input=str(place / "brightfield.ome.zarr"),
                out=str(place / f"{tile}.ome.zarr"),
                tile=tile,
            )
            seconds[tile] = stain.run(settings, image=image).seconds
        likeness = compare_stores(*(open_image(place / f"{t}.ome.zarr") for t in (_EDGE, _TILE)))
    pace = seconds[_EDGE] / (_EDGE**2 / 1e6)
    found = (
        f"the demo model repeats its test pair; {_EDGE} px stained at {pace:.1f} s a megapixel; "
        f"tiles differ from the whole by {likeness.relative:.1g} of the range; "
        f"{time.perf_counter() - began:.1f} s in all"
    )
    if not likeness.agrees:
        return Check(
            name="Self-test",
            status="problem",
            found=f"{found} (allowed {TOLERANCE:g})",
            advice="Do not trust stains of this machine; report it with the versions above.",
        )
    return Check(name="Self-test", status="ok", found=found)
