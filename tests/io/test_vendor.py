"""What only some formats of microscope makers have: gaps, odd orders, lies about lengths."""

from __future__ import annotations

import re
import struct

import format_files as made
import numpy as np
import pytest

from napari_virtualstain.errors import ImageFileError, MissingInputError
from napari_virtualstain.io.lsm import lsm_facts
from napari_virtualstain.io.open import list_scenes, open_image

STACK = np.random.default_rng(0).integers(1, 4096, (2, 3, 2, 24, 32)).astype(np.uint16)


def pixels(image):
    return image.data.compute(scheduler="synchronous")


# Nikon


@pytest.fixture
def nikon(tmp_path):
    pytest.importorskip("nd2")
    return tmp_path / "a.nd2"


def test_frames_that_were_never_written_are_missing(nikon):
    places = np.stack([STACK, STACK], 1)  # T, P, Z: frame 8 is the last z of the second time
    image = open_image(made.write_nd2(nikon, places, lost=[8]), scene="left")
    assert image.missing == ((1, 0, 2), (1, 1, 2))
    assert not pixels(image)[1, :, 2].any()
    assert pixels(image)[0].all()
    assert open_image(nikon, scene="right").missing == ()


def test_a_file_whose_frames_are_all_lost_is_damaged(nikon):
    made.write_nd2(nikon, STACK[:1, None, :1], lost=[0])
    with pytest.raises(ImageFileError, match="none of its frames is listed"):
        open_image(nikon)


def test_rows_that_are_padded_are_read_without_their_padding(nikon):
    image = open_image(made.write_nd2(nikon, STACK[:1, None], padding=6))
    np.testing.assert_array_equal(pixels(image), STACK[:1].transpose(0, 2, 1, 3, 4))


def test_heights_are_counted_from_the_home_plane(nikon):
    image = open_image(made.write_nd2(nikon, STACK[:1, None], z_um=0.7))
    assert image.z_positions_um == pytest.approx((-0.7, 0, 0.7))
    assert image.pixel_size_um.z == 0.7
    (guess,) = image.guesses
    assert "home plane" in guess


def test_one_wavelength_for_all_channels_is_a_default(nikon):
    made.write_nd2(nikon, STACK[:1, None, :1], names=("Cy5", "DAPI"), masks=(1, 1))
    assert [c.emission_nm for c in open_image(nikon).channels] == [450.0, 510.0]
    raw, other = (struct.pack("<d", nm) for nm in (510.0, 450.0))
    nikon.write_bytes(nikon.read_bytes().replace(raw, other))
    assert [c.emission_nm for c in open_image(nikon).channels] == [None, None]


def test_positions_named_after_wells_have_a_place(nikon):
    places = np.stack([STACK, STACK], 1)
    made.write_nd2(nikon, places, positions=("B03_0001", "B03_0002"))
    assert [(s.well, s.site) for s in list_scenes(nikon)] == [("B03", "0001"), ("B03", "0002")]


def test_a_frame_that_is_not_where_the_map_says_is_refused(nikon):
    made.write_nd2(nikon, STACK[:1, None, :1])
    raw = bytearray(nikon.read_bytes())
    at = raw.rindex(b"ImageDataSeq|0!") + len(b"ImageDataSeq|0!")
    raw[at : at + 8] = struct.pack("<Q", 4097)
    nikon.write_bytes(raw)
    with pytest.raises(ImageFileError, match="frame 0 is not where the file says"):
        pixels(open_image(nikon))


# Zeiss


@pytest.fixture
def zeiss(tmp_path):
    pytest.importorskip("pylibCZIrw.czi")
    return tmp_path / "a.czi"


def test_a_plane_without_a_tile_is_missing(zeiss):
    from pylibCZIrw import czi

    with czi.create_czi(str(zeiss)) as out:
        for z, c in ((0, 0), (0, 1), (1, 0)):
            out.write(np.ascontiguousarray(STACK[0, 0, 0][..., None]), plane={"Z": z, "C": c})
        out.write_metadata("test")
    image = open_image(zeiss)
    assert (image.shape, image.missing) == ((1, 2, 2, 24, 32), ((0, 1, 1),))


