"""A plate of drawn cells, true and as generators that fail in known ways would predict it.

Discs in place of cells: a plate of them takes a second. Treatments change size, number and
brightness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.plate import well_name
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.io.sink import OmeZarrSink

EDGE, UM = 160, 1.0
STAINS = ("DNA", "ER")
DOING = {
    "DMSO": {},
    "large": {"radius": 1.35},
    "bright": {"er": 1.8},
    "few": {"count": 0.5},
    "nothing": {},
}
"""What each treatment multiplies."""
CONTROLS, REPLICATES = 6, 2
BACKGROUND = 100.0


@dataclass(frozen=True)
class DrawnField:
    """Cells of a field: centres, radii of the nuclei and brightness of each stain."""

    well: str
    row: int
    column: int
    treatment: str
    places: np.ndarray
    radii: np.ndarray
    bright: np.ndarray

    def light(self):
        """Return (C, Y, X) without noise."""
        y, x = np.mgrid[:EDGE, :EDGE]
        found = np.full((len(STAINS), EDGE, EDGE), BACKGROUND)
        for (cy, cx), radius, bright in zip(self.places, self.radii, self.bright, strict=True):
            away = np.hypot(y - cy, x - cx)
            for channel, reach in enumerate((1.0, 1.6)):
                found[channel] += bright[channel] * np.clip(reach * radius - away + 0.5, 0, 1)
        return found

    def without(self, share, rng):
        """Return it with a share of its cells lost."""
        kept = rng.random(len(self.places)) >= share
        return replace(
            self, places=self.places[kept], radii=self.radii[kept], bright=self.bright[kept]
        )


def drawn_plate(seed=0, controls=CONTROLS, replicates=REPLICATES, doing=None):
    """Return the fields of a plate, one a well."""
    rng = np.random.default_rng(seed)
    doing = DOING if doing is None else doing
    layout = [name for name in doing for _ in range(controls if name == "DMSO" else replicates)]
    grid = [(y, x) for y in range(20, EDGE, 30) for x in range(20, EDGE, 30)]
    fields = []
    for index, at in enumerate(rng.permutation(len(layout))):
        does = doing[layout[at]]
        row, column = divmod(index, 6)
        count = round(rng.uniform(17, 22) * does.get("count", 1))
        chosen = rng.permutation(len(grid))[:count]
        places = np.array(grid)[chosen] + rng.uniform(-1.5, 1.5, (count, 2))
        radii = 6.0 * does.get("radius", 1) * rng.uniform(0.9, 1.1, count) * rng.uniform(0.97, 1.03)
        of_well = rng.uniform(0.95, 1.05, 2) * (1, does.get("er", 1))
        bright = np.array([600.0, 300]) * of_well * rng.uniform(0.9, 1.1, (count, 2))
        fields.append(
            DrawnField(well_name(row, column), row, column, layout[at], places, radii, bright)
        )
    return fields


def write_plate(path, fields, pixels, names=STAINS, record=None):
    """Write an OME-Zarr plate; ``pixels(field)`` is (C, Y, X)."""
    store = PlateStore(path, name=path.name.partition(".")[0], rows=4, columns=6)
    for field in fields:
        inner = field_path(field.row, field.column, "1")
        found = np.asarray(pixels(field), np.float32)[None, :, None]
        with OmeZarrSink.create(
            path / inner, shape=found.shape, channels=[Channel(name) for name in names],
            pixel_size_um=PixelSize(None, UM, UM), record=record or {}, n_tiles=1,
        ) as sink:  # fmt: skip
            sink.write(tuple(slice(0, n) for n in found.shape), found)
            sink.commit(0)
            sink.finish({})
        store.add(field.row, field.column, "1")
    return path


def write_labels(path, fields, targets=None):
    """Write what was done to each well."""
    rows = ["well,treatment,moa"]
    rows += [f"{f.well},{f.treatment},{(targets or {}).get(f.treatment, '')}" for f in fields]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def camera(seed):
    """Return a camera that adds noise of its own."""
    rng = np.random.default_rng(seed)
    return lambda light: light + rng.normal(0, 4, light.shape)
