"""Files as real microscopes wrote them."""

import numpy as np
import pytest

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import AxesError, SettingsError
from napari_virtualstain.io.open import list_scenes, open_image

pytestmark = pytest.mark.realdata

PHENIX = ("Digital Phase Contrast", "Brightfield high", "488 650", "Alexa 488", "Alexa 568")
LIGHT = ["transmitted"] * 2 + ["fluorescence"] * 4


@pytest.mark.parametrize("given", ["", "images", "images/Index.idx.xml"])
def test_a_phenix_export(realdata, given):
    pytest.importorskip("imagecodecs")
    image = open_image(realdata / "phenix" / "Version5" / given)
    assert (image.shape, image.axes, image.dtype) == ((1, 6, 1, 1080, 1080), "cyx", np.uint16)
    assert image.channel_names == (*PHENIX, "Alexa 647")
    assert [c.modality for c in image.channels] == LIGHT
    assert image.pixel_size_um.x == pytest.approx(0.5979760809567617)
    assert image.z_positions_um == pytest.approx((-3.016,))
    offsets = [0, -2.984, -0.984, 0.016, 0.016, 3.016]
    assert [c.z_offset_um for c in image.channels] == pytest.approx(offsets)
    assert image.source.scene == "A01/f01"
    assert image.guesses == ()
    means = image.data.mean(axis=(0, 2, 3, 4)).compute()
    assert (means > 100).all()


def test_a_single_phenix_plane_does_not_pass_the_sensor_for_the_sample(realdata):
    images = realdata / "phenix" / "Version5" / "images"
    image = open_image(images / "r01c01f01p01-ch2sk1fk1fl1.tiff")
    assert image.shape == (1, 1, 1, 1080, 1080)
    assert image.pixel_size_um.yx is None  # its tags say 6.45 µm, the truth is 0.598 µm


def test_a_focus_series_beside_its_projections(realdata):
    folder = realdata / "isl_neurons"
    names = [scene.name for scene in list_scenes(folder)]
    assert names == ["PHASE_CONTRAST", "DAPI_CONFOCAL+MAP2_CONFOCAL+NFH_CONFOCAL"]
    image = open_image(folder)
    assert (image.shape, image.axes, image.dtype) == ((1, 1, 13, 1024, 1024), "zyx", np.uint16)
    assert image.channels[0].modality == "transmitted"
    assert image.pixel_size_um == PixelSize()
    stains = open_image(folder, channels=["NFH_CONFOCAL", "DAPI_CONFOCAL"])
    assert (stains.shape, stains.axes) == ((1, 2, 1, 1024, 1024), "cyx")
    assert stains.source.scene == names[1]


def test_an_ome_zarr_by_ngff_zarr(realdata):
    image = open_image(realdata / "formats/ome_zarr/isl_phase_ngffzarr_v0.5.ome.zarr")
    assert (image.shape, image.axes) == ((1, 1, 13, 512, 512), "czyx")
    assert image.channels[0].modality == "transmitted"
    assert image.pixel_size_um == PixelSize()
    assert "a scale without a unit of length" in image.guesses[0]
    assert image.data[0, 0, 6, :8, :8].compute().min() > 0


@pytest.mark.parametrize(("given", "scene"), [("", "A/1/0"), ("A/1", "0"), ("A/1/0", "")])
def test_a_plate_by_iohub(realdata, given, scene):
    image = open_image(realdata / "formats/ome_zarr/phenix_V5_iohub_HCS.zarr" / given)
    assert (image.shape, image.axes) == ((1, 6, 1, 512, 512), "tczyx")
    assert image.channel_names == (*PHENIX, "Alexa 647")
    assert [c.modality for c in image.channels] == LIGHT
    assert image.source.scene == scene
    assert image.pixel_size_um == PixelSize()
    assert "it gives no scale" in image.guesses[0]
    image.data[0, 1, 0, :8, :8].compute()


