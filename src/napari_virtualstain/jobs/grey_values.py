"""Whose grey values normalise a field? Its own, those of its well, or those of its plate.

Numbers of a well or plate are gathered over all its fields, or a sample of them that
does not depend on which field is stained, so that all fields get the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from napari_virtualstain.datasets.planes import InputPlanes, fit_planes
from napari_virtualstain.datasets.statistics import (
    image_statistics,
    joint_is_known,
    joint_statistics,
    times_to_measure,
)
from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.generators.card import ModelCard
from napari_virtualstain.intensity import Normalisation, PixelStatistics, Rule, together
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import list_scenes
from napari_virtualstain.io.scene import Scene
from napari_virtualstain.jobs.prepare import InputSettings, PreparedStain
from napari_virtualstain.jobs.ready import ready_planes

__all__ = ["SAMPLE", "GreyValues", "grey_values"]

SAMPLE = 48
"""Fields of a well or plate that are measured, if it has more."""

Normalisations = tuple[tuple[Normalisation, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GreyValues:
    """Whose pixels are measured.

    Parameters
    ----------
    on
        ``"field"``, ``"well"`` or ``"plate"``.
    planes
        What is stained.
    fields
        What is measured.
    card
        Of the model.
    pixel_bytes
        Of a pixel as recorded.
    may_lack_pixels
        Whether pixels as recorded may be NaN or infinite.
    described
        For the record; `None` for a field by itself.
    notes
        How many fields are measured, and of how many; one sentence each.
    """

    on: str
    planes: InputPlanes
    fields: tuple[InputPlanes, ...]
    card: ModelCard
    pixel_bytes: int
    may_lack_pixels: bool = False
    described: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def bytes_to_measure(self) -> int:
        """Return the uncompressed pixels that have to be read before the first tile."""
        image, how = self.planes.image, self._how
        if self.on == "field":
            return self._bytes(image) * len(times_to_measure(image, **how))
        return sum(
            sum(self._bytes(field) for field in there)
            for t in range(image.shape[0])
            if (there := self._at(t)) and not joint_is_known(there, t, **how)
        )

    @property
    def _how(self) -> dict[str, Any]:
        """What is measured: moments of planes can be put together later, quantiles cannot."""
        quantiles = self.card.input_rule.quantiles
        return {
            "quantiles": quantiles,
            "stacked": self.card.volume is not None and bool(quantiles),
        }

    def measure(
        self, times: Sequence[int], on_block: Callable[[int, int], None] | None = None
    ) -> list[list[PixelStatistics]]:
        """Return the statistics by time point of those asked for, then plane."""
        if self.on == "field":
            found = image_statistics(self.planes.image, times=times, on_block=on_block, **self._how)
            return [rows[0] for rows in found]
        total = sum(len(self._at(t)) for t in times)
        rows, before = [], 0
        for t in times:
            there = self._at(t)

            def tell(done: int, _: int, before: int = before) -> None:
                if on_block is not None:
                    on_block(before + done, total)

            rows.append(joint_statistics(there, t, on_image=tell, **self._how)[0])
            before += len(there)
        return rows

    def fit(
        self, times: Sequence[int], on_block: Callable[[int, int], None] | None = None
    ) -> Normalisations:
        """Return the numbers by time point of the image, then plane; none where none are asked for.

        Raises
        ------
        PixelDataError
            If a plane that is stained is missing, or no numbers follow from the pixels.
        """
        self.planes.refuse_missing(times)
        if self.on != "field" and self.may_lack_pixels:
            # Among others a field with NaN is left out of the numbers, but it cannot be stained.
            found = [rows[0] for rows in image_statistics(self.planes.image, times=times)]
            fit_planes(self.planes, found, Rule(kind="none"), times=times)
        measured = self.measure(times, on_block)
        if self.card.volume is not None and not self._how["stacked"]:
            # One number for a whole stack: its planes go into one channel of the network.
            measured = [[together(row)] * len(row) for row in measured]
        rows = fit_planes(
            self.planes, measured, self.card.input_rule, times=times,
            typical_contrast=typical_of(self.card, len(self.planes)),
        )  # fmt: skip
        by_time = dict(zip(times, rows, strict=True))
        return tuple(by_time.get(t, ()) for t in range(self.planes.image.shape[0]))

    def _bytes(self, image: LazyImage) -> int:
        """Return the size of a time point as recorded."""
        return prod(image.shape[1:]) * self.pixel_bytes

    def _at(self, t: int) -> list[LazyImage]:
        """Return the images that have a time point."""
        return [field.image for field in self.fields if t < field.image.shape[0]]


def typical_of(card: ModelCard, n_planes: int) -> list[float | None]:
    """Return the contrast of a usual field by plane, as far as the card knows it."""
    known = [plane.typical_contrast for plane in card.inputs]
    return known * n_planes if card.volume is not None else known


def grey_values(settings: InputSettings, prepared: PreparedStain) -> GreyValues:
    """Say whose pixels normalise a run; none is read.

    Parameters
    ----------
    settings, prepared
        Of the run.

    Raises
    ------
    SettingsError
        If the image lies in no well.
    """
    planes, card, on = prepared.planes, prepared.model.card, settings.normalise_on
    recorded = prepared.ready.stored.image.dtype
    if on == "field":
        return GreyValues(
            on=on, planes=planes, fields=(planes,), card=card, pixel_bytes=recorded.itemsize
        )
    scenes, name = _together(settings, prepared, on)
    chosen = _sample(scenes)
    channel = planes.image.channel_names[0]
    alike = settings.model_copy(update={"channel": channel})
    fields, names, left_out = [], [], []
    for scene in chosen:
        try:
            ready = ready_planes(alike, scene.open(), card).planes
            if ready.image.dtype != planes.image.dtype:
                raise SettingsError("Its pixels are of another type. Leave it out.")
            if {t for t, _, _ in ready.image.missing} >= set(range(ready.image.shape[0])):
                ready.refuse_missing(range(ready.image.shape[0]))
        except VirtualStainError:
            left_out.append(scene.name)
            continue
        fields.append(ready)
        names.append(scene.name)
    if not fields:
        raise SettingsError(
            f"None of the {len(chosen)} fields of {name} can be measured with these settings. "
            "Look at one with `virtualstain info`, or leave out --normalise-on."
        )
    notes = [f"normalised with the grey values of {_count(len(fields), len(scenes))} of {name}"]
    if left_out:
        notes.append(f"left out of these grey values, since they do not fit: {_few(left_out)}")
    known = [str(field.image.source.identity()) for field in fields]
    described = {
        "scope": on, "name": name, "fields": names, "of": len(scenes),
        "identity": hashlib.sha256("\n".join(known).encode()).hexdigest(),
    }  # fmt: skip
    return GreyValues(
        on=on, planes=planes, fields=tuple(fields), card=card, described=described,
        pixel_bytes=recorded.itemsize, may_lack_pixels=recorded.kind == "f", notes=tuple(notes),
    )  # fmt: skip


def _together(settings: InputSettings, prepared: PreparedStain, on: str) -> tuple[list[Scene], str]:
    """Return the scenes of the well or plate of an image that hold its channel, and its name."""
    source, channel = prepared.image.source, prepared.planes.image.channel_names[0]
    scenes: Sequence[Scene] = ()
    if source.path is not None:
        scenes = list_scenes(settings.input, axes=settings.axes, pattern=settings.pattern)
    own = next((scene for scene in scenes if scene.name == source.scene), None)
    if own is None or own.place is None or not own.place.well:
        raise SettingsError(
            f"The image {settings.input!r} lies in no well, so that it has no other fields to be "
            f"normalised with. Leave out --normalise-on {on}, or say by --pattern where its files "
            "name the well."
        )
    found = [
        scene
        for scene in scenes
        if scene.place is not None
        and scene.place.plate == own.place.plate
        and (scene.place.well if on == "plate" else scene.well == own.well)
        and (scene.announced is None or channel in [c.name for c in scene.announced])
    ]
    plate = f"plate {own.place.plate!r}" if own.place.plate else "the plate"
    return found, plate if on == "plate" else f"well {own.well}"


def _sample(scenes: list[Scene]) -> list[Scene]:
    """Return as many scenes as are measured: the same ones, whichever of them is stained."""
    ordered = sorted(scenes, key=lambda scene: scene.name)
    if len(ordered) <= SAMPLE:
        return ordered
    chosen = np.random.default_rng(0).choice(len(ordered), SAMPLE, replace=False)
    return [ordered[int(i)] for i in sorted(chosen)]


def _count(measured: int, there: int) -> str:
    if measured == there:
        return f"all {there} fields" if there > 1 else "the only field"
    return f"{measured} of the {there} fields"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
