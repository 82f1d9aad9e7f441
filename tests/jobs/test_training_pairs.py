"""A training takes the sets of a pairs file at their word, moves what is to be moved, and says so."""

from __future__ import annotations

import json
import shutil

import dask.array as da
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.datasets.pairing_file import load_pairs
from napari_virtualstain.errors import ChannelError, SettingsError
from napari_virtualstain.generators.package import read_card
from napari_virtualstain.io.image import Channel, LazyImage
from napari_virtualstain.jobs import pairs, train
from napari_virtualstain.jobs.pairs import PairsSettings
from napari_virtualstain.jobs.train import TrainSettings
from napari_virtualstain.jobs.training_fields import PairSettings, card_of, open_pairs
from napari_virtualstain.jobs.training_pairs import open_pairs_file
from napari_virtualstain.preprocessing.registration import apply_shift

QUICK = {
    "preset": "tiny", "steps": 4, "patch": 16, "batch": 2, "validate_every": 2, "device": "cpu",
}  # fmt: skip
SHIFT = (3.3, -4.6)
WELLS = ("A01", "A02", "B01", "B02", "C01")


def blobs(seed, shift=(0.0, 0.0)):
    rng = np.random.default_rng(seed)
    wide = np.zeros((136, 144))
    for y, x in rng.integers(0, wide.shape, (60, 2)):
        wide[y, x] += rng.uniform(200, 2000)
    wide = ndimage.gaussian_filter(wide, 2.0) * 10 + 100
    moved = ndimage.shift(wide, (-shift[0], -shift[1]), order=5, mode="reflect")[20:-20, 20:-20]
    return np.clip(moved + rng.normal(0, 1, moved.shape), 0, 65535).astype(np.uint16)


