"""How are the planes of a picture made ready for a model? Chosen, in focus, evenly lit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.focused import stack_profile
from napari_virtualstain.datasets.light import corrected_planes
from napari_virtualstain.datasets.planes import InputPlanes, choose_channel, choose_planes
from napari_virtualstain.datasets.z_planes import planes_around
from napari_virtualstain.errors import ChannelError
from napari_virtualstain.generators.card import ModelCard, VolumeInput
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.modality import modality_of
from napari_virtualstain.jobs.focus_direction import focus_directions
from napari_virtualstain.jobs.picture import PictureSettings, direction_of
from napari_virtualstain.preprocessing.illumination_set import load_illumination_set
from napari_virtualstain.preprocessing.in_focus import BestPlane, best_plane

__all__ = ["ReadyPlanes", "focus_words", "ready_planes"]

_Z_TOLERANCE = 1.2
"""Ratio of z steps from which on it is said."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadyPlanes:
    """Planes as a network is given them, before they are normalised.

    Parameters
    ----------
    planes
        The same planes as `stored`, made ready.
    stored
        As the file has them.
    notes
        What was chosen without being told, and what does not fit the model; a sentence each.
    light
        What the record says of the illumination functions, `None` if none were applied.
    focus
        The plane that was found to be in focus, `None` if it was not searched.
    """

    planes: InputPlanes
    stored: InputPlanes
    notes: tuple[str, ...]
    light: dict[str, Any] | None = None
    focus: BestPlane | None = None

    def middle(self) -> ReadyPlanes:
        """Return the plane in the middle of a stack alone."""
        at = len(self.planes) // 2

        def one(planes: InputPlanes) -> InputPlanes:
            return replace(planes, image=planes.image.select(z=[at]), z=planes.z[at : at + 1])

        return replace(self, planes=one(self.planes), stored=one(self.stored))


def ready_planes(
    settings: PictureSettings,
    image: LazyImage,
    card: ModelCard,
    *,
    t: int = 0,
    on_plane: Callable[[int, int], None] | None = None,
) -> ReadyPlanes:
    """Choose the planes that a model is given, and make them ready.

    Parameters
    ----------
    settings
        What the user said.
    image
        As opened, all channels.
    card
        Of the model.
    t
        Time point at which focus is searched, if it is; the planes hold for all.
    on_plane
        Told of planes whose focus was measured.

    Raises
    ------
    VirtualStainError
        If planes or illumination functions do not fit; the sentence says what to do.
    """
    if settings.z_step is not None:
        size = image.pixel_size_um
        image = replace(image, pixel_size_um=PixelSize(settings.z_step, size.y, size.x))
    like = card.inputs[0].channel
    _refuse_fluorescence(settings, image, card)
    if card.volume is not None:
        return _stack(settings, image, card, card.volume)
    offsets = [plane.z_offset_um for plane in card.inputs]
    notes: list[str] = []
    best = None
    if settings.z != "focus":
        z: Sequence[int] | None = settings.z
    elif image.z_positions_um is not None and None not in offsets:
        z = None
        notes.append("the positions of the z planes are stated, so that focus was not searched")
    else:
        name, note = choose_channel(image, channel=settings.channel, like=like)
        notes += [note] if note else []
        best = _searched(settings, image.select([name]), card, t, on_plane)
        z = planes_around(
            best.position if len(offsets) > 1 else best.index,
            z_offsets_um=offsets, step_um=image.pixel_size_um.z, depth=image.shape[2],
        )  # fmt: skip
        notes.append(f"z planes {', '.join(map(str, z))} taken: {focus_words(best)}")
        notes += [_small(sentence) for sentence in best.notes]
        if image.shape[0] > 1:
            notes.append(f"focus was searched at time point {t}; its planes are taken for all")
    stored = choose_planes(image, like=like, z_offsets_um=offsets, channel=settings.channel, z=z)
    notes += [note for note in stored.notes if note not in notes]
    planes, light = _even(settings, stored)
    notes += _light_notes(card, light)
    return ReadyPlanes(planes=planes, stored=stored, notes=tuple(notes), light=light, focus=best)


def _refuse_fluorescence(settings: PictureSettings, image: LazyImage, card: ModelCard) -> None:
    """Refuse what is no light that the model knows, unless the user named it."""
    wanted = card.inputs[0].channel
    if settings.channel is not None or modality_of(wanted) != "transmitted":
        return
    if all(channel.modality == "fluorescence" for channel in image.channels):
        names = ", ".join(map(repr, image.channel_names))
        known = "is of" if len(image.channels) == 1 else "are all of"
        raise ChannelError(
            f"The model {card.name!r} paints stains from {wanted}, and {names} {known} "
            "fluorescence, by its name or metadata. Choose a bright-field image, or name the "
            "channel with --channel if it is one."
        )


