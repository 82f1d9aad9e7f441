"""What a stain would do, before it does anything: open, check, choose, plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from pydantic import Field

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.planes import InputPlanes, choose_planes
from napari_virtualstain.errors import PixelSizeError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.generators.package import Model
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import JobSettings, ModelText, PathText, Plane
from napari_virtualstain.tiling.plan import TilePlan, plan_tiles

__all__ = ["CHUNK", "InputSettings", "PreparedStain", "prepare"]

_TOLERANCE = 0.20
"""Relative difference of pixel sizes up to which a model is used as it is."""
CHUNK = 512
"""Edge of a chunk of the output in pixels; larger tiles are whole numbers of chunks."""
_SMALLEST_TILE = 16
_LARGEST_RATIO = 16.0
"""Of pixel sizes that are resampled: beyond it one of them is wrong, or in another unit."""


class InputSettings(JobSettings):
    """Which image, and which of its planes a model is given."""

    input: PathText = Field(description="image file or folder with the bright field")
    model: ModelText = Field(
        default="demo", description="name of a model, or a model folder or zip"
    )
    scene: str | None = Field(
        default=None, description="which image, if the input holds several (see `info`)"
    )
    channel: str | None = Field(default=None, description="name of the bright-field channel")
    z: tuple[Plane, ...] | None = Field(
        default=None, description="z planes for the model, from 0, for example 2,6,10"
    )
    axes: str | None = Field(default=None, description="axes of the file, if it does not say")
    pixel_size: float | None = Field(
        default=None, gt=0, description="pixel size in µm, if the file does not say or is wrong"
    )
    resample: bool = Field(default=False, description="resample to the model's pixel size and back")
    tile: int = Field(default=512, ge=_SMALLEST_TILE, description="edge of a tile in pixels")


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
    plan
        Tiles over Y and X of the image.
    halo
        Of the network, in its pixels.
    exact
        Whether tiles equal the whole image.
    ratios
        Model pixel over image pixel (y, x) if resampling, else `None`.
    notes
        The limits on the model's card, and what was guessed or assumed; one sentence each.
    """

    model: Model
    image: LazyImage
    planes: InputPlanes
    plan: TilePlan
    halo: int
    exact: bool
    ratios: tuple[float, float] | None
    notes: tuple[str, ...]

    @property
    def output_shape(self) -> tuple[int, int, int, int, int]:
        """Shape of the result: (T, stains, 1, Y, X)."""
        t, _, _, height, width = self.planes.image.shape
        return (t, len(self.model.card.stains), 1, height, width)

    def describe(self) -> str:
        """Say what would be done, in words."""
        t = self.planes.image.shape[0]
        times = "" if t == 1 else f" at each of {t} time points"
        kind = "exact" if self.exact else "approximate: the network sees only its tile"
        return f"{self.plan.describe()}{times}, {kind}"


def prepare(
    settings: InputSettings, *, image: LazyImage | None = None, device: str = "cpu"
) -> PreparedStain:
    """Open, check and plan, without predicting anything.

    Parameters
    ----------
    settings
        Of the run.
    image
        Opened already, or an array; ``settings.input`` then only names it.
    device
        Where the model shall be.

    Raises
    ------
    VirtualStainError
        If input and model do not fit; the sentence says what to do.
    """
    # Imported here, since it loads torch: whoever builds a form or a command needs settings only.
    from napari_virtualstain.inference.shared import shared_model

    shared = shared_model(settings.model, device=device)
    model, reach = shared.model, shared.reach
    if image is None:
        image = open_image(settings.input, scene=settings.scene, axes=settings.axes)
    # One look at the files for the whole run: what they were when it began is what counts.
    source = image.source
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
    stride = model.generator.multiple_of
    core = _core(settings.tile, ratios)
    plan = plan_tiles(image.shape[3:], core=core, halo=reach.halo, multiple_of=stride)
    return PreparedStain(
        model=model,
        image=image,
        planes=planes,
        plan=plan,
        halo=reach.halo,
        exact=reach.exact,
        ratios=ratios,
        notes=tuple(notes),
    )


def _core(tile: int, ratios: tuple[float, float] | None) -> int:
    """Return the edge of a tile in pixels of the image, in whole chunks if it has any.

    Where the model's pixels are the smaller ones, a tile grows on its way to the network;
    it is cut so much smaller that the network sees no more than it was told to.
    """
    if ratios is not None:
        tile = max(_SMALLEST_TILE, round(tile * min(1.0, *ratios)))
    return -(-tile // CHUNK) * CHUNK if tile >= CHUNK else tile


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
    if not 1 / _LARGEST_RATIO <= min(ratios) <= max(ratios) <= _LARGEST_RATIO:
        raise PixelSizeError(
            f"The image has {found.y:g} x {found.x:g} µm pixels, the model was trained at "
            f"{card.pixel_size_um:g} µm: more than {_LARGEST_RATIO:g} times apart, so that one "
            "is wrong or the model is for other images. Correct the image's with --pixel-size."
        )
    if settings.resample:
        return ratios, None
    off = max(abs(1 / ratio - 1) for ratio in ratios)
    if off > _TOLERANCE:
        raise PixelSizeError(
            f"The image has {found.y:g} x {found.x:g} µm pixels, the model was trained at "
            f"{card.pixel_size_um:g} µm ({off:.0%} off, allowed {_TOLERANCE:.0%}). Add --resample "
            "to stain at the model's pixel size, or correct the image's with --pixel-size."
        )
    return None, None
