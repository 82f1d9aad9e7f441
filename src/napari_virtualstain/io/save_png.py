"""How a plane becomes a picture for a page: channels in their colours, with a scale bar.

The grey values are lost, so the limits between which they were shown go into the
file (its text entry ``virtualstain``), and to whoever asked for the picture.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from napari_virtualstain.errors import OutputExistsError, PixelDataError
from napari_virtualstain.io.colours import colours_of
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.io.pyramid import level_shapes, levels_needed
from napari_virtualstain.io.save import Picture, coarse_block

__all__ = ["Shown", "bar_length_um", "compose", "draw_bar", "overlay", "save_png", "write_png"]

QUANTILES = (0.002, 0.998)
"""Of the finite pixels of a plane: between them it is shown unless somebody says otherwise."""
_SHARE = 5
"""The scale bar is about this part of the width."""
_SMALLEST_WITH_BAR = 128
"""Width in pixels below which a bar and its length would hide the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a picture shows its channels.

    Parameters
    ----------
    limits
        Grey value that is black and grey value that is full colour, by channel.
    colours
        ``RRGGBB`` by channel.
    bar_um
        Length of the scale bar in micrometres, `None` where there is none.
    reduced
        How many pixels of the image are one of the picture, along each axis.
    """

    limits: dict[str, tuple[float, float]]
    colours: dict[str, str]
    bar_um: float | None
    reduced: int


def bar_length_um(width_um: float) -> float:
    """Return a round length (1, 2 or 5) that is at most a fifth of a width.

    Examples
    --------
    >>> bar_length_um(614.4), bar_length_um(40.0), bar_length_um(3.0)
    (100.0, 5.0, 0.5)
    """
    power = 10.0 ** np.floor(np.log10(width_um / _SHARE))
    return float(max(n * power for n in (1, 2, 5) if n * power <= width_um / _SHARE))


def compose(
    planes: Mapping[str, NDArray[np.floating] | NDArray[np.integer]],
    colours: Mapping[str, str],
    limits: Mapping[str, tuple[float, float]],
) -> NDArray[np.uint8]:
    """Add planes up in their colours.

    Parameters
    ----------
    planes
        (Y, X) by channel; what is missing (NaN) is black.
    colours
        ``RRGGBB`` by channel.
    limits
        Grey values that are black and full colour, by channel.

    Returns
    -------
    numpy.ndarray
        (Y, X, 3) uint8.
    """
    first = next(iter(planes.values()))
    total = np.zeros((*first.shape, 3), np.float32)
    for name, plane in planes.items():
        low, high = limits[name]
        span = high - low or 1.0
        bright = np.clip((plane.astype(np.float64) - low) / span, 0, 1)
        rgb = [int(colours[name][i : i + 2], 16) / 255 for i in (0, 2, 4)]
        for sample, share in enumerate(rgb):
            total[..., sample] += share * np.nan_to_num(bright, nan=0.0)
    composed: NDArray[np.uint8] = np.rint(255 * np.clip(total, 0, 1)).astype(np.uint8)
    return composed


def overlay(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (Y, X, 3): the prediction in magenta, the truth in green.

    Examples
    --------
    >>> overlay(np.uint8([[255, 0]]), np.uint8([[255, 255]])).tolist()
    [[[255, 255, 255], [0, 255, 0]]]
    """
    return np.stack([prediction, truth, prediction], axis=-1)