def _stack(
    settings: PictureSettings, image: LazyImage, card: ModelCard, volume: VolumeInput
) -> ReadyPlanes:
    """Return the planes of a whole stack, or those that were named, for a network over volumes."""
    if settings.z == "focus":
        raise ChannelError(
            f"The model {card.name!r} takes a whole stack and gives one, so that no plane has to "
            "be in focus. Leave out --z focus."
        )
    name, note = choose_channel(image, channel=settings.channel, like=card.inputs[0].channel)
    depth = image.shape[2]
    z = tuple(range(depth)) if settings.z is None else tuple(settings.z)
    if list(z) != list(range(z[0], z[0] + len(z))):
        raise ChannelError(
            f"The model {card.name!r} takes neighbouring z planes, from the first to the last. "
            f"Name them in a row, for example --z {','.join(map(str, range(min(depth, 4))))}."
        )
    least = volume.window or 1
    if len(z) < least:
        raise ChannelError(
            f"The model {card.name!r} takes {least} z planes at a time, and there are {len(z)}. "
            "Open the whole stack, or use a model for fewer planes."
        )
    notes = [note] if note else []
    step = image.pixel_size_um.z
    if step and volume.z_step_um and not _near(step, volume.z_step_um):
        notes.append(
            f"z planes are {step:g} µm apart, the model was trained at {volume.z_step_um:g} µm; "
            "expect a poorer stain"
        )
    stored = InputPlanes(image.select([name]).select(z=z), z, tuple(notes))
    planes, light = _even(settings, stored)
    notes += _light_notes(card, light)
    return ReadyPlanes(planes=planes, stored=stored, notes=tuple(notes), light=light)


def _near(a: float, b: float) -> bool:
    return max(a, b) <= _Z_TOLERANCE * min(a, b)


def _searched(
    settings: PictureSettings,
    image: LazyImage,
    card: ModelCard,
    t: int,
    on_plane: Callable[[int, int], None] | None,
) -> BestPlane:
    """Find the plane in focus, in the direction that was said, else that of the training planes."""
    if image.shape[2] < 2:
        raise ChannelError(
            f"Channel {image.channel_names[0]!r} has one z plane, so that there is no focus to be "
            "searched. Leave out --z focus, or open the whole stack."
        )
    profile = stack_profile(image, t=t, on_plane=on_plane)
    directions = focus_directions(card)
    said = direction_of(settings.focus_direction)
    if said is not None:
        directions[settings.focus_measure] = said
    best = best_plane(profile, measure=settings.focus_measure, direction=directions)
    if said is None and best.direction_from == "given":
        best = replace(best, direction_from="the model's training planes")
    return best


def focus_words(best: BestPlane) -> str:
    """Say which plane is in focus, by what, and how sure that is."""
    way = "largest" if best.direction > 0 else "smallest"
    told = {
        "given": "as you say",
        "this stack": "as this stack tells",
        "convention": "by convention",
    }.get(best.direction_from, f"as in {best.direction_from}")
    return (
        f"plane {best.index} is in focus by {best.measure}, which is {way} there ({told}); "
        f"confidence {best.confidence:.2f} of 1"
    )


def _even(
    settings: PictureSettings, stored: InputPlanes
) -> tuple[InputPlanes, dict[str, Any] | None]:
    if settings.illumination is None:
        return stored, None
    known = load_illumination_set(settings.illumination)
    height, width = stored.image.shape[3:]
    channel = stored.image.channel_names[0]
    if stored.channels:  # each plane is a channel of its own
        functions = tuple(
            known.functions_for(name, (0,), (height, width))[0] for name in stored.channels
        )
    else:
        functions = known.functions_for(channel, stored.z, (height, width))
    light = {
        "path": str(Path(settings.illumination).resolve()),
        "fingerprint": known.fingerprint,
        "unevenness_percent": [round(f.unevenness_percent, 3) for f in functions],
        "fields": [f.fields for f in functions],
        "notes": list(dict.fromkeys(note for f in functions for note in f.notes)),
        "named": all(p.channel is not None and p.z is not None for p in known.planes),
    }
    return corrected_planes(stored, functions), light


def _light_notes(card: ModelCard, light: dict[str, Any] | None) -> list[str]:
    """Say where the light of the image is not that of the training."""
    if light is None:
        if not card.illumination_corrected:
            return []
        words = (
            "the model was trained on planes corrected for uneven light, these are not: fit "
            "functions by `virtualstain illumination`, and give them by --illumination"
        )
        return [words]
    notes = []
    if card.illumination_corrected is None:
        notes.append(
            "the model does not state whether its training planes were corrected for uneven "
            "light, these are: compare a stain with and without --illumination"
        )
    elif not card.illumination_corrected:
        notes.append(
            "the model was trained on planes as recorded, these are corrected for uneven light: "
            "leave out --illumination unless it helps"
        )
    if not light["named"]:
        notes.append("the illumination function names no channel and z plane; taken for any")
    return notes + [f"illumination: {_small(note)}" for note in light["notes"]]


def _small(sentence: str) -> str:
    """Return a sentence as notes begin and end."""
    return (sentence[:1].lower() + sentence[1:]).rstrip(".")
