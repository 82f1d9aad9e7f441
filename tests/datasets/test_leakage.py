"""One picture in two sets is found under any name."""

from __future__ import annotations

from itertools import combinations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.leakage import Footprint, block_prints, find_leaks, same_file
from napari_virtualstain.io.image import Channel, LazyImage

RNG = np.random.default_rng(0)


def image(pixels):
    return LazyImage(data=da.from_array(pixels[None, None, None]), channels=(Channel("x"),))


def field(name="a", **known):
    return Footprint(name=name, **known)


PAIRS = {
    "one file": ("file", {"files": frozenset({("p", "s")})}, {"files": frozenset({("p", "s"), ("q", "")})}, "are of the same file; leave one of them out."),
    "the same pixels": ("pixels", {"prints": frozenset("ab")}, {"prints": frozenset("bc")}, "have the same pixels; leave one of them out."),
    "one well, spelled otherwise": ("well", {"plate": "Plate 1", "well": "A01"}, {"plate": "plate-1", "well": "A01"}, "lie in 'Plate 1 A01' and 'plate-1 A01', which are one well by their names; spell them alike."),
    "sites that overlap": (
        "overlap", {"well": "A01", "extent_um": (0.0, 100.0, 0.0, 100.0)},
        {"well": "A01", "extent_um": (0.0, 100.0, 90.0, 190.0)}, "overlap by 10 % on the stage; use --split well.",
    ),
    "other scenes of a file": (None, {"files": frozenset({("p", "1")})}, {"files": frozenset({("p", "2")})}, ""),
    "other wells": (None, {"well": "A01"}, {"well": "A02"}, ""),
    "sites side by side": (None, {"well": "A01", "extent_um": (0.0, 100.0, 0.0, 100.0)}, {"well": "A01", "extent_um": (0.0, 100.0, 100.0, 200.0)}, ""),
    "one position in two wells": (None, {"well": "A01", "extent_um": (0.0, 1.0, 0.0, 1.0)}, {"well": "A02", "extent_um": (0.0, 1.0, 0.0, 1.0)}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "one", "other", "why"), PAIRS.values(), ids=PAIRS)
def test_what_two_sets_share_is_found(kind, one, other, why):
    fields = [field("a", **one), field("b", **other)]
    leaks = find_leaks(fields, ["train", "test"])
    assert [leak.kind for leak in leaks] == ([] if kind is None else [kind])
    if kind is not None:
        assert leaks[0].sentence == f"'a' (train) and 'b' (test) {why}"
        assert leaks[0].certain is (kind in ("file", "pixels"))
    assert find_leaks(fields, ["train", "train"]) == ()


keys = st.sets(st.sampled_from("abcd"), max_size=2).map(frozenset)


@given(st.lists(st.tuples(keys, st.sampled_from(["train", "test"])), max_size=7))
def test_looking_up_agrees_with_comparing_every_two_fields(some):
    fields = [field(str(n), prints=prints) for n, (prints, _) in enumerate(some)]
    sets = [name for _, name in some]
    expected = [
        (a, b) for a, b in combinations(range(len(some)), 2)
        if sets[a] != sets[b] and some[a][0] & some[b][0]
    ]  # fmt: skip
    assert [(leak.first, leak.second) for leak in find_leaks(fields, sets)] == expected


@pytest.mark.parametrize("shape", [(200, 300), (64, 64), (20, 500)], ids=str)
def test_a_copy_in_another_type_has_the_same_prints(shape):
    pixels = RNG.integers(0, 4000, shape).astype(np.uint16)
    prints = block_prints(image(pixels), 0)
    assert len(prints) == 3
    assert block_prints(image(pixels.astype(np.float32)), 0) == prints
    assert not set(prints) & set(block_prints(image(pixels[::-1].copy()), 0))


def test_one_changed_corner_does_not_hide_a_copy():
    pixels = RNG.integers(0, 4000, (200, 300)).astype(np.uint16)
    other = pixels.copy()
    other[:60] += 1
    assert set(block_prints(image(pixels), 0)) & set(block_prints(image(other), 0))


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_empty_planes_are_no_copies_of_each_other(value):
    assert block_prints(image(np.full((100, 100), value)), 0) == ()


def test_links_lead_to_one_file(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert same_file(tmp_path / "b") == same_file(tmp_path / "x" / ".." / "a")
