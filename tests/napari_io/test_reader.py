"""Paths become layers: lazily, with what is known and what is guessed; or one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Layer

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import AxesError, SettingsError, VirtualStainError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.napari_io.reader import get_reader, open_layers
from napari_virtualstain.napari_io.source import source_of

BF, DNA = Channel("Brightfield", "transmitted"), Channel("DNA", "fluorescence")


def write_store(path, *, channels=(BF, DNA), edge=40, chunk=16, job=None, **described):
    record = {} if job is None else {"job": job, "model": {"name": "demo"}}
    with OmeZarrSink.create(
        path, shape=(1, len(channels), 1, edge, edge), channels=channels, n_tiles=1,
        chunks_yx=chunk, pixel_size_um=PixelSize(None, 0.6, 0.5), record=record, **described,
    ) as sink:  # fmt: skip
        pixels = np.random.default_rng(0).normal(size=sink.shape)
        sink.write(tuple(slice(0, n) for n in sink.shape), pixels)
        sink.commit(0)
    return path


def write_planes(folder, names, shape=(8, 9)):
    folder.mkdir()
    for index, name in enumerate(names):
        tifffile.imwrite(folder / name, np.full(shape, index, np.uint16))
    return folder


@pytest.fixture
def places(tmp_path):
    """One path of each kind, by name."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9), np.uint16))
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.zeros((2, 8, 9), np.uint16), metadata={"axes": "CYX"}, ome=True
    )
    write_store(tmp_path / "a.ome.zarr")
    (tmp_path / "a.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "a.txt").write_text("no picture")
    (tmp_path / "others" / "a.csv").write_text("no,table\n1,2\n")
    write_planes(tmp_path / "planes", ["f_z0_c1.tif", "f_z1_c1.tif"])
    write_planes(tmp_path / "nameless", ["cat.tif", "dog.tif"])
    return tmp_path


MINE = ("a.tif", "a.ome.tif", "a.ome.zarr", "planes", "nameless")
NOT_MINE = ("a.txt", "empty", "others", "not_there.tif")


@pytest.mark.parametrize("name", MINE)
def test_an_image_is_taken_and_opens_lazily(places, name):
    reader = get_reader(str(places / name))
    layers = reader(str(places / name))
    assert layers
    for data, keywords, kind in layers:
        assert kind == "image"
        assert all(
            hasattr(level, "compute") for level in (data if isinstance(data, list) else [data])
        )
        # Of a folder of images it is the file itself.
        path = places / "nameless" / "cat.tif" if name == "nameless" else places / name
        assert source_of(keywords["metadata"]).path == str(path)


@pytest.mark.parametrize("name", NOT_MINE)
def test_what_is_no_image_is_left_to_others(places, name):
    assert get_reader(str(places / name)) is None


def test_one_path_in_a_list_is_a_path_and_several_are_left_to_others(places):
    assert get_reader([str(places / "a.tif")]) is not None
    assert get_reader([str(places / "a.tif"), str(places / "a.ome.tif")]) is None
    with pytest.raises(SettingsError, match="Open their folder instead"):
        get_reader(str(places / "a.tif"))([str(places / "a.tif")] * 2)


def test_a_store_with_a_pyramid_becomes_multiscale_layers_in_place(tmp_path):
    layers = [Layer.create(*data) for data in open_layers(write_store(tmp_path / "a.ome.zarr"))]
    assert [layer.name for layer in layers] == ["Brightfield", "DNA"]
    whole = open_image(tmp_path / "a.ome.zarr").data.compute()
    for c, layer in enumerate(layers):
        assert layer.multiscale
        assert [level.shape for level in layer.data] == [(40, 40), (20, 20), (10, 10)]
        np.testing.assert_array_equal(layer.data[0], whole[0, c, 0])
        assert layer.scale.tolist() == [0.6, 0.5]
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
        assert layer.axis_labels == ("y", "x")
    assert [source_of(layer).role for layer in layers] == ["brightfield", "truth"]


def test_a_stain_run_is_opened_as_a_prediction_with_the_name_of_its_model(tmp_path):
    ((_, keywords, _),) = open_layers(
        write_store(tmp_path / "p.ome.zarr", channels=(DNA,), job="stain")
    )
    source = source_of(keywords["metadata"])
    assert keywords["name"] == "DNA (demo)"
    assert (source.role, source.stain, source.model) == ("prediction", "DNA", "demo")
    assert keywords["cache"] is False  # another run may write the same chunks again


def test_a_layer_leads_back_to_its_pixels(tmp_path):
    path = tmp_path / "stack.tif"
    pixels = np.arange(3 * 8 * 9, dtype=np.uint16).reshape(3, 8, 9)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    ((data, keywords, _),) = open_layers(path, axes="zyx", pixel_size_um=0.65)
    source = source_of(keywords["metadata"])
    assert source.pixel_size_stated
    again = open_image(
        source.path, scene=source.scene or None, axes=source.axes,
        pixel_size_um=source.pixel_size(), channels=[source.channel],
    )  # fmt: skip
    np.testing.assert_array_equal(again.data[0, 0], data.compute())
    assert again.pixel_size_um.x == 0.65


def test_axes_that_nothing_tells_are_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 8, 9), np.uint16))
    with pytest.raises(AxesError, match="does not say what the first is. State it"):
        open_layers(tmp_path / "stack.tif")


