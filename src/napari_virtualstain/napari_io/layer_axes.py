"""What the axes, scale and units of a layer mean for a file.

Layers of this package say it by axis labels. Of other layers the last two axes are y and x, a
third before them z, and a fourth t, as napari's own readers have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize, to_micrometres
from napari_virtualstain.errors import AxesError

__all__ = ["Place", "Placed", "colour_of_layer", "place_of", "placed"]

_SECONDS = {
    "second": 1.0,
    "s": 1.0,
    "millisecond": 1e-3,
    "ms": 1e-3,
    "microsecond": 1e-6,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Which axes a layer has and where its pixels lie.

    Parameters
    ----------
    letters
        Letters of ``tzyx``.
    pixel_size_um, origin_um, time_interval_s
        As in `LazyImage`; sizes without a unit of length are not known.
    scale, translate
        As the layer has them.
    """

    letters: str
    pixel_size_um: PixelSize
    origin_um: tuple[float, float, float]
    time_interval_s: float | None
    scale: tuple[float, ...]
    translate: tuple[float, ...]

    def matches(self, other: Placed) -> bool:
        """Return whether two layers lie on the same pixels."""
        if self.letters != other.letters or self.pixel_size_um != other.pixel_size_um:
            return False
        near = np.abs(np.subtract(self.translate, other.translate))
        return bool(
            np.allclose(self.scale, other.scale, rtol=1e-6)
            and np.all(near <= 1e-3 * np.abs(self.scale))
        )


def placed(ndim: int, keywords: Mapping[str, Any]) -> Placed:
    """Return what the keywords of a layer say.

    Parameters
    ----------
    ndim
        Number of its axes.
    keywords
        Of ``add_image``, or the state that napari hands to a writer.

    Raises
    ------
    AxesError
        If it has more axes than t, z, y and x, or names others.
    """
    labels = [str(label).lower() for label in keywords.get("axis_labels") or ()]
    name = str(keywords.get("name") or "image")
    if len(labels) == ndim and set(labels) <= set("tzyx") and len(set(labels)) == ndim:
        letters = "".join(labels)
    elif 2 <= ndim <= 4:
        letters = "tzyx"[-ndim:]
    else:
        raise AxesError(
            f"The layer {name!r} has {ndim} axes, files have t, z, y and x at most. "
            "Split it along one of its axes first (right click on the layer: Split Stack)."
        )
    if [letter for letter in "tzyx" if letter in letters] != list(letters):
        raise AxesError(
            f"The layer {name!r} has its axes in the order {letters!r}. "
            "Transpose it to the order t, z, y, x first."
        )
    scale = tuple(float(s) for s in keywords.get("scale", (1.0,) * ndim))
    translate = tuple(float(s) for s in keywords.get("translate", (0.0,) * ndim))
    units = [str(unit) for unit in keywords.get("units") or ("pixel",) * ndim]
    size: dict[str, float | None] = dict.fromkeys("zyx")
    origin = dict.fromkeys("zyx", 0.0)
    interval: float | None = None
    for letter, step, start, unit in zip(letters, scale, translate, units, strict=True):
        if letter == "t":
            interval = step * _SECONDS[unit] if unit in _SECONDS and step > 0 else None
            continue
        length = to_micrometres(1.0, unit)
        if length is not None and step > 0:
            size[letter] = step * length
            origin[letter] = start * length
    return Placed(
        letters=letters,
        pixel_size_um=PixelSize(**size),
        origin_um=(origin["z"], origin["y"], origin["x"]),
        time_interval_s=interval,
        scale=scale,
        translate=translate,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where the pixels of a layer lie in y and x, whatever other axes it has.

    Parameters
    ----------
    scale, translate, units
        Along y and x.
    rotate
        (2, 2).
    affine
        (3, 3), applied last.
    """

    scale: tuple[float, float]
    translate: tuple[float, float]
    units: tuple[str, str]
    rotate: NDArray[np.float64]
    affine: NDArray[np.float64]

    def apply(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords of a layer over the same pixels; its other axes stay as they are."""
        leading = len(keywords["scale"]) - 2
        n = leading + 2
        rotate, affine = np.eye(n), np.eye(n + 1)
        rotate[-2:, -2:] = self.rotate
        affine[leading:n, leading:] = self.affine[:2]
        return {
            **keywords,
            "scale": [*keywords["scale"][:leading], *self.scale],
            "translate": [*keywords["translate"][:leading], *self.translate],
            "units": [*keywords["units"][:leading], *self.units],
            "rotate": rotate,
            "affine": affine,
        }


def place_of(layer: Any) -> Place:
    """Return where the pixels of a layer lie now, moved or turned by the user or not."""
    affine = np.asarray(layer.affine.affine_matrix, dtype=float)
    rows = [-3, -2, -1]
    return Place(
        scale=(float(layer.scale[-2]), float(layer.scale[-1])),
        translate=(float(layer.translate[-2]), float(layer.translate[-1])),
        units=(str(layer.units[-2]), str(layer.units[-1])),
        rotate=np.asarray(layer.rotate, dtype=float)[-2:, -2:],
        affine=affine[np.ix_(rows, rows)],
    )


def colour_of_layer(keywords: Mapping[str, Any]) -> str | None:
    """Return the colour of a layer's brightest pixels as ``RRGGBB``, `None` if it is not told.

    Parameters
    ----------
    keywords
        With the ``colormap`` as an object, or in the form that napari hands to a writer.
    """
    colormap = keywords.get("colormap")
    colours = (
        colormap.get("colors")
        if isinstance(colormap, Mapping)
        else getattr(colormap, "colors", None)
    )
    if colours is None:
        return None
    rgb = np.asarray(colours, dtype=float)[-1][:3]
    return "".join(f"{round(255 * float(part)):02X}" for part in np.clip(rgb, 0, 1))
