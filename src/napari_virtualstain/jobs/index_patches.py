"""What does a network make of the patches of a field? Features, places and small pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import Region
from napari_virtualstain.datasets.pairs import PairedSet
from napari_virtualstain.datasets.stain_names import find_stain
from napari_virtualstain.embedding.familiar import (
    FieldPatches,
    TrainingIndex,
    block_numbers,
    fit_index,
)
from napari_virtualstain.embedding.index_file import described
from napari_virtualstain.errors import ChannelError, PixelDataError, VirtualStainError
from napari_virtualstain.generators.base import Generator
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.io.model_files import sha256_of
from napari_virtualstain.jobs.base import Progress, stage
from napari_virtualstain.jobs.training_run import KeptOfData
from napari_virtualstain.nets.weights import weights_of
from napari_virtualstain.qc.field import binned

if TYPE_CHECKING:
    from napari_virtualstain.inference.deepest import PatchReader

__all__ = [
    "PatchGrid",
    "index_of_pairs",
    "middle_planes",
    "patches_of_field",
    "short_name",
    "shown_stain",
    "spread_over",
    "taught_index",
    "with_index",
]

Pictures = NDArray[np.float32]
Reading = Callable[[Region], tuple[Pictures, Pictures | None]]
"""Normalised planes (P, *S) of a region of Y and X, and one stain of it (Y, X) to be shown."""

_MOST_PATCHES = 1024
"""Of one field; between those of a larger one there are gaps."""
_MOST_FIELDS = 128
_ALL_PATCHES = 1 << 15
_SHOWN = 32
"""Pixels along the edge of a small picture, at least."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchGrid:
    """Patches over a field.

    Parameters
    ----------
    shape
        Of the field in pixels.
    edge
        Of a patch.

    Raises
    ------
    PixelDataError
        If the field is smaller than a patch.
    """

    shape: tuple[int, int]
    edge: int

    def __post_init__(self) -> None:
        """Refuse what holds no patch."""
        if min(self.shape) < self.edge:
            raise PixelDataError(
                f"The field is {self.shape[0]} x {self.shape[1]} px and a patch of the network "
                f"{self.edge} px. Give larger fields."
            )

    @property
    def starts(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """First rows and first columns."""
        counts = [-(-n // self.edge) for n in self.shape]
        fewer = max(1.0, (counts[0] * counts[1] / _MOST_PATCHES) ** 0.5)
        y, x = (
            np.round(np.linspace(0, n - self.edge, max(1, int(count / fewer)))).astype(np.int32)
            for n, count in zip(self.shape, counts, strict=True)
        )
        return y, x

    @property
    def places(self) -> NDArray[np.int32]:
        """(N, 2) first row and column of each, row by row."""
        y, x = self.starts
        return np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)

    def on_pixels(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return a value a patch (N,) on the pixels of the field: each has that of the nearest."""
        y, x = self.starts
        at = [
            np.abs(np.arange(n)[:, None] - (starts + (self.edge - 1) / 2)[None]).argmin(axis=1)
            for n, starts in zip(self.shape, (y, x), strict=True)
        ]
        found: NDArray[Any] = values.reshape(len(y), len(x))[np.ix_(*at)]
        return found


def patches_of_field(
    name: str,
    grid: PatchGrid,
    read: Reading,
    reader: PatchReader,
    *,
    group: str = "",
    pictures: bool = False,
) -> FieldPatches:
    """Return what a network makes of the patches of a field.

    Parameters
    ----------
    name
        Of the field.
    grid
        Of its patches.
    read
        Reads a region; a row of patches at a time.
    reader
        Of the network.
    group
        See `FieldPatches`.
    pictures
        Whether small pictures are kept.

    Raises
    ------
    PixelDataError
        If pixels are missing.
    """
    rows, columns = grid.starts
    edge, small = grid.edge, max(1, grid.edge // _SHOWN)
    features, light, stain = [], [], []
    for y in rows:
        planes, truth = read((slice(int(y), int(y) + edge), slice(0, grid.shape[1])))
        if not np.isfinite(planes).all():
            raise PixelDataError(f"{name!r} lacks pixels (NaN). Leave it out.")
        features.append(reader.read(np.stack([planes[..., x : x + edge] for x in columns])))
        if pictures:
            shown = _middle(planes)
            light += [binned(shown[:, x : x + edge], small) for x in columns]
        if pictures and truth is not None:
            stain += [binned(truth[:, x : x + edge], small) for x in columns]
    places = grid.places
    return FieldPatches(
        name=name, features=np.concatenate(features), places=places,
        blocks=block_numbers(places, grid.shape, edge), group=group,
        light=np.stack(light) if light else None, stain=np.stack(stain) if stain else None,
    )  # fmt: skip


def _middle(planes: Pictures) -> Pictures:
    """Return the plane in the middle of (P, Y, X) or (1, Z, Y, X)."""
    flat = planes.reshape(-1, *planes.shape[-2:])
    middle: Pictures = flat[len(flat) // 2]
    return middle


def middle_planes(depth: int, reader: PatchReader) -> slice:
    """Return which planes of a stack a network over volumes is shown."""
    start = (depth - reader.shape[0]) // 2
    return slice(start, start + reader.shape[0])


def spread_over(count: int, patches: int) -> list[int]:
    """Return which of so many fields an index is made of, if each has so many patches.

    Examples
    --------
    >>> len(spread_over(1000, 64)), spread_over(3, 64)
    (128, [0, 1, 2])
    """
    most = min(_MOST_FIELDS, max(8, _ALL_PATCHES // max(patches, 1)))
    if count <= most:
        return list(range(count))
    return [round(n) for n in np.linspace(0, count - 1, most)]


def shown_stain(names: Sequence[str]) -> int:
    """Return which stain is shown beside the bright field: that of DNA, else the first."""
    try:
        dna = find_stain("DNA", tuple(names))
    except ChannelError:
        dna = None
    return 0 if dna is None else list(names).index(dna.channel)


def index_of_pairs(
    generator: Generator,
    teach: PairedSet,
    held: PairedSet | None,
    *,
    name: str,
    weights: str,
    stains: Sequence[str],
    alarms: float = 0.05,
    pictures: bool = True,
    on_field: Callable[[int, int], None] | None = None,
) -> TrainingIndex:
    """Return the index of the fields that taught a generator.

    Parameters
    ----------
    generator
        With its weights, on the processor.
    teach, held
        Fields that taught, and others that did not; of many, some that are spread over all.
    name, weights
        Of the model, and the sha256 of its weights.
    stains
        Names.
    alarms
        See `fit_index`.
    pictures
        Whether small pictures are kept.
    on_field
        Told of fields.

    Raises
    ------
    VirtualStainError
        If the network shows no features, or there are too few fields.
    """
    from napari_virtualstain.inference.deepest import patch_reader  # loads torch

    depths = [field.shape[0] for field in teach.fields if len(field.shape) == 3]
    reader = patch_reader(generator, depth=min(depths) if depths else None)
    stain = shown_stain(stains)

    def looked_at(pairs: PairedSet, number: int) -> FieldPatches:
        field = pairs.fields[number]
        z = () if len(field.shape) == 2 else (middle_planes(field.shape[0], reader),)

        def read(region: Region) -> tuple[Pictures, Pictures | None]:
            planes, truth = pairs.read(number, (*z, *region))
            return planes, _middle(truth[stain : stain + 1])

        y, x = field.shape[-2:]
        return patches_of_field(
            short_name(field.name), PatchGrid((y, x), reader.edge), read, reader, group=field.group,
            pictures=pictures,
        )  # fmt: skip

    sets: list[PairedSet] = [teach] if held is None else [teach, held]
    chosen = []
    for pairs in sets:
        large = max((np.prod(field.shape[-2:]) for field in pairs.fields), default=0)
        chosen.append(spread_over(len(pairs.fields), int(large) // reader.edge**2))
    total, done = sum(map(len, chosen)), 0
    found: list[list[FieldPatches]] = []
    for pairs, numbers in zip(sets, chosen, strict=True):
        own = []
        for number in numbers:
            if on_field is not None:
                on_field(done, total)
            if min(pairs.fields[number].shape[-2:]) >= reader.edge:
                own.append(looked_at(pairs, number))
            done += 1
        found.append(own)
    return fit_index(
        found[0], found[1] if held is not None else (), model=name, weights=weights,
        layer=reader.layer, patch=reader.shape, stain_name=stains[stain] if pictures else "",
        alarms=alarms,
    )  # fmt: skip


def taught_index(
    generator: Generator,
    teach: PairedSet,
    held: PairedSet | None,
    *,
    name: str,
    stains: Sequence[str],
    kept: KeptOfData,
    on_progress: Progress | None = None,
) -> tuple[TrainingIndex | None, list[str]]:
    """Return the index of a model that was just trained, or a note that says why there is none.

    Parameters
    ----------
    generator, teach, held, name, stains
        See `index_of_pairs`.
    kept
        What is kept of the data.
    on_progress
        Told of fields.
    """
    if kept == "none":
        return None, []
    try:
        found = index_of_pairs(
            generator, teach, held, name=name, weights=sha256_of(weights_of(generator.module())),
            stains=stains, pictures=kept == "pictures",
            on_field=stage(on_progress, "training fields read for the index"),
        )  # fmt: skip
    except VirtualStainError as error:
        return None, [f"no index of the training data: {error}"]
    return found, []


def with_index(card: ModelCard, index: TrainingIndex | None) -> ModelCard:
    """Return a card that says of which data an index lies beside it."""
    return card.model_copy(update={"patch_index": None if index is None else described(index)})


def short_name(name: str) -> str:
    """Return the file and its folder: where on a disk they lay is nobody's business.

    Examples
    --------
    >>> short_name("/data/me/plate-3/B02.tif t0")
    'plate-3/B02.tif t0'
    """
    return "/".join(PurePath(name).parts[-2:]).lstrip("/")
