"""A stain is found under the names that labs give it, and what was guessed can be said."""

from __future__ import annotations

import pytest

from napari_virtualstain.datasets.stain_names import SYNONYMS, find_stain, parse_matches
from napari_virtualstain.errors import ChannelError

FOUND = {
    "its own name": ("DNA", ["ER", "DNA"], ("DNA", "name")),
    "another case": ("dna", ["DNA", "ER"], ("DNA", "name")),
    "other separators": ("Mito Tracker", ["mito-tracker"], ("mito-tracker", "name")),
    "a dye": ("DNA", ["Hoechst 33342", "ER"], ("Hoechst 33342", "synonym")),
    "a dye with its number attached": ("DNA", ["HOECHST33342"], ("HOECHST33342", "synonym")),
    "a dye among words": ("DNA", ["DAPI_CONFOCAL"], ("DAPI_CONFOCAL", "synonym")),
    "two words": ("ER", ["Con A Alexa 488"], ("Con A Alexa 488", "synonym")),
    "from dye to stain": ("Hoechst", ["DNA"], ("DNA", "synonym")),
    "its own name before a dye": ("DNA", ["DAPI", "DNA"], ("DNA", "name")),
    "an antibody among words": ("MAP2", ["MAP2_CONFOCAL"], ("MAP2_CONFOCAL", "synonym")),
    "nothing": ("DNA", ["ER", "Mito"], None),
    "letters inside a word": ("ER", ["Hoechst layer"], None),
    "a filter says nothing": ("GFP", ["FITC"], None),
}  # fmt: skip


@pytest.mark.parametrize(("stain", "channels", "expected"), FOUND.values(), ids=FOUND)
def test_a_stain_is_found(stain, channels, expected):
    found = find_stain(stain, channels)
    assert (None if found is None else (found.channel, found.by)) == expected


def test_what_was_told_outranks_every_name():
    told = parse_matches(["DNA = Alexa 647"])
    assert find_stain("dna", ["DNA", "alexa 647"], told=told).channel == "alexa 647"
    assert find_stain("DNA", ["DNA"], told=told) is None


def test_a_channel_without_a_name_is_known_by_its_file():
    assert find_stain("DNA", ["channel 0"], file_words=["a01", "dapi"]).by == "file name"
    assert find_stain("DNA", ["channel 0"], file_words=["a01", "actin"]) is None
    assert find_stain("DNA", ["channel 0", "channel 1"], file_words=["dapi"]) is None


def test_two_channels_that_could_be_meant_are_asked_for():
    with pytest.raises(
        ChannelError, match=r"2 channels could be DNA \(DAPI, Hoechst\).*--match DNA=DAPI"
    ):
        find_stain("DNA", ["DAPI", "Hoechst"])


@pytest.mark.parametrize("text", ["DNA", "=DAPI", "DNA=", " = "])
def test_what_is_no_match_is_refused(text):
    with pytest.raises(ChannelError, match="is no STAIN=CHANNEL.*--match DNA=Hoechst"):
        parse_matches([text])


def test_a_stain_is_matched_once():
    with pytest.raises(ChannelError, match="names a stain twice"):
        parse_matches(["DNA=a", "dna=b"])


@pytest.mark.parametrize("stain", SYNONYMS)
def test_every_synonym_leads_to_its_stain(stain):
    for name in SYNONYMS[stain]:
        assert find_stain(stain, [f"x {name.upper()} y"]) is not None
