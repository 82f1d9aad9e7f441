"""How bright is it, and where should it be dark? Background, phantoms, range, time and z."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from napari_virtualstain.preprocessing.quality import saturation
from napari_virtualstain.qc.expectation import of_light
from napari_virtualstain.qc.field import Picture, QcField, binned, softened
from napari_virtualstain.qc.found import CannotTell, Found, places
from napari_virtualstain.qc.reference import QcReference, StainUsual

__all__ = [
    "background",
    "clipping",
    "flicker",
    "intensity",
    "missing",
    "phantoms",
    "unevenness",
    "z_jumps",
]

_PHANTOM = 0.2
"""Of the usual brightness of a stain, what on empty background is a phantom."""
_LEAST_UM2 = 12.0
_MANY = 1 << 21
"""Pixels above which every second row and column says enough of values that pile up."""


def missing(field: QcField, reference: QcReference | None) -> Found:
    """Measure the share of pixels that are not there."""
    del reference
    holes = np.zeros(field.shape, bool)
    for picture in field.stains.values():
        holes |= ~np.isfinite(picture)
    return Found(numbers={"share": float(holes.mean())}, where=holes)


def background(field: QcField, reference: QcReference | None) -> Found:
    """Measure the level of empty places, over the usual light of cells."""
    numbers = {
        f"{name} level": (field.dark(name) - usual.dark) / usual.bright
        for name, usual in _known(field, reference).items()
    }
    return Found(numbers=numbers)


def unevenness(field: QcField, reference: QcReference | None) -> Found:
    """Measure how uneven empty places are: from 10 % to 90 %, over the usual light of cells."""
    known, empty = _known(field, reference), field.empty
    if empty is None:
        raise CannotTell("no place is surely empty in the bright field, or there is none")
    numbers = {}
    for name, usual in known.items():
        ends = np.quantile(field.coarse(name)[empty], (0.1, 0.9))
        numbers[f"{name} unevenness"] = float(ends[1] - ends[0]) / usual.bright
    return Found(numbers=numbers)


def _known(field: QcField, reference: QcReference | None) -> dict[str, StainUsual]:
    """Return the stains of a field that a reference knows."""
    found = {} if reference is None else reference.stains
    found = {n: one for n, one in found.items() if n in field.stains and one.bright > 0}
    if not found:
        raise CannotTell("what a good background is, only a reference tells")
    return found


def intensity(field: QcField, reference: QcReference | None) -> Found:
    """Measure the brightness of the foreground above the background, as a factor of the usual."""
    if reference is None:
        raise CannotTell("how bright a good prediction is, only a reference tells")
    numbers = {
        name: float(np.log(max(field.bright(name), 1e-6 * usual.bright) / usual.bright))
        for name, usual in reference.stains.items()
        if name in field.stains and usual.bright > 0
    }
    if not numbers:
        raise CannotTell("the reference knows none of these stains")
    return Found(numbers=numbers)


def phantoms(field: QcField, reference: QcReference | None) -> Found:
    """Measure which part of the empty background shows a stain."""
    empty = field.empty
    if empty is None:
        raise CannotTell(
            "no place is surely empty in the bright field; a sparser field would show phantoms"
            if field.planes is not None
            else "only the bright field says where it is empty; give it with --source"
        )
    if reference is not None:
        foretold = foretold_by_light(field, reference)
        empty = empty if foretold is None else empty & (foretold < _PHANTOM)
        if not empty.any():
            raise CannotTell("no place is surely empty in the bright field")
    numbers = {}
    least = _LEAST_UM2 / (field.bin * field.pixel_um) ** 2
    shown = np.zeros(empty.shape, bool)
    for name in field.stains:
        known = None if reference is None else reference.stains.get(name)
        bright = field.bright(name) if known is None else known.bright
        here = (field.coarse(name) > field.dark(name) + _PHANTOM * bright) & empty
        labels, count = ndimage.label(here)
        if count:
            areas = np.bincount(labels.ravel())
            areas[0] = 0
            here = (areas >= least)[labels]
        numbers[name] = float(here.sum() / empty.sum())
        shown |= here
    # What is seen is the middle of a phantom: its rim may lie outside of what is surely empty.
    wide = ndimage.binary_dilation(shown, iterations=3) & field.cells if shown.any() else shown
    return Found(numbers=numbers, where=places(field, shown | wide))


def foretold_by_light(field: QcField, reference: QcReference) -> Picture | None:
    """Return how bright the stains are that the bright field foretells, 1 as in cells; (y, x)."""
    features = of_light(field)
    total, weight = None, 0.0
    for name, expectation in reference.light.items():
        usual = reference.stains.get(name)
        if features is None or usual is None or len(features) + 1 != len(expectation.weights):
            continue
        over = (expectation.of(features) - usual.dark) / np.float32(max(usual.bright, 1e-9))
        own = max(expectation.r, 0.0)
        total = own * over if total is None else total + own * over
        weight += own
    return None if total is None or not weight else softened(total / weight, 2.0)


def clipping(field: QcField, reference: QcReference | None) -> Found:
    """Measure the share of pixels that pile up at the brightest and at the darkest value."""
    del reference
    numbers = {}
    every = 2 if field.shape[0] * field.shape[1] > _MANY else 1
    for name, whole in field.stains.items():
        picture = whole[::every, ::every]
        known = picture[np.isfinite(picture)]
        if not known.size:
            continue
        bottom = known.min()
        numbers[f"{name} bright"] = saturation(picture)[0]
        at_bottom = float((known == bottom).mean())
        numbers[f"{name} dark"] = at_bottom if bottom < known.max() else 1.0
    return Found(numbers=numbers)


def flicker(field: QcField, reference: QcReference | None) -> Found:
    """Measure the change of a stain's light from the time point before, as the log of a factor."""
    del reference
    if field.before is None:
        raise CannotTell("there is one time point, or this is the first")
    return Found(numbers=_changes(field, field.before))


def z_jumps(field: QcField, reference: QcReference | None) -> Found:
    """Measure the change from the plane below: of the light, and of what the picture is like."""
    del reference
    if field.below is None:
        raise CannotTell("there is one z plane, or this is the lowest")
    numbers = _changes(field, field.below)
    for name in list(numbers):
        one, other = field.coarse(name), binned(field.below[name], field.bin)
        known = np.isfinite(other)
        if one[known].std() > 0 and other[known].std() > 0:
            numbers[f"{name} likeness"] = 1 - float(np.corrcoef(one[known], other[known])[0, 1])
    return Found(numbers=numbers)


def _changes(field: QcField, other: Mapping[str, Picture]) -> dict[str, float]:
    numbers = {}
    for name in field.stains:
        if name not in other:
            continue
        # Both above one darkness: that of the place, not of the picture.
        dark = field.dark(name)
        then = binned(other[name], field.bin)
        both = field.foreground(name) & np.isfinite(then)
        if both.sum() < 16:
            continue
        now, past = (float(p[both].mean()) - dark for p in (field.coarse(name), then))
        if now > 0 and past > 0:
            numbers[name] = abs(float(np.log(now / past)))
    if not numbers:
        raise CannotTell("too little is stained to be compared")
    return numbers
