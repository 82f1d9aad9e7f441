"""What a stain would do, before it does anything: open, check, choose, plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.planes import InputPlanes, choose_planes
from napari_virtualstain.errors import PixelSizeError, SettingsError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.package import Model
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.picture import PictureSettings
from napari_virtualstain.tiling.plan import TilePlan

if TYPE_CHECKING:
    from napari_virtualstain.inference.network import Network
    from napari_virtualstain.inference.planner import RunPlan

__all__ = [
    "CHUNK",
    "LARGEST_RATIO",
    "PIXEL_TOLERANCE",
    "InputSettings",
    "PreparedStain",
    "prepare",
]

PIXEL_TOLERANCE = 0.20
"""Relative difference of pixel sizes up to which a model is used as it is."""
CHUNK = 512
"""Edge of a chunk of the output in pixels; larger tiles are whole numbers of chunks."""
_SMALLEST_TILE = 16
_MANY_TIMES = 4.0
"""The pixels of the image that are computed, from which on it is said."""
LARGEST_RATIO = 16.0
"""Of pixel sizes that are resampled: beyond it one of them is wrong, or in another unit."""


class InputSettings(PictureSettings):
    """Which picture a model is given, and how it is computed."""

    resample: bool = Field(default=False, description="resample to the model's pixel size and back")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    mode: Literal["auto", "whole", "stream", "halo"] = Field(
        default="auto",
        description="how the image goes through the network: whole at once, as a stream of rows, "
        "in tiles with a halo, or what fits best",
    )
    tile: int | None = Field(
        default=None,
        ge=_SMALLEST_TILE,
        description="edge of a tile in pixels, for halo mode; chosen by memory if not given",
    )
    memory: float | None = Field(
        default=None, gt=0, description="memory budget in GB; half of what is free if not given"
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        default="float32",
        description="of the network; bfloat16 is faster where the hardware has it, and is checked "
        "against float32 first; auto takes it there",
    )
    statistics: Literal["auto", "whole", "frozen", "exact", "patch"] = Field(
        default="auto",
        description="of networks that normalise by their input: of the whole image at once, frozen "
        "from patches of it, exact in several passes, or of each tile alone",
    )
    dtype: Literal["float32", "float16", "uint16"] = Field(
        default="float32",
        description="numbers of the output; float16 and uint16 take half the room, with a recorded "
        "scale",
    )
    stitch: Literal["none", "median", "median_at_last", "gaussian", "triangular", "constant"] = (
        Field(
            default="none",
            description="put overlapping tiles together as a published system did, to repeat its "
            "numbers",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedStain:
    """A run that has not begun.

    Parameters
    ----------
    model
        Loaded and checked.
    image
        As opened, all channels.
    planes
        What the model is given.
    run_plan
        What is computed in which pieces; its tiles partition Y and X of the image.
    network
        As planned with; that of a network with statistics of its image has none yet.
    statistics
        Where the statistics of its normalisation layers come from: ``""`` for a network without
        such layers, else ``"whole"``, ``"frozen"``, ``"exact"`` or ``"patch"``.
    device
        Where it is computed.
    ratios
        Model pixel over image pixel (y, x) if resampling, else `None`.
    notes
        The limits on the model's card, and what was guessed or assumed; one sentence each.
    budget
        Bytes that the run may take.
    identify
        Looks at the files of the input again, `None` for an array.
    """

    model: Model
    image: LazyImage
    planes: InputPlanes
    run_plan: RunPlan
    network: Network
    statistics: str
    device: str
    ratios: tuple[float, float] | None
    notes: tuple[str, ...]
    budget: int
    identify: Callable[[], str] | None = None

    @property
    def plan(self) -> TilePlan:
        """Units that are written, over Y and X of the image."""
        return self.run_plan.tiles

    @property
    def exact(self) -> bool:
        """Whether the result is the forward pass of the whole image."""
        if self.run_plan.mode in {"whole", "stitch"}:
            return self.run_plan.mode == "whole"
        return self.network.reach.kind == "exact" and self.statistics in {"", "exact"}

    def input_has_changed(self) -> bool:
        """Return whether the files of the input are others than when the run began."""
        known = self.image.source.identify
        return self.identify is not None and known is not None and self.identify() != known()

    @property
    def output_shape(self) -> tuple[int, int, int, int, int]:
        """Shape of the result: (T, stains, 1, Y, X)."""
        t, _, _, height, width = self.planes.image.shape
        return (t, len(self.model.card.stains), 1, height, width)

    def describe(self) -> str:
        """Say what would be done, in words."""
        t = self.planes.image.shape[0]
        times = "" if t == 1 else f" at each of {t} time points"
        return f"{self.run_plan.describe()}{times}, {self._kind()}"

    def _kind(self) -> str:
        """Say what the result has to do with the forward pass of the whole image."""
        if self.exact:
            return {"exact": "exact, with the statistics of the whole image in several passes"}.get(
                self.statistics, "exact"
            )
        if self.run_plan.mode == "stitch":
            return "approximate: as published, not as the whole image"
        if self.statistics == "frozen":
            return "without seams, with statistics of patches spread over the image"
        return "approximate: the network sees only its tile"


def prepare(
    settings: InputSettings,
    *,
    image: LazyImage | None = None,
    recorded: dict[str, Any] | None = None,
) -> PreparedStain:
    """Open, check and plan, without predicting anything.

    Parameters
    ----------
    settings
        Of the run.
    image
        Opened already, or an array; ``settings.input`` then only names it.
    recorded
        Plan of a store that is gone on with, as its record has it: repeated where the settings
        do not ask for another, since the memory that is free now may be another.

    Raises
    ------
    VirtualStainError
        If input and model do not fit; the sentence says what to do.
    """
    # Imported here, since it loads torch: whoever builds a form or a command needs settings only.
    from napari_virtualstain.inference.device import choose_device
    from napari_virtualstain.inference.shared import shared_model

    device = choose_device(settings.device)
    shared = shared_model(settings.model, device=device)
    model = shared.model
    if image is None:
        image = open_image(
            settings.input, scene=settings.scene, axes=settings.axes, pattern=settings.pattern
        )
    # One look at the files for the whole run: what they were when it began is what counts.
    source, before = image.source, image.source.identify
    identify = source.identify and cache(source.identify)
    image = replace(image, source=replace(source, identify=identify))
    # What the model says it is not for comes first: the stain will look sharp all the same.
    notes = [f"model {model.card.name!r}: {limit}" for limit in model.card.limits]
    notes += image.guesses
    planes = choose_planes(
        image,
        like=model.card.inputs[0].channel,
        z_offsets_um=[plane.z_offset_um for plane in model.card.inputs],
        channel=settings.channel,
        z=settings.z,
    )
    notes += planes.notes
    ratios, note = _pixel_ratios(settings, planes.image.pixel_size_um, model.card)
    if note:
        notes.append(note)
    if recorded is not None and "precision" in recorded:
        precision = str(recorded["precision"])
    else:
        precision, said = _precision(settings, shared.check_bfloat16, device)
        notes += said
    budget = _budget(settings, device)
    statistics, run_plan, network = _plan(
        settings, shared.network, image.shape[3:], ratios, precision, recorded,
        out_channels=len(model.card.stains), budget=budget,
    )  # fmt: skip
    if run_plan.mode == "halo" and run_plan.overhead > _MANY_TIMES:
        notes.append(
            f"tiles of {run_plan.tiles.core[-1]} px are small beside their halo of "
            f"{run_plan.tiles.halo[-1]} px: {run_plan.overhead:.0f} times the pixels are computed; "
            "a larger --tile is faster"
        )
    return PreparedStain(
        model=model,
        image=image,
        planes=planes,
        run_plan=run_plan,
        network=network,
        statistics=statistics,
        device=device,
        ratios=ratios,
        notes=tuple(notes),
        budget=budget,
        identify=before,
    )


def _precision(
    settings: InputSettings, check: Callable[[], float], device: str
) -> tuple[str, list[str]]:
    """Choose in what the network computes, and say so where it is not what was asked for."""
    from napari_virtualstain.inference.device import has_bfloat16
    from napari_virtualstain.inference.network import TOLERANCE

    wanted = settings.precision
    if wanted == "float32" or (wanted == "auto" and not has_bfloat16(device)):
        return "float32", []
    error = check()
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


def _plan(
    settings: InputSettings,
    network_of: Callable[..., Network],
    shape: tuple[int, ...],
    ratios: tuple[float, float] | None,
    precision: str,
    recorded: dict[str, Any] | None,
    *,
    out_channels: int,
    budget: int,
) -> tuple[str, RunPlan, Network]:
    """Choose where statistics come from, and the plan that goes with it."""
    from napari_virtualstain.inference.planner import plan_run, plan_stitch, recorded_plan

    raw = network_of(precision)
    found = recorded_plan(recorded, shape) if recorded is not None else None
    if found is not None and recorded is not None:
        statistics = str(recorded.get("statistics", ""))
        held = statistics in {"frozen", "exact"}
        return statistics, found, network_of(precision, held=True) if held else raw
    if settings.stitch != "none":
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
            out_channels=out_channels, streams=ratios is None,
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


def _budget(settings: InputSettings, device: str) -> int:
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
    return max(_SMALLEST_TILE, round(tile * min(1.0, *ratios)))


def _pixel_ratios(
    settings: InputSettings, found: PixelSize, card: ModelCard
) -> tuple[tuple[float, float] | None, str | None]:
    """Compare pixel sizes: what to resample by, and what to say."""
    if settings.pixel_size is not None:
        found = PixelSize(found.z, settings.pixel_size, settings.pixel_size)
    if found.y is None or found.x is None:
        if settings.resample:
            raise PixelSizeError(
                "The image does not state its pixel size, so it cannot be resampled. "
                "State it with --pixel-size, for example --pixel-size 0.65."
            )
        return None, (
            f"the image does not state its pixel size; taken as the model's "
            f"{card.pixel_size_um:g} µm, state another with --pixel-size"
        )
    ratios = (card.pixel_size_um / found.y, card.pixel_size_um / found.x)
    if not 1 / LARGEST_RATIO <= min(ratios) <= max(ratios) <= LARGEST_RATIO:
        raise PixelSizeError(
            f"The image has {found.y:g} x {found.x:g} µm pixels, the model was trained at "
            f"{card.pixel_size_um:g} µm: more than {LARGEST_RATIO:g} times apart, so that one "
            "is wrong or the model is for other images. Correct the image's with --pixel-size."
        )
    if settings.resample:
        return ratios, None
    off = max(abs(1 / ratio - 1) for ratio in ratios)
    if off > PIXEL_TOLERANCE:
        raise PixelSizeError(
            f"The image has {found.y:g} x {found.x:g} µm pixels, the model was trained at "
            f"{card.pixel_size_um:g} µm ({off:.0%} off, allowed {PIXEL_TOLERANCE:.0%}). "
            "Add --resample to stain at the model's pixel size, or correct the image's with "
            "--pixel-size."
        )
    return None, None
