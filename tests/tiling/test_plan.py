"""Tiles partition the image, whatever its size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.tiling.plan import plan_tiles

sizes = st.integers(1, 50)
plans = st.builds(
    lambda shape, core, halo, level: plan_tiles(shape, core=core, halo=halo, multiple_of=2**level),
    st.tuples(sizes, sizes) | st.tuples(st.integers(1, 5), st.integers(1, 20), sizes),
    st.integers(4, 40),
    st.integers(0, 20),
    st.integers(0, 4),
)
uneven = st.builds(
    lambda shape, core, halo, levels: plan_tiles(
        shape, core=core, halo=halo, multiple_of=[2**level for level in levels]
    ),
    *(
        st.tuples(*(st.integers(low, high),) * 2)
        for low, high in ((1, 50), (4, 40), (0, 20), (0, 4))
    ),
)
plans = plans | uneven


@given(plans)
def test_every_pixel_is_written_exactly_once(plan):
    written = np.zeros(plan.shape, int)
    for tile in plan:
        written[tile.write] += 1
    assert (written == 1).all()


@given(plans)
def test_there_are_as_many_tiles_as_the_plan_says(plan):
    assert [tile.index for tile in plan] == list(range(len(plan)))


@given(plans)
def test_what_is_kept_is_what_is_written(plan):
    # An image of its own coordinates, padded as the engine pads it.
    padded = [(0, -n % step) for n, step in zip(plan.shape, plan.multiple_of, strict=True)]
    image = np.pad(np.arange(np.prod(plan.shape)).reshape(plan.shape), padded)
    for tile in plan:
        np.testing.assert_array_equal(image[tile.read][tile.keep], image[tile.write])


@given(plans)
def test_reads_lie_on_the_stride_and_reach_the_halo_or_the_border(plan):
    for tile in plan:
        for read, write, length, halo, step in zip(
            tile.read, tile.write, plan.shape, plan.halo, plan.multiple_of, strict=True
        ):
            padded = length + -length % step
            assert read.start % step == 0
            assert read.stop % step == 0
            assert read.start == 0 or read.start <= write.start - halo
            assert read.stop == padded or read.stop >= write.stop + halo


def test_a_plan_is_described_in_words():
    plan = plan_tiles((1000, 3000), core=1024, halo=107, multiple_of=16)
    assert (
        plan.describe()
        == "3 tiles of up to 1024 x 1024 px, halo 107 px, 1.16 x the pixels of the image"
    )


@pytest.mark.parametrize(
    ("shape", "core", "message"),
    [
        pytest.param((0, 5), 8, "has no pixels. Choose another image", id="empty image"),
        pytest.param((5, 5), 0, "at least 64 px with --tile", id="no core"),
    ],
)
def test_a_plan_of_nothing_is_refused(shape, core, message):
    with pytest.raises(SettingsError, match=message):
        plan_tiles(shape, core=core, halo=0, multiple_of=1)


@pytest.mark.parametrize("shape", [(1, 1), (37, 100), (130, 64)], ids=str)
def test_the_plan_is_described_as_its_tiles_are(shape):
    plan = plan_tiles(shape, core=24, halo=9, multiple_of=8)
    sizes = [[part.stop - part.start for part in tile.read] for tile in plan]
    assert plan.overhead == pytest.approx(sum(a * b for a, b in sizes) / (shape[0] * shape[1]))
    assert plan.largest_read == tuple(max(size[axis] for size in sizes) for axis in (0, 1))


def test_a_plan_of_a_million_tiles_is_described_at_once():
    import time

    began = time.perf_counter()
    plan_tiles((16_384, 16_384), core=16, halo=44, multiple_of=16).describe()
    assert time.perf_counter() - began < 1
