"""Layers are saved as one image that opens again as it was; half a file never looks whole."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image
from npe2 import PluginManager, PluginManifest

import napari_virtualstain
from napari_virtualstain.errors import (
    AxesError,
    DiskError,
    PixelDataError,
    SettingsError,
    VirtualStainError,
)
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.napari_io.reader import open_layers
from napari_virtualstain.napari_io.writer import as_image, save_ome_tiff, save_ome_zarr, save_png

SAVE = {".ome.zarr": save_ome_zarr, ".ome.tif": save_ome_tiff}
RNG = np.random.default_rng(0)


def layer(name="DNA", shape=(8, 9), dtype=np.uint16, **keywords):
    pixels = (RNG.random(shape) * 200).astype(dtype)
    return Image(pixels, name=name, **keywords)


def tuples(*layers):
    return [one.as_layer_data_tuple() for one in layers]


@pytest.fixture(scope="module", autouse=True)
def _plugin():
    manager = PluginManager.instance()
    if "napari-virtualstain" not in manager:
        file = f"{napari_virtualstain.__path__[0]}/napari.yaml"
        manager.register(PluginManifest.from_file(file))


UM2, UM3 = ("um", "um"), ("um", "um", "um")
CASES = {
    "a plane": {"shape": (20, 30), "scale": (0.5, 0.25), "units": UM2, "axis_labels": "yx"},
    "a stack": {"shape": (3, 20, 30), "scale": (2.0, 0.5, 0.25), "units": UM3, "axis_labels": "zyx"},
    "a time-lapse": {
        "shape": (3, 20, 30), "scale": (60.0, 0.5, 0.25), "units": ("s", "um", "um"),
        "axis_labels": "tyx",
    },
    "both": {
        "shape": (2, 3, 20, 30), "scale": (1.0, 2000.0, 500.0, 250.0),
        "units": ("min", "nm", "nm", "nm"), "axis_labels": "tzyx",
    },
    "nothing known": {"shape": (20, 30)},
    "wider than a tile": {"shape": (600, 1100), "dtype": np.uint8},
    "floats": {"shape": (20, 30), "dtype": np.float32},
}  # fmt: skip


@pytest.mark.parametrize("ending", SAVE)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_saved_opens_as_it_was(tmp_path, case, ending):
    layers = [layer("DNA", colormap="blue", **case), layer("Mito", colormap="magenta", **case)]
    path = str(tmp_path / f"a{ending}")
    assert SAVE[ending](path, tuples(*layers)) == [path]
    image = open_image(path)
    assert image.channel_names == ("DNA", "Mito")
    assert [channel.colour for channel in image.channels] == ["0000FF", "FF00FF"]
    assert image.dtype == layers[0].data.dtype
    labels = "".join(case.get("axis_labels", "yx"))
    found = image.data.compute()
    for c, one in enumerate(layers):
        index = tuple(slice(None) if a in labels else 0 for a in "tzyx")
        np.testing.assert_array_equal(found[:, c][index], one.data)
    size = image.pixel_size_um
    if "units" in case:
        assert (size.y, size.x) == pytest.approx((0.5, 0.25))
        assert size.z == (pytest.approx(2.0) if "z" in labels else None)
        assert image.time_interval_s == (pytest.approx(60.0) if "t" in labels else None)
    else:
        assert (size.y, size.x) == (None, None)
    # Through the reader, layers as they were.
    again = open_layers(path)
    assert [keywords["scale"][-1] for _, keywords, _ in again] == [size.x or 1.0] * 2
    assert not list(tmp_path.glob(".*"))


def test_a_store_keeps_where_layers_lie_and_has_a_pyramid(tmp_path):
    one = layer(shape=(600, 700), scale=(0.5, 0.5), translate=(30.0, -20.0), units=UM2)
    save_ome_zarr(str(tmp_path / "a.ome.zarr"), tuples(one))
    ((levels, keywords, _),) = open_layers(tmp_path / "a.ome.zarr")
    assert [level.shape for level in levels] == [(600, 700), (300, 350)]
    assert keywords["translate"] == [30.0, -20.0]
    assert read_record(tmp_path / "a.ome.zarr")["status"] == "complete"


@pytest.mark.parametrize("ending", SAVE)
def test_multiscale_and_lazy_layers_are_saved_at_their_finest(tmp_path, ending):
    fine = RNG.random((40, 50)).astype(np.float32)
    lazy = Image([da.from_array(fine, chunks=16), da.from_array(fine[::2, ::2])], name="lazy")
    SAVE[ending](str(tmp_path / f"a{ending}"), tuples(lazy))
    found = open_image(tmp_path / f"a{ending}").data.compute()
    np.testing.assert_array_equal(found[0, 0, 0], fine)


def test_pixels_are_asked_for_block_by_block(tmp_path):
    class Counted:
        shape, ndim, dtype, size = (3, 4500, 2500), 3, np.dtype("uint8"), 3 * 4500 * 2500

        def __init__(self):
            self.largest = 0

        def __getitem__(self, key):
            shape = [
                len(range(*k.indices(n)))
                for k, n in zip(key, self.shape, strict=True)
                if isinstance(k, slice)
            ]
            self.largest = max(self.largest, int(np.prod(shape)))
            return np.zeros(shape, np.uint8)

    for ending, save in SAVE.items():
        counted = Counted()
        save(str(tmp_path / f"a{ending}"), [(counted, {"name": "a"}, "image")])
        assert 0 < counted.largest <= 2048 * 2048


def test_types_that_differ_are_widened_without_loss():
    image = as_image(tuples(layer("a", dtype=np.uint16), layer("b", dtype=np.float32)))
    assert image.dtype == np.float32
    assert as_image(tuples(layer(dtype=np.float16))).dtype == np.float32


def test_layers_of_one_name_get_numbers():
    assert [c.name for c in as_image(tuples(layer("a"), layer("a"))).channels] == ["a", "a (2)"]


def rgb():
    return Image(np.zeros((40, 40, 3), np.uint8), rgb=True, name="photo")


REFUSED = {
    "shapes": (
        lambda: (layer("a"), layer("b", shape=(8, 10))), PixelDataError,
        ("The layers 'a' and 'b' have the shapes 8 x 9 and 8 x 10, but the channels of one file "
        "have one shape. Select layers of one shape, or save them one by one."),
    ),
    "places": (
        lambda: (layer("a"), layer("b", translate=(0, 4))), AxesError,
        ("The layers 'a' and 'b' do not lie on the same pixels: their axes, scale or translation "
        "differ. Save them one by one."),
    ),
    "scales": (
        lambda: (layer("a"), layer("b", scale=(2, 2))), AxesError,
        ("The layers 'a' and 'b' do not lie on the same pixels: their axes, scale or translation "
        "differ. Save them one by one."),
    ),
    "a colour picture": (
        lambda: (rgb(),), PixelDataError,
        ("The layer 'photo' is a colour picture. Split it into its channels first (right click on "
        "the layer: Split RGB)."),
    ),
    "five axes": (
        lambda: (layer("a", shape=(2, 2, 2, 4, 4)),), AxesError,
        ("The layer 'a' has 5 axes, files have t, z, y and x at most. Split it along one of its "
        "axes first (right click on the layer: Split Stack)."),
    ),
    "axes in another order": (
        lambda: (layer("a", shape=(2, 4, 4), axis_labels=("y", "x", "z")),), AxesError,
        "The layer 'a' has its axes in the order 'yxz'. Transpose it to the order t, z, y, x first.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "sentence"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("ending", SAVE)
def test_layers_that_do_not_fit_are_refused_in_one_sentence(tmp_path, make, kind, sentence, ending):
    layers = tuples(*make())
    with pytest.raises(kind):
        as_image(layers)
    with pytest.raises(VirtualStainError) as caught:
        SAVE[ending](str(tmp_path / f"a{ending}"), layers)
    assert str(caught.value) == sentence
    # napari takes a ValueError of a writer for "no writer found", and hides it.
    assert not isinstance(caught.value, ValueError)
    assert list(tmp_path.iterdir()) == []


class Broken:
    """Pixels of which the second half cannot be read."""

    shape, ndim, dtype, size = (5000, 40), 2, np.dtype("uint8"), 200000

    def __getitem__(self, key):
        if key[0].start > 2000:
            raise OSError(5, "Input/output error")
        return np.zeros((key[0].stop - key[0].start, key[1].stop - key[1].start), np.uint8)


def test_half_a_tiff_leaves_the_one_before(tmp_path):
    path = tmp_path / "a.ome.tif"
    path.write_bytes(b"before")
    with pytest.raises(DiskError):
        save_ome_tiff(str(path), [(Broken(), {"name": "a"}, "image")])
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.tif"]


def test_half_a_store_leaves_the_one_before(tmp_path):
    path = str(tmp_path / "a.ome.zarr")
    before = layer()
    save_ome_zarr(path, tuples(before))
    with pytest.raises(OSError, match=r"Input/output error|cannot be written"):
        save_ome_zarr(path, [(Broken(), {"name": "a"}, "image")])
    np.testing.assert_array_equal(open_image(path).data.compute()[0, 0, 0], before.data)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"]


@pytest.mark.parametrize("ending", SAVE)
def test_a_file_is_not_saved_over_itself(tmp_path, ending):
    path = str(tmp_path / f"a{ending}")
    SAVE[ending](path, tuples(layer()))
    with pytest.raises(VirtualStainError, match=r"is the input itself|is the file that"):
        SAVE[ending](path, open_layers(path))


def test_what_tiff_has_no_type_for_is_refused(tmp_path):
    with pytest.raises(VirtualStainError, match="int64 have no place in OME-TIFF. Convert"):
        save_ome_tiff(str(tmp_path / "a.ome.tif"), tuples(layer(dtype=np.int64)))
    save_ome_zarr(str(tmp_path / "a.ome.zarr"), tuples(layer(dtype=np.int64)))
    assert open_image(tmp_path / "a.ome.zarr").dtype == np.int64


WAYS = {
    "store, named": (".ome.zarr", "napari-virtualstain"),
    "store, not named": (".ome.zarr", None),
    "tiff, named": (".ome.tif", "napari-virtualstain"),
}


@pytest.mark.parametrize(("ending", "plugin"), WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("count", [1, 3])
def test_napari_saves_through_its_own_way(tmp_path, ending, plugin, count):
    viewer = ViewerModel()
    for number in range(count):
        viewer.add_layer(layer(f"stain {number}"))
    path = str(tmp_path / f"a{ending}")
    assert viewer.layers.save(path, plugin=plugin) == [path]
    assert open_image(path).channel_names == tuple(f"stain {n}" for n in range(count))


def test_napari_shows_why_layers_cannot_be_saved(tmp_path):
    viewer = ViewerModel()
    viewer.add_layer(layer("a"))
    viewer.add_layer(layer("b", shape=(8, 10)))
    with pytest.raises(VirtualStainError, match="have one shape"):
        viewer.layers.save(str(tmp_path / "a.ome.zarr"), plugin="napari-virtualstain")
    assert not issubclass(VirtualStainError, ValueError)
    assert issubclass(SettingsError, ValueError)


def test_a_picture_has_colours_limits_and_bar_of_what_is_shown(tmp_path):
    from PIL import Image as Picture

    pixels = np.full((200, 200), 50, np.uint16)
    shown = {"scale": (0.5, 0.5), "units": UM2, "axis_labels": "yx"}
    green = Image(pixels, name="A", colormap="green", contrast_limits=(0, 100), **shown)
    red = Image(pixels, name="B", colormap="red", contrast_limits=(0, 50), **shown)
    hidden = Image(pixels, name="C", colormap="blue", visible=False, **shown)
    path = str(tmp_path / "a.png")
    assert save_png(path, tuples(green, red, hidden)) == [path]
    with Picture.open(path) as picture:
        assert picture.getpixel((5, 5)) == (255, 128, 0)
        assert picture.getpixel((190, 195)) == (255, 255, 255)  # on the bar


def test_of_a_stack_the_plane_is_saved_that_the_viewer_shows(tmp_path, monkeypatch):
    import napari
    from PIL import Image as Picture

    model = ViewerModel()
    stack = np.zeros((4, 8, 8), np.uint8)
    stack[2] = 200
    layer_ = model.add_image(stack, name="A", scale=(3, 1, 1), contrast_limits=(0, 200))
    model.dims.set_point(0, 6.0)
    monkeypatch.setattr(napari, "current_viewer", lambda: model)
    save_png(str(tmp_path / "a.png"), tuples(layer_))
    with Picture.open(tmp_path / "a.png") as picture:
        assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_hidden_layers_alone_make_no_picture(tmp_path):
    with pytest.raises(VirtualStainError, match=r"Show one\.$") as caught:
        save_png(str(tmp_path / "a.png"), tuples(layer(visible=False)))
    assert not isinstance(caught.value, ValueError)
