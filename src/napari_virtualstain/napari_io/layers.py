"""How an image becomes layers: one a channel, with colour, scale, units and axis labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.datasets.stain_names import is_doubt
from napari_virtualstain.io.colours import colour_of, stain_colours
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.napari_io.source import (
    LayerSource,
    Role,
    default_role,
    job_of,
    tagged,
)

__all__ = [
    "BELOW",
    "STAINED",
    "LayerData",
    "channel_limits",
    "colormap_of",
    "dimmed",
    "image_layers",
    "placement",
]

BELOW, STAINED = 0.45, 0.75
"""Brightness of a bright field under stains, and opacity of stains over it."""

LayerData = tuple[Any, dict[str, Any], str]
"""Data, keywords of ``add_image``, and ``"image"``: what napari takes from a reader."""

_ALL = 4_000_000
"""Pixels of a plane up to which all of it is looked at for its contrast."""
_CHUNKS, _READ = 4, 16_000_000
"""Of a larger plane: so many chunks along each side, unless that reads more pixels than these."""
_LOOKED_AT = 1_000_000
"""Pixels that percentiles are taken of, out of those that are read."""


def placement(
    image: LazyImage, *, offset_um: tuple[float, float] = (0.0, 0.0)
) -> tuple[str, dict[str, Any]]:
    """Return the axes that layers of an image have, and where those lie in the world.

    Parameters
    ----------
    image
        Axes of length one are dropped, but y and x.
    offset_um
        Moves the layers by so much (y, x).

    Returns
    -------
    tuple
        Letters of ``tzyx``, and the keywords ``scale``, ``translate``, ``units`` and
        ``axis_labels``.
    """
    n_t, _, n_z, _, _ = image.shape
    keep = "".join(axis for axis, n in (("t", n_t), ("z", n_z)) if n > 1) + "yx"
    size = image.pixel_size_um
    z_um, y_um, x_um = size.scale()
    step = {"t": image.time_interval_s or 1.0, "z": z_um, "y": y_um, "x": x_um}
    known = {"t": image.time_interval_s, "z": size.z, "y": size.y, "x": size.x}
    unit = {a: ("s" if a == "t" else "um") if known[a] is not None else "pixel" for a in "tzyx"}
    z, y, x = image.origin_um
    at = {"t": 0.0, "z": z, "y": y + offset_um[0], "x": x + offset_um[1]}
    return keep, {
        "scale": [step[a] for a in keep],
        "translate": [at[a] for a in keep],
        "units": [unit[a] for a in keep],
        "axis_labels": list(keep),
    }


def image_layers(
    image: LazyImage,
    *,
    suffix: str = "",
    contrast: Mapping[str, tuple[float, float]] | None = None,
    offset_um: tuple[float, float] = (0.0, 0.0),
    opacity: float = 1.0,
    brightness: float = 1.0,
    levels: Sequence[da.Array] | None = None,
    roles: Mapping[str, Role] | None = None,
    axes: str | None = None,
    pattern: str | None = None,
    pixel_size_stated: bool = False,
) -> list[LayerData]:
    """Return one layer a channel, bright field first so that stains lie over it.

    Parameters
    ----------
    image
        Any image; axes of length one that the file did not have are dropped.
    suffix
        Behind each channel's name, for example ``" (predicted)"``.
    contrast
        Limits by channel name; a channel without an entry takes those of its
        pixels, of which a bounded number is read.
    offset_um
        Moves the layers by so much (y, x).
    opacity
        Of every layer, 0 to 1; see `STAINED`.
    brightness
        Of layers whose limits are not given, 0 to 1; see `BELOW`.
    levels
        Resolutions of the image, the finest (that of `image`) first, each
        (T, C, Z, Y, X); the layers are multiscale if there are several.
    roles
        What channels are, by name; others take the role that their light suggests.
    axes, pattern, pixel_size_stated
        What the user stated to open the image, kept with the layers.

    Returns
    -------
    list
        For ``viewer.add_layer(Layer.create(*data))``, or a reader.
    """
    keep, where = placement(image, offset_um=offset_um)
    job, model = job_of(image.source.path, image.source.kind, image.source.scene)
    pyramid = _shrinking(levels or [image.data])
    size = image.pixel_size_um
    order = sorted(
        range(len(image.channels)), key=lambda c: image.channels[c].modality != "transmitted"
    )
    colours = (
        stain_colours(image.channels)
        if model
        else [colour_of(channel) for channel in image.channels]
    )
    layers: list[LayerData] = []
    for c in order:
        channel = image.channels[c]
        # (T, C, Z, Y, X) -> (T, Z, Y, X) without the axes of length one
        index = tuple(slice(None) if a in keep else 0 for a in "tzyx")
        pixels = [level[:, c][index] for level in pyramid]
        limits = (contrast or {}).get(channel.name)
        source = LayerSource(
            path=image.source.path,
            scene=image.source.scene,
            axes=axes,
            pattern=pattern,
            channel=channel.name,
            pixel_size_um=(size.z, size.y, size.x),
            pixel_size_stated=pixel_size_stated,
            guesses=image.guesses,
            confirmed=not image.guesses,
            kind=image.source.kind,
            model=model,
            shape=tuple(int(n) for n in pixels[0].shape),
        ).with_role(
            (roles or {}).get(channel.name) or default_role(channel, job, alone=len(order) == 1)
        )
        keywords = {
            "name": f"{channel.name}{suffix}",
            "colormap": colormap_of(colours[c]),
            "opacity": opacity,
            "blending": "additive" if channel.modality != "transmitted" else "translucent",
            "visible": not is_doubt(channel.name),
            "contrast_limits": limits
            or dimmed(channel_limits(image, c, levels=pyramid), brightness),
            **where,
            "metadata": tagged({}, source),
        }
        if job is not None:
            # Another run may write the same chunks of the same store again.
            keywords["cache"] = False
        if len(pixels) > 1:
            layers.append((pixels, {**keywords, "multiscale": True}, "image"))
        else:
            layers.append((pixels[0], keywords, "image"))
    return layers


def dimmed(limits: tuple[float, float], brightness: float) -> tuple[float, float]:
    """Return wider limits, in which the same pixels are shown with less light.

    Less opacity would let the canvas through, which is white in a light theme.
    """
    low, high = limits
    return (low, low + (high - low) / brightness)


def _shrinking(levels: Sequence[da.Array]) -> list[da.Array]:
    """Return the levels up to the first that is not smaller: napari refuses those."""
    kept = [levels[0]]
    for fine, coarse in pairwise(levels):
        if not coarse.size < fine.size:
            break
        kept.append(coarse)
    return kept


def channel_limits(
    image: LazyImage, c: int, *, levels: Sequence[da.Array] | None = None
) -> tuple[float, float]:
    """Return the 1st and 99.8th percentile of the middle plane of a channel.

    Parameters
    ----------
    image
        Of which a plane is looked at; of a large one only some pieces.
    c
        Index of the channel.
    levels
        Resolutions of the image, of which the coarsest is looked at.
    """
    coarsest = levels[-1] if levels else image.data
    n_t, _, n_z = coarsest.shape[:3]
    # A result that is being written may be empty in its middle, but not at its beginning.
    for t in dict.fromkeys((n_t // 2, 0)):
        values = _sample(coarsest[t, c, n_z // 2])
        if values.size:
            low, high = (float(v) for v in np.percentile(values, (1.0, 99.8)))
            return (low, high) if high > low else (low, low + 1.0)
    return (0.0, 1.0)


def _sample(plane: da.Array) -> NDArray[Any]:
    """Return finite pixels of a plane (Y, X): all of a small one, else of chunks spread over it.

    Whole chunks: dask reads all of one, whatever part of it is asked for.
    """
    if plane.size <= _ALL:
        parts = [plane]
    else:
        side = int(np.clip(np.sqrt(_READ / np.prod(plane.chunksize)), 1, _CHUNKS))
        rows, columns = (_spread(n, side) for n in plane.numblocks)
        parts = [plane.blocks[row, column] for row, column in product(rows, columns)]
    every = max(1, int(np.sqrt(sum(part.size for part in parts) / _LOOKED_AT)))
    # In this thread: see `LazyImage.read`.
    found = [part.compute(scheduler="synchronous")[::every, ::every].ravel() for part in parts]
    values = np.concatenate(found)
    finite: NDArray[Any] = values[np.isfinite(values)]
    return finite


def _spread(n: int, wanted: int) -> list[int]:
    """Return indices spread over ``range(n)``.

    Examples
    --------
    >>> _spread(8, 4), _spread(3, 4), _spread(9, 1)
    ([1, 3, 5, 7], [0, 1, 2], [4])
    """
    return list(dict.fromkeys(int((i + 0.5) / wanted * n) for i in range(wanted)))


def colormap_of(colour: str) -> Any:
    """Return a napari colormap from black to a colour; plain grey by its name.

    Parameters
    ----------
    colour
        ``RRGGBB``.
    """
    if colour.upper() == "FFFFFF":
        return "gray"
    from napari.utils import Colormap

    rgb = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return Colormap([[0.0, 0.0, 0.0, 1.0], [*rgb, 1.0]], name=f"#{colour.lower()}")
