"""What did tiles and networks draw that no cell has? Steps at borders, patterns, blur.

References
----------
.. [1] Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill (2016),
   doi:10.23915/distill.00003.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_virtualstain.metrics.spectrum import BANDS_PX
from napari_virtualstain.qc.field import Picture, QcField
from napari_virtualstain.qc.found import CannotTell, Found
from napari_virtualstain.qc.reference import QcReference

__all__ = ["blur", "checkerboard", "seams"]

_SURE = 5.0
"""Spreads of lines that are no borders, from which on a step is one."""
_SEEN = 0.02
"""Smallest step that is marked, over the SD of the foreground."""
_AWAY = (4, 14)
_BAND = 2
_BLOCK = 128
_BLOCKS = 12
_PATTERN_BLOCK = 16
_SQUARES = 32
"""From which on phases that differ average out."""
_BY_CHANCE = 4.0
"""Variances that are taken off a square: two standard deviations."""


def seams(field: QcField, reference: QcReference | None) -> Found:
    """Measure the steps at borders, less what neighbouring pixels foretell of them.

    Across a border, the step less the mean of the steps before and behind it; the median along
    each side of a tile, so that no cell counts; and the same along lines some pixels away, which
    say how large it is by chance. The root mean square over all sides, less that of chance, over
    the SD of the foreground. Where nobody knows the borders, every line from edge to edge is one.
    """
    del reference
    if field.borders is not None and not field.borders:
        raise CannotTell("the field was predicted as one piece, so that there are no borders")
    numbers: dict[str, float] = {}
    where = np.zeros(field.shape, bool)
    for name, picture in field.stains.items():
        wide = float(field.spread[name])
        if not wide > 0:
            continue
        if field.borders is None:
            numbers[f"{name} lines"] = _lines(picture, where) / wide
            continue
        square: list[float] = []
        chance: list[float] = []
        for part, step, spread, beside in _sides(field, picture):
            square.append(step**2)
            chance.append(beside)
            if abs(step) > max(_SURE * spread, _SEEN * wide):
                where[part] = True
        if square:
            excess = float(np.mean(square)) - float(np.mean(chance))
            numbers[name] = float(np.sqrt(max(excess, 0.0))) / wide
    if not numbers:
        raise CannotTell("no stain has a foreground")
    return Found(numbers=numbers, where=where)


def _sides(
    field: QcField, picture: Picture
) -> Iterator[tuple[tuple[slice, slice], float, float, float]]:
    """Yield each side of a tile: its pixels, its step, and the spread and mean square by chance."""
    borders = field.borders
    if borders is None:
        return
    for axis, (lines, across) in enumerate(((borders.y, borders.x), (borders.x, borders.y))):
        turned = picture if axis == 0 else picture.T
        height, width = turned.shape
        ends = [0, *across, width]
        for line in lines:
            if not 2 <= line < height - 2:
                continue
            away = [line + s * n for n in range(*_AWAY, 2) for s in (-1, 1)]
            away = [at for at in away if 2 <= at < height - 2]
            if not away:
                continue
            for left, right in pairwise(ends):
                if right - left < 16:
                    continue
                part = turned[:, left:right]
                step = _step(part, line)
                chance = np.array([_step(part, at) for at in away])
                band = slice(max(0, line - _BAND), line + _BAND)
                here = (band, slice(left, right))
                spread = 1.4826 * float(np.median(np.abs(chance)))
                yield (
                    here if axis == 0 else here[::-1], step, spread, float(np.mean(chance**2))
                )  # fmt: skip


def _step(picture: Picture, line: int) -> float:
    """Return the median step between a line and the one before, less what is usual beside it."""
    two, one, zero, next_ = (picture[line + n] for n in (-2, -1, 0, 1))
    step = zero - one - (one - two + next_ - zero) / 2
    known = step[np.isfinite(step)]
    return float(np.median(known)) if known.size else 0.0


def _lines(picture: Picture, where: NDArray[np.bool_]) -> float:
    """Return the largest step of lines from edge to edge that stands out, and mark these."""
    largest = 0.0
    for axis in (0, 1):
        turned = picture if axis == 0 else picture.T
        steps = turned[2:-1] - turned[1:-2] - (
            turned[1:-2] - turned[:-3] + turned[3:] - turned[2:-1]
        ) / 2  # fmt: skip
        steps = np.where(np.isfinite(steps), steps, 0)
        middle = np.abs(np.median(steps, axis=1))
        spread = 1.4826 * float(np.median(middle)) / 0.6745
        sure = np.flatnonzero(middle > 2 * _SURE * max(spread, 1e-12))
        if sure.size:
            largest = max(largest, float(middle[sure].max()))
            for line in sure + 2:
                (where if axis == 0 else where.T)[max(0, line - _BAND) : line + _BAND] = True
    return largest


def checkerboard(field: QcField, reference: QcReference | None) -> Found:
    """Measure what repeats every 2 and 4 pixels with one phase over all cells.

    Means over squares of 16 px of the 4 x 4 phases, their Fourier transform, less what a slope
    leaves in it; the median over the squares of the foreground, phases and all, less what it is by
    chance, over the SD of the foreground. What cells show at these frequencies has another phase
    at each place and averages out; what a transposed convolution draws [1]_ has that of its grid.
    """
    del reference
    numbers = {}
    for name, picture in field.stains.items():
        wide = field.spread[name]
        inside = field.on_pixels(field.foreground(name))
        edge = _PATTERN_BLOCK
        rows, columns = (n // edge for n in field.shape)
        cut = picture[: rows * edge, : columns * edge]
        share = inside[: rows * edge : 4, : columns * edge : 4]
        share = share.reshape(rows, 4, columns, 4).mean(axis=(1, 3))
        phases = cut.reshape(rows, 4, 4, columns, 4, 4).mean(axis=(1, 4), dtype=np.float64)
        phases = phases.transpose(0, 2, 1, 3)  # (row, column, phase y, phase x)
        known = np.isfinite(phases).all(axis=(-2, -1)) & (share > 0.25)
        if not wide > 0 or known.sum() < _SQUARES:
            continue
        level = phases.mean(axis=(-2, -1))
        ramp = np.arange(4) - 1.5
        slopes = [np.gradient(level, axis=axis) / edge for axis in (0, 1)]
        phases = phases - slopes[0][..., None, None] * ramp[:, None]
        phases = phases - slopes[1][..., None, None] * ramp[None, :]
        waves = fft.fft2(phases[known]) / 16
        middle, chance = _middle(waves.real)
        also, more = _middle(waves.imag)
        found = np.sqrt(np.maximum(middle**2 + also**2 - _BY_CHANCE * (chance + more), 0))
        found[0, 0] = 0
        twice = np.array([1, 2, 1, 2])  # a wave and its mirror, but for those at the limit
        found *= np.maximum(twice[:, None], twice[None])
        # Of one pattern, where it is strongest.
        numbers[name] = float(found.max()) / wide
    if not numbers:
        raise CannotTell("too few cells to see a pattern in")
    return Found(numbers=numbers)


def _middle(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return medians over the first axis, and their variance by chance."""
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    return middle, np.pi / 2 * spread**2 / len(values)


