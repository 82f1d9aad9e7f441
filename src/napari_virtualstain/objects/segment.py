"""Where are nuclei and cells? A classical way that needs no training, the same for every picture.

Truth and prediction are to be segmented in one way, or their difference is that of two methods.
Thresholds are found in each picture, so that a stain twice as bright has the same nuclei; how
bright they are is measured elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_multiotsu, threshold_otsu
from skimage.measure import label, regionprops
from skimage.segmentation import clear_border, relabel_sequential, watershed

from napari_virtualstain.errors import PixelDataError, SettingsError

__all__ = ["segment_cells", "segment_nuclei"]

Labels = NDArray[np.int32]

_APART = 5.0
"""By how many standard deviations of the background objects have to stand out of it: the parts
into which a threshold splits mere noise are 2 to 4 apart."""
_SOLID = 0.95
"""Share of its convex hull that a single nucleus fills; what fills less may be several."""
_EDGE = 1 / 3
"""Of its median brightness above the background, what a nucleus has at its outline."""
_WAIST = 0.75
"""Width of a waist over that of the narrower belly, from which two are one."""


def segment_nuclei(
    picture: NDArray[Any],
    *,
    diameter_px: tuple[float, float],
    classes: int = 3,
    keep_border: bool = True,
) -> Labels:
    """Return the nuclei of a picture of DNA, numbered from 1; 0 is background.

    Parameters
    ----------
    picture
        (Y, X); NaN is missing and is background.
    diameter_px
        Least and largest diameter of a nucleus. Smaller things are left out; what has a waist, or
        is larger, is split, and what then is still larger is left out.
    classes
        3 for the lower threshold of three classes, which also finds weak nuclei beside bright ones
        and the whole of each; 2 for Otsu's, which is stricter.
    keep_border
        Whether to keep nuclei that the edge of the picture cuts.

    Raises
    ------
    PixelDataError
        If the picture is not a plane.
    SettingsError
        If the diameters are none.

    Notes
    -----
    Smoothed by a tenth of the least diameter, thresholded (Otsu 1979,
    doi:10.1109/TSMC.1979.4310076), holes filled, and objects that are not convex split by a
    watershed of the distance to their outline. Where what is above the threshold does not stand out
    of the background by five of its standard deviations (median and median absolute deviation),
    there are no nuclei. The outline of each lies where it has a third of its own brightness above
    the background, whatever the threshold: it is not wider for being brighter than others. (A flat
    nucleus has half of it at its edge, a round one, seen through, almost none.)
    """
    _check(picture, diameter_px, classes)
    least, most = diameter_px
    smooth, known = _smoothed(picture, least / 10)
    mask = _foreground(smooth, known, classes)
    mask = ndimage.binary_fill_holes(mask)
    mask = ndimage.binary_opening(mask, iterations=max(1, round(least / 8)))
    area = np.pi / 4 * least**2
    found = _split(_within(label(mask), area / 2, np.inf) > 0, diameter_px)
    found = _within(_own_outline(found, smooth), area, np.pi / 4 * most**2)
    if not keep_border:
        found = clear_border(found)
    return _numbered(found)


def segment_cells(
    nuclei: Labels, picture: NDArray[Any], *, reach_px: float, classes: int = 3
) -> Labels:
    """Return the cell of each nucleus, with its number; the nucleus is part of it.

    Parameters
    ----------
    nuclei
        (Y, X) of `segment_nuclei`, or of any other method.
    picture
        (Y, X) of a stain of whole cells, for example of actin or RNA.
    reach_px
        How far from its nucleus a cell can reach.
    classes
        See `segment_nuclei`.

    Notes
    -----
    A watershed from the nuclei, over what is above the threshold; where nothing is, a cell is its
    nucleus. The border of two cells lies halfway between their nuclei, moved to where the stain is
    weaker, by a pixel for each of its standard deviations in cells. On brightness alone a bright
    rim would go to whichever nucleus reaches it first, all around its neighbours.
    """
    if nuclei.shape != picture.shape:
        raise PixelDataError(
            f"The nuclei are {nuclei.shape} and the picture {picture.shape}. Give the nuclei of "
            "the same field."
        )
    if not nuclei.any():
        return np.zeros(nuclei.shape, np.int32)
    smooth, known = _smoothed(picture, 1.0)
    away = ndimage.distance_transform_edt(nuclei == 0)
    mask = (_foreground(smooth, known, classes) & (away <= reach_px)) | (nuclei > 0)
    mask = ndimage.binary_fill_holes(mask)
    inside = smooth[mask]
    brighter = (smooth - inside.mean()) / (inside.std() or 1.0)
    cells: Labels = watershed(away - brighter, nuclei, mask=mask).astype(np.int32)
    return cells


def _check(picture: NDArray[Any], diameter_px: tuple[float, float], classes: int) -> None:
    if picture.ndim != 2:
        raise PixelDataError(
            f"Objects are looked for in a plane, and this is {picture.ndim}-dimensional. "
            "Choose one plane of it."
        )
    least, most = diameter_px
    if not 0 < least < most:
        raise SettingsError(
            f"A nucleus cannot be from {least:g} to {most:g} px wide. Give the smaller one first, "
            "and more than 0."
        )
    if classes not in (2, 3):
        raise SettingsError(f"There are 2 or 3 classes of brightness, not {classes}. Choose one.")


def _smoothed(picture: NDArray[Any], sigma: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    known = np.isfinite(picture)
    filled = np.asarray(picture, np.float32)
    if not known.all():
        dark = float(np.median(filled[known])) if known.any() else 0.0
        filled = np.where(known, filled, np.float32(dark))
    return ndimage.gaussian_filter(filled, sigma), known


def _foreground(
    smooth: NDArray[np.float32], known: NDArray[np.bool_], classes: int
) -> NDArray[np.bool_]:
    """Return what is above a threshold, nothing where it does not stand out."""
    values = smooth[known]
    nothing = np.zeros(smooth.shape, bool)
    if values.size < 2 or values.min() == values.max():
        return nothing
    try:
        level = threshold_otsu(values) if classes == 2 else threshold_multiotsu(values, 3)[0]
    except ValueError:  # fewer values than classes
        return nothing
    above = values > level
    low, high = values[~above], values[above]
    if not len(low) or not len(high):
        return nothing
    dark = np.median(low)
    noise = 1.4826 * np.median(np.abs(low - dark))
    if np.median(high) - dark < _APART * noise:
        return nothing
    found: NDArray[np.bool_] = (smooth > level) & known
    return found


def _split(mask: NDArray[np.bool_], diameter_px: tuple[float, float]) -> Labels:
    """Number the parts of a mask; split what has a waist, and what is larger than any nucleus."""
    whole: Labels = label(mask).astype(np.int32)
    largest = np.pi / 4 * diameter_px[1] ** 2
    count = int(whole.max())
    for part in regionprops(whole):
        if part.solidity >= _SOLID and part.area <= largest:
            continue
        pieces = _pieces(np.pad(part.image, 1), diameter_px[0], largest)[1:-1, 1:-1]
        window = whole[part.slice]
        for number in np.unique(pieces)[2:]:  # behind the background and the first, which stays
            count += 1
            window[pieces == number] = count
    return whole


def _pieces(inside: NDArray[np.bool_], least: float, largest: float) -> Labels:
    """Return the pieces of one object: as many as it has bellies with a waist between them.

    Where there is no waist two bellies are one, unless that would be larger than a nucleus is.
    """
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), least / 20)
    peaks = peak_local_max(
        distance, min_distance=max(1, round(least / 2)), labels=inside.astype(int),
        exclude_border=False,
    )  # fmt: skip
    markers = np.zeros(inside.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    pieces: Labels = watershed(-distance, markers, mask=inside).astype(np.int32)
    heights = np.array([0.0, *distance[tuple(peaks.T)]])
    areas = np.bincount(pieces.ravel(), minlength=len(heights))
    names = np.arange(len(heights))
    relative = {
        pair: waist / min(heights[pair[0]], heights[pair[1]])
        for pair, waist in _waists(pieces, distance).items()
    }
    for (one, other), waist in sorted(relative.items(), key=lambda item: -item[1]):
        first, second = names[one], names[other]
        if waist > _WAIST and first != second and areas[first] + areas[second] <= largest:
            areas[first] += areas[second]
            names[names == second] = first
    return names.astype(np.int32)[pieces]


def _waists(pieces: Labels, distance: NDArray[np.float64]) -> dict[tuple[int, int], float]:
    """Return half the width of the border between each two pieces that touch."""
    found: dict[tuple[int, int], float] = {}
    for axis in (0, 1):
        here, there = (slice(None, -1), slice(1, None))
        cut = [(slice(None), side) if axis else (side, slice(None)) for side in (here, there)]
        first, second = (pieces[own] for own in cut)
        wide = np.minimum(distance[cut[0]], distance[cut[1]])
        for y, x in np.argwhere((first != second) & (first > 0) & (second > 0)):
            pair = (int(min(first[y, x], second[y, x])), int(max(first[y, x], second[y, x])))
            found[pair] = max(found.get(pair, 0.0), float(wide[y, x]))
    return found


def _own_outline(found: Labels, smooth: NDArray[np.float32]) -> Labels:
    """Return what of each object has a third of its own brightness, and what that encloses."""
    if not found.any():
        return found
    background = float(np.median(smooth[found == 0])) if (found == 0).any() else 0.0
    numbers = np.arange(found.max() + 1)
    middle = np.zeros(len(numbers))
    middle[1:] = ndimage.median(smooth, found, numbers[1:])
    bright = smooth > (background + _EDGE * (middle - background))[found]
    kept: Labels = np.where(bright, found, 0).astype(np.int32)
    for number, place in enumerate(ndimage.find_objects(kept), 1):
        if place is not None:
            window = kept[place]
            window[ndimage.binary_fill_holes(window == number)] = number
    return kept


def _within(found: NDArray[Any], least: float, most: float) -> Labels:
    areas = np.bincount(found.ravel())
    keep = (areas >= least) & (areas <= most)
    keep[0] = False
    kept: Labels = np.where(keep[found], found, 0).astype(np.int32)
    return kept


def _numbered(found: Labels) -> Labels:
    numbered: Labels = relabel_sequential(found)[0].astype(np.int32)
    return numbered
