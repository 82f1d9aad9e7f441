"""Pairs are found in the ways that people keep images, measured, and split without a leak."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_virtualstain.datasets.pairing_file import load_pairs
from napari_virtualstain.errors import (
    ChannelError,
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    SettingsError,
)
from napari_virtualstain.jobs import pairs
from napari_virtualstain.jobs.pairs import PairsSettings

SHAPE = (96, 112)
APART, TOGETHER = 0, 4
"""Seeds that put the first two of four fields into two sets, or into one."""


def scene(seed, shift=(0.0, 0.0), shape=SHAPE):
    """Return blobs (Y, X), of which the same seed gives the same ones, moved."""
    rng = np.random.default_rng(seed)
    wide = np.zeros((shape[0] + 40, shape[1] + 40))
    for y, x in rng.integers(0, wide.shape, (60, 2)):
        wide[y, x] += rng.uniform(200, 2000)
    wide = ndimage.gaussian_filter(wide, 2.0) * 10 + 100
    moved = ndimage.shift(wide, (-shift[0], -shift[1]), order=5, mode="reflect")[20:-20, 20:-20]
    return np.clip(moved + rng.normal(0, 1, shape), 0, 65535).astype(np.uint16)


def save(path, *planes, axes="CYX", names=None, um=0.5):
    """Write an OME-TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {"axes": axes, "PhysicalSizeX": um, "PhysicalSizeY": um}
    if names:
        described["Channel"] = {"Name": list(names)}
    tifffile.imwrite(path, np.stack(planes), ome=True, photometric="minisblack", metadata=described)
    return path


def both(path, seed, shift=(0.0, 0.0), names=("Brightfield", "DAPI")):
    """Write one image with bright field and one stain that is shifted."""
    return save(path, scene(seed), scene(seed, shift), names=names)


def plane(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels)
    return path


def find(where, **settings):
    return pairs.run(PairsSettings(input=str(where), **settings)).file


def halves(file):
    """Return what belongs to what, by names of files and scenes."""

    def short(one):
        return f"{one.path.rpartition('/')[2]} {one.scene} {one.channel}"

    return {short(p): {s: short(one) for s, one in p.stains.items()} for p in file.pairs}


def test_light_my_cells_has_pairs_that_lack_stains(tmp_path):
    for n in (1, 2):
        for z in range(3):
            plane(tmp_path / f"image_{n}_BF_z{z}.ome.tiff", scene(n + z))
        plane(tmp_path / f"image_{n}_Nucleus.ome.tiff", scene(n))
    plane(tmp_path / "image_1_Actin.ome.tiff", scene(1))
    file = find(tmp_path, stains=("DNA", "Actin"))
    assert [(p.name, list(p.stains)) for p in file.pairs] == [
        ("image_1", ["DNA", "Actin"]), ("image_2", ["DNA"]),
    ]  # fmt: skip
    assert any("Actin is missing in 1 of 2 pairs (image_2)" in note for note in file.notes)
    assert any("DNA was taken from the channel 'Nucleus' in 2 of 2 pairs" in n for n in file.notes)
    assert file.unmatched == ()


def test_one_image_that_holds_both_is_a_pair(tmp_path):
    both(tmp_path / "x.ome.tif", 0)
    file = find(tmp_path / "x.ome.tif")
    (pair,) = file.pairs
    assert (pair.name, pair.matched_by, pair.channel) == ("x.ome.tif", "image", "Brightfield")
    assert file.stains == ("DAPI",)
    (shift,) = pair.registration
    assert (shift.verdict, shift.distance_um) == ("aligned", pytest.approx(0, abs=0.05))


