"""How is a denoiser run over planes of any size? By the engine, with no trace of the tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.grey_planes import GreyPlanes
from napari_virtualstain.tiling.plan import Tile, tile_around

if TYPE_CHECKING:
    from napari_virtualstain.denoising.denoiser import Denoiser
    from napari_virtualstain.inference.stainer import Stainer

__all__ = ["denoised_part", "denoising", "with_gaps_of"]


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """Planes of one size as the engine asks for them: each stands in the place of a time point.

    Nothing is hidden from the network now; what is missing is 0, the mean, as in its training.
    """

    planes: GreyPlanes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.planes.shape(0)

    @property
    def times(self) -> int:
        return len(self.planes)

    @property
    def blocks(self) -> tuple[int, ...]:
        lengths = getattr(self.planes.planes[0], "chunksize", self.shape)
        return tuple(int(n) for n in lengths)

    def read(self, t: int, region: Region) -> NDArray[np.float32]:
        return np.nan_to_num(self.planes.read(t, region))[None]


def denoising(denoiser: Denoiser, planes: GreyPlanes, *, device: str) -> Stainer:
    """Return what denoises any region of planes.

    Parameters
    ----------
    denoiser
        With its weights.
    planes
        All of one size; what is called a time point in the engine is a plane.
    device
        A torch device that is there.
    """
    from napari_virtualstain.inference.network import prepare_network
    from napari_virtualstain.inference.stainer import Stainer

    network = prepare_network(denoiser.module(), device=device)
    return Stainer(
        network=lambda _plane: network, source=_Shown(planes), outputs=(planes.norm,),
        planned=network,
    )  # fmt: skip


def with_gaps_of(
    planes: GreyPlanes, plane: int, tile: Tile, pixels: NDArray[Any]
) -> NDArray[np.float32]:
    """Return the grey values (Y, X) of a denoised tile, NaN where the noisy plane is missing."""
    if not planes.gaps:
        return pixels
    known = np.isfinite(planes.grey(plane, tile.write))
    return np.where(known, pixels, np.float32(np.nan))


def denoised_part(stainer: Stainer, planes: GreyPlanes, plane: int, region: Region) -> NDArray[Any]:
    """Denoise a region (Y, X) of a plane alone, with the numbers that it has in the whole.

    Parameters
    ----------
    stainer, planes
        See `denoising`.
    plane, region
        Which part.
    """
    reach = stainer.typical.reach
    tile = tile_around(
        region, shape=planes.shape(plane), halo=reach.halo, multiple_of=reach.multiple_of
    )
    (stains,) = stainer.predict([(plane, tile, stainer.read(plane, tile))])
    return with_gaps_of(planes, plane, tile, stainer.finish(plane, tile, stains)[0])
