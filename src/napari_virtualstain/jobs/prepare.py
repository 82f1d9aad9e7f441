"""What a stain would do, before it does anything: open, check, choose, plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.generators.doubt import intervals_of, with_ends
from napari_virtualstain.generators.package import Model
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.computing import (
    CHUNK,
    SMALLEST_TILE,
    choose_plan,
    choose_precision,
    memory_budget,
)
from napari_virtualstain.jobs.doubt import DoubtSettings, check_doubt
from napari_virtualstain.jobs.drawing import DrawingSettings, DrawnStain, check_led, sampling_of
from napari_virtualstain.jobs.picture import PictureSettings
from napari_virtualstain.jobs.ready import ReadyPlanes, ready_planes
from napari_virtualstain.jobs.rescale import ratios_for, resized
from napari_virtualstain.metrics.intervals import SpreadInterval
from napari_virtualstain.tiling.plan import TilePlan

if TYPE_CHECKING:
    from napari_virtualstain.inference.network import Network
    from napari_virtualstain.inference.planner import RunPlan

__all__ = ["CHUNK", "InputSettings", "PreparedStain", "prepare"]

Quantile = Annotated[float, Field(gt=0, lt=1)]
_MANY_TIMES = 4.0
"""The pixels of the image that are computed, from which on it is said."""


class InputSettings(PictureSettings, DrawingSettings, DoubtSettings):
    """Which picture a model is given, and how it is computed."""

    normalise_on: Literal["field", "well", "plate"] = Field(
        default="field",
        description="whose grey values normalise the image: its own, or those of all fields of "
        "its well or plate together",
    )
    resample: bool = Field(default=False, description="resample to the model's pixel size and back")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    mode: Literal["auto", "whole", "stream", "halo"] = Field(
        default="auto",
        description="how the image goes through the network: whole at once, as a stream of rows, "
        "in tiles with a halo, or what fits best",
    )
    tile: int | None = Field(
        default=None,
        ge=SMALLEST_TILE,
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
    quantiles: tuple[Quantile, ...] = Field(
        default=(),
        description="of a model that predicts distributions (isl): what the truth is below with "
        "these probabilities, as channels of their own, for example 0.05,0.95",
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
    ready
        The planes that the model is given, and how they became what they are.
    pixel_size_um
        Of the image, with what the user stated.
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
    sampling
        How stains are drawn, `None` of a model that does not draw.
    identify
        Looks at the files of the input again, `None` for an array.
    predicted
        As ``model``, but with the stains as the network gives them.
    views
        Of the image that the network is shown.
    intervals
        Of each stain of the model, where the ends of intervals take the place of spreads.
    """

    model: Model
    image: LazyImage
    ready: ReadyPlanes
    pixel_size_um: PixelSize
    run_plan: RunPlan
    network: Network
    statistics: str
    device: str
    ratios: tuple[float, float] | None
    notes: tuple[str, ...]
    budget: int
    sampling: DrawnStain | None = None
    identify: Callable[[], str] | None = None
    predicted: Model
    views: int = 1
    intervals: tuple[SpreadInterval, ...] = ()

    @property
    def planes(self) -> InputPlanes:
        """What the model is given."""
        return self.ready.planes

    @property
    def network_pixel_size_um(self) -> PixelSize:
        """Size of the pixels that the network sees; the model's, if the image does not say."""
        known = self.pixel_size_um
        if known.y is None and self.model.card.resize_to is None:
            return PixelSize(known.z, *self.model.card.pixel_size_yx_um)
        return resized(known, self.ratios)

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
        """Shape of the result: (T, stains, Z, Y, X), one plane of a network over planes."""
        t, _, _, height, width = self.planes.image.shape
        return (t, len(self.model.card.stains), self.depth or 1, height, width)

    @property
    def depth(self) -> int | None:
        """Planes that a network over volumes is given and gives; `None` for one over planes."""
        return None if self.model.card.volume is None else len(self.planes)

    def describe(self) -> str:
        """Say what would be done, in words."""
        t = self.planes.image.shape[0]
        times = "" if t == 1 else f" at each of {t} time points"
        drawn = "" if self.sampling is None else f", {self.sampling.describe()}"
        drawn += f", the mean of {self.views} views" * (self.views > 1)
        return f"{self.run_plan.describe()}{times}{drawn}, {self._kind()}"

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
    shared = shared_model(
        settings.model, device=device, quantiles=settings.quantiles, spread=settings.draws > 1,
        views=settings.views,
    )  # fmt: skip
    model = predicted = shared.model
    sampling = sampling_of(settings, model)
    check_doubt(
        settings, model.card.name, draws=None if sampling is None else sampling.draws,
        quantiles=bool(settings.quantiles),
    )  # fmt: skip
    intervals: tuple[SpreadInterval, ...] = ()
    if settings.interval:
        intervals = intervals_of(predicted, views=settings.views, draws=settings.draws)
        model = with_ends(predicted, intervals)
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
    ready = ready_planes(settings, image, model.card)
    planes = ready.planes
    notes += ready.notes
    depth = None if model.card.volume is None else len(planes)
    size = planes.image.pixel_size_um
    if settings.pixel_size is not None:
        size = PixelSize(size.z, settings.pixel_size, settings.pixel_size)
    height, width = image.shape[3:]
    ratios, note = ratios_for(model.card, size, (height, width), resample=settings.resample)
    if note:
        notes.append(note)
    if recorded is not None and "precision" in recorded:
        precision = str(recorded["precision"])
    else:
        precision, said = choose_precision(settings, shared.check_bfloat16, device)
        notes += said
    budget = memory_budget(settings, device)
    statistics, run_plan, network = choose_plan(
        settings, partial(shared.network, depth=depth), image.shape[3:], ratios, precision,
        recorded, out_channels=len(model.card.stains) * (depth or 1), budget=budget,
        streams=sampling is None,
    )  # fmt: skip
    if sampling is not None:
        whole = statistics not in {"frozen", "exact"}
        check_led(sampling, model.card, run_plan.tiles.shape, whole=whole)
        notes += sampling.notes
        run_plan = replace(run_plan, passes=sampling.steps * sampling.draws)
    if run_plan.mode == "halo" and run_plan.overhead > _MANY_TIMES:
        notes.append(
            f"tiles of {run_plan.tiles.core[-1]} px are small beside their halo of "
            f"{run_plan.tiles.halo[-1]} px: {run_plan.overhead:.0f} times the pixels are computed; "
            "a larger --tile is faster"
        )
    return PreparedStain(
        model=model,
        image=image,
        ready=ready,
        pixel_size_um=size,
        run_plan=run_plan,
        network=network,
        statistics=statistics,
        device=device,
        ratios=ratios,
        notes=tuple(notes),
        budget=budget,
        sampling=sampling,
        identify=before,
        predicted=predicted,
        views=settings.views,
        intervals=intervals,
    )