def test_a_mosaic_with_holes_says_so(zeiss):
    from pylibCZIrw import czi

    with czi.create_czi(str(zeiss)) as out:
        for left in (0, 96):
            tile = np.ascontiguousarray(STACK[0, 0, 0][..., None])
            out.write(tile, plane={"C": 0}, location=(left, 0))
        out.write_metadata("test")
    image = open_image(zeiss)
    assert image.shape[3:] == (24, 128)
    assert image.guesses == (
        "Tiles cover 50% of the image; elsewhere pixels are 0, which is missing and not dark.",
    )


def test_a_tile_that_states_more_bytes_than_it_has_is_refused_before_the_library_reads_it(zeiss):
    made.write_czi(zeiss, {"a": STACK})
    raw = bytearray(zeiss.read_bytes())
    at = raw.index(b"ZISRAWSUBBLOCK") + 32
    raw[at + 14] = 16  # libCZI dies of this
    zeiss.write_bytes(raw)
    image = open_image(zeiss)
    with pytest.raises(ImageFileError, match=r"the tile at byte \d+ states \d+ bytes and has"):
        pixels(image)
    assert image.data[1:].sum().compute() == STACK[1].sum()


@pytest.mark.parametrize("part", [0.3, 0.7, 0.97])
@pytest.mark.parametrize("kind", ["nd2", "czi"])
def test_of_a_file_that_is_cut_the_sentence_is_for_people(request, kind, part):
    path = request.getfixturevalue({"nd2": "nikon", "czi": "zeiss"}[kind])
    if kind == "nd2":
        made.write_nd2(path, STACK[:1, None])
    else:
        made.write_czi(path, {"a": STACK})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ImageFileError) as caught:
        open_image(path)
    said = str(caught.value)
    assert said.startswith(f"{str(path)!r} is damaged or cut short: ")
    assert said.endswith(". Copy it again from its source.")
    assert not re.search(r"\.\.|\\x|b'", said.removeprefix(repr(str(path)))), said


# Leica


@pytest.fixture
def leica(tmp_path):
    pytest.importorskip("liffile")
    return tmp_path / "a.lif"


CAMERA = (
    '<ATLCameraSettingDefinition NumericalAperture="0.8"><WideFieldChannelConfigurator>'
    '<WideFieldChannelInfo ContrastingMethodName="TL-BF" UserDefName="Camera"/>'
    '<WideFieldChannelInfo ContrastingMethodName="FLUO" FluoCubeName="L5" EmissionWavelength="527"/>'
    "</WideFieldChannelConfigurator></ATLCameraSettingDefinition>"
)
CONFOCAL = (
    '<ATLConfocalSettingDefinition><Spectro><MultiBand Channel="2" DyeName="Leica/DAPI" '
    'TargetWaveLengthBegin="410" TargetWaveLengthEnd="490"/></Spectro><DetectorList>'
    '<Detector Name="PMT 2" Channel="2" IsActive="1"/>'
    '<Detector Name="PMT 3" Channel="3" IsActive="0"/>'
    '<Detector Name="PMT Trans" ScanType="TLD" Channel="100" IsActive="1"/></DetectorList>'
    '<AotfList><Aotf><LaserLineSetting LaserLine="405" IntensityDev="2"/></Aotf></AotfList>'
    "</ATLConfocalSettingDefinition>"
)


@pytest.mark.parametrize(
    ("settings", "names", "modalities", "waves", "na"),
    [
        (CAMERA, ("Camera", "L5"), ["transmitted", "fluorescence"], [None, 527.0], 0.8),
        (CONFOCAL, ("DAPI", "PMT Trans"), ["fluorescence", "transmitted"], [450.0, None], None),
        ("", ("channel 0", "channel 1"), ["unknown", "unknown"], [None, None], None),
    ],
    ids=["camera", "confocal", "nothing"],
)
def test_leica_s_channels_are_named_by_the_settings(leica, settings, names, modalities, waves, na):
    image = open_image(
        made.write_lif(leica, {"a": STACK}, settings=settings, luts=("Cyan", "Gray"))
    )
    assert image.channel_names == names
    assert [c.modality for c in image.channels] == modalities
    assert [c.emission_nm for c in image.channels] == waves
    assert image.na == na
    assert [c.colour for c in image.channels] == ["00FFFF", "FFFFFF"]


