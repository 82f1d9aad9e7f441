"""Which checks are there, and what does each say of a field? Green, amber, red, or not assessable.

A check measures numbers. Where a reference knows a number, its score is how far out of the usual it
lies (`reference.Usual.score`), and limits on the score decide; where none does, a check may have
limits on the number itself, which hold for any model; else it is not assessable, and says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from napari_virtualstain.errors import unknown_name
from napari_virtualstain.qc import cells, familiar, levels, patterns, source
from napari_virtualstain.qc.check import RANK, Check, Finding, State
from napari_virtualstain.qc.field import QcField
from napari_virtualstain.qc.found import CannotTell, Found
from napari_virtualstain.qc.reference import QcReference

__all__ = ["CHECKS", "UNSEEN", "run_checks", "worst_state"]


def _percent(value: float) -> str:
    percent = 100 * value
    return f"{percent:.0f} %" if abs(percent) >= 100 else f"{percent:.2g} %"


def _factor(value: float) -> str:
    return f"x {np.exp(value):.2f}"


def _times(value: float) -> str:
    return f"{value:.2f} times the limit"


def _powers(value: float) -> str:
    return _percent(10**value)


def _pixels(value: float) -> str:
    return f"{value:.1f} px"


_CHECKS = (
    Check(
        name="missing", title="Missing pixels", of="output", measure=levels.missing, least=1e-3,
        limits=(1e-6, 0.05), shown=_percent,
        reason=("pixels are not there", ""),
        advice="Finish the stain with --resume, or leave the field out.",
    ),
    Check(
        name="likeness", title="Unlike the usual bright field", of="input",
        measure=source.likeness, least=0.2,
        reason=("focus, contrast or noise of the bright field is not what the model knows", ""),
        advice="Compare with `virtualstain passport`; look at focus and at the order of planes.",
    ),
    Check(
        name="distance", title="Distance from the training data", of="input",
        measure=familiar.distance, least=0.1, limits=(1.0, 1.5), shown=_times,
        reason=("to the model this {name} is unlike the images that taught it", ""),
        advice="Compare microscope, focus, pixel size and cells with the training images; stain "
        "some of these wells and tune the model with `virtualstain finetune`.",
    ),
    Check(
        name="dust", title="Dust in the bright field", of="input", measure=source.dust,
        least=5e-4, limits=(0.01, 0.03), shown=_percent,
        reason=("something is dark in all planes, which no cell is", ""),
        advice="Clean the plate, or reject the places that are marked.",
    ),
    Check(
        name="background", title="Background", of="output", measure=levels.background,
        side="both", least=0.01, shown=_percent,
        reason=("{name}: empty places are brighter than usual: haze, or a shift of intensity",
                "{name}: empty places are darker than usual"),
        advice="Do not compare intensities with other fields; look at the bright field for haze.",
    ),
    Check(
        name="unevenness", title="Uneven background", of="output", measure=levels.unevenness,
        least=0.01, shown=_percent,
        reason=("{name}: empty places are less even than usual: haze, noise, or phantoms", ""),
        advice="Look at the empty places of the stain; do not compare intensities within it.",
    ),
    Check(
        name="intensity", title="Brightness of cells", of="output", measure=levels.intensity,
        side="both", least=0.05, shown=_factor,
        reason=("{name} is brighter than in any usual field",
                "{name} is darker than in nearly all usual fields"),
        advice="Compare counts and shapes, no amounts, unless a stained well confirms it.",
    ),
    Check(
        name="phantoms", title="Phantoms on empty background", of="output",
        measure=levels.phantoms, least=5e-4, limits=(0.02, 0.1), shown=_percent,
        reason=("{name} is drawn where the bright field is empty", ""),
        advice="Reject the marked places; a model that does this often was trained too long, or "
        "with too much weight on its critic.",
    ),
    Check(
        name="lost", title="Lost nuclei", of="output", measure=cells.lost, least=0.005,
        shown=_percent,
        reason=("DNA lacks nuclei that the {name} foretells, as many as this share of all", ""),
        advice="Look at the marked places in the bright field; do not count cells here.",
    ),
    Check(
        name="invented", title="Invented nuclei", of="output", measure=cells.invented, least=0.005,
        shown=_percent,
        reason=("DNA shows nuclei that the {name} does not foretell, as many as this share", ""),
        advice="Look at the marked places in the bright field; do not count cells here.",
    ),
    Check(
        name="merged", title="Merged nuclei", of="output", measure=cells.merged, least=0.01,
        shown=_percent,
        reason=("{name}: nuclei larger, less round or closer than nearly all good ones", ""),
        advice="Do not count or size nuclei here before you have looked at the marked ones.",
    ),
    Check(
        name="channels", title="Stains in their places", of="output", measure=cells.channels,
        side="both", least=0.05, shown=lambda value: f"{value:.2f}",
        reason=("{name} is higher than it should be: stains do not lie where they belong",
                "{name} is lower than it should be: stains do not lie where they belong"),
        advice="Check the names of channels; then do not use colocalisation.",
    ),
    Check(
        name="registration", title="Stains beside their cells", of="output",
        measure=cells.registration, least=0.5, shown=_pixels,
        reason=("the stains are shifted against the bright field", ""),
        advice="Check that prediction and bright field are of the same field and crop.",
    ),
    Check(
        name="blur", title="Sharpness", of="output", measure=patterns.blur, side="both",
        least=0.05, shown=_powers,
        reason=("{name}: more fine grain than the stain should have: noise",
                "{name}: less fine power over coarse than there should be: blurred"),
        advice="Do not measure texture or granularity; a sharper model is trained with a critic.",
    ),
    Check(
        name="inner", title="Structure inside cells", of="output", measure=cells.inner,
        least=0.01, shown=_percent,
        reason=("of the cells is smoother inside than good ones: structure has collapsed", ""),
        advice="Do not measure texture in the marked cells.",
    ),
    Check(
        name="seams", title="Seams of tiles", of="output", measure=patterns.seams, least=0.005,
        limits=(0.03, 0.1), shown=_percent,
        reason=("{name} steps at the borders of tiles, by this share of the SD of its cells", ""),
        advice="Stain again without --stitch; tiles with their halo leave no seams.",
    ),
    Check(
        name="checkerboard", title="Repeated pattern", of="output", measure=patterns.checkerboard,
        least=5e-3, limits=(0.03, 0.1), shown=_percent,
        reason=("{name} repeats every 2 or 4 pixels, by this share of the SD of its cells", ""),
        advice="Do not measure texture; a model that upsamples by resizing has no such pattern.",
    ),
    Check(
        name="clipping", title="Clipped values", of="output", measure=levels.clipping,
        least=1e-3, limits=(1e-3, 1e-2), shown=_percent,
        reason=("{name}: pixels pile up at one value, beyond which all was cut", ""),
        advice="Stain again with --dtype float32; do not measure sums of intensity.",
    ),
    Check(
        name="flicker", title="Change from the time before", of="output", measure=levels.flicker,
        least=0.01, limits=(0.1, 0.2), shown=_factor,
        reason=("{name} is brighter or darker than at the time point before by this factor", ""),
        advice="Do not read time courses of intensity; stain with --normalise-on the "
        "whole series. If these are separate fields, stain with --axes that have f in place of t.",
    ),
    Check(
        name="z jumps", title="Change from the plane below", of="output", measure=levels.z_jumps,
        least=0.02, limits=(0.5, 1.0), shown=lambda value: f"{value:.2f}",
        reason=("{name} differs from the plane below more than planes so near should", ""),
        advice="Look at the planes one after the other; do not measure volumes.",
    ),
)  # fmt: skip

CHECKS: dict[str, Check] = {check.name: check for check in _CHECKS}
"""Every check, by name, in the order in which it is told."""

UNSEEN = (
    "A gain of all stains within the usual range, a swap of two stains that look alike, and a "
    "texture that is wrong everywhere in the same way cannot be seen without a true stain."
)
"""What no check can see; said with every report."""


_AT_ONCE = min(2, os.cpu_count() or 1)
"""How many checks run beside each other; more wait for the same parts of the field."""
_LONG = ("lost", "inner", "likeness", "background")


def run_checks(
    field: QcField, reference: QcReference | None = None, names: Iterable[str] | None = None
) -> list[Finding]:
    """Return what each check says of a field.

    Parameters
    ----------
    field
        Prediction, with the bright field where it is at hand.
    reference
        Of good predictions, if there is one.
    names
        Of `CHECKS`; all if `None`.

    Raises
    ------
    UnknownNameError
        If there is no such check.
    """
    chosen = list(CHECKS if names is None else names)
    for name in chosen:
        if name not in CHECKS:
            raise unknown_name("check", name, CHECKS)
    if len(chosen) < 2 or _AT_ONCE < 2:
        return [_finding(CHECKS[name], field, reference) for name in chosen]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="virtualstain-qc") as pool:
        # Filters and transforms let others run. The longest first, so that none ends alone.
        order = sorted(chosen, key=lambda name: name not in _LONG)
        asked = {name: pool.submit(_finding, CHECKS[name], field, reference) for name in order}
        return [asked[name].result() for name in chosen]


def _finding(check: Check, field: QcField, reference: QcReference | None) -> Finding:
    try:
        found = check.measure(field, reference)
    except CannotTell as why:
        return _untold(check, f"not assessable: {why}")
    scores: dict[str, tuple[float, State]] = {}
    for number, value in found.numbers.items():
        if np.isfinite(value):
            scored = _scored(check, number, value, reference)
            if scored is not None:
                scores[number] = scored
    if not scores:
        return _untold(check, "not assessable: only a reference tells what is usual", found)
    worst = max(scores, key=lambda number: (RANK[scores[number][1]], scores[number][0]))
    score, state = scores[worst]
    value = found.numbers[worst]
    usual = None if reference is None else reference.usual.get(f"{check.name}/{worst}")
    said = "" if usual is None else _range(check, usual.low, usual.high)
    low = usual is not None and value < usual.middle
    reason = ""
    if state != "green":
        what = check.reason[1] if low and check.reason[1] else check.reason[0]
        name = worst.removesuffix(" level").removesuffix(" unevenness")
        beside = f", where good fields have {said}" if said else ""
        reason = f"{check.shown(value)}{beside}: {what.format(name=name)}"
    return Finding(
        check=check.name, title=check.title, state=state, score=score, number=worst, value=value,
        usual=said, reason=reason, advice="" if state == "green" else check.advice,
        where=found.where if state != "green" else None, numbers=dict(found.numbers),
    )  # fmt: skip


def _scored(
    check: Check, number: str, value: float, reference: QcReference | None
) -> tuple[float, State] | None:
    usual = None if reference is None else reference.usual.get(f"{check.name}/{number}")
    if usual is not None and reference is not None:
        score = usual.score(value, check.side, check.least)
        limits = reference.limits.get(check.name)
        amber, red = (3.0, 6.0) if limits is None else (limits.amber, limits.red)
    elif check.limits is not None:
        amber, red = check.limits
        score = (abs(value) if check.side == "both" else value) / amber
        amber, red = 1.0, red / amber
    else:
        return None
    return score, "red" if score > red else "amber" if score > amber else "green"


def _range(check: Check, low: float, high: float) -> str:
    ends = (check.shown(low), check.shown(high))
    if check.side == "high":
        return f"up to {ends[1]}"
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _untold(check: Check, reason: str, found: Found | None = None) -> Finding:
    return Finding(
        check=check.name, title=check.title, state="not assessable", reason=reason,
        numbers=None if found is None else dict(found.numbers),
    )  # fmt: skip


def worst_state(findings: Iterable[Finding]) -> State:
    """Return the worst state of several; not assessable if none could be assessed."""
    return max((one.state for one in findings), key=lambda s: RANK[s], default="not assessable")
