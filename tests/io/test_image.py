"""An image can be cut and chosen from without losing where it lies, and read by several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import AxesError, ChannelError
from napari_virtualstain.io.image import Channel, LazyImage

PIXELS = np.arange(2 * 5 * 20 * 30).reshape(1, 2, 5, 20, 30)


def image(size=PixelSize(2.0, 0.5, 0.25)):  # noqa: B008
    return LazyImage(
        data=da.from_array(PIXELS, chunks=(1, 1, 1, 8, 8)), channels=(Channel("a"), Channel("b")),
        pixel_size_um=size, origin_um=(10.0, 100.0, 200.0),
        z_positions_um=(-4.0, -2.0, 0.0, 2.0, 4.0),
    )  # fmt: skip


PARTS = {
    "a part": (slice(4, 10), slice(8, 12), (102.0, 202.0)),
    "open ends": (slice(None), slice(None), (100.0, 200.0)),
    "from the end": (slice(-5, None), slice(None, -20), (107.5, 200.0)),
    "beyond the end": (slice(18, 99), slice(29, 30), (109.0, 207.25)),
}


@pytest.mark.parametrize(("rows", "columns", "place"), PARTS.values(), ids=PARTS)
def test_a_part_knows_where_it_lies(rows, columns, place):
    part = image().crop(rows, columns)
    np.testing.assert_array_equal(part.data.compute(), PIXELS[..., rows, columns])
    assert part.origin_um == (10.0, *place)
    assert part.z_positions_um == image().z_positions_um


def test_a_part_of_a_part_is_a_part():
    twice = image().crop(slice(2, 18), slice(5, 25)).crop(slice(3, 6), slice(1, 9))
    once = image().crop(slice(5, 8), slice(6, 14))
    assert twice.origin_um == once.origin_um
    np.testing.assert_array_equal(twice.data.compute(), once.data.compute())


def test_where_no_size_is_known_a_part_lies_by_its_pixels():
    assert image(PixelSize()).crop(slice(3, 9), slice(4, 9)).origin_um == (10.0, 103.0, 204.0)


@pytest.mark.parametrize(
    "rows", [slice(5, 5), slice(30, 40), slice(0, 10, 2), slice(9, 2)], ids=str
)
def test_a_part_without_pixels_or_with_a_step_is_refused(rows):
    with pytest.raises(AxesError, match="hold no pixel, or have a step. Name a first and a last"):
        image().crop(rows, slice(None))


def test_chosen_planes_keep_their_place_in_z():
    chosen = image().select(z=[3, 1])
    assert chosen.origin_um == (16.0, 100.0, 200.0)
    assert chosen.z_positions_um == (2.0, -2.0)
    assert image(PixelSize()).select(z=[3]).origin_um == (10.0, 100.0, 200.0)


def test_threads_read_without_changing_a_setting_of_the_process():
    given = image()
    before = dask.config.get("scheduler", None)
    region = (slice(0, 1), slice(0, 2), slice(0, 5), slice(3, 17), slice(2, 29))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: given.read(region), range(64)))
    assert all(np.array_equal(pixels, PIXELS[region]) for pixels in found)
    assert dask.config.get("scheduler", None) == before


NUMBERS = {
    "a number, of channels without names": (("channel 0", "channel 1"), "1", 1),
    "a number that is a name": (("1", "channel 1"), "1", 0),
    "another case": (("DNA", "ER"), "dna", 0),
}


@pytest.mark.parametrize(("names", "asked", "found"), NUMBERS.values(), ids=NUMBERS)
def test_a_channel_goes_by_its_name(names, asked, found):
    data = da.zeros((1, 2, 1, 4, 4))
    assert LazyImage(data=data, channels=tuple(map(Channel, names))).channel_index(asked) == found


def test_no_number_stands_for_a_name():
    named = LazyImage(data=da.zeros((1, 2, 1, 4, 4)), channels=(Channel("DNA"), Channel("ER")))
    with pytest.raises(ChannelError, match="The image has: DNA, ER"):
        named.channel_index("1")
