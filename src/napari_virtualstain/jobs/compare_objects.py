"""Are the nuclei of a prediction those of the truth? Counts, sizes, amounts, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.compare import read_rows
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.objects.match import KINDS, ObjectMatch, match_objects, paint_kinds
from napari_virtualstain.objects.measure import measure_objects
from napari_virtualstain.objects.segment import segment_nuclei

__all__ = ["ObjectScore", "compare_objects"]

_LARGEST = 1 << 28
"""Pixels of a plane that are segmented at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScore:
    """What became of the nuclei of a field.

    Parameters
    ----------
    stain, target
        Channels in which they were found.
    diameter_px
        Least and largest.
    counts
        How many there are of each kind, over all planes; see `objects.match.ObjectMatch.to_json`.
    planes
        Of each plane: time point, plane, true and predicted number.
    size, amount
        Of matched nuclei: ``ratio``, the median of predicted over true, and ``r``, how both
        correlate. Of the area, and of the stain above the background that a nucleus holds.
    """

    stain: str
    target: str
    diameter_px: tuple[float, float]
    counts: dict[str, Any]
    planes: tuple[tuple[int, int, int, int], ...]
    size: dict[str, float | None]
    amount: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "stain": self.stain, "target": self.target, "diameter_px": list(self.diameter_px),
            **self.counts, "size": self.size, "amount": self.amount,
            "planes": [list(plane) for plane in self.planes],
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ObjectScore:
        """Return what `to_json` was called on, perhaps in another process."""
        own = ("stain", "target", "diameter_px", "size", "amount", "planes")
        return cls(
            stain=values["stain"], target=values["target"],
            diameter_px=(values["diameter_px"][0], values["diameter_px"][1]),
            size=values["size"], amount=values["amount"],
            planes=tuple((int(t), int(z), int(a), int(b)) for t, z, a, b in values["planes"]),
            counts={name: value for name, value in values.items() if name not in own},
        )  # fmt: skip

    def words(self) -> str:
        """Say it in a line.

        Examples
        --------
        >>> score = ObjectScore(stain="DNA", target="DAPI", diameter_px=(9, 40), planes=(),
        ...     counts={"true": 12, "predicted": 11, "matched": 10, "invented": 1, "missed": 2,
        ...             "merged": 0, "split": 0}, size={"ratio": 0.97, "r": 0.9},
        ...     amount={"ratio": None, "r": None})
        >>> score.words()
        'nuclei of DNA: 12 true, 11 predicted; 10 matched, 1 invented, 2 missed, 0 merged, 0 split'
        """
        kinds = ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS)
        both = f"{self.counts['true']} true, {self.counts['predicted']} predicted"
        return f"nuclei of {self.stain}: {both}; {kinds}"


def compare_objects(
    prediction: LazyImage,
    target: LazyImage,
    names: tuple[str, str],
    *,
    diameter_px: tuple[float, float],
    out: Path | None = None,
    overwrite: bool = False,
    on_plane: Callable[[int, int], None] = lambda _done, _total: None,
) -> ObjectScore:
    """Find the nuclei of both images in the same way, plane by plane, and match them.

    Parameters
    ----------
    prediction, target
        Images of one size.
    names
        Channel of the prediction, channel of the target.
    diameter_px
        Least and largest diameter of a nucleus.
    out
        OME-Zarr to write labels to: predicted nuclei, true nuclei, and what became of them.
    overwrite
        Whether it may be replaced.
    on_plane
        Told of planes compared.

    Raises
    ------
    PixelDataError
        If a plane is too large to be segmented at once.
    OutputExistsError, DiskError
        If labels cannot be written.
    """
    n_t, _, n_z, height, width = prediction.shape
    if height * width > _LARGEST:
        raise PixelDataError(
            f"Nuclei are looked for in a plane as a whole, and {height} x {width} px are too many. "
            "Choose a part of it with --region."
        )
    places = list(product(range(n_t), range(n_z)))
    channels = (prediction.channel_index(names[0]), target.channel_index(names[1]))
    sink = None if out is None else _sink(out, prediction, len(places), overwrite=overwrite)
    total = _Total()
    planes = []
    on_plane(0, len(places))

    def compare() -> None:
        for number, (t, z) in enumerate(places):
            pictures = [
                read_rows(image, t, c, z, slice(None))
                for image, c in zip((prediction, target), channels, strict=True)
            ]
            found = [segment_nuclei(picture, diameter_px=diameter_px) for picture in pictures]
            match = match_objects(*found)
            total.add(match, found, pictures)
            planes.append((t, z, match.n_true, match.n_predicted))
            if sink is not None:
                labels = np.stack([*found, paint_kinds(match, *found)]).astype(np.int32)
                for tile, part in enumerate(_parts(height, width)):
                    region = (slice(t, t + 1), slice(0, 3), slice(z, z + 1), *part)
                    sink.write(region, labels[None, :, None, *part])
                    sink.commit(number * len(_parts(height, width)) + tile)
            on_plane(number + 1, len(places))

    if sink is None:
        compare()
    else:
        with sink:
            compare()
            sink.finish({})
    return ObjectScore(
        stain=names[0], target=names[1], diameter_px=diameter_px, planes=tuple(planes),
        counts=total.counts(), size=total.agreement("area"), amount=total.agreement("excess_stain"),
    )  # fmt: skip