def blur(field: QcField, reference: QcReference | None) -> Found:
    """Measure how much of the waves of each octave a stain has, over those of 32 to 16 px.

    Power spectra of the dozen squares of 128 px that hold most foreground, Hann window, log10.
    """
    if reference is not None and abs(reference.pixel_um / field.pixel_um - 1) > 0.05:
        raise CannotTell(
            f"the reference has pixels of {reference.pixel_um:g} µm and the field of "
            f"{field.pixel_um:g} µm; a reference of such fields would do"
        )
    edge = min(_BLOCK, min(field.shape) // 2 * 2)
    window = np.outer(np.hanning(edge + 1)[:-1], np.hanning(edge + 1)[:-1]).astype(np.float32)
    frequency = np.hypot(fft.fftfreq(edge)[:, None], fft.rfftfreq(edge)[None])
    rings = [(frequency >= 1 / long) & (frequency < 1 / short) for long, short in BANDS_PX]
    numbers = {}
    for name, picture in field.stains.items():
        tops = _fullest(field.on_pixels(field.foreground(name)), edge)
        power = np.zeros(len(rings))
        for y, x in tops:
            block = picture[y : y + edge, x : x + edge]
            if not np.isfinite(block).all():
                continue
            seen = np.square(np.abs(fft.rfft2((block - block.mean()) * window)))
            power += [float(seen[ring].mean()) for ring in rings]
        if not power[0] > 0:
            continue
        tiny = 1e-12 * power[0]
        for (long, short), own in zip(BANDS_PX[1:], power[1:], strict=True):
            numbers[f"{name} {short}-{long} px"] = float(np.log10((own + tiny) / power[0]))
    if not numbers:
        raise CannotTell("no stain has a foreground")
    return Found(numbers=numbers)


def _fullest(inside: NDArray[np.bool_], edge: int) -> list[tuple[int, int]]:
    """Return the corners of the squares that hold most foreground, none that holds none."""
    y, x = (n // edge for n in inside.shape)
    share = inside[: y * edge, : x * edge].reshape(y, edge, x, edge).mean(axis=(1, 3))
    order = np.argsort(-share, axis=None, kind="stable")[:_BLOCKS]
    corners = np.stack(np.unravel_index(order, share.shape), axis=1)
    return [(int(r) * edge, int(c) * edge) for r, c in corners if share[r, c] > 0.02]
