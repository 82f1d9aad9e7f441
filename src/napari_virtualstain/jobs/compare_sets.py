"""Do predicted stains, all together, look like real ones? Two sets of crops, by their features.

What is compared pixel by pixel or crop by crop rewards whoever stays near the mean. Here only the
two sets are compared: how their features are spread (Fréchet distance, FID), and how alike they are
pair by pair (kernel distance, KID). Which pixel is where does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.encoders.given import repeated
from napari_virtualstain.encoders.package import EncoderModel, read_encoder_card
from napari_virtualstain.encoders.perceptual import stored_normalisation
from napari_virtualstain.encoders.registry import get_encoder_spec
from napari_virtualstain.errors import PixelDataError, SettingsError
from napari_virtualstain.inference.device import choose_device
from napari_virtualstain.intensity import Normalisation, Rule
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.compare_features import fitted_on, windows_of
from napari_virtualstain.metrics.frechet import (
    FEATURES,
    frechet_distance,
    kernel_distance,
    texture_features,
)
from napari_virtualstain.zoo import find_encoder, load_encoder

__all__ = ["TEXTURE", "Features", "SetScore", "compare_sets", "crops_of", "features_for"]

Pixels = NDArray[np.float32]
Crop = tuple[int, slice, slice, slice]
"""Time point, plane, rows and columns."""

TEXTURE = "texture"
"""Features that need no network."""
_TEXTURE_CROP = 64
_FEWEST = 10
"""Crops, below which nothing is said of a set by an encoder."""
_MOST = 4096
"""Crops of a stain that are compared; of more, so many evenly spaced ones."""
_AT_ONCE = 1 << 19
"""Pixels that go through the network together."""
_FLAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What sets are compared by.

    Parameters
    ----------
    name
        ``"texture"``, or that of an encoder.
    fingerprint
        Of the encoder, ``""`` without one.
    crop_px
        Edge of the crops, (y, x).
    dim
        Numbers of a crop.
    rule
        Fitted on the truth of each stain, where the encoder has no numbers of its own.
    model
        The encoder, `None` without one.
    """

    name: str
    fingerprint: str = ""
    crop_px: tuple[int, int]
    dim: int
    rule: Rule
    model: EncoderModel | None = None

    @property
    def least(self) -> int:
        """Crops, below which nothing is said of a set."""
        return self.dim + 1 if self.model is None else _FEWEST

    @property
    def words(self) -> str:
        """What they are, for people."""
        edges = " x ".join(map(str, self.crop_px))
        what = (
            FEATURES if self.model is None else f"{self.dim} features of the encoder {self.name!r}"
        )
        asked = (
            f"FID(features={self.name}) compares"
            if self.model is None
            else (f"FID(features={self.name}) and KID compare")
        )
        return (
            f"{asked} the sets of all crops of {edges} px by {what}; each stain by itself, 0 is "
            "alike"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what a number has to be stated with."""
        return {
            "features": self.name,
            "fingerprint": self.fingerprint,
            "crop_px": list(self.crop_px),
            "numbers": self.dim,
        }

    def of(self, crops: Pixels, *, device: str) -> NDArray[np.float64]:
        """Return the features (N, dim) of normalised crops (N, Y, X)."""
        if self.model is None:
            return texture_features(crops)
        encoder = self.model.encoder
        encoder.module().to(device)
        at_once = max(1, _AT_ONCE // crops[0].size)
        parts = [crops[n : n + at_once, None] for n in range(0, len(crops), at_once)]
        seen = [encoder.features(repeated(part, encoder.in_channels)) for part in parts]
        return np.concatenate(seen).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetScore:
    """How the crops of a stain compare with those of its truth.

    Parameters
    ----------
    crops
        Of each; those with missing pixels are left out.
    fid
        Fréchet distance; `None` where there are no more crops than features, since the spread of
        so many features cannot be told from them.
    kid
        Kernel distance; `None` where there are too few crops, and of texture, whose logarithms of
        power would be all that its third power sees.
    features
        They were compared by.
    """

    crops: int
    fid: float | None
    kid: float | None
    features: Features

    @property
    def doubt(self) -> str:
        """Why a number is missing, ``""`` if none is."""
        if self.fid is not None:
            return ""
        said = (
            f"no FID: {self.features.dim} features take at least {self.features.dim + 1} crops, "
            f"and {self.crops} are whole"
        )
        if self.kid is not None:
            return f"{said}; KID, which does not depend on how many there are, is given"
        return said if self.features.model is None else f"{said}; KID takes {self.features.least}"


def features_for(name: str) -> Features:
    """Return what sets are compared by.

    Parameters
    ----------
    name
        ``"texture"``, or name or path of an encoder that looks at planes of single channels.

    Raises
    ------
    VirtualStainError
        If there is no such encoder, its extra is not installed, or it looks at something else.
    """
    if name == TEXTURE:
        crop = (_TEXTURE_CROP, _TEXTURE_CROP)
        return Features(name=name, crop_px=crop, dim=15, rule=Rule(clip_sd=None))
    card = read_encoder_card(find_encoder(name))
    if get_encoder_spec(card.encoder).ndim != _FLAT or not card.per_channel:
        sees = "volumes" if card.per_channel else f"{', '.join(card.channel_names)} together"
        raise SettingsError(
            f"The encoder {card.name!r} sees {sees}, and sets are compared plane by plane, each "
            "stain alone. Give --fid-features one that sees planes of single channels, or texture."
        )
    model = load_encoder(name)
    height, width = card.crop_px
    return Features(
        name=card.name, fingerprint=model.fingerprint, crop_px=(height, width),
        dim=model.encoder.dim, rule=card.input_rule, model=model,
    )  # fmt: skip


def compare_sets(
    prediction: LazyImage,
    target: LazyImage,
    pairs: Sequence[tuple[str, str]],
    features: Features,
    *,
    on_row: Callable[[int, int], None] | None = None,
) -> list[SetScore]:
    """Compare the crops of each stain with those of its truth.

    Parameters
    ----------
    prediction, target
        Images of one size, in grey values; NaN is missing.
    pairs
        Channel of the prediction, channel of the target.
    features
        What they are compared by.
    on_row
        Told of rows of crops looked at, and of all.

    Raises
    ------
    PixelDataError
        If the image has too few crops to say anything.

    Notes
    -----
    Both are normalised alike: by the numbers of the encoder for a stain, else by the rule fitted on
    all of the truth, so that a prediction of another brightness is another set. Crops lie side by
    side over all planes and time points.
    """
    rows = _rows(crops_of(prediction, features))
    device, scores = choose_device(), []
    sides = (prediction, target)
    for number, pair in enumerate(pairs):
        norm = _norm(target, pair, features)
        channels = [side.channel_index(name) for side, name in zip(sides, pair, strict=True)]
        found: list[list[NDArray[np.float64]]] = [[], []]
        for done, row in enumerate(rows):
            if on_row is not None:
                on_row(number * len(rows) + done, len(rows) * len(pairs))
            crops = [_crops(side, c, row) for side, c in zip(sides, channels, strict=True)]
            whole = np.isfinite(crops[0] + crops[1]).all(axis=(1, 2))
            if whole.any():
                for each, pixels in zip(found, crops, strict=True):
                    each.append(features.of(norm.apply(pixels[whole]), device=device))
        scores.append(_score(found, features))
    if on_row is not None:
        on_row(len(rows) * len(pairs), len(rows) * len(pairs))
    return scores


def crops_of(image: LazyImage, features: Features) -> list[Crop]:
    """Return which crops of an image are compared, time point and place of each.

    Raises
    ------
    PixelDataError
        If there are too few to say anything.
    """
    n_t, _, n_z, *shape = image.shape
    windows = windows_of(shape, features.crop_px) if min(shape) >= max(features.crop_px) else []
    places = [
        (t, slice(z, z + 1), *window) for t, z, window in product(range(n_t), range(n_z), windows)
    ]
    if len(places) < features.least:
        edges = " x ".join(map(str, features.crop_px))
        raise PixelDataError(
            f"The features {features.name!r} are of crops of {edges} px. At least {features.least} "
            f"are compared, {features.dim + 1} for a Fréchet distance, and here there are "
            f"{len(places)}. Compare a larger region, more time points or other --fid-features."
        )
    kept = np.linspace(0, len(places) - 1, min(_MOST, len(places))).astype(int)
    return [places[n] for n in kept]


def _rows(crops: list[Crop]) -> list[list[Crop]]:
    """Gather the crops that lie beside each other."""
    return [list(row) for _, row in groupby(crops, key=lambda c: (c[0], c[1].start, c[2].start))]


def _crops(image: LazyImage, channel: int, row: list[Crop]) -> Pixels:
    """Read crops (N, Y, X) that lie beside each other."""
    t, z, y, _ = row[0]
    region = (slice(t, t + 1), slice(channel, channel + 1), z, y, slice(None))
    strip = image.read(region)[0, 0, 0].astype(np.float32)
    return np.stack([strip[:, x] for *_, x in row])


def _score(found: list[list[NDArray[np.float64]]], features: Features) -> SetScore:
    count = sum(len(part) for part in found[0])
    if count < features.least:
        return SetScore(crops=count, fid=None, kid=None, features=features)
    ours, theirs = (np.concatenate(parts) for parts in found)
    fid = frechet_distance(ours, theirs) if count > features.dim else None
    kid = None if features.model is None else kernel_distance(ours, theirs)
    return SetScore(crops=count, fid=fid, kid=kid, features=features)


def _norm(target: LazyImage, pair: tuple[str, str], features: Features) -> Normalisation:
    stain, truth = pair
    card = None if features.model is None else features.model.card
    known = None if card is None else stored_normalisation(card, stain)
    return known or fitted_on(features.rule, target, target.channel_index(truth))
