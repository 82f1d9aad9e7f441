"""A batch: each image once, a failure keeps nothing else from being done, and a restart goes on."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import tifffile

from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    RunCancelled,
    SettingsError,
)
from napari_virtualstain.io.open import list_scenes, open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import batch as job
from napari_virtualstain.jobs import export
from napari_virtualstain.jobs import stain as stain_job
from napari_virtualstain.jobs.batch import BatchSettings, run
from napari_virtualstain.jobs.batch_item import Item
from napari_virtualstain.jobs.export import ExportSettings


@pytest.fixture
def folder(field_folder, tmp_path):
    """Three images, one that is cut short, and something else."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        shutil.copytree(field_folder / "brightfield.ome.zarr", folder / f"{name}.ome.zarr")
    (folder / "half.tif").write_bytes(b"II*\0" + bytes(50))
    (folder / "readme.txt").write_text("words")
    return folder


@pytest.fixture
def settings(folder, tiny_model, tmp_path):
    def settings(**more):
        values = {"input": str(folder), "model": str(tiny_model), "out": str(tmp_path / "out")}
        return BatchSettings(**(values | more))

    return settings


def states(result):
    return {item.name: item.state for item in result.items}


def test_every_image_is_stained_and_what_fails_is_said(
    settings, tmp_path, tiny_model, field_folder
):
    told, notes = [], []
    result = run(settings(), on_progress=lambda *what: told.append(what), on_note=notes.append)
    assert states(result) == {
        "a.ome.zarr": "done", "b.ome.zarr": "done", "c.ome.zarr": "done", "half.tif": "failed",
    }  # fmt: skip
    ((sentence, names),) = result.failures().items()
    assert names == ["half.tif"]
    assert sentence.startswith(f"'{tmp_path}/in/half.tif' is damaged")
    assert notes[0] == "left out, since they are no images: readme.txt"
    assert any(what.endswith("c.ome.zarr (3 of 4)") for *_, what in told)
    alone = tmp_path / "alone.ome.zarr"
    source = str(field_folder / "brightfield.ome.zarr")
    stain_job.run(stain_job.StainSettings(input=source, model=str(tiny_model), out=str(alone)))
    one, other = (open_image(p).data.compute() for p in (tmp_path / "out/b.ome.zarr", alone))
    np.testing.assert_array_equal(one, other)


def test_a_second_run_does_only_what_is_left(settings, tmp_path, monkeypatch):
    run(settings())
    shutil.rmtree(tmp_path / "out" / "b.ome.zarr")
    shutil.copytree(tmp_path / "in" / "a.ome.zarr", tmp_path / "in" / "d.ome.zarr")
    done = []
    plain = stain_job.run
    monkeypatch.setattr(job, "stain", lambda s, **k: done.append(s.input) or plain(s, **k))
    result = run(settings())
    assert [path.rpartition("/")[2] for path in done] == ["b.ome.zarr", "d.ome.zarr"]
    assert result.count("done") == 4


def test_what_failed_is_tried_again_when_asked_for(settings, tmp_path):
    run(settings())
    shutil.rmtree(tmp_path / "in" / "a.ome.zarr")
    (tmp_path / "in" / "half.tif").write_bytes(b"II*\0" + bytes(60))
    assert run(settings()).count("failed") == 1
    assert run(settings(retry=True)).count("failed") == 1
    (tmp_path / "in" / "half.tif").unlink()
    shutil.copytree(tmp_path / "in" / "b.ome.zarr", tmp_path / "in" / "half.tif")
    result = run(settings(retry=True))
    assert states(result)["half.tif"] == "done"
    assert result.failures() == {}


def test_an_end_in_the_middle_is_gone_on_with(settings, tmp_path):
    def stop(done, total, what):
        if what.startswith("tiles stained, b.") and done:
            raise RunCancelled("Cancelled.")

    with pytest.raises(RunCancelled):
        run(settings(tile=64), on_progress=stop)
    state = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert [item["state"] for item in state["items"]] == ["done", "waiting", "waiting", "waiting"]
    assert read_record(tmp_path / "out" / "b.ome.zarr")["status"] == "partial"
    result = run(settings(tile=64))
    assert result.count("done") == 3
    assert read_record(tmp_path / "out" / "b.ome.zarr")["status"] == "complete"


