"""Tables of features are read as they were written, and score what was planted in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.labelled import CHANNEL
from napari_virtualstain.errors import ImageFileError
from napari_virtualstain.jobs.embed import EmbedSettings
from napari_virtualstain.jobs.embed_profiles import judge, write_profiles
from napari_virtualstain.jobs.embed_table import Features, read_features, write_features

words = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\x85\u2028\u2029"),
    max_size=6,
)


@given(
    st.lists(st.tuples(words, words, st.floats(width=32, allow_infinity=False)), max_size=4),
    words.filter(lambda name: not name.startswith("Metadata_")),
)
def test_a_table_is_read_as_it_was_written(tmp_path_factory, rows, channel):
    path = tmp_path_factory.mktemp("t") / "fields.csv"
    before = Features(
        metadata={"Well": tuple(r[0] for r in rows), "a b": tuple(r[1] for r in rows)},
        names=(f"{channel}_000",),
        values=np.array([[r[2]] for r in rows]).reshape(len(rows), 1),
    )
    write_features(path, before)
    after = read_features(path)
    assert (after.metadata, after.names) == (before.metadata, before.names)
    np.testing.assert_array_equal(after.values.astype(np.float32), before.values.astype(np.float32))


def test_channels_are_blocks_of_columns():
    names = ("a_b_000", "a_b_001", "c_000", "c_001", "c_002")
    table = Features(metadata={}, names=names, values=np.zeros((0, 5)))
    assert table.blocks() == [slice(0, 2), slice(2, 5)]


@pytest.mark.parametrize("content", ["", "Metadata_Well,a_000\nB03,x\n", "a,b\n1\n"])
def test_a_damaged_table_is_said_to_be_one(tmp_path, content):
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ImageFileError, match="no table of features: .*virtualstain embed"):
        read_features(tmp_path / "t.csv")


def planted(noise, lamp=0.0):
    """Return four compounds of two mechanisms and a control, on two plates, two fields each."""
    rng = np.random.default_rng(0)
    direction = {"x": [1, 0, 0, 0], "y": [0, 1, 0, 0], "": [0, 0, 0, 0]}
    compounds = {"a": "x", "b": "x", "c": "y", "d": "y", "DMSO": ""}
    metadata = {name: [] for name in ("Plate", "Well", "Site", "Path", "Scene", "treatment", "moa")}
    values = []
    for plate in (0, 1):
        for number, (compound, moa) in enumerate(compounds.items()):
            for site in range(4):
                row = (f"p{plate}", f"A{number + 1:02d}", f"{site}", "p", f"{plate}{number}{site}", compound, moa)  # fmt: skip
                for name, value in zip(metadata, row, strict=True):
                    metadata[name].append(value)
                light = lamp * rng.normal() * np.array([0, 0, 1, 0])
                values.append(np.array(direction[moa]) + light + noise * rng.normal(size=4))
    return Features(
        metadata={name: tuple(column) for name, column in metadata.items()},
        names=tuple(f"DNA_{n:03d}" for n in range(4)),
        values=np.array(values),
    )


def settings(**how):
    return EmbedSettings(
        input="in", out="out", model="m", **{"label": "treatment", "moa": "moa", **how}
    )


def test_planted_mechanisms_are_found(tmp_path):
    matches, notes = write_profiles(tmp_path, planted(0.05), settings())
    assert [(m.name, m.accuracy) for m in matches] == [("NSC", 1.0), ("NSCB", 1.0)]
    assert matches[0].by_class == {"x": 1.0, "y": 1.0}
    # Of four treatments each has one right neighbour among three of other compounds.
    assert [m.chance for m in matches] == pytest.approx([1 / 3, 1 / 3])
    assert (matches[0].asked, matches[1].asked, notes) == (4, 8, [])


def test_what_is_not_there_is_not_found(tmp_path):
    features, rng = planted(0.05), np.random.default_rng(1)
    found = []
    for _ in range(20):
        noise = rng.normal(size=features.values.shape)
        blind = Features(metadata=features.metadata, names=features.names, values=noise)
        found.append(write_profiles(tmp_path, blind, settings())[0][1])
    assert np.mean([one.accuracy for one in found]) == pytest.approx(found[0].chance, abs=0.12)


def test_sphering_lets_go_what_differs_between_controls(tmp_path):
    matches, notes = write_profiles(tmp_path, planted(0.05, lamp=9), settings(controls=("DMSO",)))
    found = {(m.name, m.sphered): m.accuracy for m in matches}
    assert found["NSC", True] == 1
    assert found["NSCB", True] > 0.85 > 0.65 > found["NSCB", False]
    assert notes[0].startswith("sphered on 8 control fields, with a shrinkage of 0.")


def test_labels_that_differ_within_a_treatment_are_said_to(tmp_path):
    features = planted(0.05)
    moa = ("z", *features.metadata["moa"][1:])
    matches, notes = write_profiles(
        tmp_path,
        Features(metadata={**features.metadata, "moa": moa}, names=features.names, values=features.values),
        settings(),
    )  # fmt: skip
    assert matches == []
    assert notes[0] == "no NSC: fields of one treatment differ in 'moa'"


def test_a_single_plate_has_no_other_batch(tmp_path):
    features = planted(0.05)
    one = features.rows([plate == "p0" for plate in features.metadata["Plate"]])
    matches, notes = write_profiles(tmp_path, one, settings())
    assert [m.name for m in matches] == ["NSC"]
    assert notes == ["no NSCB: no moa has profiles of other compounds in other batches"]


def predicted(**columns):
    n = len(next(iter(columns.values())))
    about = {
        "Plate": ("p",) * n, "Well": ("A1",) * (n // 2) + ("A2",) * (n - n // 2),
        "Path": ("f",) * n, "Scene": tuple(map(str, range(n))), **columns,
    }  # fmt: skip
    return Features(metadata=about, names=(), values=np.zeros((n, 0)))


def test_a_classifier_is_judged_where_the_class_is_known():
    table = predicted(Predicted=("a", "b", "b", ""), kind=("a", "a", "b", "b"))
    verdict = judge(table, classes=("a", "b"), channels=(), label="kind")
    assert verdict.table.counts.tolist() == [[1, 1], [0, 1]]
    assert verdict.macro_f1.value == pytest.approx(2 / 3)
    assert verdict.macro_f1.groups == 2
    assert verdict.to_json()["macro_f1"] == pytest.approx(2 / 3)
    assert judge(table, classes=("a", "b"), channels=(), label=None) is None
    assert judge(table, classes=("c", "d"), channels=(), label="kind") is None


def test_a_channel_is_its_own_class():
    table = predicted(Predicted_DNA=("DNA", "ER"), Predicted_ER=("ER", "ER"))
    verdict = judge(table, classes=("DNA", "ER"), channels=("DNA", "ER"), label=CHANNEL)
    assert verdict.table.counts.tolist() == [[1, 1], [0, 2]]