def test_wells_of_a_pattern_are_pairs_with_their_groups(tmp_path):
    for n, well in enumerate(("A01", "A02", "B01")):
        for site in (1, 2):
            for channel in ("BF", "DAPI"):
                plane(tmp_path / f"{well}_{site}_{channel}.tif", scene(10 * n + site))
    file = find(
        tmp_path, pattern="{well}_{site}_{channel}.tif", stains=("DNA",), split="well",
        validation=0.3, test=0.3, seed=1,
    )  # fmt: skip
    assert [p.name for p in file.pairs] == [f"{w}/{s}" for w in ("A01", "A02", "B01") for s in "12"]
    sets = {}
    for pair in file.pairs:
        assert sets.setdefault(pair.well, pair.set) == pair.set
    assert sorted(sets.values()) == ["test", "train", "validation"]
    assert (file.split.by, file.split.seed) == ("well", 1)


def test_folders_of_inputs_and_targets_are_paired_by_their_names(tmp_path):
    for n in (1, 2):
        plane(tmp_path / "in" / f"img_{n}_BF.tif", scene(n))
        plane(tmp_path / "out" / f"img_{n}_Hoechst.tif", scene(n))
    plane(tmp_path / "out" / "img_3_Hoechst.tif", scene(3))
    found = find(tmp_path / "in", target=str(tmp_path / "out"), stains=("DNA",), axes="yx")
    assert [p.path.rpartition("/")[2] for p in found.pairs] == ["img_1_BF.tif", "img_2_BF.tif"]
    assert [p.stains["DNA"].path.rpartition("/")[2] for p in found.pairs] == [
        "img_1_Hoechst.tif", "img_2_Hoechst.tif",
    ]  # fmt: skip
    assert [u.reason for u in found.unmatched] == ["no bright field has its name"]
    assert any("DNA was taken from files of that name in 2 of 2 pairs" in n for n in found.notes)


def test_simulated_folders_are_paired_and_labels_left_over(field_folder, tmp_path):
    for n in (0, 1):
        shutil.copytree(field_folder, tmp_path / f"field_{n}")
    file = find(tmp_path, stains=("DNA", "AGP"), registration="best")
    assert [p.name for p in file.pairs] == ["field_0", "field_1"]
    assert [u.reason for u in file.unmatched] == ["no bright field has its name"] * 2
    for pair in file.pairs:
        dna, agp = pair.registration
        assert {dna.measured_on, agp.measured_on} == {"AGP"}
        assert (dna.dy_px, dna.verdict) == (agp.dy_px, "aligned")


def test_a_known_shift_is_found_and_only_recorded_on_request(tmp_path):
    both(tmp_path / "a.ome.tif", 1, (4.3, -2.6))
    both(tmp_path / "b.ome.tif", 2)
    out = tmp_path / "pairs.json"
    file = find(tmp_path, stains=("DNA",), out=str(out))
    first, second = (pair.registration[0] for pair in file.pairs)
    # What moved by (4.3, -2.6) has to be moved back.
    assert (first.dy_px, first.dx_px) == pytest.approx((4.3, -2.6), abs=0.15)
    assert first.distance_um == pytest.approx(np.hypot(4.3, 2.6) * 0.5, abs=0.1)
    assert (first.verdict, second.verdict) == ("shifted", "aligned")
    (note,) = [n for n in file.notes if "Surely shifted" in n]
    assert "1 stain (DNA of a by 5.0 px" in note
    assert "unless --correct is given" in note
    assert load_pairs(out).corrections(load_pairs(out).pairs[0]) == {}
    file = find(tmp_path, stains=("DNA",), out=str(out), overwrite=True, correct=True)
    assert list(load_pairs(out).corrections(load_pairs(out).pairs[0])) == [("DNA", 0)]
    assert "moved when the pairs are used" in file.notes[-1]


def test_each_time_point_is_measured(tmp_path):
    film = np.stack([np.stack([scene(t), scene(t, (t, 0.0))]) for t in (0, 3)])
    save(tmp_path / "film.ome.tif", *film, axes="TCYX", names=("BF", "GFP"))
    found = pairs.run(PairsSettings(input=str(tmp_path / "film.ome.tif")))
    (pair,) = found.file.pairs
    assert [(s.t, s.verdict) for s in pair.registration] == [(0, "aligned"), (1, "shifted")]
    assert "shifted (worst of 2 time points)" in found.text()