def save(path, *planes, names):
    tifffile.imwrite(
        path, np.stack(planes), ome=True, photometric="minisblack",
        metadata={"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Channel": {"Name": list(names)}},
    )  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Five wells; the stain ER of the first is shifted, and the last has no ER."""
    root = tmp_path_factory.mktemp("images")
    for n, well in enumerate(WELLS):
        planes = [blobs(n), blobs(n), blobs(n, SHIFT if n == 0 else (0.0, 0.0))]
        kept = 2 if n == 4 else 3
        save(
            root / f"{well}_BF.ome.tif", *planes[:kept], names=("Brightfield", "DAPI", "ER")[:kept]
        )
    return root


@pytest.fixture
def file(images, tmp_path):
    """Write a pairs file, with sets by hand unless they are drawn."""

    def file(sets=("train", "train", "train", "validation", "test"), **settings):
        given = {"input": str(images), "stains": ("DNA", "ER"), "out": str(tmp_path / "pairs.json")}
        if sets is not None:
            rows = [
                f"{images}/{well}_BF.ome.tif,{images}/{well}_BF.ome.tif,{well},{part}"
                for well, part in zip(WELLS, sets, strict=True)
            ]
            table = tmp_path / "table.csv"
            table.write_text("\n".join(["input,target,well,set", *rows]), encoding="utf-8")
            given["input"] = str(table)
        pairs.run(PairsSettings(**given, **settings))
        return tmp_path / "pairs.json"

    return file


def settings(out, given, **changed):
    return TrainSettings(out=str(out), pairs=str(given), **{**QUICK, **changed})


def opened(given, **changed):
    return open_pairs_file(PairSettings(pairs=str(given), **changed), name="m")


@pytest.fixture
def taught(monkeypatch):
    """Names of the fields that a training was given: those that teach, those that examine."""
    seen = {}
    original = train.fit

    def spy(generator, teach, *args, validation, **options):
        seen["train"] = [field.name for field in teach.fields]
        seen["validation"] = [field.name for field in validation.fields] if validation else []
        return original(generator, teach, *args, validation=validation, **options)

    monkeypatch.setattr(train, "fit", spy)
    return seen


def test_the_sets_of_the_file_teach_and_examine_and_its_test_fields_stay_closed(
    file, images, tmp_path, taught
):
    given = file()
    (images / "C01_BF.ome.tif").rename(images / "away")
    try:
        result = train.run(settings(tmp_path / "m", given))
    finally:
        (images / "away").rename(images / "C01_BF.ome.tif")
    assert taught == {"train": ["A01 t0", "A02 t0", "B01 t0"], "validation": ["B02 t0"]}
    card = read_card(tmp_path / "m")
    assert (card.training.n_fields, card.training.n_validation_fields) == (3, 1)
    assert card.training.pairs["split"]["pairs"] == {"train": 3, "validation": 1, "test": 1}
    assert card.training.pairs["moved_px"] == {}
    assert "C01" not in card.training.data
    assert card.stain_names == ("DNA", "ER")
    assert any("1 stains are surely shifted and teach as they are" in n for n in result.notes)


def test_a_shifted_stain_is_moved_where_the_file_says_so_and_the_card_lists_it(file, tmp_path):
    plain, moved = opened(file()), opened(file(correct=True, overwrite=True))
    (shift,) = [
        s for p in load_pairs(tmp_path / "pairs.json").pairs for s in p.registration
        if s.verdict == "shifted"
    ]  # fmt: skip
    by = (shift.dy_px, shift.dx_px)
    assert by == pytest.approx(SHIFT, abs=0.15)
    for one, other in zip(plain.fields, moved.fields, strict=True):
        np.testing.assert_array_equal(np.asarray(one.planes), np.asarray(other.planes))
        expected = np.asarray(one.stains, np.float32)
        if one.name == "A01 t0":
            expected = np.stack([expected[0], apply_shift(expected[1], by)])
        np.testing.assert_allclose(np.asarray(other.stains), expected, rtol=1e-5)
    found = np.asarray(moved.fields[0].stains[1])
    true = blobs(0).astype(float)
    assert np.nanmean(np.abs(found - true)) < 0.1 * np.abs(blobs(0, SHIFT) - true).mean()
    assert np.isnan(found[-1]).all() or np.isnan(found[0]).all()
    result = train.run(settings(tmp_path / "m", tmp_path / "pairs.json"))
    card = read_card(tmp_path / "m")
    assert card.training.pairs["moved_px"] == {"A01 t0": {"ER": list(by)}}
    assert any(n.startswith("1 stains of 1 fields were moved by 5.") for n in result.notes)
    assert np.isfinite(result.validation_loss)


def test_what_moved_in_from_outside_weighs_nothing(file):
    from napari_virtualstain.datasets.pairs import pair_up
    from napari_virtualstain.intensity import Rule
    from napari_virtualstain.losses.pixel import get_loss

    torch = pytest.importorskip("torch")
    moved = opened(file(correct=True)).fields[0]
    pair = pair_up([moved], input_rule=Rule(), output_rule=Rule(), stain_names=("DNA", "ER"))
    assert pair.outputs[1].offset == pytest.approx(
        np.nanmean(np.asarray(moved.stains[1])), rel=1e-4
    )
    _, stains = pair.read(0, (slice(None), slice(None)))
    lost = ~np.isfinite(stains)
    assert 0 < lost[1].mean() < 0.2
    guess = np.random.default_rng(0).normal(size=stains.shape).astype(np.float32)
    other = np.where(lost, 1e6, guess).astype(np.float32)
    for name in ("l1", "l2"):
        losses = [float(get_loss(name)(torch.from_numpy(p[None]), torch.from_numpy(stains[None]))) for p in (guess, other)]  # fmt: skip
        assert losses[0] == losses[1]


def test_a_stain_that_a_field_lacks_is_missing_there(file, tmp_path):
    given = file(sets=("train", "train", "validation", "test", "train"))
    data = opened(given)
    assert np.isnan(np.asarray(data.fields[-1].stains[1])).all()
    assert np.isfinite(np.asarray(data.fields[-1].stains[0])).all()
    assert any("ER is missing in 1 of 4 pairs" in note for note in data.notes)
    assert np.isfinite(train.run(settings(tmp_path / "m", given)).validation_loss)


def test_without_sets_the_pairs_are_split_as_asked_for(file, tmp_path, taught):
    given = file(sets=("", "", "", "", ""), split="none")
    train.run(settings(tmp_path / "m", given, validation=0.4, split_by="well"))
    assert (len(taught["train"]), len(taught["validation"])) == (3, 2)
    assert read_card(tmp_path / "m").training.pairs["split"] is None


def test_some_of_the_stains_may_be_learnt(file):
    assert opened(file(), stains=("er",)).stains == ("ER",)
    with pytest.raises(ChannelError, match="has no stain 'ES'.* It has: DNA, ER. Choose some"):
        opened(file(overwrite=True), stains=("ES",))


CONTRADICTIONS = {
    "an input": ({"input": ("x",)}, "Leave --input out, or use it without --pairs"),
    "a scene": ({"target_scene": "x"}, "Leave --target-scene out"),
    "a share": ({"validation": 0.3}, "which fields examine. Leave --validation out"),
    "another split": ({"split_by": "plate"}, "Leave --split-by out"),
}


@pytest.mark.parametrize(("stated", "sentence"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_the_file_says_is_not_said_again(stated, sentence, file, tmp_path):
    with pytest.raises(SettingsError, match=sentence):
        train.run(settings(tmp_path / "m", file(), **stated))
    assert not (tmp_path / "m").exists()


def test_a_file_without_fields_to_train_on_is_refused(file, tmp_path):
    given = file(sets=("test",) * 5)
    with pytest.raises(SettingsError, match="is in the set train"):
        train.run(settings(tmp_path / "m", given))


def test_a_split_that_somebody_changed_by_hand_is_looked_at_again(file, tmp_path):
    given = file()
    values = json.loads(given.read_text())
    copy = {**values["pairs"][0], "name": "copy", "field": "copy", "set": "validation"}
    values["pairs"].append(copy)
    given.write_text(json.dumps(values))
    with pytest.raises(SettingsError, match="would leak into what examines.*are of the same file"):
        train.run(settings(tmp_path / "m", given))


# Inputs that are named directly.


def named(images, *names, **changed):
    given = [str(images / name) for name in names]
    return TrainSettings(
        out=str(changed.pop("out")), input=given, stains=("DAPI",), **{**QUICK, **changed}
    )


def test_files_of_one_well_stay_together_if_asked_to(images, tmp_path):
    for well in ("A01", "A02"):
        for site in (1, 2):
            shutil.copy(images / f"{well}_BF.ome.tif", tmp_path / f"{well}_s{site}.ome.tif")
    names = [f"{well}_s{site}.ome.tif" for well in ("A01", "A02") for site in (1, 2)]
    by = {n: open_pairs(named(tmp_path, *names, out="m", split_by=n), name="m") for n in ("field", "well", "plate")}  # fmt: skip
    groups = {n: [field.group for field in data.fields] for n, data in by.items()}
    assert {n: len(set(g)) for n, g in groups.items()} == {"field": 4, "well": 2, "plate": 1}
    assert groups["well"][0] == groups["well"][1]


def test_a_file_whose_name_tells_no_well_is_not_split_by_it(images, tmp_path):
    shutil.copy(images / "A01_BF.ome.tif", tmp_path / "x.ome.tif")
    with pytest.raises(SettingsError, match="No well is known of .*x.ome.tif'.*--split-by field"):
        train.run(named(tmp_path, "x.ome.tif", out=tmp_path / "m", split_by="well"))


def test_a_copy_that_would_examine_is_refused(images, tmp_path):
    shutil.copy(images / "A01_BF.ome.tif", tmp_path / "copy.ome.tif")
    given = [str(images / "A01_BF.ome.tif"), str(tmp_path / "copy.ome.tif")]
    chosen = TrainSettings(
        out=str(tmp_path / "m"), input=given, stains=("DAPI",), validation=0.5, **QUICK
    )
    with pytest.raises(SettingsError, match="would leak into what examines.*have the same pixels"):
        train.run(chosen)


@pytest.mark.parametrize(
    ("apertures", "na"), [((0.75, 0.75), 0.75), ((0.75, 0.5), None), ((None, None), None)]
)
def test_the_card_has_the_aperture_that_all_images_state(apertures, na):
    opened = [
        LazyImage(
            data=da.zeros((1, 1, 1, 8, 9)), channels=(Channel("BF"),), na=one,
            pixel_size_um=PixelSize(y=0.5, x=0.5),
        )
        for one in apertures
    ]  # fmt: skip
    card = card_of(opened, name="m", label="BF", sources=("a", "b"), settings=PairSettings())
    assert card["na"] == na
