"""Halves of one field become a pair; what fits none or several is listed, never guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtualstain.datasets.pairing import find_pairs
from napari_virtualstain.datasets.pairing_half import Half, stains_of
from napari_virtualstain.errors import ChannelError
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.modality import name_tokens
from napari_virtualstain.io.plate import Place

LIT = Channel("Brightfield", "transmitted")


def half(path, *stains, lit=False, scene="", words=None, **place):
    channels = [LIT] * lit + [Channel(name, "fluorescence") for name in stains]
    return Half(
        path=path,
        scene=scene,
        channels=tuple(channels),
        words=tuple(name_tokens(path if words is None else words)),
        place=Place(**place) if place else None,
    )


def light(image):
    lit = [c.name for c in image.channels if c.modality == "transmitted"]
    if len(lit) > 1:
        raise ChannelError("2 channels could be the bright field. Choose one with --channel.")
    return lit[0] if lit else None


def pair(inputs, targets=None, stains=("DNA", "ER"), **told):
    found = find_pairs(inputs, targets, stains=stains, light=light, **told)
    pairs = {
        (p.input.name, p.by): {s: (h.name, c.channel) for s, (h, c) in p.stains.items()}
        for p in found.pairs
    }
    return pairs, {(u.path, u.scene): u.reason for u in found.unmatched}


def test_an_image_that_holds_both_is_a_pair_by_itself():
    images = [half("p", "DNA", "ER", lit=True, scene=f"A0{n}/f1", well=f"A0{n}") for n in (1, 2)]
    pairs, lost = pair(images)
    assert pairs == {
        (f"p A0{n}/f1", "image"): {s: (f"p A0{n}/f1", s) for s in ("DNA", "ER")} for n in (1, 2)
    }
    assert lost == {}


def test_halves_are_paired_by_plate_well_and_site_however_sites_are_written():
    inputs = [half(f"b{n}", lit=True, plate="P", well="a1", site=f"f0{n}") for n in (1, 2)]
    targets = [half(f"s{n}", "DNA", plate="p", well="A01", site=f"s{n}") for n in (2, 1)]
    pairs, lost = pair(inputs, targets)
    assert pairs == {(f"b{n}", "place"): {"DNA": (f"s{n}", "DNA")} for n in (1, 2)}
    assert lost == {}


def test_a_plate_that_one_side_does_not_name_does_not_count():
    pairs, _ = pair(
        [half("b", lit=True, plate="P", well="A01")], [half("s", "DNA", well="A01")]
    )  # fmt: skip
    assert list(pairs) == [("b", "place")]


def test_two_plates_are_not_mixed_up_where_the_stains_do_not_name_theirs():
    inputs = [half(f"b{n}", lit=True, plate=f"P{n}", well="A01") for n in (1, 2)]
    pairs, lost = pair(inputs, [half("s", "DNA", well="A01")])
    assert pairs == {}
    assert "2 bright fields lie at plate P1, well A01" in lost["b1", ""]


def test_stains_of_a_field_may_lie_in_several_files():
    inputs = [half("img_001_BF.tif", lit=True), half("img_002_BF.tif", lit=True)]
    targets = [half(f"img_00{n}_{d}.tif", d) for n in (2, 1) for d in ("DAPI", "ER")]
    pairs, lost = pair([*inputs, *targets])
    assert pairs == {
        (f"img_00{n}_BF.tif", "name"): {
            "DNA": (f"img_00{n}_DAPI.tif", "DAPI"), "ER": (f"img_00{n}_ER.tif", "ER"),
        } for n in (1, 2)
    }  # fmt: skip
    assert lost == {}


@pytest.mark.parametrize("number", ["14", "a", "33342", "1"])
def test_what_stands_in_names_of_dyes_still_tells_fields_apart(number):
    images = [
        half(f"{n}_{d}.tif", *[d] * (d != "BF"), lit=d == "BF")
        for n in (number, "x")
        for d in ("BF", "DNA")
    ]
    pairs, _ = pair(images)
    assert {b[0]: s["DNA"][0] for b, s in pairs.items()} == {
        f"{n}_BF.tif": f"{n}_DNA.tif" for n in (number, "x")
    }


def test_folders_count_as_part_of_a_name_but_for_what_they_say_of_the_stain():
    inputs = [half(f"{day}/bf/001.tif", lit=True) for day in ("monday", "tuesday")]
    targets = [half(f"{day}/stains/001.tif", "DNA") for day in ("monday", "tuesday")]
    pairs, _ = pair(inputs, targets)
    assert pairs == {
        (f"{day}/bf/001.tif", "name"): {"DNA": (f"{day}/stains/001.tif", "DNA")}
        for day in ("monday", "tuesday")
    }


def test_time_points_that_are_images_of_their_own_are_told_by_their_names():
    place = {"well": "A01", "site": "1"}
    inputs = [half(f"A01_t{t}_BF", lit=True, **place) for t in (1, 2)]
    targets = [half(f"A01_t{t}_DNA", "DNA", **place) for t in (2, 1)]
    found = find_pairs([*inputs, *targets], stains=("DNA",), light=light)
    assert {p.input.path: p.stains["DNA"][0].path for p in found.pairs} == {
        "A01_t1_BF": "A01_t1_DNA", "A01_t2_BF": "A01_t2_DNA",
    }  # fmt: skip
    assert {p.field for p in found.pairs} == {"A01/1"}  # what must not be split
    assert len({p.name for p in found.pairs}) == 2


def test_sites_of_other_names_are_paired_by_the_stage():
    spots = {"1": (0.0, 0.0), "2": (0.0, 500.0)}
    inputs = [
        half(f"b{s}", lit=True, well="A01", site=f"c{s}", position_um=at) for s, at in spots.items()
    ]
    targets = [half(f"s{s}", "DNA", well="A01", site=f"x{s}", position_um=(at[0] + 2, at[1])) for s, at in spots.items()]  # fmt: skip
    pairs, lost = pair(inputs, targets)
    assert pairs == {(f"b{s}", "position"): {"DNA": (f"s{s}", "DNA")} for s in spots}
    assert lost == {}


AMBIGUOUS = {
    "two stains": (
        [half("b", lit=True, well="A01"), half("x 1", "DNA", well="A01"), half("y 2", "DNA", well="A01")],
        ("b", ""), r"2 images could hold its DNA \(x 1, y 2\); name the pair in a table",
    ),
    "two bright fields": (
        [half("b 1", lit=True, well="A01"), half("b 2", lit=True, well="A01"), half("s", "DNA", well="A01")],
        ("b 1", ""), "2 bright fields lie at well A01; name the pair in a table",
    ),
    "two of a name": (
        [half("a/img_BF", lit=True, words="img"), half("b/img_BF", lit=True, words="img"), half("img_DNA", "DNA", words="img")],
        ("b/img_BF", ""), "2 bright fields lie under that name",
    ),
    "no stain": (
        [half("b", lit=True, well="A01"), half("s", "DNA", well="A02")],
        ("b", ""), "no image of DNA, ER lies at well A01",
    ),
    "no bright field": (
        [half("b", lit=True, well="A01"), half("s", "DNA", well="A02")],
        ("s", ""), "no bright field lies at well A02",
    ),
    "neither": ([half("x", "GFP")], ("x", ""), "it has neither bright field nor a stain that is asked for, but GFP"),
    "two dyes": ([half("x", "DAPI", "Hoechst", lit=True)], ("x", ""), "2 channels could be DNA"),
}  # fmt: skip


@pytest.mark.parametrize(("images", "where", "reason"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_cannot_be_paired_is_listed_with_the_reason(images, where, reason):
    import re

    pairs, lost = pair(images)
    assert pairs == {}
    assert re.search(reason, lost[where])


def test_an_image_whose_bright_field_cannot_be_told_is_no_pair():
    two = Half(
        path="x",
        scene="",
        channels=(LIT, Channel("DIC", "transmitted"), Channel("DNA", "fluorescence")),
    )
    assert "could be the bright field" in pair([two])[1]["x", ""]


def test_the_surer_name_wins_and_the_other_image_is_listed():
    images = [
        half("f/bf", lit=True),
        half("f/stains", "DNA"),
        half("f/labels", "nuclei", words="f"),
    ]
    pairs, lost = pair(images)
    assert pairs["f/bf", "name"] == {"DNA": ("f/stains", "DNA")}
    assert lost["f/labels", ""] == "DNA of that field was taken from f/stains"


def test_an_image_that_has_its_partner_is_not_given_to_another_by_its_name():
    inputs = [half("b", lit=True, well="A01"), half("img_BF", lit=True)]
    pairs, lost = pair(inputs, [half("img_DNA", "DNA", well="A01")])
    assert list(pairs) == [("b", "place")]
    assert lost["img_BF", ""] == "no image of DNA, ER has its name"


def test_a_field_that_lacks_a_stain_is_still_a_pair():
    pairs, lost = pair([half("a", "DNA", lit=True)])
    assert pairs == {("a", "image"): {"DNA": ("a", "DNA")}}
    assert lost == {}


def test_all_fluorescence_counts_where_no_stain_is_named():
    numbered = Half(
        path="x", scene="", channels=(Channel("channel 0", "fluorescence"),), words=("a01", "dapi")
    )
    assert stains_of([half("a", "DNA", "er", lit=True), half("b", "ER"), numbered]) == (
        "DNA",
        "er",
        "dapi",
    )


places = st.tuples(st.sampled_from("PQ"), st.sampled_from(["A01", "B02"]), st.sampled_from("12"))
stained = st.sets(st.sampled_from(["DNA", "ER"]), min_size=1)


@given(st.lists(places, max_size=6), st.lists(st.tuples(places, stained), max_size=8))
def test_pairing_by_place_agrees_with_looking_at_every_two_images(lit, dyed):
    inputs = [half(f"b{n}", lit=True, plate=p, well=w, site=s) for n, (p, w, s) in enumerate(lit)]
    targets = [
        half(f"s{n}", *sorted(names), plate=p, well=w, site=s)
        for n, ((p, w, s), names) in enumerate(dyed)
    ]
    expected = {}
    for n, at in enumerate(lit):
        here = [(k, names) for k, (where, names) in enumerate(dyed) if where == at]
        counts = {s: [k for k, names in here if s in names] for s in ("DNA", "ER")}
        if lit.count(at) == 1 and here and max(map(len, counts.values())) == 1:
            expected[f"b{n}", "place"] = {s: (f"s{k[0]}", s) for s, k in counts.items() if k}
    pairs, lost = pair(inputs, targets)
    assert pairs == expected
    # Nothing vanishes: an input is in a pair or listed.
    assert {name for name, _ in pairs} | {p for p, _ in lost if p[0] == "b"} == {
        h.path for h in inputs
    }


@given(st.lists(places, min_size=1, max_size=6, unique=True), st.randoms())
def test_the_order_of_the_images_does_not_matter(lit, random):
    images = [half(f"b{n}", lit=True, plate=p, well=w, site=s) for n, (p, w, s) in enumerate(lit)]
    images += [half(f"s{n}", "DNA", plate=p, well=w, site=s) for n, (p, w, s) in enumerate(lit)]
    mixed = list(images)
    random.shuffle(mixed)
    assert pair(mixed) == pair(images)
