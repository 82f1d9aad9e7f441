"""Which stain of which model is explained, and beside which truth? What is asked, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import (
    PixelDataError,
    SettingsError,
    VirtualStainError,
    unknown_name,
)
from napari_virtualstain.inference.resample import resample_region, source_region
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs.explain import ExplainSettings
from napari_virtualstain.jobs.matched_channels import match_channels, open_truth, read_match
from napari_virtualstain.jobs.prepare import PreparedStain

__all__ = ["chosen_stain", "plane_names", "refuse_a_stain", "refuse_other_model", "true_part"]


def plane_names(prepared: PreparedStain) -> list[str]:
    """Name the planes that a model is given, as far as is known by where they lie.

    Parameters
    ----------
    prepared
        Of a run.
    """
    planes, inputs = prepared.planes, prepared.model.card.inputs
    places: Sequence[float | None] = [plane.z_offset_um for plane in inputs]
    if prepared.depth is not None or any(place is None for place in places):
        places = planes.image.z_positions_um or [None] * len(planes)
    numbers = planes.z or tuple(range(len(planes)))
    names = [
        f"plane {number}" if place is None else f"{place:+g} µm" if place else "0 µm"
        for place, number in zip(places, numbers, strict=True)
    ]
    if len(set(names)) < len(names):
        names = [f"{name} ({n})" for n, name in enumerate(names)]
    return names


def chosen_stain(settings: ExplainSettings, prepared: PreparedStain) -> tuple[str, int]:
    """Return the stain that is explained, and its number among what the network predicts.

    Parameters
    ----------
    settings, prepared
        Of the run.

    Raises
    ------
    UnknownNameError, SettingsError
        If there is no such stain, or plane of one.
    """
    names = prepared.model.card.stain_names
    wanted = settings.stain or names[0]
    folded = {name.casefold(): n for n, name in enumerate(names)}
    if wanted.casefold() not in folded:
        raise unknown_name(
            f"stain of the model {prepared.model.card.name!r}", wanted, names,
            then="Choose one of these with --stain.",
        )  # fmt: skip
    number, depth = folded[wanted.casefold()], prepared.depth
    if depth is None:
        return names[number], number
    plane = depth // 2 if settings.plane is None else settings.plane
    if plane >= depth:
        raise SettingsError(
            f"Plane {plane} of the stain is asked for, and there are {depth}. Choose another with "
            "--plane."
        )
    return names[number], number * depth + plane


def true_part(
    settings: ExplainSettings, prepared: PreparedStain, stain: str, index: int, region: Region
) -> tuple[NDArray[np.float32], list[str]]:
    """Read the true stain of a part of a field, and say what was chosen.

    Parameters
    ----------
    settings, prepared
        Of the run.
    stain, index
        As `chosen_stain` returns them.
    region
        On the grid of the network, where the truth is brought, too.

    Raises
    ------
    VirtualStainError
        If it cannot be opened, is of another size, or no channel is the stain.
    """
    assert settings.target is not None
    notes: list[str] = []
    named = read_match([stain], settings.match)
    target = open_truth(
        settings.target, [stain], channels=[truth for _, truth in named]
    ).with_gaps()
    image = prepared.planes.image
    # A picture that is called as the stain, for whoever finds its truth by name.
    called = replace(image, channels=(replace(image.channels[0], name=stain),))
    ((_, channel),) = match_channels(called, target, named)
    if target.shape[3:] != image.shape[3:] or settings.t >= target.shape[0]:
        raise PixelDataError(
            f"The true stain has {target.shape[3]} x {target.shape[4]} px and "
            f"{target.shape[0]} time points, the picture {image.shape[3]} x {image.shape[4]} "
            f"px and {image.shape[0]}. Give the truth of the same field with --target."
        )
    depth = prepared.depth
    z = 0
    if target.shape[2] > 1:
        z = index % depth if depth == target.shape[2] else target.shape[2] // 2
        notes.append(f"of {target.shape[2]} z planes of the truth, plane {z} is compared")
    ratios = prepared.ratios
    read = region if ratios is None else source_region(region, ratios, target.shape[3:])
    at = target.channel_index(channel)
    window = (slice(settings.t, settings.t + 1), slice(at, at + 1), slice(z, z + 1), *read)
    pixels = target.read(window)[0, 0, 0].astype(np.float32)
    if ratios is not None:
        pixels = resample_region(pixels, read, region, ratios)
    return pixels, notes


def refuse_a_stain(settings: ExplainSettings) -> None:
    """Refuse a predicted stain in place of the bright field.

    Parameters
    ----------
    settings
        Of the run.

    Raises
    ------
    SettingsError
        If the input is one.
    """
    record = _record(settings.input)
    if record.get("job") != "stain":
        return
    model = record.get("model", {}).get("name", "")
    raise SettingsError(
        f"'{settings.input}' is a stain that the model {model!r} predicted, and not what it was "
        f"predicted from. Give the bright field ({record.get('input', {}).get('path')}), and the "
        "stain with --prediction."
    )


def refuse_other_model(settings: ExplainSettings, prepared: PreparedStain) -> None:
    """Refuse to explain a store by a model that did not predict it, or from another picture.

    Parameters
    ----------
    settings, prepared
        Of the run.

    Raises
    ------
    SettingsError
        If so; the sentence says which model did.
    """
    if settings.prediction is None:
        return
    record = _record(settings.prediction)
    if record.get("job") != "stain":
        raise SettingsError(
            f"'{settings.prediction}' was not written by `virtualstain stain`, so that nobody can "
            "tell which model predicted it. Leave out --prediction."
        )
    known, model = record["model"], prepared.model
    if known["fingerprint"] != model.fingerprint:
        same = known["name"] == model.card.name
        which = f"another version of {known['name']!r}" if same else f"the model {known['name']!r}"
        raise SettingsError(
            f"'{settings.prediction}' was predicted with {which} ({known['path']}), and "
            f"{model.card.name!r} would explain another stain. Name that one with --model."
        )
    identity = prepared.image.source.identity()
    if identity is not None and record["input"]["identity"] not in (None, identity):
        raise SettingsError(
            f"'{settings.prediction}' was predicted from {record['input']['path']}, as it then "
            "was, and not from this picture. Give that one, or leave out --prediction."
        )


def _record(path: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", read_record(path)["record"])
    except VirtualStainError:
        return {}
