"""What `passport` looks at in the pixels: each check compares numbers with the model's card.

Where the model states the range of its training fields, a value may lie beyond it
by three quarters of its width (about four standard deviations from the middle, were
the fields normal) and is green; beyond twice the width it is red. Without a range
only limits stand that hold for any model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from napari_virtualstain.jobs.passport import PassportCheck, Status
from napari_virtualstain.jobs.passport_focus import focus
from napari_virtualstain.jobs.passport_measure import Measured, Situation
from napari_virtualstain.jobs.passport_ranges import (
    FAR,
    FARTHEST,
    RANK,
    above,
    beyond,
    worst,
)

__all__ = ["of_pixels"]

_SATURATED = (0.01, 0.05)
"""Parts of the pixels: amber, red."""
_BITS, _BITSFEWER = (6.0, 4.0), 4.0
"""Amber and red below; and how many fewer than in training are amber: steps 16 times as coarse."""
_UNEVEN = 50.0
_NOISY = 10.0
"""Percent of the median from which the light and noise are doubtful for any model."""
_EMPTY = 0.97
"""Part of a field without structure from which on there is nothing to stain."""


def of_pixels(here: Situation, measured: Measured) -> list[PassportCheck]:
    """Return the checks of what was measured."""
    if not measured.planes:
        return []
    found = [_missing(measured)]
    if any(plane.stored is None for plane in measured.planes):
        return found  # what the other planes are like does not matter then
    empty = _emptiness(here, measured)
    found += [_saturation(here, measured), _bits(here, measured), _light(here, measured)]
    found += [_noise(here, measured), empty]
    found.append(focus(here.card, measured, empty=empty.status == "red"))
    return found


def _missing(measured: Measured) -> PassportCheck:
    parts = [1.0 if p.stored is None else p.stored.missing_fraction for p in measured.planes]
    if max(parts) == 0:
        return PassportCheck(name="Missing pixels", status="green", found="none")
    return PassportCheck(
        name="Missing pixels", status="red", found=_values(parts, _percent),
        reason="NaN or infinite; `stain` refuses planes that hold them.",
        advice="Replace them (for example by the median) and save the image again, or stain "
        "another field.",
    )  # fmt: skip


def _saturation(here: Situation, measured: Measured) -> PassportCheck:
    name = "saturated_fraction"
    parts = _numbers(measured, name)
    ranges = [r for r in _ranges(here, name) if r is not None]
    top = max((high for _, high in ranges), default=0.0)
    status = worst(above(part, *(max(limit, 2 * top) for limit in _SATURATED)) for part in parts)
    return PassportCheck(
        name="Saturation", status=status, found=_values(parts, _percent),
        trained=_trained(here, name, _percent),
        reason="" if status == "green" else "What was brighter than the camera can show is lost.",
        advice="" if status == "green" else "Record again with less light or a shorter exposure.",
    )  # fmt: skip


def _bits(here: Situation, measured: Measured) -> PassportCheck:
    bits, ranges = _numbers(measured, "bits_used"), _ranges(here, "bits_used")
    status = worst(above(-b, -_BITS[0], -_BITS[1]) for b in bits)
    reason = "" if status == "green" else "Fine detail is lost between grey values so few."
    fewer = [r is not None and b < r[0] - _BITSFEWER for b, r in zip(bits, ranges, strict=True)]
    if status == "green" and any(fewer):
        status = "amber"
        reason = "Steps between grey values are far coarser than in training."
    return PassportCheck(
        name="Bits used", status=status, found=_values(bits, _plain),
        trained=_trained(here, "bits_used", _plain), reason=reason,
        advice="" if status == "green" else
        "Save the camera's own 12 or 16 bits, not 8-bit or compressed copies.",
    )  # fmt: skip


def _light(here: Situation, measured: Measured) -> PassportCheck:
    return _compared(
        here, measured, "Uneven light", "unevenness_percent", _Words(
            above="Brightest and darkest places differ more than in training; the model takes "
            "light for cells, or cells for light.",
            below="",
            advice_above="Correct the illumination, or align the lamp and condenser.",
        ), show=_rounded, limit=_UNEVEN,
    )  # fmt: skip


def _noise(here: Situation, measured: Measured) -> PassportCheck:
    return _compared(
        here, measured, "Noise", "noise_percent", _Words(
            above="More grain beside the grey level than in training; stretched grey values and "
            "fine structure everywhere look so too.",
            below="Smoother than in training: a quieter camera, or denoised or compressed.",
            advice_above="Give the image as the camera recorded it; record with more light.",
            advice_below="Give the image as the camera recorded it.",
            far_below=FARTHEST,
        ), show=_percent_of, limit=_NOISY,
    )  # fmt: skip


def _emptiness(here: Situation, measured: Measured) -> PassportCheck:
    parts = _numbers(measured, "empty_fraction")
    words = _Words(
        above="Fewer cells than in training; what a model draws where there are none is invented.",
        below="Fuller than in training.",
        advice_above="Choose a field with cells, or look at empty places of the stain first.",
        advice_below="Look at crowded places of the stain before you trust it.",
    )
    check = _compared(
        here, measured, "Empty part", "empty_fraction", words, show=_percent,
        limit=None,
        # A whole field of structure may be an even coating: the number is doubtful then.
        passed_over=lambda part: part == 0, reddest="amber",
    )  # fmt: skip
    if parts and min(parts) >= _EMPTY:
        return PassportCheck(
            name=check.name, status="red", found=check.found, trained=check.trained,
            reason="There is next to nothing in the picture; what a model draws here is invented.",
            advice="Choose a field with cells; check the lamp and the channel.",
        )  # fmt: skip
    return check


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """Why a value above or below matters, and what to do; ``""`` below: that is no harm.

    ``far_below`` is the number of widths from which on below is amber.
    """

    above: str
    below: str
    advice_above: str
    advice_below: str = ""
    far_below: float = FAR


def _compared(
    here: Situation,
    measured: Measured,
    name: str,
    number: str,
    words: _Words,
    *,
    show: Callable[[float], str],
    limit: float | None,
    passed_over: Callable[[float], bool] = lambda _: False,
    reddest: Status = "red",
) -> PassportCheck:
    """Compare a number of each plane with its range, or with a limit for any model."""
    values = [plane.numbers.get(number) for plane in measured.planes]
    status: Status = "green"
    side, trained = 0, _trained(here, number, show)
    for p, (value, plane) in enumerate(zip(values, here.card.inputs, strict=True)):
        if value is None or passed_over(value):
            continue
        limits = None if plane.ranges is None else plane.ranges.numbers.get(number)
        if plane.ranges is None or limits is None:
            if limit is not None and value > limit:
                status, side = "amber", 1
            continue
        far = beyond(plane.ranges, number, value)
        if far < 0:  # less noise, or light that is more even, is no reason not to try
            one: Status = "amber" if words.below and far < -words.far_below else "green"
        else:
            one = above(far, FAR, FARTHEST if reddest == "red" else float("inf"))
        if RANK[one] > RANK[status]:
            status, side = one, 1 if far > 0 else -1
            if len(values) > 1:
                trained = f"{_mostly(limits, show)} in plane {measured.z[p]}"
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return PassportCheck(
            name=name, status="amber", found="cannot be measured",
            trained=trained,
            reason="Grey values around zero or below have no percentage, or too few are finite.",
            advice="Give the image as the camera recorded it.",
        )  # fmt: skip
    return PassportCheck(
        name=name, status=status, found=_values(known, show),
        trained=trained,
        reason="" if side == 0 else words.above if side > 0 else words.below,
        advice="" if side == 0 else words.advice_above if side > 0 else words.advice_below,
    )  # fmt: skip


def _numbers(measured: Measured, name: str) -> list[float]:
    return [plane.numbers[name] for plane in measured.planes if name in plane.numbers]


def _ranges(here: Situation, name: str) -> list[tuple[float, float] | None]:
    return [None if p.ranges is None else p.ranges.numbers.get(name) for p in here.card.inputs]


def _trained(here: Situation, name: str, show: Callable[[float], str]) -> str:
    ranges = [limits for limits in _ranges(here, name) if limits is not None]
    if not ranges:
        return "not stated"
    return _mostly((min(r[0] for r in ranges), max(r[1] for r in ranges)), show)


def _mostly(limits: tuple[float, float], show: Callable[[float], str]) -> str:
    """Name a range; "mostly", since a tenth of the training fields lay outside of it."""
    low, high = (show(limit) for limit in limits)
    return low if low == high else f"mostly {low} to {high}"


def _values(values: Sequence[float], show: Callable[[float], str]) -> str:
    shown = [show(value) for value in values]
    if len(set(shown)) == 1:
        return shown[0]
    return " / ".join(shown) if len(shown) <= 4 else f"{show(min(values))} to {show(max(values))}"


def _percent(part: float) -> str:
    if 0 < part < 0.0005:
        return "under 0.1 %"
    return f"{100 * part:.1f} %" if 0 < part < 0.1 else f"{100 * part:.0f} %"


def _percent_of(percent: float) -> str:
    return f"{percent:.2g} %"


def _rounded(percent: float) -> str:
    return f"{percent:.0f} %"


def _plain(number: float) -> str:
    return f"{number:.1f}"
