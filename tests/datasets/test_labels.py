"""Labels find their images by file or well, and say which images they do not find."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.labels import label_images, read_labels
from napari_virtualstain.errors import ImageFileError, SettingsError, UnknownNameError
from napari_virtualstain.io.plate import Place


def table(tmp_path, text, name="labels.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_labels(path)


def at(well, site="", plate="", path="data.zarr", **facts):
    return Path(path), Place(plate=plate, well=well, site=site, facts=tuple(facts.items()))


def said(images, column, of):
    return list(label_images(images, column, of).labels)


def test_wells_are_found_however_they_are_spelt(tmp_path):
    of = table(tmp_path, "Well\tTreatment\nb3\ttaxol\nC04\tDMSO\n", "x.tsv")
    assert said([at("B03", "f01"), at("C4"), at("B3")], "treatment", of) == [
        "taxol",
        "DMSO",
        "taxol",
    ]


def test_rows_and_columns_are_wells(tmp_path):
    of = table(tmp_path, "Row,Col,drug\n2,3,taxol\n")
    assert said([at("B03")], "treatment", of) == ["taxol"]  # a drug is a treatment


def test_a_site_has_its_own_row_or_that_of_its_well(tmp_path):
    of = table(tmp_path, "well,site,kind\nA1,1,x\nA1,2,y\nA2,,z\n")
    images = [at("A1", "f01"), at("A1", "s2"), at("A2", "7"), at("A1", "3")]
    # Of the third site of A1 nothing is known: the two that are differ.
    assert said(images, "kind", of) == ["x", "y", "z", None]


def test_what_all_sites_of_a_well_agree_on_is_known_of_the_well(tmp_path):
    of = table(tmp_path, "well,site,kind\nA1,1,x\nA1,2,x\n")
    assert said([at("A1"), at("A1", "9")], "kind", of) == ["x", "x"]


def test_plates_are_told_apart(tmp_path):
    of = table(tmp_path, "plate,well,kind\nP1,A1,x\nP2,A1,y\n")
    images = [at("A1", plate="p2"), at("A1", plate="P1"), at("A1", path="P2.ome.zarr"), at("A1")]
    assert said(images, "kind", of) == ["y", "x", "y", None]


def test_a_table_without_plates_is_of_every_plate(tmp_path):
    of = table(tmp_path, "well,kind\nA1,x\n")
    assert said([at("A1", plate="P1"), at("A1", plate="P2")], "kind", of) == ["x", "x"]


def test_files_are_found_by_name_with_or_without_ending(tmp_path):
    of = table(tmp_path, "image,kind\nC:\\old\\a.ome.tif,x\nsub/b,y\n")
    images = [(Path("/here/A.ome.tif"), None), (Path("/here/b.tif"), None), (Path("c.tif"), None)]
    assert said(images, "kind", of) == ["x", "y", None]


def test_what_a_manifest_says_counts_where_the_table_is_silent(tmp_path):
    of = table(tmp_path, "well,treatment\nA1,taxol\n")
    images = [at("A1", treatment="other"), at("A2", treatment="DMSO")]
    assert said(images, "compound", of) == ["taxol", "DMSO"]
    assert said(images, "treatment", None) == ["other", "DMSO"]


def test_two_columns_of_one_kind_keep_their_names(tmp_path):
    of = table(tmp_path, "well,compound,treatment\nA1,taxol,taxol 3\n")
    assert said([at("A1")], "compound", of) == ["taxol"]
    assert said([at("A1")], "treatment", of) == ["taxol 3"]


def test_columns_join_to_one_label(tmp_path):
    of = table(tmp_path, "well,compound,dose\nA1,taxol,3\nA2,taxol,\n")
    assert said([at("A1"), at("A2")], "compound+concentration", of) == ["taxol 3", None]


def test_plate_and_well_are_always_known():
    assert said([at("A1", plate="P1")], "plate", None) == ["P1"]
    assert said([at("a1")], "well", None) == ["A01"]


def test_those_without_a_label_are_counted(tmp_path):
    of = table(tmp_path, "well,kind\nA1,x\n")
    images = [at("A1"), *(at(f"B{n}", "1", "P") for n in range(1, 9))]
    (note,) = label_images(images, "kind", of).notes
    assert note.startswith(
        "8 of 9 images have no 'kind', or more than one, and are left out: P/B01/1"
    )
    assert note.endswith("and 3 more")
    assert label_images(images[:1], "kind", of).notes == ()


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from("xyz")), min_size=1, unique_by=lambda r: r[0]))  # fmt: skip
def test_every_row_of_a_table_is_found_again(tmp_path_factory, rows):
    text = "well,kind\n" + "".join(f"A{well},{kind}\n" for well, kind in rows)
    of = table(tmp_path_factory.mktemp("t"), text)
    assert said([at(f"A{well:02d}", "1") for well, _ in rows], "kind", of) == [k for _, k in rows]


@pytest.mark.parametrize(
    ("text", "images", "column", "kind", "sentence"),
    [
        pytest.param(
            "name,kind\na,x\n", [at("A1")], "kind", SettingsError,
            "which image a row is about; it has the columns name, kind. Name one", id="no key",
        ),
        pytest.param("well\n", [at("A1")], "kind", ImageFileError, "no rows", id="no rows"),
        pytest.param(
            "well,kind\nA1,x\n", [at("A1")], "kin", UnknownNameError,
            "No label named 'kin'. Did you mean 'kind'.*--label", id="no such column",
        ),
        pytest.param(
            "well,kind\nA1,x\n", [at("B1"), at("B2")], "kind", SettingsError,
            "No image has one 'kind' in .*labels.csv', for example not B01, B02. Check",
            id="none found",
        ),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_are_refused(text, images, column, kind, sentence, tmp_path):
    with pytest.raises(kind, match=sentence):
        label_images(images, column, table(tmp_path, text))


@pytest.mark.parametrize(
    ("rows", "twice"),
    [
        (["A01,,DMSO,", "A02,,taxol,"], ()),
        (["A01,,DMSO,", "a1,,DMSO,"], ()),
        (["A01,,DMSO,", "A1,,taxol,", "A02,,taxol,"], ("A01",)),
        (["A01,1,DMSO,", "A01,2,taxol,"], ()),
        (["A01,1,DMSO,", "A01,1,taxol,"], ("A01/1",)),
        (["A01,,DMSO,x", "A01,,DMSO,y"], ()),
    ],
    ids=["once", "twice the same", "twice", "two sites", "one site twice", "another column"],
)
def test_wells_of_which_two_things_are_said_are_named(tmp_path, rows, twice):
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["well,site,treatment,other", *rows]), encoding="utf-8")
    assert read_labels(path).doubled("treatment") == twice
    assert read_labels(path).doubled("drug") == twice  # as a manifest would call it


def test_wells_that_have_no_image_are_named(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("well,treatment\nA01,x\na2,y\nH12,z\nH12,z", encoding="utf-8")
    images = [(Path("p.zarr"), Place(well=well)) for well in ("A1", "A02", "B01")]
    assert read_labels(path).strange(images) == ("H12",)
