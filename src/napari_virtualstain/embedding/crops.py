"""Which parts of a picture does an encoder look at? Fixed ones, around its middle.

So the features of a picture are the same at every look. WS-DINO evaluates four crops of
224 x 224 px, the quarters of the central 448 x 448.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from napari_virtualstain.axes import Region
from napari_virtualstain.errors import PixelDataError, SettingsError

__all__ = ["central_crops"]


def central_crops(
    shape: Sequence[int], edge: int | Sequence[int], *, per_axis: int = 2, what: str = "The picture"
) -> tuple[Region, ...]:
    """Return where the crops of a picture or volume lie: side by side, around its middle.

    Parameters
    ----------
    shape
        Sizes (Y, X) or (Z, Y, X) in pixels.
    edge
        Of a crop in pixels, one number or one an axis.
    per_axis
        Crops beside each other along each axis. Where a picture has no room for so many,
        they overlap evenly; along an axis of exactly one crop there is one.
    what
        Names the picture in an error.

    Returns
    -------
    tuple of tuple of slice
        One region a crop, the last axis first; ``per_axis ** len(shape)`` or fewer.

    Raises
    ------
    PixelDataError
        If the picture is smaller than a crop.
    SettingsError
        If a crop has no pixels, or none is asked for.

    Notes
    -----
    For Target-2 (512 x 512 px) these are the boxes of the published WS-DINO code, from 32 and 256
    to 480. Those of its BBBC021 script are in part 256 px wide; ours never are.

    References
    ----------
    Cross-Zamirski et al. 2022, arXiv:2209.07819.

    Examples
    --------
    >>> [(y.start, x.start) for y, x in central_crops((512, 512), 224)]
    [(32, 32), (32, 256), (256, 32), (256, 256)]
    >>> [(y.start, x.start) for y, x in central_crops((300, 224), 224)]
    [(0, 0), (76, 0)]
    """
    edges = (edge,) * len(shape) if isinstance(edge, int) else tuple(edge)
    if min(edges) < 1 or per_axis < 1 or len(edges) != len(shape):
        raise SettingsError(
            f"Crops of {_px(edges)}, {per_axis} an axis, cannot be cut from {_px(shape)}. "
            "Give an edge of 1 px or more for each axis, and 1 crop or more."
        )
    if any(size < e for size, e in zip(shape, edges, strict=True)):
        raise PixelDataError(
            f"{what} is {_px(shape)}, smaller than the crops of {_px(edges)} that are looked at. "
            "Use larger pictures, or smaller crops (--crop)."
        )
    along = [_starts(size, e, per_axis) for size, e in zip(shape, edges, strict=True)]
    return tuple(
        tuple(slice(start, start + e) for start, e in zip(corner, edges, strict=True))
        for corner in product(*along)
    )


def _starts(size: int, edge: int, count: int) -> list[int]:
    """Return the first pixel of each crop along an axis."""
    span = min(count * edge, size)
    first, room = (size - span) // 2, span - edge
    return sorted({first + room * n // max(count - 1, 1) for n in range(count)})


def _px(sizes: Sequence[int]) -> str:
    return f"{' x '.join(map(str, sizes))} px"
