"""Whether each plane has the detail of the planes that a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.jobs.focus_direction import focus_direction
from napari_virtualstain.jobs.passport import PassportCheck, Status
from napari_virtualstain.jobs.passport_measure import Measured
from napari_virtualstain.jobs.passport_ranges import FAR, FARTHEST, above, beyond, worst
from napari_virtualstain.preprocessing.focus import MEASURES

__all__ = ["focus", "sharpness"]

_DETAIL = "laplacian_energy"
"""Tells more detail from less, and where focus is: of the four it hears the noise least."""


def focus(card: ModelCard, measured: Measured, *, empty: bool) -> PassportCheck:
    """Compare the measures of focus of each plane with those of the training fields.

    Bright field does not tell by itself whether more or less fine detail is sharper: a
    transparent cell in focus has the least of it. So a plane is called sharper or
    blurrier only where the training planes themselves show which way it goes.
    """
    name = "Focus"
    trained = "" if card.inputs[0].ranges is None else f"{card.inputs[0].ranges.n_fields} fields"
    if empty:
        return PassportCheck(
            name=name, status="amber", found="cannot be judged", reason="The field is empty.",
            advice="Choose a field with cells.",
        )  # fmt: skip
    if any(plane.ranges is None for plane in card.inputs):
        return PassportCheck(
            name=name, status="amber", found="not compared", trained="not stated",
            reason="The model does not state how sharp its training planes were.",
            advice="Look at the planes; a model trained with this version states it.",
        )  # fmt: skip
    status: Status = "green"
    said: dict[str, list[int]] = {}
    for p, plane in enumerate(measured.planes):
        one, words = sharpness(card, p, plane.numbers)
        status = worst((status, one))
        if one != "green":
            said.setdefault(words, []).append(measured.z[p])
    if not said:
        found = "as in training" if len(measured.planes) == 1 else "all planes as in training"
        return PassportCheck(name=name, status="green", found=found, trained=trained)
    return PassportCheck(
        name=name, status=status, found="; ".join(_where(said)), trained=trained,
        reason="Other detail than in these planes of the training fields: focus, blur, or other "
        "cells.",
        advice="Compare with a training image; choose other planes with --z, or focus again.",
    )  # fmt: skip


def _where(said: dict[str, list[int]]) -> Iterator[str]:
    for words, z in said.items():
        planes = sorted(set(z))
        yield f"{words} in plane{'s' * (len(planes) > 1)} {', '.join(map(str, planes))}"


def sharpness(card: ModelCard, p: int, numbers: Mapping[str, float]) -> tuple[Status, str]:
    """Judge a plane by its second most unusual measure, so that two have to agree.

    Parameters
    ----------
    card
        Of a model that states how sharp its training planes were.
    p
        Which of its planes.
    numbers
        Measures of focus by name; see `preprocessing.likeness.focus_in_windows`.

    Returns
    -------
    tuple
        How unusual it is, and in which way: sharper, blurrier, ...
    """
    ranges = card.inputs[p].ranges
    assert ranges is not None
    far = {
        name: beyond(ranges, name, numbers[name])
        for name in MEASURES
        if name in numbers and name in ranges.numbers
    }
    if not far:
        return "amber", "cannot be measured"
    ranked = sorted((abs(value) for value in far.values()), reverse=True)
    status = above(ranked[min(1, len(ranked) - 1)], FAR, FARTHEST)
    detail = far.get(_DETAIL, 0.0)
    if detail == 0:
        return status, "different"
    way, direction = ("more" if detail > 0 else "less"), focus_direction(card, p, _DETAIL)
    # Where focus has the least detail, a plane with still less may be blurred by other things.
    if direction * detail < 0:
        return status, "blurrier"
    return status, "sharper" if direction > 0 else f"{way} fine detail"
