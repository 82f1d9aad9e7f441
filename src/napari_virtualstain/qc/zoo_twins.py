"""The failures of the zoo once more, written another way: what checks are judged on.

Same names, same strengths in the same units; nothing is shared with `zoo` but where in a field a
failure is put and the harmless bookkeeping. A check that was tuned on the one and sees the other
has seen the failure, and not how it was drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import fft, ndimage
from scipy.special import expit
from skimage.morphology import convex_hull_image

from napari_virtualstain.qc.field import Picture, QcField
from napari_virtualstain.qc.zoo import ZOO, Damaged, Failure, changed
from napari_virtualstain.qc.zoo_places import Places, tiles_of

__all__ = ["TWINS"]


def _each(field: QcField, change: Callable[[str, Picture], Picture]) -> QcField:
    return changed(field, {n: change(n, p).astype(np.float32) for n, p in field.stains.items()})


def _seam(field: QcField, step: float, rng: np.random.Generator) -> Damaged:
    """Each tile is off by its own offset, drawn; neighbours differ by the step on average (rms)."""
    number, mask = tiles_of(field)
    y, x = np.indices(field.shape, sparse=True)
    bands = [np.cumsum(np.r_[0, np.abs(np.diff(number, axis=a)).max(axis=1 - a)]) for a in (0, 1)]
    grid = rng.normal(size=(bands[0][-1] + 1, bands[1][-1] + 1))
    across = np.concatenate([np.diff(grid, axis=a).ravel() for a in (0, 1)])
    grid = grid / max(float(np.sqrt(np.mean(across**2))), 1e-9)
    offset = grid[bands[0][y], bands[1][x]].astype(np.float32)
    return Damaged(
        field=_each(field, lambda n, p: p + np.float32(step * field.spread[n]) * offset), mask=mask
    )


def _blur(field: QcField, sigma: float, rng: np.random.Generator) -> Damaged:
    """Three box filters, whose variance together is that of the Gaussian."""
    del rng
    width = np.sqrt(4 * sigma**2 + 1)  # of three boxes: 3 (w^2 - 1) / 12 = sigma^2

    def soft(_: str, picture: Picture) -> Picture:
        low = max(1, int(width) // 2 * 2 - 1)
        share = np.clip((width**2 - low**2) / ((low + 2) ** 2 - low**2), 0, 1)
        for _turn in range(3):
            narrow, wide = (ndimage.uniform_filter(picture, n) for n in (low, low + 2))
            picture = np.asarray((1 - share) * narrow + share * wide, np.float32)
        return picture

    return Damaged(field=_each(field, soft))


def _checkerboard(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Even columns and rows are brighter by a factor, as uneven overlaps of kernels leave them."""
    del rng
    y, x = np.indices(field.shape, sparse=True)
    sign = ((1 - 2 * (y % 2)) + (1 - 2 * (x % 2))) / 2

    def pattern(name: str, picture: Picture) -> Picture:
        over = picture - field.dark(name)
        strength = share * field.spread[name] / max(field.bright(name), 1e-9)
        return np.asarray(picture + np.sqrt(2) * strength * sign * over, np.float32)

    return Damaged(field=_each(field, pattern))


