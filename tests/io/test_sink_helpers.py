"""Helpers of a sink that send their notes: one process appends, and nothing is missing at the end."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.record import COMMITS
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.io.sink_write import TileWriter
from napari_virtualstain.io.tile_log import NOTES

SHAPE = (1, 2, 1, 64, 96)
PIXELS = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
TILES = [(slice(y, y + 16), slice(x, x + 16)) for y in range(0, 64, 16) for x in range(0, 96, 16)]


def create(path):
    channels = [Channel("DNA"), Channel("RNA")]
    return OmeZarrSink.create(
        path, shape=SHAPE, channels=channels, n_tiles=len(TILES), chunks_yx=16, name="same"
    )


def write(writer, numbers):
    for number in numbers:
        region = (slice(0, 1), slice(0, 2), slice(0, 1), *TILES[number])
        writer.write(region, PIXELS[region])
        writer.commit(number)


def files(store):
    return {str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file()}


@pytest.fixture
def alone(tmp_path):
    with create(tmp_path / "alone.zarr") as sink:
        write(sink, range(len(TILES)))
    return tmp_path / "alone.zarr"


def test_what_helpers_send_completes_the_store_to_the_bytes_of_one_writer(alone, tmp_path):
    path = tmp_path / "shared.zarr"
    with create(path) as sink:
        before = {name: (path / name).exists() for name in (COMMITS, NOTES)}
        sent = [[], []]
        for half, lines in enumerate(sent):
            with TileWriter.join(path, send=lambda *line, to=lines: to.append(line)) as helper:
                write(helper, range(half, len(TILES), 2))
        assert {name: (path / name).exists() for name in (COMMITS, NOTES)} == before
        assert sink.committed() == set()
        for lines in sent:
            sink.take(lines)
        assert sink.committed() == set(range(len(TILES)))
    assert files(path) == files(alone)


def test_tiles_whose_notes_never_came_are_missing(tmp_path):
    path = tmp_path / "cut.zarr"
    sink = create(path)
    with TileWriter.join(path, send=lambda *line: None) as helper:
        write(helper, range(3))
    assert sink.committed() == set()
    sink.fail("killed")
    again = OmeZarrSink.resume(path)
    write(again, range(len(TILES)))
    again.finish()


def test_a_helper_says_which_tiles_the_disk_has(tmp_path):
    path, lines = tmp_path / "safe.zarr", []
    with create(path) as sink:
        helper = TileWriter.join(path, send=lambda *line: lines.append(line))
        write(helper, range(len(TILES)))
        helper.sync()
        assert '"safe"' in lines[-1][1]
        sink.take(lines)
