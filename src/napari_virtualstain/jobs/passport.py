"""Will this model work on my picture? What it is like, beside what the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any, Literal

from pydantic import Field

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.planes import choose_channel
from napari_virtualstain.errors import (
    AxesError,
    ChannelError,
    ImageFileError,
    PixelDataError,
    SettingsError,
)
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import (
    Progress,
    TimePoint,
)
from napari_virtualstain.jobs.passport_measure import MeasuredPlane, Situation, measure
from napari_virtualstain.jobs.picture import PictureSettings
from napari_virtualstain.jobs.ready import ready_planes

__all__ = ["Passport", "PassportCheck", "PassportSettings", "Status", "run"]

Status = Literal["green", "amber", "red"]
"""As in training; perhaps, or not known; not without changing something."""


_WIDTH = 100
"""Letters in a line of the text."""


class PassportSettings(PictureSettings):
    """Settings of `virtualstain passport`."""

    t: TimePoint = Field(default=0, description="time point that is measured, from 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportCheck:
    """One property of a picture, beside that of the training images.

    Not the `Check` of the doctor: that has no yardstick, and says what works on a machine.

    Parameters
    ----------
    name
        What was looked at.
    status
        ``"green"``, ``"amber"`` (it differs, or is not known) or ``"red"``.
    found
        What the picture is like.
    trained
        What the model was trained on, ``""`` where that is no question.
    reason
        Why it matters, ``""`` if all is well.
    advice
        What to do, ``""`` for nothing.
    """

    name: str
    status: Status
    found: str
    trained: str = ""
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passport:
    """All checks of a picture for a model.

    Parameters
    ----------
    input, model
        As they were named.
    checks
        In order.
    notes
        What the model says it is not for, and what was guessed or left out; a sentence each.
    measured
        By plane: the numbers that were compared with those of the training fields.
    """

    input: str
    model: str
    checks: tuple[PassportCheck, ...]
    notes: tuple[str, ...] = ()
    measured: tuple[dict[str, float], ...] = ()

    @property
    def status(self) -> Status:
        """The worst of all checks."""
        found = {check.status for check in self.checks}
        return "red" if "red" in found else "amber" if "amber" in found else "green"

    @property
    def verdict(self) -> str:
        """The same in words."""
        names = ", ".join(c.name.lower() for c in self.checks if c.status == self.status)
        if self.status == "red":
            return f"Not as it is: {names}."
        if self.status == "amber":
            return f"Perhaps. Differs from the training images, or is not known: {names}."
        return "Yes, as far as this tells: all that was measured is as in the training images."

    def text(self) -> str:
        """Return the passport as plain text in columns."""
        lines = [f"Will the model {self.model!r} work on {self.input}?", self.verdict]
        for note in self.notes:
            lines += wrap(f"note: {note}", _WIDTH, initial_indent="  ", subsequent_indent="    ")
        name = max(len(check.name) for check in self.checks)
        found = min(44, max(len(check.found) for check in self.checks))
        for check in self.checks:
            line = f"[{check.status}]".ljust(8) + check.name.ljust(name) + "  "
            trained = f"  (trained: {check.trained})" if check.trained else ""
            lines.append((line + check.found.ljust(found) + trained).rstrip())
            indent = " " * (10 + name)
            lines += wrap(check.reason, _WIDTH, initial_indent=indent, subsequent_indent=indent)
            if check.advice:
                arrow = f"{indent}-> "
                lines += wrap(
                    check.advice, _WIDTH, initial_indent=arrow, subsequent_indent=f"{indent}   "
                )
        lines.append(
            "Green is about the picture, not the stain: judge a model on wells with a true one."
        )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "input": self.input,
            "model": self.model,
            "status": self.status,
            "verdict": self.verdict,
            "checks": [asdict(check) for check in self.checks],
            "notes": list(self.notes),
            "measured": [dict(plane) for plane in self.measured],
            "text": self.text(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Passport:
        """Return the passport that `to_json` was called on, in another process."""
        return cls(
            input=values["input"],
            model=values["model"],
            checks=tuple(PassportCheck(**check) for check in values["checks"]),
            notes=tuple(values["notes"]),
            measured=tuple(values["measured"]),
        )


def run(
    settings: PassportSettings,
    *,
    image: LazyImage | None = None,
    on_progress: Progress | None = None,
) -> Passport:
    """Compare a picture with what a model was trained on; nothing is stained.

    What keeps the picture from being stained by this model at all is a red check.

    Parameters
    ----------
    settings
        Which picture, and which of its planes.
    image
        Opened already, or an array; ``settings.input`` then only names it.
    on_progress
        Told of planes measured. What it raises ends the run.

    Raises
    ------
    VirtualStainError
        If the input or the model is not there, or a setting names what is not there.
    """
    # Imported here, since it loads torch: whoever builds a form or a command needs settings only.
    from napari_virtualstain.inference.shared import shared_model
    from napari_virtualstain.jobs import passport_checks as checks
    from napari_virtualstain.jobs import passport_pixels as pixels

    shared = shared_model(settings.model)
    card, reach = shared.model.card, shared.network().reach
    notes = [f"model {card.name!r}: {limit}" for limit in card.limits]

    def passport(found: Sequence[PassportCheck], *planes: MeasuredPlane) -> Passport:
        return Passport(
            input=settings.input, model=card.name, checks=tuple(found), notes=tuple(notes),
            measured=tuple(plane.numbers for plane in planes),
        )  # fmt: skip

    try:
        if image is None:
            image = open_image(
                settings.input,
                scene=settings.scene,
                axes=settings.axes,
                pattern=settings.pattern,
            )
    except (ImageFileError, AxesError, PixelDataError) as error:
        return passport([checks.refused("Image", error)])
    if settings.t >= image.shape[0]:
        raise SettingsError(
            f"Time point {settings.t} was asked for, but the image has {image.shape[0]} "
            f"(0 to {image.shape[0] - 1}). Choose one of these with --t."
        )
    notes += [f"please confirm: {guess}" for guess in image.guesses]
    try:
        like = card.inputs[0].channel
        channel, note = choose_channel(image, channel=settings.channel, like=like)
    except ChannelError as error:
        if settings.channel is not None:
            raise
        return passport([checks.refused("Channel", error)])
    notes += [note] if note else []
    here = Situation(
        card=card, image=image, channel=channel, stated=settings.pixel_size is not None,
        size=_pixel_size(settings, image), named=settings.channel is not None,
    )  # fmt: skip
    found = [checks.pixel_size(here), checks.objective(here), checks.channel(here)]
    try:
        given = settings.model_copy(update={"channel": channel})
        ready = ready_planes(given, image, card, t=settings.t)
    except ChannelError as error:
        return passport([*found, checks.refused("Z planes", error)])
    notes += [note for note in ready.notes if note not in notes]
    if card.volume is not None:
        found.append(checks.stack(here, card.volume, ready.stored))
        ready = ready.middle()  # of a stack it stands for all planes
    else:
        found.append(checks.z_planes(here, ready.stored))
    try:
        measured = measure(here, ready, settings.t, on_progress)
    except (ImageFileError, PixelDataError) as error:
        return passport([*found, checks.refused("Pixels", error)])
    if measured.part is not None:
        y, x = measured.part
        notes.append(f"only the middle of the planes was measured, {y} x {x} px")
    found += [checks.field_size(here, measured, reach), *pixels.of_pixels(here, measured)]
    return passport(found, *measured.planes)


def _pixel_size(settings: PassportSettings, image: LazyImage) -> PixelSize:
    known, own = image.pixel_size_um, settings.pixel_size
    return PixelSize(settings.z_step or known.z, own or known.y, own or known.x)
