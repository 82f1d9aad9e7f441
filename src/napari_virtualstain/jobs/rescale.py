"""By how much is an image resized for a model? By pixel sizes, or to the shape of the training."""

from __future__ import annotations

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import PixelSizeError
from napari_virtualstain.generators.card import ModelCard

__all__ = ["LARGEST_RATIO", "PIXEL_TOLERANCE", "off_by", "ratios_for", "resized"]

PIXEL_TOLERANCE = 0.20
"""Relative difference of pixel sizes up to which a model is used as it is."""
LARGEST_RATIO = 16.0
"""Of pixel sizes that are resampled: beyond it one of them is wrong, or in another unit."""


def ratios_for(
    card: ModelCard, found: PixelSize, shape: tuple[int, int], *, resample: bool
) -> tuple[tuple[float, float] | None, str | None]:
    """Compare pixel sizes: what to resample by, and what to say.

    Parameters
    ----------
    card
        Of the model.
    found
        Pixel size of the image.
    shape
        (Y, X) of the image in pixels.
    resample
        Whether it may be resampled to the model's pixel size.

    Returns
    -------
    tuple
        Pixel of the network over pixel of the image (y, x), `None` to take pixels as they are;
        and a note.

    Raises
    ------
    PixelSizeError
        If the sizes do not fit.
    """
    if card.resize_to is not None and not resample:
        return _whole_field(card, found, shape)
    if found.y is None or found.x is None:
        if resample:
            raise PixelSizeError(
                "The image does not state its pixel size, so it cannot be resampled. "
                "State it with --pixel-size, for example --pixel-size 0.65."
            )
        return None, (
            f"the image does not state its pixel size; taken as the model's "
            f"{card.pixel_size_words}, state another with --pixel-size"
        )
    y, x = card.pixel_size_yx_um
    ratios = (y / found.y, x / found.x)
    _refuse_far(ratios, card, found)
    if resample:
        return ratios, None
    off = off_by(ratios)
    if off > PIXEL_TOLERANCE:
        raise PixelSizeError(
            f"The image has {found.y:g} x {found.x:g} µm pixels, the model was trained at "
            f"{card.pixel_size_words} ({off:.0%} off, allowed {PIXEL_TOLERANCE:.0%}). "
            "Add --resample to stain at the model's pixel size, or correct the image's with "
            "--pixel-size."
        )
    return None, None


def off_by(ratios: tuple[float, float]) -> float:
    """Return how far pixels are off those of a model, along the axis that is further off."""
    return max(abs(1 / ratio - 1) for ratio in ratios)


def resized(found: PixelSize, ratios: tuple[float, float] | None) -> PixelSize:
    """Return the size of the pixels that the network sees."""
    y, x = ratios or (1.0, 1.0)
    return PixelSize(
        found.z, None if found.y is None else found.y * y, None if found.x is None else found.x * x
    )


def _whole_field(
    card: ModelCard, found: PixelSize, shape: tuple[int, int]
) -> tuple[tuple[float, float] | None, str | None]:
    """Resize a field to the shape of the training, however high and wide it is."""
    assert card.resize_to is not None
    ratios = (shape[0] / card.resize_to[0], shape[1] / card.resize_to[1])
    size, wanted = resized(found, ratios), card.pixel_size_yx_um
    words = (
        f"the field is resized from {shape[0]} x {shape[1]} to {card.resize_to[0]} x "
        f"{card.resize_to[1]} px, as in the training, and the stains back"
    )
    if size.y is None or size.x is None:
        words += "; the image does not state its pixel size, state it with --pixel-size"
    else:
        off = max(abs(size.y / wanted[0] - 1), abs(size.x / wanted[1] - 1))
        if off > PIXEL_TOLERANCE:
            raise PixelSizeError(
                f"Resized to {card.resize_to[0]} x {card.resize_to[1]} px, as the model was "
                f"trained, the field has pixels of {size.y:.3g} x {size.x:.3g} µm instead of "
                f"{card.pixel_size_words} ({off:.0%} off, allowed {PIXEL_TOLERANCE:.0%}). Add "
                "--resample to stain at the model's pixel size, or correct the image's with "
                "--pixel-size."
            )
    return (None, None) if ratios == (1.0, 1.0) else (ratios, words)


def _refuse_far(ratios: tuple[float, float], card: ModelCard, found: PixelSize) -> None:
    if not 1 / LARGEST_RATIO <= min(ratios) <= max(ratios) <= LARGEST_RATIO:
        raise PixelSizeError(
            f"The image has {found.y:g} x {found.x:g} µm pixels, the model was trained at "
            f"{card.pixel_size_words}: more than {LARGEST_RATIO:g} times apart, so that one "
            "is wrong or the model is for other images. Correct the image's with --pixel-size."
        )
