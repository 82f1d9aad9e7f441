"""How sharp is each plane of a stack? And which are in focus, one after the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import Field

from napari_virtualstain.datasets.focused import stack_profile
from napari_virtualstain.datasets.planes import choose_channel
from napari_virtualstain.errors import ChannelError, SettingsError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import (
    JobSettings,
    ModelText,
    PathText,
    Plane,
    Progress,
    TimePoint,
)
from napari_virtualstain.jobs.focus_direction import focus_directions
from napari_virtualstain.jobs.picture import FocusMeasure, direction_of
from napari_virtualstain.jobs.ready import focus_words
from napari_virtualstain.preprocessing.focus import FocusProfile
from napari_virtualstain.preprocessing.focus_calibration import calibrated_direction
from napari_virtualstain.preprocessing.in_focus import BestPlane, FocusRange, in_focus_range

__all__ = ["FocusResult", "FocusSettings", "run"]


class FocusSettings(JobSettings):
    """Settings of `virtualstain focus`."""

    input: PathText = Field(description="image file or folder with a z stack")
    scene: str | None = Field(
        default=None, description="which image, if the input holds several (see `info`)"
    )
    channel: str | None = Field(
        default=None, description="name of the channel; that of transmitted light if not given"
    )
    t: TimePoint = Field(default=0, description="time point that is measured, from 0")
    measure: FocusMeasure = Field(
        default="power_log_log_slope", description="by which focus is decided"
    )
    direction: Literal["auto", "largest", "smallest"] = Field(
        default="auto",
        description="what the measures are in focus; auto: as --known or --model tells, else as "
        "the stack itself does",
    )
    known: Plane | None = Field(
        default=None,
        description="plane that you see in focus, from 0: the direction of each measure is learnt "
        "from it",
    )
    model: ModelText | None = Field(
        default=None, description="model whose training planes tell the direction"
    )
    keep: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="a plane is in focus while its value is above this part of the way from the "
        "worst plane to the best",
    )
    axes: str | None = Field(default=None, description="axes of the file, if it does not say")
    pattern: str | None = Field(
        default=None,
        description="how the files of a folder are named, for example "
        "{well}_{site}_z{z}_{channel}.tif",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusResult:
    """The profile of a stack.

    Parameters
    ----------
    channel
        That was measured.
    positions_um
        Of the planes relative to focus, as the file states them, `None` if it does not.
    step_um
        Distance of the planes, if known.
    profile
        All measures.
    range
        Planes in focus, and the best of them.
    learnt
        Direction by measure as the plane known to be in focus tells, empty without one.
    notes
        One sentence each.
    """

    channel: str
    positions_um: tuple[float, ...] | None
    step_um: float | None
    profile: FocusProfile
    range: FocusRange
    learnt: dict[str, int]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "channel": self.channel,
            "z_step_um": self.step_um,
            "planes": [
                {
                    "z": z,
                    "position_um": None if self.positions_um is None else self.positions_um[z],
                    **{name: line[z] for name, line in self.profile.values.items()},
                }
                for z in range(len(self.profile))
            ],
            "best": asdict(self.range.best),
            "in_focus": {
                "start": self.range.start,
                "stop": self.range.stop,
                "z": list(range(self.range.start, self.range.stop)),
            },
            "learnt_direction": self.learnt,
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """Return a line a plane, and what follows from them."""
        names = list(self.profile.values)
        lines = ["plane  " + "  ".join(f"{name:>20}" for name in names)]
        for z in range(len(self.profile)):
            mark = "*" if z == self.range.best.index else " "
            inside = "|" if self.range.start <= z < self.range.stop else " "
            values = "  ".join(f"{self.profile.values[name][z]:>20.5g}" for name in names)
            lines.append(f"{z:>4}{mark}{inside} {values}")
        first, last = self.range.start, self.range.stop - 1
        kept = f"plane {first}" if first == last else f"planes {first} to {last}"
        lines.append(f"channel {self.channel!r}: {focus_words(self.range.best)}")
        lines.append(f"in focus: {kept} ({len(self.range)} of {len(self.profile)})")
        if self.learnt:
            said = ", ".join(
                f"{name} {'largest' if way > 0 else 'smallest'}"
                for name, way in self.learnt.items()
            )
            lines.append(f"in the plane that you named: {said}")
        return "\n".join(lines)


def run(
    settings: FocusSettings, *, image: LazyImage | None = None, on_progress: Progress | None = None
) -> FocusResult:
    """Measure a stack and find what is in focus.

    Parameters
    ----------
    settings
        Which stack.
    image
        Opened already, or an array; ``settings.input`` then only names it.
    on_progress
        Told of planes measured. What it raises ends the run.

    Raises
    ------
    VirtualStainError
        If it cannot be opened, or is no stack.
    """
    if image is None:
        image = open_image(
            settings.input, scene=settings.scene, axes=settings.axes, pattern=settings.pattern
        )
    name, note = choose_channel(image, channel=settings.channel, like="bright field")
    stack = image.select([name])
    times, _, depth, _, _ = stack.shape
    if settings.t >= times:
        raise SettingsError(
            f"Time point {settings.t} was asked for, but the image has {times} (0 to {times - 1}). "
            "Choose one of these with --t."
        )
    if depth < 2:
        raise ChannelError(
            f"Channel {name!r} has one z plane, so that there is nothing to compare. Open the "
            "whole stack."
        )
    profile = stack_profile(
        stack,
        t=settings.t,
        on_plane=None
        if on_progress is None
        else lambda done, total: on_progress(done, total, "planes measured"),
    )
    learnt = {} if settings.known is None else calibrated_direction([profile], [settings.known])
    found = in_focus_range(
        profile, measure=settings.measure, keep=settings.keep,
        direction=_directions(settings, profile, learnt),
    )  # fmt: skip
    found = replace(found, best=replace(found.best, direction_from=_told_by(settings, found.best)))
    notes = [*image.guesses, *([note] if note else []), *found.notes]
    if settings.known is not None and settings.measure not in learnt:
        notes.append(
            f"plane {settings.known} is neither large nor small in {settings.measure}: it teaches "
            "no direction"
        )
    return FocusResult(
        channel=name, positions_um=stack.z_positions_um, step_um=stack.pixel_size_um.z,
        profile=profile, range=found, learnt=learnt, notes=tuple(notes),
    )  # fmt: skip


def _told_by(settings: FocusSettings, best: BestPlane) -> str:
    """Return who said in which direction focus lies."""
    if best.direction_from != "given" or settings.direction != "auto":
        return best.direction_from
    return "the model's training planes" if settings.known is None else f"plane {settings.known}"


def _directions(
    settings: FocusSettings, profile: FocusProfile, learnt: dict[str, int]
) -> dict[str, int]:
    """Return the directions that are known: as said, as seen, or as the model was trained."""
    said = direction_of(settings.direction)
    if said is not None:
        return dict.fromkeys(profile.values, said)
    if learnt or settings.model is None:
        return learnt
    from napari_virtualstain.generators.package import read_card
    from napari_virtualstain.zoo import find_model

    return focus_directions(read_card(find_model(settings.model)))
