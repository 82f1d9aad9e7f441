"""Which failures are there to find? Each changes a good field, with a known strength and place.

Strengths were fixed before any check was written; `docs/qc.md` holds the table. A failure is what
is added to the prediction of a good model, never a true stain: a check that tells real from drawn
would find every prediction. `zoo_twins` holds a second version of each, written another way, so
that what was tuned to one is judged on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_virtualstain.qc.field import QcField
from napari_virtualstain.qc.zoo_places import Places, filled_from_around, tiles_of

__all__ = ["ZOO", "Damaged", "Failure", "Strength"]

Strength = Literal["moderate", "weak"]
Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A field with a failure, and where that is: (Y, X), `None` where it is everywhere."""

    field: QcField
    mask: Mask | None = None


Make = Callable[[QcField, float, np.random.Generator], Damaged]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One kind of failure.

    Parameters
    ----------
    name
        Of the registry.
    strengths
        Moderate and weak, in ``unit``.
    unit
        What the number means, in words.
    found_by
        Checks that are there to find it, fixed before they were tuned; empty where none can
        without a truth.
    regional
        Whether it is at some places only, so that a check has to say where.
    make
        Adds it to a field.
    """

    name: str
    strengths: tuple[float, float]
    unit: str
    found_by: tuple[str, ...]
    regional: bool
    make: Make

    def damage(self, field: QcField, strength: Strength | float, *, seed: int = 0) -> Damaged:
        """Return a field with this failure."""
        value = self.strengths[strength == "weak"] if isinstance(strength, str) else strength
        return self.make(field, value, np.random.default_rng([seed, 404]))


def changed(
    field: QcField, stains: Mapping[str, Picture] | None = None, planes: Picture | None = None
) -> QcField:
    """Return a field with other pixels, and nothing that was found in the old ones."""
    return replace(
        field,
        stains={**field.stains, **(stains or {})},
        planes=field.planes if planes is None else planes,
        _kept={},
    )


def _each(field: QcField, change: Callable[[str, Picture], Picture]) -> QcField:
    return changed(field, {n: change(n, p).astype(np.float32) for n, p in field.stains.items()})


def seam(field: QcField, step: float, rng: np.random.Generator) -> Damaged:
    """Raise and lower every second tile, so that borders step by a share of the foreground's SD."""
    number, mask = tiles_of(field)
    sign = np.where(number % 2 == 0, 0.5, -0.5).astype(np.float32)
    del rng
    return Damaged(
        field=_each(field, lambda n, p: p + np.float32(step * field.spread[n]) * sign), mask=mask
    )


def blur(field: QcField, sigma: float, rng: np.random.Generator) -> Damaged:
    """Blur all stains by a Gaussian."""
    del rng
    return Damaged(field=_each(field, lambda n, p: ndimage.gaussian_filter(p, sigma)))