def test_names_choose_among_images(settings, tmp_path):
    from napari_virtualstain.io.plate_write import PlateStore

    plate = tmp_path / "plate.ome.zarr"
    store = PlateStore(plate, name="mine", rows=2, columns=3)
    for row, column, field in ((0, 0, "0"), (0, 1, "0"), (1, 0, "0"), (1, 0, "1")):
        at = plate / "AB"[row] / str(column + 1) / field
        shutil.copytree(tmp_path / "in" / "a.ome.zarr", at)
        store.add(row, column, field)
    out = tmp_path / "stained.ome.zarr"
    result = run(settings(input=str(plate), scene="B/*, A/2/0", out=str(out)))
    assert [item.scene for item in result.items] == ["A/2/0", "B/1/0", "B/1/1"]
    # The plate of the stains has the layout of its input.
    assert [scene.name for scene in list_scenes(out)] == ["A/2/0", "B/1/0", "B/1/1"]
    assert (
        list_scenes(out)[0].channel_names == ("AGP", "DNA", "ER", "Mito", "RNA")
        or len(list_scenes(out)[0].channel_names) == 5
    )
    single = run(settings(input=str(plate), scene="A/1/0", out=str(tmp_path / "flat")))
    assert [item.out for item in single.items] == ["A_1_0.ome.zarr"]


def test_images_in_no_well_have_no_place_in_a_plate(settings, tmp_path):
    with pytest.raises(SettingsError, match=r"lies in no well, .* which does not end in \.zarr\.$"):
        run(settings(out=str(tmp_path / "plate.ome.zarr")))
    assert not (tmp_path / "plate.ome.zarr").exists()


def test_other_settings_are_refused(settings, tmp_path):
    run(settings())
    sentence = (
        f"'{tmp_path}/out' was begun with other settings (--dtype, --tile). Repeat these to go on, "
        "or choose another --out."
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(sentence)}$"):
        run(settings(dtype="float16", tile=64))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"schema_version": 1, "settings": {}, "items": [{"a": 1}]}']
)
def test_a_damaged_list_is_one_sentence(settings, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "batch.json").write_text(content)
    with pytest.raises(ImageFileError, match=r"batch\.json' is damaged .* not computed again\.$"):
        run(settings())


def test_a_list_of_the_future_is_refused(settings, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "batch.json").write_text(
        '{"schema_version": 99, "settings": {}, "items": []}'
    )
    with pytest.raises(ImageFileError, match="is of schema 99, this program knows 1 to 3"):
        run(settings())


NOTHING = {
    "no folder": (MissingInputError, lambda folder: shutil.rmtree(folder)),
    "an empty folder": (ImageFileError, lambda folder: (shutil.rmtree(folder), folder.mkdir())),
}


@pytest.mark.parametrize("case", NOTHING)
def test_nothing_to_stain_is_one_sentence(settings, folder, case, tmp_path):
    error, make = NOTHING[case]
    make(folder)
    with pytest.raises(error):
        run(settings())
    assert not (tmp_path / "out").exists()


def test_no_name_that_fits_is_one_sentence(settings):
    with pytest.raises(
        SettingsError, match=r"^There is nothing to stain: .* none is named like 'Z9'"
    ):
        run(settings(scene="Z9"))


def test_two_files_of_one_name_get_a_store_each(settings, tmp_path):
    shutil.copytree(tmp_path / "in" / "a.ome.zarr", tmp_path / "in" / "a.zarr")
    result = run(settings())
    assert len({item.out for item in result.items}) == len(result.items) == 5


def test_an_item_is_what_it_was_after_reading():
    item = Item(
        input="/a", scene="A/1/0", out="A/1/0", field=(0, 0, "0"), state="failed", sentence="x"
    )
    assert Item.from_json(json.loads(json.dumps(item.to_json()))) == item