def test_a_stain_with_several_planes_needs_to_be_told_which(tmp_path):
    stack = np.stack([np.stack([scene(z), scene(z)]) for z in (0, 1)])
    save(tmp_path / "x.ome.tif", *stack, axes="ZCYX", names=("BF", "DNA"))
    with pytest.raises(SettingsError, match="has 2 planes, and a field has one.*--target-z"):
        find(tmp_path / "x.ome.tif")
    file = find(tmp_path / "x.ome.tif", target_z=1, z=(1,))
    assert file.pairs[0].stains["DNA"].z == 1
    assert file.pairs[0].registration[0].verdict == "aligned"
    assert file.pairs[0].registration[0].plane == 1


# By hand.


def table(path, *rows, columns="input,target"):
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_table_says_which_images_belong_together(tmp_path):
    for n in (1, 2):
        plane(tmp_path / f"left{n}_BF.tif", scene(n))
        plane(tmp_path / f"right{n}_DAPI.tif", scene(n))
        plane(tmp_path / f"right{n}_Mito.tif", scene(n))
    rows = [
        f"left{n}_BF.tif,right{n}_{d}.tif,P1,b{n},1,{s}"
        for n, s in ((1, "train"), (2, "test"))
        for d in ("DAPI", "Mito")
    ]
    given = table(tmp_path / "t.csv", *rows, columns="input,target,Plate,Well,Site,Set")
    file = find(given, stains=("DNA", "Mito"), channel="channel 0", axes="yx")
    assert [(p.name, p.well, p.set, sorted(p.stains)) for p in file.pairs] == [
        ("P1/B01/1", "B01", "train", ["DNA", "Mito"]), ("P1/B02/1", "B02", "test", ["DNA", "Mito"]),
    ]  # fmt: skip
    assert file.split.by == "table"
    with pytest.raises(SettingsError, match="Use it, or --split, not both"):
        find(given, stains=("DNA",), channel="channel 0", axes="yx", split="field")


TABLES = {
    "a row without a target": (["a.ome.tif,"], "input,target", "lacks input or target .*Name both files"),
    "an unknown set": (["a.ome.tif,a.ome.tif,exam"], "input,target,set", "set 'exam' .* is none of train, validation and test"),
    "a file that is not there": (["x.tif,x.tif"], "input,target", "No bright field has its stains: 'x.tif':.*does not exist"),
    "two targets of one stain": (["a.ome.tif,a.ome.tif", "a.ome.tif,b.ome.tif"], "input,target", "two targets hold its DAPI"),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "columns", "sentence"), TABLES.values(), ids=TABLES)
def test_a_table_with_mistakes_is_answered_in_a_sentence(rows, columns, sentence, tmp_path):
    both(tmp_path / "a.ome.tif", 0)
    both(tmp_path / "b.ome.tif", 1)
    with pytest.raises(SettingsError, match=sentence):
        find(table(tmp_path / "t.csv", *rows, columns=columns))


# Leaks.


def test_a_copy_under_another_name_is_refused_on_the_other_side(tmp_path):
    for n in range(3):
        both(tmp_path / f"f{n}.ome.tif", n)
    pixels = tifffile.imread(tmp_path / "f0.ome.tif").astype(np.float32)
    save(tmp_path / "copy.ome.tif", *pixels, names=("Brightfield", "DAPI"))
    told = {"split": "field", "validation": 0.5, "registration": "none", "stains": ("DAPI",)}
    with pytest.raises(
        SettingsError, match=r"would leak.*have the same pixels; leave one of them out"
    ):
        find(tmp_path, **told, seed=APART)
    # On one side a copy is only a copy.
    assert len(find(tmp_path, **told, seed=TOGETHER).pairs) == 4


