"""A run without a network: deterministic tiles into a store, whole or as one of several writers.

The tests load it, and start it as a process that they can kill:
``python tile_writer.py run|help STORE``. It says ``ready`` when it has loaded, waits for a line,
writes, and says ``done``.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np

from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.sink import OmeZarrSink

SHAPE = (2, 2, 1, 130, 100)
CHUNK = 16
CORE = 32
REGIONS = [
    (slice(t, t + 1), slice(0, 2), slice(0, 1), slice(y, min(y + CORE, 130)), slice(x, min(x + CORE, 100)))
    for t, y, x in product(range(2), range(0, 130, CORE), range(0, 100, CORE))
]  # fmt: skip


def tile(number):
    shape = tuple(part.stop - part.start for part in REGIONS[number])
    pixels = np.random.default_rng(number).normal(1000, 300, shape).astype(np.float32)
    pixels[..., : number % 5, :] = np.nan
    return pixels


def open_sink(path):
    if (path / "zarr.json").exists():
        return OmeZarrSink.resume(path)
    return OmeZarrSink.create(
        path, shape=SHAPE, channels=[Channel("DNA"), Channel("ER")], chunks_yx=CHUNK,
        n_tiles=len(REGIONS), overwrite=True,
    )  # fmt: skip


def write(sink, numbers):
    for number in numbers:
        sink.write(REGIONS[number], tile(number))
        sink.commit(number)


def run(path):
    with open_sink(path) as sink:
        write(sink, sorted(set(range(len(REGIONS))) - sink.committed()))


def help_out(path):
    with OmeZarrSink.join(path) as helper:
        write(helper, range(1, len(REGIONS), 2))


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    {"run": run, "help": help_out}[sys.argv[1]](Path(sys.argv[2]))
    sys.stdout.write("done\n")
    sys.stdout.flush()
