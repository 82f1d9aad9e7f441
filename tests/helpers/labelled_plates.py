"""Two plates of noise with a table of what was done to their wells."""

from __future__ import annotations

import numpy as np

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.plate_write import PlateStore, field_path
from napari_virtualstain.io.sink import OmeZarrSink

EDGE, WELLS, SITES = 40, 4, 2
TREATMENTS = ("DMSO", "taxol", "colchicine", "DMSO")


def pixels_of(plate, well, site, channels=2, planes=1):
    rng = np.random.default_rng([plate, well, site])
    return rng.integers(100, 900, (1, channels, planes, EDGE, EDGE), np.uint16)


def write_image(path, pixels, names=("DAPI", "ER"), size=0.6):
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=[Channel(name) for name in names],
        pixel_size_um=PixelSize(None, size, size), dtype=str(pixels.dtype), record={}, n_tiles=1,
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
        sink.finish()


def write_plates(root):
    """Write ``in/p1.ome.zarr``, ``in/p2.ome.zarr`` of four wells with two fields, ``labels.csv``."""
    rows = ["plate,well,treatment,moa"]
    for plate in (1, 2):
        store = PlateStore(root / "in" / f"p{plate}.ome.zarr", name=f"p{plate}", rows=2, columns=2)
        for well in range(WELLS):
            row, column = divmod(well, 2)
            moa = {"DMSO": ""}.get(TREATMENTS[well], "tubulin")
            rows.append(f"p{plate},{'AB'[row]}{column + 1},{TREATMENTS[well]},{moa}")
            for site in range(SITES):
                inner = field_path(row, column, str(site + 1))
                write_image(store.path / inner, pixels_of(plate, well, site))
                store.add(row, column, str(site + 1))
    (root / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    return root
