"""How alike are prediction and truth to a classifier? Window by window, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.encoders.card import EncoderCard
from napari_virtualstain.encoders.package import EncoderModel
from napari_virtualstain.encoders.perceptual import Perceptual, stored_normalisation
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.inference.device import choose_device
from napari_virtualstain.intensity import Normalisation, Rule, StatisticsAccumulator
from napari_virtualstain.io.image import LazyImage

__all__ = ["FeatureScores", "compare_features", "fitted_on", "windows_of"]

Pixels = NDArray[np.float32]
Numbers = NDArray[np.float64]
_PLANES = 2
"""Spatial axes of an encoder over planes."""

_AT_ONCE = 1 << 19
"""Pixels of one image, over its stains, that go through the network together."""
_STRIP = 1 << 22
"""Pixels that are looked at together for statistics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureScores:
    """What a classifier makes of each stain.

    Parameters
    ----------
    encoder, fingerprint
        Which classifier.
    window_px
        Edges of what it was given.
    together
        Whether all stains were given to it as one, so that all have one number.
    distance
        By stain, from 0, alike, to 4; a mean over windows, weighed by their pixels.
    misplaced
        By stain: the same of the truth from itself turned round within its windows.
    """

    encoder: str
    fingerprint: str
    window_px: tuple[int, ...]
    together: bool
    distance: dict[str, float]
    misplaced: dict[str, float]


def windows_of(shape: Sequence[int], edges: Sequence[int]) -> list[Region]:
    """Return where windows lie: side by side, the last of an axis moved back into the picture.

    Parameters
    ----------
    shape, edges
        Of the picture and of a window, in pixels; a window is never larger than the picture.

    Examples
    --------
    >>> [(rows.start, rows.stop) for rows, _ in windows_of((10, 4), (4, 4))]
    [(0, 4), (4, 8), (6, 10)]
    """
    along = []
    for n, wanted in zip(shape, edges, strict=True):
        edge = min(n, wanted)
        starts = [*range(0, n - edge + 1, edge)]
        along.append([*starts, n - edge] if n % edge else starts)
    sizes = [min(n, wanted) for n, wanted in zip(shape, edges, strict=True)]
    return [
        tuple(slice(start, start + size) for start, size in zip(place, sizes, strict=True))
        for place in product(*along)
    ]