def checkerboard(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Add a pattern of black and white pixels to cells, its amplitude a share of their SD."""
    del rng
    y, x = np.indices(field.shape, sparse=True)
    sign = (1 - 2 * ((y + x) % 2)).astype(np.float32)
    return Damaged(
        field=_each(
            field,
            lambda n, p: (
                p
                + np.float32(share * field.spread[n]) * sign * field.on_pixels(field.foreground(n))
            ),
        )
    )


def phantom(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Copy cells of the field onto empty background; how many is a share of the nuclei."""
    places = Places(field, rng)
    stains = {n: p.copy() for n, p in field.stains.items()}
    mask = np.zeros(field.shape, bool)
    edge = max(8, round(24 / field.pixel_um))
    for _ in range(places.count(share)):
        spot = places.empty_square(edge)
        cell = places.nucleus_square(edge)
        if spot is None or cell is None:
            break
        fade = _fade(edge)
        for name, picture in stains.items():
            over = np.maximum(field.stains[name][cell] - np.float32(field.dark(name)), 0)
            picture[spot] += fade * over
        mask[spot] |= fade > 0.5
    return Damaged(field=changed(field, stains), mask=mask)


def _fade(edge: int) -> Picture:
    at = np.linspace(-1, 1, edge)
    far = np.hypot(at[:, None], at[None])
    return np.clip((0.9 - far) / 0.25, 0, 1).astype(np.float32)


def lost_nuclei(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Fill nuclei of DNA with what lies around them; the other stains stay."""
    places = Places(field, rng)
    dna = field.stain("DNA")
    if dna is None:
        return Damaged(field=field)
    gone = places.some_nuclei(share)
    wide = ndimage.binary_dilation(gone, iterations=max(1, round(1.2 / field.pixel_um)))
    filled = filled_from_around(field.stains[dna], wide, level=field.dark(dna))
    return Damaged(field=changed(field, {dna: filled}), mask=gone)


def merged_nuclei(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Bridge nuclei with their nearest neighbours, at the brightness of both."""
    places = Places(field, rng)
    dna = field.stain("DNA")
    if dna is None:
        return Damaged(field=field)
    picture = field.stains[dna].copy()
    mask = np.zeros(field.shape, bool)
    for one, other, bridge in places.bridges(share):
        level = float(np.median(picture[one | other]))
        picture[bridge] = np.maximum(picture[bridge], np.float32(level))
        mask |= one | other | bridge
    return Damaged(field=changed(field, {dna: picture}), mask=mask)


def haze(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Add an uneven veil, on average a share of how bright the foreground is."""
    veil = ndimage.gaussian_filter(rng.random(field.shape), min(field.shape) / 8)
    veil = veil - veil.min()
    veil = (veil / veil.mean()).astype(np.float32)
    return Damaged(field=_each(field, lambda n, p: p + np.float32(share * field.bright(n)) * veil))


def gain(field: QcField, factor: float, rng: np.random.Generator) -> Damaged:
    """Multiply what is above the background: without a truth nobody can see it."""
    del rng

    def more(name: str, picture: Picture) -> Picture:
        dark = np.float32(field.dark(name))
        return dark + (picture - dark) * np.float32(factor)

    return Damaged(field=_each(field, more))


def shift_of_level(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Add a constant, a share of how bright the foreground is."""
    del rng
    return Damaged(field=_each(field, lambda n, p: p + np.float32(share * field.bright(n))))


def _swap(field: QcField, first: str, second: str) -> Damaged:
    one, other = field.stain(first), field.stain(second)
    if one is None or other is None:
        return Damaged(field=field)
    stains = {one: field.stains[other], other: field.stains[one]}
    return Damaged(field=changed(field, stains))


def channel_swap(field: QcField, amount: float, rng: np.random.Generator) -> Damaged:
    """Give DNA the picture of mitochondria, and the other way round."""
    del rng, amount
    return _swap(field, "DNA", "Mito")


def plausible_swap(field: QcField, amount: float, rng: np.random.Generator) -> Damaged:
    """Swap ER and RNA, which look alike."""
    del rng, amount
    return _swap(field, "ER", "RNA")


def collapsed(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Take the inner structure from a share of the cells: blurred by 2.4 µm, their outline kept."""
    places = Places(field, rng)
    mask = places.some_cells(share)
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 2)
    smooth = 2.4 / field.pixel_um
    return Damaged(
        field=_each(field, lambda n, p: p + soft * (ndimage.gaussian_filter(p, smooth) - p)),
        mask=mask,
    )


def dust(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Lay dark discs of 4 to 12 µm over a share of the bright field, in all planes."""
    if field.planes is None:
        return Damaged(field=field)
    y, x = np.indices(field.shape, sparse=True)
    mask = np.zeros(field.shape, bool)
    through = np.ones(field.shape, np.float32)
    while mask.mean() < share:
        radius = rng.uniform(2, 6) / field.pixel_um
        at = rng.uniform(0, 1, 2) * field.shape
        far = np.hypot(y - at[0], x - at[1])
        mask |= far < radius
        through *= (1 - 0.5 * np.clip(radius - far + 0.5, 0, 1)).astype(np.float32)
    return Damaged(field=changed(field, planes=field.planes * through), mask=mask)


def defocus(field: QcField, far_um: float, rng: np.random.Generator) -> Damaged:
    """Blur the bright field by the disc of light that is so far out of focus (NA 0.45)."""
    del rng
    if field.planes is None:
        return Damaged(field=field)
    radius = far_um * 0.45 / field.pixel_um
    y, x = np.indices((2 * int(np.ceil(radius)) + 1,) * 2) - int(np.ceil(radius))
    disc = np.clip(radius - np.hypot(y, x) + 0.5, 0, 1)
    kernel = (disc / disc.sum()).astype(np.float32)
    planes = np.stack([ndimage.convolve(p, kernel, mode="nearest") for p in field.planes])
    return Damaged(field=changed(field, planes=planes))


def z_swap(field: QcField, amount: float, rng: np.random.Generator) -> Damaged:
    """Turn the order of the planes of the bright field."""
    del rng, amount
    if field.planes is None:
        return Damaged(field=field)
    return Damaged(field=changed(field, planes=field.planes[::-1]))


def mis_registration(field: QcField, pixels: float, rng: np.random.Generator) -> Damaged:
    """Move all stains against the bright field, in a direction drawn at random."""
    angle = rng.uniform(0, 2 * np.pi)
    by = (pixels * np.sin(angle), pixels * np.cos(angle))
    return Damaged(field=_each(field, lambda n, p: ndimage.shift(p, by, order=1, mode="nearest")))


def flicker(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Make what is above the background brighter, or darker, than at the time point before."""
    return gain(field, 1 + share * (1 if rng.random() < 0.5 else -1), rng)


def bleaching(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Let the stain lose a share of its light from one time point to the next."""
    return gain(field, 1 - share, rng)


def _failure(
    name: str, strengths: tuple[float, float], unit: str, found_by: str, make: Make,
    regional: bool = False,
) -> Failure:  # fmt: skip
    return Failure(
        name=name, strengths=strengths, unit=unit, found_by=tuple(found_by.split()), make=make,
        regional=regional,
    )  # fmt: skip


ZOO: dict[str, Failure] = {
    one.name: one
    for one in (
        _failure("seam", (0.2, 0.07), "step over the SD of the foreground", "seams", seam, True),
        _failure("blur", (2.0, 1.0), "sigma in pixels", "blur", blur),
        _failure("checkerboard", (0.2, 0.07), "amplitude over the SD of the foreground",
                 "checkerboard", checkerboard),
        _failure("phantom", (0.2, 0.07), "share of the nuclei", "phantoms invented", phantom,
                 True),
        _failure("lost nuclei", (0.2, 0.07), "share of the nuclei", "lost", lost_nuclei, True),
        _failure("merged nuclei", (0.2, 0.07), "share of the nuclei", "merged", merged_nuclei,
                 True),
        _failure("haze", (0.2, 0.07), "share of the mean foreground", "background unevenness",
                 haze),
        _failure("intensity shift", (0.2, 0.07), "share of the mean foreground", "background",
                 shift_of_level),
        _failure("gain", (1.5, 1.2), "factor", "", gain),
        _failure("channel swap", (1.0, 1.0), "DNA and Mito", "channels", channel_swap),
        _failure("plausible swap", (1.0, 1.0), "ER and RNA", "", plausible_swap),
        _failure("collapsed structure", (0.5, 0.2), "share of the cells", "inner", collapsed, True),
        _failure("dust", (0.02, 0.007), "share of the bright field", "dust", dust, True),
        _failure("defocus", (3.0, 1.5), "µm", "likeness", defocus),
        _failure("z swap", (1.0, 1.0), "planes turned round", "likeness", z_swap),
        _failure("mis-registration", (5.0, 2.0), "pixels", "registration", mis_registration),
        _failure("flicker", (0.2, 0.07), "change of the foreground", "flicker", flicker),
        _failure("bleaching", (0.2, 0.07), "loss a time point", "flicker", bleaching),
    )
}  # fmt: skip
"""Every failure, by name."""
