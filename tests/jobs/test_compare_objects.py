"""Lost and invented objects are counted, painted, and told from a stain that is only brighter."""

from __future__ import annotations

import json
from itertools import count

import numpy as np
import pytest

from napari_virtualstain.axes import PixelSize
from napari_virtualstain.errors import (
    ChannelError,
    OutputExistsError,
    PixelDataError,
    SettingsError,
    UnknownNameError,
)
from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink import OmeZarrSink
from napari_virtualstain.jobs import evaluate
from napari_virtualstain.jobs.evaluate import EvaluateSettings
from napari_virtualstain.jobs.evaluation import Evaluation
from napari_virtualstain.objects.match import KINDS

PLACES = [(24, 24), (24, 76), (76, 24), (76, 76)]


def picture(places, gain=1.0, radius=10, shape=(100, 110)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    found = np.random.default_rng(0).normal(100, 3, shape)
    for n, (cy, cx) in enumerate(places):
        found[(y - cy) ** 2 + (x - cx) ** 2 <= (radius + n) ** 2] += 500 + 50 * n
    return (gain * found).astype(np.float32)


def write(path, *pictures, pixel_um=1.0, channels=("DNA",), dtype="float32"):
    """Write planes of one time point each: (Y, X), or (C, Y, X) of several channels."""
    pixels = np.stack(pictures).reshape(len(pictures), len(channels), 1, *pictures[0].shape[-2:])
    size = PixelSize(y=pixel_um, x=pixel_um) if pixel_um else PixelSize()
    with OmeZarrSink.create(
        path,
        shape=pixels.shape,
        channels=[Channel(name) for name in channels],
        n_tiles=1,
        pixel_size_um=size,
        dtype=dtype,
        levels=1,
    ) as sink:
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
        sink.finish({})
    return str(path)


@pytest.fixture
def compared(tmp_path):
    numbers = count()

    def compared(predicted, truth, *, pixel_um=1.0, channels=("DNA",), **settings):
        place = tmp_path / str(next(numbers))
        how = {"pixel_um": pixel_um, "channels": channels}
        chosen = {
            "prediction": write(place / "p.ome.zarr", *predicted, **how),
            "target": write(place / "t.ome.zarr", *truth, **how),
            "objects": "dna", **settings,
        }  # fmt: skip
        return evaluate.run(EvaluateSettings(**chosen))

    return compared


TRUTH = picture(PLACES)
GALLERY = {
    "perfect": (TRUTH, {"matched": 4}, 1.0),
    "redrawn camera noise": (
        TRUTH + np.random.default_rng(5).normal(0, 4, TRUTH.shape).astype("f4"), {"matched": 4}, 1.0,
    ),
    "twice as bright": (picture(PLACES, gain=2.0), {"matched": 4}, 2.0),
    "one lost": (picture(PLACES[:3]), {"matched": 3, "missed": 1}, 1.0),
    "one invented": (picture([*PLACES, (50, 50)], radius=9), {"matched": 4, "invented": 1}, None),
    "blank": (np.full_like(TRUTH, 100), {"missed": 4}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", GALLERY)
def test_each_failure_is_counted_as_what_it_is(compared, case):
    predicted, wanted, amount = GALLERY[case]
    found = compared([predicted], [TRUTH]).objects
    assert {kind: n for kind in KINDS if (n := found.counts[kind])} == wanted
    assert found.counts["true"] == 4
    if amount is not None:
        assert found.amount["ratio"] == pytest.approx(amount, rel=0.02)
        assert found.size["ratio"] == pytest.approx(1, rel=0.05)


def test_the_right_brightness_in_the_wrong_shape_loses_to_half_the_brightness_in_the_right_one(
    compared,
):
    """What the mean squared error prefers is the wrong one (Cell Painting compared, figure 7)."""
    half = 100 + 0.45 * (TRUTH - 100)
    wrong = picture([(24, 31), (24, 83), (76, 31), (76, 83)], radius=9)
    dim, shifted = compared([half], [TRUTH]), compared([wrong], [TRUTH])
    assert dim.objects.counts["matched"] == 4
    assert dim.objects.amount["ratio"] < 0.6
    assert shifted.objects.counts["iou"] is None or (
        shifted.objects.counts["iou"] < dim.objects.counts["iou"] - 0.2
    )


def test_planes_add_up_and_are_listed(compared):
    found = compared([TRUTH, picture(PLACES[:2])], [TRUTH, TRUTH]).objects
    assert found.planes == ((0, 0, 4, 4), (1, 0, 4, 2))
    assert (found.counts["matched"], found.counts["missed"]) == (6, 2)


def test_the_nuclei_are_written_with_what_became_of_them(compared, tmp_path):
    out = tmp_path / "nuclei.ome.zarr"
    compared([picture(PLACES[:3])], [TRUTH], out=str(out))
    image = open_image(out)
    assert image.channel_names == ("predicted nuclei", "true nuclei", "compared nuclei")
    assert image.pixel_size_um.y == 1.0
    predicted, true, kinds = image.data[0, :, 0].compute()
    assert (predicted.max(), true.max()) == (3, 4)
    assert kinds[24, 24] == 1 + KINDS.index("matched")
    assert kinds[76, 76] == 1 + KINDS.index("missed")
    with pytest.raises(OutputExistsError):
        compared([TRUTH], [TRUTH], out=str(out))


def test_without_a_pixel_size_diameters_are_pixels_and_that_is_said(compared):
    found = compared([TRUTH], [TRUTH], pixel_um=None, nucleus=(10, 40))
    assert found.objects.diameter_px == (10, 40)
    assert any("10 to 40 px wide, since neither image" in note for note in found.notes)
    fine = compared([TRUTH], [TRUTH], pixel_um=0.5, nucleus=(5, 20))
    assert fine.objects.diameter_px == (10, 40)


def test_what_was_counted_survives_another_process_and_stands_in_the_table(compared):
    found = compared([picture(PLACES[:3])], [TRUTH])
    again = Evaluation.from_json(json.loads(json.dumps(found.to_json())))
    assert again.objects == found.objects
    assert found.table().splitlines()[-1] == (
        "nuclei of DNA: 4 true, 3 predicted; 3 matched, 0 invented, 1 missed, 0 merged, 0 split"
    )


# --- cells ----------------------------------------------------------------------------------------

CELLS = [(26, 26), (26, 84), (84, 26), (84, 84)]
"""Centres of cells that do not touch, 18 px wide around nuclei of 7."""
SHAPE = (110, 110)


def discs(places, radius, level):
    """Return discs on a background with noise; a place may bring a radius of its own."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    found = np.random.default_rng(1).normal(100, 3, SHAPE)
    for cy, cx, *own in places:
        found[(y - cy) ** 2 + (x - cx) ** 2 <= (own[0] if own else radius) ** 2] += level
    return found.astype(np.float32)


def cell_picture(nuclei, bodies=None, level=400, radius=18):
    """Return DNA and AGP, (2, Y, X)."""
    return np.stack([discs(nuclei, 7, 500), discs(bodies or nuclei, radius, level)])


def joined(body):
    """Return a picture of cells with a bridge between the upper two."""
    found = body.copy()
    found[20:33, 26:84] = body.max()
    return found


BOTH = {"channels": ("DNA", "AGP"), "cells": "agp"}
TRUE_CELLS = cell_picture(CELLS)
CELL_GALLERY = {
    "identical": (TRUE_CELLS, {"matched": 4}),
    "one invented": (cell_picture([*CELLS, (55, 55, 8)], [*CELLS, (55, 55, 12)]), {"matched": 4, "invented": 1}),
    "one missed": (cell_picture(CELLS[1:]), {"matched": 3, "missed": 1}),
    "two merged": (
        np.stack([discs([(26, 55), *CELLS[2:]], 7, 500), joined(TRUE_CELLS[1])]),
        {"matched": 2, "merged": 1},
    ),
    "one split": (
        cell_picture([(26, 17), (26, 35), *CELLS[1:]], CELLS),
        {"matched": 3, "split": 1},
    ),
    "nuclei in place, one cell far too small": (
        cell_picture(CELLS, [*CELLS[:3], (84, 84, 8)]), {"matched": 3, "missed": 1, "invented": 1},
    ),
    "blank": (np.full_like(TRUE_CELLS, 100), {"missed": 4}),
}  # fmt: skip


@pytest.mark.parametrize("case", CELL_GALLERY)
def test_each_failure_of_a_cell_is_counted_as_what_it_is(compared, case):
    predicted, wanted = CELL_GALLERY[case]
    found = compared([predicted], [TRUE_CELLS], reach=45, **BOTH).objects
    assert {kind: n for kind in KINDS if (n := found.counts[kind])} == wanted
    assert (found.kind, found.stain, found.nuclei) == ("cells", "AGP", "DNA")
    assert found.counts["true"] == 4
    assert found.words().startswith("cells of AGP: 4 true, ")


def test_identical_cells_agree_in_all_that_is_measured(compared):
    found = compared([TRUE_CELLS], [TRUE_CELLS], **BOTH).objects
    assert (found.counts["dice"], found.counts["average_precision"]) == (1, 1)
    measured = [found.size, found.intensity, found.amount, *found.shape.values()]
    # A circle has no eccentricity to be a ratio of.
    assert {one["ratio"] for one in measured} == {1.0, None}
    assert found.shape["eccentricity"]["ratio"] is None
    assert found.number == {"ratio": 1.0, "r": None}


def test_cells_of_other_size_brightness_and_shape_are_told_apart(compared):
    sizes = [(26, 26, 14), (26, 84, 16), (84, 26, 18), (84, 84, 20)]
    truth = cell_picture(CELLS, sizes)
    larger = cell_picture(CELLS, [(y, x, 1.1 * r) for y, x, r in sizes])
    found = compared([larger], [truth], **BOTH).objects
    assert found.size["ratio"] == pytest.approx(1.21, rel=0.05)
    assert found.size["r"] > 0.95
    assert found.intensity["ratio"] == pytest.approx(1, abs=0.02)
    brighter = np.stack([truth[0], 100 + 2 * (truth[1] - 100)])
    found = compared([brighter], [truth], **BOTH).objects
    assert found.size["ratio"] == pytest.approx(1, abs=0.02)
    assert found.amount["ratio"] == pytest.approx(2, rel=0.03)


def test_cells_that_are_longer_differ_in_shape_and_not_in_size(compared):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]

    def stretched(by):
        body = discs([], 0, 0)
        for cy, cx in CELLS:
            body[((y - cy) * by / 16) ** 2 + ((x - cx) / by / 16) ** 2 <= 1] += 400
        return np.stack([TRUE_CELLS[0], body])

    found = compared([stretched(1.2)], [stretched(1.05)], **BOTH).objects
    assert found.counts["matched"] == 4
    assert found.size["ratio"] == pytest.approx(1, abs=0.04)
    assert found.shape["eccentricity"]["ratio"] > 1.5
    assert found.shape["form_factor"]["ratio"] < 0.98


def test_how_many_cells_there_are_is_correlated_from_plane_to_plane(compared):
    planes = [cell_picture(CELLS[:n]) for n in (1, 2, 3, 4)]
    found = compared(planes, planes, **BOTH).objects
    assert found.number == {"ratio": 1.0, "r": pytest.approx(1.0)}
    turned = compared(planes[::-1], planes, **BOTH).objects
    assert turned.number == {"ratio": 1.0, "r": pytest.approx(-1.0)}


def test_cells_that_lie_beside_their_truth_match_by_their_centres(compared):
    moved = cell_picture([(y + 8, x) for y, x in CELLS])
    by_overlap = compared([moved], [TRUE_CELLS], iou=0.7, **BOTH).objects
    assert by_overlap.counts["matched"] == 0
    assert (by_overlap.iou, by_overlap.distance_px) == (0.7, None)
    by_centre = compared([moved], [TRUE_CELLS], distance=10, **BOTH).objects
    assert by_centre.counts["matched"] == 4
    assert (by_centre.iou, by_centre.distance_px) == (None, 10)


def test_the_cells_are_written_with_what_became_of_them(compared, tmp_path):
    out = tmp_path / "cells.ome.zarr"
    compared([cell_picture(CELLS[:3])], [TRUE_CELLS], out=str(out), **BOTH)
    image = open_image(out)
    assert image.channel_names == ("predicted cells", "true cells", "compared cells")
    kinds = image.data[0, 2, 0].compute()
    assert kinds[26, 26 + 15] == 1 + KINDS.index("matched"), "in the cell, beside its nucleus"
    assert kinds[84, 84 + 15] == 1 + KINDS.index("missed")


EMPTY = {
    "no nuclei are predicted": (
        np.stack([np.full(SHAPE, 100.0, "f4"), TRUE_CELLS[1]]),
        "there are no nuclei around which to look for cells in the prediction",
    ),
    "no cell body is predicted": (
        np.stack([TRUE_CELLS[0], np.full(SHAPE, 100.0, "f4")]),
        "each cell of the prediction is no more than its nucleus: in 'AGP' nothing stands out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_segmentation_says_why_it_is_empty(compared, case):
    predicted, sentence = EMPTY[case]
    found = compared([predicted], [TRUE_CELLS], **BOTH)
    assert any(sentence in note for note in found.notes)
    assert any(sentence in note for note in found.objects.notes)
    assert not any("of the truth" in note for note in found.objects.notes)


def test_two_empty_fields_have_no_share_that_is_right(compared):
    empty = np.full_like(TRUE_CELLS, 100) + np.random.default_rng(2).normal(0, 3, TRUE_CELLS.shape)
    empty = empty.astype("f4")
    found = compared([empty], [empty], **BOTH).objects
    assert (found.counts["true"], found.counts["dice"], found.size["ratio"]) == (0, None, None)
    assert found.number["ratio"] is None
    assert len(found.notes) == 3


# --- labels that are given ------------------------------------------------------------------------


def drawn(*places):
    """Return labels of discs, numbered from 1."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    found = np.zeros(SHAPE, "i4")
    for n, (cy, cx) in enumerate(places, 1):
        found[(y - cy) ** 2 + (x - cx) ** 2 <= 15**2] = n
    return found


def test_labels_that_are_given_are_compared_as_they_are(compared, tmp_path):
    blank = np.full_like(TRUE_CELLS, 100) + np.arange(110, dtype="f4")
    one = write(tmp_path / "p.ome.zarr", drawn(*CELLS[:3]), channels=("mask",), dtype="int32")
    other = write(
        tmp_path / "t.ome.zarr", np.stack([drawn(), drawn(*CELLS)]), channels=("nuclei", "cells"),
        dtype="int32",
    )  # fmt: skip
    found = compared([blank], [blank], predicted_labels=one, true_labels=other, **BOTH)
    counts = found.objects.counts
    assert (counts["true"], counts["matched"], counts["missed"]) == (4, 3, 1)
    assert found.objects.nuclei is None
    assert found.objects.notes == ("cells are those of the labels that are given",)
    cut = compared(
        [blank], [blank], predicted_labels=one, true_labels=other, region=(0, 0, 55, 110), **BOTH
    ).objects.counts
    assert (cut["true"], cut["matched"]) == (2, 2)


LABELS = {
    "of one side": (drawn(*CELLS), None, SettingsError, "or neither"),
    "of another size": (drawn(*CELLS), drawn(*CELLS)[1:], PixelDataError, "Give labels of the same planes"),
    "that are grey values": (drawn(*CELLS) + np.float32(0.5), drawn(*CELLS), PixelDataError, "a number of its own"),
    "among channels without a name": (drawn(*CELLS), np.stack([drawn(), drawn()]), ChannelError, "labels of cells alone"),
}  # fmt: skip


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_cannot_be_compared_are_one_sentence(compared, tmp_path, case):
    one, other, error, sentence = LABELS[case]
    paths = {}
    for name, labels in (("predicted_labels", one), ("true_labels", other)):
        if labels is not None:
            channels = ("a", "b")[: 1 if labels.ndim == 2 else len(labels)]
            paths[name] = write(tmp_path / f"{name}.ome.zarr", labels, channels=channels)
    with pytest.raises(error, match=sentence):
        compared([TRUE_CELLS], [TRUE_CELLS], **paths, **BOTH)


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        pytest.param({"objects": "ER"}, UnknownNameError, "Choose one of these with --objects", id="a stain that is not compared"),
        pytest.param({"nucleus": (30, 8)}, SettingsError, "smaller one first", id="sizes turned round"),
        pytest.param({"cells": "AGP"}, UnknownNameError, "There are: DNA. Choose one of these with --cells", id="a stain of cells that is not there"),
        pytest.param({"objects": None, "cells": "DNA"}, SettingsError, "Cells are found from nuclei. Name the stain", id="cells without nuclei"),
        pytest.param({"objects": None, "out": "x.ome.zarr"}, SettingsError, "leave out --out", id="nowhere from"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_one_sentence(compared, settings, error, sentence):
    with pytest.raises(error, match=sentence):
        compared([TRUTH], [TRUTH], **settings)