def write_png(
    path: Path,
    picture: Picture,
    *,
    t: int = 0,
    z: int = 0,
    limits: Mapping[str, tuple[float, float]] | None = None,
    bar: bool = True,
    largest: int = 4096,
    about: str = "",
) -> Shown:
    """Write one plane of all channels of a picture as a PNG.

    Parameters
    ----------
    path
        Where; what is there is replaced.
    picture
        What.
    t, z
        Time point and plane.
    limits
        Grey values that are black and full colour, for the channels that have them; the others
        are shown between two quantiles of the plane (`QUANTILES`).
    bar
        Draw a scale bar where the pixel size is known.
    largest
        Edge in pixels beyond which the picture is reduced by means of 2 x 2.

    Raises
    ------
    PixelDataError
        If a channel has no finite pixel in this plane.
    OutputExistsError
        If the path is a folder.
    DiskError
        If it cannot be written.
    """
    if path.is_dir():
        raise OutputExistsError(f"{str(path)!r} is a folder. Choose another name.")
    level = levels_needed(*picture.shape[3:], largest) - 1
    height, width = level_shapes(picture.shape[3:], level + 1)[-1]
    planes, shown = {}, dict(limits or {})
    for c, channel in enumerate(picture.channels):
        plane = coarse_block(picture, (t, c, z), level, slice(0, height), slice(0, width))
        planes[channel.name] = plane
        if channel.name not in shown:
            shown[channel.name] = _limits(plane, channel.name)
    names = [channel.name for channel in picture.channels]
    colours = dict(zip(names, colours_of(picture.channels), strict=True))
    image = Image.fromarray(compose(planes, colours, shown))
    size = picture.pixel_size_um.x
    reduced = 2**level
    length = None
    if bar and size is not None and width >= _SMALLEST_WITH_BAR:
        length = draw_bar(image, size * reduced)
    result = Shown(
        limits={name: shown[name] for name in planes},
        colours=colours,
        bar_um=length,
        reduced=reduced,
    )
    said = {"limits": result.limits, "colours": colours, "bar_um": length}
    said |= {"about": about} if about else {}
    save_png(image, path, said)
    return result


def _limits(plane: NDArray[np.generic], name: str) -> tuple[float, float]:
    values = np.asarray(plane, np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise PixelDataError(
            f"Channel {name!r} has no pixels in this plane. Choose another plane or time point, "
            "or leave the channel out."
        )
    low, high = np.quantile(finite, QUANTILES)
    return float(low), float(high)


def draw_bar(image: Image.Image, pixel_um: float) -> float:
    """Draw a bar with its length at the lower right; return the length in micrometres."""
    width, height = image.size
    length = bar_length_um(width * pixel_um)
    pen = ImageDraw.Draw(image)
    margin, thick = max(4, width // 40), max(2, height // 150)
    right, bottom = width - margin, height - margin
    left = right - round(length / pixel_um)
    # On a dark ground, since a bright field is bright.
    size = max(10, width // 40)
    font = ImageFont.load_default(size=size)
    number = f"{length:g} "
    box = pen.textbbox((0, 0), f"{number}um", font=font)
    tall, wide = box[3] - box[1], box[2] - box[0]
    tail = max(1, round(0.22 * size))
    middle = (left + right) / 2 - wide / 2
    top = bottom - thick - tall - tail - margin // 2
    pen.rectangle(
        (
            min(left, middle) - margin // 2,
            top - margin // 2,
            max(right, middle + wide) + margin // 2,
            bottom + margin // 2,
        ),
        fill="black",
    )
    pen.rectangle((left, bottom - thick, right, bottom), fill="white")
    pen.text((middle, top - box[1]), f"{number}um", fill="white", font=font)
    # The font that comes with Pillow has no micro sign: an u with a tail is one.
    stem = middle + pen.textlength(number, font=font) + font.getbbox("u")[0] + size // 12
    pen.rectangle((stem, top + tall - tail, stem + size // 15, top + tall + tail), fill="white")
    return length


def save_png(image: Image.Image, path: Path, shown: Mapping[str, object]) -> None:
    """Write a picture, whole or not at all.

    Parameters
    ----------
    image
        Of any mode that PNG has.
    path
        Where; what is there is replaced.
    shown
        How grey values are shown; goes into the text entry ``virtualstain`` as JSON.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    notes = PngInfo()
    notes.add_text("Software", "napari-virtualstain")
    notes.add_text("virtualstain", json.dumps(shown))
    scratch = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(scratch, format="PNG", pnginfo=notes)
            scratch.replace(path)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
