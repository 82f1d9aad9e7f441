"""The file of an index: small, without pickles, whole, and refused in one sentence if it is not."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from safetensors.numpy import save

from napari_virtualstain.embedding.familiar import FieldPatches, fit_index
from napari_virtualstain.embedding.index_file import (
    LARGEST,
    described,
    index_bytes,
    read_index,
    write_index,
)
from napari_virtualstain.errors import ModelPackageError


@pytest.fixture(scope="module")
def index():
    rng = np.random.default_rng(0)
    found = [
        FieldPatches(
            name=f"plate/f{n}.tif", features=rng.normal(size=(16, 12)).astype(np.float32),
            places=np.zeros((16, 2), np.int32), blocks=np.zeros(16, np.int32),
            light=rng.normal(size=(16, 8, 8)).astype(np.float32),
        )
        for n in range(7)
    ]  # fmt: skip
    return fit_index(
        found, model="m", weights="a" * 64, layer="deep", patch=(64, 64), stain_name="DNA"
    )


def test_what_is_written_is_read(index, tmp_path):
    write_index(tmp_path / "i.safetensors", index)
    found = read_index(tmp_path / "i.safetensors")
    for one in fields(index):
        np.testing.assert_array_equal(getattr(found, one.name), getattr(index, one.name))
    assert [path.name for path in tmp_path.iterdir()] == ["i.safetensors"]


def test_the_file_stays_small_by_leaving_patches_out_evenly(index):
    many = 40_000
    large = replace(
        index, codes=np.zeros((many, index.codes.shape[1]), np.float32),
        sources=np.repeat(np.arange(7), -(-many // 7))[:many].astype(np.int32),
        places=np.zeros((many, 2), np.int32), light=np.zeros((many, 8, 8), np.uint8),
    )  # fmt: skip
    assert 0.7 * LARGEST < len(index_bytes(large)) <= LARGEST


def test_patches_that_are_left_out_are_of_all_fields(index, tmp_path):
    many = 40_000
    large = replace(
        index, codes=np.zeros((many, index.codes.shape[1]), np.float32),
        sources=np.repeat(np.arange(7), -(-many // 7))[:many].astype(np.int32),
        places=np.zeros((many, 2), np.int32), light=np.zeros((many, 8, 8), np.uint8),
    )  # fmt: skip
    write_index(tmp_path / "i.safetensors", large)
    found = read_index(tmp_path / "i.safetensors")
    counts = np.bincount(found.sources)
    assert len(counts) == 7
    assert counts.max() < 1.1 * counts.min()
    assert len(found.codes) == len(found.light) == len(found.places)


def test_the_card_says_what_the_index_is_of(index):
    said = described(index)
    assert (said["fields"], said["patches"], said["pictures"]) == (7, 112, True)
    assert said["file"] == "training_index.safetensors"


DAMAGED = {
    "no file of that kind": lambda good: b"nothing",
    "cut short": lambda good: good[: len(good) // 2],
    "empty": lambda good: b"",
    "other tensors": lambda good: save({"a": np.zeros(3)}, metadata={"about": "{}"}),
    "says nothing of itself": lambda good: save({"a": np.zeros(3)}),
    "no JSON": lambda good: save({"a": np.zeros(3)}, metadata={"about": "{"}),
    "a field of another name": lambda good: good.replace(b"held_out", b"held_off"),
    "a tensor of another name": lambda good: good.replace(b'"sources"', b'"soarces"'),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_file_is_one_sentence_with_what_to_do(how, index, tmp_path):
    path = tmp_path / "i.safetensors"
    path.write_bytes(DAMAGED[how](index_bytes(index)))
    with pytest.raises(ModelPackageError, match="Make it again with `virtualstain index") as said:
        read_index(path)
    assert "\n" not in str(said.value)


def test_parts_that_do_not_fit_each_other_are_refused(index, tmp_path):
    write_index(tmp_path / "i.safetensors", replace(index, basis=index.basis[:-1]))
    with pytest.raises(ModelPackageError, match="do not fit each other"):
        read_index(tmp_path / "i.safetensors")


def test_a_patch_of_a_field_that_is_not_named_is_refused(index, tmp_path):
    write_index(tmp_path / "i.safetensors", replace(index, fields=index.fields[:3]))
    with pytest.raises(ModelPackageError, match="do not fit each other"):
        read_index(tmp_path / "i.safetensors")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ModelPackageError, match="cannot be read"):
        read_index(tmp_path / "none.safetensors")
