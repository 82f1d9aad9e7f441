"""How the stains of one pair lie on its bright field, and what tells the pair from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.alignment import StainShift, measure_shift
from napari_virtualstain.datasets.leakage import Footprint, block_prints, same_file
from napari_virtualstain.datasets.pairing import Match
from napari_virtualstain.datasets.pairing_file import FilePair, FileShift, FileStain
from napari_virtualstain.datasets.planes import InputPlanes
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.jobs.pair_images import Images, Opening, StainPlace, join_stains

__all__ = ["CheckedPair", "check_pair", "open_planes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPair:
    """A pair as the pairs file has it, and what tells it from others."""

    pair: FilePair
    footprint: Footprint


def open_planes(
    path: str,
    scene: str,
    channel: str,
    *,
    z: Sequence[int] | None,
    pixel_size_um: float | None,
    how: Opening,
    images: Images,
) -> LazyImage:
    """Return the bright field of a pair, (T, 1, P, Y, X).

    Raises
    ------
    VirtualStainError
        If it cannot be opened, or a plane is missing.
    """
    image = images.open(path, scene, how).select([channel], z=z)
    if pixel_size_um is not None:
        size = PixelSize(z=image.pixel_size_um.z, y=pixel_size_um, x=pixel_size_um)
        image = replace(image, pixel_size_um=size)
    InputPlanes(image, tuple(z or ())).refuse_missing(range(image.shape[0]))
    return image


def check_pair(
    match: Match,
    stains: Sequence[str],
    *,
    images: Images,
    how: Opening,
    target_how: Opening,
    z: Sequence[int] | None = None,
    target_z: int | None = None,
    pixel_size_um: float | None = None,
    registration: str = "each",
    tolerance_px: float = 1.5,
) -> CheckedPair:
    """Open a pair, and measure by how much each stain is shifted.

    Parameters
    ----------
    match
        Which images.
    stains
        All that are wanted; those that this field lacks are left out.
    images, how, target_how
        Open both halves.
    z
        Planes of the bright field; all if `None`.
    target_z
        Plane of the stains, if they have several.
    pixel_size_um
        If the files do not say.
    registration
        ``"each"``, ``"best"`` or ``"none"``; see `PairsSettings`.
    tolerance_px
        Shifts up to this count as none.

    Raises
    ------
    VirtualStainError
        If a half cannot be opened, or both are not of one field.
    """
    planes = open_planes(
        match.input.path, match.input.scene, match.channel,
        z=z, pixel_size_um=pixel_size_um, how=how, images=images,
    )  # fmt: skip
    there = [stain for stain in stains if stain in match.stains]
    places = {
        stain: StainPlace(half.path, half.scene, found.channel, target_z)
        for stain, (half, found) in ((s, match.stains[s]) for s in there)
    }
    joined = join_stains(dict(places), planes, target_how, images)
    shifts = _shifts(planes, joined, z, registration, tolerance_px)
    pair = FilePair(
        name=match.name,
        plate=match.plate,
        well=match.well,
        field=match.field,
        matched_by=match.by,
        path=match.input.path,
        scene=match.input.scene,
        channel=match.channel,
        stains={
            stain: FileStain(
                path=place.path, scene=place.scene, channel=place.channel, z=place.z,
                by=match.stains[stain][1].by,
            )
            for stain, place in places.items()
        },
        registration=tuple(_written(shift) for shift in shifts),
    )  # fmt: skip
    return CheckedPair(pair=pair, footprint=_footprint(match, planes, joined))


def _written(shift: StainShift) -> FileShift:
    values = asdict(shift)
    return FileShift(dy_px=values.pop("dy"), dx_px=values.pop("dx"), **values)


def _shifts(
    planes: LazyImage,
    stains: LazyImage,
    z: Sequence[int] | None,
    registration: str,
    tolerance_px: float,
) -> list[StainShift]:
    """Return how each stain lies at each time point."""
    if registration == "none":
        return []
    shifts = []
    for t in range(planes.shape[0]):
        found = [
            measure_shift(planes, stains, channel, t, tolerance_px=tolerance_px)
            for channel in range(stains.shape[1])
        ]
        if z is not None:
            found = [replace(shift, plane=z[shift.plane]) for shift in found]
        if registration == "best":
            best = max(found, key=lambda shift: shift.confidence)
            found = [replace(best, stain=one.stain, measured_on=best.stain) for one in found]
        shifts += found
    return shifts


def _footprint(match: Match, planes: LazyImage, stains: LazyImage) -> Footprint:
    """Return what tells the field from others, from a few blocks of its middle plane."""
    files = [match.input, *(half for half, _ in match.stains.values())]
    prints = list(block_prints(planes, 0, z=planes.shape[2] // 2))
    for channel in range(stains.shape[1]):
        prints += block_prints(stains, channel)
    return Footprint(
        name=match.name,
        files=frozenset((same_file(half.path), half.scene) for half in files),
        plate=match.plate,
        well=match.well,
        prints=frozenset(prints),
        extent_um=_extent(match, planes),
    )


def _extent(match: Match, planes: LazyImage) -> tuple[float, float, float, float] | None:
    place, size = match.input.place, planes.pixel_size_um
    if place is None or place.position_um is None or size.y is None or size.x is None:
        return None
    (y, x), height, width = place.position_um, planes.shape[3] * size.y, planes.shape[4] * size.x
    return (y - height / 2, y + height / 2, x - width / 2, x + width / 2)