_CHUNK = 512


def _parts(height: int, width: int) -> list[tuple[slice, slice]]:
    return [
        (slice(y, min(y + _CHUNK, height)), slice(x, min(x + _CHUNK, width)))
        for y in range(0, height, _CHUNK)
        for x in range(0, width, _CHUNK)
    ]


def _sink(out: Path, like: LazyImage, planes: int, *, overwrite: bool) -> OmeZarrSink:
    n_t, _, n_z, height, width = like.shape
    return OmeZarrSink.create(
        out,
        shape=(n_t, 3, n_z, height, width),
        channels=[Channel(f"{what} nuclei") for what in ("predicted", "true", "compared")],
        pixel_size_um=like.pixel_size_um,
        origin_um=like.origin_um,
        time_interval_s=like.time_interval_s,
        z_positions_um=like.z_positions_um,
        dtype="int32",
        chunks_yx=_CHUNK,
        n_tiles=planes * len(_parts(height, width)),
        levels=1,  # a mean of labels is no label
        record={"job": "evaluate", "kind": "labels", "kinds": ["background", *KINDS]},
        overwrite=overwrite,
    )  # fmt: skip


class _Total:
    """Adds up what became of the nuclei of planes."""

    def __init__(self) -> None:
        self._matches: list[ObjectMatch] = []
        self._pairs: dict[str, list[tuple[float, float]]] = {"area": [], "excess_stain": []}

    def add(
        self, match: ObjectMatch, found: Sequence[NDArray[Any]], pictures: Sequence[NDArray[Any]]
    ) -> None:
        self._matches.append(match)
        tables = [
            measure_objects(labels, {"stain": np.asarray(picture, np.float64)})
            for labels, picture in zip(found, pictures, strict=True)
        ]
        rows = [{int(n): row for row, n in enumerate(table["object"])} for table in tables]
        for column, pairs in self._pairs.items():
            values = [table[column] for table in tables]
            pairs += [
                (float(values[0][rows[0][a]]), float(values[1][rows[1][b]]))
                for a, b in match.matched
            ]

    def counts(self) -> dict[str, Any]:
        together = ObjectMatch(
            matched=tuple(pair for match in self._matches for pair in match.matched),
            iou=tuple(iou for match in self._matches for iou in match.iou),
            invented=tuple(n for match in self._matches for n in match.invented),
            missed=tuple(n for match in self._matches for n in match.missed),
            merged=tuple(n for match in self._matches for n in match.merged),
            split=tuple(n for match in self._matches for n in match.split),
        )
        found = together.to_json()
        dice = [match.dice for match in self._matches if np.isfinite(match.dice)]
        return {**found, "dice": float(np.mean(dice)) if dice else None}

    def agreement(self, column: str) -> dict[str, float | None]:
        pairs = np.array(self._pairs[column]).reshape(-1, 2)
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        shares = pairs[pairs[:, 1] > 0]
        r = pearson(*pairs.T) if len(pairs) > 2 else float("nan")
        return {
            "ratio": float(np.median(shares[:, 0] / shares[:, 1])) if len(shares) else None,
            "r": None if np.isnan(r) else r,
        }
