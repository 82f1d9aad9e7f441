"""Pairs of real microscopes are found, and a channel that is really shifted is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.jobs import pairs
from napari_virtualstain.jobs.pairs import PairsSettings

pytestmark = pytest.mark.realdata

# Where, what must be said, (name, how matched), by stain: (channel, verdict)
SAMPLES = {
    "phenix, one image holds both": (
        "phenix/Version5", {}, ("BR00122249/A01/f01", "image"),
        {"488 650": ("488 650", "aligned"), "Alexa 488": ("Alexa 488", "aligned"), "Alexa 568": ("Alexa 568", "aligned"), "Alexa 647": ("Alexa 647", "aligned")},
    ),
    "in-silico labelling, by well": (
        "isl_neurons", {"stains": ("DNA", "MAP2"), "z": (9,)}, ("A04", "place"),
        {"DNA": ("DAPI_CONFOCAL", "ambiguous"), "MAP2": ("MAP2_CONFOCAL", "aligned")},
    ),
    "an OME-TIFF whose metadata call all channels fluorescence": (
        "formats/ome_tiff", {"stains": ("DNA",)}, ("arcadia_pbmc_multichannel_by_nd2", "image"),
        {"DNA": ("DAPI", "ambiguous")},
    ),
    "ND2, defocus halos": (
        "formats/nd2", {}, ("nikon_fissionyeast_488_561", "image"),
        {"488sC": ("488sC", "ambiguous"), "561sC": ("561sC", "ambiguous")},
    ),
    "an OME-Zarr plate": (
        "formats/ome_zarr/phenix_V5_iohub_HCS.zarr", {"stains": ("Alexa 568",)}, ("A01/0", "image"),
        {"Alexa 568": ("Alexa 568", "aligned")},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "told", "named", "stains"), SAMPLES.values(), ids=SAMPLES)
def test_real_pairs_are_found_and_measured(given, told, named, stains, realdata):
    pytest.importorskip("imagecodecs")
    file = pairs.run(PairsSettings(input=str(realdata / given), **told)).file
    (pair,) = file.pairs
    assert (pair.name, pair.matched_by) == named
    assert {s: one.channel for s, one in pair.stains.items()} == {
        s: c for s, (c, _) in stains.items()
    }
    assert {s.stain: s.verdict for s in pair.registration} == {s: v for s, (_, v) in stains.items()}


def test_a_camera_that_is_really_shifted_is_noticed_at_every_hour(realdata):
    told = {"channel": "c1", "stains": ("Mito", "GFP"), "match": ("Mito=c2", "GFP=c3")}
    where = str(realdata / "yeast_timelapse/SL_180519_2_GR")
    file = pairs.run(PairsSettings(input=where, correct=True, **told)).file
    (pair,) = file.pairs
    verdicts = {s: [r.verdict for r in pair.registration if r.stain == s] for s in file.stains}
    assert verdicts == {"Mito": ["aligned"] * 5, "GFP": ["shifted"] * 5}
    moved = file.corrections(pair)
    assert set(moved) == {("GFP", t) for t in range(5)}
    assert np.ptp(np.array(list(moved.values())), axis=0).max() < 0.5  # one camera, one shift
    assert "5 stains (GFP of SL_180519_2_GR t0 by 3." in file.notes[0]


def test_stacks_that_do_not_say_their_axes_are_listed_beside_what_can_be_paired(realdata):
    file = pairs.run(PairsSettings(input=str(realdata / "ecoli_bf"))).file
    (pair,) = file.pairs
    assert pair.path.endswith("01/brightfield.tif")
    asked = [u for u in file.unmatched if "--axes" in u.reason]
    assert len(asked) == 3


def test_stacks_are_films_once_their_axes_are_said(realdata):
    told = {"axes": "tyx", "registration": "none", "stains": ("GFP",), "match": ("GFP=channel 0",)}
    root = realdata / "ecoli_bf/02"
    file = pairs.run(PairsSettings(
        input=str(root / "brightfield_stack.tif"), target=str(root / "fluorescence_stack.tif"), **told
    )).file  # fmt: skip
    assert [p.matched_by for p in file.pairs] == ["name"]