def test_an_image_in_folders_of_a_well_has_a_place(leica):
    made.write_lif(leica, {"Scan/B/2": STACK, "Scan/C/11": STACK, "rest": STACK})
    assert [s.well for s in list_scenes(leica)] == ["B02", "C11", ""]


def test_xml_that_declares_entities_is_refused(leica):
    text = '<!DOCTYPE a [<!ENTITY b "c">]><LMSDataContainerHeader Version="2"/>'.encode("utf-16-le")
    leica.write_bytes(struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2) + text)
    with pytest.raises(ImageFileError, match="document type"):
        open_image(leica)


def test_a_block_that_ends_early_is_refused_and_the_others_open(leica):
    made.write_lif(leica, {"a": STACK, "b": STACK})
    leica.write_bytes(leica.read_bytes()[:-100])
    assert open_image(leica, scene="a").data.sum().compute() == STACK.sum()
    with pytest.raises(ImageFileError, match="has room for"):
        open_image(leica, scene="b")


# ICS


def test_axes_in_any_order(tmp_path):
    swapped = STACK[0].transpose(1, 2, 3, 0)  # ch, y, x, z: z is the fastest
    image = open_image(made.write_ics(tmp_path / "a.ics", swapped, order=("z", "x", "y", "ch")))
    np.testing.assert_array_equal(pixels(image)[0], STACK[0].transpose(1, 0, 2, 3))


def test_an_ids_opens_as_its_ics(tmp_path):
    made.write_ics(tmp_path / "a.ics", STACK[0, 0], order=("x", "y", "ch"), version="1.0")
    image = open_image(tmp_path / "a.ids")
    np.testing.assert_array_equal(pixels(image)[0, :, 0], STACK[0, 0])
    (tmp_path / "a.ids").unlink()
    with pytest.raises(MissingInputError, match=re.escape("of which 'a.ids' is missing")):
        open_image(tmp_path / "a.ics")


def test_pixels_in_another_file_are_looked_for_beside_the_header(tmp_path):
    (tmp_path / "raw.bin").write_bytes(b"12" + STACK[0, 0].tobytes())
    source = [("source", "file", "/somewhere/else/raw.bin"), ("source", "offset", "2")]
    made.write_ics(tmp_path / "a.ics", STACK[0, 0], order=("x", "y", "ch"), extra=source)
    np.testing.assert_array_equal(pixels(open_image(tmp_path / "a.ics"))[0, :, 0], STACK[0, 0])
    (tmp_path / "raw.bin").unlink()
    with pytest.raises(MissingInputError, match="has its pixels in 'raw.bin', which is missing"):
        open_image(tmp_path / "a.ics")


def test_a_bomb_gives_no_more_than_the_header_states(tmp_path):
    zeros = np.zeros((8, 4096, 4096), np.uint8)
    path = made.write_ics(tmp_path / "a.ics", zeros, packed=True, order=("x", "y", "z"))
    small = path.read_bytes().replace(b"\t4096\t4096\t8\n", b"\t64\t64\t1\n")
    path.write_bytes(small)
    assert pixels(open_image(path)).shape == (1, 1, 1, 64, 64)


def test_fewer_packed_pixels_than_stated_are_refused(tmp_path):
    path = made.write_ics(tmp_path / "a.ics", STACK[0, 0], packed=True, order=("x", "y", "ch"))
    path.write_bytes(path.read_bytes().replace(b"\t32\t24\t2\n", b"\t32\t24\t3\n"))
    with pytest.raises(ImageFileError, match="its pixels end 1536 bytes early"):
        pixels(open_image(path))


# LSM


def test_bands_of_an_lsm_give_the_emission():
    facts = lsm_facts(
        {
            "ChannelColors": {"ColorNames": ["Ch1", "ChD"], "Colors": [[1, 2, 3, 0], [4, 5, 6, 0]]},
            "ChannelWavelength": [(410e-9, 490e-9), (400e-9, 700e-9)],
            "VoxelSizeX": 2e-7, "VoxelSizeY": 2e-7, "VoxelSizeZ": 1e-6, "DimensionZ": 1,
        },
        2,
    )  # fmt: skip
    assert [(c.modality, c.emission_nm, c.colour) for c in facts.channels] == [
        ("fluorescence", 450, "010203"),
        ("transmitted", None, "040506"),
    ]
    assert (facts.pixel_size_um.x, facts.pixel_size_um.z) == (pytest.approx(0.2), None)
