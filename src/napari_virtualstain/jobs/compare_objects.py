"""Are the nuclei or cells of a prediction those of the truth? Counts, shapes, amounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.found_objects import SIDES, Found, Kind, Sought
from napari_virtualstain.metrics.pixel import pearson
from napari_virtualstain.objects.match import KINDS, ObjectMatch, match_objects, paint_kinds
from napari_virtualstain.objects.measure import measure_objects

__all__ = ["SHAPES", "ObjectScore", "compare_objects", "labels_channel"]

_LARGEST = 1 << 28
"""Pixels of a plane that are segmented at once."""
SHAPES = ("form_factor", "eccentricity", "solidity")
"""What of the shape of matched objects is compared; see `objects.measure`."""
_COLUMNS = ("area", "mean_stain", "excess_stain", *SHAPES)
_FEW = 2

Agreement = dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScore:
    """What became of the nuclei or cells of a field.

    Parameters
    ----------
    kind
        ``"nuclei"`` or ``"cells"``.
    stain, target
        Channels in which they were found and measured.
    diameter_px
        Least and largest of a nucleus.
    counts
        How many there are of each kind, over all planes; see `objects.match.ObjectMatch.to_json`.
    planes
        Of each plane: time point, plane, true and predicted number.
    size, intensity, amount
        Of matched objects: ``ratio``, the median of predicted over true, and ``r``, how both
        correlate. Of the area, of the mean of the stain in an object, and of the stain above the
        background that it holds.
    shape
        The same of each of `SHAPES`.
    number
        The same of how many there are: ``ratio`` over all planes, ``r`` from plane to plane; `None`
        of two planes or fewer.
    iou, distance_px
        From which overlap two objects are one, or up to which distance of their centres; one of
        them is `None`.
    nuclei
        Predicted channel of the nuclei that cells are found from, `None` where nuclei are compared
        or labels were given.
    notes
        How they were found, and what is missing.
    """

    kind: Kind = "nuclei"
    stain: str
    target: str
    diameter_px: tuple[float, float]
    counts: dict[str, Any]
    planes: tuple[tuple[int, int, int, int], ...]
    size: Agreement
    amount: Agreement
    intensity: Agreement = field(default_factory=dict)
    shape: dict[str, Agreement] = field(default_factory=dict)
    number: Agreement = field(default_factory=dict)
    iou: float | None = 0.5
    distance_px: float | None = None
    nuclei: str | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "kind": self.kind, "stain": self.stain, "target": self.target, "nuclei": self.nuclei,
            "diameter_px": list(self.diameter_px), "iou_from": self.iou,
            "distance_px": self.distance_px, **self.counts, "number": self.number,
            "size": self.size, "intensity": self.intensity, "amount": self.amount,
            "shape": self.shape, "planes": [list(plane) for plane in self.planes],
            "notes": list(self.notes),
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ObjectScore:
        """Return what `to_json` was called on, perhaps in another process."""
        own = (
            "kind", "stain", "target", "nuclei", "distance_px", "number", "size", "intensity",
            "amount", "shape",
        )  # fmt: skip
        other = ("diameter_px", "iou_from", "planes", "notes")
        return cls(
            **{name: values[name] for name in own},
            diameter_px=(values["diameter_px"][0], values["diameter_px"][1]),
            iou=values["iou_from"],
            planes=tuple((int(t), int(z), int(a), int(b)) for t, z, a, b in values["planes"]),
            notes=tuple(values["notes"]),
            counts={name: value for name, value in values.items() if name not in (*own, *other)},
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
        return f"{self.kind} of {self.stain}: {both}; {kinds}"


def labels_channel(kind: Kind) -> str:
    """Return the channel that says what became of the objects, in the store that is written.

    Examples
    --------
    >>> labels_channel("cells")
    'compared cells'
    """
    return f"compared {kind}"


def compare_objects(
    prediction: LazyImage,
    target: LazyImage,
    sought: Sought,
    *,
    iou: float = 0.5,
    distance_px: float | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    on_plane: Callable[[int, int], None] = lambda _done, _total: None,
) -> ObjectScore:
    """Find the objects of both images in the same way, plane by plane, and match them.

    Parameters
    ----------
    prediction, target
        Images of one size.
    sought
        Nuclei or cells, and in which channels.
    iou, distance_px
        See `objects.match.match_objects`.
    out
        OME-Zarr to write labels to: predicted objects, true objects, and what became of them.
    overwrite
        Whether it may be replaced.
    on_plane
        Told of planes compared.

    Raises
    ------
    PixelDataError
        If a plane is too large to be segmented at once, or given labels are none.
    OutputExistsError, DiskError
        If labels cannot be written.
    """
    n_t, _, n_z, height, width = prediction.shape
    if height * width > _LARGEST:
        raise PixelDataError(
            f"Objects are looked for in a plane as a whole, and {height} x {width} px are too "
            "many. Choose a part of it with --region."
        )
    places = list(product(range(n_t), range(n_z)))
    sink = None
    if out is not None:
        sink = _sink(out, prediction, sought.kind, len(places), overwrite=overwrite)
    total = _Total()
    planes = []
    on_plane(0, len(places))

    def compare() -> None:
        for number, (t, z) in enumerate(places):
            sides = [
                sought.find(side, image, t, z) for side, image in enumerate((prediction, target))
            ]
            found = [side.labels for side in sides]
            match = match_objects(*found, iou=iou, distance_px=distance_px)
            total.add(match, sides)
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
    counts = total.counts()
    return ObjectScore(
        kind=sought.kind, stain=sought.measured[0], target=sought.measured[1],
        nuclei=sought.nuclei[0] if sought.cells and sought.given is None else None,
        diameter_px=sought.diameter_px, planes=tuple(planes), counts=counts,
        iou=iou if distance_px is None else None, distance_px=distance_px,
        number=_number(counts, planes), size=total.agreement("area"),
        intensity=total.agreement("mean_stain"), amount=total.agreement("excess_stain"),
        shape={name: total.agreement(name) for name in SHAPES}, notes=total.notes(sought),
    )  # fmt: skip


def _number(counts: dict[str, Any], planes: Sequence[tuple[int, int, int, int]]) -> Agreement:
    """Return how the numbers of objects agree, over all planes and from plane to plane."""
    true, predicted = (np.array([plane[n] for plane in planes], float) for n in (2, 3))
    r = pearson(predicted, true) if len(planes) > _FEW else float("nan")
    return {
        "ratio": counts["predicted"] / counts["true"] if counts["true"] else None,
        "r": None if np.isnan(r) else r,
    }


_CHUNK = 512


def _parts(height: int, width: int) -> list[tuple[slice, slice]]:
    return [
        (slice(y, min(y + _CHUNK, height)), slice(x, min(x + _CHUNK, width)))
        for y in range(0, height, _CHUNK)
        for x in range(0, width, _CHUNK)
    ]


def _sink(out: Path, like: LazyImage, kind: Kind, planes: int, *, overwrite: bool) -> OmeZarrSink:
    n_t, _, n_z, height, width = like.shape
    return OmeZarrSink.create(
        out,
        shape=(n_t, 3, n_z, height, width),
        channels=[Channel(f"{side} {kind}") for side in ("predicted", "true", "compared")],
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
    """Adds up what became of the objects of planes."""

    def __init__(self) -> None:
        self._matches: list[ObjectMatch] = []
        self._pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in _COLUMNS}
        self._bare: list[list[bool]] = [[], []]

    def add(self, match: ObjectMatch, sides: Sequence[Found]) -> None:
        self._matches.append(match)
        tables = [
            measure_objects(one.labels, {"stain": np.asarray(one.picture, np.float64)})
            for one in sides
        ]
        for known, one in zip(self._bare, sides, strict=True):
            if one.labels.any():
                known.append(one.bare)
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
        r = pearson(*pairs.T) if len(pairs) > _FEW else float("nan")
        return {
            "ratio": float(np.median(shares[:, 0] / shares[:, 1])) if len(shares) else None,
            "r": None if np.isnan(r) else r,
        }

    def notes(self, sought: Sought) -> tuple[str, ...]:
        """Say on which side nothing was found, or cells that are no more than nuclei."""
        found = []
        numbers = [sum(n) for n in zip(*((m.n_predicted, m.n_true) for m in self._matches),
                                       strict=True)]  # fmt: skip
        for side, name in enumerate(SIDES):
            if not numbers[side]:
                stands = f"in {sought.nuclei[side]!r} nothing that large stands out"
                why = "the labels are empty" if sought.given is not None else stands
                around = " around which to look for cells" if sought.kind == "cells" else ""
                what = sought.kind if sought.given is not None else f"nuclei{around}"
                found.append(f"there are no {what} in the {name}: {why}")
            elif self._bare[side] and all(self._bare[side]):
                found.append(
                    f"each cell of the {name} is no more than its nucleus: in "
                    f"{sought.measured[side]!r} nothing stands out around them"
                )
        return tuple(found)
