"""Which field is judged, and of what was it made? Opens prediction, bright field and record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import are_fields
from napari_virtualstain.datasets.planes import choose_channel
from napari_virtualstain.datasets.stain_names import is_doubt
from napari_virtualstain.errors import (
    AxesError,
    ChannelError,
    PixelDataError,
    VirtualStainError,
)
from napari_virtualstain.inference.planner import cells_of, recorded_plan
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.compare import read_rows
from napari_virtualstain.jobs.listed_images import ListedImage, pixel_of, record_of
from napari_virtualstain.qc.field import Borders, QcField, borders_of

if TYPE_CHECKING:
    from napari_virtualstain.jobs.qc import QcSettings

__all__ = ["JudgedImage", "open_judged"]

_LARGEST = 1 << 26
_MOST_PLANES = 5


@dataclass(slots=True, kw_only=True)
class JudgedImage:
    """One predicted image, opened, and what is known of how it was made.

    Parameters
    ----------
    listed
        Which.
    prediction
        Opened, stains only.
    record
        Of the run that wrote it, empty if nobody knows.
    source
        The bright field, (T, C, Z, Y, X), `None` if it is not at hand.
    channel, z
        What of it was stained.
    pixel_um
        Edge of a pixel.
    apart
        Whether what lies along time are separate fields, and none follows another.
    notes
        What was guessed or is missing.
    """

    listed: ListedImage
    prediction: LazyImage
    record: dict[str, Any]
    source: LazyImage | None
    channel: str = ""
    z: tuple[int, ...] = ()
    pixel_um: float
    apart: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def times(self) -> int:
        """How many time points there are."""
        return self.prediction.shape[0]

    @property
    def made_of(self) -> tuple[str, str]:
        """Path and scene of the bright field, empty if it is not at hand."""
        found = None if self.source is None else self.source.source
        return ("", "") if found is None else (found.path or "", found.scene)

    @property
    def borders(self) -> Borders | None:
        """Where tiles met, as the record says; `None` if it does not."""
        shape = self.prediction.shape[3:]
        plan = recorded_plan(self.record.get("plan") or {}, self._planned(shape))
        if plan is None:
            return None
        parts = [cell[-2:] for tile in plan.tiles for cell in cells_of(plan, tile)]
        y, x = ([part[axis].start for part in parts] for axis in (0, 1))
        return Borders(y=borders_of(y, shape[0]), x=borders_of(x, shape[1]))

    def _planned(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        core = (self.record.get("plan") or {}).get("core") or []
        return (*self.prediction.shape[2:3], *shape) if len(core) == 3 else tuple(shape)

    def fields(self, plane: int | None) -> Iterator[tuple[int, QcField]]:
        """Yield each time point as it is judged; two of them are held at a time."""
        before = None
        for t in range(self.times):
            found = self.field(t, plane, before)
            before = None if self.apart else dict(found.stains)
            yield t, found

    def field(
        self, t: int, plane: int | None, before: dict[str, NDArray[np.float32]] | None = None
    ) -> QcField:
        """Return one time point.

        Parameters
        ----------
        t
            Which.
        plane
            Of z; the middle one if `None`.
        before
            Stains of the time point before.

        Raises
        ------
        VirtualStainError
            If pixels cannot be read, or the field cannot be judged.
        """
        depth = self.prediction.shape[2]
        z = depth // 2 if plane is None else plane
        if z >= depth:
            raise AxesError(
                f"Plane {z} is asked for, and there are {depth}, from 0. Choose another with --z."
            )
        return QcField(
            stains=self._stains(t, z), pixel_um=self.pixel_um, planes=self._planes(t),
            borders=self.borders, before=before, below=self._stains(t, z - 1) if z > 0 else None,
        )  # fmt: skip

    def _stains(self, t: int, z: int) -> dict[str, NDArray[np.float32]]:
        return {
            name: read_rows(self.prediction, t, c, z, slice(None))
            for c, name in enumerate(self.prediction.channel_names)
        }

    def _planes(self, t: int) -> NDArray[np.float32] | None:
        if self.source is None:
            return None
        c = self.source.channel_index(self.channel)
        time = min(t, self.source.shape[0] - 1)
        return np.stack([read_rows(self.source, time, c, z, slice(None)) for z in self.z])


def open_judged(
    listed: ListedImage, source: ListedImage | None, settings: QcSettings
) -> JudgedImage:
    """Open a prediction and, as named or as its record says, its bright field.

    Raises
    ------
    VirtualStainError
        If either cannot be opened, sizes differ, or nothing says how large a pixel is.
    """
    image = listed.scene.open().with_gaps()
    light = {c.name for c in image.channels if c.modality == "transmitted"}
    stains = [name for name in image.channel_names if not is_doubt(name) and name not in light]
    if not stains:
        raise ChannelError(
            f"No channel of it is a stain ({', '.join(image.channel_names)}). Give a prediction."
        )
    if image.shape[3] * image.shape[4] > _LARGEST:
        raise PixelDataError(
            f"A plane of {image.shape[3]} x {image.shape[4]} px is too large to be judged as one "
            "field. Save parts of it with `virtualstain export`, and judge these."
        )
    notes: list[str] = []
    record = record_of(image)
    pixel = pixel_of(image, record, settings.pixel_size, notes)
    below = _opened(source, record, settings, notes)
    found = JudgedImage(
        listed=listed, prediction=image.select(stains), record=record, source=None, pixel_um=pixel,
        apart=are_fields(settings.axes) or are_fields((record.get("settings") or {}).get("axes")),
        notes=notes,
    )  # fmt: skip
    if below is not None:
        _check_source(image, below)
        named = record.get("input") or {}
        wanted = settings.channel
        if wanted is None and named.get("channel") in below.channel_names:
            wanted = named["channel"]
        found.channel, note = choose_channel(below, channel=wanted, like="Brightfield")
        notes += [note] if note else []
        found.source, found.z = below, _z(named.get("z"), below.shape[2], notes)
    return found


def _opened(
    source: ListedImage | None, record: dict[str, Any], settings: QcSettings, notes: list[str]
) -> LazyImage | None:
    if source is not None:
        return source.scene.open().with_gaps()
    known = record.get("input") or {}
    asked = record.get("settings") or {}
    absent = "the bright field of the run is not at hand, so that less can be judged"
    try:
        image = open_image(
            known["path"], scene=known.get("scene") or None, axes=asked.get("axes"),
            pattern=asked.get("pattern"),
        )  # fmt: skip
    except (VirtualStainError, OSError, KeyError, TypeError):
        notes.append(f"{absent}; give it with --source")
        return None
    if image.source.identity() != known.get("identity"):
        notes.append(f"{absent}: it has changed since the run; give it with --source")
        return None
    return image.with_gaps()


def _check_source(prediction: LazyImage, source: LazyImage) -> None:
    if prediction.shape[3:] != source.shape[3:]:
        (y, x), (height, width) = prediction.shape[3:], source.shape[3:]
        raise PixelDataError(
            f"The prediction is {y} x {x} px and the bright field {height} x {width}. Give the "
            "bright field that was stained with --source."
        )
    if source.shape[0] not in (1, prediction.shape[0]):
        raise AxesError(
            f"The prediction has {prediction.shape[0]} time points and the bright field "
            f"{source.shape[0]}. Give the bright field that was stained with --source."
        )


def _z(recorded: Any, depth: int, notes: list[str]) -> tuple[int, ...]:
    if isinstance(recorded, list) and recorded and all(z < depth for z in recorded):
        return tuple(recorded)
    if depth <= _MOST_PLANES:
        return tuple(range(depth))
    notes.append(
        f"no record says which of {depth} planes were stained: the middle one is looked at"
    )
    return (depth // 2,)
