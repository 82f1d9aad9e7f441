"""How do denoised planes become a store, and a picture to judge them by? Tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.grey_planes import GreyPlanes
from napari_virtualstain.errors import RunCancelled
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.save import ImagePicture
from napari_virtualstain.io.save_png import QUANTILES, write_png
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.base import Progress
from napari_virtualstain.jobs.computing import CHUNK
from napari_virtualstain.jobs.denoise_planes import denoised_part, denoising, with_gaps_of
from napari_virtualstain.tiling.plan import Tile
from napari_virtualstain.training.patches import middle

if TYPE_CHECKING:
    from napari_virtualstain.denoising.denoiser import Denoiser
    from napari_virtualstain.inference.planner import RunPlan
    from napari_virtualstain.inference.stainer import Stainer
    from napari_virtualstain.jobs.denoise import DenoiseSettings

__all__ = ["denoise_into", "plan_of", "write_planes", "write_preview"]

_SHOWN = 256
"""Edge of the part that a preview shows, in pixels."""
_GAP = 4
"""Pixels between the parts of a preview."""


def plan_of(
    denoiser: Denoiser,
    planes: GreyPlanes,
    *,
    device: str,
    tile: int | None = None,
    recorded: dict[str, Any] | None = None,
) -> tuple[Stainer, RunPlan]:
    """Return what denoises planes, and in which pieces.

    Parameters
    ----------
    denoiser, planes, device
        See `denoise_planes.denoising`.
    tile
        Edge of a tile in pixels; what fits best if `None`.
    recorded
        Plan of a record that is repeated, as the memory that is free now may be another.
    """
    from napari_virtualstain.inference.memory import free_memory
    from napari_virtualstain.inference.planner import plan_run, recorded_plan

    stainer = denoising(denoiser, planes, device=device)
    shape = planes.shape(0)
    found = None if recorded is None else recorded_plan(recorded, shape)
    return stainer, found or plan_run(
        stainer.typical, shape, tile=tile, chunk=CHUNK, budget=free_memory(device) // 2,
        out_channels=1,
    )  # fmt: skip


def denoise_into(
    out: NDArray[np.float32], denoiser: Denoiser, planes: GreyPlanes, *, device: str
) -> None:
    """Denoise planes into an array.

    Parameters
    ----------
    out
        (N, Y, X) grey values, written; NaN where a plane is missing.
    denoiser, planes, device
        See `denoise_planes.denoising`.
    """
    from napari_virtualstain.inference.engine import stain_tiles

    stainer, plan = plan_of(denoiser, planes, device=device)

    def write(plane: int, tile: Tile, stains: NDArray[np.float32]) -> None:
        out[plane][tile.write] = with_gaps_of(planes, plane, tile, stains[0])

    stain_tiles(stainer, plan, write)


def write_planes(
    settings: DenoiseSettings,
    noisy: LazyImage,
    planes: GreyPlanes,
    stainer: Stainer,
    plan: RunPlan,
    record: dict[str, Any],
    *,
    state: dict[str, Any] | None,
    on_progress: Progress | None,
    should_stop: Callable[[], bool],
) -> tuple[str, ...]:
    """Denoise all planes of an image into a store; return what was done otherwise than planned.

    Parameters
    ----------
    settings
        Of the run.
    noisy
        The channel, (T, 1, Z, Y, X).
    planes, stainer, plan
        See `plan_of`.
    record
        Of the run.
    state
        Of a store that is gone on with.
    on_progress
        Told of tiles denoised.
    should_stop
        Asked after each tile.

    Raises
    ------
    RunCancelled
        If it was asked to stop; the store is left partial.
    """
    from napari_virtualstain.inference.engine import stain_tiles

    if state is not None and state["status"] == "complete":
        return ("the output is complete already: nothing was left to do",)
    depth, n_tiles = noisy.shape[2], len(plan.tiles)
    total = len(planes) * n_tiles
    if state is None:
        sink = _create(settings, noisy, plan, record, n_tiles=total)
    else:
        sink = OmeZarrSink.resume(settings.out)
    said: list[str] = []

    def write(plane: int, tile: Tile, stains: NDArray[np.float32]) -> None:
        t, z = divmod(plane, depth)
        region = (slice(t, t + 1), slice(0, 1), slice(z, z + 1), *tile.write)
        pixels = with_gaps_of(planes, plane, tile, stains[0])
        sink.write(region, pixels[None, None, None], tile=plane * n_tiles + tile.index)

    def tell(done: int, of: int) -> None:
        if on_progress is not None:
            on_progress(done, of, "tiles denoised")
        if should_stop():
            raise RunCancelled(
                f"Stopped. '{settings.out}' is marked partial. To go on, run the command again "
                "with --resume."
            )

    with sink:
        left = sorted(set(range(total)) - sink.committed())
        if left:
            stain_tiles(stainer, plan, write, numbers=left, on_tile=tell, on_step=said.append)
        sink.finish({"notes": said} if said else None)
    return tuple(said)


def _create(
    settings: DenoiseSettings,
    noisy: LazyImage,
    plan: RunPlan,
    record: dict[str, Any],
    *,
    n_tiles: int,
) -> OmeZarrSink:
    (channel,) = noisy.channels
    # Along an axis that one tile spans no two tiles can share a chunk.
    edges = [core for core, n in zip(plan.tiles.core, plan.tiles.shape, strict=True) if core < n]
    return OmeZarrSink.create(
        settings.out,
        shape=noisy.shape,
        channels=[Channel(record["channel"], channel.modality, channel.colour)],
        pixel_size_um=noisy.pixel_size_um,
        origin_um=noisy.origin_um,
        z_positions_um=noisy.z_positions_um,
        time_interval_s=noisy.time_interval_s,
        chunks_yx=min([CHUNK, *edges]),
        record=record,
        n_tiles=n_tiles,
        overwrite=settings.overwrite,
        name=record["channel"],
    )


def write_preview(path: Path, stainer: Stainer, planes: GreyPlanes, noisy: LazyImage) -> None:
    """Write the middle of the middle plane as a PNG: noisy, denoised, and what was taken away.

    The first two have the same limits. Of the third the middle grey is no difference, and a grey
    value is as much brighter as in the others: a structure that shows there was taken for noise.

    Parameters
    ----------
    path
        What is there is replaced.
    stainer, planes
        See `plan_of`.
    noisy
        The channel that the planes are of.
    """
    plane = len(planes) // 2
    region = middle(planes.shape(plane), _SHOWN)
    before = planes.grey(plane, region).astype(np.float32)
    after = denoised_part(stainer, planes, plane, region)
    known = before[np.isfinite(before)]
    low, high = np.quantile(known, QUANTILES) if known.size else (0.0, 1.0)
    gone = before - after + (low + high) / 2
    gap = np.full((before.shape[0], _GAP), high, np.float32)
    side = np.concatenate([before, gap, after, gap, gone], axis=1)
    name = noisy.channel_names[0]
    shown = LazyImage(
        data=da.from_array(side[None, None, None], chunks=-1),
        channels=(Channel(name, colour="FFFFFF"),),
        pixel_size_um=noisy.pixel_size_um,
    )
    write_png(path, ImagePicture(shown), limits={name: (float(low), float(high))})
