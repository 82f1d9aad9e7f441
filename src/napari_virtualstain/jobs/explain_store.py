"""How do maps become a store that lies over the image? One channel each, with what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize, Region
from napari_virtualstain.explain.sanity import Sanity
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs.base import versions
from napari_virtualstain.jobs.computing import CHUNK
from napari_virtualstain.jobs.rescale import resized
from napari_virtualstain.jobs.run_record import describe_input

if TYPE_CHECKING:
    from napari_virtualstain.jobs.explain import ExplainedMap, ExplainSettings
    from napari_virtualstain.jobs.explain_nearest import Nearest

__all__ = ["Drawn", "DrawnMap", "write_maps"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnMap:
    """One map.

    Parameters
    ----------
    name
        Of its channel.
    method
        Of `explain.methods.METHODS`.
    values
        (Y, X).
    region
        Where they lie on the grid of the network.
    sanity
        How alike those are that say nothing, `None` if that is not known of this one.
    numbers
        What it comes to, by name.
    """

    name: str
    method: str
    values: NDArray[np.float32]
    region: Region
    sanity: Sanity | None = None
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """All maps of a run.

    Parameters
    ----------
    maps
        On one grid.
    sentences
        What they come to.
    notes
        What limits them.
    image
        Its planes that were looked at.
    channel
        Of the image, for the record.
    origin_um
        (z, y, x) of the first pixel of the image.
    pixel_size_um
        Of the image, with what the user stated.
    ratios
        Pixels of the network over those of the image (y, x), `None` where they are alike.
    network
        What the record says of it.
    device
        Where it was computed.
    nearest
        Training patches that are most like the place, if they were asked for.
    """

    maps: tuple[DrawnMap, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    image: LazyImage
    channel: str
    origin_um: tuple[float, float, float]
    pixel_size_um: PixelSize
    ratios: tuple[float, ...] | None
    network: dict[str, Any]
    device: str
    nearest: Nearest | None = None


def write_maps(
    settings: ExplainSettings, drawn: Drawn, described: Sequence[ExplainedMap]
) -> tuple[float, float, float, float]:
    """Write maps as channels of one store; what a map does not cover is NaN there.

    Parameters
    ----------
    settings
        Of the run.
    drawn
        The maps.
    described
        What is said of each.

    Returns
    -------
    tuple
        First row, first column, last row + 1, last column + 1, in pixels of the image.
    """
    whole = tuple(
        slice(
            min(one.region[axis].start for one in drawn.maps),
            max(one.region[axis].stop for one in drawn.maps),
        )
        for axis in (0, 1)
    )
    height, width = (part.stop - part.start for part in whole)
    pixels = np.full((len(drawn.maps), height, width), np.nan, np.float32)
    for plane, one in zip(pixels, drawn.maps, strict=True):
        y, x = (
            slice(part.start - of.start, part.stop - of.start)
            for part, of in zip(one.region, whole, strict=True)
        )
        plane[y, x] = one.values
    ratios = drawn.ratios or (1.0, 1.0)
    # Pixel i of the network's grid lies at (i + 0.5) * ratio - 0.5 of the image's.
    first = [(part.start + 0.5) * r - 0.5 for part, r in zip(whole, ratios, strict=True)]
    own = drawn.pixel_size_um.scale()[1:]
    origin = [at * size for at, size in zip(first, own, strict=True)]
    # As the pixels of a file without a unit are shown: the origin is in them as well.
    size = resized(drawn.pixel_size_um, None if drawn.ratios is None else (ratios[0], ratios[1]))
    z, y0, x0 = drawn.origin_um
    record = {
        "schema_version": 1,
        "job": "explain",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": settings.absolute().model_dump(mode="json"),
        "input": describe_input(drawn.image, drawn.channel),
        "network": drawn.network,
        "sentences": list(drawn.sentences),
        "maps": [
            {"channel": one.channel, "method": one.method, "reading": one.reading,
             "sanity": one.sanity, "numbers": one.numbers}
            for one in described
        ],
        "notes": list(drawn.notes),
        "nearest": None if drawn.nearest is None else drawn.nearest.to_json(pictures=False),
        "seed": settings.seed,
        "device": drawn.device,
        "versions": versions(),
    }  # fmt: skip
    sink = OmeZarrSink.create(
        settings.out,
        shape=(1, len(drawn.maps), 1, height, width),
        channels=[Channel(one.name) for one in drawn.maps],
        pixel_size_um=PixelSize(None, size.y, size.x),
        origin_um=(z, y0 + origin[0], x0 + origin[1]),
        chunks_yx=CHUNK,
        record=record,
        n_tiles=1,
        overwrite=settings.overwrite,
        name=f"explanation ({drawn.network['name']})",
    )
    with sink:
        sink.write(tuple(slice(0, n) for n in sink.shape), pixels[None, :, None], tile=0)
        sink.finish()
    return (
        first[0] - 0.5 * ratios[0] + 0.5,
        first[1] - 0.5 * ratios[1] + 0.5,
        first[0] + (height - 0.5) * ratios[0] + 0.5,
        first[1] + (width - 0.5) * ratios[1] + 0.5,
    )
