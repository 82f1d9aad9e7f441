"""Exporting: the ending says what is written, and what cannot be is one sentence."""

import csv
import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_virtualstain.errors import OutputExistsError, SettingsError, VirtualStainError
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.export import ExportSettings, run
from napari_virtualstain.simulate import FieldSettings, simulate_field


@pytest.fixture
def stains(field_folder):
    return str(field_folder / "stains.ome.zarr")


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tiff", "a.ome.zarr"])
def test_an_image_is_the_same_in_another_form(stains, tmp_path, name):
    told = []
    result = run(
        ExportSettings(input=stains, out=str(tmp_path / name), channels=("ER", "DNA")),
        on_progress=lambda *what: told.append(what),
    )
    before, after = open_image(stains, channels=["ER", "DNA"]), open_image(result.out)
    assert after.channel_names == ("ER", "DNA")
    assert after.pixel_size_um.yx == before.pixel_size_um.yx
    np.testing.assert_array_equal(after.data.compute(), before.data.compute())
    assert told[-1][0] == told[-1][1] > 0
    assert result.to_json()["kind"] == ("ome-zarr" if name.endswith("zarr") else "ome-tiff")


def test_a_tiff_of_an_image_that_lies_somewhere_says_what_is_lost(stains, tmp_path):
    moved = tmp_path / "moved.ome.zarr"
    from napari_virtualstain.io.save import ImagePicture, write_ome_zarr

    write_ome_zarr(str(moved), ImagePicture(open_image(stains).crop(slice(8, 40), slice(0, 40))))
    result = run(ExportSettings(input=str(moved), out=str(tmp_path / "a.ome.tif")))
    assert "OME-TIFF has no place for where the image lies; it was not kept." in result.notes
    assert tifffile.imread(result.out).shape[-2:] == (32, 40)


def test_a_png_has_the_limits_that_were_asked_for(stains, tmp_path):
    result = run(
        ExportSettings(
            input=stains, out=str(tmp_path / "a.png"), channels=("DNA",), limits=("dna=100:900",)
        )
    )
    assert result.shown.limits == {"DNA": (100.0, 900.0)}
    assert result.shown.bar_um == 20.0  # of 153.6 µm
    with Image.open(result.out) as image:
        assert image.size == (256, 256)


