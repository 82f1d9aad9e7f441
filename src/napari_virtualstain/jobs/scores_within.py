"""Which pixels of a field count: all, those of the cells, or those of regions that were drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from napari_virtualstain.errors import ImageFileError, MissingInputError, PixelDataError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.compare import read_rows
from napari_virtualstain.objects.polygons import Polygon, inside

__all__ = ["Within", "read_regions", "regions_text"]

_SAMPLE = 1 << 20
"""Pixels, evenly spread, of which the threshold is taken, as `jobs.compare` does."""


@dataclass(frozen=True, slots=True)
class Within:
    """What counts of the planes of a table.

    Parameters
    ----------
    foreground
        Only where the truth is above Otsu's threshold of its plane.
    regions
        Only inside these, corners as (y, x) in pixels; the middle of the first pixel is 0.
    """

    foreground: bool = False
    regions: tuple[Polygon, ...] = ()

    @property
    def words(self) -> str:
        """The same for a column of a table.

        Examples
        --------
        >>> Within().words, Within(foreground=True).words
        ('whole image', 'foreground')
        """
        if not self.regions:
            return "foreground" if self.foreground else "whole image"
        return "foreground in regions" if self.foreground else "regions"

    def of_plane(
        self, target: LazyImage, truth: str, t: int, z: int
    ) -> Callable[[NDArray[np.float32], slice], NDArray[np.bool_]] | None:
        """Return what `jobs.compare.compare_planes` asks of a plane; `None` if all of it counts.

        Parameters
        ----------
        target, truth
            The true image, and its channel.
        t, z
            Which plane.

        Raises
        ------
        PixelDataError
            If no region lies in the image.
        """
        if not (self.foreground or self.regions):
            return None
        height, width = target.shape[3:]
        drawn: NDArray[np.bool_] | None = None
        if self.regions:
            drawn = inside((height, width), self.regions)
            if not drawn.any():
                raise PixelDataError(
                    f"No region lies in an image of {height} x {width} px. Draw them inside it, "
                    "with corners as y, x in pixels."
                )
        level = _level(target, truth, t, z) if self.foreground else -np.inf

        def counts(y: NDArray[np.float32], rows: slice) -> NDArray[np.bool_]:
            found: NDArray[np.bool_] = y > level
            return found if drawn is None else found & drawn[rows]

        return counts


def _level(target: LazyImage, truth: str, t: int, z: int) -> float:
    """Return Otsu's threshold of a plane; infinite for a constant one, which has no foreground."""
    height, width = target.shape[3:]
    channel, every = target.channel_index(truth), -(-height * width // _SAMPLE)
    rows = max(1, (1 << 22) // width // 256) * 256
    parts = [
        read_rows(target, t, channel, z, slice(y, min(y + rows, height))).ravel()[::every]
        for y in range(0, height, rows)
    ]
    some = np.concatenate(parts)
    some = some[np.isfinite(some)]
    return float(threshold_otsu(some)) if some.size and np.ptp(some) > 0 else float("inf")


def read_regions(path: str | Path) -> tuple[Polygon, ...]:
    """Read regions that were drawn: ``{"regions": [[[y, x], ...], ...]}``, in pixels.

    Raises
    ------
    MissingInputError
        If there is no such file.
    ImageFileError
        If it says something else.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        regions = tuple(
            tuple((float(y), float(x)) for y, x in corners) for corners in found["regions"]
        )
    except FileNotFoundError as error:
        raise MissingInputError(
            f"'{path}' does not exist. Name the file of regions with --regions."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageFileError(
            f"'{path}' is no file of regions: {error}. It has to say "
            '{"regions": [[[y, x], [y, x], [y, x]]]}, in pixels.'
        ) from error
    if not regions or any(len(corners) < 3 for corners in regions):
        raise ImageFileError(
            f"'{path}' has no region, or one of fewer than three corners. Give three or more of "
            "each."
        )
    return regions


def regions_text(regions: Sequence[Polygon]) -> str:
    """Return what `read_regions` reads."""
    return json.dumps({"regions": [[[float(y), float(x)] for y, x in one] for one in regions]})