def test_of_several_images_the_first_is_shown_and_that_is_said(tmp_path):
    folder = write_planes(tmp_path / "two", ["a_c1.tif", "a_c2.tif", "b_c1.tif", "b_c2.tif"])
    layers = open_layers(folder)
    source = source_of(layers[0][1]["metadata"])
    assert source.scene == "a"
    assert not source.confirmed
    assert source.guesses[0] == (
        f"'{folder}' holds 2 images (a, b), and the first, 'a', is shown. "
        "Choose another scene if you want one."
    )
    assert source_of(open_layers(folder, scene="b")[0][1]["metadata"]).scene == "b"


def test_of_a_folder_the_first_image_that_opens_is_shown(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 8, 9), np.uint16), photometric="minisblack")
    for name in ("b.tif", "c.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((8, 9), np.uint16))
    ((_, keywords, _),) = open_layers(str(tmp_path))
    source = source_of(keywords["metadata"])
    assert source.path == str(tmp_path / "b.tif")
    assert "holds 3 images (a.tif, b.tif, c.tif), and the first that can be" in source.guesses[0]
    (tmp_path / "b.tif").unlink()
    (tmp_path / "c.tif").unlink()
    with pytest.raises(AxesError):
        open_layers(str(tmp_path))


def test_roles_can_be_told(tmp_path):
    layers = open_layers(write_store(tmp_path / "a.ome.zarr"), roles={"DNA": "brightfield"})
    assert [source_of(k["metadata"]).role for _, k, _ in layers] == ["brightfield", "brightfield"]


def test_layers_with_and_without_time_lie_on_each_other(tmp_path):
    described = {"n_tiles": 1, "pixel_size_um": PixelSize(None, 0.5, 0.5)}
    for name, n_t in (("lapse", 3), ("one", 1)):
        with OmeZarrSink.create(
            tmp_path / name, shape=(n_t, 1, 1, 8, 8), channels=[DNA], time_interval_s=60.0, **described
        ) as sink:  # fmt: skip
            sink.write(tuple(slice(0, n) for n in sink.shape), np.ones(sink.shape))
            sink.commit(0)
    viewer = ViewerModel()
    for name in ("lapse", "one"):
        for data in open_layers(tmp_path / name):
            viewer.add_layer(Layer.create(*data))
    assert viewer.dims.axis_labels == ("t", "y", "x")
    assert viewer.layers.extent.units is not None
    flat = viewer.layers[1].extent.world
    np.testing.assert_allclose(flat, viewer.layers[0].extent.world[:, 1:])


def test_layers_of_one_image_do_not_add_up_to_white(tmp_path):
    channels = (
        Channel("BF 1", "transmitted"), Channel("BF 2", "transmitted"), Channel("A", "fluorescence"),
        Channel("DNA", "fluorescence"), Channel("B", "fluorescence"), Channel("what"),
    )  # fmt: skip
    tmp_path /= "a.ome.zarr"
    write_store(tmp_path, channels=channels)
    found = {k["name"]: k for _, k, _ in open_layers(tmp_path, roles={"what": "other"})}
    # A store says how channels were lit by their names only.
    assert found["BF 1"]["visible"]
    assert not found["BF 2"]["visible"]
    assert not found["what"]["visible"]


def test_stains_without_a_colour_get_different_ones(tmp_path):
    path = write_store(tmp_path / "a.ome.zarr", channels=(Channel("x"), Channel("y"), Channel("z")))
    roles = dict.fromkeys("xyz", "truth")
    maps = [k["colormap"] for _, k, _ in open_layers(path, roles=roles)]
    assert len({getattr(one, "name", one) for one in maps}) == 3


DAMAGED = {
    "a.tif": b"II*\0 not a tiff at all, by no means",
    "a.ome.tif": b"",
    "Index.idx.xml": b"<not closed",
}


@pytest.mark.parametrize(("name", "content"), DAMAGED.items(), ids=DAMAGED)
def test_damage_is_one_sentence_that_names_the_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    reader = get_reader(str(tmp_path / name))
    with pytest.raises(VirtualStainError, match=name) as caught:
        reader(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


REAL = {
    "formats/ome_zarr/isl_phase_ngffzarr_v0.5.ome.zarr": (["channel 0"], ["z", "y", "x"], None),
    "formats/ome_zarr/phenix_V5_iohub_HCS.zarr": (
        [
            "Digital Phase Contrast",
            "Brightfield high",
            "488 650",
            "Alexa 488",
            "Alexa 568",
            "Alexa 647",
        ],
        ["y", "x"],
        None,
    ),
    "phenix/Version5/images": (
        [
            "Digital Phase Contrast",
            "Brightfield high",
            "488 650",
            "Alexa 488",
            "Alexa 568",
            "Alexa 647",
        ],
        ["y", "x"],
        0.598,
    ),
    "isl_neurons": (["PHASE_CONTRAST"], ["z", "y", "x"], None),
    "yeast_timelapse/SL_180519_2_GR": (["c1", "c2", "c3"], ["t", "y", "x"], None),
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_images_open_as_layers(realdata, name):
    names, axes, x_um = REAL[name]
    path = str(realdata / name)
    layers = get_reader(path)(path)
    assert [keywords["name"] for _, keywords, _ in layers] == names
    for _, keywords, _ in layers:
        assert keywords["axis_labels"] == axes
        low, high = keywords["contrast_limits"]
        assert low < high
        assert keywords["scale"][-1] == pytest.approx(x_um or 1.0, rel=1e-3)
        assert keywords["units"][-1] == ("um" if x_um else "pixel")
