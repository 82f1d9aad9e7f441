"""Predict the stains of an image and write them to an OME-Zarr."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.planes import fit_planes
from napari_virtualstain.datasets.statistics import image_statistics
from napari_virtualstain.inference.device import choose_device, thread_count
from napari_virtualstain.inference.engine import Stainer, stain_tiles
from napari_virtualstain.inference.memory import keep_freed_memory, release_freed_memory
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.sink import OmeZarrSink, check_output
from napari_virtualstain.jobs.base import Progress, versions
from napari_virtualstain.jobs.prepare import CHUNK, InputSettings, PreparedStain, prepare
from napari_virtualstain.tiling.plan import Tile

__all__ = ["StainResult", "StainSettings", "run"]


class StainSettings(InputSettings):
    """Settings of `virtualstain stain`."""

    out: str = Field(description="OME-Zarr to write, for example stain.ome.zarr")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    seed: int = Field(default=0, ge=0, description="random seed, for methods that draw")
    overwrite: bool = Field(default=False, description="replace the output if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class StainResult:
    """What a run came to."""

    out: Path
    stains: tuple[str, ...]
    shape: tuple[int, int, int, int, int]
    plan: str
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out),
            "stains": list(self.stains),
            "shape_tczyx": list(self.shape),
            "plan": self.plan,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }


def run(
    settings: StainSettings,
    *,
    image: LazyImage | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> StainResult:
    """Stain an image and write the result.

    Parameters
    ----------
    settings
        Of the run; kept in the output as its record.
    image
        See `prepare`.
    on_progress
        Told of blocks measured and tiles done.
    on_note
        Told what was guessed or assumed, before the first tile.

    Raises
    ------
    VirtualStainError
        If input, model or output cannot be used. A store that was begun is
        left valid and marked partial.
    """
    began = time.monotonic()
    out = Path(settings.out)
    check_output(out, inputs=[settings.input], overwrite=settings.overwrite)
    device = choose_device(settings.device)
    prepared = prepare(settings, image=image)
    for note in prepared.notes:
        if on_note is not None:
            on_note(note)
    model, planes, plan = prepared.model, prepared.planes, prepared.plan
    keep_freed_memory()
    model.generator.module().to(device)
    statistics = image_statistics(
        planes.image,
        quantiles=model.card.input_rule.quantiles,
        on_block=_stage(on_progress, "blocks measured"),
    )
    stainer = Stainer(
        generator=model.generator,
        planes=planes,
        inputs=fit_planes(planes, [row[0] for row in statistics], model.card.input_rule),
        outputs=tuple(stain.normalisation for stain in model.card.stains),
        halo=prepared.halo,
        ratios=prepared.ratios,
        seed=settings.seed,
    )
    n_t, _, _, height, width = planes.image.shape
    shape = (n_t, len(model.card.stains), 1, height, width)
    size = planes.image.pixel_size_um
    yx = (settings.pixel_size or size.y, settings.pixel_size or size.x)
    sink = OmeZarrSink.create(
        out,
        shape=shape,
        channels=[Channel(s.name, "fluorescence", s.colour) for s in model.card.stains],
        pixel_size_um=PixelSize(None, *yx),
        origin_um=_origin(planes.image),
        time_interval_s=planes.image.time_interval_s,
        chunks_yx=min(CHUNK, plan.core[0]),
        record=_record(settings, prepared, stainer, device),
        n_tiles=n_t * len(plan),
        overwrite=settings.overwrite,
        name=f"virtual stain ({model.card.name})",
    )

    def write(t: int, tile: Tile, stains: NDArray[np.float32]) -> None:
        # (C, y, x) -> (1, C, 1, y, x)
        region = (slice(t, t + 1), slice(0, shape[1]), slice(0, 1), *tile.write)
        sink.write(region, stains[None, :, None])
        sink.commit(t * len(plan) + tile.index)

    with sink:
        stain_tiles(stainer, plan, write, on_tile=_stage(on_progress, "tiles stained"))
        sink.finish({"seconds": round(time.monotonic() - began, 3)})
    release_freed_memory()
    return StainResult(
        out=out,
        stains=model.card.stain_names,
        shape=shape,
        plan=prepared.describe(),
        seconds=time.monotonic() - began,
        notes=prepared.notes,
    )


def _origin(image: LazyImage) -> tuple[float, float, float]:
    """Return where the stains lie: over the input, in the plane in focus if it is known."""
    z, y, x = image.origin_um
    # The origin is that of the first plane, which lies so far from focus.
    return (z - (image.z_positions_um[0] if image.z_positions_um else 0.0), y, x)


def _stage(on_progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(done, total, what)


def _record(
    settings: StainSettings, prepared: PreparedStain, stainer: Stainer, device: str
) -> dict[str, Any]:
    """Return everything needed to repeat the run and to judge it."""
    image, model = prepared.image, prepared.model
    return {
        "schema_version": 1,
        "job": "stain",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": settings.model_dump(mode="json"),
        "input": {
            "kind": image.source.kind,
            "scene": image.source.scene,
            "identity": image.source.identity(),
            "axes": image.axes,
            "shape_tczyx": list(image.shape),
            "channel": prepared.planes.image.channel_names[0],
            "z": list(prepared.planes.z),
            "path": None if image.source.path is None else str(Path(image.source.path).resolve()),
        },
        "notes": list(prepared.notes),
        "model": {
            "name": model.card.name,
            "generator": model.card.generator,
            "fingerprint": model.fingerprint,
            "licence": model.card.licence,
        },
        "normalisation": {
            "rule": model.card.input_rule.model_dump(mode="json"),
            "inputs": [[n.model_dump(mode="json") for n in row] for row in stainer.inputs],
            "outputs": {s.name: s.normalisation.model_dump(mode="json") for s in model.card.stains},
            "units": {s.name: s.unit for s in model.card.stains},
        },
        "plan": {
            "words": prepared.describe(),
            "core_yx": list(prepared.plan.core),
            "halo": prepared.halo,
            "multiple_of": prepared.plan.multiple_of,
            "tiles": len(prepared.plan),
            "exact": prepared.exact,
            "resample_ratios_yx": None if prepared.ratios is None else list(prepared.ratios),
        },
        "seed": settings.seed,
        "device": device,
        "threads": thread_count(),
        "versions": versions(),
    }
