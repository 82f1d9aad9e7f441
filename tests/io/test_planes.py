"""Single pictures, and folders with one file a plane."""

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_virtualstain.errors import ImageFileError, MissingInputError
from napari_virtualstain.io.layouts import LAYOUTS
from napari_virtualstain.io.layouts.base import natural
from napari_virtualstain.io.open import list_scenes, open_image

SHAPE = (12, 16)


def plane(value, shape=SHAPE):
    return np.full(shape, value, np.uint16)


def save(folder, names, value=None):
    """Write one file a name; the value of its pixels is its position unless stated."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        pixels = plane(number if value is None else value)
        if name.endswith("png"):
            iio.imwrite(folder / name, pixels)
        else:
            tifffile.imwrite(folder / name, pixels)
    return folder


def values(image):
    """One value a plane, shape (T, C, Z)."""
    return image.data[..., 0, 0].compute()


ISL = "lab-X,condition-Y,well-{w},tile_computation-STITCHED,{d},channel-{c},is_mask-false.png"


def isl_names(depths=13, well="A4"):
    focus = [ISL.format(w=well, d=f"z_depth-{z}", c="PHASE_CONTRAST") for z in range(depths)]
    stains = [ISL.format(w=well, d="depth_computation-MAXPROJECT", c=c) for c in ("DAPI", "MAP2")]
    return focus + stains


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        (isl_names()[0], "in-silico-labeling"),
        (isl_names()[-1], "in-silico-labeling"),
        ("plate_D08_T0001F002L01A01Z04C01.tif", "yokogawa"),
        ("t1xy0401c1.tif", "pie"),
        ("xy01c2.tif", "pie"),
        ("cells_z00_c1.png", "numbered"),
        ("A01_s2_w1.tif", "numbered"),
        ("Ch3_CP0001.tif", "numbered"),
        ("img_t001_z12.tif", "numbered"),
        ("brightfield.tif", None),
        ("IMG_0001.png", None),
        ("catz9.png", None),
    ],
)
def test_a_name_belongs_to_the_first_layout_that_it_fits(name, layout):
    fitting = [known for known, one in LAYOUTS.items() if one.matches(name)]
    assert (fitting[0] if fitting else None) == layout


def test_numbers_are_sorted_as_numbers():
    assert sorted(["z_10", "z_9", "a", "z_1"], key=natural) == ["a", "z_1", "z_9", "z_10"]


@pytest.mark.parametrize("name", ["bf.png", "bf.bmp"])
def test_a_picture_is_a_plane(tmp_path, name):
    pixels = np.arange(192, dtype=np.uint8).reshape(SHAPE)
    iio.imwrite(tmp_path / name, pixels)
    image = open_image(tmp_path / name)
    assert (image.shape, image.axes, image.dtype) == ((1, 1, 1, *SHAPE), "yx", np.uint8)
    assert image.channels[0].modality == "transmitted"
    np.testing.assert_array_equal(image.data[0, 0, 0].compute(), pixels)


def test_a_png_of_16_bits_keeps_them(tmp_path):
    iio.imwrite(tmp_path / "a.png", plane(50_000))
    image = open_image(tmp_path / "a.png")
    assert (image.dtype, values(image)) == (np.uint16, 50_000)


@pytest.mark.parametrize("samples", [3, 4])
def test_a_colour_picture_becomes_three_channels(tmp_path, samples):
    pixels = np.random.default_rng(0).integers(0, 255, (*SHAPE, samples)).astype(np.uint8)
    iio.imwrite(tmp_path / "a.png", pixels)
    image = open_image(tmp_path / "a.png")
    assert image.channel_names == ("red", "green", "blue")
    np.testing.assert_array_equal(
        np.moveaxis(image.data[0, :, 0].compute(), 0, -1), pixels[..., :3]
    )


def test_a_jpeg_is_said_to_be_lossy(tmp_path):
    iio.imwrite(tmp_path / "a.jpg", np.full(SHAPE, 100, np.uint8))
    assert "JPEG is lossy" in open_image(tmp_path / "a.jpg").guesses[0]


def test_channels_of_another_depth_are_another_scene(tmp_path):
    folder = save(tmp_path / "isl", isl_names())
    scenes = list_scenes(folder)
    assert [scene.name for scene in scenes] == ["PHASE_CONTRAST", "DAPI+MAP2"]
    image = open_image(folder)
    assert (image.shape, image.axes) == ((1, 1, 13, *SHAPE), "zyx")
    np.testing.assert_array_equal(values(image)[0, 0], np.arange(13))  # 10 after 9
    assert image.guesses[0].startswith("Scene 'PHASE_CONTRAST' was taken since it alone holds")
    stains = open_image(folder, channels=["MAP2", "DAPI"])
    assert (stains.shape, stains.axes) == ((1, 2, 1, *SHAPE), "cyx")
    np.testing.assert_array_equal(values(stains).ravel(), [14, 13])


def test_wells_are_scenes(tmp_path):
    folder = save(tmp_path / "isl", isl_names(2, "A4") + isl_names(2, "B10"))
    assert [scene.name for scene in list_scenes(folder)] == [
        "A4/PHASE_CONTRAST", "A4/DAPI+MAP2", "B10/PHASE_CONTRAST", "B10/DAPI+MAP2",
    ]  # fmt: skip


def test_time_position_and_channel_are_read_from_names(tmp_path):
    names = [f"t{t}xy0401c{c}.tif" for t in range(1, 6) for c in (1, 2, 3)]
    image = open_image(save(tmp_path / "pie", names))
    assert (image.shape, image.axes) == ((5, 3, 1, *SHAPE), "tcyx")
    assert image.channel_names == ("c1", "c2", "c3")
    np.testing.assert_array_equal(values(image)[:, :, 0], np.arange(15).reshape(5, 3))
    assert "do not say what they are" in image.guesses[0]


def test_tokens_number_the_axes(tmp_path):
    names = [f"cells_z{z:02d}_c{c}.png" for z in (0, 5, 10) for c in (1, 2)]
    image = open_image(save(tmp_path / "numbered", names))
    assert (image.shape, image.axes) == ((1, 2, 3, *SHAPE), "czyx")
    np.testing.assert_array_equal(values(image)[0], [[0, 2, 4], [1, 3, 5]])


def test_what_is_left_of_the_names_tells_images_apart(tmp_path):
    names = [f"{well}_z{z}.tif" for well in ("A01", "A02") for z in range(3)]
    folder = save(tmp_path / "numbered", names)
    assert [scene.name for scene in list_scenes(folder)] == ["A01", "A02"]
    np.testing.assert_array_equal(values(open_image(folder, scene="A02")).ravel(), [3, 4, 5])


@pytest.mark.parametrize(
    ("lost", "place", "said"),
    [
        ("img_z2_c1.tif", (0, 0, 2), "channel 'c1', z 2: no file"),
        ("img_z4_c2.tif", (0, 1, 4), "channel 'c2', z 4: no file"),
    ],
)
def test_a_missing_plane_is_missing_data_and_named(tmp_path, lost, place, said):
    names = [f"img_z{z}_c{c}.tif" for z in range(5) for c in (1, 2)]
    folder = save(tmp_path / "numbered", names, value=7)
    (folder / lost).unlink()
    image = open_image(folder, scene=0)
    assert image.missing == (place,)
    assert any(said in guess for guess in image.guesses)
    found = values(image)
    assert found[place] == 0
    assert (found == 7).sum() == 9
    gaps = values(image.with_gaps())
    assert np.isnan(gaps[place])
    assert (gaps == 7).sum() == 9


def test_missing_planes_of_floats_read_as_nan(tmp_path):
    folder = tmp_path / "floats"
    folder.mkdir()
    for z in (0, 1, 3):
        tifffile.imwrite(folder / f"img_z{z}.tif", np.ones(SHAPE, np.float32))
    image = open_image(folder)
    np.testing.assert_array_equal(values(image).ravel(), [1, 1, np.nan, 1])
    assert image.with_gaps() is image


def test_a_gap_that_all_channels_share_is_missing_data(tmp_path):
    folder = save(tmp_path / "gap", [f"img_z{z}.tif" for z in (0, 1, 3, 4)], value=1)
    image = open_image(folder)
    assert image.missing == ((0, 0, 2),)
    np.testing.assert_array_equal(values(image).ravel(), [1, 1, 0, 1, 1])


def test_numbers_without_an_even_step_are_not_filled_up(tmp_path):
    image = open_image(save(tmp_path / "uneven", [f"img_z{z}.tif" for z in (0, 1, 900)]))
    assert (image.shape[2], image.missing) == (3, ())
    assert any("not evenly spaced" in guess for guess in image.guesses)


def test_what_is_missing_follows_the_channels_and_planes_that_are_kept(tmp_path):
    names = [f"img_z{z}_c{c}.tif" for z in range(3) for c in (1, 2)]
    folder = save(tmp_path / "kept", names)
    (folder / "img_z2_c2.tif").unlink()
    image = open_image(folder, scene=0)
    assert image.select(["c2", "c1"]).missing == ((0, 0, 2),)
    assert image.select(["c1"]).missing == ()
    assert image.select(["c2"], z=[2, 0, 2]).missing == ((0, 0, 0), (0, 0, 2))


def test_planes_of_several_bit_depths_are_widened_and_said(tmp_path):
    folder = save(tmp_path / "depths", ["img_c2.tif"], value=60_000)
    tifffile.imwrite(folder / "img_c1.tif", np.full(SHAPE, 200, np.uint8))
    image = open_image(folder)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(values(image).ravel(), [200, 60_000])
    assert any("of several types (uint16, uint8)" in guess for guess in image.guesses)


def test_planes_of_different_sizes_are_refused(tmp_path):
    folder = save(tmp_path / "sizes", [f"img_z{z}.tif" for z in range(3)])
    tifffile.imwrite(folder / "img_z1.tif", plane(0, (10, 16)))
    with pytest.raises(
        ImageFileError, match=r"img_z1.tif' is 10 x 16 uint16, but the other planes are 12 x 16"
    ):
        open_image(folder)


def test_two_files_for_one_place_are_refused(tmp_path):
    folder = save(tmp_path / "twice", ["img_z1.tif", "img_z01.tif", "img_z2.tif"])
    with pytest.raises(ImageFileError, match=r"'img_z0?1.tif' and 'img_z0?1.tif' claim the same"):
        open_image(folder)


def test_a_stack_where_a_plane_is_expected_is_refused(tmp_path):
    folder = save(tmp_path / "stacks", ["img_c1.tif", "img_c2.tif"])
    tifffile.imwrite(folder / "img_c1.tif", np.zeros((5, *SHAPE), np.uint16))
    with pytest.raises(ImageFileError, match="holds more than one plane"):
        open_image(folder)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nbroken", b"text"])
def test_a_damaged_plane_is_missing_data_and_named(tmp_path, content):
    folder = save(tmp_path / "damaged", [f"img_z{z}.png" for z in range(3)], value=5)
    (folder / "img_z1.png").write_bytes(content)
    image = open_image(folder)
    np.testing.assert_array_equal(values(image).ravel(), [5, 0, 5])
    assert image.missing == ((0, 0, 1),)
    assert any("'img_z1.png' is empty or damaged" in guess for guess in image.guesses)


def test_a_damaged_plane_that_is_copied_again_is_another_image(tmp_path):
    folder = save(tmp_path / "again", [f"img_z{z}.png" for z in range(3)])
    whole = (folder / "img_z1.png").read_bytes()
    (folder / "img_z1.png").write_bytes(b"")
    before = open_image(folder)
    identity = before.source.identity()
    (folder / "img_z1.png").write_bytes(whole)
    after = open_image(folder)
    assert after.missing == ()
    assert after.source.identity() != identity
    assert after.data.name != before.data.name


def test_a_folder_of_which_no_plane_can_be_read_is_one_sentence(tmp_path):
    folder = save(tmp_path / "all", [f"img_z{z}.png" for z in range(2)])
    for z in range(2):
        (folder / f"img_z{z}.png").write_bytes(b"")
    with pytest.raises(ImageFileError, match="None of the 2 planes of .* Copy the files again"):
        open_image(folder)


def test_a_png_that_was_cut_short_is_one_sentence_when_its_pixels_are_read(tmp_path):
    path = tmp_path / "bf.png"
    iio.imwrite(path, np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageFileError, match=r"bf.png' is damaged or not an image"):
        open_image(path).data.compute()


def test_a_plane_that_goes_after_opening_is_named(tmp_path):
    folder = save(tmp_path / "gone", [f"img_z{z}.png" for z in range(3)])
    image = open_image(folder)
    (folder / "img_z1.png").unlink()
    with pytest.raises(MissingInputError, match=r"img_z1.png' does not exist any more"):
        image.data.compute()


def test_opening_reads_headers_and_a_region_reads_its_planes_only(tmp_path, monkeypatch):
    from napari_virtualstain.io import plane_file

    folder = save(tmp_path / "lazy", [f"img_z{z}.png" for z in range(10)])
    read = []
    original = plane_file.read_plane
    monkeypatch.setattr(
        plane_file, "read_plane", lambda path: read.append(path.name) or original(path)
    )
    image = open_image(folder)
    assert read == []
    for _ in range(3):
        image.read((slice(0, 1), slice(0, 1), slice(4, 5), slice(0, 4), slice(0, 4)))
    assert read == ["img_z4.png"]  # once: it is kept for the tiles beside it


def harmony(folder, *, fields=1, planes=1, version=5, skip=()):
    """Write a small measurement as Harmony exports it."""
    images = folder / "images"
    images.mkdir(parents=True)
    channels = {1: ("Brightfield", "Transmitted", -6e-6), 2: ("HOECHST 33342", "Epifl", 1e-6)}
    resolution = (
        '<ImageResolutionX Unit="m">6.5E-07</ImageResolutionX>'
        '<ImageResolutionY Unit="m">6.5E-07</ImageResolutionY>'
    )
    maps, entries = "", ""
    for c, (name, light, z0) in channels.items():
        facts = f"<ChannelName>{name}</ChannelName><IlluminationType>{light}</IlluminationType>"
        if version == 6:
            maps += f'<Entry ChannelID="{c}">{facts}{resolution}</Entry>'
        for f in range(1, fields + 1):
            for p in range(1, planes + 1):
                url = f"r02c03f{f:02d}p{p:02d}-ch{c}sk1fk1fl1.tiff"
                if url not in skip:
                    tifffile.imwrite(images / url, plane(100 * f + 10 * c + p))
                entries += (
                    f"<Image><id>x</id><URL>{url}</URL><Row>2</Row><Col>3</Col>"
                    f"<FieldID>{f}</FieldID><PlaneID>{p}</PlaneID><TimepointID>0</TimepointID>"
                    f"<ChannelID>{c}</ChannelID>{facts if version == 5 else ''}"
                    f"{resolution if version == 5 else ''}"
                    f'<PositionZ Unit="m">{z0 + (p - 1) * 2e-6}</PositionZ></Image>'
                )
    (images / "Index.idx.xml").write_text(
        '\ufeff<?xml version="1.0" encoding="utf-8"?>'
        f'<EvaluationInputData xmlns="http://www.perkinelmer.com/PEHH/HarmonyV{version}">'
        '<Wells><Well><id>0203</id><Image id="x" /></Well></Wells>'
        f"<Maps><Map>{maps}</Map></Maps><Images>{entries}</Images></EvaluationInputData>",
        encoding="utf-8",
    )
    return folder


@pytest.mark.parametrize("version", [5, 6])
@pytest.mark.parametrize("given", ["", "images", "images/Index.idx.xml"])
def test_a_harmony_measurement_is_read_by_its_index(tmp_path, version, given):
    folder = harmony(tmp_path / "plate", planes=3, version=version)
    image = open_image(folder / given)
    assert (image.shape, image.axes) == ((1, 2, 3, *SHAPE), "czyx")
    assert image.source.scene == "B03/f01"
    assert [(c.name, c.modality) for c in image.channels] == [
        ("Brightfield", "transmitted"),
        ("HOECHST 33342", "fluorescence"),
    ]
    assert image.pixel_size_um.x == pytest.approx(0.65)
    assert image.pixel_size_um.z == pytest.approx(2.0)
    assert image.z_positions_um == pytest.approx((-6.0, -4.0, -2.0))
    assert [c.z_offset_um for c in image.channels] == pytest.approx([0.0, 7.0])
    np.testing.assert_array_equal(values(image)[0], [[111, 112, 113], [121, 122, 123]])


def test_fields_are_scenes_and_those_without_files_are_left_out(tmp_path):
    lost = [f"r02c03f02p01-ch{c}sk1fk1fl1.tiff" for c in (1, 2)]
    folder = harmony(tmp_path / "plate", fields=3, skip=lost)
    assert [scene.name for scene in list_scenes(folder)] == ["B03/f01", "B03/f03"]


def test_a_file_that_the_index_lists_is_missed_by_name(tmp_path):
    lost = "r02c03f01p02-ch2sk1fk1fl1.tiff"
    image = open_image(harmony(tmp_path / "plate", planes=3, skip=[lost]))
    assert image.missing == ((0, 1, 1),)
    assert any(
        f"channel 'HOECHST 33342', z 2: '{lost}' is not there" in guess for guess in image.guesses
    )


def test_an_index_without_its_images_is_refused(tmp_path):
    folder = harmony(tmp_path / "plate")
    for file in (folder / "images").glob("*.tiff"):
        file.unlink()
    with pytest.raises(ImageFileError, match="lists 2 files, of which none is in the folder"):
        open_image(folder)


@pytest.mark.parametrize("content", ["", "<a><b></a>", "<a/>", "<Image><URL>x</URL></Image>"])
def test_a_damaged_index_is_refused(tmp_path, content):
    (tmp_path / "Index.idx.xml").write_text(content)
    with pytest.raises(ImageFileError, match=r"Index.idx.xml' .*Export the measurement again"):
        open_image(tmp_path)


def test_the_fingerprint_of_a_folder_covers_its_planes(tmp_path):
    folder = save(tmp_path / "lazy", [f"img_z{z}.png" for z in range(3)])
    first = open_image(folder).source.identity()
    (folder / "notes.txt").write_text("not a plane")
    assert open_image(folder).source.identity() == first
    iio.imwrite(folder / "img_z1.png", plane(60_000))
    assert open_image(folder).source.identity() != first
