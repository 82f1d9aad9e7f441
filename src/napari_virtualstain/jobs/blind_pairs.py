"""Which pictures does a reviewer see? Fields and stains in turn, where there is most to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ChannelError, ImageFileError, PixelDataError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.save_png import QUANTILES
from napari_virtualstain.io.scene import listed
from napari_virtualstain.jobs.base import Progress, stage
from napari_virtualstain.jobs.compare import read_rows
from napari_virtualstain.jobs.listed_images import listed_images
from napari_virtualstain.jobs.verdict import VerdictSettings
from napari_virtualstain.jobs.verdict_fields import FieldComparer
from napari_virtualstain.jobs.verdict_pairs import FieldPair, pair_fields
from napari_virtualstain.jobs.verdict_pictures import grey
from napari_virtualstain.words import plural

if TYPE_CHECKING:
    from napari_virtualstain.jobs.blind import BlindSettings

__all__ = ["Pictures", "draw_pairs"]

Pictures = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Predicted and real, as grey values."""
_PLACES = 4
"""Drawn of each pair; that with most to see in truth is shown."""


def draw_pairs(
    settings: BlindSettings, prediction: str, target: str, on_progress: Progress | None
) -> tuple[list[dict[str, Any]], list[Pictures], list[str]]:
    """Return of each pair where it is from and its pictures, and what was left out.

    Parameters
    ----------
    settings
        How many, of which stains, and how large.
    prediction, target
        Where images lie.
    on_progress
        Told of pairs.

    Raises
    ------
    ChannelError
        If a stain is not there.
    PixelDataError
        If fewer than two pairs can be shown.
    """
    drawn = listed_images(
        prediction, scene=settings.scene, axes=None, pattern=None, out=settings.out
    )
    true = listed_images(
        target, scene=None, axes=settings.axes, pattern=settings.pattern, out=settings.out
    )
    pairs, notes = pair_fields(drawn, true)
    comparer = FieldComparer(
        VerdictSettings(
            prediction=prediction, target=target, out=settings.out, match=settings.match,
            z=settings.z,
        )
    )  # fmt: skip
    rng = np.random.default_rng(settings.seed)
    told = stage(on_progress, "pairs drawn")
    told(0, settings.count)
    dealt: list[dict[str, Any]] = []
    pictures: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    left_out: dict[str, str] = {}
    for pair, turn in _turns(pairs, settings.count, rng):
        if len(dealt) == settings.count:
            break
        try:
            both = comparer.opened(pair)
        except (ImageFileError, PixelDataError, ChannelError) as error:
            if isinstance(error, ChannelError) and not comparer.pairs:
                raise
            left_out[pair.prediction.name] = str(error)
            continue
        stain = _stain_of(turn, settings, both[0])
        found = _place(both, stain, comparer.plane(both[0]), settings.edge, rng)
        if found is None:
            left_out.setdefault(pair.prediction.name, f"{stain} has nothing to show")
            continue
        (y, x), planes = found
        dealt.append({
            "field": pair.prediction.name, "well": "/".join(filter(None, pair.key[:2])),
            "stain": stain, "y": y, "x": x,
        })  # fmt: skip
        pictures.append(_shown(planes, settings.contrast))
        told(len(dealt), settings.count)
    if len(dealt) < 2:
        why = next(iter(left_out.items()), ("", "there is no pair"))
        raise PixelDataError(
            f"No two pairs can be shown; {why[0]}: {why[1].rstrip('.')}. Give other images."
        )
    if left_out:
        name, why_not = next(iter(left_out.items()))
        notes.append(f"{plural(len(left_out), 'field')} left out; the first, {name}: {why_not}")
    if len(dealt) < settings.count:
        notes.append(f"{len(dealt)} of {settings.count} pairs could be drawn")
    return dealt, pictures, notes


def _turns(
    pairs: list[FieldPair], count: int, rng: np.random.Generator
) -> list[tuple[FieldPair, int]]:
    """Return fields in random order, each once before any is seen twice, with a running number.

    Twice as many as are needed, since some may have nothing to show.
    """
    rounds = -(-2 * count // len(pairs)) + 1
    order = [int(n) for _ in range(rounds) for n in rng.permutation(len(pairs))]
    return [(pairs[n], turn) for turn, n in enumerate(order)]


def _stain_of(turn: int, settings: BlindSettings, prediction: LazyImage) -> str:
    there = prediction.channel_names
    chosen = settings.stains or there
    for name in chosen:
        if name not in there:
            raise ChannelError(
                f"No predicted stain is called {name!r}; there are {listed(there)}. Choose among "
                "them with --stains."
            )
    return chosen[turn % len(chosen)]


def _place(
    both: tuple[LazyImage, LazyImage], stain: str, z: int, edge: int, rng: np.random.Generator
) -> tuple[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]] | None:
    """Return a place and what prediction and truth show there; `None` if it is nothing."""
    prediction, truth = both
    height, width = truth.shape[3:]
    side = min(edge, height, width)
    t = int(rng.integers(truth.shape[0]))
    best, most = None, 0.0
    for _ in range(_PLACES):
        y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        planes = tuple(
            read_rows(image, t, image.channel_index(stain), z, slice(y, y + side))[:, x : x + side]
            for image in (prediction, truth)
        )
        if not all(np.isfinite(plane).all() and np.ptp(plane) > 0 for plane in planes):
            continue
        if float(planes[1].std()) > most:
            most = float(planes[1].std())
            best = (y, x), (planes[0], planes[1])
    return best


def _shown(
    planes: tuple[NDArray[np.float32], NDArray[np.float32]], contrast: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return both as grey pictures."""
    limits = [tuple(float(v) for v in np.quantile(plane, QUANTILES)) for plane in planes]
    if contrast == "truth":
        limits[0] = limits[1]
    found = [
        grey(plane, low, high if high > low else low + 1)
        for plane, (low, high) in zip(planes, limits, strict=True)
    ]
    return found[0], found[1]