def test_a_csv_is_a_table_of_all_images_that_are_named_so(stains, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for well in ("A01", "A02", "B01"):
        for channel in ("DNA", "ER"):
            plane = np.full((8, 8), ord(well[0]) + int(well[1:]), "u2")
            tifffile.imwrite(folder / f"{well}_{channel}.tif", plane)
    told = []
    result = run(
        ExportSettings(
            input=str(folder),
            out=str(tmp_path / "out" / "load_data.csv"),
            pattern="{well}_{channel}.tif",
            scene="A*",
        ),
        on_progress=lambda *what: told.append(what),
    )
    assert result.kind == "loaddata"
    assert told[-1] == (2, 2, "fields written")
    assert sorted(p.name for p in result.out.parent.iterdir()) == [
        "in_A01_DNA.tif", "in_A01_ER.tif", "in_A02_DNA.tif", "in_A02_ER.tif", "load_data.csv",
    ]  # fmt: skip
    with pytest.raises(SettingsError, match="Choose others with --scene"):
        run(ExportSettings(input=stains, out=str(tmp_path / "b.csv"), scene="Z*"))


BAD = {
    "another ending": (
        {"out": "a.jpg"},
        "The ending '.jpg' of the output is none of .ome.zarr, .ome.tif, .png and .csv. Name it for example 'a.ome.tif' with --out.",
    ),
    "a plane that is not there": (
        {"out": "a.png", "z": 3},
        "There is no z plane 3: the image has 1, from 0. Choose another with --z.",
    ),
    "a time point that is not there": (
        {"out": "a.png", "t": 1},
        "There is no time point 1: the image has 1, from 0. Choose another with --t.",
    ),
    "limits without a channel": (
        {"out": "a.png", "limits": ("100:200",)},
        "The limits '100:200' are not understood. Give a channel and two grey values, the lower one first, for example --limits DNA=100:4000.",
    ),
    "limits the wrong way round": (
        {"out": "a.png", "limits": ("DNA=200:100",)},
        "The limits 'DNA=200:100' are not understood. Give a channel and two grey values, the lower one first, for example --limits DNA=100:4000.",
    ),
    "limits of a channel that is not there": (
        {"out": "a.png", "limits": ("DMA=100:200",)},
        "No channel named 'DMA'. Did you mean 'DNA'? The image has: DNA, ER, RNA, AGP, Mito. Choose one of these.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_one_sentence_and_writes_nothing(stains, tmp_path, case):
    values, sentence = BAD[case]
    values = {**values, "out": str(tmp_path / values["out"])}
    with pytest.raises(SettingsError, match=f"^{re.escape(sentence)}$"):
        run(ExportSettings(input=stains, **values))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.ome.tif", "a.png", "a.ome.zarr"])
def test_what_is_there_stays_until_it_may_be_replaced(stains, tmp_path, name):
    settings = {"input": stains, "out": str(tmp_path / name)}
    run(ExportSettings(**settings))
    with pytest.raises(OutputExistsError):
        run(ExportSettings(**settings))
    run(ExportSettings(**settings, overwrite=True))


@pytest.mark.parametrize("name", ["", "inside.png", "inside.ome.tif"])
def test_the_input_is_never_written_into(stains, name):
    out = f"{stains}/{name}" if name else stains
    with pytest.raises(VirtualStainError):
        run(ExportSettings(input=stains, out=out, overwrite=True))
    open_image(stains).data.compute()


def test_only_some_planes_are_kept_or_those_in_focus(tmp_path):
    offsets = tuple(float(z) for z in range(-8, 9, 2))
    field = simulate_field(FieldSettings(shape_px=(128, 128), focus_offsets_um=offsets), seed=4)
    stack = np.squeeze(field.brightfield)
    tifffile.imwrite(
        tmp_path / "s.ome.tif", stack, metadata={"axes": "ZYX", "Channel": {"Name": ["BF"]}}
    )
    for planes, kept in (((2, 5), [2, 5]), ("focus", None)):
        out = tmp_path / f"{planes}.ome.tif"
        result = run(ExportSettings(input=str(tmp_path / "s.ome.tif"), out=str(out), planes=planes))
        if kept is None:
            (words,) = (note for note in result.notes if "are in focus" in note)
            first, last = map(int, re.match(r"z planes (\d) to (\d) are in focus", words).groups())
            assert first <= 4 <= last
            kept = list(range(first, last + 1))
        np.testing.assert_array_equal(open_image(out).data[0, 0].compute(), stack[kept])


# --- what is known of trust -------------------------------------------------------------------------


def report(folder, path, scene=""):
    folder.mkdir()
    row = {
        "path": path, "scene": scene, "time": 0, "state": "amber", "reason": "Blur: all of it",
        "verdict": "rejected",
    }  # fmt: skip
    result = {"fields": [row], "amounts": {"DNA": {"amount": "amount"}}}
    (folder / "qc.json").write_text(json.dumps({"result": result}))
    return str(folder)


SAID = "QC amber (Blur: all of it); a person said: rejected; intensity is an amount of: DNA"


def test_pictures_carry_what_qc_said_in_their_metadata(stains, tmp_path):
    qc = report(tmp_path / "qc", "stains.ome.zarr")
    tiff = run(ExportSettings(input=stains, out=str(tmp_path / "a.ome.tif"), qc=qc))
    with tifffile.TiffFile(tiff.out) as file:
        assert f"<Description>{SAID}</Description>" in file.ome_metadata
    assert f"{SAID}." in tiff.notes
    png = run(ExportSettings(input=stains, out=str(tmp_path / "a.png"), qc=qc))
    with Image.open(png.out) as image:
        assert SAID in "".join(image.text.values())


def test_a_table_carries_what_qc_said_in_its_rows(stains, tmp_path):
    qc = report(tmp_path / "qc", "stains.ome.zarr")
    result = run(ExportSettings(input=stains, out=str(tmp_path / "t" / "load.csv"), qc=qc))
    with result.out.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["Metadata_QC"] == "amber"
    assert (row["Metadata_QC_Verdict"], row["Metadata_Amounts"]) == ("rejected", "DNA")


@pytest.mark.parametrize(
    ("name", "of", "says"),
    [
        ("a.ome.zarr", "stains.ome.zarr", "keeps its decisions beside it"),
        ("a.ome.tif", "other.ome.zarr", "says nothing of 'stains.ome.zarr'"),
    ],
)
def test_a_report_that_does_not_fit_is_refused(stains, tmp_path, name, of, says):
    qc = report(tmp_path / "qc", of)
    with pytest.raises(SettingsError, match=says):
        run(ExportSettings(input=stains, out=str(tmp_path / name), qc=qc))
    assert not (tmp_path / name).exists()
