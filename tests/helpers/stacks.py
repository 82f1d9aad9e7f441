"""Small stacks of bright field and stains, and a model over stacks that was trained on them for a moment."""

from __future__ import annotations

import numpy as np

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink

DEPTH, EDGE = 5, 64


def write(path, pixels, names, *, z_um=1.5):
    """Write (C, Z, Y, X) as an OME-Zarr of 0.5 µm pixels; return its path."""
    shape = (1, *pixels.shape)
    with OmeZarrSink.create(
        path, shape=shape, channels=[Channel(name) for name in names], n_tiles=1,
        pixel_size_um=PixelSize(z_um, 0.5, 0.5), chunks_yx=EDGE,
    ) as sink:  # fmt: skip
        sink.write(tuple(slice(0, n) for n in shape), pixels[None].astype(np.float32))
        sink.commit(0)
    return str(path)


def stack(seed, depth=DEPTH):
    """Return bright field (1, Z, Y, X) and stains (2, Z, Y, X) that follow from it."""
    rng = np.random.default_rng(seed)
    light = rng.normal(1000, 100, (1, depth, EDGE, EDGE))
    return light, np.concatenate([light * 2 + 10, light - 500])


def train_on_stacks(folder):
    """Write two pairs of stacks into a folder, and train a tiny fnet on them; return its path."""
    from napari_virtualstain.jobs import train

    pairs = []
    for seed in (1, 2):
        light, stains = stack(seed)
        pairs.append(
            (
                write(folder / f"light{seed}.ome.zarr", light, ["Brightfield"]),
                write(folder / f"stains{seed}.ome.zarr", stains, ["DNA", "ER"]),
            )
        )
    out = str(folder / "model")
    train.run(
        train.TrainSettings(
            input=tuple(pair[0] for pair in pairs), target=tuple(pair[1] for pair in pairs),
            stains=("DNA", "ER"), out=out, generator="fnet", preset="tiny", steps=20, batch=2,
            patch=16, patch_z=4, learning_rate=1e-2, validation=0.5, validate_every=10,
        )
    )  # fmt: skip
    return out
