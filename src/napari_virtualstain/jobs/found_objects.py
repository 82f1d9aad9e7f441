"""Where are the objects of two pictures of a field? Nuclei or cells, found alike; or given labels.

One way for both kinds: nuclei are the seeds of cells, and what follows, matching and measuring,
asks no more than labels and the picture in which they lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import ChannelError, PixelDataError
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.compare import grid_of, grid_words, read_rows
from napari_virtualstain.objects.segment import segment_cells, segment_nuclei

__all__ = ["SIDES", "Found", "Kind", "Sought", "labels_in"]

Kind = Literal["nuclei", "cells"]

SIDES = ("prediction", "truth")
"""Of a comparison, in this order everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Objects of a plane.

    Parameters
    ----------
    labels
        (Y, X) whole numbers, 0 is background.
    picture
        (Y, X) of the stain in which they are measured; NaN is missing.
    bare
        Whether there are cells, and each is no more than its nucleus.
    """

    labels: NDArray[Any]
    picture: NDArray[np.float32]
    bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sought:
    """What is looked for, and in which channels.

    Parameters
    ----------
    nuclei
        Channel of the prediction, channel of the truth.
    diameter_px
        Least and largest diameter of a nucleus.
    cells
        The same of a stain of whole cells; nuclei are compared if `None`.
    reach_px
        How far from its nucleus a cell can reach.
    given
        Labels of the prediction and of the truth, one channel each, of the size of the images;
        nothing is looked for then.
    """

    nuclei: tuple[str, str]
    diameter_px: tuple[float, float]
    cells: tuple[str, str] | None = None
    reach_px: float = 50.0
    given: tuple[LazyImage, LazyImage] | None = None

    @property
    def kind(self) -> Kind:
        """What is compared."""
        return "nuclei" if self.cells is None else "cells"

    @property
    def measured(self) -> tuple[str, str]:
        """Channels in which objects are measured, predicted and true."""
        return self.cells or self.nuclei

    def find(self, side: int, image: LazyImage, t: int, z: int) -> Found:
        """Return the objects of a plane.

        Parameters
        ----------
        side
            0 of the prediction, 1 of the truth.
        image
            Of that side.
        t, z
            Which plane.

        Raises
        ------
        PixelDataError
            If given labels are no whole numbers.
        SettingsError
            If the diameters are none.
        """

        def plane(name: str) -> NDArray[np.float32]:
            return read_rows(image, t, image.channel_index(name), z, slice(None))

        picture = plane(self.measured[side])
        if self.given is not None:
            place = (slice(t, t + 1), slice(0, 1), slice(z, z + 1), slice(None), slice(None))
            pixels = self.given[side].read(place)[0, 0, 0]
            return Found(labels=_whole(pixels, SIDES[side]), picture=picture)
        seeds = picture if self.cells is None else plane(self.nuclei[side])
        nuclei = segment_nuclei(seeds, diameter_px=self.diameter_px)
        if self.cells is None:
            return Found(labels=nuclei, picture=picture)
        cells = segment_cells(nuclei, picture, reach_px=self.reach_px)
        bare = bool(nuclei.any()) and np.array_equal(nuclei > 0, cells > 0)
        return Found(labels=cells, picture=picture, bare=bare)


def labels_in(image: LazyImage, kind: Kind, like: LazyImage, which: str) -> LazyImage:
    """Return the channel of an image that holds the labels of a kind.

    Parameters
    ----------
    image
        One channel, or several of which one is called ``nuclei`` or ``cells``.
    kind
        Which of them.
    like
        Whose planes they are of.
    which
        Setting that names the image, for messages.

    Raises
    ------
    ChannelError
        If several channels could be meant.
    PixelDataError
        If it has another size.
    """
    names = image.channel_names
    if len(names) > 1:
        named = [name for name in names if name.casefold().split()[-1:] == [kind]]
        if len(named) != 1:
            raise ChannelError(
                f"{which} has {len(names)} channels ({', '.join(names)}), and "
                f"{'none of them' if not named else 'more than one'} is called {kind!r}. Give a "
                f"file with the labels of {kind} alone."
            )
        image = image.select(named)
    if grid_of(image) != grid_of(like):
        raise PixelDataError(
            f"{which} has {grid_words(image)} and the images {grid_words(like)}. Give labels of "
            "the same planes."
        )
    return image


def _whole(pixels: NDArray[Any], side: str) -> NDArray[np.int64]:
    numbers = np.nan_to_num(pixels)
    if (numbers < 0).any() or (numbers % 1).any():
        raise PixelDataError(
            f"What is given as labels of the {side} has values that are no whole numbers from 0. "
            "Give a picture in which each object has a number of its own."
        )
    labels: NDArray[np.int64] = numbers.astype(np.int64)
    return labels
