"""What `passport` looks at before any pixel is read: sizes, channel, planes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.datasets.z_planes import SAME_PLANE_UM
from napari_virtualstain.io.modality import modality_of, name_tokens
from napari_virtualstain.jobs.passport import PassportCheck, Status
from napari_virtualstain.jobs.passport_measure import Measured, Situation
from napari_virtualstain.jobs.rescale import LARGEST_RATIO, PIXEL_TOLERANCE, off_by
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.generators.card import VolumeInput
    from napari_virtualstain.inference.scan import Reach

__all__ = ["channel", "field_size", "objective", "pixel_size", "refused", "stack", "z_planes"]

APERTURE_TOLERANCE = 0.15
"""Relative difference of apertures that is told: depth of field then differs by a third."""

_COARSEST = 2.0
"""Image pixel over model pixel beyond which too much detail is missing to resample."""


def refused(name: str, error: Exception) -> PassportCheck:
    """Return the red check of what keeps a picture from being stained at all."""
    return PassportCheck(name=name, status="red", found="cannot be used", reason=str(error))


def pixel_size(here: Situation) -> PassportCheck:
    """Compare pixel sizes as `stain` does."""
    name, trained = "Pixel size", here.card.pixel_size_words
    ratios, size = here.ratios, here.size
    if ratios is None:
        return PassportCheck(
            name=name, status="amber", found="not stated", trained=trained,
            reason="Cells of another size are other cells to the model.",
            advice="State it with --pixel-size, for example --pixel-size 0.65.",
        )  # fmt: skip
    found = f"{size.y:g} µm" if size.y == size.x else f"{size.y:g} x {size.x:g} µm"
    if here.card.resize_to is not None:
        trained += f", fields resized to {here.card.resize_to[0]} x {here.card.resize_to[1]} px"
    off = off_by(ratios)
    if not 1 / LARGEST_RATIO <= min(ratios) <= max(ratios) <= LARGEST_RATIO:
        return PassportCheck(
            name=name, status="red", found=found, trained=trained,
            reason="One of the two is wrong, or the model is for other images.",
            advice="Correct that of the image with --pixel-size, or choose another model.",
        )  # fmt: skip
    if min(ratios) < 1 / _COARSEST:
        return PassportCheck(
            name=name, status="red", found=found, trained=trained,
            reason="Detail that the model looks for is not in pixels so coarse.",
            advice="Use a stronger objective or less binning, or train a model at this size.",
        )  # fmt: skip
    if off > PIXEL_TOLERANCE:
        return PassportCheck(
            name=name, status="amber", found=found, trained=trained,
            reason=f"{off:.0%} off, more than the {PIXEL_TOLERANCE:.0%} that `stain` allows.",
            advice="Stain with --resample, or correct the pixel size with --pixel-size.",
        )  # fmt: skip
    if not here.stated and any(g.startswith("The pixel size") for g in here.image.guesses):
        return PassportCheck(
            name=name, status="amber", found=f"{found}, guessed", trained=trained,
            reason="The file does not surely say so.",
            advice="Confirm it by stating it with --pixel-size.",
        )  # fmt: skip
    return PassportCheck(name=name, status="green", found=found, trained=trained)


def objective(here: Situation) -> PassportCheck:
    """Compare numerical apertures, where image and model state theirs."""
    na, like = here.image.na, here.card.na
    found, trained = ("not stated" if one is None else f"NA {one:g}" for one in (na, like))
    off = 0.0 if na is None or like is None else max(na, like) / min(na, like) - 1
    if off <= APERTURE_TOLERANCE:
        return PassportCheck(name="Objective", status="green", found=found, trained=trained)
    return PassportCheck(
        name="Objective", status="amber", found=found, trained=trained,
        reason=f"{off:.0%} apart: the finest detail that is seen, and the depth of the field, "
        "depend on the numerical aperture.",
        advice="Use an objective like that of the training, or judge the model on wells that were "
        "really stained.",
    )  # fmt: skip


# fmt: off
_CONTRASTS = {
    "bright field": {"brightfield", "bright", "bf", "bfield"},
    "phase contrast": {"phase", "phasecontrast", "dpc", "pc", "ph1", "ph2", "ph3", "zernike"},
    "interference contrast": {"dic", "nomarski"},
}
# fmt: on
"""Words of channel names that tell in which way light went through."""


def _contrast(channel_name: str) -> str | None:
    words = set(name_tokens(channel_name))
    words |= {word.rstrip("0123456789") for word in words}
    words |= {"brightfield" for word in words if word.startswith("brightfield")}
    said = [contrast for contrast, known in _CONTRASTS.items() if known & words]
    return said[0] if len(said) == 1 else None


def channel(here: Situation) -> PassportCheck:
    """Compare how the channel was lit with what the model was trained on."""
    like = here.card.inputs[0].channel
    chosen = next(c for c in here.image.channels if c.name == here.channel)
    name, quoted = "Channel", repr(here.channel)
    wanted = modality_of(like)
    guessed = any(g.startswith("The channel was taken for") for g in here.image.guesses)
    if chosen.modality == wanted and guessed and not here.named:
        return PassportCheck(
            name=name, status="amber", found=f"{quoted}, {chosen.modality}, guessed", trained=like,
            reason="The file does not say how it was lit, and its name alone is little.",
            advice=f"If it is {like}, say so with --channel {_word(here.channel)}.",
        )  # fmt: skip
    if chosen.modality == "unknown" and here.named:
        return PassportCheck(name=name, status="green", found=f"{quoted}, as you say", trained=like)
    if chosen.modality == "unknown" or wanted == "unknown":
        return PassportCheck(
            name=name, status="amber", found=f"{quoted}, not stated how it was lit", trained=like,
            reason="A model draws a stain from any picture, also from a wrong channel.",
            advice=f"If it is {like}, say so with --channel {_word(here.channel)}.",
        )  # fmt: skip
    if chosen.modality != wanted:
        return PassportCheck(
            name=name, status="red", found=f"{quoted}, {chosen.modality}", trained=like,
            reason=f"The model knows {wanted} light only.",
            advice=f"Choose the {like} channel with --channel.",
        )  # fmt: skip
    here_contrast, there = _contrast(here.channel), _contrast(like)
    if here_contrast and there and here_contrast != there:
        return PassportCheck(
            name=name, status="red", found=f"{quoted}: {here_contrast}", trained=like,
            reason=f"Cells look different in {here_contrast} and in {there}.",
            advice=f"Choose a {there} channel with --channel, or a model for {here_contrast}.",
        )  # fmt: skip
    return PassportCheck(
        name=name, status="green", found=f"{quoted}, {chosen.modality}", trained=like
    )


def _word(name: str) -> str:
    return f"'{name}'" if " " in name else name


def z_planes(here: Situation, planes: InputPlanes) -> PassportCheck:
    """Compare where the planes lie, or at least how far they are apart."""
    offsets = [plane.z_offset_um for plane in here.card.inputs]
    known = np.array([offset for offset in offsets if offset is not None])
    where, depth = planes.image.z_positions_um, here.image.shape[2]
    step = here.size.z
    chosen = plural(len(planes), "plane")
    if planes.channels:
        chosen = f"channels {', '.join(planes.channels)}"
    elif depth != len(planes) or len(set(planes.z)) < len(planes):
        chosen = f"plane{'s' * (len(planes) > 1)} {', '.join(map(str, planes.z))} of {depth}"

    def check(status: Status, found: str, reason: str = "", advice: str = "") -> PassportCheck:
        trained = f"{_um(known)} µm from focus" if len(known) == len(offsets) else (
            f"{plural(len(offsets), 'plane')}, position not stated")  # fmt: skip
        return PassportCheck(
            name="Z planes", status=status, found=found, trained=trained, reason=reason,
            advice=advice,
        )  # fmt: skip

    if len(set(planes.z)) < len(planes):
        return check(
            "red", chosen, "A plane is given more than once, where the model expects several.",
            "Record the whole stack, or choose a model that takes fewer planes.",
        )  # fmt: skip
    if len(known) < len(offsets):
        if len(planes) == depth == 1:
            return check("green", chosen)
        return check(
            "amber", chosen, "The model does not state how far from focus it was trained.",
            "Ask who trained it, and choose such planes with --z.",
        )  # fmt: skip
    if where is not None:
        found = f"{chosen} at {_um(where)} µm"
        apart = float(np.abs(np.array(where) - known).max())
        if apart <= SAME_PLANE_UM:
            return check("green", found)
        turned = len(known) > 1 and list(np.argsort(where)) != list(np.argsort(known))
        spacing = float(np.diff(np.sort(known)).min()) if len(known) > 1 else 2 * SAME_PLANE_UM
        return check(
            "red" if turned or apart > spacing else "amber", found,
            "The planes are in another order than in training." if turned
            else f"Up to {apart:.2g} µm from where the training planes lay.",
            "Choose planes with --z, or record them at these distances.",
        )  # fmt: skip
    by_eye = "Find focus in the viewer, and choose the planes at these distances with --z."
    if step is None or len(planes) == 1:
        return check(
            "amber", f"{chosen}, position not stated",
            "How far they lie from focus decides what a cell looks like.", by_eye,
        )  # fmt: skip
    lies, wanted = np.array(planes.z) * step, known - known[0]
    off = float(np.abs((lies - lies[0]) - wanted).max() / max(float(np.ptp(known)), 1e-9))
    found = f"{chosen}, {_um(lies - lies[0])} µm from the first"
    if off <= PIXEL_TOLERANCE:
        return check("amber", found, "The distances fit; where focus lies is not stated.", by_eye)
    return check(
        "amber" if off <= 0.5 else "red", found,
        f"The planes lie {off:.0%} off those of the training, and where focus lies is not stated.",
        by_eye,
    )  # fmt: skip


def stack(here: Situation, volume: VolumeInput, planes: InputPlanes) -> PassportCheck:
    """Compare the depth of a stack, and how far its planes are apart."""
    step, wanted = here.size.z, volume.z_step_um
    apart = "" if step is None else f", {step:g} µm apart"
    found = f"{plural(len(planes), 'plane')}{apart}"
    trained = "z step not stated" if wanted is None else f"{wanted:g} µm apart"
    if volume.window is not None:
        trained = f"{volume.window} planes at a time, {trained}"

    def check(status: Status, reason: str = "", advice: str = "") -> PassportCheck:
        return PassportCheck(
            name="Z planes", status=status, found=found, trained=trained, reason=reason,
            advice=advice,
        )  # fmt: skip

    if step is None or wanted is None:
        whose = "the image" if step is None else "the model"
        return check(
            "amber", f"How far planes are apart is not stated by {whose}.",
            "State it with --z-step." if step is None else "Ask who trained the model.",
        )  # fmt: skip
    ratio = max(step, wanted) / min(step, wanted)
    if ratio <= 1 + PIXEL_TOLERANCE:
        return check("green")
    return check(
        "amber" if ratio <= 2 else "red",
        f"Cells are {ratio:.2g} times as high in planes as in training.",
        "Record planes at the model's distance, or choose another model.",
    )


def _um(positions: Iterable[float]) -> str:
    return ", ".join("0" if abs(p) < 0.05 else f"{p:+.3g}" for p in positions)


def field_size(here: Situation, measured: Measured, reach: Reach) -> PassportCheck:
    """Compare the size of the field with what the network needs and was trained on."""
    y, x = measured.shape
    found, (height, width) = f"{y} x {x} px", measured.at_model or measured.shape
    if measured.at_model is not None:
        found += f", {height} x {width} of the model"
    stride, seen = reach.multiple_of, [2 * halo + 1 for halo in reach.halo]
    patch = here.card.training.settings.get("patch")
    trained = f"patches of {patch} px" if isinstance(patch, int) else ""
    enough = patch if isinstance(patch, int) else max(seen)
    if height < stride[-2] or width < stride[-1] or not measured.planes:
        return PassportCheck(
            name="Field size", status="red", found=found, trained=trained,
            reason=f"The network sums up squares of {max(stride)} px, of which there is no whole "
            "one." if min(height, width) < max(stride) else "Too small to be measured.",
            advice="Give a larger part of the field.",
        )  # fmt: skip
    if min(height, width) < enough:
        return PassportCheck(
            name="Field size", status="amber", found=found, trained=trained,
            reason=f"The network looks at {max(seen)} px around a pixel, and finds mostly border.",
            advice="Give a larger part of the field, or trust its middle only.",
        )  # fmt: skip
    return PassportCheck(name="Field size", status="green", found=found, trained=trained)