def compare_features(
    prediction: LazyImage,
    target: LazyImage,
    pairs: Sequence[tuple[str, str]],
    model: EncoderModel,
    *,
    on_window: Callable[[int, int], None] | None = None,
) -> FeatureScores:
    """Compare stains by the features of a classifier, in windows of the size that it learnt from.

    Parameters
    ----------
    prediction, target
        Images of one size, in grey values; NaN is missing.
    pairs
        Channel of the prediction, channel of the target.
    model
        Over planes, each of which is cut into windows; or over volumes.
    on_window
        Told of windows seen, and of all.

    Notes
    -----
    Each picture is normalised as the encoder's card says: by numbers that hold for all pictures,
    and then brightness matters, or by those of all planes of a stain at a time point, prediction
    and truth each by itself, and then it does not.
    """
    stains = [stain for stain, _ in pairs]
    perceptual, device = Perceptual(model, stains), choose_device()
    sides = (
        _Side(prediction, tuple(stains), perceptual.card, stains),
        _Side(target, tuple(truth for _, truth in pairs), perceptual.card, stains),
    )
    n_t, _, *shape = prediction.shape
    flat = model.encoder.ndim == _PLANES
    crop = (1, *perceptual.card.crop_px) if flat else perceptual.card.crop_px
    windows = windows_of(shape, crop)
    rows = [list(row) for _, row in groupby(windows, key=lambda w: (w[0].start, w[1].start))]
    each = prod(part.stop - part.start for part in windows[0]) * len(perceptual.judged)
    at_once = max(1, _AT_ONCE // each)
    sums, seen = _Sums(), 0
    for t in range(n_t):
        norms = [side.norms(t) for side in sides]
        for row in rows:
            if on_window is not None:
                on_window(seen, n_t * len(windows))
            pixels = [side.read(t, row, known) for side, known in zip(sides, norms, strict=True)]
            for start in range(0, len(row), at_once):
                given = [p[start : start + at_once] for p in pixels]
                if flat:
                    given = [p[:, :, 0] for p in given]
                sums.add(*perceptual.numbers(*given, device=device))
            seen += len(row)
    if on_window is not None:
        on_window(seen, seen)
    distance, misplaced = (
        dict(zip(perceptual.judged, cycle(m), strict=False)) for m in sums.means()
    )
    return FeatureScores(
        encoder=perceptual.card.name,
        fingerprint=model.fingerprint,
        window_px=tuple(part.stop - part.start for part in windows[0][int(flat) :]),
        together=perceptual.together,
        distance=distance,
        misplaced=misplaced,
    )


def fitted_on(
    rule: Rule, image: LazyImage, channel: int, *, times: Sequence[int] | None = None
) -> Normalisation:
    """Return what normalises a channel, fitted strip by strip on the pixels that are there.

    Parameters
    ----------
    rule
        That is fitted.
    image
        Whose missing pixels are NaN.
    channel
        Index.
    times
        Time points; all if `None`.
    """
    gathered = StatisticsAccumulator(rule.quantiles)
    n_t, _, planes, height, width = image.shape
    step = max(1, _STRIP // width)
    for t, z, top in product(
        range(n_t) if times is None else times, range(planes), range(0, height, step)
    ):
        gathered.add(_pixels(image, t, channel, (slice(z, z + 1), slice(top, top + step))))
    found = gathered.result()
    try:
        what = f"Channel {image.channel_names[channel]!r}"
        return rule.fit(found, what=what, may_lack=True)
    except PixelDataError:  # one value everywhere, or none: nothing to scale by
        return Normalisation(offset=found.mean if found.count else 0.0)


def _pixels(image: LazyImage, t: int, channel: int, part: Region) -> Pixels:
    z, y = part
    y = slice(y.start, min(y.stop, image.shape[3]))
    region = (slice(t, t + 1), slice(channel, channel + 1), z, y, slice(None))
    pixels: Pixels = image.read(region)[0, 0].astype(np.float32)
    return pixels


class _Side:
    """One of the two images, as the encoder is given it."""

    def __init__(
        self, image: LazyImage, channels: Sequence[str], card: EncoderCard, stains: Sequence[str]
    ) -> None:
        self._image, self._card, self._stains = image, card, stains
        self._index = [image.channel_index(name) for name in channels]

    def norms(self, t: int) -> list[Normalisation]:
        """Return what normalises each stain at a time point."""
        return [
            stored_normalisation(self._card, stain)
            or fitted_on(self._card.input_rule, self._image, channel, times=[t])
            for stain, channel in zip(self._stains, self._index, strict=True)
        ]

    def read(self, t: int, row: Sequence[Region], norms: list[Normalisation]) -> Pixels:
        """Return windows that lie beside each other, (N, C, Z, Y, X), NaN where missing."""
        strip = np.stack(
            [
                n.apply(_pixels(self._image, t, c, row[0][:2]))
                for c, n in zip(self._index, norms, strict=True)
            ]
        )
        return np.stack([strip[..., columns] for _, _, columns in row])


class _Sums:
    """Means over windows, weighed by their pixels."""

    def __init__(self) -> None:
        self._total: Numbers = np.zeros((3, 1))

    def add(self, known: Numbers, distance: Numbers, misplaced: Numbers) -> None:
        """Take in windows, (N, J)."""
        parts = (known, known * distance, known * misplaced)
        self._total = self._total + np.stack([part.sum(axis=0) for part in parts])

    def means(self) -> tuple[list[float], list[float]]:
        """Return distances and those of what is misplaced, NaN where no pixel is known."""
        count, distance, misplaced = self._total
        with np.errstate(invalid="ignore"):
            return (distance / count).tolist(), (misplaced / count).tolist()