def _phantom(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Draw discs with grain onto empty background, as bright as cells are on average."""
    places = Places(field, rng)
    stains = {n: p.copy() for n, p in field.stains.items()}
    mask = np.zeros(field.shape, bool)
    edge = max(8, round(24 / field.pixel_um))
    y, x = np.indices((edge, edge)) / edge - 0.5
    for _ in range(places.count(share)):
        spot = places.empty_square(edge)
        if spot is None:
            break
        tilt = rng.uniform(0, np.pi)
        long = (np.cos(tilt) * x + np.sin(tilt) * y) / 0.42
        short = (np.cos(tilt) * y - np.sin(tilt) * x) / rng.uniform(0.28, 0.42)
        far = np.hypot(long, short)
        for name, picture in stains.items():
            reach = 0.6 if name == field.stain("DNA") else 1.0
            disc = 1 / (1 + np.exp((far - 0.85 * reach) / 0.06))
            rough = ndimage.gaussian_filter(rng.normal(size=far.shape), 2)
            rough = 1 + 0.3 * rough / max(float(rough.std()), 1e-9)
            picture[spot] += (disc * rough * field.bright(name)).astype(np.float32)
        mask[spot] |= far < 0.85
    return Damaged(field=changed(field, stains), mask=mask)


def _lost(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Darken whole nuclei of DNA to what is usual outside of nuclei, with a soft rim."""
    places = Places(field, rng)
    dna = field.stain("DNA")
    if dna is None or field.nuclei is None:
        return Damaged(field=field)
    gone = places.some_nuclei(share)
    inside = field.on_pixels(field.nuclei > 0)
    outside = float(np.median(field.stains[dna][~inside & field.on_pixels(field.cells)]))
    rim = 1.8 / field.pixel_um
    far = ndimage.distance_transform_edt(~gone)
    keep = 1 / (1 + np.exp(-(far - rim) / 0.8))
    picture = outside + keep * (field.stains[dna] - outside)
    return Damaged(field=changed(field, {dna: picture.astype(np.float32)}), mask=gone)


def _merged(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Fill the convex hull of two neighbours as brightly as what of them is near."""
    places = Places(field, rng)
    dna = field.stain("DNA")
    if dna is None:
        return Damaged(field=field)
    picture = field.stains[dna].copy()
    mask = np.zeros(field.shape, bool)
    for one, other, _ in places.bridges(share):
        both = one | other
        hull = convex_hull_image(both)
        near = ndimage.gaussian_filter(both.astype(np.float32), 8 / field.pixel_um)
        level = ndimage.gaussian_filter(np.where(both, field.stains[dna], 0), 8 / field.pixel_um)
        rim = ndimage.gaussian_filter(hull.astype(np.float32), 1.0)
        filled = field.dark(dna) + rim * (level / np.maximum(near, 1e-3) - field.dark(dna))
        picture = np.where(hull, np.maximum(picture, filled), picture).astype(np.float32)
        mask |= hull
    return Damaged(field=changed(field, {dna: picture}), mask=mask)


def _haze(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Add light of the picture itself from far out of focus, on average the share."""
    del rng

    def veiled(name: str, picture: Picture) -> Picture:
        far = ndimage.gaussian_filter(picture - field.dark(name), 24 / field.pixel_um)
        far = np.maximum(far, 0)
        veil = share * field.bright(name) * far / max(float(far.mean()), 1e-9)
        return np.asarray(picture + veil, np.float32)

    return Damaged(field=_each(field, veiled))


def _shift_of_level(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Lower or raise everything, each stain by its own part of the share, the largest by all."""
    parts = rng.uniform(0.5, 1, len(field.stains))
    own = dict(zip(field.stains, parts / parts.max(), strict=True))
    return Damaged(field=_each(field, lambda n, p: p + share * own[n] * field.bright(n)))


def _gain(field: QcField, factor: float, rng: np.random.Generator) -> Damaged:
    """Divide by the factor what is above the background."""
    del rng
    return Damaged(
        field=_each(field, lambda n, p: field.dark(n) + (p - field.dark(n)) / np.float32(factor))
    )


def _collapsed(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Replace the inside of cells by the median of 5.4 µm around each place."""
    mask = Places(field, rng).some_cells(share)
    edge = max(3, round(5.4 / field.pixel_um) // 2 * 2 + 1)
    soft = np.clip(ndimage.distance_transform_edt(mask) / 4, 0, 1)
    return Damaged(
        field=_each(field, lambda n, p: p + soft * (ndimage.median_filter(p, edge) - p)), mask=mask
    )


def _dust(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """Lay dark fibres, 4 µm thick and bent, over a share of the bright field."""
    if field.planes is None:
        return Damaged(field=field)
    height, width = field.shape
    line = np.zeros(field.shape, bool)
    thick = max(1.0, 2.0 / field.pixel_um)
    mask = line
    while mask.mean() < share:
        at, way = rng.uniform(0, 1, 2) * field.shape, rng.uniform(0, 2 * np.pi)
        for _ in range(round(25 / field.pixel_um)):
            at += np.array([np.sin(way), np.cos(way)])
            way += rng.normal(0, 0.08)
            y, x = int(at[0]), int(at[1])
            if 0 <= y < height and 0 <= x < width:
                line[y, x] = True
        far = ndimage.distance_transform_edt(~line)
        mask = far < thick
    dark = 0.55 * expit((thick - far) / 0.5)
    return Damaged(
        field=changed(field, planes=field.planes * (1 - dark).astype(np.float32)), mask=mask
    )


def _defocus(field: QcField, far_um: float, rng: np.random.Generator) -> Damaged:
    """Blur the bright field by a Gaussian as wide (SD) as the disc of light."""
    del rng
    if field.planes is None:
        return Damaged(field=field)
    sigma = far_um * 0.45 / field.pixel_um / 2
    return Damaged(
        field=changed(field, planes=ndimage.gaussian_filter(field.planes, (0, sigma, sigma)))
    )


def _registration(field: QcField, pixels: float, rng: np.random.Generator) -> Damaged:
    """Turn the phases of all waves, so that the picture moves along a diagonal."""
    by = np.array([1, rng.choice([-1, 1])]) * pixels / np.sqrt(2)

    def moved(_: str, picture: Picture) -> Picture:
        edge = 16
        wide = np.pad(picture, edge, mode="reflect")
        waves = ndimage.fourier_shift(fft.fft2(wide), by)
        found: Picture = fft.ifft2(waves).real[edge:-edge, edge:-edge]
        return found

    return Damaged(field=_each(field, moved))


def _flicker(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """The time before is brighter or darker instead."""
    if field.before is None:
        return Damaged(field=field)
    factor = 1 + share * rng.choice([-1, 1])
    before = {
        n: (field.dark(n) + (p - field.dark(n)) * factor).astype(np.float32)
        for n, p in field.before.items()
    }
    return Damaged(field=replace(field, before=before, _kept={}))


def _bleaching(field: QcField, share: float, rng: np.random.Generator) -> Damaged:
    """One stain bleaches as fast as it says, the others half as fast."""
    fast = rng.choice(sorted(field.stains))
    return Damaged(
        field=_each(
            field,
            lambda n, p: (
                field.dark(n)
                + (p - field.dark(n)) * np.exp(np.log(1 - share) * (1.0 if n == fast else 0.5))
            ),
        )
    )


_MADE = {
    "seam": _seam, "blur": _blur, "checkerboard": _checkerboard, "phantom": _phantom,
    "lost nuclei": _lost, "merged nuclei": _merged, "haze": _haze,
    "intensity shift": _shift_of_level, "gain": _gain, "collapsed structure": _collapsed,
    "dust": _dust, "defocus": _defocus, "mis-registration": _registration, "flicker": _flicker,
    "bleaching": _bleaching,
}  # fmt: skip

TWINS: dict[str, Failure] = {name: replace(ZOO[name], make=make) for name, make in _MADE.items()}
"""The second version of each failure that has one; a swap has no other way to be made."""