def test_a_file_that_a_table_puts_into_two_sets_is_refused(tmp_path):
    both(tmp_path / "a.ome.tif", 0)
    (tmp_path / "b.ome.tif").symlink_to(tmp_path / "a.ome.tif")
    rows = ["a.ome.tif,a.ome.tif,train", "b.ome.tif,b.ome.tif,test"]
    given = table(tmp_path / "t.csv", *rows, columns="input,target,set")
    out = tmp_path / "p.json"
    with pytest.raises(SettingsError, match=r"'a' \(train\) and 'b' \(test\) are of the same file"):
        find(given, out=str(out))
    assert not out.exists()


def test_a_well_that_is_spelled_in_two_ways_is_said(tmp_path):
    for n in range(2):
        both(tmp_path / f"f{n}.ome.tif", n)
    rows = ["f0.ome.tif,f0.ome.tif,Plate 1,A1,train", "f1.ome.tif,f1.ome.tif,plate1,A01,test"]
    given = table(tmp_path / "t.csv", *rows, columns="input,target,plate,well,set")
    assert "which are one well by their names" in find(given).notes[-1]


def test_what_is_not_known_cannot_be_split_by(tmp_path):
    for n in range(3):
        both(tmp_path / f"f{n}.ome.tif", n)
    with pytest.raises(
        SettingsError, match="Of pair 'f0' no well is known.*--split field, or write a table"
    ):
        find(tmp_path, split="well")


# Bad input.

ASKED = {
    "nothing there": (lambda p: {"input": p / "x"}, MissingInputError, "does not exist"),
    "no image": (lambda p: {"input": p}, ImageFileError, "holds no image that can be opened"),
    "no stain is known": (lambda p: {"input": save(p / "a.ome.tif", scene(0), scene(1))}, SettingsError, "Name the stains with --stains and their channels with --match"),
    "no such stain": (lambda p: {"input": both(p / "a.ome.tif", 0), "stains": ("GFP",)}, SettingsError, "no image of GFP has its name"),
    "a match without a sign": (lambda p: {"input": both(p / "a.ome.tif", 0), "match": ("DNA",)}, ChannelError, "is no STAIN=CHANNEL"),
    "a correction without a measurement": (lambda p: {"input": both(p / "a.ome.tif", 0), "correct": True, "registration": "none"}, SettingsError, "--correct needs to know how the stains lie"),
    "halves of two sizes": (
        lambda p: {"input": save(p / "in/a.ome.tif", scene(0), names=["BF"]), "target": str(save(p / "t/a.ome.tif", scene(0, shape=(64, 64)), names=["DNA"]))},
        SettingsError, "96 x 112 px, stain DNA has 1 of 64 x 64 px.*crop or resample",
    ),
    "an output that is there": (lambda p: {"input": both(p / "a.ome.tif", 0), "out": str(p / "a.ome.tif")}, OutputExistsError, "exists. To go on, choose another --out"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "sentence"), ASKED.values(), ids=ASKED)
def test_what_cannot_be_done_is_one_sentence(make, kind, sentence, tmp_path):
    given = make(tmp_path)
    with pytest.raises(kind, match=sentence):
        find(**{"where": given.pop("input"), **given})


def test_one_broken_file_does_not_hide_the_others(tmp_path):
    both(tmp_path / "a.ome.tif", 0)
    (tmp_path / "b.ome.tif").write_bytes((tmp_path / "a.ome.tif").read_bytes()[:300])
    file = find(tmp_path)
    assert [p.name for p in file.pairs] == ["a"]
    assert [u.path.rpartition("/")[2] for u in file.unmatched] == ["b.ome.tif"]


def test_the_result_is_plain_values(tmp_path):
    both(tmp_path / "a.ome.tif", 0)
    told = []
    found = pairs.run(
        PairsSettings(input=str(tmp_path / "a.ome.tif")), on_progress=lambda *a: told.append(a)
    )
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert values["out"] is None
    assert values["pairs"][0]["stains"]["DAPI"]["channel"] == "DAPI"
    assert told == [(0, 1, "pairs checked"), (1, 1, "pairs checked")]
