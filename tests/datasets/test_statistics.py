"""Statistics are gathered in one pass and remembered by image."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_virtualstain.datasets.statistics import (
    image_statistics,
    joint_is_known,
    joint_statistics,
    times_to_measure,
)
from napari_virtualstain.io.image import Channel, LazyImage, Source
from napari_virtualstain.io.open import open_image

PIXELS = np.random.default_rng(0).normal(10, 3, (2, 2, 3, 31, 23)).astype(np.float32)
CHANNELS = (Channel("a"), Channel("b"))


def image(chunks=(1, 1, 2, 16, 16), **changes):
    return replace(
        LazyImage(data=da.from_array(PIXELS, chunks=chunks), channels=CHANNELS), **changes
    )


@pytest.mark.parametrize("chunks", [(1, 1, 1, 31, 23), (2, 2, 3, 7, 5), (1, 1, 2, 16, 16)])
def test_every_plane_has_the_statistics_that_numpy_finds(chunks):
    found = image_statistics(image(chunks))
    means = [[[s.mean for s in row] for row in rows] for rows in found]
    stds = [[[s.std for s in row] for row in rows] for rows in found]
    np.testing.assert_allclose(means, PIXELS.mean(axis=(3, 4), dtype=float), rtol=1e-6)
    np.testing.assert_allclose(stds, PIXELS.std(axis=(3, 4), dtype=float), rtol=1e-5)


def test_each_chunk_is_read_once(monkeypatch):
    read = []
    original = LazyImage.read
    monkeypatch.setattr(LazyImage, "read", lambda self, r: read.append(r) or original(self, r))
    given = image()
    image_statistics(given)
    assert len(read) == given.data.npartitions


@pytest.mark.parametrize("chunks", [(1, 1, 1, 31, 23), (2, 1, 3, 16, 23)], ids=str)
def test_a_time_point_alone_has_the_statistics_that_it_has_among_others(chunks):
    given = image(chunks)
    whole = image_statistics(given, quantiles=(0.5,))
    for times in ((1,), (0,), (1, 0)):
        assert image_statistics(given, times=times, quantiles=(0.5,)) == [whole[t] for t in times]


def test_time_points_are_remembered_one_by_one(monkeypatch):
    given = image((1, 1, 3, 31, 23), source=Source(path="x", identify=lambda: "one by one"))
    assert times_to_measure(given) == (0, 1)
    image_statistics(given, times=(1,))
    assert times_to_measure(given) == (0,)
    blocks = []
    image_statistics(given, on_block=lambda done, total: blocks.append((done, total)))
    assert blocks == [(0, 2), (1, 2), (2, 2)]  # two channels of the first time point
    assert times_to_measure(given) == ()


def test_a_second_look_reads_nothing_until_the_file_changes(monkeypatch):
    version = ["1"]
    given = image(source=Source(path="x", identify=lambda: f"statistics {version[0]}"))
    first = image_statistics(given, quantiles=(0.5,))
    monkeypatch.setattr(LazyImage, "read", lambda self, region: pytest.fail("it was read again"))
    assert image_statistics(given, quantiles=(0.5,)) == first
    version[0] = "2"
    with pytest.raises(pytest.fail.Exception):
        image_statistics(given, quantiles=(0.5,))


def test_another_selection_of_planes_is_not_mistaken_for_the_whole():
    source = Source(path="x", identify=lambda: "selection")
    whole = image(source=source)
    image_statistics(whole.select(["a"], z=[0]))
    found = image_statistics(whole.select(["b"], z=[1]))
    assert found[0][0][0].mean == pytest.approx(PIXELS[0, 1, 1].mean(dtype=float))


def test_a_file_opened_twice_is_remembered(tmp_path, monkeypatch):
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, (PIXELS[0, 0] * 100).astype(np.uint16), metadata={"axes": "ZYX"}, imagej=True
    )
    first = image_statistics(open_image(path))
    monkeypatch.setattr(LazyImage, "read", lambda self, region: pytest.fail("it was read again"))
    assert image_statistics(open_image(path)) == first


def several(n):
    """Parts of the pixels as images of their own."""
    return [
        replace(
            image(),
            data=da.from_array(PIXELS[..., 10 * i : 10 * i + 9], chunks=(1, 1, 2, 16, 8)),
            source=Source(path="x", identify=lambda i=i: f"several {i}"),
        )
        for i in range(n)
    ]


def test_images_together_have_the_statistics_of_all_their_pixels():
    parts = several(2)
    pixels = np.concatenate([part.data.compute() for part in parts], axis=-1)
    found = joint_statistics(parts, 1, quantiles=(0.1, 0.5))
    for c in range(2):
        for z in range(3):
            plane, stats = pixels[1, c, z], found[c][z]
            assert stats.count == plane.size
            assert stats.mean == pytest.approx(plane.mean(dtype=float), rel=1e-9)
            assert stats.std == pytest.approx(plane.std(dtype=float), rel=1e-6)
            assert (stats.minimum, stats.maximum) == (plane.min(), plane.max())
            low, middle = np.quantile(plane, (0.1, 0.5), method="inverted_cdf")
            assert stats.quantiles[0.1] == pytest.approx(low, rel=4e-4)
            assert stats.quantiles[0.5] == pytest.approx(middle, rel=4e-4)


def test_images_together_are_remembered_until_one_of_them_changes(monkeypatch):
    parts = several(2)
    assert not joint_is_known(parts, 0)
    first = joint_statistics(parts, 0)
    assert joint_is_known(parts, 0)
    assert not joint_is_known(parts, 1)
    monkeypatch.setattr(LazyImage, "read", lambda self, region: pytest.fail("it was read again"))
    assert joint_statistics(parts, 0) == first
    changed = replace(parts[1], source=Source(path="x", identify=lambda: "changed"))
    assert not joint_is_known([parts[0], changed], 0)


def test_images_with_gaps_or_nan_are_left_out_of_what_is_joint():
    parts = several(2)
    spoilt = parts[1].data.compute()
    spoilt[0, 1, 2, 3, 4] = np.nan
    for other in (
        replace(parts[1], data=da.from_array(spoilt), source=Source()),
        replace(parts[1], missing=((0, 0, 0),), source=Source()),
    ):
        found = joint_statistics([parts[0], other], 0)
        assert found == joint_statistics([parts[0]], 0)


STACKED = {"one chunk": (2, 2, 3, 31, 23), "pieces": (1, 1, 2, 16, 16), "planes": (1, 1, 1, 31, 23)}


@pytest.mark.parametrize("chunks", STACKED.values(), ids=STACKED)
def test_the_planes_of_a_stack_can_be_taken_as_one(chunks):
    quartiles = (0.25, 0.5, 0.75)
    found = image_statistics(image(chunks), quantiles=quartiles, stacked=True)
    for t, c in np.ndindex(2, 2):
        assert len(found[t][c]) == 3
        assert found[t][c][0] == found[t][c][1] == found[t][c][2]
        one = found[t][c][0]
        assert one.count == 3 * 31 * 23
        assert one.mean == pytest.approx(PIXELS[t, c].mean(dtype=float), rel=1e-6)
        expected = np.quantile(PIXELS[t, c], quartiles, method="inverted_cdf")
        np.testing.assert_allclose([one.quantiles[q] for q in quartiles], expected, rtol=5e-4)


def test_stacks_together_have_the_quantiles_of_all_their_pixels():
    brighter = replace(image(), data=image().data + 5)
    found = joint_statistics([image(), brighter], 1, quantiles=(0.5,), stacked=True)
    both = np.concatenate([PIXELS[1], PIXELS[1] + 5], axis=1)
    for c in range(2):
        assert found[c][0] == found[c][2]
        assert found[c][0].count == both[c].size
        assert found[c][0].quantiles[0.5] == pytest.approx(np.median(both[c]), rel=1e-2)


def test_a_stack_as_one_is_not_mistaken_for_its_planes():
    given = image(source=Source(path="x", identify=lambda: "stack or planes"))
    planes = image_statistics(given, quantiles=(0.5,))
    assert times_to_measure(given, quantiles=(0.5,), stacked=True) == (0, 1)
    stack = image_statistics(given, quantiles=(0.5,), stacked=True)
    assert planes[0][0][0] != stack[0][0][0]
    assert times_to_measure(given, quantiles=(0.5,), stacked=True) == ()
    assert not joint_is_known([given], 0, quantiles=(0.5,), stacked=True)
    joint_statistics([given], 0, quantiles=(0.5,), stacked=True)
    assert joint_is_known([given], 0, quantiles=(0.5,), stacked=True)
    assert not joint_is_known([given], 0, quantiles=(0.5,))