def test_a_pattern_tells_the_fields_of_a_folder_apart(settings, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for well in ("B02", "C03"):
        for z in range(3):
            pixels = np.random.default_rng(z).integers(100, 999, (64, 64)).astype(np.uint16)
            tifffile.imwrite(folder / f"{well}~{z}.tif", pixels)
    result = run(
        settings(
            input=str(folder),
            pattern="{well}~{z}.tif",
            pixel_size=0.6,
            out=str(tmp_path / "p.zarr"),
        )
    )
    assert [(item.out, item.state) for item in result.items] == [
        ("B/2/0", "done"),
        ("C/3/0", "done"),
    ]


@pytest.fixture
def sites(tmp_path):
    """A plate whose fields are called as Yokogawa calls them."""
    folder = tmp_path / "plate"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for well, site in (("B02", "s1"), ("B02", "s2"), ("C03", "s2")):
        for z in range(3):
            pixels = rng.integers(100, 999, (64, 64)).astype(np.uint16)
            tifffile.imwrite(folder / f"{well}~{site}~{z}.tif", pixels)
    return {"input": str(folder), "pattern": "{well}~{site}~{z}.tif", "pixel_size": 0.6}


def rows(table):
    with table.open(newline="", encoding="utf-8") as file:
        return [
            (row["Metadata_Plate"], row["Metadata_Well"], row["Metadata_Site"])
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("out", ["out.zarr", "out"], ids=["plate", "folder"])
@pytest.mark.parametrize(
    ("scene", "chosen"),
    [
        (None, [("B02", "s1"), ("B02", "s2"), ("C03", "s2")]),
        ("*2", [("B02", "s2"), ("C03", "s2")]),  # not the first of its well
    ],
    ids=["all", "some"],
)
def test_stains_join_with_their_inputs_by_plate_well_and_site(
    settings, sites, tmp_path, out, scene, chosen
):
    result = run(settings(**sites, scene=scene, out=str(tmp_path / out)))
    assert [(item.well, item.site) for item in result.items] == chosen
    if out.endswith("zarr"):
        assert [item.out for item in result.items] == [
            {"B02": "B/2/", "C03": "C/3/"}[well] + site for well, site in chosen
        ]
        assert [s.site for s in list_scenes(tmp_path / out)] == [site for _, site in chosen]
    tables = [tmp_path / name / "load_data.csv" for name in ("before", "after")]
    export.run(
        ExportSettings(
            input=sites["input"], pattern=sites["pattern"], scene=scene, out=str(tables[0])
        )
    )
    export.run(ExportSettings(input=str(tmp_path / out), out=str(tables[1])))
    stated = sorted({("plate", well, site) for well, site in chosen})
    assert [sorted(set(rows(table))) for table in tables] == [stated, stated]


def test_what_is_left_out_of_a_folder_is_said(settings, folder):
    (folder / "half.tif").write_bytes(b"")
    shutil.copytree(folder / "a.ome.zarr", folder / "sub" / "deep" / "e.ome.zarr")
    shutil.copytree(folder / "a.ome.zarr", folder / "sub" / "d.ome.zarr")
    notes = []
    result = run(settings(), on_note=notes.append)
    assert states(result) == {
        "a.ome.zarr": "done", "b.ome.zarr": "done", "c.ome.zarr": "done", "half.tif": "failed",
        "d.ome.zarr": "done",
    }  # fmt: skip
    assert notes[:3] == [
        "left out, since they are no images: readme.txt",
        "empty files, of 0 bytes: half.tif",
        (
            "left out, since folders so deep are not looked into: sub/deep; name one of them as "
            "the input to have its images"
        ),
    ]
    # By the name that `info` gives it too.
    only = run(settings(scene="sub/*", out=str(folder / "out")))
    assert states(only) == {"d.ome.zarr": "done"}


def test_what_lies_in_its_own_output_is_not_stained(settings, folder):
    first = run(settings(out=str(folder / "out")))
    assert len(run(settings(out=str(folder / "out"))).items) == len(first.items) == 4


def test_a_folder_of_files_that_cannot_be_opened_says_why(settings, tmp_path):
    (tmp_path / "bad").mkdir()
    for name in ("a.tif", "b.tif"):
        (tmp_path / "bad" / name).touch()
    with pytest.raises(ImageFileError, match=r"holds 2 images, of which none can be opened: .*0 b"):
        run(settings(input=str(tmp_path / "bad")))
