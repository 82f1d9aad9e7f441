"""What a run notes of its tiles while they are written, beside the pixels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.prepare import PreparedStain
from napari_virtualstain.jobs.stain_record import ranges
from napari_virtualstain.jobs.stain_share import Report, as_written, gather_seams
from napari_virtualstain.tiling.plan import Tile

if TYPE_CHECKING:
    from napari_virtualstain.inference.seams import SeamIndex

__all__ = ["Ledger"]


class Ledger:
    """Writes tiles, and keeps what the record shall say of them.

    Parameters
    ----------
    prepared
        The run.
    sink
        The store.
    seams
        Over Y and X of the image, empty.
    on_note
        Told what is done differently while the run goes on.
    """

    def __init__(
        self,
        prepared: PreparedStain,
        sink: OmeZarrSink,
        seams: SeamIndex,
        on_note: Callable[[str], None] | None,
    ) -> None:
        self._prepared, self._sink, self._seams = prepared, sink, seams
        self._on_note = on_note
        self._one = threading.Lock()
        self._others: dict[str, list[int]] = {}
        self._sound = False  # whether a tile of this run held a number
        self.notes: list[str] = []

    def write(self, t: int, tile: Tile, stains: NDArray[np.float32]) -> None:
        """Write and commit a tile that was computed here: (stains * z, y, x) grey values.

        Several threads may do so at once.

        Raises
        ------
        PixelDataError
            If the first holds no number at all: then none of the others will.
        """
        if not self._sound:
            if not np.isfinite(stains).any():
                raise PixelDataError(f"{self._no_numbers()} {self._what_to_do()}")
            self._sound = True
        with self._one:
            gather_seams(self._seams, self._prepared, t, tile, stains)
        region, pixels = as_written(self._prepared, t, tile, stains)
        self._sink.write(region, pixels, tile=self._number(t, tile))

    def take(self, report: Report) -> None:
        """Note what a helper has written."""
        self._sink.take(report.lines)
        self._seams.merge(report.seams)
        for words in report.steps:
            self.step(words)
        for way, numbers in report.other_ways.items():
            self._others.setdefault(way, []).extend(numbers)

    def step(self, words: str) -> None:
        """Note what is done differently from now on."""
        self.notes.append(words)
        if self._on_note is not None:
            self._on_note(words)

    def judge(self) -> None:
        """Note how many pixels of the store are no number, whoever wrote them.

        Raises
        ------
        PixelDataError
            If a stain has no other pixels.
        """
        gaps, names = self._sink.gaps(), self._prepared.model.card.stain_names
        if not any(gaps):
            return
        tiles, n = self._prepared.plan, len(self._prepared.plan)
        there = sum(
            int(np.prod([part.stop - part.start for part in tiles.tile(number % n).write]))
            for number in self._sink.committed()
        ) * (self._prepared.depth or 1)
        empty = [name for name, count in zip(names, gaps, strict=True) if count == there]
        if empty:
            raise PixelDataError(f"{self._no_numbers(empty)} {self._what_to_do()}")
        counts = ", ".join(
            f"{count:,} of {name}" for name, count in zip(names, gaps, strict=True) if count
        )
        self.step(
            f"pixels that are no number (NaN or infinity) and count as missing: {counts}, of "
            f"{there:,} each. {self._what_to_do().rstrip('.')}"
        )

    def _no_numbers(self, names: Sequence[str] = ()) -> str:
        which = f"the stain {', '.join(map(repr, names))}" if names else "any stain"
        return (
            f"The model {self._prepared.model.card.name!r} gives no numbers for {which}, only NaN "
            "or infinity."
        )

    def _what_to_do(self) -> str:
        if self._prepared.network.precision != "float32":
            return "Stain with --precision float32 and --overwrite."
        return "Take another model, or look for pixels of extreme values in the image."

    def note_way(self, t: int, tile: Tile, way: str) -> None:
        """Note that a tile was computed in another way than planned."""
        self._others.setdefault(way, []).append(self._number(t, tile))

    def entry(self) -> dict[str, Any]:
        """Return what the record of the run says of its tiles."""
        found: dict[str, Any] = {"seams": self._seam_index()}
        if self._others:
            # Between ways of computing the last digits differ.
            found["other_ways"] = {way: ranges(mine) for way, mine in self._others.items()}
        return found

    def _number(self, t: int, tile: Tile) -> int:
        return t * len(self._prepared.plan) + tile.index

    def _seam_index(self) -> dict[str, Any] | None:
        """Return how visible the borders between the tiles are, `None` without any."""
        worst, stains = self._seams.worst, self._prepared.model.card.stain_names
        if worst is None:
            return None
        return {
            "by_stain": {
                name: None if np.isnan(value) else round(float(value), 4)
                for name, value in zip(stains, self._seams.seam, strict=True)
            },
            "worst": {
                "seam": round(worst.seam, 4),
                "stain": stains[worst.channel],
                "axis": "yx"[worst.axis],
                "at_px": worst.position,
            },
            "borders": self._seams.borders,
        }
