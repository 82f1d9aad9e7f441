"""Plates and data sets as they are named and indexed by microscopes and people."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import tifffile

from napari_virtualstain.errors import (
    AxesError,
    ImageFileError,
    SettingsError,
    VirtualStainError,
)
from napari_virtualstain.io.layouts.pattern import parse_pattern, preview_pattern
from napari_virtualstain.io.open import find_opener, list_scenes, open_image
from napari_virtualstain.io.plate import parse_well, plates_of, well_name

SHAPE = (6, 8)
GUID = "91E8D91B-9023-490C-BDE0-B5475EA94DB5"


def htd(*, wells="B02,B03", sites=1, waves=("DAPI",), times=1, depths=1):
    """An HTD of a 96-well plate."""
    lines = ['"HTSInfoFile", Version 1.0', f'"TimePoints", {times}']
    lines += [f'"ZSeries", {"TRUE" if depths > 1 else "FALSE"}', f'"ZSteps", {depths}']
    lines += ['"XWells", 12', '"YWells", 8']
    for row in range(8):
        chosen = [str(well_name(row, c) in wells.split(",")).upper() for c in range(12)]
        lines.append(f'"WellsSelection{row + 1}", {", ".join(chosen)}')
    lines += [f'"Sites", {"TRUE" if sites > 1 else "FALSE"}', f'"XSites", {sites}', '"YSites", 1']
    lines.append(f'"SiteSelection1", {", ".join(["TRUE"] * sites)}')
    lines.append(f'"NWavelengths", {len(waves)}')
    lines += [f'"WaveName{n + 1}", "{wave}"' for n, wave in enumerate(waves)]
    return "\r\n".join([*lines, '"EndFile"'])


def mlf(rows):
    """A MeasurementData.mlf: (well row, column, field, t, z, channel, name or None)."""
    records = "".join(
        f'<bts:MeasurementRecord bts:Type="{"IMG" if name else "ERR"}" bts:Row="{r}" '
        f'bts:Column="{c}" bts:TimePoint="{t}" bts:FieldIndex="{f}" bts:ZIndex="{z}" '
        f'bts:Action="3D" bts:X="{f}00.5" bts:Y="-20" bts:Z="{(z - 1) * 3}.0" bts:Ch="{ch}">'
        f"{name or 'no focus'}</bts:MeasurementRecord>"
        for r, c, f, t, z, ch, name in rows
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><bts:MeasurementData '
        f'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0">{records}</bts:MeasurementData>'
    )


MRF = (
    '<bts:MeasurementDetail xmlns:bts="x" bts:MeasurementSettingFileName="m.mes" '
    'bts:ColumnCount="12" bts:RowCount="8">'
    '<bts:MeasurementChannel bts:Ch="1" bts:HorizontalPixelDimension="0.325" '
    'bts:VerticalPixelDimension="0.325"/></bts:MeasurementDetail>'
)
MES = (
    '<bts:MeasurementSetting xmlns:bts="x"><bts:LightSource bts:Name="405nm" bts:WaveLength="405"/>'
    '<bts:Channel bts:Ch="1" bts:Acquisition="BP445/45" bts:Kind="ConfocalFluorescence" '
    'bts:Color="#FF002FFF"><bts:LightSourceName>405nm</bts:LightSourceName></bts:Channel>'
    '<bts:Channel bts:Ch="2" bts:Acquisition="BP525/50" bts:Method="Bright Field" '
    'bts:Kind="BrightField"/></bts:MeasurementSetting>'
)
YOKOGAWA = "p_D08_T0001F001L01A01Z{z:02d}C{c:02d}.tif"


@dataclass
class Case:
    """A folder of tiny files, and what is expected of it."""

    files: list[str]
    kind: str
    scenes: dict[str, tuple[str, tuple[int, int, int]]]  # name: well, (T, C, Z)
    channels: tuple[str, ...]
    texts: dict[str, str] = field(default_factory=dict)
    open: str = ""
    missing: tuple[tuple[int, int, int], ...] = ()
    axes: str = "yx"
    facts: dict[str, str] = field(default_factory=dict)


CASES = {
    "phenix-without-index": Case(
        [f"r02c03f{f:02d}p01-ch{c}sk1fk1fl1.tiff" for f in (1, 2) for c in (1, 2)],
        "phenix-names",
        {"B03/f01": ("B03", (1, 2, 1)), "B03/f02": ("B03", (1, 2, 1))},
        ("ch1", "ch2"),
        axes="cyx",
    ),
    "phenix-in-images-folder": Case(
        [f"Images/r01c01f01p{p:02d}-ch1sk{t}fk1fl1.tiff" for p in (1, 2) for t in (1, 2)],
        "phenix-names", {"": ("A01", (2, 1, 2))}, ("ch1",), axes="tzyx",
    ),
    "incucyte": Case(
        [f"VID123_A{w}_1_{d:02d}d{h:02d}h00m.tif" for w in (1, 2) for d, h in ((0, 0), (0, 6), (1, 0))],
        "incucyte",
        {"A01/1": ("A01", (5, 1, 1)), "A02/1": ("A02", (5, 1, 1))},
        ("channel 0",), missing=((2, 0, 0), (3, 0, 0)), axes="tyx",
    ),
    "light-my-cells": Case(
        [*(f"image_7_BF_z{z}.ome.tiff" for z in range(3)), "image_7_Nucleus.ome.tiff",
         "image_7_Actin.ome.tiff", "image_8_DIC_z0.ome.tiff", "image_8_Tubulin.ome.tiff"],
        "light-my-cells",
        {"image_7/BF": ("", (1, 1, 3)), "image_7/Actin+Nucleus": ("", (1, 2, 1)),
         "image_8": ("", (1, 2, 1))},
        ("BF",), axes="zyx",
    ),
    "imagexpress": Case(
        [f"TimePoint_{t}/p_{w}_s{s}_w{n}{GUID}.TIF"
         for t in (1, 2) for w in ("B02", "B03") for s in (1, 2) for n in (1, 2)]
        + [f"TimePoint_1/p_B02_s1_w1_thumb{GUID}.TIF"],
        "imagexpress",
        {f"{w}/s{s}": (w, (2, 2, 1)) for w in ("B02", "B03") for s in (1, 2)},
        ("Transmitted", "DAPI"),
        {"p.HTD": htd(sites=2, waves=("Transmitted", "DAPI"), times=2)},
        axes="tcyx",
    ),
    "imagexpress-z": Case(
        [*(f"TimePoint_1/ZStep_{z}/p_B02_w1.TIF" for z in (1, 2, 3)), "TimePoint_1/p_B02_w1.TIF"],
        "imagexpress",
        {"B02/s1": ("B02", (1, 1, 4)), "B02/s1/projection": ("B02", (1, 1, 1))},
        ("DAPI",), {"p.HTD": htd(wells="B02", depths=4)}, missing=((0, 0, 3),), axes="zyx",
    ),
    "imagexpress-lost-wave": Case(
        ["TimePoint_1/p_B02_w1.TIF", "TimePoint_1/p_B02_w2.TIF", "TimePoint_1/p_B03_w1.TIF"],
        "imagexpress",
        {"B02/s1": ("B02", (1, 2, 1)), "B03/s1": ("B03", (1, 2, 1))},
        ("DAPI", "GFP"), {"p.HTD": htd(waves=("DAPI", "GFP"))}, axes="cyx",
    ),
    "imagexpress-names": Case(
        [f"Week1_22123_{w}_s1_w{n}{GUID}.tif" for w in ("B02", "B03") for n in (1, 2, 3)],
        "imagexpress-names",
        {"B02/s1": ("B02", (1, 3, 1)), "B03/s1": ("B03", (1, 3, 1))},
        ("w1", "w2", "w3"), axes="cyx",
    ),
    "cv8000": Case(
        [YOKOGAWA.format(z=z, c=c) for z in (1, 2, 3) for c in (1, 2)],
        "cv8000", {"D08/f01": ("D08", (1, 2, 3))}, ("BP445/45", "BP525/50"),
        {"MeasurementData.mlf": mlf(
            [(4, 8, 1, 1, z, c, YOKOGAWA.format(z=z, c=c)) for z in (1, 2, 3) for c in (1, 2)]
            + [(5, 3, 1, 1, 1, 1, "not_copied.tif")]),
         "MeasurementDetail.mrf": MRF, "m.mes": MES},
        axes="czyx",
    ),
    "cv8000-failed-plane": Case(
        [YOKOGAWA.format(z=z, c=1) for z in (1, 2, 3)],
        "cv8000", {"D08/f01": ("D08", (1, 1, 4))}, ("C01",),
        {"MeasurementData.mlf": mlf(
            [(4, 8, 1, 1, z, 1, YOKOGAWA.format(z=z, c=1) if z < 4 else None) for z in (1, 2, 3, 4)])},
        missing=((0, 0, 3),), axes="zyx",
    ),
    "jump-load-data": Case(
        [f"Images/{f}-{c}.tiff" for f in ("a", "b") for c in ("dna", "er")],
        "loaddata",
        {"A01/1": ("A01", (1, 2, 1)), "A02/1": ("A02", (1, 2, 1))},
        ("DNA", "ER"),
        {"load_data.csv": (
            "Metadata_Plate,Metadata_Well,Metadata_Site,FileName_OrigDNA,PathName_OrigDNA,"
            "FileName_OrigER,PathName_OrigER,FileName_IllumDNA,PathName_IllumDNA\n"
            "BR1,A01,1,a-dna.tiff,/home/ubuntu/bucket/Images/,a-er.tiff,/home/ubuntu/bucket/Images/,i.npy,x\n"
            "BR1,A02,1,b-dna.tiff,/home/ubuntu/bucket/Images/,b-er.tiff,/home/ubuntu/bucket/Images/,i.npy,x\n")},
        axes="cyx",
    ),
    "bbbc021": Case(
        [f"Week1_22123/Week1_22123_B02_s{s}_w{n}{GUID}.tif" for s in (1, 2) for n in (1, 2, 4)],
        "loaddata",
        {"B02/s1": ("B02", (1, 3, 1)), "B02/s2": ("B02", (1, 3, 1))},
        ("DAPI", "Tubulin", "Actin"),
        {"BBBC021_v1_image.csv": "TableNumber,ImageNumber," + ",".join(
            f"Image_{what}_{c}" for c in ("DAPI", "Tubulin", "Actin") for what in ("FileName", "PathName"))
            + ",Image_Metadata_Plate_DAPI,Image_Metadata_Well_DAPI,Replicate,"
            "Image_Metadata_Compound,Image_Metadata_Concentration\n" + "".join(
                f"4,{s}," + ",".join(f'"Week1_22123_B02_s{s}_w{n}{GUID}.tif",Week1/Week1_22123' for n in (1, 2, 4))
                + ",Week1_22123,B02,1,taxol,0.30\n" for s in (1, 2)),
         "BBBC021_v1_moa.csv": "compound,concentration,moa\ntaxol,0.3,Microtubule stabilizers\n",
         "BBBC021_v1_compound.csv": "compound,smiles\ntaxol,CC1\n"},
        axes="cyx",
        facts={"treatment": "taxol", "concentration": "0.30", "moa": "Microtubule stabilizers",
               "smiles": "CC1"},
    ),
    "manifest": Case(
        [f"img/{n}.tif" for n in range(5)],
        "manifest",
        {"P1/A01/1": ("A01", (1, 2, 2)), "P2/B02/1": ("B02", (1, 1, 1))},
        ("BF", "DNA"),
        {"manifest.csv": "Plate;Well;Field;Z;Stain;File Path;Treatment;Dose;Cell Line\n"
            "P1;a1;1;0;BF;img/0.tif;DMSO;0;U2OS\nP1;A01;1;1;BF;img/1.tif;DMSO;0;U2OS\n"
            "P1;A01;1;0;DNA;img/2.tif;DMSO;0;U2OS\nP1;A01;1;1;DNA;img/lost.tif;DMSO;0;U2OS\n"
            "P2;B02;1;0;BF;img/4.tif;taxol;3;U2OS\n"},
        missing=((0, 1, 1),), axes="czyx",
        facts={"treatment": "DMSO", "concentration": "0", "cell_line": "U2OS"},
    ),
}  # fmt: skip


def write(folder, case):
    for number, name in enumerate(case.files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.full(SHAPE, number + 1, np.uint16))
    for name, text in case.texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / case.open


@pytest.mark.parametrize("name", CASES)
def test_a_layout_is_recognised_and_put_together(tmp_path, name):
    case = CASES[name]
    path = write(tmp_path, case)
    scenes = list_scenes(path)
    assert {scene.name: (scene.well, scene.shape[:3]) for scene in scenes} == case.scenes
    image = scenes[0].open()
    assert image.source.kind == scenes[0].kind == case.kind
    assert image.channel_names == case.channels
    assert image.missing == case.missing
    assert image.axes == case.axes
    firsts = image.data[..., 0, 0].compute()
    gaps = np.zeros(firsts.shape, bool)
    for place in image.missing:
        gaps[place] = True
    np.testing.assert_array_equal(firsts == 0, gaps)
    assert len(np.unique(firsts[~gaps])) == (~gaps).sum()  # no file twice
    well = next((w for p in plates_of(scenes) for w in p.wells), None)
    if case.facts:
        assert dict(well.facts) == case.facts
    assert len([w for p in plates_of(scenes) for w in p.wells]) == len(
        {(s.place.plate, s.well) for s in scenes if s.well}
    )


@pytest.mark.parametrize("name", CASES)
def test_a_field_of_a_plate_opens_by_its_name_and_pickles(tmp_path, name):
    import pickle

    case = CASES[name]
    path = write(tmp_path, case)
    for scene in case.scenes:
        image = open_image(path, scene=scene or None)
        again = pickle.loads(pickle.dumps(image.data))
        np.testing.assert_array_equal(again.compute(), image.data.compute())


def test_a_lost_wave_is_missing_where_other_wells_have_it(tmp_path):
    write(tmp_path, CASES["imagexpress-lost-wave"])
    image = open_image(tmp_path, scene="B03/s1")
    assert image.missing == ((0, 1, 0),)
    assert any("channel 'GFP': no file" in guess for guess in image.guesses)


def test_wells_may_have_other_channels_each(tmp_path):
    for name in ("A01_BF.tif", "A01_DNA.tif", "A02_BF.tif"):
        tifffile.imwrite(tmp_path / name, np.ones(SHAPE, np.uint16))
    scenes = list_scenes(tmp_path, pattern="{well}_{channel}.tif")
    assert [scene.channel_names for scene in scenes] == [("BF", "DNA"), ("BF",)]
    assert all(scene.open().missing == () for scene in scenes)


def test_yokogawa_positions_sizes_and_wavelengths_are_read(tmp_path):
    write(tmp_path, CASES["cv8000"])
    (scene,) = list_scenes(tmp_path)
    image = scene.open()
    size = image.pixel_size_um
    assert (size.z, size.y, size.x) == (3.0, 0.325, 0.325)
    assert scene.place.position_um == (20.0, 100.5)
    first, second = image.channels
    assert (first.modality, first.excitation_nm, first.emission_nm) == ("fluorescence", 405, 445)
    assert (first.colour, second.modality) == ("002FFF", "transmitted")
    assert plates_of([scene])[0].rows == 8
    assert open_image(tmp_path / "MeasurementData.mlf").shape == image.shape


@pytest.mark.parametrize("number", ["1e30", "-1", "NaN", "x", "4294967296", ""])
def test_numbers_that_no_measurement_has_are_left_out(tmp_path, number):
    write(tmp_path, CASES["cv8000"])
    file = tmp_path / "MeasurementDetail.mrf"
    text = file.read_text(encoding="utf-8")
    for known in ("12", "8", "0.325"):
        text = text.replace(f'="{known}"', f'="{number}"')
    file.write_text(text, encoding="utf-8")
    (scene,) = list_scenes(tmp_path)
    assert scene.place.plate_shape is None
    size = scene.open().pixel_size_um
    assert (size.y, size.x) in ((None, None), (4294967296.0, 4294967296.0), (1e30, 1e30))


def test_incucyte_times_are_seconds(tmp_path):
    write(tmp_path, CASES["incucyte"])
    assert open_image(tmp_path, scene="A01/1").time_interval_s == 6 * 3600


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (htd(wells="B02"), "have wells B03 that it does not select"),
        (htd(waves=("DAPI",)), "have 2 wavelengths where it plans 1"),
        (htd(wells="B02,B03,C04", waves=("DAPI", "GFP")), "1 of the 3 wells that the HTD selects"),
        (htd(waves=("DAPI", "GFP", "RFP")), "plans 3 wavelengths (DAPI, GFP, RFP), the files"),
    ],
)
def test_an_htd_that_contradicts_the_files_is_said_and_the_files_believed(tmp_path, plan, said):
    case = CASES["imagexpress-lost-wave"]
    write(tmp_path, Case(case.files, "", {}, (), {"p.HTD": plan}))
    image = open_image(tmp_path, scene="B02/s1")
    assert image.shape[1] == 2
    assert any(said in guess for guess in image.guesses)


@pytest.mark.parametrize("content", ["", "text", '"TimePoints", many', "\0\1\2"])
def test_a_damaged_htd_is_one_sentence(tmp_path, content):
    write(tmp_path, Case(["TimePoint_1/p_B02_w1.TIF"], "", {}, (), {"p.HTD": content}))
    with pytest.raises(ImageFileError, match="is damaged or not an HTD file"):
        open_image(tmp_path)


def test_a_plate_without_its_htd_is_read_by_its_folders(tmp_path):
    write(tmp_path, Case(["TimePoint_1/p_B02_w1.TIF", "TimePoint_2/p_B02_w1.TIF"], "", {}, ()))
    assert open_image(tmp_path).shape[:3] == (2, 1, 1)


ENTITY = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("name", ["Index.idx.xml", "MeasurementData.mlf", "MeasurementDetail.mrf"])
def test_xml_with_entities_is_refused(tmp_path, name):
    write(tmp_path, CASES["cv8000"])
    if name.startswith("Index"):
        (tmp_path / "MeasurementData.mlf").unlink()
    (tmp_path / name).write_text(f'<?xml version="1.0"?>{ENTITY}<x>&b;<URL>&a;</URL></x>')
    with pytest.raises(ImageFileError, match="declares a document type or entities"):
        open_image(tmp_path)


def test_ome_xml_with_entities_is_refused(tmp_path):
    xml = f'<?xml version="1.0"?>{ENTITY}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"/></OME>'
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.zeros(SHAPE, np.uint8), description=xml, metadata=None
    )
    with pytest.raises(ImageFileError, match="The OME-XML of .* is refused"):
        open_image(tmp_path / "a.ome.tif")


# --- tables ---------------------------------------------------------------------------------------


def table(folder, text, name="table.csv"):
    (folder / "img").mkdir(exist_ok=True)
    for n in range(4):
        tifffile.imwrite(folder / f"img/{n}.tif", np.full(SHAPE, n + 1, np.uint16))
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("well,site\nA01,1\n", ImageFileError, "has no column with the paths of the images; it has well, site"),
        ("path\n", ImageFileError, "has no rows"),
        ("", ImageFileError, "has no rows"),
        ("path,channel\nno/1.tif,BF\nno/2.tif,BF\n", ImageFileError, "names 2 files, of which none is there, for example 'no/1.tif'"),
        ("path,channel\n../secret.tif,BF\n", ImageFileError, "climbs out of"),
        ("path,channel\nimg/../../secret.tif,BF\n", ImageFileError, "climbs out of"),
        ("path,channel,z\nimg/0.tif,BF,top\n", ImageFileError, "has 'top' in the column 'z', which is no number"),
        ("path,channel\nimg/0.tif,BF\nimg/1.tif,BF\n", ImageFileError, "claim the same place"),
    ],
    ids=["no-path", "no-rows", "empty", "absent", "climbs", "climbs-inside", "z-text", "twice"],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path, text, error, said):
    (tmp_path / "secret.tif").write_bytes(b"x")
    folder = tmp_path / "here"
    folder.mkdir()
    with pytest.raises(error, match=said):
        open_image(table(folder, text), scene=0)


def test_an_absolute_path_in_a_table_is_taken_if_it_exists(tmp_path):
    there = tmp_path / "elsewhere"
    (tmp_path / "here").mkdir()
    there.mkdir()
    tifffile.imwrite(there / "a.tif", np.full(SHAPE, 9, np.uint16))
    path = tmp_path / "here" / "t.csv"
    path.write_text(f"path,channel\n{there / 'a.tif'},BF\n")
    assert open_image(path).data[0, 0, 0, 0, 0].compute() == 9


def test_files_that_a_table_names_and_that_are_absent_are_missing(tmp_path):
    path = table(
        tmp_path, "path,well,channel\nimg/0.tif,A1,BF\nimg/no.tif,A1,DNA\nimg/x.tif,B1,BF\n"
    )
    (scene,) = list_scenes(path)
    image = scene.open()
    assert (scene.well, image.missing) == ("A01", ((0, 1, 0),))
    assert any("2 of the 3 files that the table names are not there" in g for g in image.guesses)


def test_a_row_without_channel_z_or_time_is_an_image_of_its_own(tmp_path):
    path = table(tmp_path, "file,well,site,treatment\nstack.tif,A1,1,DMSO\nimg/0.tif,A2,1,taxol\n")
    tifffile.imwrite(
        tmp_path / "stack.tif", np.zeros((3, *SHAPE), np.uint16), photometric="minisblack"
    )
    first, second = list_scenes(path, axes="zyx")
    assert (first.name, second.name) == ("A01/1", "A02/1")
    assert first.shape == (1, 1, 3, *SHAPE)
    assert first.open().source.path == str(path)
    assert plates_of([first, second])[0].well("a2").fact("treatment") == "taxol"
    with pytest.raises(AxesError, match="does not say what the first is"):
        open_image(path, scene="A01/1")


def test_allen_channels_are_called_by_the_tagged_structure(tmp_path):
    (tmp_path / "crop_raw").mkdir()
    for cell in ("11_raw", "12_raw"):
        tifffile.imwrite(
            tmp_path / f"crop_raw/{cell}.ome.tif", np.zeros((3, 2, *SHAPE), np.uint16),
            metadata={"axes": "CZYX", "Channel": {"Name": ["dna", "membrane", "structure"]}},
        )  # fmt: skip
    (tmp_path / "metadata.csv").write_text(
        "CellId,FOVId,structure_name,crop_raw,name_dict\n"
        "11,1,TOMM20,crop_raw/11_raw.ome.tif,\"{'crop_raw': ['dna', 'membrane', 'structure']}\"\n"
        "12,2,LMNB1,crop_raw/12_raw.ome.tif,\n13,3,LMNB1,crop_raw/13_raw.ome.tif,\n"
    )
    scenes = list_scenes(tmp_path)
    assert [s.name for s in scenes] == ["TOMM20/11", "LMNB1/12"]
    assert [s.channel_names for s in scenes] == [
        ("dna", "membrane", "TOMM20"),
        ("dna", "membrane", "LMNB1"),
    ]
    assert scenes[0].shape == (1, 3, 2, *SHAPE)


# --- patterns -------------------------------------------------------------------------------------


def test_a_pattern_puts_a_folder_together(tmp_path):
    for well in ("A1", "B12"):
        for z in range(2):
            for channel in ("BF", "DNA"):
                path = tmp_path / f"plate7/{well}_f1_z{z}_{channel}.tif"
                path.parent.mkdir(exist_ok=True)
                tifffile.imwrite(path, np.ones(SHAPE, np.uint16))
    (tmp_path / "plate7/notes.tif").write_bytes(b"")
    pattern = "{plate}/{well}_f{site}_z{z}_{channel}.tif"
    scenes = list_scenes(tmp_path, pattern=pattern)
    assert [s.name for s in scenes] == ["A01/1", "B12/1"]
    image = open_image(tmp_path, pattern=pattern, scene="B12/1")
    assert (image.shape[:3], image.channel_names) == ((1, 2, 2), ("BF", "DNA"))
    assert image.channels[0].modality == "transmitted"
    assert any("1 of 9 files do not fit the pattern" in guess for guess in image.guesses)
    preview = preview_pattern(tmp_path, pattern)
    assert (preview.files, preview.matching) == (9, 8)
    assert dict(preview.values) == {"plate": 1, "well": 2, "site": 1, "z": 2, "channel": 2}
    assert preview.examples[0][1]["well"] == "A1"
    ((name, why),) = preview.others
    assert name == "plate7/notes.tif"
    assert why == "'plate7/' fits, then {well} is expected where 'notes.tif' stands"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("image.tif", "has no field in braces"),
        ("{well_{z}.tif", "or a brace without its other"),
        ("{wel}.tif", "unknown field {wel}. Did you mean 'well'"),
        ("{site}{channel}.tif", "has nothing between {site} and {channel}"),
        ("../{well}.tif", "leaves the folder"),
        ("_".join(["{*}"] * 9), "at most 6 are possible"),
        ("{well}_{z}.png", "None of the 1 files in .* fits the pattern"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_one_sentence(tmp_path, pattern, said):
    tifffile.imwrite(tmp_path / "A1_z0.tif", np.ones(SHAPE, np.uint16))
    with pytest.raises(SettingsError, match=said):
        open_image(tmp_path, pattern=pattern)


def test_a_field_that_occurs_twice_must_be_the_same():
    pattern = parse_pattern("{well}/{well}_{channel}.tif")
    assert pattern.match("A1/A1_BF.tif") == {"well": "A1", "channel": "BF"}
    assert pattern.match("A1/A2_BF.tif") is None


def test_a_pattern_is_for_a_folder(tmp_path):
    tifffile.imwrite(tmp_path / "A1.tif", np.ones(SHAPE, np.uint16))
    with pytest.raises(ImageFileError, match="is a file; a pattern tells the files of a folder"):
        open_image(tmp_path / "A1.tif", pattern="{well}.tif")


@pytest.mark.parametrize("number", [0, 25, 26, 31, 51])
def test_well_names_go_there_and_back(number):
    assert parse_well(well_name(number, 47)) == (number, 47)


def test_a_folder_with_any_table_is_not_taken_for_a_manifest(tmp_path):
    (tmp_path / "metadata.csv").write_text("well,dose\nA1,3\n")
    (tmp_path / "manifest.csv").write_text("well,dose\nA1,3\n")
    tifffile.imwrite(tmp_path / "img_z0.tif", np.ones(SHAPE, np.uint16))
    assert find_opener(tmp_path).name == "planes"


# --- damage ---------------------------------------------------------------------------------------

MUTATIONS = 40
"""Of each index or table."""
INDICES = [
    (name, file) for name, case in CASES.items() for file in case.texts if not file.startswith("m.")
] + [("cv8000", "m.mes")]


def mutated(whole, rng):
    """Cut, flip, zero or double a part of a file."""
    start, length = int(rng.integers(len(whole))), int(rng.integers(1, 40))
    end = min(len(whole), start + length)
    return [
        whole[:start],
        whole[:start] + bytes(b ^ int(rng.integers(1, 256)) for b in whole[start:end]) + whole[end:],
        whole[:start] + bytes(end - start) + whole[end:],
        whole[:end] + whole[start:],
        whole[:start] + str(rng.integers(-9, 10**9)).encode() + whole[end:],
    ][int(rng.integers(5))]  # fmt: skip


@pytest.mark.parametrize(("name", "file"), INDICES)
def test_a_damaged_index_or_table_opens_or_is_one_sentence(tmp_path, name, file):
    case = CASES[name]
    path = write(tmp_path, case)
    whole = (tmp_path / file).read_bytes()
    rng = np.random.default_rng(len(name))
    said = []
    for _ in range(MUTATIONS):
        (tmp_path / file).write_bytes(mutated(whole, rng))
        try:
            for scene in list_scenes(path):
                scene.open().read((slice(0, 1),) * 5)
        except VirtualStainError as error:
            said.append(str(error))
    assert [sentence for sentence in said if not sentence.endswith(".")] == []


@pytest.mark.parametrize("nested", [True, False], ids=["0.5", "0.4"])
def test_the_fields_of_an_ome_zarr_plate_know_their_wells(nested):
    from napari_virtualstain.io.ngff_metadata import places_of

    block = {
        "plate": {
            "name": "P7",
            "rows": [{"name": "A"}, {"name": "B"}],
            "columns": [{"name": str(n + 1)} for n in range(3)],
            "wells": [{"path": "A/1"}, {"path": "B/3"}],
        }
    }
    find = places_of({"ome": block} if nested else block)
    place = find("B/3/0")
    assert (place.plate, place.well, place.site, place.plate_shape) == ("P7", "B03", "0", (2, 3))
    assert find("C/1/0") is None
    assert places_of({"plate": {"rows": 3}})("A/1/0") is None
