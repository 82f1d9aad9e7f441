"""What is not in a store is missing, and counted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.zarr_gaps import MANY, gaps_of

LAYOUTS = {
    "v2, points": {"zarr_format": 2},
    "v2, folders": {
        "zarr_format": 2,
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
    },
    "v3": {"zarr_format": 3},
    "v3, shards": {"zarr_format": 3, "shards": (1, 2, 16, 32)},
}


def written(folder: Path, **keywords):
    """An array (T, C, Y, X) with two time points or channels a chunk."""
    chunks = (1, 2, 16, 16)
    array = zarr.create_array(folder, shape=(2, 3, 40, 50), chunks=chunks, dtype="u2", **keywords)
    array[:] = 7
    return array


def files(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.rglob("*")
        if p.is_file() and p.name not in (".zarray", "zarr.json", ".zattrs")
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_array_lacks_nothing(tmp_path, layout):
    assert gaps_of(written(tmp_path / "a", **LAYOUTS[layout]), tmp_path / "a") is None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_found_missing_reads_as_the_fill_value_and_nothing_else_does(
    tmp_path, layout, seed
):
    folder = tmp_path / "a"
    array = written(folder, **LAYOUTS[layout])
    rng = np.random.default_rng(seed)
    kept = files(folder)
    for file in rng.permutation(np.array(kept, object))[: len(kept) * (seed + 1) // 4]:
        file.unlink()
    gaps = gaps_of(array, folder)
    pixels = array[:]
    np.testing.assert_array_equal(gaps.planes[..., 0, 0], (pixels == 0).all(axis=(2, 3)))
    assert gaps.total == len(kept)
    # The twin: chunks by their pixels.
    sizes = array.shards or array.chunks
    lost = sum(
        not pixels[t : t + sizes[0], c : c + sizes[1], y : y + sizes[2], x : x + sizes[3]].any()
        for t in range(0, 2, sizes[0])
        for c in range(0, 3, sizes[1])
        for y in range(0, 40, sizes[2])
        for x in range(0, 50, sizes[3])
    )
    inside = sum(
        bool(gaps.planes[t, c, 0, 0]) for t in range(0, 2, sizes[0]) for c in range(0, 3, sizes[1])
    )
    a_plane = -(-40 // sizes[2]) * -(-50 // sizes[3])
    assert gaps.chunks == lost - inside * a_plane


def test_a_folder_with_very_many_chunks_is_not_listed(tmp_path):
    side = int(MANY**0.5) + 1
    array = zarr.create_array(tmp_path / "a", shape=(side, side), chunks=(1, 1), dtype="u1")
    assert gaps_of(array, tmp_path / "a") is None


def image_of(folder: Path, pixels) -> Path:
    """An OME-Zarr 0.5 as another program writes it."""
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}] + [
        {"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"
    ]
    scale = {"type": "scale", "scale": [1, 1, 1, 0.5, 0.5]}
    group = zarr.create_group(folder, zarr_format=3)
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
        ],
    }
    array = group.create_array("0", shape=pixels.shape, chunks=(1, 1, 1, 16, 16), dtype="u2")
    array[:] = pixels
    return folder


def test_a_plane_that_was_never_written_is_missing_and_chunks_are_counted(tmp_path):
    pixels = np.full((2, 2, 1, 32, 32), 9, "u2")
    pixels[1, 0] = 0  # never written: no chunk of it is stored
    pixels[0, 1, 0, :16, :16] = 0  # one chunk that holds nothing
    image = open_image(image_of(tmp_path / "a.ome.zarr", pixels))
    assert image.missing == ((1, 0, 0),)
    (said,) = [g for g in image.guesses if "not in the store" in g]
    assert said == (
        "1 of 4 planes are not in the store: missing, not dark; "
        "1 of 16 chunks are not in the store: missing, or all 0."
    )
    filled = image.with_gaps().data.compute()
    assert np.isnan(filled[1, 0]).all()
    assert filled[0, 1, 0, 0, 0] == 0


def test_a_whole_image_says_nothing_of_gaps(tmp_path):
    image = open_image(image_of(tmp_path / "a.ome.zarr", np.full((1, 1, 1, 32, 32), 9, "u2")))
    assert image.missing == ()
    assert not [g for g in image.guesses if "store" in g]


def test_an_array_whose_chunks_lie_in_very_many_folders_is_not_listed(tmp_path):
    keywords = {"shape": (40, 40, 8, 8), "chunks": (1, 1, 8, 8), "dtype": "u1"}
    for name, separator, counted in (("a", "/", False), ("b", ".", True)):
        encoding = {"name": "default", "separator": separator}
        array = zarr.create_array(
            tmp_path / name, zarr_format=3, chunk_key_encoding=encoding, **keywords
        )
        array[0] = 1
        assert (gaps_of(array, tmp_path / name) is not None) is counted


def test_an_image_is_opened_with_one_array_and_one_listing(tmp_path, monkeypatch):
    path = image_of(tmp_path / "a.ome.zarr", np.full((1, 1, 1, 32, 32), 9, "u2"))
    (scene,) = list_scenes(path)
    opened, listed = [], []
    original = zarr.open_array, os.walk
    monkeypatch.setattr(zarr, "open_array", lambda **k: opened.append(k) or original[0](**k))
    monkeypatch.setattr(os, "walk", lambda top: listed.append(top) or original[1](top))
    scene.open()
    assert (len(opened), len(listed)) == (1, 1)
