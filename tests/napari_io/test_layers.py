"""Images become layers with name, colour, scale, units and axis labels; no window is needed."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image, Layer

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.napari_io.comparison import add_comparison
from napari_virtualstain.napari_io.layers import channel_limits, image_layers
from napari_virtualstain.napari_io.sample_data import demo_field
from napari_virtualstain.napari_io.source import source_of

BF, DNA, AGP = (
    Channel("Brightfield", "transmitted"),
    Channel("DNA", "fluorescence"),
    Channel("AGP", "fluorescence"),
)


def image(*channels, shape=(1, 1, 8, 9), **described):
    t, z, y, x = shape
    pixels = np.arange(t * len(channels) * z * y * x, dtype=np.float32)
    return LazyImage(
        data=da.from_array(pixels.reshape(t, len(channels), z, y, x)),
        channels=channels,
        **described,
    )


def keywords(given, **options):
    return {layer[1]["name"]: layer[1] for layer in image_layers(given, **options)}


AXES = {
    "a plane": ((1, 1, 8, 9), ["y", "x"], [0.5, 0.25], [20.0, 30.0], ["um", "um"]),
    "a stack": ((1, 3, 8, 9), ["z", "y", "x"], [2.0, 0.5, 0.25], [10.0, 20.0, 30.0], ["um"] * 3),
    "a time-lapse": ((4, 1, 8, 9), ["t", "y", "x"], [60.0, 0.5, 0.25], [0.0, 20.0, 30.0], ["s", "um", "um"]),
    "both": ((4, 3, 8, 9), ["t", "z", "y", "x"], [60.0, 2.0, 0.5, 0.25], [0.0, 10.0, 20.0, 30.0], ["s", "um", "um", "um"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "labels", "scale", "translate", "units"), AXES.values(), ids=AXES
)
def test_axes_of_length_one_are_dropped_and_the_others_have_a_scale(
    shape, labels, scale, translate, units
):
    given = image(
        DNA, shape=shape, pixel_size_um=PixelSize(2.0, 0.5, 0.25), origin_um=(10.0, 20.0, 30.0),
        time_interval_s=60.0,
    )  # fmt: skip
    (layer,) = [Layer.create(*data) for data in image_layers(given)]
    assert isinstance(layer, Image)
    assert layer.data.shape == tuple(
        n for n, keep in zip(shape, (shape[0] > 1, shape[1] > 1, 1, 1), strict=True) if keep
    )
    assert list(layer.axis_labels) == labels
    assert layer.scale.tolist() == scale
    assert layer.translate.tolist() == translate
    assert [f"{unit:~}" for unit in layer.units] == [u.replace("um", "µm") for u in units]


def test_what_is_not_known_is_in_pixels():
    (found,) = keywords(image(DNA, shape=(2, 1, 8, 9))).values()
    assert (found["scale"], found["units"]) == ([1.0, 1.0, 1.0], ["pixel"] * 3)


def test_bright_field_comes_first_in_grey_and_stains_over_it_in_their_colours():
    found = keywords(image(DNA, BF, AGP), suffix=" (true)")
    assert list(found) == ["Brightfield (true)", "DNA (true)", "AGP (true)"]
    assert found["Brightfield (true)"]["colormap"] == "gray"
    assert found["Brightfield (true)"]["blending"] == "translucent"
    for name, rgb in (("DNA (true)", (0, 0, 1)), ("AGP (true)", (1, 0.65, 0))):
        assert found[name]["blending"] == "additive"
        low, high = found[name]["colormap"].colors[[0, -1], :3]
        assert low.tolist() == [0, 0, 0]
        np.testing.assert_allclose(high, rgb, atol=0.35)


def test_a_layer_knows_where_it_came_from():
    source = source_of(
        keywords(image(DNA, pixel_size_um=PixelSize(None, 0.5, 0.25)))["DNA"]["metadata"]
    )
    assert (source.path, source.channel, source.role, source.stain) == (None, "DNA", "truth", "DNA")
    assert source.pixel_size_um == (None, 0.5, 0.25)
    assert source.confirmed  # nothing was guessed


def test_guesses_wait_for_somebody_to_confirm_them():
    given = image(BF).with_guesses(["The axes were guessed."])
    source = source_of(keywords(given)["Brightfield"]["metadata"])
    assert not source.confirmed
    assert source.open_guesses == ("The axes were guessed.",)


def test_levels_make_layers_multiscale_down_to_the_last_that_is_smaller():
    given = image(DNA, BF, shape=(2, 1, 64, 64))
    levels = [
        given.data,
        given.data[..., ::2, ::2],
        given.data[..., ::4, ::4],
        given.data[..., ::4, ::4],
    ]
    for data, found, _ in image_layers(given, levels=levels):
        assert found["multiscale"]
        assert [level.shape for level in data] == [(2, 64, 64), (2, 32, 32), (2, 16, 16)]
        assert found["scale"] == [1.0, 1.0, 1.0]


class Counted:
    """Pixels that count how many of them are read."""

    def __init__(self, shape, chunk):
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype("uint16")
        self.read = []
        self.data = da.from_array(
            self, chunks=(1, 1, 1, *chunk), asarray=True, meta=np.empty((0,) * 5, "u2")
        )

    def __getitem__(self, key):
        shape = np.empty(self.shape, "V0")[key].shape  # numpy's rules, without memory
        self.read.append(int(np.prod(shape)))
        return np.full(shape, 7, np.uint16)


CHUNKS = {"tiles": (512, 512), "large tiles": (4096, 4096), "strips": (64, 16384)}


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
def test_contrast_of_a_huge_plane_reads_some_chunks_of_it_once(chunk):
    counted = Counted((1, 1, 1, 16384, 16384), chunk)
    assert channel_limits(LazyImage(data=counted.data, channels=(DNA,)), 0) == (7.0, 8.0)
    assert 1 <= len(counted.read) <= 16
    assert set(counted.read) == {chunk[0] * chunk[1]}
    assert sum(counted.read) <= 16384**2 / 16


def test_contrast_is_that_of_the_coarsest_level():
    given = image(DNA, shape=(1, 1, 64, 64))
    coarse = da.full((1, 1, 1, 8, 8), 3.0)
    assert channel_limits(given, 0, levels=[given.data, coarse]) == (3.0, 4.0)


def test_contrast_is_that_of_the_pixels_unless_told():
    given = image(DNA, AGP, shape=(1, 1, 20, 50))
    found = keywords(given, contrast={"AGP": (3.0, 4.0)})
    assert found["AGP"]["contrast_limits"] == (3.0, 4.0)
    plane = np.arange(1000)
    assert found["DNA"]["contrast_limits"] == pytest.approx(np.percentile(plane, (1, 99.8)))


LIMITS = {
    "nothing known": (np.nan, (0.0, 1.0)),
    "all of one value": (7.0, (7.0, 8.0)),
}


@pytest.mark.parametrize(("value", "expected"), LIMITS.values(), ids=LIMITS)
def test_a_channel_without_contrast_has_limits(value, expected):
    flat = LazyImage(data=da.full((1, 1, 1, 5, 7), value), channels=(DNA,))
    assert channel_limits(flat, 0) == expected


def test_an_offset_moves_layers_aside():
    given = image(DNA, pixel_size_um=PixelSize(None, 0.5, 0.5), origin_um=(0, 1.0, 2.0))
    assert keywords(given, offset_um=(0, 100.0))["DNA"]["translate"] == [1.0, 102.0]


def test_pixels_stay_lazy():
    assert all(isinstance(data, da.Array) for data, _, _ in image_layers(image(DNA, BF)))


def test_the_sample_is_three_planes_and_five_stains_that_layers_take():
    layers = [Layer.create(*data) for data in demo_field()]
    assert [layer.name for layer in layers] == ["Brightfield", "DNA", "ER", "RNA", "AGP", "Mito"]
    below, *stains = layers
    assert below.data.shape == (3, 512, 512)
    assert list(below.axis_labels) == ["z", "y", "x"]
    # The plane in focus lies at z = 0, where the stains are.
    assert below.translate[0] + below.scale[0] == 0
    for stain in stains:
        assert stain.data.shape == (512, 512)
        np.testing.assert_allclose(stain.scale, below.scale[1:])
        assert stain.contrast_limits[0] < stain.contrast_limits[1]


@pytest.fixture(scope="module")
def stores(tmp_path_factory, small_fields):
    from napari_virtualstain.jobs.simulate import write_field

    place = tmp_path_factory.mktemp("stores")
    write_field(small_fields[0], place)
    return place


def test_a_comparison_shares_contrast_and_lies_side_by_side(stores):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 4)), name="of somebody else")
    truth = stores / "stains.ome.zarr"
    names = add_comparison(viewer, stores / "brightfield.ome.zarr", truth, truth)
    assert names == ("DNA", "ER", "RNA", "AGP", "Mito")
    assert viewer.layers["of somebody else"].opacity == 1
    below = viewer.layers["Brightfield (in focus)"]
    assert below.opacity == 1  # a white canvas must not shine through
    assert below.contrast_limits[1] > below.data.max()
    width = 96 * 0.6
    for name in names:
        left, right = viewer.layers[f"{name} (predicted)"], viewer.layers[f"{name} (true)"]
        assert left.contrast_limits == right.contrast_limits
        assert left.opacity == right.opacity
        np.testing.assert_array_equal(left.data, right.data)
        assert width < right.translate[1] - left.translate[1] < 1.1 * width


def test_only_channels_with_a_truth_are_paired(stores, tmp_path):
    from napari.components import ViewerModel

    from napari_virtualstain.io.sink import OmeZarrSink

    with OmeZarrSink.create(
        tmp_path / "p.ome.zarr", shape=(1, 2, 1, 96, 96), channels=[DNA, Channel("Golgi")], n_tiles=1,
        pixel_size_um=PixelSize(None, 0.6, 0.6),
    ) as sink:  # fmt: skip
        sink.write(
            tuple(slice(0, n) for n in sink.shape), np.random.default_rng(0).normal(size=sink.shape)
        )
        sink.commit(0)
    viewer = ViewerModel()
    below, truth = stores / "brightfield.ome.zarr", stores / "stains.ome.zarr"
    assert add_comparison(viewer, below, tmp_path / "p.ome.zarr", truth) == ("DNA",)
    assert [layer.name for layer in viewer.layers] == [
        "Brightfield (in focus)", "DNA (predicted)", "Golgi (predicted)", "DNA (true)",
    ]  # fmt: skip
