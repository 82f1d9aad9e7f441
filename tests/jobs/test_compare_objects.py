"""Lost and invented nuclei are counted, painted, and told from a stain that is only brighter."""

from __future__ import annotations

import json
from itertools import count

import numpy as np
import pytest

from napari_virtualstain.errors import OutputExistsError, SettingsError, UnknownNameError
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


def write(path, *pictures, pixel_um=1.0):
    from napari_virtualstain.axes import PixelSize

    pixels = np.stack(pictures)[:, None, None]
    size = PixelSize(y=pixel_um, x=pixel_um) if pixel_um else PixelSize()
    with OmeZarrSink.create(
        path, shape=pixels.shape, channels=[Channel("DNA")], n_tiles=1, pixel_size_um=size
    ) as sink:
        sink.write(tuple(slice(0, n) for n in pixels.shape), pixels)
        sink.commit(0)
        sink.finish({})
    return str(path)


@pytest.fixture
def compared(tmp_path):
    numbers = count()

    def compared(predicted, truth, *, pixel_um=1.0, **settings):
        place = tmp_path / str(next(numbers))
        chosen = {
            "prediction": write(place / "p.ome.zarr", *predicted, pixel_um=pixel_um),
            "target": write(place / "t.ome.zarr", *truth, pixel_um=pixel_um),
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


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        pytest.param({"objects": "ER"}, UnknownNameError, "Choose one of these with --objects", id="a stain that is not compared"),
        pytest.param({"nucleus": (30, 8)}, SettingsError, "smaller one first", id="sizes turned round"),
        pytest.param({"objects": None, "out": "x.ome.zarr"}, SettingsError, "leave out --out", id="nowhere from"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_one_sentence(compared, settings, error, sentence):
    with pytest.raises(error, match=sentence):
        compared([TRUTH], [TRUTH], **settings)
