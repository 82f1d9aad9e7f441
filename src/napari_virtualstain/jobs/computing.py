"""How is a stain computed here? In which precision, with whose statistics, in which pieces."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_virtualstain.errors import SettingsError

if TYPE_CHECKING:
    from napari_virtualstain.inference.network import Network
    from napari_virtualstain.inference.planner import RunPlan
    from napari_virtualstain.jobs.prepare import InputSettings

__all__ = ["CHUNK", "SMALLEST_TILE", "choose_plan", "choose_precision", "memory_budget"]

CHUNK = 512
"""Edge of a chunk of the output in pixels; larger tiles are whole numbers of chunks."""
SMALLEST_TILE = 16


def choose_precision(
    settings: InputSettings, check: Callable[[], float], device: str
) -> tuple[str, list[str]]:
    """Choose in what the network computes, and say so where it is not what was asked for.

    Parameters
    ----------
    settings
        Of the run.
    check
        Returns by which part of its range bfloat16 is off on a test tile, NaN if it overflows.
    device
        Where it is computed.
    """
    from napari_virtualstain.inference.device import has_bfloat16
    from napari_virtualstain.inference.network import TOLERANCE

    wanted = settings.precision
    if wanted == "float32" or (wanted == "auto" and not has_bfloat16(device)):
        return "float32", []
    error = check()
    if not math.isfinite(error):
        return "float32", ["computed in float32: bfloat16 gives no numbers on a test tile"]
    if error > TOLERANCE:
        said = (
            f"computed in float32: bfloat16 is off by {error:.1%} of the range on a test tile "
            f"(allowed {TOLERANCE:.0%})"
        )
        return "float32", [said]
    slow = "" if has_bfloat16(device) else ", and slower: this device has no bfloat16 arithmetic"
    return "bfloat16", [
        f"computed in bfloat16: off by {error:.2%} of the range on a test tile{slow}"
    ]


def choose_plan(
    settings: InputSettings,
    network_of: Callable[..., Network],
    shape: tuple[int, ...],
    ratios: tuple[float, float] | None,
    precision: str,
    recorded: dict[str, Any] | None,
    *,
    out_channels: int,
    budget: int,
    streams: bool = True,
) -> tuple[str, RunPlan, Network]:
    """Choose where statistics come from, and the plan that goes with it.

    Parameters
    ----------
    settings
        Of the run.
    network_of
        Returns the network in a precision.
    shape
        (Y, X) of the image in pixels.
    ratios
        See `prepare.PreparedStain`.
    precision
        In which it is computed.
    recorded
        See `prepare.prepare`.
    out_channels
        Number of stains.
    budget
        Bytes that the run may take.
    streams
        False for what is drawn in steps, which needs tiles.

    Raises
    ------
    SettingsError
        If the settings exclude each other, or nothing fits.
    """
    from napari_virtualstain.inference.planner import plan_run, plan_stitch, recorded_plan

    raw = network_of(precision)
    found = recorded_plan(recorded, shape) if recorded is not None else None
    if found is not None and recorded is not None:
        statistics = str(recorded.get("statistics", ""))
        held = statistics in {"frozen", "exact"}
        return statistics, found, network_of(precision, held=True) if held else raw
    if settings.stitch != "none":
        if not streams:
            raise SettingsError(
                "Tiles that are drawn in steps are other pictures of the same place, so that none "
                "are stitched. Leave out --stitch."
            )
        if ratios is not None or settings.mode != "auto":
            raise SettingsError(
                "Stitched tiles are computed as published: without resampling, and in no other "
                "mode. Leave out --resample and --mode, or --stitch."
            )
        how = "patch" if raw.has_image_statistics else ""
        return how, plan_stitch(
            raw, shape, method=settings.stitch, tile=settings.tile, chunk=CHUNK,
            out_channels=out_channels,
        ), raw  # fmt: skip
    core = None if settings.tile is None else _core(settings.tile, ratios)

    def planned(network: Network, mode: str) -> RunPlan:
        return plan_run(
            network, shape, mode=mode, tile=core, chunk=CHUNK, budget=budget,  # type: ignore[arg-type]
            out_channels=out_channels, streams=streams and ratios is None,
            halo=network.reach.halo if ratios is None else None,
        )  # fmt: skip

    if not raw.has_image_statistics:
        return "", planned(raw, settings.mode), raw
    wanted = settings.statistics
    if wanted == "patch":
        return wanted, planned(raw, "halo" if settings.mode == "auto" else settings.mode), raw
    if wanted == "whole" or (wanted == "auto" and settings.mode in {"auto", "whole"}):
        try:
            return "whole", planned(raw, "whole"), raw
        except SettingsError:
            if wanted == "whole" or settings.mode == "whole":
                raise
    fixed = network_of(precision, held=True)
    return ("exact" if wanted == "exact" else "frozen"), planned(fixed, settings.mode), fixed


def memory_budget(settings: InputSettings, device: str) -> int:
    """Return the bytes that a run may take."""
    from napari_virtualstain.inference.memory import free_memory

    if settings.memory is not None:
        return round(settings.memory * 1e9)
    return free_memory(device) // 2


def _core(tile: int, ratios: tuple[float, float] | None) -> int:
    """Return the edge of a tile in pixels of the image.

    Where the model's pixels are the smaller ones, a tile grows on its way to the network;
    it is cut so much smaller that the network sees no more than it was told to.
    """
    if ratios is None:
        return tile
    return max(SMALLEST_TILE, round(tile * min(1.0, *ratios)))