def test_an_ome_tiff_that_calls_its_bright_field_fluorescence(realdata):
    image = open_image(realdata / "formats/ome_tiff/arcadia_pbmc_multichannel_by_nd2.ome.tif")
    assert (image.shape, image.axes) == ((1, 4, 1, 256, 256), "cyx")
    assert [(c.name, c.modality) for c in image.channels] == [
        ("Mono", "transmitted"),
        ("DAPI", "fluorescence"),
        ("FITC BP", "fluorescence"),
        ("TRITC BP", "fluorescence"),
    ]
    assert image.pixel_size_um.x == pytest.approx(0.323390342594048)
    assert image.guesses == ()
    image.data.compute()


def test_a_stack_that_does_not_say_its_axes(realdata):
    path = realdata / "ecoli_bf" / "02" / "brightfield_stack.tif"
    with pytest.raises(AxesError, match=r"'brightfield_stack.tif' has 3 axes \(20, 512, 512\) and"):
        open_image(path)
    image = open_image(path, axes="tyx")
    assert (image.shape, image.axes) == ((20, 1, 1, 512, 512), "tyx")
    assert image.channels[0].modality == "transmitted"
    assert image.data[3].compute().min() > 60_000
    assert open_image(path.parents[1] / "01" / "brightfield.tif").axes == "yx"
    with pytest.raises(
        SettingsError, match=r"holds 3 images: binary_stack.*Say which with --scene"
    ):
        open_image(path.parent)


def test_a_time_lapse_of_numbered_planes(realdata):
    image = open_image(realdata / "yeast_timelapse" / "SL_180519_2_GR")
    assert (image.shape, image.axes) == ((5, 3, 1, 1080, 1280), "tcyx")
    assert image.channel_names == ("c1", "c2", "c3")
    assert image.dtype == np.uint16
    assert len(image.guesses) == 1


def test_a_folder_of_montages(realdata):
    image = open_image(realdata / "jurkat_ifc" / "Experiment_1" / "Anaphase")
    assert (image.shape, image.axes) == ((1, 3, 1, 1200, 1200), "cyx")
    assert image.channel_names == ("Ch3", "Ch4", "Ch6")


def test_an_imagexpress_export(realdata):
    plate = realdata / "formats" / "imagexpress" / "9987_Plate_3420"
    (scene,) = list_scenes(plate)
    image = scene.open()
    assert (scene.name, scene.well, scene.site) == ("B02/s1", "B02", "s1")
    assert (image.shape[:3], image.dtype) == ((1, 1, 1), np.uint16)
    assert [(c.name, c.modality) for c in image.channels] == [("DAPI", "fluorescence")]
    assert image.missing == ()
    assert scene.place.plate_shape == (8, 12)
    assert open_image(plate / "TimePoint_1").shape == open_image(plate / "9987.HTD").shape


def test_a_cv8000_measurement(realdata):
    (folder,) = (realdata / "formats" / "cv8000").iterdir()
    scenes = list_scenes(folder)
    assert {scene.well for scene in scenes} == {"D08", "E03", "F08"}
    image = scenes[0].open()
    assert (image.shape, image.axes) == ((1, 2, 4, 2000, 2000), "czyx")
    assert (image.pixel_size_um.z, image.pixel_size_um.x) == (3.0, 0.325)
    assert [(c.name, c.excitation_nm) for c in image.channels] == [
        ("BP445/45", 405),
        ("BP525/50", 488),
    ]
    assert image.missing == ()
    assert scenes[0].place.plate_shape == (8, 12)


def test_a_phenix_plate_knows_its_wells(realdata):
    from napari_virtualstain.io.plate import plates_of

    (plate,) = plates_of(list_scenes(realdata / "phenix" / "Version5"))
    assert (plate.rows, plate.columns) == (16, 24)
    assert [well.name for well in plate.wells] == ["A01"]
    (plate,) = plates_of(list_scenes(realdata / "formats/ome_zarr/phenix_V5_iohub_HCS.zarr"))
    assert plate.wells[0].sites[0].scenes == ("A/1/0",)
