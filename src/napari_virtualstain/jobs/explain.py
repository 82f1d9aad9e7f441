"""Why does the network say so? Maps of what it looked at, each beside one that says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from napari_virtualstain.explain.methods import METHODS, MethodName
from napari_virtualstain.io.disk import check_output
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.base import ModelText, PathText, Plane, Progress, TimePoint
from napari_virtualstain.jobs.prepare import InputSettings

if TYPE_CHECKING:
    from napari_virtualstain.jobs.explain_nearest import Nearest

__all__ = ["ExplainResult", "ExplainSettings", "ExplainedMap", "run"]


class ExplainSettings(InputSettings):
    """Settings of `virtualstain explain`."""

    out: PathText = Field(description="OME-Zarr to write the maps to, one channel each")
    method: tuple[MethodName, ...] = Field(
        default=(),
        description="which maps: attention and rollout of an encoder; planes, gradient, "
        "smoothgrad, integrated, occlusion and gradcam of a model, and self-attention, "
        "attention-received and spade of one that has such layers; what is quick and says most if "
        "not given",
    )
    at: tuple[int, int] | None = Field(
        default=None,
        description="row and column of the pixel that is explained; of an encoder, the patch that "
        "asks, which is the picture as a whole if not given",
    )
    stain: str | None = Field(
        default=None, description="stain that is explained; the model's first if not given"
    )
    plane: Plane | None = Field(
        default=None,
        description="of a model over volumes: z plane of the stain that is explained, from 0; the "
        "middle one if not given",
    )
    t: TimePoint = Field(default=0, description="time point that is explained, from 0")
    region: tuple[int, int, int, int] | None = Field(
        default=None,
        description="only this part of the image: first row, first column, last row + 1, last "
        "column + 1, in pixels; an encoder sees nothing else, of a model it is where planes are "
        "hidden",
    )
    size: int = Field(
        default=256,
        ge=16,
        description="edge in pixels of the part in which planes are hidden, or that is looked at "
        "inside a model, around the pixel or the middle, if no region is named",
    )
    prediction: PathText | None = Field(
        default=None,
        description="store with the stain that is explained, to make sure of its model",
    )
    target: PathText | None = Field(
        default=None, description="image with the true stain: hidden planes are judged by it"
    )
    encoder: ModelText | None = Field(
        default=None, description="name or path of an encoder whose attention is shown"
    )
    channels: tuple[str, ...] | None = Field(
        default=None, description="channels that the encoder looks at, by its names"
    )
    against: PathText | None = Field(
        default=None,
        description="another image of the same field, such as the prediction: whether the encoder "
        "attends to the same there",
    )
    match: tuple[str, ...] = Field(
        default=(),
        description="MODEL=IMAGE channel names where they differ, e.g. DNA=DAPI, in the images of "
        "an encoder or of the true stain",
    )
    block: int = Field(
        default=-1, description="block of the encoder, from 0, or from the last as -1"
    )
    mass: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="share of the attention that the mask holds, with the fewest patches",
    )
    depth: int | None = Field(
        default=None,
        ge=0,
        description="depth of the network that gradcam, self-attention, attention-received and "
        "spade look at, from 0; the coarsest if not given, of spade the last",
    )
    shown_steps: tuple[int, ...] = Field(
        default=(),
        description="of self-attention and attention-received in a model that draws: which steps "
        "of the sampling are shown, from 1; five of them, from the first to the last, if not given",
    )
    samples: int = Field(default=16, ge=1, description="noisy pictures of smoothgrad")
    noise: float = Field(
        default=0.15, ge=0, description="their noise, over the range of each plane"
    )
    steps: int = Field(default=32, ge=1, description="steps of integrated gradients")
    square: int = Field(
        default=16, ge=1, description="edge of the squares that occlusion hides, in pixels"
    )
    nearest: int = Field(
        default=5, ge=0, le=20,
        description="training patches that are shown, those most like the place that is explained, "
        "of a model with an index of its training data",
    )  # fmt: skip
    index: PathText | None = Field(
        default=None,
        description="index of the model's training data (`virtualstain index`); that beside the "
        "model if not given",
    )
    sanity: bool = Field(
        default=True,
        description="compare each map with that of random weights and of a shuffled picture",
    )
    overwrite: bool = Field(default=False, description="replace the output if it exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedMap:
    """One channel of the output.

    Parameters
    ----------
    channel
        Its name.
    method
        Of `explain.methods.METHODS`.
    verdict
        See `explain.sanity.Sanity`, ``""`` where it was not asked for or is that of another map.
    sanity
        The same in a sentence.
    numbers
        By name.
    """

    channel: str
    method: str
    verdict: str = ""
    sanity: str = ""
    numbers: dict[str, Any]

    @property
    def reading(self) -> str:
        """How it is to be read."""
        return METHODS[self.method].reading


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResult:
    """What was found.

    Parameters
    ----------
    out
        The store of the maps.
    maps
        One a channel, in order.
    sentences
        What they come to.
    region_yx
        First row, first column, last row + 1, last column + 1 of the store, in pixels of the
        image; fractions where the network's pixels are others.
    seconds
        That it took.
    notes
        What was guessed or assumed, and what limits the maps; one sentence each.
    nearest
        Training patches that are most like the place; `None` of an encoder, or if none were asked
        for.
    """

    out: Path
    maps: tuple[ExplainedMap, ...]
    sentences: tuple[str, ...]
    region_yx: tuple[float, float, float, float]
    seconds: float
    notes: tuple[str, ...]
    nearest: Nearest | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "out": str(self.out),
            "sentences": list(self.sentences),
            "maps": [
                {
                    "channel": one.channel, "method": one.method, "verdict": one.verdict,
                    "sanity": one.sanity, "reading": one.reading, "numbers": one.numbers,
                }
                for one in self.maps
            ],
            "region_yx": list(self.region_yx),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "nearest": None if self.nearest is None else self.nearest.to_json(),
        }  # fmt: skip

    def text(self) -> str:
        """Return the same for people."""
        lines = [*self.sentences]
        for one in self.maps:
            if one.sanity:
                lines += [f"{one.channel}: {one.sanity}", f"    {one.reading}"]
        if self.nearest is not None:
            lines.append(self.nearest.text())
        lines.append(f"{len(self.maps)} maps -> {self.out} ({self.seconds:.1f} s)")
        return "\n".join(lines)


def run(
    settings: ExplainSettings,
    *,
    image: LazyImage | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    on_store: Callable[[Path], None] | None = None,
) -> ExplainResult:
    """Compute maps of a picture and write them.

    Parameters
    ----------
    settings
        Which picture, which network, which maps.
    image
        Opened already, or an array; ``settings.input`` then only names it.
    on_progress
        Told of pictures computed. What it raises ends the run.
    on_note
        Told of each note at the end.
    on_store
        Told where the store is once it is whole.

    Raises
    ------
    VirtualStainError
        If the network has no such map, or the picture does not fit it.
    """
    # Imported here, since they load torch: whoever builds a form or a command needs settings only.
    from napari_virtualstain.jobs.explain_attention import attention_of
    from napari_virtualstain.jobs.explain_stain import stain_explained
    from napari_virtualstain.jobs.explain_store import write_maps

    began = time.monotonic()
    out = Path(settings.out)
    others = [path for path in (settings.target, settings.against, settings.prediction) if path]
    check_output(out, inputs=[settings.input, *others], overwrite=settings.overwrite)
    explain = stain_explained if settings.encoder is None else attention_of
    found = explain(settings, image, on_progress)
    maps = tuple(
        ExplainedMap(
            channel=one.name,
            method=one.method,
            verdict="" if one.sanity is None else one.sanity.verdict,
            sanity="" if one.sanity is None else one.sanity.words(),
            numbers=one.numbers,
        )
        for one in found.maps
    )
    region = write_maps(settings, found, maps)
    result = ExplainResult(
        out=out, maps=maps, sentences=found.sentences, region_yx=region,
        seconds=time.monotonic() - began, notes=found.notes, nearest=found.nearest,
    )  # fmt: skip
    if on_note is not None:
        for note in result.notes:
            on_note(note)
    if on_store is not None:
        on_store(out)
    return result
